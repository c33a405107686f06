package router

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sipedge/transport"
)

// newBedOver is a bed that speaks everything, where alice and bob speak what is asked for.
func newBedOver(tb testing.TB, mode Mode, alice, bob transport.Protocol) *bed {
	tb.Helper()
	b := newBed(tb, mode, RecordAuto)
	cfg := b.worker.core.cfg
	cfg.Listeners = nil
	for p, port := range map[transport.Protocol]uint16{transport.UDP: 5060, transport.TCP: 5060, transport.TLS: 5061, transport.WS: 80, transport.WSS: 443} {
		cfg.Listeners = append(cfg.Listeners, Listener{Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), Proto: p})
	}
	cfg.NextHop = &NextHop{Host: "127.0.0.1", Port: 5080, Proto: bob}
	cfg.Peer = func(conn uint32, loop uint8, gen uint32) uint32 { return conn - 1 }
	cfg.Alias = func(transport.Flow, uint16) {}
	cfg.UDPMTUSwitch = true
	core, err := New(cfg, b.worker.core.store, b.worker.core.keys)
	if err != nil {
		tb.Fatal(err)
	}
	b.worker.Idle()
	b.worker = core.NewWorker(0, b.wire)
	b.worker.Busy()
	for i, f := range []*transport.Flow{&b.alice, &b.bob} {
		f.Proto = []transport.Protocol{alice, bob}[i]
		if f.Proto != transport.UDP {
			f.Conn, f.Gen = uint32(i+1), 7
		}
		for i := range core.listeners {
			if core.listeners[i].proto == f.Proto {
				f.Listener = uint16(i)
			}
		}
	}
	return b
}

// TestAllocsStreams holds "0 heap allocations from packet in to packet out" for what comes by one transport and leaves by another,
// by flows and by the size switch.
func TestAllocsStreams(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	routes := func(invite []byte, reverse bool) string {
		var lines []string
		for n := 0; header(invite, "Record-Route", n) != ""; n++ {
			lines = append(lines, "Route: "+header(invite, "Record-Route", n)+"\r\n")
		}
		if !reverse { // as the caller has them
			for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
		return strings.Join(lines, "")
	}
	number := 50_000_000
	for _, pair := range [][2]transport.Protocol{
		{transport.UDP, transport.TCP}, {transport.TCP, transport.TLS}, {transport.TLS, transport.UDP}, {transport.WS, transport.UDP}, {transport.WSS, transport.TLS},
	} {
		via := []byte(strings.TrimPrefix(viaStart[pair[0]], "Via: "))
		over := func(msg []byte) []byte { return bytes.Replace(msg, []byte("SIP/2.0/UDP "), via, 1) }
		for _, mode := range []Mode{Stateful, Stateless} {
			each := func(kind string, want int, prepare func(b *bed, n int) (from byte, msg []byte)) {
				t.Run(fmt.Sprintf("%d to %d mode %d %s", pair[0], pair[1], mode, kind), func(t *testing.T) {
					b := newBedOver(t, mode, pair[0], pair[1])
					const runs = 20
					var from [runs + 1]byte
					var msgs [runs + 1][]byte
					for i := range msgs {
						number++
						c, msg := prepare(b, number)
						from[i], msgs[i] = c, bytes.Clone(msg)
					}
					i, left := 0, 0
					got := testing.AllocsPerRun(runs, func() {
						f := b.alice
						if from[i] == 'b' {
							f = b.bob
						}
						left += b.receive(f, msgs[i])
						i++
					})
					if got != 0 || left != want*(runs+1) {
						t.Errorf("%v allocations per message; %d messages left, want %d each", got, left, want)
					}
				})
			}
			trying := 0
			if mode == Stateful {
				trying = 1
			}
			invite := func(b *bed, n int) []byte {
				b.receive(b.alice, over(newCall(n, "").invite))
				return b.last()
			}
			each("INVITE", 1+trying, func(b *bed, n int) (byte, []byte) { return 'a', over(newCall(n, "").invite) })
			each("INVITE of size", 1+trying, func(b *bed, n int) (byte, []byte) {
				return 'a', over(bytes.Replace(newCall(n, "").invite, []byte("User-Agent: test"), []byte("User-Agent: "+strings.Repeat("x", 1400)), 1))
			})
			each("200", 1, func(b *bed, n int) (byte, []byte) { return 'b', answer([]byte("200 OK"), invite(b, n), sdp) })
			each("ACK", 1, func(b *bed, n int) (byte, []byte) {
				return 'a', over(newCall(n, routes(invite(b, n), false)).ack)
			})
			each("BYE from bob", 1, func(b *bed, n int) (byte, []byte) {
				// The tags change places; where alice has a flow, that is the way.
				bye := newCall(n, routes(invite(b, n), true)).bye
				bye = bytes.Replace(bye, []byte("BYE sip:bob@127.0.0.1:5080"), []byte("BYE sip:alice@127.0.0.1:5070"), 1)
				bye = bytes.Replace(bye, fmt.Appendf(nil, "tag=a%08d", n), []byte("tag=b1x"), 1)
				bye = bytes.Replace(bye, []byte("tag=b1\r\n"), fmt.Appendf(nil, "tag=a%08d\r\n", n), 1)
				return 'b', bye
			})
			each("REGISTER", 1, func(b *bed, n int) (byte, []byte) {
				r := over(newCall(n, "").invite)
				r = bytes.ReplaceAll(r, []byte("INVITE"), []byte("REGISTER"))
				return 'a', bytes.Replace(r, []byte("5070>\r\nUser-Agent"), []byte("5070>;reg-id=1\r\nSupported: path, outbound\r\nUser-Agent"), 1)
			})
			each("without Content-Length", 1, func(b *bed, n int) (byte, []byte) {
				r := over(newCall(n, "").invite)
				r = bytes.ReplaceAll(r, []byte("INVITE"), []byte("MESSAGE"))
				return 'a', bytes.Replace(r, fmt.Appendf(nil, "Content-Length: %d\r\n", len(sdp)), nil, 1)
			})
		}
	}
	t.Run("STUN", func(t *testing.T) {
		b := newBed(t, Stateful, RecordAuto)
		request := []byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl")
		if got := testing.AllocsPerRun(100, func() {
			if b.receive(b.alice, request) != 1 {
				t.Fatal("no answer")
			}
		}); got != 0 {
			t.Errorf("%v allocations per request", got)
		}
	})
}

// BenchmarkForward is what one INVITE costs by the transports of its two sides.
func BenchmarkForward(bm *testing.B) {
	for _, pair := range [][2]transport.Protocol{{transport.UDP, transport.UDP}, {transport.UDP, transport.TCP}, {transport.WS, transport.UDP}} {
		bm.Run(fmt.Sprintf("%d_to_%d", pair[0], pair[1]), func(bm *testing.B) {
			b := newBedOver(bm, Stateless, pair[0], pair[1])
			msg := newCall(1, "").invite
			bm.ReportAllocs()
			for bm.Loop() {
				if b.receive(b.alice, msg) != 1 {
					bm.Fatal("not forwarded")
				}
			}
		})
	}
}
