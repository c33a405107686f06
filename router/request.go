package router

import (
	"sipedge/parser"
	"sipedge/router/overload"
	"sipedge/transport"
	"sipedge/txn"
)

// Facts about a ResponseContext, in txn.ResponseContext.Flags.
const (
	flagAnswered  txn.Flags = 1 << iota // counted as having had a final response
	flagTrying                          // the last response was our own 100
	flagCancelled                       // upstream has cancelled the request (RFC 3261 section 16.10)
	flagSuspended                       // a decision is awaited
	flagPatched                         // Request has what patchVia adds already
	flagResolving                       // a target waits for the name of its next hop
	flagOwn                             // there is no request from upstream: own_request.go
)

// request takes in a request that could be read.
func (w *Worker) request(from *transport.Flow, m *parser.Message, b []byte) {
	if w.unwanted(from, m, b) {
		return
	}
	// "Any other components, well-formed or not, SHOULD be ignored and remain unchanged when the message is
	// forwarded." RFC 3261 section 16.3 step 1. A proxy has no use for Contact.
	if m.Err.Code != 0 && m.Err.Code != parser.ErrContact {
		w.malformed(from, m, b)
		return
	}
	if w.cfg.Mode == Stateless {
		w.relay(from, m, b)
		return
	}
	key := w.keys.ServerKey(m, b)
	var c *txn.ResponseContext
	var outcome txn.Outcome
	switch m.Method {
	case parser.MethodAck, parser.MethodCancel:
		// Both belong to an INVITE's transaction (RFC 3261 sections 17.2.3 and 9.2) and never make one.
		c, outcome = w.local.Match(key)
		if outcome == txn.Gone {
			if key, ok := w.keys.InDialogAckKey(m, b); ok {
				c, outcome = w.local.Match(key)
			}
		}
	default:
		if f := w.validate(m, b, from); f.status != 0 {
			w.reject(from, m, b, f)
			return
		}
		c, outcome = w.local.MatchOrCreate(key)
	}
	if outcome == txn.Busy {
		outcome = w.local.Post(c, &txn.Event{
			Kind: txn.EventRequest, From: *from, Data: b[:m.Len],
			Droppable: m.Method != parser.MethodCancel,
		})
		if outcome != txn.Claimed {
			return // queued; or not, and then the sender's next copy finds its way
		}
	}
	switch outcome {
	case txn.Created:
		w.claimed = c
		w.begin(c, from, m, b)
		w.settle(c)
	case txn.Claimed:
		w.claimed = c
		w.requestAgain(c, from, m, b)
		w.settle(c)
	case txn.Gone:
		// An ACK of a 2xx is a transaction of its own that nobody answers (RFC 3261 section 17.1.1.3), so
		// there is nothing to keep. "If a response context is not found, the element does not have any knowledge of
		// the request to apply the CANCEL to. It MUST statelessly forward the CANCEL request" section 16.10.
		if w.overRate(from, m, b) == overload.Pass {
			w.relay(from, m, b)
		}
	case txn.Full:
		w.n.StoreFull++
		if m.Method != parser.MethodAck {
			w.reject(from, m, b, fault{statusUnavailable, causeBusy})
		}
	}
}

// requestAgain is for a request that matched a context: a retransmission, an ACK or a CANCEL.
func (w *Worker) requestAgain(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte) {
	switch m.Method {
	case parser.MethodAck:
		if c.Server.State == txn.Accepted {
			// The ACK of a 2xx from a client that gave it the INVITE's branch (RFC 2543): it is for the UAS.
			w.relay(from, m, b)
			return
		}
		c.Server.Step(txn.RecvACK, w.now, w.timers)
		if c.Server.State == txn.Confirmed {
			w.local.Drop(&c.Response)
		}
	case parser.MethodCancel:
		w.cancelled(c, from, m, b)
	default:
		w.n.Absorbed++
		if c.Server.Step(txn.RecvRequest, w.now, w.timers)&txn.Resend != 0 {
			w.resend(c)
		}
	}
}

// resend sends the last response upstream once more.
func (w *Worker) resend(c *txn.ResponseContext) {
	buf := w.loop.Buffer()
	switch {
	case c.Response.Len > 0:
		buf = append(buf, w.local.Bytes(c.Response)...)
	case c.Flags&flagTrying != 0 && c.Request.Len > 0:
		b := w.local.Bytes(c.Request)
		parser.Parse(b, &w.kept)
		buf = w.appendResponse(buf, &w.kept, b, sourceOf(c), statusTrying, noCause)
	default:
		return
	}
	w.n.Resent++
	w.n.ResponsesOut++
	w.send(&c.Upstream, buf)
}

// begin is the way of a new request into its context.
func (w *Worker) begin(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte) {
	w.n.Begun++
	kind := txn.NonInviteServer
	if m.Method == parser.MethodInvite {
		kind = txn.InviteServer
	}
	c.Method = uint8(m.Method)
	c.Server.Start(kind, from.Proto.Reliable(), w.now, w.timers)
	c.Upstream = w.upstreamFlow(from, m, b)

	f := w.preprocess(m, b, from)
	if f.status == 0 && !w.routing.inDialog && w.core.draining.Load() {
		f = fault{statusUnavailable, causeBusy}
	}
	if f.status == 0 {
		var waits bool
		if f, waits = w.decide(c, from, m, b); waits {
			return
		}
	}
	if f.status == 0 {
		found := false
		if w.aside {
			if found, f = w.find(nil, m, b, 0); found && f.status == 0 {
				f = w.passOn(from, m, b)
			}
			if found && f.status == 0 {
				c.Server.State = txn.Terminated
				return
			}
			// A name that has to be looked up: the request waits for it, so it gets state after all.
		}
		if !found {
			f = w.start(c, from, m, b)
		}
	}
	switch {
	case f.status == 0:
	case c.Flags&flagTrying != 0:
		// The client has its 100 and does not send its INVITE again, so the failure must be sent again by us: timer G.
		w.answer(c, f.status, f.why)
	default:
		w.byeRefused(m, b)
		w.reject(from, m, b, f)
		c.Server.State = txn.Terminated
		c.Wait = 0
	}
}

// decide finds the targets (RFC 3261 section 16.5). waits says that the answer will come later, and
// that c is kept for it.
func (w *Worker) decide(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte) (f fault, waits bool) {
	w.targets.Reset()
	w.aside = false
	if w.cfg.Decide != nil && w.routing.flow.Proto == 0 { // a flow that a token of ours names is no matter of policy
		q := &w.query
		*q = Query{Message: m, Bytes: b, From: *from, InDialog: w.routing.inDialog, Routes: w.routing.left(), Maddr: !w.routing.uri.Maddr.Empty(), Now: w.now, Loop: w.id, Lines: w.lines}
		if c != nil {
			c.Decision++
			q.Ref, q.Decision = c.Ref(), c.Decision
		}
		verdict := w.cfg.Decide(q, &w.targets)
		if c != nil && verdict != Suspend {
			c.Peer = q.Peer
		}
		switch verdict {
		case Forward:
			if w.targets.n == 0 {
				return fault{status: statusNotFound}, false
			}
			w.aside = q.Stateless
			return f, false
		case Reject:
			w.said = said{q.Reason, q.Lines}
			f = rejection(q.Status)
			f.why = causeSaid
			return f, false
		case Suspend:
			if c == nil {
				return f, true
			}
			return w.suspend(c, from, m, b)
		}
		w.targets.Reset()
		w.targets.Rule(q.Rule, 0)
	}
	return w.place(m, b, from), false
}

// rejection is the fault for a status that a decision gave; one that is no final failure is a fault of the decision.
func rejection(status int) fault {
	if status < 300 || status > 699 {
		status = statusServerError
	}
	return fault{status: status}
}

// start sends a request to its first group of targets.
func (w *Worker) start(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte) fault {
	c.Breadth = incomingBreadth(m, b)
	if c.Breadth == 0 {
		return fault{status: statusBreadthExceeded}
	}
	if w.targets.n == 1 {
		// What cannot be reached, as far as that is known, is refused before a 100 is sent and anything is kept.
		if f := w.refused(m, b, from); f.status != 0 {
			return f
		}
	}
	source := sourceOf(c)
	if c.Request.Len == 0 {
		if !w.keepRequest(c, from, m, b) {
			return fault{statusUnavailable, causeBusy}
		}
		source = &from.Remote
		if c.Flags&flagPatched != 0 {
			// The edits of a branch, and what routing says, are offsets into the copy that is kept.
			b, m, source = w.local.Bytes(c.Request), &w.kept, nil
			parser.Parse(b, m)
			if f := w.preprocess(m, b, from); f.status != 0 {
				return f
			}
		}
	}
	// "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will generate
	// a provisional or final response within 200 ms" RFC 3261 section 17.2.1
	if c.Server.Kind == txn.InviteServer && c.Flags&flagTrying == 0 {
		w.trying(c, m, b, source)
	}
	f := w.startGroup(c, from, source, m, b)
	if c.Pending == 0 && c.Flags&flagResolving == 0 {
		return f
	}
	return fault{}
}

// keepRequest keeps the received request for as long as a branch may need it.
func (w *Worker) keepRequest(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte) (ok bool) {
	b = b[:m.Len]
	if c.Upstream.Remote.IP != from.Remote.IP || m.Via.HasRPort && c.Upstream.Remote.Port != from.Remote.Port {
		// Responses go to a maddr: c will not know the source any more, so its mark goes into the copy.
		w.edits.Reset()
		w.patchVia(m, b, &from.Remote)
		w.scratch = w.edits.AppendTo(w.scratch[:0], b, len(b))
		b = w.scratch
		c.Flags |= flagPatched
	}
	if c.Request, ok = w.local.Keep(b); !ok {
		w.n.StoreFull++
	}
	return ok
}

// sourceOf is the source of c.Request for patchVia: where responses go is the source or, without rport, its
// address with the port of sent-by, and the port is not asked for then. Nil: nothing is to be patched.
func sourceOf(c *txn.ResponseContext) *transport.Addr {
	if c.Flags&flagPatched != 0 {
		return nil
	}
	return &c.Upstream.Remote
}

// trying sends our own 100 upstream and remembers that it is what a retransmission gets.
func (w *Worker) trying(c *txn.ResponseContext, m *parser.Message, b []byte, source *transport.Addr) {
	if c.Server.Step(txn.Send1xx, w.now, w.timers)&txn.Send != 0 {
		w.transmitTrying(c, m, b, source)
	}
}

// transmitTrying sends a 100. It is not kept: it can be made from the request again.
func (w *Worker) transmitTrying(c *txn.ResponseContext, m *parser.Message, b []byte, source *transport.Addr) {
	c.Flags |= flagTrying
	w.n.ResponsesOut++
	w.send(&c.Upstream, w.appendResponse(w.loop.Buffer(), m, b, source, statusTrying, noCause))
}

// branchOut makes a branch to t and sends the request on it: RFC 3261 section 16.6 steps 1, 10 and 11.
func (w *Worker) branchOut(c *txn.ResponseContext, from *transport.Flow, source *transport.Addr, m *parser.Message, b []byte, t *target, breadth uint8) fault {
	if f := w.beginDialog(c, from, m, b, t); f.status != 0 {
		if t.gateway != 0 {
			w.unsentTo(c, t, true)
		}
		return f
	}
	f := w.sendOut(c, from, source, m, b, t, breadth)
	if f.status != 0 {
		if w.counted {
			w.cfg.Dialogs.End(w.local, w.dialog)
		}
		if t.gateway != 0 {
			w.unsentTo(c, t, false)
		}
	}
	return f
}

func (w *Worker) sendOut(c *txn.ResponseContext, from *transport.Flow, source *transport.Addr, m *parser.Message, b []byte, t *target, breadth uint8) fault {
	w.branch = txn.BranchID{Ref: c.Ref(), Index: c.Branches, Loop: w.loopHash(m, b, from)}
	to, f := w.forward(m, b, t, from, source, breadth)
	if f.status != 0 {
		return f
	}
	br := w.local.AddBranch(c)
	if br == nil {
		w.n.StoreFull++
		return fault{statusUnavailable, causeBusy}
	}
	w.scratch = w.edits.Marshal(w.scratch[:0])
	var ok bool
	if br.Edits, ok = w.local.Keep(w.scratch); !ok || w.edits.Err() {
		w.n.StoreFull++
		w.local.DropBranch(c, br)
		return fault{statusUnavailable, causeBusy}
	}
	br.Flow = to
	br.Flags = w.forwarded
	br.Breadth = breadth
	br.Rule, br.Gateway = uint16(t.rule), t.gateway
	br.Dialog = w.dialog
	if w.counted {
		br.Flags |= branchCounted
	}
	if t.resolved {
		br.Flags |= branchResolved
	}
	kind := txn.NonInviteClient
	if c.Server.Kind == txn.InviteServer {
		kind = txn.InviteClient
		// "In order to handle the case where an INVITE request never generates a final response, the TU uses
		// a timer which is called timer C. Timer C MUST be set for each client transaction when an INVITE
		// request is proxied." Step 11.
		br.TimerC = w.now.Add(w.timers.C)
	}
	if r := w.core.rules.at(t.rule); r.timeout != 0 {
		br.TimerC = w.now.Add(r.timeout) // until the first response it bounds the silence, see heard
	}
	w.n.RequestsOut++
	if !w.send(&to, w.edits.AppendTo(w.loop.Buffer(), b, int(m.Len))) {
		w.local.DropBranch(c, br)
		if w.leaveFlow() {
			return w.sendOut(c, from, source, m, b, t, breadth)
		}
		return w.unsent()
	}
	br.Main.Start(kind, to.Proto.Reliable(), w.now, w.timers)
	c.Pending++
	c.Breadth -= breadth
	w.report(c, br, Started, 0)
	return fault{}
}
