package overload

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sipedge/transport"
)

// ideal is the goodput that is left at a load, in calls/s, when everything that is too much is refused.
func ideal(load float64) float64 {
	if load <= 1 {
		return load * simCapacity
	}
	return simCapacity * max(1-load*simRefusal, 0) / (1 - simRefusal)
}

// At one to five times what the loop can do, calls go on to be completed at the rate that is possible, evenly, none is lost, and
// what is in the queue waits about as long as wanted.
func TestGoodputUnderOverload(t *testing.T) {
	for _, load := range []float64{0.5, 0.9, 1, 1.2, 1.5, 2, 3, 4, 5} {
		s := newSim(1)
		s.until = 6 * time.Second
		s.rate = func(at time.Duration) float64 {
			if at < time.Second {
				return simCapacity / 2
			}
			return load * simCapacity
		}
		s.run()
		from := 2 * time.Second
		mean, deviation := s.goodput(from)
		t.Logf("load %.1f: %s", load, s.report(from))
		if want := ideal(load); mean < 0.93*want {
			t.Errorf("load %.1f: %.0f calls/s completed, %.0f are possible", load, mean, want)
		}
		if deviation > 0.1 {
			t.Errorf("load %.1f: goodput varies by %.2f from one tenth of a second to the next", load, deviation)
		}
		if s.failed > 0 {
			t.Errorf("load %.1f: %d calls failed", load, s.failed)
		}
		if p := s.setupAt(0.99); p > 150*time.Millisecond {
			t.Errorf("load %.1f: set-up takes %v", load, p)
		}
		if load < 0.95 && s.refused > 0 {
			t.Errorf("load %.1f: %d calls refused", load, s.refused)
		}
	}
}

// The share turned away does not swing to and fro under a steady load.
func TestNoOscillation(t *testing.T) {
	for _, load := range []float64{1.3, 2, 3, 5} {
		s := newSim(2)
		s.until = 5 * time.Second
		s.rate = func(time.Duration) float64 { return load * simCapacity }
		s.run()
		shares := s.sharesBetween(2*time.Second, s.until)
		var sum, square float64
		for _, p := range shares {
			sum += p
			square += p * p
		}
		n := float64(len(shares))
		mean := sum / n
		variance := square/n - mean*mean
		t.Logf("load %.1f: %.3f turned away, variance %.4f", load, mean, variance)
		if len(shares) < 500 {
			t.Fatalf("only %d steps", len(shares))
		}
		if variance > 0.15*0.15 {
			t.Errorf("load %.1f: the share turned away varies by %.3f around %.3f", load, variance, mean)
		}
	}
}

// Whatever the load and however often the loop is kept from its work: when that is over, and what callers repeat has been
// worked off, with less than it can do nothing is refused and all is completed.
func TestControllerRecovers(t *testing.T) {
	for seed := range uint64(16) {
		s := newSim(seed)
		r := rand.New(rand.NewPCG(seed, 1))
		s.buffer = 100 + r.IntN(1900)
		s.target = time.Duration(5+r.IntN(95)) * time.Millisecond
		s.until = 7 * time.Second
		const half = 500 * time.Millisecond
		var loads [4]float64
		var away [4]time.Duration
		for i := range loads {
			loads[i], away[i] = 6*r.Float64(), time.Duration(r.IntN(150))*time.Millisecond
		}
		s.rate = func(at time.Duration) float64 {
			if i := int(at / half); i < len(loads) {
				return max(loads[i], 0.01) * simCapacity
			}
			return 0.5 * simCapacity
		}
		s.off = func(at time.Duration) time.Duration {
			if i := int(at / half); i < len(away) {
				return away[i] - at%half
			}
			return 0
		}
		s.run()
		scenario := fmt.Sprintf("seed %d, loads %.1f, away %v, buffer %d, target %v", seed, loads, away, s.buffer, s.target)
		for _, p := range s.sharesBetween(6200*time.Millisecond, s.until) {
			if p > 0 {
				t.Fatalf("%s: a share of %.3f is still turned away; %s", scenario, p, s.report(6*time.Second))
			}
		}
		if mean, _ := s.goodput(6 * time.Second); mean < 0.4*simCapacity {
			t.Fatalf("%s: %.0f calls/s; %s", scenario, mean, s.report(6*time.Second))
		}
	}
}

// Calls go first, other requests only when there is no call left to turn away; what is Kept never. calls and others are what
// comes in a step, of a loop that can do 100 units of work in it.
func TestCallsGoFirst(t *testing.T) {
	f := func(calls, others int, wantCalls, wantOthers float64) {
		t.Helper()
		const capacity = 100.0
		var c Controller
		now := start
		draw := rand.New(rand.NewPCG(1, 2))
		queue, turnedAway, turnedAwayOthers := 0.0, 0, 0
		const steps = 2000
		for i := range steps {
			now = now.Add(StepEvery)
			let := func(class Class, n int) (refused int) {
				for range n {
					if c.Admit(class, draw.Uint64()) {
						queue += cost[class]
					} else {
						refused++
					}
				}
				return refused
			}
			a, b := let(Call, calls), let(Other, others)
			if i >= steps/2 {
				turnedAway += a
				turnedAwayOthers += b
			}
			if !c.Admit(Kept, 0) || !c.Admit(Kept, 1<<63) {
				t.Fatal("what is to be kept is turned away")
			}
			queue = max(queue-capacity, 0)
			c.Step(now, &Config{}, transport.Backlog{Delay: time.Duration(queue / capacity * float64(StepEvery))}, 0)
		}
		check := func(what string, refused, offered int, want float64) {
			t.Helper()
			got := float64(refused) / max(float64(offered*steps/2), 1)
			if got < want-0.1 || got > want+0.1 {
				t.Errorf("%d calls, %d others: %.2f of the %s turned away, want %.2f", calls, others, got, what, want)
			}
		}
		check("calls", turnedAway, calls, wantCalls)
		check("others", turnedAwayOthers, others, wantOthers)
	}
	f(20, 15, 0, 0)
	f(50, 0, 0.5, 0)
	f(50, 50, 0.75, 0)
	f(50, 90, 0.95, 0.05)
	f(50, 200, 1, 0.5)
	f(0, 200, 0, 0.5)
}

func TestStoreFullness(t *testing.T) {
	var c Controller
	f := func(full, calls, others float64) {
		t.Helper()
		for i := range 3 {
			c.Step(start.Add(time.Duration(i+1)*StepEvery), &Config{}, transport.Backlog{}, full)
			c.from = 0
		}
		if d := c.Share(Call) - calls; d > 0.01 || d < -0.01 {
			t.Errorf("store full to %.2f: %.2f of the calls turned away, want %.2f", full, c.Share(Call), calls)
		}
		if d := c.Share(Other) - others; d > 0.01 || d < -0.01 {
			t.Errorf("store full to %.2f: %.2f of the others turned away, want %.2f", full, c.Share(Other), others)
		}
		if c.Active() != (full > 0.9) {
			t.Errorf("store full to %.2f: active %v", full, c.Active())
		}
	}
	f(0, 0, 0)
	f(0.9, 0, 0)
	f(0.95, 0.5, 0)
	f(0.98, 0.8, 0.6)
	f(1, 1, 1)
	f(0.5, 0, 0)
}

func TestOff(t *testing.T) {
	var c Controller
	for i := range 100 {
		c.Count(Call)
		c.Step(start.Add(time.Duration(i)*StepEvery), &Config{Off: true}, transport.Backlog{Delay: time.Second, Fill: 1}, 1)
	}
	if c.Active() || !c.Admit(Call, 0) {
		t.Error("something is turned away")
	}
}

// "Retry-After" is spread over twice its value, and the same for each copy of a request.
func TestRetryIsSpread(t *testing.T) {
	seen := map[uint32]int{}
	for i := range uint64(6000) {
		draw := i * 0x9e3779b97f4a7c15
		c, again := Config{}, Config{}
		retry := c.Retry(draw)
		seen[retry]++
		if again.Retry(draw) != retry {
			t.Fatal("two values for one request")
		}
	}
	for s := uint32(5); s <= 10; s++ {
		if n := seen[s]; n < 800 || n > 1200 {
			t.Errorf("%d s is said %d times of 6000", s, n)
		}
	}
	if len(seen) != 6 {
		t.Errorf("values: %v", seen)
	}
	if c := (Config{RetryAfter: -1}); c.Retry(1) != 0 {
		t.Error("not silent")
	}
	if c := (Config{RetryAfter: 30 * time.Second}); c.Retry(0) < 30 || c.Retry(1<<63) > 60 {
		t.Error("not from 30 to 60")
	}
}

func TestControllerAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var c Controller
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(StepEvery)
		c.Admit(Call, uint64(now))
		c.Count(Other)
		c.Step(now, &Config{}, transport.Backlog{Delay: 30 * time.Millisecond, Fill: 0.3}, 0.2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkStep(b *testing.B) {
	var c Controller
	now := start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(StepEvery)
		c.Count(Call)
		c.Step(now, &Config{}, transport.Backlog{Delay: 21 * time.Millisecond, Fill: 0.3}, 0.2)
	}
}
