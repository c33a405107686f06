package config

import (
	"bytes"
	"errors"
	"fmt"

	"sipedge/parser"
)

// setNextHop reads sip:HOST[:PORT][;transport=udp][;lr].
func setNextHop(d *draft, s string) error {
	h, err := parseNextHop([]byte(s))
	if err != nil {
		return err
	}
	if addr, isIP := h.Addr(); isIP && (addr.IsUnspecified() || addr.IsMulticast()) {
		return fmt.Errorf("%s is no address to send to", addr)
	} else if !isIP {
		d.warn("--next-hop %s: names are not resolved in this version; requests for it are answered 503", s)
	}
	d.cfg.NextHop = &h
	return nil
}

func parseNextHop(b []byte) (HostPort, error) {
	if len(b) > maxNextHop {
		return HostPort{}, fmt.Errorf("it has more than %d characters", maxNextHop)
	}
	switch scheme, _, _ := bytes.Cut(b, []byte(":")); {
	case bytes.EqualFold(scheme, []byte("sips")):
		return HostPort{}, errors.New("sips needs TLS, which is not a transport of this version")
	case !bytes.EqualFold(scheme, []byte("sip")):
		return HostPort{}, fmt.Errorf("it must begin with %q", "sip:")
	}
	var u parser.URI
	perr := parser.ParseURI(b, parser.Span{Len: uint16(len(b))}, &u)
	switch {
	case perr.Code != 0 || u.SchemeIs != parser.SchemeSIP:
		return HostPort{}, fmt.Errorf("it is no SIP URI from character %d on (an IPv6 address needs brackets)", perr.Off+1)
	case u.HasUser || !u.Headers.Empty():
		return HostPort{}, errors.New("a next hop is a host and a port, without user and headers")
	}
	params := parser.URIParamsOf(b, u.Params)
	for {
		name, value, _, ok := params.Next()
		if !ok {
			break
		}
		n, v := name.In(b), value.In(b)
		if !bytes.EqualFold(n, []byte("lr")) && !(bytes.EqualFold(n, []byte("transport")) && bytes.EqualFold(v, []byte("udp"))) {
			return HostPort{}, fmt.Errorf("parameter %s=%s is not supported here", n, v)
		}
	}
	// The rules for a host are those of every other setting.
	return parseHostPort(string(b[u.Host.Off:max(u.Host.End(), u.PortSpan.End())]))
}
