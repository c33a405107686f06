package txn

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sipedge/transport"
)

// armedIn says which of the two timers may run in a state of a machine, and which must.
var armedIn = map[Kind]map[State]struct{ retransmit, deadline runs }{
	InviteServer: {
		Proceeding: {never, never}, Accepted: {never, always}, Completed: {unlessReliable, always}, Confirmed: {never, always},
	},
	NonInviteServer: {
		Trying: {always, never}, Proceeding: {never, never}, Completed: {never, always},
	},
	InviteClient: {
		Calling: {unlessReliable, always}, Proceeding: {never, maybe}, Accepted: {never, always}, Completed: {never, always},
	},
	NonInviteClient: {
		Trying: {unlessReliable, always}, Proceeding: {unlessReliable, always}, Completed: {never, always},
	},
}

type runs int

const (
	never runs = iota
	maybe
	unlessReliable
	always
)

func (r runs) allows(armed, reliable bool) bool {
	switch r {
	case never:
		return !armed
	case unlessReliable:
		return armed != reliable
	case always:
		return armed
	}
	return true
}

// TestMachineProperties feeds random events at random times to a machine and holds what every
// machine promises, whatever happens to it.
func TestMachineProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := func(from, to time.Duration, what string) time.Duration {
			return time.Duration(rapid.Int64Range(int64(from), int64(to)).Draw(t, what))
		}
		timers := Timers{
			T1: duration(minTimer, maxT, "T1"), T2: duration(minTimer, maxT, "T2"),
			T4: duration(minTimer, maxT, "T4"), C: duration(minTimer, maxTimerC, "C"),
		}
		if err := timers.Validate(); err != nil {
			t.Fatal(err)
		}
		kind := Kind(rapid.IntRange(0, int(numKinds)-1).Draw(t, "kind"))
		reliable := rapid.Bool().Draw(t, "reliable")
		now := transport.Instant(rapid.Int64Range(1, 1<<50).Draw(t, "now"))
		server := kind == InviteServer || kind == NonInviteServer

		var m Machine
		check := func(before Machine, do Action) {
			if m.Kind != kind || m.Reliable != reliable {
				t.Fatalf("kind or transport changed: %+v", m)
			}
			if before.State == Terminated && (do != 0 || m != before) {
				t.Fatalf("%v after the end: %v", m.State, do)
			}
			if (do&Terminate != 0) != (before.State != Terminated && m.State == Terminated) {
				t.Fatalf("from %v to %v with %v", before.State, m.State, do)
			}
			if server && do&SendACK != 0 || !server && do&SendTrying != 0 || kind != InviteClient && do&SendACK != 0 {
				t.Fatalf("%v does %v", kind, do)
			}
			for _, at := range []transport.Instant{m.Retransmit, m.Deadline} {
				if at != 0 && at <= now {
					t.Fatalf("a timer at %d, now is %d", at, now)
				}
			}
			if m.State == Terminated {
				if m.Next() != 0 {
					t.Fatalf("a timer runs after the end: %+v", m)
				}
				return
			}
			may, ok := armedIn[kind][m.State]
			if !ok {
				t.Fatalf("%v is in %v", kind, m.State)
			}
			if !may.retransmit.allows(m.Retransmit != 0, reliable && kind != NonInviteServer) || !may.deadline.allows(m.Deadline != 0, reliable) {
				t.Fatalf("%v reliable %v in %v has the timers %d and %d", kind, reliable, m.State, m.Retransmit, m.Deadline)
			}
			if next := m.Next(); next != 0 && next != m.Retransmit && next != m.Deadline || next == 0 && m.Retransmit|m.Deadline != 0 ||
				m.Retransmit != 0 && next > m.Retransmit || m.Deadline != 0 && next > m.Deadline {
				t.Fatalf("Next is %d of %+v", next, m)
			}
		}

		do := m.Start(kind, reliable, now, &timers)
		check(Machine{}, do)
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			before := m
			if rapid.Bool().Draw(t, "timer") && m.Next() != 0 {
				early := rapid.Bool().Draw(t, "early")
				if early {
					now = max(now, m.Next()-1)
				} else {
					now = max(now, m.Next()) + transport.Instant(duration(0, 100*time.Second, "late"))
				}
				do = m.Expire(now, &timers)
				if due := before.Next() <= now; !due && (do != 0 || m != before) {
					t.Fatalf("fired before its time: %v", do)
				} else if due && m == before {
					t.Fatalf("a due timer did not fire")
				}
			} else {
				now += transport.Instant(duration(0, 10*time.Second, "later"))
				for m.Next() != 0 && m.Next() <= now { // as a loop does before it takes in the next packet
					do = m.Expire(now, &timers)
					check(before, do)
					before = m
				}
				in := Input(rapid.IntRange(0, int(FireRetransmit)-1).Draw(t, "input"))
				if rapid.Bool().Draw(t, "error") {
					in = TransportError
				}
				do = m.Step(in, now, &timers)
			}
			check(before, do)
		}

		// Left alone, whatever has a timer ends, and soon: 64*T1 or timer D, T4, after a bounded number of firings.
		if m.Next() == 0 {
			return
		}
		left := now.Add(max(timers.TimerD(), timers.TimerB(), timers.T4))
		if kind == NonInviteServer && m.State == Trying {
			left = now.Add(timers.TimerTrying())
		}
		for fired := 0; m.Next() != 0; fired++ {
			before := m
			now = m.Next()
			check(before, m.Expire(now, &timers))
			if now > left {
				t.Fatalf("still %v at %d, want an end at %d", m.State, now, left)
			}
			// At most one retransmission per T2, or T1 doubling.
			if most := 64*int64(timers.T1)/int64(min(timers.T1, timers.T2)) + 3; int64(fired) > most {
				t.Fatalf("%d firings, at most %d expected", fired, most)
			}
		}
		if kind != NonInviteServer && m.State != Terminated {
			t.Fatalf("no timer, and in %v", m.State)
		}
	})
}
