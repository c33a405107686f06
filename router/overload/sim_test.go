package overload

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"sipedge/transport"
)

// A simulated proxy: one server with a queue in front of it and calls of seven messages that come to it, with the timers
// of RFC 3261.
type sim struct {
	c       Controller
	random  *rand.Rand
	now     time.Duration
	events  eventHeap
	queue   []packet
	head    int
	buffer  int // packets
	busy    bool
	target  time.Duration
	calls   []simCall
	rate    func(time.Duration) float64 // new calls per second
	until   time.Duration
	off     func(time.Duration) time.Duration // how long the server is away from t on, 0: it is there
	lowest  time.Duration
	least   float64
	reject  time.Duration
	control bool

	completed, refused, failed, drops int
	perWindow                         []int
	setup                             []time.Duration
	shares                            []struct {
		at    time.Duration
		share float64
	}
}

type kind uint8

const (
	invite kind = iota
	trying
	ringing
	ok200
	ack
	bye
	okBye
	ackFailure
	numKinds
)

// work of the server per message: a call costs 280 us, ten times as much as the real thing, so that a test of seconds is over
// in a fraction of one. The buffer is as small in turn.
var simCost = [numKinds]time.Duration{90e3, 10e3, 35e3, 35e3, 35e3, 45e3, 30e3, 2e3}

const (
	simBuffer   = 640   // packets
	simReject   = 20e3  // ns, to answer 503
	simAbsorb   = 15e3  // ns, for a retransmission
	simCapacity = 3570. // calls/s
	// simRefusal is the work of a refusal, its ACK included, in units of a call.
	simRefusal = (simReject + 2e3) / 280e3
)

type packet struct {
	call int
	kind kind
	at   time.Duration
}

type simCall struct {
	begun    time.Duration
	accepted bool // the proxy has a transaction
	state    kind // the furthest message that has arrived where it should
	over     bool
	tries    int
}

type simEvent struct {
	at time.Duration
	do func()
}
type eventHeap []simEvent

func (h eventHeap) Len() int           { return len(h) }
func (h eventHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h eventHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)        { *h = append(*h, x.(simEvent)) }
func (h *eventHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func (s *sim) after(d time.Duration, do func()) { heap.Push(&s.events, simEvent{s.now + d, do}) }

const rtt = 200 * time.Microsecond

func newSim(seed uint64) *sim {
	return &sim{random: rand.New(rand.NewPCG(seed, 7)), buffer: simBuffer, target: 20 * time.Millisecond, reject: simReject, control: true}
}

func (s *sim) run() {
	var arrive func()
	arrive = func() {
		if s.now >= s.until {
			return
		}
		s.calls = append(s.calls, simCall{begun: s.now})
		s.sendInvite(len(s.calls) - 1)
		s.after(time.Duration(s.random.ExpFloat64()/s.rate(s.now)*1e9), arrive)
	}
	s.after(0, arrive)
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(simEvent)
		s.now = e.at
		if s.now > s.until+5*time.Second {
			break
		}
		e.do()
	}
}

func (s *sim) sendInvite(i int) {
	c := &s.calls[i]
	if c.over || c.state >= trying {
		return
	}
	if s.now-c.begun > 4*time.Second {
		c.over = true
		s.failed++
		return
	}
	s.arrived(packet{i, invite, 0})
	c.tries++
	s.after(500*time.Millisecond<<(c.tries-1), func() { s.sendInvite(i) })
}

// arrived puts a packet into the receive buffer.
func (s *sim) arrived(p packet) {
	if len(s.queue)-s.head >= s.buffer {
		s.drops++
		return
	}
	p.at = s.now
	s.queue = append(s.queue, p)
	if !s.busy {
		s.busy = true
		s.after(0, s.serve)
	}
}

func (s *sim) serve() {
	if s.off != nil {
		if d := s.off(s.now); d > 0 {
			s.after(d, s.serve)
			return
		}
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
		s.busy = false
		s.lowest, s.least = 0, 0
		return
	}
	p := s.queue[s.head]
	s.head++
	if s.head > 1<<16 {
		s.queue = append(s.queue[:0], s.queue[s.head:]...)
		s.head = 0
	}
	s.lowest = min(s.lowest, s.now-p.at)
	s.least = min(s.least, float64(len(s.queue)-s.head)/float64(s.buffer))
	if s.control && s.now-time.Duration(s.c.from) >= StepEvery {
		s.c.Step(transport.Instant(s.now), &Config{Delay: s.target}, transport.Backlog{Delay: s.lowest, Fill: s.least}, 0)
		s.least = 1
		s.shares = append(s.shares, struct {
			at    time.Duration
			share float64
		}{s.now, s.c.Share(Call)})
		s.lowest = time.Hour
	}
	s.after(s.handle(p), s.serve)
}

func (s *sim) handle(p packet) time.Duration {
	c := &s.calls[p.call]
	work := simCost[p.kind]
	next := func(k kind) { // the other side answers what the proxy has just forwarded
		s.after(work+rtt, func() { s.arrived(packet{p.call, k, 0}) })
	}
	switch p.kind {
	case invite:
		if c.accepted || c.over {
			return simAbsorb
		}
		if s.control && !s.c.Admit(Call, s.random.Uint64()) {
			c.over = true
			s.refused++
			s.after(s.reject+rtt, func() { s.arrived(packet{p.call, ackFailure, 0}) })
			return s.reject
		}
		c.accepted = true
		c.state = trying
		next(ringing)
		s.after(work+rtt, func() { s.arrived(packet{p.call, trying, 0}) })
		s.repeat(p.call, ok200, ack, 500*time.Millisecond)
	case ok200:
		if c.state < ack {
			if c.state < ok200 {
				c.state = ok200
				s.setup = append(s.setup, s.now-c.begun)
				s.repeat(p.call, bye, okBye, 500*time.Millisecond)
			}
			next(ack)
		}
	case ack:
		c.state = max(c.state, ack)
	case bye:
		c.state = max(c.state, bye)
		next(okBye)
	case okBye:
		if !c.over {
			c.over = true
			if s.now-c.begun > 4*time.Second {
				s.failed++
				break
			}
			s.completed++
			w := int(s.now / window)
			for len(s.perWindow) <= w {
				s.perWindow = append(s.perWindow, 0)
			}
			s.perWindow[w]++
		}
	}
	return work
}

// repeat sends k now and again until the call has come to done.
func (s *sim) repeat(i int, k, done kind, gap time.Duration) {
	var again func()
	again = func() {
		c := &s.calls[i]
		if c.over || c.state >= done {
			return
		}
		if s.now-c.begun > 4*time.Second {
			c.over = true
			s.failed++
			return
		}
		s.arrived(packet{i, k, 0})
		s.after(gap, again)
		gap *= 2
	}
	s.after(rtt, again)
}

// goodput is the mean of the calls completed per second from a time on, and how much tenths of a second deviate from it.
func (s *sim) goodput(from time.Duration) (mean, deviation float64) {
	var sum, square, n float64
	for i := int(from / window); i < int(s.until/window); i++ {
		v := 0.0
		if i < len(s.perWindow) {
			v = float64(s.perWindow[i]) / window.Seconds()
		}
		sum += v
		square += v * v
		n++
	}
	mean = sum / n
	return mean, math.Sqrt(max(square/n-mean*mean, 0)) / mean
}

const window = 100 * time.Millisecond

// setupAt is what a share of the calls needed at most to be set up.
func (s *sim) setupAt(share float64) time.Duration {
	if len(s.setup) == 0 {
		return 0
	}
	slices.Sort(s.setup)
	return s.setup[int(share*float64(len(s.setup)-1))].Round(100 * time.Microsecond)
}

// sharesBetween are the shares turned away after each step in a time.
func (s *sim) sharesBetween(from, to time.Duration) (all []float64) {
	for _, x := range s.shares {
		if x.at >= from && x.at < to {
			all = append(all, x.share)
		}
	}
	return all
}

func (s *sim) report(from time.Duration) string {
	mean, deviation := s.goodput(from)
	return fmt.Sprintf("goodput %.0f of %.0f (varies by %.2f), %d refused, %d failed, %d lost, set-up p50 %v p99 %v",
		mean, simCapacity, deviation, s.refused, s.failed, s.drops, s.setupAt(0.5), s.setupAt(0.99))
}
