// Package policy is what the policy file says, made ready to decide: from whom a request is, which route takes it, where it goes.
//
// Enters: a config.Policy when it is loaded; then requests, as router.Query, on the loops.
// Leaves: a router.TargetSet or an answer, with the reason for it.
// Never:  waits, allocates or takes a lock for a request; sends anything; reads a clock.
package policy

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/transport"
	"sipedge/txn"
)

// Decider decides by the policy in force. Decide, Admit, Outcome and Ended are lock-free and for the loops; the rest is for
// workers.
type Decider struct {
	pool    *gateway.Pool
	names   *transport.Names
	peer    func(*transport.Flow) uint32
	current atomic.Pointer[snapshot]
	loops   [transport.MaxLoops]scratch
	mu      sync.Mutex // one Load at a time
}

// scratch is memory for the texts of one decision. Owned by a loop, or by one call of Explain.
type scratch struct {
	text []byte
	_    [104]byte // two loops do not write to one cache line
}

// New makes a Decider without a policy: it leaves every request to the static order. Gateways and peers with limits get
// their numbers from pool. names are those of the connections; peer gives the number of the identity that a flow's TLS connection
// has proven, 0 for none. Nil: no peer is known by its identity.
func New(pool *gateway.Pool, names *transport.Names, peer func(*transport.Flow) uint32) *Decider {
	d := &Decider{pool: pool, names: names, peer: peer}
	for i := range d.loops {
		d.loops[i].text = make([]byte, 0, maxText)
	}
	return d
}

// snapshot is one policy, frozen but for which schedules are open.
type snapshot struct {
	core        *router.Core
	pool        *gateway.Pool
	country     *config.Country
	regions     trie
	regionNames []string
	schedules   []config.Schedule
	open        atomic.Pointer[set] // by schedule
	peers       peers
	groups      *gateway.Groups
	gateways    []group
	places      []*place // by gateway.Number
	emergency   *emergency
	routes      routes
}

// emergency is config.Emergency made ready.
type emergency struct {
	numbers map[string]struct{}
	urn     bool
	action  action
}

// Load puts p in force for all requests to come. Requests that were decided before keep what was decided: rules and
// numbers are never given to another. With an error the policy before stays in force. wall is the time by which schedules
// are open or closed, see Tick.
func (d *Decider) Load(core *router.Core, p *config.Policy, now transport.Instant, wall time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &compiler{d: d, core: core, p: p, s: &snapshot{core: core, pool: d.pool}}
	if err := c.compile(now); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	c.s.tick(wall)
	d.pool.Activate(c.s.groups, now)
	d.current.Store(c.s)
	return nil
}

// Decide is the router.DecideFunc.
func (d *Decider) Decide(q *router.Query, to *router.TargetSet) router.Verdict {
	var x decision
	return d.decide(q, to, &x, &d.loops[q.Loop])
}

// decision is one request on its way through the policy.
type decision struct {
	s    *snapshot
	q    *router.Query
	m    *parser.Message
	b    []byte
	from *transport.Flow
	text *scratch

	peer   int // index + 1; 0: none
	exempt bool
	fixed  bool
	method parser.Method // ACK and CANCEL are decided as the INVITE that they belong to
	key    uint64        // of Call-ID, for chance that is the same for each copy of a request

	numbers   [3]called  // of the Request-URI, From and To
	elsewhere parser.URI // see maddr

	// Why, for Explain.
	step  Step
	route int // index; with Routed
	group int // index; with a gateway action
}

// called is a number with what was found out about it.
type called struct {
	number
	state  uint8 // 0: not looked at; 1: there is none; 2: there is one
	region int32 // index; -1: in none; -2: not looked for
}

const (
	ofURI = iota
	ofFrom
	ofTo
)

func (d *Decider) decide(q *router.Query, to *router.TargetSet, x *decision, text *scratch) router.Verdict {
	s := d.current.Load()
	if s == nil || q.InDialog {
		x.step = NotAsked
		return router.Default
	}
	x.s, x.q, x.m, x.b, x.from, x.text = s, q, q.Message, q.Bytes, &q.From, text
	x.method = x.m.Method
	follows := x.method == parser.MethodAck || x.method == parser.MethodCancel
	if follows {
		x.method = parser.MethodInvite
	}
	x.fixed = q.Ref == (txn.Ref{})
	x.key = gateway.Key(x.m.CallID.In(x.b))
	x.peer = s.peers.find(x.from, d.peer)

	if s.emergency != nil && x.isEmergency() {
		x.exempt, x.step = true, Emergency
		return s.emergency.action.run(x, to)
	}
	// "If the OPTIONS is addressed to a proxy server, the Request-URI is set without a user part": RFC 3261 section 11. It asks
	// whether we are there, and no route takes it away.
	forUs := x.method == parser.MethodOptions && !x.m.URI.HasUser && s.core.Ours(x.b, &x.m.URI, x.from)
	if x.peer > 0 {
		p := &s.peers.list[x.peer-1]
		if !follows {
			if over := p.over(x); over != notOver {
				x.step = over
				return p.answer.reject(q)
			}
		}
		if !forUs && !p.allows(x) {
			x.step = NotAllowed
			q.Status, q.Reason = 403, phrases[403]
			return router.Reject
		}
		q.Peer, q.Rule = uint16(p.calls), s.peers.kinds[p.kind].rule
	}
	if forUs {
		x.step = ForUs
		return router.Default
	}
	i := s.routes.find(x)
	if i < 0 {
		x.step = NoRoute
		return router.Default
	}
	x.step, x.route = Routed, i
	if a := &s.routes.list[i].action; q.Routes > 0 && (a.kind == toGateway || a.kind == toPlace) {
		// Whoever takes such a request next would follow its Route, in our name and to wherever the sender likes.
		x.step = HasRoute
		return router.Default
	}
	return s.routes.list[i].action.run(x, to)
}

// isEmergency tells whether the request is an emergency call.
func (x *decision) isEmergency() bool {
	var dialled []byte
	if n := x.number(ofURI); n != nil {
		dialled = n.dialled.text()
	}
	return x.s.emergency.has(x.b, &x.m.URI, dialled)
}

// has tells whether u is for an emergency service: RFC 5031's urn:service:sos and what is below it, or one of the numbers
// as they are dialled.
func (e *emergency) has(b []byte, u *parser.URI, dialled []byte) bool {
	if u.SchemeIs == parser.SchemeURN {
		const sos = "urn:service:sos"
		urn := u.Whole.In(b)
		return e.urn && len(urn) >= len(sos) && equalFold(urn[:len(sos)], sos) && (len(urn) == len(sos) || urn[len(sos)] == '.')
	}
	_, found := e.numbers[string(dialled)]
	return found
}

// number is that of the URI asked for, nil when there is none.
func (x *decision) number(which int) *called {
	n := &x.numbers[which]
	if n.state == 0 {
		n.state, n.region = 1, -2
		if n.read(x.b, x.uri(which), x.country()) {
			n.state = 2
		}
	}
	if n.state == 1 {
		return nil
	}
	return n
}

func (x *decision) uri(which int) *parser.URI {
	switch which {
	case ofFrom:
		return &x.m.From.URI
	case ofTo:
		return &x.m.To.URI
	}
	return &x.m.URI
}

// maddr is the Request-URI with its maddr as the host, which is where it leads.
func (x *decision) maddr() *parser.URI {
	x.elsewhere = x.m.URI
	x.elsewhere.Host = x.m.URI.Maddr
	return &x.elsewhere
}

// country is whose way of dialling the request's numbers are in.
func (x *decision) country() *config.Country {
	if x.peer > 0 {
		if c := x.s.peers.list[x.peer-1].country; c != nil {
			return c
		}
	}
	return x.s.country
}

// regionOf is the region of a number, -1 for none.
func (x *decision) regionOf(n *called) int {
	if n.region == -2 {
		n.region = -1
		if v, found := x.s.regions.findNumber(&n.number); found {
			n.region = int32(v)
		}
	}
	return int(n.region)
}
