package txn

import (
	"testing"
)

// key makes a key whose bucket and tag both vary.
func key(i uint64) Key {
	x := i*0x9E3779B97F4A7C15 + 1
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	return Key{Hash: x ^ x>>32, Check: i}
}

func TestMatchOrCreate(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	if c, o := a.Match(key(1)); c != nil || o != Gone {
		t.Fatalf("Match in an empty table: %v", o)
	}
	c, o := a.MatchOrCreate(key(1))
	if o != Created {
		t.Fatalf("first MatchOrCreate: %v", o)
	}
	if _, o := b.MatchOrCreate(key(1)); o != Busy {
		t.Fatalf("while it is held: %v", o)
	}
	if _, o := b.Claim(c.Ref()); o != Busy {
		t.Fatalf("Claim while it is held: %v", o)
	}
	r := c.Ref()
	if _, more := a.Release(c); more {
		t.Fatal("an event out of nothing")
	}
	if got, o := b.MatchOrCreate(key(1)); o != Claimed || got != c {
		t.Fatalf("after the release: %v", o)
	}
	b.End(c)
	for _, l := range []*Local{a, b} {
		if _, o := l.Match(key(1)); o != Gone {
			t.Errorf("Match after End: %v", o)
		}
		if _, o := l.Claim(r); o != Gone {
			t.Errorf("Claim after End: %v", o)
		}
		if o := l.Post(c, &Event{Kind: EventRequest}); o != Gone {
			t.Errorf("Post after End: %v", o)
		}
	}
	for _, r := range []Ref{{}, {Slot: 5, Gen: 7}, {Slot: 1 << 31, Gen: 1001}} {
		if _, o := a.Claim(r); o != Gone {
			t.Errorf("Claim of %v: %v", r, o)
		}
	}
}

// TestFull fills a store to its bound: not one more, and room again after the end of one.
func TestFull(t *testing.T) {
	const most = 200
	s := newTestStore(t, StoreConfig{MaxTransactions: most})
	l := s.Local(0)
	var refs []Ref
	for i := range uint64(most) {
		c, o := l.MatchOrCreate(key(i))
		if o != Created {
			t.Fatalf("context %d: %v", i, o)
		}
		refs = append(refs, c.Ref())
		l.Release(c)
	}
	if _, o := l.MatchOrCreate(key(most)); o != Full {
		t.Fatalf("one more: %v", o)
	}
	if c, o := l.MatchOrCreate(key(3)); o != Claimed {
		t.Fatalf("a known one while full: %v", o)
	} else {
		l.Release(c)
	}
	c, _ := l.Claim(refs[7])
	l.End(c)
	if _, o := l.MatchOrCreate(key(most)); o != Created {
		t.Fatalf("after one ended: %v", o)
	}
	l.Idle()
	if st := s.Stats(); st.Live != most || st.Full != 1 || s.Live() != most {
		t.Errorf("%+v", st)
	}
}

// TestReleaseAndEndWantTheClaim: a second End would let the slot live twice.
func TestReleaseAndEndWantTheClaim(t *testing.T) {
	l := newTestStore(t, StoreConfig{MaxTransactions: 100}).Local(0)
	for _, f := range []func(*ResponseContext){func(c *ResponseContext) { l.Release(c) }, l.End} {
		c, _ := l.MatchOrCreate(key(1))
		l.End(c)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("accepted without the claim")
				}
			}()
			f(c)
		}()
	}
}
