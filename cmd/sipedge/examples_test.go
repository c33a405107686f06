package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// examples shows for each file of docs/examples that it does what its comments say.
var examples = map[string]func(*testing.T){
	"next-hop":             exampleNextHop,
	"gateways-by-priority": exampleGatewaysByPriority,
	"gateways-in-turn":     exampleGatewaysInTurn,
	"relay-from-loopback":  exampleRelayFromLoopback,
	"follow-redirects":     exampleFollowRedirects,
	"redirect-and-reject":  exampleRedirectAndReject,
	"schedules":            exampleSchedules,
	"emergency":            exampleEmergency,
	"overload":             exampleOverload,
	"stateless":            exampleStateless,
	"peers-and-numbers":    examplePeersAndNumbers,
	"carrier-edge":         exampleCarrierEdge,
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../docs/examples/*.yaml")
	if err != nil || len(files) != len(examples) {
		t.Errorf("%d examples are tried, and there are %q, %v", len(examples), files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		run := examples[name]
		if run == nil {
			t.Errorf("%s: nobody tries it", file)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}

func exampleNextHop(t *testing.T) {
	x := runExample(t, "next-hop", nil)
	alice := x.caller("127.0.0.1")
	alice.call("sip:bob@example.com", "486 ", "192.0.2.10")
	alice.call("sip:bob@EXAMPLE.com", "486 ", "192.0.2.10")
	alice.request("MESSAGE", "sip:bob@example.com", nil, "486 ", "192.0.2.10")
	alice.call("sip:bob@example.net", "403 ")
}

const (
	frankfurt, munich, vienna = "192.0.2.11", "192.0.2.12", "192.0.2.13"
	bobAtOurs                 = "sip:bob@example.com"
)

// waitUp waits until a gateway counts as up or down.
func (x *example) waitUp(member string, up int) {
	x.t.Helper()
	x.waitMetric(fmt.Sprintf(`sipedge_gateway_up{group="carriers",member=%q} %d`, member, up))
}

func exampleGatewaysByPriority(t *testing.T) {
	x := runExample(t, "gateways-by-priority", nil)
	alice := x.caller("127.0.0.1")
	alice.call(bobAtOurs, "486 ", frankfurt)

	// What the user answers goes back.
	for _, status := range []string{"400 Bad Request", "401 Unauthorized", "404 Not Found", "408 Request Timeout", "480 Temporarily Unavailable", "487 Request Terminated", "488 Not Acceptable Here", "600 Busy Everywhere", "603 Decline", "606 Not Acceptable"} {
		x.end(frankfurt).answer(status)
		alice.call(bobAtOurs, status, frankfurt)
	}
	// So does a failure that the file does not name.
	x.end(frankfurt).answer("501 Not Implemented")
	alice.call(bobAtOurs, "501 ", frankfurt)

	for _, status := range []string{"500 Server Internal Error", "502 Bad Gateway", "503 Service Unavailable", "504 Server Time-out"} {
		x.end(frankfurt).answer(status)
		alice.call(bobAtOurs, "486 ", frankfurt, munich)
	}
	x.end(munich).answer("500 Server Internal Error")
	alice.call(bobAtOurs, "486 ", frankfurt, munich, vienna)
	x.end(munich).answer("404 Not Found")
	alice.call(bobAtOurs, "404 ", frankfurt, munich)
	x.end(munich).answer("486 Busy Here")

	// A 200 of the second one makes a call.
	x.end(munich).answer("200 OK")
	alice.call(bobAtOurs, "200 ", frankfurt, munich)
	x.end(munich).answer("486 Busy Here")

	// It answers OPTIONS, but to one call not a word for 2 s; a call to which it says 100 Trying stays.
	x.end(frankfurt).set(func(request string) string {
		switch {
		case strings.HasPrefix(request, "INVITE sip:patient@"):
			return "100 Trying"
		case strings.HasPrefix(request, "INVITE "):
			return ""
		}
		return "200 OK"
	})
	patient := x.caller("127.0.0.1")
	patient.begin("INVITE", "sip:patient@example.com")
	waiting := x.waitVisits(patient.id, "INVITE", 1)
	begun := time.Now()
	alice.call(bobAtOurs, "486 ", frankfurt, munich)
	if silent := time.Since(begun); silent < 2*time.Second {
		t.Errorf("it was left after %v", silent)
	}
	x.waitProbes(frankfurt, x.probes(frankfurt)+2) // a second more for what must not happen
	x.end(frankfurt).later(waiting[0].text, "486 Busy Here")
	patient.ends("486 ", frankfurt)

	// Who does not answer probes is left out, and comes back.
	x.end(frankfurt).silence()
	x.end(munich).silence()
	x.waitUp("frankfurt", 0)
	x.waitUp("munich", 0)
	alice.call(bobAtOurs, "486 ", vienna)
	x.end(munich).answer("486 Busy Here")
	x.waitUp("munich", 1)
	alice.call(bobAtOurs, "486 ", munich)
	x.end(frankfurt).answer("486 Busy Here")
	x.waitUp("frankfurt", 1)
	alice.call(bobAtOurs, "486 ", frankfurt)

	// Nobody is there.
	x.end(frankfurt).conn.Close()
	alice.call(bobAtOurs, "486 ", munich)
}

func exampleGatewaysInTurn(t *testing.T) {
	x := runExample(t, "gateways-in-turn", nil)
	alice := x.caller("127.0.0.1")
	all := []string{frankfurt, munich, vienna}
	for i := range 9 {
		alice.call(bobAtOurs, "486 ", all[i%3])
	}
	// A call that fails over goes on to the next, and back from the last to the first.
	x.end(munich).answer("503 Service Unavailable")
	alice.call(bobAtOurs, "486 ", frankfurt)
	alice.call(bobAtOurs, "486 ", munich, vienna)
	x.end(munich).answer("486 Busy Here")
	x.end(vienna).answer("504 Server Time-out")
	alice.call(bobAtOurs, "486 ", vienna, frankfurt)
	x.end(vienna).answer("486 Busy Here")
	x.end(frankfurt).answer("")
	alice.call(bobAtOurs, "486 ", frankfurt, munich)
	alice.call(bobAtOurs, "486 ", munich)
	alice.call(bobAtOurs, "486 ", vienna)
	x.end(frankfurt).answer("486 Busy Here")

	x.end(munich).silence()
	x.waitUp("munich", 0)
	for _, to := range []string{frankfurt, vienna, frankfurt, vienna} {
		alice.call(bobAtOurs, "486 ", to)
	}
	x.end(munich).answer("486 Busy Here")
	x.waitUp("munich", 1)
	for _, to := range all {
		alice.call(bobAtOurs, "486 ", to)
	}
}

func exampleRelayFromLoopback(t *testing.T) {
	b, err := os.ReadFile("../../docs/examples/relay-from-loopback.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The test has loopback addresses alone, so a part of them plays the role of all, and 127.1.0.1 that of somebody else.
	text := strings.Replace(string(b), "127.0.0.0/8", "127.0.0.0/16", 1)
	if text == string(b) {
		t.Fatal("the example is another one")
	}
	x := newExample(t)
	_, port, _ := net.SplitHostPort(x.end("far").addr())
	server := nameServer(t, "_sip._udp.far.test. 60 IN SRV 10 10 "+port+" host.far.test.", "host.far.test. 60 IN A 127.0.0.1", "far.test. 60 IN NS ns.far.test.")
	x.runText("relay-from-loopback", text, nil, "--dns="+server, "--listen=udp:127.0.0.1:0", "--listen=udp:[::1]:0")
	literal, named := "sip:bob@"+x.end("far").addr(), "sip:bob@far.test"
	alice, other := x.caller("127.0.0.1"), x.caller("127.1.0.1")
	for _, uri := range []string{literal, named} {
		alice.call(uri, "486 ", "far")
		if got := alice.only(); !strings.HasPrefix(got, "INVITE "+uri+" SIP/2.0\r\n") {
			t.Errorf("%q", got)
		}
		alice.request("MESSAGE", uri, nil, "486 ", "far")
		other.call(uri, "403 Relaying Denied")
		other.request("MESSAGE", uri, nil, "403 Relaying Denied")
	}
	alice.call(bobAtOurs, "404 ") // ours, which nothing serves here
	x.udp[0], x.udp[1] = x.udp[1], x.udp[0]
	x.caller("::1").call(literal, "486 ", "far")
}

func exampleFollowRedirects(t *testing.T) {
	x := runExample(t, "follow-redirects", nil)
	alice := x.caller("127.0.0.1")
	const directory, portability = "192.0.2.20", "192.0.2.21"
	contact := func(name, q string) string { return "Contact: <sip:" + name + "@" + x.end(name).addr() + ">;q=" + q }
	moved := func(contacts ...string) string { return "302 Moved Temporarily\r\n" + strings.Join(contacts, "\r\n") }

	x.end(directory).answer(moved(contact("low", "0.1"), contact("high", "0.9"), contact("middle", "0.5")))
	for _, name := range []string{"low", "middle", "high"} {
		x.end(name).answer("404 Not Found")
	}
	alice.call(bobAtOurs, "404 ", directory, "high", "middle", "low")
	for _, v := range x.visits(alice.id, "INVITE")[1:] {
		if !strings.HasPrefix(v.text, "INVITE sip:"+v.to+"@"+x.end(v.to).addr()+" SIP/2.0\r\n") {
			t.Errorf("%s got %q", v.to, v.text)
		}
	}
	// Who answers is who is spoken to.
	x.end("middle").answer("200 OK")
	alice.call(bobAtOurs, "200 ", directory, "high", "middle")
	// Equal ones in the order in which they are listed.
	x.end("middle").answer("404 Not Found")
	x.end(directory).answer(moved(contact("middle", "0.5"), contact("low", "0.5"), contact("high", "0.5")))
	alice.call(bobAtOurs, "404 ", directory, "middle", "low", "high")
	// A later redirect names one that was tried, one that is going to be, itself, and a new one.
	x.end(directory).answer(moved(contact("low", "0.1"), contact("high", "0.9"), contact("middle", "0.5")))
	x.end("middle").answer(moved(contact("high", "1.0"), contact("new", "0.8"), contact("middle", "0.7"), contact("low", "0.6")))
	x.end("new").answer("480 Temporarily Unavailable")
	alice.begin("INVITE", bobAtOurs)
	answer, _ := alice.final()
	var went []string
	for _, v := range x.visits(alice.id, "INVITE") {
		went = append(went, v.to)
	}
	slices.Sort(went)
	if want := []string{directory, "high", "low", "middle", "new"}; !slices.Equal(went, want) || !strings.HasPrefix(answer, "SIP/2.0 4") {
		t.Errorf("%q by way of %q, want each of %q once", answer, went, want)
	}
	// What is no redirect is passed on.
	for _, status := range []string{"404 Not Found", "305 Use Proxy", "380 Alternative Service", "603 Decline"} {
		x.end(directory).answer(status)
		alice.call(bobAtOurs, status, directory)
	}

	const american = "sip:+12125550123@example.net"
	x.end(portability).answer(moved(contact("ported", "1.0")))
	alice.call(american, "486 ", portability, "ported")
	x.end(portability).answer("604 Does Not Exist Anywhere")
	alice.call(american, "604 ", portability)
	x.end(portability).answer("503 Service Unavailable")
	alice.call(american, "50", portability)
	alice.call("sip:+442079460123@example.net", "403 ")
	alice.request("MESSAGE", american, nil, "403 ")
}

func exampleRedirectAndReject(t *testing.T) {
	x := runExample(t, "redirect-and-reject", nil)
	alice := x.caller("127.0.0.1")
	if r := alice.call("sip:bob@old.example.com", "301 Moved Permanently"); field(r, "Contact") != "<sip:bob@example.com>" {
		t.Errorf("%q", r)
	}
	for _, uri := range []string{"sip:0900123456@example.com", "sip:+49900123456@example.com", "tel:+49-900-123456"} {
		alice.call(uri, "403 Premium Numbers Are Barred")
	}
	if r := alice.request("MESSAGE", bobAtOurs, nil, "480 "); field(r, "Retry-After") != "60" {
		t.Errorf("%q", r)
	}
	alice.call(bobAtOurs, "486 ", "192.0.2.10")
	alice.call("sip:+4930123456@example.com", "486 ", "192.0.2.10")
}

func exampleSchedules(t *testing.T) {
	const office, service = "192.0.2.10", "192.0.2.11"
	for wall, want := range map[string]string{
		"2026-11-25 10:30": office,  // a Wednesday
		"2026-11-25 19:30": service, // in the evening
		"2026-11-27 17:00": service, // a Friday
		"2026-11-26 17:00": office,  // a Thursday
		"2026-11-22 12:00": service, // a Sunday
		"2026-04-03 10:30": service, // Good Friday
		"2026-12-25 10:30": service, // Christmas, a Friday
		"2026-11-25 23:30": "",
		"2026-11-29 03:00": "", // still the night that began on Saturday
	} {
		t.Run(wall, func(t *testing.T) {
			x := runExample(t, "schedules", []string{zoneWhere(t, wall)})
			alice := x.caller("127.0.0.1")
			for _, user := range []string{"hotline", "support-7"} {
				if uri := "sip:" + user + "@example.com"; want == "" {
					alice.call(uri, "480 Call Us Tomorrow")
				} else {
					alice.call(uri, "486 ", want)
				}
			}
			alice.call(bobAtOurs, "404 ")
		})
	}
}

// until calls until there is a call that ends with that status line; others end otherwise, at the place given.
func (c *caller) until(uri, status, otherwise string) (answer string) {
	c.x.t.Helper()
	for over := time.Now().Add(patience); answer == "" && time.Now().Before(over); {
		// Many at once, since a limit per second is reached only by who is fast.
		sent := map[string]string{}
		for range 50 {
			c.begin("INVITE", uri)
			sent[c.id] = c.sent
		}
		for range len(sent) {
			text, _ := c.finalOf(sent)
			if strings.HasPrefix(text, "SIP/2.0 "+status) {
				answer = text
				c.x.check(field(text, "Call-ID"), text, status)
			} else {
				c.x.check(field(text, "Call-ID"), text, "486 ", otherwise)
			}
		}
	}
	if answer == "" {
		c.x.t.Fatalf("no call was answered %q", status)
	}
	return answer
}

func exampleEmergency(t *testing.T) {
	x := runExample(t, "emergency", nil)
	alice := x.caller("127.0.0.1")
	const brigade, police, carrier = "192.0.2.41", "192.0.2.42", "192.0.2.11"
	alice.call("sip:1125@example.com", "486 ", carrier)
	if r := alice.until(bobAtOurs, "503 All Lines Are Busy", carrier); field(r, "Retry-After") != "30" {
		t.Errorf("%q", r)
	}
	uris := []string{"sip:112@example.com", "sip:110@example.com", "tel:112;phone-context=+49", "urn:service:sos", "urn:service:sos.fire"}
	for _, uri := range uris {
		alice.call(uri, "486 ", brigade)
	}
	x.end(brigade).answer("") // silent for 1 s
	alice.call(uris[0], "486 ", brigade, police)
	x.end(brigade).answer("503 Service Unavailable")
	alice.call(uris[3], "486 ", brigade, police)
}

func exampleOverload(t *testing.T) {
	x := runExample(t, "overload", nil)
	if r := x.caller("198.51.100.7").until(bobAtOurs, "503 ", "192.0.2.10"); field(r, "Retry-After") != "5" {
		t.Errorf("%q", r)
	}
	// Others are not concerned.
	x.caller("127.0.0.1").call(bobAtOurs, "486 ", "192.0.2.10")
}

func exampleStateless(t *testing.T) {
	x := runExample(t, "stateless", nil)
	alice := x.caller("127.0.0.1")
	calls := map[string]int{}
	for range 30 {
		alice.begin("INVITE", bobAtOurs)
		for range 2 { // a copy of it goes the same way, and gets an answer from there
			answer, provisional := alice.final()
			v := x.visits(alice.id, "INVITE")
			if len(v) != 1 || provisional != nil || !strings.HasPrefix(answer, "SIP/2.0 486 ") {
				t.Fatalf("%q by way of %d places, %q", answer, len(v), provisional)
			}
			alice.write(alice.sent)
		}
		alice.final()
		calls[x.visits(alice.id, "INVITE")[0].to]++
	}
	if len(calls) != 3 {
		t.Errorf("calls went to %v", calls)
	}
	// Nothing is tried again.
	for _, name := range []string{frankfurt, munich, vienna} {
		x.end(name).answer("503 Service Unavailable")
	}
	alice.begin("INVITE", bobAtOurs)
	answer, _ := alice.final()
	if v := x.visits(alice.id, "INVITE"); len(v) != 1 || !strings.HasPrefix(answer, "SIP/2.0 503 ") {
		t.Errorf("%q by way of %d places", answer, len(v))
	}
	x.waitMetric("sipedge_store_contexts 0") // nothing is kept, where a transaction would be for 32 s
}

func examplePeersAndNumbers(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate(t, cert, key, "edge.example", 1)
	clientCert, clientKey := filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem")
	certificate(t, clientCert, clientKey, "sip.carrier.example", 2)
	x := runExample(t, "peers-and-numbers", nil, "--listen=udp:127.0.0.1:0", "--listen=tls:127.0.0.1:0", "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+clientCert)
	const carriers, office = "192.0.2.11", "192.0.2.10"
	uriOf := func(request string) string { return strings.Fields(request)[1] }

	pbx := x.caller("192.0.2.30")
	pbx.call("sip:015123456@example.com", "486 ", carriers)
	if uri := uriOf(pbx.only()); uri != "sip:+4915123456@example.com" {
		t.Errorf("dialled 0151 23456: %s", uri)
	}
	pbx.call("sip:004915123456@example.com", "486 ", carriers)
	if uri := uriOf(pbx.only()); uri != "sip:+4915123456@example.com" {
		t.Errorf("dialled 0049 151 23456: %s", uri)
	}
	for _, premium := range []string{"0900123456", "+49137123456", "0088212345678"} {
		pbx.call("sip:"+premium+"@example.com", "403 ")
	}
	pbx.call("sip:+12125550123@example.com", "403 ") // in none of its regions
	pbx.call("sip:030123421@example.com", "486 ", office)
	pbx.until("sip:015123456@example.com", "503 ", carriers)

	carrier := x.caller("198.51.100.9")
	carrier.request("INVITE", "sip:0114930123456@example.com", []string{"P-Charging-Vector: icid-value=1"}, "486 ", office)
	got := carrier.only()
	if uri := uriOf(got); uri != "sip:56@example.com" || field(got, "P-Charging-Vector") != "" || field(got, "X-Carrier") != "us" {
		t.Errorf("%q", got)
	}
	carrier.call("sip:+4915123456@example.com", "404 ") // no route takes it

	x.caller("127.0.0.1").call("sip:+12125550123@example.com", "403 Forbidden")

	// The same carrier from elsewhere, by its certificate; without it that place is a stranger's.
	proven := x.connect(cert, clientCert, clientKey)
	if got := proven.call("sip:+4930123423@example.com", "486 ", office); field(got, "X-Carrier") != "us" || uriOf(got) != "sip:23@example.com" {
		t.Errorf("%q", got)
	}
	x.connect(cert, "", "").call("sip:+12125550123@example.com", "403 Forbidden")
}

// trunk is a TLS connection to call by.
type trunk struct {
	x *example
	l *line
}

// connect makes one, with a client certificate if there is one.
func (x *example) connect(ca, cert, key string) *trunk {
	x.t.Helper()
	roots := x509.NewCertPool()
	if b, err := os.ReadFile(ca); err != nil || !roots.AppendCertsFromPEM(b) {
		x.t.Fatal(ca, err)
	}
	c := &tls.Config{RootCAs: roots, ServerName: "edge.example"}
	if cert != "" {
		c.Certificates = []tls.Certificate{keyPair(x.t, cert, key)}
	}
	conn, err := tls.Dial("tcp", x.at["tls"][0], c)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &trunk{x, &line{t: x.t, conn: conn, read: bufio.NewReader(conn)}}
}

// call is like caller.call, but returns the request as it came to the last place, "" for none.
func (k *trunk) call(uri, status string, to ...string) (came string) {
	k.x.t.Helper()
	id, text := k.x.newRequest("INVITE", uri, "TLS "+k.l.conn.LocalAddr().String(), "P-Asserted-Identity: <sip:somebody@example.net>")
	k.l.send(text)
	for {
		answer := k.l.message()
		if field(answer, "Call-ID") != id || strings.HasPrefix(answer, "SIP/2.0 1") {
			continue
		}
		k.x.check(id, answer, status, to...)
		if v := k.x.visits(id, "INVITE"); len(v) > 0 {
			came = v[len(v)-1].text
		}
		return came
	}
}

func keyPair(t *testing.T, cert, key string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func exampleCarrierEdge(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate(t, cert, key, "edge.example", 1)
	theirs, theirKey := filepath.Join(dir, "b.pem"), filepath.Join(dir, "b-key.pem")
	certificate(t, theirs, theirKey, "sip.carrier-b.example", 2)
	const pbx, a1, a2, b = "192.0.2.30", "198.51.100.11", "198.51.100.12", "b"
	const mobile, american = "sip:015123456@example.com", "sip:0012125550123@example.com"

	for _, when := range []string{"day", "night"} {
		t.Run(when, func(t *testing.T) {
			x := newExample(t)
			x.end(b).serveTLS(keyPair(t, theirs, theirKey))
			_, port, _ := net.SplitHostPort(x.end(b).addr())
			server := nameServer(t, "_sips._tcp.sip.carrier-b.example. 60 IN SRV 10 10 "+port+" host.carrier-b.example.", "host.carrier-b.example. 60 IN A 127.0.0.1", "sip.carrier-b.example. 60 IN NS ns.carrier-b.example.")
			wall := "2026-11-25 12:00"
			if when == "night" {
				wall = "2026-11-25 20:00"
			}
			x.run("carrier-edge", []string{zoneWhere(t, wall)}, "--listen=udp:127.0.0.1:0", "--listen=tls:127.0.0.1:0", "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+theirs, "--tls-ca="+theirs, "--dns="+server)
			company, carrier := x.caller(pbx), x.caller("198.51.100.100")
			private := []string{"X-Internal: floor 3", "P-Asserted-Identity: <sip:somebody@example.net>"}

			// Emergencies go first, and on from a place that fails.
			company.call("sip:112@example.com", "486 ", "192.0.2.41")
			x.end("192.0.2.41").answer("500 Server Internal Error")
			company.call("sip:110@example.com", "486 ", "192.0.2.41", "192.0.2.42")

			// Into the company: its numbers in E.164, without what carriers are not to say.
			carrier.request("INVITE", "sip:030123401@example.com", private, "486 ", pbx)
			if got := carrier.only(); !strings.HasPrefix(got, "INVITE sip:+4930123401@example.com ") || field(got, "X-Internal") != "" || field(got, "P-Asserted-Identity") != "" {
				t.Errorf("%q", got)
			}
			proven := x.connect(cert, theirs, theirKey)
			if got := proven.call("sip:+4930123401@example.com", "486 ", pbx); got == "" || field(got, "P-Asserted-Identity") != "" {
				t.Errorf("%q", got)
			}
			carrier.call("sip:+12125550123@example.com", "404 ") // nobody's way out
			stranger := x.caller("127.0.0.1")
			stranger.call("sip:+4930123401@example.com", "403 Forbidden")
			stranger.call(mobile, "403 Forbidden")

			// Out, by one of the first two, then by the other and the third; carriers see themselves.
			if when == "night" {
				company.call(american, "403 Only Within Germany At Night")
			}
			uri, number := mobile, "+4915123456"
			if when == "day" {
				uri, number = american, "+12125550123"
			}
			for _, name := range []string{a1, a2} {
				x.end(name).answer("503 Service Unavailable")
			}
			company.begin("INVITE", uri, private...)
			answer, _ := company.final()
			went := x.visits(company.id, "INVITE")
			if len(went) != 3 || went[2].to != b || !strings.HasPrefix(answer, "SIP/2.0 486 ") {
				t.Fatalf("%q by way of %v", answer, went)
			}
			for _, v := range went[:2] {
				if !strings.HasPrefix(v.text, "INVITE sip:"+number+"@"+x.end(v.to).addr()+" ") {
					t.Errorf("%s got %q", v.to, v.text)
				}
			}
			if !strings.HasPrefix(went[2].text, "INVITE sip:"+number+"@sip.carrier-b.example ") {
				t.Errorf("%q", went[2].text)
			}
			for _, v := range went {
				// The file asks for Record-Route by day; at night the limits do, which have to see the end of each call.
				if field(v.text, "Record-Route") == "" || (field(v.text, "X-Internal") == "") != (when == "day") {
					t.Errorf("by %s: %q", when, v.text)
				}
			}
			x.waitProbes(b, 1)
		})
	}
}
