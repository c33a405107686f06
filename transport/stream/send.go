//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sipedge/transport"
	"sipedge/transport/wslayer"
)

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

// sendOn writes the message b, which was to go to the flow, to c.
func (l *loop) sendOn(c *connection, to *transport.Flow, b []byte) {
	if why := l.write(c, b); why != 0 {
		l.fail(to, b, why)
		return
	}
	c.used = l.now
	l.n.packetsOut.Add(1)
	l.n.bytesOut.Add(uint64(len(b)))
}

// write sends the message b on c, in what the transport wraps it in. On a failure c is closed.
func (l *loop) write(c *connection, b []byte) transport.Failure {
	if isWeb(c.flow.Proto) {
		if !c.web.Established() {
			return transport.Closed
		}
		l.frame = wslayer.Append(l.frame[:0], b)
		b = l.frame
		defer shrink(&l.frame)
	}
	return l.writePlain(c, b)
}

// writePlain sends b as it is, or encrypted.
func (l *loop) writePlain(c *connection, b []byte) transport.Failure {
	if c.out > 0 {
		l.lookOut(c)
		if c.out > 0 && (c.out+len(b) > l.engine.limits.OutBytes || l.outTotal+len(b) > l.engine.limits.OutTotal) {
			l.n.closedOverflow.Add(1)
			l.close(c)
			return transport.Overflow
		}
	}
	if c.tls != nil {
		var err error
		if l.cipher, err = c.tls.Append(l.cipher[:0], b); err != nil {
			l.n.sendErrors.Add(1)
			l.close(c)
			return transport.Closed
		}
		b = l.cipher
		defer shrink(&l.cipher)
	}
	if _, err := c.gnet.Write(b); err != nil { // gnet has closed it
		l.n.sendErrors.Add(1)
		return transport.Closed
	}
	l.noteOut(c)
	return 0
}

// shrink gives back a buffer that an unusually large message has made.
func shrink(b *[]byte) {
	if cap(*b) > keptOut {
		*b = nil
	}
}

// noteOut notes what gnet could not send at once.
func (l *loop) noteOut(c *connection) {
	if n := c.gnet.OutboundBuffered(); n > 0 {
		if c.waiting++; c.out == 0 {
			c.stalled = l.now
		}
		l.outTotal += n - c.out
		c.out = n
	}
}

// lookOut notes how much waits in c for the peer to read.
func (l *loop) lookOut(c *connection) {
	n := c.gnet.OutboundBuffered()
	if n < c.out {
		c.stalled = l.now
	}
	if n == 0 {
		c.waiting, c.stalled = 0, 0
	}
	l.outTotal += n - c.out
	c.out = n
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

// farewell ends the layers of c politely, if nothing waits before that. Nothing depends on its arrival. It may close c.
func (l *loop) farewell(c *connection) {
	if isWeb(c.flow.Proto) && c.web.Established() && c.out == 0 {
		l.frame = wslayer.AppendClose(l.frame[:0], goingAway, "")
		if l.writePlain(c, l.frame) != 0 {
			return
		}
	}
	if c.tls != nil {
		established := c.tls.Established()
		if c.tls.Shut(); established && c.out == 0 {
			l.flushTLS(c)
		}
	}
}

const goingAway = 1001 // RFC 6455 section 7.4.1
