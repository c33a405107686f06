package router

import (
	"bytes"
	"encoding/binary"

	"sipedge/parser"
	"sipedge/transport"
)

// A TargetSet is where a request is to go (RFC 3261 section 16.5): up to MaxTargets targets in groups, which are tried in
// turn, the members of one group together. A target may have alternatives: they are tried one after another in its place
// when it fails over (see Rule).
type TargetSet struct {
	n       int
	members int
	list    [maxEntries]target
	text    []byte
	rule    RuleID // of the targets added from now on
	gateway uint16
	twice   bool // the last Add named a target that is there already: its alternatives are as well
}

// target is one member or alternative. Without a URI the Request-URI stays as it was received; without a hop the request
// goes where next says or, without that, its Route or Request-URI (RFC 3261 section 16.6 step 7).
type target struct {
	off, len         uint16 // URI in TargetSet.text
	nextOff, nextLen uint16 // next: a SIP URI without user whose host is the next hop, in TargetSet.text
	rule             RuleID
	gateway          uint16 // number of the gateway, for those who keep count; 0: none
	group            uint8
	kind             targetKind
	state            targetState
	of               uint8 // Index of a branch, see state
	breadth          uint8 // waiting: its share of Max-Breadth
	hasHop           bool
	asked            bool // a look-up of its name was begun
	resolved         bool // its hop was found by name
	hop              transport.Hop
}

// targetKind is why a target is in the set, which says when it is tried.
type targetKind uint8

const (
	member      targetKind = iota // of a group
	alternative                   // when the one before it fails by its rule
	address                       // the next address of the same name: on a failure of RFC 3263 section 4.3, and by the rule
	contact                       // of a 3xx: on any failure that lets the proxy go on
)

// targetState is how far a target is. What follows another one in a chain waits for its turn; the states are those of the
// first of a chain.
type targetState uint8

const (
	later   targetState = iota // in a group that has not begun
	follows                    // belongs to the target before it
	spare                      // to be tried when branch of fails over
	waiting                    // to be tried in the place of branch of, or of none, as soon as the name of its next hop was looked up
	tried                      // has been: kept so that no 3xx leads there again
)

// noBranch is target.of where there is none.
const noBranch = 255

// Reset empties s.
func (s *TargetSet) Reset() {
	s.n, s.members, s.text = 0, 0, s.text[:0]
	s.rule, s.gateway, s.twice = 0, 0, false
}

// Len is the number of targets, alternatives included.
func (s *TargetSet) Len() int { return s.n }

// Rule sets how the targets added from now on behave, and the number of the gateway that they stand for (0: none).
func (s *TargetSet) Rule(rule RuleID, gateway uint16) { s.rule, s.gateway = rule, gateway }

// Add appends a target and copies uri. Groups must be added in ascending order. A target that is there already is not
// added again. Add reports false, and leaves s as it was, when a bound (MaxTargets, maxEntries, maxTargetText) is reached.
func (s *TargetSet) Add(group uint8, uri []byte, hop *transport.Hop) bool {
	return s.add(target{group: group}, uri, nil, hop)
}

// AddNext is Add with a next hop by name: next is a sip or sips URI, with a host and perhaps a port and a transport, that
// says where the request is sent (RFC 3263 section 4), instead of its Route and Request-URI. It copies next.
func (s *TargetSet) AddNext(group uint8, uri, next []byte) bool {
	return s.add(target{group: group}, uri, next, nil)
}

// Alternative appends a target that is tried only when the one added before it fails over, in its place. It reports false
// as Add does, and when there is no target yet.
func (s *TargetSet) Alternative(uri []byte, hop *transport.Hop) bool {
	return s.n > 0 && s.add(target{kind: alternative, state: follows, group: s.list[s.n-1].group}, uri, nil, hop)
}

// AlternativeNext is Alternative with a next hop by name, see AddNext.
func (s *TargetSet) AlternativeNext(uri, next []byte) bool {
	return s.n > 0 && s.add(target{kind: alternative, state: follows, group: s.list[s.n-1].group}, uri, next, nil)
}

func (s *TargetSet) add(t target, uri, next []byte, hop *transport.Hop) bool {
	if t.kind == member {
		s.twice = s.has(uri, next, hop)
		if !s.twice && s.members == MaxTargets {
			return false
		}
	}
	if s.twice || s.has(uri, next, hop) {
		return true
	}
	t.rule, t.gateway, t.of = s.rule, s.gateway, noBranch
	if hop != nil {
		t.hasHop, t.hop = true, *hop
	}
	if !s.append(t, uri, next) {
		return false
	}
	if t.kind == member {
		s.members++
	}
	return true
}

// append puts t with its texts behind the others.
func (s *TargetSet) append(t target, uri, next []byte) bool {
	if s.n == maxEntries || len(s.text)+len(uri)+len(next) > maxTargetText {
		return false
	}
	t.off, t.len = uint16(len(s.text)), uint16(len(uri))
	s.text = append(s.text, uri...)
	t.nextOff, t.nextLen = uint16(len(s.text)), uint16(len(next))
	s.text = append(s.text, next...)
	s.list[s.n] = t
	s.n++
	return true
}

// has: "If a target URI is already present in the set (based on the definition of equality for the URI type), it
// MUST NOT be added again." RFC 3261 section 16.5. By another hop it is another target.
func (s *TargetSet) has(uri, next []byte, hop *transport.Hop) bool {
	if s.n == 0 {
		return false
	}
	var u parser.URI
	readable := len(uri) <= maxTargetText && parser.ParseURI(uri, whole(uri), &u).Code == 0
	for i := range s.n {
		t := &s.list[i]
		if t.hasHop != (hop != nil) || t.hasHop && t.hop != *hop || !bytes.Equal(next, s.next(t)) {
			continue
		}
		if sameURI(uri, &u, readable, s.uri(t)) {
			return true
		}
	}
	return false
}

// sameURI tells whether other equals uri, which readable says is taken apart in u.
func sameURI(uri []byte, u *parser.URI, readable bool, other []byte) bool {
	var v parser.URI
	return bytes.Equal(uri, other) ||
		readable && parser.ParseURI(other, whole(other), &v).Code == 0 && parser.EqualURI(uri, u, other, &v)
}

func whole(b []byte) parser.Span { return parser.Span{Len: uint16(len(b))} }

func (s *TargetSet) uri(t *target) []byte  { return s.text[t.off : t.off+t.len] }
func (s *TargetSet) next(t *target) []byte { return s.text[t.nextOff : t.nextOff+t.nextLen] }

// first is the place of the first target in that state, or -1.
func (s *TargetSet) first(state targetState) int {
	for i := range s.n {
		if s.list[i].state == state {
			return i
		}
	}
	return -1
}

// spareOf is the place of the first of the alternatives that branch has left, or -1.
func (s *TargetSet) spareOf(branch uint8) int {
	for i := range s.n {
		if t := &s.list[i]; t.state == spare && t.of == branch {
			return i
		}
	}
	return -1
}

// end is the place behind the chain that begins at i.
func (s *TargetSet) end(i int) int {
	for i++; i < s.n && s.list[i].state == follows; i++ {
	}
	return i
}

// cut removes the targets from i to j.
func (s *TargetSet) cut(i, j int) {
	copy(s.list[i:], s.list[j:s.n])
	s.n -= j - i
}

// drop removes the first of the chain at i. What follows takes its place; more is false when nothing does.
func (s *TargetSet) drop(i int) (more bool) {
	t := s.list[i]
	more = s.end(i) > i+1
	s.cut(i, i+1)
	if more {
		n := &s.list[i]
		n.state, n.of = t.state, t.of
	}
	return more
}

// insert puts t in front of place i, which may be the end. It reports false when there is no room.
func (s *TargetSet) insert(i int, t target) bool {
	if s.n == maxEntries {
		return false
	}
	copy(s.list[i+1:s.n+1], s.list[i:s.n])
	s.list[i] = t
	s.n++
	return true
}

// put is insert with the texts of t.
func (s *TargetSet) put(i int, t target, uri, next []byte) bool {
	if len(s.text)+len(uri)+len(next) > maxTargetText {
		return false
	}
	t.off, t.len = uint16(len(s.text)), uint16(len(uri))
	t.nextOff, t.nextLen = t.off+t.len, uint16(len(next))
	if !s.insert(i, t) {
		return false
	}
	s.text = append(append(s.text, uri...), next...)
	return true
}

// dropState removes all chains in that state.
func (s *TargetSet) dropState(state targetState) {
	for i := s.first(state); i >= 0; i = s.first(state) {
		s.cut(i, s.end(i))
	}
}

// targetHead is the size of a target in its marshalled form, without its texts.
const targetHead = 2 + 2 + 2 + 2 + 6 + 16 + 4 + 2 + 4 + 1 + 1 + 4 + 4

// marshal appends the targets, so that they can be kept in the byte store.
func (s *TargetSet) marshal(dst []byte) []byte {
	for i := range s.n {
		t := &s.list[i]
		facts := byte(0)
		for i, is := range [...]bool{t.hasHop, t.asked, t.resolved} {
			if is {
				facts |= 1 << i
			}
		}
		dst = binary.LittleEndian.AppendUint16(dst, t.len)
		dst = binary.LittleEndian.AppendUint16(dst, t.nextLen)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(t.rule))
		dst = binary.LittleEndian.AppendUint16(dst, t.gateway)
		dst = append(dst, t.group, byte(t.kind), byte(t.state), t.of, t.breadth, facts)
		dst = append(dst, t.hop.IP[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Scope)
		dst = binary.LittleEndian.AppendUint16(dst, t.hop.Port)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Name)
		dst = append(dst, byte(t.hop.Proto), t.hop.Loop)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Conn)
		dst = binary.LittleEndian.AppendUint32(dst, t.hop.Gen)
		dst = append(dst, s.uri(t)...)
		dst = append(dst, s.next(t)...)
	}
	return dst
}

// unmarshal replaces s by what marshal made.
func (s *TargetSet) unmarshal(b []byte) {
	s.Reset()
	for len(b) >= targetHead {
		u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
		uri, next := int(u16(b)), int(u16(b[2:]))
		t := target{
			rule: RuleID(u16(b[4:])), gateway: u16(b[6:]),
			group: b[8], kind: targetKind(b[9]), state: targetState(b[10]), of: b[11], breadth: b[12], hasHop: b[13]&1 != 0, asked: b[13]&2 != 0, resolved: b[13]&4 != 0,
			hop: transport.Hop{
				Addr: transport.Addr{IP: [16]byte(b[14:30]), Scope: u32(b[30:]), Port: u16(b[34:])},
				Name: u32(b[36:]), Proto: transport.Protocol(b[40]), Loop: b[41], Conn: u32(b[42:]), Gen: u32(b[46:]),
			},
		}
		b = b[targetHead:]
		if !s.append(t, b[:uri], b[uri:uri+next]) {
			return
		}
		b = b[uri+next:]
	}
}
