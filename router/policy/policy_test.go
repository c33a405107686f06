package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/transport"
	"sipedge/txn"
)

// desk is a policy in force, and all that it talks to.
type desk struct {
	t     testing.TB
	d     *Decider
	core  *router.Core
	pool  *gateway.Pool
	names *transport.Names
	now   transport.Instant
	who   uint32 // identity that TLS connections have proven
}

// noon is a Wednesday.
var noon = time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)

// newDesk loads the policy file text. Ours is the domain example.com.
func newDesk(t testing.TB, text string) *desk {
	t.Helper()
	k := &desk{t: t, pool: gateway.NewPool(), names: new(transport.Names), now: 1000 * transport.Instant(time.Second)}
	k.d = New(k.pool, k.names, func(*transport.Flow) uint32 { return k.who })
	k.core = newCore(t, router.Config{Decide: k.d.Decide})
	k.load(text)
	return k
}

func newCore(t testing.TB, cfg router.Config) *router.Core {
	t.Helper()
	store := txn.NewStore(txn.StoreConfig{MaxTransactions: 1 << 10})
	t.Cleanup(store.Close)
	keys, err := txn.NewKeys([]byte("a secret of more than sixteen bytes"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Domains = []router.Domain{{Host: "example.com"}}
	cfg.Timers = txn.DefaultTimers()
	cfg.Listeners = []router.Listener{{Addr: netip.MustParseAddrPort("192.0.2.254:5060")}}
	core, err := router.New(cfg, store, keys)
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func (k *desk) load(text string) {
	k.t.Helper()
	if err := k.d.Load(k.core, parse(k.t, text), k.now, noon); err != nil {
		k.t.Fatal(err)
	}
}

func parse(t testing.TB, text string) *config.Policy {
	t.Helper()
	p, _, err := config.ParsePolicy("policy.yaml", []byte(strings.ReplaceAll(text, "\t", "  ")), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// asked is a request, written short.
type asked struct {
	method, uri, from, to, id string
	by                        transport.Protocol
	source                    string
	stateless                 bool
	inDialog                  bool
}

// query makes the query of a request. What is not said of it is that of an ordinary INVITE.
func (k *desk) query(a asked) *router.Query {
	or := func(s *string, other string) {
		if *s == "" {
			*s = other
		}
	}
	or(&a.method, "INVITE")
	or(&a.uri, "sip:bob@example.com")
	or(&a.from, "<sip:alice@example.com>")
	or(&a.to, "<"+a.uri+">")
	or(&a.id, "call")
	or(&a.source, "198.51.100.1")
	if a.by == 0 {
		a.by = transport.UDP
	}
	b := fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKx\r\nFrom: %s;tag=1\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 %[1]s\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
		a.method, a.uri, a.from, a.to, a.id)
	m := new(parser.Message)
	if err := parser.Parse(b, m); err.Code != 0 {
		k.t.Fatalf("%v in %s", err, b)
	}
	q := &router.Query{
		Message: m, Bytes: b, Now: k.now, InDialog: a.inDialog, Lines: make([]byte, 0, maxLines),
		From: transport.Flow{Remote: transport.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr(a.source), 5060)), Proto: a.by},
		Ref:  txn.Ref{Slot: 1, Gen: 1},
	}
	if a.stateless {
		q.Ref = txn.Ref{}
	}
	return q
}

// ask decides and writes what came out: targets as "udp:192.0.2.1:5060 <Request-URI>", the next of a chain behind a "|".
func (k *desk) ask(a asked) string {
	k.t.Helper()
	return k.outcome(k.query(a))
}

func (k *desk) outcome(q *router.Query) string {
	var to router.TargetSet
	switch v := k.d.Decide(q, &to); v {
	case router.Default:
		return "default"
	case router.Reject:
		s := fmt.Sprintf("%d %s", q.Status, q.Reason)
		if len(q.Lines) > 0 {
			s += "; " + strings.ReplaceAll(strings.TrimSuffix(string(q.Lines), "\r\n"), "\r\n", "; ")
		}
		return strings.TrimRight(s, " ")
	case router.Forward:
		s := written(&to)
		if q.Stateless {
			s = "stateless: " + s
		}
		return s
	default:
		k.t.Fatalf("verdict %d", v)
		return ""
	}
}

func written(to *router.TargetSet) (s string) {
	for i := range to.Len() {
		v := to.View(i)
		switch {
		case i > 0 && v.Alternative:
			s += " | "
		case i > 0:
			s += ", "
		}
		switch {
		case v.Next != "":
			s += v.Next
		case v.Hop.Proto != 0:
			s += config.ProtocolName(v.Hop.Proto) + ":" + v.Hop.AddrPort().String()
		default:
			s += "there"
		}
		if v.URI != "" {
			s += " <" + v.URI + ">"
		}
	}
	return s
}

// check asks and compares.
func (k *desk) check(a asked, want string) {
	k.t.Helper()
	if got := k.ask(a); got != want {
		k.t.Errorf("%+v:\n  got  %s\n  want %s", a, got, want)
	}
}

func TestWithoutPolicy(t *testing.T) {
	k := &desk{t: t, d: New(gateway.NewPool(), new(transport.Names), nil)}
	k.check(asked{}, "default")
	k.core = newCore(t, router.Config{})
	k.load("")
	k.check(asked{}, "default")
}

// TestMatch asks for each part of a match alone.
func TestMatch(t *testing.T) {
	f := func(match string, taken []asked, left []asked) {
		t.Helper()
		k := newDesk(t, `
regions:
	berlin: ["+4930"]
	germany: ["+49"]
	office: ["=1000..1999"]
schedules:
	work: {zone: Europe/Berlin, hours: ["Mon-Fri 08:00-18:00"]}
	night: {hours: ["22:00-06:00"]}
numbers: {country: DE}
peers:
	acme: {addresses: [203.0.113.0/24, "2001:db8::/32"]}
	best: {addresses: [203.0.113.128/25]}
	corp: {tls: [sip.corp.example]}
routes:
	- match: {`+match+`}
	  reject: 480
`)
		for _, a := range taken {
			k.check(a, "480 Temporarily Unavailable")
		}
		for _, a := range left {
			k.check(a, "default")
		}
	}
	uris := func(uris ...string) (list []asked) {
		for _, u := range uris {
			list = append(list, asked{uri: u})
		}
		return
	}
	froms := func(froms ...string) (list []asked) {
		for _, u := range froms {
			list = append(list, asked{from: u})
		}
		return
	}
	sources := func(sources ...string) (list []asked) {
		for _, s := range sources {
			list = append(list, asked{source: s})
		}
		return
	}
	f("", []asked{{}, {method: "OPTIONS"}, {uri: "tel:1"}, {uri: "urn:x:y"}, {uri: "sips:a@b"}}, []asked{{inDialog: true}})
	f("method: [INVITE]", []asked{{}, {method: "ACK"}, {method: "CANCEL"}}, []asked{{method: "REGISTER"}, {method: "invite"}, {method: "INVITEX"}})
	f("method: [FOO, OPTIONS]", []asked{{method: "FOO"}, {method: "OPTIONS"}}, []asked{{method: "BAR"}, {method: "foo"}, {}})
	f("uri: {scheme: [tel, sips]}", uris("tel:+491", "sips:a@b", "TEL:1"), uris("sip:a@b", "urn:a:b", "telx:1"))
	f("uri: {scheme: [http]}", uris("http://a", "HTTP://a"), uris("httpx://a", "sip:a@b", "ftp:a"))
	f("uri: {host: [a.example, 192.0.2.7, '[2001:db8::7]']}",
		uris("sip:x@a.example", "sip:x@A.Example.", "sips:a.example:99", "sip:x@192.0.2.7", "sip:x@[2001:DB8:0::7]:5070"),
		uris("sip:x@b.example", "sip:x@sub.a.example", "sip:x@192.0.2.70", "tel:1", "urn:a.example:x", "sip:x@[2001:db8::8]"))
	f("uri: {host: ['*.example.org', '*.co.uk']}", uris("sip:a.example.org", "sip:x@a.b.EXAMPLE.org", "sip:x@shop.co.uk"), uris("sip:example.org", "sip:xexample.org", "sip:x@co.uk", "sip:x@example.org.uk"))
	f("uri: {host: '*'}", uris("sip:a.b", "sips:1.2.3.4"), uris("tel:1", "urn:a:b"))
	f("uri: {ours: true}", uris("sip:x@example.com", "sips:EXAMPLE.com"), uris("sip:x@example.org", "tel:1"))
	f("uri: {ours: false}", uris("sip:x@example.org", "tel:1", "urn:x:y"), uris("sip:x@example.com"))
	f("uri: {user: [bob, 'sales-*', '*-test', 'a b']}", uris("sip:bob@x", "sip:b%6fb@x", "sip:sales-@x", "sip:sales-1@x", "sip:x-test@x", "sip:a%20b@x"),
		uris("sip:Bob@x", "sip:bobby@x", "sip:x", "sip:sales@x", "sip:testx@x"))
	f("uri: {number: ['+49', '=112']}", uris("tel:+4930", "sip:+49-30-1234567@x", "sip:03012345678@x;user=phone", "sip:004930123456@x", "tel:112", "sip:112@x"),
		uris("sip:bob@x", "tel:+48", "sip:1123@x", "sip:+112@x", "sip:%2B48123@x"))
	f("uri: {number: '+4930..+4939'}", uris("tel:+4930", "tel:+49395", "sip:035123456@x"), uris("tel:+493", "tel:+4929", "tel:+4940"))
	f("uri: {region: berlin}", uris("tel:+4930123", "sip:030123456@x"), uris("tel:+4940123", "sip:bob@x", "tel:1500"))
	f("uri: {region: germany}", uris("tel:+4940123"), uris("tel:+4930123", "tel:+48123"))
	f("uri: {region: office}", uris("tel:1500", "sip:1000@x", "sip:1999@x"), uris("sip:2000@x", "sip:15001@x", "sip:150@x"))
	f("from: {host: a.example, user: alice}", froms("<sip:alice@a.example>", "sip:alice@a.example", "\"Al\" <sips:alice@A.example>"), froms("<sip:bob@a.example>", "<sip:alice@b>", "<tel:1>"))
	f("from: {number: '+49'}", froms("<tel:+491>", "<sip:030123456@x>"), froms("<sip:alice@x>"))
	f("from: {scheme: tel}", froms("<tel:1>"), froms("<sip:1@x>"))
	f("from: {ours: true}", froms("<sip:a@example.com>"), froms("<sip:a@example.org>"))
	f("to: {region: berlin}", []asked{{to: "<tel:+49301>"}}, []asked{{to: "<tel:+49401>"}, {uri: "tel:+49301", to: "<sip:bob@x>"}})
	f("peer: acme", sources("203.0.113.1", "2001:db8::1"), sources("203.0.113.200", "198.51.100.1"))
	f("peer: [best]", sources("203.0.113.200", "::ffff:203.0.113.200"), sources("203.0.113.1"))
	f("peer: any", sources("203.0.113.200", "203.0.113.1", "2001:db8::1"), sources("198.51.100.1"))
	f("peer: none", sources("198.51.100.1", "2001:db9::1"), sources("203.0.113.200", "203.0.113.1"))
	f("peer: [none, best]", sources("198.51.100.1", "203.0.113.200"), sources("203.0.113.1"))
	f("source: [10.0.0.0/8, '2001:db9::/32']", sources("10.1.2.3", "2001:db9::5", "::ffff:10.0.0.1"), sources("11.0.0.1", "2001:db8::5"))
	f("transport: [tcp, wss]", []asked{{by: transport.TCP}, {by: transport.WSS}}, []asked{{by: transport.UDP}, {by: transport.TLS}})
	f("schedule: work", []asked{{}}, nil)
	f("schedule: night", nil, []asked{{}})
	f("schedule: [night, work]", []asked{{}}, nil)
	f("outside: night", []asked{{}}, nil)
	f("outside: [night, work]", nil, []asked{{}})
	f("method: INVITE, peer: acme, uri: {user: bob}, schedule: work", []asked{{source: "203.0.113.1"}}, []asked{{}, {source: "203.0.113.1", method: "OPTIONS"}, {source: "203.0.113.1", uri: "sip:x@y"}})
}

// TestFirstMatchWins: of many routes the first decides, in whatever word of the sets it stands.
func TestFirstMatchWins(t *testing.T) {
	var text strings.Builder
	text.WriteString("routes:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  - {name: five%d, match: {uri: {number: '+%d5'}}, reject: 480}\n", i, 1000+i)
		fmt.Fprintf(&text, "  - {name: any%d, match: {uri: {number: '+%d'}}, reject: 486}\n", i, 1000+i)
	}
	text.WriteString("  - {name: last, reject: 606}\n")
	k := newDesk(t, text.String())
	for i := range 100 {
		for n, want := range map[int]string{5: "five", 6: "any"} {
			q := k.query(asked{uri: fmt.Sprintf("tel:+%d%d", 1000+i, n)})
			if e := k.d.Explain(q, new(router.TargetSet)); e.Route != fmt.Sprint(want, i) || e.Step != Routed {
				t.Errorf("%d: %+v", i, e)
			}
		}
	}
	k.check(asked{}, "606 Not Acceptable")
}

// An OPTIONS for ourselves is answered here, whatever the routes and what the peer may ask for.
func TestOptionsForUs(t *testing.T) {
	k := newDesk(t, "peers: {a: {addresses: 198.51.100.1, allow: {domains: other.example}}}\nroutes: [{reject: 480}]")
	k.check(asked{method: "OPTIONS", uri: "sip:example.com"}, "default")
	k.check(asked{method: "OPTIONS", uri: "sip:example.com", source: "203.0.113.1"}, "default")
	k.check(asked{method: "OPTIONS", uri: "sip:bob@example.com", source: "203.0.113.1"}, "480 Temporarily Unavailable")
	k.check(asked{method: "OPTIONS", uri: "sip:other.example", source: "203.0.113.1"}, "480 Temporarily Unavailable")
	k.check(asked{method: "REGISTER", uri: "sip:example.com", source: "203.0.113.1"}, "480 Temporarily Unavailable")
	k.check(asked{method: "OPTIONS", uri: "sip:bob@example.com"}, "403 Forbidden")
}

func TestPeerByIdentity(t *testing.T) {
	k := newDesk(t, `
peers:
	acme: {addresses: [203.0.113.0/24]}
	corp: {tls: [SIP.corp.example]}
routes:
	- {match: {peer: corp}, reject: 480}
	- {match: {peer: acme}, reject: 486}
`)
	corp, err := k.names.Number("sip.corp.example")
	if err != nil {
		t.Fatal(err)
	}
	a := asked{source: "203.0.113.1", by: transport.TLS}
	k.check(a, "486 Busy Here")
	k.who = corp
	k.check(a, "480 Temporarily Unavailable") // the identity comes first
	a.by = transport.TCP
	k.check(a, "486 Busy Here") // and is none of other connections
	a.by = transport.WSS
	k.check(a, "480 Temporarily Unavailable")
	k.who = corp + 1
	k.check(a, "486 Busy Here")
}

func TestSchedules(t *testing.T) {
	k := newDesk(t, `
schedules:
	work: {zone: America/New_York, hours: ["Mon-Fri 08:00-18:00"], holidays: [12-25]}
routes:
	- {match: {schedule: work}, reject: 480}
`)
	open := func(wall time.Time, want bool) {
		t.Helper()
		if next := k.d.Tick(wall); !next.After(wall) || next.Sub(wall) > time.Minute || next.Second() != 0 {
			t.Errorf("at %v the next change may be at %v", wall, next)
		}
		if got := k.ask(asked{}) != "default"; got != want {
			t.Errorf("%v: open %v", wall, got)
		}
	}
	open(time.Date(2026, 7, 15, 11, 59, 59, 0, time.UTC), false)
	open(time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC), true) // summer: UTC-4
	open(time.Date(2026, 7, 15, 21, 59, 59, 0, time.UTC), true)
	open(time.Date(2026, 7, 15, 22, 0, 0, 0, time.UTC), false)
	open(time.Date(2026, 12, 24, 12, 30, 0, 0, time.UTC), false) // winter: UTC-5
	open(time.Date(2026, 12, 24, 13, 30, 0, 0, time.UTC), true)
	open(time.Date(2026, 12, 25, 13, 30, 0, 0, time.UTC), false)
}

// TestReload: what a new file says counts at once; a file that cannot be had leaves the old in force.
func TestReload(t *testing.T) {
	k := newDesk(t, "routes: [{reject: 480}]")
	k.check(asked{}, "480 Temporarily Unavailable")
	k.load("routes: [{reject: 486}]")
	k.check(asked{}, "486 Busy Here")
	p := parse(t, "gateways: {g: {members: [{uri: 'sip:192.0.2.1'}]}}\nroutes: [{gateway: g}]")
	p.Gateways[0].Failover.Statuses = []config.StatusRange{{First: 600, Last: 600}}
	if err := k.d.Load(k.core, p, k.now, noon); err == nil || !strings.Contains(err.Error(), "600") {
		t.Errorf("%v for failover on 600", err)
	}
	k.check(asked{}, "486 Busy Here")
}
