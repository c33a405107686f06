package router

import (
	"bytes"

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
	w.routing.dialog = txn.Ref{}
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
	if f.status == 0 {
		var found bool
		if found, f = w.find(nil, m, b, 0); !found {
			if f = w.relayLater(from, m, b); f.status == 0 {
				return
			}
		}
	}
	if f.status == 0 {
		f = w.passOn(from, m, b)
	}
	if f.status != 0 {
		w.byeRefused(m, b)
		w.reject(from, m, b, f)
	}
}

// passOn forwards a request that has been decided to its first target, without state.
func (w *Worker) passOn(from *transport.Flow, m *parser.Message, b []byte) fault {
	breadth := incomingBreadth(m, b)
	if breadth == 0 {
		return fault{status: statusBreadthExceeded}
	}
	// "A stateless proxy MUST choose one and only one target from the target set."
	w.branch, w.dialog = txn.BranchID{}, w.routing.dialog
	w.reply = w.upstreamFlow(from, m, b).Remote
	w.tagPort = from.Proto.Reliable() // its response has to find the connection by it
	to, f := w.forward(m, b, &w.targets.list[0], from, &from.Remote, breadth)
	w.tagPort = false
	if f.status != 0 {
		return f
	}
	if w.edits.Err() {
		return fault{statusUnavailable, causeBusy} // some of what had to go would stay
	}
	w.n.RequestsOut++
	if !w.send(&to, w.edits.AppendTo(w.loop.Buffer(), b, int(m.Len))) && w.sent == transport.Gone {
		if w.leaveFlow() {
			return w.passOn(from, m, b)
		}
		return w.unsent()
	}
	w.passedOn(m, b)
	return f
}

// answeredHere tells whether the To tag of m is the one that our own responses to it carry.
func (w *Worker) answeredHere(m *parser.Message, b []byte) bool {
	if m.To.Tag.Empty() {
		return false
	}
	w.scratch = w.keys.AppendLocalTag(w.scratch[:0], m, b)
	return string(w.scratch) == string(bytes.TrimPrefix(m.To.Tag.In(b), w.keys.RefusalMark()))
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
	// In stateful mode only a CANCEL is both forwarded statelessly and answered, but for what a decision wants so.
	if w.cfg.Mode == Stateful && w.cfg.Decide == nil && m.CSeq.Method != parser.MethodCancel {
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
	w.addLength(m, to.Proto)
	w.n.ResponsesOut++
	if to.Proto == transport.TLS && to.Gen == 0 {
		to.Conn = transport.AnyName
	}
	w.send(&to, w.edits.AppendTo(w.loop.Buffer(), b, int(m.Len)))
}

// viaFlow is where a response with v as its topmost Via goes: RFC 3261 section 18.2.2, RFC 3581 section 4. For a stream that is
// the address and port that the request came from, by which its connection is found; relay has put both there.
func (w *Worker) viaFlow(from *transport.Flow, v *parser.Via, b []byte) (to transport.Flow, ok bool) {
	proto := viaProtocol(b, v)
	if proto == 0 {
		return to, false
	}
	host, rport := v.Host, v.RPort
	if !v.Received.Empty() {
		host = v.Received
	}
	hop := transport.Hop{Addr: transport.Addr{Port: portOr(v.Port, proto)}, Proto: proto}
	if hop.IP, ok = parseIP(host.In(b)); !ok {
		// received is written without brackets (RFC 3261 section 25.1)
		if hop.IP, ok = parseIPv6(host.In(b)); !ok {
			return to, false
		}
	}
	if !v.Maddr.Empty() && !w.cfg.ForceRport && proto == transport.UDP {
		if ip, follow := w.maddr(v, b, &hop.IP); follow {
			hop.IP, rport = ip, parser.Span{}
		}
	}
	if !rport.Empty() {
		port, ok := parser.ParseUint(rport.In(b), 65535)
		if !ok || port == 0 {
			return to, false
		}
		hop.Port = uint16(port)
	}
	if proto >= transport.WS { // there is no egress for requests without a connection, but the request came by one
		i, f := w.core.listenerFor(proto, hop.Is4())
		return transport.Flow{Remote: hop.Addr, Local: w.core.listeners[i].source, Listener: uint16(i), Proto: proto}, f.status == 0
	}
	to, f := w.core.egress(from, &hop)
	return to, f.status == 0
}
