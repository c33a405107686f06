package router

import (
	"time"

	"sipedge/parser"
	"sipedge/router/resolve"
	"sipedge/transport"
	"sipedge/txn"
)

// Resolver is how the names of next hops are found: the methods of a resolve.Resolver. Without Lookup there is none.
type Resolver struct {
	Lookup func(q *resolve.Query, dst []transport.Hop, now transport.Instant) ([]transport.Hop, resolve.Status)
	Start  func(q resolve.Query, done func()) bool
	Block  func(hop *transport.Hop, until transport.Instant)
}

// finder is what a Worker needs to find a next hop.
type finder struct {
	uri   parser.URI
	route parser.Address
	query resolve.Query
	hops  [resolve.MaxHops]transport.Hop

	contacts [maxContacts]redirected // recursion.go

	// What a Miss means for a name that was asked for: too late for all of them, or for the one whose look-up has ended.
	late  bool
	ended uint16
}

// find determines the next hop of the target at place i of w.targets, RFC 3261 section 16.6 step 7. Further addresses of the
// same name become its first alternatives: "the proxy MUST attempt to deliver the message to the first tuple in that set, and
// proceed through the set in order until the delivery attempt succeeds." found is false when the name has to be looked up, which
// has been begun: w.resolved goes on for c then. For a stateless request, c is nil, and the caller says what becomes of it.
func (w *Worker) find(c *txn.ResponseContext, m *parser.Message, b []byte, i int) (found bool, f fault) {
	t := &w.targets.list[i]
	if t.hasHop || w.routing.flow.Proto != 0 && t.nextLen == 0 {
		return true, fault{}
	}
	named, f := w.ask(m, b, t)
	if !named || f.status != 0 {
		return true, f
	}
	x := &w.finder
	if c == nil {
		// "The stateless proxy MUST define a deterministic order to the records" RFC 3263 section 4.4
		x.query.Hash = w.keys.LoopHash(m, b, nil) | 1
	}
	switch status, f := w.lookUp(i); {
	case status != resolve.Miss:
		return true, f
	case c == nil:
		return false, f
	case t.asked && !x.late && x.ended != x.number():
		return false, f
	case t.asked:
		return true, fault{statusServerTimeout, causeUnknown}
	}
	w.wait(c)
	t.asked = true
	answer := &Answer{Loop: w.id, Ref: c.Ref(), Decision: c.Decision, Verdict: Resolved, Status: int(x.number())}
	if core := w.core; !w.cfg.Resolver.Start(x.query, func() { core.Answer(answer) }) {
		if w.targets.first(waiting) < 0 {
			w.waitOver(c)
		}
		return true, fault{statusUnavailable, causeBusy}
	}
	return false, fault{}
}

// ask makes of the URI that t goes by a query, in w.finder. named is false when no name is to be looked up: then t has its hop,
// or forward finds it, or finds fault with it.
func (w *Worker) ask(m *parser.Message, b []byte, t *target) (named bool, f fault) {
	r, x := &w.routing, &w.finder
	request, requestBytes := &r.uri, b
	if t.len > 0 {
		request, requestBytes = &x.uri, w.targets.uri(t)
		if parser.ParseURI(requestBytes, whole(requestBytes), request).Code != 0 {
			return false, f // forward will say so
		}
	}
	secure := request.SchemeIs == parser.SchemeSIPS
	u, bytes := request, requestBytes
	switch {
	case t.nextLen > 0:
		u, bytes = &x.uri, w.targets.next(t)
		if parser.ParseURI(bytes, whole(bytes), u).Code != 0 {
			return false, fault{status: statusServerError}
		}
	case r.left() > 0:
		if parser.ParseAddress(b, r.values[r.first].span, &x.route).Code != 0 {
			return false, f
		}
		u, bytes = &x.route.URI, b
	}
	if u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS {
		return false, f
	}
	host := u.Host
	if !u.Maddr.Empty() {
		host = u.Maddr
	}
	if _, literal := parseIP(host.In(bytes)); literal || w.cfg.Resolver.Lookup == nil {
		if t.nextLen > 0 {
			if t.hop, f = hopOf(bytes, u, secure); f.status == 0 {
				t.hasHop = true
			}
		}
		return false, f
	}
	q := &x.query
	*q = resolve.Query{Host: host.In(bytes), Port: u.Port, Sips: secure || u.SchemeIs == parser.SchemeSIPS, Reach: w.core.reach}
	if !u.Transport.Empty() {
		if q.Transport = protocolOf(bytes, u, q.Sips); q.Transport == 0 {
			return false, fault{statusUnavailable, causeTransport}
		}
	}
	return true, fault{}
}

// reachOf is what we can send by because of l. A stream needs a listener of its kind as well, whose address our Via shows.
func reachOf(l *Listener) resolve.Reach {
	proto := l.Proto
	if proto == 0 {
		proto = transport.UDP
	}
	return resolve.Over(proto, !l.Addr.Addr().Unmap().Is4())
}

// lookUp looks into the cache for the query in w.finder, and makes the hops found the target at i and its first alternatives.
//
// Where there is no next hop, "the request cannot be forwarded to this element": for DNS that says so as if it could not be sent
// (section 16.9: 503, which alone becomes a 500), for DNS that does not say as for any "external server" in time (section 21.5.5: 504).
func (w *Worker) lookUp(i int) (status resolve.Status, f fault) {
	s, x := &w.targets, &w.finder
	hops, status := w.cfg.Resolver.Lookup(&x.query, x.hops[:0], w.now)
	switch status {
	case resolve.Miss:
		return status, f
	case resolve.Negative:
		return status, fault{statusServerError, causeUnknown}
	case resolve.Failed:
		return status, fault{statusServerTimeout, causeUnknown}
	case resolve.Unsupported:
		return status, fault{statusUnavailable, causeTransport}
	}
	if len(hops) == 0 {
		return status, fault{statusServerError, causeUnknown}
	}
	t := &s.list[i]
	t.hasHop, t.resolved, t.hop = true, true, hops[0]
	for k := 1; k < len(hops); k++ {
		other := *t
		other.kind, other.state, other.hop = address, follows, hops[k]
		if !s.insert(i+k, other) {
			break
		}
	}
	return status, f
}

// number tells the look-ups of one request apart; that two have the same is of no harm.
func (x *finder) number() uint16 {
	n := uint32(x.query.Port) + uint32(x.query.Transport)<<3 + 1
	for _, c := range x.query.Host {
		n = n*31 + uint32(c|0x20)
	}
	return uint16(n>>16 ^ n)
}

// wait notes that a target of c waits for a name.
func (w *Worker) wait(c *txn.ResponseContext) {
	if c.Flags&flagResolving == 0 {
		w.n.Suspended++
		c.Flags |= flagResolving
		c.Decision++
	}
	c.Wait = w.now.Add(w.cfg.DecisionTimeout)
}

// waitOver ends wait: answers from now on are late.
func (w *Worker) waitOver(c *txn.ResponseContext) {
	if c.Flags&flagResolving != 0 {
		c.Flags &^= flagResolving
		c.Wait = 0
		c.Decision++
	}
}

// resolved goes on with the targets whose names are known now, after the look-up with that number has ended.
func (w *Worker) resolved(c *txn.ResponseContext, decision uint32, number uint16) {
	if c.Flags&flagResolving == 0 || c.Decision != decision {
		w.n.LateAnswers++
		return
	}
	w.finder.late, w.finder.ended = false, number
	w.goOn(c)
}

// unresolved goes on without the names that could not be looked up in time.
func (w *Worker) unresolved(c *txn.ResponseContext) {
	w.waitOver(c)
	w.finder.late = true
	w.goOn(c)
	w.finder.late = false
}

// goOn tries once more what waits, and answers the request when nothing is left of it.
func (w *Worker) goOn(c *txn.ResponseContext) {
	m, b, ok := w.again(c)
	if !ok {
		w.dropTargets(c)
		return
	}
	s := &w.targets
	f := fault{status: statusServerError}
	for i := 0; i < s.n; {
		if s.list[i].state != waiting {
			i++
			continue
		}
		switch done, g := w.try(c, &c.Upstream, sourceOf(c), m, b, i, s.list[i].breadth); done {
		case waits:
			i++
		case exhausted:
			f = g
		}
	}
	w.finder.ended = 0
	w.keepTargets(c)
	if s.first(waiting) >= 0 {
		return
	}
	w.waitOver(c)
	if c.Pending == 0 && c.Targets.Len > 0 {
		w.nextGroup(c)
	}
	if c.Pending > 0 || c.Flags&flagResolving != 0 {
		return
	}
	for br := w.local.First(c); br != nil; br = w.local.Next(br) {
		if br.Status >= 300 && br.Flags&branchReplaced == 0 {
			w.sendBest(c, nil, nil, nil)
			return
		}
	}
	w.byeRefused(m, b)
	w.answer(c, f.status, f.why)
}

// block keeps further requests from where br went, if a name led there and others may be left to go to: for as long as the
// 503 in m says ("It SHOULD NOT forward any other requests to that server for the duration specified in the Retry-After header
// field, if present", RFC 3261 section 21.5.4; without it a 503 counts as a 500), or, where there was no response, for
// blockedFor.
func (w *Worker) block(br *txn.ClientTransaction, m *parser.Message, b []byte) {
	if br.Flags&branchResolved == 0 || w.cfg.Resolver.Block == nil {
		return
	}
	d := blockedFor
	if m != nil {
		if d = retryAfterOf(m, b); d == 0 {
			return
		}
	}
	hop := &w.finder.hops[0]
	*hop = transport.HopOf(&br.Flow)
	w.cfg.Resolver.Block(hop, w.now.Add(d))
}

// retryAfterOf is the time that a Retry-After asks for, at most maxBlocked; 0 for none.
func retryAfterOf(m *parser.Message, b []byte) time.Duration {
	if !m.Has(parser.HeaderRetryAfter) {
		return 0
	}
	value := m.HeaderAt(m.First(parser.HeaderRetryAfter)).Value.In(b)
	n := 0
	for n < len(value) && value[n] >= '0' && value[n] <= '9' {
		n++
	}
	seconds, ok := parser.ParseUint(value[:n], uint64(maxBlocked/time.Second))
	if n > 0 && !ok {
		return maxBlocked
	}
	return time.Duration(seconds) * time.Second
}

// refused tells why the only target in w.targets cannot be reached, as far as that is known at once.
func (w *Worker) refused(m *parser.Message, b []byte, from *transport.Flow) fault {
	t := &w.targets.list[0]
	if !t.hasHop && (w.routing.flow.Proto == 0 || t.nextLen > 0) {
		if named, f := w.ask(m, b, t); f.status != 0 {
			return f
		} else if named {
			_, f := w.lookUp(0) // what DNS finds is of those that we can send to
			return f
		}
	}
	return w.unreachable(t, b, from)
}
