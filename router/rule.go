package router

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sipedge/transport"
	"sipedge/txn"
)

// A Rule says how a target behaves: when its alternatives are tried in its place, and what else becomes of its branch. A
// target that cannot be sent to (RFC 3261 section 16.9) fails over under every Rule.
type Rule struct {
	// Statuses are the final responses that fail over: a status from 300 to 599, or 3, 4 or 5 for the whole class.
	Statuses []int
	// Silence: no response at all in time fails over too.
	Silence bool
	// Timeout is how long the target may be silent, not even sending a 100; 0: until Timer B or F. From then on it counts as a
	// 408, whether or not there is an alternative. An INVITE cannot be taken back then ("If no provisional response has been
	// received, the CANCEL request MUST NOT be sent", RFC 3261 section 9.1): it is not sent again, a late provisional response
	// gets a CANCEL, and a late 2xx goes upstream.
	Timeout time.Duration
	// Overflow is the answer when Config.Admit lets no target in; 0: 503 with Retry-After.
	Overflow int
	// Recurse: the Contacts of a 300, 301 or 302 are tried by the proxy, by descending q, each URI at most once for a request
	// (RFC 3261 sections 16.5 and 16.7 step 4), wherever they lead. Whoever sets it says that the proxy is responsible for the
	// Request-URIs that the rule is used for: "If the proxy is not responsible for that URI, it will not recurse".
	Recurse bool
	// Then is the rule of the targets that Recurse finds; 0 is the default rule, which does not recurse, and Same this one.
	Then RuleID
	// Record: we stay on the path of the dialog, whatever Config.RecordRoute says.
	Record bool
	// Counted: Config.Dialogs hears of the dialog that an INVITE makes. It includes Record.
	Counted bool
	// Exempt: no limit holds these requests up (emergency calls), and no Route of theirs leads behind a target with a hop. Attempt says
	// so too.
	Exempt bool
	// Headers are changes to the request's header fields, done in this order; see Core.HeaderEdits.
	Headers [2]HeaderEditsID
}

// A RuleID names a Rule of a Core. 0 is the default rule: RFC 3263 section 4.3, that is 503, silence and transport errors.
type RuleID uint16

// Same is Rule.Then for targets that behave like the one that redirected to them.
const Same RuleID = 1<<16 - 1

// rule is a Rule ready for use, comparable.
type rule struct {
	statuses [(600 - 300 + 63) / 64]uint64
	timeout  time.Duration
	overflow int
	then     RuleID
	silence  bool
	recurse  bool
	record   bool
	counted  bool
	exempt   bool
	headers  [2]HeaderEditsID
}

func (r *rule) has(status uint16) bool {
	i := int(status) - 300
	return i >= 0 && i < 300 && r.statuses[i/64]>>(i%64)&1 != 0
}

func (r *rule) set(status int) { r.statuses[(status-300)/64] |= 1 << ((status - 300) % 64) }

// rules is an append-only list. A RuleID is never given to another rule. Safe for concurrent use; at takes no lock.
type rules struct {
	list atomic.Pointer[[]rule]
	mu   sync.Mutex
	ids  map[rule]RuleID
}

// ErrRules says that there are maxRules different rules already.
var ErrRules = errors.New("router: too many different rules")

func (s *rules) at(id RuleID) *rule {
	list := *s.list.Load()
	if int(id) >= len(list) {
		id = 0
	}
	return &list[id]
}

func (s *rules) add(r rule) (RuleID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.ids[r]; ok {
		return id, nil
	}
	var list []rule
	if p := s.list.Load(); p != nil {
		list = *p
	}
	if len(list) == maxRules {
		return 0, ErrRules
	}
	if s.ids == nil {
		s.ids = map[rule]RuleID{}
	}
	id := RuleID(len(list))
	list = append(list, r) // what others see of the old array does not change
	s.list.Store(&list)
	s.ids[r] = id
	return id, nil
}

// addDefault makes rule 0.
func (s *rules) addDefault() {
	r := rule{silence: true}
	r.set(statusUnavailable)
	s.add(r)
}

// Rule gives r a number, the same one for the same rule. Rules are never forgotten, so that a reload of the policy does
// not change what a request began with; their count is bounded. Safe from any goroutine; not for the packet path.
func (c *Core) Rule(r Rule) (RuleID, error) {
	n := rule{
		timeout: r.Timeout, overflow: r.Overflow, then: r.Then,
		silence: r.Silence, recurse: r.Recurse, record: r.Record || r.Counted, counted: r.Counted,
		exempt: r.Exempt, headers: r.Headers,
	}
	for _, s := range r.Statuses {
		switch {
		case s >= 3 && s <= 5:
			for i := s * 100; i < s*100+100; i++ {
				n.set(i)
			}
		case s >= 300 && s < 600:
			n.set(s)
		default:
			// A 6xx ends the search: "it MUST NOT create any new branches in this context" (RFC 3261 section 16.7 step 5).
			return 0, fmt.Errorf("router: no failover on %d; give 300 to 599, or 3, 4 or 5 for a class", s)
		}
	}
	switch {
	case n.timeout < 0:
		return 0, fmt.Errorf("router: a response timeout of %v", n.timeout)
	case n.overflow != 0 && (n.overflow < 300 || n.overflow > 699):
		return 0, fmt.Errorf("router: overflow answer %d; give 300 to 699", n.overflow)
	case n.then != 0 && n.then != Same && int(n.then) >= len(*c.rules.list.Load()):
		return 0, fmt.Errorf("router: no rule %d", n.then)
	}
	return c.rules.add(n)
}

// Event is what happened to a branch whose target stands for a gateway.
type Event uint8

const (
	// Started: the request was sent. Each Started is followed by exactly one of Answered, Unfinished, Silent and Failed, by a
	// Provisional at most once before it, and by a Late at most once after a Silent. (A panic in between ends the request
	// without a further word.)
	Started Event = iota + 1
	// Provisional: the first 1xx.
	Provisional
	// Answered: the final response, with its status.
	Answered
	// Unfinished: there were provisional responses, but no final one in time; or the proxy had to give up.
	Unfinished
	// Silent: no response in time.
	Silent
	// Failed: the transport could not deliver.
	Failed
	// Late: the final response of an INVITE that had been given up as Silent.
	Late
	// Unsent: what Config.Admit let in could not be sent, so that nothing was Started. With Outcome.Counted the place that it took
	// has to be given back; otherwise it took none, or Config.Dialogs has given it back.
	Unsent
)

// Outcome is one Event, for those who keep count of gateways.
type Outcome struct {
	Gateway uint16
	Status  uint16 // Answered, Late
	Event   Event
	Counted bool  // Unsent: as Attempt.Counted, and no entry was made
	Method  uint8 // parser.Method of the request
	Loop    int
	Now     transport.Instant
}

// report tells of an event on br.
func (w *Worker) report(c *txn.ResponseContext, br *txn.ClientTransaction, event Event, status uint16) {
	if br.Gateway != 0 {
		w.tell(c, br.Gateway, event, status)
	}
}

func (w *Worker) tell(c *txn.ResponseContext, gateway uint16, event Event, status uint16) {
	if w.cfg.Outcome != nil {
		w.cfg.Outcome(Outcome{Gateway: gateway, Status: status, Event: event, Method: c.Method, Loop: w.id, Now: w.now})
	}
}

// unsentTo tells that nothing was sent to t. placed: the place that Admit took is nobody's.
func (w *Worker) unsentTo(c *txn.ResponseContext, t *target, placed bool) {
	if w.cfg.Outcome != nil {
		counted := placed && w.counts(c, w.core.rules.at(t.rule))
		w.cfg.Outcome(Outcome{Gateway: t.gateway, Event: Unsent, Counted: counted, Method: c.Method, Loop: w.id, Now: w.now})
	}
}

// Attempt is what Config.Admit is asked about: a request that is about to be sent to a gateway.
type Attempt struct {
	Gateway uint16
	Rule    RuleID
	Method  uint8 // parser.Method of the request
	Counted bool  // the call takes a place, which Config.Dialogs gives back
	Exempt  bool  // as Rule.Exempt
	Loop    int
	Now     transport.Instant
}

// admits asks whether t may be sent to now.
func (w *Worker) admits(c *txn.ResponseContext, t *target) fault {
	r := w.core.rules.at(t.rule)
	if t.gateway == 0 || w.cfg.Admit == nil ||
		w.cfg.Admit(Attempt{Gateway: t.gateway, Rule: t.rule, Method: c.Method, Counted: w.counts(c, r), Exempt: r.exempt, Loop: w.id, Now: w.now}) {
		return fault{}
	}
	if s := r.overflow; s != 0 {
		return fault{status: s, why: causeFull}
	}
	return fault{statusUnavailable, causeFull}
}
