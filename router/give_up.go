package router

import (
	"sipedge/parser"
	"sipedge/txn"
)

// heard notes the first response on br: from now on only Timer C bounds the wait for a final one.
func (w *Worker) heard(c *txn.ResponseContext, br *txn.ClientTransaction) {
	br.Flags |= branchHeard
	if br.Status != 0 {
		return // it was given up
	}
	if w.core.rules.at(RuleID(br.Rule)).timeout != 0 {
		br.TimerC = 0
		if br.Main.Kind == txn.InviteClient {
			br.TimerC = w.now.Add(w.timers.C)
		}
	}
	w.report(c, br, Provisional, 0)
}

// timedOut is for a branch whose machine ended without a final response: Timer B, Timer F, or the end of RFC 3261 section 9.1.
func (w *Worker) timedOut(c *txn.ResponseContext, br *txn.ClientTransaction) {
	if br.Status == 0 {
		w.n.Timeouts++
		if br.Flags&branchHeard != 0 {
			w.report(c, br, Unfinished, 0)
		} else {
			w.report(c, br, Silent, 0)
			w.block(br, nil, nil)
		}
	}
	w.branchEnded(c, br, statusRequestTimeout)
}

// giveUp is for a branch that was silent for longer than its rule allows. It counts as a 408 from now on. Its machine goes on
// until Timer B or F, but sends nothing more: an INVITE that arrived can neither be taken back nor be ignored, since a phone
// may ring. So a late provisional response gets a CANCEL (RFC 3261 section 9.1), a late 2xx goes upstream (section 16.7 step
// 5: "Any 2xx response"), and a late failure gets its ACK.
func (w *Worker) giveUp(c *txn.ResponseContext, br *txn.ClientTransaction) {
	w.n.Timeouts++
	br.Main.Retransmit = 0
	br.Flags |= branchCancel
	w.report(c, br, Silent, 0)
	w.block(br, nil, nil)
	w.branchEnded(c, br, statusRequestTimeout)
}

// open tells whether br may still get its first final response. With a status it was given up.
func open(br *txn.ClientTransaction) bool {
	switch br.Main.State {
	case txn.Calling, txn.Trying, txn.Proceeding:
		return true
	}
	return false
}

// late is the final response of a branch that was given up.
func (w *Worker) late(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte) {
	br.Cancel = txn.Machine{}
	w.report(c, br, Late, m.Status)
	switch {
	case m.Status < 300:
		w.success(c, br, m, b)
	case m.Status >= 600 && c.Status < 200:
		// "it MUST NOT create any new branches in this context": a global failure is one whenever it comes.
		br.Status = m.Status
		br.Flags &^= branchReplaced
		w.failure(c, br, m, b)
	case c.Status >= 200:
		w.release(c)
	}
}
