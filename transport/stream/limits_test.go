//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

const never = 24 * time.Hour

func TestConnectionLimit(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Connections = 5
	r := start(t, cfg, newEcho)
	hello := message("hello", 0)
	var peers []*peer
	for range 5 {
		p := dial(t, r.addr())
		p.write(hello)
		p.read(hello)
		peers = append(peers, p)
	}
	for range 3 {
		dial(t, r.addr()).ends()
	}
	if n := r.Counters(); n.RefusedTotal != 3 || n.Accepted != 5 || n.Open != 5 {
		t.Errorf("counted %+v", n)
	}
	// Nothing is dialed beyond the limit either.
	l := listen(t, "127.0.0.1:0")
	r.Post(to(l.Addr().String()), []byte(hello))
	eventually(t, "the dial is refused", func() bool { return r.Counters().RefusedTotal == 4 })
	for _, p := range peers { // the others notice nothing
		p.write(hello)
		p.read(hello)
	}
	peers[0].Close()
	eventually(t, "one closes", func() bool { return r.Counters().Open == 4 })
	p := dial(t, r.addr())
	p.write(hello)
	p.read(hello)
}

func TestAddressLimit(t *testing.T) {
	cfg := tcp("0.0.0.0:0")
	cfg.Loops = 2
	cfg.Limits.PerAddress = 2
	r := start(t, cfg, newEcho)
	at := "127.0.0.1:" + portOf(r.Addrs()[0])
	from := func(ip string) *peer {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		return asPeer(t, c)
	}
	hello := message("hello", 0)
	works := func(p *peer) {
		t.Helper()
		p.write(hello)
		p.read(hello)
	}
	first := from("127.0.0.2")
	works(first)
	works(from("127.0.0.2"))
	from("127.0.0.2").ends()
	works(from("127.0.0.3"))
	first.Close()
	eventually(t, "one closes", func() bool { return r.Counters().Open == 2 })
	works(from("127.0.0.2"))
	from("127.0.0.2").ends()
	if n := r.Counters(); n.RefusedAddress != 2 || n.Accepted != 4 {
		t.Errorf("counted %+v", n)
	}
}

// One subscriber of IPv6 has a /64.
func TestAddressKey(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		x, y := transport.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr(a), 1)), transport.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr(b), 2))
		if (addressOf(&x) == addressOf(&y)) != same {
			t.Errorf("%s and %s: the same is %v", a, b, !same)
		}
	}
	f("192.0.2.1", "192.0.2.1", true)
	f("192.0.2.1", "192.0.2.2", false)
	f("2001:db8::1", "2001:db8::ffff:1", true)
	f("2001:db8:0:1::1", "2001:db8:0:2::1", false)
	f("::ffff:192.0.2.1", "192.0.2.1", true)
	f("::1", "0.0.0.1", false)
}

// 1,000 connections from one address, as load generators and large NATs have them.
func TestManyFromOneAddress(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Loops = 2
	r := start(t, cfg, newEcho)
	peers := make([]*peer, 1000)
	for i := range peers {
		peers[i] = dial(t, r.addr())
	}
	for i, p := range peers {
		p.write(message(fmt.Sprint("m", i), i%100))
	}
	for i, p := range peers {
		p.read(message(fmt.Sprint("m", i), i%100))
	}
	if n := r.Counters(); n.Open != 1000 || n.RefusedAddress != 0 {
		t.Errorf("counted %+v", n)
	}
}

func TestIdle(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Idle, cfg.Limits.HalfOpen, cfg.Limits.Message = 200*time.Millisecond, never, never
	r := start(t, cfg, newEcho)
	p := dial(t, r.addr())
	began, last, gap := time.Now(), time.Now(), time.Duration(0)
	for time.Since(began) < 2*cfg.Limits.Idle { // pings keep it open
		io.WriteString(p.TCPConn, "\r\n\r\n")
		if _, err := p.r.ReadString('\n'); err != nil {
			if gap = max(gap, time.Since(last)); gap < cfg.Limits.Idle {
				t.Errorf("closed though the longest pause was %v: %v", gap, err)
			}
			break // the machine stood still for longer than the limit
		}
		gap, last = max(gap, time.Since(last)), time.Now()
		time.Sleep(10 * time.Millisecond)
	}
	p.ends()
	if n := r.Counters(); n.ClosedIdle != 1 || n.Open != 0 {
		t.Errorf("counted %+v", n)
	}
}

func TestHalfOpen(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Idle, cfg.Limits.HalfOpen, cfg.Limits.Message = never, 100*time.Millisecond, never
	r := start(t, cfg, newEcho)
	hello := message("hello", 0)
	var good *peer
	for good == nil { // one that brings its message in time
		p := dial(t, r.addr())
		io.WriteString(p.TCPConn, hello)
		if b, _ := p.r.Peek(len(hello)); string(b) == hello {
			good = p
			good.read(hello)
		}
	}
	before := r.Counters().ClosedHalfOpen
	mute := dial(t, r.addr())
	slow := dial(t, r.addr())
	io.WriteString(slow.TCPConn, hello[:100])
	pings := dial(t, r.addr())
	io.WriteString(pings.TCPConn, "\r\n\r\n")
	mute.ends()
	slow.ends()
	io.Copy(io.Discard, pings.r)
	if n := r.Counters(); n.ClosedHalfOpen != before+3 || n.ClosedIdle != 0 {
		t.Errorf("counted %+v", n)
	}
	good.write(hello)
	good.read(hello)
}

// 1,000 peers that send their message a byte at a time change nothing for others, and are closed in the end.
func TestSlowLoris(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Idle, cfg.Limits.HalfOpen, cfg.Limits.Message = never, never, 500*time.Millisecond
	r := start(t, cfg, newEcho)
	hello := message("hello", 0)
	good := dial(t, r.addr())
	var slow []*peer
	for range 1000 {
		slow = append(slow, dial(t, r.addr()))
	}
	m := message("slow", 10000)
	over := make(chan struct{})
	var drips sync.WaitGroup
	drips.Go(func() {
		for i := 0; ; i++ {
			for _, p := range slow {
				if _, err := io.WriteString(p.TCPConn, m[i:i+1]); err != nil {
					continue
				}
			}
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	eventually(t, "all slow ones are closed", func() bool {
		good.write(hello)
		good.read(hello)
		return r.Counters().Open == 1
	})
	close(over)
	drips.Wait()
	if n := r.Counters(); n.ClosedSlow != 1000 || n.ClosedHalfOpen != 0 {
		t.Errorf("counted %+v", n)
	}
	good.write(hello)
	good.read(hello)
}

// A peer that does not read is cut off when what waits for it reaches the limit; the message that did not fit comes back.
func TestSlowReader(t *testing.T) {
	failures := make(chan told, 1000)
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.OutBytes = 1 << 20
	r := start(t, cfg, listening(failures))
	p := dial(t, r.addr())
	p.SetReadBuffer(4096)
	hello := message("hello", 0)
	p.write(hello)
	p.read(hello)
	m := message("large", 300_000)
	sent := 0
	for {
		if s := r.Post(to(p.LocalAddr().String()), []byte(m)); s != transport.Queued {
			t.Fatalf("Post says %d", s)
		}
		sent++
		if n := r.Counters(); n.ClosedOverflow == 1 {
			break
		}
		if sent > 1000 {
			t.Fatal("never cut off")
		}
		time.Sleep(time.Millisecond)
	}
	if f := <-failures; f.why != transport.Overflow || f.b != m {
		t.Errorf("failed: %d bytes for %d", len(f.b), f.why)
	}
	if n := r.Counters(); n.Unwritten == 0 || n.Unwritten > uint64(sent) {
		t.Errorf("counted %+v", n)
	}
}

// A connection that is cut off in the very turn in which it has bytes.
func TestCutOffInItsTurn(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.OutBytes = 64 << 20
	cfg.Panicked = func(_ int, what any, stack, _ []byte) { t.Errorf("panic: %v\n%s", what, stack) }
	flows := make(chan transport.Flow, 1)
	full, hold := make(chan struct{}), make(chan struct{})
	var victim atomic.Pointer[transport.Flow]
	r := start(t, cfg, func() *handler {
		return &handler{receive: func(h *handler, from transport.Flow, b []byte) {
			if !strings.Contains(string(b), "Call-ID: fill") {
				flows <- from
				return
			}
			for h.l.(*loop).outTotal == 0 { // until the kernel takes no more
				h.send(*victim.Load(), make([]byte, 100_000))
			}
			close(full)
			<-hold
		}}
	})
	p, q := dial(t, r.addr()), dial(t, r.addr())
	p.write(message("victim", 0))
	flow := <-flows
	victim.Store(&flow)
	q.write(message("fill", 0))
	<-full
	p.write(message("too late", 0))
	if s := r.Post(flow, make([]byte, cfg.Limits.OutBytes/4)); s != transport.Queued {
		t.Fatal(s)
	}
	for range 3 {
		r.Post(flow, make([]byte, cfg.Limits.OutBytes/10))
	}
	r.loops[0].engine.limits.OutBytes = 1 << 20 // the loop reads it when it goes on
	close(hold)
	eventually(t, "it is cut off", func() bool { return r.Counters().ClosedOverflow == 1 })
	q.write(message("after", 0))
	<-flows
}

// A peer that stops reading for ever is cut off, however little waits for it.
func TestStalledReader(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Idle, cfg.Limits.HalfOpen, cfg.Limits.Message = never, never, 100*time.Millisecond
	cfg.Limits.OutBytes = 100 << 20
	r := start(t, cfg, newEcho)
	p := dial(t, r.addr())
	p.SetReadBuffer(4096)
	hello := message("hello", 0)
	p.write(hello)
	p.read(hello)
	flow := to(p.LocalAddr().String())
	m := message("m", 100_000)
	sent := uint64(0)
	eventually(t, "it is cut off", func() bool {
		// Until the kernel takes no more, and a little waits here.
		if c := r.Counters(); c.Open == 1 && sent < 100 {
			r.Post(flow, []byte(m))
			sent++
		}
		return r.Counters().ClosedOverflow == 1
	})
}

// One message larger than the limit of what may wait passes, when nothing waits before it.
func TestLargeBehindNothing(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.OutBytes = 1000
	r := start(t, cfg, newEcho)
	p := dial(t, r.addr())
	m := message("large", 900_000)
	go p.write(m)
	p.read(m)
}

// The bytes of unfinished messages are bounded over all connections.
func TestUnfinishedTotal(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.InTotal = 200_000
	r := start(t, cfg, newEcho)
	var peers []*peer
	half := message("half", 100_000)[:60_000]
	for range 20 {
		p := dial(t, r.addr())
		go io.Copy(p.TCPConn, strings.NewReader(half))
		peers = append(peers, p)
	}
	eventually(t, "some are closed", func() bool { return r.Counters().ClosedSlow >= 15 })
	p := dial(t, r.addr())
	p.write(message("x", 10))
	p.read(message("x", 10))
	_ = peers
}

// The queue of a loop is bounded: what does not fit is refused at once.
func TestRingFull(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.RingMessages = 8
	flows := make(chan transport.Flow, 1)
	hold := make(chan struct{})
	r := start(t, cfg, func() *handler {
		return &handler{receive: func(_ *handler, from transport.Flow, _ []byte) {
			flows <- from
			<-hold
		}}
	})
	p := dial(t, r.addr())
	p.write(message("x", 0))
	flow := <-flows
	for i := range 20 {
		want := transport.Queued
		if i >= 8 {
			want = transport.Backpressure
		}
		if s := r.Post(flow, fmt.Appendf(nil, "%02d ", i)); s != want {
			t.Errorf("Post %d says %d", i, s)
		}
	}
	close(hold)
	p.read("00 01 02 03 04 05 06 07 ")
	if n := r.Counters().RingFull; n != 12 {
		t.Errorf("%d refused, want 12", n)
	}
}

// More connections than the number of open files allows are never promised.
func TestFileLimit(t *testing.T) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		t.Fatal(err)
	}
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Connections = 1 << 29
	warned := ""
	cfg.Warn = func(m string) { warned += m }
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	if n := uint64(e.limits.Connections); n >= r.Cur || n < r.Cur/2 {
		t.Errorf("%d connections with %d files", n, r.Cur)
	}
	if !strings.Contains(warned, "ulimit -n") {
		t.Errorf("warned %q", warned)
	}
}
