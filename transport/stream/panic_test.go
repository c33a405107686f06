//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"sipedge/transport"
)

// A panic over one message costs that message: those before and behind it, in the same write too, are answered.
func TestPanic(t *testing.T) {
	eachDelivery(t, func(t *testing.T, write func(*peer, ...string)) {
		var mu sync.Mutex
		var packets []string
		cfg := tcp("127.0.0.1:0")
		cfg.Panicked = func(loop int, what any, stack, packet []byte) {
			mu.Lock()
			defer mu.Unlock()
			if loop != 2 || what != "bad" || !bytes.Contains(stack, []byte("panic_test.go")) {
				t.Errorf("loop %d panicked over %v at %s", loop, what, stack)
			}
			packets = append(packets, string(packet))
		}
		r := start(t, cfg, func() *handler {
			return &handler{receive: func(h *handler, from transport.Flow, b []byte) {
				if bytes.Contains(b, []byte("Call-ID: bad")) {
					panic("bad")
				}
				h.send(from, b)
			}}
		})
		p := dial(t, r.addr())
		bad := message("bad", 50)
		large := message("bad", 200_000)
		good := []string{message("one", 10), message("two", 20), message("three", 0)}
		write(p, good[0], bad, good[1], large, bad, good[2])
		p.read(strings.Join(good, ""))
		mu.Lock()
		defer mu.Unlock()
		if len(packets) != 3 || packets[0] != bad || packets[1] != large[:transport.MaxDatagram] || packets[2] != bad {
			t.Errorf("told of %d packets", len(packets))
		}
		if n := r.Stats(0).Panics; n != 3 {
			t.Errorf("%d panics counted", n)
		}
	})
}

// Panics in the other calls do not stop the loop either, nor is a failure told twice.
func TestPanicElsewhere(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	panics := make(chan any, 100)
	cfg.Panicked = func(_ int, what any, _, _ []byte) {
		select {
		case panics <- what:
		default:
		}
	}
	r := start(t, cfg, func() *handler {
		expires := 0
		return &handler{
			receive: echo,
			woken:   func(*handler) { panic("woken") },
			expire: func(*handler, transport.Instant) transport.Instant {
				if expires++; expires < 3 {
					panic("expire")
				}
				return 0
			},
			failed: func(_ *handler, _ transport.Flow, b []byte, _ transport.Failure) { panic(string(b)) },
		}
	})
	want := map[any]int{"woken": 1, "expire": 2, "a": 1, "b": 1}
	r.handlers[0].l.Wake()
	for _, m := range []string{"a", "b"} {
		r.Post(transport.Flow{Proto: transport.TCP, Loop: 2, Gen: 1, Conn: 77}, []byte(m))
	}
	for range 5 {
		what := <-panics
		if want[what]--; want[what] < 0 {
			t.Errorf("panic over %v once more", what)
		}
	}
	p := dial(t, r.addr())
	hello := message("hello", 0)
	p.write(hello)
	p.read(hello)
	r.stop()
	if r.loops[0].buffers.lent != 0 {
		t.Errorf("%d bytes of buffers are still lent", r.loops[0].buffers.lent)
	}
}

// A bug of ours over a connection costs that connection.
func TestPanicOfOurs(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	panicked := make(chan any, 1)
	cfg.Panicked = func(_ int, what any, _, _ []byte) { panicked <- what }
	r := start(t, cfg, func() *handler {
		return &handler{receive: func(h *handler, from transport.Flow, b []byte) {
			h.send(from, b)
			if bytes.Contains(b, []byte("Call-ID: bug")) { // makes it a WebSocket connection without its rules
				h.l.(*loop).slab.at(from.Conn).flow.Proto = transport.WS
			}
		}}
	})
	p, q := dial(t, r.addr()), dial(t, r.addr())
	hello, bug := message("hello", 0), message("bug", 0)
	q.write(hello)
	q.read(hello)
	p.write(bug)
	p.read(bug)
	p.write("GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://example.com\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n")
	<-panicked
	p.ends()
	q.write(hello)
	q.read(hello)
}
