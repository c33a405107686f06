package txn

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sipedge/transport"
)

// TestWheelFiresInTime arms one context at a time, a nanosecond to two days ahead, and sleeps for
// exactly as long as NextDeadline says.
func TestWheelFiresInTime(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100})
	l := s.Local(0)
	for _, d := range []time.Duration{
		1, time.Microsecond, time.Millisecond, 500 * time.Millisecond, 32 * time.Second,
		34 * time.Second, 35 * time.Second, 3 * time.Minute, 3*time.Hour + 30*time.Minute, 48 * time.Hour,
	} {
		c, _ := l.MatchOrCreate(key(uint64(d)))
		r := c.Ref()
		deadline := l.wheel.now().Add(d)
		l.Arm(c, deadline)
		l.Release(c)
		fired, hops := transport.Instant(0), 0
		for fired == 0 {
			now := l.NextDeadline()
			if now == 0 {
				t.Fatalf("%v: nothing to wait for", d)
			}
			got, at, ok := l.Due(now)
			if !ok || got != r {
				t.Fatalf("%v: NextDeadline %v, due is %v %v", d, now, got, ok)
			}
			c, o := l.Claim(got)
			if o != Claimed || !l.Fired(c, at) {
				t.Fatalf("%v: the entry does not count", d)
			}
			if now >= deadline {
				fired = now
				l.End(c)
			} else {
				hops++
				l.Arm(c, deadline)
				l.Release(c)
			}
		}
		if late := fired.Sub(deadline); late < 0 || late > wheelTick {
			t.Errorf("%v: late by %v", d, late)
		}
		if most := int(d/(34*time.Second)) + 1; hops > most {
			t.Errorf("%v: armed again %d times", d, hops)
		}
		if n := l.NextDeadline(); n != 0 {
			t.Errorf("%v: something left at %v", d, n)
		}
		l.Quiesce()
	}
}

// TestWheelAgainstSortedList is the wheel beside a plain list, with random entries and sleeps from
// nothing to many times the reach of the wheel.
func TestWheelAgainstSortedList(t *testing.T) {
	type armed struct {
		at transport.Instant
		r  Ref
	}
	for seed := range uint64(20) {
		l := newTestStore(t, StoreConfig{MaxTransactions: 10_000}).Local(0)
		w := &l.wheel
		r := rand.New(rand.NewPCG(seed, 1))
		reach := transport.Instant(wheelSlots-1) << wheelShift
		var list []armed
		now, id := transport.Instant(0), uint32(0)
		for range 2000 {
			for range r.IntN(4) {
				id++
				span := []transport.Instant{1, 1e6, 1e8, reach - transport.Instant(2*wheelTick)}[r.IntN(4)]
				e := armed{w.now() + transport.Instant(r.Int64N(int64(span)+1)), Ref{Slot: id, Gen: 1}}
				if !w.insert(e.at, e.r) {
					t.Fatal("no room")
				}
				list = append(list, e)
			}
			next := l.NextDeadline()
			earliest := slices.MinFunc(append(list, armed{at: 1 << 62}), func(a, b armed) int { return int(a.at - b.at) }).at
			switch {
			case len(list) == 0 && next != 0:
				t.Fatalf("nothing armed, NextDeadline %v", next)
			case len(list) > 0 && (next == 0 || next > max(earliest, w.now()+1)+transport.Instant(wheelTick)):
				t.Fatalf("NextDeadline %v, earliest %v, now %v", next, earliest, now)
			}
			switch r.IntN(10) {
			case 0:
				now += transport.Instant(r.Int64N(10 * int64(reach)))
			case 1, 2, 3:
				now = max(now, next)
			default:
				now += transport.Instant(r.Int64N(5e6))
			}
			for n := r.IntN(50); n > 0; n-- { // sometimes stops before everything due was taken
				got, at, ok := l.Due(now)
				if !ok {
					for _, e := range list {
						if e.at+transport.Instant(2*wheelTick) <= now {
							t.Fatalf("%v is not due at %v", e.at, now)
						}
					}
					break
				}
				i := slices.Index(list, armed{at, got})
				if i < 0 || at > now {
					t.Fatalf("due at %v: %v %v", now, got, at)
				}
				list = slices.Delete(list, i, i+1)
			}
		}
		if int(w.count) != len(list) {
			t.Fatalf("%d entries, want %d", w.count, len(list))
		}
	}
}

// TestWheelKeepsOrder: what was armed for the same tick fires in the order it was armed.
func TestWheelKeepsOrder(t *testing.T) {
	l := newTestStore(t, StoreConfig{MaxTransactions: 100}).Local(0)
	at := transport.Instant(100 * wheelTick)
	for i := range uint32(50) {
		l.wheel.insert(at-transport.Instant(i), Ref{Slot: i, Gen: 1})
	}
	l.wheel.insert(at+1, Ref{Slot: 50, Gen: 1})
	for i := range uint32(51) {
		if r, _, ok := l.Due(at + transport.Instant(wheelTick)); !ok || r.Slot != i {
			t.Fatalf("%d: %v %v", i, r, ok)
		}
	}
}

// TestArmKeepsTheEarlier: one entry is enough as long as it comes early enough; of two, one counts.
func TestArmKeepsTheEarlier(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	c := held(t, s, 1)
	ms := func(n int64) transport.Instant { return transport.Instant(n * 1e6) }
	a.Arm(c, ms(500))
	a.Arm(c, ms(32_000))
	a.Arm(c, 0)
	if n := a.wheel.count; n != 1 || c.armed != ms(500) {
		t.Fatalf("%d entries, armed %v", n, c.armed)
	}
	b.Arm(c, ms(200)) // an earlier deadline on the other loop
	if n := b.wheel.count; n != 1 || c.armed != ms(200) {
		t.Fatalf("%d entries, armed %v", n, c.armed)
	}
	if _, at, ok := b.Due(ms(202)); !ok || !b.Fired(c, at) || b.Fired(c, at) {
		t.Fatalf("the earlier one: %v %v", at, ok)
	}
	if _, at, ok := a.Due(ms(502)); !ok || a.Fired(c, at) {
		t.Fatalf("the stale one: %v %v", at, ok)
	}
	if !a.Arm(c, ms(600)) || c.armed != ms(600) {
		t.Fatal("not armed again")
	}
}

// TestArmInThePast: what is due already fires once per turn of the loop, not for ever.
func TestArmInThePast(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100})
	l := s.Local(0)
	c := held(t, s, 1)
	now := transport.Instant(5 * time.Hour)
	l.Arm(c, 1)
	n := 0
	for _, at, ok := l.Due(now); ok; _, at, ok = l.Due(now) {
		if l.Fired(c, at) {
			l.Arm(c, 2)
		}
		if n++; n > 3 {
			t.Fatal("no end")
		}
	}
	if next := l.NextDeadline(); next <= now || next > now.Add(2*wheelTick) {
		t.Errorf("next at %v, now %v", next, now)
	}
}

// TestWheelBound: at its bound the wheel refuses, new contexts long before.
func TestWheelBound(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 1000})
	l := s.Local(0)
	n := uint32(0)
	for ; l.wheel.insert(transport.Instant(n), Ref{Slot: n, Gen: 1}); n++ {
		if l.wheel.crowded() {
			if _, o := l.MatchOrCreate(key(1)); o != Full {
				t.Fatalf("with %d entries: %v", n, o)
			}
		}
	}
	if n < 1000*entriesPerTransaction || n > 1000*entriesPerTransaction+2*chunkSlots {
		t.Errorf("%d entries", n)
	}
}
