package policy

import (
	"math/rand/v2"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/transport"
)

// actionKind is which of the fields of config.Action is set.
type actionKind uint8

const (
	toGateway actionKind = iota
	toPlace              // next-hop, redirect-server
	toURI                // relay
	toRedirect
	toReject
)

// action is config.Action made ready.
type action struct {
	kind      actionKind
	rules     []router.RuleID // by the kind of the peer
	group     int             // toGateway: index in snapshot.gateways
	place     place           // toPlace
	answer    answer          // toReject
	redirect  redirect        // toRedirect
	number    numberEdit
	stateless bool
}

// group is config.Group made ready.
type group struct {
	name        string
	of          *gateway.Group
	hashBy      config.HashBy
	tries       int
	strict      bool
	host        bool // the member's host replaces the Request-URI's
	unavailable answer
}

// place is where to send: an address, or a SIP URI to look up (RFC 3263).
type place struct {
	hop  transport.Hop
	next []byte // nil: hop
	host []byte // with its port, for a Request-URI
}

// run does what the action says.
func (a *action) run(x *decision, to *router.TargetSet) router.Verdict {
	if a.kind == toReject {
		return a.answer.reject(x.q)
	}
	var edited digits
	number := []byte(nil) // to send on; nil: as it was
	if a.number.on {
		if n := x.number(ofURI); n != nil {
			var ok bool
			if edited, ok = a.number.apply(&n.number); !ok {
				x.step = NoNumberLeft
				x.q.Status, x.q.Reason = 484, phrases[484]
				return router.Reject
			}
			number = edited.text()
		}
	}
	x.q.Stateless = a.stateless
	rule := a.rules[0]
	if x.peer > 0 {
		kind := x.s.peers.list[x.peer-1].kind
		rule = a.rules[kind]
		x.q.Stateless = a.stateless && !x.s.peers.kinds[kind].counted // without state nobody counts
	}
	switch a.kind {
	case toRedirect:
		x.text.text = appendUser(x.text.text[:0], x.b, &x.m.URI, number)
		return a.redirect.redirect(x.q, x.text.text)
	case toGateway:
		return a.toGateway(x, to, rule, number)
	case toPlace:
		to.Rule(rule, 0)
		return x.sent(a.place.add(to, true, x.requestURI(number, nil)))
	}
	to.Rule(rule, 0)
	return x.sent(to.Add(0, x.requestURI(number, nil), nil))
}

// sent is the verdict when a target found room, or did not.
func (x *decision) sent(ok bool) router.Verdict {
	if ok {
		return router.Forward
	}
	x.step = TooLong
	x.q.Status, x.q.Reason = 414, phrases[414]
	return router.Reject
}

// add puts the place into the targets, as a new one or as the alternative of the one before.
func (p *place) add(to *router.TargetSet, first bool, uri []byte) bool {
	switch {
	case first && p.next == nil:
		return to.Add(0, uri, &p.hop)
	case first:
		return to.AddNext(0, uri, p.next)
	case p.next == nil:
		return to.Alternative(uri, &p.hop)
	}
	return to.AlternativeNext(uri, p.next)
}

// toGateway sends to the members of the group in the order that it gives for this call.
func (a *action) toGateway(x *decision, to *router.TargetSet, rule router.RuleID, number []byte) router.Verdict {
	g := &x.s.gateways[a.group]
	x.group = a.group
	call := gateway.Call{Key: x.key, Random: x.key, Fixed: x.fixed || a.stateless, Exempt: x.exempt, Now: x.q.Now}
	if !call.Fixed {
		call.Random = rand.Uint64()
	}
	if g.hashBy != config.HashCallID {
		call.Key = x.keyOf(g.hashBy)
	}
	var room [maxTries]gateway.Number
	chosen := g.of.Select(&call, room[:0:g.tries])
	switch {
	case len(chosen) == 0:
		x.step = NoneUp
		return g.unavailable.reject(x.q)
	case g.strict && !x.exempt && x.s.pool.Full(chosen[0], x.q.Now) != gateway.Admitted:
		x.step = Full
		return g.unavailable.reject(x.q)
	}
	for i, n := range chosen {
		p := x.s.places[n]
		var host []byte
		if g.host {
			host = p.host
		}
		to.Rule(rule, uint16(n))
		if !p.add(to, i == 0, x.requestURI(number, host)) && i == 0 {
			return x.sent(false)
		}
	}
	return router.Forward
}

// keyOf hashes what a group tells calls apart by: user and host of a URI, without its parameters.
func (x *decision) keyOf(by config.HashBy) uint64 {
	u := &x.m.To.URI
	if by == config.HashFrom {
		u = &x.m.From.URI
	}
	// "Comparison of the userinfo of SIP and SIPS URIs is case-sensitive. [...] Comparison of all other components of the URI is
	// case-insensitive unless explicitly defined otherwise." RFC 3261 section 19.1.4
	t := append(x.text.text[:0], u.User.In(x.b)...)
	t = append(t, '@')
	host := len(t)
	t = append(t, u.Host.In(x.b)...)
	for i, c := range t[host:] {
		if c-'A' <= 'Z'-'A' {
			t[host+i] = c | 0x20
		}
	}
	if u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS && u.SchemeIs != parser.SchemeTel {
		t = append(t, u.Whole.In(x.b)...)
	}
	x.text.text = t
	return gateway.Key(t)
}
