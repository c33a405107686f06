package router

import (
	"sync/atomic"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// Verdict is what a decision came to.
type Verdict uint8

const (
	// Default leaves the request to the static order (see place).
	Default Verdict = iota
	// Forward sends it to the targets given.
	Forward
	// Suspend holds it until Core.Answer brings the answer, or the deadline passes.
	Suspend
	// Reject answers it with Query.Status.
	Reject
	// Resolved says that a name was looked up; only the router makes such Answers.
	Resolved
)

// Query is what a decision is asked about. Everything in it is borrowed until the DecideFunc returns.
type Query struct {
	Message  *parser.Message
	Bytes    []byte // beside Message
	From     transport.Flow
	InDialog bool // proven by our Record-Route token
	Routes   int  // Route values that are left when ours are gone: they say where the request wants to go
	Maddr    bool // the Request-URI has a maddr that is not ours: it leads there and not to its host (RFC 3261 section 19.1.1)
	Now      transport.Instant
	Status   int // with Reject: the final status
	// Reason and Lines are for the answer of a Reject: the reason phrase, if not the usual one, and header lines, each with its
	// line end. Lines comes empty, with room for maxAnswerLines bytes that the decision may use.
	Reason string
	Lines  []byte
	// Stateless, with Forward: the request is to be handled without state (RFC 3261 section 16.11): only its first target
	// counts, and each copy must be decided alike, and ACK and CANCEL as their INVITE.
	Stateless bool
	// Peer, with Forward and Default: whose calls this one counts among, for Config.Dialogs; 0: nobody's.
	Peer uint16
	// Rule, with Default: the rule of the target that the static order finds.
	Rule RuleID
	// Loop, Ref and Decision belong into the Answer that ends a suspension. Ref is zero when the
	// request is handled statelessly: then it cannot wait, Suspend drops it, and its
	// retransmission is expected to find the answer ready.
	Loop     int
	Ref      txn.Ref
	Decision uint32
}

// A DecideFunc places a request. It runs on the loop: it must not block, allocate or log. What takes time
// is given to a worker goroutine as copies, with a Suspend.
type DecideFunc func(q *Query, to *TargetSet) Verdict

// Answer ends the suspension of one decision. It is taken by Core.Answer.
type Answer struct {
	Loop     int
	Ref      txn.Ref
	Decision uint32
	Verdict  Verdict // Default, Forward or Reject
	Status   int     // with Reject; with Resolved: which look-up
	Targets  TargetSet
	Peer     uint16 // with Forward, as Query.Peer

	own  *own          // a request of our own instead, see own_request.go
	lost *lostResponse // a response instead, see backup_response.go
	once *onceOnly     // a request that is handled without state, see once_only.go
	next *Answer
}

// answers is a lock-free stack that any goroutine pushes to and one loop empties.
type answers struct {
	head  atomic.Pointer[Answer]
	count atomic.Int64
}

func (s *answers) push(a *Answer) bool {
	if s.count.Add(1) > maxAnswers {
		s.count.Add(-1)
		return false
	}
	for {
		a.next = s.head.Load()
		if s.head.CompareAndSwap(a.next, a) {
			return true
		}
	}
}

// takeAll returns what was pushed, oldest first.
func (s *answers) takeAll() (first *Answer) {
	n := int64(0)
	for a := s.head.Swap(nil); a != nil; n++ {
		a.next, first, a = first, a, a.next
	}
	s.count.Add(-n)
	return first
}

// Answer hands the answer of a suspended decision to the loop that asked. It takes a. It
// reports false when too many answers wait already; the decision then ends by its deadline.
// Safe from any goroutine; never blocks.
func (c *Core) Answer(a *Answer) bool {
	w := c.workers[a.Loop].Load()
	if w == nil || !w.answers.push(a) {
		return false
	}
	w.loop.Wake()
	return true
}
