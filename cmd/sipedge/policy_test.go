package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func writeFile(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// sipedge check says what a file means, or everything that is wrong with it.
func TestCheck(t *testing.T) {
	examples, err := filepath.Glob("../../docs/examples/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal(examples, err)
	}
	for _, file := range examples {
		status, stdout, stderr := once(t, nil, "check", file)
		if missing := lacks(stdout, "Routes", "Overload"); status != 0 || missing != nil || stderr != "" {
			t.Errorf("%s: status %d, %q lacks %q; stderr %q", file, status, stdout, missing, stderr)
		}
	}
	status, stdout, stderr := once(t, nil, "check", "../../config/testdata/mistakes.yaml")
	if missing := lacks(stderr, `mistakes.yaml:1:1: "domain" is no key here; did you mean "domains"?`, "     1 | domain: [example.com]\n       | ^\n", "mistakes.yaml:40:"); status != 1 || missing != nil || stdout != "" {
		t.Errorf("status %d, %q lacks %q; stdout %q", status, stderr, missing, stdout)
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "p.yaml"), "routes:\n- {match: {uri: {ours: true}}, next-hop: 'sip:192.0.2.1:5060'}\n- {match: {source: 10.0.0.1}, next-hop: 'sip:192.0.2.1;transport=tcp'}\n")
	if status, _, stderr = once(t, nil, "check", file); status != 0 || stderr != "" {
		t.Errorf("status %d, %s", status, stderr)
	}
	status, _, stderr = once(t, nil, "check", file, "--listen=udp:192.0.2.1:5060")
	if missing := lacks(stderr, "p.yaml:2:", "own listener", "p.yaml:3:", "no --listen tcp"); status != 1 || missing != nil {
		t.Errorf("status %d, %q lacks %q", status, stderr, missing)
	}
	if status, _, stderr = once(t, nil, "check"); status != 2 || !strings.Contains(stderr, "one policy file") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if status, _, stderr = once(t, nil, "check", "/nowhere.yaml"); status != 1 || !strings.Contains(stderr, "/nowhere.yaml") {
		t.Errorf("status %d, %s", status, stderr)
	}
	// serve does not start with it.
	status, _, stderr = once(t, nil, "serve", "--policy=../../config/testdata/mistakes.yaml", "--t1=fast")
	if missing := lacks(stderr, "--t1", `mistakes.yaml:1:1: "domain" is no key here`, "\n     1 | domain: [example.com]\n       | ^\n"); status != 2 || missing != nil {
		t.Errorf("status %d, %q lacks %q", status, stderr, missing)
	}
}

func TestSchema(t *testing.T) {
	status, stdout, stderr := once(t, nil, "schema")
	var s map[string]any
	if err := json.Unmarshal([]byte(stdout), &s); status != 0 || stderr != "" || err != nil || s["properties"] == nil {
		t.Errorf("status %d, %v, %s", status, err, stderr)
	}
}

// The policy routes, and SIGHUP puts another one in force; a wrong one changes nothing.
func TestPolicy(t *testing.T) {
	bob, carol := newPhone(t, "127.0.0.1:9"), newPhone(t, "127.0.0.1:9")
	file := filepath.Join(t.TempDir(), "policy.yaml")
	to := func(p *phone) string {
		return fmt.Sprintf("domains: [example.com]\nroutes:\n- match: {uri: {host: example.com, user: barred}}\n  reject: {code: 480, reason: Not Today, retry-after: 7s}\n- match: {uri: {ours: true}}\n  next-hop: sip:%s\n", p.addr())
	}
	writeFile(t, file, to(bob))
	e := startEdge(t, nil, "--policy="+file)
	alice := newPhone(t, e.udp[0])
	alice.request("INVITE", "sip:someone@example.com", "first")
	bob.receive("INVITE sip:someone@example.com ")
	alice.request("INVITE", "sip:barred@example.com", "barred")
	if r := alice.receive("SIP/2.0 480 "); !strings.HasPrefix(r, "SIP/2.0 480 Not Today\r\n") || !strings.Contains(r, "\r\nRetry-After: 7\r\n") {
		t.Errorf("%q", r)
	}

	writeFile(t, file, "routes: nonsense")
	e.signal(syscall.SIGHUP)
	if l := e.waitLog("the policy stays as it was; sipedge check FILE shows what is wrong"); l == nil || !strings.Contains(fmt.Sprint(l["error"]), file+":1:9") {
		t.Errorf("%v", l)
	}
	alice.request("INVITE", "sip:someone@example.com", "second")
	bob.receive("INVITE sip:someone@example.com ")

	writeFile(t, file, to(carol))
	e.signal(syscall.SIGHUP)
	e.waitLog("policy in force")
	alice.request("INVITE", "sip:someone@example.com", "third")
	carol.receive("INVITE sip:someone@example.com ")
}

// A gateway that is drained by hand gets no new calls until it is put back.
func TestGatewayByHand(t *testing.T) {
	first, second := newPhone(t, "127.0.0.1:9"), newPhone(t, "127.0.0.1:9")
	file := writeFile(t, filepath.Join(t.TempDir(), "policy.yaml"), fmt.Sprintf(`
domains: [example.com]
gateways:
  pair:
    members:
      - {name: first, uri: "sip:%s"}
      - {name: second, uri: "sip:%s"}
routes:
  - match: {uri: {ours: true}}
    gateway: pair
`, first.addr(), second.addr()))
	e := startEdge(t, nil, "--policy="+file)
	alice := newPhone(t, e.udp[0])
	call := func(branch string, want *phone) {
		t.Helper()
		alice.request("INVITE", "sip:bob@example.com", branch)
		want.edge = alice.edge
		want.answer(want.receive("INVITE "), "486 Busy Here")
		alice.receive("SIP/2.0 486 ")
	}
	set := func(state string) {
		t.Helper()
		if status, text := e.post("/gateways/pair/first", `{"state": "`+state+`"}`); status != http.StatusNoContent {
			t.Fatalf("%s: %d %s", state, status, text)
		}
	}
	call("a", first)
	set("drain")
	call("b", second)
	if _, text := e.get("/gateways"); lacks(text, `"state": "drain"`, `"member": "second"`) != nil {
		t.Error(text)
	}
	set("up")
	call("c", first)
	if missing := lacks(metrics(e), `sipedge_gateway_4xx_total{group="pair",member="first"} 2`, `sipedge_gateway_up{group="pair",member="first"} 1`); missing != nil {
		t.Errorf("/metrics lacks %q", missing)
	}
}

// bye ends a call from the side that an INVITE came from: answer is what alice received.
func bye(p *phone, answer, branch string) {
	p.t.Helper()
	text := "BYE sip:bob@192.0.2.99 SIP/2.0\r\nVia: SIP/2.0/UDP " + p.addr() + ";branch=z9hG4bKbye" + branch + "\r\nMax-Forwards: 70\r\n"
	for line := range strings.SplitSeq(answer, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "From", "To", "Call-ID":
			text += line + "\r\n"
		case "Record-Route":
			text += "Route: " + value + "\r\n"
		case "Contact":
			text = strings.Replace(text, "sip:bob@192.0.2.99", strings.Trim(value, "<>"), 1)
		}
	}
	text += "CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
	if _, err := p.conn.WriteToUDP([]byte(text), p.edge); err != nil {
		p.t.Fatal(err)
	}
}

// Caps of a gateway and of a peer count calls from INVITE to BYE.
func TestCaps(t *testing.T) {
	for what, parts := range map[string][2]string{
		"gateway": {"calls: 1, ", ""},
		"peer":    {"", "peers: {all: {addresses: 127.0.0.0/8, limits: {calls: 1, answer: {code: 486, reason: One Is Enough}}}}"},
	} {
		t.Run(what, func(t *testing.T) {
			bob := newPhone(t, "127.0.0.1:9")
			file := writeFile(t, filepath.Join(t.TempDir(), "policy.yaml"), fmt.Sprintf(`
domains: [example.com]
%s
gateways:
  one: {members: [{%suri: "sip:%s"}], unavailable: {code: 486, reason: One Is Enough}}
routes:
  - match: {uri: {ours: true}}
    gateway: one
`, parts[1], parts[0], bob.addr()))
			e := startEdge(t, nil, "--policy="+file)
			alice := newPhone(t, e.udp[0])
			bob.edge = alice.edge
			for round := range 3 {
				n := fmt.Sprint(round)
				alice.request("INVITE", "sip:bob@example.com", "first"+n)
				invite := bob.receive("INVITE ")
				alice.request("INVITE", "sip:bob@example.com", "early"+n)
				alice.receive("SIP/2.0 486 One Is Enough\r\n")
				bob.answer(invite, "200 OK")
				answer := alice.receive("SIP/2.0 200 ")
				alice.request("INVITE", "sip:bob@example.com", "second"+n)
				alice.receive("SIP/2.0 486 One Is Enough\r\n")
				e.waitMetric("sipedge_counted_calls 1")
				bye(alice, answer, n)
				bob.answer(bob.receive("BYE "), "200 OK")
				alice.receive("SIP/2.0 200 ")
				e.waitMetric("sipedge_counted_calls 0")
			}
			// A call that fails counts no longer either.
			alice.request("INVITE", "sip:bob@example.com", "refused")
			bob.answer(bob.receive("INVITE "), "404 Not Found")
			alice.receive("SIP/2.0 404 ")
			e.waitMetric("sipedge_counted_calls 0")
			alice.request("INVITE", "sip:bob@example.com", "again")
			bob.receive("INVITE ")
		})
	}
}

// A gateway that does not answer its probes is down, and calls go to the other one; when it answers it is up again.
func TestProbes(t *testing.T) {
	first, second := newPhone(t, "127.0.0.1:9"), newPhone(t, "127.0.0.1:9")
	file := writeFile(t, filepath.Join(t.TempDir(), "policy.yaml"), fmt.Sprintf(`
domains: [example.com]
gateways:
  pair:
    probe: {every: 100ms, down: 2, up: 1, from: "sip:watch@example.com", to: ping}
    members:
      - {name: first, uri: "sip:%s"}
      - {name: second, uri: "sip:%s"}
routes:
  - match: {uri: {ours: true}}
    gateway: pair
`, first.addr(), second.addr()))
	e := startEdge(t, nil, "--policy="+file)
	alice := newPhone(t, e.udp[0])
	first.edge, second.edge = alice.edge, alice.edge
	calls, quit := make(chan string, 100), make(chan struct{})
	t.Cleanup(func() { close(quit) })
	// The second one answers probes; calls are handed on.
	go func() {
		for b := make([]byte, 65536); ; {
			n, err := second.conn.Read(b)
			if err != nil {
				return
			}
			m := string(b[:n])
			if strings.HasPrefix(m, "OPTIONS ") {
				second.conn.WriteToUDP([]byte(answerTo(m, "405 Not Like This", second.addr())), second.edge)
				continue
			}
			select {
			case calls <- m:
			case <-quit:
				return
			}
		}
	}()
	probe := first.receive("OPTIONS ")
	if missing := lacks(probe, "OPTIONS sip:ping@"+first.addr()+" SIP/2.0\r\n", "From: <sip:watch@example.com>", "Max-Forwards: 70\r\n"); missing != nil {
		t.Errorf("%q lacks %q", probe, missing)
	}
	up := func(member string, is int) {
		t.Helper()
		e.waitMetric(fmt.Sprintf(`sipedge_gateway_up{group="pair",member=%q} %d`, member, is))
	}
	up("first", 0)
	up("second", 1)
	alice.request("INVITE", "sip:bob@example.com", "down")
	invite := ""
	for over := time.After(patience); !strings.HasPrefix(invite, "INVITE "); {
		select {
		case invite = <-calls:
		case <-over:
			t.Fatal("no INVITE")
		}
	}
	second.answer(invite, "486 Busy Here")
	alice.receive("SIP/2.0 486 ")
	for range 3 { // each copy of a probe, and the next probes
		first.answer(first.receive("OPTIONS "), "200 OK")
	}
	up("first", 1)
}

// A gateway that is gone, or says nothing, costs no call: the one that it had goes on, and new ones go to the other gateway.
func TestLostGateway(t *testing.T) {
	for _, how := range []string{"gone", "silent"} {
		t.Run(how, func(t *testing.T) {
			first, second := newPhone(t, "127.0.0.1:9"), newPhone(t, "127.0.0.1:9")
			user := newPhone(t, "127.0.0.1:9") // whom the first gateway reaches
			file := writeFile(t, filepath.Join(t.TempDir(), "policy.yaml"), fmt.Sprintf(`
domains: [example.com]
gateways:
  pair:
    timeout: 200ms
    failover: [503, timeout]
    members: [{name: first, uri: "sip:%s", priority: 1}, {name: second, uri: "sip:%s", priority: 2}]
routes:
  - match: {uri: {ours: true}}
    gateway: pair
`, first.addr(), second.addr()))
			e := startEdge(t, nil, "--policy="+file, "--record-route=always")
			alice := newPhone(t, e.udp[0])
			first.edge, second.edge, user.edge = alice.edge, alice.edge, alice.edge
			alice.request("INVITE", "sip:bob@example.com", "established")
			invite := first.receive("INVITE ")
			if _, err := first.conn.WriteToUDP([]byte(answerTo(invite, "200 OK", user.addr())), first.edge); err != nil {
				t.Fatal(err)
			}
			answer := alice.receive("SIP/2.0 200 ")

			if how == "gone" {
				first.conn.Close()
			}
			for i := range 3 {
				alice.request("INVITE", "sip:bob@example.com", fmt.Sprint("new", i))
				second.answer(second.receive("INVITE "), "486 Busy Here")
				alice.receive("SIP/2.0 486 ")
			}
			bye(alice, answer, "established")
			user.answer(user.receive("BYE "), "200 OK")
			// Behind copies of the 486, which nobody acknowledged.
			if m := alice.receive("SIP/2.0 200 "); !strings.Contains(m, "CSeq: 2 BYE\r\n") {
				t.Errorf("the BYE is answered %q", m)
			}
		})
	}
}

func metrics(e *edge) string {
	_, text := e.get("/metrics")
	return text
}
