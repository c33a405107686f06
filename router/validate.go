package router

import (
	"sipedge/parser"
	"sipedge/transport"
)

// validate is RFC 3261 section 16.3 in its order, after the syntax check that the parser made
// and malformed answers. It holds for requests that we would forward.
func (w *Worker) validate(m *parser.Message, b []byte, from *transport.Flow) fault {
	// 2. "If the Request-URI has a URI whose scheme is not understood by the proxy, the proxy SHOULD
	// reject the request with a 416". tel (RFC 3966) and urn (RFC 5031, emergency) are read, and
	// with a Route it is the Route that decides.
	switch m.URI.SchemeIs {
	case parser.SchemeSIP, parser.SchemeSIPS, parser.SchemeTel, parser.SchemeURN:
	default:
		return fault{status: statusUnsupportedScheme}
	}
	// 3. "If the request contains a Max-Forwards header field with a field value of zero (0), the element
	// MUST NOT forward the request. If the request was for OPTIONS, the element MAY act as the
	// final recipient and respond per Section 11. Otherwise, the element MUST return a 483".
	if m.Has(parser.HeaderMaxForwards) && m.MaxForwards == 0 {
		if m.Method == parser.MethodOptions && w.isOurURI(b, &m.URI, from) {
			return optionsForUs(m)
		}
		return fault{status: statusTooManyHops}
	}
	// 4. Loop detection, as RFC 5393 section 4.2.2 replaces it.
	if (!m.Via.LastValue || m.Lines(parser.HeaderVia) > 1) && w.looped(m, b, from) {
		return fault{status: statusLoopDetected}
	}
	// 5. "If the request contains a Proxy-Require header field (Section 20.29) with one or more option-tags this
	// element does not understand, the element MUST return a 420". "Require and Proxy-Require MUST NOT be used
	// in a SIP CANCEL request, or in an ACK request sent for a non-2xx response. These header fields MUST be
	// ignored if they are present in these requests." Section 8.2.2.3; and an ACK is never answered.
	if m.Has(parser.HeaderProxyRequire) && m.Method != parser.MethodAck && m.Method != parser.MethodCancel {
		return fault{statusBadExtension, causeExtensions}
	}
	return fault{}
}

// looped looks for a Via of ours whose second part equals this request's: "If these values are equal,
// the request has looped and the proxy MUST reject the request with a 482 (Loop Detected) response. If the
// values differ, the request is spiraling and processing continues" RFC 5393 section 4.2.2. Which
// Via is ours is told by the keyed code in its branch, so another's sent-by cannot deceive us.
func (w *Worker) looped(m *parser.Message, b []byte, from *transport.Flow) bool {
	var v parser.Via
	here, known := uint64(0), false
	vs := m.Values(b, parser.HeaderVia)
	for {
		value, _, ok := vs.Next()
		if !ok {
			return false
		}
		if parser.ParseVia(b, value, &v).Code != 0 || !v.Cookie {
			continue // "parsing [...] must not cause an implementation to fail": RFC 5393 section 4.2.4
		}
		then, ours := w.keys.LoopOf(v.Branch.In(b))
		if !ours {
			continue
		}
		if !known {
			here, known = w.loopHash(m, b, from), true
		}
		if then == here {
			return true
		}
	}
}

// loopHash tells loops from spirals, by everything that decides where m goes (RFC 5393 section 4.2.1).
func (w *Worker) loopHash(m *parser.Message, b []byte, from *transport.Flow) uint64 {
	if w.cfg.Decide == nil {
		return w.keys.LoopHash(m, b, nil)
	}
	copy(w.source[:], from.Remote.IP[:])
	w.source[len(from.Remote.IP)] = byte(from.Proto)
	return w.keys.LoopHash(m, b, w.source[:])
}

// malformed answers a request that can be read but not handled, or says nothing where there is nobody to say it to.
func (w *Worker) malformed(from *transport.Flow, m *parser.Message, b []byte) {
	w.n.Malformed++
	if !m.Has(parser.HeaderVia) || m.Via.Host.Empty() || m.Method == parser.MethodAck {
		return
	}
	w.reject(from, m, b, fault{status: int(m.Err.Code.Status())})
}
