//go:build !race && (darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package stream

import (
	"net"
	"runtime"
	"testing"

	"sipedge/transport"
)

// From message in to message out on connections that are there, nothing is allocated: on the connection's own loop, through the
// queue of another loop, to a place that has a connection, and behind bytes that came in pieces.
func TestAllocs(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Loops = 2
	cfg.Limits.RingMessages = 64 // so that all its places have been used before anything is counted
	var peers [2]transport.Flow  // flows of the two connections
	flows := make(chan transport.Flow, 2)
	var mode string
	r := start(t, cfg, func() *handler {
		return &handler{receive: func(h *handler, from transport.Flow, b []byte) {
			switch mode {
			case "meet":
				flows <- from
			case "relay": // to the other connection
				for _, f := range peers {
					if f != from {
						h.send(f, b)
					}
				}
			case "relay by place":
				for _, f := range peers {
					if f != from {
						f.Gen, f.Conn, f.Loop = 0, 0, 0
						h.send(f, b)
					}
				}
			default:
				h.send(from, b)
			}
		}}
	})
	var conns []net.Conn
	mode = "meet"
	meet := func() {
		p := dial(t, r.addr())
		p.write(message("x", 0))
		peers[len(conns)] = <-flows
		conns = append(conns, p.TCPConn)
	}
	meet()
	for meet(); peers[0].Loop == peers[1].Loop; meet() { // until they are on two loops
		conns[1].Close()
		conns = conns[:1]
	}
	for _, c := range []struct {
		mode string
		size int
	}{{"echo", 700}, {"relay", 700}, {"relay by place", 700}, {"echo", 20_000}} {
		t.Run(c.mode, func(t *testing.T) {
			mode = c.mode
			m := []byte(message("m", c.size))
			const rounds = 300
			echoes(t, conns, m, rounds)
			best := ^uint64(0)
			for range 3 { // the runtime's own goroutines allocate now and then
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				echoes(t, conns, m, rounds)
				runtime.ReadMemStats(&after)
				best = min(best, after.Mallocs-before.Mallocs)
			}
			t.Logf("%d allocations for %d messages in and out", best, rounds*len(conns))
			if best > rounds/20 {
				t.Errorf("%d allocations for %d messages, want none per message", best, rounds*len(conns))
			}
		})
	}
}
