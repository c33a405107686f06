//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sipedge/transport"
)

// destinations are the places that messages go to without naming a connection. Each place has a home loop, which finds or makes its
// connection. Owned by that loop.
type destinations struct {
	byKey map[destinationKey]*destination
	// The one used last and the one used longest ago; in between by destination.older.
	newest, oldest *destination
	queued         int // bytes waiting in all
}

type destinationKey struct {
	addr  transport.Addr
	name  uint32
	proto transport.Protocol
}

type destination struct {
	key      destinationKey
	loop     *loop
	listener uint16 // what dialed connections belong to

	// The connection to use: by its loop, place and generation; 0: none.
	conn, gen uint32
	owner     uint8

	dialing dialState
	attempt uint32
	until   transport.Instant // not dialed again before

	queue []queued
	bytes int

	newer, older *destination
}

type dialState uint8

const (
	notDialing dialState = iota
	connecting           // by a worker
	shaking              // connected; the handshake goes on
)

// queued is a message that waits for the connection.
type queued struct {
	to transport.Flow
	b  []byte // of loop.buffers
}

func (t *destinations) init() { t.byKey = map[destinationKey]*destination{} }

// home is the loop that knows about the place that a flow without a connection names. The name to prove is not part of the choice, so that
// all connections of one address are known to one loop.
func (e *Engine) home(to *transport.Flow) *loop {
	h := uint64(to.Proto)<<48 ^ uint64(to.Remote.Port)<<32 ^ uint64(to.Remote.Scope)
	for _, b := range to.Remote.IP {
		h = (h ^ uint64(b)) * 0x100000001b3 // FNV-1a: the peer gains nothing by choosing the loop
	}
	return e.loops[(h^h>>32)%uint64(len(e.loops))]
}

// toDestination sends b on a connection to where the flow says, or keeps it until there is one.
func (l *loop) toDestination(to *transport.Flow, b []byte) {
	k := destinationKey{addr: to.Remote, proto: to.Proto, name: to.Conn}
	if k.name == transport.AnyName {
		if v, ok := l.engine.index.get(indexKey{k.addr, k.proto}); ok {
			f := *to
			f.Loop, f.Conn, f.Gen = v.loop, v.conn, v.gen
			if v.loop == l.number {
				l.send(&f, b)
			} else if l.engine.loop(v.loop).post(&f, b) != transport.Queued {
				l.fail(to, b, transport.Overflow)
			}
			return
		}
		k.name = 0
	}
	if k.proto == transport.TCP {
		k.name = 0 // nothing is proven there
	}
	d := l.destinations.byKey[k]
	if d == nil {
		if d = l.addDestination(k, to.Listener); d == nil {
			l.fail(to, b, transport.NoConnection)
			return
		}
	}
	l.destinations.use(d)
	switch {
	case d.gen != 0 && l.sendVia(d, to, b):
	case d.dialing != notDialing:
		l.enqueue(d, to, b)
	case l.reuse(d) && l.sendVia(d, to, b):
	case l.now < d.until || !l.dial(d):
		l.fail(to, b, transport.NoConnection)
	default:
		l.enqueue(d, to, b)
	}
}

// sendVia sends b on the connection of d; false when it is no longer there.
func (l *loop) sendVia(d *destination, to *transport.Flow, b []byte) bool {
	if d.owner == l.number {
		if c := l.slab.find(d.conn, d.gen); c != nil && c.state&ending == 0 {
			l.sendOn(c, to, b)
			return true
		}
	} else if l.engine.alive(d.owner, d.conn, d.gen) {
		f := *to
		f.Loop, f.Conn, f.Gen = d.owner, d.conn, d.gen
		if l.engine.loop(d.owner).post(&f, b) != transport.Queued {
			l.fail(to, b, transport.Overflow)
		}
		return true
	}
	d.gen = 0
	return false
}

// reuse looks for a connection that the peer has made, from the very address.
func (l *loop) reuse(d *destination) bool {
	v, ok := l.engine.index.get(indexKey{d.key.addr, d.key.proto})
	if !ok || !v.names.prove(d.key) {
		return false
	}
	d.owner, d.conn, d.gen = v.loop, v.conn, v.gen
	return true
}

// prove tells whether a peer with these identities may be sent what is for k.
func (n *identities) prove(k destinationKey) bool {
	if k.proto == transport.TCP {
		return true
	}
	for _, i := range n {
		if i == k.name && i != 0 {
			return true
		}
	}
	return false
}

// enqueue keeps b until d has a connection.
func (l *loop) enqueue(d *destination, to *transport.Flow, b []byte) {
	lim := &l.engine.limits
	if len(d.queue) >= lim.PerDestination || len(d.queue) > 0 && d.bytes+len(b) > lim.PerDestinationBytes || l.destinations.queued+len(b) > queuedBytes {
		l.fail(to, b, transport.Overflow)
		return
	}
	d.queue = append(d.queue, queued{*to, l.buffers.grow(nil, b)})
	d.bytes += len(b)
	l.destinations.queued += len(b)
}

// connected sends what waits in d on c.
func (l *loop) connected(d *destination, c *connection) {
	d.dialing, d.until = notDialing, 0
	d.owner, d.conn, d.gen = l.number, c.flow.Conn, c.flow.Gen
	queue := l.takeQueue(d)
	for i := range queue {
		m := &queue[i]
		if c.gnet == nil { // closed by what was sent before
			l.failWith(&m.to, m.b, transport.Closed)
			continue
		}
		l.sendOn(c, &m.to, m.b)
		l.buffers.put(m.b)
	}
}

// unreachable gives up what waits in d.
func (l *loop) unreachable(d *destination) {
	l.n.dialFailures.Add(1)
	d.dialing = notDialing
	d.until = l.now.Add(l.engine.limits.Unreachable)
	for _, m := range l.takeQueue(d) {
		l.failWith(&m.to, m.b, transport.NoConnection)
	}
}

func (l *loop) takeQueue(d *destination) []queued {
	queue := d.queue
	l.destinations.queued -= d.bytes
	d.queue, d.bytes = nil, 0
	return queue
}

// addDestination makes room for one more, at the cost of the one used longest ago; nil when all are busy.
func (l *loop) addDestination(k destinationKey, listener uint16) *destination {
	t := &l.destinations
	at, ok := l.engine.dialListener(k, listener)
	if !ok {
		return nil
	}
	if len(t.byKey) >= l.engine.limits.Destinations {
		old := t.oldest
		for range 16 { // those that are being dialed are used last, as a rule
			if old == nil || old.dialing == notDialing {
				break
			}
			old = old.newer
		}
		if old == nil || old.dialing != notDialing {
			return nil
		}
		t.unlink(old)
		delete(t.byKey, old.key)
	}
	d := &destination{key: k, loop: l, listener: at}
	t.byKey[k] = d
	t.link(d)
	return d
}

// use makes d the newest.
func (t *destinations) use(d *destination) {
	if t.newest == d {
		return
	}
	t.unlink(d)
	t.link(d)
}

func (t *destinations) link(d *destination) {
	d.newer, d.older = nil, t.newest
	if t.newest != nil {
		t.newest.newer = d
	} else {
		t.oldest = d
	}
	t.newest = d
}

func (t *destinations) unlink(d *destination) {
	if d.newer != nil {
		d.newer.older = d.older
	} else {
		t.newest = d.older
	}
	if d.older != nil {
		d.older.newer = d.newer
	} else {
		t.oldest = d.newer
	}
}
