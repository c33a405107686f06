package router

import (
	"sipedge/parser"
	"sipedge/router/overload"
	"sipedge/transport"
	"sipedge/txn"
)

// shedding is what a Worker has against too much of everything. Owned by its loop.
type shedding struct {
	gauge   transport.Gauge // of the loop, or nil
	control overload.Controller
	next    transport.Instant // when to look at the gauge again
	retry   uint32            // Retry-After of the answer in hand, in seconds
}

func (s *shedding) init(l transport.Loop) { s.gauge = transport.GaugeOf(l) }

// appendRetry appends when to try again. "The server MAY indicate when the client should retry the request in a Retry-After
// header field." RFC 3261 section 21.5.4
func (s *shedding) appendRetry(dst []byte) []byte {
	if s.retry == 0 {
		return dst
	}
	dst = append(dst, "Retry-After: "...)
	dst = appendNumber(dst, uint64(s.retry))
	return append(dst, "\r\n"...)
}

// measure lets the controller know how far behind this loop is.
func (w *Worker) measure(now transport.Instant) {
	s := &w.shed
	if now < s.next {
		return
	}
	s.next = now.Add(overload.StepEvery)
	b := transport.Backlog{}
	if s.gauge != nil {
		b = s.gauge.Backlog()
	}
	s.control.Step(now, &w.cfg.Overload, b, w.core.store.Fullness())
}

// unwanted tells whether a request goes no further, and does then what there is to do: an answer, or silence. It comes
// right behind the parser, so that what is not wanted costs nothing else.
func (w *Worker) unwanted(from *transport.Flow, m *parser.Message, b []byte) bool {
	s := &w.shed
	class := classOf(m)
	if !s.control.Active() {
		s.control.Count(class)
		return false
	}
	if class == overload.Kept {
		return false
	}
	if !m.To.Tag.Empty() && w.preprocess(m, b, from).status == 0 && w.routing.inDialog {
		return false
	}
	key := w.keys.ServerKey(m, b)
	if s.control.Admit(class, key.Check) {
		return false
	}
	if w.cfg.Mode == Stateful {
		switch c, outcome := w.local.Match(key); outcome {
		case txn.Claimed: // a copy of one that was let in
			w.claimed = c
			w.requestAgain(c, from, m, b)
			w.settle(c)
			return true
		case txn.Busy:
			return false
		}
	}
	if w.urgent(m.RequestURI.In(b)) {
		return false
	}
	w.n.Shed++
	s.retry = w.cfg.Overload.Retry(key.Check)
	w.reject(from, m, b, fault{statusUnavailable, causeOverload})
	return true
}

// urgent tells whether a Request-URI calls for help.
func (w *Worker) urgent(uri []byte) bool {
	if f := w.cfg.Emergency; f != nil {
		return f(uri)
	}
	const sos = "urn:service:sos" // RFC 5031
	return len(uri) >= len(sos) && parser.EqualFoldString(uri[:len(sos)], sos) && (len(uri) == len(sos) || uri[len(sos)] == '.')
}

// classOf is what a request is worth by its method. One that says it is in a dialog has to prove it.
func classOf(m *parser.Message) overload.Class {
	switch m.Method {
	case parser.MethodInvite:
		return overload.Call
	case parser.MethodAck, parser.MethodCancel, parser.MethodBye, parser.MethodPrack, parser.MethodUpdate, parser.MethodInfo:
		return overload.Kept
	}
	return overload.Other
}
