//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import (
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// loop is one of gnet's loops with a Handler. It implements transport.Loop. Owned by gnet's
// goroutine, but for what is atomic.
type loop struct {
	id      int
	engine  *Engine
	handler transport.Handler
	gnet    atomic.Pointer[gnet.EventLoop]

	now   transport.Instant
	armed transport.Instant // when timer rings, 0: not that we know
	timer *time.Timer

	stage   stage
	conn    gnet.Conn // the datagram that gnet has for us, or nil
	current []byte    // the packet that the Handler has
	known   map[int]*source
	fds     []int // this loop's own socket of each source, -1 while unknown
	in      []byte
	control [controlBytes]byte
	out     []byte

	to4      unix.SockaddrInet4 // for Send
	to6      unix.SockaddrInet6
	refusals transport.Undelivered
	sendmsg  func(fd int, b, control []byte, to unix.Sockaddr) error // the system call, but in tests

	woken           atomic.Bool // Wake was called
	rung            atomic.Bool // a byte is on its way through the doorbell
	behind          transport.Bell
	full, fullSince transport.Instant // when a socket last had more than a batch, and since when none was found empty; or 0
	bell            atomic.Pointer[net.Conn]
	stats           stats
}

func newLoop(e *Engine, id int) *loop {
	l := &loop{
		id:      id,
		engine:  e,
		known:   map[int]*source{},
		fds:     make([]int, len(e.sources)),
		in:      make([]byte, transport.MaxDatagram),
		out:     make([]byte, 0, transport.MaxDatagram),
		sendmsg: sendmsg,
	}
	for i := range l.fds {
		l.fds[i] = -1
	}
	l.timer = time.AfterFunc(time.Hour, l.ring)
	l.timer.Stop()
	return l
}

func (l *loop) close() {
	l.timer.Stop()
	if b := l.bell.Load(); b != nil {
		(*b).Close() // later writes find it closed and do nothing
	}
}

// stage is where a turn is. A turn is one event of gnet: a datagram with those behind it, or
// the doorbell. It goes through the stages in order, also when a Handler panics in one.
type stage uint8

const (
	waking   stage = iota // Handler.Woken
	first                 // the datagram that gnet has read
	others                // those behind it
	rest                  // the catch-all sockets, on the first loop
	expiring              // Handler.Expire
	failing               // Handler.SendFailed
	quiet                 // Handler.Quiesce
	done
)

// event is one turn. c is the datagram's connection, nil for the doorbell.
func (l *loop) event(c gnet.Conn) gnet.Action {
	// Not while doorbells are being hung: gnet would wait for ever for a loop that has ended.
	if l.engine.stopping.Load() && l.engine.hung.Load() {
		return gnet.Shutdown
	}
	l.now = transport.Now()
	if c == nil {
		l.behind.Turn(l.now)
	}
	l.stats.waits.Add(1)
	l.conn = c
	// gnet does not say when it sleeps, so between any two turns it may.
	l.handler.Busy()
	for l.stage = waking; l.stage != done; {
		l.stages()
	}
	l.handler.Idle()
	return gnet.None
}

// stages goes on with the turn.
func (l *loop) stages() {
	defer l.recovered()
	for l.stage != done {
		s := l.stage
		l.stage++ // before, so that a panic goes on with the next one
		switch s {
		case waking:
			if l.woken.Load() {
				l.woken.Store(false)
				l.handler.Woken(l.now)
			}
		case first:
			if l.conn != nil {
				l.receiveFirst()
			}
		case others:
			if l.conn != nil {
				l.receiveMore(l.conn.Fd(), l.known[l.conn.Fd()], l.known[l.conn.Fd()].listener, receiveBatch-1)
			}
		case rest:
			if l.id == 0 {
				l.receiveRest()
			}
		case expiring:
			l.arm(l.now.Add(panicPause)) // stays only if Expire panics
			l.arm(l.handler.Expire(l.now))
		case failing:
			if l.refusals.Any() {
				l.refusals.Report(l.handler, l.now)
			}
			if l.refusals.Any() {
				l.ring()
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
	l.stats.panics.Add(1)
	packet := append([]byte(nil), l.current...)
	l.current = nil
	if l.engine.cfg.Panicked != nil {
		l.engine.cfg.Panicked(l.id, what, debug.Stack(), packet)
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
		l.ring()
	case l.armed == 0 || deadline < l.armed:
		l.armed = deadline
		l.timer.Reset(deadline.Sub(l.now))
	}
}

// Wake implements transport.Loop.
func (l *loop) Wake() {
	if !l.woken.Swap(true) {
		l.ring()
	}
}

// ring makes a turn happen soon. Safe from any goroutine.
func (l *loop) ring() {
	if l.rung.Swap(true) {
		return
	}
	l.behind.Ring(transport.Now())
	// Before the doorbell hangs nothing is lost: hanging it is a turn.
	if b := l.bell.Load(); b != nil {
		(*b).Write(oneByte) // never blocks: at most this byte is in the socket
	}
}

// Backlog implements transport.Gauge: how long an event waits for its turn, and how long no socket was found empty that had
// more than a batch. That is no delay, but grows like one as long as more comes in than is taken out.
func (l *loop) Backlog() transport.Backlog {
	delay := l.behind.Delay()
	return transport.Backlog{Delay: max(delay, l.full.Sub(l.fullSince))}
}

var oneByte = []byte{1}

type stats struct {
	packetsIn, packetsOut, bytesIn, bytesOut, batches, waits atomic.Uint64
	sendErrors, sendDropped, panics                          atomic.Uint64
}

func (s *stats) load() transport.LoopStats {
	return transport.LoopStats{
		PacketsIn:   s.packetsIn.Load(),
		PacketsOut:  s.packetsOut.Load(),
		BytesIn:     s.bytesIn.Load(),
		BytesOut:    s.bytesOut.Load(),
		Batches:     s.batches.Load(),
		Waits:       s.waits.Load(),
		SendErrors:  s.sendErrors.Load(),
		SendDropped: s.sendDropped.Load(),
		Panics:      s.panics.Load(),
	}
}
