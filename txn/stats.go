package txn

import "sync/atomic"

// Counters are plain words of a Local. They are published, by atomic stores of those that changed,
// before the loop sleeps and every so many batches; Stats adds up what was published.
type counters [numCounters]uint64

type published struct {
	_    [128]byte
	word [numCounters]atomic.Uint64
	_    [128]byte
}

const (
	countCreated = iota
	countEnded
	countPoisoned
	countFull
	countBranchAdded
	countBranchDropped
	countFullBranches
	countKept
	countDropped
	countKeptBytes
	countDroppedBytes
	countBytesFull
	countPosted
	countHandled
	countEndedEvents
	countPostDropped
	countPostRefused
	countTimers
	countEmergency
	numCounters
)

// Stats are the numbers of a Store since its start, as its loops last published them: before they
// slept, or at most 64 batches ago.
type Stats struct {
	Live          uint64 // contexts
	Created       uint64
	Ended         uint64
	Poisoned      uint64 // contexts ended by a panic; their slots are lost
	Full          uint64 // contexts not created for want of room
	Branches      uint64 // branches alive
	FullBranches  uint64 // branches not made for want of room
	Spans         uint64 // byte strings kept
	SpanBytes     uint64 // the slots they fill
	BytesFull     uint64 // byte strings not kept for want of room
	Posted        uint64 // events queued for the holder of a claim
	Handled       uint64 // of those: handed to the holder
	EndedEvents   uint64 // of those: ended with their context
	PostDropped   uint64 // droppable events refused
	PostRefused   uint64 // other events refused
	Timers        uint64 // entries on the wheels
	Emergencies   uint64 // chunks that a loop had to make itself
	ReservedBytes uint64 // memory of all slabs, used or free, without the table and the wheels
}

// Live is the number of live contexts, for admission; as exact as Stats.
func (s *Store) Live() int {
	var n int64
	for _, l := range s.locals {
		n += int64(l.published.word[countCreated].Load() - l.published.word[countEnded].Load())
	}
	return int(max(n, 0))
}

// Fullness is the share of MaxTransactions that is taken, 0 to 1, what loops hold ready for themselves included; 0 for a Store
// so small that this is much of it. Safe from any goroutine, and cheap.
func (s *Store) Fullness() float64 {
	if s.config.MaxTransactions < 16*64*len(s.locals) { // permitBatch is at most 64
		return 0
	}
	return 1 - float64(max(s.permits.Load(), 0))/float64(s.config.MaxTransactions)
}

// Stats adds up the loops. Safe from any goroutine.
func (s *Store) Stats() Stats {
	var n counters
	for _, l := range s.locals {
		for i := range n {
			n[i] += l.published.word[i].Load()
		}
	}
	t := Stats{
		Live: since(n[countCreated], n[countEnded]), Created: n[countCreated], Ended: n[countEnded],
		Poisoned: n[countPoisoned], Full: n[countFull],
		Branches: since(n[countBranchAdded], n[countBranchDropped]), FullBranches: n[countFullBranches],
		Spans: since(n[countKept], n[countDropped]), SpanBytes: since(n[countKeptBytes], n[countDroppedBytes]),
		BytesFull: n[countBytesFull], Posted: n[countPosted], Handled: n[countHandled],
		EndedEvents: n[countEndedEvents], PostDropped: n[countPostDropped], PostRefused: n[countPostRefused],
		Timers: n[countTimers], Emergencies: n[countEmergency],
	}
	for k := range s.pools {
		t.ReservedBytes += s.pools[k].ready.Load() * s.pools[k].size
	}
	return t
}

// since is made minus gone; the two are published one after the other, so gone may be ahead.
func since(made, gone uint64) uint64 { return made - min(made, gone) }

// publish stores the counters that changed since the last time.
func (l *Local) publish() {
	l.count[countTimers] = uint64(l.wheel.count)
	for i, n := range l.count {
		if word := &l.published.word[i]; word.Load() != n {
			word.Store(n)
		}
	}
}
