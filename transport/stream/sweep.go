//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// sweeper closes connections whose time is up. One goes round over all of a loop, a bounded number at a time. Owned by one loop.
type sweeper struct {
	swept transport.Instant // when the last piece was looked at
	place uint32            // the next one
}

// sweepInterval is short enough for the shortest limit.
func sweepInterval(lim *Limits) time.Duration {
	d := min(lim.Idle, lim.HalfOpen, lim.Message) / 4
	return max(min(d, sweepEvery), sweepAtMost)
}

// sweep looks at the next connections if it is time to.
func (l *loop) sweep() {
	s := &l.sweeper
	if l.slab.live == 0 || l.now.Sub(s.swept) < l.engine.sweepEvery {
		return
	}
	s.swept = l.now
	for range min(l.slab.used, sweepBatch) {
		if s.place >= l.slab.used {
			s.place = 0
		}
		c := l.slab.at(s.place)
		s.place++
		if c.gnet != nil {
			l.judge(c)
		}
	}
}

// judge closes c if a limit of its time has passed.
func (l *loop) judge(c *connection) {
	lim := &l.engine.limits
	if c.out > 0 {
		if l.lookOut(c); c.out == 0 && c.state&ending != 0 {
			_ = unix.Shutdown(c.gnet.Fd(), unix.SHUT_WR)
		}
	}
	overdue := func(since transport.Instant, limit time.Duration) bool {
		return since != 0 && l.now.Sub(since) >= limit
	}
	var why *atomic.Uint64
	switch {
	case c.state&ending != 0:
		if l.now >= c.closing {
			l.close(c) // counted when it began to end
		}
		return
	case overdue(c.began, lim.Message):
		why = &l.n.closedSlow
	case overdue(c.stalled, lim.Message):
		why = &l.n.closedOverflow
	case c.state&proven == 0 && overdue(c.opened, lim.HalfOpen):
		why = &l.n.closedHalfOpen
	case overdue(c.used, lim.Idle):
		why = &l.n.closedIdle
	default:
		return
	}
	why.Add(1)
	l.close(c)
}
