package batch

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

var _ transport.Datagrams = (*Engine)(nil)

// SendDatagram implements transport.Datagrams: it sends by the first loop's socket of the listener, at once.
func (e *Engine) SendDatagram(to transport.Flow, b []byte) (why transport.Failure) {
	if e.datagrams.Add(1) < 0 { // the sockets are closing
		e.datagrams.Add(-1)
		return transport.Refused
	}
	defer e.datagrams.Add(-1)
	l := e.loops[0]
	if to.Proto != transport.UDP || int(to.Listener) >= len(l.socks) {
		return transport.Refused
	}
	s := &l.socks[to.Listener]
	switch {
	case to.Remote.Is4() == s.v6:
		return transport.Refused // the listener cannot speak to that family
	case len(b) > transport.MaxDatagram:
		l.stats.sendErrors.Add(1)
		return transport.TooBig
	}
	switch s.sendNow(&to, b) {
	case 0:
		l.stats.packetsOut.Add(1)
		l.stats.bytesOut.Add(uint64(len(b)))
		return 0
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		l.stats.sendDropped.Add(1) // the buffer is full: lost, as on any full queue on the way
		return 0
	case unix.EMSGSIZE:
		why = transport.TooBig
	default:
		why = transport.Refused
	}
	l.stats.sendErrors.Add(1)
	return why
}

// sendNow sends b from any goroutine. All that the kernel reads lies on the stack.
func (s *socket) sendNow(to *transport.Flow, b []byte) (errno syscall.Errno) {
	var name sockaddr
	var control [sendControlBytes / 8]uint64
	s.putAddr(&name, &to.Remote)
	iov := unix.Iovec{Base: unsafe.SliceData(b)}
	iov.SetLen(len(b))
	h := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&name)), Namelen: unix.SizeofSockaddrInet4, Iov: &iov}
	if s.v6 {
		h.Namelen = unix.SizeofSockaddrInet6
	}
	h.SetIovlen(1)
	if s.wildcard && to.Local != [16]byte{} {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control))
		data := unsafe.Pointer(&bytesOf(&control)[unix.CmsgLen(0)])
		if s.v6 {
			c.Level, c.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
			c.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
			*(*unix.Inet6Pktinfo)(data) = unix.Inet6Pktinfo{Addr: to.Local, Ifindex: to.Remote.Scope}
			h.SetControllen(unix.CmsgSpace(unix.SizeofInet6Pktinfo))
		} else {
			c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
			c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
			(*unix.Inet4Pktinfo)(data).Spec_dst = [4]byte(to.Local[12:])
			h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
		}
		h.Control = (*byte)(unsafe.Pointer(&control))
	}
	// An error may be about some other datagram (see flushSocket), so try again.
	for range pendingErrors {
		_, _, errno = syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch errno {
		case 0, unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.EMSGSIZE:
			return errno
		}
	}
	return errno
}

const closedDatagrams = -1 << 32

// endDatagrams waits for the datagrams under way and lets no more in, so that none goes into a file that got a socket's number.
func (e *Engine) endDatagrams() {
	e.datagrams.Add(closedDatagrams)
	for e.datagrams.Load() > closedDatagrams {
		runtime.Gosched()
	}
}
