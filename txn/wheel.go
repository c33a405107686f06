package txn

import (
	"math/bits"
	"sync/atomic"

	"sipedge/transport"
)

// wheel keeps the timers of one loop: entries {instant, context} in slots of one tick, on a ring that
// reaches 34 s ahead. Owned by one loop, but for spare.
//
// There is one level and no cascade, hence no moment at which many entries move at once. A deadline
// further ahead gets an entry at the end of the ring; when that fires, the context is armed again.
// That also keeps stale entries few: a context whose Timer C (180 s) is armed and which is answered
// after 5 s already has an entry that comes early enough, and needs no second one.
//
// An entry is never unlinked. The one whose instant is in the context's armed word counts, all others
// of the context do nothing when they fire. An entry never fires early; it fires at most one tick and
// the loop's own delay late. Entries of the same tick fire in the order they were armed.
type wheel struct {
	tails [wheelSlots]uint32 // 1 + number of the last entry of the slot, whose next is the first; 0: empty
	used  [wheelSlots / 64]uint64
	some  [wheelSlots / 64 / 64]uint64 // which words of used are not 0
	tick  int64                        // slots up to this tick have been emptied into due
	due   uint32                       // as a slot: what has come due and was not yet given out

	entries []*[chunkSlots]entry
	fresh   uint32 // entries below were used before
	free    uint32 // 1 + number of the first free entry, linked by next; 0: none
	count   uint32
	limit   uint32

	// spare is the next chunk. The grower stores it when it finds nil and wanted; the loop takes it
	// by swapping nil in.
	spare  atomic.Pointer[[chunkSlots]entry]
	wanted atomic.Bool
	store  *Store
	local  *Local
}

type entry struct {
	at   transport.Instant
	ref  Ref
	next uint32 // 1 + number
}

// Arm sees to it that an entry at or before deadline exists on some loop's wheel: an earlier one is
// kept, a later one becomes stale. The caller holds the claim of c. Deadline 0 does nothing. False:
// the wheel is at its bound, which only a fault can bring about; the caller should End the context.
func (l *Local) Arm(c *ResponseContext, deadline transport.Instant) bool {
	if deadline == 0 || c.armed != 0 && c.armed <= deadline {
		return true
	}
	at := min(deadline, transport.Instant((l.wheel.tick+wheelSlots-1)<<wheelShift))
	if !l.wheel.insert(at, c.Ref()) {
		return false
	}
	c.armed = at
	return true
}

// Due gives the next entry that has come due at now; ok is false when there is none. The caller then
// claims r:
//
//	Gone     nothing to do
//	Claimed  if Fired(c, at): run everything of c that is due at now, Arm it for its next deadline,
//	         Release. If not Fired: only Release
//	Busy     Post an EventExpired with At: at; whoever is given it does what stands under Claimed
//
// An entry may come before the deadline that Arm was given: see wheel.
func (l *Local) Due(now transport.Instant) (r Ref, at transport.Instant, ok bool) {
	w := &l.wheel
	if tick := int64(now >> wheelShift); tick > w.tick {
		w.advance(tick)
	}
	if w.due == 0 {
		return Ref{}, 0, false
	}
	last := w.entry(w.due)
	i := last.next
	e := w.entry(i)
	if i == w.due {
		w.due = 0
	} else {
		last.next = e.next
	}
	r, at = e.ref, e.at
	e.next, w.free = w.free, i
	w.count--
	return r, at, true
}

// Fired tells whether the entry that fired with instant at is the one that counts for c; if so, c is
// no longer armed. The caller holds the claim of c.
func (l *Local) Fired(c *ResponseContext, at transport.Instant) bool {
	if c.armed != at {
		return false
	}
	c.armed = 0
	return true
}

// NextDeadline is when Due will have something to give; 0: never; in the past: it has now.
func (l *Local) NextDeadline() transport.Instant {
	w := &l.wheel
	if w.due != 0 {
		return max(1, w.now())
	}
	tick, ok := w.first()
	if !ok {
		return 0
	}
	return transport.Instant(tick << wheelShift)
}

// insert puts an entry in the slot of the first tick that is not before at.
func (w *wheel) insert(at transport.Instant, r Ref) bool {
	i := w.take()
	if i == 0 {
		return false
	}
	tick := int64((at + transport.Instant(wheelTick) - 1) >> wheelShift)
	// What is due already goes to the next tick: giving out what is due comes to an end even if each
	// entry is armed again at once.
	tick = min(max(tick, w.tick+1), w.tick+wheelSlots-1)
	slot := tick % wheelSlots
	e := w.entry(i)
	e.at, e.ref = at, r
	w.append(&w.tails[slot], i, e)
	w.used[slot/64] |= 1 << (slot % 64)
	w.some[slot/64/64] |= 1 << (slot / 64 % 64)
	w.count++
	return true
}

// append puts entry i at the end of a ring list.
func (w *wheel) append(tail *uint32, i uint32, e *entry) {
	if *tail == 0 {
		e.next = i
	} else {
		last := w.entry(*tail)
		e.next, last.next = last.next, i
	}
	*tail = i
}

// advance empties the slots up to tick into due: whole lists, not entries.
func (w *wheel) advance(tick int64) {
	for {
		at, ok := w.first()
		if !ok || at > tick {
			w.tick = tick
			return
		}
		slot := at % wheelSlots
		tail := w.tails[slot]
		w.tails[slot] = 0
		if w.used[slot/64] &^= 1 << (slot % 64); w.used[slot/64] == 0 {
			w.some[slot/64/64] &^= 1 << (slot / 64 % 64)
		}
		if w.due != 0 {
			a, b := w.entry(w.due), w.entry(tail)
			a.next, b.next = b.next, a.next
		}
		w.due = tail
	}
}

// first is the tick of the first slot that is not empty, from tick + 1 on.
func (w *wheel) first() (tick int64, ok bool) {
	from := (w.tick + 1) % wheelSlots
	word := from / 64
	if here := w.used[word] >> (from % 64); here != 0 {
		return w.tick + 1 + int64(bits.TrailingZeros64(here)), true
	}
	// The other words in ring order; at the end the same word again, for its slots before from.
	next := (word + 1) % int64(len(w.used))
	for n := 0; n <= len(w.some); n++ {
		group := next / 64
		here := w.some[group] >> (next % 64)
		if here == 0 {
			next = (group + 1) * 64 % int64(len(w.used))
			continue
		}
		word = next + int64(bits.TrailingZeros64(here))
		slot := word*64 + int64(bits.TrailingZeros64(w.used[word]))
		return w.tick + 1 + (slot-from+wheelSlots)%wheelSlots, true
	}
	return 0, false
}

func (w *wheel) entry(i uint32) *entry {
	return &w.entries[(i-1)>>chunkShift][(i-1)%chunkSlots]
}

// take gives the number of an unused entry, 0 when the bound is reached.
func (w *wheel) take() uint32 {
	if i := w.free; i != 0 {
		w.free = w.entry(i).next
		return i
	}
	if w.fresh == uint32(len(w.entries))*chunkSlots {
		if w.fresh >= w.limit {
			return 0
		}
		chunk := w.spare.Swap(nil)
		if chunk == nil {
			chunk = new([chunkSlots]entry)
			w.local.count[countEmergency]++
		}
		w.entries = append(w.entries, chunk)
		w.wanted.Store(true)
		select {
		case w.store.work <- struct{}{}:
		default:
		}
	}
	w.fresh++
	return w.fresh
}

// restock is the grower's part: the chunk after the next is made before it is needed.
func (w *wheel) restock() {
	if w.spare.Load() == nil && w.wanted.CompareAndSwap(true, false) {
		w.spare.Store(touchedEntries())
	}
}

func touchedEntries() *[chunkSlots]entry {
	return touched(new([chunkSlots]entry))
}

// crowded says that new contexts should wait: what is left is for those that live.
func (w *wheel) crowded() bool { return w.count > w.limit/2 }

// now is the start of the tick that Due last saw.
func (w *wheel) now() transport.Instant { return transport.Instant(w.tick << wheelShift) }
