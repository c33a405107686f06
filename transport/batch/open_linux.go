package batch

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// opener makes the sockets of one listener, alike for each loop.
type opener struct {
	cfg    *transport.Config
	addr   netip.AddrPort // as bound; the port is known after the first open
	family int
	scope  uint32
}

func newOpener(want netip.AddrPort, cfg *transport.Config) (*opener, error) {
	addr, scope, err := transport.Normal(want)
	if err != nil {
		return nil, err
	}
	o := &opener{cfg: cfg, addr: addr, family: unix.AF_INET6, scope: scope}
	if addr.Addr().Is4() {
		o.family = unix.AF_INET
	}
	return o, nil
}

// open makes one bound socket with all options set.
func (o *opener) open(join bool) (fd int, err error) {
	fd, err = unix.Socket(o.family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, fmt.Errorf("udp %s: cannot make a socket: %w", o.addr, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
			fd = -1
		}
	}()
	if err = o.options(fd); err != nil {
		return fd, fmt.Errorf("udp %s: cannot set up the socket: %w", o.addr, err)
	}
	if join {
		if err = o.share(fd); err != nil {
			return fd, err
		}
	}
	if err = unix.Bind(fd, o.sockaddr()); err != nil {
		return fd, transport.BindError(o.addr, err)
	}
	if o.addr.Port() == 0 {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return fd, fmt.Errorf("udp %s: %w", o.addr, err)
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			o.addr = netip.AddrPortFrom(o.addr.Addr(), uint16(sa.Port))
		case *unix.SockaddrInet6:
			o.addr = netip.AddrPortFrom(o.addr.Addr(), uint16(sa.Port))
		}
	}
	o.receiveBuffer(fd, !join)
	return fd, nil
}

// share lets the sockets of the other loops have the same address. The first socket of a
// listener is bound without it and gets it afterwards: so a port that any other process holds,
// be it a second sipedge, is an error here and not a silent sharing of the traffic.
func (o *opener) share(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return fmt.Errorf("udp %s: several loops need SO_REUSEPORT: %w; use --loops 1", o.addr, err)
	}
	return nil
}

func (o *opener) options(fd int) error {
	wildcard := o.addr.Addr().IsUnspecified()
	if o.family == unix.AF_INET {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1); err != nil {
			return err
		}
		if wildcard {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
		return nil
	}
	// A listener is of one family: 0.0.0.0 beside [::] is another one, with its own flows.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1); err != nil {
		return err
	}
	if wildcard {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return nil
}

// receiveBuffer asks for the room wanted, with privilege beyond net.core.rmem_max.
func (o *opener) receiveBuffer(fd int, first bool) {
	want := o.cfg.ReceiveBuffer
	if want <= 0 {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, want) != nil {
		// An error here shows as too small a buffer below.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, want)
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	// The kernel doubles what it is asked for, to account for its own bookkeeping. socket(7)
	if err == nil && first {
		o.cfg.WarnReceiveBuffer(o.addr, got/2)
	}
}

func (o *opener) sockaddr() unix.Sockaddr {
	if o.family == unix.AF_INET {
		return &unix.SockaddrInet4{Addr: o.addr.Addr().As4(), Port: int(o.addr.Port())}
	}
	return &unix.SockaddrInet6{Addr: o.addr.Addr().As16(), Port: int(o.addr.Port()), ZoneId: o.scope}
}
