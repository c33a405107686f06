package fuzz

import (
	"bytes"
	"math"
	"testing"

	"sipedge/parser"
)

// trimmed tells whether b has no linear white space at its ends, as header values have none.
func trimmed(b []byte) bool { return len(bytes.Trim(b, " \t\r\n")) == len(b) }

// all is b as a span; nothing longer than a header section is one.
func all(b []byte) (parser.Span, bool) {
	return parser.Span{Len: uint16(len(b))}, len(b) <= math.MaxUint16
}

// FuzzURI claims: parts lie in the URI, in order; put together again they are the URI; a URI equals itself, its upper-case scheme, and its unescaped
// self; its parameters are found by name; escaping is undone by unescaping.
func FuzzURI(f *testing.F) {
	for _, s := range []string{
		"sip:alice@atlanta.com", "sip:alice:secretword@atlanta.com;transport=tcp", "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
		"sip:+1-212-555-1212:1234@gateway.com;user=phone", "sips:1212@gateway.com", "sip:alice@192.0.2.4", "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
		"sip:alice;day=tuesday@atlanta.com", "sip:[2001:db8::1]:5060;lr;maddr=[::1]", "tel:+1-201-555-0123;ext=5", "tel:7042;phone-context=example.com",
		"urn:service:sos.police", "soap.beep://192.0.2.103:3002", "sip:%00%00@x;%6C%72", "sip:a@b;x=[y]/:&+$;z",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := all(b)
		if !ok {
			return
		}
		escapes(t, b)
		var u parser.URI
		if err := parser.ParseURI(b, s, &u); err.Code != parser.ErrNone {
			if int(err.Off) > len(b) || u != (parser.URI{}) {
				t.Fatalf("%v %+v", err, u)
			}
			return
		}
		checkURI(t, b, &u, 0, len(b))
		if u.Whole != s {
			t.Fatalf("%v of %v", u.Whole, s)
		}
		if !parser.EqualURI(b, &u, b, &u) {
			t.Fatal("it is not itself")
		}
		if u.SchemeIs == parser.SchemeSIP || u.SchemeIs == parser.SchemeSIPS {
			again := append([]byte(nil), b[:bytes.IndexByte(b, ':')+1]...)
			if u.HasUser {
				again = append(again, u.User.In(b)...)
				if u.Password.Off != 0 {
					again = append(append(again, ':'), u.Password.In(b)...)
				}
				again = append(again, '@')
			}
			again = append(again, u.Host.In(b)...)
			if !u.PortSpan.Empty() {
				again = append(append(again, ':'), u.PortSpan.In(b)...)
			}
			again = append(again, u.Params.In(b)...)
			if u.Headers.Off != 0 {
				again = append(append(again, '?'), u.Headers.In(b)...)
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("put together: %q", again)
			}
		}
		rebuilt := []byte(nil)
		for w := parser.URIParamsOf(b, u.Params); ; {
			name, value, has, ok := w.Next()
			if !ok {
				if w.Err.Code != parser.ErrNone {
					t.Fatal(w.Err)
				}
				break
			}
			rebuilt = append(append(rebuilt, ';'), name.In(b)...)
			if has {
				rebuilt = append(append(rebuilt, '='), value.In(b)...)
			}
			if _, found := parser.URIParam(b, u.Params, string(name.In(b))); !found {
				t.Fatalf("%q is not found", name.In(b))
			}
		}
		if !bytes.Equal(rebuilt, u.Params.In(b)) {
			t.Fatalf("parameters %q of %q", rebuilt, u.Params.In(b))
		}

		// The same URI in angle brackets, and in a Request-URI, is the same.
		var a parser.Address
		wrapped := append(append([]byte("<"), b...), '>')
		if ws, ok := all(wrapped); ok {
			if err := parser.ParseAddress(wrapped, ws, &a); err.Code != parser.ErrNone || !bytes.Equal(a.URI.Whole.In(wrapped), b) {
				t.Fatalf("in angle brackets: %v", err)
			}
			if !parser.EqualURI(b, &u, wrapped, &a.URI) {
				t.Fatal("in angle brackets it is another")
			}
		}
		var m parser.Message
		request := append(append([]byte("X "), b...), " SIP/2.0\r\n\r\n"...)
		if len(request) <= parser.MaxHeaderSection {
			parser.Parse(request, &m)
			if !bytes.Equal(m.URI.Whole.In(request), b) || !bytes.Equal(m.RequestURI.In(request), b) || !parser.EqualURI(b, &u, request, &m.URI) {
				t.Fatalf("as a Request-URI: %v %q", m.Err, m.RequestURI.In(request))
			}
		}
	})
}

// FuzzVia claims: parts lie in the value, in order; a value reads the same alone and as the topmost of a message.
func FuzzVia(f *testing.F) {
	for _, s := range []string{
		"SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds", "SIP/2.0/UDP [2001:db8::9:1]:5060;received=2001:db8::9:255;rport=5062;branch=z9hG4bKas3-111",
		"SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw", "SIP/2.0/TLS a:5061;rport;maddr=b;ttl=16;x=\"y;z\"", "SIP/2.0/UDP 192.0.2.15;;,;,,", "sip/2.0/udp h ; branch = z",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := all(b)
		if !ok {
			return
		}
		var v parser.Via
		err := parser.ParseVia(b, s, &v)
		if int(err.Off) > len(b) {
			t.Fatal(err)
		}
		checkVia(t, b, &v, 0, len(b))
		if err.Code == parser.ErrNone {
			if trimmed(b) && v.Value != s || v.Host.Empty() || v.Transport.Empty() || !v.LastValue {
				t.Fatalf("%+v", v)
			}
			if v.HasBranch {
				if p, ok := parser.Param(b, parser.Span{Off: uint16(v.Host.End()), Len: s.Len - uint16(v.Host.End())}, "branch"); ok && p != v.Branch {
					t.Fatalf("branch is %v and %v", v.Branch, p)
				}
			}
		}
		inMessage(t, "Via: ", b, func(whole []byte, m *parser.Message, at int) {
			if !m.Has(parser.HeaderVia) || m.Lines(parser.HeaderVia) != 1 {
				return
			}
			got := m.Via
			if err.Code == parser.ErrNone {
				if m.Err.Code == parser.ErrVia || m.Err.Code == parser.ErrViaParams || !bytes.Equal(got.Value.In(whole), b) ||
					!bytes.Equal(got.Branch.In(whole), v.Branch.In(b)) || !bytes.Equal(got.Host.In(whole), v.Host.In(b)) || got.Port != v.Port || got.TTL != v.TTL ||
					got.HasRPort != v.HasRPort || got.Cookie != v.Cookie || !bytes.Equal(got.Received.In(whole), v.Received.In(b)) || int(got.Host.Off) != at+int(v.Host.Off) {
					t.Fatalf("alone %+v, in a message %v %+v", v, m.Err, got)
				}
			}
		})
	})
}

// inMessage puts a header value into a message and shows the message to check, unless the value is more than one line there or has LWS at its ends.
func inMessage(t *testing.T, name string, value []byte, check func(whole []byte, m *parser.Message, at int)) {
	t.Helper()
	if len(value) == 0 || len(value) > 60000 || !trimmed(value) {
		return
	}
	for i, c := range value {
		if c == 0 || c == '\n' && (i == 0 || value[i-1] != '\r' || value[i+1] != ' ' && value[i+1] != '\t') || c == '\r' && value[i+1] != '\n' {
			return
		}
	}
	start := "OPTIONS sip:a@b SIP/2.0\r\n" + name
	whole := append(append([]byte(start), value...), "\r\n\r\n"...)
	var m parser.Message
	parser.Parse(whole, &m)
	if m.Err.Code == parser.ErrHeaderLines {
		return
	}
	check(whole, &m, len(start))
}

// FuzzAddress claims the same for name-addr and addr-spec, in From, where one stands, and in Contact, where a list does.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"sip:a@b;tag=1", "<sip:a@b;lr>;tag=1", "\"A. <\\\">\" <sip:a@b>;tag=x ; y = \"z;\"", "A B<sip:a@b>", "*", "Caf\u00e9 <tel:+1>", "<urn:x:y>;expires=60;q=0.5;+sip.instance=\"<urn:uuid:1>\"",
		"sip:a@b?x=y", "http://x", "<sip:a@b> , <sip:c@d>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := all(b)
		if !ok {
			return
		}
		var a parser.Address
		err := parser.ParseAddress(b, s, &a)
		if err.Code != parser.ErrNone {
			if int(err.Off) > len(b) || a != (parser.Address{}) {
				t.Fatalf("%v %+v", err, a)
			}
			return
		}
		checkAddress(t, b, &a, 0, len(b))
		if a.Star != (string(b) == "*") || !a.Star && (trimmed(b) && a.Value != s || a.Addr != a.URI.Whole || a.Addr.Empty()) {
			t.Fatalf("%+v", a)
		}
		if tag, ok := parser.Param(b, a.Params, "tag"); trimmed(b) && (ok != (a.Tag.Off != 0) || tag != a.Tag) {
			t.Fatalf("tag is %v and %v", a.Tag, tag)
		}
		rest := parser.ParamsOf(b, a.Params)
		for {
			if _, _, _, ok := rest.Next(); !ok {
				break
			}
		}
		if rest.Err.Code != parser.ErrNone {
			t.Fatalf("parameters %q: %v", a.Params.In(b), rest.Err)
		}
		for _, h := range []string{"From: ", "Contact: "} {
			inMessage(t, h, b, func(whole []byte, m *parser.Message, at int) {
				got, id := &m.From, parser.HeaderFrom
				if h == "Contact: " {
					got, id = &m.Contact, parser.HeaderContact
				} else if a.Star {
					return
				}
				if m.Lines(id) != 1 || !bytes.Equal(got.Value.In(whole), b) || !bytes.Equal(got.Tag.In(whole), a.Tag.In(b)) || got.URI.SchemeIs != a.URI.SchemeIs ||
					!bytes.Equal(got.URI.Host.In(whole), a.URI.Host.In(b)) || got.URI.Port != a.URI.Port || got.Star != a.Star || got.Angle != a.Angle {
					t.Fatalf("alone %+v, in a message %+v", a, got)
				}
			})
		}
	})
}

// escapes claims that escaping is undone by unescaping, and leaves only characters that may stand there.
func escapes(t *testing.T, b []byte) {
	t.Helper()
	for set := parser.EscapeUser; set <= parser.EscapeHeader; set <<= 1 {
		escaped := parser.AppendEscaped(nil, b, set)
		if back := parser.AppendUnescaped(nil, escaped); !bytes.Equal(back, b) {
			t.Fatalf("%q became %q", b, back)
		}
		if len(b) == 0 || len(b) > 1000 {
			continue
		}
		prefix, suffix := "sip:", "@h"
		switch set {
		case parser.EscapePassword:
			prefix = "sip:u:"
		case parser.EscapeParam:
			prefix, suffix = "sip:h;x=", ""
		case parser.EscapeHeader:
			prefix, suffix = "sip:h?x=", ""
		}
		uri := append(append([]byte(prefix), escaped...), suffix...)
		var u parser.URI
		if err := parser.ParseURI(uri, parser.Span{Len: uint16(len(uri))}, &u); err.Code != parser.ErrNone {
			t.Fatalf("%q: %v", uri, err)
		}
		if got := (map[parser.EscapeSet]parser.Span{parser.EscapeUser: u.User, parser.EscapePassword: u.Password, parser.EscapeParam: u.Params, parser.EscapeHeader: u.Headers})[set]; !bytes.HasSuffix(got.In(uri), escaped) {
			t.Fatalf("%q: %q", uri, got.In(uri))
		}
	}
	if len(parser.AppendUnescaped(nil, b)) > len(b) {
		t.Fatal("unescaped it is longer")
	}
}
