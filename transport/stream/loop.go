//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"sipedge/parser"
	"sipedge/transport"
)

// loop is one of gnet's loops with a Handler. It implements transport.Loop. Owned by gnet's goroutine, and by Serve's
// while gnet is being started again, but for what is atomic.
type loop struct {
	number  uint8 // as in Flow.Loop
	engine  *Engine
	handler transport.Handler

	now      transport.Instant
	armed    transport.Instant // when timer rings, 0: not that we know
	timer    *time.Timer
	deadline transport.Instant // of the Handler

	phase phase
	intake
	slab    slab
	buffers buffers
	ring    *ring
	posted  bool // the oldest of the ring is in hand
	sweeper
	outgoing
	failures
	destinations
	dialsOver chan dialOver
	handshakes

	held  int    // capacity of the unfinished messages of all connections
	out   []byte // what Buffer lends
	plain []byte // plaintext that was read

	gnet atomic.Pointer[gnet.EventLoop]
	bell atomic.Pointer[net.Conn]
	n    counters

	_     [128]byte   // what follows is written by other threads
	woken atomic.Bool // Wake was called
	rung  atomic.Bool // a turn is going to happen
	waits transport.Bell
	_     [128]byte
}

// intake is what was read from the connection whose turn it is.
type intake struct {
	conn    *connection
	fresh   bool     // gnet has bytes for it
	ready   []connID // connections whose turn it is next, though gnet has nothing for them
	data    []byte   // plain bytes, or an unfinished message with more behind it
	at      int      // up to here data is done with
	owned   bool     // data is of loop.buffers
	current []byte   // the message that the Handler has
	msg     parser.Message
}

func newLoop(e *Engine, number uint8, first uint32) *loop {
	lim := &e.limits
	l := &loop{
		number:    number,
		engine:    e,
		slab:      newSlab(lim.Connections, first),
		ring:      newRing(lim.RingMessages, lim.RingBytes),
		dialsOver: make(chan dialOver, lim.Destinations),
		out:       make([]byte, 0, transport.MaxDatagram),
	}
	l.destinations.init()
	l.phase = done
	l.timer = time.AfterFunc(time.Hour, l.call)
	l.timer.Stop()
	return l
}

// phase is where a turn is. A turn is one event of gnet: bytes on a connection, or the doorbell. It goes through the
// phases in order, also when a Handler panics in one.
type phase uint8

const (
	waking    phase = iota // Handler.Woken
	others                 // what other goroutines gave us to do
	traffic                // Handler.Receive
	expiring               // Handler.Expire
	sweeping               // connections whose time is up
	reporting              // Handler.SendFailed
	writing                // what all of that has staged
	quiet                  // Handler.Quiesce
	done                   // between turns
)

// turn is one event; c is the connection that has bytes, nil for the doorbell.
func (l *loop) turn(c *connection) gnet.Action {
	if l.engine.mayEnd() {
		return gnet.Shutdown
	}
	l.now = transport.Now()
	if c == nil {
		l.waits.Turn(l.now)
	}
	l.n.waits.Add(1)
	l.intake.conn, l.intake.fresh = c, c != nil
	if c != nil {
		l.n.batches.Add(1)
	}
	// gnet does not say when it sleeps, so between any two turns it may.
	l.handler.Busy()
	for l.phase = waking; l.phase != done; {
		l.phases()
	}
	l.handler.Idle()
	return gnet.None
}

// phases goes on with the turn.
func (l *loop) phases() {
	defer l.recovered()
	for ; l.phase != done; l.phase++ {
		switch l.phase {
		case waking:
			if l.woken.Load() {
				l.woken.Store(false) // before the call: a Wake during it is a new one
				l.handler.Woken(l.now)
			}
		case others:
			l.takeRing()
			l.takeDialsOver()
			l.takeHandshakes()
		case traffic:
			for l.nextConn() {
				l.receive()
			}
		case expiring:
			l.deadline = l.now.Add(panicPause) // stays only if Expire panics
			l.deadline = l.handler.Expire(l.now)
		case sweeping:
			l.sweep()
			l.arm(l.deadline)
			if l.slab.live > 0 {
				l.arm(l.swept.Add(l.engine.sweepEvery))
			}
		case reporting:
			l.report()
		case writing:
			l.flushAll()
			if l.failures.any() {
				l.call()
			}
		case quiet:
			l.handler.Quiesce()
		}
	}
}

// recovered is the panic barrier. gnet has none: without it the process would end.
func (l *loop) recovered() {
	what := recover()
	if what == nil {
		return
	}
	l.n.panics.Add(1)
	if c := l.outgoing.writing; c != nil { // not the Handler, but a layer or gnet
		l.cut(c)
		if l.phase == writing {
			l.phase-- // the others have their turn
		}
	}
	message := append([]byte(nil), l.intake.current[:min(len(l.intake.current), transport.MaxDatagram)]...)
	switch {
	case l.phase == others:
		l.dropPosted()
	case l.phase == reporting:
		l.dropReported()
	case l.phase == traffic && l.intake.current == nil:
		// Not the Handler: what became of the bytes is not known.
		c := l.intake.conn
		if l.intake.owned {
			l.buffers.put(l.intake.data)
		}
		l.intake.conn, l.intake.data, l.intake.owned = nil, nil, false
		l.cut(c)
		l.phase-- // the others have their turn
	case l.phase == traffic:
		l.phase-- // goes on behind the message, which is lost
	}
	l.phase++
	l.intake.current = nil
	if l.engine.cfg.Panicked != nil {
		l.engine.cfg.Panicked(int(l.number), what, debug.Stack(), message)
	}
}

// guarded is the panic barrier of what happens between turns: a connection that comes or goes.
func (l *loop) guarded(action *gnet.Action) {
	what := recover()
	if what == nil {
		return
	}
	l.n.panics.Add(1)
	*action = gnet.Close
	if l.engine.cfg.Panicked != nil {
		l.engine.cfg.Panicked(int(l.number), what, debug.Stack(), nil)
	}
}

// arm makes a turn happen at the deadline. An earlier one than needed does no harm.
func (l *loop) arm(deadline transport.Instant) {
	if l.armed <= l.now {
		l.armed = 0
	}
	switch {
	case deadline == 0:
	case deadline <= l.now:
		l.call()
	case l.armed == 0 || deadline < l.armed:
		l.armed = deadline
		l.timer.Reset(deadline.Sub(l.now))
	}
}

// Wake implements transport.Loop.
func (l *loop) Wake() {
	if !l.woken.Swap(true) {
		l.call()
	}
}

// call makes a turn happen soon. Safe from any goroutine; never blocks.
func (l *loop) call() {
	if l.rung.Swap(true) {
		return
	}
	l.waits.Ring(transport.Now())
	if b := l.bell.Load(); b != nil {
		(*b).Write(oneByte) // at most this byte is in the socket
		return
	}
	// No doorbell hangs: gnet is being started, which is a turn for every loop, or Serve takes the turns.
	select {
	case l.engine.nudge <- struct{}{}:
	default:
	}
}

var oneByte = []byte{1}
