package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// Facts about a branch, in txn.ClientTransaction.Flags.
const (
	branchCancel   txn.BranchFlags = 1 << iota // to be cancelled as soon as a provisional response allows
	branchACK                                  // Edits holds the ACK of its final response, no longer the edits
	branchHeard                                // there was a response, be it a 100
	branchReplaced                             // an alternative was tried in its place: its failure does not count
	branchResolved                             // its next hop was found by name
	branchCounted                              // Dialog is an entry that this branch has begun and not confirmed
)

// response takes in a response. Its topmost Via must be ours (RFC 3261 section 18.1.2), which the keyed
// code in the branch proves; the branch then says which context it belongs to.
func (w *Worker) response(from *transport.Flow, m *parser.Message, b []byte) {
	if !relayable(m) || !m.Via.Cookie {
		w.n.Malformed++
		return
	}
	id, kind, ok := w.keys.ReadBranch(m.Via.Branch.In(b))
	if kind == txn.BranchStateless || kind == txn.BranchStatelessOld {
		w.relayResponse(from, m, b)
		return
	}
	if !ok {
		w.n.Stray++
		return
	}
	c, outcome := w.local.Claim(id.Ref)
	if outcome == txn.Busy {
		outcome = w.local.Post(c, &txn.Event{
			Kind: txn.EventResponse, From: *from, Data: b[:m.Len], Branch: id.Index,
			Droppable: m.Status < 200,
		})
		if outcome == txn.Busy {
			return
		}
	}
	if outcome != txn.Claimed {
		// RFC 6026 section 8.9: a response that matches no client transaction is not forwarded.
		w.n.Stray++
		return
	}
	w.claimed = c
	w.branchResponse(c, id.Index, from, m, b)
	w.settle(c)
}

// relayable tells whether a response can be passed on. What we do not read in it may be malformed, as in a
// request; otherwise "the response MUST be discarded" (RFC 3261 section 18.3 for its length, RFC 4475 section
// 3.1.2.5 for its CSeq).
func relayable(m *parser.Message) bool {
	switch m.Err.Code {
	case parser.ErrNone, parser.ErrContact, parser.ErrRoute, parser.ErrMaxForwards:
		return true
	}
	return false
}

// branchResponse is RFC 3261 section 16.7 for a response on branch index of c. The steps are numbered as there.
func (w *Worker) branchResponse(c *txn.ResponseContext, index uint8, from *transport.Flow, m *parser.Message, b []byte) {
	// 1. Find the response context: done, c; and its client transaction:
	br := w.local.Branch(c, index)
	if br == nil {
		w.n.Stray++
		return
	}
	if m.CSeq.Method == parser.MethodCancel && parser.Method(c.Method) == parser.MethodInvite {
		br.Cancel.Step(received(m.Status), w.now, w.timers)
		return
	}
	if m.CSeq.Method != parser.Method(c.Method) {
		w.n.Stray++ // "the method parameter in the CSeq header field matches": RFC 3261 section 17.1.3
		return
	}
	if c.Flags&flagOwn == 0 && m.Via.LastValue && m.Lines(parser.HeaderVia) == 1 {
		// Before the machine takes it for the branch's answer: "If no Via header field values remain in the response, the
		// response was meant for this element and MUST NOT be forwarded." RFC 3261 section 16.7 step 3
		w.n.Stray++
		return
	}
	givenUp := br.Status != 0 && open(br)
	act := br.Main.Step(received(m.Status), w.now, w.timers)
	if act&txn.SendACK != 0 {
		w.acknowledge(c, br, m, b)
	}
	if act&txn.Inform == 0 {
		return
	}
	if m.Status < 200 {
		w.provisional(c, br, m, b)
		return
	}
	br.TimerC = 0
	first := br.Status == 0
	if first {
		br.Status = m.Status
		c.Pending--
		c.Breadth += br.Breadth
		br.Cancel = txn.Machine{} // what it should have ended has ended
		w.report(c, br, Answered, m.Status)
		if m.Status == statusUnavailable {
			w.block(br, m, b)
		}
	}
	if first || givenUp {
		w.dialogAnswered(c, br, from, m, b)
	}
	if c.Flags&flagOwn != 0 {
		w.ownEnded(c, br, m.Status)
		return
	}
	if givenUp {
		w.late(c, br, m, b)
		return
	}
	if m.Status < 300 {
		w.success(c, br, m, b)
	} else if first {
		w.failure(c, br, m, b)
	}
}

// received is the input that a response of this status is to a client transaction.
func received(status uint16) txn.Input {
	switch {
	case status < 200:
		return txn.Recv1xx
	case status < 300:
		return txn.Recv2xx
	}
	return txn.Recv3to6xx
}

// provisional is what a 1xx brings.
func (w *Worker) provisional(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte) {
	invite := c.Server.Kind == txn.InviteServer
	if br.Flags&branchHeard == 0 {
		w.heard(c, br)
	}
	if invite && br.Flags&branchCancel != 0 && br.Cancel.State == txn.None {
		w.sendCancel(c, br) // it had to wait for this response (RFC 3261 section 9.1)
	}
	// 5. "Any provisional response other than 100 (Trying)" is forwarded immediately; but RFC 4320 section 4.1: "An SIP
	// element MUST NOT send any provisional response with a Status-Code other than 100 to a non-INVITE
	// request."
	if !invite || m.Status == statusTrying {
		return
	}
	// 2. "For an INVITE transaction, if the response is a provisional response with status codes 101 to 199
	// inclusive (i.e., anything but 100), the proxy MUST reset timer C for that client transaction."
	if br.Cancel.State == txn.None {
		br.TimerC = w.now.Add(w.timers.C)
	}
	if c.Server.Step(txn.Send1xx, w.now, w.timers)&txn.Send == 0 {
		return // a final response has been sent already
	}
	out, ok := w.upstream(c, br, m, b, 0)
	if !ok {
		return
	}
	c.Flags &^= flagTrying
	c.Status = m.Status
	w.keepResponse(c, out)
	w.send(&c.Upstream, out)
}

// success is what a 2xx brings: it is forwarded at once, even behind another final response: "After
// a final response has been sent on the server transaction, the following responses MUST be forwarded
// immediately: - Any 2xx response to an INVITE request" RFC 3261 section 16.7 step 5.
func (w *Worker) success(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte) {
	invite := c.Server.Kind == txn.InviteServer
	act := c.Server.Step(txn.Send2xx, w.now, w.timers)
	if act&txn.Send == 0 && !invite {
		return
	}
	out, ok := w.upstream(c, br, m, b, 0)
	if ok {
		c.Status = m.Status
		c.Flags &^= flagTrying
		if !invite {
			w.keepResponse(c, out)
		}
		w.send(&c.Upstream, out)
	}
	w.dropTargets(c)
	w.final(c)
	// 10. Generate CANCELs
	w.cancelPending(c)
	w.release(c)
}

// final notes that a final response went upstream.
func (w *Worker) final(c *txn.ResponseContext) {
	c.Wait = 0
	c.Flags &^= flagSuspended
	w.countAnswered(c)
}

// release gives back the bytes that nothing needs any more once no branch is pending: the received
// request is kept for retransmissions, CANCELs and further branches, and an INVITE's last response
// until a 2xx has replaced it, which the UAS retransmits by itself.
func (w *Worker) release(c *txn.ResponseContext) {
	if c.Pending > 0 || c.Targets.Len > 0 {
		return
	}
	cancelling := false // something may still have to be made from the request
	for br := w.local.First(c); br != nil; br = w.local.Next(br) {
		if br.Cancel.State == txn.Trying || br.Cancel.State == txn.Proceeding {
			cancelling = true
			continue
		}
		if br.Main.Kind == txn.InviteClient && br.Main.State == txn.Completed && br.Flags&branchACK == 0 {
			cancelling = true // there was no room for its ACK, which copies of the response ask for again
			continue
		}
		if br.Main.Kind == txn.InviteClient && open(br) {
			cancelling = true // given up, see giveUp: what still comes may ask for a CANCEL or an ACK
			continue
		}
		if br.Flags&branchACK == 0 {
			w.local.Drop(&br.Edits)
		}
		w.local.Drop(&br.Response)
	}
	if !cancelling {
		w.local.Drop(&c.Request)
	}
	if c.Server.State == txn.Accepted {
		w.local.Drop(&c.Response)
	}
}

// upstream renders m as it goes upstream: without our Via (step 3), and with the status given where
// it is not 0. br is the branch it came on. ok is false when it was meant for us and must not be forwarded.
func (w *Worker) upstream(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte, status int) (out []byte, ok bool) {
	w.edits.Reset()
	if !w.cutTopVia(m, b) {
		w.n.Stray++
		return nil, false
	}
	if status != 0 {
		w.restate(m, b, status)
	}
	if c.Branches > 1 && (m.Status == 401 || m.Status == 407) {
		w.aggregate(c, br, m)
	}
	w.addLength(m, c.Upstream.Proto)
	w.n.ResponsesOut++
	return w.edits.AppendTo(w.loop.Buffer(), b, int(m.Len)), true
}

// keepResponse keeps a rendered response for retransmission upstream. When there is no room for it, a
// retransmitted request gets no answer from us and the downstream side's own retransmission serves.
func (w *Worker) keepResponse(c *txn.ResponseContext, out []byte) {
	w.local.Drop(&c.Response)
	var ok bool
	if c.Response, ok = w.local.Keep(out); !ok {
		w.n.StoreFull++
	}
}
