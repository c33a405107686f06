//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import (
	"net"
	"strconv"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// receiveFirst delivers the datagram that gnet has read.
func (l *loop) receiveFirst() {
	c := l.conn
	s := l.known[c.Fd()]
	if s == nil {
		s = l.meet(c.Fd(), c.LocalAddr().(*net.UDPAddr))
	}
	flow := transport.Flow{Listener: s.listener.index, Proto: transport.UDP, Local: s.local}
	remote := c.RemoteAddr().(*net.UDPAddr)
	flow.Remote = transport.AddrFrom(remote.AddrPort())
	if remote.Zone != "" {
		flow.Remote.Scope = scopeOf(remote.Zone)
	}
	b, _ := c.Next(-1) // all there is; it cannot fail
	l.stats.batches.Add(1)
	l.deliver(flow, b)
}

// meet finds out which source the socket fd of this loop belongs to.
func (l *loop) meet(fd int, local *net.UDPAddr) *source {
	for _, s := range l.engine.sources {
		ip := s.addr.Addr()
		if local.Port == int(s.addr.Port()) && local.AddrPort().Addr().Unmap().WithZone("") == ip.WithZone("") &&
			(local.Zone == "" || ip.Zone() == strconv.FormatUint(uint64(scopeOf(local.Zone)), 10)) {
			l.known[fd] = s
			l.fds[s.id] = fd
			return s
		}
	}
	panic("gnetudp: a datagram on a socket that is not ours: " + local.String())
}

// scopeOf makes a number of a zone again, which gnet has made a name of.
func scopeOf(zone string) uint32 {
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32) // 0 if the interface is gone
	return uint32(n)
}

// receiveMore delivers up to n datagrams more that wait in socket fd, and tells whether that
// were all.
func (l *loop) receiveMore(fd int, s *source, from *listener, n int) (all bool) {
	for range n {
		size, controlSize, _, sa, err := unix.Recvmsg(fd, l.in, l.control[:], unix.MSG_DONTWAIT)
		if err != nil {
			l.full, l.fullSince = 0, 0
			return true
		}
		flow := transport.Flow{Listener: from.index, Proto: transport.UDP}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			flow.Remote.IP = [16]byte{10: 0xff, 11: 0xff, 12: sa.Addr[0], 13: sa.Addr[1], 14: sa.Addr[2], 15: sa.Addr[3]}
			flow.Remote.Port = uint16(sa.Port)
		case *unix.SockaddrInet6:
			flow.Remote = transport.Addr{IP: sa.Addr, Scope: sa.ZoneId, Port: uint16(sa.Port)}
		}
		if s != nil {
			flow.Local = s.local
		} else {
			flow.Local = localOf(l.control[:controlSize])
		}
		l.deliver(flow, l.in[:size:size])
	}
	if l.full = l.now; l.fullSince == 0 {
		l.fullSince = l.now
	}
	return false
}

// receiveRest reads the catch-all sockets.
func (l *loop) receiveRest() {
	for _, from := range l.engine.listeners {
		r := from.rest
		if r == nil || !r.ready.Load() {
			continue
		}
		// Should a Handler panic in here, the rest is read in the turn after.
		l.ring()
		if l.receiveMore(r.fd, nil, from, receiveBatch) {
			r.drained()
		}
	}
}

func (l *loop) deliver(flow transport.Flow, b []byte) {
	l.stats.packetsIn.Add(1)
	l.stats.bytesIn.Add(uint64(len(b)))
	l.current = b
	l.handler.Receive(flow, b, l.now)
	l.current = nil
}

// Buffer implements transport.Loop.
func (l *loop) Buffer() []byte { return l.out[:0] }

// Send implements transport.Loop. It sends at once; there is nothing to gather without sendmmsg.
func (l *loop) Send(to transport.Flow, b []byte) transport.Status {
	e := l.engine
	if to.Proto != transport.UDP || int(to.Listener) >= len(e.listeners) {
		return transport.Gone
	}
	from := e.listeners[to.Listener]
	if to.Remote.Is4() == from.v6 {
		return transport.Gone // the listener cannot speak to that family
	}
	fd, control := l.way(from, &to)
	var sa unix.Sockaddr
	if from.v6 {
		l.to6 = unix.SockaddrInet6{Addr: to.Remote.IP, Port: int(to.Remote.Port), ZoneId: to.Remote.Scope}
		sa = &l.to6
	} else {
		l.to4 = unix.SockaddrInet4{Addr: [4]byte(to.Remote.IP[12:]), Port: int(to.Remote.Port)}
		sa = &l.to4
	}
	switch err := l.sendmsg(fd, b, control, sa); err {
	case nil:
		l.stats.packetsOut.Add(1)
		l.stats.bytesOut.Add(uint64(len(b)))
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		l.stats.sendDropped.Add(1) // the socket buffer is full: lost, as on any full queue on the way
	default:
		why := transport.Refused
		if err == unix.EMSGSIZE {
			why = transport.TooBig
		}
		l.stats.sendErrors.Add(1)
		l.refusals.Add(to, b, why)
	}
	return transport.Queued
}

// way chooses the socket to send by, so that the datagram leaves from the listener's port and
// from the address that the flow names.
func (l *loop) way(from *listener, to *transport.Flow) (fd int, control []byte) {
	if !from.wildcard {
		return l.socketOf(from.sources[0]), nil
	}
	if to.Local == [16]byte{} {
		return from.rest.fd, nil
	}
	for _, s := range from.sources {
		if s.local == to.Local {
			return l.socketOf(s), nil
		}
	}
	return from.rest.fd, leaveFrom(to.Local, from.v6, to.Remote.Scope)
}

// socketOf prefers the loop's own socket, once it has received on it.
func (l *loop) socketOf(s *source) int {
	if fd := l.fds[s.id]; fd >= 0 {
		return fd
	}
	return s.fd
}

func sendmsg(fd int, b, control []byte, to unix.Sockaddr) error {
	_, err := unix.SendmsgN(fd, b, control, to, unix.MSG_DONTWAIT)
	return err
}
