package parser

import (
	"strings"
	"testing"
)

// uri parses s, which has to be one.
func uri(t *testing.T, s string) ([]byte, *URI) {
	t.Helper()
	b := []byte(s)
	var u URI
	if err := ParseURI(b, Span{0, uint16(len(b))}, &u); err.Code != ErrNone {
		t.Fatalf("%s: %v", s, err)
	}
	return b, &u
}

func TestParseURI(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		b, u := uri(t, in)
		if got := dumpURI(b, u); got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
	f("sip:a@b", `sip "sip:a@b" user "a" host "b"`)
	f("sip:b", `sip "sip:b" host "b"`)
	f("SIPS:a:s3cret@b:5061", `sips "SIPS:a:s3cret@b:5061" user "a" password "s3cret" host "b" port "5061" = 5061`)
	f("sip:a:@b", `sip "sip:a:@b" user "a" password "" host "b"`)
	f("sip:+1-201-555-0123;phone-context=x@b;user=phone", `sip "sip:+1-201-555-0123;phone-context=x@b;user=phone" user "+1-201-555-0123;phone-context=x" host "b" params ";user=phone" [user = phone] user-param "phone"`)
	f("sip:[2001:db8::1]:5070;Transport=TCP;LR", `sip "sip:[2001:db8::1]:5070;Transport=TCP;LR" host "[2001:db8::1]" port "5070" = 5070 params ";Transport=TCP;LR" [Transport = TCP] [LR] transport "TCP" lr`)
	f("sip:b;maddr=[::1];ttl=15;method=INVITE", `sip "sip:b;maddr=[::1];ttl=15;method=INVITE" host "b" params ";maddr=[::1];ttl=15;method=INVITE" [maddr = [::1]] [ttl = 15] [method = INVITE] maddr "[::1]"`)
	f("sip:b;%6cr;%54ransport=udp", `sip "sip:b;%6cr;%54ransport=udp" host "b" params ";%6cr;%54ransport=udp" [%6cr] [%54ransport = udp] transport "udp" lr`)
	f("sip:b;lr=on?a=b&c=", `sip "sip:b;lr=on?a=b&c=" host "b" params ";lr=on" [lr = on] lr headers "a=b&c="`)
	f("sip:b:0", `sip "sip:b:0" host "b" port "0"`)
	f("sip:b:065535", `sip "sip:b:065535" host "b" port "065535" = 65535`)
	f("sip:a?b/c;d@e", `sip "sip:a?b/c;d@e" user "a?b/c;d" host "e"`)
	f("tel:+358-555-1234567;postd=pp22", `tel "tel:+358-555-1234567;postd=pp22" user "+358-555-1234567" params ";postd=pp22" [postd = pp22]`)
	f("TEL:7042;phone-context=example.com", `tel "TEL:7042;phone-context=example.com" user "7042" params ";phone-context=example.com" [phone-context = example.com]`)
	f("tel:*31#863-1234;phone-context=+1-914-555", `tel "tel:*31#863-1234;phone-context=+1-914-555" user "*31#863-1234" params ";phone-context=+1-914-555" [phone-context = +1-914-555]`)
	f("tel:112", `tel "tel:112" user "112"`)
	f("urn:service:sos.fire", `urn "urn:service:sos.fire"`)
	f("http://x", `other "http://x"`)
	f("a+b-c.d:e", `other "a+b-c.d:e"`)
	f("x:y", `other "x:y"`)
}

func TestParseURIFaults(t *testing.T) {
	for _, s := range []string{
		"", ":", "sip", "sip:", "sip:@b", "sip::p@b", "sip:a@", "sip:a@b@c", "sip:a@b:", "sip:a@b:x", "sip:a@b:65536", "sip:a@b:5060x",
		"sip:a@b:99999999999999999999999999", "sip:a b@c", "sip:a@b c", "sip:a@b;", "sip:a@b;;lr", "sip:a@b;=x", "sip:a@b;x y", "sip:a@b;x=\"y\"",
		"sip:a@[::1", "sip:a@[]", "sip:a@[::g]", "sip:a@::1]", "sip:a@b,c", "sip:<a@b>", "<sip:a@b>", "sip:a\x00@b", "sip:a@b\x00", "sip:a\\@b",
		"sip:a@b;transport=udp;transport=tcp", "sip:a@b;maddr=x;MADDR=y", "sip:a@b?x y", "sips:", "sips:@b", "1a:b", "-:b", "a_b:c", "x:", "x:<y>", "x:y z",
		"tel:", "tel:+", "tel:+abc", "tel:+1*", "tel:abc-x", "tel:-", "tel:+1 2", "tel:12;", "tel:12;;x=y", "tel:12?x", "sip:\u00e9", "sip:a@\u00e9", "urn:", "urn:a\x7f",
	} {
		u := URI{SchemeIs: SchemeSIP}
		if err := ParseURI([]byte(s), Span{0, uint16(len(s))}, &u); err.Code != ErrURI || int(err.Off) > len(s) || u != (URI{}) {
			t.Errorf("%q: %v %+v", s, err, u)
		}
	}
}

// RFC 3261 section 19.1.4: all of its examples.
func TestEqualURI(t *testing.T) {
	f := func(a, b string, want bool) {
		t.Helper()
		ab, au := uri(t, a)
		bb, bu := uri(t, b)
		if got := EqualURI(ab, au, bb, bu); got != want {
			t.Errorf("%s and %s: %v", a, b, got)
		}
		if got := EqualURI(bb, bu, ab, au); got != want {
			t.Errorf("%s and %s: %v", b, a, got)
		}
		if !EqualURI(ab, au, ab, au) {
			t.Errorf("%s is not itself", a)
		}
	}
	f("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true)
	f("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true)
	f("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true)
	f("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true)
	f("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true)
	f("sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true)

	f("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false)
	f("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false)
	f("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false)
	f("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false)
	f("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false)
	f("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false)
	f("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false)

	// its rules, one by one
	f("sip:a@b", "sips:a@b", false)
	f("sip:a@b", "sip:b", false)
	f("sip:a@b", "sip:a:@b", false)
	f("sip:a:p@b", "sip:a:P@b", false)
	f("sip:a:%70@b", "sip:a:p@b", true)
	f("sip:a%3Bb@c", "sip:a;b@c", false) // reserved: not the same
	f("sip:a%3bb@c", "sip:a%3Bb@c", true)
	f("sip:a@b:5060", "sip:a@b:05060", true)
	f("sip:a@b;user=phone", "sip:a@b", false)
	f("sip:a@b;ttl=1", "sip:a@b", false)
	f("sip:a@b;method=INVITE", "sip:a@b", false)
	f("sip:a@b;maddr=c", "sip:a@b", false)
	f("sip:a@b;%6Daddr=c", "sip:a@b", false)
	f("sip:a@b;maddr=C", "sip:a@b;maddr=c", true)
	f("sip:a@b;x=1;y=2", "sip:a@b;y=2;z=3;x=1", true)
	f("sip:a@b;lr", "sip:a@b", true)
	f("sip:a@b?x=1&x=2", "sip:a@b?x=1", false)
	f("sip:a@b?x=1&x=2", "sip:a@b?x=2&x=1", true)
	f("sip:a@b?x=1&x=1&x=2", "sip:a@b?x=1&x=2&x=2", false)
	f("sip:a@[2001:DB8::1]", "sip:a@[2001:db8::1]", true)
	f("sip:%00@b", "sip:%00%00@b", false) // RFC 4475 section 3.1.1.4

	f("sip:a@b;x=1;x=2", "sip:a@b;x=2;x=1", true)
	f("sip:a@b;x=1;x=2", "sip:a@b;x=1", false)
	f("sip:a@b"+strings.Repeat(";x", 65), "sip:a@b"+strings.Repeat(";x", 65), true)
	f("sip:a@b"+strings.Repeat(";x", 65), "sip:a@b"+strings.Repeat(";x", 64)+";y", false)

	// RFC 3966 section 4
	f("tel:+1-201-555-0123", "tel:+12015550123", true)
	f("tel:+12015550123", "tel:12015550123", false)
	f("tel:+1(201)555.0123;a=1;b=2", "TEL:+12015550123;B=2;A=1", true)
	f("tel:+12015550123;a=1", "tel:+12015550123", false)
	f("tel:7042;phone-context=EXAMPLE.com", "tel:70-42;phone-context=example.com", true)
	f("tel:863-1234;phone-context=+1-914-555", "tel:8631234;phone-context=+1914555", true)
	f("tel:863-1234;phone-context=+1-914-555", "tel:8631234;phone-context=+1914556", false)
	f("tel:1;ext=22-33", "tel:1;ext=2233", true)
	f("tel:1", "sip:1@b", false)

	f("HTTP://x/Y", "http://x/Y", true)
	f("http://x/Y", "http://x/y", false)
	f("urn:service:sos", "URN:service:sos", true)
}

func TestEscape(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(AppendUnescaped(nil, []byte(in))); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("abc", "abc")
	f("%61b%63", "abc")
	f("value%25%34%31", "value%41") // once, not twice
	f("%Z%45", "%ZE")
	f("%", "%")
	f("%4", "%4")
	f("a%00b", "a\x00b")
	f("%e4%C3", "\xe4\xc3")

	g := func(set EscapeSet, in, want string) {
		t.Helper()
		if got := string(AppendEscaped(nil, []byte(in), set)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		if back := string(AppendUnescaped(nil, []byte(want))); back != in {
			t.Errorf("%q came back as %q", in, back)
		}
	}
	g(EscapeUser, "a b@c;d?e/f:g%\x00\xff", "a%20b%40c;d?e/f%3Ag%25%00%FF")
	g(EscapePassword, "a;b=c,d", "a%3Bb=c,d")
	g(EscapeParam, "a=b;c[1]:2", "a%3Db%3Bc[1]:2")
	g(EscapeHeader, "a=b&c?d", "a%3Db%26c?d")
}
