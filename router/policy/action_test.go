package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/transport"
)

func TestActions(t *testing.T) {
	k := newDesk(t, `
gateways:
	three: {members: ["sip:192.0.2.1", "sip:192.0.2.2:5070;transport=tcp", "sips:gw.example.net"]}
	host: {members: ["sip:[2001:db8::1]:5070", "sip:gw.example.net;transport=tcp"], request-uri: gateway}
routes:
	- {match: {uri: {user: three}}, gateway: three}
	- {match: {uri: {user: host}}, gateway: host}
	- {match: {uri: {number: '+1..+9'}}, gateway: host}
	- {match: {uri: {user: hop4}}, next-hop: "sip:192.0.2.9"}
	- {match: {uri: {user: hop6}}, next-hop: "sip:[2001:db8::9]:99;transport=tls"}
	- {match: {uri: {user: hops}}, next-hop: "sips:192.0.2.9"}
	- {match: {uri: {user: name}}, next-hop: "sip:sip.example.net:5080;transport=udp"}
	- {match: {uri: {user: ask}}, redirect-server: "sip:192.0.2.10"}
	- {match: {uri: {user: one}}, redirect: "sip:192.0.2.11"}
	- {match: {uri: {user: many}}, redirect: {to: ["sip:a@192.0.2.11", "sips:gw.example.net;x=1", "tel:+491"], code: 300}}
	- {match: {uri: {user: no}}, reject: {code: 480, reason: "Not at home", retry-after: 90s}}
	- {match: {uri: {user: stateless}}, next-hop: "sip:192.0.2.9", mode: stateless}
	- {match: {uri: {user: relay}}, relay: true}
`)
	f := func(uri, want string) {
		t.Helper()
		k.check(asked{uri: uri}, want)
	}
	f("sip:three@example.com", "udp:192.0.2.1:5060 | tcp:192.0.2.2:5070 | sips:gw.example.net")
	f("sip:host:pw@example.com:5099;transport=tls;maddr=1.2.3.4;ttl=1;x=y;lr", "udp:[2001:db8::1]:5070 <sip:host:pw@[2001:db8::1]:5070;x=y;lr> | sip:gw.example.net;transport=tcp <sip:host:pw@gw.example.net;x=y;lr>")
	f("sips:host@example.com", "udp:[2001:db8::1]:5070 <sips:host@[2001:db8::1]:5070> | sip:gw.example.net;transport=tcp <sips:host@gw.example.net>")
	f("tel:+49-30-123;ext=7", "udp:[2001:db8::1]:5070 <sip:+49-30-123;ext=7@[2001:db8::1]:5070;user=phone> | sip:gw.example.net;transport=tcp <sip:+49-30-123;ext=7@gw.example.net;user=phone>")
	f("sip:hop4@example.com", "udp:192.0.2.9:5060")
	f("sip:hop6@example.com", "tls:[2001:db8::9]:99")
	f("sip:hops@example.com", "tls:192.0.2.9:5061")
	f("sip:name@example.com", "sip:sip.example.net:5080;transport=udp")
	f("sip:ask@example.com", "udp:192.0.2.10:5060")
	f("sip:one@example.com;x=1", "302 Moved Temporarily; Contact: <sip:one@192.0.2.11>")
	f("sip:many@example.com", "300 Multiple Choices; Contact: <sip:a@192.0.2.11>;q=1.00; Contact: <sips:many@gw.example.net;x=1>;q=0.95; Contact: <tel:+491>;q=0.90")
	f("sip:no@example.com", "480 Not at home; Retry-After: 90")
	f("sip:stateless@example.com", "stateless: udp:192.0.2.9:5060")
	f("sip:relay@example.org", "there")
	f("sip:relay@example.com", "default") // never what is ours
	f("sip:nobody@example.com", "default")
}

// TestRules: what the file says of a group, a route and a peer is in the rule that its targets have.
func TestRules(t *testing.T) {
	k := newDesk(t, `
peers:
	plain: {addresses: [192.0.2.1]}
	edited: {addresses: [192.0.2.2], headers: {remove: [P-Charging-Vector], add: {X-Peer: edited}}}
	counted: {addresses: [192.0.2.3], limits: {calls: 5}}
gateways:
	plain: {members: ["sip:192.0.2.11"]}
	fussy: {members: [{uri: "sip:192.0.2.11", calls: 3}], timeout: 2s, failover: [404, 5xx], unavailable: 480}
routes:
	- {match: {uri: {user: plain}}, gateway: plain}
	- {match: {uri: {user: fussy}}, gateway: fussy, record-route: true, headers: {add: {X-Route: "a: b"}}}
	- {match: {uri: {user: follow}}, next-hop: "sip:192.0.2.11", follow-redirects: true}
	- {match: {uri: {user: ask}}, redirect-server: "sip:192.0.2.11", record-route: true}
	- {match: {uri: {user: hop}}, next-hop: "sip:192.0.2.11"}
emergency: {numbers: ["112"], gateway: plain}
`)
	edits := func(remove []string, add ...string) router.HeaderEditsID {
		id, err := k.core.HeaderEdits(router.HeaderEdits{Remove: remove, Add: add})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	rule := func(r router.Rule) router.RuleID {
		t.Helper()
		id, err := k.core.Rule(r)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	f := func(user, source string, want router.Rule) {
		t.Helper()
		var to router.TargetSet
		q := k.query(asked{uri: "sip:" + user + "@example.com", source: source})
		if v := k.d.Decide(q, &to); v != router.Forward {
			t.Fatalf("%s: verdict %d", user, v)
		}
		if got := to.View(0).Rule; got != rule(want) {
			t.Errorf("%s from %s: rule %d, want %d", user, source, got, rule(want))
		}
	}
	plain := router.Rule{Statuses: []int{500, 502, 503, 504}, Silence: true, Overflow: 503}
	f("plain", "192.0.2.99", plain)
	f("plain", "192.0.2.1", plain)
	exempt := plain
	exempt.Exempt = true
	f("112", "192.0.2.1", exempt)
	edited := plain
	edited.Headers[0] = edits([]string{"p-charging-vector"}, "X-Peer: edited")
	f("plain", "192.0.2.2", edited)
	counted := plain
	counted.Counted = true
	f("plain", "192.0.2.3", counted)
	fussy := router.Rule{Statuses: []int{404, 5}, Timeout: 2 * time.Second, Overflow: 480, Record: true, Counted: true}
	fussy.Headers[1] = edits(nil, "X-Route: a: b")
	f("fussy", "192.0.2.99", fussy)
	fussy.Headers[0] = edited.Headers[0]
	f("fussy", "192.0.2.2", fussy)
	f("follow", "192.0.2.99", router.Rule{Recurse: true, Then: router.Same})
	f("ask", "192.0.2.99", router.Rule{Recurse: true, Record: true, Then: rule(router.Rule{Record: true})})
	f("hop", "192.0.2.99", router.Rule{})
}

// TestGateways: each way to choose, through the policy.
func TestGateways(t *testing.T) {
	const members = `members: ["sip:192.0.2.1", "sip:192.0.2.2", "sip:192.0.2.3"]`
	first := func(k *desk, a asked) string {
		t.Helper()
		s, _, _ := strings.Cut(k.ask(a), " ")
		return strings.TrimSuffix(strings.TrimPrefix(s, "udp:192.0.2."), ":5060")
	}
	run := func(k *desk, n int, a func(i int) asked) (s string) {
		for i := range n {
			s += first(k, a(i))
		}
		return
	}
	same := func(int) asked { return asked{} }
	each := func(i int) asked { return asked{id: fmt.Sprint(i)} }
	route := "\nroutes: [{gateway: g}]\n"
	if got := run(newDesk(t, "gateways: {g: {"+members+"}}"+route), 6, same); got != "111111" {
		t.Errorf("priority: %s", got)
	}
	if got := run(newDesk(t, "gateways: {g: {"+members+", select: round-robin}}"+route), 7, same); got != "1231231" {
		t.Errorf("round robin: %s", got)
	}
	if got := run(newDesk(t, "gateways: {g: {"+members+", select: weight}}"+route), 60, same); strings.Count(got, "1")*strings.Count(got, "2")*strings.Count(got, "3") == 0 {
		t.Errorf("weight: %s", got)
	}
	k := newDesk(t, "gateways: {g: {"+members+", select: hash}}"+route)
	if got := run(k, 60, each); got != run(k, 60, each) || strings.Count(got, "1")*strings.Count(got, "2")*strings.Count(got, "3") == 0 {
		t.Errorf("hash by call-id: %s", got)
	}
	for by, other := range map[string]func(s string, i int) asked{
		"from": func(s string, i int) asked {
			return asked{id: fmt.Sprint(i), from: "<" + s + ">", to: fmt.Sprintf("<sip:%d@x>", i)}
		},
		"to": func(s string, i int) asked {
			return asked{id: fmt.Sprint(i), to: "<" + s + ">", from: fmt.Sprintf("<sip:%d@x>", i)}
		},
	} {
		k := newDesk(t, "gateways: {g: {"+members+", select: hash, hash-by: "+by+"}}"+route)
		seen := map[string]bool{}
		for i := range 60 {
			want := first(k, other(fmt.Sprintf("sip:u%d@host.example", i), 1))
			seen[want] = true
			if got := first(k, other(fmt.Sprintf("sip:u%d@HOST.example;x=%d", i, i), 2)); got != want {
				t.Errorf("hash by %s: %s and %s for the same URI", by, want, got)
			}
		}
		if len(seen) != 3 {
			t.Errorf("hash by %s: only %v", by, seen)
		}
	}
	k = newDesk(t, "gateways: {g: {"+members+", select: least-calls}}"+route)
	load := func(n int, name string) {
		for range n {
			k.pool.Admit(k.pool.Find("g", name), k.now, true)
		}
	}
	load(5, "192.0.2.1")
	load(2, "192.0.2.2")
	load(9, "192.0.2.3")
	if got := k.ask(asked{}); got != "udp:192.0.2.2:5060 | udp:192.0.2.1:5060 | udp:192.0.2.3:5060" {
		t.Errorf("least calls: %s", got)
	}

	// tries, priorities, gateway numbers
	k = newDesk(t, `gateways: {g: {members: [{uri: "sip:192.0.2.1", priority: 2}, {uri: "sip:192.0.2.2"}, {uri: "sip:192.0.2.3", name: last, priority: 3}], tries: 2}}`+route)
	k.check(asked{}, "udp:192.0.2.2:5060 | udp:192.0.2.1:5060")
	var to router.TargetSet
	k.d.Decide(k.query(asked{}), &to)
	if n := gateway.Number(to.View(1).Gateway); n != k.pool.Find("g", "192.0.2.1") || n == 0 {
		t.Errorf("gateway %d", n)
	}

	// What is stateless goes the same way for each copy, whatever the method.
	for _, method := range []string{"priority", "weight", "round-robin", "hash"} {
		k := newDesk(t, "gateways: {g: {"+members+", select: "+method+"}}"+route)
		for i := range 20 {
			a := asked{id: fmt.Sprint(i), stateless: true}
			want := k.ask(a)
			a.method = "CANCEL"
			if got := k.ask(a); got != want {
				t.Errorf("%s: %s and then %s", method, want, got)
			}
		}
	}
}

// TestLimitsOfGateways: who is full is passed over or, where the file says so, refuses.
func TestLimitsOfGateways(t *testing.T) {
	const text = `gateways: {g: {members: [{uri: "sip:192.0.2.1", calls: 1}, {uri: "sip:192.0.2.2", calls: 1}], overflow: %s, unavailable: {code: 486, retry-after: 3s}}}
routes: [{match: {uri: {user: bob}}, gateway: g}]
emergency: {numbers: ["112"], gateway: g}
`
	attempt := func(k *desk, i int) router.Attempt {
		return router.Attempt{Gateway: uint16(k.pool.Find("g", fmt.Sprintf("192.0.2.%d", i))), Method: uint8(parser.MethodInvite), Counted: true, Now: k.now}
	}
	k := newDesk(t, fmt.Sprintf(text, "next"))
	k.check(asked{}, "udp:192.0.2.1:5060 | udp:192.0.2.2:5060")
	if !k.d.Admit(attempt(k, 1)) || k.d.Admit(attempt(k, 1)) {
		t.Error("Admit")
	}
	k.check(asked{}, "udp:192.0.2.2:5060")
	if !k.d.Admit(attempt(k, 2)) {
		t.Error("Admit")
	}
	k.check(asked{}, "486 Busy Here; Retry-After: 3")
	k.check(asked{uri: "tel:112"}, "udp:192.0.2.1:5060 | udp:192.0.2.2:5060")
	a := attempt(k, 1)
	a.Exempt = true
	if !k.d.Admit(a) {
		t.Error("an emergency call was refused")
	}
	k.d.Ended(a.Gateway)
	k.check(asked{}, "486 Busy Here; Retry-After: 3")
	k.d.Ended(a.Gateway)
	k.check(asked{}, "udp:192.0.2.1:5060")
	a = attempt(k, 2)
	a.Method = uint8(parser.MethodMessage)
	if !k.d.Admit(a) {
		t.Error("a MESSAGE is no call")
	}
	if e := k.d.Explain(k.query(asked{}), new(router.TargetSet)); e.Gateway != "g" || e.Step != Routed {
		t.Errorf("%v", e)
	}

	k = newDesk(t, fmt.Sprintf(text, "reject"))
	k.d.Admit(attempt(k, 1))
	k.check(asked{}, "486 Busy Here; Retry-After: 3")
	if e := k.d.Explain(k.query(asked{}), new(router.TargetSet)); e.Step != Full || e.Gateway != "g" || !strings.Contains(e.String(), "no room") {
		t.Errorf("%v", e)
	}

	k = newDesk(t, `gateways: {g: {members: [{uri: "sip:192.0.2.1", calls-per-second: 2}]}}`+"\nroutes: [{gateway: g}]")
	a = attempt(k, 1)
	a.Counted = false
	for i, want := range []bool{true, true, false} {
		if got := k.d.Admit(a); got != want {
			t.Errorf("call %d: %v", i, got)
		}
	}
	k.check(asked{}, "503 Service Unavailable; Retry-After: 10")
	k.now = k.now.Add(500 * time.Millisecond)
	k.check(asked{}, "udp:192.0.2.1:5060")
	if n := k.pool.Calls(gateway.Number(a.Gateway)); n != 0 {
		t.Errorf("%d calls are counted that nobody follows", n)
	}
}

// TestStatesOfGateways: probes, people and outcomes say who is up.
func TestStatesOfGateways(t *testing.T) {
	k := newDesk(t, `
gateways: {g: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], probe: {every: 1s, down: 1, expect: [200, 4xx]}}}
routes: [{gateway: g}]
`)
	a := k.pool.Find("g", "192.0.2.1")
	k.check(asked{}, "udp:192.0.2.1:5060 | udp:192.0.2.2:5060")
	k.pool.Set(a, gateway.Draining, k.now)
	k.check(asked{}, "udp:192.0.2.2:5060")
	k.pool.Set(a, gateway.InService, k.now)
	k.check(asked{}, "udp:192.0.2.1:5060 | udp:192.0.2.2:5060")
	for _, e := range []router.Event{router.Started, router.Answered, router.Silent, router.Failed, router.Late, router.Unsent} {
		k.d.Outcome(router.Outcome{Gateway: uint16(a), Status: 503, Event: e, Now: k.now})
	}
	st := k.pool.Snapshot()[a-1]
	if st.Answers != [7]uint64{0: 2, 5: 1} {
		t.Errorf("answers %v", st.Answers)
	}
	k.pool.Set(a, gateway.Draining, k.now)
	k.pool.Set(k.pool.Find("g", "192.0.2.2"), gateway.OutOfService, k.now)
	k.check(asked{}, "503 Service Unavailable; Retry-After: 10")
}

// TestDownAfter: without probes, what becomes of requests says who is up.
func TestDownAfter(t *testing.T) {
	k := newDesk(t, `
gateways: {g: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], down-after: 2, down-for: 10s}}
routes: [{gateway: g}]
`)
	a := uint16(k.pool.Find("g", "192.0.2.1"))
	const both = "udp:192.0.2.1:5060 | udp:192.0.2.2:5060"
	outcome := func(e router.Event, status uint16) {
		k.d.Outcome(router.Outcome{Gateway: a, Event: e, Status: status, Now: k.now})
	}
	outcome(router.Silent, 0)
	outcome(router.Answered, 486)
	outcome(router.Failed, 0)
	k.check(asked{}, both)
	outcome(router.Answered, 503)
	k.check(asked{}, "udp:192.0.2.2:5060")
	k.now = k.now.Add(10 * time.Second)
	k.check(asked{}, both)
	k.check(asked{}, "udp:192.0.2.2:5060") // one at a time
	outcome(router.Answered, 200)
	k.check(asked{}, both)
	k.check(asked{}, both)
}

func TestPeerLimits(t *testing.T) {
	k := newDesk(t, `
peers:
	acme: {addresses: [203.0.113.1], limits: {calls: 1, calls-per-second: 2, requests-per-second: 5, answer: {code: 500, reason: Slow down}}}
	other: {addresses: [203.0.113.2], limits: {calls-per-second: 1}}
routes: [{reject: 480}]
emergency: {numbers: ["112"], next-hop: "sip:192.0.2.1"}
`)
	const ok, over = "480 Temporarily Unavailable", "500 Slow down"
	acme := asked{source: "203.0.113.1"}
	register := acme
	register.method = "REGISTER"
	f := func(a asked, want string, step Step) {
		t.Helper()
		q := k.query(a)
		if got := k.outcome(q); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(acme, ok, Routed)
	f(acme, ok, Routed)
	f(acme, over, TooManyNewCalls)
	f(register, ok, Routed)
	f(register, ok, Routed)
	f(register, over, TooManyRequests)
	emergency := acme
	emergency.uri = "tel:112"
	f(emergency, "udp:192.0.2.1:5060", Emergency)
	ack := acme
	ack.method = "ACK"
	f(ack, ok, Routed) // it belongs to an INVITE
	k.now = k.now.Add(10 * time.Second)
	q := k.query(acme)
	k.outcome(q)
	calls := gateway.Number(q.Peer)
	if calls == 0 || k.pool.Admit(calls, k.now, false) != gateway.Admitted {
		t.Fatalf("peer %d", q.Peer)
	}
	f(acme, over, TooManyCalls)
	if e := k.d.Explain(k.query(acme), new(router.TargetSet)); e.Step != TooManyCalls || e.Peer != "acme" {
		t.Errorf("%v", e)
	}
	f(register, ok, Routed)
	f(emergency, "udp:192.0.2.1:5060", Emergency)
	// A reload keeps the count.
	k.load(`
peers: {acme: {addresses: [203.0.113.1], limits: {calls: 1}}}
routes: [{reject: 480}]
`)
	f(acme, "503 Service Unavailable; Retry-After: 10", TooManyCalls)
	k.d.Ended(uint16(calls))
	f(acme, ok, Routed)
	if q := k.query(asked{source: "203.0.113.2"}); k.outcome(q) != ok || q.Peer != 0 {
		t.Error("a peer without a limit is counted")
	}
}

func TestPeerMayAskFor(t *testing.T) {
	k := newDesk(t, `
numbers: {country: FR}
regions: {austria: ["+43"]}
peers:
	acme: {addresses: [203.0.113.1], country: DE, allow: {domains: [example.com, "*.example.org"], numbers: ["+49"], regions: austria}}
	open: {addresses: [203.0.113.2]}
routes: [{match: {uri: {number: ["+49", "+43"]}}, reject: 486}, {reject: 480}]
emergency: {numbers: ["112"], next-hop: "sip:192.0.2.1"}
`)
	f := func(uri, want string) {
		t.Helper()
		k.check(asked{source: "203.0.113.1", uri: uri}, want)
	}
	f("sip:bob@example.com", "480 Temporarily Unavailable")
	f("sip:bob@a.example.org", "480 Temporarily Unavailable")
	f("sip:bob@example.net", "403 Forbidden")
	f("sip:03012345@example.com", "486 Busy Here") // by the peer's country
	f("sip:+43123@example.com", "486 Busy Here")
	f("sip:+48123@example.com", "403 Forbidden")
	f("sip:0048123456@example.com", "403 Forbidden")
	f("tel:+49301234", "403 Forbidden") // no domain
	// What a gateway may still take for a number is none of those allowed.
	for _, user := range []string{"00-48-123456", "00.48123456", "0048%20123456", "+48%20123456", "(0048)123456", "0048123456x", "%30%3048-1", "+48123x", "-0048123456",
		"+481234567890123456789012345678901234567890"} {
		f("sip:"+user+"@example.com", "403 Forbidden")
	}
	f("sip:b0048123456@example.com", "480 Temporarily Unavailable")
	f("sip:%62ob@example.com", "480 Temporarily Unavailable")
	f("sip:example.com", "480 Temporarily Unavailable")
	f("sip:112@example.net", "udp:192.0.2.1:5060")
	k.check(asked{source: "203.0.113.2", uri: "sip:03012345@example.net"}, "480 Temporarily Unavailable") // +33...
}

func TestEmergency(t *testing.T) {
	k := newDesk(t, `
numbers: {country: US}
emergency: {numbers: ["112", "911"], next-hop: "sip:192.0.2.1"}
routes: [{reject: 480}]
`)
	for uri, want := range map[string]bool{
		"urn:service:sos": true, "URN:service:SOS.fire": true, "urn:service:sos.police.municipal": true, "urn:service:counseling": false, "urn:service:sosx": false,
		"tel:112": true, "tel:911;phone-context=+1": true, "sip:911@example.com": true, "sip:9-1-1@x;user=phone": true, "sip:112;phone-context=x@example.net;user=phone": true,
		"sip:1122@x": false, "sip:+112@x": false, "sip:0112@x": false, "sip:sos@x": false, "sip:911x@x": false, "tel:9(1)1": true,
	} {
		w := "480 Temporarily Unavailable"
		if want {
			w = "udp:192.0.2.1:5060"
		}
		k.check(asked{uri: uri}, w)
		if got := k.d.Emergency([]byte(uri)); got != want {
			t.Errorf("%s: emergency %v", uri, got)
		}
	}
	if k.d.Emergency([]byte("not a URI")) || !New(k.pool, k.names, nil).Emergency([]byte("urn:service:sos.fire")) || New(k.pool, k.names, nil).Emergency([]byte("tel:112")) {
		t.Error("an emergency out of nothing")
	}
	k.load(`emergency: {numbers: ["110"], urn: false, next-hop: "sip:192.0.2.1"}`)
	k.check(asked{uri: "urn:service:sos"}, "default")
	k.check(asked{uri: "tel:112"}, "default")
	k.check(asked{uri: "tel:110"}, "udp:192.0.2.1:5060")
}

// TestNumberEdits: what a route does to the number stands in the Request-URI that leaves.
func TestNumberEdits(t *testing.T) {
	k := newDesk(t, `
numbers: {country: DE}
gateways: {g: {members: ["sip:gw.example.net:5070"], request-uri: gateway}}
routes:
	- {match: {from: {user: norm}}, next-hop: "sip:192.0.2.1", number: {normalise: true}}
	- {match: {from: {user: plus}}, next-hop: "sip:192.0.2.1", number: {normalise: true, strip: 1}}
	- {match: {from: {user: prefix}}, next-hop: "sip:192.0.2.1", number: {normalise: true, strip: 3, prepend: "0"}}
	- {match: {from: {user: tech}}, next-hop: "sip:192.0.2.1", number: {prepend: "9#"}}
	- {match: {from: {user: gone}}, next-hop: "sip:192.0.2.1", number: {strip: 30}}
	- {match: {from: {user: long}}, next-hop: "sip:192.0.2.1", number: {prepend: "00000000000000000000"}}
	- {match: {from: {user: gw}}, gateway: g, number: {normalise: true}}
	- {match: {from: {user: redirect}}, redirect: "sip:192.0.2.1", number: {normalise: true}}
`)
	f := func(from, uri, want string) {
		t.Helper()
		if !strings.Contains(want, " ") || strings.HasPrefix(want, "<") {
			want = strings.TrimSpace("udp:192.0.2.1:5060 " + want)
		}
		k.check(asked{from: "<sip:" + from + "@x>", uri: uri}, want)
	}
	f("norm", "sip:030123456@example.com;user=phone;x=1", "<sip:+4930123456@example.com;user=phone;x=1>")
	f("norm", "sip:00441234567@example.com", "<sip:+441234567@example.com>")
	f("norm", "sip:+49-30-123456@example.com", "<sip:+4930123456@example.com>")
	f("norm", "sips:112@example.com:5071", "<sips:112@example.com:5071>")
	f("norm", "sip:bob@example.com", "")
	f("norm", "urn:a:b", "")
	f("norm", "sip:030123456;ext=1;phone-context=+49:pw@example.com;user=phone", "<sip:+4930123456;ext=1@example.com;user=phone>")
	f("norm", "sip:1234;phone-context=pbx.example@example.com;user=phone", "<sip:1234;phone-context=pbx.example@example.com;user=phone>")
	f("norm", "tel:030-123456;phone-context=+49;ext=1", "<tel:+4930123456;ext=1>")
	f("norm", "tel:+49(30)123456", "<tel:+4930123456>")
	f("plus", "sip:030123456@example.com", "<sip:4930123456@example.com>")
	f("plus", "tel:+4930123456", "<tel:4930123456;phone-context=+49>")
	f("prefix", "sip:+4930123456@x", "<sip:030123456@x>")
	f("tech", "sip:123@x", "<sip:9%23123@x>")
	f("tech", "sip:+123@x", "<sip:9%23123@x>")
	f("tech", "tel:123;phone-context=pbx.example", "<tel:9#123;phone-context=pbx.example>")
	f("gone", "sip:123@x", "484 Address Incomplete")
	f("gone", "sip:bob@x", "")
	f("long", "sip:12345678901234@x", "484 Address Incomplete")
	f("gw", "sip:030123456@example.com;transport=tcp;a=b", "sip:gw.example.net:5070 <sip:+4930123456@gw.example.net:5070;a=b>")
	f("gw", "tel:030123456;phone-context=+49", "sip:gw.example.net:5070 <sip:+4930123456@gw.example.net:5070;user=phone>")
	f("gw", "sip:example.com", "sip:gw.example.net:5070 <sip:gw.example.net:5070>")
	f("redirect", "sip:030123456@example.com", "302 Moved Temporarily; Contact: <sip:+4930123456@192.0.2.1>")
	f("redirect", "tel:030123456", "302 Moved Temporarily; Contact: <sip:+4930123456@192.0.2.1>")
	f("redirect", "sip:example.com", "302 Moved Temporarily; Contact: <sip:192.0.2.1>")
	long := "sip:030123456@example.com;x=" + strings.Repeat("y", 8000)
	k.check(asked{from: "<sip:norm@x>", to: "<sip:bob@x>", uri: long}, "udp:192.0.2.1:5060 <sip:+4930123456"+long[len("sip:030123456"):]+">")
}

// TestTooLong: a Request-URI for which there is no room beside the others is answered, not cut.
func TestTooLong(t *testing.T) {
	k := newDesk(t, `
gateways: {g: {members: ["sip:a.example", "sip:b.example"], request-uri: gateway}}
routes: [{gateway: g}]
`)
	long := "sip:bob@x;y=" + strings.Repeat("z", 8100)
	k.check(asked{uri: long, to: "<sip:bob@x>"}, "sip:a.example <"+strings.Replace(long, "@x", "@a.example", 1)+">") // the second finds no room
	long += strings.Repeat("z", 8192-len(long))
	k.check(asked{uri: long, to: "<sip:bob@x>"}, "414 Request-URI Too Long")
}

// TestExplain says why in words.
func TestExplain(t *testing.T) {
	k := newDesk(t, `
numbers: {country: DE}
regions: {berlin: ["+4930"]}
peers: {acme: {addresses: [198.51.100.0/24]}}
gateways: {trunk: {members: ["sip:192.0.2.1"]}}
routes: [{name: out, match: {uri: {region: berlin}}, gateway: trunk}]
`)
	e := k.d.Explain(k.query(asked{uri: "sip:030123456@x"}), new(router.TargetSet))
	if want := "the request is taken by the route; route out; peer acme; gateway trunk; number 030123456; E.164 +4930123456; region berlin"; e.String() != want {
		t.Errorf("%s\nwant %s", e, want)
	}
	if e := k.d.Explain(k.query(asked{}), new(router.TargetSet)); e.Step != NoRoute || e.Verdict != router.Default {
		t.Errorf("%v", e)
	}
	if e := k.d.Explain(k.query(asked{inDialog: true}), new(router.TargetSet)); e.Step != NotAsked {
		t.Errorf("%v", e)
	}
	for s := NotAsked; s <= TooLong; s++ {
		if s.String() == "" {
			t.Errorf("step %d has no words", s)
		}
	}
}

// TestDecideAllocates: no decision of any kind allocates.
func TestDecideAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k := newDesk(t, `
numbers: {country: DE}
regions: {berlin: ["+4930"], germany: ["+49"]}
schedules: {work: {hours: ["00:00-24:00"]}}
peers:
	acme:
		addresses: [203.0.113.0/24, "2001:db8::/32"]
		limits: {calls: 100000, calls-per-second: 100000, requests-per-second: 1000000}
		allow: {domains: ["*.example.com", example.com, 192.0.2.7], regions: [germany], numbers: ["+43"]}
		headers: {add: {X-A: b}}
gateways:
	a: {members: ["sip:192.0.2.1", "sip:gw.example.net"], request-uri: gateway}
	b: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], select: round-robin, timeout: 2s}
	c: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], select: hash, hash-by: from}
	d: {members: [{uri: "sip:192.0.2.1", calls: 5}, "sip:192.0.2.2"], select: least-calls}
	e: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], select: weight}
emergency: {numbers: ["112"], gateway: a}
routes:
	- {match: {uri: {user: "*never"}, from: {host: "*.nowhere.example", user: ["a*"]}, to: {region: berlin}, source: [192.0.2.0/24], schedule: work, transport: udp}, reject: 480}
	- {match: {uri: {number: "+4930..+4931"}}, gateway: a, number: {normalise: true, strip: 1, prepend: "00"}}
	- {match: {uri: {user: b, host: "*.com", ours: true}}, gateway: b}
	- {match: {uri: {user: c}}, gateway: c}
	- {match: {uri: {user: d}}, gateway: d}
	- {match: {uri: {user: "%65"}}, gateway: e}
	- {match: {uri: {user: hop}}, next-hop: "sip:192.0.2.9", follow-redirects: true}
	- {match: {uri: {user: relay, ours: false}}, relay: true}
	- {match: {uri: {user: redirect}}, redirect: {to: ["sip:192.0.2.1", "sip:192.0.2.2"]}}
	- {match: {method: [FOO]}, next-hop: "sip:192.0.2.9"}
	- {match: {uri: {user: reject}}, reject: {code: 480, retry-after: 10s}}
	- {match: {uri: {user: e}}, gateway: e}
`)
	var to router.TargetSet
	k.d.Decide(k.query(asked{uri: "sip:c@x"}), &to) // the set's memory grows once
	for _, a := range []asked{
		{uri: "sip:03012345678@a.example.com;user=phone;transport=tcp"}, {uri: "tel:+4930123456"}, {uri: "sip:b@example.com"}, {uri: "sip:c@x"}, {uri: "sip:d@x"}, {uri: "sip:%65@x"},
		{uri: "sip:hop@x"}, {uri: "sip:relay@x"}, {uri: "sip:redirect@x"}, {uri: "sip:reject@x"}, {method: "FOO"}, {uri: "sip:nobody@x"}, {uri: "urn:service:sos"}, {uri: "sip:112@x"},
		{source: "203.0.113.5", uri: "sip:b@example.com"}, {source: "203.0.113.5", uri: "sip:b@example.net"}, {source: "2001:db8::1", uri: "sip:+48123@example.com"},
		{inDialog: true}, {uri: "sip:e@x", stateless: true}, {from: "<sip:alice@a.nowhere.example>", source: "192.0.2.7", by: transport.TLS},
	} {
		q := k.query(a)
		before := *q
		verdict := router.Verdict(255)
		if n := testing.AllocsPerRun(200, func() {
			*q = before
			q.Now = q.Now.Add(time.Second)
			to.Reset()
			verdict = k.d.Decide(q, &to)
		}); n != 0 {
			t.Errorf("%+v: %v allocations (verdict %d)", a, n, verdict)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	var text strings.Builder
	text.WriteString("numbers: {country: DE}\nregions:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  r%d: [\"+49%04d\"]\n", i, i)
	}
	text.WriteString("gateways: {g: {members: [\"sip:192.0.2.1\", \"sip:192.0.2.2\"], select: weight}}\nroutes:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - {match: {method: INVITE, uri: {region: r%d}}, gateway: g}\n", i)
	}
	k := newDesk(b, text.String())
	for name, a := range map[string]asked{
		"first":      {uri: "sip:+490000123@example.com"},
		"thousandth": {uri: "sip:+490999123@example.com"},
		"none":       {uri: "sip:bob@example.com", method: "OPTIONS"},
	} {
		b.Run(name, func(b *testing.B) {
			var to router.TargetSet
			q := k.query(a)
			b.ReportAllocs()
			for b.Loop() {
				to.Reset()
				k.d.Decide(q, &to)
			}
		})
	}
}
