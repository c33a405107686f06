package gateway

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"sipedge/transport"
)

const second = transport.Instant(time.Second)

// at is some time into the process.
const at = 1000 * second

// load puts one group in force.
func load(t testing.TB, p *Pool, s GroupSpec) *Group {
	t.Helper()
	gs, err := p.Prepare([]GroupSpec{s}, at)
	if err != nil {
		t.Fatal(err)
	}
	p.Activate(gs, at)
	return gs.Group(0)
}

// trunk is a group of n members a, b, c, ... of the same priority and weight.
func trunk(m Method, n int) GroupSpec {
	s := GroupSpec{Name: "trunk", Method: m}
	for i := range n {
		s.Members = append(s.Members, MemberSpec{Name: string(rune('a' + i))})
	}
	return s
}

// names writes the members of ns by their names.
func (p *Pool) names(ns []Number) (s string) {
	for _, n := range ns {
		s += p.get(n).name
	}
	return
}

// pick is the order of one call.
func pick(p *Pool, g *Group, c Call) string {
	if c.Now == 0 {
		c.Now = at
	}
	return p.names(g.Select(&c, make([]Number, 0, MaxGroupMembers)))
}

func TestNumbersLast(t *testing.T) {
	p := NewPool()
	g := load(t, p, trunk(InOrder, 3))
	var before []Number
	for i := range g.Len() {
		before = append(before, g.Number(i))
	}
	if slices.Contains(before, 0) {
		t.Fatal("0 is no member's number")
	}
	spec := trunk(InOrder, 4)
	spec.Members = append(spec.Members[1:2:2], spec.Members[3]) // b stays, d comes
	g = load(t, p, spec)
	if g.Number(0) != before[1] || slices.Contains(before, g.Number(1)) {
		t.Errorf("b was %d and is %d; d is %d, the first three were %v", before[1], g.Number(0), g.Number(1), before)
	}
	if n := p.Find("trunk", "a"); n != before[0] {
		t.Errorf("a, which went, was %d and is %d", before[0], n)
	}
	g = load(t, p, trunk(InOrder, 3))
	for i, n := range before {
		if g.Number(i) != n {
			t.Errorf("member %d was %d and is %d", i, n, g.Number(i))
		}
	}
	other := trunk(InOrder, 3)
	other.Name = "other"
	if g = load(t, p, other); slices.Contains(before, g.Number(0)) {
		t.Error("members of two groups share a number")
	}
}

// TestNumbersRunOut fills the table: a number is given again only when its member is long gone and has no calls.
func TestNumbersRunOut(t *testing.T) {
	p := NewPool()
	var specs []GroupSpec
	for i := range MaxMembers / MaxGroupMembers {
		s := trunk(InOrder, MaxGroupMembers)
		s.Name = fmt.Sprint(i)
		specs = append(specs, s)
	}
	gs, err := p.Prepare(specs, at)
	if err != nil {
		t.Fatal(err)
	}
	p.Activate(gs, at)
	one := trunk(InOrder, 1)
	if _, err := p.Prepare([]GroupSpec{one}, at); !errors.Is(err, ErrTooMany) {
		t.Fatalf("%v with a full table", err)
	}
	gone := at + second
	gs, err = p.Prepare(specs[1:], gone)
	if err != nil {
		t.Fatal(err)
	}
	p.Activate(gs, gone)
	busy := p.Find("0", "a")
	p.Admit(busy, gone, false)
	if _, err := p.Prepare([]GroupSpec{one}, gone.Add(restNumber-1)); !errors.Is(err, ErrTooMany) {
		t.Fatalf("%v before the rest is over", err)
	}
	gs, err = p.Prepare([]GroupSpec{one}, gone.Add(restNumber))
	if err != nil {
		t.Fatal(err)
	}
	if n := gs.Group(0).Number(0); n == busy || n != p.Find("0", "b") && p.Find("0", "b") != 0 {
		t.Errorf("number %d was given again; %d has a call", n, busy)
	}
	if p.Calls(busy) != 1 || p.Find("0", "a") != busy {
		t.Error("the member with a call lost its number")
	}
}

func TestPrepareRefuses(t *testing.T) {
	f := func(want string, change func(*GroupSpec)) {
		t.Helper()
		s := trunk(Weighted, 2)
		change(&s)
		if _, err := NewPool().Prepare([]GroupSpec{s}, at); err == nil {
			t.Errorf("%s: taken", want)
		}
	}
	f("no members", func(s *GroupSpec) { s.Members = nil })
	f("65 members", func(s *GroupSpec) { *s = trunk(Weighted, MaxGroupMembers+1) })
	f("two of one name", func(s *GroupSpec) { s.Members[1].Name = "a" })
	f("negative weight", func(s *GroupSpec) { s.Members[1].Weight = -1 })
	f("negative limit", func(s *GroupSpec) { s.Members[1].Calls = -1 })
	f("negative rate", func(s *GroupSpec) { s.Members[1].Rate = -1 })
	f("threshold", func(s *GroupSpec) { s.Probe.Down = 256 })
	f("negative time-out", func(s *GroupSpec) { s.Probe.Timeout = -1 })
	f("hasty probes", func(s *GroupSpec) { s.Probe.Interval = time.Millisecond })
	if _, err := NewPool().Prepare([]GroupSpec{trunk(Hash, 1), trunk(Hash, 1)}, at); err == nil {
		t.Error("two groups of one name: taken")
	}
}

// TestReloadKeeps: what is known of a member outlives a reload; a member that comes back is as new.
func TestReloadKeeps(t *testing.T) {
	p := NewPool()
	s := trunk(RoundRobin, 3)
	s.Probe = Probe{Interval: time.Second, Down: 1}
	g := load(t, p, s)
	a, b := g.Number(0), g.Number(1)
	p.Admit(a, at, false)
	down(t, p, b)
	if got := pick(p, g, Call{}); got != "ac" {
		t.Fatal(got)
	}
	p.Set(a, Draining, at)
	g = load(t, p, s)
	if p.Calls(a) != 1 || p.Snapshot()[0].Admin != Draining || p.Snapshot()[1].Health != ProbeDown {
		t.Errorf("after a reload: %+v", p.Snapshot()[:2])
	}
	p.Set(a, InService, at)
	if got := pick(p, g, Call{}); got != "ca" {
		t.Errorf("%s after a had its turn before the reload", got)
	}
	without := s
	without.Members = append(s.Members[:1:1], s.Members[2])
	load(t, p, without)
	g = load(t, p, s)
	if got := pick(p, g, Call{}); got != "abc" {
		t.Errorf("%s when b came back", got)
	}
}

// down takes a member down by probes.
func down(t testing.TB, p *Pool, n Number) {
	t.Helper()
	for range p.get(n).settings.Load().down {
		probe(p, n, 0)
	}
	if h := state(p.get(n).state.Load()).health(); h != ProbeDown {
		t.Fatalf("%v after its probes failed", h)
	}
}

// probe gives one result.
func probe(p *Pool, n Number, status int) {
	m := p.get(n)
	m.probe.Store(2 | 1)
	p.probes.Add(1)
	p.Probed(n, 1, status, at)
}
