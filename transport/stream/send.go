//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import "sipedge/transport"

var _ transport.Streams = (*Engine)(nil)

// Buffer implements transport.Loop. A message may outgrow it, up to parser.MaxStreamMessage and what a hop adds.
func (l *loop) Buffer() []byte { return l.out[:0] }

// Send implements transport.Loop.
func (l *loop) Send(to transport.Flow, b []byte) transport.Status {
	if cap(b) > cap(l.out) && cap(b) <= keptOut {
		l.out = b[:0]
	}
	if to.Proto == transport.UDP {
		return l.sendDatagram(&to, b)
	}
	owner := l.engine.owner(&to)
	switch {
	case owner == nil:
		return transport.Gone
	case owner != l:
		return owner.post(&to, b)
	}
	l.send(&to, b)
	return transport.Queued
}

// Post implements transport.Streams.
func (e *Engine) Post(to transport.Flow, b []byte) transport.Status {
	owner := e.owner(&to)
	if owner == nil {
		return transport.Gone
	}
	return owner.post(&to, b)
}

// owner is the loop that has the connection, or that knows where one may be; nil for a flow that cannot be.
func (e *Engine) owner(to *transport.Flow) *loop {
	switch {
	case !to.Proto.Reliable() || to.Proto > transport.WSS:
		return nil
	case to.Gen != 0:
		return e.loop(to.Loop)
	case to.Proto > transport.TLS:
		return nil // nobody can connect to a WebSocket client
	}
	return e.home(to)
}

func (e *Engine) loop(number uint8) *loop {
	i := int(number) - e.cfg.FirstLoop
	if i < 0 || i >= len(e.loops) {
		return nil
	}
	return e.loops[i]
}

// post gives a copy of b to the loop. Safe from any goroutine.
func (l *loop) post(to *transport.Flow, b []byte) transport.Status {
	if !l.ring.put(to, b) {
		l.n.ringFull.Add(1)
		return transport.Backpressure
	}
	l.call()
	return transport.Queued
}

// takeRing sends what others have posted.
func (l *loop) takeRing() {
	for range ringBatch {
		p := l.ring.next()
		if p == nil {
			return
		}
		l.posted = true
		l.send(&p.to, p.b)
		l.dropPosted()
	}
	l.call()
}

// dropPosted is done with the message in hand, also after a panic.
func (l *loop) dropPosted() {
	if l.posted {
		l.posted = false
		l.ring.done()
	}
}

// send writes b to a connection of this loop, or finds one.
func (l *loop) send(to *transport.Flow, b []byte) {
	if to.Gen == 0 {
		l.toDestination(to, b)
		return
	}
	c := l.slab.find(to.Conn, to.Gen)
	if c == nil || c.flow.Proto != to.Proto || c.state&ending != 0 && l.intake.conn != c {
		l.n.stale.Add(1)
		l.fail(to, b, transport.Closed)
		return
	}
	l.sendOn(c, to, b)
}

// sendOn sends the message b, which was to go to the flow, on c.
func (l *loop) sendOn(c *connection, to *transport.Flow, b []byte) {
	if why := l.stage(c, to, b, isWeb(c.flow.Proto)); why != 0 {
		l.fail(to, b, why)
		return
	}
	c.used = l.now
	l.n.packetsOut.Add(1)
	l.n.bytesOut.Add(uint64(len(b)))
}

// sendDatagram sends what leaves by UDP after all.
func (l *loop) sendDatagram(to *transport.Flow, b []byte) transport.Status {
	d := l.engine.cfg.Datagrams
	if d == nil {
		return transport.Gone
	}
	if why := d.SendDatagram(*to, b); why != 0 {
		l.fail(to, b, why)
	}
	return transport.Queued
}
