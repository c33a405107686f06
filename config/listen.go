package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sipedge/transport"
)

// setListen reads udp:HOST:PORT into another listener.
func setListen(d *draft, s string) error {
	addr, err := parseListen(s)
	if err != nil {
		return err
	}
	if len(d.cfg.Listeners) == transport.MaxListeners {
		return fmt.Errorf("more than %d listeners", transport.MaxListeners)
	}
	for _, l := range d.cfg.Listeners {
		if err := overlap(l.Addr, addr); err != nil {
			return err
		}
	}
	d.cfg.Listeners = append(d.cfg.Listeners, Listener{Addr: addr})
	return nil
}

// overlap refuses two listeners that the system would refuse, with words that do not blame another process.
func overlap(a, b netip.AddrPort) error {
	switch {
	case a.Port() != b.Port() || a.Port() == 0 || a.Addr().Is4() != b.Addr().Is4():
		return nil
	case a == b:
		return fmt.Errorf("given twice")
	case a.Addr().IsUnspecified() || b.Addr().IsUnspecified():
		return fmt.Errorf("it overlaps with udp:%v", a)
	}
	return nil
}

func parseListen(s string) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	proto, rest, ok := strings.Cut(s, ":")
	switch proto = strings.ToLower(proto); {
	case proto == "tcp" || proto == "tls" || proto == "ws" || proto == "wss":
		return none, fmt.Errorf("%s is not a transport of this version; only udp is", proto)
	case !ok || proto != "udp":
		return none, fmt.Errorf("it must begin with %q", "udp:")
	}
	host, port, hasPort, err := splitHostPort(rest)
	if err != nil {
		return none, err
	}
	if !hasPort {
		return none, fmt.Errorf("the port is missing")
	}
	addr, err := parseBindAddr(host)
	if err != nil {
		return none, err
	}
	n, err := parsePort(port)
	if err != nil {
		return none, err
	}
	return netip.AddrPortFrom(addr, n), nil
}

// parseBindAddr wants an address of this machine. Names are refused, for a name that changes its
// address, or has several, would make the listener depend on the day; localhost is safe.
func parseBindAddr(host string) (netip.Addr, error) {
	switch {
	case strings.EqualFold(host, "localhost"):
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	case host == "" || host == "*":
		return netip.Addr{}, fmt.Errorf("for every address of the machine write 0.0.0.0 or [::]")
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is no IP address; a listener needs one", host)
	}
	if addr.IsMulticast() {
		return netip.Addr{}, fmt.Errorf("%s is a multicast address", host)
	}
	return addr.Unmap(), nil
}

// setAdvertise reads HOST[:PORT] or LISTENER=HOST[:PORT]; applyAdvertise puts it in its place when
// all listeners are known.
func setAdvertise(d *draft, s string) error {
	listener, host, one := strings.Cut(s, "=")
	if !one {
		listener, host = "", s
	}
	h, err := parseHostPort(host)
	if err != nil {
		return err
	}
	if addr, ok := h.Addr(); ok && (addr.IsUnspecified() || addr.IsMulticast()) {
		return fmt.Errorf("nobody can send to %s", h.Host)
	}
	a := advertise{host: h}
	if one {
		if a.listener, err = parseListen(listener); err != nil {
			return fmt.Errorf("listener %q: %w", listener, err)
		}
	}
	if slices.ContainsFunc(d.advertise, func(b advertise) bool { return a.listener == b.listener }) {
		if one {
			return fmt.Errorf("a second one for %s", listener)
		}
		return fmt.Errorf("a second one for all listeners; for one listener write LISTENER=%s", s)
	}
	d.advertise = append(d.advertise, a)
	return nil
}

// advertise is one --advertise; an invalid listener stands for all of them.
type advertise struct {
	listener netip.AddrPort
	host     HostPort
}

// applyAdvertise gives each listener what is advertised for it; the one for a listener goes before
// the one for all.
func (d *draft) applyAdvertise() {
	for _, a := range d.advertise {
		for i := range d.cfg.Listeners {
			if l := &d.cfg.Listeners[i]; !a.listener.IsValid() && l.Advertise.Host == "" {
				l.Advertise = a.host
			} else if a.listener == l.Addr {
				l.Advertise = a.host
			}
		}
		if a.listener.IsValid() && !slices.ContainsFunc(d.cfg.Listeners, func(l Listener) bool { return l.Addr == a.listener }) {
			d.problem("advertise", "udp:"+a.listener.String()+"=...", fmt.Errorf("no --listen has that address"))
		}
	}
}
