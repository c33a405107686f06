package txn

import "sync/atomic"

// Memory that another loop may still be looking at is reused only after a grace period
// (quiescent-state-based reclamation). There is one epoch number for the process. Every loop that is
// online announces, once per batch, the epoch it sees at a moment when it holds no reference into
// shared memory; a sleeping loop announces 0 and holds nobody up.
//
// The epoch goes from e to e+1 only after every loop was seen to have announced e, or to be offline,
// since the epoch became e. So what was retired in epoch e (the epoch is read after the last
// reference was removed) can be reached by nobody once the epoch is e+2: the step to e+1 may rest on
// announcements from before the removal, the step to e+2 cannot.
//
// A loop that comes back writes its announcement before it looks at anything shared. It may announce
// an epoch that has just passed; that only holds the epoch back until its next announcement.
//
// A loop that is stuck stops the epoch. Then nothing is reused, the slabs grow to their bounds, and
// callers are told Full; nothing breaks.

// epochs is the shared part. Safe for concurrent use: atomics only.
type epochs struct {
	now   atomic.Uint64 // starts at 1, so that 0 can mean offline; only ever CAS e to e+1, by tryAdvance
	_     [120]byte
	loops []participant
}

// participant is where one loop announces; only that loop stores.
//
//	0      offline: holds nothing
//	e > 0  passed a quiescent point in epoch e, and has been online since
//
// The store publishes, to whoever advances the epoch, that all earlier reads by this loop are done.
type participant struct {
	announced atomic.Uint64
	_         [120]byte // a cache line of its own, and one for the prefetcher
}

// grace is how many steps of the epoch make a grace period.
const grace = 2

// Quiesce says that the caller holds no reference into the store: no context, branch, borrowed bytes
// or event. Called once per batch. It also moves a bounded amount of reclaimed memory on.
func (l *Local) Quiesce() {
	e := l.store.epochs.now.Load()
	l.announce(e)
	// Two tries are enough when nobody else is online: the grace period passes right here.
	for i := 0; i < grace && l.lastRetired+grace > e; i++ {
		if !l.tryAdvance(e) {
			break
		}
		e++
		l.announce(e)
	}
	l.shareReclaimed(e)
	l.batches++
	if l.batches%publishEvery == 0 {
		l.publish()
	}
}

// Idle takes the loop offline before it sleeps; as with Quiesce, it must hold no reference.
func (l *Local) Idle() {
	l.publish()
	l.announced = 0
	l.store.epochs.loops[l.loop].announced.Store(0)
}

// Busy brings the loop back online; called before anything else after a sleep.
func (l *Local) Busy() {
	if l.announced == 0 {
		l.announce(l.store.epochs.now.Load())
	}
}

// announce publishes epoch e. An announcement that stands already is not repeated: whoever relies on
// it relies on the older one, and what this loop reads now it will cover with the next.
func (l *Local) announce(e uint64) {
	if l.announced != e {
		l.announced = e
		l.store.epochs.loops[l.loop].announced.Store(e)
	}
}

// tryAdvance moves the epoch on from e if every loop allows. It remembers how far it got, so that a
// loop that is in the way costs one load per try; a loop seen once in this epoch need not be seen
// again.
func (l *Local) tryAdvance(e uint64) bool {
	if l.scanned != e {
		l.scanned, l.scan = e, 0
	}
	loops := l.store.epochs.loops
	for ; l.scan < len(loops); l.scan++ {
		if a := loops[l.scan].announced.Load(); a != 0 && a < e {
			return false
		}
	}
	return l.store.epochs.now.CompareAndSwap(e, e+1)
}
