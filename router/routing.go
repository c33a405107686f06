package router

import (
	"strconv"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// routing is what RFC 3261 section 16.4 makes of the request in hand. Nothing is changed in the
// request yet; forward turns this into edits.
type routing struct {
	uri         parser.URI // the Request-URI to route by: offsets into the request, or into text
	text        []byte     // replaces the Request-URI when replaced is set
	replaced    bool
	inDialog    bool           // proven by our own Record-Route token
	fromFlow    bool           // a token names the flow that the request came by
	flow        transport.Flow // by which it has to go on, as a token says; no Proto: there is none
	elseAddress bool           // and if that is gone, where it says itself
	dialog      txn.Ref        // the entry of the dialog, as a token says; zero: none

	values [maxRouteValues]routeValue
	n      int // Route values received
	first  int // the first that is left
	last   int // one behind the last that is left
}

// routeValue is one value of a Route header.
type routeValue struct {
	span parser.Span
	line uint16
}

// maxRouteValues bounds the Route values of a request. Each is a proxy to pass, and Max-Forwards
// starts at 70.
const maxRouteValues = 70

// tokenParam is the parameter of our Record-Route URI that carries the token. It is opaque to others.
const tokenParam = "se"

// left is the number of Route values that remain after preprocessing.
func (r *routing) left() int { return r.last - r.first }

// preprocess is RFC 3261 section 16.4. The result is in w.routing.
func (w *Worker) preprocess(m *parser.Message, b []byte, from *transport.Flow) fault {
	r := &w.routing
	r.replaced, r.inDialog, r.fromFlow, r.n, r.first, r.last = false, false, false, 0, 0, 0
	r.dialog = txn.Ref{}
	r.flow.Proto = 0
	r.uri = m.URI
	if m.Lines(parser.HeaderRoute) == 1 && m.HeaderAt(m.First(parser.HeaderRoute)).Value == m.Route.Value {
		r.values[0] = routeValue{m.Route.Value, m.Route.Line} // nearly always: one value, which the parser has read
		r.n, r.last = 1, 1
	} else if m.Has(parser.HeaderRoute) {
		vs := m.Values(b, parser.HeaderRoute)
		for {
			v, line, ok := vs.Next()
			if !ok {
				break
			}
			if r.n == maxRouteValues {
				return fault{status: statusBadRequest}
			}
			r.values[r.n] = routeValue{v, uint16(line)}
			r.n++
		}
		if vs.Err.Code != 0 {
			// A list that cannot be read to its end is not followed half: "Any components involved in the remainder of these Request
			// Validation steps or the Request Forwarding section MUST be well-formed." RFC 3261 section 16.3 step 1
			return fault{status: statusBadRequest}
		}
		r.last = r.n
	}
	// "If the Request-URI of the request contains a value this proxy previously placed into a Record-Route
	// header field, the proxy MUST replace the Request-URI in the request with the last value from the
	// Route header field, and remove that value from the Route header field." A Path of ours is no such value: what is behind it
	// would be where the request goes without the policy having seen it.
	placed := false
	if r.left() > 0 && !m.URI.Params.Empty() && w.isOurRoute(b, &m.URI, from) && !isPath(b, &m.URI) {
		var f fault
		if placed, f = w.readToken(m, b, &m.URI, from); f.status != 0 {
			return f
		}
	}
	if placed {
		var a parser.Address
		r.last--
		if parser.ParseAddress(b, r.values[r.last].span, &a).Code != 0 {
			return fault{status: statusBadRequest}
		}
		r.replaced = true
		r.text = append(r.text[:0], a.Addr.In(b)...)
		r.uri = a.URI
	} else if !m.URI.Maddr.Empty() {
		w.stripMaddr(m, b, from)
	}
	// "If the first value in the Route header field indicates this proxy, the proxy MUST remove that value
	// from the request." Values of ours that follow at once are removed with it: a request that spiralled here has one
	// for each pass, we may have put in two at once, and one packet must not be able to pass through here seventy times.
	for a := &m.Route; r.left() > 0 && w.isOurRoute(b, &a.URI, from); a = &w.route {
		r.first++
		if _, f := w.readToken(m, b, &a.URI, from); f.status != 0 {
			return f
		}
		if r.left() > 0 && parser.ParseAddress(b, r.values[r.first].span, &w.route).Code != 0 {
			return fault{status: statusBadRequest}
		}
	}
	return fault{}
}

// stripMaddr: "If the Request-URI has a maddr parameter with a value the proxy is responsible for, and
// the request was received using the port and transport indicated (explicitly or by default) in the
// Request-URI, the proxy MUST strip the maddr and any non-default port or transport parameter and continue
// processing as if those values had not been present in the request."
func (w *Worker) stripMaddr(m *parser.Message, b []byte, from *transport.Flow) {
	u := &m.URI
	if u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS ||
		!w.core.isOurs(u.Maddr.In(b), u.Port, standardPort(u), from) && !w.core.isAddressOfOurs(u.Maddr.In(b), u.Port, from) {
		return
	}
	proto := protocolOf(b, u, false)
	standard := portOr(0, proto)
	if w.core.listeners[from.Listener].port != portOr(u.Port, proto) || from.Proto != proto {
		return
	}
	r := &w.routing
	end := u.Params.Off
	if !u.PortSpan.Empty() && u.Port != standard {
		end = u.PortSpan.Off - 1
	}
	r.text = append(r.text[:0], b[u.Whole.Off:end]...)
	it := parser.URIParamsOf(b, u.Params)
	for {
		name, value, hasValue, ok := it.Next()
		if !ok {
			break
		}
		n := name.In(b)
		if parser.EqualFoldString(n, "maddr") || parser.EqualFoldString(n, "transport") {
			continue
		}
		r.text = append(r.text, ';')
		r.text = append(r.text, n...)
		if hasValue {
			r.text = append(r.text, '=')
			r.text = append(r.text, value.In(b)...)
		}
	}
	r.replaced = true
	r.uri.Maddr, r.uri.Transport = parser.Span{}, parser.Span{}
	if r.uri.Port != standard {
		r.uri.Port, r.uri.PortSpan = 0, parser.Span{}
	}
}

// place is the static order of RFC 3261 section 16.5 for this proxy. It fills w.targets or says with
// what to answer.
//
//  0. Our Route names a flow: by that (RFC 5626 section 5.3).
//  1. A Route remains: follow it, in a dialog of ours or as an open relay.
//  2. In a dialog of ours: to the Request-URI.
//  3. Ours, without a user: for ourselves.
//  4. Ours, with a user: the next hop, else 404.
//  5. Not ours: as an open relay to the Request-URI, else the next hop, else 403. A tel or urn
//     Request-URI names no place: the next hop, else 404.
func (w *Worker) place(m *parser.Message, b []byte, from *transport.Flow) fault {
	r, c := &w.routing, w.core
	ours := w.isOurURI(b, &r.uri, from)
	switch {
	case r.flow.Proto != 0:
		w.targets.Add(0, nil, nil)
	case r.left() > 0:
		if !r.inDialog && !c.cfg.OpenRelay {
			return fault{status: statusForbidden}
		}
		w.targets.Add(0, nil, nil)
	case r.inDialog:
		w.targets.Add(0, nil, nil)
	case ours && !r.uri.HasUser && !(m.Method == parser.MethodRegister && c.cfg.NextHop != nil):
		return w.forUs(m)
	case ours && c.cfg.NextHop == nil:
		return fault{status: statusNotFound}
	case !ours && c.cfg.OpenRelay && (r.uri.SchemeIs == parser.SchemeSIP || r.uri.SchemeIs == parser.SchemeSIPS):
		w.targets.Add(0, nil, nil)
	case c.cfg.NextHop != nil:
		switch {
		case c.nextHop.literal:
			w.targets.Add(0, nil, &c.nextHop.hop)
		case c.cfg.Resolver.Lookup != nil:
			w.targets.AddNext(0, nil, c.nextHop.uri)
		default:
			return fault{statusUnavailable, causeName}
		}
	case r.uri.SchemeIs == parser.SchemeTel || r.uri.SchemeIs == parser.SchemeURN:
		return fault{status: statusNotFound}
	default:
		return fault{status: statusForbidden}
	}
	return fault{}
}

// forUs is what we answer to a request for the proxy itself.
func (w *Worker) forUs(m *parser.Message) fault {
	if m.Method == parser.MethodOptions {
		return optionsForUs(m)
	}
	// "If the UAS recognizes but does not support the method of a request, it MUST generate a 405 (Method
	// Not Allowed) response." RFC 3261 section 8.2.1
	return fault{statusMethodNotAllowed, causeMethod}
}

// optionsForUs answers an OPTIONS. "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond
// by generating a response with status code 420 (Bad Extension)." RFC 3261 section 8.2.2.3; as a UAS we understand none.
func optionsForUs(m *parser.Message) fault {
	if m.Has(parser.HeaderRequire) {
		return fault{statusBadExtension, causeRequire}
	}
	return fault{status: statusOK}
}

// nextHop is --next-hop made ready.
type nextHop struct {
	hop     transport.Hop
	literal bool
	uri     []byte // of a name
}

func newNextHop(n NextHop) nextHop {
	h := newOwnHost(n.Host, 0, false)
	uri := append([]byte("sip:"), n.Host...)
	if n.Port != 0 {
		uri = strconv.AppendUint(append(uri, ':'), uint64(n.Port), 10)
	}
	switch n.Proto {
	case 0:
		n.Proto = transport.UDP
	case transport.UDP:
		uri = append(uri, ";transport=udp"...)
	case transport.TCP:
		uri = append(uri, ";transport=tcp"...)
	case transport.TLS:
		uri = append(uri, ";transport=tls"...)
	}
	return nextHop{uri: uri, hop: transport.Hop{Addr: transport.Addr{IP: h.addr, Port: portOr(n.Port, n.Proto)}, Proto: n.Proto}, literal: h.literal}
}

// appendNumber appends n in decimal.
func appendNumber(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }
