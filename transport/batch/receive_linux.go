package batch

import (
	"fmt"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// intake is where recvmmsg puts a batch. One per loop: its sockets take turns.
type intake struct {
	hdrs    [receiveBatch]mmsghdr
	iovs    [receiveBatch]unix.Iovec
	names   [receiveBatch]sockaddr
	control [receiveBatch][controlBytes / 8]uint64 // as uint64 for the alignment of cmsghdr
	buffers []byte

	// The batch in hand: packets at to got of socket from are not delivered yet.
	at, got int
	from    int
	errors  bool   // they come from the error queue
	current []byte // the packet that the Handler has
}

func (in *intake) init() {
	in.buffers = make([]byte, receiveBatch*receiveStride)
	for i := range in.hdrs {
		in.iovs[i].Base = &in.buffers[i*receiveStride]
		in.iovs[i].SetLen(transport.MaxDatagram)
		h := &in.hdrs[i].hdr
		h.Name = (*byte)(ptr(&in.names[i]))
		h.Iov = &in.iovs[i]
		h.SetIovlen(1)
		h.Control = (*byte)(ptr(&in.control[i]))
		in.reset(i)
	}
}

// reset undoes what the kernel wrote into the lengths of a used header.
func (in *intake) reset(i int) {
	h := &in.hdrs[i].hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.SetControllen(controlBytes)
}

func (in *intake) packet(i int) []byte {
	start, n := i*receiveStride, int(in.hdrs[i].n)
	return in.buffers[start : start+n : start+n]
}

func (in *intake) controlOf(i int) []byte {
	return bytesOf(&in.control[i])[:min(uint64(in.hdrs[i].hdr.Controllen), controlBytes)]
}

// receive takes one batch from socket i and leaves its bit in ready when more may be waiting.
func (l *loop) receive(i int) {
	s := &l.socks[i]
	// An error of the socket (left by an ICMP message) is reported once and is then gone; the
	// datagrams behind it are unharmed.
	s.backlog.before(s.fd, l.now)
	for range pendingErrors {
		n, errno := recvmmsg(s.fd, &l.in.hdrs[0], receiveBatch, 0)
		switch errno {
		case 0:
			if !l.polled {
				l.now = transport.Now()
			}
			l.polled = false
			l.in.at, l.in.got, l.in.from, l.in.errors = 0, n, i, false
			if n == receiveBatch {
				l.ready |= 1 << uint(i)
				s.backlog.full(s.fd, l.now, &l.stats)
			} else {
				s.backlog.emptied(n, l.now)
			}
			l.handled += n
			l.stats.batches.Add(1)
			l.stats.packetsIn.Add(uint64(n))
			return
		case unix.EAGAIN:
			s.backlog.emptied(0, l.now)
			return
		case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.EINVAL:
			l.engine.fail(fmt.Errorf("batch: loop %d: recvmmsg: %w", l.id, errno))
			return
		case unix.EINTR:
		default:
			l.failed |= 1 << uint(i)
		}
	}
	l.ready |= 1 << uint(i) // errors came faster than they could be read: another time
}

// deliver gives the rest of the batch in hand to the Handler.
func (l *loop) deliver() {
	in := &l.in
	s := &l.socks[in.from]
	bytes := uint64(0)
	for in.at < in.got {
		i := in.at
		in.at++
		in.current = in.packet(i)
		flow := transport.Flow{Listener: s.listener, Proto: transport.UDP}
		s.getAddr(&in.names[i], &flow.Remote)
		if in.errors {
			l.deliverError(s, i, flow)
			continue
		}
		if s.wildcard {
			s.local(in.controlOf(i), &flow.Local)
		}
		in.reset(i)
		bytes += uint64(len(in.current))
		l.handler.Receive(flow, in.current, l.now)
	}
	in.current = nil
	if bytes != 0 {
		l.stats.bytesIn.Add(bytes)
	}
}
