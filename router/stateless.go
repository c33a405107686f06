package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// relay forwards a request statelessly: RFC 3261 section 16.11. In stateful mode an ACK of a 2xx and a
// CANCEL of nothing we know go this way too. "it can only use information from the message itself and
// time-invariant configuration data for those calculations", so each copy goes the same way with the same
// branch, and an ACK or CANCEL goes the way of its INVITE.
func (w *Worker) relay(from *transport.Flow, m *parser.Message, b []byte) {
	if m.Method == parser.MethodAck && w.answeredHere(m, b) {
		w.n.Absorbed++ // it acknowledges a response that we made without keeping state (RFC 3261 section 8.2.7)
		return
	}
	// "A stateless proxy MUST validate a request as described in Section 16.3"
	f := w.validate(m, b, from)
	if f.status == 0 {
		f = w.preprocess(m, b, from)
	}
	if f.status == 0 && !w.routing.inDialog && w.core.draining.Load() &&
		m.Method != parser.MethodAck && m.Method != parser.MethodCancel {
		f = fault{statusUnavailable, causeBusy}
	}
	if f.status == 0 {
		var waits bool
		if f, waits = w.decide(nil, from, m, b); waits {
			return // its retransmission finds the answer ready
		}
	}
	breadth := incomingBreadth(m, b)
	if f.status == 0 && breadth == 0 {
		f = fault{status: statusBreadthExceeded}
	}
	if f.status == 0 {
		// "A stateless proxy MUST choose one and only one target from the target set."
		w.branch = txn.BranchID{}
		w.reply = w.upstreamFlow(from, m, b).Remote
		var to transport.Flow
		if to, f = w.forward(m, b, &w.targets.list[0], from, &from.Remote, breadth); f.status == 0 {
			w.n.RequestsOut++
			w.send(&to, w.edits.AppendTo(w.loop.Buffer(), b, int(m.Len)))
			return
		}
	}
	w.reject(from, m, b, f)
}

// answeredHere tells whether the To tag of m is the one that our own responses to it carry.
func (w *Worker) answeredHere(m *parser.Message, b []byte) bool {
	if m.To.Tag.Empty() {
		return false
	}
	w.scratch = w.keys.AppendLocalTag(w.scratch[:0], m, b)
	return string(w.scratch) == string(m.To.Tag.In(b))
}

// relayResponse forwards a response to a request that was forwarded statelessly: "the proxy MUST remove
// that header field value from the response and forward the result to the location indicated in the next Via
// header field value." RFC 3261 section 16.11. That the address "matches the proxy" is shown by our
// keyed code in the branch, which must fit to the next Via.
func (w *Worker) relayResponse(from *transport.Flow, m *parser.Message, b []byte) {
	var v parser.Via
	if !m.SecondVia(b, &v) {
		w.n.Stray++
		return
	}
	// In stateful mode only a CANCEL is both forwarded statelessly and answered.
	if w.cfg.Mode == Stateful && m.CSeq.Method != parser.MethodCancel {
		w.n.Stray++
		return
	}
	to, ok := w.viaFlow(from, &v, b)
	if !ok {
		w.n.Stray++
		return
	}
	if _, ok := w.keys.CheckStatelessBranch(m.Via.Branch.In(b), m, b, &v, &to.Remote); !ok {
		w.n.Stray++
		return
	}
	w.edits.Reset()
	w.cutTopVia(m, b)
	w.n.ResponsesOut++
	w.send(&to, w.edits.AppendTo(w.loop.Buffer(), b, int(m.Len)))
}

// viaFlow is where a response with v as its topmost Via goes: RFC 3261 section 18.2.2, RFC 3581 section 4.
func (w *Worker) viaFlow(from *transport.Flow, v *parser.Via, b []byte) (to transport.Flow, ok bool) {
	host, rport := v.Host, v.RPort
	switch {
	case !v.Maddr.Empty() && !w.cfg.ForceRport && isIP(v.Maddr.In(b)):
		host, rport = v.Maddr, parser.Span{}
	case !v.Received.Empty():
		host = v.Received
	}
	hop := transport.Hop{Addr: transport.Addr{Port: orDefault(v.Port)}, Proto: transport.UDP}
	if hop.IP, ok = parseIP(host.In(b)); !ok {
		// received is written without brackets (RFC 3261 section 25.1)
		if hop.IP, ok = parseIPv6(host.In(b)); !ok {
			return to, false
		}
	}
	if !rport.Empty() {
		port, ok := parser.ParseUint(rport.In(b), 65535)
		if !ok || port == 0 {
			return to, false
		}
		hop.Port = uint16(port)
	}
	return w.core.egress(from, &hop)
}

func isIP(host []byte) bool {
	_, ok := parseIP(host)
	return ok
}
