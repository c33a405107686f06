package router

import (
	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// appendPath adds what keeps us on the way of later requests to the client that registers (RFC 3327 section 5.2, RFC 5626
// section 5.1). It appends to w.edits.Text. The registrar reaches us on the side of to; the token names from.
func (w *Worker) appendPath(m *parser.Message, b []byte, from, to *transport.Flow, sips bool) {
	first := firstHop(m)
	if !w.needsPath(m, b, from, first) {
		return
	}
	e := &w.edits
	e.Text = append(e.Text, "Path: <"...)
	e.Text = w.core.appendOwnURI(e.Text, to, sips, from.Listener != to.Listener)
	if first {
		// "In addition, the first node MUST include an 'ob' URI parameter in its Path header field value. If the edge proxy is not the
		// first SIP node after the UAC it MUST NOT place an 'ob' URI parameter in a Path header field value." RFC 5626 section 5.1
		e.Text = append(e.Text, ";ob"...)
	}
	e.Text = append(e.Text, ";"+tokenParam+"="...)
	e.Text = w.keys.AppendFlowToken(e.Text, from)
	e.Text = append(e.Text, ">\r\n"...)
	if hasOption(m, b, parser.HeaderSupported, "path") && !hasOption(m, b, parser.HeaderRequire, "path") {
		// "If the UA has indicated support and the proxy requires the registrar to support the Path extension, then the proxy SHOULD
		// insert a Requires header field value for this extension." RFC 3327 section 5.2
		e.Text = append(e.Text, "Require: path\r\n"...)
	}
}

// isPath tells a URI of a Path of ours, good or not, from one of a Record-Route.
func isPath(b []byte, u *parser.URI) bool {
	token, _ := parser.URIParam(b, u.Params, tokenParam)
	return txn.IsFlowToken(token.In(b))
}

// needsPath tells whether a client that registers has to be reached through us:
//
//   - it registers a flow, and we are its first hop: "If the edge proxy is the first hop, as indicated by the Via header
//     field, it MUST insert its URI in a Path header field value as described in [RFC3327]." RFC 5626 section 5.1
//   - WebSocket clients, which cannot be reached otherwise, even if they say nothing of "path";
//   - one behind a NAT, or that cannot prove a name to us, that says that it knows Path: "Intermediate proxies SHOULD NOT add a Path header field to a request unless
//     the UA has indicated support for this extension with a Supported header field value." RFC 3327 section 5.2
func (w *Worker) needsPath(m *parser.Message, b []byte, from *transport.Flow, first bool) bool {
	switch {
	case from.Proto >= transport.WS:
		return true
	case !first, from.Proto == transport.UDP && !w.symmetric(m):
		return false
	}
	return registersFlow(m, b) || w.unreachableBack(m, b, from) && hasOption(m, b, parser.HeaderSupported, "path")
}

// registersFlow tells whether a Contact of m has "reg-id" (RFC 5626 section 4.2).
func registersFlow(m *parser.Message, b []byte) bool {
	if !m.Has(parser.HeaderContact) {
		return false
	}
	vs := m.Values(b, parser.HeaderContact)
	var a parser.Address
	for {
		v, _, ok := vs.Next()
		if !ok {
			return false
		}
		if parser.ParseAddress(b, v, &a).Code != 0 {
			continue
		}
		if _, has := parser.Param(b, a.Params, "reg-id"); has {
			return true
		}
	}
}

// hasOption tells whether header id of m lists an option-tag. "option-tags are case-insensitive" as all tokens (RFC 3261
// section 7.3.1).
func hasOption(m *parser.Message, b []byte, id parser.HeaderID, tag string) bool {
	if !m.Has(id) {
		return false
	}
	vs := m.Values(b, id)
	for {
		v, _, ok := vs.Next()
		if !ok {
			return false
		}
		if parser.EqualFoldString(v.In(b), tag) {
			return true
		}
	}
}
