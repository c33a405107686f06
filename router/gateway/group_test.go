package gateway

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPriority(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 4)
	s.Members[0].Priority, s.Members[1].Priority, s.Members[2].Priority, s.Members[3].Priority = 2, 1, 2, 1
	s.Probe = Probe{Interval: time.Second, Down: 1}
	g := load(t, p, s)
	f := func(want string, change func()) {
		t.Helper()
		if change != nil {
			change()
		}
		if got := pick(p, g, Call{}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f("bdac", nil)
	f("bdac", nil) // nobody's turn
	f("dac", func() { down(t, p, p.Find("trunk", "b")) })
	f("ac", func() { p.Set(p.Find("trunk", "d"), Draining, at) })
	f("c", func() { p.Set(p.Find("trunk", "a"), OutOfService, at) })
	f("", func() { down(t, p, p.Find("trunk", "c")) })
	f("b", func() { probe(p, p.Find("trunk", "b"), 200) })
	f("bd", func() { p.Set(p.Find("trunk", "d"), InService, at) })
}

// TestNoneUp: an emergency call is tried where it can be; others are not.
func TestNoneUp(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 3)
	s.Probe = Probe{Interval: time.Second, Down: 1}
	g := load(t, p, s)
	p.Set(g.Number(2), Draining, at)
	down(t, p, g.Number(0))
	if got := pick(p, g, Call{Exempt: true}); got != "b" {
		t.Errorf("%s while one is up", got)
	}
	down(t, p, g.Number(1))
	if got := pick(p, g, Call{Exempt: true}); got != "ab" {
		t.Errorf("%s when none is up", got)
	}
	if got := pick(p, g, Call{}); got != "" {
		t.Errorf("%s for an ordinary call", got)
	}
}

func TestCapacityBounds(t *testing.T) {
	p := NewPool()
	for _, m := range []Method{Weighted, RoundRobin, Hash, LeastCalls, InOrder} {
		s := trunk(m, 5)
		s.Members[4].Priority = 1
		g := load(t, p, s)
		for n := range 6 {
			got := g.Select(&Call{Now: at}, make([]Number, 0, n))
			if len(got) != min(n, 5) {
				t.Errorf("method %d: %d members into room for %d", m, len(got), n)
			}
		}
	}
}

// TestSelectIsAPermutation: whatever the method, those that are up are in the list once each, by priority, and nobody else.
func TestSelectIsAPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewPool()
		s := GroupSpec{Name: "g", Method: Method(rapid.IntRange(0, 4).Draw(t, "method")), Probe: Probe{Interval: time.Second, Down: 1}}
		priority := map[Number]int{}
		n := rapid.IntRange(1, MaxGroupMembers).Draw(t, "members")
		for i := range n {
			s.Members = append(s.Members, MemberSpec{
				Name: fmt.Sprint(i), Priority: rapid.IntRange(0, 3).Draw(t, "priority"), Weight: rapid.IntRange(0, 9).Draw(t, "weight"),
				Calls: rapid.IntRange(0, 2).Draw(t, "calls"),
			})
		}
		gs, err := p.Prepare([]GroupSpec{s}, at)
		if err != nil {
			t.Fatal(err)
		}
		p.Activate(gs, at)
		g := gs.Group(0)
		exempt := rapid.Bool().Draw(t, "exempt")
		var want []Number
		for i, m := range s.Members {
			k := p.Find("g", m.Name)
			priority[k] = m.Priority
			calls := rapid.IntRange(0, 2).Draw(t, "live")
			for range calls {
				p.Admit(k, at, true)
			}
			switch rapid.IntRange(0, 3).Draw(t, "state") {
			case 0:
				probe(p, k, 503)
			case 1:
				p.Set(k, Draining, at)
			default:
				if exempt || s.Members[i].Calls == 0 || calls < s.Members[i].Calls {
					want = append(want, k)
				}
			}
		}
		c := Call{Key: rapid.Uint64().Draw(t, "key"), Random: rapid.Uint64().Draw(t, "random"), Fixed: rapid.Bool().Draw(t, "fixed"), Exempt: exempt, Now: at}
		got := g.Select(&c, make([]Number, 0, MaxGroupMembers))
		if exempt && len(want) == 0 {
			for _, m := range s.Members { // an emergency call is tried where it can
				if k := p.Find("g", m.Name); state(p.get(k).state.Load()).admin() == InService {
					want = append(want, k)
				}
			}
		}
		if !slices.IsSortedFunc(got, func(a, b Number) int { return priority[a] - priority[b] }) {
			t.Fatalf("%v: priorities %v", got, priority)
		}
		again := g.Select(&c, make([]Number, 0, MaxGroupMembers))
		if c.Fixed && !slices.Equal(got, again) {
			t.Fatalf("a fixed call went %v and then %v", got, again)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// TestStrictTurns: turns are strict, whoever is down, and the order of those that are up is never broken.
func TestStrictTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewPool()
		n := rapid.IntRange(2, 6).Draw(t, "members")
		s := trunk(RoundRobin, n)
		gs, err := p.Prepare([]GroupSpec{s}, at)
		if err != nil {
			t.Fatal(err)
		}
		p.Activate(gs, at)
		g := gs.Group(0)
		up, last := make([]bool, n), n-1
		for i := range up {
			up[i] = true
		}
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			if i := rapid.IntRange(0, 3*n).Draw(t, "changes"); i < n {
				up[i] = !up[i]
				p.Set(g.Number(i), map[bool]Admin{true: InService, false: Draining}[up[i]], at)
			}
			want := ""
			for i := 1; i <= n; i++ {
				if j := (last + i) % n; up[j] {
					want += string(rune('a' + j))
				}
			}
			if want != "" {
				last = int(want[0] - 'a')
			}
			got := p.names(g.Select(&Call{Now: at}, make([]Number, 0, 8)))
			if got != want {
				t.Fatalf("%s, want %s (up %v)", got, want, up)
			}
		}
	})
}

// TestTurnsAmongLoops: many loops together give each member exactly its share.
func TestTurnsAmongLoops(t *testing.T) {
	const loops, calls = 8, 3000
	p := NewPool()
	g := load(t, p, trunk(RoundRobin, 3))
	var wg sync.WaitGroup
	counts := make([]map[Number]int, loops)
	for i := range loops {
		wg.Add(1)
		go func() {
			defer wg.Done()
			counts[i] = map[Number]int{}
			dst := make([]Number, 0, 3)
			for range calls {
				counts[i][g.Select(&Call{Now: at}, dst)[0]]++
			}
		}()
	}
	wg.Wait()
	for i := range 3 {
		total := 0
		for _, c := range counts {
			total += c[g.Number(i)]
		}
		if total != loops*calls/3 {
			t.Errorf("member %d had %d turns of %d", i, total, loops*calls)
		}
	}
}

// share is how often each member is the first of n calls.
func share(p *Pool, g *Group, n int, call func(i int) Call) map[string]float64 {
	counts := map[string]float64{}
	dst := make([]Number, 0, 1)
	for i := range n {
		c := call(i)
		c.Now = at
		counts[p.names(g.Select(&c, dst))] += 1 / float64(n)
	}
	return counts
}

// TestWeights: members win in proportion to their weight, first and, when the first is out, second too. The generator is
// seeded, so the test says the same each time.
func TestWeights(t *testing.T) {
	for _, m := range []Method{Weighted, Hash} {
		p := NewPool()
		s := trunk(m, 4)
		for i, w := range []int{1, 2, 3, 10} {
			s.Members[i].Weight = w
		}
		g := load(t, p, s)
		r := rand.New(rand.NewPCG(1, 2))
		check := func(sum float64, weights map[string]float64) {
			t.Helper()
			const n = 40000
			got := share(p, g, n, func(int) Call { x := r.Uint64(); return Call{Key: x, Random: x} })
			for name, w := range weights {
				want := w / sum
				if sigma := math.Sqrt(want * (1 - want) / n); math.Abs(got[name]-want) > 5*sigma {
					t.Errorf("method %d: %s has %.4f of the calls, want %.4f", m, name, got[name], want)
				}
			}
		}
		check(16, map[string]float64{"a": 1, "b": 2, "c": 3, "d": 10})
		p.Set(p.Find("trunk", "d"), Draining, at)
		check(6, map[string]float64{"a": 1, "b": 2, "c": 3, "d": 0})
	}
}

// TestHashIsConsistent: a member that goes moves its own keys and nobody else's, to the member that was second for each.
func TestHashIsConsistent(t *testing.T) {
	p := NewPool()
	s := trunk(Hash, 7)
	s.Members[3].Weight = 5
	g := load(t, p, s)
	before := map[uint64]string{}
	for i := range uint64(2000) {
		k := Key([]byte(fmt.Sprintf("call-%d@example.com", i)))
		before[k] = pick(p, g, Call{Key: k, Random: rand.Uint64()})
	}
	for _, gone := range []string{"a", "d"} {
		p.Set(p.Find("trunk", gone), Draining, at)
		moved := 0
		for k, was := range before {
			is := pick(p, g, Call{Key: k, Random: rand.Uint64()})
			if was[0] != gone[0] && is[0] != was[0] || was[0] == gone[0] && is[0] != was[1] {
				t.Fatalf("%s went, and the order %s became %s", gone, was, is)
			}
			if was[0] == gone[0] {
				moved++
			}
		}
		if moved < 50 {
			t.Errorf("only %d keys were those of %s", moved, gone)
		}
		p.Set(p.Find("trunk", gone), InService, at)
	}
	// Another process, another order in the file, one more member: the same key, the same place, but for what the new one takes.
	q := NewPool()
	s = trunk(Hash, 8)
	s.Members[3].Weight = 5
	slices.Reverse(s.Members)
	g = load(t, q, s)
	for k, was := range before {
		if is := pick(q, g, Call{Key: k}); is[0] != 'h' && is[0] != was[0] {
			t.Fatalf("%s elsewhere for %s here", is, was)
		}
	}
}

func TestLeastCalls(t *testing.T) {
	p := NewPool()
	s := trunk(LeastCalls, 3)
	s.Members[2].Weight = 2
	g := load(t, p, s)
	if !g.CountsCalls() {
		t.Error("does not need to know the calls")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 400 {
		c := Call{Random: r.Uint64(), Now: at}
		n := g.Select(&c, make([]Number, 0, 1))[0]
		if p.Admit(n, at, false) != Admitted {
			t.Fatal("refused without a limit")
		}
		a, b, c2 := p.Calls(g.Number(0)), p.Calls(g.Number(1)), p.Calls(g.Number(2))
		if d := a - b; d < -1 || d > 1 || c2-2*a < -2 || c2-2*a > 2 {
			t.Fatalf("after %d calls: %d, %d and, at twice the weight, %d", i+1, a, b, c2)
		}
	}
	for range 60 {
		p.Release(g.Number(1))
	}
	if got := pick(p, g, Call{}); got[0] != 'b' {
		t.Errorf("%s when b has the fewest", got)
	}
	// Equal ones share by chance, so that loops that all see the same counts do not all choose the same.
	g = load(t, NewPool(), trunk(LeastCalls, 4))
	seen := map[Number]bool{}
	for range 200 {
		seen[g.Select(&Call{Random: r.Uint64(), Now: at}, make([]Number, 0, 1))[0]] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d of 4 equal members are ever first", len(seen))
	}
}

// TestRoom: who is full is passed over, but not by an exempt call and not in a strict group.
func TestRoom(t *testing.T) {
	p := NewPool()
	s := trunk(InOrder, 3)
	s.Members[0].Calls = 1
	s.Members[1].Rate, s.Members[1].Burst = 1, 1
	g := load(t, p, s)
	f := func(want string, c Call) {
		t.Helper()
		if got := pick(p, g, c); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f("abc", Call{})
	p.Admit(g.Number(0), at, false)
	f("bc", Call{})
	p.Admit(g.Number(1), at, false)
	f("c", Call{})
	f("abc", Call{Exempt: true})
	f("bc", Call{Now: at + second})
	p.Release(g.Number(0))
	f("ac", Call{})
	p.Admit(g.Number(0), at, false)
	s.Strict = true
	g = load(t, p, s)
	f("abc", Call{})
}

func TestSelectAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, m := range []Method{Weighted, RoundRobin, Hash, LeastCalls, InOrder} {
		p := NewPool()
		s := trunk(m, 8)
		for i := range s.Members {
			s.Members[i].Calls, s.Members[i].Rate = 1000, 1000
		}
		s.Passive = Passive{Failures: 3}
		g := load(t, p, s)
		dst := make([]Number, 0, 4)
		r, now := uint64(1), at
		if n := testing.AllocsPerRun(1000, func() {
			r = mix(r)
			now += second
			c := Call{Key: r, Random: r, Now: now}
			n := g.Select(&c, dst)[0]
			for _, exempt := range []bool{true, false} {
				if p.Admit(n, now, exempt) == Admitted {
					p.Release(n)
				}
			}
			p.Outcome(n, 503, now)
			p.Outcome(n, 200, now)
			p.Probed(n, 7, 200, now)
			p.Full(n, now)
		}); n != 0 {
			t.Errorf("method %d: %v allocations", m, n)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	for m, name := range []string{"weight", "round-robin", "hash", "least-calls", "priority"} {
		b.Run(name, func(b *testing.B) {
			g := load(b, NewPool(), trunk(Method(m), 4))
			dst := make([]Number, 0, 4)
			r := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				r = mix(r)
				c := Call{Key: r, Random: r, Now: at}
				g.Select(&c, dst)
			}
		})
	}
}
