package policy

import (
	"strings"

	"sipedge/config"
)

// trie finds the longest of many number patterns that has a number in it. Its nodes lie in one slice, so that a table of a hundred
// thousand prefixes is a few large objects to the garbage collector. Frozen after its making; safe for concurrent use.
type trie struct {
	nodes    []node
	ends     []end
	patterns []pattern
}

// node is a beginning of numbers.
type node struct {
	next [symbols]uint32 // 0: none
	ends uint32          // 1 + index of the first of the ends here; 0: none
}

// end leads to a pattern that may have the numbers that begin so. Those of one node are a list.
type end struct {
	next    uint32 // 1 + index; 0: the last
	pattern uint32
}

// pattern is a config.NumberPattern with what the caller wants to know of it.
type pattern struct {
	config.NumberPattern
	value uint32
}

func (p *pattern) has(d []byte) bool {
	n := len(p.Low)
	return len(d) >= n && (!p.Exact || len(d) == n) && string(d[:n]) >= p.Low && string(d[:n]) <= p.High
}

// rank orders patterns: the longer one decides, and of two with the same length an exact one.
func (p *pattern) rank() int {
	if p.Exact {
		return 2*len(p.Low) + 1
	}
	return 2 * len(p.Low)
}

// symbols are the characters of numbers: digits, + * #.
const symbols = 13

func symbol(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c == '+':
		return 10
	case c == '*':
		return 11
	case c == '#':
		return 12
	}
	return -1
}

// add puts p into t. Of two patterns of the same rank that have a number both, the first added decides.
func (t *trie) add(p *config.NumberPattern, value uint32) {
	if t.nodes == nil {
		t.nodes = make([]node, 1)
	}
	t.patterns = append(t.patterns, pattern{*p, value})
	t.span(0, p.Low, p.High, uint32(len(t.patterns)-1))
}

// span leads all that is within low and high, below node at, to a pattern, and perhaps a little more: find looks closely. A
// whole subtree is one end at its root, so a range takes at most about twenty ends for each of its digits.
func (t *trie) span(at uint32, low, high string, pattern uint32) {
	if len(low) == 0 || eachByte(low, func(c byte) bool { return c <= '0' }) && eachByte(high, func(c byte) bool { return c == '9' }) {
		t.ends = append(t.ends, end{next: t.nodes[at].ends, pattern: pattern})
		t.nodes[at].ends = uint32(len(t.ends))
		return
	}
	if low[0] == high[0] {
		t.span(t.child(at, low[0]), low[1:], high[1:], pattern)
		return
	}
	// # is the first of the symbols, 9 the last.
	first, last := strings.Repeat("#", len(low)-1), strings.Repeat("9", len(low)-1)
	t.span(t.child(at, low[0]), low[1:], last, pattern)
	for c := low[0] + 1; c < high[0]; c++ {
		if symbol(c) >= 0 {
			t.span(t.child(at, c), first, last, pattern)
		}
	}
	t.span(t.child(at, high[0]), first, high[1:], pattern)
}

func eachByte(s string, f func(c byte) bool) bool {
	for i := range len(s) {
		if !f(s[i]) {
			return false
		}
	}
	return true
}

func (t *trie) child(at uint32, c byte) uint32 {
	s := symbol(c)
	if t.nodes[at].next[s] == 0 {
		t.nodes = append(t.nodes, node{})
		t.nodes[at].next[s] = uint32(len(t.nodes) - 1)
	}
	return t.nodes[at].next[s]
}

// find is the value of the pattern with the most characters that has d in it, and its rank; of two such an exact one. Rank 0: none has.
func (t *trie) find(d []byte) (value uint32, rank int) {
	if len(t.nodes) == 0 {
		return 0, 0
	}
	at, first := uint32(0), uint32(0)
	for i := 0; ; i++ {
		for j := t.nodes[at].ends; j != 0; {
			e := &t.ends[j-1]
			j = e.next
			p := &t.patterns[e.pattern]
			if r := p.rank(); p.has(d) && (r > rank || r == rank && e.pattern < first) {
				value, rank, first = p.value, r, e.pattern
			}
		}
		if i == len(d) {
			return value, rank
		}
		s := symbol(d[i])
		if s < 0 {
			return value, rank
		}
		if at = t.nodes[at].next[s]; at == 0 {
			return value, rank
		}
	}
}

// collectNumber adds the values of all patterns that have n, in either form, to out.
func (t *trie) collectNumber(n *number, out set) {
	t.collect(n.e164.text(), out)
	if !n.dialled.global() {
		t.collect(n.dialled.text(), out)
	}
}

func (t *trie) collect(d []byte, out set) {
	if len(t.nodes) == 0 || len(d) == 0 {
		return
	}
	at := uint32(0)
	for i := 0; ; i++ {
		for j := t.nodes[at].ends; j != 0; {
			e := &t.ends[j-1]
			j = e.next
			if p := &t.patterns[e.pattern]; p.has(d) {
				out.add(int(p.value))
			}
		}
		if i == len(d) {
			return
		}
		s := symbol(d[i])
		if s < 0 {
			return
		}
		if at = t.nodes[at].next[s]; at == 0 {
			return
		}
	}
}

// findNumber looks for both forms of n: patterns with a + are about E.164 numbers, others about what was dialled.
func (t *trie) findNumber(n *number) (value uint32, found bool) {
	value, rank := t.find(n.e164.text())
	if !n.dialled.global() {
		if v, r := t.find(n.dialled.text()); r > rank {
			value, rank = v, r
		}
	}
	return value, rank > 0
}
