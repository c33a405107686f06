//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sipedge/transport"
	"sipedge/transport/wslayer"
)

// outgoing gathers what a turn sends: many small messages to one neighbour become one write, and over TLS one record. Owned by one loop.
type outgoing struct {
	dirty    []*connection // those that have something staged
	messages []staged      // in all connections, in order; those of one connection are a chain
	writing  *connection   // what gnet or a layer is working on
	outTotal int           // bytes that wait in gnet for peers to read
	frame    []byte        // a WebSocket header
	cipher   []byte        // ciphertext
}

// staged is a message in connection.staged.
type staged struct {
	to     transport.Flow
	silent bool // nobody is told when it cannot be sent
	header int  // bytes of a WebSocket header in front
	size   int  // with that
	next   int  // the next one of the same connection: its index + 1 in outgoing.messages, 0: none
}

// stage puts b behind what leaves on c when the turn is over. Nobody is told of a failure when to is nil. On a failure c is closed.
func (l *loop) stage(c *connection, to *transport.Flow, b []byte, framed bool) transport.Failure {
	if c.tls != nil && !c.tls.Established() || framed && !c.web.Established() {
		return transport.Closed
	}
	if c.out > 0 {
		l.lookOut(c)
		if more := len(c.staged) + len(b); c.out > 0 && (c.out+more > l.engine.limits.OutBytes || l.outTotal+more > l.engine.limits.OutTotal) {
			l.n.closedOverflow.Add(1)
			l.cut(c)
			return transport.Overflow
		}
	}
	if len(c.staged) > 0 && len(c.staged)+len(b) > stagedBytes && !l.flush(c) {
		return transport.Closed
	}
	if c.staged == nil {
		l.dirty = append(l.dirty, c)
	}
	before := len(c.staged)
	m := staged{silent: to == nil}
	if to != nil {
		m.to = *to
	}
	if framed {
		l.frame = wslayer.AppendHeader(l.frame[:0], b)
		m.header = len(l.frame)
		c.staged = l.buffers.grow(c.staged, l.frame)
	}
	c.staged = l.buffers.grow(c.staged, b)
	m.size = len(c.staged) - before
	l.messages = append(l.messages, m)
	if c.last != 0 {
		l.messages[c.last-1].next = len(l.messages)
	} else {
		c.first = len(l.messages)
	}
	c.last = len(l.messages)
	return 0
}

// flushAll sends what the turn has staged.
func (l *loop) flushAll() {
	for n := len(l.dirty); n > 0; n = len(l.dirty) {
		c := l.dirty[n-1]
		l.dirty = l.dirty[:n-1]
		l.flush(c)
	}
	l.messages = l.messages[:0]
}

// flush sends what is staged for c. gnet writes what the kernel takes and keeps the rest. On a failure c is closed, the messages come
// back, and it says false.
func (l *loop) flush(c *connection) bool {
	if c.gnet == nil || c.staged == nil {
		return c.gnet != nil
	}
	l.outgoing.writing = c
	out := c.staged
	if c.tls != nil {
		var err error
		if l.cipher, err = c.tls.Append(l.cipher[:0], out); err != nil {
			l.n.sendErrors.Add(1)
			l.cut(c)
			return false
		}
		out = l.cipher
	}
	_, err := c.gnet.Write(out)
	if cap(l.cipher) > keptOut { // an unusually large message has made it
		l.cipher = nil
	}
	if err != nil { // gnet has closed c
		l.n.sendErrors.Add(1)
		return false
	}
	l.outgoing.writing = nil
	l.buffers.put(c.staged)
	n := 0
	for i := c.first; i != 0; i = l.messages[i-1].next {
		n++
	}
	c.staged, c.first, c.last = nil, 0, 0
	l.noteOut(c, n)
	return true
}

// unstage gives back what was staged for c, which is closed.
func (l *loop) unstage(c *connection) {
	if l.outgoing.writing == c {
		l.outgoing.writing = nil
	}
	if c.staged == nil {
		return
	}
	b := c.staged
	for i := c.first; i != 0; {
		m := &l.messages[i-1]
		if !m.silent {
			l.fail(&m.to, b[m.header:m.size], transport.Closed)
		}
		b = b[m.size:]
		i = m.next
	}
	l.buffers.put(c.staged)
	c.staged, c.first, c.last = nil, 0, 0
}

// noteOut notes what gnet could not send at once of n messages.
func (l *loop) noteOut(c *connection, n int) {
	if left := c.gnet.OutboundBuffered(); left > 0 {
		if c.waiting += n; c.out == 0 {
			c.stalled = l.now
		}
		l.outTotal += left - c.out
		c.out = left
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

// farewell ends the layers of c politely, if nothing waits before that. Nothing depends on its arrival. It may close c.
func (l *loop) farewell(c *connection) {
	if c.out > 0 {
		if c.tls != nil {
			c.tls.Shut()
		}
		return
	}
	if isWeb(c.flow.Proto) && c.web.Established() {
		l.frame = wslayer.AppendClose(l.frame[:0], goingAway, "")
		l.stage(c, nil, l.frame, false)
	}
	if !l.flush(c) || c.tls == nil {
		return
	}
	established := c.tls.Established()
	if c.tls.Shut(); established {
		l.flushTLS(c)
	}
}

const goingAway = 1001 // RFC 6455 section 7.4.1
