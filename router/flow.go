package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// Flows are how those are reached who cannot be connected to (RFC 5626): by the connection, or over UDP by the NAT binding,
// that they have made themselves. No table remembers them; they are in our Record-Route and Path URIs, under a keyed code.

// Facts about a branch, in txn.ClientTransaction.Flags, from the other end than those in response.go.
const (
	branchByFlow  txn.BranchFlags = 0x80 >> iota // a token named the flow that it goes by
	branchOverTCP                                // it goes over TCP for its size alone
)

// flowNeed is how much a side depends on the flow that it came by.
type flowNeed uint8

const (
	flowFree   flowNeed = iota // it is reached by its address
	flowBetter                 // its address will hardly do; it is tried when the flow is gone
	flowNeeded                 // there is no other way
)

// flowElseAddress is the flag of a route token for flowBetter.
const flowElseAddress = 1

// needsFlow tells whether what is behind f, where m came from, can be reached by f alone:
//
//   - WebSocket clients, to which nobody can connect;
//   - clients that ask for it: "the edge proxy can use the presence of the 'ob' URI parameter in the UAC's Contact URI (or
//     topmost Route header field) to determine if the edge proxy needs to assist in mid-dialog request routing" (RFC 5626
//     section 5.3.2);
//   - clients on a connection that they did not make from the address that they are at by their own word: a NAT is between, as
//     far as anyone can say;
//   - clients on TLS that proved no name, and so could not prove it to us as servers either: "It is RECOMMENDED that the proxy
//     use the outbound proxy procedures defined in [RFC5626] for supporting UACs that cannot provide a certificate for
//     establishing a TLS connection" (RFC 5630 section 5.3).
func (w *Worker) needsFlow(m *parser.Message, b []byte, f *transport.Flow) flowNeed {
	switch {
	case f.Proto >= transport.WS:
		return flowNeeded
	case !firstHop(m):
		return flowFree
	case w.routing.fromFlow:
		return flowNeeded
	case m.Has(parser.HeaderContact) && !m.Contact.URI.Params.Empty() && hasParam(b, m.Contact.URI.Params, "ob") &&
		(f.Proto != transport.UDP || w.symmetric(m)):
		return flowNeeded
	case f.Proto != transport.UDP && w.unreachableBack(m, b, f):
		return flowBetter
	}
	return flowFree
}

// unreachableBack tells whether we could not connect to the sender of m, which came by f itself.
func (w *Worker) unreachableBack(m *parser.Message, b []byte, f *transport.Flow) bool {
	return behindNAT(m, b, f) || f.Proto == transport.TLS && w.cfg.Peer(f.Conn, f.Loop, f.Gen) == 0
}

// firstHop tells whether m comes from its UAC itself: "The edge proxy can determine if it is the first hop by examining the
// Via header field." RFC 5626 section 5.1
func firstHop(m *parser.Message) bool { return m.Via.LastValue && m.Lines(parser.HeaderVia) == 1 }

// symmetric tells whether what m is answered with over UDP goes to the port that m came from, so that this port is known as
// long as its transaction.
func (w *Worker) symmetric(m *parser.Message) bool { return m.Via.HasRPort || w.cfg.ForceRport }

// behindNAT tells whether the sender of m is at another address than it thinks.
func behindNAT(m *parser.Message, b []byte, f *transport.Flow) bool {
	ip, literal := parseIP(m.Via.Host.In(b))
	return !literal || ip != f.Remote.IP
}

// hasParam tells whether there is a URI parameter of that name.
func hasParam(b []byte, params parser.Span, name string) bool {
	_, ok := parser.URIParam(b, params, name)
	return ok
}

// readToken reads the token of u, a URI of ours that m brings back in its Route, which comes by from. It notes in w.routing
// whether m is in a dialog of ours, and the flow that u names: of several such URIs in a row the last one counts, which faces
// the side that m has to go to.
//
// A route token holds for its dialog only, and only a request with a To tag can be in a dialog (RFC 3261 section 12.2). The token
// covers the Call-ID and the caller's tag, so it holds in both directions, and for as long as somebody uses the same two again.
func (w *Worker) readToken(m *parser.Message, b []byte, u *parser.URI, from *transport.Flow) (ok bool, f fault) {
	r := &w.routing
	r.flow.Proto = 0
	if u.Params.Empty() {
		return false, fault{}
	}
	value, there := parser.URIParam(b, u.Params, tokenParam)
	if !there {
		return false, fault{}
	}
	token := value.In(b)
	if txn.IsFlowToken(token) {
		flow, ok := w.keys.ReadFlowToken(token)
		if !ok {
			// "If the flow token has been tampered with, the proxy SHOULD send a 403 (Forbidden) response." RFC 5626 section 5.3.1
			return false, fault{status: statusForbidden}
		}
		r.elseAddress = false
		return true, w.setFlow(&flow, from)
	}
	if m.To.Tag.Empty() || r.inDialog && !txn.RouteTokenHasFlow(token) {
		return r.inDialog, fault{}
	}
	ref, ok := w.keys.VerifyRouteToken(token, m.CallID.In(b), m.From.Tag.In(b), m.To.Tag.In(b))
	if !ok {
		return false, fault{}
	}
	r.inDialog = true
	if ref.Dialog.Gen != 0 {
		r.dialog = ref.Dialog
	}
	if ref.Flow.Proto != 0 {
		r.elseAddress = ref.Flags&flowElseAddress != 0
		return true, w.setFlow(&ref.Flow, from)
	}
	return true, fault{}
}

// setFlow notes the flow of a token: "If the flow in the flow token identified by the topmost Route header field value matches
// the source IP address and port of the request, the request is an 'outgoing' request; otherwise, it is an 'incoming'
// request." RFC 5626 section 5.3
func (w *Worker) setFlow(f, from *transport.Flow) fault {
	r := &w.routing
	if f.Proto == from.Proto && f.Remote == from.Remote {
		r.fromFlow = true
		return fault{}
	}
	if int(f.Listener) >= len(w.core.listeners) || w.core.listeners[f.Listener].proto != f.Proto {
		if r.elseAddress {
			return fault{}
		}
		// An earlier process had that listener. "If the flow no longer exists, the proxy SHOULD send a 430 (Flow Failed) response to
		// the request." Section 5.3.1
		return fault{status: statusFlowFailed}
	}
	r.flow = *f
	return fault{}
}

// leaveFlow tells whether a request that the transport did not take, because its flow is gone, may go where its Route or
// Request-URI says instead, and sees to it that it does.
func (w *Worker) leaveFlow() bool {
	r := &w.routing
	if w.sent != transport.Gone || w.forwarded&branchByFlow == 0 || !r.elseAddress {
		return false
	}
	r.flow.Proto = 0
	return true
}

// unsent is the fault for a request that the transport did not take.
func (w *Worker) unsent() fault {
	switch {
	case w.sent == transport.Gone && w.forwarded&branchByFlow != 0:
		return fault{status: statusFlowFailed}
	case w.sent == transport.Gone:
		return fault{statusUnavailable, causeConnection}
	}
	return fault{statusUnavailable, causeBusy}
}
