//go:build !race

package txn

import (
	"testing"

	"sipedge/transport"
)

// TestAllocsStorage runs the storage side of a call: context, branches, bytes, timers, an event for
// a held context, the end. Nothing of it may touch the heap.
func TestAllocsStorage(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 1000, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	msg := make([]byte, 800)
	now, n := transport.Instant(1), uint64(0)
	check := func(ok bool) {
		if !ok {
			t.Fatal("the call does not go as it should")
		}
	}
	call := func() {
		n++
		now += transport.Instant(wheelTick)
		c, o := a.MatchOrCreate(key(n))
		check(o == Created)
		c.Request, _ = a.Keep(msg)
		for range 2 {
			a.AddBranch(c).Edits, _ = a.Keep(msg[:90])
		}
		a.Arm(c, now+500e6)
		_, o = b.Match(key(n))
		check(o == Busy && b.Post(c, &Event{Kind: EventRequest, Data: msg}) == Busy)
		e, more := a.Release(c)
		check(more && len(e.Data) == len(msg))
		_, more = a.Release(c)
		check(!more)
		c, o = b.Claim(c.Ref())
		check(o == Claimed)
		b.DropBranches(c)
		b.Drop(&c.Request)
		b.Arm(c, now+32e9)
		c.Response, _ = b.Keep(msg[:400])
		b.Release(c)
		for _, l := range []*Local{a, b} {
			for {
				r, at, ok := l.Due(now)
				if !ok {
					break
				}
				if c, o := l.Claim(r); o == Claimed {
					if l.Fired(c, at) {
						l.End(c)
					} else {
						l.Release(c)
					}
				}
			}
			l.NextDeadline()
			l.Quiesce()
		}
		if n%10 == 0 {
			a.Idle()
			b.Idle()
		}
	}
	for range 1000 { // until the slabs have their size
		call()
	}
	if allocs := testing.AllocsPerRun(500, call); allocs != 0 {
		t.Errorf("%v allocations per call", allocs)
	}
	a.Idle()
	if st := s.Stats(); st.Live == 0 || st.Ended == 0 {
		t.Errorf("%+v", st)
	}
}
