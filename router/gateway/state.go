package gateway

// Admin is what people want of a member.
type Admin uint8

const (
	InService    Admin = iota
	Draining           // gets no new calls; those it has go on
	OutOfService       // likewise, and nobody expects it to answer
)

func (a Admin) String() string { return [...]string{"in-service", "draining", "out-of-service"}[a] }

// Health is what was seen of a member.
type Health uint8

const (
	Up Health = iota
	ProbeDown
	PassiveDown
)

func (h Health) String() string { return [...]string{"up", "down-by-probe", "down-by-failures"}[h] }

// Reason is why a member's state changed.
type Reason uint8

const (
	NoReason    Reason = iota
	ByProbe            // enough probes without a good answer
	ProbedUp           // enough probes with one
	ByFailures         // enough failed requests
	ServedAgain        // the call that was let through was served
	ByAdmin
	Loaded // it came into a group
	numReasons
)

func (r Reason) String() string {
	return [...]string{"", "probes failed", "probes answered", "requests failed", "request served", "set by hand", "loaded"}[r]
}

// state is everything that decides together whether a member gets calls, in one word, so that each change is one
// compare-and-swap:
//
//	bits  0-7   Admin
//	bits  8-15  Health
//	bits 16-23  probes in a row that failed
//	bits 24-31  probes in a row that were answered
//	bits 32-39  requests in a row that failed
type state uint64

func (s state) admin() Admin       { return Admin(s) }
func (s state) health() Health     { return Health(s >> 8) }
func (s state) badProbes() uint8   { return uint8(s >> 16) }
func (s state) goodProbes() uint8  { return uint8(s >> 24) }
func (s state) badRequests() uint8 { return uint8(s >> 32) }

func (s state) field(shift uint, v uint8) state { return s&^(0xff<<shift) | state(v)<<shift }
func (s state) withAdmin(a Admin) state         { return s.field(0, uint8(a)) }

// in is s with another health; counts begin anew.
func (s state) in(h Health) state { return state(s.admin()).field(8, uint8(h)) }

// fresh is a member that nothing is known of: it is up until it fails.
func (s state) fresh() (state, Reason) { return s.in(Up), Loaded }

// probed is s after the result of a probe.
func (s state) probed(alive bool, up, down uint8) (state, Reason) {
	if alive {
		s = s.field(16, 0).field(24, next(s.goodProbes()))
		if s.health() != Up && s.goodProbes() >= up {
			return s.in(Up), ProbedUp
		}
		return s, NoReason
	}
	s = s.field(24, 0).field(16, next(s.badProbes()))
	if s.health() != ProbeDown && s.badProbes() >= down {
		return s.in(ProbeDown), ByProbe
	}
	return s, NoReason
}

// served is s after the outcome of a request. limit 0: outcomes do not take it down.
func (s state) served(ok bool, limit uint8) (state, Reason) {
	if ok {
		s = s.field(32, 0)
		if s.health() == PassiveDown {
			return s.in(Up), ServedAgain
		}
		return s, NoReason
	}
	s = s.field(32, next(s.badRequests()))
	if s.health() == Up && limit > 0 && s.badRequests() >= limit {
		return s.in(PassiveDown), ByFailures
	}
	return s, NoReason
}

// next counts up to what 8 bits hold.
func next(n uint8) uint8 {
	if n == maxThreshold {
		return n
	}
	return n + 1
}
