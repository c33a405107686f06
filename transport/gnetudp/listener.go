//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// listener is one address of the configuration.
//
// gnet reads a datagram without asking for the address it came to, which on a wildcard socket is
// then not to be had. So gnet gets a socket for each address of this machine, where the question
// does not arise; what comes to any other address (one added later, 127.0.0.2) goes to the
// catch-all, a wildcard socket of ours.
type listener struct {
	index    uint16
	addr     netip.AddrPort
	v6       bool
	wildcard bool
	sources  []*source
	rest     *catchAll    // of a wildcard only
	hold     *net.UDPConn // has the port until gnet does
}

// source is an address that gnet listens on, with one socket for each loop.
type source struct {
	id       int // index into Engine.sources
	listener *listener
	addr     netip.AddrPort
	local    [16]byte // what Flow.Local says: addr, or zero if the listener is no wildcard
	fd       int      // a duplicate of the first loop's socket
}

func (s *source) network() string {
	if s.listener.v6 {
		return "udp6"
	}
	return "udp4"
}

// address is the name by which gnet knows the source. It knows zones by name only.
func (s *source) address() string {
	addr := s.addr
	if zone := addr.Addr().Zone(); zone != "" {
		if index, err := strconv.Atoi(zone); err == nil {
			if ifi, err := net.InterfaceByIndex(index); err == nil {
				addr = netip.AddrPortFrom(addr.Addr().WithZone(ifi.Name), addr.Port())
			}
		}
	}
	return addr.String()
}

func (s *source) url() string { return s.network() + "://" + s.address() }

func (e *Engine) listen(i int, want netip.AddrPort) (*listener, error) {
	addr, _, err := transport.Normal(want)
	if err != nil {
		return nil, err
	}
	l := &listener{index: uint16(i), addr: addr, v6: addr.Addr().Is6(), wildcard: addr.Addr().IsUnspecified()}
	e.listeners = append(e.listeners, l)
	hold, err := exclusive(l)
	if err != nil {
		return nil, err
	}
	l.addr = netip.AddrPortFrom(addr.Addr(), uint16(hold.LocalAddr().(*net.UDPAddr).Port))
	if !l.wildcard {
		l.hold = hold
		e.addSource(l, l.addr.Addr())
		return l, nil
	}
	l.rest, err = newCatchAll(l, hold, &e.cfg)
	if err != nil {
		hold.Close()
		return nil, err
	}
	for _, ip := range machineAddresses(l.v6) {
		if !bindable(l, ip) {
			continue // an IPv6 address not yet usable, or one just taken away
		}
		e.addSource(l, ip)
	}
	return l, nil
}

func (e *Engine) addSource(l *listener, ip netip.Addr) {
	s := &source{id: len(e.sources), listener: l, addr: netip.AddrPortFrom(ip, l.addr.Port()), fd: -1}
	if l.wildcard {
		s.local = ip.As16()
	}
	l.sources = append(l.sources, s)
	e.sources = append(e.sources, s)
}

// exclusive binds the listener's address in a way that fails when anybody else has the port,
// and then lets gnet's sockets have it too.
func exclusive(l *listener) (*net.UDPConn, error) {
	c, err := bind(l, l.addr, false)
	if err != nil {
		return nil, transport.BindError(l.addr, err)
	}
	if canShareLater {
		err = control(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	} else {
		at := netip.AddrPortFrom(l.addr.Addr(), uint16(c.LocalAddr().(*net.UDPAddr).Port))
		c.Close()
		c, err = bind(l, at, true)
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		return nil, fmt.Errorf("udp %s: cannot share the port among loops: %w", l.addr, err)
	}
	return c, nil
}

func bind(l *listener, at netip.AddrPort, share bool) (*net.UDPConn, error) {
	network := "udp4"
	if l.v6 {
		network = "udp6"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if share {
			if err2 := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}); err2 != nil {
				return err2
			}
		}
		return err
	}}
	c, err := lc.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

func bindable(l *listener, ip netip.Addr) bool {
	c, err := bind(l, netip.AddrPortFrom(ip, l.addr.Port()), true)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// machineAddresses are the addresses of this machine's interfaces, of one family.
func machineAddresses(v6 bool) (ips []netip.Addr) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, ifi := range interfaces {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || prefix.Addr().Is4() == v6 {
				continue
			}
			ip := prefix.Addr()
			if ip.IsLinkLocalUnicast() && v6 {
				ip = ip.WithZone(fmt.Sprint(ifi.Index))
			}
			if len(ips) < expandedAddresses {
				ips = append(ips, ip)
			}
		}
	}
	return ips
}

// control runs f with the file descriptor of c.
func control(c *net.UDPConn, f func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if err2 := rc.Control(func(fd uintptr) { err = f(int(fd)) }); err2 != nil {
		return err2
	}
	return err
}

func (l *listener) close() {
	if l.hold != nil {
		l.hold.Close()
	}
	if l.rest != nil {
		l.rest.conn.Close()
	}
	for _, s := range l.sources {
		if s.fd >= 0 {
			unix.Close(s.fd)
		}
	}
}
