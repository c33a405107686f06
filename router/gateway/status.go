package gateway

import "sipedge/transport"

// Status is what there is to see of a member.
type Status struct {
	Number      Number
	Group, Name string
	Gone        bool // no group of the policy in force has it
	Admin       Admin
	Health      Health
	Since       transport.Instant // of the last change
	Reason      Reason            // of that change
	Calls       int64             // live
	MaxCalls    int64             // 0: any
	Admitted    uint64
	CallsFull   uint64 // refused because of the limit of calls
	RateFull    uint64 // and because of that of calls per second
	Answers     [7]uint64
	Transitions [numReasons]uint64
}

// Snapshot is the status of all members that ever had a number and still have it.
func (p *Pool) Snapshot() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Status, 0, p.high)
	for n := Number(1); n <= p.high; n++ {
		list = append(list, p.members[n].Load().status())
	}
	return list
}

// Find is the number of a member, 0 when there is none.
func (p *Pool) Find(group, name string) Number {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.numbers[key(group, name)]
}

func (m *member) status() Status {
	s := state(m.state.Load())
	st := Status{
		Number: m.number, Group: m.group, Name: m.name, Gone: m.gone.Load() != 0,
		Admin: s.admin(), Health: s.health(), Since: transport.Instant(m.since.Load()), Reason: Reason(m.reason.Load()),
		Calls: m.calls.Load(), MaxCalls: m.settings.Load().calls,
		Admitted: m.admitted.Load(), CallsFull: m.refused[CallsFull].Load(), RateFull: m.refused[RateFull].Load(),
	}
	for i := range st.Answers {
		st.Answers[i] = m.answers[i].Load()
	}
	for i := range st.Transitions {
		st.Transitions[i] = m.transitions[i].Load()
	}
	return st
}
