package router

import (
	"sipedge/parser"
	"sipedge/transport"
)

// onceOnly is a request that is handled without state and that its sender will not repeat, kept while the name of its next hop
// is looked up.
type onceOnly struct {
	from transport.Flow
	b    []byte
}

// relayLater is for a request without state whose next hop has to be looked up; the query is in w.finder. Over UDP its
// sender repeats it, and the copy finds the answer ready (RFC 3261 section 16.11 leaves retransmissions to the ends). What came
// on a stream and an ACK come once only, so a copy waits. The fault says why it cannot.
func (w *Worker) relayLater(from *transport.Flow, m *parser.Message, b []byte) fault {
	q, core := w.finder.query, w.core
	if !from.Proto.Reliable() && m.Method != parser.MethodAck {
		w.cfg.Resolver.Start(q, func() {})
		return fault{}
	}
	if w.second {
		return fault{statusServerTimeout, causeUnknown} // nobody could say in time
	}
	if m.Len > maxLaterBytes || w.later.Load() >= maxLater {
		return fault{statusUnavailable, causeBusy}
	}
	w.later.Add(1)
	a := &Answer{Loop: w.id, once: &onceOnly{*from, append([]byte(nil), b[:m.Len]...)}}
	if !w.cfg.Resolver.Start(q, func() {
		if !core.Answer(a) {
			w.later.Add(-1)
		}
	}) {
		w.later.Add(-1)
		return fault{statusUnavailable, causeBusy}
	}
	w.n.Suspended++
	return fault{}
}

// relayAgain goes on with a request that has waited.
func (w *Worker) relayAgain(o *onceOnly) {
	w.later.Add(-1)
	if parser.Parse(o.b, &w.msg).Code.Class() == parser.ClassUnreadable {
		return // it was read before
	}
	w.second = true
	defer func() { w.second = false }() // after a panic as well
	w.relay(&o.from, &w.msg, o.b)
}
