package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sipedge/transport"
)

// policy reads a text that is right and that nothing is to be said against.
func policy(t *testing.T, text string) *Policy {
	t.Helper()
	p, warnings, err := ParsePolicy("p.yaml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	if warnings != nil {
		t.Errorf("%s\nwarnings %q", text, warnings)
	}
	return p
}

func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../docs/examples/*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	return files
}

func TestExamples(t *testing.T) {
	for _, file := range examples(t) {
		p, warnings, err := LoadPolicy(file, nil)
		if err != nil || warnings != nil {
			t.Errorf("%v, %q", err, warnings)
			continue
		}
		var b strings.Builder
		p.Describe(&b)
		for _, r := range p.Routes {
			if !strings.Contains(b.String(), fmt.Sprintf("%s (line %d)", r.Name, r.Line)) {
				t.Errorf("%s: the description lacks route %q", file, r.Name)
			}
		}
	}
}

// What the three examples of one task say is what they are for.
func TestExampleGateways(t *testing.T) {
	for file, how := range map[string]Select{"gateways-by-priority": SelectPriority, "gateways-in-turn": SelectRoundRobin} {
		p, _, err := LoadPolicy("../docs/examples/"+file+".yaml", nil)
		if err != nil {
			t.Fatal(err)
		}
		g := p.Gateways[0]
		if g.Select != how || g.Timeout != 2*time.Second || g.Probe.Every != time.Second || len(g.Members) != 3 || !g.Failover.Timeout {
			t.Errorf("%s: %+v", file, g)
		}
		for status := 300; status < 700; status++ {
			if want := slices.Contains([]int{500, 502, 503, 504}, status); g.Failover.Has(status) != want {
				t.Errorf("%s: failover on %d is %v", file, status, !want)
			}
		}
		for i, m := range g.Members {
			want := i + 1
			if how == SelectRoundRobin {
				want = 1
			}
			if m.Priority != want {
				t.Errorf("%s: %s has priority %d", file, m.Name, m.Priority)
			}
		}
	}
}

func TestEmptyPolicy(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "\xef\xbb\xbf# a byte order mark\n"} {
		if p := policy(t, text); !reflect.DeepEqual(p, DefaultPolicy()) {
			t.Errorf("%q is %+v", text, p)
		}
	}
	if d := DefaultPolicy(); d.Overload.Delay == 0 || len(d.Overload.Scanners) == 0 {
		t.Errorf("%+v", d.Overload)
	}
}

const oneGroup = "gateways: {g: {members: [\"sip:192.0.2.1\"]}}\n"

// Every form that a value may have, and what it then is.
func TestPolicyValues(t *testing.T) {
	f := func(text string, get func(p *Policy) any, want any) {
		t.Helper()
		p, _, err := ParsePolicy("p.yaml", []byte(text), nil)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
		} else if got := get(p); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nis %+v, want %+v", text, got, want)
		}
	}
	domains := func(p *Policy) any { return p.Domains }
	f("domains: [Example.com, 'b.example:5080']", domains, []HostPort{{"example.com", 0}, {"b.example", 5080}})
	f("domains: example.com", domains, []HostPort{{"example.com", 0}})
	f("domains: &d [a.example]\nroutes:\n- {match: {uri: {host: *d}}, next-hop: 'sip:192.0.2.1'}", func(p *Policy) any { return p.Routes[0].Match.URI.Hosts }, []TextPattern{{"a.example", PatternExact}})

	country := func(p *Policy) any { return *p.Numbers.Country }
	germany := Country{"DE", "49", "0", "00", 0, 0}
	f("numbers: {country: DE}", country, germany)
	f("numbers: {country: de}", country, germany)
	f("numbers: {country: +49}", country, germany)
	f("numbers: {country: 49}", country, germany)
	f("numbers: {country: US}", country, Country{"US", "1", "1", "011", 10, 10})
	f("numbers: {country: +1}", country, Country{"US", "1", "1", "011", 10, 10})
	f("numbers: {country: IT}", country, Country{"IT", "39", "", "00", 6, 12})
	f("numbers: {country: RU}", country, Country{"RU", "7", "8", "810", 0, 0})
	f("numbers: {country: AU}", country, Country{"AU", "61", "0", "0011", 0, 0})
	f("numbers: {country: {code: +55, national: 0, international: 0021, digits: 10-11}}", country, Country{"", "55", "0", "0021", 10, 11})
	f("numbers: {country: {code: 55}}", country, Country{Code: "55"})

	patterns := func(p *Policy) any { return p.Regions[0].Patterns }
	f("regions: {r: +49}", patterns, []NumberPattern{{"+49", "+49", false}})
	f("regions: {r: [0049, =112, +4930..+4939, '*31#']}", patterns, []NumberPattern{{"0049", "0049", false}, {"112", "112", true}, {"+4930", "+4939", false}, {"*31#", "*31#", false}})

	week := func(days ...time.Weekday) (w [7]bool) {
		for _, d := range days {
			w[d] = true
		}
		return w
	}
	hours := func(p *Policy) any { return p.Schedules[0].Hours }
	f("schedules: {s: {hours: Mon-Fri 08:00-18:00}}", hours, []WeekHours{{week(1, 2, 3, 4, 5), 480, 1080}})
	f("schedules: {s: {hours: [Fri-Mon 22:00-06:00, 'sat,Sunday', 00:00-24:00, 9:30-10:00]}}", hours, []WeekHours{{week(5, 6, 0, 1), 1320, 1800}, {week(6, 0), 0, 1440}, {week(0, 1, 2, 3, 4, 5, 6), 0, 1440}, {week(0, 1, 2, 3, 4, 5, 6), 570, 600}})
	f("schedules: {s: {holidays: [12-25, 2026-04-03, 12-24..01-02, 2026-01-01..2026-01-06, 02-29]}}", func(p *Policy) any { return p.Schedules[0].Holidays }, []Dates{
		{Date{0, 12, 25}, Date{0, 12, 25}}, {Date{2026, 4, 3}, Date{2026, 4, 3}}, {Date{0, 12, 24}, Date{0, 1, 2}}, {Date{2026, 1, 1}, Date{2026, 1, 6}}, {Date{0, 2, 29}, Date{0, 2, 29}},
	})

	f("peers: {a: {addresses: [192.0.2.7, 192.0.2.0/24, '2001:db8::/32', '::1', '::ffff:192.0.2.9']}}", func(p *Policy) any { return p.Peers[0].Addresses },
		[]netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.9/32")})
	f("peers: {a: {tls: SIP.Example.com.}}", func(p *Policy) any { return p.Peers[0].TLS }, []string{"sip.example.com"})
	f("peers: {a: {tls: a.example, limits: {calls: 7}}}", func(p *Policy) any { return p.Peers[0].Limits }, Limits{Calls: 7, Answer: Answer{503, "", 10 * time.Second}})
	f("peers: {a: {tls: a.example, limits: {answer: 480}}}", func(p *Policy) any { return p.Peers[0].Limits.Answer }, Answer{Code: 480})
	f("peers: {a: {tls: a.example, headers: {remove: X-A, add: {X-B: 1, X-C: 'two words'}}}}", func(p *Policy) any { return p.Peers[0].Headers }, HeaderEdits{[]string{"X-A"}, Headers{{"X-B", "1"}, {"X-C", "two words"}}})
	f("peers: {b: {tls: b.example}, a: {tls: a.example}}", func(p *Policy) any { return []string{p.Peers[0].Name, p.Peers[1].Name} }, []string{"b", "a"})

	members := func(p *Policy) any { m := p.Gateways[0].Members[0]; m.Line = 0; return m }
	f("gateways: {g: {members: sip:192.0.2.1}}", members, Member{Name: "192.0.2.1", URI: TargetURI{"sip:192.0.2.1", "192.0.2.1", 0, 0, false}, Priority: 1, Weight: 1})
	f("gateways: {g: {members: {name: x, uri: 'sips:[2001:db8::1]:5071', priority: 0, weight: 9, calls: 3, calls-per-second: 4}}}", members,
		Member{Name: "x", URI: TargetURI{"sips:[2001:db8::1]:5071", "2001:db8::1", 5071, 0, true}, Weight: 9, Calls: 3, CallsPerSecond: 4})
	f("gateways: {g: {members: ['sip:gw.example:5060;transport=tcp']}}", members, Member{Name: "gw.example:5060", URI: TargetURI{"sip:gw.example:5060;transport=tcp", "gw.example", 5060, transport.TCP, false}, Priority: 1, Weight: 1})
	failover := func(p *Policy) any { return p.Gateways[0].Failover }
	f(oneGroup, failover, Failover{[]StatusRange{{500, 500}, {502, 502}, {503, 503}, {504, 504}}, true})
	f("gateways: {g: {members: 'sip:192.0.2.1', failover: []}}", failover, Failover{})
	f("gateways: {g: {members: 'sip:192.0.2.1', failover: [5xx, 404, timeout]}}", failover, Failover{[]StatusRange{{500, 599}, {404, 404}}, true})
	f("gateways: {g: {members: 'sip:192.0.2.1', failover: 503}}", failover, Failover{[]StatusRange{{503, 503}}, false})
	probe := func(p *Policy) any {
		x := *p.Gateways[0].Probe
		x.Expect = Failover{}
		return x
	}
	f("gateways: {g: {members: 'sip:192.0.2.1', probe: {}}}", probe, Probe{Every: 10 * time.Second, Timeout: 2 * time.Second, Down: 2, Up: 1})
	f("gateways: {g: {members: 'sip:192.0.2.1', probe: {every: 500ms, from: 'sip:a@b.example', to: ping}}}", probe, Probe{Every: 500 * time.Millisecond, Timeout: 500 * time.Millisecond, Down: 2, Up: 1, From: "sip:a@b.example", To: "ping"})

	f(oneGroup+"emergency: {numbers: [112, '110'], gateway: g}", func(p *Policy) any { return []any{p.Emergency.Numbers, p.Emergency.URN, *p.Emergency.Gateway} }, []any{[]string{"112", "110"}, true, Ref{"g", 0}})

	route := func(text string) string { return oneGroup + "routes: [" + text + "]" }
	match := func(p *Policy) any { return p.Routes[0].Match }
	no := false
	f(route("{gateway: g}"), func(p *Policy) any {
		return []any{p.Routes[0].Name, p.Routes[0].Line, p.Routes[0].Match, *p.Routes[0].Gateway}
	}, []any{"route 1", 2, Match{}, Ref{"g", 0}})
	f(route("{match: {transport: [UDP, tls]}, gateway: g}"), match, Match{Transports: []transport.Protocol{transport.UDP, transport.TLS}})
	f(route("{match: {uri: {scheme: SIPS, user: ['*', 'a*', '*z', x], host: ['*', '*.Example.com', '[2001:DB8::1]']}}, gateway: g}"), match, Match{URI: URIMatch{
		Schemes: []string{"sips"}, Users: []TextPattern{{"", PatternPrefix}, {"a", PatternPrefix}, {"z", PatternSuffix}, {"x", PatternExact}},
		Hosts: []TextPattern{{"", PatternPrefix}, {".example.com", PatternSuffix}, {"2001:db8::1", PatternExact}},
	}})
	f(route("{match: {source: 10.0.0.0/8}, relay: true}"), match, Match{Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, URI: URIMatch{Ours: &no}})
	f("peers: {a: {tls: a.example}}\n"+route("{match: {peer: [a, none]}, gateway: g}"), match, Match{Peers: []Ref{{"a", 0}}, NoPeer: true})
	f("peers: {a: {tls: a.example}}\n"+route("{match: {peer: any}, gateway: g}"), match, Match{Peers: []Ref{}, AnyPeer: true})
	f(route("{match: {peer: none}, gateway: g}"), match, Match{Peers: []Ref{}, NoPeer: true})

	action := func(p *Policy) any { return p.Routes[0].Action }
	f(route("{reject: 404}"), action, Action{Reject: &Answer{Code: 404}})
	f(route("{reject: {code: 503, reason: No Way, retry-after: 90s}}"), action, Action{Reject: &Answer{503, "No Way", 90 * time.Second}})
	f(route("{redirect: 'sip:example.net'}"), action, Action{Redirect: &Redirect{[]string{"sip:example.net"}, 302}})
	f(route("{redirect: {to: ['sip:a@b.example', 'tel:+491'], code: 300}}"), action, Action{Redirect: &Redirect{[]string{"sip:a@b.example", "tel:+491"}, 300}})
	f(route("{redirect-server: 'sip:192.0.2.9'}"), action, Action{RedirectServer: &TargetURI{"sip:192.0.2.9", "192.0.2.9", 0, 0, false}, FollowRedirects: true})
	f(route("{next-hop: 'sip:192.0.2.9;lr', number: {normalise: true, strip: 3, prepend: +49}, follow-redirects: true, mode: stateful, record-route: on}"), action, Action{
		NextHop: &TargetURI{"sip:192.0.2.9;lr", "192.0.2.9", 0, 0, false}, Number: NumberEdit{true, 3, "+49"}, FollowRedirects: true, Mode: Stateful, RecordRoute: true,
	})

	rate := func(p *Policy) any { return p.Overload.Rates[0] }
	any4 := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	f("overload: {rates: {addresses: 0.0.0.0/0, requests-per-second: 10}}", rate, Rate{any4, 32, 64, EachAddress, 10, 20, OverDrop})
	f("overload: {rates: [{addresses: 0.0.0.0/0, requests-per-second: 10, burst: 30, each: prefix, over: reject}]}", rate, Rate{any4, 24, 48, EachPrefix, 10, 30, OverReject})
	f("overload: {rates: [{addresses: 0.0.0.0/0, requests-per-second: 10, each: all}]}", rate, Rate{any4, 0, 0, EachAll, 10, 20, OverDrop})
	f("overload: {scanners: []}", func(p *Policy) any { return p.Overload.Scanners }, []string{})
	f("overload: {scanners: Bad-Scanner, delay: 20ms, retry-after: 2s}", func(p *Policy) any { return p.Overload }, Overload{Scanners: []string{"bad-scanner"}, Delay: 20 * time.Millisecond, RetryAfter: 2 * time.Second})
}

// Every mistake is told with its place and a word that helps. A caret stands under what is wrong: «1» in the text.
func TestPolicyMistakes(t *testing.T) {
	f := func(text string, words ...string) {
		t.Helper()
		at := strings.Index(text, "^")
		text = strings.Replace(text, "^", "", 1)
		before := text[:max(at, 0)]
		line, column := strings.Count(before, "\n")+1, len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))+1
		_, _, err := ParsePolicy("p.yaml", []byte(text), nil)
		problems, ok := err.(PolicyErrors)
		if !ok || len(problems) != 1 {
			t.Errorf("%s\nwant one problem, got %v", text, err)
			return
		}
		p := problems[0]
		if p.Line != line || p.Column != column || p.Source != strings.Split(text, "\n")[line-1] {
			t.Errorf("%s\nthe place is %d:%d, want %d:%d", p, p.Line, p.Column, line, column)
		}
		for _, w := range words {
			if !strings.Contains(p.Message, w) {
				t.Errorf("%s\nlacks %q", p, w)
			}
		}
	}
	// YAML itself.
	f("domains: [a.example\nb^: c", "no YAML", "flow sequence")
	f("domains:\n^\t- a.example", "no YAML", "spaces, not by tabs")
	f("^- a", "the file is a list", "domains, numbers, regions")
	f("^hello", "the single value \"hello\"")
	f("domains: a.example\n---\n^domains: b.example", "second document")
	// Keys.
	f("^domain: a.example", `did you mean "domains"?`)
	f("domains: a.example\n^domains: b.example", "given twice", "line 1")
	f("peers:\n  a: {tls: a.example}\n  ^a: {tls: b.example}", "given twice", "line 2")
	f("^xyzzy: 1", "the keys here are domains, ", "or overload")
	f("peers: {a: {tls: a.example, ^colour: red}}", `"colour" is no key here; the keys of a are addresses`)
	f("routes:\n- match: {peer: none, ^user: bob}\n  reject: 403", `it belongs under "uri"`)
	f("peers: {a: {tls: a.example, ^<<: {}}}", "<< is not supported")
	f("^domains:", "domains has no value")
	f("? ^[a]\n: b", "a key must be a word")
	f("peers: {^1a: {tls: a.example}}", "is no name")
	f("peers: {^none: {tls: a.example}}", "meaning of its own")
	f("peers: ^[a, b]", "NAME: and what belongs to it")
	// Values.
	f("domains: [a.example, ^b_c]", "neither a host name nor an IP address")
	f("domains: [^{a: b}]", "must be a single value")
	f("domains: ^''", "host is missing")
	f("numbers: {country: ^XX}", "no country", "as in DE")
	f("numbers: {country: ^+999}", "no country's calling code")
	f("numbers: {country: ^BR}", "more than one way", "+55")
	f("numbers: {country: ^{national: 0}}", "calling code is missing")
	f("numbers: {country: {code: +49, digits: ^9-3}}", "range of counts")
	f("numbers: {country: {code: ^+49301}}", "at most 3 digits")
	f("regions: {r: [+49, ^49a]}", "no telephone number pattern")
	f("regions: {r: ^+4939..+4930}", "did you mean +4930..+4939?")
	f("regions: {r: ^+493..+4940}", "same number of digits")
	f("regions: {r: ^+493..0493}", "both have a +")
	f("regions: {^r: []}", "has no numbers")
	f("regions: {a: +49, b: [^+49]}", "region a too")
	f("regions: {a: +4930..+4939, b: [+48, ^+4935..+4945]}", "region a too, as +4930..+4939")
	f("regions: {a: [+4930..+4939, ^+4931]}", "overlaps with +4930..+4939")
	f("schedules: {s: {zone: ^Europe/Brlin}}", "no time zone")
	f("schedules: {s: {zone: ^Local}}", "no time zone")
	f("schedules: {s: {hours: ^Mon-Fry 08:00-18:00}}", "no time of the week")
	f("schedules: {s: {hours: ^Mon 08:00-08:00}}", "00:00-24:00")
	for _, h := range []string{"Mon 8-18", "25:00-26:00", "Mon Tue", "08:00", "Mon 08:60-09:00", "24:00-08:00", "Mon-", "08:00-09:00 Mon"} {
		f("schedules: {s: {hours: ^'"+h+"'}}", "no time of the week")
	}
	for _, h := range []string{"13-25", "02-30", "2026-02-29", "2026-1-1", "25.12.", "12-24..", "12-24-26"} {
		f("schedules: {s: {holidays: ^'"+h+"'}}", "is no day")
	}
	f("schedules: {s: {holidays: ^2026-12-24..12-26}}", "a year or neither")
	f("schedules: {s: {holidays: ^2026-12-24..2025-12-26}}", "ends before it begins")
	f("peers: {^a: {country: DE}}", "can never be recognised")
	f("peers: {a: {addresses: ^192.0.2.1/24}}", "192.0.2.0/24", "bits behind")
	f("peers: {a: {addresses: ^192.0.2.300}}", "neither an IP address nor a prefix")
	f("peers: {a: {addresses: ^192.0.2.0/33}}", "neither an IP address nor a prefix")
	f("peers: {a: {addresses: '192.0.2.1'}, b: {addresses: ^192.0.2.1/32}}", "belongs to peer a")
	f("peers: {a: {tls: x.example}, b: {tls: ^X.example.}}", "belongs to peer a")
	f("peers: {a: {tls: ^'*.example'}}", "no domain name")
	f("peers: {a: {tls: a.example, limits: {calls: ^many}}}", "no whole number")
	f("peers: {a: {tls: a.example, limits: {calls: ^-1}}}", "not within 0 and")
	f("peers: {a: {tls: a.example, limits: {answer: ^200}}}", "not within 400 and 699")
	f("peers: {a: {tls: a.example, limits: {answer: ^{reason: x}}}}", "status is missing")
	f("peers: {a: {tls: a.example, limits: {answer: {code: 503, retry-after: ^1500ms}}}}", "whole number of seconds")
	f("peers: {a: {tls: a.example, allow: {regions: ^x}}}", "the file has no \"regions\"")
	f("peers: {a: {tls: a.example, allow: {domains: ^'a*'}}}", "only the begin may be left open")
	f("peers: {a: {tls: a.example, headers: {remove: ^Via}}}", "not for a policy to change")
	f("peers: {a: {tls: a.example, headers: {remove: ^'a b'}}}", "no name of a header field")
	f("peers: {a: {tls: a.example, headers: {add: {^v: x}}}}", "not for a policy to change")
	f("peers: {a: {tls: a.example, headers: {add: {X-A: ^\"a\\nb\"}}}}", "control character")
	f("peers: {a: {tls: a.example, headers: {add: ^X-A}}}", "NAME: VALUE")
	f("gateways: {^g: {}}", "no members")
	f("gateways: {g: {members: ^192.0.2.1}}", "begin with")
	f("gateways: {g: {members: ^'sip:192.0.2.1;transport=ws'}}", "WebSocket")
	f("gateways: {g: {members: ^{priority: 1}}}", "uri of this member is missing")
	f("gateways: {g: {members: ['sip:192.0.2.1', ^'sip:192.0.2.1']}}", "same place")
	f("gateways: {g: {members: [{name: a, uri: 'sip:192.0.2.1'}, {name: ^a, uri: 'sip:192.0.2.2'}]}}", "another name")
	f("gateways: {g: {members: 'sip:192.0.2.1', select: ^round-robbin}}", `did you mean "round-robin"?`)
	f("gateways: {g: {members: 'sip:192.0.2.1', hash-by: ^to}}", "select: hash")
	f("gateways: {g: {members: 'sip:192.0.2.1', down-for: ^5s}}", "without down-after")
	f("gateways: {g: {members: 'sip:192.0.2.1', down-after: ^101}}", "not within 0 and 100")
	f("gateways: {g: {members: 'sip:192.0.2.1', timeout: ^2}}", "no duration with a unit")
	f("gateways: {g: {members: 'sip:192.0.2.1', timeout: ^2m}}", "not within 100ms and 32s")
	f("gateways: {g: {members: 'sip:192.0.2.1', failover: [^5x3]}}", "no status")
	f("gateways: {g: {members: 'sip:192.0.2.1', failover: ^[500, 2xx]}}", "failover has 200")
	f("gateways: {g: {members: 'sip:192.0.2.1', failover: ^[5xx, 603]}}", "failover has 603")
	f("gateways: {g: {members: 'sip:192.0.2.1', failover: ^[5xx, 503]}}", "503 is given twice")
	f("gateways: {g: {members: 'sip:192.0.2.1', tries: ^17}}", "not within 1 and 16")
	f("gateways: {g: {members: 'sip:192.0.2.1', probe: {every: 1s, timeout: ^2s}}}", "longer than")
	f("gateways: {g: {members: 'sip:192.0.2.1', probe: {expect: ^timeout}}}", "silence")
	f("gateways: {g: {members: 'sip:192.0.2.1', probe: {expect: ^1xx}}}", "expect has 100")
	f("gateways: {g: {members: 'sip:192.0.2.1', probe: {from: ^bob}}}", "no URI")
	f("gateways: {g: {members: 'sip:192.0.2.1', probe: {to: ^'a b'}}}", "no user part")
	// Emergency and routes.
	f("emergency: ^{numbers: 112}", "does nothing")
	f("emergency: ^{numbers: 112, reject: 503}", "gateway or a next-hop")
	f("emergency: {numbers: [^1a2], next-hop: 'sip:192.0.2.1'}", "no telephone number")
	f("emergency: ^{urn: false, next-hop: 'sip:192.0.2.1'}", "nothing is an emergency call")
	f("emergency: {mode: ^stateless, next-hop: 'sip:192.0.2.1'}", "always stateful")
	f("routes: [^{}]", "does nothing; give one of gateway, next-hop, relay, redirect, reject or redirect-server")
	f("routes: [{relay: true, reject: ^403}]", "relay and reject; it can do only one")
	f("routes: [{relay: ^false}]", "does nothing")
	f("routes: [{match: {uri: {ours: true}}, relay: ^true}]", "can never match")
	f("routes: [{gateway: ^g}]", `there is no gateway group "g"; the file has no "gateways"`)
	f(oneGroup+"routes: [{gateway: ^gg}]", `did you mean "g"?`)
	f(oneGroup+"routes: [{gateway: ^carriers}]", `there is no gateway group "carriers" under "gateways"`)
	f("routes: [{name: a, match: {method: INVITE}, reject: 403}, {name: ^a, reject: 404}]", "in line 1")
	f("routes: [{name: ^'a b', reject: 403}]", "is no name")
	f("routes: [{match: {method: ^invite}, reject: 403}]", "did you mean INVITE?")
	f("routes: [{match: {method: ^CANCEL}, reject: 403}]", "goes where its INVITE went")
	f("routes: [{match: {method: ^'A B'}, reject: 403}]", "no method")
	f("routes: [{match: {peer: ^any}, reject: 403}]", "no peers")
	f("routes: [{match: {peer: ^bob}, reject: 403}]", "no peer \"bob\"")
	f("peers: {a: {tls: a.example}}\nroutes: [{match: {peer: ^[any, none]}, reject: 403}]", "everybody")
	f("routes: [{match: {transport: ^sctp}, reject: 403}]", "udp, tcp, tls, ws or wss")
	f("schedules: {s: {}}\nroutes: [{match: {schedule: s, outside: ^s}, reject: 403}]", "can never match")
	f("routes: [{match: {uri: {scheme: ^'1'}}, reject: 403}]", "no scheme")
	f("routes: [{match: {uri: {scheme: tel, host: ^a.example}}, reject: 403}]", "only sip and sips")
	f("routes: [{match: {uri: {scheme: tel, ours: ^true}}, reject: 403}]", "only sip and sips")
	f("routes: [{match: {uri: {ours: ^perhaps}}, reject: 403}]", "neither true nor false")
	f("routes: [{match: {uri: {user: ^'*a*'}}, reject: 403}]", "not both")
	f("routes: [{match: {uri: {host: ^'*example.com'}}, reject: 403}]", "as in *.example.com")
	f("routes: [{reject: ^401}]", "challenge")
	f("routes: [{reject: 403, headers: ^{remove: X-A}}]", "goes no further")
	f("routes: [{reject: 403, number: ^{strip: 1}}]", "goes no further")
	f("routes: [{redirect: ^example.net}]", "no URI")
	f("routes: [{redirect: {to: [^'http://a.example']}}]", "")
	f("routes: [{redirect: {to: 'sip:a.example', code: ^303}}]", "300, 301, 302, 305 and 380")
	f("routes: [{redirect: {to: 'sip:a.example'}, record-route: ^true}]", "goes no further")
	f("routes: [{redirect-server: 'sip:a.example', follow-redirects: ^false}]", "nothing but redirects")
	f("routes: [{next-hop: 'sip:a.example', number: {prepend: ^a}}]", "not made of digits")
	f("routes: [{next-hop: ^'sip:bob@a.example'}]", "without user")
	// Statelessness.
	f(oneGroup+"routes: [{next-hop: 'sip:a.example', follow-redirects: true, mode: ^stateless}]", "follow-redirects")
	f("routes: [{redirect-server: 'sip:a.example', mode: ^stateless}]", "redirect server")
	two := "gateways: {g: {select: %s, failover: %s, members: [{uri: 'sip:192.0.2.1', calls: %d}, 'sip:192.0.2.2']}}\nroutes: [{gateway: g, mode: ^stateless}]"
	f(fmt.Sprintf(two, "weight", "[]", 0), "selects by weight")
	f(fmt.Sprintf(two, "hash", "503", 0), "with failover: [] it does not")
	f(fmt.Sprintf(two, "hash", "[]", 5), "limits, which count calls")
	// Overload.
	f("overload: {rates: ^{requests-per-second: 5}}", "no addresses")
	f("overload: {rates: ^{addresses: 0.0.0.0/0}}", "no requests-per-second")
	f("overload: {rates: {addresses: 0.0.0.0/0, requests-per-second: 5, each: ^adress}}", `did you mean "address"?`)
	f("overload: {scanners: ^ab}", "three characters")
}
