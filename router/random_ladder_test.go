package router_test

import (
	"flag"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"sipedge/transport"
)

var seeds = flag.Int("seeds", 60, "how many random ladders TestRandomLadders plays")

// TestRandomLadders lets callers and phones do what they like, in any order, over a network that loses, doubles and delays, with every
// packet on another loop, some while that before it is being handled, and holds the edge to the rules of RFC 3261 section 16.7 that an observer of its packets can check (see
// observer). A failure prints the whole ladder, which can be kept as a file.
func TestRandomLadders(t *testing.T) {
	posted := uint64(0)
	for seed := 1; seed <= *seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l, n, err := playRandom(rand.New(rand.NewSource(int64(seed))))
			if err != nil {
				t.Fatalf("%v\n%s", err, l)
			}
			posted += n
		})
	}
	if posted == 0 && *seeds >= 10 {
		t.Error("no event ever found a context claimed by another loop: nothing is tested of that")
	}
	t.Log(posted, "events waited for a claim")
}

// randomCalls is one random ladder in the making.
type randomCalls struct {
	*rand.Rand
	n       *network
	o       *observer
	callers []string
	phones  []string
	calls   map[int]string // who made it
	begun   map[int]time.Duration
}

func playRandom(r *rand.Rand) (l *ladder, posted uint64, err error) {
	phones := []string{"b1", "b2", "b3", "b4"}[:1+r.Intn(4)]
	head := []string{"targets " + phones[0], "C 40s", "record-route " + []string{"auto", "always"}[r.Intn(2)]}
	by, timeout, before := "", time.Duration(0), map[string]string{}
	if r.Intn(2) == 0 { // half of them with alternatives that do not wait for Timer B
		by, timeout = " by quick", time.Duration(1+r.Intn(4))*time.Second
		head = append(head, fmt.Sprintf("rule quick 503 404 silence timeout %v", timeout))
		head[0] += by
	}
	for i, p := range phones[1:] {
		separator := []string{" + ", ", ", " | "}[r.Intn(3)]
		if separator == " | " {
			before[p] = phones[i]
		}
		head[0] += separator + p + by
	}
	if r.Intn(2) == 0 { // half of them over several transports, which lose and double nothing
		head = append(head, "listen tcp tls ws")
		for _, name := range append([]string{"alice", "carol"}, phones...) {
			switch k := r.Intn(5); {
			case k < 2:
				head = append(head, name+[]string{" over tcp", " over tls"}[k])
			case k == 2 && (name == "alice" || name == "carol"):
				head = append(head, name+" over ws")
			}
		}
	}
	l, err = readLadder(strings.Join(head, "\n") + "\n\n600s end\n")
	if err != nil {
		return l, 0, err
	}
	l.spreadOver(3)
	n := newNetwork(l, true, startRouter)
	defer n.close()
	defer func() { l.lines = n.out }()
	n.spread = true
	g := &randomCalls{Rand: r, n: n, callers: []string{"alice", "carol"}, phones: phones, calls: map[int]string{}, begun: map[int]time.Duration{}}
	g.o = &observer{n: n, c: 40 * time.Second, timeout: timeout, before: before, invites: map[string]*invite{}, branches: map[string]*branch{}}
	n.watch = g.o.watch
	n.meddle = func() bool { return g.Intn(3) == 0 }
	n.faults = func(l *line) { l.notes.lost = g.Intn(12) == 0 && !g.streams(l.to) }

	for now := time.Duration(0); now < 60*time.Second && n.err == nil && g.o.err == nil; {
		now += time.Duration(g.Intn(10)*g.Intn(100)) * time.Millisecond
		for n.err == nil && n.step(n.at(now), g.Intn(2) == 0) {
		}
		n.now = n.at(now)
		g.act(now)
	}
	for n.err == nil && g.o.err == nil && n.step(n.at(599*time.Second), true) {
	}
	if n.err == nil {
		n.err = g.o.err
	}
	if n.err == nil {
		n.err = g.o.end()
	}
	if n.err == nil {
		n.err = n.run() // the line end: nothing is left
	}
	posted, _ = n.edges["edge"].proxy.counter("Posted")
	return l, posted, n.err
}

// say makes somebody send something, unless it makes no sense: a random caller need not know what a ladder's author knows.
func (g *randomCalls) say(at time.Duration, from, text string, call int, notes notes) {
	notes.call = call
	if isStatus(text) && notes.method == "" {
		notes.method = "INVITE"
	}
	switch k := g.Intn(12); {
	case k < 2 && g.streams(from):
	case k == 0:
		notes.lost = true
	case k == 1:
		notes.twice = true
	case k < 4:
		notes.late = time.Duration(g.Intn(400)) * time.Millisecond
	}
	// What is said stands in front of the ladder's last line.
	n := g.n
	x := &line{at: at, from: from, to: "edge", text: text, notes: notes}
	n.ladder.lines = slices.Insert(n.ladder.lines, n.next, x)
	n.perform(x, false)
}

// streams tells whether somebody speaks over a connection.
func (g *randomCalls) streams(name string) bool {
	a := g.n.actors[name]
	return a != nil && a.proto != transport.UDP
}

func (g *randomCalls) act(at time.Duration) {
	switch g.Intn(10) {
	case 0:
		if len(g.calls) < 6 {
			call := len(g.calls) + 1
			who := g.callers[g.Intn(len(g.callers))]
			g.calls[call], g.begun[call] = who, at
			g.say(at, who, "INVITE sip:bob@example.com", call, notes{})
		}
	case 1, 2, 3:
		if len(g.calls) > 0 {
			call := 1 + g.Intn(len(g.calls))
			g.caller(at, g.calls[call], call)
		}
	default:
		phone := g.phones[g.Intn(len(g.phones))]
		if len(g.calls) > 0 {
			g.phone(at, phone, 1+g.Intn(len(g.calls)))
		}
	}
}

// caller does the next thing that a caller may do.
func (g *randomCalls) caller(at time.Duration, who string, call int) {
	a, _ := g.n.actor(who)
	p := a.party(call)
	final := p.lastFinal()
	acked := lastRequest(p.sent, "ACK") != nil
	switch {
	case final == nil && g.Intn(3) == 0:
		g.say(at, who, "CANCEL", call, notes{again: lastRequest(p.sent, "CANCEL") != nil})
	case final == nil && len(p.got) == 0 && at-g.begun[call] < 32*time.Second, at-g.begun[call] < 4*time.Second:
		g.say(at, who, "INVITE sip:bob@example.com", call, notes{again: true})
	case final == nil:
	case final.status() >= 300:
		g.say(at, who, "ACK", call, notes{again: acked})
	}
}

// phone does the next thing that a phone may do.
func (g *randomCalls) phone(at time.Duration, who string, call int) {
	a, _ := g.n.actor(who)
	p := a.party(call)
	inv := lastRequest(p.got, "INVITE")
	if inv == nil {
		return
	}
	answered := 0 // the phone's final response
	for _, m := range p.sent {
		if m.status() >= 200 && m.method() == "INVITE" {
			answered = m.status()
		}
	}
	if cancel := lastRequest(p.got, "CANCEL"); cancel != nil && g.Intn(2) == 0 {
		if answered == 0 && g.Intn(3) > 0 {
			g.say(at, who, "487 Request Terminated", call, notes{})
		} else {
			g.say(at, who, "200 OK", call, notes{method: "CANCEL", again: p.last(p.sent, &line{text: "200 OK", notes: notes{method: "CANCEL"}}) != nil})
		}
		return
	}
	if answered != 0 {
		if g.Intn(2) == 0 {
			text := p.last(p.sent, &line{text: fmt.Sprint(answered), notes: notes{method: "INVITE"}}).line()
			g.say(at, who, text, call, notes{again: true})
		}
		return
	}
	texts := []string{"100 Trying", "180 Ringing", "180 Ringing", "183 Session Progress", "200 OK", "200 OK", "486 Busy Here", "404 Not Found",
		"302 Moved Temporarily", "401 Unauthorized", "407 Proxy Authentication Required", "503 Service Unavailable", "603 Decline", "ICMP"}
	text := texts[g.Intn(len(texts))]
	if text == "ICMP" {
		if g.Intn(4) > 0 || g.streams(who) {
			return
		}
		sent := g.n.edges["edge"].sent[who]
		if m, _ := readMessage(sent[len(sent)-1]); m.request() {
			g.o.failed(m)
		}
		g.n.perform(g.insert(&line{at: at, from: who, to: "edge", text: text, notes: notes{call: 1}}), false)
		return
	}
	var again bool
	if statusOf(text) < 200 {
		again = p.last(p.sent, &line{text: text, notes: notes{method: "INVITE"}}) != nil
	}
	g.say(at, who, text, call, notes{again: again})
}

func (g *randomCalls) insert(x *line) *line {
	g.n.ladder.lines = slices.Insert(g.n.ladder.lines, g.n.next, x)
	return x
}

// observer knows of each INVITE what has passed the edge, and which rule the next packet breaks.
type observer struct {
	n        *network
	c        time.Duration
	timeout  time.Duration      // for the first response; 0: Timer B
	before   map[string]string  // in whose place an alternative is tried
	invites  map[string]*invite // by Call-ID and CSeq number
	branches map[string]*branch
	err      error
}

type invite struct {
	key       string
	via       string // branch of the caller
	cancelled since
	status    int // first final status sent upstream
	won       bool
	global    since // a 6xx was received
	owed      int   // 2xx received and not yet sent upstream
	branches  []*branch
}

// since is the step at which something arrived, from 1. While the edge is still at that step it need not know: on another loop
// it may hold the claim that what arrived waits for.
type since int

func (s since) true() bool { return s != 0 }

func (o *observer) known(s since) bool { return s != 0 && int(s) < o.n.steps }

func (o *observer) from(s *since) {
	if *s == 0 {
		*s = since(o.n.steps)
	}
}

type branch struct {
	of          *invite
	to          string
	begun       transport.Instant
	provisional since
	cancel      transport.Instant // when a CANCEL was first sent
	final       int
	answered    since             // final
	accepted    transport.Instant // when the first 2xx came
	acked       bool
	failed      bool // by the network
	late        bool // its first response came when it had been given up
}

func (o *observer) fault(m *message, format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf("at %s: %s\n\t%s", clock(o.n.clock()), fmt.Sprintf(format, args...), m.line())
	}
}

func (o *observer) watch(e *edge, in bool, m *message) {
	n, _ := m.cseq()
	key := fmt.Sprint(m.get("Call-ID"), " ", n)
	via, _ := param(m.values("Via")[0], "branch")
	v := o.invites[key]
	b := o.branches[via]
	switch {
	case in && m.request():
		switch m.method() {
		case "INVITE":
			if v == nil {
				o.invites[key] = &invite{key: key, via: via}
			}
		case "CANCEL":
			if v != nil && v.status == 0 {
				o.from(&v.cancelled)
			}
		}
	case m.request():
		o.request(m, v, via, b)
	case in && m.method() == "INVITE" && b != nil:
		o.responseIn(m, b)
	case !in && m.method() == "INVITE" && m.status() >= 200:
		o.finalOut(m, v)
	}
}

// request is one that the edge sends.
func (o *observer) request(m *message, v *invite, via string, b *branch) {
	switch m.method() {
	case "INVITE":
		if b == nil {
			b = &branch{of: v, to: m.uri(), begun: o.n.now}
			o.branches[via] = b
			o.inPlaceOf(m, v)
			v.branches = append(v.branches, b)
			switch {
			case v.won, v.status != 0:
				o.fault(m, "a new branch behind a final response")
			case o.known(v.cancelled):
				o.fault(m, "a new branch behind a CANCEL (RFC 3261 section 16.10)")
			case o.known(v.global):
				o.fault(m, "a new branch behind a 6xx (RFC 3261 section 16.7 step 5)")
			}
		} else if o.known(b.provisional) || o.known(b.answered) {
			o.fault(m, "an INVITE sent again though answered (RFC 3261 section 17.1.1.2)")
		}
	case "CANCEL":
		switch {
		case b == nil:
			return // statelessly forwarded
		case !b.provisional.true():
			o.fault(m, "CANCEL before a provisional response (RFC 3261 section 9.1)")
		case o.known(b.answered):
			o.fault(m, "CANCEL behind the final response %d (RFC 3261 section 9.1)", b.final)
		}
		if b.cancel == 0 {
			b.cancel = o.n.now
		}
	case "ACK":
		if b != nil {
			if b.final < 300 {
				o.fault(m, "ACK for a final response %d", b.final)
			}
			b.acked = true
		}
	}
}

// over tells whether the branch's client transaction has ended without a final response.
func (o *observer) over(b *branch) bool {
	return b.failed || !b.provisional.true() && o.age(b.begun) >= 32*time.Second || b.cancel != 0 && o.age(b.cancel) >= 32*time.Second
}

// givenUp tells whether the branch was silent for longer than the rule allows. What comes for it still counts, but nobody waits.
func (o *observer) givenUp(b *branch) bool {
	return o.timeout > 0 && !b.provisional.true() && b.final == 0 && o.age(b.begun) >= o.timeout
}

// inPlaceOf holds a new branch to an alternative to the rule that the one before it has failed.
func (o *observer) inPlaceOf(m *message, v *invite) {
	user, _, _ := strings.Cut(strings.TrimPrefix(m.uri(), "sip:"), "@")
	before := o.before[user]
	if before == "" {
		return
	}
	for _, b := range v.branches {
		if strings.HasPrefix(b.to, "sip:"+before+"@") {
			if b.final == 0 && !o.over(b) && !o.givenUp(b) && !b.late || b.final == 486 || b.final > 0 && b.final < 300 || b.final >= 600 {
				o.fault(m, "%s is tried in the place of %s, which has not failed over (%d)", user, before, b.final)
			}
			return
		}
	}
	o.fault(m, "%s is tried before %s", user, before)
}

func (o *observer) age(since transport.Instant) time.Duration {
	return time.Duration((o.n.now-since)/tick) * time.Millisecond
}

func (o *observer) responseIn(m *message, b *branch) {
	v := b.of
	if o.over(b) && b.final == 0 {
		return // it comes too late, and is stray
	}
	b.late = b.late || o.givenUp(b)
	switch s := m.status(); {
	case s < 200:
		if b.final == 0 {
			o.from(&b.provisional)
		}
	case s < 300:
		if b.final == 0 {
			b.final, b.accepted = s, o.n.now
			o.from(&b.answered)
		}
		if b.final < 300 && o.age(b.accepted) < 32*time.Second { // timer M
			v.owed++
		}
	case b.final == 0:
		b.final = s
		o.from(&b.answered)
		if s >= 600 {
			o.from(&v.global)
		}
	}
}

func (o *observer) finalOut(m *message, v *invite) {
	s := m.status()
	if v == nil {
		o.fault(m, "an answer to nothing")
		return
	}
	if s < 300 {
		if v.owed--; v.owed < 0 {
			o.fault(m, "a 2xx that nobody sent")
		}
		v.won = true
		return
	}
	if v.status == s {
		return // Timer G, or for a copy of the INVITE: what came meanwhile, from branches that had been given up, changes nothing
	}
	switch {
	case v.won:
		o.fault(m, "a failure behind a 2xx (RFC 3261 section 16.7 step 5)")
	case v.status != 0 && v.status != s:
		o.fault(m, "a second final response, behind %d (RFC 3261 section 16.7 step 5)", v.status)
	}
	v.status = s
	for _, b := range v.branches {
		if b.final == 0 && !o.over(b) && !o.givenUp(b) && !b.late {
			o.fault(m, "a failure while the branch to %s is open (RFC 3261 section 16.7 step 6)", b.to)
		}
		if b.final >= 600 && s < 600 {
			o.fault(m, "not the 6xx of %s (RFC 3261 section 16.7 step 6)", b.to)
		}
	}
}

// end is when all has been said.
func (o *observer) end() error {
	for _, v := range o.invites {
		if v.owed != 0 {
			return fmt.Errorf("%s: %d responses 2xx were not forwarded", v.key, v.owed)
		}
		if !v.won && v.status == 0 {
			return fmt.Errorf("%s: no final response was ever sent (RFC 3261 section 16.7 step 6)", v.key)
		}
		for _, b := range v.branches {
			if b.final >= 300 && !b.acked {
				return fmt.Errorf("%s: the %d of %s was not acknowledged", v.key, b.final, b.to)
			}
			if b.final == 0 && b.provisional.true() && b.cancel == 0 && !b.failed {
				return fmt.Errorf("%s: the branch to %s rang and was never cancelled", v.key, b.to)
			}
		}
	}
	return nil
}

// failed notes that the transport gave up on a request.
func (o *observer) failed(m *message) {
	via, _ := param(m.values("Via")[0], "branch")
	if b := o.branches[via]; b != nil && m.method() == "INVITE" && !b.provisional.true() {
		b.failed = true
	}
}
