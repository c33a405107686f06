package router_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"sipedge/transport"
)

// Addresses that names have without a setting. Phones and trunks downstream are in 192.0.2.0/24, callers in 198.51.100.0/24,
// edges in 203.0.113.0/24 (RFC 5737).
var wellKnown = map[string]string{
	"alice": "198.51.100.1:5060", "carol": "198.51.100.3:5060", "mallory": "198.51.100.66:5060",
	"p1": "198.51.100.101:5060", "p2": "198.51.100.102:5060",
	"bob": "192.0.2.20:5060", "dave": "192.0.2.40:5060", "gw": "192.0.2.90:5060", "proxy": "192.0.2.80:5060",
	"b1": "192.0.2.1:5060", "b2": "192.0.2.2:5060", "b3": "192.0.2.3:5060", "b4": "192.0.2.4:5060", "b5": "192.0.2.5:5060",
	"edge": "203.0.113.1:5060", "edge2": "203.0.113.2:5060", "edge3": "203.0.113.3:5060",
}

// tick is a ladder's millisecond on the simulated clock: one tick of the timer wheel, which is a little longer (2^20 ns). With all
// configured times in the same measure every timer runs out exactly when the RFC says, and a ladder can be exact too.
const tick = transport.Instant(1 << 20)

// scale is a ladder's time in the measure of the simulated clock.
func scale(d time.Duration) time.Duration {
	return time.Duration(d.Milliseconds()) * time.Duration(tick)
}

// at is a ladder's time as an Instant.
func (n *network) at(d time.Duration) transport.Instant { return n.base.Add(scale(d)) }

// clock is the ladder's time now, in whole milliseconds.
func (n *network) clock() time.Duration {
	return time.Duration((n.now-n.base)/tick) * time.Millisecond
}

// network is the simulated clock and network of one ladder.
type network struct {
	ladder *ladder
	update bool
	spread bool // every input comes to the next loop
	turn   int
	ports  int
	base   transport.Instant // time zero of the ladder
	now    transport.Instant
	actors map[string]*actor
	edges  map[string]*edge
	calls  map[string]int // Call-ID to call
	events []event        // on their way, by time and then by order of sending
	next   int            // the line that comes next
	out    []*line        // what happened, for -update
	carry  []string       // comments of dropped lines
	faults func(*line)    // random_ladder_test.go: puts faults on what an edge sends
	watch  func(e *edge, in bool, m *message)
	meddle func() bool // whether something happens on another loop while this one is inside Send
	steps  int         // things that happened, one after the other
	err    error
}

// event is a datagram on its way to an edge or an actor.
type event struct {
	at     transport.Instant
	edge   *edge
	loop   int
	from   transport.Flow
	b      []byte
	failed transport.Failure // what the edge sent by from could not be sent
	to     *actor
	m      *message
}

// edge is one proxy under test with what the harness remembers of it.
type edge struct {
	n         *network
	name      string
	addr      netip.AddrPort
	also      []listener // further listeners
	only      bool       // no UDP listener at addr
	sentBy    string     // advertised
	conns     []*conn    // by slot
	aliases   map[netip.AddrPort]*conn
	stateless bool
	mtuSwitch bool
	loops     []*fakeLoop
	proxy     proxy

	in       []*message
	sent     map[string][][]byte // to whom
	branches map[string]*message
	failed   map[string]bool // by branch: what was sent on a connection that could not be made
	mapped   map[string]string
	blocked  map[string]bool // by name: Send to them finds no room
	panicky  bool            // the ladder wants panics
	panics   int
	owns     bool // it was told to send requests of its own
}

// proxy is what stands behind an edge besides its handlers.
type proxy interface {
	counter(name string) (uint64, bool)
	answer(call int, verdict string, loop int) error
	drain()
	learns(text string) error        // what DNS says
	setFull(gateway string, is bool) // whether a gateway has room
	own(text string) error           // a request of the edge's own
	idle() error                     // nothing is left
	close()
}

// fakeLoop is the transport.Loop of one worker.
type fakeLoop struct {
	e        *edge
	index    int
	handler  transport.Handler
	buf      []byte
	deadline transport.Instant
	woken    bool
	inside   bool
	stuck    int
}

func newNetwork(l *ladder, update bool, start func(*edge, []setting) error) *network {
	n := &network{ladder: l, update: update, base: 1000 * tick, actors: map[string]*actor{},
		edges: map[string]*edge{}, calls: map[string]int{}}
	n.now = n.base
	n.err = n.setUp(start)
	return n
}

// spreadOver makes a ladder that is written for one loop run on several.
func (l *ladder) spreadOver(loops int) {
	names := map[string]bool{"edge": true}
	for _, x := range l.lines {
		names[x.from], names[x.to] = true, true
	}
	for name := range names {
		if strings.HasPrefix(name, "edge") {
			l.settings = append(l.settings, setting{0, []string{name, "loops", strconv.Itoa(loops)}})
		}
	}
}

func (n *network) setUp(start func(*edge, []setting) error) error {
	mine := map[string][]setting{"edge": nil}
	for _, l := range n.ladder.lines {
		for _, name := range []string{l.from, l.to} {
			if strings.HasPrefix(name, "edge") {
				mine[name] = nil
			}
		}
	}
	for _, s := range n.ladder.settings {
		w := s.words
		switch {
		case w[0] == "actor" && len(w) == 3:
			a, err := netip.ParseAddrPort(w[2])
			if err != nil {
				return fmt.Errorf("%d: %w", s.number, err)
			}
			n.place(w[1], a)
		case len(w) >= 2 && (w[1] == "behind" || w[1] == "speaks" || w[1] == "over" || w[1] == "also" || w[1] == "proves" || w[1] == "refuses"):
			if err := n.describe(w); err != nil {
				return fmt.Errorf("%d: %w", s.number, err)
			}
		case strings.HasPrefix(w[0], "edge"):
			mine[w[0]] = append(mine[w[0]], setting{s.number, w[1:]})
		default:
			mine["edge"] = append(mine["edge"], s)
		}
	}
	for name, settings := range mine {
		if wellKnown[name] == "" {
			return fmt.Errorf("no address for %s", name)
		}
		e := &edge{n: n, name: name, addr: netip.MustParseAddrPort(wellKnown[name]), sent: map[string][][]byte{}, failed: map[string]bool{}, aliases: map[netip.AddrPort]*conn{},
			branches: map[string]*message{}, mapped: map[string]string{}, blocked: map[string]bool{}}
		n.edges[name] = e
		if err := start(e, settings); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) addActor(name string, a netip.AddrPort) *actor {
	x := &actor{n: n, name: name, addr: a, seen: a, proto: transport.UDP, rport: true, parties: map[int]*party{}}
	n.actors[name] = x
	return x
}

// place gives an actor an address of one's own choice.
func (n *network) place(name string, at netip.AddrPort) {
	if a := n.actors[name]; a != nil {
		a.addr, a.seen = at, at
		return
	}
	n.addActor(name, at)
}

func (n *network) describe(w []string) error {
	a, err := n.actor(w[0])
	if err != nil {
		return err
	}
	switch {
	case w[1] == "refuses":
		a.refuses = true
		if len(w) == 3 {
			a.refusesAfter, err = time.ParseDuration(w[2])
		}
	case len(w) != 3:
		err = fmt.Errorf("unknown: %v", w)
	case w[1] == "behind":
		a.seen, err = netip.ParseAddrPort(w[2])
	case w[1] == "over":
		if a.proto = protocols[w[2]]; a.proto == 0 {
			err = fmt.Errorf("no transport %q", w[2])
		} else if a.addr.String() == wellKnown[a.name] {
			a.addr = netip.AddrPortFrom(a.addr.Addr(), usualPort[a.proto])
		}
	case w[1] == "proves":
		a.proves = w[2]
	case w[1] == "also":
		a.also = append(a.also, protocols[w[2]])
	case w[2] == "rfc2543":
		a.rfc2543, a.rport = true, false
	case w[2] == "no-rport":
		a.rport = false
	default:
		err = fmt.Errorf("unknown: %v", w)
	}
	return err
}

func (n *network) close() {
	for _, e := range n.edges {
		if e.proxy != nil {
			e.proxy.close()
		}
	}
}

func (n *network) actor(name string) (*actor, error) {
	if a := n.actors[name]; a != nil {
		return a, nil
	}
	if wellKnown[name] == "" || strings.HasPrefix(name, "edge") {
		return nil, fmt.Errorf("who is %q? Give a line \"actor NAME ADDRESS:PORT\"", name)
	}
	return n.addActor(name, netip.MustParseAddrPort(wellKnown[name])), nil
}

// callID is the Call-ID that the actors use for a call.
func (n *network) callID(call int) string {
	id := fmt.Sprintf("call-%d@example.net", call)
	n.calls[id] = call
	return id
}

// resolve names who is at an address, or returns the address.
func (n *network) resolve(hostPort string) string {
	for _, e := range n.edges {
		for i, l := range e.listeners() {
			if l.addr.String() == hostPort || e.sentByOf(i) == hostPort {
				return e.name
			}
		}
		for _, c := range e.conns {
			if far := c.far(e); far.addr.String() == hostPort && far.actor != nil {
				return far.actor.name
			}
		}
	}
	for _, a := range n.actors {
		if a.seen.String() == hostPort || a.addr.String() == hostPort || a.sentBy() == hostPort {
			return a.name
		}
	}
	for name, addr := range wellKnown {
		if addr == hostPort && n.actors[name] == nil {
			return name
		}
	}
	return hostPort
}

// listener is one of an edge's.
type listener struct {
	addr  netip.AddrPort
	proto transport.Protocol
}

func (e *edge) advertised() string { return e.sentByOf(0) }

// sentByOf is what listener i shows of itself.
func (e *edge) sentByOf(i int) string {
	l := e.listeners()[i]
	if e.sentBy == "" {
		return l.addr.String()
	}
	if strings.Contains(e.sentBy, ":") {
		return e.sentBy
	}
	return e.sentBy + ":" + strconv.Itoa(int(l.addr.Port()))
}

func (e *edge) listeners() []listener {
	if e.only {
		return e.also
	}
	return append([]listener{{e.addr, transport.UDP}}, e.also...)
}

// fill puts in what {...} stands for.
func (n *network) fill(s string, call int) (string, error) {
	for {
		if i := strings.Index(s, "{fill "); i >= 0 { // so many letters
			j := i + strings.IndexByte(s[i:], '}')
			count, err := strconv.Atoi(s[i+6 : j])
			if err != nil {
				return "", err
			}
			s = s[:i] + strings.Repeat("x", count) + s[j+1:]
			continue
		}
		i := strings.IndexByte(s, '{')
		j := strings.IndexByte(s, '}')
		if i < 0 || j < i {
			return s, nil
		}
		name, what, _ := strings.Cut(s[i+1:j], " ")
		var v string
		switch {
		case name == "callid":
			v = n.callID(call)
		case what == "" && n.edges[name] != nil:
			v = n.edges[name].advertised()
		default:
			a, err := n.actor(name)
			if err != nil {
				return "", err
			}
			if w, other, ok := strings.Cut(what, " "); ok {
				what = w
				if call, err = strconv.Atoi(other); err != nil {
					return "", err
				}
			}
			p := a.party(call)
			switch what {
			case "":
				v = a.addr.String()
			case "tag":
				v = p.tag
			case "path": // of the last REGISTER that came
				for _, m := range p.got {
					if m.method() == "REGISTER" && m.request() {
						v = strings.Join(m.values("Path"), ", ")
					}
				}
			case "badpath":
				for _, m := range p.got {
					if m.method() == "REGISTER" && m.request() {
						v = forge(strings.Join(m.values("Path"), ", "))
					}
				}
			case "source": // where its latest connection comes from
				c := a.latest()
				if c == nil {
					return "", fmt.Errorf("%s has no connection", name)
				}
				v = c.end(a).addr.String()
			case "via": // of the last request that came
				for _, m := range p.got {
					if m.request() {
						v = m.values("Via")[0]
					}
				}
			case "route", "badroute", "toproute", "routeuri":
				d, err := p.dialog("")
				if err != nil || len(d.route) == 0 {
					return "", fmt.Errorf("%s has no route set", name)
				}
				v = strings.Join(d.route, ", ")
				switch what {
				case "badroute":
					v = forge(v)
				case "toproute":
					v = d.route[0]
				case "routeuri":
					v = uriOf(d.route[0])
				}
			default:
				return "", fmt.Errorf("{%s}: unknown", s[i+1:j])
			}
		}
		s = s[:i] + v + s[j+1:]
	}
}

// forge changes one character in the middle of the longest row of letters and digits, which is the token of a Route of ours.
func forge(s string) string {
	word := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
	}
	from, length := 0, 0
	for i := 0; i < len(s); i++ {
		j := i
		for j < len(s) && word(s[j]) {
			j++
		}
		if j-i > length {
			from, length = i, j-i
		}
		i = j
	}
	b := []byte(s)
	at := from + length/2
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

// run plays the ladder.
func (n *network) run() error {
	defer func() {
		if n.update && len(n.out) > 0 {
			n.out = append(n.out, n.ladder.lines[min(n.next, len(n.ladder.lines)):]...)
			n.ladder.lines = n.out
		}
	}()
	for n.err == nil && n.next < len(n.ladder.lines) {
		l := n.ladder.lines[n.next]
		at := n.at(l.at)
		switch {
		case l.expected():
			for here := n.next; n.err == nil && n.next == here; {
				if n.step(at, true) {
					continue
				}
				if n.update {
					n.carry = append(n.carry, l.before...)
					n.next++
				} else {
					n.now = at
					n.fail(l, fmt.Errorf("the edge never sent this"))
				}
			}
		case l.text == "check" && l.from == "", l.text == "end" && l.from == "":
			for n.err == nil && n.step(at, true) {
			}
			n.now = at
			n.happened(l)
			if n.err == nil {
				n.err = n.audit(l)
			}
		default:
			for n.err == nil && n.step(at, false) {
			}
			n.now = at
			if n.err == nil && n.ladder.lines[n.next] == l {
				if l.notes.meanwhile {
					n.fail(l, fmt.Errorf("(meanwhile) needs a line of the edge right above it"))
					continue
				}
				n.perform(l, false)
			}
		}
	}
	return n.err
}

// fail notes the first error with its place.
func (n *network) fail(l *line, err error) {
	if n.err == nil {
		n.err = fmt.Errorf("%d: at %s: %w\n\tline: %s", l.number, clock(n.clock()), err, l)
	}
}

// happened puts the line where it belongs in the record.
func (n *network) happened(l *line) {
	l.before = append(n.carry, l.before...)
	n.carry = nil
	n.out = append(n.out, l)
	n.next++
}

// step lets the next thing happen that is due up to limit: what travels first, then timers. With timers false, those that run out at
// limit itself wait.
func (n *network) step(limit transport.Instant, timers bool) bool {
	n.steps++
	for _, e := range n.inOrder() {
		for _, l := range e.loops {
			if l.woken {
				l.woken = false
				l.enter(func() { l.handler.Woken(n.now) })
				return true
			}
		}
	}
	var due *fakeLoop
	for _, e := range n.inOrder() {
		for _, l := range e.loops {
			if l.deadline != 0 && (due == nil || l.deadline < due.deadline) {
				due = l
			}
		}
	}
	if len(n.events) > 0 && n.events[0].at <= limit && (due == nil || n.events[0].at <= max(due.deadline, n.now)) {
		ev := n.events[0]
		n.events = n.events[1:]
		n.now = max(n.now, ev.at)
		n.deliver(ev)
		return true
	}
	if due != nil && (due.deadline < limit || timers && due.deadline == limit) {
		n.now = max(n.now, due.deadline)
		before := due.deadline
		due.enter(func() {})
		if due.deadline != 0 && due.deadline <= before && n.err == nil {
			if due.stuck++; due.stuck > 1000 {
				n.err = fmt.Errorf("%s, loop %d: Expire(%v) goes on to ask for %v", due.e.name, due.index, n.now, due.deadline)
			}
		} else {
			due.stuck = 0
		}
		return true
	}
	return false
}

// contend lets the next datagram for an edge arrive, and what is due run out, on loops that are not inside a call.
func (n *network) contend() {
	for _, e := range n.inOrder() {
		for _, l := range e.loops {
			if l.inside {
				continue
			}
			if i := slices.IndexFunc(n.events, func(ev event) bool { return ev.edge == e && ev.failed == 0 }); i >= 0 {
				ev := n.events[i]
				n.events = slices.Delete(n.events, i, i+1)
				e.receive(l.index, ev.from, ev.b)
				return
			}
			if l.deadline != 0 && l.deadline <= n.now {
				l.enter(func() {})
				return
			}
		}
	}
}

func (n *network) inOrder() []*edge {
	var all []*edge
	for _, name := range []string{"edge", "edge2", "edge3"} {
		if e := n.edges[name]; e != nil {
			all = append(all, e)
		}
	}
	return all
}

func (n *network) schedule(late time.Duration, ev event) {
	ev.at = n.now.Add(scale(late))
	i, _ := slices.BinarySearchFunc(n.events, ev.at, func(e event, at transport.Instant) int {
		if e.at <= at {
			return -1
		}
		return 1
	})
	n.events = slices.Insert(n.events, i, ev)
}

func (n *network) deliver(ev event) {
	if ev.to != nil {
		ev.to.learn(ev.m)
		return
	}
	if l := ev.edge.loops[ev.loop]; ev.failed != 0 {
		l.enter(func() { l.handler.SendFailed(ev.from, ev.b, ev.failed, n.now) })
		return
	}
	ev.edge.receive(ev.loop, ev.from, ev.b)
}

// perform carries out a line that is not the edge's. at once, it goes straight into the loop: the one before is still inside Send.
func (n *network) perform(l *line, meanwhile bool) {
	n.happened(l)
	e, isEdge := n.edges[l.to]
	switch {
	case l.from == "rules" && isEdge:
		if err := e.proxy.answer(l.notes.call, l.text, l.notes.loop); err != nil {
			n.fail(l, err)
		} else if loop := e.loops[l.notes.loop]; meanwhile && loop.woken {
			loop.woken = false
			loop.enter(func() { loop.handler.Woken(n.now) })
		}
		return
	case l.from == "network" && isEdge:
		verb, name, _ := strings.Cut(l.text, " ")
		e.blocked[name] = verb == "blocks"
		return
	case l.from == "dns" && isEdge:
		if err := e.proxy.learns(l.text); err != nil {
			n.fail(l, err)
		}
		return
	case l.from == "operator" && isEdge && (strings.HasPrefix(l.text, "fills ") || strings.HasPrefix(l.text, "empties ")):
		verb, gateway, _ := strings.Cut(l.text, " ")
		e.proxy.setFull(gateway, verb == "fills")
		return
	case l.from == "operator" && isEdge && strings.HasPrefix(l.text, "probe "), l.from == "operator" && isEdge && strings.HasPrefix(l.text, "sends "):
		if err := e.proxy.own(l.text); err != nil {
			n.fail(l, err)
		}
		return
	case l.from == "operator" && isEdge && l.text == "drain":
		e.proxy.drain()
		return
	}
	a, err := n.actor(l.from)
	if err != nil {
		n.fail(l, err)
		return
	}
	if isEdge && (l.text == "closes" || l.text == "breaks" || l.text == "connects") {
		if err := a.connection(e, l); err != nil {
			n.fail(l, err)
		}
		return
	}
	if l.text == "ICMP" && isEdge {
		sent := e.sent[l.from]
		if len(sent) == 0 {
			n.fail(l, fmt.Errorf("nothing was sent to %s", l.from))
			return
		}
		b := slices.Clone(sent[len(sent)-1])
		loop := e.loops[n.loop(e, l)]
		loop.enter(func() {
			loop.handler.SendFailed(a.datagrams(e), b[:min(len(b), 500)], transport.Unreachable, n.now)
		})
		return
	}
	var b []byte
	var m *message
	if text, ok := strings.CutPrefix(l.text, "junk "); ok {
		s, err := strconv.Unquote(`"` + text + `"`)
		if err != nil {
			n.fail(l, err)
			return
		}
		b = []byte(s)
	} else if m, err = a.make(l); err != nil {
		n.fail(l, err)
		return
	} else {
		b = m.bytes()
	}
	if !isEdge {
		to, err := n.actor(l.to)
		if err != nil {
			n.fail(l, err)
		} else if !l.notes.lost {
			n.schedule(l.notes.late, event{to: to, m: m})
		}
		return
	}
	if l.notes.loop >= len(e.loops) {
		n.fail(l, fmt.Errorf("%s has %d loops", e.name, len(e.loops)))
		return
	}
	from, err := a.flow(e, l, m)
	if err != nil {
		n.fail(l, err)
		return
	}
	if meanwhile {
		e.receive(l.notes.loop, from, b)
		return
	}
	if l.notes.lost {
		return
	}
	n.schedule(l.notes.late, event{edge: e, loop: n.loop(e, l), from: from, b: b})
	if l.notes.twice {
		n.schedule(l.notes.late, event{edge: e, loop: n.loop(e, l), from: from, b: b})
	}
}

// loop is where a packet comes in.
func (n *network) loop(e *edge, l *line) int {
	if !n.spread {
		return l.notes.loop
	}
	n.turn++
	return n.turn % len(e.loops)
}

// datagrams is the way from the actor to the edge over UDP: it comes to the edge's first listener of the same address family.
func (a *actor) datagrams(e *edge) transport.Flow {
	f := transport.Flow{Remote: transport.AddrFrom(a.seen), Proto: transport.UDP}
	if i, ok := e.listenerFor(transport.UDP, a.seen.Addr().Is4()); ok {
		f.Listener, f.Local = uint16(i), transport.AddrFrom(e.listeners()[i].addr).IP
	}
	return f
}

func (e *edge) listenerFor(proto transport.Protocol, is4 bool) (int, bool) {
	i := slices.IndexFunc(e.listeners(), func(l listener) bool { return l.proto == proto && l.addr.Addr().Is4() == is4 })
	return max(i, 0), i >= 0
}

// receive hands a datagram to a loop. The loop's buffer is scribbled on afterwards, as the next datagram would.
func (e *edge) receive(loop int, from transport.Flow, b []byte) {
	if m, err := readMessage(b); err == nil {
		if n, err := strconv.Atoi(m.get("Content-Length")); err == nil && n < len(m.body) {
			m.body = m.body[:n] // RFC 3261 section 18.3
		}
		m.raw, m.flow = b, from
		m.add("X-Test-Source", from.Remote.AddrPort().String())
		e.in = append(e.in, m)
		if e.n.watch != nil {
			e.n.watch(e, true, m)
		}
	}
	l := e.loops[loop]
	borrowed := slices.Clone(b)
	l.enter(func() { l.handler.Receive(from, borrowed, e.n.now) })
	for i := range borrowed {
		borrowed[i] = 0xAA
	}
}

// enter does what a backend's loop does around a batch of one: see transport.Handler.
func (l *fakeLoop) enter(work func()) {
	if l.inside {
		l.e.n.err = fmt.Errorf("%s, loop %d: entered while it is inside a call; steer to another loop", l.e.name, l.index)
		return
	}
	l.inside = true
	defer func() { l.inside = false }()
	l.handler.Busy()
	l.guard(work)
	l.guard(func() { l.deadline = l.handler.Expire(l.e.n.now) })
	l.handler.Quiesce()
	l.handler.Idle()
}

// guard is the backend's last net under a panic: the packet is lost, the loop goes on.
func (l *fakeLoop) guard(work func()) {
	defer func() {
		if r := recover(); r != nil {
			l.e.panics++
			if !l.e.panicky && l.e.n.err == nil {
				l.e.n.err = fmt.Errorf("%s, loop %d: panic at %s: %v\n%s", l.e.name, l.index, clock(l.e.n.clock()), r, debug.Stack())
			}
		}
	}()
	work()
}

// Buffer lends the one send buffer there is, full of what an earlier message left.
func (l *fakeLoop) Buffer() []byte {
	if l.buf == nil {
		l.buf = make([]byte, 0, transport.MaxDatagram)
	}
	return l.buf[:0]
}

// Send takes a datagram: it is checked, compared with the ladder, and put on its way.
func (l *fakeLoop) Send(to transport.Flow, b []byte) transport.Status {
	e, n := l.e, l.e.n
	if to.Proto == transport.UDP && len(b) > transport.MaxDatagram {
		// It outgrew the Buffer, which no datagram can: the loop says so afterwards.
		n.schedule(0, event{edge: e, loop: l.index, failed: transport.TooBig, from: to, b: slices.Clone(b[:500])})
		return transport.Queued
	}
	if len(b) > 0 && len(b) <= transport.MaxDatagram && &b[0] != &l.buf[:1][0] && n.err == nil {
		n.err = fmt.Errorf("%s: Send of bytes that are not in the last Buffer", e.name)
	}
	var by *conn
	if to.Proto != transport.UDP {
		var why transport.Failure
		var after time.Duration
		if by, why, after = e.connTo(to); by == nil && why == transport.Closed {
			return transport.Gone // b is as it was
		} else if by == nil {
			e.refused(b)
			n.schedule(after, event{edge: e, loop: l.index, failed: why, from: to, b: slices.Clone(b)})
			return transport.Queued
		}
	}
	sent := slices.Clone(b)
	for i := range b {
		b[i] = 0x55
	}
	if e.blocked[n.resolve(to.Remote.AddrPort().String())] {
		return transport.Backpressure
	}
	if by != nil && by.state == broken {
		by.state = closed
		n.schedule(0, event{edge: e, loop: l.index, failed: transport.Closed, from: to, b: sent})
		return transport.Queued
	}
	e.emit(to, by, sent)
	for n.err == nil && n.next < len(n.ladder.lines) && n.ladder.lines[n.next].notes.meanwhile {
		n.perform(n.ladder.lines[n.next], true)
	}
	for n.err == nil && n.meddle != nil && n.meddle() {
		n.contend()
	}
	return transport.Queued
}

// Wake is called by other goroutines in a real loop; here all is one goroutine.
func (l *fakeLoop) Wake() { l.woken = true }

func (e *edge) emit(to transport.Flow, by *conn, b []byte) {
	n := e.n
	if n.err != nil {
		return
	}
	remote := to.Remote.AddrPort()
	dest := n.resolve(remote.String())
	if by != nil {
		if dest = by.far(e).edge.nameOr(""); dest == "" {
			dest = by.far(e).actor.name
		}
	}
	is := &line{at: n.clock(), from: e.name, to: dest}
	m, err := readMessage(b)
	if err != nil {
		n.err = fmt.Errorf("%s sent %q to %s: %w", e.name, b, dest, err)
		return
	}
	is.text = m.line()
	if id := m.get("Call-ID"); n.calls[id] == 0 && len(m.values("Via")) == 1 {
		n.calls[id] = 1 // a request of the edge's own
	}
	is.notes.call = n.calls[m.get("Call-ID")]
	is.notes.again = slices.ContainsFunc(e.sent[dest], func(old []byte) bool { return bytes.Equal(old, b) })
	if !m.request() {
		is.notes.method = m.method()
	}
	if by != nil && by.number > 1 {
		is.notes.conn = by.number
	}
	if ls := e.listeners(); int(to.Listener) >= len(ls) || ls[to.Listener].addr.Addr().Is4() != remote.Addr().Is4() || ls[to.Listener].proto != to.Proto {
		n.err = fmt.Errorf("%s: sent to %s from listener %d\n\tline: %s", e.name, remote, to.Listener, is)
		return
	}
	if err := e.check(dest, to, b); err != nil {
		n.err = fmt.Errorf("%s: %w\n\tline: %s\n%s", e.name, err, is, b)
		return
	}
	e.sent[dest] = append(e.sent[dest], b)
	if n.watch != nil {
		n.watch(e, false, m)
	}
	l := n.expect(is)
	if l == nil {
		return
	}
	if err := n.claims(l, m); err != nil {
		n.fail(l, fmt.Errorf("%w\n%s", err, b))
		return
	}
	if a := n.actors[dest]; a != nil && by == nil && !a.takes(transport.UDP) {
		n.err = fmt.Errorf("%s sent a datagram to %s, who does not speak UDP\n\tline: %s", e.name, dest, is)
		return
	}
	if l.notes.lost {
		return
	}
	m.conn = by
	ev := event{m: m}
	if other := n.edges[dest]; other != nil && by != nil {
		ev = event{edge: other, b: b, from: by.flow(other)}
	} else if other != nil {
		ev = event{edge: other, b: b, from: transport.Flow{Remote: transport.AddrFrom(e.listeners()[to.Listener].addr), Local: transport.AddrFrom(other.addr).IP, Proto: transport.UDP}}
	} else if a, err := n.actor(dest); err == nil {
		ev.to = a
	} else {
		return // nobody is there
	}
	if ev.to != nil && l.notes.late == 0 {
		if l.notes.twice {
			ev.to.learn(m)
		}
		ev.to.learn(m) // at once: an actor's lines may come while the edge is still at it
		return
	}
	for range 2 {
		if ev.edge != nil {
			ev.loop = n.loop(ev.edge, l)
		}
		n.schedule(l.notes.late, ev)
		if !l.notes.twice {
			break
		}
	}
}

// expect compares what an edge did with the ladder's next line, and returns that line.
func (n *network) expect(is *line) *line {
	lines := n.ladder.lines
	if n.update {
		for i := n.next; i < len(lines) && lines[i].expected(); i++ {
			if l := lines[i]; l.from == is.from && l.to == is.to && l.text == is.text && l.notes.method == is.notes.method {
				for ; n.next < i; n.next++ {
					n.carry = append(n.carry, lines[n.next].before...)
				}
				l.at, l.notes.again, l.notes.call, l.notes.conn = is.at, is.notes.again, is.notes.call, is.notes.conn
				n.happened(l)
				return l
			}
		}
		is.before, n.carry = n.carry, nil
		if n.faults != nil {
			n.faults(is)
		}
		n.out = append(n.out, is)
		return is
	}
	l := lines[min(n.next, len(lines)-1)]
	if !l.expected() || !l.same(is) {
		n.err = fmt.Errorf("%d: the edge sent\n\t%s\nbut next in the ladder is\n\t%s", l.number, is, l)
		return nil
	}
	n.happened(l)
	return l
}

// audit checks counters, and at the end that nothing is left.
func (n *network) audit(l *line) error {
	for _, e := range n.inOrder() {
		for range 4 { // memory that is retired is free only after every loop has passed by
			for _, loop := range e.loops {
				loop.enter(func() {})
			}
		}
		if l.text == "end" {
			if err := e.proxy.idle(); err != nil {
				return fmt.Errorf("%d: %s: %w", l.number, e.name, err)
			}
		}
	}
	if l.text == "end" {
		if len(n.events) > 0 {
			return fmt.Errorf("%d: a message is still on its way", l.number)
		}
		// Entries of transactions that are gone stay on the wheels until their time has come: they may wake the loop and do nothing.
		for n.err == nil && n.step(n.now.Add(time.Minute), true) {
		}
		for _, e := range n.inOrder() {
			for _, loop := range e.loops {
				if loop.deadline != 0 && n.err == nil {
					return fmt.Errorf("%d: %s, loop %d still has a timer after a minute", l.number, e.name, loop.index)
				}
			}
		}
		if n.err != nil {
			return n.err
		}
	}
	for _, s := range l.below {
		name, value, _ := strings.Cut(s, ":")
		e := n.edges["edge"]
		if first, rest, ok := strings.Cut(name, " "); ok && n.edges[first] != nil {
			e, name = n.edges[first], rest
		}
		got, ok := e.proxy.counter(name)
		if !ok {
			return fmt.Errorf("%d: no counter %q", l.number, name)
		}
		if fmt.Sprint(got) != strings.TrimSpace(value) {
			return fmt.Errorf("%d: %s is %d and not %s", l.number, name, got, value)
		}
	}
	return nil
}
