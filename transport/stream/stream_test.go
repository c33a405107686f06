//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sipedge/parser"
	"sipedge/transport"
)

// newEcho makes Handlers that send everything back.
func newEcho() *handler { return &handler{receive: echo} }

func TestEcho(t *testing.T) {
	eachDelivery(t, func(t *testing.T, write func(*peer, ...string)) {
		for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0", "[::ffff:127.0.0.1]:0"} {
			r := start(t, tcp(addr), newEcho)
			at := strings.NewReplacer("0.0.0.0", "127.0.0.1", "[::]", "[::1]").Replace(r.addr())
			p := dial(t, at)
			messages := []string{message("one", 0), message("two", 100), message("three", 3000)}
			write(p, messages...)
			p.read(strings.Join(messages, ""))
			r.stop()
			s := r.Stats(0)
			n := uint64(len(strings.Join(messages, "")))
			if s.PacketsIn != 3 || s.PacketsOut != 3 || s.BytesIn != n || s.BytesOut != n {
				t.Errorf("counted %+v", s)
			}
		}
	})
}

// What Receive is told of a connection.
func TestFlow(t *testing.T) {
	for _, c := range []struct{ listen, at, local string }{
		{"127.0.0.1:0", "127.0.0.1", ""},
		{"0.0.0.0:0", "127.0.0.9", "127.0.0.9"},
		{"[::]:0", "::1", "::1"},
	} {
		flows := make(chan transport.Flow, 2)
		r := start(t, tcp(c.listen), func() *handler {
			return &handler{receive: func(_ *handler, from transport.Flow, _ []byte) { flows <- from }}
		})
		p := dial(t, net.JoinHostPort(c.at, portOf(r.Addrs()[0])))
		p.write(message("a", 0) + message("b", 0))
		got := <-flows
		want := transport.Flow{
			Remote: transport.AddrFrom(p.LocalAddr().(*net.TCPAddr).AddrPort()), Proto: transport.TCP, Loop: 2, Listener: 3,
			Conn: got.Conn, Gen: got.Gen,
		}
		if c.local != "" {
			want.Local = netip.MustParseAddr(c.local).As16()
		}
		if got != want || got.Gen == 0 {
			t.Errorf("%s: flow %+v, want %+v", c.listen, got, want)
		}
		if again := <-flows; again != got {
			t.Errorf("%s: the next message has flow %+v, the first had %+v", c.listen, again, got)
		}
		r.stop()
	}
}

func portOf(a netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// Sizes around what the buffers take in one piece, to the largest there is.
func TestLargeMessages(t *testing.T) {
	eachDelivery(t, func(t *testing.T, write func(*peer, ...string)) {
		r := start(t, tcp("127.0.0.1:0"), newEcho)
		p := dial(t, r.addr())
		for _, n := range []int{2048, 65535, 65536, 300_000, parser.MaxStreamMessage - 400} {
			messages := []string{message("large", n), message("small", 10), message("large", n)}
			all := strings.Join(messages, "")
			go write(p, messages...)
			p.read(all)
		}
	})
}

func TestBroken(t *testing.T) {
	noLength := strings.Replace(message("x", 0), "Content-Length: 0\r\n", "", 1)
	tooLong := strings.Replace(message("x", 0), "Content-Length: 0\r\n", "Content-Length: 1048577\r\n", 1)
	eachDelivery(t, func(t *testing.T, write func(*peer, ...string)) {
		for _, c := range []struct {
			name, bytes string
			answered    bool
		}{
			{"no Content-Length", noLength, true},
			{"more than a message may have", tooLong, true},
			{"no SIP", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", false},
			{"no line ends", strings.Repeat("x", parser.MaxHeaderSection+1), false},
			{"too many lines", "MESSAGE sip:a@b SIP/2.0\r\n" + strings.Repeat("A: b\r\n", parser.MaxLineEnds+1), false},
		} {
			t.Run(c.name, func(t *testing.T) {
				delivered := make(chan string, 3)
				r := start(t, tcp("127.0.0.1:0"), func() *handler {
					return &handler{receive: func(h *handler, from transport.Flow, b []byte) {
						delivered <- string(b)
						h.send(from, []byte("answer"))
					}}
				})
				p := dial(t, r.addr())
				good := message("good", 5)
				write(p, good, c.bytes)
				p.read("answer")
				if c.answered {
					p.read("answer")
				}
				p.ends()
				r.stop()
				close(delivered)
				if b := <-delivered; b != good {
					t.Errorf("delivered %.100q first", b)
				}
				// The bytes behind the fault, as many as had come.
				b, ok := <-delivered
				if ok != c.answered || !strings.HasPrefix(c.bytes, b) || ok && len(b) < len(c.bytes)-4 {
					t.Errorf("delivered %.100q, %v", b, ok)
				}
				if b, ok := <-delivered; ok {
					t.Errorf("delivered once more: %.100q", b)
				}
				if n := r.Counters(); n.ClosedBroken != 1 {
					t.Errorf("counted %+v", n)
				}
			})
		}
	})
}

// "When a server receives a double CRLF sequence between SIP messages on a connection-oriented transport such as TCP or SCTP,
// it MUST immediately respond with a single CRLF over the same connection." RFC 5626 section 5.4
func TestKeepAlive(t *testing.T) {
	const crlf = "\r\n"
	m := message("m", 20)
	eachDelivery(t, func(t *testing.T, write func(*peer, ...string)) {
		for _, c := range []struct {
			name, want string
			in         []string
		}{
			{"ping", crlf + m, []string{crlf + crlf, m}},
			{"two pings", crlf + crlf + m, []string{crlf + crlf, crlf + crlf, m}},
			{"line end in front", m, []string{crlf, m}},
			{"line end behind each", m + m + m, []string{m, crlf, m, crlf, m}},
			{"ping between messages", m + crlf + m, []string{m, crlf + crlf, m}},
			{"line end, ping", crlf + m, []string{crlf, crlf + crlf, m}},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := start(t, tcp("127.0.0.1:0"), newEcho)
				p := dial(t, r.addr())
				write(p, c.in...)
				p.read(c.want)
			})
		}
	})
}

func TestKeepAliveFlood(t *testing.T) {
	for name, piece := range map[string]string{"pings": "\r\n\r\n", "one run": strings.Repeat("\r\n", parser.MaxKeepAlive)} {
		t.Run(name, func(t *testing.T) {
			r := start(t, tcp("127.0.0.1:0"), newEcho)
			p := dial(t, r.addr())
			pongs := make(chan int64)
			go func() {
				n, _ := io.Copy(io.Discard, p.r)
				pongs <- n
			}()
			for range 10 * keepAlives {
				if _, err := io.WriteString(p.TCPConn, piece); err != nil {
					break
				}
			}
			if n := <-pongs; n > 2*keepAlives {
				t.Errorf("%d bytes of pongs", n)
			}
			if n := r.Counters(); n.ClosedPings != 1 || n.Open != 0 {
				t.Errorf("counted %+v", n)
			}
		})
	}
}

// A flow whose connection is gone, or never was, or is of another kind.
func TestStale(t *testing.T) {
	type failure struct {
		to  transport.Flow
		b   string
		why transport.Failure
	}
	failures := make(chan failure, 1)
	flows := make(chan transport.Flow, 1)
	r := start(t, tcp("127.0.0.1:0"), func() *handler {
		return &handler{
			receive: func(_ *handler, from transport.Flow, _ []byte) { flows <- from },
			failed: func(_ *handler, to transport.Flow, b []byte, why transport.Failure) {
				failures <- failure{to, string(b), why}
			},
		}
	})
	p := dial(t, r.addr())
	p.write(message("x", 0))
	flow := <-flows
	large := message("late", 300_000)
	f := func(change func(*transport.Flow)) {
		t.Helper()
		to := flow
		change(&to)
		if s := r.Post(to, []byte(large)); s != transport.Queued {
			t.Errorf("Post says %d", s)
			return
		}
		if got := <-failures; got.to != to || got.b != large || got.why != transport.Closed {
			t.Errorf("failed: %+v with %d bytes for %d", got.to, len(got.b), got.why)
		}
	}
	f(func(to *transport.Flow) { to.Gen++ })
	f(func(to *transport.Flow) { to.Conn++ })
	f(func(to *transport.Flow) { to.Conn = 1 << 31 })
	f(func(to *transport.Flow) { to.Proto = transport.TLS })
	if s := r.Post(flow, []byte("in time")); s != transport.Queued {
		t.Errorf("Post says %d", s)
	}
	p.read("in time")
	if n := r.Counters().Stale; n != 4 {
		t.Errorf("%d stale messages counted, want 4", n)
	}
	p.Close()
	eventually(t, "the connection closes", func() bool { return r.Counters().Open == 0 })
	f(func(*transport.Flow) {})
	// The place is used again, by another generation.
	p = dial(t, r.addr())
	p.write(message("y", 0))
	if again := <-flows; again.Conn != flow.Conn || again.Gen == flow.Gen {
		t.Errorf("flow %+v behind %+v", again, flow)
	}
	f(func(*transport.Flow) {})

	for _, bad := range []func(*transport.Flow){
		func(to *transport.Flow) { to.Loop = 1 },
		func(to *transport.Flow) { to.Loop = 3 },
		func(to *transport.Flow) { to.Proto = transport.UDP },
		func(to *transport.Flow) { to.Proto = 0 },
		func(to *transport.Flow) { to.Proto = 9 },
		func(to *transport.Flow) { to.Proto, to.Gen = transport.WS, 0 },
	} {
		to := flow
		bad(&to)
		if s := r.Post(to, []byte("x")); s != transport.Gone {
			t.Errorf("Post to %+v says %d", to, s)
		}
	}
}

// The Handler sends from where it is called: Woken, Expire, Receive and SendFailed; and to the connections of another loop.
func TestSendFromEverywhere(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Loops = 3
	var mu sync.Mutex
	var flows []transport.Flow
	known := func() []transport.Flow {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(flows)
	}
	const conns = 8
	r := start(t, cfg, func() *handler {
		var due, over bool
		return &handler{
			receive: func(_ *handler, from transport.Flow, _ []byte) {
				mu.Lock()
				flows = append(flows, from)
				mu.Unlock()
			},
			woken: func(h *handler) {
				for _, f := range known() {
					h.send(f, []byte("woken "))
					f.Gen++
					h.send(f, []byte("failed "))
				}
				due = true
			},
			expire: func(h *handler, now transport.Instant) transport.Instant {
				if due && !over {
					due, over = false, true
					for _, f := range known() {
						h.send(f, []byte("expired "))
					}
				}
				return 0
			},
			failed: func(h *handler, to transport.Flow, b []byte, _ transport.Failure) {
				to.Gen--
				h.send(to, b)
			},
		}
	})
	var peers []*peer
	for range conns {
		p := dial(t, r.addr())
		p.write(message("x", 0))
		peers = append(peers, p)
	}
	eventually(t, "all are known", func() bool { return len(known()) == conns })
	for _, h := range r.handlers {
		h.l.Wake()
	}
	for _, p := range peers {
		want := map[string]int{"woken ": 3, "expired ": 3, "failed ": 3}
		for range 9 {
			word, err := p.r.ReadString(' ')
			if want[word]--; err != nil || want[word] < 0 {
				t.Fatalf("read %q, %v; left %v", word, err, want)
			}
		}
	}
}

// Expire is called when its deadline comes, without any traffic.
func TestDeadlines(t *testing.T) {
	var times []transport.Instant
	done := make(chan struct{})
	start(t, tcp("127.0.0.1:0"), func() *handler {
		var next transport.Instant
		return &handler{expire: func(_ *handler, now transport.Instant) transport.Instant {
			if next == 0 {
				next = now.Add(1)
			} else if now >= next {
				if times = append(times, now-next); len(times) == 5 {
					close(done)
					return 0
				}
				next = now.Add(5e6)
			}
			if len(times) >= 5 {
				return 0
			}
			return next
		}}
	})
	<-done
}

func TestOpenErrors(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	f := func(c Config, says string, is error) {
		t.Helper()
		e, err := Open(c)
		if err == nil {
			e.Stop()
			t.Errorf("%+v opens", c)
			return
		}
		if !strings.Contains(err.Error(), says) || is != nil && !errors.Is(err, is) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	f(Config{Loops: 1}, "--listen tcp:", nil)
	f(tcp(busy.Addr().String()), "ss -tlpn", syscall.EADDRINUSE)
	f(tcp("192.0.2.1:5060"), "ip address", syscall.EADDRNOTAVAIL)
	c := tcp("127.0.0.1:0")
	c.Loops = 0
	f(c, "loops", nil)
	c = tcp("127.0.0.1:0")
	c.FirstLoop = transport.MaxLoops
	f(c, "loops", nil)
	c = tcp("127.0.0.1:0")
	c.Listeners[0].Proto = transport.UDP
	f(c, "not for a stream", nil)
	c.Listeners[0].Proto = transport.TLS
	f(c, "--tls-cert", nil)
	c = tcp("127.0.0.1:0")
	c.Origins = []string{"no origin"}
	f(c, "origin", nil)
	// Two sipedges on one port would share its connections.
	r := start(t, tcp("127.0.0.1:0"), newEcho)
	f(tcp(r.addr()), "ss -tlpn", syscall.EADDRINUSE)
}

// Stop works at every point of an engine's life, and gives everything back (goleak looks at the end).
func TestStop(t *testing.T) {
	e, err := Open(tcp("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	e.Stop()
	e.Stop()
	if err := e.Serve(func(int, transport.Loop) transport.Handler { return &handler{} }); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", e.Addrs()[0].String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	for range 20 { // as soon as Handlers are made: gnet is still starting
		start(t, tcp("127.0.0.1:0"), newEcho).stop()
	}
	r := start(t, tcp("127.0.0.1:0"), newEcho)
	p := dial(t, r.addr())
	p.write(message("half", 100)[:200])
	q := dial(t, r.addr())
	q.write(message("x", 0))
	q.read(message("x", 0))
	r.stop()
	p.ends()
	q.ends()
	if s := r.Post(transport.Flow{Proto: transport.TCP, Loop: 2, Gen: 1}, []byte("x")); s != transport.Queued && s != transport.Backpressure {
		t.Errorf("Post after the end says %d", s)
	}
	r.handlers[0].l.Wake()
}
