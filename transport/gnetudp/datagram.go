//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import (
	"runtime"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

var _ transport.Datagrams = (*Engine)(nil)

// SendDatagram implements transport.Datagrams.
func (e *Engine) SendDatagram(to transport.Flow, b []byte) transport.Failure {
	if e.datagrams.Add(1) < 0 { // the sockets are closing
		e.datagrams.Add(-1)
		return transport.Refused
	}
	defer e.datagrams.Add(-1)
	if to.Proto != transport.UDP || int(to.Listener) >= len(e.listeners) || to.Remote.Is4() == e.listeners[to.Listener].v6 {
		return transport.Refused
	}
	fd, control := e.wayOut(e.listeners[to.Listener], &to)
	var sa unix.Sockaddr
	if to.Remote.Is4() {
		sa = &unix.SockaddrInet4{Addr: [4]byte(to.Remote.IP[12:]), Port: int(to.Remote.Port)}
	} else {
		sa = &unix.SockaddrInet6{Addr: to.Remote.IP, Port: int(to.Remote.Port), ZoneId: to.Remote.Scope}
	}
	stats := &e.loops[0].stats
	switch err := sendmsg(fd, b, control, sa); err {
	case nil:
		stats.packetsOut.Add(1)
		stats.bytesOut.Add(uint64(len(b)))
		return 0
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		stats.sendDropped.Add(1) // the socket buffer is full: lost, as on any full queue on the way
		return 0
	case unix.EMSGSIZE:
		stats.sendErrors.Add(1)
		return transport.TooBig
	}
	stats.sendErrors.Add(1)
	return transport.Refused
}

// wayOut is (*loop).way for a goroutine that has no sockets of its own.
func (e *Engine) wayOut(from *listener, to *transport.Flow) (fd int, control []byte) {
	if !from.wildcard {
		return from.sources[0].fd, nil
	}
	for _, s := range from.sources {
		if s.local == to.Local && to.Local != [16]byte{} {
			return s.fd, nil
		}
	}
	if to.Local != [16]byte{} {
		control = leaveFrom(to.Local, from.v6, to.Remote.Scope)
	}
	return from.rest.fd, control
}

const closedDatagrams = -1 << 32

// endDatagrams waits for the datagrams under way and lets no more in, so that none goes into a file that got a socket's number.
func (e *Engine) endDatagrams() {
	e.datagrams.Add(closedDatagrams)
	for e.datagrams.Load() > closedDatagrams {
		runtime.Gosched()
	}
}
