//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"

	"sipedge/bench/rig"
	"sipedge/bench/tunnel"
	"sipedge/transport/tlslayer/tlstest"
)

// transports places calls that come in by one transport and go out by another, for every pair. Debian's SIPp has no TLS: a
// tunnel on its side puts TLS around its TCP.
func (r *runner) transports(names []string, mode, only string) (runs, failures int, err error) {
	ca, err := tlstest.NewAuthority(r.dir, "ca-"+mode)
	if err != nil {
		return 0, 0, err
	}
	pair, err := ca.Issue("localhost-"+mode, tlstest.Names{DNS: []string{"localhost"}, IP: []string{"127.0.0.1"}})
	if err != nil {
		return 0, 0, err
	}
	for _, in := range names {
		for _, out := range names {
			for _, s := range scenarios {
				if !s.streams || !strings.Contains(s.name, only) {
					continue
				}
				runs++
				o, err := r.pair(s, mode, in, out, ca, pair)
				if err != nil {
					return runs, failures, fmt.Errorf("%s, %s, in by %s, out by %s: %w", s.name, mode, in, out, err)
				}
				if !report(s, mode, in+" > "+out, o) {
					failures++
				}
			}
		}
	}
	return runs, failures, nil
}

func (r *runner) pair(s scenario, mode, in, out string, ca *tlstest.Authority, pair tlstest.Pair) (o outcome, err error) {
	dir, err := os.MkdirTemp(r.dir, "run-")
	if err != nil {
		return o, err
	}
	called := party{tcp: out != "udp"}
	if called.at, err = rig.FreeAddr(); err != nil {
		return o, err
	}
	called.contact = called.at.String() + ";transport=" + out
	next := "sip:" + called.contact
	if out == "tls" {
		t, err := tunnel.Unwrap(called.at.String(), &tls.Config{Certificates: []tls.Certificate{pair.TLS}})
		if err != nil {
			return o, err
		}
		defer t.Close()
		called.contact = fmt.Sprintf("localhost:%d;transport=tls", t.Addr().Port)
		next, called.via = "sip:"+called.contact, "TLS"
	}
	tcp, err := rig.FreeAddr()
	if err != nil {
		return o, err
	}
	secure, err := rig.FreeAddr()
	if err != nil {
		return o, err
	}
	p, err := rig.StartSipedge(r.sipedge, rig.Options{
		Stateful: mode == "stateful", RecordRoute: s.recordRoute, Next: next, Workers: 2,
		Listen: []string{"tcp:" + tcp.String(), "tls:" + secure.String()},
		Extra:  append([]string{"--tls-cert", pair.Cert, "--tls-key", pair.Key, "--tls-ca", ca.File}, s.flags...),
	})
	if err != nil {
		return o, err
	}
	caller := party{at: p.Addr, target: p.Addr, tcp: in != "udp"}
	switch in {
	case "tcp":
		caller.at, caller.target, caller.contact = tcp, tcp, "*;transport=tcp"
	case "tls":
		t, err := tunnel.Wrap(secure.String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		if err != nil {
			p.Stop()
			return o, err
		}
		defer t.Close()
		// Nobody can connect to it, so it asks to be reached by its own connection (RFC 5626 section 4.3).
		caller.at, caller.target, caller.contact = t.Addr().AddrPort(), secure, "*;transport=tls;ob"
		caller.via = "TLS"
	}
	o, err = r.place(s, dir, caller, called)
	if err2 := p.Stop(); err2 != nil && o.trouble == "" {
		o.trouble = err2.Error()
	}
	return o, err
}
