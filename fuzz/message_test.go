package fuzz

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sipedge/parser"
	"sipedge/parser/parsertest"
)

// messages are the seeds: all of RFC 4475 and RFC 5118, and some of each kind that is seen every day.
func messages(f *testing.F) (seeds [][]byte) {
	f.Helper()
	for _, pattern := range []string{"../parser/testdata/rfc4475/*.dat", "../parser/testdata/rfc5118/*.lf"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) < 12 {
			f.Fatal("no seeds: ", pattern, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if filepath.Ext(file) == ".lf" {
				b = append(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")), "\r\n"...)
			}
			seeds = append(seeds, b)
		}
	}
	for _, m := range parsertest.Mix(64, 7) {
		seeds = append(seeds, m.Data)
	}
	return seeds
}

// FuzzParse claims: offsets lie inside the message and in order; a used Message reads like a new one; the portable scan and the fast one see the
// same; the input is not written to; what is rendered without edits is what was received.
func FuzzParse(f *testing.F) {
	for _, b := range messages(f) {
		f.Add(b)
	}
	var used parser.Message
	f.Fuzz(func(t *testing.T, b []byte) {
		original := bytes.Clone(b)
		m := new(parser.Message)
		err := parser.Parse(b, m)
		if err != m.Err || int(err.Off) > len(b) || (err.Code == parser.ErrNone) != (err == parser.Error{}) {
			t.Fatalf("%v, %v in the message, %d bytes", err, m.Err, len(b))
		}
		text := describe(b, m)
		parser.Parse(b, &used)
		if again := describe(b, &used); again != text {
			t.Fatalf("a used Message reads\n%s\na new one\n%s", again, text)
		}
		parser.SetPortable(true)
		parser.Parse(b, &used)
		parser.SetPortable(false)
		if again := describe(b, &used); again != text {
			t.Fatalf("the portable scan reads\n%s\nthe fast one\n%s", again, text)
		}
		if !bytes.Equal(b, original) {
			t.Fatal("the input was written to")
		}
		checkOffsets(t, b, m)
		var e parser.Edits
		if out := e.AppendTo(nil, b, int(m.Len)); !bytes.Equal(out, b[:m.Len]) {
			t.Fatalf("rendered without edits: %q", out)
		}
	})
}

// describe is all that a Message says, as text. Fields that are valid only with a header are left out without it.
func describe(b []byte, m *parser.Message) string {
	var w bytes.Buffer
	fmt.Fprintln(&w, m.Err, m.HeaderCount(), m.HeaderEnd, m.BodyOff, m.BodyLen, m.Len)
	if m.Err.Class() == parser.ClassUnreadable {
		return w.String()
	}
	fmt.Fprintln(&w, m.Request, m.Method, m.Status, m.MethodName, m.RequestURI, m.Version, m.Reason)
	if m.Request {
		fmt.Fprintf(&w, "%+v\n", m.URI)
	}
	for i := range m.HeaderCount() {
		fmt.Fprintln(&w, *m.HeaderAt(i), m.LineSpan(i))
	}
	for id := parser.HeaderID(0); id < 64; id++ {
		if m.Has(id) {
			fmt.Fprint(&w, id, m.First(id), m.Lines(id), " ")
		}
	}
	for _, x := range []struct {
		id parser.HeaderID
		v  any
	}{{parser.HeaderVia, m.Via}, {parser.HeaderFrom, m.From}, {parser.HeaderTo, m.To}, {parser.HeaderCallID, m.CallID}, {parser.HeaderCSeq, m.CSeq},
		{parser.HeaderMaxForwards, m.MaxForwards}, {parser.HeaderRoute, m.Route}, {parser.HeaderContact, m.Contact}, {parser.HeaderContentLength, m.ContentLength}} {
		if m.Has(x.id) {
			fmt.Fprintf(&w, "%s %+v\n", x.id, x.v)
		}
	}
	return w.String()
}

// within fails unless s lies in b[from:to].
func within(t *testing.T, what string, s parser.Span, from, to int) {
	t.Helper()
	if s != (parser.Span{}) && (int(s.Off) < from || s.End() > to) {
		t.Fatalf("%s is %d to %d, outside of %d to %d", what, s.Off, s.End(), from, to)
	}
}

func checkOffsets(t *testing.T, b []byte, m *parser.Message) {
	t.Helper()
	if int(m.Len) > len(b) || m.BodyOff+m.BodyLen > m.Len && m.Err.Code == parser.ErrNone || int(m.BodyOff) > len(b) || int(m.BodyOff)+int(m.BodyLen) > len(b) {
		t.Fatalf("length %d, body %d+%d of %d", m.Len, m.BodyOff, m.BodyLen, len(b))
	}
	if m.Err.Class() == parser.ClassUnreadable {
		return
	}
	end := int(m.HeaderEnd)
	if string(b[end:m.BodyOff]) != "\r\n" {
		t.Fatalf("the header section ends with %q", b[end:m.BodyOff])
	}
	within(t, "method", m.MethodName, 0, end)
	within(t, "Request-URI", m.RequestURI, m.MethodName.End(), end)
	within(t, "version", m.Version, m.RequestURI.End(), end)
	within(t, "reason", m.Reason, m.Version.End(), end)
	if m.Request {
		checkURI(t, b, &m.URI, int(m.RequestURI.Off), m.RequestURI.End())
	}
	at := max(m.Version.End(), m.Reason.End())
	var lines [64]int
	for i := range m.HeaderCount() {
		h := m.HeaderAt(i)
		line := m.LineSpan(i)
		if int(line.Off) < at || int(line.Off) != int(h.Name.Off) || line.End() > end || line.Empty() {
			t.Fatalf("line %d is %d to %d, behind %d", i, line.Off, line.End(), at)
		}
		if !bytes.HasSuffix(line.In(b), []byte("\n")) {
			t.Fatalf("line %d is %q", i, line.In(b))
		}
		within(t, "name", h.Name, int(line.Off), line.End())
		within(t, "value", h.Value, h.Name.End(), line.End())
		if h.ID != parser.LookupHeader(h.Name.In(b)) {
			t.Fatalf("%q is %v", h.Name.In(b), h.ID)
		}
		if lines[h.ID] == 0 && m.First(h.ID) != i {
			t.Fatalf("first %v is line %d, not %d", h.ID, m.First(h.ID), i)
		}
		lines[h.ID]++
		at = line.End()
	}
	if m.HeaderCount() > 0 && at != end {
		t.Fatalf("lines end at %d, headers at %d", at, end)
	}
	for id := range lines {
		if m.Lines(parser.HeaderID(id)) != lines[id] || m.Has(parser.HeaderID(id)) != (lines[id] > 0) {
			t.Fatalf("%d lines of %v, not %d", m.Lines(parser.HeaderID(id)), parser.HeaderID(id), lines[id])
		}
	}
	value := func(id parser.HeaderID) (from, to int) {
		s := m.HeaderAt(m.First(id)).Value
		return int(s.Off), s.End()
	}
	if m.Has(parser.HeaderVia) {
		from, to := value(parser.HeaderVia)
		checkVia(t, b, &m.Via, from, to)
		checkSecondVia(t, b, m)
	}
	for id, a := range map[parser.HeaderID]*parser.Address{parser.HeaderFrom: &m.From, parser.HeaderTo: &m.To, parser.HeaderRoute: &m.Route, parser.HeaderContact: &m.Contact} {
		if m.Has(id) {
			from, to := value(id)
			checkAddress(t, b, a, from, to)
		}
	}
	if m.Has(parser.HeaderCSeq) {
		from, to := value(parser.HeaderCSeq)
		within(t, "CSeq number", m.CSeq.NumberSpan, from, to)
		within(t, "CSeq method", m.CSeq.MethodName, from, to)
	}
	if m.Has(parser.HeaderCallID) {
		from, to := value(parser.HeaderCallID)
		within(t, "Call-ID", m.CallID, from, to)
	}
	checkLists(t, b, m)
}

// checkSecondVia claims that the second Via value is the same by the short way and by the walk over all.
func checkSecondVia(t *testing.T, b []byte, m *parser.Message) {
	t.Helper()
	var short, long parser.Via
	got := m.SecondVia(b, &short)
	if m.Err.Code != parser.ErrNone {
		return
	}
	w := m.Values(b, parser.HeaderVia)
	w.Next()
	s, line, want := w.Next()
	if want {
		want = parser.ParseVia(b, s, &long).Code == parser.ErrNone
	}
	long.Line, short.LastValue = uint16(line), false
	long.LastValue = false
	if got != want || got && short != long {
		t.Fatalf("the second Via is %v %+v, and by the walk %v %+v", got, short, want, long)
	}
}

func checkVia(t *testing.T, b []byte, v *parser.Via, from, to int) {
	t.Helper()
	within(t, "Via", v.Value, from, to)
	within(t, "transport", v.Transport, from, to)
	within(t, "sent-by", v.Host, v.Transport.End(), to)
	for _, s := range []parser.Span{v.Branch, v.Received, v.Maddr, v.RPort, v.RPortName} {
		within(t, "Via parameter", s, v.Host.End(), to)
	}
}

func checkAddress(t *testing.T, b []byte, a *parser.Address, from, to int) {
	t.Helper()
	within(t, "address", a.Value, from, to)
	within(t, "display name", a.Display, from, to)
	within(t, "URI", a.Addr, a.Display.End(), to)
	within(t, "parameters", a.Params, a.Addr.End(), to)
	within(t, "tag", a.Tag, a.Addr.End(), to)
	checkURI(t, b, &a.URI, from, to)
}

func checkURI(t *testing.T, b []byte, u *parser.URI, from, to int) {
	t.Helper()
	if u.SchemeIs == parser.SchemeNone {
		if *u != (parser.URI{}) {
			t.Fatalf("%+v is nothing, or is it?", u)
		}
		return
	}
	within(t, "URI", u.Whole, from, to)
	from, to = int(u.Whole.Off), u.Whole.End()
	if u.Whole.Empty() {
		t.Fatal("an empty URI")
	}
	at := from
	for _, s := range []parser.Span{u.User, u.Password, u.Host, u.PortSpan, u.Params, u.Headers} {
		within(t, "part of a URI", s, at, to)
		at = max(at, s.End())
	}
	for _, s := range []parser.Span{u.Transport, u.Maddr, u.UserParam} {
		within(t, "URI parameter", s, int(u.Params.Off), u.Params.End())
	}
	if u.SchemeIs == parser.SchemeSIP || u.SchemeIs == parser.SchemeSIPS {
		if u.Host.Empty() || u.HasUser == u.User.Empty() {
			t.Fatalf("%q: host %q, user %v %q", u.Whole.In(b), u.Host.In(b), u.HasUser, u.User.In(b))
		}
	}
}

// checkLists claims that the first value of a list is the one that Parse took apart, and that all values lie in their lines, in order.
func checkLists(t *testing.T, b []byte, m *parser.Message) {
	t.Helper()
	for _, id := range []parser.HeaderID{parser.HeaderVia, parser.HeaderRoute, parser.HeaderContact, parser.HeaderRecordRoute, parser.HeaderSupported, parser.HeaderOther} {
		n, at := 0, 0
		for w := m.Values(b, id); ; n++ {
			s, line, ok := w.Next()
			if !ok {
				if _, _, again := w.Next(); again {
					t.Fatal("the walk goes on behind its end")
				}
				break
			}
			v := m.HeaderAt(line).Value
			within(t, "value", s, max(at, int(v.Off)), v.End())
			if s.Empty() || m.HeaderAt(line).ID != id {
				t.Fatalf("value %d of %v: %q in line %d", n, id, s.In(b), line)
			}
			at = s.End()
			if n > 0 || m.Err.Code != parser.ErrNone {
				continue
			}
			switch id {
			case parser.HeaderVia:
				var via parser.Via
				if err := parser.ParseVia(b, s, &via); err.Code != parser.ErrNone {
					t.Fatalf("Parse read the topmost Via, ParseVia says %v", err)
				}
				via.Line, via.LastValue = m.Via.Line, m.Via.LastValue
				if via != m.Via {
					t.Fatalf("ParseVia: %+v; Parse: %+v", via, m.Via)
				}
			case parser.HeaderRoute, parser.HeaderContact:
				hot := &m.Route
				if id == parser.HeaderContact {
					hot = &m.Contact
				}
				var a parser.Address
				if err := parser.ParseAddress(b, s, &a); err.Code != parser.ErrNone {
					t.Fatalf("Parse read the first %v, ParseAddress says %v", id, err)
				}
				a.Line = hot.Line
				if a != *hot {
					t.Fatalf("ParseAddress: %+v; Parse: %+v", a, *hot)
				}
			}
		}
	}
}
