package parser

import (
	"strings"
	"testing"
)

const invite = "INVITE sip:bob@biloxi.com:5080;transport=tcp SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP pc33.atlanta.com:5066;branch=z9hG4bK776asdhds;rport, SIP/2.0/TCP 10.0.0.1\r\n" +
	"Max-Forwards: 70\r\n" +
	"To: Bob <sip:bob@biloxi.com>\r\n" +
	"From: \"Alice \\\"A\\\" <x>\" <sip:alice@atlanta.com>;tag=1928301774\r\n" +
	"Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n" +
	"CSeq: 314159 INVITE\r\n" +
	"Route: <sip:p1.example.com;lr>, <sip:p2.example.com:5070;lr>\r\n" +
	"m: <sip:alice@[2001:db8::1]:5070;ob>;expires=60\r\n" +
	"X-Other : a\r\n b\r\n" +
	"l: 4\r\n\r\nbodytrailing"

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %q, want %q", what, got, want)
	}
}

func TestParseInvite(t *testing.T) {
	b := []byte(invite)
	var m Message
	if err := Parse(b, &m); err.Code != ErrNone {
		t.Fatal(err)
	}
	s := func(s Span) string { return string(s.In(b)) }
	want(t, "method", s(m.MethodName), "INVITE")
	want(t, "RURI", s(m.RequestURI), "sip:bob@biloxi.com:5080;transport=tcp")
	want(t, "RURI host", s(m.URI.Host), "biloxi.com")
	want(t, "RURI user", s(m.URI.User), "bob")
	want(t, "RURI transport", s(m.URI.Transport), "tcp")
	want(t, "version", s(m.Version), "SIP/2.0")
	want(t, "Via", s(m.Via.Value), "SIP/2.0/UDP pc33.atlanta.com:5066;branch=z9hG4bK776asdhds;rport")
	want(t, "Via transport", s(m.Via.Transport), "UDP")
	want(t, "Via host", s(m.Via.Host), "pc33.atlanta.com")
	want(t, "branch", s(m.Via.Branch), "z9hG4bK776asdhds")
	want(t, "rport name", s(m.Via.RPortName), "rport")
	want(t, "From", s(m.From.Addr), "sip:alice@atlanta.com")
	want(t, "From display", s(m.From.Display), `"Alice \"A\" <x>"`)
	want(t, "From tag", s(m.From.Tag), "1928301774")
	want(t, "From user", s(m.From.URI.User), "alice")
	want(t, "To", s(m.To.Addr), "sip:bob@biloxi.com")
	want(t, "To display", s(m.To.Display), "Bob")
	want(t, "To tag", s(m.To.Tag), "")
	want(t, "Call-ID", s(m.CallID), "a84b4c76e66710@pc33.atlanta.com")
	want(t, "Route", s(m.Route.URI.Whole), "sip:p1.example.com;lr")
	want(t, "Route value", s(m.Route.Value), "<sip:p1.example.com;lr>")
	want(t, "Contact host", s(m.Contact.URI.Host), "[2001:db8::1]")
	want(t, "Contact URI params", s(m.Contact.URI.Params), ";ob")
	want(t, "Contact params", s(m.Contact.Params), ";expires=60")
	want(t, "body", string(b[m.BodyOff:m.BodyOff+m.BodyLen]), "body")
	want(t, "end", string(b[m.Len:]), "trailing")
	want(t, "empty line", string(b[m.HeaderEnd:m.BodyOff]), "\r\n")
	if m.URI.Port != 5080 || m.Via.Port != 5066 || m.CSeq.Number != 314159 || m.CSeq.Method != MethodInvite || m.MaxForwards != 70 ||
		m.ContentLength != 4 || !m.Via.HasRPort || !m.Via.Cookie || m.Via.LastValue || !m.Route.URI.HasLR || m.Contact.URI.Port != 5070 {
		t.Errorf("numbers: %+v", m.Via)
	}
	if m.HeaderCount() != 10 {
		t.Errorf("%d headers", m.HeaderCount())
	}
	want(t, "folded", s(m.HeaderAt(8).Value), "a\r\n b")
	want(t, "name", s(m.HeaderAt(8).Name), "X-Other")
	want(t, "line", s(m.LineSpan(8)), "X-Other : a\r\n b\r\n")
	if m.First(HeaderContact) != 7 || m.Lines(HeaderContact) != 1 || m.Has(HeaderExpires) {
		t.Error("index of Contact")
	}
	var got []string
	for v := m.Values(b, HeaderRoute); ; {
		x, _, ok := v.Next()
		if !ok {
			break
		}
		got = append(got, s(x))
	}
	want(t, "Route values", strings.Join(got, "|"), "<sip:p1.example.com;lr>|<sip:p2.example.com:5070;lr>")
	if v, ok := Param(b, m.Contact.Params, "EXPIRES"); !ok || s(v) != "60" {
		t.Error("expires")
	}
}

func TestEdits(t *testing.T) {
	b := []byte(invite)
	var m Message
	Parse(b, &m)
	var e Edits
	e.Begin()
	e.Text = append(e.Text, "Via: SIP/2.0/UDP me;branch=z9hG4bKx\r\n"...)
	e.Insert(int(m.LineSpan(0).Off))
	e.Cut(int(m.LineSpan(6).Off), int(m.LineSpan(6).Len))
	e.Begin()
	e.Text = append(e.Text, "sip:carol@example.net"...)
	e.Replace(int(m.RequestURI.Off), int(m.RequestURI.Len))
	out := e.AppendTo(nil, b, int(m.Len))
	if again := AppendEdited(nil, b, int(m.Len), e.Marshal(nil)); string(again) != string(out) {
		t.Errorf("marshalled form renders %q", again)
	}
	var m2 Message
	if err := Parse(out, &m2); err.Code != ErrNone {
		t.Fatal(err)
	}
	want(t, "RURI", string(m2.RequestURI.In(out)), "sip:carol@example.net")
	want(t, "branch", string(m2.Via.Branch.In(out)), "z9hG4bKx")
	if m2.Has(HeaderRoute) || int(m2.Len) != len(out) {
		t.Error("Route or trailing octets are left")
	}
	e.Reset()
	want(t, "no edits", string(e.AppendTo(nil, b, int(m.Len))), invite[:m.Len])
}

func TestFramerEveryByte(t *testing.T) {
	stream := "\r\n\r\n" + invite[:len(invite)-len("trailing")] + invite[:len(invite)-len("trailing")]
	var f Framer
	var m Message
	from, messages := 0, 0
	for to := 0; to <= len(stream); to++ {
		for {
			n, frame := f.Next([]byte(stream[from:to]), &m)
			if frame == FrameBroken {
				t.Fatal(m.Err)
			}
			if frame == FrameMessage {
				messages++
			}
			if frame == FrameMore {
				break
			}
			from += n
		}
	}
	if messages != 2 || from != len(stream) {
		t.Errorf("%d messages, %d of %d bytes", messages, from, len(stream))
	}
}
