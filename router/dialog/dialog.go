// Package dialog keeps an eye on the calls that must be seen to their end: counted, limited, later paid ones.
//
// Enters: INVITEs that are forwarded, what is answered to them, later requests of the dialog, the current Instant.
// Leaves: how many calls live, and for each what it takes to end it from the middle: tags, CSeqs, contacts, route sets, flows.
// Never:  sends anything, decides where a request goes, holds a pointer in an entry.
//
// A call has one Entry from the moment its INVITE is forwarded to its failure, its BYE or its longest duration, whichever
// comes first. There is one way to begin an entry and one to end it, and what counts calls (the caps of a gateway or a
// peer) is told at exactly these two: so a counter is the number of entries, by construction.
package dialog

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// Config says how many calls there may be, and whom to tell of their end.
type Config struct {
	Most int // entries; 0: DefaultMost
	// MaxDuration ends the entry of a call that nobody says goodbye to; 0: DefaultMaxDuration.
	MaxDuration time.Duration
	// MaxEarly ends the entry of an INVITE that is neither answered nor refused: more than any Timer C. 0: DefaultMaxEarly.
	MaxEarly time.Duration
	// Begun is asked once before each entry that is to begin, on its loop; false: those it would count among have as many calls as
	// they may have, and it does not begin. It takes the place of the peer; that of the gateway was taken when the gateway was
	// chosen. Nil: always. It must not block or allocate.
	Begun func(o Owner, now transport.Instant) bool
	// Ended is told once of each entry that ends, on the loop that ended it, and gives back both places. It must not block or
	// allocate.
	Ended func(Owner)
	// TokenParam is the name of the URI parameter by which Record-Route values of ours are known.
	TokenParam string
}

// Owner says whose calls an entry counts among. 0: nobody's.
type Owner struct {
	Gateway uint16
	Peer    uint16
}

// Table has an entry for each call that is watched. Safe for concurrent use; what takes a txn.Local belongs to that
// Local's loop.
type Table struct {
	cfg   Config
	dir   []atomic.Pointer[[chunkEntries]entry]
	free  atomic.Uint64 // 1 + slot of the first free entry in the low half, a tag against ABA in the high one
	fresh atomic.Uint64 // slots from here on were never used
	ready atomic.Uint64 // slots below have a chunk behind them
	live  atomic.Int64
	seed  maphash.Seed
	stats counters

	wanted chan struct{} // wakes the grower; capacity 1
	done   chan struct{}
	grown  chan struct{} // closed when the grower has ended
}

// New makes a Table and starts its grower goroutine, which Close ends. It is small at first and grows with the number of calls.
func New(cfg Config) *Table {
	if cfg.Most <= 0 {
		cfg.Most = DefaultMost
	}
	if cfg.MaxDuration <= 0 {
		cfg.MaxDuration = DefaultMaxDuration
	}
	if cfg.MaxEarly <= 0 {
		cfg.MaxEarly = DefaultMaxEarly
	}
	t := &Table{
		cfg: cfg, dir: make([]atomic.Pointer[[chunkEntries]entry], (cfg.Most+chunkEntries-1)/chunkEntries),
		seed: maphash.MakeSeed(), wanted: make(chan struct{}, 1), done: make(chan struct{}), grown: make(chan struct{}),
	}
	t.extend()
	go t.grow()
	return t
}

// Close ends the grower.
func (t *Table) Close() {
	close(t.done)
	<-t.grown
}

// Live is the number of entries.
func (t *Table) Live() int { return int(t.live.Load()) }

// Begin makes the entry of a call whose INVITE m, as it was received, is about to be forwarded. It copies what it keeps.
// ok is false when there is no room: the call must not be forwarded then, or it would not be counted.
func (t *Table) Begin(l *txn.Local, owner Owner, from *transport.Flow, m *parser.Message, b []byte, now transport.Instant) (ref txn.Ref, ok bool) {
	if t.cfg.Begun != nil && !t.cfg.Begun(owner, now) {
		t.stats.refused.Add(1)
		return txn.Ref{}, false
	}
	if ref, ok = t.begin(l, owner, from, m, b, now); !ok && t.cfg.Ended != nil {
		t.cfg.Ended(Owner{Peer: owner.Peer}) // the gateway's place is for the caller to give back
	}
	return ref, ok
}

func (t *Table) begin(l *txn.Local, owner Owner, from *transport.Flow, m *parser.Message, b []byte, now transport.Instant) (ref txn.Ref, ok bool) {
	var text [maxText]byte
	var parts [numParts]part
	n := put(text[:0], &parts[CallID], m.CallID.In(b))
	n = put(n, &parts[CallerTag], m.From.Tag.In(b))
	n = put(n, &parts[CallerAddress], m.From.Addr.In(b))
	n = put(n, &parts[CalleeAddress], m.To.Addr.In(b))
	n = put(n, &parts[CallerContact], contact(m, b))
	n, count := recordRoutes(m, b, n, &parts[CallerRoutes])
	kept, ok := l.Keep(n)
	if !ok {
		t.stats.full.Add(1)
		return txn.Ref{}, false
	}
	e, slot := t.take()
	if e == nil {
		l.Drop(&kept)
		t.stats.full.Add(1)
		return txn.Ref{}, false
	}
	e.Owner, e.began, e.confirmed = owner, now, 0
	e.setDeadline(now.Add(t.cfg.MaxEarly))
	e.caller, e.callee = *from, transport.Flow{}
	e.cseq = [2]uint32{m.CSeq.Number, 0}
	e.sides = [2]uint64{t.side(m.CallID.In(b), m.From.Tag.In(b)), 0}
	e.upstream = uint16(count)
	e.text, e.parts = kept, parts
	w := atomic.LoadUint64(&e.word)
	gen := uint32(w>>genShift) + 1
	if gen == 0 {
		gen = 1
	}
	t.live.Add(1)
	t.stats.begun.Add(1)
	atomic.StoreUint64(&e.word, uint64(gen)<<genShift|uint64(early))
	return txn.Ref{Slot: slot, Gen: gen}, true
}

// Confirm notes the 2xx m to the INVITE, as it was received, which came by from. Only the first counts: a second one, from a
// request that was forked downstream, is a dialog that the caller has to end by itself (RFC 3261 section 13.2.2.4).
func (t *Table) Confirm(l *txn.Local, ref txn.Ref, from *transport.Flow, m *parser.Message, b []byte, now transport.Instant) {
	e, w := t.claim(ref)
	if e == nil {
		return
	}
	if w&stateMask == early {
		w = w&^stateMask | confirmed
		e.confirmed, e.callee = now, *from
		e.sides[1] = t.side(m.CallID.In(b), m.To.Tag.In(b))
		e.setDeadline(now.Add(t.cfg.MaxDuration))
		var next [numParts]part
		var buf [maxText]byte
		old := l.Bytes(e.text)
		text := buf[:0]
		for i := range Part(numParts) {
			switch i {
			case CalleeTag:
				text = put(text, &next[i], m.To.Tag.In(b))
			case CalleeContact:
				text = put(text, &next[i], contact(m, b))
			case CalleeRoutes:
				text = downstreamRoutes(m, b, t.cfg.TokenParam, int(e.upstream), text, &next[i])
			default:
				text = put(text, &next[i], e.parts[i].in(old))
			}
		}
		if kept, ok := l.Keep(text); ok {
			l.Drop(&e.text)
			e.text, e.parts = kept, next
		} else {
			t.stats.forgotten.Add(1) // it still counts, and its BYE ends it; only ending it from here will not be possible
		}
		t.stats.confirmed.Add(1)
	}
	t.release(l, e, ref, w)
}

// Request notes a later request of the dialog that is forwarded: its CSeq, and a new remote target (RFC 3261 section 12.2:
// re-INVITE and UPDATE). It reports whether the request's tags are those of the call, and ends nothing: see Answered.
func (t *Table) Request(l *txn.Local, ref txn.Ref, m *parser.Message, b []byte) (known bool) {
	e, w := t.claim(ref)
	if e == nil {
		return false
	}
	side, known := t.sender(e, m, b)
	if known {
		e.cseq[side] = max(e.cseq[side], m.CSeq.Number)
		if m.Method == parser.MethodInvite || m.Method == parser.MethodUpdate {
			if c := contact(m, b); len(c) > 0 {
				t.moved(l, e, CallerContact+Part(side), c)
			}
		}
	}
	t.release(l, e, ref, w)
	return known
}

// Target notes the remote target in a 2xx to a re-INVITE or UPDATE that callee or caller answered.
func (t *Table) Target(l *txn.Local, ref txn.Ref, m *parser.Message, b []byte) {
	c := contact(m, b)
	if len(c) == 0 {
		return
	}
	e, w := t.claim(ref)
	if e == nil {
		return
	}
	// A response has the tags of the request it answers, so its sender is the other side.
	if side, known := t.sender(e, m, b); known {
		t.moved(l, e, CallerContact+Part(1-side), c)
	}
	t.release(l, e, ref, w)
}

// End ends the entry that ref names; false when it has ended already. Whoever finds it in use leaves the end to the user.
func (t *Table) End(l *txn.Local, ref txn.Ref) bool {
	e := t.at(ref)
	if e == nil {
		return false
	}
	for {
		w := atomic.LoadUint64(&e.word)
		switch {
		case uint32(w>>genShift) != ref.Gen || w&stateMask == free || w&doomedBit != 0:
			return false
		case w&claimedBit != 0:
			if atomic.CompareAndSwapUint64(&e.word, w, w|doomedBit) {
				return true
			}
		case atomic.CompareAndSwapUint64(&e.word, w, w|claimedBit):
			t.finish(l, e, ref)
			return true
		}
	}
}

// Ends tells whether a final response to a BYE of the dialog means that the call is over. "If the response for a BYE is a
// 481 (Call/Transaction Does Not Exist) or a 408 (Request Timeout) or no response at all is received [...] the UAC MUST
// consider the session and the dialog terminated." RFC 3261 section 15.1.1. A challenge does not end it, nor does a
// refusal: somebody else may have sent that BYE. status 0 means no response at all.
func Ends(status int) bool {
	return status >= 200 && status < 300 || status == 481 || status == 408 || status == 0
}

// Sweep ends the entries whose time is over, a bounded number of slots in each call. Each of loops loops sweeps the slots
// that are its own; at says where it is. next is when to call again, 0 when there is nothing to sweep.
func (t *Table) Sweep(l *txn.Local, s *Sweeper, now transport.Instant) (next transport.Instant) {
	if t.live.Load() == 0 {
		return 0
	}
	if s.next > now {
		return s.next
	}
	top := uint32(min(t.fresh.Load(), uint64(t.cfg.Most)))
	for range sweepSlots {
		if s.slot >= top {
			s.slot = s.loop
			s.next = now.Add(sweepEvery)
			return s.next
		}
		slot := s.slot
		s.slot += s.loops
		e := t.slot(slot)
		w := atomic.LoadUint64(&e.word)
		if w&stateMask == free || w&claimedBit != 0 || now < e.over() {
			continue
		}
		if t.End(l, txn.Ref{Slot: slot, Gen: uint32(w >> genShift)}) {
			t.stats.expired.Add(1)
		}
	}
	s.next = now.Add(sweepPause)
	return s.next
}

// Sweeper is where a loop is in its sweep. Owned by one loop.
type Sweeper struct {
	slot, loop, loops uint32
	next              transport.Instant
}

// NewSweeper makes the Sweeper of one of so many loops.
func NewSweeper(loop, loops int) Sweeper {
	return Sweeper{slot: uint32(loop), loop: uint32(loop), loops: uint32(loops)}
}
