package wslayer

import (
	"strings"
	"testing"
)

// steady is what a loop does for a message in and one out: the bytes are in its buffer, which it uses again.
func steady(t testing.TB, c *Conn, buffer, out []byte, wire string) []byte {
	shown := append(buffer[:0], wire...)
	for len(shown) > 0 {
		n, ev, payload := c.Next(shown)
		if n == 0 && ev == More || ev == Close {
			t.Fatal(ev)
		}
		if ev == Message {
			out = Append(out[:0], payload)
		}
		shown = shown[n:]
	}
	return out
}

func TestAllocs(t *testing.T) {
	if raceEnabled {
		return
	}
	buffer, out := make([]byte, 0, 1<<16), make([]byte, 0, 1<<16)
	for name, wire := range map[string]string{
		"text":      frame(0x81, sip),
		"binary":    frame(0x82, sip+"\xff"),
		"fragments": frame(0x01, sip[:20]) + frame(0x89, "ping") + frame(0x80, sip[20:]),
		"long":      frame(0x81, strings.Repeat(sip, 30)),
		"ping":      frame(0x89, "ping"),
		"keepalive": frame(0x81, "\r\n\r\n"),
	} {
		c := NewConn(&Rules{})
		c.state = open
		if n := testing.AllocsPerRun(100, func() { steady(t, &c, buffer, out, wire) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	wire := frame(0x81, strings.Repeat(sip, 10)[:766])
	buffer, out := make([]byte, 0, 1<<16), make([]byte, 0, 1<<16)
	c := NewConn(&Rules{})
	c.state = open
	b.ReportAllocs()
	b.SetBytes(766)
	for b.Loop() {
		steady(b, &c, buffer, out, wire)
	}
}
