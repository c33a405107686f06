package fuzz

import (
	"bytes"
	"slices"
	"testing"

	"sipedge/parser"
)

// plainEdit and plainRender are the plain twin of parser.Edits.
type plainEdit struct {
	at, n int
	text  []byte
}

func plainRender(src []byte, edits []plainEdit) (out []byte) {
	slices.SortStableFunc(edits, func(a, b plainEdit) int { return a.at - b.at })
	gone := make([]bool, len(src)+1)
	for _, e := range edits {
		for i := e.at; i < min(e.at+e.n, len(src)); i++ {
			gone[i] = true
		}
	}
	for i := range len(src) + 1 {
		for _, e := range edits {
			if min(e.at, len(src)) == i {
				out = append(out, e.text...)
			}
		}
		if i < len(src) && !gone[i] {
			out = append(out, src[i])
		}
	}
	return out
}

// FuzzEdits claims: any edits render as the plain twin does, straight and from their marshalled form, and that form comes back as it was; bytes that
// are no such form do no harm.
func FuzzEdits(f *testing.F) {
	f.Add([]byte("INVITE sip:a@b SIP/2.0\r\n\r\n"), []byte{7, 0, 2, 9, 5, 0, 0, 3, 2, 1})
	f.Add([]byte("abcdef"), []byte{1, 0, 2, 0, 1, 0, 2, 3, 0, 0, 5, 5, 9, 9, 9, 1})
	f.Add([]byte("abcdef"), []byte{2, 1, 1, 1, 'x', 2, 0, 2, 'y', 'z'})
	f.Add([]byte("abc"), []byte{0})
	f.Add([]byte("abc"), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, src, script []byte) {
		if len(src) > 4096 {
			return
		}
		unmarshalled(t, src, script)
		var e parser.Edits
		var plain []plainEdit
		for len(script) >= 4 && len(plain) < parser.MaxEdits {
			at, n, text := int(script[0])|int(script[1]&3)<<8, int(script[2]), bytes.Repeat([]byte{'x' + script[3]%3}, int(script[3])%40)
			script = script[4:]
			switch {
			case len(text) == 0:
				e.Cut(at, n)
			case n == 0:
				e.Begin()
				e.Text = append(e.Text, text...)
				e.Insert(at)
			default:
				e.Begin()
				e.Text = append(e.Text, text...)
				e.Replace(at, n)
			}
			plain = append(plain, plainEdit{at, n, text})
		}
		if e.Err() || e.Len() != len(plain) {
			t.Fatalf("%d of %d edits", e.Len(), len(plain))
		}
		want := plainRender(src, plain)
		prefix := []byte("kept")
		check := func(how string, got []byte) {
			t.Helper()
			if !bytes.Equal(got, append(bytes.Clone(prefix), want...)) {
				t.Fatalf("%s: %q, want %q", how, got[len(prefix):], want)
			}
		}
		check("straight", e.AppendTo(bytes.Clone(prefix), src, len(src)))
		marshalled := e.Marshal(nil)
		check("marshalled", parser.AppendEdited(bytes.Clone(prefix), src, len(src), marshalled))
		var back parser.Edits
		if !back.Unmarshal(marshalled) {
			t.Fatal("what Marshal wrote cannot be read")
		}
		check("unmarshalled", back.AppendTo(bytes.Clone(prefix), src, len(src)))
		if again := back.Marshal(nil); !bytes.Equal(again, marshalled) {
			t.Fatalf("%x became %x", marshalled, again)
		}
	})
}

// unmarshalled claims that bytes which Marshal did not write do no harm, and that those which are taken render alike both ways.
func unmarshalled(t *testing.T, src, b []byte) {
	t.Helper()
	var e parser.Edits
	out := parser.AppendEdited(nil, src, len(src), b)
	if e.Unmarshal(b) {
		if straight := e.AppendTo(nil, src, len(src)); !bytes.Equal(straight, out) {
			t.Fatalf("%q and %q", straight, out)
		}
	} else if e.Len() != 0 {
		t.Fatal("edits are left")
	}
}

// FuzzProxied claims that a message edited as a proxy edits it parses to the edited fields, and to the received ones in all else.
func FuzzProxied(f *testing.F) {
	for _, b := range messages(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, out parser.Message
		if parser.Parse(b, &m).Code != parser.ErrNone || !m.Request {
			return
		}
		var e parser.Edits
		e.Begin()
		e.Text = append(e.Text, "sip:next@192.0.2.9:5080;transport=udp"...)
		e.Replace(int(m.RequestURI.Off), int(m.RequestURI.Len))
		via := m.LineSpan(int(m.Via.Line))
		e.Begin()
		e.Text = append(e.Text, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKnew\r\n"...)
		e.Insert(int(via.Off))
		if m.Has(parser.HeaderMaxForwards) {
			s := m.HeaderAt(m.First(parser.HeaderMaxForwards)).Value
			e.Begin()
			e.Text = append(e.Text, "41"...)
			e.Replace(int(s.Off), int(s.Len))
		}
		routes := 0
		for i := range m.HeaderCount() {
			if m.HeaderAt(i).ID == parser.HeaderRoute && routes < parser.MaxEdits-10 {
				e.Cut(int(m.LineSpan(i).Off), int(m.LineSpan(i).Len))
				routes++
			}
		}
		e.Begin()
		e.Text = append(e.Text, "Record-Route: <sip:192.0.2.1;lr;t=x>\r\n"...)
		e.Insert(int(m.HeaderEnd))
		if m.HeaderCount()+2-routes > parser.MaxHeaderLines || int(m.BodyOff)+200 > parser.MaxHeaderSection || e.Err() {
			return
		}
		sent := e.AppendTo(nil, b, int(m.Len))
		if err := parser.Parse(sent, &out); err.Code == parser.ErrHeaderLines {
			return // folds and all, the edited one is past the bound
		} else if err.Code != parser.ErrNone {
			t.Fatalf("%v\n%q", err, sent)
		}
		same := func(what string, s parser.Span, want string) {
			t.Helper()
			if got := string(s.In(sent)); got != want {
				t.Fatalf("%s: %q, want %q", what, got, want)
			}
		}
		was := func(s parser.Span) string { return string(s.In(b)) }
		same("Request-URI", out.RequestURI, "sip:next@192.0.2.9:5080;transport=udp")
		same("host", out.URI.Host, "192.0.2.9")
		same("Via", out.Via.Value, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKnew")
		same("branch", out.Via.Branch, "z9hG4bKnew")
		same("method", out.MethodName, was(m.MethodName))
		same("From", out.From.Value, was(m.From.Value))
		same("From tag", out.From.Tag, was(m.From.Tag))
		same("To", out.To.Value, was(m.To.Value))
		same("To tag", out.To.Tag, was(m.To.Tag))
		same("Call-ID", out.CallID, was(m.CallID))
		same("CSeq method", out.CSeq.MethodName, was(m.CSeq.MethodName))
		if m.Has(parser.HeaderContact) {
			same("Contact", out.Contact.Value, was(m.Contact.Value))
		}
		if out.URI.Port != 5080 || out.CSeq.Number != m.CSeq.Number || m.Has(parser.HeaderMaxForwards) && out.MaxForwards != 41 {
			t.Fatalf("port %d, CSeq %d, Max-Forwards %d", out.URI.Port, out.CSeq.Number, out.MaxForwards)
		}
		if out.Lines(parser.HeaderVia) != m.Lines(parser.HeaderVia)+1 || out.Lines(parser.HeaderRoute) != m.Lines(parser.HeaderRoute)-routes ||
			out.Lines(parser.HeaderRecordRoute) != m.Lines(parser.HeaderRecordRoute)+1 || out.HeaderCount() != m.HeaderCount()+2-routes {
			t.Fatalf("%d header lines of %d", out.HeaderCount(), m.HeaderCount())
		}
		body := func(b []byte, m *parser.Message) string { return string(b[m.BodyOff : m.BodyOff+m.BodyLen]) }
		if body(sent, &out) != body(b, &m) || int(out.Len) != len(sent) {
			t.Fatalf("body %q of %q", body(sent, &out), body(b, &m))
		}
	})
}
