package batch

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// backlog watches the receive queue of one socket.
//
// A receive call that brings less than a batch has emptied the queue, and that costs nothing to see. Only a queue that
// was not seen empty for standing is looked at, by a system call every measureEvery: so a loop with time to spare never makes
// it, and one without spends less than a thousandth of its time on it.
//
// How long a datagram waits follows from how many there are and how many are taken out in a second. The kernel tells how
// many bytes of its memory they fill; what one fills is weighed now and then, when a receive call takes all there are. (It
// would also stamp each datagram with its time; but once asked to, it does so for all datagrams of all sockets until the one
// that asked is closed.)
type backlog struct {
	empty    transport.Instant // when the queue was last seen empty
	measured transport.Instant
	last     transport.Backlog // at the last look
	least    transport.Backlog // since the last question
	known    bool              // least is
	weighing bool              // the receive call under way is to show what a datagram weighs
	weighed  transport.Instant
	count    int     // datagrams taken out since measured
	rate     float64 // taken out per second while a queue stands
	weight   float64 // bytes that a datagram fills; 0: not known yet
	taken    uint32  // bytes that all of them fill
	dropped  uint32  // datagrams lost to a full buffer, as the kernel counts them
}

// before is called before a receive call on fd.
func (b *backlog) before(fd int, now transport.Instant) {
	if now.Sub(b.weighed) < weighEvery {
		return
	}
	b.weighed = now
	m, ok := memory(fd)
	b.taken, b.weighing = m.taken, ok && b.empty >= b.measured // what a queue that stands fills is told too roughly
}

// emptied notes that a receive call found n datagrams, less than it could have taken.
func (b *backlog) emptied(n int, now transport.Instant) {
	if b.weighing && n > 0 {
		if w := float64(b.taken) / float64(n); b.weight == 0 {
			b.weight = w
		} else {
			b.weight += (w - b.weight) / 8
		}
	}
	b.weighing = false
	b.empty = now
	b.last, b.least, b.known = transport.Backlog{}, transport.Backlog{}, true
}

// full notes that a receive call took a whole batch from fd, and that there may be more.
func (b *backlog) full(fd int, now transport.Instant, s *stats) {
	b.weighing = false
	b.count += receiveBatch
	since := now.Sub(b.measured)
	if now.Sub(b.empty) < standing || since < measureEvery {
		return
	}
	if b.empty <= b.measured { // all of the time it stood
		if r := float64(b.count) / since.Seconds(); b.rate == 0 {
			b.rate = r
		} else {
			b.rate += (r - b.rate) / 4
		}
	}
	b.measured, b.count = now, 0
	m, ok := memory(fd)
	if !ok {
		return
	}
	if lost := m.dropped - b.dropped; lost != 0 {
		s.receiveDropped.Add(uint64(lost))
		b.dropped = m.dropped
	}
	// While a queue stands the kernel counts memory as taken until a quarter of the buffer can be given back at once: an eighth on
	// average.
	taken := max(float64(m.taken)-float64(m.room)/8, 0)
	b.last = transport.Backlog{Fill: min(taken/float64(m.room), 1)}
	if b.weight > 0 && b.rate > 0 {
		b.last.Delay = min(time.Duration(taken/b.weight/b.rate*float64(time.Second)), longestWait)
	}
	if !b.known {
		b.least = b.last
	}
	b.least.Delay, b.least.Fill = min(b.least.Delay, b.last.Delay), min(b.least.Fill, b.last.Fill)
	b.known = true
}

// since is the least since the last question.
func (b *backlog) since() transport.Backlog {
	if !b.known {
		return b.last // neither emptied nor looked at: as it was
	}
	b.known = false
	return b.least
}

// Backlog implements transport.Gauge.
func (l *loop) Backlog() (all transport.Backlog) {
	for i := range l.socks {
		all = all.Worse(l.socks[i].backlog.since())
	}
	return all
}

// memoryOf is what the kernel says about a socket's receive buffer.
type memoryOf struct {
	taken, room uint32 // bytes
	dropped     uint32 // datagrams, since the socket was made, modulo 2^32
}

func memory(fd int) (m memoryOf, ok bool) {
	const taken, room, drops, words = 0, 1, 8, 9 // SK_MEMINFO_RMEM_ALLOC, _RCVBUF, _DROPS, _VARS
	var info [words]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size < words*4 || info[room] == 0 {
		return m, false
	}
	return memoryOf{info[taken], info[room], info[drops]}, true
}
