package router

import (
	"encoding/binary"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// suspend keeps a request whose decision has to wait. The claim is given up as after any other event;
// meanwhile an INVITE's retransmissions get the 100 again, others are absorbed, and a CANCEL ends
// it with nothing sent on.
func (w *Worker) suspend(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte) (f fault, waits bool) {
	if !w.keepRequest(c, from, m, b) {
		return fault{statusUnavailable, causeBusy}, false
	}
	w.n.Suspended++
	c.Flags |= flagSuspended
	c.Wait = w.now.Add(w.cfg.DecisionTimeout)
	if c.Server.Kind == txn.InviteServer {
		w.trying(c, m, b, &from.Remote)
	}
	return f, true
}

// answered takes in the answer of a decision: it belongs to the context that asked, as long as that
// still waits for this very answer.
func (w *Worker) answered(a *Answer) {
	defer w.barrier()
	if a.own != nil {
		w.ownRequest(a)
		return
	}
	if a.lost != nil {
		w.backup(&a.lost.to, a.lost.b, true)
		return
	}
	if a.once != nil {
		w.relayAgain(a.once)
		return
	}
	c, outcome := w.local.Claim(a.Ref)
	if outcome == txn.Gone {
		w.n.LateAnswers++
		return
	}
	w.scratch = append(w.scratch[:0], byte(a.Verdict))
	w.scratch = binary.LittleEndian.AppendUint16(w.scratch, uint16(a.Status))
	w.scratch = binary.LittleEndian.AppendUint16(w.scratch, a.Peer)
	w.scratch = a.Targets.marshal(w.scratch)
	e := txn.Event{Kind: txn.EventAnswer, Seq: a.Decision, Data: w.scratch}
	if outcome == txn.Busy {
		outcome = w.local.Post(c, &e)
	}
	if outcome != txn.Claimed {
		return
	}
	w.claimed = c
	w.resume(c, &e)
	w.settle(c)
}

// resume goes on with a suspended request.
func (w *Worker) resume(c *txn.ResponseContext, e *txn.Event) {
	verdict, status := Verdict(e.Data[0]), int(binary.LittleEndian.Uint16(e.Data[1:]))
	if verdict == Resolved {
		w.resolved(c, e.Seq, uint16(status))
		return
	}
	if c.Flags&flagSuspended == 0 || c.Decision != e.Seq {
		w.n.LateAnswers++
		return
	}
	c.Flags &^= flagSuspended
	c.Wait = 0
	c.Peer = binary.LittleEndian.Uint16(e.Data[3:])
	w.targets.unmarshal(e.Data[5:])

	b := w.local.Bytes(c.Request)
	m := &w.kept
	parser.Parse(b, m)
	f := w.preprocess(m, b, &c.Upstream)
	if f.status == 0 {
		switch {
		case verdict == Forward && w.targets.n > 0:
		case verdict == Forward:
			f = fault{status: statusNotFound}
		case verdict == Reject:
			f = rejection(status)
		default:
			w.targets.Reset()
			f = w.place(m, b, &c.Upstream)
		}
	}
	if f.status == 0 {
		f = w.start(c, &c.Upstream, m, b)
	}
	if f.status != 0 {
		w.answer(c, f.status, f.why)
	}
}
