package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sipedge/transport"
)

// setListen reads PROTO:HOST:PORT into another listener.
func setListen(d *draft, s string) error {
	l, err := parseListen(s)
	if err != nil {
		return err
	}
	if len(d.cfg.Listeners) == transport.MaxListeners {
		return fmt.Errorf("more than %d listeners", transport.MaxListeners)
	}
	for _, other := range d.cfg.Listeners {
		if err := overlap(other, l); err != nil {
			return err
		}
	}
	d.cfg.Listeners = append(d.cfg.Listeners, l)
	return nil
}

// overlap refuses two listeners that the system would refuse, with words that do not blame another process. UDP and TCP
// have ports of their own; tls, ws and wss are TCP.
func overlap(a, b Listener) error {
	switch {
	case (a.Proto == transport.UDP) != (b.Proto == transport.UDP):
		return nil
	case a.Addr.Port() != b.Addr.Port() || a.Addr.Port() == 0 || a.Addr.Addr().Is4() != b.Addr.Addr().Is4():
		return nil
	case a == b:
		return fmt.Errorf("given twice")
	case a.Addr == b.Addr:
		return fmt.Errorf("%v has this address and port already, and %s is TCP too", a, ProtocolName(b.Proto))
	case a.Addr.Addr().IsUnspecified() || b.Addr.Addr().IsUnspecified():
		return fmt.Errorf("it overlaps with %v", a)
	}
	return nil
}

func parseListen(s string) (Listener, error) {
	proto, rest, ok := strings.Cut(s, ":")
	p, err := parseProtocol(proto)
	if err != nil || !ok {
		return Listener{}, fmt.Errorf("it must begin with udp:, tcp:, tls:, ws: or wss: and go on with HOST:PORT")
	}
	host, port, hasPort, err := splitHostPort(rest)
	if err != nil {
		return Listener{}, err
	}
	if !hasPort {
		return Listener{}, fmt.Errorf("the port is missing")
	}
	addr, err := parseBindAddr(host)
	if err != nil {
		return Listener{}, err
	}
	n, err := parsePort(port)
	if err != nil {
		return Listener{}, err
	}
	return Listener{Proto: p, Addr: netip.AddrPortFrom(addr, n)}, nil
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

// advertise is one --advertise; a zero listener stands for all of them.
type advertise struct {
	listener Listener
	host     HostPort
}

// applyAdvertise gives each listener what is advertised for it; the one for a listener goes before
// the one for all.
func (d *draft) applyAdvertise() {
	for _, a := range d.advertise {
		one, found := a.listener != Listener{}, false
		for i := range d.cfg.Listeners {
			l := &d.cfg.Listeners[i]
			switch {
			case !one && l.Advertise.Host == "":
				l.Advertise = a.host
			case one && a.listener.Proto == l.Proto && a.listener.Addr == l.Addr:
				l.Advertise, found = a.host, true
			}
		}
		if one && !found {
			d.problem("advertise", a.listener.String()+"=...", fmt.Errorf("no --listen has that transport and address"))
		}
	}
}
