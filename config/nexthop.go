package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"sipedge/parser"
	"sipedge/transport"
)

// setNextHop reads sip:HOST[:PORT][;transport=udp|tcp|tls][;lr] or sips:HOST[:PORT].
func setNextHop(d *draft, s string) error {
	t, err := parseTargetURI(s)
	if err != nil {
		return err
	}
	d.cfg.NextHop = &t
	return nil
}

// parseTargetURI reads where to send.
func parseTargetURI(s string) (TargetURI, error) {
	b := []byte(s)
	if len(b) > maxNextHop {
		return TargetURI{}, fmt.Errorf("it has more than %d characters", maxNextHop)
	}
	t := TargetURI{Text: s}
	switch scheme, _, _ := bytes.Cut(b, []byte(":")); {
	case bytes.EqualFold(scheme, []byte("sips")):
		t.Sips = true
	case !bytes.EqualFold(scheme, []byte("sip")):
		return TargetURI{}, fmt.Errorf("it must begin with %q or %q", "sip:", "sips:")
	}
	var u parser.URI
	perr := parser.ParseURI(b, parser.Span{Len: uint16(len(b))}, &u)
	switch {
	case perr.Code != 0 || u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS:
		return TargetURI{}, fmt.Errorf("it is no SIP URI from character %d on (an IPv6 address needs brackets)", perr.Off+1)
	case u.HasUser || !u.Headers.Empty():
		return TargetURI{}, errors.New("a next hop is a host and a port, without user and headers")
	}
	params := parser.URIParamsOf(b, u.Params)
	for {
		name, value, _, ok := params.Next()
		if !ok {
			break
		}
		if err := t.setParam(string(name.In(b)), string(value.In(b))); err != nil {
			return TargetURI{}, err
		}
	}
	// The rules for a host are those of every other setting.
	h, err := parseHostPort(string(b[u.Host.Off:max(u.Host.End(), u.PortSpan.End())]))
	if err != nil {
		return TargetURI{}, err
	}
	if addr, isIP := h.Addr(); isIP && (addr.IsUnspecified() || addr.IsMulticast()) {
		return TargetURI{}, fmt.Errorf("%s is no address to send to", addr)
	}
	t.Host, t.Port = h.Host, h.Port
	return t, nil
}

func (t *TargetURI) setParam(name, value string) error {
	switch {
	case strings.EqualFold(name, "lr"):
		return nil
	case !strings.EqualFold(name, "transport"):
		return fmt.Errorf("parameter %s=%s is not supported here", name, value)
	}
	p, err := parseProtocol(value)
	switch {
	case err != nil:
		return fmt.Errorf("transport=%s: %w", value, err)
	case p == transport.WS || p == transport.WSS:
		return fmt.Errorf("transport=%s: nobody can be connected to by WebSocket; a WebSocket client is reached on the connection it made", value)
	case t.Sips && p == transport.UDP:
		return errors.New("transport=udp: sips means TLS, which UDP does not have")
	}
	t.Transport = p
	return nil
}

// addr is the host as HostPort has it.
func (t *TargetURI) hostPort() HostPort { return HostPort{t.Host, t.Port} }

func (t TargetURI) String() string { return t.Text }
