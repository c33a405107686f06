package gateway

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sipedge/transport"
)

func TestThresholds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		up, down := rapid.IntRange(1, 4).Draw(t, "up"), rapid.IntRange(1, 4).Draw(t, "down")
		p := NewPool()
		s := trunk(InOrder, 1)
		s.Probe = Probe{Interval: time.Second, Up: up, Down: down}
		gs, err := p.Prepare([]GroupSpec{s}, at)
		if err != nil {
			t.Fatal(err)
		}
		p.Activate(gs, at)
		n := gs.Group(0).Number(0)
		isUp, good, bad := true, 0, 0
		for range rapid.IntRange(0, 400).Draw(t, "probes") {
			status := rapid.SampledFrom([]int{0, 200, 200, 404, 408, 483, 503}).Draw(t, "status")
			probe(p, n, status)
			if status == 0 || status == 408 || status == 503 {
				good, bad = 0, bad+1
				isUp = isUp && bad < down
			} else {
				good, bad = good+1, 0
				isUp = isUp || good >= up
			}
			if got := p.Snapshot()[0].Health == Up; got != isUp {
				t.Fatalf("up %v, want %v", got, isUp)
			}
		}
	})
}

func TestWhatCountsAsLife(t *testing.T) {
	p := NewPool()
	var ok, bad Statuses
	for s := 200; s < 300; s++ {
		ok.Add(s)
	}
	bad.Add(500)
	s := trunk(InOrder, 1)
	s.Probe = Probe{Interval: time.Second, Down: 1, Alive: &ok}
	s.Passive = Passive{Failures: 1, Failing: &bad}
	n := load(t, p, s).Number(0)
	f := func(want Health, status int) {
		t.Helper()
		probe(p, n, status)
		if h := p.Snapshot()[0].Health; h != want {
			t.Errorf("%v after a probe with %d", h, status)
		}
	}
	f(ProbeDown, 404)
	f(Up, 299)
	f(ProbeDown, 300)
	f(Up, 200)
	p.Outcome(n, 503, at)
	if p.Snapshot()[0].Health != Up {
		t.Error("503 is not in the set and counts")
	}
	p.Outcome(n, 500, at)
	if p.Snapshot()[0].Health != PassiveDown {
		t.Error("500 is in the set and does not count")
	}
	f(Up, 200) // a probe takes it back
}

// TestFailures: requests that fail in a row take a member down, and then one call is let through at a time.
func TestFailures(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 2)
	s.Passive = Passive{Failures: 3, Hold: 10 * time.Second}
	g := load(t, p, s)
	a := g.Number(0)
	f := func(want string, now transport.Instant) {
		t.Helper()
		if got := pick(p, g, Call{Now: now}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, status := range []int{0, 503, 486, 0, 0} { // a 486 shows that it lives
		p.Outcome(a, status, at)
	}
	f("ab", at)
	p.Outcome(a, 503, at)
	f("b", at)
	f("b", at+10*second-1)
	f("ab", at+10*second) // one
	f("b", at+10*second)  // and no other
	f("b", at+20*second-1)
	f("ab", at+20*second) // it had no outcome
	p.Outcome(a, 0, at+21*second)
	f("b", at+31*second-1)
	f("ab", at+31*second)
	p.Outcome(a, 200, at+32*second)
	f("ab", at+32*second)
	f("ab", at+32*second)
	st := p.Snapshot()[0]
	if st.Transitions[ByFailures] != 1 || st.Transitions[ServedAgain] != 1 || st.Reason != ServedAgain || st.Since != at+32*second {
		t.Errorf("%+v", st)
	}
	if st.Answers != [7]uint64{0: 4, 2: 1, 4: 1, 5: 2} {
		t.Errorf("answers %v", st.Answers)
	}
}

// TestOneTrial: among many loops one call is let through.
func TestOneTrial(t *testing.T) {
	p := NewPool()
	s := trunk(RoundRobin, 2)
	s.Passive = Passive{Failures: 1, Hold: time.Second}
	g := load(t, p, s)
	a := g.Number(0)
	p.Outcome(a, 0, at)
	for round := range transport.Instant(20) {
		var wg sync.WaitGroup
		var trials [8]int
		for i := range trials {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 100 {
					if g.Select(&Call{Now: at + (round+1)*second}, make([]Number, 0, 2))[0] == a {
						trials[i]++
					}
				}
			}()
		}
		wg.Wait()
		sum := 0
		for _, n := range trials {
			sum += n
		}
		if sum != 1 {
			t.Fatalf("round %d: %d calls were let through", round, sum)
		}
	}
}

// TestTrialInSecondPlace: standing by is no trial, so whoever is down may stand by for every call.
func TestTrialInSecondPlace(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 3)
	s.Members[1].Priority, s.Members[2].Priority = 1, 2
	s.Passive = Passive{Failures: 1, Hold: time.Second}
	g := load(t, p, s)
	p.Outcome(g.Number(1), 0, at)
	for range 3 {
		if got := pick(p, g, Call{Now: at + 2*second}); got != "abc" {
			t.Error(got)
		}
	}
	p.Set(g.Number(0), Draining, at)
	if got := pick(p, g, Call{Now: at + 2*second}) + " " + pick(p, g, Call{Now: at + 2*second}); got != "bc c" {
		t.Error(got)
	}
}

// TestScheduleKeepsPace: a step that comes late does not move the probes after it; only one that misses a whole turn begins anew.
func TestScheduleKeepsPace(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 1)
	s.Probe = Probe{Interval: 100 * time.Millisecond}
	load(t, p, s)
	var sched schedule
	ask := func(q Probing) bool { p.Probed(q.Number, q.ID, 200, at); return true }
	first := sched.step(p, at, ask)
	if next := sched.step(p, first.Add(30*time.Millisecond), ask); next != first.Add(100*time.Millisecond) {
		t.Errorf("30 ms late, and the next is due after %v", next.Sub(first))
	}
	late := first.Add(time.Hour)
	if next := sched.step(p, late, ask); next != late.Add(100*time.Millisecond) {
		t.Errorf("an hour late, and the next is due after %v", next.Sub(late))
	}
}

// TestDownByProbeHasNoTrial: where probes look after a member, calls need not.
func TestDownByProbeHasNoTrial(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 2)
	s.Probe = Probe{Interval: time.Second, Down: 1}
	s.Passive = Passive{Failures: 1, Hold: time.Second}
	g := load(t, p, s)
	p.Outcome(g.Number(0), 0, at)
	down(t, p, g.Number(0))
	if got := pick(p, g, Call{Now: at + 1000*second}); got != "b" {
		t.Error(got)
	}
}

func TestSet(t *testing.T) {
	p := NewPool()
	n := load(t, p, trunk(InOrder, 1)).Number(0)
	if !p.Set(n, Draining, at+1) || p.Set(0, Draining, at) || p.Set(n+1, Draining, at) || p.Set(n, OutOfService+1, at) {
		t.Error("Set")
	}
	st := p.Snapshot()[0]
	if st.Admin != Draining || st.Since != at+1 || st.Transitions[ByAdmin] != 1 || st.Admin.String() != "draining" || st.Health.String() != "up" || st.Reason.String() != "set by hand" {
		t.Errorf("%+v", st)
	}
	p.Set(n, Draining, at+2)
	if st = p.Snapshot()[0]; st.Since != at+1 || st.Transitions[ByAdmin] != 1 {
		t.Error("setting what is set already is a change")
	}
}

// TestSchedule: each member is asked at its rate, once at a time, and one that forgets to tell is given up.
func TestSchedule(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 3)
	s.Probe = Probe{Interval: 100 * time.Millisecond, Timeout: 50 * time.Millisecond, Down: 1, Up: 1}
	g := load(t, p, s)
	a, b, c := g.Number(0), g.Number(1), g.Number(2)
	asked := map[Number][]transport.Instant{}
	refuse := false
	var now transport.Instant
	var late Probing
	ask := func(q Probing) bool {
		asked[q.Number] = append(asked[q.Number], now)
		switch {
		case q.Number == a:
			p.Probed(a, q.ID, 200, now)
		case q.Number == b:
			if late.ID == 0 {
				late = q // never told
			}
		case refuse:
			return false
		default:
			p.Probed(c, q.ID, 0, now)
		}
		return true
	}
	var sched schedule
	end := at.Add(2 * time.Second)
	for now = at; now != 0 && now < end; {
		next := sched.step(p, now, ask)
		if next <= now {
			t.Fatalf("at %v it wants to be called at %v", now, next)
		}
		now = next
	}
	if n := len(asked[a]); n != 20 {
		t.Errorf("a was asked %d times in 2 s", n)
	}
	for i := 1; i < len(asked[a]); i++ {
		if d := asked[a][i].Sub(asked[a][i-1]); d != 100*time.Millisecond {
			t.Errorf("asked again after %v", d)
		}
	}
	if got := pick(p, g, Call{}); got != "a" {
		t.Errorf("%s are up", got)
	}
	if gap := asked[b][1].Sub(asked[b][0]); len(asked[b]) != 2 || gap != 50*time.Millisecond+probeGrace {
		t.Errorf("b, which never tells, was asked at %v", asked[b])
	}
	p.Probed(b, late.ID, 200, now) // too late
	if got := pick(p, g, Call{}); got != "a" {
		t.Errorf("%s are up after a late result", got)
	}
	refuse = true
	asked[c] = nil
	for i := 0; i < 10; i++ {
		now = sched.step(p, now, ask)
	}
	if n := len(asked[c]); n < 2 || p.probes.Load() != 1 {
		t.Errorf("c was tried %d times, and %d probes are under way", n, p.probes.Load())
	}

	// A reload: a keeps its time, others go, and a rate that was slow does not hold a fast one back.
	due := sched.queue[0].at
	s.Probe.Interval = 10 * time.Millisecond
	s.Members = s.Members[:1]
	load(t, p, s)
	if next := sched.step(p, now, ask); next > now.Add(10*time.Millisecond) || len(sched.queue) != 1 {
		t.Errorf("next probe at %v (now %v, before %v), %d members", next, now, due, len(sched.queue))
	}
	s.Probe = Probe{}
	load(t, p, s)
	if next := sched.step(p, now, ask); next != 0 {
		t.Errorf("nobody is to be asked, and it wants to be called at %v", next)
	}
}

// TestProbesAreBounded: no more than maxProbes are under way.
func TestProbesAreBounded(t *testing.T) {
	p := NewPool()
	var specs []GroupSpec
	for i := range maxProbes/MaxGroupMembers + 1 {
		s := trunk(InOrder, MaxGroupMembers)
		s.Name, s.Probe = string(rune('a'+i)), Probe{Interval: 500 * time.Millisecond, Timeout: time.Hour}
		specs = append(specs, s)
	}
	gs, err := p.Prepare(specs, at)
	if err != nil {
		t.Fatal(err)
	}
	p.Activate(gs, at)
	var ids []Probing
	var sched schedule
	ask := func(q Probing) bool { ids = append(ids, q); return true }
	sched.step(p, at, ask)
	next := sched.step(p, at+second, ask)
	if len(ids) != maxProbes || p.probes.Load() != maxProbes {
		t.Fatalf("%d probes under way, %d counted", len(ids), p.probes.Load())
	}
	if next != (at + second).Add(probeRetry) {
		t.Errorf("the others are tried in %v", next.Sub(at+second))
	}
	p.Probed(ids[0].Number, ids[0].ID, 200, at)
	sched.step(p, next, ask)
	if len(ids) != maxProbes+1 || ids[maxProbes].Number == ids[0].Number {
		t.Errorf("%d probes begun after one had ended", len(ids))
	}
}

func TestRunProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		began := time.Now()
		clock := func() transport.Instant { return transport.Instant(time.Since(began)) + at }
		var asked []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.RunProbes(ctx, clock, func(q Probing) bool {
				asked = append(asked, time.Since(began))
				go func() {
					time.Sleep(time.Millisecond)
					p.Probed(q.Number, q.ID, 200, clock())
				}()
				return true
			})
		}()
		time.Sleep(5 * time.Second) // nothing to do yet
		s := trunk(InOrder, 1)
		s.Probe = Probe{Interval: time.Second}
		gs, err := p.Prepare([]GroupSpec{s}, clock())
		if err != nil {
			t.Error(err)
		}
		p.Activate(gs, clock())
		time.Sleep(10 * time.Second)
		cancel()
		<-done
		if len(asked) != 10 {
			t.Errorf("asked at %v", asked)
		}
		if !slices.IsSorted(asked) || asked[0] < 5*time.Second {
			t.Errorf("asked at %v", asked)
		}
	})
}

// TestChangesFromEverywhere runs all that loops, probes and people do at once, for the race detector, and checks that what is
// counted adds up.
func TestChangesFromEverywhere(t *testing.T) {
	p := NewPool()
	s := trunk(RoundRobin, 3)
	s.Probe = Probe{Interval: time.Second, Down: 2, Up: 1}
	s.Passive = Passive{Failures: 2, Hold: time.Millisecond}
	s.Members[0].Calls = 10
	g := load(t, p, s)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 2000 {
				now := at.Add(time.Duration(j) * time.Microsecond)
				n := g.Number((i + j) % 3)
				switch i {
				case 0:
					probe(p, n, []int{0, 200, 503}[j%3])
				case 1:
					p.Set(n, Admin(j%3), now)
				case 2:
					if j%100 == 0 {
						p.Snapshot()
						if gs, err := p.Prepare([]GroupSpec{s}, now); err == nil {
							p.Activate(gs, now)
						}
					}
				default:
					for _, n := range g.Select(&Call{Now: now}, make([]Number, 0, 3)) {
						if p.Admit(n, now, false) == Admitted {
							p.Outcome(n, []int{0, 200, 503}[j%3], now)
							p.Release(n)
						}
					}
				}
			}
		}()
	}
	wg.Wait()
	for _, st := range p.Snapshot() {
		if st.Calls != 0 {
			t.Errorf("%s: %d calls are left", st.Name, st.Calls)
		}
		var answers uint64
		for _, n := range st.Answers {
			answers += n
		}
		if answers != st.Admitted {
			t.Errorf("%s: %d calls admitted, %d outcomes", st.Name, st.Admitted, answers)
		}
	}
}
