package parser

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// basic is a small request; with replaces one line of it, found by its name, or adds one.
var basic = []string{
	"OPTIONS sip:b@example.com SIP/2.0",
	"Via: SIP/2.0/UDP host:5060;branch=z9hG4bKx",
	"From: <sip:a@example.com>;tag=1",
	"To: <sip:b@example.com>",
	"Call-ID: c",
	"CSeq: 1 OPTIONS",
	"Max-Forwards: 70",
	"Content-Length: 0",
}

func with(changes ...string) []byte {
	lines := append([]string(nil), basic...)
change:
	for _, c := range changes {
		name, _, _ := strings.Cut(c, ":")
		if rest, ok := strings.CutPrefix(c, "-"); ok {
			for i, l := range lines {
				if strings.HasPrefix(l, rest+":") {
					lines = append(lines[:i], lines[i+1:]...)
					continue change
				}
			}
			panic("no " + rest)
		}
		if rest, ok := strings.CutPrefix(c, "+"); ok {
			lines = append(lines, rest)
			continue
		}
		for i, l := range lines {
			if i > 0 && strings.HasPrefix(l, name+":") {
				lines[i] = c
				continue change
			}
		}
		lines[0] = c
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// TestVerdicts has one fault at a time, and each its own verdict. With an answerable one, what an answer needs is there.
func TestVerdicts(t *testing.T) {
	f := func(want ErrorCode, b []byte) {
		t.Helper()
		var m Message
		for i := range 2 {
			if got := Parse(b, &m); got.Code != want || got != m.Err || int(got.Off) > len(b) {
				t.Errorf("run %d: %v, want %v; %.300q", i, got, want, b)
			}
		}
		if want.Class() == ClassAnswerable {
			if s := want.Status(); s < 400 || s > 599 {
				t.Errorf("%v is answered %d", want, s)
			}
			for id, code := range map[HeaderID]ErrorCode{HeaderFrom: ErrNoFrom, HeaderTo: ErrNoTo, HeaderCallID: ErrNoCallID, HeaderCSeq: ErrNoCSeq, HeaderVia: ErrNoVia} {
				if !m.Has(id) && code != want {
					t.Errorf("%v: no %s for the answer", want, id)
				}
			}
			if m.Via.Host.Empty() || m.Via.Transport.Empty() || m.Via.Value.Empty() {
				t.Errorf("%v: no Via for the answer: %+v", want, m.Via)
			}
		} else if want != ErrNone && want.Status() != 0 {
			t.Errorf("%v cannot be answered, with %d or otherwise", want, want.Status())
		}
		agree(t, b)
	}
	f(ErrNone, with())

	// start line
	f(ErrEmpty, nil)
	f(ErrEmpty, []byte("\r\n"))
	f(ErrEmpty, []byte("\r\n\r\n\r\n"))
	f(ErrStartLine, []byte("\r\n\r\nINVITE sip:a@b SIP/2.0\r\n\r\n"))
	f(ErrStartLine, []byte("\n\r\n"))
	f(ErrStartLine, with("GET / HTTP/1.1"))
	f(ErrStartLine, with("OPTIONS"))
	f(ErrStartLine, with("OPTIONS sip:b@example.com"))
	f(ErrStartLine, with(" OPTIONS sip:b@example.com SIP/2.0"))
	f(ErrStartLine, with("OPT(IONS sip:b@example.com SIP/2.0"))
	f(ErrStartLine, with("OPTIONS\tsip:b@example.com SIP/2.0"))
	f(ErrStartLine, with("OPTIONS sip:b@example.com SIP/2"))
	f(ErrStartLine, with("OPTIONS sip:b@example.com SIP/.0"))
	f(ErrStartLine, with("OPTIONS sip:b@example.com SIP/2.x"))
	f(ErrVersion, with("OPTIONS sip:b@example.com SIP/3.0"))
	f(ErrVersion, with("OPTIONS sip:b@example.com SIP/2.00"))
	f(ErrVersion, with("OPTIONS sip:b@example.com SIP/99999999999999999999999999.0"))
	f(ErrNone, with("OPTIONS sip:b@example.com sip/2.0"))
	f(ErrRequestLine, with("OPTIONS  sip:b@example.com SIP/2.0"))
	f(ErrRequestLine, with("OPTIONS sip:b@example.com  SIP/2.0"))
	f(ErrRequestLine, with("OPTIONS sip:b@example.com SIP/2.0 "))
	f(ErrRequestLine, with("OPTIONS  SIP/2.0"))
	f(ErrRequestLine, with("OPTIONS SIP/2.0"))
	f(ErrRequestURI, with("OPTIONS sip:b@exa mple.com SIP/2.0"))
	f(ErrRequestURI, with("OPTIONS sip:b@example.com:70000 SIP/2.0"))
	f(ErrRequestURI, with("OPTIONS sip:b@[::1 SIP/2.0"))
	f(ErrRequestURI, with("OPTIONS sip:b@example.com?Subject=x SIP/2.0"))
	f(ErrRequestURI, with("OPTIONS *  SIP/2.0"[:9]+" SIP/2.0"))
	f(ErrNone, with("OPTIONS tel:+15550100 SIP/2.0"))
	f(ErrNone, with("OPTIONS urn:service:sos SIP/2.0"))
	f(ErrNone, with("OPTIONS unknown:what.ever SIP/2.0"))
	f(ErrHeaderLine, with("OPTIONS sip:b@example.com SIP/2.0\r\n folded"))
	f(ErrStartLineControl, with("OPTIONS sip:b@exam\x00ple.com SIP/2.0"))
	f(ErrStartLineControl, with("OPTIONS sip:b@exam\rple.com SIP/2.0"))
	f(ErrStartLine, with("OPTIONS sip:b@exam\nple.com SIP/2.0"))
	f(ErrStartLineControl, with("OPTIONS sip:b@example.com SIP/2.0\nX: bare LF ends the start line"))

	// status line
	f(ErrNone, with("SIP/2.0 200 OK", "-Max-Forwards"))
	f(ErrNone, with("SIP/2.0 200"))
	f(ErrNone, with("sip/2.0 699 \xff\xfe"))
	for _, bad := range []string{"099", "700", "20", "2000", "-200", "2x0", "4294967496", "", "999999999999999999999999"} {
		f(ErrStatus, with("SIP/2.0 "+bad+" OK"))
	}
	f(ErrResponseVersion, with("SIP/3.0 200 OK"))
	f(ErrStartLine, with("SIP/2.0"))
	f(ErrStartLine, with("SIP/2.0\t200 OK"))
	f(ErrStartLineControl, with("SIP/2.0 200 O\x00K"))

	// header lines
	f(ErrNoHeaderEnd, []byte("OPTIONS sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP host\r\n"))
	f(ErrNoHeaderEnd, bytes.ReplaceAll(with(), []byte("\r\n"), []byte("\n")))
	f(ErrNoHeaderEnd, bytes.ReplaceAll(with(), []byte("\r\n"), []byte("\r")))
	f(ErrHeaderLine, with("+no colon here"))
	f(ErrHeaderLine, with("+: no name"))
	f(ErrHeaderLine, with("+na me: x"))
	f(ErrHeaderLine, with("+n(me: x"))
	f(ErrHeaderLine, with("+X\r\n : colon on the next line"))
	f(ErrNone, with("+X:"))
	f(ErrNone, with("+X \t :\t \t"))
	f(ErrNone, with("+X: \xff\xfe\x80 not UTF-8 \xc3"))
	f(ErrNone, with("+X: a\r\n\tb\r\n c"))
	f(ErrNone, with("+X:\r\n \r\n \r\n b"))
	f(ErrNone, with("+X: \x01\x02\x7f"))

	// control characters, by where they stand
	for _, c := range []struct {
		s    string
		code ErrorCode
	}{{"\r", ErrBareCR}, {"\x00", ErrNUL}} {
		f(c.code, with("+Subject: a"+c.s+"b"))
		f(c.code, with("+X: a"+c.s))
		f(c.code, with("+X: a\r\n "+c.s+"b"))
		f(c.code, with("+X:\r\n"+" "+c.s))
		f(c.code, with("+X: \"\\\\"+c.s+"\""))
		f(ErrCopiedControl, with("Via: SIP/2.0/UDP host;branch=z9hG4bKx;p=\""+c.s+"\""))
		f(ErrCopiedControl, with("Call-ID: a"+c.s+"b"))
		f(ErrCopiedControl, with("From: <sip:a@example.com>;tag=1;x=\""+c.s+"\""))
		f(ErrCopiedControl, with("+Record-Route: <sip:a;lr>;x=\""+c.s+"\""))
		f(ErrCopiedControl, with("+Timestamp: 1"+c.s))
	}
	f(ErrCopiedControl, with("From: \"\\\r\" <sip:a@example.com>;tag=1"))
	f(ErrNone, with("From: \"\\\x00\" <sip:a@example.com>;tag=1"))
	f(ErrNone, with("+X: \"a\" \"b\\\x00\""))
	f(ErrNUL, with("+X: \"a\" b\\\x00"))
	f(ErrBareLF, with("+Subject: a\nX: b"))
	f(ErrHeaderLine, with("+Subject: a\nb"))
	f(ErrBareLF, with("+Subject: a\n b"))
	f(ErrBareLF, with("Call-ID: c\nX: y"))
	f(ErrBareCR, with("+X: a\r\r"))
	f(ErrCopiedControl, with("Via: SIP/2.0/UDP host\nX: y", "Call-ID: a\rb")) // the worse one counts
	f(ErrCopiedControl, with("+Subject: \x00", "+Record-Route: <sip:a;lr>;x=\"\n \r\""))
	f(ErrCopiedControl, with("+Record-Route: <sip:a;lr>\n ;x"))
	f(ErrBareLF, with("+Subject: <sip:a;lr>\n ;x"))
	f(ErrBareLF, append(with("-Content-Length", "-Max-Forwards")[:len(with("-Content-Length", "-Max-Forwards"))-4], "\n\r\n"...))

	// mandatory headers
	f(ErrNoVia, with("-Via"))
	f(ErrNoFrom, with("-From"))
	f(ErrNoTo, with("-To"))
	f(ErrNoCallID, with("-Call-ID"))
	f(ErrNoCSeq, with("-CSeq"))
	f(ErrNone, with("-Max-Forwards"))
	f(ErrNone, with("-Content-Length"))

	// single headers
	for _, l := range []string{"From: <sip:a@example.com>;tag=1", "t: <sip:b@example.com>", "i: c", "CSeq: 1 OPTIONS", "Max-Forwards: 70"} {
		f(ErrDuplicate, with("+"+l))
	}
	for _, l := range []string{"Content-Type: a/b", "Expires: 1", "Min-Expires: 1", "Max-Breadth: 1", "x: 1800", "Min-SE: 90"} {
		f(ErrNone, with("+"+l))
		f(ErrDuplicate, with("+"+l, "+"+l))
	}
	f(ErrDuplicateContentLength, with("+l: 0"))
	f(ErrDuplicateContentLength, with("+Content-Length: 5"))
	f(ErrNone, with("+Subject: a", "+s: b", "+Via: SIP/2.0/UDP x", "+Route: <sip:x;lr>", "+Route: <sip:x;lr>"))

	// Via
	for _, v := range []string{"", ",", "SIP/2.0/UDP", "SIP/2.0 host", "SIP/2.0/UDP ", "SIP/2.0/UDP :5060", "SIP/2.0/UDP [::1", "SIP/2.0/UDP []",
		"SIP/2.0/UDP [::x]", "SIP/2.0/UDP host:", "SIP/2.0/UDP host:x", "SIP/2.0/UDP host:65536", "SIP/2.0/UDP host:-1", "SIP/2.0/UDP/X host",
		"/2.0/UDP host", "SIP//UDP host", "SIP/2.0/ host", "SIP/2.0/UDP;branch=x", "SIP/2.0/UDP host:99999999999999999999999", "\"SIP\"/2.0/UDP host"} {
		f(ErrVia, with("Via: "+v))
	}
	for _, v := range []string{"host x", "host;", "host;;", "host;=x", "host;branch=x;branch=y", "host;rport;rport", "host;received=a;received=b", "host;received;received=b",
		"host;maddr=a;maddr=b", "host;ttl=256", "host;ttl=-1", "host;ttl", "host;ttl=1;ttl=1", "host;x=\"y", "host;x=\"y\"z", "host;branch=a b", "host;x<y", "host:5060 5061", "host>", "[::1]x"} {
		f(ErrViaParams, with("Via: SIP/2.0/UDP "+v))
	}
	for _, v := range []string{"host", "host:5060", "[2001:db8::1]:5060", "host ; rport ;branch = x", "host:5060;x=\"a;b,c\\\"\";y", "host, SIP/2.0/TCP x",
		"host;branch=a=b/c@d", "host;branch=z9hG4bK(:)", "host;received=2001:db8::1", "host;received=[2001:db8::1]", "host;branch=\xff", "host : 5060", "host;hidden", "host;ttl=007"} {
		f(ErrNone, with("Via: SIP/2.0/UDP "+v))
	}
	f(ErrNone, with("Via: SIP / 2.0 / UDP \r\n host"))
	f(ErrNone, with("Via: sip/2.0/udp host"))
	f(ErrNone, with("Via: SIP/2.0/UDP a,"+strings.Repeat("garbage ", 10))) // only the topmost is looked at

	// From, To
	for _, h := range []struct {
		name string
		code ErrorCode
	}{{"From", ErrFrom}, {"To", ErrTo}} {
		for _, v := range []string{"", "x", "<", "<>", "<sip:>", "<sip:a@b", "sip:a@b>", "\"x <sip:a@b>", "\"x\" sip:a@b", "x, y <sip:a@b>", "x;y <sip:a@b>",
			"<sip:a@b>, <sip:c@d>", "sip:a@b, sip:c@d", "<sip:a@b>x", "<sip:a@b>;", "<sip:a@b>;tag=1;tag=2", "<sip:a@b>;tag;tag=2", "<sip:a@b>;tag=;tag=2", "<sip:a@b>;tag=\"", "<sip:a@b >", "< sip:a@b>", "*",
			"<sip:a@b>;tag=a b", "<sip:a@b><sip:c@d>", "\"\\\"<sip:a@b>"} {
			f(h.code, with(h.name+": "+v))
		}
		for _, v := range []string{"sip:a@b", "<sip:a@b>", "x y <sip:a@b>;tag=1", "x<sip:a@b>", "\"<>;,\\\"\" <sip:a@b;x>;y", "tel:1", "<urn:x:y>", "<other:x>",
			"J. (Joe) D\u00f6 <sip:a@b>", "sip:a@b ; tag = x", "<sip:a@b>\r\n ;tag=x", "http://x.y/z;tag=1", "*x <sip:a@b>"} {
			f(ErrNone, with(h.name+": "+v))
		}
	}

	// Route, Contact
	f(ErrRoute, with("+Route: sip:"))
	f(ErrRoute, with("+Route: <sip:a@b"))
	f(ErrRoute, with("+Route:"))
	f(ErrNone, with("+Route: <sip:a;lr>, garbage"))
	f(ErrContact, with("+Contact: "))
	f(ErrContact, with("+m: <sip:a@b>;;"))
	f(ErrNone, with("+Contact: *"))
	f(ErrNone, with("+m: <sip:a@b>;q=0.5;expires=60;+sip.instance=\"<urn:uuid:1>\";reg-id=1, <sip:c@d>"))

	// Call-ID, CSeq, Max-Forwards
	f(ErrCallID, with("Call-ID:"))
	for _, v := range []string{"", "OPTIONS", "1", "1OPTIONS", "-1 OPTIONS", "+1 OPTIONS", "1 OPT IONS", "1 OPTIONS x", "0x1 OPTIONS", "1. OPTIONS", "1 ,"} {
		f(ErrCSeq, with("CSeq: "+v))
	}
	f(ErrNone, with("CSeq: 4294967295 OPTIONS"))
	f(ErrNone, with("CSeq: 00000000000000000000000000000001\t\r\n OPTIONS"))
	f(ErrCSeqNumber, with("CSeq: 4294967296 OPTIONS"))
	f(ErrCSeqNumber, with("CSeq: 18446744073709551617 OPTIONS"))
	f(ErrCSeqMethod, with("CSeq: 1 INVITE"))
	f(ErrCSeqMethod, with("CSeq: 1 options"))
	f(ErrCSeqMethod, with("CSeq: 1 OPTIONSX"))
	f(ErrNone, with("SIP/2.0 200 OK", "CSeq: 1 INVITE"))
	for _, v := range []string{"", "x", "-1", "256", "1 2", "99999999999999999999999999999999", "0x10", "1,2"} {
		f(ErrMaxForwards, with("Max-Forwards: "+v))
	}
	f(ErrNone, with("Max-Forwards: 255"))
	f(ErrNone, with("Max-Forwards: 0000"))

	// Content-Length
	for _, v := range []string{"", "x", "-1", "-999", "+0", "0x0", "0 0", "0,0", "1e1", "0\r\n 0"} {
		f(ErrContentLength, with("Content-Length: "+v))
	}
	for _, v := range []string{"2147483648", "4294967295", "4294967296", "9223372036854775808", "18446744073709551616", "18446744073709551617", strings.Repeat("9", 1000)} {
		f(ErrContentLengthRange, with("Content-Length: "+v))
	}
	f(ErrBodyTruncated, with("Content-Length: 1"))
	f(ErrBodyTruncated, with("Content-Length: 2147483647"))
	f(ErrBodyTruncated, with("Content-Length: 1000"))
	f(ErrNone, with("Content-Length: 00000000"))
	f(ErrNone, append(with("Content-Length: 5"), "12345"...))
	f(ErrNone, append(with("Content-Length: 5"), "12345\x00\r\n more"...))
	f(ErrNone, append(with("Content-Length: 5"), "\r\x00\n\r\r"...))
}

// Limits are verdicts: up to them all is read, past them nothing is cut.
func TestLimits(t *testing.T) {
	var m Message
	want := func(code ErrorCode, b []byte) {
		t.Helper()
		if err := Parse(b, &m); err.Code != code {
			t.Errorf("%v, want %v", err, code)
		}
		agree(t, b)
	}
	// header lines
	lines := func(n int) []byte {
		var more []string
		for i := len(basic) - 1; i < n; i++ {
			more = append(more, fmt.Sprintf("+X-%d: %d", i, i))
		}
		return with(more...)
	}
	want(ErrNone, lines(MaxHeaderLines))
	if h := m.HeaderAt(MaxHeaderLines - 1); m.HeaderCount() != MaxHeaderLines || string(h.Name.In(lines(MaxHeaderLines))) != fmt.Sprintf("X-%d", MaxHeaderLines-1) {
		t.Errorf("%d lines", m.HeaderCount())
	}
	want(ErrHeaderLines, lines(MaxHeaderLines+1))
	want(ErrHeaderLines, lines(3*MaxHeaderLines))

	// folds
	want(ErrNone, with("+X: a"+strings.Repeat("\r\n b", MaxLineEnds-len(basic)-2)))
	want(ErrHeaderLines, with("+X: a"+strings.Repeat("\r\n b", MaxLineEnds-len(basic)-1)))
	want(ErrHeaderLines, with("+X: a"+strings.Repeat("\r\n b", 3*MaxLineEnds)))
	want(ErrHeaderLines, bytes.Repeat([]byte("\n"), MaxLineEnds+1))
	want(ErrNoHeaderEnd, bytes.Repeat([]byte("\n"), MaxLineEnds))

	// size of the header section, and offsets up to its end
	sized := func(n int) []byte {
		room := n - len(with("+X: ", "+l: 3", "-Content-Length"))
		b := with("+X: "+strings.Repeat("x", room), "+l: 3", "-Content-Length")
		if len(b) != n {
			t.Fatalf("%d bytes", len(b))
		}
		return b
	}
	for n := MaxHeaderSection - 70; n <= MaxHeaderSection; n++ {
		b := append(sized(n), "abcdef"...)
		if err := Parse(b, &m); err.Code != ErrNone || int(m.BodyOff) != n || m.BodyLen != 3 || int(m.Len) != n+3 || int(m.HeaderEnd) != n-2 || m.ContentLength != 3 {
			t.Fatalf("%d bytes: %v, body at %d", n, err, m.BodyOff)
		}
		if s := m.LineSpan(m.HeaderCount() - 1); string(s.In(b)) != "l: 3\r\n" {
			t.Fatalf("last line is %q", s.In(b))
		}
	}
	agree(t, append(sized(MaxHeaderSection), "abcdef"...))
	want(ErrHeaderSectionSize, append(sized(MaxHeaderSection+1), "abc"...))
	want(ErrHeaderSectionSize, bytes.Repeat([]byte("x"), MaxHeaderSection+1))
	want(ErrNoHeaderEnd, bytes.Repeat([]byte("x"), MaxHeaderSection))
	want(ErrEmpty, bytes.Repeat([]byte("\r\n"), MaxHeaderSection))

	// a long topmost Via whose branch starts beyond what one step of the scan sees
	long := strings.Repeat("b", 40000)
	want(ErrNone, with("Via: SIP/2.0/UDP "+strings.Repeat("h", 5000)+";x="+strings.Repeat("y", 300)+";branch="+long))
	if m.Via.Host.Len != 5000 || int(m.Via.Branch.Len) != len(long) {
		t.Errorf("host %d, branch %d", m.Via.Host.Len, m.Via.Branch.Len)
	}

	// URIs
	want(ErrNone, with("OPTIONS sip:"+strings.Repeat("a", MaxURI-4)+" SIP/2.0"))
	want(ErrRequestURISize, with("OPTIONS sip:"+strings.Repeat("a", MaxURI-3)+" SIP/2.0"))
	want(ErrNone, with("From: <tel:"+strings.Repeat("1", MaxURI-4)+">"))
	want(ErrFrom, with("From: <tel:"+strings.Repeat("1", MaxURI-3)+">"))
	want(ErrTo, with("To: x:"+strings.Repeat("1", MaxURI)))

	// many Vias, in one line and in many
	want(ErrNone, with("Via: "+strings.TrimSuffix(strings.Repeat("SIP/2.0/UDP h;branch=z9hG4bKx, ", 1500), ", ")))
	b := with("Via: " + strings.TrimSuffix(strings.Repeat("SIP/2.0/UDP h;branch=z9hG4bKx, ", 1500), ", "))
	n := 0
	for v := m.Values(b, HeaderVia); ; n++ {
		if _, _, ok := v.Next(); !ok {
			break
		}
	}
	if n != 1500 {
		t.Errorf("%d Vias", n)
	}
}

// TestErrorTexts holds that each code has words, a class and a status of its class.
func TestErrorTexts(t *testing.T) {
	seen := map[string]bool{}
	for c := ErrNone; c < numErrorCodes; c++ {
		s := c.String()
		if s == "" || strings.HasPrefix(s, "fault ") || seen[s] {
			t.Errorf("code %d is %q", c, s)
		}
		seen[s] = true
		if (c.Status() == 0) != (c.Class() != ClassAnswerable) {
			t.Errorf("%v: class %d, status %d", c, c.Class(), c.Status())
		}
	}
	if s := (Error{ErrVia, 7}).String(); s != "malformed Via at offset 7" {
		t.Error(s)
	}
	if (Error{}).String() != "fine" || ErrorCode(250).String() != "fault 250" || (Error{Code: ErrVersion}).Class() != ClassAnswerable {
		t.Error("the rest")
	}
}
