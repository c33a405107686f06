//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sync/atomic"

	"sipedge/transport"
)

// ring is a bounded queue of messages from any goroutine to one loop. Lock-free; one reader.
//
// The turn of a place says who may use it. With n places, a message of number i (counted from 0) lies in place i%n:
//
//	turn == i     free for the writer that takes number i (by CAS on tail)
//	turn == i+1   written; the reader may read number i. Stored by that writer: this publishes the message
//	turn == i+n   read; free for number i+n. Stored by the reader
type ring struct {
	places []place
	mask   uint64
	limit  int64 // of bytes

	_     [64]byte
	tail  atomic.Uint64 // the next number to write
	_     [64]byte
	bytes atomic.Int64
	_     [64]byte
	head  uint64 // the next number to read; the reader's
}

type place struct {
	turn atomic.Uint64
	to   transport.Flow
	b    []byte
}

func newRing(messages, bytes int) *ring {
	n := 2 // with one place, written and free for the next would be the same turn
	for n < min(messages, mostRing) {
		n *= 2
	}
	r := &ring{places: make([]place, n), mask: uint64(n - 1), limit: int64(bytes)}
	for i := range r.places {
		r.places[i].turn.Store(uint64(i))
	}
	return r
}

// put copies b, unless the ring is full. Safe from any goroutine.
func (r *ring) put(to *transport.Flow, b []byte) bool {
	if r.bytes.Add(int64(len(b))) > r.limit {
		r.bytes.Add(-int64(len(b)))
		return false
	}
	for {
		i := r.tail.Load()
		p := &r.places[i&r.mask]
		switch turn := p.turn.Load(); {
		case turn == i:
			if !r.tail.CompareAndSwap(i, i+1) {
				continue
			}
			p.to = *to
			p.b = append(p.b[:0], b...)
			p.turn.Store(i + 1)
			return true
		case turn < i: // written a round ago and not yet read
			r.bytes.Add(-int64(len(b)))
			return false
		}
		// Another writer was faster: look at the tail again.
	}
}

// next is the oldest message, nil when there is none or it is still being written. It stays valid until done. For the reader.
func (r *ring) next() *place {
	p := &r.places[r.head&r.mask]
	if p.turn.Load() != r.head+1 {
		return nil
	}
	return p
}

// done gives the place of next back.
func (r *ring) done() {
	p := &r.places[r.head&r.mask]
	r.bytes.Add(-int64(len(p.b)))
	if cap(p.b) > ringKept {
		p.b = nil
	}
	p.turn.Store(r.head + uint64(len(r.places)))
	r.head++
}
