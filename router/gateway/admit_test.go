package gateway

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sipedge/transport"
)

// TestCallsNeverOvershoot: however many loops admit and release, never more calls live than the limit, and the count is what
// was admitted and not released.
func TestCallsNeverOvershoot(t *testing.T) {
	const loops, limit = 8, 5
	p := NewPool()
	s := trunk(InOrder, 1)
	s.Members[0].Calls = limit
	n := load(t, p, s).Number(0)
	var live, worst atomic.Int64
	var wg sync.WaitGroup
	for i := range loops {
		wg.Add(1)
		go func() {
			defer wg.Done()
			held := 0
			for j := range 20000 {
				if (i*31+j*7)%3 != 0 || held == 0 {
					if p.Admit(n, at, false) != Admitted {
						continue
					}
					held++
					if l := live.Add(1); l > worst.Load() {
						worst.Store(l)
					}
					continue
				}
				live.Add(-1)
				p.Release(n)
				held--
			}
			for range held {
				live.Add(-1)
				p.Release(n)
			}
		}()
	}
	wg.Wait()
	if worst.Load() > limit {
		t.Errorf("%d calls at once, limit %d", worst.Load(), limit)
	}
	if worst.Load() < limit {
		t.Errorf("never more than %d calls at once; the limit %d was not tried", worst.Load(), limit)
	}
	if c := p.Calls(n); c != 0 {
		t.Errorf("%d calls are left", c)
	}
}

// TestRateNeverOvershoots: among many loops at one time, exactly the burst is admitted, and then one each interval.
func TestRateNeverOvershoots(t *testing.T) {
	const loops = 8
	p := NewPool()
	s := trunk(InOrder, 1)
	s.Members[0].Rate, s.Members[0].Burst = 100, 7
	n := load(t, p, s).Number(0)
	storm := func(now transport.Instant) (admitted int64) {
		var wg sync.WaitGroup
		var count atomic.Int64
		for range loops {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 500 {
					if p.Admit(n, now, false) == Admitted {
						count.Add(1)
					}
				}
			}()
		}
		wg.Wait()
		return count.Load()
	}
	for i, step := range []struct {
		after time.Duration
		want  int64
	}{{0, 7}, {9 * time.Millisecond, 0}, {10 * time.Millisecond, 1}, {40 * time.Millisecond, 3}, {10 * time.Second, 7}} {
		if got := storm(at.Add(step.after)); got != step.want {
			t.Errorf("step %d: %d admitted, want %d", i, got, step.want)
		}
	}
	if st := p.Snapshot()[0]; st.Admitted != 18 || st.RateFull != 5*loops*500-18 || st.Calls != 18 {
		t.Errorf("%+v", st)
	}
}

// TestRateOverAnyTime: at any times whatever, no span has more calls than its burst and its share of the rate, and a call is refused only when
// admitting it would break that.
func TestRateOverAnyTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, burst := rapid.IntRange(1, 50).Draw(t, "rate"), rapid.IntRange(1, 20).Draw(t, "burst")
		p := NewPool()
		s := trunk(InOrder, 1)
		s.Members[0].Rate, s.Members[0].Burst = rate, burst
		gs, err := p.Prepare([]GroupSpec{s}, at)
		if err != nil {
			t.Fatal(err)
		}
		p.Activate(gs, at)
		n := gs.Group(0).Number(0)
		interval := time.Second / time.Duration(rate)
		now := at
		var admitted []transport.Instant
		// fits: every span that ends at now has at most burst calls and one more for each interval that it holds.
		fits := func() bool {
			for i, from := range admitted {
				if len(admitted)-i+1 > burst+int(now.Sub(from)/interval) {
					return false
				}
			}
			return true
		}
		for range rapid.IntRange(1, 80).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond)
			got := p.Admit(n, now, false) == Admitted
			if got != fits() {
				t.Fatalf("at %v: admitted %v, rate %d, burst %d, before: %v", now, got, rate, burst, admitted)
			}
			if got {
				admitted = append(admitted, now)
			}
		}
	})
}

func TestExempt(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 1)
	s.Members[0].Calls, s.Members[0].Rate, s.Members[0].Burst = 1, 1, 1
	n := load(t, p, s).Number(0)
	f := func(want Refusal, exempt bool, now transport.Instant) {
		t.Helper()
		if got := p.Admit(n, now, exempt); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	f(Admitted, false, at)
	f(CallsFull, false, at)
	f(Admitted, true, at) // above the limit, and counted
	p.Release(n)
	f(CallsFull, false, at+second)
	p.Release(n)
	f(RateFull, false, at)
	f(Admitted, true, at)
	f(Admitted, true, at)
	p.Release(n)
	p.Release(n)
	f(Admitted, false, at+second) // exempt calls used nothing of the rate
	if c := p.Calls(n); c != 1 {
		t.Errorf("%d calls", c)
	}
	if p.Admit(0, at, false) != Admitted || p.Admit(MaxMembers, at, false) != Admitted || p.Admit(65535, at, false) != Admitted {
		t.Error("a number that is nobody's has a limit")
	}
	p.Release(0)
	now := at + 10*second
	if p.Pass(n, now, false) != Admitted || p.Pass(n, now, false) != RateFull || p.Pass(n, now, true) != Admitted || p.Pass(0, now, false) != Admitted {
		t.Error("Pass")
	}
	if c := p.Calls(n); c != 1 {
		t.Errorf("%d calls after some that are not counted", c)
	}
}

func TestReleaseTooOften(t *testing.T) {
	p := NewPool()
	n := load(t, p, trunk(InOrder, 1)).Number(0)
	defer func() {
		if recover() == nil {
			t.Error("more calls ended than began, and nobody said so")
		}
	}()
	p.Release(n)
}
