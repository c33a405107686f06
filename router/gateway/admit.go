package gateway

import (
	"time"

	"sipedge/transport"
)

// Refusal is why a member takes no further call. The zero Refusal is none.
type Refusal uint8

const (
	Admitted Refusal = iota
	CallsFull
	RateFull
	numRefusals
)

// Admit takes one more call for member n: with Admitted, a place under both of its limits is taken, and whoever asked must
// Release it when the call ends. The number of live calls never exceeds the limit, and in no time t more than
// burst + t * rate calls are admitted. An exempt call (emergency) is admitted and counted whatever the limits say.
// Lock-free; safe from any goroutine.
func (p *Pool) Admit(n Number, now transport.Instant, exempt bool) Refusal {
	m := p.get(n)
	if m == nil {
		return Admitted
	}
	why := m.admit(now, exempt)
	if why == Admitted {
		m.admitted.Add(1)
	} else {
		m.refused[why].Add(1)
	}
	return why
}

// Pass is Admit for what nobody will Release: only the limit of calls per second counts, and no place is taken.
func (p *Pool) Pass(n Number, now transport.Instant, exempt bool) Refusal {
	m := p.get(n)
	if m == nil {
		return Admitted
	}
	if s := m.settings.Load(); !exempt && s.interval > 0 && !m.conforms(now, s.interval, s.burst) {
		m.refused[RateFull].Add(1)
		return RateFull
	}
	m.admitted.Add(1)
	return Admitted
}

// Release ends a call that was admitted.
func (p *Pool) Release(n Number) {
	if m := p.get(n); m != nil && m.calls.Add(-1) < 0 {
		panic("gateway: more calls released than admitted")
	}
}

// Full tells, without taking anything, why member n would refuse a call now.
func (p *Pool) Full(n Number, now transport.Instant) Refusal {
	m := p.get(n)
	if m == nil {
		return Admitted
	}
	return m.full(now)
}

func (m *member) full(now transport.Instant) Refusal {
	s := m.settings.Load()
	switch {
	case s.calls > 0 && m.calls.Load() >= s.calls:
		return CallsFull
	case s.interval > 0 && transport.Instant(m.next.Load()).Sub(now) > s.burst:
		return RateFull
	}
	return Admitted
}

// Calls is the number of live calls of member n.
func (p *Pool) Calls(n Number) int64 {
	if m := p.get(n); m != nil {
		return m.calls.Load()
	}
	return 0
}

func (m *member) admit(now transport.Instant, exempt bool) Refusal {
	s := m.settings.Load()
	if exempt {
		m.calls.Add(1)
		return Admitted
	}
	// The place is taken first: it can be given back, while a rate that others saw used up cannot.
	for {
		n := m.calls.Load()
		if s.calls > 0 && n >= s.calls {
			return CallsFull
		}
		if m.calls.CompareAndSwap(n, n+1) {
			break
		}
	}
	if s.interval > 0 && !m.conforms(now, s.interval, s.burst) {
		m.calls.Add(-1)
		return RateFull
	}
	return Admitted
}

// conforms is the generic cell rate algorithm (ITU-T I.371) on one word: the time at which the next call is due at the
// full rate. A call may come ahead of it by the burst.
func (m *member) conforms(now transport.Instant, interval, burst time.Duration) bool {
	for {
		due := transport.Instant(m.next.Load())
		at := max(due, now)
		if at.Sub(now) > burst {
			return false
		}
		if m.next.CompareAndSwap(int64(due), int64(at.Add(interval))) {
			return true
		}
	}
}
