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
// was not seen empty for standing is looked at, by two system calls every measureEvery: so a loop with time to spare never makes them, and
// one without spends one part in a thousand of its time on them.
//
// The delay is real: the kernel tells when the last datagram of the batch came in. What it costs is a time stamp
// for each datagram, about 25 ns, from the first time on that a queue stood.
type backlog struct {
	empty    transport.Instant // when the queue was last seen empty
	measured transport.Instant
	last     transport.Backlog // at the last look
	least    transport.Backlog // since the last question
	known    bool              // least is
	dropped  uint32            // datagrams lost to a full buffer, as the kernel counts them
}

// emptied notes that a receive call found less than it could have taken.
func (b *backlog) emptied(now transport.Instant) {
	b.empty = now
	b.last, b.least, b.known = transport.Backlog{}, transport.Backlog{}, true
}

// full notes that a receive call took a whole batch from fd, and that there may be more.
func (b *backlog) full(fd int, now transport.Instant, s *stats) {
	if now.Sub(b.empty) < standing || now.Sub(b.measured) < measureEvery {
		return
	}
	b.measured = now
	b.last = transport.Backlog{Delay: waited(fd)}
	if fill, dropped, ok := memory(fd); ok {
		b.last.Fill = fill
		if lost := dropped - b.dropped; lost != 0 {
			s.receiveDropped.Add(uint64(lost))
			b.dropped = dropped
		}
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

// waited is how long ago the datagram that was received last came in. The stamp is of the wall clock; when that was set
// meanwhile the answer is wrong once, and cut.
func waited(fd int) time.Duration {
	var stamp [2]int64 // struct __kernel_timespec
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGSTAMPNS_NEW, uintptr(unsafe.Pointer(&stamp)))
	if errno != 0 {
		return 0 // ENOENT: the first call, which begins the stamping
	}
	d := time.Now().UnixNano() - stamp[0]*int64(time.Second) - stamp[1]
	return min(max(time.Duration(d), 0), longestWait)
}

// memory is how full the receive buffer is, and how many datagrams were lost because it was full. The kernel gives
// memory back in steps of a quarter of the buffer while a queue stands, so the share may be too large by so much.
func memory(fd int) (fill float64, dropped uint32, ok bool) {
	const taken, room, drops, words = 0, 1, 8, 9 // SK_MEMINFO_RMEM_ALLOC, _RCVBUF, _DROPS, _VARS
	var info [words]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size < words*4 || info[room] == 0 {
		return 0, 0, false
	}
	return min(float64(info[taken])/float64(info[room]), 1), info[drops], true
}
