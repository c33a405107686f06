package router

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sipedge/transport"
)

func TestOwnRequestsRefused(t *testing.T) {
	core := newBed(t, Stateful, RecordAuto).worker.core
	hop := transport.Hop{Addr: transport.AddrFrom(netip.MustParseAddrPort("192.0.2.1:5060")), Proto: transport.UDP}
	good := "BYE sip:b@192.0.2.1 SIP/2.0\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
	if !core.Request(OwnRequest{Text: []byte(good), Hop: hop}) {
		t.Fatal("the good one is refused")
	}
	for name, text := range map[string]string{
		"an INVITE":       strings.ReplaceAll(good, "BYE", "INVITE"),
		"an ACK":          strings.ReplaceAll(good, "BYE", "ACK"),
		"a response":      strings.Replace(good, "BYE sip:b@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK", 1),
		"no Call-ID":      strings.Replace(good, "Call-ID: 1\r\n", "", 1),
		"another method":  strings.Replace(good, "CSeq: 1 BYE", "CSeq: 1 INFO", 1),
		"no end":          strings.TrimSuffix(good, "\r\n"),
		"no line at all":  "BYE",
		"nothing":         "",
		"longer than all": strings.Replace(good, "Call-ID: 1", "Call-ID: "+strings.Repeat("1", 70000), 1),
	} {
		if core.Request(OwnRequest{Text: []byte(text), Hop: hop}) {
			t.Errorf("%s is taken", name)
		}
	}
	if !core.Probe(Probe{URI: "sip:192.0.2.1", Hop: hop}) {
		t.Error("a good probe is refused")
	}
	for _, p := range []Probe{
		{URI: "sip:a b"}, {URI: "sip:a\r\nX: 1"}, {URI: "sip:a>"}, {URI: "nothing"}, {URI: ""}, {URI: "sip:a", From: "sip:x\r\nVia: 1"}, {URI: "sip:a", From: "x"},
	} {
		if core.Probe(p) {
			t.Errorf("%+v is taken", p)
		}
	}
}

// TestProbeFrom holds the From of a probe to an address of ours that the neighbour may see.
func TestProbeFrom(t *testing.T) {
	b := newBed(t, Stateful, RecordAuto)
	hop := transport.Hop{Addr: transport.AddrFrom(netip.MustParseAddrPort("192.0.2.1:5060")), Proto: transport.UDP}
	for from, want := range map[string]string{"": "<sip:probe@127.0.0.1>;tag=", "sip:edge@example.com": "<sip:edge@example.com>;tag="} {
		b.wire.n = 0
		if !b.worker.core.Probe(Probe{ID: 1, URI: "sip:192.0.2.1", From: from, Hop: hop, Timeout: time.Second}) {
			t.Fatal("refused")
		}
		b.worker.Woken(b.now)
		if b.wire.n != 1 {
			t.Fatalf("%d messages left", b.wire.n)
		}
		if got := header(b.last(), "From", 0); !strings.HasPrefix(got, want) {
			t.Errorf("From is %s, want %s...", got, want)
		}
	}
}

// wakes is a wire that counts how often its loop is woken.
type wakes struct {
	*wire
	n int
}

func (w *wakes) Wake() { w.n++ }

// TestAnswersBehindAPanic: what waits behind an answer that panicked is not left until somebody happens to wake the loop.
func TestAnswersBehindAPanic(t *testing.T) {
	b := newBed(t, Stateful, RecordAuto)
	loop := &wakes{wire: b.wire}
	b.worker.loop = loop
	b.worker.cfg.Probed = func(id uint64, _ uint16, _ transport.Instant) {
		if id == 1 {
			panic("as asked")
		}
	}
	nowhere := transport.Hop{Addr: transport.AddrFrom(netip.MustParseAddrPort("192.0.2.1:5061")), Proto: transport.TLS} // no listener
	hop := transport.Hop{Addr: nowhere.Addr, Proto: transport.UDP}
	core := b.worker.core
	core.Probe(Probe{ID: 1, URI: "sip:192.0.2.1", Hop: nowhere})
	core.Probe(Probe{ID: 2, URI: "sip:192.0.2.1", Hop: hop})
	woken := func() {
		defer func() { recover() }()
		b.worker.Woken(b.now)
	}
	loop.n = 0
	woken()
	if loop.n == 0 {
		t.Fatal("nobody will come for the second one")
	}
	core.Probe(Probe{ID: 3, URI: "sip:192.0.2.1", Hop: hop})
	for loop.n > 0 {
		loop.n = 0
		woken()
	}
	if b.wire.n != 2 {
		t.Errorf("%d of 2 probes left", b.wire.n)
	}
}
