package policy

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sipedge/config"
	"sipedge/parser"
)

var (
	germany = &config.Country{ISO: "DE", Code: "49", National: "0", International: "00"}
	america = &config.Country{ISO: "US", Code: "1", National: "1", International: "011", MinDigits: 10, MaxDigits: 10}
	italy   = &config.Country{ISO: "IT", Code: "39", International: "00", MinDigits: 6, MaxDigits: 12}
	russia  = &config.Country{ISO: "RU", Code: "7", National: "8", International: "810"}
)

// readNumber reads the number of a URI.
func readNumber(t testing.TB, uri string, c *config.Country) (dialled, e164 string, ok bool) {
	t.Helper()
	var u parser.URI
	b := []byte(uri)
	if err := parser.ParseURI(b, parser.Span{Len: uint16(len(b))}, &u); err.Code != 0 {
		t.Fatalf("%s: %v", uri, err)
	}
	var n number
	ok = n.read(b, &u, c)
	return string(n.dialled.text()), string(n.e164.text()), ok
}

func TestNumbers(t *testing.T) {
	f := func(uri string, c *config.Country, dialled, e164 string) {
		t.Helper()
		d, e, ok := readNumber(t, uri, c)
		if d != dialled || e != e164 || ok != (dialled != "") {
			t.Errorf("%s: %q, %q, %v; want %q, %q", uri, d, e, ok, dialled, e164)
		}
	}
	none := ""
	// tel: RFC 3966, its own examples first
	f("tel:+1-201-555-0123", nil, "+12015550123", "+12015550123")
	f("tel:7042;phone-context=example.com", germany, "7042", none)
	f("tel:863-1234;phone-context=+1-914-555", america, "8631234", none)
	f("tel:+358-555-1234567;postd=pp22", nil, "+3585551234567", "+3585551234567")
	f("tel:(030)123.456-7", germany, "0301234567", "+49301234567")
	f("tel:0301234567;phone-context=+49", germany, "0301234567", "+49301234567")
	f("tel:0301234567;phone-context=+43", germany, "0301234567", none)
	f("tel:0301234567;phone-context=+4", germany, "0301234567", none)
	f("tel:0301234567", nil, "0301234567", none)
	f("tel:12ab", germany, none, none) // hexadecimal digits are no number of a plan
	f("tel:*21*030#", germany, "*21*030#", none)
	f("tel:+1234567890123456789012345678901", nil, "+1234567890123456789012345678901", "+1234567890123456789012345678901")
	f("tel:+123456789012345678901234567890123", nil, none, none) // too long
	// sip
	f("sip:+358-555-1234567;postd=pp22@foo.com;user=phone", nil, "+3585551234567", "+3585551234567")
	f("sip:+49-30-1@x", nil, "+49301", "+49301")
	f("sip:%2b4930@x", nil, "+4930", "+4930")
	f("sip:%23%33%31@x", germany, "#31", none)
	f("sip:1%2", nil, none, none) // without @ that is a host
	f("sip:030-1234567@x;user=phone", germany, "0301234567", "+49301234567")
	f("sip:030-1234567@x", germany, none, none) // a name may look like this
	f("sip:0301234567@x;USER=Phone", germany, "0301234567", "+49301234567")
	f("sip:0301234567:secret@x", germany, "0301234567", "+49301234567")
	f("sip:0301234567;phone-context=+49@x;user=phone", germany, "0301234567", "+49301234567")
	f("sip:0301234567;phone-context=pbx@x;user=phone", germany, "0301234567", none)
	f("sips:1000@x", germany, "1000", none)
	f("sip:bob@x", germany, none, none)
	f("sip:+@x", germany, none, none)
	f("sip:1+2@x", germany, none, none)
	f("sip:+12*3@x", germany, none, none)
	f("sip:x", germany, none, none)
	f("sip:bob@x;user=phone", germany, none, none)
	f("urn:service:sos", germany, none, none)
	// countries
	f("sip:00431234567@x", germany, "00431234567", "+431234567")
	f("sip:004312@x", germany, "004312", none) // too short to be one
	f("sip:0049301234567890123@x", germany, "0049301234567890123", none)
	f("sip:112@x", germany, "112", none)
	f("sip:301234567@x", germany, "301234567", none) // nobody dials so there
	f("sip:12125551234@x", america, "12125551234", "+12125551234")
	f("sip:2125551234@x", america, "2125551234", "+12125551234")
	f("sip:011493012345@x", america, "011493012345", "+493012345")
	f("sip:112@x", america, "112", none)
	f("sip:911@x", america, "911", none)
	f("sip:5551234@x", america, "5551234", none)
	f("sip:0612345678@x", italy, "0612345678", "+390612345678") // the zero stays there
	f("sip:112@x", italy, "112", none)
	f("sip:81049301234567@x", russia, "81049301234567", "+49301234567")
	f("sip:84951234567@x", russia, "84951234567", "+74951234567")
}

// slowNumber is readNumber with strings.
func slowNumber(scheme, user string, phone bool, c *config.Country) (dialled, e164 string) {
	user = strings.NewReplacer("%2B", "+", "%23", "#").Replace(user)
	user, context, _ := strings.Cut(user, ";phone-context=")
	if scheme == "tel" || phone || strings.HasPrefix(user, "+") {
		user = strings.NewReplacer("-", "", ".", "", "(", "", ")", "").Replace(user)
	}
	if !regexp.MustCompile(`^(\+[0-9]+|[0-9*#]+)$`).MatchString(user) || len(user) > maxDigits+1 {
		return "", ""
	}
	if user[0] == '+' {
		return user, user
	}
	if c == nil || context != "" && context != "+"+c.Code || strings.ContainsAny(user, "*#") {
		return user, ""
	}
	global := func(digits string) string {
		if len(digits) < minGlobal || len(digits) > maxGlobal {
			return ""
		}
		return "+" + digits
	}
	if rest, ok := strings.CutPrefix(user, c.International); ok && c.International != "" {
		return user, global(rest)
	}
	if rest, ok := strings.CutPrefix(user, c.National); ok && c.National != "" {
		if g := global(c.Code + rest); g != "" {
			return user, g
		}
	}
	if c.MinDigits > 0 && len(user) >= c.MinDigits && len(user) <= c.MaxDigits {
		return user, global(c.Code + user)
	}
	return user, ""
}

func TestNumbersAgainstStrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scheme := rapid.SampledFrom([]string{"tel", "sip", "sips"}).Draw(t, "scheme")
		user := rapid.StringMatching(`(\+|%2B|00|011|810|0|1|8)?[0-9]{1,16}([-.()]?[0-9*]{1,4}){0,3}`).Draw(t, "user")
		c := rapid.SampledFrom([]*config.Country{nil, germany, america, italy, russia}).Draw(t, "country")
		phone := false
		user += rapid.SampledFrom([]string{"", "", ";phone-context=+49", ";phone-context=+1", ";phone-context=a.b"}).Draw(t, "context")
		uri := scheme + ":" + user
		if scheme == "tel" {
			uri = strings.Replace(uri, "%2B", "+", 1)
			if strings.HasPrefix(uri, "tel:+") && strings.Contains(uri, "*") {
				return // no tel URI
			}
			uri = strings.ReplaceAll(uri, "*", "")
			user = uri[4:]
		} else {
			uri += "@example.com"
			if phone = rapid.Bool().Draw(t, "phone"); phone {
				uri += ";user=phone"
			}
		}
		var u parser.URI
		b := []byte(uri)
		if parser.ParseURI(b, parser.Span{Len: uint16(len(b))}, &u).Code != 0 {
			t.Fatalf("%s is no URI", uri)
		}
		var n number
		n.read(b, &u, c)
		wantD, wantE := slowNumber(scheme, user, phone, c)
		if d, e := string(n.dialled.text()), string(n.e164.text()); d != wantD || e != wantE {
			t.Fatalf("%s in %v: %q %q, want %q %q", uri, c, d, e, wantD, wantE)
		}
	})
}

// drawPattern draws a pattern of few different characters, so that many overlap.
func drawPattern(t *rapid.T) config.NumberPattern {
	draw := func(n int) (s string) {
		for range n {
			s += rapid.SampledFrom([]string{"0", "1", "2", "5", "9", "9", "*", "#"}).Draw(t, "digit")
		}
		return
	}
	n := rapid.IntRange(1, 5).Draw(t, "length")
	low, high := draw(n), draw(n)
	if rapid.Bool().Draw(t, "prefix") {
		high = low
	}
	if low > high {
		low, high = high, low
	}
	plus := rapid.SampledFrom([]string{"", "+"}).Draw(t, "plus")
	return config.NumberPattern{Low: plus + low, High: plus + high, Exact: rapid.Bool().Draw(t, "exact")}
}

// slowFind is what trie.find promises.
func slowFind(ps []config.NumberPattern, d string) (value, rank int) {
	for i, p := range ps {
		n := len(p.Low)
		if len(d) < n || p.Exact && len(d) > n || d[:n] < p.Low || d[:n] > p.High {
			continue
		}
		r := 2 * n
		if p.Exact {
			r++
		}
		if r > rank {
			value, rank = i, r
		}
	}
	return
}

func TestTrieAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := rapid.SliceOfN(rapid.Custom(drawPattern), 0, 12).Draw(t, "patterns")
		var tr trie
		for i := range ps {
			tr.add(&ps[i], uint32(i))
		}
		for range 20 {
			d := rapid.StringMatching(`\+?[012459*#]{0,7}`).Draw(t, "number")
			value, rank := tr.find([]byte(d))
			wantValue, wantRank := slowFind(ps, d)
			if int(value) != wantValue || rank != wantRank {
				t.Fatalf("%q in %v: %d (rank %d), want %d (%d)", d, ps, value, rank, wantValue, wantRank)
			}
		}
	})
}

// TestTrieIsSmall: ranges do not blow it up.
func TestTrieIsSmall(t *testing.T) {
	var tr trie
	tr.add(&config.NumberPattern{Low: "+10000000000001", High: "+99999999999998"}, 0)
	if len(tr.ends) > 400 {
		t.Errorf("%d ends for one range", len(tr.ends))
	}
	for i := range 100000 {
		s := fmt.Sprintf("+49%07d", i*77)
		tr.add(&config.NumberPattern{Low: s, High: s}, uint32(i))
	}
	if v, rank := tr.find([]byte("+490000077123")); v != 1 || rank != 20 {
		t.Errorf("%d, rank %d", v, rank)
	}
	if n := len(tr.nodes); n > 500000 {
		t.Errorf("%d nodes for 100,000 prefixes", n)
	}
}
