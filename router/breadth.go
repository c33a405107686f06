package router

import "sipedge/parser"

// incomingBreadth is the Incoming Max-Breadth of RFC 5393 section 5.3.3: "If a SIP proxy receives a
// request with no Max-Breadth header field value, it MUST add one, with a value that is RECOMMENDED to
// be 60. Proxies MUST have a maximum allowable Incoming Max-Breadth value, which is RECOMMENDED to be 60. If this
// maximum is exceeded in a received request, the proxy MUST overwrite it with a value that SHOULD be no
// greater than its allowable maximum."
func incomingBreadth(m *parser.Message, b []byte) uint8 {
	if !m.Has(parser.HeaderMaxBreadth) {
		return maxBreadth
	}
	n, ok := parser.ParseUint(m.HeaderAt(m.First(parser.HeaderMaxBreadth)).Value.In(b), 1<<32-1)
	if !ok {
		return 1 // not a number: the least that still lets the request go one way
	}
	return uint8(min(n, maxBreadth))
}

// setBreadth writes the Max-Breadth of a branch where it differs from the received one.
func (w *Worker) setBreadth(m *parser.Message, b []byte, breadth uint8) {
	h := m.HeaderAt(m.First(parser.HeaderMaxBreadth))
	e := &w.edits
	e.Begin()
	e.Text = appendNumber(e.Text, uint64(breadth))
	e.Replace(int(h.Value.Off), int(h.Value.Len))
	// "All proxied requests MUST contain a single Max-Breadth header field value."
	for i := m.First(parser.HeaderMaxBreadth) + 1; i < m.HeaderCount() && m.Lines(parser.HeaderMaxBreadth) > 1; i++ {
		if m.HeaderAt(i).ID == parser.HeaderMaxBreadth {
			s := m.LineSpan(i)
			e.Cut(int(s.Off), int(s.Len))
		}
	}
}
