package gateway

import (
	"fmt"
	"sync/atomic"
	"time"

	"sipedge/transport"
)

// member is what is known of one next hop. Loops read and change it without locks; which of its words belong together
// is said at each.
type member struct {
	number      Number
	group, name string

	settings atomic.Pointer[settings]
	state    atomic.Uint64 // a state
	retry    atomic.Int64  // Instant; with PassiveDown: when the next call is let through to try
	gone     atomic.Int64  // Instant since which no group has it; 0: one has
	probe    atomic.Uint64 // the number of the last probe, shifted, and whether it is under way
	deadline atomic.Int64  // Instant; when that probe is given up

	_     [64]byte // the words above are read for every call, those below written
	calls atomic.Int64
	next  atomic.Int64 // Instant; "theoretical arrival time" of the rate limit
	_     [64]byte

	// For people: written by whoever made the change, so for a moment one may be newer than the other.
	since       atomic.Int64  // Instant of the last change of state
	reason      atomic.Uint32 // and why
	transitions [numReasons]atomic.Uint64
	admitted    atomic.Uint64
	refused     [numRefusals]atomic.Uint64
	answers     [7]atomic.Uint64 // by class of the final status; [0]: silence and transport errors
}

// settings is what the policy says about a member.
type settings struct {
	calls    int64         // cap; 0: none
	interval time.Duration // between two calls at the full rate; 0: no limit
	burst    time.Duration // how far ahead of its time a call may come
	up, down uint8
	failures uint8
	hold     time.Duration
	alive    *Statuses // nil: the default
	failing  *Statuses
	every    time.Duration // probes; 0: none
	timeout  time.Duration
	uri      string
	from     string
	hop      transport.Hop
}

func newSettings(g *GroupSpec, m *MemberSpec) (*settings, error) {
	bad := func(what string) (*settings, error) {
		return nil, fmt.Errorf("%w: %s of member %q in group %q", errSpec, what, m.Name, g.Name)
	}
	switch {
	case m.Weight < 0 || m.Weight > 1<<20:
		return bad("weight")
	case m.Calls < 0 || m.Rate < 0 || m.Rate > 1e6 || m.Burst < 0 || m.Burst > 1e6:
		return bad("limits")
	case g.Probe.Up < 0 || g.Probe.Up > maxThreshold || g.Probe.Down < 0 || g.Probe.Down > maxThreshold || g.Passive.Failures < 0 || g.Passive.Failures > maxThreshold:
		return bad("thresholds")
	case g.Probe.Interval < 0 || g.Probe.Timeout < 0 || g.Passive.Hold < 0:
		return bad("durations")
	}
	s := &settings{
		calls: int64(m.Calls), up: 1, down: 3, failures: uint8(g.Passive.Failures), hold: 30 * time.Second,
		alive: g.Probe.Alive, failing: g.Passive.Failing, every: g.Probe.Interval, timeout: min(g.Probe.Interval, 2*time.Second),
		uri: m.URI, from: m.From, hop: m.Hop,
	}
	if g.Probe.Up > 0 {
		s.up = uint8(g.Probe.Up)
	}
	if g.Probe.Down > 0 {
		s.down = uint8(g.Probe.Down)
	}
	if g.Probe.Timeout > 0 {
		s.timeout = g.Probe.Timeout
	}
	if g.Passive.Hold > 0 {
		s.hold = g.Passive.Hold
	}
	if m.Rate > 0 {
		s.interval = time.Second / time.Duration(m.Rate)
		burst := m.Burst
		if burst == 0 {
			burst = m.Rate
		}
		s.burst = time.Duration(burst-1) * s.interval
	}
	return s, nil
}

// isAlive tells whether status is a sign of life to a probe.
func (s *settings) isAlive(status int) bool {
	if status == 0 {
		return false
	}
	if s.alive != nil {
		return s.alive.Has(status)
	}
	return status != 408 && status != 503
}

// isFailure tells whether status, 0 for none, is a failure of the member itself.
func (s *settings) isFailure(status int) bool {
	if status == 0 {
		return true
	}
	if s.failing != nil {
		return s.failing.Has(status)
	}
	return status == 503
}

// back begins the life of a member anew: nobody watched it while no group had it.
func (m *member) back(now transport.Instant) {
	m.change(now, func(s state) (state, Reason) { return s.fresh() })
}

// change replaces the state by what f makes of it, and notes when and why. f may be called several times.
func (m *member) change(now transport.Instant, f func(state) (state, Reason)) {
	for {
		old := state(m.state.Load())
		s, why := f(old)
		if s == old {
			return
		}
		if m.state.CompareAndSwap(uint64(old), uint64(s)) {
			if why != NoReason {
				m.since.Store(int64(now))
				m.reason.Store(uint32(why))
				m.transitions[why].Add(1)
			}
			return
		}
	}
}
