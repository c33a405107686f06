package batch

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"sipedge/transport"
)

// pieces are n messages in a row, all but the last of the same size.
func pieces(n, size int) (all []byte, each [][]byte) {
	for i := range n {
		b := bytes.Repeat([]byte{byte('a' + i%26)}, size)
		copy(b, fmt.Sprintf("%d:", i))
		if i == n-1 {
			b = b[:size/2+1]
		}
		each = append(each, b)
		all = append(all, b...)
	}
	return all, each
}

// What SendBulk takes in one arrives as datagrams, in order, from where they should come; also when the kernel does not help.
func TestSendBulk(t *testing.T) {
	for _, c := range []struct {
		name, listen, peer, local string
		n, size                   int
		alone                     bool
	}{
		{name: "IPv4", listen: "127.0.0.1:0", peer: "127.0.0.1", n: 20, size: 512},
		{name: "IPv6", listen: "[::1]:0", peer: "::1", n: 20, size: 512},
		{name: "one", listen: "127.0.0.1:0", peer: "127.0.0.1", n: 1, size: 512},
		{name: "more than the kernel cuts", listen: "127.0.0.1:0", peer: "127.0.0.1", n: 2*bulkSegments + 3, size: 100},
		{name: "large", listen: "127.0.0.1:0", peer: "127.0.0.1", n: 5, size: bulkSize + 1},
		{name: "wildcard", listen: "0.0.0.0:0", peer: "127.0.0.1", local: "127.0.0.9", n: 20, size: 512},
		{name: "IPv6 wildcard", listen: "[::]:0", peer: "::1", local: "::1", n: 20, size: 512},
		{name: "one by one", listen: "127.0.0.1:0", peer: "127.0.0.1", n: 20, size: 512, alone: true},
		{name: "one by one from a wildcard", listen: "0.0.0.0:0", peer: "127.0.0.1", local: "127.0.0.9", n: 20, size: 512, alone: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t, 1, netip.MustParseAddrPort(c.listen))
			l := e.loops[0]
			l.socks[0].noBulk = c.alone
			to := peer(t, netip.MustParseAddr(c.peer))
			flow := transport.Flow{Remote: addrOf(to), Proto: transport.UDP}
			source := e.Addrs()[0]
			if c.local != "" {
				a := netip.MustParseAddr(c.local)
				flow.Local, source = a.As16(), netip.AddrPortFrom(a, source.Port())
			}
			all, each := pieces(c.n, c.size)
			if st := l.SendBulk(flow, all, c.size); st != transport.Queued {
				t.Fatalf("status %v", st)
			}
			clear(all) // it was borrowed
			l.flush()
			if got := l.stats.packetsOut.Load(); got != uint64(c.n) {
				t.Errorf("%d packets counted, %d sent", got, c.n)
			}
			b := make([]byte, 64<<10)
			for i, want := range each {
				to.SetReadDeadline(time.Now().Add(patience))
				n, from, err := to.ReadFromUDPAddrPort(b)
				if err != nil {
					t.Fatalf("datagram %d: %v", i, err)
				}
				if !bytes.Equal(b[:n], want) {
					t.Fatalf("datagram %d is %d bytes (%.20q), want %d (%.20q)", i, n, b[:n], len(want), want)
				}
				if from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); from != source {
					t.Errorf("from %v, want %v", from, source)
				}
			}
		})
	}
}

func TestSendBulkGone(t *testing.T) {
	l := open(t, 1, loopback()).loops[0]
	all, _ := pieces(3, 100)
	v6 := transport.AddrFrom(netip.MustParseAddrPort("[::1]:5060"))
	v4 := transport.AddrFrom(netip.MustParseAddrPort("127.0.0.1:5060"))
	for _, f := range []transport.Flow{{Remote: v6, Proto: transport.UDP}, {Remote: v4, Proto: transport.TCP}, {Remote: v4, Proto: transport.UDP, Listener: 1}} {
		if st := l.SendBulk(f, all, 100); st != transport.Gone {
			t.Errorf("%+v: %v", f, st)
		}
	}
}

// A queue that stands is seen, with how long it has stood, and is no more when it was emptied.
func TestBacklog(t *testing.T) {
	e := open(t, 1, loopback())
	l := e.loops[0]
	l.handler = &nowhere{}
	from := peer(t, netip.MustParseAddr("127.0.0.1"))
	at := net.UDPAddrFromAddrPort(e.Addrs()[0])
	send := func(n int) {
		t.Helper()
		for range n {
			if _, err := from.WriteTo([]byte("OPTIONS"), at); err != nil {
				t.Fatal(err)
			}
		}
	}
	now := transport.Now().Add(time.Minute)
	receive := func() {
		now = now.Add(2 * time.Millisecond)
		l.now, l.polled, l.ready = now, true, 0
		l.receive(0)
		l.deliver()
	}
	if b := l.Backlog(); b != (transport.Backlog{}) {
		t.Errorf("%+v before anything came", b)
	}
	send(3) // to be weighed
	receive()
	send(4000) // more than the buffer takes
	l.Backlog()
	var worst transport.Backlog
	for range 40 {
		receive()
		worst = worst.Worse(l.Backlog())
	}
	// 32 are taken out in 2 ms, and 500 to 2,700 of the smallest fit into a buffer of 2 MiB.
	if worst.Delay < 20*time.Millisecond || worst.Delay > 200*time.Millisecond || worst.Fill < 0.5 || worst.Fill > 1 {
		t.Errorf("%+v with a full buffer", worst)
	}
	for l.ready != 0 {
		receive()
	}
	if l.Backlog(); l.Backlog() != (transport.Backlog{}) {
		t.Errorf("%+v after it was emptied", l.Backlog())
	}
	// A burst that is worked off before anybody asks is none.
	send(3 * receiveBatch)
	for l.ready = 1; l.ready != 0; {
		receive()
	}
	if b := l.Backlog(); b != (transport.Backlog{}) {
		t.Errorf("%+v after a burst", b)
	}
}

// What a full buffer loses is counted.
func TestReceiveDropped(t *testing.T) {
	e, err := Open(transport.Config{Listeners: []netip.AddrPort{loopback()}, Loops: 1, ReceiveBuffer: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	l := e.loops[0]
	l.handler = &nowhere{}
	from := peer(t, netip.MustParseAddr("127.0.0.1"))
	const sent = 4000
	for range sent {
		if _, err := from.WriteTo(make([]byte, 500), net.UDPAddrFromAddrPort(e.Addrs()[0])); err != nil {
			t.Fatal(err)
		}
	}
	now := transport.Now()
	for l.ready = 1; l.ready != 0; {
		now = now.Add(2 * time.Millisecond)
		l.now, l.polled, l.ready = now, true, 0
		l.receive(0)
		l.deliver()
	}
	s := e.Stats(0)
	if s.ReceiveDropped == 0 || s.ReceiveDropped+s.PacketsIn != sent {
		t.Errorf("%d received and %d lost of %d", s.PacketsIn, s.ReceiveDropped, sent)
	}
}

// nowhere is a Handler that does nothing.
type nowhere struct{ relay }

func (*nowhere) Receive(transport.Flow, []byte, transport.Instant) {}
