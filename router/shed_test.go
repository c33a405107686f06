package router

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sipedge/router/overload"
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

// ackOf is what the caller acknowledges a failure with: RFC 3261 section 17.1.1.3.
func ackOf(failure []byte) []byte {
	return []byte("ACK sip:bob@127.0.0.1:5060 SIP/2.0\r\nVia: " + header(failure, "Via", 0) + "\r\nMax-Forwards: 70\r\nFrom: " + header(failure, "From", 0) +
		"\r\nTo: " + header(failure, "To", 0) + "\r\nCall-ID: " + header(failure, "Call-ID", 0) + "\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n")
}

// changed is msg with one text in it replaced.
func changed(msg []byte, old, new string) []byte {
	return bytes.Replace(msg, []byte(old), []byte(new), 1)
}

// A loop that is behind answers new calls 503, at once and without a transaction, and goes on with everything that has begun.
func TestShedding(t *testing.T) {
	for _, mode := range []Mode{Stateful, Stateless} {
		b := newBed(t, mode, RecordAlways)
		invites := 1 // messages that an INVITE let in makes
		if mode == Stateful {
			invites = 2
		}
		begun := newCall(1, "")
		if n := b.receive(b.alice, begun.invite); n != invites {
			t.Fatalf("%d messages for an INVITE", n)
		}
		forwarded := b.last()
		route := "Route: " + header(forwarded, "Record-Route", 0) + "\r\n"
		if mode == Stateful { // one more call that is not answered yet
			b.receive(b.alice, newCall(3, "").invite)
		}
		drown(b)

		refused := newCall(2, "")
		b.expect(b.receive(b.alice, refused.invite), "SIP/2.0 503 Service Unavailable")
		first := b.last()
		if b.wire.flows[0].Remote != b.alice.Remote {
			t.Error("not to alice")
		}
		if seconds := header(first, "Retry-After", 0); len(seconds) == 0 || len(seconds) > 2 {
			t.Errorf("Retry-After: %q", seconds)
		}
		b.expect(b.receive(b.alice, refused.invite), "SIP/2.0 503 Service Unavailable")
		if !bytes.Equal(first, b.last()) {
			t.Error("a retransmission has another answer")
		}
		absorbed := b.worker.n.Absorbed
		if n := b.receive(b.alice, ackOf(first)); n != 0 || b.worker.n.Absorbed != absorbed+1 {
			t.Errorf("the ACK of a refusal leads to %d messages", n)
		}

		// What has begun goes on: responses, in-dialog requests, ACK, CANCEL, copies.
		b.expect(b.receive(b.bob, answer([]byte("180 Ringing"), forwarded, "")), "SIP/2.0 180")
		b.expect(b.receive(b.bob, answer([]byte("200 OK"), forwarded, sdp)), "SIP/2.0 200")
		inDialog := newCall(1, route)
		b.expect(b.receive(b.alice, inDialog.ack), "ACK ")
		re := changed(changed(inDialog.bye, "BYE", "INVITE"), "2 BYE", "2 INVITE")
		if n := b.receive(b.alice, re); n != invites {
			t.Errorf("%d messages for a re-INVITE", n)
		}
		b.expect(b.receive(b.alice, inDialog.bye), "BYE ")
		if mode == Stateful {
			b.expect(b.receive(b.alice, newCall(3, "").invite), "SIP/2.0 100 Trying") // a copy of one that was let in
			b.expect(b.receive(b.alice, newCall(3, "").cancel), "SIP/2.0 200 OK")
		}

		// A forged Route proves nothing, and a BYE needs no proof.
		forged := changed(re, ";tag=a0", ";tag=z0")
		b.expect(b.receive(b.alice, changed(forged, "-b-", "-f-")), "SIP/2.0 503")
		b.expect(b.receive(b.alice, changed(newCall(4, "").bye, "127.0.0.1:5080 SIP", "127.0.0.1 SIP")), "BYE ")

		// Calls for help are let in.
		help := changed(newCall(5, "").invite, "sip:bob@127.0.0.1:5060 SIP", "urn:service:sos.fire SIP")
		if n := b.receive(b.alice, help); n != invites {
			t.Errorf("%d messages for a call for help", n)
		}
		b.expect(b.receive(b.alice, changed(newCall(6, "").invite, "sip:bob@127.0.0.1:5060 SIP", "urn:service:sosx SIP")), "SIP/2.0 503")

		if b.worker.n.Shed < 3 || b.worker.n.Shed != b.worker.n.Unavailable {
			t.Errorf("counted: %d turned away, %d answered 503", b.worker.n.Shed, b.worker.n.Unavailable)
		}

		// With the crowd gone everything is let in again.
		b.wire.backlog = transport.Backlog{}
		for range 400 {
			b.now = b.now.Add(10 * time.Millisecond)
			b.worker.Expire(b.now)
		}
		if n := b.receive(b.alice, newCall(7, "").invite); n != invites {
			t.Errorf("%d messages for an INVITE after all", n)
		}
	}
}

// The policy's word counts for emergencies, and Off turns nothing away.
func TestSheddingByRules(t *testing.T) {
	b := newBed(t, Stateful, RecordAuto)
	b.worker.cfg.Emergency = func(uri []byte) bool { return string(uri) == "sip:112@127.0.0.1:5060" }
	drown(b)
	b.expect(b.receive(b.alice, newCall(1, "").invite), "SIP/2.0 503")
	help := changed(newCall(2, "").invite, "sip:bob@127.0.0.1:5060 SIP", "sip:112@127.0.0.1:5060 SIP")
	b.expect(b.receive(b.alice, help), "SIP/2.0 100", "INVITE sip:112@")
	if err := b.worker.core.SetOverload(overload.Rules{Config: overload.Config{RetryAfter: -1}}); err != nil {
		t.Fatal(err)
	}
	b.receive(b.alice, newCall(3, "").invite)
	if header(b.last(), "Retry-After", 0) != "" {
		t.Error("Retry-After is said")
	}
	if err := b.worker.core.SetOverload(overload.Rules{Config: overload.Config{Off: true}}); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(10 * time.Millisecond)
	b.worker.Expire(b.now)
	b.expect(b.receive(b.alice, newCall(4, "").invite), "SIP/2.0 100", "INVITE ")
}

func TestRates(t *testing.T) {
	b := newBed(t, Stateful, RecordAlways)
	net := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	set := func(r overload.Rate) {
		t.Helper()
		if err := b.worker.core.SetOverload(overload.Rules{Rates: []overload.Rate{r}}); err != nil {
			t.Fatal(err)
		}
	}
	set(overload.Rate{Addresses: net, IPv4Bits: 32, PerSecond: 1, Burst: 2})
	b.receive(b.alice, newCall(1, "").invite)
	route := "Route: " + header(b.last(), "Record-Route", 0) + "\r\n"
	b.expect(b.receive(b.alice, newCall(2, "").invite), "SIP/2.0 100", "INVITE ")
	b.expect(b.receive(b.alice, newCall(3, "").invite)) // silence
	b.expect(b.receive(b.alice, newCall(1, route).bye), "BYE ")
	b.expect(b.receive(b.alice, newCall(1, route).ack), "ACK ")
	b.expect(b.receive(b.alice, newCall(2, "").cancel), "SIP/2.0 200") // of a call that was let in
	b.expect(b.receive(b.alice, newCall(9, "").cancel))                // of nothing
	b.expect(b.receive(b.alice, newCall(9, "").ack))
	b.expect(b.receive(b.alice, changed(newCall(3, "").invite, "Call-ID", "X-Call-ID"))) // what would be answered 400
	if b.worker.n.Limited != 4 {
		t.Errorf("%d counted", b.worker.n.Limited)
	}
	help := changed(newCall(4, "").invite, "sip:bob@127.0.0.1:5060 SIP", "urn:service:sos SIP")
	b.expect(b.receive(b.alice, help), "SIP/2.0 100", "INVITE ")
	b.worker.cfg.Trusted = func(f transport.Flow) bool { return f.Remote.Port == 5070 }
	b.expect(b.receive(b.alice, newCall(5, "").invite), "SIP/2.0 100", "INVITE ")
	b.worker.cfg.Trusted = nil
	b.now = b.now.Add(time.Second + time.Millisecond)
	b.receive(b.alice, nil) // whatever was due
	b.expect(b.receive(b.alice, newCall(6, "").invite), "SIP/2.0 100", "INVITE ")
	b.expect(b.receive(b.alice, newCall(7, "").invite))

	set(overload.Rate{Addresses: net, IPv4Bits: 32, PerSecond: 1, Reject: true})
	b.receive(b.alice, newCall(8, "").invite)
	b.expect(b.receive(b.alice, newCall(10, "").invite), "SIP/2.0 503")
	b.expect(b.receive(b.alice, ackOf(b.last())))
}

func TestScannersAreDropped(t *testing.T) {
	b := newBed(t, Stateful, RecordAlways)
	if err := b.worker.core.SetOverload(overload.Rules{Scanners: overload.DefaultScanners}); err != nil {
		t.Fatal(err)
	}
	scan := changed(newCall(1, "").invite, "User-Agent: test", "User-Agent: Friendly-Scanner")
	b.expect(b.receive(b.alice, scan))
	b.expect(b.receive(b.alice, changed(scan, "To: ", "X-To: "))) // broken as well
	b.expect(b.receive(b.alice, changed(scan, "Friendly-Scanner", "Friendly Scanner")), "SIP/2.0 100", "INVITE ")
	if b.worker.n.Scanners != 2 {
		t.Errorf("%d counted", b.worker.n.Scanners)
	}
}

// bulkWire is a wire that sends many datagrams at once.
type bulkWire struct {
	*wire
	calls int
	sent  []sentBulk
}

type sentBulk struct {
	to  transport.Flow
	msg []byte
}

// newBulkWire gives b a worker that has one.
func newBulkWire(b *bed) *bulkWire {
	w := &bulkWire{wire: b.wire, sent: make([]sentBulk, 0, 128)}
	for i := range w.sent[:cap(w.sent)] {
		w.sent[:cap(w.sent)][i].msg = make([]byte, 0, 2048)
	}
	b.worker = b.worker.core.NewWorker(0, w)
	return w
}

func (w *bulkWire) SendBulk(to transport.Flow, b []byte, size int) transport.Status {
	w.calls++
	for ; len(b) > 0 && len(w.sent) < cap(w.sent); b = b[min(size, len(b)):] {
		s := &w.sent[:len(w.sent)+1][len(w.sent)]
		s.to, s.msg = to, append(s.msg[:0], b[:min(size, len(b))]...)
		w.sent = w.sent[:len(w.sent)+1]
	}
	return transport.Queued
}

// Refusals leave together, within a millisecond, each whole and to whom it belongs.
func TestRefusalsLeaveTogether(t *testing.T) {
	b := newBed(t, Stateful, RecordAlways)
	w := newBulkWire(b)
	drown(b)
	other := b.alice
	other.Remote.Port = 5071
	const each = 40
	b.wire.n = 0
	for i := range each {
		b.worker.Receive(b.alice, newCall(100+i, "").invite, b.now)
		b.worker.Receive(other, changed(newCall(200+i, "").invite, "127.0.0.1:5070", "127.0.0.1:5071"), b.now)
	}
	if next := b.worker.Expire(b.now); next == 0 || next.Sub(b.now) > time.Millisecond {
		t.Errorf("what is left waits for %v", next.Sub(b.now))
	}
	b.now = b.now.Add(time.Millisecond)
	b.worker.Expire(b.now)
	if len(w.sent) != 2*each || w.calls > 6 || b.wire.n != 0 {
		t.Errorf("%d datagrams in %d calls, and %d others", len(w.sent), w.calls, b.wire.n)
	}
	seen := map[string]bool{}
	for _, s := range w.sent {
		msg := s.msg
		if !bytes.HasPrefix(msg, []byte("SIP/2.0 503 ")) || !bytes.HasSuffix(msg, []byte("\r\n\r\n")) || bytes.Count(msg, []byte("SIP/2.0 503")) != 1 {
			t.Fatalf("no refusal:\n%s", msg)
		}
		if via := header(msg, "Via", 0); !strings.Contains(via, s.to.Remote.AddrPort().String()) {
			t.Errorf("to %v:\n%s", s.to.Remote.AddrPort(), msg)
		}
		seen[header(msg, "Call-ID", 0)] = true
	}
	if len(seen) != 2*each {
		t.Errorf("%d calls answered", len(seen))
	}
}

func TestAllocsShedding(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBed(t, Stateful, RecordAlways)
	w := newBulkWire(b)
	rules := overload.Rules{Scanners: overload.DefaultScanners, Rates: []overload.Rate{{Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, PerSecond: 1e6, Burst: 1e6}}}
	if err := b.worker.core.SetOverload(rules); err != nil {
		t.Fatal(err)
	}
	drown(b)
	invite := newCall(1, "").invite
	b.receive(b.alice, invite)
	b.now = b.now.Add(2 * time.Millisecond)
	b.receive(b.alice, nil)
	ack := ackOf(w.sent[0].msg)
	scan := changed(invite, "User-Agent: test", "User-Agent: sipcli")
	for name, msg := range map[string][]byte{"INVITE": invite, "ACK": ack, "scanner": scan} {
		if n := testing.AllocsPerRun(500, func() {
			b.now = b.now.Add(2 * time.Millisecond)
			b.receive(b.alice, msg)
			w.sent = w.sent[:0]
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkRefuse(b *testing.B) {
	bed := newBed(b, Stateful, RecordAlways)
	call := newCall(1, "")
	drown(bed)
	if bed.receive(bed.alice, call.invite) != 1 {
		b.Fatal("not refused")
	}
	ack := ackOf(bed.last())
	b.Run("invite", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bed.receive(bed.alice, call.invite)
		}
	})
	b.Run("ack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bed.receive(bed.alice, ack)
		}
	})
}
