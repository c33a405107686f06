package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// Expire runs the timers that are due, a bounded number of them, and tells when the next is.
func (w *Worker) Expire(now transport.Instant) transport.Instant {
	w.now = now
	w.measure(now)
	for range maxDuePerCall {
		ref, deadline, ok := w.local.Due(now)
		if !ok {
			break
		}
		w.dirty = true
		w.fire(ref, deadline)
	}
	next := earlier(w.local.NextDeadline(), w.shed.due)
	if w.cfg.Dialogs != nil {
		next = earlier(next, w.cfg.Dialogs.Sweep(w.local, &w.sweeper, now))
	}
	if w.dirty {
		if w.announce(now) {
			w.dirty = false
		} else {
			next = earlier(next, w.announced.Add(publishEvery))
		}
	}
	return next
}

// fire is one due entry of the wheel.
func (w *Worker) fire(ref txn.Ref, deadline transport.Instant) {
	defer w.barrier()
	c, outcome := w.local.Claim(ref)
	if outcome == txn.Busy {
		outcome = w.local.Post(c, &txn.Event{Kind: txn.EventExpired, At: deadline})
	}
	if outcome != txn.Claimed {
		return
	}
	w.claimed = c
	w.expire(c, deadline)
	w.settle(c)
}

// expire does what is due in c, when the entry that fired is the one that counts. A timer that was
// stopped or moved since the entry was armed is not due.
func (w *Worker) expire(c *txn.ResponseContext, deadline transport.Instant) {
	if !w.local.Fired(c, deadline) {
		return
	}
	act := c.Server.Expire(w.now, w.timers)
	if act&txn.SendTrying != 0 && c.Request.Len > 0 { // RFC 4320 section 4.1
		b := w.local.Bytes(c.Request)
		parser.Parse(b, &w.kept)
		w.transmitTrying(c, &w.kept, b, sourceOf(c))
	}
	if act&txn.Resend != 0 {
		w.resend(c) // Timer G
	}
	if c.Wait != 0 && c.Wait <= w.now {
		w.waited(c)
	}
	for br := w.local.First(c); br != nil; {
		next := w.local.Next(br)
		w.expireBranch(c, br)
		br = next
	}
}

func (w *Worker) expireBranch(c *txn.ResponseContext, br *txn.ClientTransaction) {
	if br.TimerC != 0 && br.TimerC <= w.now {
		w.timerC(c, br) // first: what is given up is not sent again
	}
	act := br.Main.Expire(w.now, w.timers)
	if act&txn.Resend != 0 && c.Request.Len > 0 && br.Edits.Len > 0 { // Timer A or E
		w.n.Resent++
		w.n.RequestsOut++
		w.send(&br.Flow, parser.AppendEdited(w.loop.Buffer(), w.local.Bytes(c.Request), int(c.Request.Len), w.local.Bytes(br.Edits)))
	}
	if act&txn.InformTimeout != 0 { // Timer B or F
		w.timedOut(c, br)
	}
	if br.Cancel.State != txn.None && br.Cancel.Expire(w.now, w.timers)&txn.Resend != 0 {
		w.n.Resent++
		w.transmitCancel(c, br)
	}
}

// timerC is RFC 3261 section 16.8: "If the client transaction has received a provisional response, the proxy
// MUST generate a CANCEL request matching that transaction. If the client transaction has not received a
// provisional response, the proxy MUST behave as if the transaction received a 408 (Request Timeout) response."
func (w *Worker) timerC(c *txn.ResponseContext, br *txn.ClientTransaction) {
	br.TimerC = 0
	if br.Main.Kind == txn.InviteClient && br.Main.State == txn.Proceeding {
		br.Flags |= branchCancel
		w.sendCancel(c, br)
		return
	}
	w.giveUp(c, br)
}

// branchEnded is for a branch that ends without a final response from downstream.
func (w *Worker) branchEnded(c *txn.ResponseContext, br *txn.ClientTransaction, status uint16) {
	w.dialogLost(c, br)
	if br.Status != 0 {
		if c.Status >= 200 {
			w.release(c) // it had been given up, and was the last that needed anything
		}
		return
	}
	br.Status = status
	br.TimerC = 0
	c.Pending--
	c.Breadth += br.Breadth
	if c.Flags&flagOwn != 0 {
		w.ownEnded(c, br, 0)
		return
	}
	w.failure(c, br, nil, nil)
}

// waited is for a suspended decision that got no answer in time.
func (w *Worker) waited(c *txn.ResponseContext) {
	if c.Flags&flagResolving != 0 {
		w.unresolved(c)
		return
	}
	c.Wait = 0
	c.Flags &^= flagSuspended
	c.Decision++ // an answer from now on is late
	w.answer(c, statusServerTimeout, noCause)
}

// SendFailed takes in a transport error: the branch in what was sent tells whom it concerns.
func (w *Worker) SendFailed(to transport.Flow, b []byte, why transport.Failure, now transport.Instant) {
	defer w.barrier()
	w.now, w.dirty = now, true
	if isResponse(b) {
		// "If the transport layer notifies a proxy of an error when it tries to forward a response, the proxy drops the response":
		// RFC 3261 section 16.9; unless it was on a stream that is gone.
		if why == transport.Closed || why == transport.NoConnection {
			w.resendLost(&to, b, true)
		}
		return
	}
	branch, ok := branchOf(b)
	if !ok {
		return
	}
	id, kind, ok := w.keys.ReadBranch(branch)
	if !ok || kind != txn.BranchTransaction {
		return
	}
	c, outcome := w.local.Claim(id.Ref)
	if outcome == txn.Busy {
		outcome = w.local.Post(c, &txn.Event{Kind: txn.EventSendFailed, From: to, Branch: id.Index, Why: uint8(why)})
	}
	if outcome != txn.Claimed {
		return
	}
	w.claimed = c
	w.branchFailed(c, id.Index, &to, why)
	w.settle(c)
}

// branchFailed is RFC 3261 section 16.9: "If the transport layer notifies a proxy of an error when it tries
// to forward a request, the proxy MUST behave as if the forwarded request received a 503 (Service
// Unavailable) response."
//
// A connection that a request has to go by, because a token named it, cannot be replaced: 430 (RFC 5626 section 5.3.1).
func (w *Worker) branchFailed(c *txn.ResponseContext, index uint8, to *transport.Flow, why transport.Failure) {
	br := w.local.Branch(c, index)
	if br == nil || br.Flow.Remote != to.Remote || br.Flow.Proto != to.Proto {
		return
	}
	if why == transport.NoConnection && w.backToUDP(c, br) {
		return
	}
	if br.Main.Step(txn.TransportError, w.now, w.timers)&txn.InformTransportError == 0 {
		return
	}
	w.n.TransportErrors++
	if br.Status == 0 {
		w.report(c, br, Failed, 0)
		w.block(br, nil, nil)
	}
	status := uint16(statusUnavailable)
	if br.Flags&branchByFlow != 0 {
		status = statusFlowFailed
	}
	w.branchEnded(c, br, status)
}

// branchOf finds the branch in the first Via of a request that we sent, of which b is the beginning. Our
// Via is the first header line, so it is there even in the little that an ICMP error returns.
func branchOf(b []byte) (branch []byte, ok bool) {
	const mark = viaBranch
	lines := 0
	for i := 0; i+len(mark) < len(b); i++ {
		if b[i] == '\n' {
			if lines++; lines == 2 {
				return nil, false
			}
		}
		if b[i] != ';' || lines != 1 || string(b[i:i+len(mark)]) != mark {
			continue
		}
		j := i + len(mark)
		for k := j; k < len(b); k++ {
			if b[k] == '\r' || b[k] == ';' {
				return b[j:k:k], true
			}
		}
		return nil, false
	}
	return nil, false
}
