package router

import (
	"strconv"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// failure is what a 3xx to 6xx brings: it is added to the context, and when no branch is left that
// could do better, the best of all goes upstream (RFC 3261 section 16.7 steps 4 to 6). m and b are nil for
// a failure that we found ourselves: a timeout or a transport error.
func (w *Worker) failure(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte) {
	if c.Server.State == txn.Accepted || c.Status >= 200 {
		w.release(c) // upstream has its final response
		return
	}
	var response []byte
	if b != nil {
		response = b[:m.Len]
	}
	if br.Status >= 600 {
		// 5. "If a 6xx response is received, it is not immediately forwarded, but the stateful proxy SHOULD cancel
		// all client pending transactions as described in Section 10, and it MUST NOT create any new branches in
		// this context."
		w.dropTargets(c)
		w.cancelPending(c)
	} else if m != nil && w.recurse(c, br, m, b) || w.failOver(c, br, response) {
		return
	}
	if b != nil && (c.Branches > 1 || c.Pending > 0 || c.Targets.Len > 0) {
		// Others may be better, or have challenges to add. Without room it still counts by its status.
		br.Response, _ = w.local.Keep(response)
	}
	if c.Pending == 0 && c.Targets.Len > 0 && c.Flags&(flagCancelled|flagResolving) == 0 {
		w.nextGroup(c)
	}
	if c.Pending == 0 && c.Flags&flagResolving == 0 {
		w.sendBest(c, br, m, b)
	}
}

// sendBest chooses the best final response and sends it upstream. m and b are the response of branch
// br when it is in hand; others are in the store.
func (w *Worker) sendBest(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte) {
	var best *txn.ClientTransaction
	for x := w.local.First(c); x != nil; x = w.local.Next(x) {
		if x.Status >= 300 && x.Flags&branchReplaced == 0 && (best == nil || better(x.Status, best.Status)) {
			best = x
		}
	}
	status := statusRequestTimeout
	if best == nil && w.allTried(c) {
		status = statusTemporarily
	}
	if best != nil {
		status = int(best.Status)
	}
	switch {
	case best != nil && best.Response.Len > 0:
		b, m = w.local.Bytes(best.Response), &w.kept
		parser.Parse(b, m)
	case best != nil && best == br && b != nil:
	case c.Flags&flagCancelled != 0:
		// The caller took the request back and no phone answered it: what a UAS would say, RFC 3261 section 9.2.
		w.answer(c, statusRequestTerminated, noCause)
		return
	default:
		w.answer(c, status, noCause)
		return
	}
	if c.Server.Kind == txn.NonInviteServer && status == statusRequestTimeout {
		w.silence(c)
		return
	}
	restated := 0
	if status == statusUnavailable {
		// "a proxy which receives a 503 (Service Unavailable) response SHOULD NOT forward it upstream unless it
		// can determine that any subsequent requests it might proxy will also generate a 503. [...] If the only
		// response that was received is a 503, the proxy SHOULD generate a 500 response and forward
		// that upstream."
		restated = statusServerError
	}
	out, ok := w.upstream(c, best, m, b, restated)
	if !ok {
		return
	}
	if restated != 0 {
		status = restated
	}
	w.sendFinal(c, status, out)
}

// answer sends a final response of our own upstream, made from the request.
func (w *Worker) answer(c *txn.ResponseContext, status int, why cause) {
	if c.Server.Kind == txn.NonInviteServer && status == statusRequestTimeout {
		w.silence(c)
		return
	}
	if status == statusUnavailable && why == noCause {
		status = statusServerError // see sendBest; RFC 3261 section 16.9 counts a transport error as a 503
	}
	if c.Request.Len == 0 {
		return
	}
	b := w.local.Bytes(c.Request)
	parser.Parse(b, &w.kept)
	w.n.ResponsesOut++
	w.n.Rejected++
	w.sendFinal(c, status, w.appendResponse(w.loop.Buffer(), &w.kept, b, sourceOf(c), status, why))
}

// silence ends a non-INVITE request without an answer: "A transaction-stateful SIP element MUST NOT send a
// response with Status-Code of 408 to a non-INVITE request. As a consequence, an element that cannot
// respond before the transaction expires will not send a final response at all." RFC 4320 section 4.2.
func (w *Worker) silence(c *txn.ResponseContext) {
	c.Server.State = txn.Terminated
	c.Server.Retransmit, c.Server.Deadline = 0, 0
	w.final(c)
	w.release(c)
}

// sendFinal gives a rendered final response other than a 2xx to the server transaction: step 9.
func (w *Worker) sendFinal(c *txn.ResponseContext, status int, out []byte) {
	if c.Server.Step(txn.Send3to6xx, w.now, w.timers)&txn.Send == 0 {
		return
	}
	c.Status = uint16(status)
	c.Flags &^= flagTrying
	w.keepResponse(c, out)
	w.send(&c.Upstream, out)
	w.dropTargets(c)
	w.final(c)
	// 10. "If the forwarded response was a final response, the proxy MUST generate a CANCEL request for all
	// pending client transactions associated with this response context."
	w.cancelPending(c)
	w.release(c)
}

// better tells whether final status a is to be preferred to b, where b was there first: "It MUST choose
// from the 6xx class responses if any exist in the context. If no 6xx class responses are present, the
// proxy SHOULD choose from the lowest response class stored in the response context. The proxy MAY select
// any response within that chosen class. The proxy SHOULD give preference to responses that provide
// information affecting resubmission of this request, such as 401, 407, 415, 420, and 484 if the 4xx class
// is chosen." RFC 3261 section 16.7 step 6.
func better(a, b uint16) bool { return rank(a) < rank(b) }

func rank(status uint16) int {
	class := int(status / 100)
	if class == 6 {
		return 0
	}
	r := class * 10
	switch status {
	case 401, 407:
	case 415, 420, 484:
		r++
	case statusRequestTimeout:
		r += 4 // says the least of its class: nobody was there
	case statusRequestTerminated:
		r += 3
	case statusUnavailable:
		r += 5
	default:
		r += 2
	}
	return r
}

// restate changes the status of the response in hand from 503 to status. Its Retry-After spoke of the
// element that sent the 503, not of us.
func (w *Worker) restate(m *parser.Message, b []byte, status int) {
	e := &w.edits
	at := int(m.Version.End())
	end := m.Reason.End()
	if m.Reason.Empty() {
		end = at
		for end < int(m.HeaderAt(0).Name.Off) && b[end] != '\r' && b[end] != '\n' {
			end++
		}
	}
	e.Begin()
	e.Text = append(e.Text, ' ')
	e.Text = strconv.AppendUint(e.Text, uint64(status), 10)
	e.Text = append(e.Text, ' ')
	e.Text = append(e.Text, reason(status)...)
	e.Replace(at, end-at)
	for i := range m.HeaderCount() {
		if m.HeaderAt(i).ID == parser.HeaderRetryAfter {
			s := m.LineSpan(i)
			e.Cut(int(s.Off), int(s.Len))
		}
	}
}

// aggregate is step 7: "If the selected response is a 401 (Unauthorized) or 407 (Proxy Authentication
// Required), the proxy MUST collect any WWW-Authenticate and Proxy-Authenticate header field values from all
// other 401 (Unauthorized) and 407 (Proxy Authentication Required) responses received so far in this response
// context and add them to this response without modification before forwarding."
func (w *Worker) aggregate(c *txn.ResponseContext, chosen *txn.ClientTransaction, m *parser.Message) {
	e := &w.edits
	e.Begin()
	for x := w.local.First(c); x != nil; x = w.local.Next(x) {
		if x == chosen || x.Status != 401 && x.Status != 407 || x.Response.Len == 0 {
			continue
		}
		b := w.local.Bytes(x.Response)
		if parser.Parse(b, &w.other).Code.Class() == parser.ClassUnreadable {
			continue
		}
		for i := range w.other.HeaderCount() {
			switch w.other.HeaderAt(i).ID {
			case parser.HeaderWWWAuthenticate, parser.HeaderProxyAuthenticate:
				// What does not fit into a datagram would keep the whole response from leaving.
				if line := w.other.LineSpan(i); int(m.Len)+len(e.Text)+int(line.Len) <= transport.MaxDatagram {
					e.Text = append(e.Text, line.In(b)...)
				}
			}
		}
	}
	e.Insert(int(m.HeaderEnd))
}
