package transport

import (
	"sync/atomic"
	"time"
)

// Backlog is what waits in front of a loop, at the least since it was last asked for: a burst that was worked off in the
// meantime is none.
type Backlog struct {
	Delay time.Duration // how long what was handled had waited to be received
	// Fill is the share of a receive buffer that is taken, 0 to 1, of the fullest: what comes when it is 1 is lost,
	// whatever it is.
	Fill float64
}

// Worse is the longer delay and the greater share of the two.
func (b Backlog) Worse(c Backlog) Backlog {
	return Backlog{max(b.Delay, c.Delay), max(b.Fill, c.Fill)}
}

// Gauge is implemented by Loops that know what waits for them. Backlog belongs to the loop's goroutine, allocates nothing,
// and may be called as often as one likes.
type Gauge interface {
	Backlog() Backlog
}

// GaugeOf finds the Gauge of a Loop, or nil.
func GaugeOf(l Loop) Gauge {
	g, _ := alone(l).(Gauge)
	return g
}

// Bell tells how far behind a loop is that takes its events one after the other: by how long it takes from a ring of its
// doorbell, which is an event like others, to the turn that it brings. Ring is safe from any goroutine, the rest is the loop's.
type Bell struct {
	rang  atomic.Int64 // Instant; 0: nobody waits
	last  time.Duration
	least time.Duration
	known bool // least is
}

// Ring notes that a turn was asked for, unless one was already.
func (b *Bell) Ring(now Instant) { b.rang.CompareAndSwap(0, int64(now)) }

// Turn notes that it has come.
func (b *Bell) Turn(now Instant) {
	rang := Instant(b.rang.Swap(0))
	if rang == 0 {
		return
	}
	b.last = max(now.Sub(rang), 0)
	if !b.known || b.last < b.least {
		b.least, b.known = b.last, true
	}
}

// Delay is the least that a turn has taken since the last question; with none in between, as before.
func (b *Bell) Delay() time.Duration {
	if !b.known {
		return b.last
	}
	b.known = false
	return b.least
}

// Bulk is implemented by Loops to which many datagrams of one size to one place cost less than each alone.
type Bulk interface {
	// SendBulk sends b as datagrams of size bytes each, the last one of what is left. It borrows b, and may use the Buffer.
	// For the rest it is like Send.
	SendBulk(to Flow, b []byte, size int) Status
}

// BulkOf finds the Bulk of a Loop, or nil.
func BulkOf(l Loop) Bulk {
	b, _ := alone(l).(Bulk)
	return b
}

// alone is the loop without what Join has put around it.
func alone(l Loop) Loop {
	if j, ok := l.(joined); ok {
		return j.Loop
	}
	return l
}
