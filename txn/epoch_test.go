package txn

import (
	"bytes"
	"testing"
)

// TestNoReuseBeforeEveryLoopIsQuiescent: a loop that is online and has not announced anything since
// may still look at the slot.
func TestNoReuseBeforeEveryLoopIsQuiescent(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100, Loops: 3})
	a, b := s.Local(0), s.Local(1) // loop 2 stays offline and holds nobody up
	c := held(t, s, 1)
	slot := c.slot
	b.Busy()
	if _, o := b.Match(key(1)); o != Busy {
		t.Fatal(o)
	}
	a.End(c)
	// comes takes every slot there is to be had and looks for the ended one.
	comes := func() (found bool) {
		for {
			got, ok := a.alloc(kindContext)
			if !ok {
				return found
			}
			found = found || got == slot
			a.Quiesce()
		}
	}
	if comes() {
		t.Fatal("reused while another loop may look at it")
	}
	b.Quiesce()
	a.Quiesce()
	if !comes() {
		t.Fatal("not reused after all loops were quiescent")
	}
}

// TestStuckLoop: with a loop that never comes back, memory is bounded and callers are told Full.
func TestStuckLoop(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	b.Busy()
	msg := make([]byte, 1000)
	full := false
	for i := uint64(0); !full; i++ {
		c, o := a.MatchOrCreate(key(i))
		if full = o == Full; full {
			break
		}
		c.Request, _ = a.Keep(msg)
		a.AddBranch(c)
		a.End(c)
		a.Quiesce()
		if i > 100_000 {
			t.Fatal("nothing stops it")
		}
	}
	b.Idle()
	for range 3 {
		a.Quiesce()
	}
	for i := range uint64(3 * chunkSlots) {
		c, o := a.MatchOrCreate(key(i))
		if o != Created {
			t.Fatalf("still %v after the loop went offline", o)
		}
		a.End(c)
		a.Quiesce()
	}
}

// TestOthersGetWhatOneLoopEnds: one loop creates, the other ends; slots must find their way back.
func TestOthersGetWhatOneLoopEnds(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 500, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	a.Busy()
	b.Busy()
	msg := make([]byte, 700)
	for i := range uint64(20 * chunkSlots) {
		c, o := a.MatchOrCreate(key(i))
		if o != Created {
			t.Fatalf("context %d: %v", i, o)
		}
		var ok bool
		if c.Response, ok = a.Keep(msg); !ok {
			t.Fatalf("bytes of context %d refused", i)
		}
		a.Release(c)
		c, o = b.Match(key(i))
		if o != Claimed {
			t.Fatal(o)
		}
		b.End(c)
		if i%16 == 0 {
			a.Quiesce()
			b.Quiesce()
		}
	}
	for k := range s.pools {
		if p := &s.pools[k]; p.fresh.Load() > 2*chunkSlots {
			t.Errorf("kind %d: %d slots touched for a handful in use", k, p.fresh.Load())
		}
	}
}

// TestBorrowOutlivesRelease: what Release lends is readable until the loop is quiescent, however the
// other loops hurry.
func TestBorrowOutlivesRelease(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 500, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	c := held(t, s, 1)
	want := bytes.Repeat([]byte{7}, 500)
	b.Post(c, &Event{Kind: EventResponse, Data: want})
	e, more := a.Release(c)
	if !more {
		t.Fatal("no event")
	}
	for range 100 {
		b.Quiesce()
		h, _ := b.Keep(make([]byte, 500))
		b.Drop(&h)
	}
	if !bytes.Equal(e.Data, want) {
		t.Error("the bytes changed under the borrower")
	}
}

// TestOneClassCannotTakeAll floods the store with messages of one length, then of another.
func TestOneClassCannotTakeAll(t *testing.T) {
	const bound = 64 << 20
	s := newTestStore(t, StoreConfig{MaxTransactions: 1000, MaxRetainedBytes: bound})
	l := s.Local(0)
	keepAll := func(n int) (kept int) {
		b := make([]byte, n)
		for {
			if _, ok := l.Keep(b); !ok {
				return kept
			}
			kept += n
		}
	}
	// The flood spills into larger classes too, but what it may take stays short of everything.
	flood := keepAll(65000)
	if flood < bound/2 || flood > bound*3/4 {
		t.Errorf("a flood of one length took %d of %d bytes", flood, bound)
	}
	if rest := keepAll(700); rest < bound/8 {
		t.Errorf("%d bytes were left for ordinary messages", rest)
	}
	if got := s.Stats().ReservedBytes; got > bound+4<<20 {
		t.Errorf("%d bytes reserved", got)
	}
}
