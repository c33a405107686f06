package gateway

import (
	"math"
	"math/bits"
	"sync/atomic"

	"sipedge/transport"
)

// Group is one group of next hops, frozen. Safe for concurrent use; Select is lock-free.
type Group struct {
	method  Method
	strict  bool
	counts  bool
	n       int
	tiers   []tier // by priority
	members [MaxGroupMembers]choice
}

// tier is the members of one priority, as bits over Group.members.
type tier struct {
	members uint64
	turn    *turn
}

// choice is a member as its group sees it.
type choice struct {
	state  *member
	weight float64
	hash   uint64
}

// turn remembers who had the last turn, by its Number, so that the order outlives a reload that adds or removes others.
// 0: nobody yet.
type turn struct{ last atomic.Uint32 }

// Len is the number of members.
func (g *Group) Len() int { return g.n }

// Number is the number of member i, by priority and then as in the file.
func (g *Group) Number(i int) Number { return g.members[i].state.number }

// CountsCalls tells whether the group cannot do without knowing which calls live.
func (g *Group) CountsCalls() bool { return g.counts }

// Call is what Select is asked about.
type Call struct {
	Key    uint64 // tells calls apart for Hash
	Random uint64 // what chance is to decide
	// Fixed: nothing but Key, Random and who is up decides, and nothing is remembered, so that the same call
	// goes the same way again. RoundRobin is then Weighted.
	Fixed  bool
	Exempt bool // limits do not count for it, and with nobody up those that are down are tried: an emergency
	Now    transport.Instant
}

// Select appends to dst, up to its capacity, the members to try for c, in their order: members that are up and have room, by
// priority, and within a priority as the method says. With none it appends nothing, but for an exempt call those that are
// down and in service.
func (g *Group) Select(c *Call, dst []Number) []Number {
	up, trial := g.up(c)
	if up == 0 && c.Exempt {
		up, trial = g.inService(), 0
	}
	for i := range g.tiers {
		t := &g.tiers[i]
		set := t.members & up
		for set != 0 {
			first := g.first(t, set, c)
			set &^= 1 << first
			m := g.members[first].state
			if len(dst) == 0 && trial>>first&1 != 0 && !m.try(c.Now) {
				continue // somebody else tries it just now
			}
			if len(dst) == cap(dst) {
				return dst
			}
			dst = g.rest(t, first, set, c, append(dst, m.number))
			break
		}
	}
	return dst
}

// up is the members that may get a call; those of trial are down, and it is time to try whether they still are.
func (g *Group) up(c *Call) (up, trial uint64) {
	for i := range g.n {
		m := g.members[i].state
		s := state(m.state.Load())
		switch {
		case s.admin() != InService:
		case !g.strict && !c.Exempt && m.full(c.Now) != Admitted:
		case s.health() == Up:
			up |= 1 << i
		case s.health() == PassiveDown && int64(c.Now) >= m.retry.Load():
			up |= 1 << i
			trial |= 1 << i
		}
	}
	return
}

func (g *Group) inService() (set uint64) {
	for i := range g.n {
		if state(g.members[i].state.state.Load()).admin() == InService {
			set |= 1 << i
		}
	}
	return
}

// try claims the one call that is let through to a member that is down.
func (m *member) try(now transport.Instant) bool {
	at := m.retry.Load()
	return int64(now) >= at && m.retry.CompareAndSwap(at, int64(now.Add(m.settings.Load().hold)))
}

// first is the member of set, which is not empty, that gets the call.
func (g *Group) first(t *tier, set uint64, c *Call) int {
	switch {
	case set&(set-1) == 0, g.method == InOrder:
		i := bits.TrailingZeros64(set)
		if g.method == RoundRobin && !c.Fixed {
			t.turn.last.Store(uint32(g.members[i].state.number))
		}
		return i
	case g.method == RoundRobin && !c.Fixed:
		return g.inTurn(t, set)
	}
	return g.best(set, c)
}

// inTurn is the member of set whose turn it is: the one after the last that had a turn, in the order of the file, those that are down skipped. Each
// turn is one compare-and-swap on who had the last, so that it is strict however many loops ask.
func (g *Group) inTurn(t *tier, set uint64) int {
	for {
		last := t.turn.last.Load()
		i := g.after(Number(last), t.members, set)
		if t.turn.last.CompareAndSwap(last, uint32(g.members[i].state.number)) {
			return i
		}
	}
}

// after is the member of set that follows the one with the number last, cyclically.
func (g *Group) after(last Number, tier, set uint64) int {
	for rest := tier; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		if g.members[i].state.number == last {
			if later := set &^ (1<<i | (1<<i - 1)); later != 0 {
				return bits.TrailingZeros64(later)
			}
			break
		}
	}
	return bits.TrailingZeros64(set)
}

// rest appends the members to try when the first of a tier fails.
func (g *Group) rest(t *tier, first int, set uint64, c *Call, dst []Number) []Number {
	for at := first; set != 0 && len(dst) < cap(dst); {
		switch g.method {
		case RoundRobin:
			at = g.after(g.members[at].state.number, t.members, set)
		case InOrder:
			at = bits.TrailingZeros64(set)
		default:
			at = g.best(set, c)
		}
		set &^= 1 << at
		dst = append(dst, g.members[at].state.number)
	}
	return dst
}

// best is the member of set with the lowest score.
//
// For Weighted and Hash each member draws -ln(u)/weight from a uniform u that is its own: an exponential race, which
// a member wins in proportion to its weight, and in which nobody's draw depends on who else runs. With u made from the key that is rendezvous
// hashing: a member that goes leaves all others' order as it was, so only its own keys move.
func (g *Group) best(set uint64, call *Call) int {
	best, lowest, tie := 0, math.Inf(1), math.Inf(1)
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		c := &g.members[i]
		var score float64
		switch g.method {
		case Hash:
			score = race(call.Key, c)
		case LeastCalls:
			score = float64(c.state.calls.Load()+1) / c.weight
		default:
			score = race(call.Random, c)
		}
		switch {
		case score < lowest:
			best, lowest, tie = i, score, math.Inf(1)
		case score == lowest && g.method == LeastCalls:
			if tie == math.Inf(1) {
				tie = race(call.Random, &g.members[best])
			}
			if r := race(call.Random, c); r < tie {
				best, tie = i, r
			}
		}
	}
	return best
}

func race(x uint64, c *choice) float64 {
	u := (float64(mix(x^c.hash)>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -math.Log(u) / c.weight
}

// mix is the finisher of splitmix64: each bit of x changes half of the result's.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
