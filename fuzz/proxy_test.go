package fuzz

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sipedge/parser"
	"sipedge/router"
	"sipedge/transport"
	"sipedge/txn"
)

// lines is a transport.Loop that keeps what is sent.
type lines struct {
	buf  []byte
	sent [][]byte
	to   []transport.Flow
}

func (l *lines) Buffer() []byte { return l.buf[:0] }
func (l *lines) Wake()          {}
func (l *lines) Send(to transport.Flow, b []byte) transport.Status {
	l.sent = append(l.sent, bytes.Clone(b))
	l.to = append(l.to, to)
	return transport.Queued
}

// listeners are one for each transport, in this order.
var listeners = []router.Listener{
	{Addr: netip.MustParseAddrPort("127.0.0.1:5060")},
	{Addr: netip.MustParseAddrPort("127.0.0.1:5060"), Proto: transport.TCP},
	{Addr: netip.MustParseAddrPort("127.0.0.1:5061"), Proto: transport.TLS},
	{Addr: netip.MustParseAddrPort("127.0.0.1:80"), Proto: transport.WS},
}

// over is the flow from a port by the transport of listener i.
func over(i int, n uint16) transport.Flow {
	f := port(n)
	if i > 0 {
		f.Proto, f.Listener, f.Conn, f.Gen = listeners[i].Proto, uint16(i), uint32(n), 1
	}
	return f
}

func port(n uint16) transport.Flow {
	return transport.Flow{Remote: transport.AddrFrom(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), n)), Proto: transport.UDP}
}

// proxy is a router with one loop and its clock.
type proxy struct {
	core   *router.Core
	worker *router.Worker
	lines  *lines
	now    transport.Instant
}

func newProxy(t *testing.T, how uint8, keys *txn.Keys) *proxy {
	cfg := router.Config{
		Listeners:    listeners,
		NextHop:      &router.NextHop{Host: "127.0.0.1", Port: 5080, Proto: listeners[how>>5%3].Proto},
		UDPMTUSwitch: how&128 != 0,
		Timers:       txn.DefaultTimers(),
	}
	if how&1 != 0 {
		cfg.Mode = router.Stateless
	}
	if how&2 != 0 {
		cfg.RecordRoute = router.RecordAlways
	}
	cfg.ForceRport = how&4 != 0
	core, err := router.New(cfg, txn.NewStore(txn.StoreConfig{MaxTransactions: 1 << 10}), keys)
	if err != nil {
		t.Fatal(err)
	}
	l := &lines{buf: make([]byte, transport.MaxDatagram)}
	p := &proxy{core: core, worker: core.NewWorker(0, l), lines: l, now: transport.Instant(time.Second)}
	p.worker.Busy()
	return p
}

// FuzzProxy claims, for any message from upstream, over any transport, and any change that downstream makes to its answer: nothing
// panics; one message makes at most one request and one response; what leaves can be read; a request goes to the next hop alone and
// with its body untouched; and when all timers have run, nothing of it is left.
func FuzzProxy(f *testing.F) {
	for i, b := range messages(f) {
		f.Add(b, uint8(i), uint16(200+i*7%400), uint16(i*13), byte(i))
	}
	invite := []byte("INVITE sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n" +
		"Route: <sip:127.0.0.1;lr>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:bob@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 2\r\n\r\nok")
	for _, status := range []uint16{100, 180, 200, 302, 407, 486, 503, 603} {
		f.Add(invite, uint8(0), status, uint16(0), byte(0))
		f.Add(invite, uint8(3), status, uint16(20), byte('x'))
	}
	for i := range 8 {
		f.Add(invite, uint8(i<<3), uint16(200), uint16(0), byte(0))
		f.Add(invite, uint8(i<<5|2), uint16(200), uint16(0), byte(0))
	}
	f.Add([]byte("0 SIP/0.0\r\nCAll-ID:\x00\r\nV:0/0/0 0\r\nContent-Length:1\r\n\r\n"), uint8(8), uint16(200), uint16(0), byte(0))
	f.Add([]byte("\r\nV"), uint8(8), uint16(200), uint16(0), byte(0))
	f.Add([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"), uint8(0), uint16(200), uint16(0), byte(0))
	f.Add([]byte("\x00\x01\x00\x04\x21\x12\xa4\x42abcdefghijkl\x00\x03\x00\x00"), uint8(0), uint16(200), uint16(0), byte(0))
	keys, err := txn.NewKeys([]byte("the secret of the fuzzer, long enough"), nil)
	if err != nil {
		f.Fatal(err)
	}
	// One proxy for each configuration serves all inputs: each leaves it empty, and it starts fast.
	var proxies [256]*proxy
	f.Fuzz(func(t *testing.T, b []byte, how uint8, status, at uint16, change byte) {
		if len(b) > 16<<10 {
			return
		}
		alice, bob := over(int(how>>3&3), 5070), over(int(how>>5%3), 5080)
		p := proxies[how&^0x18]
		if p == nil {
			p = newProxy(t, how, keys)
			proxies[how&^0x18] = p
		}
		l, w := p.lines, p.worker
		now := p.now
		defer func() { p.now = now }()
		receive := func(from transport.Flow, b []byte) {
			l.sent, l.to = l.sent[:0], l.to[:0]
			input := bytes.Clone(b)
			w.Receive(from, b, now)
			w.Expire(now)
			now += transport.Instant(time.Millisecond)
			w.Quiesce()
			if !bytes.Equal(b, input) {
				t.Fatal("the input was written to")
			}
		}
		receive(alice, b)
		if len(b) > 0 && b[0] <= 1 {
			stunOnly(t, l, alice)
			return
		}
		readable(t, l, b)
		requests := 0
		var request []byte
		for i, out := range l.sent {
			if bytes.HasPrefix(out, []byte("SIP/2.0 ")) {
				continue
			}
			requests, request = requests+1, out
			if l.to[i].Remote != port(5080).Remote {
				t.Fatalf("a request to %v:\n%s", l.to[i].Remote.AddrPort(), out)
			}
		}
		if requests > 1 || len(l.sent) > 2 {
			t.Fatalf("one datagram made %d: %q", len(l.sent), l.sent)
		}
		if request != nil {
			bodyKept(t, b, request)
			answer := respond(request, 100+status%600)
			if len(answer) > 0 && change != 0 {
				answer[int(at)%len(answer)] = change
			}
			receive(bob, answer)
			if change == 0 {
				readable(t, l, answer) // otherwise downstream may be what cannot be read
			}
			receive(bob, answer)
			receive(alice, b)
		}
		for range 10 {
			l.sent, l.to = l.sent[:0], l.to[:0]
			now += transport.Instant(40 * time.Second)
			for range 4 {
				w.Expire(now)
				w.Quiesce()
			}
		}
		if n := p.core.Counters(); n.Begun != n.Ended || n.Begun != n.Answered {
			t.Fatalf("something is left: %+v", n)
		}
	})
}

// readable checks that what left can be read; that a part which nobody reads on the way, such as Contact, is as
// malformed as it came, is not our fault.
func readable(t *testing.T, l *lines, in []byte) {
	var m parser.Message
	for _, out := range l.sent {
		err := parser.Parse(out, &m)
		if err.Class() == parser.ClassFine || err.Code == parser.ErrContact || err.Code == parser.ErrRoute || err.Code == parser.ErrMaxForwards {
			continue
		}
		if !m.Request && m.Status >= 400 && err.Class() == parser.ClassAnswerable {
			continue // it repeats what it refuses
		}
		t.Fatalf("%v in what left:\n%q\nfor\n%q", err, out, in)
	}
}

// stunOnly: what begins like STUN is answered by STUN, to where it came from, or not at all.
func stunOnly(t *testing.T, l *lines, from transport.Flow) {
	for i, out := range l.sent {
		if len(l.sent) > 1 || l.to[i] != from || len(out) < 20 || len(out)%4 != 0 || int(out[2])<<8+int(out[3]) != len(out)-20 || out[0] != 1 {
			t.Fatalf("%x to %v", out, l.to[i])
		}
	}
}

// bodyKept: "The proxy MUST NOT add to, modify, or remove the message body." RFC 3261 section 16.6 step 1.
func bodyKept(t *testing.T, in, out []byte) {
	var m, n parser.Message
	parser.Parse(in, &m)
	parser.Parse(out, &n)
	if !bytes.Equal(in[m.BodyOff:m.BodyOff+m.BodyLen], out[n.BodyOff:n.BodyOff+n.BodyLen]) {
		t.Fatalf("body changed:\n%q\n%q", in, out)
	}
}

// respond is a response that the called party might give to request.
func respond(request []byte, status uint16) []byte {
	var m parser.Message
	if parser.Parse(request, &m).Class() == parser.ClassUnreadable {
		return nil
	}
	out := fmt.Appendf(nil, "SIP/2.0 %d Whatever\r\n", status)
	for i := range m.HeaderCount() {
		switch m.HeaderAt(i).ID {
		case parser.HeaderVia, parser.HeaderFrom, parser.HeaderTo, parser.HeaderCallID, parser.HeaderCSeq, parser.HeaderRecordRoute:
			out = append(out, m.LineSpan(i).In(request)...)
		}
	}
	return append(out, "Content-Length: 0\r\n\r\n"...)
}
