package overload

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"sipedge/parser"
)

// Pattern is a text that gives a scanner away: a program that looks for open doors and says so. Case does not count.
type Pattern struct {
	Header string // name of the header field to look in; empty: User-Agent
	Text   string
}

// scanners finds patterns in header fields: all of them at once, a step for each byte of the value (Aho and Corasick, 1975).
// Frozen. Safe for concurrent use.
type scanners struct {
	headers []parser.HeaderID
	sets    []patternSet // by header
}

// patternSet is the automaton of one header's patterns, with a row for each state and a column for each kind of byte.
type patternSet struct {
	column [256]uint8
	width  int
	next   []uint16 // found, or the state to go on with
}

// found is in the place of a state that ends a pattern.
const found = math.MaxUint16

func newScanners(all []Pattern) (*scanners, error) {
	if len(all) > maxPatterns {
		return nil, fmt.Errorf("overload: %d scanners; at most %d", len(all), maxPatterns)
	}
	texts := map[parser.HeaderID][]string{}
	length := 0
	for _, p := range all {
		id := parser.HeaderUserAgent
		if p.Header != "" {
			if id = parser.LookupHeader([]byte(p.Header)); id == parser.HeaderOther {
				return nil, fmt.Errorf("overload: scanners are not looked for in header field %q", p.Header)
			}
		}
		if p.Text == "" {
			return nil, fmt.Errorf("overload: a scanner without a text")
		}
		length += len(p.Text)
		texts[id] = append(texts[id], strings.Map(lower, p.Text))
	}
	if length > maxPatternText {
		return nil, fmt.Errorf("overload: %d characters of scanners; at most %d", length, maxPatternText)
	}
	s := &scanners{}
	for id := range texts {
		s.headers = append(s.headers, id)
	}
	slices.Sort(s.headers)
	for _, id := range s.headers {
		s.sets = append(s.sets, newPatternSet(texts[id]))
	}
	return s, nil
}

// lower folds ASCII alone, as SIP does.
func lower(c rune) rune {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	return c
}

func newPatternSet(texts []string) patternSet {
	p := patternSet{width: 1} // column 0: bytes that are in no pattern
	for _, t := range texts {
		for _, c := range []byte(t) {
			if p.column[c] == 0 {
				p.column[c] = uint8(p.width)
				p.width++
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		p.column[c] = p.column[c|0x20]
	}
	// The tree of all texts. State 0 is its root; 0 in a row: no such edge yet.
	row := func() []uint16 { return make([]uint16, p.width) }
	states := [][]uint16{row()}
	for _, t := range texts {
		at := uint16(0)
		for i, c := range []byte(t) {
			edge := &states[at][p.column[c]]
			if *edge == found {
				break // a shorter text has been found by then
			}
			if i == len(t)-1 {
				*edge = found // whatever lies beyond is not needed
				break
			}
			if *edge == 0 {
				states = append(states, row())
				*edge = uint16(len(states) - 1)
			}
			at = *edge
		}
	}
	// Level by level: where a state has no edge, it goes where the longest suffix of what it has seen goes.
	suffix := make([]uint16, len(states))
	for queue := []uint16{0}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for c, to := range states[at] {
			back := uint16(0)
			if at != 0 {
				back = states[suffix[at]][c]
			}
			switch {
			case to == found:
			case back == found:
				states[at][c] = found
			case to == 0:
				states[at][c] = back
			default:
				suffix[to] = back
				queue = append(queue, to)
			}
		}
	}
	for _, s := range states {
		p.next = append(p.next, s...)
	}
	return p
}

// in tells whether a pattern is in b.
func (p *patternSet) in(b []byte) bool {
	at := 0
	for _, c := range b {
		next := p.next[at+int(p.column[c])]
		if next == found {
			return true
		}
		at = int(next) * p.width
	}
	return false
}

// sent tells whether a message is of a scanner. It borrows b.
func (s *scanners) sent(m *parser.Message, b []byte) bool {
	for i, id := range s.headers {
		if !m.Has(id) {
			continue
		}
		first, lines := m.First(id), m.Lines(id)
		for j := first; lines > 0 && j < m.HeaderCount(); j++ {
			if h := m.HeaderAt(j); h.ID == id {
				lines--
				if s.sets[i].in(h.Value.In(b)) {
					return true
				}
			}
		}
	}
	return false
}
