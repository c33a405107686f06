//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	"sipedge/bench/rig"
	"sipedge/transport/tlslayer/tlstest"
)

// neighbours places calls that come from a Kamailio and go on to another, by each transport: SIPp, Kamailio, sipedge,
// Kamailio, SIPp. Both Kamailios record their routes, so that requests inside the calls are loose-routed through all three.
func (r *runner) neighbours(names []string, mode, only string) (runs, failures int, err error) {
	ca, err := tlstest.NewAuthority(r.dir, "neighbours-ca-"+mode)
	if err != nil {
		return 0, 0, err
	}
	pair, err := ca.Issue("neighbours-"+mode, tlstest.Names{DNS: []string{"localhost"}, IP: []string{"127.0.0.1"}})
	if err != nil {
		return 0, 0, err
	}
	for _, by := range names {
		for _, s := range scenarios {
			if !s.streams || !strings.Contains(s.name, only) {
				continue
			}
			runs++
			o, err := r.between(s, mode, by, ca, pair)
			if err != nil {
				return runs, failures, fmt.Errorf("%s, %s, between Kamailios by %s: %w", s.name, mode, by, err)
			}
			if !report(s, mode, "K "+by+" K", o) {
				failures++
			}
		}
	}
	return runs, failures, nil
}

func (r *runner) between(s scenario, mode, by string, ca *tlstest.Authority, pair tlstest.Pair) (o outcome, err error) {
	dir, err := os.MkdirTemp(r.dir, "run-")
	if err != nil {
		return o, err
	}
	called := party{hops: 67} // the third proxy on the way counts down too
	if called.at, err = rig.FreeAddr(); err != nil {
		return o, err
	}
	downstream, err := rig.StartNeighbour("sip:"+called.at.String(), pair.Cert, pair.Key, ca.File)
	if err != nil {
		return o, err
	}
	defer downstream.Stop()
	tcp, err := rig.FreeAddr()
	if err != nil {
		return o, err
	}
	secure, err := rig.FreeAddr()
	if err != nil {
		return o, err
	}
	p, err := rig.StartSipedge(r.sipedge, rig.Options{
		Stateful: mode == "stateful", RecordRoute: s.recordRoute, Next: downstream.Hop(by), Workers: 2,
		Listen: []string{"tcp:" + tcp.String(), "tls:" + secure.String()},
		Extra:  append([]string{"--tls-cert", pair.Cert, "--tls-key", pair.Key, "--tls-ca", ca.File, "--domain", "callee.invalid"}, s.flags...),
	})
	if err != nil {
		return o, err
	}
	hop := "sip:" + p.Addr.String()
	switch by {
	case "tcp":
		hop = "sip:" + tcp.String() + ";transport=tcp"
	case "tls":
		hop = "sip:" + secure.String() + ";transport=tls"
	}
	upstream, err := rig.StartNeighbour(hop, pair.Cert, pair.Key, ca.File)
	if err != nil {
		p.Stop()
		return o, err
	}
	defer upstream.Stop()
	o, err = r.place(s, dir, party{at: upstream.Addr, target: p.Addr}, called)
	if err2 := p.Stop(); err2 != nil && o.trouble == "" {
		o.trouble = err2.Error()
	}
	return o, err
}
