package batch

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// outgoing holds the messages that Send queued, one after the other, until the flush.
type outgoing struct {
	arena   []byte
	used    int    // bytes of arena taken
	waiting uint64 // sockets with something queued, by listener
}

// sendQueue is what sendmmsg gets for one socket: entries first to n point into the arena.
type sendQueue struct {
	hdrs    [sendBatch]mmsghdr
	iovs    [sendBatch]unix.Iovec
	names   [sendBatch]sockaddr
	control [sendBatch][sendControlBytes / 8]uint64
	first   int
	n       int
	blocked bool // the kernel's send buffer was full; POLLOUT will tell when it is not
}

func newSendQueue(v6, wildcard bool) *sendQueue {
	q := &sendQueue{}
	for i := range q.hdrs {
		h := &q.hdrs[i].hdr
		h.Name = (*byte)(ptr(&q.names[i]))
		h.Namelen = unix.SizeofSockaddrInet4
		if v6 {
			h.Namelen = unix.SizeofSockaddrInet6
		}
		h.Iov = &q.iovs[i]
		h.SetIovlen(1)
		if !wildcard {
			continue
		}
		h.Control = (*byte)(ptr(&q.control[i]))
		c := (*unix.Cmsghdr)(ptr(&q.control[i]))
		if v6 {
			c.Level, c.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
			c.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		} else {
			c.Level, c.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
			c.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		}
	}
	return q
}

// Buffer implements transport.Loop.
func (l *loop) Buffer() []byte {
	o := &l.out
	if len(o.arena)-o.used < transport.MaxDatagram {
		l.makeRoom()
	}
	return o.arena[o.used : o.used : o.used+transport.MaxDatagram]
}

// Send implements transport.Loop.
func (l *loop) Send(to transport.Flow, b []byte) transport.Status {
	o := &l.out
	if to.Proto != transport.UDP || int(to.Listener) >= len(l.socks) {
		return transport.Gone
	}
	s := &l.socks[to.Listener]
	if to.Remote.Is4() == s.v6 {
		return transport.Gone // the listener cannot speak to that family
	}
	if len(b) > transport.MaxDatagram {
		// It outgrew the Buffer, which no datagram can.
		l.refused(&to, b, transport.TooBig)
		return transport.Queued
	}
	if o.used+len(b) > len(o.arena) || unsafe.SliceData(b) != unsafe.SliceData(o.arena[o.used:]) {
		panic("transport: Send of bytes that do not lie in the last Buffer")
	}
	q := s.queue
	if q.n == sendBatch {
		l.flushSocket(int(to.Listener))
		if q.n == sendBatch {
			l.drop(int(to.Listener))
		}
	}
	i := q.n
	q.n++
	q.iovs[i].Base = unsafe.SliceData(b)
	q.iovs[i].SetLen(len(b))
	s.putAddr(&q.names[i], &to.Remote)
	if s.wildcard {
		s.putLocal(q, i, &to)
	}
	o.used += len(b)
	o.waiting |= 1 << to.Listener
	return transport.Queued
}

// putLocal makes message i leave from the address of ours that the flow names, if it names one.
func (s *socket) putLocal(q *sendQueue, i int, to *transport.Flow) {
	h := &q.hdrs[i].hdr
	if to.Local == [16]byte{} {
		h.SetControllen(0)
		return
	}
	data := bytesOf(&q.control[i])[unix.CmsgLen(0):]
	if s.v6 {
		h.SetControllen(unix.CmsgSpace(unix.SizeofInet6Pktinfo))
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(unsafe.SliceData(data)))
		info.Addr = to.Local
		info.Ifindex = to.Remote.Scope // a link-local address means nothing without its link
		return
	}
	h.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
	(*unix.Inet4Pktinfo)(unsafe.Pointer(unsafe.SliceData(data))).Spec_dst = [4]byte(to.Local[12:])
}

// flowOf is where entry i of the queue was to go.
func (s *socket) flowOf(i int) transport.Flow {
	q := s.queue
	to := transport.Flow{Listener: s.listener, Proto: transport.UDP}
	s.getAddr(&q.names[i], &to.Remote)
	if s.wildcard && q.hdrs[i].hdr.Controllen != 0 {
		data := bytesOf(&q.control[i])[unix.CmsgLen(0):]
		if s.v6 {
			to.Local = (*unix.Inet6Pktinfo)(unsafe.Pointer(unsafe.SliceData(data))).Addr
		} else {
			mapped(&to.Local, (*unix.Inet4Pktinfo)(unsafe.Pointer(unsafe.SliceData(data))).Spec_dst)
		}
	}
	return to
}

// makeRoom empties the arena: by sending, or by dropping what the kernel does not take.
func (l *loop) makeRoom() {
	l.flush()
	for i := range l.socks {
		if l.out.waiting&(1<<uint(i)) != 0 {
			l.drop(i)
		}
	}
	l.out.used = 0
}

// flush gives everything queued to the kernel. What a full send buffer does not take now is
// kept, and the arena with it, until POLLOUT or until its place is needed.
func (l *loop) flush() {
	for i := range l.socks {
		if l.out.waiting&(1<<uint(i)) != 0 {
			l.flushSocket(i)
		}
	}
	if l.out.waiting == 0 {
		l.out.used = 0
	}
}

func (l *loop) flushSocket(i int) {
	s := &l.socks[i]
	q := s.queue
	sent, bytes := 0, 0
	reports := 0
	for q.first < q.n {
		n, errno := l.sendmmsg(s.fd, &q.hdrs[q.first], q.n-q.first)
		switch errno {
		case 0:
			for _, h := range q.hdrs[q.first : q.first+n] {
				bytes += int(h.n)
			}
			sent += n
			q.first += n
			reports = 0
			continue
		case unix.EAGAIN:
			l.countSent(sent, bytes)
			l.block(i, true)
			return
		case unix.ENOBUFS, unix.ENOMEM:
			// The queue of the interface dropped it (reported since IP_RECVERR is on).
			l.stats.sendDropped.Add(1)
		default:
			// The error may be about some other datagram: an ICMP message leaves one on the
			// socket, and the next call reports it, whatever it sends. So try this entry again.
			if reports++; reports < pendingErrors {
				continue
			}
			to := s.flowOf(q.first)
			why := transport.Refused
			if errno == unix.EMSGSIZE {
				why = transport.TooBig
			}
			l.refused(&to, unsafe.Slice(q.iovs[q.first].Base, q.iovs[q.first].Len), why)
		}
		q.first++
		reports = 0
	}
	q.first, q.n = 0, 0
	l.out.waiting &^= 1 << uint(i)
	l.countSent(sent, bytes)
	if q.blocked {
		l.block(i, false)
	}
}

func (l *loop) countSent(packets, bytes int) {
	if packets != 0 {
		l.stats.packetsOut.Add(uint64(packets))
		l.stats.bytesOut.Add(uint64(bytes))
	}
}

func (l *loop) refused(to *transport.Flow, b []byte, why transport.Failure) {
	l.stats.sendErrors.Add(1)
	l.refusals.Add(*to, b, why)
}

// drop gives up what is queued on socket i.
func (l *loop) drop(i int) {
	q := l.socks[i].queue
	l.stats.sendDropped.Add(uint64(q.n - q.first))
	q.first, q.n = 0, 0
	l.out.waiting &^= 1 << uint(i)
}

// block waits for room in the send buffer of socket i as well, or no longer.
func (l *loop) block(i int, on bool) {
	l.socks[i].queue.blocked = on
	l.polls[i].Events = unix.POLLIN
	if on {
		l.polls[i].Events |= unix.POLLOUT
	}
}

// writable sends what had to wait.
func (l *loop) writable(i int) {
	if l.out.waiting&(1<<uint(i)) != 0 {
		l.flushSocket(i)
		return
	}
	l.block(i, false) // it was dropped meanwhile
}

// ptr is the address of a part of the loop for the kernel. The loop is on the heap and does not move.
func ptr[T any](p *T) unsafe.Pointer { return unsafe.Pointer(p) }

// bytesOf is the memory of control data.
func bytesOf[T [controlBytes / 8]uint64 | [sendControlBytes / 8]uint64](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}
