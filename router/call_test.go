package router

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sipedge/transport"
	"sipedge/txn"
)

// wire is a transport.Loop whose packets stay in memory: what leaves is the last packet.
type wire struct {
	buf   []byte
	sent  [][]byte
	flows []transport.Flow
	n     int

	backlog transport.Backlog
}

func newWire() *wire {
	w := &wire{buf: make([]byte, transport.MaxDatagram), sent: make([][]byte, 64), flows: make([]transport.Flow, 64)}
	for i := range w.sent {
		w.sent[i] = make([]byte, 0, 4096)
	}
	return w
}

func (w *wire) Buffer() []byte { return w.buf[:0] }
func (w *wire) Wake()          {}

// Backlog implements transport.Gauge.
func (w *wire) Backlog() transport.Backlog { return w.backlog }

func (w *wire) Send(to transport.Flow, b []byte) transport.Status {
	w.sent[w.n] = append(w.sent[w.n][:0], b...)
	w.flows[w.n] = to
	w.n++
	return transport.Queued
}

// bed is one worker with two neighbours: alice upstream, bob downstream.
type bed struct {
	tb         testing.TB
	wire       *wire
	worker     *Worker
	now        transport.Instant
	alice, bob transport.Flow
}

func newBed(tb testing.TB, mode Mode, record RecordRoute) *bed {
	tb.Helper()
	store := txn.NewStore(txn.StoreConfig{MaxTransactions: 1 << 16})
	tb.Cleanup(store.Close)
	keys, err := txn.NewKeys([]byte("a secret of more than sixteen bytes"), nil)
	if err != nil {
		tb.Fatal(err)
	}
	core, err := New(Config{
		Mode: mode, RecordRoute: record, Timers: txn.DefaultTimers(),
		Listeners: []Listener{{Addr: netip.MustParseAddrPort("127.0.0.1:5060")}},
		NextHop:   &NextHop{Host: "127.0.0.1", Port: 5080},
	}, store, keys)
	if err != nil {
		tb.Fatal(err)
	}
	b := &bed{tb: tb, wire: newWire(), now: transport.Instant(time.Second)}
	b.worker = core.NewWorker(0, b.wire)
	b.worker.Busy()
	flow := func(port uint16) transport.Flow {
		return transport.Flow{Remote: transport.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)), Proto: transport.UDP}
	}
	b.alice, b.bob = flow(5070), flow(5080)
	return b
}

// receive gives b to the worker and ends the batch. It returns how many messages left.
func (b *bed) receive(from transport.Flow, msg []byte) int {
	b.wire.n = 0
	b.now = b.now.Add(time.Microsecond) // so that no timer comes between the steps of a test
	b.worker.Receive(from, msg, b.now)
	b.worker.Expire(b.now)
	b.worker.Quiesce()
	return b.wire.n
}

// call makes the messages of one call. Only the digits of the number differ from call to call, so that
// they can be written over in place.
type call struct {
	invite, ack, bye, cancel []byte
}

const sdp = "v=0\r\no=alice 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"

func newCall(n int, route string) call {
	request := func(method, uri, branch, to, extra, body string) []byte {
		number := 1
		if method == "BYE" {
			number = 2
		}
		return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-%s-%08d\r\n"+
			"%sMax-Forwards: 70\r\nFrom: Alice <sip:alice@127.0.0.1:5070>;tag=a%08d\r\nTo: Bob <sip:bob@127.0.0.1:5060>%s\r\n"+
			"Call-ID: call-%08d@127.0.0.1\r\nCSeq: %d %s\r\nContact: <sip:alice@127.0.0.1:5070>\r\n%sContent-Length: %d\r\n\r\n%s",
			method, uri, branch, n, extra, n, to, n, number, method, "User-Agent: test\r\n", len(body), body)
	}
	return call{
		invite: request("INVITE", "sip:bob@127.0.0.1:5060", "i", "", "", sdp),
		ack:    request("ACK", "sip:bob@127.0.0.1:5080", "a", ";tag=b1", route, ""),
		bye:    request("BYE", "sip:bob@127.0.0.1:5080", "b", ";tag=b1", route, ""),
		cancel: request("CANCEL", "sip:bob@127.0.0.1:5060", "i", "", "", ""),
	}
}

// answer makes a response to the request that reached bob.
func answer(status, request []byte, body string) []byte {
	out := append([]byte("SIP/2.0 "), status...)
	out = append(out, "\r\n"...)
	for _, line := range bytes.Split(request[:bytes.Index(request, []byte("\r\n\r\n"))], []byte("\r\n"))[1:] {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "Via", "Record-Route", "From", "Call-ID", "CSeq":
			out = append(append(out, line...), "\r\n"...)
		case "To":
			out = append(out, line...)
			if !bytes.Contains(line, []byte(";tag=")) {
				out = append(out, ";tag=b1"...)
			}
			out = append(out, "\r\n"...)
		}
	}
	return fmt.Appendf(out, "Contact: <sip:bob@127.0.0.1:5080>\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// header is the value of the n-th header line called name.
func header(msg []byte, name string, n int) string {
	for _, line := range bytes.Split(msg, []byte("\r\n")) {
		if v, ok := bytes.CutPrefix(line, []byte(name+": ")); ok {
			if n == 0 {
				return string(v)
			}
			n--
		}
	}
	return ""
}

func (b *bed) expect(n int, starts ...string) {
	b.tb.Helper()
	if n != len(starts) {
		for _, s := range b.wire.sent[:n] {
			b.tb.Logf("sent:\n%s", s)
		}
		b.tb.Fatalf("%d messages left, want %v", n, starts)
	}
	for i, s := range starts {
		if !bytes.HasPrefix(b.wire.sent[i], []byte(s)) {
			b.tb.Fatalf("message %d is\n%s\nwant %s", i, b.wire.sent[i], s)
		}
	}
}

func (b *bed) last() []byte { return bytes.Clone(b.wire.sent[b.wire.n-1]) }

func TestCall(t *testing.T) {
	for _, mode := range []Mode{Stateful, Stateless} {
		b := newBed(t, mode, RecordAlways)
		c := newCall(1, "")
		if mode == Stateful {
			b.expect(b.receive(b.alice, c.invite), "SIP/2.0 100 Trying", "INVITE sip:bob@127.0.0.1:5060")
		} else {
			b.expect(b.receive(b.alice, c.invite), "INVITE sip:bob@127.0.0.1:5060")
		}
		invite := b.last()
		t.Logf("%s", invite)
		if b.wire.flows[b.wire.n-1].Remote != b.bob.Remote {
			t.Fatal("not to bob")
		}
		route := "Route: " + header(invite, "Record-Route", 0) + "\r\n"
		b.expect(b.receive(b.bob, answer([]byte("180 Ringing"), invite, "")), "SIP/2.0 180 Ringing")
		b.expect(b.receive(b.bob, answer([]byte("200 OK"), invite, sdp)), "SIP/2.0 200 OK")
		if b.wire.flows[0].Remote != b.alice.Remote {
			t.Fatal("not to alice")
		}
		c = newCall(1, route)
		b.expect(b.receive(b.alice, c.ack), "ACK sip:bob@127.0.0.1:5080")
		b.expect(b.receive(b.alice, c.bye), "BYE sip:bob@127.0.0.1:5080")
		bye := b.last()
		t.Logf("%s", bye)
		b.expect(b.receive(b.bob, answer([]byte("200 OK"), bye, "")), "SIP/2.0 200 OK")
		for range 5 {
			b.now = b.now.Add(40 * time.Second)
			b.worker.Expire(b.now)
			b.worker.Quiesce()
		}
		n := b.worker.core.Counters()
		t.Logf("%+v", n)
		if n.Begun != n.Ended || n.Begun != n.Answered {
			t.Fatalf("contexts left: %+v", n)
		}
	}
}
