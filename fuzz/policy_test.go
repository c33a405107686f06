package fuzz

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/router/policy"
	"sipedge/transport"
	"sipedge/txn"
)

// policyFile uses everything that copies something of a request into what leaves.
const policyFile = `
numbers: {country: DE}
regions: {berlin: ["+4930"], short: ["1..9"]}
peers: {acme: {addresses: [192.0.2.0/25], country: US, allow: {domains: ["*.example.com", example.com, "192.0.2.1"], numbers: ["+1..+9", "1..9"]}}}
gateways:
  rewrite: {members: ["sip:gw.example.net:5070", "sips:[2001:db8::1]"], request-uri: gateway}
  keep: {members: ["sip:192.0.2.1", "sip:192.0.2.2"], select: hash, hash-by: from}
emergency: {numbers: ["112"], gateway: keep}
routes:
  - {match: {uri: {region: berlin}}, gateway: rewrite, number: {normalise: true, strip: 1, prepend: "9#"}}
  - {match: {uri: {number: ["+1..+9"], scheme: tel}}, next-hop: "sip:192.0.2.1", number: {normalise: true, strip: 3}}
  - {match: {uri: {region: short}}, gateway: rewrite, number: {prepend: "+49"}}
  - {match: {uri: {host: "*.example.com"}}, redirect: {to: ["sip:192.0.2.9;x=1", "sips:there.example"]}}
  - {match: {uri: {user: ["a*", "*z"]}, from: {host: "*"}}, gateway: rewrite}
  - {match: {uri: {scheme: [sip, sips], ours: false}}, relay: true}
`

// FuzzPolicy claims, of a request that can be read: deciding it twice comes to the same; every Request-URI that it is
// given can be read, and says no other scheme than sip, sips and tel; header lines of an answer are whole lines, whatever is in the request; what Emergency
// says of the Request-URI is what the decision says; an emergency is never refused.
func FuzzPolicy(f *testing.F) {
	p, _, err := config.ParsePolicy("policy.yaml", []byte(policyFile), nil)
	if err != nil {
		f.Fatal(err)
	}
	store := txn.NewStore(txn.StoreConfig{MaxTransactions: 1 << 10})
	f.Cleanup(store.Close)
	keys, err := txn.NewKeys([]byte("a secret of more than sixteen bytes"), nil)
	if err != nil {
		f.Fatal(err)
	}
	core, err := router.New(router.Config{Timers: txn.DefaultTimers(), Listeners: []router.Listener{{Addr: netip.MustParseAddrPort("192.0.2.254:5060")}}}, store, keys)
	if err != nil {
		f.Fatal(err)
	}
	d := policy.New(gateway.NewPool(), new(transport.Names), nil)
	if err := d.Load(core, p, 1, time.Unix(0, 0)); err != nil {
		f.Fatal(err)
	}
	for _, uri := range []string{
		"sip:03012345678@example.com;user=phone", "sip:+49-30-12345;ext=1;phone-context=+49:pw@x;transport=tcp;maddr=1.2.3.4", "tel:+1-201-555-0123;ext=5",
		"tel:112", "urn:service:sos.fire", "sip:112@x", "sip:a%23b@x", "sip:abc@a.example.com", "sips:x@[2001:db8::2]:99;lr", "sip:1%2b2@x", "tel:7042;phone-context=example.com",
		"sip:9*2#@x", "sip:00431234567@192.0.2.1",
	} {
		f.Add([]byte(uri), []byte("<"+uri+">"), byte(len(uri)))
	}
	var m parser.Message
	f.Fuzz(func(t *testing.T, uri, from []byte, source byte) {
		b := fmt.Appendf(nil, "INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nFrom: %s\r\nTo: <sip:b@c>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", uri, from)
		if err := parser.Parse(b, &m); err.Code != 0 || !m.Request {
			return
		}
		decide := func() (e policy.Explanation, q router.Query, to router.TargetSet) {
			q = router.Query{Message: &m, Bytes: b, Now: 1, Lines: make([]byte, 0, 4096)}
			q.From = transport.Flow{Remote: transport.AddrFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, source}), 5060)), Proto: transport.UDP}
			e = d.Explain(&q, &to)
			return
		}
		e, q, to := decide()
		again, q2, to2 := decide()
		if e != again || q.Status != q2.Status || !bytes.Equal(q.Lines, q2.Lines) || to.Len() != to2.Len() {
			t.Fatalf("%v and then %v", e, again)
		}
		for i := range to.Len() {
			v := to.View(i)
			if v != to2.View(i) {
				t.Fatalf("%+v and then %+v", v, to2.View(i))
			}
			if v.URI == "" {
				continue
			}
			var u parser.URI
			uri := []byte(v.URI)
			if s, ok := all(uri); !ok || parser.ParseURI(uri, s, &u).Code != 0 {
				t.Fatalf("%q is no URI", uri)
			}
			if u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS && u.SchemeIs != parser.SchemeTel {
				t.Fatalf("%q out of %q", uri, m.RequestURI.In(b))
			}
		}
		for line := range strings.SplitAfterSeq(string(q.Lines), "\r\n") {
			if line != "" && (!strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n") || !strings.Contains(line, ": ")) {
				t.Fatalf("%q is no header line", line)
			}
		}
		if d.Emergency(m.RequestURI.In(b)) != (e.Step == policy.Emergency) {
			t.Fatalf("%q: %v", m.RequestURI.In(b), e)
		}
		if e.Step == policy.Emergency && e.Verdict != router.Forward {
			t.Fatalf("%q: verdict %d", m.RequestURI.In(b), e.Verdict)
		}
	})
}
