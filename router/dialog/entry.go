package dialog

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// entry is one call. It holds no pointers and lives in chunks.
//
// word decides who may touch the rest:
//
//	bits  0 to 1    state: free, early, confirmed
//	bit   2         claimed: one loop is at work on it, for well under a microsecond
//	bit   3         doomed: whoever holds the claim ends it
//	bits 32 to 63   generation, one more with each use of the slot
//
// Legal transitions: free -> early by the store that publishes a new entry; claim and release by CAS; claimed -> free by the
// holder alone, and only then is Config.Ended told.
type entry struct {
	word uint64
	next uint32 // 1 + slot of the next free entry; atomic
	Owner
	began     transport.Instant
	confirmed transport.Instant
	deadline  int64          // an Instant; atomic, since sweeps look at it without a claim
	caller    transport.Flow // the INVITE came by it
	callee    transport.Flow // its 2xx came by it
	cseq      [2]uint32      // highest seen from the caller and from the callee
	sides     [2]uint64      // Table.side of the caller and of the callee, which is known from the 2xx on; before that 0
	text      txn.Bytes
	parts     [numParts]part
	upstream  uint16 // Record-Route values that the INVITE had when it came
}

const (
	free uint64 = iota
	early
	confirmed

	stateMask  = 3
	claimedBit = 1 << 2
	doomedBit  = 1 << 3
	genShift   = 32
)

// Part is a text that an entry keeps.
type Part uint8

const (
	CallID Part = iota
	CallerTag
	CalleeTag
	CallerAddress // URI in From of the INVITE
	CalleeAddress // URI in To of the INVITE
	CallerContact // remote targets, RFC 3261 section 12.1
	CalleeContact
	CallerRoutes // route set of a request of ours to the caller: a Route header field's value
	CalleeRoutes // and to the callee
	numParts
)

type part struct{ off, n uint16 }

func (p part) in(text []byte) []byte { return text[p.off : p.off+p.n] }

// put appends s, or nothing when there is no room, and says where it is.
func put(text []byte, p *part, s []byte) []byte {
	if len(text)+len(s) > maxText {
		s = nil
	}
	*p = part{uint16(len(text)), uint16(len(s))}
	return append(text, s...)
}

// slot is the entry at a slot that was used before.
func (t *Table) slot(i uint32) *entry { return &t.dir[i/chunkEntries].Load()[i%chunkEntries] }

// at is the entry that ref may name.
func (t *Table) at(ref txn.Ref) *entry {
	if ref.Gen == 0 || uint64(ref.Slot) >= t.fresh.Load() {
		return nil
	}
	return t.slot(ref.Slot)
}

// take finds a free slot; nil: all are in use. Nobody else can touch it until it is published.
func (t *Table) take() (*entry, uint32) {
	for {
		w := t.free.Load()
		if uint32(w) == 0 {
			break
		}
		e := t.slot(uint32(w) - 1)
		next := atomic.LoadUint32(&e.next) // may be stale: then the tag has moved and the CAS fails
		if t.free.CompareAndSwap(w, (w>>32+1)<<32|uint64(next)) {
			return e, uint32(w) - 1
		}
	}
	for {
		f, r := t.fresh.Load(), t.ready.Load()
		switch {
		case f >= uint64(t.cfg.Most):
			return nil, 0
		case f >= r:
			t.extend() // the grower is late
			continue
		case r-f < chunkEntries/2:
			select {
			case t.wanted <- struct{}{}:
			default:
			}
		}
		if t.fresh.CompareAndSwap(f, f+1) {
			return t.slot(uint32(f)), uint32(f)
		}
	}
}

// grow makes chunks ahead of need, off the loops.
func (t *Table) grow() {
	defer close(t.grown)
	for {
		select {
		case <-t.done:
			return
		case <-t.wanted:
		}
		for t.ready.Load()-t.fresh.Load() < chunkEntries && t.extend() {
		}
	}
}

// extend adds one chunk, or helps whoever is just adding it; false when there is no room for more.
func (t *Table) extend() bool {
	r := t.ready.Load()
	i := r / chunkEntries
	if i >= uint64(len(t.dir)) {
		return false
	}
	t.dir[i].CompareAndSwap(nil, new([chunkEntries]entry))
	t.ready.CompareAndSwap(r, r+chunkEntries)
	return true
}

func (e *entry) setDeadline(at transport.Instant) { atomic.StoreInt64(&e.deadline, int64(at)) }
func (e *entry) over() transport.Instant          { return transport.Instant(atomic.LoadInt64(&e.deadline)) }

// claim takes the entry that ref names for this loop. Another loop's claim is a matter of nanoseconds, so it is tried
// again a bounded number of times; nil when that was not enough (counted), or when the entry has ended.
func (t *Table) claim(ref txn.Ref) (*entry, uint64) {
	e := t.at(ref)
	if e == nil {
		return nil, 0
	}
	for range claimTries {
		w := atomic.LoadUint64(&e.word)
		if uint32(w>>genShift) != ref.Gen || w&stateMask == free || w&doomedBit != 0 {
			return nil, 0
		}
		if w&claimedBit == 0 && atomic.CompareAndSwapUint64(&e.word, w, w|claimedBit) {
			return e, w
		}
	}
	t.stats.busy.Add(1)
	return nil, 0
}

// release gives the claim up; w is what the word shall be. An end that was asked for meanwhile is carried out.
func (t *Table) release(l *txn.Local, e *entry, ref txn.Ref, w uint64) {
	for {
		now := atomic.LoadUint64(&e.word)
		if now&doomedBit != 0 {
			t.finish(l, e, ref)
			return
		}
		if atomic.CompareAndSwapUint64(&e.word, now, w) {
			return
		}
	}
}

// finish is the one way out. The caller holds the claim.
func (t *Table) finish(l *txn.Local, e *entry, ref txn.Ref) {
	owner := e.Owner
	l.Drop(&e.text)
	t.live.Add(-1)
	t.stats.ended.Add(1)
	atomic.StoreUint64(&e.word, uint64(ref.Gen)<<genShift) // free
	for {
		w := t.free.Load()
		atomic.StoreUint32(&e.next, uint32(w))
		if t.free.CompareAndSwap(w, (w>>32+1)<<32|uint64(ref.Slot+1)) {
			break
		}
	}
	if t.cfg.Ended != nil {
		t.cfg.Ended(owner)
	}
}

// side is what a side of a call is known by: its tag and the Call-ID, hashed, so that the end of a call is known by them even if
// there was no room for its texts. Never 0.
func (t *Table) side(callID, tag []byte) uint64 {
	return maphash.Bytes(t.seed, callID)*3 + maphash.Bytes(t.seed, tag) | 1
}

// sender tells which side sent a request with these tags: 0 the caller, 1 the callee.
func (t *Table) sender(e *entry, m *parser.Message, b []byte) (side int, known bool) {
	callID := m.CallID.In(b)
	switch [2]uint64{t.side(callID, m.From.Tag.In(b)), t.side(callID, m.To.Tag.In(b))} {
	case e.sides:
		return 0, true
	case [2]uint64{e.sides[1], e.sides[0]}:
		return 1, true
	}
	return 0, false
}

// moved replaces one part.
func (t *Table) moved(l *txn.Local, e *entry, which Part, s []byte) {
	old := l.Bytes(e.text)
	if bytes.Equal(e.parts[which].in(old), s) {
		return
	}
	var buf [maxText]byte
	var next [numParts]part
	text := buf[:0]
	for i := range Part(numParts) {
		if i == which {
			text = put(text, &next[i], s)
		} else {
			text = put(text, &next[i], e.parts[i].in(old))
		}
	}
	kept, ok := l.Keep(text)
	if !ok {
		t.stats.forgotten.Add(1)
		return
	}
	l.Drop(&e.text)
	e.text, e.parts = kept, next
}

// contact is the URI of the first Contact.
func contact(m *parser.Message, b []byte) []byte {
	var a parser.Address
	vs := m.Values(b, parser.HeaderContact)
	v, _, ok := vs.Next()
	if !ok || parser.ParseAddress(b, v, &a).Code != 0 || a.Star {
		return nil
	}
	return a.Addr.In(b)
}

// recordRoutes appends the Record-Route values of a request as they stand: the route set of its receiver (RFC 3261 section
// 12.1.1: "taken in order and preserving all URI parameters"). A set that does not fit is left out whole: half of one leads nowhere.
func recordRoutes(m *parser.Message, b, text []byte, p *part) (out []byte, count int) {
	start := len(text)
	fits := true
	vs := m.Values(b, parser.HeaderRecordRoute)
	for {
		v, _, ok := vs.Next()
		if !ok {
			return whole(text, start, fits, p), count
		}
		count++
		text, fits = list(text, start, v.In(b), fits)
	}
}

// downstreamRoutes appends the Record-Route values that were put on top of ours, last first: the way from here to the
// callee (section 12.1.2: "in reverse order"). upstream is how many the request had before it came here.
func downstreamRoutes(m *parser.Message, b []byte, token string, upstream int, text []byte, p *part) []byte {
	start := len(text)
	var spans [maxRoutes]parser.Span
	n, fits := 0, true
	vs := m.Values(b, parser.HeaderRecordRoute)
	for {
		v, _, ok := vs.Next()
		if !ok {
			break
		}
		if n == maxRoutes {
			fits = false
			break
		}
		spans[n] = v
		n++
	}
	n -= min(upstream, n)
	for n > 0 && ours(b, spans[n-1], token) {
		n--
	}
	for n > 0 {
		n--
		text, fits = list(text, start, spans[n].In(b), fits)
	}
	return whole(text, start, fits, p)
}

// ours tells whether a Record-Route value is one of this site.
func ours(b []byte, v parser.Span, token string) bool {
	var a parser.Address
	if parser.ParseAddress(b, v, &a).Code != 0 {
		return false
	}
	_, ok := parser.URIParam(b, a.URI.Params, token)
	return ok
}

// list appends v to a comma-separated list that begins at start, as long as everything fits.
func list(text []byte, start int, v []byte, fits bool) ([]byte, bool) {
	if !fits || len(text)+2+len(v) > maxText {
		return text, false
	}
	if len(text) > start {
		text = append(text, ", "...)
	}
	return append(text, v...), true
}

// whole ends a list.
func whole(text []byte, start int, fits bool, p *part) []byte {
	if !fits {
		text = text[:start]
	}
	*p = part{uint16(start), uint16(len(text) - start)}
	return text
}
