//go:build !race

package batch

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"sipedge/transport"
)

// From packet in to packet out nothing is allocated. AllocsPerRun is of no use here: it sets
// GOMAXPROCS to 1, and the loop would keep the only P.
func TestAllocsRelay(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"} {
		t.Run(listen, func(t *testing.T) {
			host := netip.MustParseAddr("127.0.0.1")
			if netip.MustParseAddrPort(listen).Addr().Is6() {
				host = netip.IPv6Loopback()
			}
			e := open(t, 1, netip.MustParseAddrPort(listen))
			to := netip.AddrPortFrom(host, e.Addrs()[0].Port())
			a, b := peer(t, host), peer(t, host)
			stop := serve(t, e, func(_ int, l transport.Loop) transport.Handler {
				return &relay{l: l, a: addrOf(a), b: addrOf(b)}
			})
			message := make([]byte, 600)
			in := make([]byte, 2048)
			const burst = 16
			round := func() {
				for range burst {
					if _, err := a.WriteToUDPAddrPort(message, to); err != nil {
						t.Fatal(err)
					}
				}
				for range burst {
					if n, _, err := b.ReadFromUDPAddrPort(in); err != nil || n != len(message) {
						t.Fatal(n, err)
					}
				}
			}
			b.SetReadDeadline(time.Now().Add(patience))
			for range 50 {
				round()
			}
			const rounds = 500
			best := ^uint64(0)
			for range 3 { // the runtime's own goroutines allocate now and then
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range rounds {
					round()
				}
				runtime.ReadMemStats(&after)
				best = min(best, after.Mallocs-before.Mallocs)
			}
			stop()
			t.Logf("%d allocations for %d packets", best, rounds*burst)
			if best > rounds*burst/1000 { // what else runs may allocate, a packet may not
				t.Errorf("%d allocations for %d packets, want none per packet", best, rounds*burst)
			}
		})
	}
}
