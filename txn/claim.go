package txn

import "sync/atomic"

// The claim word of a ResponseContext decides who may touch it, whether it lives, and where events
// wait for the holder. It is one word so that one CAS can tell all three; nobody ever waits on it.
//
//	bits  0 to 20   head: 1 + slot of the newest inbox node; 0: no event waits
//	bits 21 to 30   events accepted since the claim was taken
//	bit  31         claimed: one loop owns everything in the context but claim and link
//	bits 32 to 63   generation: odd while the context lives, even while the slot is free
//
// Legal transitions, written {generation, claimed, accepted, head} (g is odd; all but the first by CAS):
//
//	create   {g-1, 0, 0, 0} -> {g, 1, 0, 0}      store by the owner of the free slot, before the CAS of
//	                                             the bucket head publishes the context
//	claim    {g, 0, 0, 0}   -> {g, 1, 0, 0}      acquires what the last holder wrote
//	post     {g, 1, n, h}   -> {g, 1, n+1, h'}   publishes the node h', whose next is h
//	take     {g, 1, n, h}   -> {g, 1, n, 0}      by the holder: the nodes from h on are its own
//	release  {g, 1, n, 0}   -> {g, 0, 0, 0}      by the holder: publishes what it wrote
//	end      {g, 1, n, h}   -> {g+1, 0, 0, 0}    by the holder: from now on Gone
//
// A head is only ever set while claimed, and release needs an empty one: so an event that was
// accepted is either handed to the holder or ended with the context, and never left behind. The
// generation is in the word that the CAS compares, so a Ref or a pointer from before an end can
// neither claim nor post to what lives in the slot after it. The count bounds what one holder has to
// do before it may go on: loops that receive faster than it works cannot keep it for ever.
const (
	headMask      = 1<<acceptedShift - 1
	acceptedShift = 21
	acceptedMask  = 1<<10 - 1
	claimedBit    = 1 << 31
	genShift      = 32
	liveBit       = 1 << genShift
)

// Outcome says what a look-up, a claim or a post came to.
type Outcome uint8

const (
	Gone    Outcome = iota // no such context, or it has ended
	Claimed                // the caller holds the claim: it must Release, End or Poison the context
	Created                // as Claimed; the context is new, and zero but for its key
	Busy                   // another loop holds the claim; from Post: the event is queued for it
	Full                   // a bound is reached; nothing was done, and it was counted
)

// Ref is the name of c for the branch parameter, the wheel and workers. The caller holds the claim.
func (c *ResponseContext) Ref() Ref {
	return Ref{Slot: c.slot, Gen: uint32(atomic.LoadUint64(&c.claim) >> genShift)}
}

// Claim claims the context that r names: Claimed, Busy or Gone. With Busy the context is returned
// too, for Post.
func (l *Local) Claim(r Ref) (*ResponseContext, Outcome) {
	l.Busy()
	if r.Gen&1 == 0 || uint64(r.Slot) >= l.store.pools[kindContext].ready.Load() {
		return nil, Gone
	}
	c := l.contexts.at(r.Slot)
	w := atomic.LoadUint64(&c.claim)
	if uint32(w>>genShift) != r.Gen {
		return nil, Gone
	}
	return c, tryClaim(c, w)
}

// tryClaim claims c in the generation of w, a value of its claim word seen before. It retries only
// when another loop's CAS went first.
func tryClaim(c *ResponseContext, w uint64) Outcome {
	gen := w >> genShift
	for {
		if w&claimedBit != 0 {
			return Busy
		}
		if atomic.CompareAndSwapUint64(&c.claim, w, w|claimedBit) {
			return Claimed
		}
		if w = atomic.LoadUint64(&c.claim); w>>genShift != gen {
			return Gone
		}
	}
}

// Release gives up the claim, unless an event came in meanwhile: then more is true, the claim is
// still held, and the caller handles e and calls Release again. e and its Data are borrowed until
// the next Release, Quiesce or Idle. Events come in the order they were accepted.
func (l *Local) Release(c *ResponseContext) (e *Event, more bool) {
	for c.inbox == 0 {
		w := atomic.LoadUint64(&c.claim)
		if w&claimedBit == 0 {
			panic("txn: Release of a context that is not claimed")
		}
		if w&headMask == 0 {
			if atomic.CompareAndSwapUint64(&c.claim, w, w>>genShift<<genShift) {
				return nil, false
			}
		} else if atomic.CompareAndSwapUint64(&c.claim, w, w&^headMask) {
			c.inbox = l.inOrder(uint32(w & headMask))
		}
	}
	return l.nextEvent(c), true
}

// End ends c, whose claim the caller holds: it leaves the table, its branches and bytes are given up,
// its Ref is Gone. Events still in the inbox end with it, counted. c must not be used after.
func (l *Local) End(c *ResponseContext) {
	l.end(c)
	l.retire(kindContext, c.slot)
	l.permits++
	if l.permits > 2*l.store.permitBatch {
		l.permits -= l.store.permitBatch
		l.store.permits.Add(int64(l.store.permitBatch))
	}
	l.count[countEnded]++
}

// Poison is End for a context whose claim was held when something panicked: its slot is never used
// again, and neither is its share of MaxTransactions. Nothing happens if c has ended already.
func (l *Local) Poison(c *ResponseContext) {
	l.count[countPoisoned]++
	if atomic.LoadUint64(&c.claim)&(liveBit|claimedBit) == liveBit|claimedBit {
		l.end(c)
		l.count[countEnded]++
	}
}

// end passes the generation first: from then on nobody but the caller finds anything here, and what
// is left is housekeeping. The slot itself is not retired.
func (l *Local) end(c *ResponseContext) {
	for {
		w := atomic.LoadUint64(&c.claim)
		if w&claimedBit == 0 {
			panic("txn: End of a context that is not claimed")
		}
		next := (w>>genShift + 1) << genShift // wraps to 0, which is even, as it should be
		if atomic.CompareAndSwapUint64(&c.claim, w, next) {
			if head := uint32(w & headMask); c.inbox|head != 0 {
				l.dropEvents(c.inbox)
				l.dropEvents(head)
				c.inbox = 0
			}
			break
		}
	}
	if c.first != 0 {
		l.DropBranches(c)
	}
	l.Drop(&c.Request)
	l.Drop(&c.Response)
	l.Drop(&c.Targets)
	l.remove(c)
}
