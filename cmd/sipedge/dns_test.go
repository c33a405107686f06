package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// nameServer is a DNS server that knows the given records, and refuses everything else.
func nameServer(t *testing.T, records ...string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var known []dns.RR
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, rr)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		exists := false
		for _, rr := range known {
			if strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
				exists = true
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				}
			}
		}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return conn.LocalAddr().String()
}

// Names in --next-hop, in a gateway and in a Request-URI that is relayed are found by SRV and A.
func TestNames(t *testing.T) {
	bob := newPhone(t, "127.0.0.1:9")
	_, port, _ := net.SplitHostPort(bob.addr())
	server := nameServer(t,
		"_sip._udp.gw.test. 60 IN SRV 10 10 "+port+" host.gw.test.", "host.gw.test. 60 IN A 127.0.0.1", "gw.test. 60 IN NS ns.gw.test.")
	file := writeFile(t, filepath.Join(t.TempDir(), "policy.yaml"), `
domains: [ours.test, also.ours.test]
gateways: {named: {members: ["sip:gw.test"]}}
routes:
- {match: {uri: {host: ours.test}}, gateway: named}
- {match: {source: 127.0.0.1}, relay: true}
`)
	e := startEdge(t, nil, "--dns="+server, "--next-hop=sip:gw.test", "--policy="+file)
	alice := newPhone(t, e.udp[0])
	bob.edge = alice.edge
	for i, uri := range []string{"sip:bob@ours.test", "sip:bob@also.ours.test", "sip:bob@gw.test"} {
		alice.request("INVITE", uri, fmt.Sprint("call", i))
		bob.answer(bob.receive("INVITE "+uri+" "), "486 Busy Here")
		alice.receive("SIP/2.0 486 ")
	}
	alice.request("INVITE", "sip:bob@nowhere.test", "nowhere")
	if r := alice.receive("SIP/2.0 4", "SIP/2.0 5"); !strings.HasPrefix(r, "SIP/2.0 5") && !strings.HasPrefix(r, "SIP/2.0 404") {
		t.Errorf("a name that does not exist: %q", r)
	}
	e.waitMetric("sipedge_dns_cache_entries 2")
}

// With a DNS server that says nothing, calls to known places are answered while others wait for names. If they waited for one
// name after the other, as on a blocked loop, none would come through before this test gave up.
func TestSilentDNS(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	bob := newPhone(t, "127.0.0.1:9")
	file := writeFile(t, filepath.Join(t.TempDir(), "policy.yaml"), fmt.Sprintf(`
domains: [ours.test]
routes:
- {match: {uri: {host: ours.test}}, next-hop: "sip:%s"}
- {match: {source: 127.0.0.1}, relay: true}
`, bob.addr()))
	e := startEdge(t, nil, "--dns="+silent.LocalAddr().String(), "--policy="+file)
	alice := newPhone(t, e.udp[0])
	bob.edge = alice.edge
	const names = 20
	for i := range names {
		alice.request("INVITE", fmt.Sprintf("sip:bob@n%d.test", i), fmt.Sprint("name", i))
	}
	e.waitMetric(fmt.Sprintf("sipedge_decisions_suspended_total %d", names))
	for i := range 5 {
		alice.request("INVITE", "sip:bob@ours.test", fmt.Sprint("known", i))
		bob.answer(bob.receive("INVITE "), "486 Busy Here")
		alice.receive("SIP/2.0 486 ")
	}
}
