package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// forward is RFC 3261 section 16.6 for one target: it leaves in w.edits what makes the request to send out of
// the received one, and returns the flow to send it by; w.forwarded has what the branch has to remember of it. The steps
// are numbered as there. The caller has named the branch in w.branch; it renders the copy (1), sends it (10) and sets
// Timer C (11).
//
// source is where the request came from, breadth the Max-Breadth of this branch.
func (w *Worker) forward(m *parser.Message, b []byte, t *target, from *transport.Flow, source *transport.Addr, breadth uint8) (to transport.Flow, f fault) {
	r, e := &w.routing, &w.edits
	rule := w.core.rules.at(t.rule)
	e.Reset()
	if rule.exempt && t.hasHop {
		// Deviation: a call for help is not held up by a Route, and takes none to those who help. They would follow it in our name: a strict
		// one even as the Request-URI, so that any number could be called where only those for help can.
		r.first = r.last
	}

	// 2. Request-URI
	uri, uriBytes, replaced := r.uri, b, r.replaced
	if r.replaced {
		uriBytes = r.text
		if parser.ParseURI(uriBytes, parser.Span{Len: uint16(len(uriBytes))}, &uri).Code != 0 {
			return to, fault{status: statusBadRequest}
		}
	}
	if t.len > 0 {
		uriBytes, replaced = w.targets.uri(t), true
		if parser.ParseURI(uriBytes, parser.Span{Len: t.len}, &uri).Code != 0 {
			return to, fault{status: statusServerError}
		}
	}
	requestURI := uri.Whole.In(uriBytes)
	// "If the URI contains any parameters not allowed in a Request-URI, they MUST be removed": headers
	// and method (RFC 3261 section 19.1.1, table 1).
	if !uri.Headers.Empty() {
		requestURI, replaced = requestURI[:int(uri.Headers.Off)-1-int(uri.Whole.Off)], true
	}
	if method := methodParam(uriBytes, &uri); !method.Empty() {
		w.scratch = append(w.scratch[:0], requestURI[:int(method.Off)-int(uri.Whole.Off)]...)
		w.scratch = append(w.scratch, requestURI[method.End()-int(uri.Whole.Off):]...)
		requestURI, replaced = w.scratch, true
	}
	upgrade := w.upgrades(&uri)
	if upgrade {
		w.scratch = append(w.scratch[:0], "sip"...)
		w.scratch = append(w.scratch, requestURI[len("sips"):]...)
		requestURI, replaced = w.scratch, true
	}

	// 6. "If the copy contains a Route header field, the proxy MUST inspect the URI in its first value. If that
	// URI does not contain an lr parameter": the Request-URI goes behind the Route, the first
	// Route value into the Request-URI.
	next, nextBytes := &uri, uriBytes
	var route parser.Address
	strict := false
	first := r.first
	if r.left() > 0 {
		if parser.ParseAddress(b, r.values[r.first].span, &route).Code != 0 {
			return to, fault{status: statusBadRequest}
		}
		next, nextBytes = &route.URI, b
		if !route.URI.HasLR {
			strict, first = true, r.first+1
		}
	}

	// 7. "the proxy MUST apply the procedures to the first value in the Route header field, if present,
	// else the Request-URI"
	to, f = w.way(t, from, &uri, nextBytes, next)
	if f.status != 0 {
		return to, f
	}

	switch {
	case strict:
		e.Begin()
		e.Text = append(e.Text, route.Addr.In(b)...)
		e.Replace(int(m.RequestURI.Off), int(m.RequestURI.Len))
	case replaced:
		e.Begin()
		e.Text = append(e.Text, requestURI...)
		e.Replace(int(m.RequestURI.Off), int(m.RequestURI.Len))
	}

	// 8, 4, 5: "The proxy MUST insert a Via header field value into the copy before the existing Via header
	// field values", a Record-Route value "before any existing Record-Route header field values": both
	// stand in front of all headers.
	top := int(m.HeaderAt(0).Name.Off)
	e.Begin()
	e.Text = w.core.appendVia(e.Text, &to)
	e.Text = w.appendBranch(e.Text, m, b, from)
	if to.Proto == transport.TLS && w.cfg.Alias != nil {
		e.Text = append(e.Text, ";alias"...) // RFC 5923 section 8.1
	}
	e.Text = append(e.Text, "\r\n"...)
	sips := uri.SchemeIs == parser.SchemeSIPS && !upgrade || next.SchemeIs == parser.SchemeSIPS && next != &uri
	if m.Method == parser.MethodRegister {
		w.appendPath(m, b, from, &to, sips)
	} else {
		w.appendRecordRoute(m, b, t, from, &to, sips)
	}
	// 3. "If the copy does not contain a Max-Forwards header field, the proxy MUST add one with a field
	// value, which SHOULD be 70."
	if !m.Has(parser.HeaderMaxForwards) {
		e.Text = append(e.Text, "Max-Forwards: 70\r\n"...)
	}
	// "All proxied requests MUST contain a single Max-Breadth header field value." RFC 5393 section 5.3.3
	if !m.Has(parser.HeaderMaxBreadth) {
		e.Text = append(e.Text, "Max-Breadth: "...)
		e.Text = appendNumber(e.Text, uint64(breadth))
		e.Text = append(e.Text, "\r\n"...)
	}
	e.Insert(top)

	// What the server transport adds to the Via of the sender (RFC 3261 section 18.2.1).
	w.patchVia(m, b, source)

	// 3. "If the copy contains a Max-Forwards header field, the proxy MUST decrement its value by one".
	if m.Has(parser.HeaderMaxForwards) {
		h := m.HeaderAt(m.First(parser.HeaderMaxForwards))
		e.Begin()
		e.Text = appendNumber(e.Text, uint64(m.MaxForwards)-1)
		e.Replace(int(h.Value.Off), int(h.Value.Len))
	}
	if m.Has(parser.HeaderMaxBreadth) {
		w.setBreadth(m, b, breadth)
	}
	if r.n > 0 {
		w.editRoutes(m, b, first, strict, requestURI)
	}
	if rule.headers != [2]HeaderEditsID{} {
		w.editHeaders(m, b, rule)
	}
	if w.cfg.UDPMTUSwitch && to.Proto == transport.UDP {
		to = w.avoidFragments(m, from, to)
	}
	w.addLength(m, to.Proto)
	return to, fault{}
}

// upgrades tells whether the target's Request-URI, uri, is a SIPS URI that a SIP URI leads to: "When a proxy receives a request
// with a SIP Request-URI, the proxy MUST NOT forward the request to a SIPS Request-URI. If the target UAS had registered
// previously using a SIPS Contact header field, and the proxy decides to forward the request, the proxy MUST replace that SIPS
// scheme with a SIP scheme while leaving the rest of the URI as is, and use the resulting URI as the Request-URI of the
// forwarded request. The proxy MUST use TLS to forward the request to the UAS." RFC 5630 section 5.3
func (w *Worker) upgrades(uri *parser.URI) bool {
	return uri.SchemeIs == parser.SchemeSIPS && w.routing.uri.SchemeIs == parser.SchemeSIP
}

// way is step 7 of RFC 3261 section 16.6: the flow by which a request leaves for t. uri is the Request-URI that t gives it, and
// next, in nextBytes, the URI to route by.
func (w *Worker) way(t *target, from *transport.Flow, uri *parser.URI, nextBytes []byte, next *parser.URI) (to transport.Flow, f fault) {
	r := &w.routing
	secure := uri.SchemeIs == parser.SchemeSIPS
	noTLS := fault{statusTemporarily, causeNotSIPS}
	if r.uri.SchemeIs == parser.SchemeSIPS && !secure {
		// "when a proxy receives a request with a SIPS Request-URI, the proxy MUST only forward or retarget the request to a SIPS
		// Request-URI. [...] If the proxy needs to reject the request for that reason, the proxy MUST reject it with a 480
		// (Temporarily Unavailable) response. In this case, the proxy SHOULD include a Warning header with warn-code 380 'SIPS Not
		// Allowed'." RFC 5630 section 5.3
		return to, noTLS
	}
	if w.upgrades(uri) {
		noTLS.why = causeSIPSRequired
	}
	w.forwarded = 0
	if !t.hasHop && r.flow.Proto != 0 {
		to, w.forwarded = r.flow, branchByFlow
	} else {
		hop := t.hop
		if !t.hasHop {
			if hop, f = hopOf(nextBytes, next, secure); f.status != 0 {
				return to, f
			}
		}
		if to, f = w.core.egress(from, &hop); f.status != 0 && (!secure || f.why != causeTransport) {
			return to, f
		}
	}
	if secure && (!isSecure(to.Proto) || f.status != 0) {
		// "if the Request-URI specifies a SIPS resource, the proxy MUST follow the procedures of [4] as if the input URI were a SIPS
		// URI": over TLS, or not at all.
		return to, noTLS
	}
	return to, fault{}
}

// addLength is step 9: "If the request will be sent to the next hop using a stream-based transport and the copy contains no
// Content-Length header field, the proxy MUST insert one with the correct value for the body of the request". A
// WebSocket has frames, so that "the use of the Content-Length header in SIP messages is not necessary" there (RFC 7118
// section 5). The same serves responses.
func (w *Worker) addLength(m *parser.Message, proto transport.Protocol) {
	if proto != transport.TCP && proto != transport.TLS || m.Has(parser.HeaderContentLength) {
		return
	}
	e := &w.edits
	e.Begin()
	e.Text = append(e.Text, "Content-Length: "...)
	e.Text = appendNumber(e.Text, uint64(m.BodyLen))
	e.Text = append(e.Text, "\r\n"...)
	e.Insert(int(m.HeaderEnd))
}

// methodParam is the method parameter of a SIP URI with the ';' before it; empty when there is none. "The method
// parameter MUST NOT be placed in the Request-URI." RFC 3261 section 19.1.5
func methodParam(b []byte, u *parser.URI) parser.Span {
	if u.Params.Empty() || u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS {
		return parser.Span{}
	}
	it := parser.URIParamsOf(b, u.Params)
	for {
		name, value, hasValue, ok := it.Next()
		if !ok {
			return parser.Span{}
		}
		if !parser.EqualFoldString(name.In(b), "method") {
			continue
		}
		end := name.End()
		if hasValue {
			end = value.End()
		}
		return parser.Span{Off: name.Off - 1, Len: uint16(end-int(name.Off)) + 1}
	}
}

// unreachable tells why step 7 will find no way to t, as far as the address says it.
func (w *Worker) unreachable(t *target, b []byte, from *transport.Flow) (f fault) {
	r := &w.routing
	uri := &r.uri
	if t.len > 0 {
		b, uri = w.targets.uri(t), &w.route.URI
		if parser.ParseURI(b, parser.Span{Len: t.len}, uri).Code != 0 {
			return fault{status: statusServerError}
		}
	}
	if !t.hasHop && r.flow.Proto == 0 && r.left() > 0 {
		return f // a Route is judged when the request is made
	}
	_, f = w.way(t, from, uri, b, uri)
	return f
}

// appendBranch appends the branch parameter of the branch in hand. Its second part "MUST depend at least on
// the received Request-URI and any Route header field values used when processing the received
// request" (RFC 5393 section 4.2.1).
func (w *Worker) appendBranch(dst []byte, m *parser.Message, b []byte, from *transport.Flow) []byte {
	if w.branch.Ref == (txn.Ref{}) {
		return w.keys.AppendStatelessBranch(dst, m, b, w.loopHash(m, b, from), &w.reply)
	}
	return w.keys.AppendBranch(dst, w.branch)
}

// editRoutes removes the Route values that are not r.values[first:r.last] and, for a strict next hop,
// appends the Request-URI as the last one.
func (w *Worker) editRoutes(m *parser.Message, b []byte, first int, strict bool, requestURI []byte) {
	r, e := &w.routing, &w.edits
	for i := 0; i < r.n; {
		line := r.values[i].line
		j := i
		for j < r.n && r.values[j].line == line {
			j++
		}
		from, to := max(i, first), min(j, r.last) // the values of this line that stay
		switch {
		case from >= to:
			s := m.LineSpan(int(line))
			e.Cut(int(s.Off), int(s.Len))
		default:
			if from > i {
				at := int(r.values[i].span.Off)
				e.Cut(at, int(r.values[from].span.Off)-at)
			}
			if to < j {
				at := r.values[to-1].span.End()
				e.Cut(at, r.values[j-1].span.End()-at)
			}
		}
		i = j
	}
	if strict {
		// Behind the last Route line, whether or not a value of it is left.
		e.Begin()
		e.Text = append(e.Text, "Route: <"...)
		e.Text = append(e.Text, requestURI...)
		e.Text = append(e.Text, ">\r\n"...)
		e.Insert(m.LineSpan(int(r.values[r.n-1].line)).End())
	}
}
