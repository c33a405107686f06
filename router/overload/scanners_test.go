package overload

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sipedge/parser"
)

func request(lines ...string) []byte {
	return []byte("OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n" +
		"To: <sip:100@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func TestScanners(t *testing.T) {
	f := func(rules []Pattern, want bool, lines ...string) {
		t.Helper()
		g := guard(t, Rules{Scanners: rules})
		b := request(lines...)
		var m parser.Message
		parser.Parse(b, &m)
		if got := g.Scanner(&m, b); got != want {
			t.Errorf("%v: %v, want %v", lines, got, want)
		}
	}
	f(DefaultScanners, true, "User-Agent: friendly-scanner")
	f(DefaultScanners, true, "User-Agent: x Friendly-SCANNER/1.0")
	f(DefaultScanners, true, "user-agent:sipcli/v1.8")
	f([]Pattern{{Header: "From", Text: "sipvicious"}}, true, "User-Agent: x", `f: "sipvicious"<sip:100@1.1.1.1>;tag=1`)
	f(DefaultScanners, true, "User-Agent: x", "User-Agent: sundayddr")
	f(DefaultScanners, false, "User-Agent: Grandstream GXP2170")
	f(DefaultScanners, false, "User-Agent: friendly-scanne")
	f(DefaultScanners, false, "Subject: friendly-scanner")
	f(DefaultScanners, false)
	f(nil, false, "User-Agent: friendly-scanner")
	f([]Pattern{{Header: "server", Text: "ab"}, {Header: "Subject", Text: "CD"}}, true, "s: xxcdx")
	f([]Pattern{{Text: "abcd"}, {Text: "bce"}, {Text: "cf"}, {Text: "abcdefgh"}}, true, "User-Agent: ababce")
	f([]Pattern{{Text: "abcd"}, {Text: "bc"}}, true, "User-Agent: abcx")
	f([]Pattern{{Text: "a"}, {Text: "abc"}}, true, "User-Agent: za")
}

// The automaton against the plain way.
func TestPatternSetAgreesWithContains(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("abcAB-\xff")), 1, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(text, 1, 12).Draw(t, "patterns")
		value := rapid.StringOfN(rapid.RuneFrom([]rune("abcABC-\xff ")), 0, 40, -1).Draw(t, "value")
		var lower []string
		want := false
		for _, p := range patterns {
			lower = append(lower, strings.ToLower(p))
			want = want || strings.Contains(strings.ToLower(value), strings.ToLower(p))
		}
		p := newPatternSet(lower)
		if got := p.in([]byte(value)); got != want {
			t.Fatalf("%q in %q: %v, want %v", patterns, value, got, want)
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	g := guard(b, Rules{Scanners: DefaultScanners})
	msg := request("From: \"Alice Liddell\" <sip:alice@example.com>;tag=abcdefgh", "User-Agent: Grandstream GXP2170 1.0.11.39")
	var m parser.Message
	parser.Parse(msg, &m)
	b.ReportAllocs()
	for b.Loop() {
		if g.Scanner(&m, msg) {
			b.Fatal("a scanner")
		}
	}
}
