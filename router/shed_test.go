package router

import (
	"testing"
	"time"

	"sipedge/transport"
)

// drown lets b's loop be so far behind that no new call is let in.
func drown(b *bed) {
	b.wire.backlog = transport.Backlog{Delay: time.Second, Fill: 1}
	for range 3 {
		b.now = b.now.Add(10 * time.Millisecond)
		b.worker.Expire(b.now)
	}
}

func BenchmarkRefuse(b *testing.B) {
	bed := newBed(b, Stateful, RecordAlways)
	call := newCall(1, "")
	bed.receive(bed.alice, newCall(2, "").invite)
	drown(bed)
	if bed.receive(bed.alice, call.invite) != 1 {
		b.Fatal("not refused")
	}
	refusal := bed.last()
	b.Run("invite", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bed.receive(bed.alice, call.invite)
		}
	})
	ack := request2("ACK", refusal)
	b.Run("ack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if bed.receive(bed.alice, ack) != 0 {
				b.Fatal("forwarded")
			}
		}
	})
}

// request2 is what the caller of newCall(1) acknowledges a refusal with.
func request2(method string, refusal []byte) []byte {
	return []byte(method + " sip:bob@127.0.0.1:5060 SIP/2.0\r\nVia: " + header(refusal, "Via", 0) + "\r\nMax-Forwards: 70\r\nFrom: " + header(refusal, "From", 0) +
		"\r\nTo: " + header(refusal, "To", 0) + "\r\nCall-ID: " + header(refusal, "Call-ID", 0) + "\r\nCSeq: 1 " + method + "\r\nContent-Length: 0\r\n\r\n")
}
