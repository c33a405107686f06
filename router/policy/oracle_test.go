package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sipedge/config"
	"sipedge/router"
	"sipedge/transport"
)

// address of a request as the oracle sees it.
type oracleURI struct{ scheme, user, host string }

func (u oracleURI) String() string {
	switch {
	case u.scheme == "tel":
		return "tel:" + u.user
	case u.scheme == "urn":
		return "urn:" + u.host
	case u.user == "":
		return u.scheme + ":" + u.host
	}
	return u.scheme + ":" + u.user + "@" + u.host
}

// oracle finds the route in the policy as it was read, one thing after the other and with strings.
type oracle struct {
	p    *config.Policy
	open map[int]bool
}

func (o *oracle) peer(source netip.Addr) int {
	best, bits := -1, -1
	for i, p := range o.p.Peers {
		for _, a := range p.Addresses {
			if a.Contains(source) && a.Bits() > bits {
				best, bits = i, a.Bits()
			}
		}
	}
	return best
}

func (o *oracle) route(method string, uris [3]oracleURI, source netip.Addr, proto transport.Protocol) int {
	if u := uris[0]; method == "OPTIONS" && (u.scheme == "sip" || u.scheme == "sips") && u.user == "" && u.host == "example.com" {
		return -1 // it is for us
	}
	peer := o.peer(source)
	country := o.p.Numbers.Country
	if peer >= 0 && o.p.Peers[peer].Country != nil {
		country = o.p.Peers[peer].Country
	}
	named := func(list []config.Ref, i int) bool {
		return slices.ContainsFunc(list, func(r config.Ref) bool { return r.Index == i })
	}
	for i, r := range o.p.Routes {
		m := r.Match
		switch {
		case len(m.Methods) > 0 && !slices.Contains(m.Methods, method) && !(slices.Contains(m.Methods, "INVITE") && (method == "ACK" || method == "CANCEL")):
		case (len(m.Peers) > 0 || m.AnyPeer || m.NoPeer) && !(named(m.Peers, peer) || m.AnyPeer && peer >= 0 || m.NoPeer && peer < 0):
		case len(m.Sources) > 0 && !slices.ContainsFunc(m.Sources, func(p netip.Prefix) bool { return p.Contains(source) }):
		case len(m.Transports) > 0 && !slices.Contains(m.Transports, proto):
		case len(m.Schedules) > 0 && !slices.ContainsFunc(m.Schedules, func(r config.Ref) bool { return o.open[r.Index] }):
		case slices.ContainsFunc(m.Outside, func(r config.Ref) bool { return o.open[r.Index] }):
		case !o.uri(&m.URI, uris[0], country), !o.uri(&m.From, uris[1], country), !o.uri(&m.To, uris[2], country):
		default:
			return i
		}
	}
	return -1
}

func (o *oracle) uri(m *config.URIMatch, u oracleURI, c *config.Country) bool {
	sip := u.scheme == "sip" || u.scheme == "sips"
	pattern := func(p config.TextPattern, s string) bool {
		switch p.Kind {
		case config.PatternPrefix:
			return strings.HasPrefix(s, p.Text)
		case config.PatternSuffix:
			return strings.HasSuffix(s, p.Text)
		}
		return s == p.Text
	}
	if len(m.Schemes) > 0 && !slices.Contains(m.Schemes, u.scheme) {
		return false
	}
	if m.Ours != nil && *m.Ours != (sip && u.host == "example.com") {
		return false
	}
	if len(m.Hosts) > 0 && !(sip && slices.ContainsFunc(m.Hosts, func(p config.TextPattern) bool { return pattern(p, u.host) })) {
		return false
	}
	if len(m.Users) > 0 && !slices.ContainsFunc(m.Users, func(p config.TextPattern) bool { return pattern(p, u.user) }) {
		return false
	}
	if len(m.Numbers) == 0 && len(m.Regions) == 0 {
		return true
	}
	if u.scheme == "urn" {
		return false
	}
	dialled, e164 := slowNumber(u.scheme, u.user, false, c)
	best := func(ps []config.NumberPattern) (int, int) {
		v, rank := slowFind(ps, e164)
		if !strings.HasPrefix(dialled, "+") {
			if w, r := slowFind(ps, dialled); r > rank {
				v, rank = w, r
			}
		}
		return v, rank
	}
	if len(m.Numbers) > 0 {
		if _, rank := best(m.Numbers); rank == 0 {
			return false
		}
	}
	if len(m.Regions) > 0 {
		var all []config.NumberPattern
		var of []int
		for i, r := range o.p.Regions {
			for _, p := range r.Patterns {
				all, of = append(all, p), append(of, i)
			}
		}
		v, rank := best(all)
		return rank > 0 && slices.ContainsFunc(m.Regions, func(r config.Ref) bool { return r.Index == of[v] })
	}
	return true
}

var (
	oracleUsers   = []string{"bob", "bobby", "alice", "+49301234567", "0301234567", "00431234567", "112", "1000", "2125551234", ""}
	oracleHosts   = []string{"example.com", "a.example", "b.a.example", "c.b.a.example", "192.0.2.7"}
	oracleSources = []string{"203.0.113.1", "203.0.113.130", "198.51.100.7", "2001:db8::1"}
)

func drawURI(t *rapid.T, what string) oracleURI {
	u := oracleURI{
		scheme: rapid.SampledFrom([]string{"sip", "sip", "sips", "tel", "urn"}).Draw(t, what+" scheme"),
		user:   rapid.SampledFrom(oracleUsers).Draw(t, what+" user"),
		host:   rapid.SampledFrom(oracleHosts).Draw(t, what+" host"),
	}
	switch u.scheme {
	case "tel":
		u.host = ""
		if u.user == "" || u.user[0] >= 'a' {
			u.user = "+49301234567"
		}
	case "urn":
		u.user, u.host = "", "x:"+u.host
	}
	return u
}

func drawRefs(t *rapid.T, what string, n int) (refs []config.Ref) {
	if n == 0 || rapid.IntRange(0, 2).Draw(t, what) > 0 {
		return nil
	}
	for range rapid.IntRange(1, 3).Draw(t, what+" count") {
		refs = append(refs, config.Ref{Index: rapid.IntRange(0, n-1).Draw(t, what+" index")})
	}
	return
}

// some draws a few of list, or nothing at all two times out of three.
func some[T any](t *rapid.T, what string, list []T) (drawn []T) {
	if rapid.IntRange(0, 2).Draw(t, what) > 0 {
		return nil
	}
	for range rapid.IntRange(1, 2).Draw(t, what+" count") {
		drawn = append(drawn, rapid.SampledFrom(list).Draw(t, what+" one"))
	}
	return
}

func drawNumberPattern(t *rapid.T) config.NumberPattern {
	low := rapid.SampledFrom([]string{"+49", "+4930", "+43", "030", "0", "112", "1000", "10", "+1", "00"}).Draw(t, "low")
	p := config.NumberPattern{Low: low, High: low, Exact: rapid.IntRange(0, 3).Draw(t, "exact") == 0}
	if rapid.IntRange(0, 3).Draw(t, "range") == 0 {
		p.High = low[:len(low)-1] + "9"
	}
	return p
}

func drawURIMatch(t *rapid.T, what string, regions int) (m config.URIMatch) {
	if rapid.IntRange(0, 1).Draw(t, what) > 0 {
		return
	}
	m.Schemes = some(t, what+" scheme", []string{"sip", "sips", "tel", "urn"})
	m.Hosts = some(t, what+" host", []config.TextPattern{
		{Text: "example.com"}, {Text: "a.example"}, {Text: "192.0.2.7"}, {Text: ".a.example", Kind: config.PatternSuffix}, {Text: ".example", Kind: config.PatternSuffix}, {Kind: config.PatternPrefix},
	})
	m.Users = some(t, what+" user", []config.TextPattern{
		{Text: "bob"}, {Text: "bob", Kind: config.PatternPrefix}, {Text: "e", Kind: config.PatternSuffix}, {Kind: config.PatternPrefix}, {Text: "112"},
	})
	if rapid.IntRange(0, 3).Draw(t, what+" ours") == 0 {
		ours := rapid.Bool().Draw(t, what+" is ours")
		m.Ours = &ours
	}
	if rapid.IntRange(0, 2).Draw(t, what+" numbers") == 0 {
		m.Numbers = rapid.SliceOfN(rapid.Custom(drawNumberPattern), 1, 3).Draw(t, what+" patterns")
	}
	m.Regions = drawRefs(t, what+" region", regions)
	return
}

// TestAgainstOracle: random policies decide on random requests as the slow reading of them does.
func TestAgainstOracle(t *testing.T) {
	k := newDesk(t, "")
	decided := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := &config.Policy{}
		p.Numbers.Country = rapid.SampledFrom([]*config.Country{nil, germany, america}).Draw(t, "country")
		for i := range rapid.IntRange(0, 3).Draw(t, "regions") {
			p.Regions = append(p.Regions, config.Region{Name: fmt.Sprint("r", i), Patterns: rapid.SliceOfN(rapid.Custom(drawNumberPattern), 1, 3).Draw(t, "patterns")})
		}
		for i, a := range []string{"203.0.113.0/24", "203.0.113.128/25", "2001:db8::/32"}[:rapid.IntRange(0, 3).Draw(t, "peers")] {
			p.Peers = append(p.Peers, config.Peer{
				Name: fmt.Sprint("p", i), Addresses: []netip.Prefix{netip.MustParsePrefix(a)},
				Country: rapid.SampledFrom([]*config.Country{nil, germany, america}).Draw(t, "peer's country"),
			})
		}
		// A schedule without hours is always open, one whose hours are over never.
		zone := noon.Location()
		p.Schedules = []config.Schedule{{Name: "always", Zone: zone}, {Name: "never", Zone: zone, Hours: []config.WeekHours{{From: 1, To: 2}}}}
		o := &oracle{p: p, open: map[int]bool{0: true}}
		for i := range rapid.IntRange(0, 70).Draw(t, "routes") {
			m := config.Match{
				Methods: some(t, "method", []string{"INVITE", "OPTIONS", "FOO", "BAR"}),
				URI:     drawURIMatch(t, "uri", len(p.Regions)), From: drawURIMatch(t, "from", len(p.Regions)), To: drawURIMatch(t, "to", len(p.Regions)),
				Peers:     drawRefs(t, "peer", len(p.Peers)),
				Schedules: drawRefs(t, "schedule", 2), Outside: drawRefs(t, "outside", 2),
				Transports: some(t, "transport", []transport.Protocol{transport.UDP, transport.TCP, transport.TLS}),
			}
			m.AnyPeer = rapid.IntRange(0, 5).Draw(t, "any") == 0
			m.NoPeer = !m.AnyPeer && rapid.IntRange(0, 5).Draw(t, "none") == 0
			for _, s := range some(t, "source", []string{"203.0.113.0/25", "0.0.0.0/0", "2001:db8::1/128"}) {
				m.Sources = append(m.Sources, netip.MustParsePrefix(s))
			}
			p.Routes = append(p.Routes, config.Route{Name: fmt.Sprint(i), Match: m, Action: config.Action{Reject: &config.Answer{Code: 480}}})
		}
		if err := k.d.Load(k.core, p, k.now, noon); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			uris := [3]oracleURI{drawURI(t, "Request-URI"), drawURI(t, "From"), drawURI(t, "To")}
			source := rapid.SampledFrom(oracleSources).Draw(t, "from source")
			proto := rapid.SampledFrom([]transport.Protocol{transport.UDP, transport.TCP, transport.TLS, transport.WS}).Draw(t, "by")
			method := rapid.SampledFrom([]string{"INVITE", "OPTIONS", "FOO", "ACK", "CANCEL", "REGISTER"}).Draw(t, "asks")
			q := k.query(asked{method: method, uri: uris[0].String(), from: "<" + uris[1].String() + ">", to: "<" + uris[2].String() + ">", source: source, by: proto})
			e := k.d.Explain(q, new(router.TargetSet))
			want := ""
			if i := o.route(method, uris, netip.MustParseAddr(source), proto); i >= 0 {
				want = fmt.Sprint(i)
			}
			if e.Route != want {
				t.Fatalf("%s %v from %s by %v: route %q, want %q", method, uris, source, proto, e.Route, want)
			}
			decided[want != ""]++
		}
	})
	if decided[true] < 100 || decided[false] < 100 {
		t.Errorf("routes found and not: %v; the test does not look at both", decided)
	}
}
