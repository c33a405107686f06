package fuzz

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"sipedge/transport/wslayer"
)

const wsHello = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Origin: https://www.example.com\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"

// wsFrame is a frame as a client sends it.
func wsFrame(first byte, payload string) string {
	f := ws.Frame{Header: ws.Header{Fin: first&0x80 != 0, Rsv: first >> 4 & 7, OpCode: ws.OpCode(first & 15), Length: int64(len(payload))}, Payload: []byte(payload)}
	var b bytes.Buffer
	ws.WriteFrame(&b, ws.MaskFrameWith(f, [4]byte{1, 0x80, 3, 0xff}))
	return b.String()
}

// wsEvents shows b to a connection in pieces, with what was consumed overwritten, and says what came out, as text.
func wsEvents(t *testing.T, rules *wslayer.Rules, bound int, b []byte, piece func(i int) int) string {
	t.Helper()
	c := wslayer.NewConn(rules)
	var w strings.Builder
	shown := bytes.Clone(b) // of which the first to bytes have come
	from, to := 0, 0
	open := false
	for i := 0; ; i++ {
		for {
			n, ev, payload := c.Next(shown[from:to:to])
			open = open || ev == wslayer.Open
			if n < 0 || n > to-from {
				t.Fatalf("%d bytes of %d", n, to-from)
			}
			if ev == wslayer.More {
				from += n
				break
			}
			fmt.Fprintf(&w, "%d %q\n", ev, payload)
			if ev == wslayer.Message && (len(payload) == 0 || len(payload) > int(rules.Limit)) {
				t.Fatalf("a message of %d bytes, limit %d", len(payload), rules.Limit)
			}
			if ev == wslayer.Answer || ev == wslayer.Close && open && len(payload) > 0 {
				if h, err := ws.ReadHeader(bytes.NewReader(payload)); err != nil || h.Masked || !h.Fin || int(h.Length)+ws.HeaderSize(h) != len(payload) {
					t.Fatalf("answer %q: %v %v", payload, h, err)
				}
			}
			if ev == wslayer.Close {
				return w.String()
			}
			clear(shown[from : from+n])
			from += n
		}
		if kept := to - from; kept > bound || c.Need() > bound {
			t.Fatalf("%d bytes kept, %d needed, bound %d", kept, c.Need(), bound)
		}
		if to == len(b) {
			return w.String()
		}
		to = min(to+piece(i), len(b))
	}
}

// FuzzWebSocket claims: however the bytes of a client are cut, the same events come out; what has to be kept is bounded; no message is longer than the
// limit; what is answered are whole, unmasked frames; and any message that is framed and sent back comes out as it went in.
func FuzzWebSocket(f *testing.F) {
	seed := func(frames ...string) { f.Add([]byte(strings.Join(frames, "")), uint16(3), uint16(1000)) }
	for i, m := range messages(f) {
		if i < 40 {
			seed(wsHello, wsFrame(0x81, string(m)))
			seed(wsHello, wsFrame(0x02, string(m[:len(m)/2])), wsFrame(0x89, "ping"), wsFrame(0x80, string(m[len(m)/2:])))
		}
	}
	seed(wsHello, wsFrame(0x81, "\r\n\r\n"), wsFrame(0x8a, ""), wsFrame(0x88, "\x03\xe8bye"))
	seed(wsHello, wsFrame(0x01, "x"), wsFrame(0x00, ""), wsFrame(0x88, ""))
	seed(wsHello, wsFrame(0x01, "x"), wsFrame(0x81, ""))
	seed(wsHello, "\x81\xff\x00\x00\x00\x00\x00\x00\xff\xffmask")
	seed(wsHello, wsFrame(0x81, "\xff"), wsFrame(0x81, strings.Repeat("y", 2000)))
	seed(strings.Replace(wsHello, "13", "8", 1))
	seed("OPTIONS sip:a@example.com SIP/2.0\r\n\r\n")
	seed("GET / HTTP/1.1\r\n", strings.Repeat("X: y\r\n", 2000))
	origins, err := wslayer.ParseOrigins([]string{"https://*.example.com", "http://localhost:8080"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, step, limit uint16) {
		rules := &wslayer.Rules{Origins: origins, Limit: 1 + uint32(limit)}
		const overhead = 1<<16 + 14
		bound := int(rules.Limit) + overhead
		whole := wsEvents(t, rules, max(bound, len(b)), b, func(int) int { return len(b) })
		if len(b) < 1<<13 {
			if split := wsEvents(t, rules, bound, b, func(int) int { return 1 }); split != whole {
				t.Fatalf("byte by byte:\n%s\nwhole:\n%s", split, whole)
			}
		}
		r := uint32(step)
		random := func(int) int { r = r*1664525 + 1013904223; return 1 + int(r>>16)%(1+int(step)) }
		if split := wsEvents(t, rules, bound+1<<16, b, random); split != whole {
			t.Fatalf("in pieces:\n%s\nwhole:\n%s", split, whole)
		}
		wsRoundTrip(t, b)
	})
}

// wsRoundTrip claims that a message is framed as another implementation reads it, and that ours reads it back.
func wsRoundTrip(t *testing.T, m []byte) {
	t.Helper()
	frame := wslayer.Append(nil, m)
	h, err := ws.ReadHeader(bytes.NewReader(frame))
	if err != nil || h.Masked || !h.Fin || h.Rsv != 0 || !bytes.Equal(frame[ws.HeaderSize(h):], m) || h.Length != int64(len(m)) || (h.OpCode == ws.OpText) != utf8.Valid(m) {
		t.Fatalf("%q is framed as %q, %+v, %v", m, frame, h, err)
	}
	if len(bytes.Trim(m, "\r\n")) == 0 {
		return // a keep-alive, or nothing
	}
	c := wslayer.NewConn(&wslayer.Rules{Limit: 1 << 20})
	b := []byte(wsHello + wsFrame(0x80|byte(h.OpCode), string(m)))
	n, ev, _ := c.Next(b)
	if ev != wslayer.Open {
		t.Fatalf("the upgrade gives %d", ev)
	}
	if k, ev, got := c.Next(b[n:]); ev != wslayer.Message || n+k != len(b) || !bytes.Equal(got, m) {
		t.Fatalf("%q comes back as %d %q", m, ev, got)
	}
}
