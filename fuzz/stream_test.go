package fuzz

import (
	"bytes"
	"testing"

	"sipedge/parser"
)

// frames cuts a stream that comes in pieces into frames and says what came out, as text.
func frames(t *testing.T, b []byte, limit uint32, piece func(i int) int) string {
	t.Helper()
	f := parser.Framer{Limit: limit}
	bound := int(limit)
	if bound == 0 {
		bound = parser.MaxStreamMessage
	}
	var m parser.Message
	var w bytes.Buffer
	from, to := 0, 0
	for i := 0; ; i++ {
		for from < to {
			shown := b[from:to:to]
			n, frame := f.Next(shown, &m)
			if n < 0 || n > len(shown) || (frame == parser.FrameMore) != (n == 0) {
				t.Fatalf("frame %d of %d bytes, of %d shown", frame, n, len(shown))
			}
			if frame == parser.FrameMore {
				// The bytes that a connection has to keep are bounded, and so is what it may have to make room for.
				if len(shown) > max(bound, parser.MaxHeaderSection) || f.Need() > bound {
					t.Fatalf("%d bytes kept, %d needed, bound %d", len(shown), f.Need(), bound)
				}
				break
			}
			switch frame {
			case parser.FrameKeepAlive:
				if !bytes.Equal(shown[:n], bytes.Repeat([]byte("\r\n"), n/2)) {
					t.Fatalf("kept alive by %q", shown[:n])
				}
				from += n
				continue // how keep-alives are cut depends on the pieces
			case parser.FrameBroken:
				w.WriteString("broken: " + describeBroken(shown, &m))
				return w.String()
			}
			if int(m.Len) != n || n > bound {
				t.Fatalf("a frame of %d bytes, a message of %d", n, m.Len)
			}
			var alone parser.Message
			if err := parser.Parse(shown[:n], &alone); err != m.Err || describe(shown[:n], &alone) != describe(shown, &m) {
				t.Fatalf("the framer reads\n%s\nParse\n%s", describe(shown, &m), describe(shown[:n], &alone))
			}
			w.WriteString(describe(shown, &m))
			from += n
		}
		if to == len(b) {
			return w.String()
		}
		to = min(to+piece(i), len(b))
	}
}

// describeBroken leaves out what depends on how much of the stream had come.
func describeBroken(b []byte, m *parser.Message) string {
	if m.Err.Class() == parser.ClassUnreadable {
		return m.Err.Code.String()
	}
	m.BodyLen, m.Len = 0, 0
	return describe(b, m)
}

// FuzzStream claims: however a stream is cut, the same messages come out of it with the same fields; framer and parser never disagree; what has to be
// kept or made room for is bounded, whatever Content-Length says; and a datagram reads like the start of a stream.
func FuzzStream(f *testing.F) {
	seeds := messages(f)
	for i, b := range seeds {
		f.Add(b, uint16(1), uint32(0))
		f.Add(append(bytes.Clone(b), seeds[(i*7+1)%len(seeds)]...), uint16(i*31), uint32(0))
		f.Add(append([]byte("\r\n\r\n"), b...), uint16(3), uint32(400))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint16, limit uint32) {
		if len(b) > 1<<17 {
			return // large ones only cost time, byte by byte
		}
		datagramIsStream(t, b)
		limit %= 1 << 21
		whole := frames(t, b, limit, func(int) int { return len(b) })
		if len(b) < 1<<13 {
			if split := frames(t, b, limit, func(int) int { return 1 }); split != whole {
				t.Fatalf("byte by byte:\n%s\nwhole:\n%s", split, whole)
			}
		}
		r := uint32(step)
		random := func(int) int { r = r*1664525 + 1013904223; return 1 + int(r>>16)%(1+int(step)) }
		if split := frames(t, b, limit, random); split != whole {
			t.Fatalf("in pieces:\n%s\nwhole:\n%s", split, whole)
		}
	})
}

// datagramIsStream claims that a message that has a Content-Length reads the same as a datagram and as the start of a stream.
func datagramIsStream(t *testing.T, b []byte) {
	t.Helper()
	b = b[parser.KeepAlive(b):]
	if len(b) == 0 {
		return
	}
	var d, s parser.Message
	parser.Parse(b, &d)
	var framer parser.Framer
	_, frame := framer.Next(b, &s)
	switch {
	case d.Err.Code == parser.ErrNoHeaderEnd:
		if frame != parser.FrameMore {
			t.Fatalf("datagram: %v, stream: %d %v", d.Err, frame, s.Err)
		}
	case d.Err.Code == parser.ErrBodyTruncated || frame == parser.FrameMore:
		// Only more bytes can tell; unless the claim is too large for a stream, or the first fault is another.
		if frame == parser.FrameMessage {
			t.Fatalf("datagram: %v, stream: a message", d.Err)
		}
	case frame == parser.FrameMessage:
		if describe(b, &d) != describe(b, &s) {
			t.Fatalf("datagram:\n%s\nstream:\n%s", describe(b, &d), describe(b, &s))
		}
	case frame == parser.FrameBroken:
		if s.Err != d.Err && s.Err.Code != parser.ErrNoContentLength && s.Err.Code != parser.ErrMessageSize {
			t.Fatalf("datagram: %v, stream: %v", d.Err, s.Err)
		}
	}
}
