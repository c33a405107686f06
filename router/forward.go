package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// forward is RFC 3261 section 16.6 for one target: it leaves in w.edits what makes the request to send out of
// the received one, and returns the flow to send it by. The steps are numbered as there. The caller
// has named the branch in w.branch; it renders the copy (1), sends it (10) and sets Timer C (11).
//
// source is where the request came from, breadth the Max-Breadth of this branch.
func (w *Worker) forward(m *parser.Message, b []byte, t *target, from *transport.Flow, source *transport.Addr, breadth uint8) (to transport.Flow, f fault) {
	r, e := &w.routing, &w.edits
	e.Reset()

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
	hop := t.hop
	if !t.hasHop {
		if hop, f = hopOf(nextBytes, next); f.status != 0 {
			return to, f
		}
	}
	if uri.SchemeIs == parser.SchemeSIPS {
		// "if the Request-URI specifies a SIPS resource, the proxy MUST follow the procedures of [4] as
		// if the input URI were a SIPS URI": there is no TLS to do so by.
		return to, fault{statusUnavailable, causeTransport}
	}
	to, ok := w.core.egress(from, &hop)
	if !ok {
		return to, fault{statusUnavailable, causeFamily}
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
	e.Text = append(e.Text, "Via: SIP/2.0/UDP "...)
	e.Text = w.core.appendSentBy(e.Text, &to)
	e.Text = append(e.Text, ";branch="...)
	e.Text = w.appendBranch(e.Text, m, b)
	e.Text = append(e.Text, "\r\n"...)
	if w.records(m) {
		e.Text = append(e.Text, "Record-Route: <sip:"...)
		e.Text = w.core.appendSentBy(e.Text, &to)
		e.Text = append(e.Text, ";lr;"+tokenParam+"="...)
		e.Text = w.keys.AppendRouteToken(e.Text, m.CallID.In(b), m.From.Tag.In(b), txn.RouteRef{})
		e.Text = append(e.Text, ">\r\n"...)
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
	// 9. Content-Length is needed on streams only; a datagram's length is its own.
	return to, fault{}
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
	hop := t.hop
	uri := &r.uri
	if t.len > 0 {
		b, uri = w.targets.uri(t), &w.route.URI
		if parser.ParseURI(b, parser.Span{Len: t.len}, uri).Code != 0 {
			return fault{status: statusServerError}
		}
	}
	if uri.SchemeIs == parser.SchemeSIPS {
		return fault{statusUnavailable, causeTransport}
	}
	if !t.hasHop {
		if r.left() > 0 {
			return f // a Route is judged when the request is made
		}
		if hop, f = hopOf(b, uri); f.status != 0 {
			return f
		}
	}
	if _, ok := w.core.egress(from, &hop); !ok {
		return fault{statusUnavailable, causeFamily}
	}
	return f
}

// appendBranch appends the branch parameter of the branch in hand. Its second part "MUST depend at least on
// the received Request-URI and any Route header field values used when processing the received
// request" (RFC 5393 section 4.2.1).
func (w *Worker) appendBranch(dst []byte, m *parser.Message, b []byte) []byte {
	if w.branch.Ref == (txn.Ref{}) {
		return w.keys.AppendStatelessBranch(dst, m, b, w.keys.LoopHash(m, b), &w.reply)
	}
	return w.keys.AppendBranch(dst, w.branch)
}

// records tells whether we stay on the path of the dialog that m belongs to or may create. Methods
// that can neither create a dialog nor refresh one for an endpoint that has lost it are left alone;
// an unknown method "may have dialog semantics" (RFC 3261 section 16.6 step 4).
func (w *Worker) records(m *parser.Message) bool {
	if w.cfg.RecordRoute != RecordAlways {
		// RecordAuto: nothing that this proxy does yet has to see the rest of a dialog.
		return false
	}
	switch m.Method {
	case parser.MethodInvite, parser.MethodSubscribe, parser.MethodNotify, parser.MethodRefer, parser.MethodOther:
		return true
	}
	return false
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
