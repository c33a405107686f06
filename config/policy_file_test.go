package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"sipedge/transport"
)

// All mistakes are told at once, in the order of the file, each with its line and a mark under the place.
func TestPolicyProblemsAtOnce(t *testing.T) {
	_, _, err := LoadPolicy("testdata/mistakes.yaml", nil)
	if err == nil {
		t.Fatal("accepted")
	}
	golden(t, "testdata/mistakes.golden", err.Error()+"\n")
}

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v; got\n%s", file, err, got)
	}
}

// What sipedge check says of a right file is what people go by.
func TestDescribe(t *testing.T) {
	p, _, err := LoadPolicy("../docs/examples/carrier-edge.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	p.Describe(&b)
	golden(t, "testdata/carrier-edge.golden", b.String())
}

// A long line is shown around the place, and the mark stays under it.
func TestProblemInLongLine(t *testing.T) {
	text := "routes: [{reject: {code: 403, reason: " + strings.Repeat("ä", 500) + "}}, {reject: 1, name: b}]"
	_, _, err := ParsePolicy("p.yaml", []byte(text), nil)
	p := err.(PolicyErrors)[0]
	lines := strings.Split(p.String(), "\n")
	source, mark := []rune(lines[1]), []rune(lines[2])
	if len(source) > 160 || mark[len(mark)-1] != '^' || source[len(mark)-1] != '1' {
		t.Errorf("\n%s", p)
	}
}

func TestMoreProblemsThanShown(t *testing.T) {
	_, _, err := ParsePolicy("p.yaml", []byte("domains:"+strings.Repeat("\n- a_b", 300)), nil)
	if problems := err.(PolicyErrors); len(problems) != maxProblems+1 || !strings.Contains(problems[maxProblems].String(), "and 200 more") {
		t.Errorf("%d problems, the last %v", len(problems), problems[len(problems)-1])
	}
}

func TestPolicyBounds(t *testing.T) {
	f := func(word, text string) {
		t.Helper()
		if _, _, err := ParsePolicy("p.yaml", []byte(text), nil); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("want %q, got %.300v", word, err)
		}
	}
	f("more than 1024 entries", "domains:"+strings.Repeat("\n- a.example", 1025))
	f("more than 64 entries", "peers: {a: {tls: [a.example"+strings.Repeat(", a.example", 64)+"]}}")
	f("bytes; at most 1024", "routes:\n- reject: {code: 403, reason: "+strings.Repeat("x", 1025)+"}")
	f("more than 16777216 bytes", strings.Repeat("#", maxPolicyFile+1))
	f("not UTF-8", "domains: [\xff]")
	// Aliases of aliases: 9 lists of 9, each entry the list before, are 9^9 values.
	bomb := "x: &x0 [a, a, a, a, a, a, a, a, a]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("x%d: &x%d [%s]\n", i, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i), 9), ", "))
	}
	begun := time.Now()
	f("is no key here", bomb+"domains: *x9\n")
	if _, _, err := ParsePolicy("p.yaml", []byte("domains: &a [*a]"), nil); err == nil {
		t.Error("a list that holds itself is accepted")
	}
	if d := time.Since(begun); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
}

// A later route that can never match is refused; one that can is not.
func TestUnreachableRoutes(t *testing.T) {
	const head = "peers: {a: {tls: a.example}, b: {tls: b.example}}\nregions: {r: +49, s: +48}\nschedules: {x: {}, y: {hours: Mon}}\n"
	f := func(unreachable bool, first, second string) {
		t.Helper()
		_, _, err := ParsePolicy("p.yaml", []byte(head+"routes:\n- {name: first, match: "+first+", reject: 403}\n- {name: second, match: "+second+", reject: 404}\n"), nil)
		if (err != nil) != unreachable {
			t.Errorf("%s, then %s: %v", first, second, err)
		} else if err != nil && !strings.Contains(err.Error(), `p.yaml:6:3: route "second" can never match: "first" in line 5`) {
			t.Error(err)
		}
	}
	for _, same := range []string{
		"{}", "{method: INVITE}", "{method: [INVITE, BYE]}", "{peer: any}", "{peer: none}", "{peer: [a, b]}", "{peer: [a, none]}", "{source: 10.0.0.0/8}", "{transport: [udp, tcp]}", "{schedule: x}", "{outside: [x, y]}",
		"{uri: {scheme: tel}}", "{uri: {ours: true}}", "{uri: {host: [a.example, '*.b.example']}}", "{uri: {user: [a, b*]}}", "{uri: {number: [+49, =112]}}", "{uri: {region: r}}", "{from: {user: a}}", "{to: {user: a}}",
	} {
		f(true, same, same)
		f(true, "{}", same)
		if same != "{}" {
			f(false, same, "{}")
		}
	}
	for wide, narrow := range map[string]string{
		"{method: [INVITE, BYE]}": "{method: BYE}", "{peer: any}": "{peer: [a, b]}", "{peer: [a, b]}": "{peer: b}", "{peer: [a, none]}": "{peer: none}", "{source: [10.0.0.0/8, '::/0']}": "{source: [10.1.0.0/16, '2001:db8::/32']}",
		"{schedule: [x, y]}": "{schedule: y}", "{outside: x}": "{outside: [x, y]}", "{uri: {host: '*.example'}}": "{uri: {host: [a.example, '*.b.example']}}", "{uri: {host: '*'}}": "{uri: {host: ['*.b.example', c]}}",
		"{uri: {user: a*}}": "{uri: {user: [ab, ab*]}}", "{uri: {user: '*a'}}": "{uri: {user: ['ba', '*ba']}}", "{uri: {number: +49}}": "{uri: {number: [+4930, =+49301, +4930..+4939]}}", "{uri: {number: +493..+495}}": "{uri: {number: [+4931, +4940..+4950]}}",
		"{uri: {number: =110..112}}": "{uri: {number: =111}}", "{uri: {region: [r, s]}}": "{uri: {region: s}, method: INVITE}", "{uri: {ours: false}}": "{uri: {ours: false, user: a}}",
	} {
		f(true, wide, narrow)
		f(false, narrow, wide)
	}
	for one, other := range map[string]string{
		"{method: INVITE}": "{method: BYE}", "{peer: any}": "{peer: none}", "{peer: a}": "{peer: [a, none]}", "{uri: {user: a*}}": "{uri: {user: '*a'}}", "{uri: {number: +49}}": "{uri: {region: r}}", "{from: {user: a}}": "{to: {user: a}}",
		"{uri: {number: =+49}}": "{uri: {number: +49}}", "{uri: {ours: true}}": "{uri: {ours: false}}", "{uri: {host: '*.a.example'}}": "{uri: {host: a.example}}", "{schedule: x}": "{outside: x}",
	} {
		f(false, one, other)
	}
	// A relay never takes what is ours, so it hides nothing of that.
	if _, _, err := ParsePolicy("p.yaml", []byte("routes:\n- {relay: true, match: {source: 127.0.0.1}}\n- {match: {uri: {ours: true}}, reject: 404}\n- {match: {source: 127.0.0.1}, reject: 404}"), nil); err != nil {
		t.Error(err)
	}
}

func TestScheduleOpen(t *testing.T) {
	f := func(schedule, at string, want bool) {
		t.Helper()
		p := policy(t, "schedules: {s: "+schedule+"}\nroutes: [{match: {schedule: s}, reject: 403}]")
		when, err := time.Parse("2006-01-02 15:04 -0700", at)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Schedules[0].Open(when); got != want {
			t.Errorf("%s at %s (%v): %v", schedule, at, when.In(p.Schedules[0].Zone), got)
		}
	}
	const office = "{zone: Europe/Berlin, hours: [Mon-Fri 08:00-18:00], holidays: [12-24..12-26, 2026-04-06]}"
	f(office, "2026-04-07 08:00 +0200", true) // a Tuesday
	f(office, "2026-04-07 07:59 +0200", false)
	f(office, "2026-04-07 17:59 +0200", true)
	f(office, "2026-04-07 18:00 +0200", false)
	f(office, "2026-04-07 06:00 +0000", true) // summer time
	f(office, "2026-02-03 06:30 +0000", false)
	f(office, "2026-02-03 07:30 +0000", true)
	f(office, "2026-04-06 12:00 +0200", false) // Easter Monday
	f(office, "2026-04-11 12:00 +0200", false) // Saturday
	f(office, "2026-12-25 12:00 +0100", false)
	f(office, "2026-12-28 12:00 +0100", true)
	const night = "{hours: [Mon-Thu 22:00-06:00], holidays: [2026-04-07]}"
	f(night, "2026-04-06 23:00 +0000", true)  // Monday
	f(night, "2026-04-07 05:59 +0000", true)  // Monday's night, although Tuesday is a holiday
	f(night, "2026-04-07 06:00 +0000", false) // over
	f(night, "2026-04-07 23:00 +0000", false) // the holiday's night
	f(night, "2026-04-08 03:00 +0000", false)
	f(night, "2026-04-10 03:00 +0000", true) // Thursday's night
	f(night, "2026-04-10 23:00 +0000", false)
	f(night, "2026-04-06 03:00 +0000", false) // Sunday has none
	f("{}", "2026-04-06 03:00 +0000", true)
	f("{holidays: 04-06}", "2026-04-06 03:00 +0000", false)
	f("{holidays: 12-30..01-02}", "2027-01-01 03:00 +0000", false)
	f("{holidays: 12-30..01-02}", "2027-01-03 03:00 +0000", true)
	f("{holidays: 2026-12-30..2027-01-02}", "2028-01-01 03:00 +0000", true)
	f("{hours: Sun}", "2026-04-05 23:59 +0000", true)
	f("{hours: Sun}", "2026-04-06 00:00 +0000", false)
}

func TestPolicyWarnings(t *testing.T) {
	f := func(text string, words ...string) {
		t.Helper()
		_, warnings, err := ParsePolicy("p.yaml", []byte(text), nil)
		if err != nil || len(warnings) != len(words) {
			t.Fatalf("%s\n%v, %q", text, err, warnings)
		}
		for i, w := range words {
			if !strings.Contains(warnings[i], w) {
				t.Errorf("%q lacks %q", warnings[i], w)
			}
		}
	}
	f(oneGroup, "p.yaml:1: nothing uses g of gateways")
	f("schedules: {s: {}}", "p.yaml:1: nothing uses s of schedules")
	f(oneGroup+"routes:\n- {gateway: g}", `p.yaml:3: route "route 1" sends on what anybody asks for`)
	f(oneGroup + "routes:\n- {match: {uri: {ours: true}}, gateway: g}")
	f("gateways: {g: {members: 'sip:192.0.2.1', timeout: 2s, failover: 503, overflow: reject}}\nroutes: [{match: {source: 10.0.0.1}, gateway: g}]", "408", "no member has a limit")
	f("overload: {rates: {addresses: 0.0.0.0/0, requests-per-second: 10, burst: 5}}", "less than one second")
}

// With the flags at hand, what they and the file say is checked against each other.
func TestPolicyAgainstFlags(t *testing.T) {
	dir := t.TempDir()
	f := func(text string, args []string, words ...string) {
		t.Helper()
		file := filepath.Join(dir, "policy.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load(append(args, "--policy="+file))
		if words == nil && (err != nil || len(c.Policy.Routes) == 0) {
			t.Errorf("%s\n%v", text, err)
		} else if words != nil {
			refused(t, err, append(words, file+":")...)
		}
	}
	to := func(hop string) string { return "routes: [{next-hop: '" + hop + "', match: {uri: {ours: true}}}]" }
	f(to("sip:127.0.0.1"), nil, "own listener udp:127.0.0.1:5060")
	f(to("sip:127.0.0.1:5070"), nil)
	f(to("sip:192.0.2.1;transport=tcp"), nil, "no --listen tcp:")
	f(to("sip:192.0.2.1;transport=tcp"), []string{"--listen=tcp:127.0.0.1:5060"})
	f(to("sips:gw.example"), nil, "no --listen tls:")
	f("gateways: {g: {members: 'sip:127.0.0.1'}}\nroutes: [{match: {source: 10.0.0.1}, gateway: g}]", nil, "own listener")
	f("gateways: {g: {members: ['sip:192.0.2.1', 'sip:192.0.2.2']}}\nroutes: [{match: {source: 10.0.0.1}, gateway: g}]", []string{"--mode=stateless"}, "cannot be stateless")
	f("gateways: {g: {members: ['sip:192.0.2.1', 'sip:192.0.2.2']}}\nroutes: [{match: {source: 10.0.0.1}, gateway: g, mode: stateful}]", []string{"--mode=stateless"}, "no request has state")
	f("peers: {a: {addresses: 192.0.2.1, limits: {calls: 1}}}", []string{"--mode=stateless"}, "cannot count calls")
	// Beside other problems.
	_, err := load([]string{"--t1=fast", "--policy=testdata/mistakes.yaml"})
	refused(t, err, "--t1", "testdata/mistakes.yaml:", "did you mean")
}

// Every key is in the schema and says there what it is for.
func TestSchemaHasEveryKey(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal(PolicySchema(), &s); err != nil {
		t.Fatal(err)
	}
	defs := s["$defs"].(map[string]any)
	n := 0
	var walk func(def map[string]any, ty reflect.Type)
	seen := map[reflect.Type]bool{}
	walk = func(def map[string]any, ty reflect.Type) {
		if seen[ty] {
			return
		}
		seen[ty] = true
		if forms, ok := def["anyOf"].([]any); ok {
			def = forms[0].(map[string]any)
		}
		properties, _ := def["properties"].(map[string]any)
		if len(properties) != len(keysOf(ty)) || def["additionalProperties"] != false {
			t.Errorf("%v: %d properties for %d keys, additional ones %v", ty, len(properties), len(keysOf(ty)), def["additionalProperties"])
		}
		for _, key := range keysOf(ty) {
			p, _ := properties[key].(map[string]any)
			if d, _ := p["description"].(string); !strings.HasSuffix(d, ".") {
				t.Errorf("%v.%s has the description %q", ty, key, d)
			}
			n++
			f, _ := fieldByKey(ty, key)
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if d, ok := defs[inner.Name()].(map[string]any); ok && inner.Kind() == reflect.Struct {
				walk(d, inner)
			}
			switch f.Type.Kind() {
			case reflect.Int:
				if least, most := splitRange(f.Tag.Get("range")); least == "" || most == "" {
					t.Errorf("%v.%s has no bounds", ty, key)
				}
			case reflect.Slice:
				if f.Tag.Get("most") == "" && f.Type != reflect.TypeFor[Headers]() {
					t.Errorf("%v.%s has no bound", ty, key)
				}
			}
		}
	}
	walk(s, reflect.TypeFor[Policy]())
	if n < 80 {
		t.Errorf("only %d keys were seen", n)
	}
}

// Every example is right by the schema; what has a wrong key or type is not.
func TestExamplesFitSchema(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal(PolicySchema(), &s); err != nil {
		t.Fatal(err)
	}
	fits := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return fitsSchema(s, s, v, "")
	}
	for _, file := range examples(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := fits(string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, wrong := range []string{
		"domain: [a.example]", "domains: {a: b}", "peers: [a]", "peers: {1a: {tls: a.example}}", "peers: {a: {tls: a.example, limits: {calls: many}}}", "gateways: {g: {members: [{url: 'sip:a'}]}}",
		"gateways: {g: {members: 'sip:a', select: sometimes}}", "gateways: {g: {members: 'sip:a', timeout: 2}}", "gateways: {g: {members: 'sip:a', failover: [5x3]}}", "routes: [{match: {method: 5}}]", "routes: [{relay: 1}]",
		"gateways: {g: {members: 192.0.2.1}}", "gateways: {g: {members: 'sip:a', tries: 17}}", "routes: [{reject: 200}]", "numbers: {country: {kode: 49}}", "regions: {r: abc}", "routes: [{match: {transport: sctp}}]",
	} {
		if fits(wrong) == nil {
			t.Errorf("the schema takes %s", wrong)
		}
	}
}

// fitsSchema checks v by the keywords that our schema uses, and refuses a schema that uses others.
func fitsSchema(root, s map[string]any, v any, path string) error {
	for _, k := range slices.Sorted(maps.Keys(s)) {
		x := s[k]
		wrong := func() error { return fmt.Errorf("%s: %v is not as %s %v wants", path, v, k, x) }
		switch k {
		case "$schema", "$defs", "title", "description", "examples":
		case "$ref":
			def := root["$defs"].(map[string]any)[strings.TrimPrefix(x.(string), "#/$defs/")].(map[string]any)
			if err := fitsSchema(root, def, v, path); err != nil {
				return err
			}
		case "type":
			var is string
			switch v.(type) {
			case string, time.Time: // to editors, which read YAML 1.2, a date is a text
				is = "string"
			case int:
				if is = "integer"; x == "number" {
					is = "number"
				}
			case float64:
				is = "number"
			case bool:
				is = "boolean"
			case []any:
				is = "array"
			case map[string]any, map[any]any:
				is = "object"
			}
			if is != x {
				return wrong()
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(x.(string)).MatchString(text) {
				return wrong()
			}
		case "enum":
			if !slices.Contains(x.([]any), v) {
				return wrong()
			}
		case "minimum", "maximum":
			if n, ok := v.(int); ok && (k == "minimum" && float64(n) < x.(float64) || k == "maximum" && float64(n) > x.(float64)) {
				return wrong()
			}
		case "maxItems", "maxProperties":
			if n := reflect.ValueOf(v); (n.Kind() == reflect.Slice || n.Kind() == reflect.Map) && float64(n.Len()) > x.(float64) {
				return wrong()
			}
		case "anyOf", "oneOf":
			fit, errs := 0, ""
			for _, form := range x.([]any) {
				if err := fitsSchema(root, form.(map[string]any), v, path); err == nil {
					fit++
				} else {
					errs += "; " + err.Error()
				}
			}
			if fit == 0 || k == "oneOf" && fit > 1 {
				return fmt.Errorf("%s: %v fits %d of %s%s", path, v, fit, k, errs)
			}
		case "items":
			list, _ := v.([]any)
			for i, e := range list {
				if err := fitsSchema(root, x.(map[string]any), e, path+"["+strconv.Itoa(i)+"]"); err != nil {
					return err
				}
			}
		case "properties", "additionalProperties", "propertyNames":
			object, _ := v.(map[string]any)
			for key, e := range object {
				properties, _ := s["properties"].(map[string]any)
				p, known := properties[key].(map[string]any)
				switch more := x.(type) {
				case bool:
					if !known && !more {
						return fmt.Errorf("%s has no key %q", path, key)
					}
					continue
				case map[string]any:
					if k == "additionalProperties" && !known {
						p = more
					} else if k == "propertyNames" {
						p, e = more, key
					}
				}
				if p != nil {
					if err := fitsSchema(root, p, e, path+"."+key); err != nil {
						return err
					}
				}
			}
		default:
			return fmt.Errorf("%s: the schema uses %s, which this test does not know", path, k)
		}
	}
	return nil
}

// Whatever a file looks like, it is either accepted and describable, or every problem has a place in it.
func TestAnyPolicy(t *testing.T) {
	var texts []string
	for _, file := range append(examples(t), "testdata/mistakes.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	words := strings.FieldsFunc(strings.Join(texts, " "), func(r rune) bool { return strings.ContainsRune(" \n,[]{}", r) })
	slices.Sort(words)
	words = append(slices.Compact(words), "", "*", "&a", "*a", "{}", "[]", "~", "!!int x", "\"", "'", "- ", ": ", "\t", "\x00", "|", "=", "+")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom(texts).Draw(t, "text")
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			i := rapid.IntRange(0, len(text)).Draw(t, "at")
			j := min(len(text), i+rapid.IntRange(0, 12).Draw(t, "cut"))
			text = text[:i] + rapid.SampledFrom(words).Draw(t, "put") + text[j:]
		}
		p, _, err := ParsePolicy("p.yaml", []byte(text), nil)
		if err == nil {
			var b strings.Builder
			p.Describe(&b)
			checkFrozen(t, p)
			return
		}
		lines := strings.Count(text, "\n") + 1
		for _, x := range err.(PolicyErrors) {
			if x.Line > lines || x.Line == 0 && !strings.Contains(x.Message, "more problems") || x.Column < 1 && x.Line > 0 || x.Message == "" {
				t.Fatalf("%q\n%+v", text, x)
			}
		}
	})
}

// checkFrozen: what those who compile an accepted policy may rely on.
func checkFrozen(t *rapid.T, p *Policy) {
	for _, r := range p.Routes {
		n := 0
		for _, set := range []bool{r.Gateway != nil, r.NextHop != nil, r.Relay, r.Redirect != nil, r.Reject != nil, r.RedirectServer != nil} {
			if set {
				n++
			}
		}
		if n != 1 || r.Name == "" || r.Line == 0 || r.Relay && (r.Match.URI.Ours == nil || *r.Match.URI.Ours) {
			t.Fatalf("%+v", r)
		}
		if r.Gateway != nil && p.Gateways[r.Gateway.Index].Name != r.Gateway.Name {
			t.Fatalf("%+v", r)
		}
		for _, u := range []*URIMatch{&r.Match.URI, &r.Match.From, &r.Match.To} {
			for _, x := range u.Regions {
				if p.Regions[x.Index].Name != x.Name {
					t.Fatalf("%+v", r)
				}
			}
			for _, x := range u.Numbers {
				checkPattern(t, x)
			}
		}
	}
	for _, r := range p.Regions {
		for _, x := range r.Patterns {
			checkPattern(t, x)
		}
	}
	for _, g := range p.Gateways {
		if len(g.Members) == 0 || g.Unavailable.Code < 400 || !slices.Contains(g.Select.words(), string(g.Select)) || g.Probe != nil && (g.Probe.Every <= 0 || g.Probe.Timeout <= 0 || g.Probe.Up < 1 || g.Probe.Down < 1) {
			t.Fatalf("%+v", g)
		}
		for _, m := range g.Members {
			if m.Name == "" || m.URI.Host == "" || m.Weight < 1 || m.URI.Transport > transport.TLS {
				t.Fatalf("%+v", m)
			}
		}
	}
	for _, s := range p.Schedules {
		if s.Zone == nil {
			t.Fatalf("%+v", s)
		}
		s.Open(time.Unix(0, 0))
	}
}

func checkPattern(t *rapid.T, p NumberPattern) {
	if len(p.Low) != len(p.High) || p.Low > p.High || !isNumber(p.Low) || !isNumber(p.High) {
		t.Fatalf("%+v", p)
	}
}
