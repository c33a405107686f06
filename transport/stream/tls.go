//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"io"
	"sync"
	"sync/atomic"

	"sipedge/transport"
	"sipedge/transport/tlslayer"
)

// handshakes brings what the workers of handshakes have to say to their loop. Safe for concurrent use; not used for messages.
type handshakes struct {
	any  atomic.Bool
	mu   sync.Mutex
	list []handshake
	bare []handshake // the other list, for the loop to work on
}

// handshake is news of one: it has bytes to send, or is over.
type handshake struct {
	conn, gen uint32
	over      bool
	err       error
	names     identities
}

func (h *handshakes) add(x handshake) {
	h.mu.Lock()
	h.list = append(h.list, x)
	h.mu.Unlock()
	h.any.Store(true)
}

// take gives everything there is, until the next take.
func (h *handshakes) take() []handshake {
	if !h.any.Load() {
		return nil
	}
	h.any.Store(false)
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.bare)
	h.list, h.bare = h.bare[:0], h.list
	return h.bare
}

// secure puts TLS on c, whose peer has to prove that it is name if we have dialed.
func (l *loop) secure(c *connection, name string) {
	conn, gen := c.flow.Conn, c.flow.Gen
	notify := func() {
		l.handshakes.add(handshake{conn: conn, gen: gen})
		l.call()
	}
	if c.state&dialed != 0 {
		c.tls = l.engine.cfg.TLS.Client(name, notify)
		l.shake(c)
	} else {
		c.tls = l.engine.cfg.TLS.Server(notify)
	}
}

// shake starts the handshake on a worker; its news come by takeHandshakes.
func (l *loop) shake(c *connection) {
	e, t := l.engine, c.tls
	over := handshake{conn: c.flow.Conn, gen: c.flow.Gen, over: true}
	c.state |= shook
	if !e.shakers.do(func() {
		if over.err = t.Handshake(e.context); over.err == nil {
			over.names = e.numbers(t.Identities())
		}
		l.handshakes.add(over)
		l.call()
	}) {
		l.n.handshakeFails.Add(1)
		l.close(c)
	}
}

// numbers are those of the names that a peer has proved. What a full table has no number for cannot be asked for either.
func (e *Engine) numbers(names []string) (ids identities) {
	n := 0
	for _, name := range names {
		if i, err := e.cfg.Names.Number(name); err == nil && i != 0 && n < len(ids) {
			ids[n] = i
			n++
		}
	}
	return ids
}

// takeHandshakes goes on with connections whose handshake has news.
func (l *loop) takeHandshakes() {
	for _, h := range l.handshakes.take() {
		c := l.slab.find(h.conn, h.gen)
		if c == nil || !l.flushTLS(c) || !h.over {
			continue
		}
		if h.err != nil {
			l.n.handshakeFails.Add(1)
			l.close(c)
			continue
		}
		l.n.handshakes.Add(1)
		c.used = l.now
		if c.flow.Proto == transport.TLS {
			c.state |= proven
			d := c.dest
			if d != nil && d.key.name != 0 {
				h.names.include(d.key.name)
			}
			l.list(c, h.names)
			if d != nil {
				c.dest = nil
				l.connected(d, c)
			}
		}
		l.slab.word(h.conn).Store(uint64(h.gen)<<32 | uint64(h.names[0]))
		l.ready = append(l.ready, connID{h.conn, h.gen}) // bytes may have come behind the handshake
	}
}

// include makes sure that name is in n.
func (n *identities) include(name uint32) {
	for i := range n {
		if n[i] == name {
			return
		}
		if n[i] == 0 || i == len(n)-1 {
			n[i] = name
			return
		}
	}
}

// feedTLS takes in ciphertext.
func (l *loop) feedTLS(c *connection, b []byte) {
	if err := c.tls.Feed(b); err != nil {
		l.n.closedBroken.Add(1)
		l.close(c)
		return
	}
	if c.state&(shook|dialed) == 0 && c.tls.Ready() {
		l.shake(c)
	}
}

// readTLS makes the next plaintext of c the bytes to be framed; false when there is none.
func (l *loop) readTLS(c *connection) bool {
	if !c.tls.Established() {
		return false
	}
	if l.plain == nil {
		l.plain = make([]byte, readBuffer)
	}
	n, err := c.tls.Read(l.plain)
	switch {
	case n > 0:
		l.give(c, l.plain[:n])
		return true
	case err == tlslayer.ErrMore:
		l.flushTLS(c)
		return false
	case err != io.EOF:
		l.n.closedBroken.Add(1)
	}
	if l.flushTLS(c) {
		l.close(c)
	}
	return false
}

// flushTLS sends what the layer itself has to say: handshake, alerts, key updates. False when that closed c.
func (l *loop) flushTLS(c *connection) bool {
	l.cipher = c.tls.Out(l.cipher[:0])
	if len(l.cipher) > 0 {
		if _, err := c.gnet.Write(l.cipher); err != nil {
			return false
		}
		l.noteOut(c, 0)
	}
	return true
}
