package resolve

import "sync/atomic"

// tally counts Lookups by how they ended. There are several, so that loops that look up the same place at the same time
// seldom write to the same cache line.
type tally struct {
	by [numStatus]atomic.Uint64
	_  [128 - numStatus*8]byte // two lines: processors fetch them in pairs
}

const tallies = 16

// counts are what workers count.
type counts struct {
	lookups, refreshes, questions, timeouts, serverFailures, truncated, mismatched atomic.Uint64
	dropped, expired, downgrades, namesFull, panics                                atomic.Uint64
	inFlight                                                                       atomic.Int64
}

// Counters is a snapshot.
func (r *Resolver) Counters() Counters {
	var by [numStatus]uint64
	for i := range r.tallies {
		for s := range by {
			by[s] += r.tallies[i].by[s].Load()
		}
	}
	n := &r.n
	return Counters{
		Hits: by[Hit], Misses: by[Miss], Stale: by[Stale], Negative: by[Negative], Failed: by[Failed], Unsupported: by[Unsupported],
		Lookups: n.lookups.Load(), Refreshes: n.refreshes.Load(), Questions: n.questions.Load(), Timeouts: n.timeouts.Load(),
		ServerFailures: n.serverFailures.Load(), Truncated: n.truncated.Load(), Mismatched: n.mismatched.Load(),
		Dropped: n.dropped.Load(), Expired: n.expired.Load(), Evictions: r.cache.evictions.Load(), Downgrades: n.downgrades.Load(),
		NamesFull: n.namesFull.Load(), Panics: n.panics.Load(),
		InFlight: uint64(n.inFlight.Load()), Entries: r.cache.count.Load(),
	}
}
