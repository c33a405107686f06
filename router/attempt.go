package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// Targets are tried group by group (RFC 3261 section 16.6), and in the place of each target that fails over its
// alternatives, one by one. What has not been tried is in ResponseContext.Targets: the groups to come, the alternatives that
// open branches have left, and what waits for a name to be looked up.

// startGroup forwards to the first group of w.targets that has not begun, and to those after it as long as no member of a
// group can be tried, and keeps the rest of the set for later. The fault is that of the last target that could not be tried.
func (w *Worker) startGroup(c *txn.ResponseContext, from *transport.Flow, source *transport.Addr, m *parser.Message, b []byte) (f fault) {
	s := &w.targets
	for started := false; !started; {
		i := s.first(later)
		if i < 0 {
			break
		}
		group, members := s.list[i].group, 0
		for j := i; j < s.n && s.list[j].group == group; j++ {
			if s.list[j].state == later {
				members++
			}
		}
		// "SIP proxies MUST NOT allow the Outgoing Max-Breadth to exceed the Incoming Max-Breadth in a given
		// response context." RFC 5393 section 5.3.3. What does not fit into the group now is tried after it.
		breadth := int(c.Breadth)
		members = min(members, max(breadth, 1))
		share, rest := breadth/members, breadth%members
		for range members {
			breadth := share
			if rest > 0 {
				breadth, rest = breadth+1, rest-1
			}
			done, g := w.try(c, from, source, m, b, s.first(later), uint8(breadth))
			if done == exhausted {
				f = g
			} else {
				started = true
			}
		}
	}
	w.keepTargets(c)
	return f
}

// try sends the request to the target at place i of w.targets or, where that is not possible, to the first of its
// alternatives that can be sent to. It takes what was tried out of the set; what is left of the chain waits for the branch to
// fail over. f says why nothing could be tried when all of the chain is exhausted.
func (w *Worker) try(c *txn.ResponseContext, from *transport.Flow, source *transport.Addr, m *parser.Message, b []byte, i int, breadth uint8) (done attempted, f fault) {
	s := &w.targets
	for more := true; more; more = s.drop(i) {
		found, g := w.find(c, m, b, i)
		if f = g; f.status != 0 {
			continue
		}
		t := &s.list[i]
		if !found {
			t.state, t.breadth = waiting, breadth
			return waits, f
		}
		if f = w.admits(c, t); f.status != 0 {
			// Its other addresses are the same gateway.
			for i+1 < s.n && s.list[i+1].state == follows && s.list[i+1].kind == address {
				s.cut(i+1, i+2)
			}
			continue
		}
		if f = w.branchOut(c, from, source, m, b, t, breadth); f.status != 0 {
			continue
		}
		w.tookOver(c, t)
		x := *t
		if s.drop(i) {
			s.list[i].state, s.list[i].of = spare, c.Branches-1
		}
		w.remember(&x)
		return begun, f
	}
	return exhausted, f
}

// attempted is what try came to.
type attempted uint8

const (
	exhausted attempted = iota // there is nothing left of the chain
	begun                      // a request was sent
	waits                      // for a name to be looked up
)

// tookOver ends the part of the branch in whose place t is tried: it does not count any more for the best response. A failure
// in front of a Contact that is tried next does.
func (w *Worker) tookOver(c *txn.ResponseContext, t *target) {
	if t.of == noBranch {
		return
	}
	br := w.local.Branch(c, t.of)
	switch {
	case br == nil:
	case t.kind != contact:
		br.Flags |= branchReplaced
		w.local.Drop(&br.Response)
	case br.Status/100 == 3 && br.Response.Len > 0: // it waited for a name, see recurse
		b := w.local.Bytes(br.Response)
		parser.Parse(b, &w.other)
		w.followed(br, &w.other, b)
	}
}

// keepTargets keeps what is left of w.targets. Without room for it nothing more is tried.
func (w *Worker) keepTargets(c *txn.ResponseContext) {
	w.local.Drop(&c.Targets)
	if w.targets.n > 0 {
		w.scratch = w.targets.marshal(w.scratch[:0])
		var ok bool
		if c.Targets, ok = w.local.Keep(w.scratch); !ok {
			w.n.StoreFull++
		}
	}
}

// dropTargets gives up everything that has not been tried.
func (w *Worker) dropTargets(c *txn.ResponseContext) {
	w.local.Drop(&c.Targets)
	w.waitOver(c)
}

// again makes ready for another branch of c: the request is in w.kept and w.routing, what is left of the targets in
// w.targets.
func (w *Worker) again(c *txn.ResponseContext) (m *parser.Message, b []byte, ok bool) {
	if c.Request.Len == 0 {
		return nil, nil, false
	}
	m, b = &w.kept, w.local.Bytes(c.Request)
	parser.Parse(b, m)
	w.targets.unmarshal(w.local.Bytes(c.Targets))
	if w.preprocess(m, b, &c.Upstream).status != 0 {
		return nil, nil, false
	}
	return m, b, true
}

// nextGroup tries the next group of targets, and those after it as long as none of a group can be reached.
func (w *Worker) nextGroup(c *txn.ResponseContext) {
	m, b, ok := w.again(c)
	if !ok {
		w.dropTargets(c)
		return
	}
	w.targets.dropState(spare) // of branches that have ended otherwise
	if w.targets.first(later) < 0 {
		w.dropTargets(c)
		return
	}
	w.startGroup(c, &c.Upstream, sourceOf(c), m, b)
}

// failOver tries an alternative in the place of br, which has failed with br.Status. response is what came for it, nil for
// a failure found here. It reports whether one is being tried; if not, the failure counts.
func (w *Worker) failOver(c *txn.ResponseContext, br *txn.ClientTransaction, response []byte) bool {
	if c.Targets.Len == 0 || c.Flags&flagCancelled != 0 {
		return false
	}
	m, b, ok := w.again(c)
	if !ok {
		return false
	}
	s := &w.targets
	i := s.spareOf(br.Index)
	if i < 0 {
		return false
	}
	why := w.failedBy(br, response != nil)
	for more := true; more; more = s.drop(i) {
		if s.list[i].kind.accepts(why) {
			done, _ := w.try(c, &c.Upstream, sourceOf(c), m, b, i, br.Breadth)
			if done != exhausted && br.Flags&branchReplaced == 0 && response != nil {
				// It still counts: until the name of what takes its place is known, or for good where contacts are tried in turn.
				br.Response, _ = w.local.Keep(response)
			}
			w.keepTargets(c)
			return done != exhausted
		}
	}
	w.keepTargets(c)
	return false
}

// failedBy says as what a branch without success counts, in bits of targetKind: who is tried then.
func (w *Worker) failedBy(br *txn.ClientTransaction, answered bool) (why uint8) {
	why = 1 << contact
	// "failure occurs if the transaction layer reports a 503 error response or a transport failure of some sort [...]. Failure also
	// occurs if the transaction layer times out without ever having received any response, provisional or final" RFC 3263
	// section 4.3
	r := w.core.rules.at(RuleID(br.Rule))
	switch {
	case answered:
		if br.Status == statusUnavailable {
			why |= 1 << address
		}
		if r.has(br.Status) {
			why |= 1<<address | 1<<alternative
		}
	case br.Status != statusRequestTimeout: // a transport error
		why |= 1<<address | 1<<alternative
	case br.Flags&branchHeard == 0:
		why |= 1 << address
		if r.silence {
			why |= 1 << alternative
		}
	}
	return why
}

func (k targetKind) accepts(why uint8) bool { return why>>k&1 != 0 }
