package gateway

import (
	"container/heap"
	"context"
	"time"

	"sipedge/transport"
)

// Probing is one probe to send.
type Probing struct {
	Number  Number
	ID      uint32 // to be given back to Probed
	URI     string
	From    string
	Hop     transport.Hop
	Timeout time.Duration
}

// A ProbeFunc starts a probe, whose result goes to Probed sooner or later, from any goroutine. It does not wait for it.
// False: none can be started now.
type ProbeFunc func(Probing) bool

// RunProbes sends the probes of the groups in force until ctx ends. One goroutine of one process runs it.
func (p *Pool) RunProbes(ctx context.Context, now func() transport.Instant, probe ProbeFunc) {
	var s schedule
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at := now()
		if next := s.step(p, at, probe); next != 0 {
			timer.Reset(max(next.Sub(at), 0))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// schedule is when which member is asked next. Owned by one goroutine.
type schedule struct {
	of    *Groups // made for these
	queue queue
}

type entry struct {
	at transport.Instant
	m  *member
}

type queue []entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(entry)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// step starts what is due at now, gives up what has had its time, and returns when it wants to be called again; 0: not
// before the groups change.
func (s *schedule) step(p *Pool, now transport.Instant, probe ProbeFunc) transport.Instant {
	if gs := p.active.Load(); gs != s.of {
		s.load(p, gs, now)
	}
	for len(s.queue) > 0 && s.queue[0].at <= now {
		e := &s.queue[0]
		e.at = s.ask(p, e, now, probe)
		heap.Fix(&s.queue, 0)
	}
	if len(s.queue) == 0 {
		return 0
	}
	return s.queue[0].at
}

// ask starts the probe that is due and returns when the member is to be looked at again.
func (s *schedule) ask(p *Pool, e *entry, now transport.Instant, probe ProbeFunc) transport.Instant {
	m := e.m
	set := m.settings.Load()
	last := m.probe.Load()
	if last&1 != 0 {
		if at := transport.Instant(m.deadline.Load()); now < at {
			return at
		}
		p.Probed(m.number, uint32(last>>1), 0, now)
	}
	if p.probes.Load() >= maxProbes {
		return now.Add(probeRetry)
	}
	id := uint32(last>>1) + 1
	m.deadline.Store(int64(now.Add(set.timeout + probeGrace)))
	m.probe.Store(uint64(id)<<1 | 1)
	p.probes.Add(1)
	if !probe(Probing{Number: m.number, ID: id, URI: set.uri, From: set.from, Hop: set.hop, Timeout: set.timeout}) {
		if m.probe.CompareAndSwap(uint64(id)<<1|1, uint64(id)<<1) {
			p.probes.Add(-1)
		}
		return now.Add(probeRetry)
	}
	// From when it was due, so that the rate is the one asked for; from now, when that was missed.
	if at := e.at.Add(set.every); at > now {
		return at
	}
	return now.Add(set.every)
}

// load makes the queue for gs. Who was asked before keeps its time; the first probes of the others are spread over their interval
// by the numbers, so that a reload with a thousand gateways does not ask all of them at once.
func (s *schedule) load(p *Pool, gs *Groups, now transport.Instant) {
	before := map[*member]transport.Instant{}
	for _, e := range s.queue {
		before[e.m] = e.at
	}
	s.of, s.queue = gs, s.queue[:0]
	for n, set := range gs.settings {
		if set.every == 0 {
			continue
		}
		m := p.get(n)
		at, ok := before[m]
		if !ok {
			spread := min(set.every, time.Second)
			at = now.Add(time.Duration(mix(uint64(n)) % uint64(spread)))
		}
		s.queue = append(s.queue, entry{at: min(at, now.Add(set.every)), m: m})
	}
	heap.Init(&s.queue)
}
