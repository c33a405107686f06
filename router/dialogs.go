package router

import (
	"sipedge/parser"
	"sipedge/router/dialog"
	"sipedge/transport"
	"sipedge/txn"
)

// Calls that Config.Dialogs watches. An entry belongs to one branch until that has answered, and is named by our Record-Route
// URI, so that later requests of the dialog bring it back. In this order, for each branch whose rule counts:
//
//	Admit        there is room at the gateway: a place is taken
//	Begin        the INVITE is about to be sent; false: there is no room in the table, and the place is given back by Unsent
//	             (with Outcome.Counted)
//	End          it could not be sent, was refused, or nothing came any more: the table gives the place back
//	Confirm      a 2xx, once or more often: from now on the entry lives without the branch
//	Request      each later request of the dialog that is forwarded, ACK and CANCEL apart
//	Target       a 2xx to one of them that may have moved the remote target
//	End          the BYE has been answered, or never was, or could go nowhere; statelessly: it has been forwarded
//
// A branch that was given up as silent keeps its entry until nothing can come for it any more: a late 2xx makes a call.

// TokenParam is the name of the URI parameter by which our Record-Route values are known, for dialog.Config.
const TokenParam = tokenParam

// counts tells whether an INVITE, sent to a target with this rule, begins a call that is watched. A To tag alone does not make it
// one of a call that counts already: anybody can write one.
func (w *Worker) counts(c *txn.ResponseContext, r *rule) bool {
	return r.counted && w.cfg.Dialogs != nil && c.Server.Kind == txn.InviteServer && !w.routing.inDialog
}

// beginDialog makes the entry for a branch to t, in w.dialog, or takes the one that the request has brought back.
func (w *Worker) beginDialog(c *txn.ResponseContext, from *transport.Flow, m *parser.Message, b []byte, t *target) fault {
	w.dialog, w.counted = w.routing.dialog, false
	if w.cfg.Dialogs == nil {
		return fault{}
	}
	if !w.counts(c, w.core.rules.at(t.rule)) {
		if c.Branches == 0 && !w.noteRequest(m, b) {
			w.routing.dialog, w.dialog = txn.Ref{}, txn.Ref{}
		}
		return fault{}
	}
	ref, ok := w.cfg.Dialogs.Begin(w.local, dialog.Owner{Gateway: t.gateway, Peer: c.Peer}, from, m, b, w.now)
	if !ok {
		w.n.StoreFull++
		return fault{statusUnavailable, causeBusy}
	}
	w.dialog, w.counted = ref, true
	return fault{}
}

// noteRequest tells of a request in a dialog that is watched, which is about to be forwarded. It reports whether it is of that
// very dialog: another phone behind the same branch may have answered too.
func (w *Worker) noteRequest(m *parser.Message, b []byte) bool {
	if w.routing.dialog.Gen == 0 || m.Method == parser.MethodAck || m.Method == parser.MethodCancel {
		return false
	}
	return w.cfg.Dialogs.Request(w.local, w.routing.dialog, m, b)
}

// passedOn tells of a request in a dialog that is watched, which was forwarded statelessly: of its answer we may not hear.
func (w *Worker) passedOn(m *parser.Message, b []byte) {
	if w.cfg.Dialogs == nil || w.routing.dialog.Gen == 0 {
		return
	}
	if w.noteRequest(m, b) && m.Method == parser.MethodBye {
		w.cfg.Dialogs.End(w.local, w.routing.dialog)
	}
}

// byeRefused is for a request of a dialog that we have answered ourselves, since there was no way on: "The UAC MUST consider the
// session terminated [...] as soon as the BYE request is passed to the client transaction." RFC 3261 section 15.1.1. Its sender
// will not say it again, and nothing else would end the entry before its longest duration.
func (w *Worker) byeRefused(m *parser.Message, b []byte) {
	if m.Method == parser.MethodBye && w.cfg.Dialogs != nil && w.noteRequest(m, b) {
		w.cfg.Dialogs.End(w.local, w.routing.dialog)
	}
}

// dialogAnswered tells of the final response m on br, which came by from.
func (w *Worker) dialogAnswered(c *txn.ResponseContext, br *txn.ClientTransaction, from *transport.Flow, m *parser.Message, b []byte) {
	if w.cfg.Dialogs == nil || br.Dialog.Gen == 0 || c.Flags&flagOwn != 0 {
		return
	}
	d := w.cfg.Dialogs
	counted := br.Flags&branchCounted != 0
	br.Flags &^= branchCounted
	switch method := parser.Method(c.Method); {
	case counted && m.Status < 300:
		d.Confirm(w.local, br.Dialog, from, m, b, w.now)
	case counted:
		d.End(w.local, br.Dialog)
	case method == parser.MethodBye && dialog.Ends(int(m.Status)):
		d.End(w.local, br.Dialog)
	case m.Status < 300 && (method == parser.MethodInvite || method == parser.MethodUpdate):
		d.Target(w.local, br.Dialog, m, b)
	}
}

// dialogLost is for a branch that will not be answered.
func (w *Worker) dialogLost(c *txn.ResponseContext, br *txn.ClientTransaction) {
	if w.cfg.Dialogs == nil || br.Dialog.Gen == 0 || c.Flags&flagOwn != 0 || open(br) {
		return
	}
	if br.Flags&branchCounted != 0 || parser.Method(c.Method) == parser.MethodBye {
		br.Flags &^= branchCounted
		w.cfg.Dialogs.End(w.local, br.Dialog)
	}
}

// branchesEnd is for the branches of a context that ends before its time, for want of room: of no timer, say.
func (w *Worker) branchesEnd(c *txn.ResponseContext) {
	for br := w.local.First(c); br != nil; br = w.local.Next(br) {
		if br.Flags&branchCounted != 0 {
			w.cfg.Dialogs.End(w.local, br.Dialog)
		}
		switch {
		case br.Status != 0:
		case c.Flags&flagOwn != 0:
			w.ownEnded(c, br, 0)
		default:
			w.report(c, br, Unfinished, 0)
		}
	}
}
