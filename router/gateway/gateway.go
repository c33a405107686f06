// Package gateway chooses among the next hops of a group: who is up, whose turn it is, who has room for a call.
//
// Enters: groups as the policy has them, outcomes of calls and probes, the current Instant.
// Leaves: numbers of members in the order to try them; whether one more call may go there; what people may see.
// Never:  knows what a request is, sends anything; waits or allocates where the packets pass.
package gateway

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"sipedge/transport"
)

// Number names a member for the life of the process, across reloads, by its group's name and its own. 0 is none.
type Number uint16

// Method is how the members of one priority are ordered for a call. Priorities themselves are always tried lowest first.
type Method uint8

const (
	Weighted   Method = iota // at random, in proportion to the weights
	RoundRobin               // strictly in turn; weights do not count
	Hash                     // by the key of the call: the same key goes to the same member as long as that is up
	LeastCalls               // the fewest live calls in proportion to the weight first
	InOrder                  // in the order of the file
)

// GroupSpec is a group as the policy has it.
type GroupSpec struct {
	Name   string
	Method Method
	// Strict makes Select choose without regard to the members' limits: who is full then refuses the call when it is to be
	// admitted. Otherwise the call goes to those that have room.
	Strict  bool
	Probe   Probe
	Passive Passive
	Members []MemberSpec
}

// MemberSpec is one next hop of a group.
type MemberSpec struct {
	Name     string // unique in its group
	Priority int    // the lowest are tried first
	Weight   int    // 0 counts as 1
	Calls    int    // at most so many live calls; 0: any number
	Rate     int    // at most so many new calls per second; 0: any number
	Burst    int    // of which so many may come at once; 0: one second's worth
	// What a probe is sent to, and from whom; this package only hands it on.
	URI, From string
	Hop       transport.Hop
}

// Probe says how the members of a group are asked whether they live.
type Probe struct {
	Interval time.Duration // 0: never
	Timeout  time.Duration // 0: as long as the interval, at most 2 s
	Up, Down int           // so many good or bad results in a row change the state; 0: 1 and 3
	// Alive are the statuses that count as life. Nil: any but 408 and 503, since whoever answers is there.
	Alive *Statuses
}

// Passive says when the outcomes of requests take a member down.
type Passive struct {
	Failures int           // so many failures in a row; 0: never
	Hold     time.Duration // one call is let through to try again each time this has passed; 0: 30 s
	// Failing are the statuses that count as failures beside silence and transport errors. Nil: 503.
	Failing *Statuses
}

// Statuses is a set of SIP status codes.
type Statuses [11]uint64

// Add adds status, 100 to 699.
func (s *Statuses) Add(status int) {
	if status >= 0 && status < 64*len(s) {
		s[status>>6] |= 1 << (status & 63)
	}
}

// Has tells whether status is in s.
func (s *Statuses) Has(status int) bool {
	return status >= 0 && status < 64*len(s) && s[status>>6]>>(status&63)&1 != 0
}

// Errors of Prepare.
var (
	ErrTooMany = errors.New("gateway: too many members have had a number; those that went rest for half an hour")
	errSpec    = errors.New("gateway")
)

// Pool is all members of one process. Select, Admit, Release, Outcome and Probed are safe for concurrent use and lock-free;
// the rest takes a lock and is for workers.
type Pool struct {
	members [MaxMembers + 1]atomic.Pointer[member]
	active  atomic.Pointer[Groups]
	probes  atomic.Int64 // under way
	wake    chan struct{}
	mu      sync.Mutex
	numbers map[string]Number
	turns   map[string]*turn
	high    Number // the highest number given
}

// NewPool makes an empty pool.
func NewPool() *Pool {
	return &Pool{wake: make(chan struct{}, 1), numbers: map[string]Number{}, turns: map[string]*turn{}}
}

// Groups is one generation of all groups, frozen.
type Groups struct {
	list     []*Group
	settings map[Number]*settings
	turns    map[string]*turn
}

// Group returns the group of specs[i] of Prepare.
func (gs *Groups) Group(i int) *Group { return gs.list[i] }

// key is how a member is known across reloads.
func key(group, name string) string { return group + "\x00" + name }

// Prepare checks specs and gives numbers to members that have none. Calls go on by the generation before until Activate.
func (p *Pool) Prepare(specs []GroupSpec, now transport.Instant) (*Groups, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gs := &Groups{settings: map[Number]*settings{}, turns: map[string]*turn{}}
	seen := map[string]bool{}
	for i := range specs {
		s := &specs[i]
		if seen[s.Name] {
			return nil, fmt.Errorf("%w: two groups %q", errSpec, s.Name)
		}
		seen[s.Name] = true
		g, err := p.prepareGroup(gs, s, now)
		if err != nil {
			return nil, err
		}
		gs.list = append(gs.list, g)
	}
	return gs, nil
}

func (p *Pool) prepareGroup(gs *Groups, s *GroupSpec, now transport.Instant) (*Group, error) {
	if len(s.Members) == 0 || len(s.Members) > MaxGroupMembers {
		return nil, fmt.Errorf("%w: group %q has %d members; give 1 to %d", errSpec, s.Name, len(s.Members), MaxGroupMembers)
	}
	if s.Probe.Interval != 0 && s.Probe.Interval < minProbeInterval {
		return nil, fmt.Errorf("%w: group %q is probed every %v; give %v or more", errSpec, s.Name, s.Probe.Interval, minProbeInterval)
	}
	g := &Group{method: s.Method, strict: s.Strict}
	order := make([]int, len(s.Members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return s.Members[a].Priority - s.Members[b].Priority })
	names := map[string]bool{}
	for at, i := range order {
		m := &s.Members[i]
		if names[m.Name] {
			return nil, fmt.Errorf("%w: group %q has two members %q", errSpec, s.Name, m.Name)
		}
		names[m.Name] = true
		set, err := newSettings(s, m)
		if err != nil {
			return nil, err
		}
		state, err := p.member(s.Name, m.Name, now)
		if err != nil {
			return nil, err
		}
		gs.settings[state.number] = set
		g.members[at] = choice{state: state, weight: float64(max(m.Weight, 1)), hash: xxhash.Sum64String(m.Name)}
		g.counts = g.counts || m.Calls > 0 || s.Method == LeastCalls
		if n := len(g.tiers); n == 0 || s.Members[order[at-1]].Priority != m.Priority {
			g.tiers = append(g.tiers, tier{turn: p.turn(gs, s.Name, m.Priority)})
		}
		g.tiers[len(g.tiers)-1].members |= 1 << at
		g.n++
	}
	return g, nil
}

func (p *Pool) turn(gs *Groups, group string, priority int) *turn {
	k := fmt.Sprintf("%s\x00%d", group, priority)
	t := p.turns[k]
	if t == nil {
		t = new(turn)
		p.turns[k] = t
	}
	gs.turns[k] = t
	return t
}

// member finds the member of a name, or makes it.
func (p *Pool) member(group, name string, now transport.Instant) (*member, error) {
	k := key(group, name)
	if n, ok := p.numbers[k]; ok {
		return p.members[n].Load(), nil
	}
	n := p.high + 1
	if p.high == MaxMembers {
		if n = p.rested(now); n == 0 {
			return nil, ErrTooMany
		}
		old := p.members[n].Load()
		delete(p.numbers, key(old.group, old.name))
	} else {
		p.high = n
	}
	m := &member{number: n, group: group, name: name}
	m.settings.Store(&settings{})
	m.since.Store(int64(now))
	m.gone.Store(int64(now)) // until a generation with it is activated
	p.members[n].Store(m)
	p.numbers[k] = n
	return m, nil
}

// rested finds the number of a member that is long gone and has no calls.
func (p *Pool) rested(now transport.Instant) Number {
	for n := Number(1); n <= MaxMembers; n++ {
		m := p.members[n].Load()
		if gone := m.gone.Load(); gone != 0 && now.Sub(transport.Instant(gone)) >= restNumber && m.calls.Load() == 0 {
			return n
		}
	}
	return 0
}

// Activate puts gs in force: its limits and thresholds count from now on, and its members are probed. State, calls and turns
// of members that were there before stay as they are. A member that is in no group any more keeps its number for as long as it may be asked for.
func (p *Pool) Activate(gs *Groups, now transport.Instant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := Number(1); n <= p.high; n++ {
		m := p.members[n].Load()
		set := gs.settings[n]
		switch {
		case set != nil:
			m.settings.Store(set)
			if m.gone.Swap(0) != 0 {
				m.back(now)
			}
		case m.gone.Load() == 0:
			m.gone.Store(int64(now))
		}
	}
	p.turns = gs.turns
	p.active.Store(gs)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// get is the member of a number, nil for one that nobody has.
func (p *Pool) get(n Number) *member {
	if n > MaxMembers {
		return nil
	}
	return p.members[n].Load()
}

// Key makes of the bytes that calls are told apart by what Select takes as a key: the same in every process.
func Key(b []byte) uint64 { return xxhash.Sum64(b) }
