package parser_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sipedge/parser"
	"sipedge/parser/parsertest"
)

var (
	sinkError parser.Error
	sinkBytes []byte
	sinkBool  bool
	sinkSpan  parser.Span
)

// corpus is the mix and all torture messages, the faulty ones included: a fault costs no allocation either.
func corpus(t testing.TB) (all [][]byte) {
	t.Helper()
	for _, m := range parsertest.Mix(256, 3) {
		all = append(all, m.Data)
	}
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b, bytes.Replace(b, []byte("Content-Length: 1"), []byte("Content-Length: 21474836471"), 1))
	}
	return all
}

func noAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	f() // warm up
	if n := testing.AllocsPerRun(20, f); n != 0 {
		t.Errorf("%s: %v allocations", what, n)
	}
}

func TestAllocsParse(t *testing.T) {
	all := corpus(t)
	var m parser.Message
	noAllocs(t, "Parse", func() {
		for _, b := range all {
			sinkError = parser.Parse(b, &m)
		}
	})
}

func TestAllocsFramer(t *testing.T) {
	all := corpus(t)
	var m parser.Message
	var f parser.Framer
	noAllocs(t, "Framer", func() {
		for _, b := range all {
			f = parser.Framer{}
			for n := 1; n <= len(b); n += 1 + n/8 {
				f.Next(b[:n], &m)
			}
			f = parser.Framer{}
			f.Next(b, &m)
		}
	})
}

func TestAllocsValues(t *testing.T) {
	all := corpus(t)
	var m parser.Message
	var v parser.Via
	var a parser.Address
	noAllocs(t, "walks", func() {
		for _, b := range all {
			if parser.Parse(b, &m).Class() == parser.ClassUnreadable {
				continue
			}
			for w := m.Values(b, parser.HeaderVia); ; {
				s, _, ok := w.Next()
				if !ok {
					break
				}
				sinkError = parser.ParseVia(b, s, &v)
			}
			for w := m.Values(b, parser.HeaderContact); ; {
				s, _, ok := w.Next()
				if !ok {
					break
				}
				sinkError = parser.ParseAddress(b, s, &a)
				sinkSpan, sinkBool = parser.Param(b, a.Params, "expires")
				sinkSpan, sinkBool = parser.URIParam(b, a.URI.Params, "ob")
				sinkBool = parser.EqualURI(b, &a.URI, b, &m.From.URI)
			}
		}
	})
}

func TestAllocsRender(t *testing.T) {
	all := corpus(t)
	var m parser.Message
	var e parser.Edits
	var out, kept []byte
	noAllocs(t, "rendering", func() {
		for _, b := range all {
			if parser.Parse(b, &m).Class() == parser.ClassUnreadable {
				continue
			}
			proxy(b, &m, &e)
			out = e.AppendTo(out[:0], b, int(m.Len))
			kept = e.Marshal(kept[:0])
			sinkBool = e.Unmarshal(kept)
			out = parser.AppendEdited(out[:0], b, int(m.Len), kept)
			sinkBytes = out
		}
	})
}

// proxy edits a message as a proxy does: its Via on top or off, one hop less, its Route off and its Record-Route on.
func proxy(b []byte, m *parser.Message, e *parser.Edits) {
	e.Reset()
	if !m.Request {
		e.Cut(int(m.LineSpan(int(m.Via.Line)).Off), int(m.LineSpan(int(m.Via.Line)).Len))
		return
	}
	for i := range m.HeaderCount() {
		line := m.LineSpan(i)
		switch m.HeaderAt(i).ID {
		case parser.HeaderVia:
			if i != int(m.Via.Line) {
				continue
			}
			e.Begin()
			e.Text = append(e.Text, "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdefghijklmnopqrstuv\r\nRecord-Route: <sip:192.0.2.1;lr;t=0123456789abcdef>\r\n"...)
			e.Insert(int(line.Off))
		case parser.HeaderMaxForwards:
			e.Begin()
			e.Text = append(e.Text, "69"...)
			e.Replace(int(m.HeaderAt(i).Value.Off), int(m.HeaderAt(i).Value.Len))
		case parser.HeaderRoute:
			e.Cut(int(line.Off), int(line.Len))
		}
	}
}
