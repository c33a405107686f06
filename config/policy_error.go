package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// PolicyProblem is one thing that is wrong in a policy file, and where.
type PolicyProblem struct {
	File         string
	Line, Column int    // from 1; the column counts characters. 0: of the file as a whole
	Source       string // the line itself
	Message      string
}

// String is the problem in one line, and below it the line in question with a mark under the place.
func (p PolicyProblem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	source, column := clip(p.Source, p.Column)
	number := fmt.Sprintf("%6d | ", p.Line)
	fmt.Fprintf(&b, "\n%s%s\n%s| ", number, source, strings.Repeat(" ", len(number)-2))
	for i, r := range []rune(source) {
		if i >= column-1 {
			break
		}
		if r != '\t' { // a tab under a tab is as wide
			r = ' '
		}
		b.WriteRune(r)
	}
	b.WriteByte('^')
	return b.String()
}

// clip takes from a long line what is around column.
func clip(s string, column int) (string, int) {
	const before, width = 60, 140 // characters
	if utf8.RuneCountInString(s) <= width {
		return s, column
	}
	r := []rune(s)
	from := max(0, min(column-1-before, len(r)-width))
	return string(r[from:min(len(r), from+width)]), column - from
}

// PolicyErrors is everything that is wrong with a policy file, in the order of the file.
type PolicyErrors []PolicyProblem

func (e PolicyErrors) Error() string {
	var b strings.Builder
	for i, p := range e {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

func (e PolicyErrors) sort() {
	slices.SortStableFunc(e, func(a, b PolicyProblem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// nearest is the word that somebody who wrote s most likely meant, or "".
func nearest(s string, words []string) (best string) {
	least := max(1, len(s)/3) + 1 // this many slips are another word
	for _, w := range words {
		if d := distance(strings.ToLower(s), strings.ToLower(w)); d < least {
			least, best = d, w
		}
	}
	return best
}

// distance is the number of characters to insert, remove, replace or swap with their neighbour between a and b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		old, last, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], old[j-2]+1)
			}
		}
		rows = [3][]int{last, row, old}
	}
	return rows[1][len(b)]
}

// oneOf lists words for a message.
func oneOf(words []string) string {
	switch n := len(words); n {
	case 0:
		return "nothing"
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
}
