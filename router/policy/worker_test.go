package policy

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sipedge/router"
	"sipedge/router/dialog"
	"sipedge/transport"
)

// lane is a transport.Loop whose packets stay in memory, and the worker behind it.
type lane struct {
	t    testing.TB
	w    *router.Worker
	now  transport.Instant
	buf  []byte
	sent []packet
	mute bool // count only
	n    int
}

type packet struct {
	to   string
	text string
}

func (l *lane) Buffer() []byte { return l.buf[:0] }
func (l *lane) Wake()          {}
func (l *lane) Send(to transport.Flow, b []byte) transport.Status {
	l.n++
	if l.mute {
		return transport.Queued
	}
	l.sent = append(l.sent, packet{to.Remote.AddrPort().String(), string(b)})
	return transport.Queued
}

// newLane is a proxy with that policy.
func newLane(t testing.TB, text string) (*lane, *desk) {
	k := newDesk(t, text)
	k.core = newCore(t, router.Config{Decide: k.d.Decide, Admit: k.d.Admit, Outcome: k.d.Outcome, Probed: k.d.Probed})
	k.load(text)
	l := &lane{t: t, now: k.now, buf: make([]byte, transport.MaxDatagram)}
	l.w = k.core.NewWorker(0, l)
	l.w.Busy()
	return l, k
}

// receive hands a message to the worker and returns what left.
func (l *lane) receive(from, msg string) []packet {
	l.sent = nil
	l.now = l.now.Add(time.Millisecond)
	l.w.Receive(transport.Flow{Remote: transport.AddrFrom(netip.MustParseAddrPort(from)), Proto: transport.UDP}, []byte(msg), l.now)
	l.w.Expire(l.now)
	l.w.Quiesce()
	return l.sent
}

const alice, gw1, gw2 = "198.51.100.1:5060", "192.0.2.1:5060", "192.0.2.2:5060"

// call is an INVITE, or another request of its transaction.
func call(method, uri, id, extra string) string {
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: %[3]s\r\nCSeq: 1 %[1]s\r\n%[4]sContent-Length: 0\r\n\r\n", method, uri, id, extra)
}

// reply answers a request that left.
func reply(status, request string) string {
	head, _, _ := strings.Cut(request, "\r\n")
	return "SIP/2.0 " + status + "\r\n" + regexp.MustCompile(`(?m)^(Max-Forwards|Max-Breadth|X-.*): .*\r\n`).ReplaceAllString(request[len(head)+2:], "")
}

func starts(ps []packet) (s []string) {
	for _, p := range ps {
		head, _, _ := strings.Cut(p.text, "\r\n")
		s = append(s, p.to+" "+head)
	}
	return
}

func wants(t testing.TB, got []packet, want ...string) {
	t.Helper()
	if s := starts(got); strings.Join(s, "\n") != strings.Join(want, "\n") {
		t.Fatalf("left:\n  %s\nwant:\n  %s", strings.Join(s, "\n  "), strings.Join(want, "\n  "))
	}
}

func header(text, name string) (values []string) {
	for line := range strings.SplitSeq(text, "\r\n") {
		if n, v, ok := strings.Cut(line, ": "); ok && strings.EqualFold(n, name) {
			values = append(values, v)
		}
	}
	return
}

func TestAnswersLeave(t *testing.T) {
	l, _ := newLane(t, `
routes:
	- {match: {uri: {user: no}}, reject: {code: 480, reason: "Not at home", retry-after: 90s}}
	- {match: {uri: {user: gone}}, reject: 410}
	- {match: {uri: {user: moved}}, redirect: {to: ["sip:192.0.2.11", "sip:x@192.0.2.12"]}}
`)
	got := l.receive(alice, call("INVITE", "sip:no@example.com", "a", ""))
	wants(t, got, alice+" SIP/2.0 480 Not at home")
	if h := header(got[0].text, "Retry-After"); len(h) != 1 || h[0] != "90" {
		t.Errorf("Retry-After %v", h)
	}
	got = l.receive(alice, call("INVITE", "sip:moved@example.com", "b", ""))
	wants(t, got, alice+" SIP/2.0 302 Moved Temporarily")
	if h := header(got[0].text, "Contact"); strings.Join(h, " ") != "<sip:moved@192.0.2.11>;q=1.00 <sip:x@192.0.2.12>;q=0.95" {
		t.Errorf("Contact %v", h)
	}
	got = l.receive(alice, call("OPTIONS", "sip:gone@example.com", "c", ""))
	wants(t, got, alice+" SIP/2.0 410 Gone")
	if h := header(got[0].text, "Contact"); len(h) != 0 || len(header(got[0].text, "Retry-After")) != 0 {
		t.Errorf("what an earlier answer said is in this one: %s", got[0].text)
	}
	wants(t, l.receive(alice, call("ACK", "sip:no@example.com", "d", "")))
}

func TestHeaderEditsLeave(t *testing.T) {
	l, _ := newLane(t, `
peers: {alice: {addresses: [198.51.100.0/24], headers: {remove: [Subject, X-Private], add: {X-Peer: alice}}}}
routes:
	- match: {uri: {user: bob}}
	  next-hop: "sip:192.0.2.1"
	  headers: {remove: [p-charging-vector], add: {X-Route: "one; two", User-Agent: edge}}
`)
	extra := "s: compact\r\nX-Private: a,\r\n b\r\nSubject: long\r\nx-private: c\r\nX-Kept: d\r\nP-Charging-Vector: e\r\nUser-Agent: phone\r\n"
	got := l.receive(alice, call("INVITE", "sip:bob@example.com", "a", extra))
	wants(t, got, alice+" SIP/2.0 100 Trying", gw1+" INVITE sip:bob@example.com SIP/2.0")
	text := got[1].text
	for name, want := range map[string]string{
		"s": "", "Subject": "", "X-Private": "", "P-Charging-Vector": "", "X-Kept": "d", "X-Peer": "alice", "X-Route": "one; two", "User-Agent": "phone edge",
		"Max-Forwards": "69", "Content-Length": "0", "Call-ID": "a",
	} {
		if got := strings.Join(header(text, name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.Contains(text, " b\r\n") {
		t.Errorf("a fold of a header that went is left:\n%s", text)
	}
	if !strings.HasSuffix(text, "\r\n\r\n") || strings.Count(text, "\r\n\r\n") != 1 {
		t.Errorf("not one message:\n%s", text)
	}
}

// TestTooManyToRemove: what cannot all be taken out does not go on at all.
func TestTooManyToRemove(t *testing.T) {
	for _, mode := range []string{"stateful", "stateless"} {
		l, _ := newLane(t, `routes: [{match: {uri: {user: bob}}, next-hop: "sip:192.0.2.1", mode: `+mode+`, headers: {remove: [X-Private]}}]`)
		for n, want := range map[int]string{100: gw1 + " INVITE sip:bob@example.com SIP/2.0", 130: alice + " SIP/2.0 503 Service Unavailable"} {
			got := l.receive(alice, call("INVITE", "sip:bob@example.com", fmt.Sprint("a", n), strings.Repeat("X-Private: a\r\n", n)))
			if len(got) == 0 || starts(got)[len(got)-1] != want {
				t.Errorf("%s, %d lines: %v", mode, n, starts(got))
			}
			for _, p := range got {
				if len(header(p.text, "X-Private")) > 0 {
					t.Errorf("%s, %d lines: some are left", mode, n)
				}
			}
		}
	}
}

// TestForeignRoute: a stranger's Route is followed by a relay alone; no gateway gets it to follow in our name.
func TestForeignRoute(t *testing.T) {
	l, k := newLane(t, `
emergency: {numbers: ["112"], next-hop: "sip:192.0.2.2"}
routes:
	- {match: {uri: {user: bob}}, next-hop: "sip:192.0.2.1"}
	- {match: {uri: {user: no}}, reject: 480}
	- {match: {uri: {user: carol}}, relay: true}
`)
	const route = "Route: <sip:192.0.2.254;lr>, <sip:192.0.2.77;lr>\r\n" // ours and another
	wants(t, l.receive(alice, call("INVITE", "sip:bob@example.com", "a", route)), alice+" SIP/2.0 403 Forbidden")
	wants(t, l.receive(alice, call("INVITE", "sip:no@example.com", "b", route)), alice+" SIP/2.0 480 Temporarily Unavailable")
	wants(t, l.receive(alice, call("INVITE", "sip:carol@example.org", "c", route)), alice+" SIP/2.0 100 Trying", "192.0.2.77:5060 INVITE sip:carol@example.org SIP/2.0")
	wants(t, l.receive(alice, call("INVITE", "sip:112@example.com", "d", route)), alice+" SIP/2.0 100 Trying", gw2+" INVITE sip:112@example.com SIP/2.0")
	// A call for help goes to those who help, and behind them nowhere else.
	for id, other := range map[string]string{"f": "<sip:+1900555@192.0.2.77;lr>", "g": "<sip:+1900555@192.0.2.77>", "h": "<sip:192.0.2.254;lr>, <sip:+1900555@192.0.2.77>, <sip:192.0.2.78;lr>"} {
		got := l.receive(alice, call("INVITE", "sip:112@example.com", id, "Route: "+other+"\r\n"))
		wants(t, got, alice+" SIP/2.0 100 Trying", gw2+" INVITE sip:112@example.com SIP/2.0")
		if h := header(got[1].text, "Route"); len(h) != 0 {
			t.Errorf("Route: %v", h)
		}
	}
	wants(t, l.receive(alice, call("INVITE", "sip:bob@example.com", "e", "Route: <sip:192.0.2.254;lr>\r\n")), alice+" SIP/2.0 100 Trying", gw1+" INVITE sip:bob@example.com SIP/2.0")
	q := k.query(asked{})
	q.Routes = 1
	if e := k.d.Explain(q, new(router.TargetSet)); e.Step != HasRoute || e.Verdict != router.Default {
		t.Errorf("%v", e)
	}
}

// TestFailoverThroughPolicy: a group in the file is failover on the wire.
func TestFailoverThroughPolicy(t *testing.T) {
	l, k := newLane(t, `
gateways: {g: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], request-uri: gateway, failover: [503]}}
routes: [{match: {uri: {user: bob}}, gateway: g}]
`)
	got := l.receive(alice, call("INVITE", "sip:bob@example.com", "a", ""))
	wants(t, got, alice+" SIP/2.0 100 Trying", gw1+" INVITE sip:bob@192.0.2.1 SIP/2.0")
	got = l.receive(gw1, reply("503 Service Unavailable", got[1].text))
	wants(t, got, gw1+" ACK sip:bob@192.0.2.1 SIP/2.0", gw2+" INVITE sip:bob@192.0.2.2 SIP/2.0")
	got = l.receive(gw2, reply("486 Busy Here", got[1].text))
	wants(t, got, gw2+" ACK sip:bob@192.0.2.2 SIP/2.0", alice+" SIP/2.0 486 Busy Here")
	for i, want := range [][7]uint64{{5: 1}, {4: 1}} {
		if st := k.pool.Snapshot()[i]; st.Answers != want {
			t.Errorf("%s: answers %v", st.Name, st.Answers)
		}
	}
}

// TestStatelessRoute: without a context, each copy, ACK and CANCEL goes the same way, and so do the answers.
func TestStatelessRoute(t *testing.T) {
	l, k := newLane(t, `
gateways: {g: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], select: hash, failover: []}}
routes:
	- {match: {uri: {user: bob}}, gateway: g, mode: stateless}
	- {match: {uri: {user: carol}}, next-hop: "sip:192.0.2.1"}
`)
	for i := range 20 {
		id := fmt.Sprint("call", i)
		invite := call("INVITE", "sip:bob@example.com", id, "")
		first := l.receive(alice, invite)
		if len(first) != 1 || !strings.HasPrefix(first[0].to, "192.0.2.") {
			t.Fatalf("left: %v", starts(first))
		}
		for _, again := range []string{invite, call("CANCEL", "sip:bob@example.com", id, ""), call("ACK", "sip:bob@example.com", id, "")} {
			got := l.receive(alice, again)
			if len(got) != 1 || got[0].to != first[0].to {
				t.Fatalf("%s went to %v, and then:\n%v", id, first[0].to, starts(got))
			}
			if header(got[0].text, "Via")[0] != header(first[0].text, "Via")[0] {
				t.Errorf("another branch:\n%s\n%s", first[0].text, got[0].text)
			}
		}
		got := l.receive(first[0].to, reply("486 Busy Here", first[0].text))
		wants(t, got, alice+" SIP/2.0 486 Busy Here")
	}
	if n := k.core.Pending(); n != 0 {
		t.Errorf("%d transactions are left", n)
	}
	got := l.receive(alice, call("INVITE", "sip:carol@example.com", "x", ""))
	wants(t, got, alice+" SIP/2.0 100 Trying", gw1+" INVITE sip:carol@example.com SIP/2.0")
}

// TestWorkerAllocates: what a policy adds to the way of a message through the router costs no allocation either.
func TestWorkerAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l, _ := newLane(t, `
peers: {alice: {addresses: [198.51.100.0/24], headers: {remove: [Subject, X-Private], add: {X-Peer: alice}}}}
gateways: {g: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], request-uri: gateway, timeout: 2s}}
routes:
	- {match: {uri: {user: no}}, reject: {code: 480, reason: "Not at home", retry-after: 90s}}
	- {match: {uri: {user: moved}}, redirect: {to: ["sip:192.0.2.11", "sip:x@192.0.2.12"]}}
	- {match: {uri: {user: bob}}, next-hop: "sip:192.0.2.1", mode: stateless, headers: {add: {X-Route: "one; two"}}}
	- {match: {uri: {user: carol}}, gateway: g, headers: {remove: [User-Agent]}}
`)
	from := transport.Flow{Remote: transport.AddrFrom(netip.MustParseAddrPort(alice)), Proto: transport.UDP}
	l.mute = true
	for user, want := range map[string]int{"no": 1, "moved": 1, "bob": 1, "carol": 2} {
		var calls [][]byte
		for i := range 202 {
			calls = append(calls, []byte(call("INVITE", "sip:"+user+"@example.com", fmt.Sprint(user, i), "Subject: x\r\nX-Private: y\r\nUser-Agent: z\r\n")))
		}
		l.w.Receive(from, calls[0], l.now)
		i := 1
		l.n = 0
		if n := testing.AllocsPerRun(200, func() {
			l.now = l.now.Add(time.Microsecond)
			l.w.Receive(from, calls[i], l.now)
			l.w.Expire(l.now)
			l.w.Quiesce()
			i++
		}); n != 0 {
			t.Errorf("%s: %v allocations", user, n)
		}
		if l.n != 201*want {
			t.Errorf("%s: %d messages left for 201", user, l.n)
		}
	}
}

// TestProbesLeave: what the file says about probes is OPTIONS on the wire, and their answers are states.
func TestProbesLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := newLane(t, `
gateways: {g: {members: ["sip:192.0.2.1", "sip:192.0.2.2:5070"], probe: {every: 1s, timeout: 500ms, down: 2, up: 1, from: "sip:ops@example.com", to: ping}}}
routes: [{gateway: g}]
`)
		began := time.Now()
		clock := func() transport.Instant { return k.now.Add(time.Since(began)) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.d.RunProbes(ctx, k.core, clock)
		}()
		// second lets a second pass and returns which gateways were asked; those of silent do not answer.
		second := func(silent string) (asked []string) {
			l.sent = nil
			for range 100 {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				l.now = clock()
				l.w.Woken(l.now)
				l.w.Expire(l.now)
				for sent := l.sent; len(sent) > 0; sent = l.sent {
					l.sent = nil
					for _, p := range sent {
						asked = append(asked, starts([]packet{p})...)
						if p.to != silent {
							flow := transport.Flow{Remote: transport.AddrFrom(netip.MustParseAddrPort(p.to)), Proto: transport.UDP}
							l.w.Receive(flow, []byte(reply("405 Method Not Allowed", p.text)), l.now)
						}
						if from := header(p.text, "From"); !strings.HasPrefix(from[0], "<sip:ops@example.com>;tag=") {
							t.Errorf("From %v", from)
						}
					}
				}
				l.w.Quiesce()
			}
			return
		}
		const one, two = "192.0.2.1:5060", "192.0.2.2:5070"
		asked := second("")
		for _, want := range []string{one + " OPTIONS sip:ping@192.0.2.1 SIP/2.0", two + " OPTIONS sip:ping@192.0.2.2:5070 SIP/2.0"} {
			if !slices.Contains(asked, want) {
				t.Errorf("asked: %v, want %s", asked, want)
			}
		}
		k.check(ordinary, "udp:192.0.2.1:5060 | udp:192.0.2.2:5070")
		for range 3 {
			second(one)
		}
		k.check(ordinary, "udp:192.0.2.2:5070")
		second("")
		second("")
		k.check(ordinary, "udp:192.0.2.1:5060 | udp:192.0.2.2:5070")
		cancel()
		<-done
	})
}

// ordinary is an INVITE like any other.
var ordinary = asked{}

// TestPathAsRequestURI: a Path of ours is no Record-Route value, so as a Request-URI it is what the policy looks at and what leaves.
// A client that put it there and a number behind it as a Route had the number called, which the policy had never seen.
func TestPathAsRequestURI(t *testing.T) {
	l, _ := newLane(t, `
routes:
	- {match: {uri: {number: ["+49900"]}}, reject: 403}
	- {next-hop: "sip:192.0.2.1"}
`)
	register := strings.Replace(call("REGISTER", "sip:example.com", "a", "Contact: <sip:alice@198.51.100.1>;reg-id=1\r\nSupported: path, outbound\r\n"), ";branch=", ";rport;branch=", 1)
	paths := header(l.receive(alice, register)[0].text, "Path")
	if len(paths) != 1 {
		t.Fatalf("Path: %v", paths)
	}
	path := strings.Trim(paths[0], "<>")
	wants(t, l.receive(alice, call("INVITE", "sip:+4990012345@example.com", "b", "")), alice+" SIP/2.0 403 Forbidden")
	got := l.receive(alice, call("INVITE", path, "c", "Route: <sip:+4990012345@192.0.2.9>\r\n"))
	for _, p := range got {
		if strings.HasPrefix(p.text, "INVITE") {
			t.Errorf("left for %s:\n%s", p.to, p.text)
		}
	}
}

// TestMaddr: a maddr is another host than the one that a route or a peer's permission is about.
func TestMaddr(t *testing.T) {
	l, _ := newLane(t, `
peers: {alice: {addresses: [198.51.100.0/24], allow: {domains: [example.org, example.net, 192.0.2.9]}}}
routes:
	- {match: {uri: {host: [example.org, 192.0.2.8, 192.0.2.9]}}, relay: true}
	- {match: {uri: {user: any}}, relay: true}
`)
	for id, c := range map[string][2]string{
		"a": {"sip:bob@example.org;maddr=192.0.2.66", "403 Forbidden"},         // neither
		"b": {"sip:bob@example.org;MADDR=192.0.2.8", "403 Forbidden"},          // the route, not the permission
		"c": {"sip:bob@example.net;maddr=192.0.2.9", "403 Forbidden"},          // the permission, not the route
		"d": {"sip:bob@example.org;maddr=192.0.2.9", "192.0.2.9:5060"},         // both
		"e": {"sip:any@example.net;maddr=192.0.2.9", "192.0.2.9:5060"},         // a route for any host
		"f": {"sip:bob@192.0.2.9;maddr=192.0.2.254", "192.0.2.9:5060"},         // ours: it goes, and counts for nothing (16.4)
		"g": {"sip:bob@192.0.2.9;maddr=192.0.2.254;lr;se=f", "192.0.2.9:5060"}, // whatever else it says
	} {
		got := l.receive(alice, call("INVITE", c[0], id, ""))
		if last := got[len(got)-1]; !strings.Contains(last.to+" "+last.text, c[1]) {
			t.Errorf("%s: left: %v, want %s", c[0], starts(got), c[1])
		}
	}
}

// TestPeerWithoutRoute: the limits and the header fields of a peer hold for its requests that no route takes too.
func TestPeerWithoutRoute(t *testing.T) {
	const text = `
peers: {alice: {addresses: [198.51.100.0/24], limits: {calls: 1, answer: 486}, headers: {remove: [X-Private], add: {X-Peer: alice}}}}
routes: [{match: {uri: {user: nobody}}, reject: 404}]
`
	k := newDesk(t, text)
	calls := dialog.New(dialog.Config{
		Begun: func(o dialog.Owner, now transport.Instant) bool { return k.d.Begun(o.Peer, now) },
		Ended: func(o dialog.Owner) { k.d.Ended(o.Gateway); k.d.Ended(o.Peer) }, TokenParam: router.TokenParam,
	})
	defer calls.Close()
	for _, mode := range []router.Mode{router.Stateful, router.Stateless} {
		k.core = newCore(t, router.Config{Mode: mode, Decide: k.d.Decide, Admit: k.d.Admit, Outcome: k.d.Outcome, Dialogs: calls, NextHop: &router.NextHop{Host: "192.0.2.1"}})
		k.load(text)
		l := &lane{t: t, now: k.now, buf: make([]byte, transport.MaxDatagram)}
		l.w = k.core.NewWorker(0, l)
		l.w.Busy()
		got := l.receive(alice, call("INVITE", "sip:bob@example.com", "a", "X-Private: a\r\n"))
		sent := got[len(got)-1]
		if sent.to != gw1 || len(header(sent.text, "X-Private")) != 0 || strings.Join(header(sent.text, "X-Peer"), " ") != "alice" {
			t.Errorf("left for %s:\n%s", sent.to, sent.text)
		}
		if mode == router.Stateless {
			continue
		}
		wants(t, l.receive(alice, call("INVITE", "sip:bob@example.com", "b", "")), alice+" SIP/2.0 486 Busy Here")
		l.receive(gw1, reply("480 Temporarily Unavailable", sent.text))
		got = l.receive(alice, call("INVITE", "sip:bob@example.com", "c", ""))
		wants(t, got, alice+" SIP/2.0 100 Trying", gw1+" INVITE sip:bob@example.com SIP/2.0")
		l.receive(gw1, reply("480 Temporarily Unavailable", got[1].text))
	}
}

// TestCountedPeerHasState: whose calls are limited is never handled without state, in which nobody can count.
func TestCountedPeerHasState(t *testing.T) {
	k := newDesk(t, `
peers:
	limited: {addresses: [203.0.113.1], limits: {calls: 1}}
	other: {addresses: [203.0.113.2]}
routes: [{next-hop: "sip:192.0.2.1", mode: stateless}]
`)
	for source, want := range map[string]bool{"203.0.113.1": false, "203.0.113.2": true, "198.51.100.1": true} {
		q := k.query(asked{source: source})
		if v := k.d.Decide(q, new(router.TargetSet)); v != router.Forward || q.Stateless != want {
			t.Errorf("%s: %v, without state: %v", source, v, q.Stateless)
		}
	}
}
