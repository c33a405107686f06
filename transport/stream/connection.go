//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sync/atomic"

	"github.com/panjf2000/gnet/v2"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/transport/tlslayer"
	"sipedge/transport/wslayer"
)

// connection is one place of a loop's slab: a connection, or free. Owned by its loop.
type connection struct {
	gnet  gnet.Conn // nil: free
	loop  *loop
	flow  transport.Flow // as Receive gets it; its Conn is this place, its Gen this use of it
	state connState
	pongs uint8 // CRLFs in a row seen so far, for RFC 5626 pings
	pings uint16

	framer parser.Framer
	web    wslayer.Conn   // WS and WSS
	tls    *tlslayer.Conn // TLS and WSS
	in     []byte         // an unfinished message, of loop.buffers; nil when there is none

	opened  transport.Instant
	used    transport.Instant // the last message or ping, in or out
	began   transport.Instant // when the unfinished message began, 0: none
	pinging transport.Instant // since when pings are counted

	staged      []byte            // leaves when the turn is over; of loop.buffers, nil when there is nothing
	first, last int               // of the messages in it: index + 1 in outgoing.messages
	out         int               // bytes that waited for the peer to read when last looked at
	waiting     int               // messages that may be among them
	stalled     transport.Instant // since when out did not become less, 0: nothing waits

	address addressKey        // counted in Engine.addresses, unless dialed
	dest    *destination      // that waits for the handshake of this one
	closing transport.Instant // ending: until then at the latest
}

type connState uint8

const (
	dialed connState = 1 << iota // by us
	shook                        // its TLS handshake was begun
	proven                       // has brought a message, finished its handshake, or was dialed
	listed                       // is in Engine.index
	ending                       // nothing is read any more; what was sent may still be on its way
)

// connID names a connection of a loop.
type connID struct{ conn, gen uint32 }

const chunkSize = 256

// chunk is a piece of the slab. Chunks never move.
type chunk struct {
	conns [chunkSize]connection
	// words tell other goroutines about the connections: generation << 32 | number of the peer's name; 0: closed. The loop
	// alone writes.
	words [chunkSize]atomic.Uint64
}

// slab holds the connections of a loop. Owned by the loop, but for word.
type slab struct {
	chunks []atomic.Pointer[chunk]
	used   uint32   // places ever taken
	free   []uint32 // places given back
	first  uint32   // generation of a place that is used for the first time
	live   int
}

func newSlab(most int, first uint32) slab {
	return slab{chunks: make([]atomic.Pointer[chunk], (most+chunkSize-1)/chunkSize), first: first}
}

// take gives a free place a new generation; nil when all are taken.
func (s *slab) take() *connection {
	var i uint32
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		if int(s.used) == len(s.chunks)*chunkSize {
			return nil
		}
		i = s.used
		if s.chunks[i/chunkSize].Load() == nil {
			s.chunks[i/chunkSize].Store(new(chunk))
		}
		s.used++
	}
	c := s.at(i)
	gen := c.flow.Gen + 1
	if c.flow.Gen == 0 {
		gen = s.first
	}
	if gen == 0 { // means no connection
		gen = 1
	}
	*c = connection{flow: transport.Flow{Conn: i, Gen: gen}}
	s.live++
	s.word(i).Store(uint64(gen) << 32)
	return c
}

// give takes c back; what is stale from now on finds out by the generation.
func (s *slab) give(c *connection) {
	i, gen := c.flow.Conn, c.flow.Gen
	s.word(i).Store(0)
	*c = connection{flow: transport.Flow{Conn: i, Gen: gen}}
	s.free = append(s.free, i)
	s.live--
}

func (s *slab) at(i uint32) *connection {
	return &s.chunks[i/chunkSize].Load().conns[i%chunkSize]
}

// find is the open connection that a flow names, or nil.
func (s *slab) find(i, gen uint32) *connection {
	if i >= s.used {
		return nil
	}
	if c := s.at(i); c.flow.Gen == gen && c.gnet != nil {
		return c
	}
	return nil
}

// word may be called from any goroutine; nil for a place that never was.
func (s *slab) word(i uint32) *atomic.Uint64 {
	if int(i) >= len(s.chunks)*chunkSize {
		return nil
	}
	c := s.chunks[i/chunkSize].Load()
	if c == nil {
		return nil
	}
	return &c.words[i%chunkSize]
}

// alive tells whether a connection is open. Safe from any goroutine.
func (e *Engine) alive(loop uint8, conn, gen uint32) bool {
	_, ok := e.peer(loop, conn, gen)
	return ok
}

func (e *Engine) peer(loop uint8, conn, gen uint32) (name uint32, ok bool) {
	l := e.loop(loop)
	if l == nil || gen == 0 {
		return 0, false
	}
	w := l.slab.word(conn)
	if w == nil {
		return 0, false
	}
	v := w.Load()
	return uint32(v), uint32(v>>32) == gen
}

// Peer is the number (see transport.Names) of the first verified TLS identity of the peer of a connection, 0 when it has none or
// is closed. Safe from any goroutine, without a lock.
func (e *Engine) Peer(conn uint32, loop uint8, gen uint32) uint32 {
	name, ok := e.peer(loop, conn, gen)
	if !ok {
		return 0
	}
	return name
}
