package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// appendRecordRoute is RFC 3261 section 16.6 step 4, for a request that came by from and leaves by to. sips tells whether its
// Request-URI or topmost Route is a SIPS URI now. It appends to w.edits.Text.
//
// Where the two sides are reached differently, two values are inserted (RFC 5658 section 5): the one that faces the side of
// to on top. Each side then has the one that faces it as the first of its route set, and both come back together.
func (w *Worker) appendRecordRoute(m *parser.Message, b []byte, t *target, from, to *transport.Flow, sips bool) {
	if !mayRecord(m.Method) {
		return
	}
	fromFlow := w.needsFlow(m, b, from)
	toFlow := w.givenFlow(to)
	flows := fromFlow != flowFree || toFlow != flowFree
	if !w.records(t, from, to, sips, flows) {
		return
	}
	double := flows || from.Listener != to.Listener
	if sips && !isSecure(from.Proto) && fromFlow == flowFree {
		// "If the Request-URI contains a SIPS URI [...], the URI placed into the Record-Route header field MUST be a SIPS URI": so the
		// side of from is to come back over TLS, although it did not come so.
		from = to
		double = toFlow != flowFree
	}
	w.appendOwnRoute(m, b, to, sips, double, toFlow)
	if double {
		w.appendOwnRoute(m, b, from, sips, double, fromFlow)
	}
}

// givenFlow tells whether a request that leaves by to does so on a flow that somebody has named.
func (w *Worker) givenFlow(to *transport.Flow) flowNeed {
	switch {
	case w.forwarded&branchByFlow != 0 && w.routing.elseAddress:
		return flowBetter
	case w.forwarded&branchByFlow != 0, to.Gen != 0:
		return flowNeeded
	}
	return flowFree
}

// mayRecord tells the methods that may belong to a dialog. Methods that can neither create a dialog nor refresh one for an
// endpoint that has lost it are left alone; an unknown method "may have dialog semantics" (RFC 3261 section 16.6 step 4).
func mayRecord(method parser.Method) bool {
	switch method {
	case parser.MethodInvite, parser.MethodSubscribe, parser.MethodNotify, parser.MethodRefer, parser.MethodOther:
		return true
	}
	return false
}

// records tells whether we stay on the path of the dialog that a request to t belongs to or may create.
func (w *Worker) records(t *target, from, to *transport.Flow, sips, flow bool) bool {
	switch {
	case w.cfg.RecordRoute == RecordAlways, w.core.rules.at(t.rule).record:
		return true
	case w.cfg.RecordRoute == RecordNever:
		return false
	}
	// RecordAuto: "a proxy SHOULD also insert a Record-Route header for any multi-homed situation" (RFC 5658 section 6.2), and a side
	// that cannot be connected to is reached through us alone (RFC 5626 section 5.3).
	//
	// "Furthermore, if the request was not received over TLS, the proxy MUST insert a Record-Route header field. In a similar
	// fashion, a proxy that receives a request over TLS, but generates a request without a SIPS URI in the Request-URI or
	// topmost Route header field value (after the post processing of bullet 6), MUST insert a Record-Route header field that is
	// not a SIPS URI." RFC 3261 section 16.6 step 4
	return flow || from.Listener != to.Listener || sips != isSecure(from.Proto)
}

// appendOwnRoute appends one Record-Route line with a URI by which the side of f reaches us. need says how much that side
// depends on f.
func (w *Worker) appendOwnRoute(m *parser.Message, b []byte, f *transport.Flow, sips, double bool, need flowNeed) {
	e := &w.edits
	e.Text = append(e.Text, "Record-Route: <"...)
	e.Text = w.core.appendOwnURI(e.Text, f, sips, double)
	e.Text = append(e.Text, ";"+tokenParam+"="...)
	ref := txn.RouteRef{Dialog: w.dialog}
	if need != flowFree {
		ref.Flow = *f
	}
	if need == flowBetter {
		ref.Flags = flowElseAddress
	}
	e.Text = w.keys.AppendRouteToken(e.Text, m.CallID.In(b), m.From.Tag.In(b), ref)
	e.Text = append(e.Text, ">\r\n"...)
}

// appendOwnURI appends the URI by which the side of f reaches us. name says that the transport has to be named even if it is
// UDP: "the proxy SHOULD use the double Record-Route technique and SHOULD add a transport parameter to each of the
// Record-Route URIs it inserts." RFC 5658 section 6.2
//
// Deviation: a TLS side whose requests are not SIPS gets "transport=tls", which that section forbids. It offers a SIPS URI
// instead, which RFC 3261 section 16.6 step 4 forbids here ("MUST insert a Record-Route header field that is not a SIPS URI"),
// or a name whose NAPTR records lead to TLS, which only an advertised name can have.
func (c *Core) appendOwnURI(dst []byte, f *transport.Flow, sips, name bool) []byte {
	if sips {
		dst = append(dst, "sips:"...)
	} else {
		dst = append(dst, "sip:"...)
	}
	dst = c.appendSentBy(dst, f)
	switch f.Proto {
	case transport.UDP:
		if name && !sips {
			dst = append(dst, ";transport=udp"...)
		}
	case transport.TCP:
		if !sips {
			dst = append(dst, ";transport=tcp"...)
		}
	case transport.TLS:
		if !sips { // a SIPS URI means TLS over TCP
			dst = append(dst, ";transport=tls"...)
		}
	case transport.WS, transport.WSS:
		dst = append(dst, ";transport=ws"...) // RFC 7118 section 5.2 has no other
	}
	return append(dst, ";lr"...)
}
