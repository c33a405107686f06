//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// listener is one address of the configuration.
type listener struct {
	Listener
	addr netip.AddrPort
	v6   bool
	hold int // a socket that has the port until gnet does, and between two lives of gnet; -1: none
}

// listen reserves the listener's address: it fails when anybody else has it.
func (e *Engine) listen(want Listener) error {
	if !want.Proto.Reliable() || want.Proto > transport.WSS {
		return fmt.Errorf("stream: listener %s is not for a stream", want.Addr)
	}
	addr, scope, err := transport.Normal(want.Addr)
	if err != nil {
		return err
	}
	l := &listener{Listener: want, addr: addr, v6: addr.Addr().Is6(), hold: -1}
	e.ordered = append(e.ordered, l)
	e.listeners[want.Index] = l
	if err := l.reserve(scope); err != nil {
		return bindError(l, err)
	}
	return nil
}

// reserve binds without listening. SO_REUSEADDR lets gnet bind the same while nobody listens, SO_REUSEPORT its loops among each other;
// that one is set after the bind, which therefore fails when another process listens.
func (l *listener) reserve(scope uint32) error {
	family := unix.AF_INET
	if l.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	l.hold = fd
	unix.CloseOnExec(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	var sa unix.Sockaddr
	if l.v6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
		sa = &unix.SockaddrInet6{Port: int(l.addr.Port()), Addr: l.addr.Addr().As16(), ZoneId: scope}
	} else {
		sa = &unix.SockaddrInet4{Port: int(l.addr.Port()), Addr: l.addr.Addr().As4()}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		l.addr = netip.AddrPortFrom(l.addr.Addr(), uint16(bound.Port))
	case *unix.SockaddrInet6:
		l.addr = netip.AddrPortFrom(l.addr.Addr(), uint16(bound.Port))
	}
	return nil
}

func bindError(l *listener, err error) error {
	advice := "give another --listen"
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		advice = "another process has this port; stop it (ss -tlpn shows it) or give another --listen"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		advice = "this machine does not have that address (ip address shows those it has); give another --listen"
	case errors.Is(err, unix.EACCES):
		advice = "this port is for privileged processes; give one above 1023, or CAP_NET_BIND_SERVICE"
	}
	return fmt.Errorf("cannot bind %s %s: %w; %s", protoNames[l.Proto], l.addr, err, advice)
}

var protoNames = [...]string{transport.TCP: "tcp", transport.TLS: "tls", transport.WS: "ws", transport.WSS: "wss"}

// url is how gnet is told. It knows zones by name only.
func (l *listener) url() string {
	addr := l.addr
	if zone := addr.Addr().Zone(); zone != "" {
		if index, err := strconv.Atoi(zone); err == nil {
			if ifi, err := net.InterfaceByIndex(index); err == nil {
				addr = netip.AddrPortFrom(addr.Addr().WithZone(ifi.Name), addr.Port())
			}
		}
	}
	if l.v6 {
		return "tcp6://" + addr.String()
	}
	return "tcp4://" + addr.String()
}

func (l *listener) close() {
	if l.hold >= 0 {
		unix.Close(l.hold)
		l.hold = -1
	}
}

// release lets gnet bind the port where two sockets cannot share it.
func (l *listener) release() {
	if runtime.GOOS != "linux" {
		l.close()
	}
}

// accepting is the listener with the address that gnet says a connection came to.
func (e *Engine) accepting(local net.Addr) *listener {
	a, ok := local.(*net.TCPAddr)
	if !ok {
		return nil
	}
	at := a.AddrPort()
	for _, l := range e.ordered {
		if l.addr.Port() == at.Port() && l.addr.Addr().WithZone("") == at.Addr().Unmap().WithZone("") {
			if zone := l.addr.Addr().Zone(); zone == "" || zone == strconv.FormatUint(uint64(scopeOf(a.Zone)), 10) {
				return l
			}
		}
	}
	return nil
}

// scopeOf makes a number of a zone.
func scopeOf(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32) // 0 if the interface is gone
	return uint32(n)
}

// dialListener is the listener that a connection to k belongs to, whose address our Via will say: the one asked for if it can be, or else
// the first of that protocol and family.
func (e *Engine) dialListener(k destinationKey, wanted uint16) (index uint16, ok bool) {
	v6 := !k.addr.Is4()
	if l := e.listeners[wanted]; l != nil && l.Proto == k.proto && l.v6 == v6 {
		return wanted, true
	}
	for _, l := range e.ordered {
		if l.Proto == k.proto && l.v6 == v6 {
			return l.Index, true
		}
	}
	return 0, false
}
