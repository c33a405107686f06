package router

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"sipedge/parser"
)

// renumber writes to over from, which is as long, wherever it stands in msg.
func renumber(msg []byte, from, to []byte) {
	for i := 0; ; {
		j := bytes.Index(msg[i:], from)
		if j < 0 {
			return
		}
		i += j + copy(msg[i+j:], to)
	}
}

// TestAllocs holds "0 heap allocations from packet in to packet out" for every kind of message, in
// both modes. A message that opens a transaction is a different one each time.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, mode := range []Mode{Stateful, Stateless} {
		name := "stateful"
		if mode == Stateless {
			name = "stateless"
		}
		number := 1
		// each runs step with the messages of a fresh call, prepared up to the message that is measured.
		each := func(kind string, want int, prepare func(b *bed, n int) (from byte, msg []byte)) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				b := newBed(t, mode, RecordAlways)
				const runs = 200
				type measured struct {
					from byte
					msg  []byte
				}
				row := make([]measured, runs+1)
				for i := range row {
					number++
					from, msg := prepare(b, number)
					row[i] = measured{from, bytes.Clone(msg)}
				}
				i, left := 0, 0
				got := testing.AllocsPerRun(runs, func() {
					from := b.alice
					if row[i].from == 'b' {
						from = b.bob
					}
					left += b.receive(from, row[i].msg)
					i++
				})
				if got != 0 {
					t.Errorf("%v allocations per message", got)
				}
				if left != want*(runs+1) {
					t.Errorf("%d messages left, want %d each: the way measured is not the one meant", left, want)
				}
			})
		}
		stateful := func(n int) int { // messages of our own that only a stateful proxy sends
			if mode == Stateful {
				return n
			}
			return 0
		}
		invite := func(b *bed, n int) []byte {
			b.receive(b.alice, newCall(n, "").invite)
			return b.last()
		}
		each("INVITE", 1+stateful(1), func(b *bed, n int) (byte, []byte) { return 'a', newCall(n, "").invite })
		each("INVITE again", 1, func(b *bed, n int) (byte, []byte) {
			invite(b, n)
			return 'a', newCall(n, "").invite
		})
		each("100", 1-stateful(1), func(b *bed, n int) (byte, []byte) {
			return 'b', answer([]byte("100 Trying"), invite(b, n), "")
		})
		each("180", 1, func(b *bed, n int) (byte, []byte) {
			return 'b', answer([]byte("180 Ringing"), invite(b, n), "")
		})
		each("200", 1, func(b *bed, n int) (byte, []byte) {
			return 'b', answer([]byte("200 OK"), invite(b, n), sdp)
		})
		each("200 again", 1, func(b *bed, n int) (byte, []byte) {
			ok := answer([]byte("200 OK"), invite(b, n), sdp)
			b.receive(b.bob, ok)
			return 'b', ok
		})
		each("486", 1+stateful(1), func(b *bed, n int) (byte, []byte) {
			return 'b', answer([]byte("486 Busy Here"), invite(b, n), "")
		})
		each("486 again", 1, func(b *bed, n int) (byte, []byte) { // an ACK, or the response once more
			busy := answer([]byte("486 Busy Here"), invite(b, n), "")
			b.receive(b.bob, busy)
			return 'b', busy
		})
		route := func(invite []byte) string { return "Route: " + header(invite, "Record-Route", 0) + "\r\n" }
		each("ACK", 1, func(b *bed, n int) (byte, []byte) {
			r := route(invite(b, n))
			return 'a', newCall(n, r).ack
		})
		each("BYE", 1, func(b *bed, n int) (byte, []byte) {
			r := route(invite(b, n))
			return 'a', newCall(n, r).bye
		})
		each("BYE again", 1-stateful(1), func(b *bed, n int) (byte, []byte) {
			bye := newCall(n, route(invite(b, n))).bye
			b.receive(b.alice, bye)
			return 'a', bye
		})
		each("200 to BYE", 1, func(b *bed, n int) (byte, []byte) {
			b.receive(b.alice, newCall(n, route(invite(b, n))).bye)
			return 'b', answer([]byte("200 OK"), b.last(), "")
		})
		each("CANCEL while ringing", 1+stateful(1), func(b *bed, n int) (byte, []byte) {
			b.receive(b.bob, answer([]byte("180 Ringing"), invite(b, n), ""))
			return 'a', newCall(n, "").cancel
		})
		each("refused", 1, func(b *bed, n int) (byte, []byte) {
			return 'a', bytes.Replace(newCall(n, "").invite, []byte("Max-Forwards: 70"), []byte("Max-Forwards: 0"), 1)
		})
		each("OPTIONS", 1, func(b *bed, n int) (byte, []byte) {
			return 'a', fmt.Appendf(nil, "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK%d;rport\r\n"+
				"From: <sip:a@b>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", n, n)
		})
		each("keep-alive", 0, func(b *bed, n int) (byte, []byte) { return 'a', []byte("\r\n\r\n") })
		each("not SIP", 0, func(b *bed, n int) (byte, []byte) { return 'a', []byte("GET / HTTP/1.1\r\n\r\n") })
	}
}

// TestAllocsTimers holds the same for what timers send.
func TestAllocsTimers(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBed(t, Stateful, RecordAlways)
	for n := range 50 {
		b.receive(b.alice, newCall(n+1, "").invite)
	}
	sent := 0
	got := testing.AllocsPerRun(100, func() {
		b.wire.n = 0
		b.now = b.now.Add(10 * time.Millisecond)
		b.worker.Expire(b.now)
		b.worker.Quiesce()
		sent += b.wire.n
	})
	if got != 0 {
		t.Errorf("%v allocations per turn", got)
	}
	if sent != 50 {
		t.Errorf("%d INVITEs sent again by Timer A, want 50", sent)
	}
}

// BenchmarkCall is the router's part of one call, seven messages in: INVITE 180 200 ACK BYE 200, with a
// 100 from downstream.
func BenchmarkCall(bm *testing.B) {
	for _, mode := range []Mode{Stateful, Stateless} {
		name := "stateful"
		if mode == Stateless {
			name = "stateless"
		}
		bm.Run(name, func(bm *testing.B) {
			b := newBed(bm, mode, RecordAlways)
			// Templates, whose eight digits are written over for each call.
			c := newCall(12345678, "Route: <sip:127.0.0.1:5060;lr;se=TOKEN>\r\n")
			digits := []byte("12345678")
			number := 0
			var m parser.Message
			buf := make([]byte, 0, 8192)
			branchOf := func(msg []byte) []byte {
				parser.Parse(msg, &m)
				return m.Via.Branch.In(msg)
			}
			b.receive(b.alice, c.invite)
			sent := b.last()
			b.receive(b.bob, answer([]byte("180 Ringing"), sent, ""))
			responses := [][]byte{
				answer([]byte("100 Trying"), sent, ""), answer([]byte("180 Ringing"), sent, ""), answer([]byte("200 OK"), sent, sdp),
			}
			token := header(sent, "Record-Route", 0)
			c = newCall(12345678, "Route: "+token+"\r\n")
			old := bytes.Clone(branchOf(sent))
			oldToken := []byte(token)
			b.receive(b.alice, c.bye)
			byeSent := b.last()
			byeOK := answer([]byte("200 OK"), byeSent, "")
			oldBye := bytes.Clone(branchOf(byeSent))
			bm.ReportAllocs()
			for bm.Loop() {
				number++
				next := fmt.Appendf(buf[:0], "%08d", number%100000000)
				for _, msg := range [][]byte{c.invite, c.ack, c.bye, responses[0], responses[1], responses[2], byeOK} {
					renumber(msg, digits, next)
				}
				copy(digits, next)
				b.receive(b.alice, c.invite)
				out := b.wire.sent[b.wire.n-1]
				branch := branchOf(out)
				for _, r := range responses {
					renumber(r, old, branch)
					b.receive(b.bob, r)
				}
				copy(old, branch)
				newToken := []byte(header(out, "Record-Route", 0))
				if len(newToken) == len(oldToken) {
					renumber(c.ack, oldToken, newToken)
					renumber(c.bye, oldToken, newToken)
					copy(oldToken, newToken)
				}
				b.receive(b.alice, c.ack)
				b.receive(b.alice, c.bye)
				branch = branchOf(b.wire.sent[b.wire.n-1])
				renumber(byeOK, oldBye, branch)
				copy(oldBye, branch)
				b.receive(b.bob, byeOK)
				b.now = b.now.Add(3 * time.Millisecond)
			}
		})
	}
}
