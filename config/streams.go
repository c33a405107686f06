package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"sipedge/transport"
	"sipedge/transport/wslayer"
)

// setDNS reads HOST[:PORT] of one more DNS server.
func setDNS(d *draft, s string) error {
	h, err := parseHostPort(s)
	if addr, parseErr := netip.ParseAddr(strings.Trim(s, "[]")); parseErr == nil { // an address alone needs no brackets
		h, err = HostPort{Host: addr.Unmap().String()}, nil
	}
	if err != nil {
		return err
	}
	addr, isIP := h.Addr()
	switch {
	case !isIP:
		return fmt.Errorf("%q is no IP address; a name could only be looked up by DNS", h.Host)
	case addr.IsUnspecified() || addr.IsMulticast():
		return fmt.Errorf("%s is no address to ask", addr)
	case len(d.cfg.DNS) == maxDNS:
		return fmt.Errorf("more than %d servers", maxDNS)
	}
	if h.Port == 0 {
		h.Port = 53
	}
	d.cfg.DNS = append(d.cfg.DNS, netip.AddrPortFrom(addr, h.Port))
	return nil
}

// setWSOrigin takes one more origin; what one looks like is for those to say who compare them.
func setWSOrigin(d *draft, s string) error {
	if len(d.cfg.WSOrigins) == maxOrigins {
		return fmt.Errorf("more than %d origins", maxOrigins)
	}
	if _, err := wslayer.ParseOrigins([]string{s}); err != nil {
		return errors.New("it is no origin, as in https://phone.example.com, http://localhost:8080, https://*.example.com or * for any, with nothing behind host and port")
	}
	d.cfg.WSOrigins = append(d.cfg.WSOrigins, s)
	return nil
}

func setTLSCert(d *draft, s string) error { return d.addTLSFile(&d.certs, s) }
func setTLSKey(d *draft, s string) error  { return d.addTLSFile(&d.keys, s) }

func (d *draft) addTLSFile(list *[]string, s string) error {
	path, err := filepath.Abs(s)
	if err != nil {
		return err
	}
	if len(*list) == maxCertificates {
		return fmt.Errorf("more than %d files", maxCertificates)
	}
	*list = append(*list, path)
	return nil
}

// completeStreams puts certificates and keys together and checks that what the listeners need is there.
func (d *draft) completeStreams() {
	c := &d.cfg
	if len(d.certs) != len(d.keys) {
		if !d.has("tls-cert") && !d.has("tls-key") {
			d.problem("tls-key", strings.Join(d.keys, ","), fmt.Errorf("there are %d of --tls-cert and %d of --tls-key; each certificate needs its key, in the same order", len(d.certs), len(d.keys)))
		}
	} else {
		for i := range d.certs {
			c.TLS.Pairs = append(c.TLS.Pairs, TLSPair{d.certs[i], d.keys[i]})
		}
	}
	secure := func(l Listener) bool { return l.Proto == transport.TLS || l.Proto == transport.WSS }
	if i := slices.IndexFunc(c.Listeners, secure); i >= 0 && len(d.certs) == 0 && !d.has("tls-cert") {
		d.problem("listen", c.Listeners[i].String(), errors.New("it needs a certificate; give --tls-cert and --tls-key"))
	}
	switch {
	case !c.Streams():
		c.StreamLoops = 0
	case !slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Proto == transport.UDP }):
		c.Loops = 0
	case c.Loops+c.StreamLoops > transport.MaxLoops && !d.has("loops") && !d.has("stream-loops"):
		d.problem("stream-loops", fmt.Sprint(c.StreamLoops), fmt.Errorf("with --loops %d there are more than %d loops", c.Loops, transport.MaxLoops))
	}
}
