package router

import (
	"strconv"

	"sipedge/parser"
	"sipedge/transport"
)

// appendResponse renders a response of our own to the request m (RFC 3261 section 8.2.6). The
// Via values are those of the request, with what patchVia adds to the first; source is where
// the request came from.
func (w *Worker) appendResponse(dst []byte, m *parser.Message, b []byte, source *transport.Addr, status int, why cause) []byte {
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendUint(dst, uint64(status), 10)
	dst = append(dst, ' ')
	if why == causeSaid && w.said.reason != "" {
		dst = append(dst, w.said.reason...)
	} else {
		dst = append(dst, reason(status)...)
	}
	dst = append(dst, "\r\n"...)
	// "The Via header field values in the response MUST equal the Via header field values in the
	// request and MUST maintain the same ordering." RFC 3261 section 8.2.6.2
	w.edits.Reset()
	w.patchVia(m, b, source)
	for i := range m.HeaderCount() {
		h := m.HeaderAt(i)
		if h.ID != parser.HeaderVia && i != m.First(h.ID) {
			continue // a second one of these is why the request is refused
		}
		switch h.ID {
		case parser.HeaderVia:
			line := m.LineSpan(i)
			if i == int(m.Via.Line) {
				dst = w.edits.AppendRange(dst, b, int(line.Off), line.End())
			} else {
				dst = append(dst, line.In(b)...)
			}
		case parser.HeaderFrom, parser.HeaderCallID, parser.HeaderCSeq:
			dst = append(dst, m.LineSpan(i).In(b)...)
		case parser.HeaderTo:
			dst = append(dst, "To: "...)
			dst = append(dst, h.Value.In(b)...)
			// "if the To header field in the request did not contain a tag, the URI in the To header field in
			// the response MUST equal the URI in the To header field; additionally, the UAS MUST add a tag
			// to the To header field in the response (with the exception of the 100 (Trying) response, in
			// which a tag MAY be present)." RFC 3261 section 8.2.6.2
			if m.To.Tag.Empty() && status != statusTrying {
				dst = append(dst, ";tag="...)
				if why == causeOverload {
					dst = w.keys.AppendRefusalTag(dst, m, b)
				} else {
					dst = w.keys.AppendLocalTag(dst, m, b)
				}
			}
			dst = append(dst, "\r\n"...)
		case parser.HeaderTimestamp:
			// "any Timestamp header field present in the request MUST be copied into this 100 (Trying)
			// response." RFC 3261 section 8.2.6.1
			if status == statusTrying {
				dst = append(dst, m.LineSpan(i).In(b)...)
			}
		}
	}
	dst = w.appendCause(dst, why, m, b)
	return append(dst, "Content-Length: 0\r\n\r\n"...)
}

// reject answers a request of which no state is kept (RFC 3261 section 8.2.7). Such an answer is the
// same for every copy of the request, so a lost one is mended by the sender's retransmission.
func (w *Worker) reject(from *transport.Flow, m *parser.Message, b []byte, f fault) {
	w.n.Rejected++
	switch f.status {
	case statusOK:
		w.n.Rejected--
	case statusLoopDetected:
		w.n.Looped++
	case statusTooManyHops:
		w.n.TooManyHops++
	case statusForbidden:
		w.n.Refused++
	case statusUnavailable:
		w.n.Unavailable++
	}
	if m.Method == parser.MethodAck {
		return // "ACK [...] MUST NOT be responded to": RFC 3261 section 8.2.7 and 17
	}
	to := w.upstreamFlow(from, m, b)
	w.n.ResponsesOut++
	w.send(&to, w.appendResponse(w.loop.Buffer(), m, b, &from.Remote, f.status, f.why))
}
