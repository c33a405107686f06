package router

import (
	"bytes"
	"sync/atomic"

	"sipedge/parser"
	"sipedge/router/overload"
	"sipedge/transport"
	"sipedge/txn"
)

// shed is what a Worker has against too much of everything. Owned by its loop.
type shed struct {
	gauge   transport.Gauge // of the loop, or nil
	control overload.Controller
	next    transport.Instant // when to look at the gauge again
	retry   uint32            // Retry-After of the answer in hand, in seconds
	acks    []byte            // what the ACKs of refusals have in them
	until   transport.Instant // and how long they may come
	shown   shownLoad
	refusals
}

func (s *shed) init(l transport.Loop, keys *txn.KeyLoop) {
	s.gauge = transport.GaugeOf(l)
	s.acks = append([]byte(";tag="), keys.RefusalMark()...)
	s.refusals.init(l)
}

// Load is how one loop fares.
type Load struct {
	DelayMicroseconds uint64 // how long packets wait for their turn, bursts left out
	FillPermille      uint64 // of the fullest receive buffer
	SharePermille     uint64 // of new calls, which is turned away
}

// shownLoad is a Load that other goroutines may read.
type shownLoad struct{ delay, fill, share atomic.Uint64 }

// Load is how a loop fares, false when there is no such loop. Safe from any goroutine.
func (c *Core) Load(loop int) (l Load, ok bool) {
	if loop < 0 || loop >= len(c.workers) {
		return l, false
	}
	w := c.workers[loop].Load()
	if w == nil {
		return l, false
	}
	s := &w.shed.shown
	return Load{s.delay.Load(), s.fill.Load(), s.share.Load()}, true
}

// acknowledged tells whether b is the ACK of a refusal. Nothing waits for it, so it is not read any further.
func (s *shed) acknowledged(b []byte, now transport.Instant) bool {
	return now < s.until && bytes.HasPrefix(b, []byte("ACK ")) && bytes.Contains(b, s.acks)
}

// appendRefusal appends what is special about a refusal: when to try again, and why. "The server MAY indicate when the client
// should retry the request in a Retry-After header field." RFC 3261 section 21.5.4
func (w *Worker) appendRefusal(dst []byte) []byte {
	s := &w.shed
	if s.retry != 0 {
		dst = append(dst, "Retry-After: "...)
		dst = appendNumber(dst, uint64(s.retry))
		dst = append(dst, "\r\n"...)
	}
	if s.bulk == nil {
		return dst
	}
	const end = "\"\r\nContent-Length: 0\r\n\r\n"
	dst = append(dst, "Warning: 399 sipedge \"too much to do"...)
	for (len(dst)+len(end))%sizeStep != 0 {
		dst = append(dst, '.')
	}
	return append(dst, "\"\r\n"...)
}

// measure lets the controller know how far behind this loop is.
func (w *Worker) measure(now transport.Instant) {
	s := &w.shed
	if s.due != 0 && now >= s.due {
		w.flushRefusals()
	}
	if now < s.next {
		return
	}
	s.next = now.Add(overload.StepEvery)
	b := transport.Backlog{}
	if s.gauge != nil {
		b = s.gauge.Backlog()
	}
	s.shown.delay.Store(uint64(b.Delay.Microseconds()))
	s.shown.fill.Store(uint64(b.Fill * 1000))
	s.shown.share.Store(uint64(s.control.Share(overload.Call) * 1000))
	s.control.Step(now, w.core.guard.Config(), b, w.core.store.Fullness())
}

// unwanted tells whether a request goes no further, and does then what there is to do: an answer, or silence. It comes
// right behind the parser, so that what is not wanted costs nothing else.
func (w *Worker) unwanted(from *transport.Flow, m *parser.Message, b []byte) bool {
	if (!m.Has(parser.HeaderTo) || m.To.Tag.Empty()) && w.core.guard.Scanner(m, b) {
		w.n.Scanners++
		return true
	}
	if m.Method == parser.MethodAck || m.Method == parser.MethodCancel {
		return false // they belong to something, or are judged when that is not found
	}
	switch w.overRate(from, m, b) {
	case overload.Drop:
		return true
	case overload.Reject:
		if readable(m) {
			w.turnAway(from, m, b, w.keys.ServerKey(m, b).Check)
		}
		return true
	}
	return readable(m) && w.shedding(from, m, b)
}

// readable tells whether everything in a request is as it should be that it is judged and answered by.
func readable(m *parser.Message) bool { return m.Err.Code == 0 || m.Err.Code == parser.ErrContact }

// overRate tells what becomes of a request for the rate of its source: Pass, unless there is one and it is used up.
func (w *Worker) overRate(from *transport.Flow, m *parser.Message, b []byte) overload.Verdict {
	g := w.core.guard
	if !g.Limits(&from.Remote.IP) || w.provesDialog(from, m, b) {
		return overload.Pass
	}
	v := g.Take(&from.Remote.IP, w.now)
	if v == overload.Pass || w.cfg.Trusted != nil && w.cfg.Trusted(*from) || w.urgent(m.RequestURI.In(b)) {
		return overload.Pass
	}
	w.n.Limited++
	return v
}

// provesDialog tells whether a request belongs to a dialog that came through here.
func (w *Worker) provesDialog(from *transport.Flow, m *parser.Message, b []byte) bool {
	return readable(m) && !m.To.Tag.Empty() && w.preprocess(m, b, from).status == 0 && w.routing.inDialog
}

// shedding turns a request away, if it is one that there is no time for.
func (w *Worker) shedding(from *transport.Flow, m *parser.Message, b []byte) bool {
	s := &w.shed
	class := classOf(m)
	if !s.control.Active() {
		s.control.Count(class)
		return false
	}
	if class == overload.Kept || w.provesDialog(from, m, b) {
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
	w.turnAway(from, m, b, key.Check)
	return true
}

// turnAway answers a request that there is no time for. draw is a random number that belongs to its transaction.
func (w *Worker) turnAway(from *transport.Flow, m *parser.Message, b []byte, draw uint64) {
	w.shed.retry = w.core.guard.Config().Retry(draw)
	w.shed.until = w.now.Add(64 * w.timers.T1)
	w.refuse(from, m, b)
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
