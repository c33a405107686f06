package gateway

import "sipedge/transport"

// Outcome takes in how a request to member n ended: its final status, or 0 for silence and for a transport error. Lock-free; safe
// from any goroutine.
func (p *Pool) Outcome(n Number, status int, now transport.Instant) {
	m := p.get(n)
	if m == nil {
		return
	}
	if status < 0 || status > 699 {
		status = 0
	}
	m.answers[status/100].Add(1)
	set := m.settings.Load()
	ok := !set.isFailure(status)
	s := state(m.state.Load())
	if ok && s.badRequests() == 0 && s.health() != PassiveDown {
		return // as nearly always
	}
	if !ok {
		m.retry.Store(int64(now.Add(set.hold))) // in front of the change: it is read behind it
	}
	m.change(now, func(s state) (state, Reason) { return s.served(ok, set.failures) })
}

// Probed takes in the result of a probe that began with that id: the status of its response, or 0 for silence or
// a transport error. A result that comes when the probe was given up is ignored. Lock-free; safe from any goroutine.
func (p *Pool) Probed(n Number, id uint32, status int, now transport.Instant) {
	m := p.get(n)
	if m == nil || !m.probe.CompareAndSwap(uint64(id)<<1|1, uint64(id)<<1) {
		return
	}
	p.probes.Add(-1)
	set := m.settings.Load()
	alive := set.isAlive(status)
	m.change(now, func(s state) (state, Reason) { return s.probed(alive, set.up, set.down) })
}

// Set changes what people want of member n; false when there is no such member.
func (p *Pool) Set(n Number, a Admin, now transport.Instant) bool {
	m := p.get(n)
	if m == nil || a > OutOfService {
		return false
	}
	m.change(now, func(s state) (state, Reason) { return s.withAdmin(a), ByAdmin })
	return true
}
