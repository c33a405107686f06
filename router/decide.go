package router

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

// A TargetSet is where a request is to go (RFC 3261 section 16.5): up to MaxTargets targets in
// groups, which are tried in turn, the members of one group together.
type TargetSet struct {
	n    int
	list [MaxTargets]target
	text []byte
}

// target is one member. Without a URI the Request-URI stays as it was received; without a hop
// the request goes where its Route or Request-URI says (RFC 3261 section 16.6 step 7).
type target struct {
	off, len uint16 // URI in TargetSet.text
	group    uint8
	hasHop   bool
	hop      transport.Hop
}

// Reset empties s.
func (s *TargetSet) Reset() { s.n, s.text = 0, s.text[:0] }

// Len is the number of targets.
func (s *TargetSet) Len() int { return s.n }

// Add appends a target and copies uri. Groups must be added in ascending order. A target that is there already is not
// added again. Add reports false, and leaves s as it was, when a bound (MaxTargets, maxTargetText) is reached.
func (s *TargetSet) Add(group uint8, uri []byte, hop *transport.Hop) bool {
	return s.has(uri, hop) || s.append(group, uri, hop)
}

func (s *TargetSet) append(group uint8, uri []byte, hop *transport.Hop) bool {
	if s.n == MaxTargets || len(s.text)+len(uri) > maxTargetText {
		return false
	}
	t := target{off: uint16(len(s.text)), len: uint16(len(uri)), group: group}
	s.text = append(s.text, uri...)
	if hop != nil {
		t.hasHop, t.hop = true, *hop
	}
	s.list[s.n] = t
	s.n++
	return true
}

// has: "If a target URI is already present in the set (based on the definition of equality for the URI type), it
// MUST NOT be added again." RFC 3261 section 16.5. By another hop it is another target.
func (s *TargetSet) has(uri []byte, hop *transport.Hop) bool {
	if s.n == 0 {
		return false
	}
	var u, v parser.URI
	whole := func(b []byte) parser.Span { return parser.Span{Len: uint16(len(b))} }
	readable := len(uri) <= maxTargetText && parser.ParseURI(uri, whole(uri), &u).Code == 0
	for i := range s.n {
		t := &s.list[i]
		if t.hasHop != (hop != nil) || t.hasHop && t.hop != *hop {
			continue
		}
		other := s.uri(t)
		if bytes.Equal(uri, other) ||
			readable && parser.ParseURI(other, whole(other), &v).Code == 0 && parser.EqualURI(uri, &u, other, &v) {
			return true
		}
	}
	return false
}

func (s *TargetSet) uri(t *target) []byte { return s.text[t.off : t.off+t.len] }

// targetHead is the size of a target in its marshalled form, without its URI.
const targetHead = 2 + 1 + 1 + 16 + 4 + 2 + 4 + 1 + 1 + 4 + 4

// marshal appends the targets from i on, so that they can be kept in the byte store.
func (s *TargetSet) marshal(dst []byte, i int) []byte {
	for ; i < s.n; i++ {
		t := &s.list[i]
		dst = binary.LittleEndian.AppendUint16(dst, t.len)
		hop := byte(0)
		if t.hasHop {
			hop = 1
		}
		dst = append(dst, t.group, hop)
		dst = append(dst, t.hop.IP[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Scope)
		dst = binary.LittleEndian.AppendUint16(dst, t.hop.Port)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Name)
		dst = append(dst, byte(t.hop.Proto), t.hop.Loop)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Conn)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Gen)
		dst = append(dst, s.uri(t)...)
	}
	return dst
}

// unmarshal replaces s by what marshal made.
func (s *TargetSet) unmarshal(b []byte) {
	s.Reset()
	for len(b) >= targetHead {
		n := int(binary.LittleEndian.Uint16(b))
		hop := transport.Hop{
			Addr: transport.Addr{IP: [16]byte(b[4:20]), Scope: binary.LittleEndian.Uint32(b[20:]), Port: binary.LittleEndian.Uint16(b[24:])},
			Name: binary.LittleEndian.Uint32(b[26:]), Proto: transport.Protocol(b[30]), Loop: b[31],
			Conn: binary.LittleEndian.Uint32(b[32:]), Gen: binary.LittleEndian.Uint32(b[36:]),
		}
		p := &hop
		if b[3] == 0 {
			p = nil
		}
		s.append(b[2], b[targetHead:targetHead+n], p)
		b = b[targetHead+n:]
	}
}

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
)

// Query is what a decision is asked about. Everything in it is borrowed until the DecideFunc returns.
type Query struct {
	Message  *parser.Message
	Bytes    []byte // beside Message
	From     transport.Flow
	InDialog bool // proven by our Record-Route token
	Now      transport.Instant
	Status   int // with Reject: the final status
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
	Status   int     // with Reject
	Targets  TargetSet

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
