package config

import (
	"fmt"
	"strings"
)

// setNextHop reads sip:HOST[:PORT][;transport=udp][;lr].
func setNextHop(d *draft, s string) error {
	scheme, rest, ok := strings.Cut(s, ":")
	switch scheme = strings.ToLower(scheme); {
	case scheme == "sips":
		return fmt.Errorf("sips needs TLS, which is not a transport of this version")
	case !ok || scheme != "sip":
		return fmt.Errorf("it must begin with %q", "sip:")
	case strings.ContainsAny(rest, "@?"):
		return fmt.Errorf("a next hop is a host and a port, without user and headers")
	}
	hostport, params, _ := strings.Cut(rest, ";")
	h, err := parseHostPort(hostport)
	if err != nil {
		return err
	}
	if params != "" {
		for p := range strings.SplitSeq(strings.ToLower(params), ";") {
			if p != "lr" && p != "transport=udp" {
				return fmt.Errorf("parameter %q is not supported here", p)
			}
		}
	}
	if addr, isIP := h.Addr(); isIP && (addr.IsUnspecified() || addr.IsMulticast()) {
		return fmt.Errorf("%s is no address to send to", addr)
	} else if !isIP {
		d.warn("--next-hop %s: names are not resolved in this version; requests for it are answered 503", s)
	}
	d.cfg.NextHop = &h
	return nil
}
