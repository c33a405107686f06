package txn

import (
	"fmt"
	"testing"

	"sipedge/transport"
)

// held makes a context that loop 0 holds.
func held(t *testing.T, s *Store, k uint64) *ResponseContext {
	t.Helper()
	c, o := s.Local(0).MatchOrCreate(key(k))
	if o != Created {
		t.Fatalf("MatchOrCreate: %v", o)
	}
	return c
}

func TestPostToAHeldContext(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	c := held(t, s, 1)
	if _, o := b.Match(key(1)); o != Busy {
		t.Fatalf("Match: %v", o)
	}
	want := Event{
		From: transport.Flow{Conn: 7}, At: 8, Seq: 9, Kind: EventResponse, Why: 10, Branch: 11, Droppable: true,
	}
	for i := range 10 {
		e := want
		e.Data = fmt.Appendf(nil, "event %d", i)
		if o := b.Post(c, &e); o != Busy {
			t.Fatalf("Post: %v", o)
		}
		copy(e.Data, "scribble") // Post copied it
	}
	b.Quiesce() // what b posted is c's now
	for i := range 10 {
		e, more := a.Release(c)
		if !more || string(e.Data) != fmt.Sprintf("event %d", i) {
			t.Fatalf("Release %d: %q, %v", i, e.Data, more)
		}
		if _, o := b.Match(key(1)); o != Busy {
			t.Fatalf("between two events: %v", o)
		}
		e.Data, e.Droppable = nil, true
		if fmt.Sprint(*e) != fmt.Sprint(want) {
			t.Fatalf("came as %+v", *e)
		}
		if i == 4 { // one that comes while the first ones are handed out comes after them
			if o := b.Post(c, &Event{Kind: EventAnswer, Data: []byte("event 10")}); o != Busy {
				t.Fatalf("Post: %v", o)
			}
		}
	}
	if e, more := a.Release(c); !more || string(e.Data) != "event 10" {
		t.Fatalf("the last: %+v, %v", e, more)
	}
	if _, more := a.Release(c); more {
		t.Fatal("one too many")
	}
	if o := b.Post(c, &want); o != Claimed {
		t.Fatalf("Post to a free context: %v", o)
	}
	b.End(c)
	if o := a.Post(c, &want); o != Gone {
		t.Fatalf("Post after the end: %v", o)
	}
}

// TestInboxBounds: what its sender repeats is refused early, the rest late, a timer never.
func TestInboxBounds(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 1000, Loops: 2})
	a, b := s.Local(0), s.Local(1)
	c := held(t, s, 1)
	post := func(e Event, want Outcome) {
		t.Helper()
		if o := b.Post(c, &e); o != want {
			t.Fatalf("Post of %+v: %v, want %v", e, o, want)
		}
	}
	for range droppableInbox {
		post(Event{Kind: EventRequest, Droppable: true}, Busy)
	}
	post(Event{Kind: EventRequest, Droppable: true}, Full)
	for range maxInbox - droppableInbox {
		post(Event{Kind: EventResponse, Data: make([]byte, 600)}, Busy)
	}
	post(Event{Kind: EventResponse}, Full)
	due := transport.Instant(5 * wheelTick)
	post(Event{Kind: EventExpired, At: due}, Busy)
	n := 0
	for e, more := a.Release(c); more; e, more = a.Release(c) {
		if n++; n < maxInbox { // the bound is for all that one holder is given
			post(Event{Kind: EventResponse}, Full)
		}
		if e.Kind == EventExpired {
			t.Fatal("the timer found room where there was none")
		}
	}
	if n != maxInbox {
		t.Fatalf("%d events came", n)
	}
	// The next holder starts afresh.
	if _, o := a.Match(key(1)); o != Claimed {
		t.Fatalf("Match: %v", o)
	}
	post(Event{Kind: EventRequest, Droppable: true}, Busy)
	a.Release(c)
	a.Release(c)
	// The timer comes again, with the same instant, from the wheel of whoever posted it.
	r, at, ok := b.Due(b.NextDeadline())
	if !ok || r != c.Ref() || at != due {
		t.Fatalf("Due: %v %v %v", r, at, ok)
	}
	a.Idle()
	b.Idle()
	st := s.Stats()
	if st.PostDropped != 1 || st.PostRefused != maxInbox || st.Posted != maxInbox+1 || st.Handled != maxInbox+1 || st.Spans != 0 {
		t.Errorf("%+v", st)
	}
}

// TestEndEmptiesTheInbox: waiting events end with the context, those already taken over too.
func TestEndEmptiesTheInbox(t *testing.T) {
	for _, end := range []func(*Local, *ResponseContext){(*Local).End, (*Local).Poison} {
		s := newTestStore(t, StoreConfig{MaxTransactions: 100, Loops: 2})
		a, b := s.Local(0), s.Local(1)
		c := held(t, s, 1)
		c.Request, _ = a.Keep(make([]byte, 500))
		a.AddBranch(c).Edits, _ = a.Keep(make([]byte, 50))
		for range 3 {
			b.Post(c, &Event{Kind: EventResponse, Data: make([]byte, 600)})
		}
		a.Release(c)
		b.Post(c, &Event{Kind: EventResponse, Data: make([]byte, 600)})
		r := c.Ref()
		end(a, c)
		if _, o := b.Claim(r); o != Gone {
			t.Errorf("Claim: %v", o)
		}
		a.Idle()
		b.Idle()
		if st := s.Stats(); st.Spans != 0 || st.Branches != 0 || st.Live != 0 || st.Handled != 1 || st.EndedEvents != 3 {
			t.Errorf("%+v", st)
		}
	}
}

// TestPoisonKeepsTheSlotOut: a poisoned slot never comes again, and takes its permit with it.
func TestPoisonKeepsTheSlotOut(t *testing.T) {
	const most = 50
	s := newTestStore(t, StoreConfig{MaxTransactions: most})
	l := s.Local(0)
	poisoned := map[uint32]bool{}
	for i := range uint64(5) {
		c := held(t, s, i)
		poisoned[c.slot] = true
		l.Poison(c)
		l.Poison(c) // a barrier behind a barrier does no harm
		l.Quiesce()
	}
	n := 0
	for i := uint64(10); ; i++ {
		c, o := l.MatchOrCreate(key(i))
		if o == Full {
			break
		}
		if poisoned[c.slot] {
			t.Fatalf("slot %d came again", c.slot)
		}
		n++
	}
	if n != most-len(poisoned) {
		t.Errorf("%d contexts beside %d poisoned ones", n, len(poisoned))
	}
}
