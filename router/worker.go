package router

import (
	"sync/atomic"

	"math"

	"sipedge/parser"
	"sipedge/router/dialog"
	"sipedge/transport"
	"sipedge/txn"
)

// Worker handles the messages of one loop: it is that loop's transport.Handler. Owned by the
// loop; only answers and shared are touched by other goroutines.
type Worker struct {
	core   *Core
	cfg    *Config
	timers *txn.Timers
	loop   transport.Loop
	id     int
	local  *txn.Local
	keys   *txn.KeyLoop
	now    transport.Instant

	msg     parser.Message // the message in hand
	kept    parser.Message // a message from the store, taken apart again
	other   parser.Message // a second one beside kept: challenges, rendered requests
	edits   parser.Edits
	routing routing
	route   parser.Address // a Route value behind the topmost one
	branch  txn.BranchID   // the branch being forwarded; a zero Ref: statelessly
	targets TargetSet
	placed  TargetSet // where a Contact of a 3xx is to go, see placeContact
	renamed []byte    // the request with that Contact as its Request-URI
	finder  finder
	own     uint64  // requests of our own so far
	dialog  txn.Ref // the entry of the branch in hand, see dialogs.go
	counted bool    // and it is the branch that has made it
	sweeper dialog.Sweeper
	claimed *txn.ResponseContext // for the panic barrier
	reply   transport.Addr       // where the responses to a request that is being relayed go
	scratch []byte
	source  [17]byte     // address and transport that the request in hand came by
	later   atomic.Int32 // requests that wait for a name outside of any context, see once_only.go
	second  bool         // the request in hand is one of them that has waited
	query   Query        // of the decision in hand
	said    said         // and what it wants in its answer
	lines   []byte       // memory for its lines
	aside   bool         // and that it wants no state

	forwarded txn.BranchFlags  // what the branch that forward has made has to remember
	sent      transport.Status // what became of the last send
	tagPort   bool             // patchVia notes the source port whether or not it is asked for
	aliases   [64]aliased      // by connection; see alias

	shed shed

	n         Counters
	dirty     bool
	announced transport.Instant

	answers answers
	waiting *Answer // taken from answers, not yet handled
	shared  published
}

// Receive takes in one message. It borrows b.
func (w *Worker) Receive(from transport.Flow, b []byte, now transport.Instant) {
	defer w.barrier()
	w.now, w.dirty = now, true
	switch {
	case isKeepAlive(b):
		w.n.KeepAlives++
		return
	case w.shed.acknowledged(b, now):
		w.n.RequestsIn++
		w.n.Absorbed++
		return
	case from.Proto == transport.UDP && isSTUN(b):
		w.n.KeepAlives++
		w.answerSTUN(&from, b)
		return
	}
	m := &w.msg
	switch err := parse(b, m, from.Proto); {
	case err.Code.Class() == parser.ClassUnreadable:
		w.n.Malformed++
	case m.Request:
		w.n.RequestsIn++
		if from.Proto == transport.TLS && w.cfg.Alias != nil {
			w.alias(&from, m, b)
		}
		w.request(&from, m, b)
	default:
		w.n.ResponsesIn++
		w.response(&from, m, b)
	}
}

// parse reads a datagram, a WebSocket message (RFC 7118 section 5: "Each SIP message MUST be carried within a single WebSocket
// message", and needs no Content-Length) or what a stream was found to hold: then the verdicts that only a stream has
// count, above all "The Content-Length header field MUST be used with stream oriented transports." (RFC 3261
// section 18.3). What is behind the bounds of the transport comes here for its answer too.
func parse(b []byte, m *parser.Message, proto transport.Protocol) parser.Error {
	if proto != transport.TCP && proto != transport.TLS {
		return parser.Parse(b, m)
	}
	f := parser.Framer{Limit: math.MaxUint32} // the transport has judged the size
	switch _, frame := f.Next(b, m); {
	case frame == parser.FrameMore && f.Need() > 0 && m.Err.Class() != parser.ClassUnreadable:
		m.Err = parser.Error{Code: parser.ErrMessageSize} // it has not waited for the rest
	case frame == parser.FrameMore && f.Need() == 0, frame == parser.FrameKeepAlive: // m is what it was before
		return parser.Error{Code: parser.ErrNoHeaderEnd}
	}
	return m.Err
}

// barrier keeps a panic to the message that caused it: the context in hand is poisoned, so that
// nothing trusts it again, its claim is given up, and the loop hears of the panic.
func (w *Worker) barrier() {
	if w.claimed == nil {
		return
	}
	if r := recover(); r != nil {
		w.n.Panics++
		c := w.claimed
		w.claimed = nil
		if c.Flags&flagAnswered == 0 {
			w.n.Answered++
		}
		w.n.Ended++
		w.local.Poison(c)
		panic(r)
	}
}

// isKeepAlive knows the datagrams that only keep a NAT binding open: empty, or CR, LF and NUL
// alone (RFC 5626 section 3.5.1 for the form on streams; phones send it over UDP too).
func isKeepAlive(b []byte) bool {
	if len(b) > maxKeepAlive {
		return false
	}
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

// Woken takes the answers of decisions in.
func (w *Worker) Woken(now transport.Instant) {
	w.now, w.dirty = now, true
	defer w.comeBack()
	if w.waiting == nil {
		w.waiting = w.answers.takeAll()
	}
	for w.waiting != nil {
		a := w.waiting
		w.waiting, a.next = a.next, nil
		w.answered(a)
	}
}

// comeBack has Woken called again for the answers behind one that panicked, and for those that came while these were taken.
func (w *Worker) comeBack() {
	if w.waiting != nil || w.answers.head.Load() != nil {
		w.loop.Wake()
	}
}

// Quiesce, Idle and Busy tell the store which memory this loop may still be reading.
func (w *Worker) Quiesce() { w.local.Quiesce() }

// Idle is Quiesce before a sleep.
func (w *Worker) Idle() { w.local.Idle() }

// Busy ends Idle.
func (w *Worker) Busy() { w.local.Busy() }

// send gives what was rendered into the loop's buffer to the transport. w.sent says what became of it.
func (w *Worker) send(to *transport.Flow, b []byte) bool {
	w.sent = w.loop.Send(*to, b)
	if w.sent == transport.Queued {
		return true
	}
	if w.sent == transport.Gone && isResponse(b) && w.resendLost(to, b, false) {
		return true
	}
	w.n.SendFailed++
	return false
}

// handle processes an event that found its context claimed by another loop and was kept.
func (w *Worker) handle(c *txn.ResponseContext, e *txn.Event) {
	switch e.Kind {
	case txn.EventRequest:
		if parser.Parse(e.Data, &w.msg).Code.Class() != parser.ClassUnreadable {
			w.requestAgain(c, &e.From, &w.msg, e.Data)
		}
	case txn.EventResponse:
		if parser.Parse(e.Data, &w.msg).Code.Class() != parser.ClassUnreadable {
			w.branchResponse(c, e.Branch, &e.From, &w.msg, e.Data)
		}
	case txn.EventExpired:
		w.expire(c, e.At)
	case txn.EventSendFailed:
		w.branchFailed(c, e.Branch, &e.From, transport.Failure(e.Why))
	case txn.EventAnswer:
		w.resume(c, e)
	}
}

// settle ends the work on a claimed context: it ends the context when nothing is left of it,
// otherwise arms its next timer and gives the claim up, after what arrived for it meanwhile.
func (w *Worker) settle(c *txn.ResponseContext) {
	for {
		if c.Server.Kind == txn.NonInviteServer && c.Status >= 200 && c.Pending == 0 {
			// "The "Completed" state exists to buffer any additional response retransmissions that may be received"
			// (RFC 3261 section 17.1.2.2, Timer K). A response to a branch that is gone is absorbed as well, so the
			// branch is given back at once, and with it a timer of five seconds for each call.
			w.local.DropBranches(c)
		}
		next, done := w.next(c)
		if done {
			w.end(c)
			return
		}
		if !w.local.Arm(c, next) {
			w.n.StoreFull++
			w.end(c) // without a timer it would live for ever
			return
		}
		e, more := w.local.Release(c)
		if !more {
			w.claimed = nil
			return
		}
		w.handle(c, e)
	}
}

// end is for a context that has nothing left to do.
func (w *Worker) end(c *txn.ResponseContext) {
	w.countAnswered(c)
	w.branchesEnd(c)
	w.n.Ended++
	w.claimed = nil
	w.local.End(c)
}

// countAnswered notes once that c has had its final response, or never will.
func (w *Worker) countAnswered(c *txn.ResponseContext) {
	if c.Flags&flagAnswered == 0 {
		c.Flags |= flagAnswered
		w.n.Answered++
	}
}

// next is the earliest deadline of c, 0 for none; done says that every transaction of the
// context has terminated: "The proxy MUST maintain the response context until all of its associated
// transactions have been terminated" RFC 3261 section 16.7 step 9.
func (w *Worker) next(c *txn.ResponseContext) (at transport.Instant, done bool) {
	at = earlier(c.Server.Next(), c.Wait)
	done = c.Server.State == txn.Terminated && c.Wait == 0
	for b := w.local.First(c); b != nil; {
		following := w.local.Next(b)
		if b.Main.State == txn.Terminated && b.Cancel.State != txn.Trying && b.Cancel.State != txn.Proceeding {
			b = following
			continue
		}
		done = false
		at = earlier(at, b.Main.Next())
		at = earlier(at, b.Cancel.Next())
		at = earlier(at, b.TimerC)
		b = following
	}
	return at, done
}

// earlier is the smaller of two deadlines, where 0 is none.
func earlier(a, b transport.Instant) transport.Instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
