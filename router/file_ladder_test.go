package router_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ladder is a ladder file taken apart.
type ladder struct {
	head     []string // comments, settings and blank lines before the first timed line
	settings []setting
	lines    []*line
	tail     []string
}

type setting struct {
	number int
	words  []string
}

// line is one timed line with what belongs to it.
type line struct {
	number   int // in the file, from 1; 0 for one that -update made
	before   []string
	at       time.Duration
	from, to string // "" for check and end
	text     string // what is sent, without notes
	notes    notes
	comment  string
	below    []string // header lines, trimmed
}

// notes are the parts in brackets behind a message.
type notes struct {
	method    string
	again     bool
	fork      bool
	relay     bool
	call      int
	dialog    string
	inDialog  bool
	lost      bool
	twice     bool
	late      time.Duration
	loop      int
	meanwhile bool
	request   int
	conn      int    // which connection of the actor's, from 1; 0: the first, or for an input the latest
	remark    string // Timer A
}

// expected tells whether the line is one that an edge sends.
func (l *line) expected() bool { return strings.HasPrefix(l.from, "edge") }

func readLadder(text string) (*ladder, error) {
	l := &ladder{}
	var pending []string
	last := time.Duration(0)
	for i, s := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		number := i + 1
		fail := func(err error) (*ladder, error) { return nil, fmt.Errorf("line %d: %q: %w", number, s, err) }
		trimmed := strings.TrimSpace(s)
		switch {
		case trimmed == "" || trimmed[0] == '#':
			if len(l.lines) == 0 {
				l.head = append(l.head, s)
			} else {
				pending = append(pending, s)
			}
		case s[0] == ' ' || s[0] == '\t':
			if len(l.lines) == 0 || len(pending) > 0 {
				return fail(fmt.Errorf("a header line belongs right under a message"))
			}
			at := l.lines[len(l.lines)-1]
			at.below = append(at.below, trimmed)
		case s[0] >= '0' && s[0] <= '9':
			x, err := readLine(s)
			if err != nil {
				return fail(err)
			}
			if x.at < last {
				return fail(fmt.Errorf("time runs backwards"))
			}
			last = x.at
			x.number, x.before, pending = number, pending, nil
			l.lines = append(l.lines, x)
		default:
			if len(l.lines) > 0 {
				return fail(fmt.Errorf("settings come before the first timed line"))
			}
			l.head = append(l.head, s)
			l.settings = append(l.settings, setting{number, strings.Fields(s)})
		}
	}
	l.tail = pending
	if len(l.lines) == 0 || l.lines[len(l.lines)-1].text != "end" {
		return nil, fmt.Errorf("a ladder ends with a line \"TIME end\"")
	}
	return l, nil
}

func readLine(s string) (*line, error) {
	x := &line{}
	if i := strings.Index(s, "  # "); i >= 0 {
		s, x.comment = strings.TrimSpace(s[:i]), s[i+4:]
	}
	clock, rest, _ := strings.Cut(s, " ")
	at, err := time.ParseDuration(clock)
	if err != nil {
		return nil, err
	}
	x.at = at
	rest = strings.TrimSpace(rest)
	if rest == "end" || rest == "check" {
		x.text = rest
		return x, nil
	}
	from, rest, ok := strings.Cut(rest, ">")
	if !ok {
		return nil, fmt.Errorf("want FROM > TO MESSAGE, check or end")
	}
	x.from = strings.TrimSpace(from)
	x.to, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
	rest = strings.TrimSpace(rest)
	x.notes.call = 1
	if strings.HasSuffix(rest, ")") {
		if i := strings.LastIndex(rest, "("); i > 0 {
			if err := x.notes.read(rest[i+1:len(rest)-1], x.expected()); err != nil {
				return nil, err
			}
			rest = strings.TrimSpace(rest[:i])
		}
	}
	if rest == "" {
		return nil, fmt.Errorf("no message")
	}
	x.text = rest
	if isStatus(rest) && x.notes.method == "" {
		x.notes.method = "INVITE"
	}
	return x, nil
}

func (n *notes) read(s string, expected bool) error {
	for _, item := range strings.Split(s, ",") {
		item = strings.TrimSpace(item)
		word, arg, _ := strings.Cut(item, " ")
		var err error
		switch {
		case item == "again":
			n.again = true
		case item == "lost":
			n.lost = true
		case item == "twice":
			n.twice = true
		case word == "late":
			n.late, err = time.ParseDuration(arg)
		case word == "call":
			n.call, err = strconv.Atoi(arg)
		case word == "request" && !expected:
			n.request, err = strconv.Atoi(arg)
		case word == "connection":
			n.conn, err = strconv.Atoi(arg)
		case word == "Timer" && expected:
			n.remark = item
		case item == "fork" && !expected:
			n.fork = true
		case item == "relay" && !expected:
			n.relay = true
		case item == "in dialog" && !expected:
			n.inDialog = true
		case item == "meanwhile" && !expected:
			n.meanwhile = true
		case word == "to" && !expected:
			n.dialog = arg
		case word == "loop" && !expected:
			n.loop, err = strconv.Atoi(arg)
		case item != "" && item == strings.ToUpper(item):
			n.method = item
		default:
			err = fmt.Errorf("unknown note")
		}
		if err != nil {
			return fmt.Errorf("(%s): %w", item, err)
		}
	}
	return nil
}

func (n *notes) String() string {
	var s []string
	add := func(is bool, item string) {
		if is {
			s = append(s, item)
		}
	}
	add(n.method != "" && n.method != "INVITE", n.method)
	add(n.again, "again")
	add(n.fork, "fork")
	add(n.relay, "relay")
	add(n.remark != "", n.remark)
	add(n.call > 1, fmt.Sprint("call ", n.call))
	add(n.dialog != "", "to "+n.dialog)
	add(n.request != 0, fmt.Sprint("request ", n.request))
	add(n.inDialog, "in dialog")
	add(n.conn != 0, fmt.Sprint("connection ", n.conn))
	add(n.loop != 0, fmt.Sprint("loop ", n.loop))
	add(n.meanwhile, "meanwhile")
	add(n.lost, "lost")
	add(n.twice, "twice")
	add(n.late != 0, "late "+clock(n.late))
	if len(s) == 0 {
		return ""
	}
	return "(" + strings.Join(s, ", ") + ")"
}

// same tells whether an edge did at a line what the line says; faults of the network and remarks aside.
func (l *line) same(o *line) bool {
	return l.at == o.at && l.from == o.from && l.to == o.to && l.text == o.text &&
		l.notes.method == o.notes.method && l.notes.again == o.notes.again && l.notes.call == o.notes.call && l.notes.conn == o.notes.conn
}

func (l *line) String() string {
	if l.from == "" {
		return fmt.Sprintf("%-7s %s", clock(l.at), l.text)
	}
	s := fmt.Sprintf("%-7s %-5s > %-6s %s", clock(l.at), l.from, l.to, l.text)
	if n := l.notes.String(); n != "" {
		s = fmt.Sprintf("%-62s %s", s, n)
	}
	if l.comment != "" {
		s += "  # " + l.comment
	}
	return s
}

// String is the file again, in the one form that -update writes.
func (l *ladder) String() string {
	var out []string
	out = append(out, l.head...)
	for _, x := range l.lines {
		out = append(out, x.before...)
		out = append(out, x.String())
		for _, b := range x.below {
			out = append(out, strings.Repeat(" ", 23)+b)
		}
	}
	out = append(out, l.tail...)
	return strings.Join(out, "\n") + "\n"
}

// clock prints a time as a reader would say it: milliseconds up to ten seconds, then seconds.
func clock(d time.Duration) string {
	ms := d.Milliseconds()
	if ms < 10_000 {
		return strconv.FormatInt(ms, 10) + "ms"
	}
	return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64) + "s"
}

func isStatus(s string) bool {
	return len(s) >= 3 && !slices.ContainsFunc([]byte(s[:3]), func(c byte) bool { return c < '0' || c > '9' })
}
