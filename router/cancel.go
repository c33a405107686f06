package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// cancelled is RFC 3261 section 16.10 for a CANCEL that matched c: "If a matching response context is
// found, the element MUST immediately return a 200 (OK) response to the CANCEL request. [...] Furthermore,
// the element MUST generate CANCEL requests for all pending client transactions in the context".
//
// The CANCEL's own server transaction needs no state: every copy of it is answered alike.
func (w *Worker) cancelled(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte) {
	w.reject(from, m, b, fault{status: statusOK})
	if c.Server.Kind != txn.InviteServer || c.Status >= 200 || c.Flags&flagCancelled != 0 {
		// "If it has [sent a final response], the CANCEL request has no effect" RFC 3261 section 9.2, which also
		// allows a CANCEL of a non-INVITE to be without effect.
		return
	}
	c.Flags |= flagCancelled
	w.dropTargets(c)
	if c.Flags&flagSuspended != 0 || c.Pending == 0 {
		// Nothing was sent on, so there is nobody else to say it.
		w.answer(c, statusRequestTerminated, noCause)
		return
	}
	w.cancelPending(c)
}

// cancelPending is RFC 3261 section 16.7 step 10.
func (w *Worker) cancelPending(c *txn.ResponseContext) {
	if c.Pending == 0 || c.Server.Kind != txn.InviteServer {
		return
	}
	for br := w.local.First(c); br != nil; br = w.local.Next(br) {
		if br.Status != 0 || br.Cancel.State != txn.None {
			continue
		}
		br.Flags |= branchCancel
		// "If no provisional response has been received, the CANCEL request MUST NOT be sent; rather, the client
		// MUST wait for the arrival of a provisional response before sending the request." RFC 3261 section 9.1
		if br.Main.State == txn.Proceeding {
			w.sendCancel(c, br)
		}
	}
}

// sendCancel starts the client transaction of the branch's CANCEL.
func (w *Worker) sendCancel(c *txn.ResponseContext, br *txn.ClientTransaction) {
	br.Cancel.Start(txn.NonInviteClient, br.Flow.Proto.Reliable(), w.now, w.timers)
	// From now on the INVITE's own machine bounds the wait for its final response (RFC 3261 section 9.1).
	br.Main.Step(txn.Cancelled, w.now, w.timers)
	br.TimerC = 0
	w.transmitCancel(c, br)
}

// transmitCancel sends the CANCEL of a branch, for the first time or again.
func (w *Worker) transmitCancel(c *txn.ResponseContext, br *txn.ClientTransaction) {
	if !w.sentRequest(c, br) {
		return
	}
	m, b := &w.other, w.scratch
	w.n.RequestsOut++
	w.send(&br.Flow, appendHopByHop(w.loop.Buffer(), parser.MethodCancel, m, b, m.LineSpan(m.First(parser.HeaderTo)).In(b)))
}

// acknowledge sends the ACK of a non-2xx final response: RFC 3261 section 17.1.1.3. It is kept in place
// of what it was made from, since every retransmission of the response asks for it again.
func (w *Worker) acknowledge(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte) {
	w.n.RequestsOut++
	if br.Flags&branchACK != 0 {
		w.send(&br.Flow, append(w.loop.Buffer(), w.local.Bytes(br.Edits)...))
		return
	}
	if !w.sentRequest(c, br) {
		return
	}
	// "The To header field in the ACK MUST equal the To header field in the response being acknowledged"
	to := m.LineSpan(m.First(parser.HeaderTo)).In(b)
	out := appendHopByHop(w.loop.Buffer(), parser.MethodAck, &w.other, w.scratch, to)
	if ack, ok := w.local.Keep(out); ok {
		w.local.Drop(&br.Edits)
		br.Edits = ack
		br.Flags |= branchACK
	}
	w.send(&br.Flow, out)
}

// sentRequest renders the request that was sent on br once more, into w.scratch, and takes it apart in
// w.other.
func (w *Worker) sentRequest(c *txn.ResponseContext, br *txn.ClientTransaction) bool {
	if c.Request.Len == 0 || br.Edits.Len == 0 || br.Flags&branchACK != 0 {
		return false
	}
	w.scratch = parser.AppendEdited(w.scratch[:0], w.local.Bytes(c.Request), int(c.Request.Len), w.local.Bytes(br.Edits))
	return parser.Parse(w.scratch, &w.other).Code.Class() != parser.ClassUnreadable
}

// appendHopByHop appends an ACK or CANCEL for the request m that we sent, from these rules of RFC 3261
// sections 9.1 and 17.1.1.3, which are the same for both but for the To line: "The Request-URI, Call-ID, To,
// the numeric part of CSeq, and From header fields in the CANCEL request MUST be identical to those in the
// request being cancelled, including tags. A CANCEL constructed by a client MUST have only a single Via header
// field value matching the top Via value in the request being cancelled. [...] the method part of the CSeq
// header field MUST have a value of CANCEL. [...] If the request being cancelled contains a Route header
// field, the CANCEL request MUST include that Route header field's values."
func appendHopByHop(dst []byte, method parser.Method, m *parser.Message, b, to []byte) []byte {
	name := method.String()
	dst = append(dst, name...)
	dst = append(dst, ' ')
	dst = append(dst, m.RequestURI.In(b)...)
	dst = append(dst, " SIP/2.0\r\nVia: "...)
	dst = append(dst, m.Via.Value.In(b)...)
	dst = append(dst, "\r\n"...)
	for i := range m.HeaderCount() {
		switch m.HeaderAt(i).ID {
		case parser.HeaderRoute, parser.HeaderFrom, parser.HeaderCallID:
			dst = append(dst, m.LineSpan(i).In(b)...)
		}
	}
	dst = append(dst, to...)
	dst = append(dst, "CSeq: "...)
	dst = append(dst, m.CSeq.NumberSpan.In(b)...)
	dst = append(dst, ' ')
	dst = append(dst, name...)
	return append(dst, "\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"...)
}
