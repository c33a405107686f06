package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sipedge/transport"
	"sipedge/transport/batch"
)

// backend is one way to do UDP. Every test here runs over each.
type backend struct {
	name string
	open func(transport.Config) (transport.Engine, error)
	icmp bool // reports ICMP errors
}

const mostLoops = 4 // that any test runs

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(batch.Procs(mostLoops))
	goleak.VerifyTestMain(m, leaksOfLibraries...)
}

func each(t *testing.T, test func(t *testing.T, b backend)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) { test(t, b) })
	}
}

// patience bounds every wait for something that must come. It is no measure of speed.
const patience = 20 * time.Second

// handler is a Handler made of functions; what is nil does nothing.
type handler struct {
	loop     int
	l        transport.Loop
	receive  func(h *handler, from transport.Flow, b []byte, now transport.Instant)
	failed   func(h *handler, to transport.Flow, b []byte, why transport.Failure, now transport.Instant)
	expire   func(h *handler, now transport.Instant) transport.Instant
	woken    func(h *handler, now transport.Instant)
	calls    atomic.Int32 // to notice two calls at once
	asleep   bool
	quiesces atomic.Uint64
}

// enter and leave hold the contract that a loop calls its Handler on one goroutine, and never
// one call inside another.
func (h *handler) enter() {
	if h.calls.Add(1) != 1 {
		panic("the loop called its Handler inside a call")
	}
	if h.asleep {
		panic("the loop called its Handler between Idle and Busy")
	}
}
func (h *handler) leave() { h.calls.Add(-1) }

func (h *handler) Receive(from transport.Flow, b []byte, now transport.Instant) {
	h.enter()
	defer h.leave()
	if h.receive != nil {
		h.receive(h, from, b, now)
	}
}

func (h *handler) SendFailed(to transport.Flow, b []byte, why transport.Failure, now transport.Instant) {
	h.enter()
	defer h.leave()
	if h.failed != nil {
		h.failed(h, to, b, why, now)
	}
}

func (h *handler) Expire(now transport.Instant) transport.Instant {
	h.enter()
	defer h.leave()
	if h.expire != nil {
		return h.expire(h, now)
	}
	return 0
}

func (h *handler) Woken(now transport.Instant) {
	h.enter()
	defer h.leave()
	if h.woken != nil {
		h.woken(h, now)
	}
}

func (h *handler) Quiesce() { h.enter(); h.quiesces.Add(1); h.leave() }
func (h *handler) Idle()    { h.enter(); h.asleep = true; h.leave() }
func (h *handler) Busy()    { h.asleep = false; h.enter(); h.leave() }

// send copies b to the flow.
func (h *handler) send(to transport.Flow, b []byte) transport.Status {
	return h.l.Send(to, append(h.l.Buffer(), b...))
}

func echo(h *handler, from transport.Flow, b []byte, _ transport.Instant) { h.send(from, b) }

// running is an Engine in service.
type running struct {
	transport.Engine
	t        *testing.T
	handlers []*handler
	served   chan error
}

// start opens the listeners and serves with one copy of like per loop.
func start(t *testing.T, b backend, cfg transport.Config, like func() *handler) *running {
	t.Helper()
	e, err := b.open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Engine: e, t: t, served: make(chan error, 1)}
	made := make(chan struct{})
	go func() {
		r.served <- e.Serve(func(loop int, l transport.Loop) transport.Handler {
			h := like()
			h.loop, h.l = loop, l
			r.handlers = append(r.handlers, h)
			if len(r.handlers) == cfg.Loops {
				close(made)
			}
			return h
		})
	}()
	select {
	case <-made:
	case err := <-r.served:
		t.Fatalf("Serve ended at once: %v", err)
	case <-time.After(patience):
		t.Fatal("Serve makes no Handlers")
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	r.t.Helper()
	if r.served == nil {
		return
	}
	r.Stop()
	select {
	case err := <-r.served:
		if err != nil {
			r.t.Errorf("Serve: %v", err)
		}
	case <-time.After(patience):
		r.t.Fatal("Serve does not end after Stop")
	}
	r.served = nil
}

func (r *running) total() (s transport.LoopStats) {
	for i := range r.Loops() {
		l := r.Stats(i)
		s.PacketsIn += l.PacketsIn
		s.PacketsOut += l.PacketsOut
		s.BytesIn += l.BytesIn
		s.BytesOut += l.BytesOut
		s.SendErrors += l.SendErrors
		s.ICMPErrors += l.ICMPErrors
		s.Panics += l.Panics
	}
	return s
}

func listeners(t *testing.T, addrs ...string) (aps []netip.AddrPort) {
	t.Helper()
	for _, a := range addrs {
		ap, err := netip.ParseAddrPort(a)
		if err != nil {
			t.Fatal(err)
		}
		aps = append(aps, ap)
	}
	return aps
}

// peer is an unconnected socket on the other side.
type peer struct {
	*net.UDPConn
	t *testing.T
}

func newPeer(t *testing.T, host string) peer {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return peer{c, t}
}

func (p peer) addr() netip.AddrPort { return p.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p peer) send(to netip.AddrPort, b []byte) {
	p.t.Helper()
	if _, err := p.WriteToUDPAddrPort(b, to); err != nil {
		p.t.Fatal(err)
	}
}

func (p peer) receive() ([]byte, netip.AddrPort) {
	p.t.Helper()
	b := make([]byte, transport.MaxDatagram)
	p.SetReadDeadline(time.Now().Add(patience))
	n, from, err := p.ReadFromUDPAddrPort(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func (p peer) nothing() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	b := make([]byte, transport.MaxDatagram)
	if n, from, err := p.ReadFromUDPAddrPort(b); err == nil {
		p.t.Fatalf("got %q from %s, want nothing", b[:n], from)
	}
}

// want is what comes back when what went to at is echoed.
func (p peer) want(at netip.AddrPort, b []byte) {
	p.t.Helper()
	p.send(at, b)
	got, from := p.receive()
	if !bytes.Equal(got, b) {
		p.t.Fatalf("sent %d bytes to %s, %d came back, or others", len(b), at, len(got))
	}
	if from != at {
		p.t.Fatalf("the answer to what was sent to %s came from %s", at, from)
	}
}

func at(host string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(host), port)
}

func TestEcho(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for _, c := range []struct{ listen, peer string }{
			{"127.0.0.1:0", "127.0.0.1"},
			{"127.0.0.1:0", "127.0.0.3"},
			{"[::1]:0", "::1"},
			{"[::ffff:127.0.0.1]:0", "127.0.0.1"},
		} {
			for _, loops := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s from %s, %d loops", c.listen, c.peer, loops), func(t *testing.T) {
					var mu sync.Mutex
					var flow transport.Flow
					r := start(t, b, transport.Config{Listeners: listeners(t, c.listen), Loops: loops},
						func() *handler {
							return &handler{receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
								mu.Lock()
								flow = from
								mu.Unlock()
								if now <= 0 {
									panic("no time")
								}
								echo(h, from, b, now)
							}}
						})
					if n := r.Loops(); n != loops {
						t.Errorf("%d loops, want %d", n, loops)
					}
					p := newPeer(t, c.peer)
					for i := range 20 {
						p.want(r.Addrs()[0], fmt.Appendf(nil, "message %d", i))
					}
					r.stop()
					want := transport.Flow{Remote: transport.AddrFrom(p.addr()), Proto: transport.UDP}
					if flow != want {
						t.Errorf("flow %+v, want %+v", flow, want)
					}
					s := r.total()
					if s.PacketsIn != 20 || s.PacketsOut != 20 || s.BytesIn != s.BytesOut || s.BytesIn != 10*9+10*10+0 {
						t.Errorf("counted %+v", s)
					}
				})
			}
		}
	})
}

// A message that answers nothing: sent by the loop on its own account, to a peer that never sent.
func TestSendUnasked(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for _, c := range []struct{ listen, peer string }{
			{"127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "::1"}, {"0.0.0.0:0", "127.0.0.1"}, {"[::]:0", "::1"},
		} {
			t.Run(c.listen, func(t *testing.T) {
				p := newPeer(t, c.peer)
				r := start(t, b, transport.Config{Listeners: listeners(t, c.listen), Loops: 1}, func() *handler {
					return &handler{woken: func(h *handler, _ transport.Instant) {
						to := transport.Flow{Remote: transport.AddrFrom(p.addr()), Proto: transport.UDP}
						if s := h.send(to, []byte("hello")); s != transport.Queued {
							t.Errorf("Send says %d", s)
						}
					}}
				})
				r.handlers[0].l.Wake()
				got, from := p.receive()
				if string(got) != "hello" || from.Port() != r.Addrs()[0].Port() {
					t.Errorf("got %q from %s", got, from)
				}
			})
		}
	})
}

func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) {
				var mu sync.Mutex
				locals := map[netip.Addr]int{}
				r := start(t, b, transport.Config{Listeners: listeners(t, "0.0.0.0:0", "[::]:0"), Loops: loops},
					func() *handler {
						return &handler{receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
							mu.Lock()
							locals[netip.AddrFrom16(from.Local).Unmap()]++
							mu.Unlock()
							echo(h, from, b, now)
						}}
					})
				v4, v6 := r.Addrs()[0].Port(), r.Addrs()[1].Port()
				p4, p6 := newPeer(t, "127.0.0.1"), newPeer(t, "::1")
				for i := range 10 {
					m := fmt.Appendf(nil, "message %d", i)
					p4.want(at("127.0.0.1", v4), m)
					p4.want(at("127.0.0.2", v4), m)
					p4.want(at("127.77.0.1", v4), m)
					p6.want(at("::1", v6), m)
				}
				r.stop()
				for _, a := range []string{"127.0.0.1", "127.0.0.2", "127.77.0.1", "::1"} {
					if n := locals[netip.MustParseAddr(a)]; n != 10 {
						t.Errorf("Flow.Local was %s %d times, want 10; all: %v", a, n, locals)
					}
				}
			})
		}
	})
}

// In by one listener, out by another.
func TestSeveralListeners(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		out := newPeer(t, "127.0.0.1")
		out6 := newPeer(t, "::1")
		var mu sync.Mutex
		seen := map[uint16]int{}
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0", "127.0.0.2:0", "[::1]:0"), Loops: 2},
			func() *handler {
				return &handler{receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
					mu.Lock()
					seen[from.Listener]++
					mu.Unlock()
					echo(h, from, b, now)
					h.send(transport.Flow{Remote: transport.AddrFrom(out.addr()), Listener: 1, Proto: transport.UDP}, b)
					h.send(transport.Flow{Remote: transport.AddrFrom(out6.addr()), Listener: 2, Proto: transport.UDP}, b)
				}}
			})
		addrs := r.Addrs()
		for i, from := range []string{"127.0.0.1", "127.0.0.1", "::1"} {
			p := newPeer(t, from)
			m := fmt.Appendf(nil, "to listener %d", i)
			p.want(addrs[i], m)
			if got, by := out.receive(); !bytes.Equal(got, m) || by != addrs[1] {
				t.Errorf("relayed %q from %s, want it from %s", got, by, addrs[1])
			}
			if got, by := out6.receive(); !bytes.Equal(got, m) || by != addrs[2] {
				t.Errorf("relayed %q from %s, want it from %s", got, by, addrs[2])
			}
		}
		r.stop()
		for i := range uint16(3) {
			if seen[i] != 1 {
				t.Errorf("listener %d had %d datagrams, want 1", i, seen[i])
			}
		}
	})
}

func TestSendToNowhere(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		p := newPeer(t, "127.0.0.1")
		statuses := make(chan transport.Status, 16)
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			return &handler{receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
				to := from
				to.Listener = 1
				statuses <- h.send(to, b)
				to = from
				to.Proto = transport.TCP
				statuses <- h.send(to, b)
				to = from
				to.Remote.IP = netip.MustParseAddr("::1").As16()
				statuses <- h.send(to, b)
				echo(h, from, b, now)
			}}
		})
		p.want(r.Addrs()[0], []byte("x"))
		for _, what := range []string{"an unknown listener", "a stream", "the other family"} {
			if s := <-statuses; s != transport.Gone {
				t.Errorf("Send to %s says %d, want Gone", what, s)
			}
		}
	})
}

func TestSizes(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0", "[::1]:0"), Loops: 1, ReceiveBuffer: 1 << 20},
			func() *handler { return &handler{receive: echo} })
		p, p6 := newPeer(t, "127.0.0.1"), newPeer(t, "::1")
		big := make([]byte, 65507) // 65,535 less the headers of IPv4 and UDP
		for i := range big {
			big[i] = byte(i * 7 / 3)
		}
		for _, n := range []int{65507, 65506, 9000, 1500, 1472, 4, 1, 0, 65507, 0} {
			p.want(r.Addrs()[0], big[:n])
			p6.want(r.Addrs()[1], big[:n])
		}
		// The keep-alives of RFC 5626 section 3.5.1 and what phones send to hold a pinhole.
		for _, m := range []string{"\r\n\r\n", "\r\n", "\x00", "\x00\x00\x00\x00", ""} {
			p.want(r.Addrs()[0], []byte(m))
		}
	})
}

// What no datagram can carry is reported, and the message after it is not harmed.
func TestTooBig(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		type report struct {
			to    transport.Flow
			start string
			why   transport.Failure
		}
		reports := make(chan report, 10)
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			return &handler{
				receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
					for _, n := range []int{65508, 65535, 65536, 100_000} {
						h.send(from, append([]byte("too big"), make([]byte, n-7)...))
					}
					echo(h, from, b, now)
				},
				failed: func(h *handler, to transport.Flow, b []byte, why transport.Failure, now transport.Instant) {
					reports <- report{to, string(b[:7]), why}
				},
			}
		})
		p := newPeer(t, "127.0.0.1")
		p.want(r.Addrs()[0], []byte("x"))
		want := report{transport.Flow{Remote: transport.AddrFrom(p.addr()), Proto: transport.UDP}, "too big", transport.TooBig}
		for range 4 {
			select {
			case got := <-reports:
				if got != want {
					t.Errorf("reported %+v, want %+v", got, want)
				}
			case <-time.After(patience):
				t.Fatal("not reported")
			}
		}
		r.stop()
		if n := r.total().SendErrors; n != 4 {
			t.Errorf("%d send errors counted, want 4", n)
		}
	})
}

// What the kernel refuses outright (a broadcast address needs an option we do not set, port 0
// is nobody's) is reported with its payload.
func TestRefused(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		reports := make(chan string, 10)
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			return &handler{
				receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
					to := from
					to.Remote.Port = 0
					h.send(to, []byte("to port 0"))
					echo(h, from, b, now)
				},
				failed: func(h *handler, to transport.Flow, b []byte, why transport.Failure, now transport.Instant) {
					reports <- fmt.Sprint(string(b), " ", to.Remote.Port, " ", why == transport.Refused)
				},
			}
		})
		newPeer(t, "127.0.0.1").want(r.Addrs()[0], []byte("x"))
		select {
		case got := <-reports:
			if got != "to port 0 0 true" {
				t.Errorf("reported %q", got)
			}
		case <-time.After(patience):
			t.Fatal("not reported")
		}
	})
}

func TestDeadlines(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for _, step := range []time.Duration{time.Microsecond, 700 * time.Microsecond, 3 * time.Millisecond, 30 * time.Millisecond} {
			t.Run(step.String(), func(t *testing.T) {
				const times = 5
				fired := make(chan time.Duration, times)
				r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 2}, func() *handler {
					deadline, n := transport.Instant(0), 0
					return &handler{expire: func(h *handler, now transport.Instant) transport.Instant {
						switch {
						case h.loop != 1 || n == times:
							return 0
						case deadline == 0:
							deadline = now.Add(step)
						case now >= deadline:
							n++
							fired <- now.Sub(deadline)
							deadline = now.Add(step)
						}
						if n == times {
							return 0
						}
						return deadline
					}}
				})
				for range times {
					select {
					case late := <-fired:
						t.Logf("late by %s", late)
					case <-time.After(patience):
						t.Fatal("a deadline passed without Expire")
					}
				}
				r.stop()
			})
		}
	})
}

// A deadline that Expire changes to an earlier one after a packet holds from then on.
func TestEarlierDeadline(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		fired := make(chan struct{})
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			deadline := transport.Instant(0)
			done := false
			return &handler{
				expire: func(h *handler, now transport.Instant) transport.Instant {
					if deadline == 0 {
						deadline = now.Add(time.Hour)
					}
					if now >= deadline && !done {
						done = true
						close(fired)
						deadline = now.Add(time.Hour)
					}
					return deadline
				},
				receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
					echo(h, from, b, now)
					deadline = now.Add(5 * time.Millisecond)
				},
			}
		})
		p := newPeer(t, "127.0.0.1")
		p.nothing() // the loop has had time to fall asleep for an hour
		p.want(r.Addrs()[0], []byte("x"))
		select {
		case <-fired:
		case <-time.After(patience):
			t.Fatal("the earlier deadline passed without Expire")
		}
	})
}

func TestWake(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		const wakers, times = 8, 500
		var asked [mostLoops]atomic.Int64
		seen := make(chan struct{}, 1000)
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 2}, func() *handler {
			last := int64(0)
			return &handler{woken: func(h *handler, now transport.Instant) {
				if n := asked[h.loop].Load(); n != last {
					last = n
					if n == wakers*times {
						seen <- struct{}{}
					}
				}
			}}
		})
		var all sync.WaitGroup
		for range wakers {
			all.Go(func() {
				for range times {
					for i, h := range r.handlers {
						asked[i].Add(1)
						h.l.Wake()
					}
				}
			})
		}
		all.Wait()
		for range r.handlers {
			select {
			case <-seen:
			case <-time.After(patience):
				t.Fatal("a Wake was not followed by Woken")
			}
		}
		// After the end it must do nothing, least of all write to a file that is ours no more.
		r.stop()
		for _, h := range r.handlers {
			h.l.Wake()
		}
	})
}

// Wakes during Stop, for the race detector and for lost files.
func TestWakeWhileStopping(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for range 10 {
			r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 2}, func() *handler { return &handler{} })
			var stop atomic.Bool
			var all sync.WaitGroup
			for _, h := range r.handlers {
				all.Go(func() {
					for !stop.Load() {
						h.l.Wake()
						runtime.Gosched()
					}
				})
			}
			r.stop()
			stop.Store(true)
			all.Wait()
		}
	})
}

func TestStop(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		cfg := transport.Config{Listeners: listeners(t, "127.0.0.1:0", "0.0.0.0:0"), Loops: 2}
		newHandler := func(int, transport.Loop) transport.Handler { return &handler{} }

		e, err := b.open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		e.Stop()
		e.Stop()
		if err := e.Serve(newHandler); err != nil {
			t.Errorf("Serve after Stop: %v", err)
		}
		// Its port is free again.
		cfg.Listeners = e.Addrs()
		e, err = b.open(cfg)
		if err != nil {
			t.Fatalf("after Stop: %v", err)
		}
		r := &running{Engine: e, t: t, served: make(chan error, 1)}
		go func() { r.served <- e.Serve(newHandler) }()
		r.stop()
		e.Stop()
		if err := e.Serve(newHandler); err == nil {
			t.Error("a second Serve is not refused")
		}
		e, err = b.open(cfg)
		if err != nil {
			t.Fatalf("after Serve: %v", err)
		}
		e.Stop()
		if err := e.Serve(newHandler); err != nil {
			t.Errorf("Serve after Stop: %v", err)
		}
	})
}

// A loop that has work without end still stops.
func TestStopWhileBusy(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			return &handler{
				receive: echo,
				expire:  func(h *handler, now transport.Instant) transport.Instant { return now },
			}
		})
		// It answers to itself for ever.
		me := r.Addrs()[0]
		p := newPeer(t, "127.0.0.1")
		p.want(me, []byte("x"))
		r.stop()
	})
}

func TestPanics(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		type report struct {
			what   any
			packet string
		}
		reports := make(chan report, 100)
		var boom atomic.Pointer[string]
		r := start(t, b, transport.Config{
			Listeners: listeners(t, "127.0.0.1:0"), Loops: 1,
			Panicked: func(loop int, what any, stack []byte, packet []byte) {
				if !strings.Contains(string(stack), "backends_test.go") {
					t.Errorf("the stack does not show where it was:\n%s", stack)
				}
				select {
				case reports <- report{what, string(packet)}:
				default:
				}
			},
		}, func() *handler {
			maybe := func(here string) {
				if w := boom.Load(); w != nil && *w == here {
					boom.Store(nil)
					panic(here)
				}
			}
			return &handler{
				receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
					if bytes.HasPrefix(b, []byte("panic")) {
						panic("receive")
					}
					if bytes.HasPrefix(b, []byte("fail")) {
						to := from
						to.Remote.Port = 0
						h.send(to, b)
					}
					echo(h, from, b, now)
				},
				expire: func(h *handler, now transport.Instant) transport.Instant {
					maybe("expire")
					return 0
				},
				woken:  func(*handler, transport.Instant) { maybe("woken") },
				failed: func(*handler, transport.Flow, []byte, transport.Failure, transport.Instant) { maybe("failed") },
			}
		})
		want := func(w report) {
			t.Helper()
			select {
			case got := <-reports:
				if got != w {
					t.Fatalf("reported %+v, want %+v", got, w)
				}
			case <-time.After(patience):
				t.Fatalf("%+v was not reported", w)
			}
		}
		p := newPeer(t, "127.0.0.1")
		here := r.Addrs()[0]
		// A few packets at once, so that a panic is in the middle of a batch.
		for i := range 8 {
			if i%3 == 1 {
				p.send(here, fmt.Appendf(nil, "panic %d", i))
			} else {
				p.send(here, fmt.Appendf(nil, "fine %d", i))
			}
		}
		for _, i := range []int{0, 2, 3, 5, 6} {
			if got, _ := p.receive(); string(got) != fmt.Sprint("fine ", i) {
				t.Errorf("got %q, want fine %d", got, i)
			}
		}
		for _, i := range []int{1, 4, 7} {
			want(report{"receive", fmt.Sprint("panic ", i)})
		}
		for _, where := range []string{"expire", "woken", "failed"} {
			boom.Store(&where)
			switch where {
			case "woken":
				r.handlers[0].l.Wake()
			case "failed":
				p.want(here, []byte("fail"))
			default:
				p.want(here, []byte("anything"))
			}
			want(report{where, ""})
			p.want(here, []byte("still here"))
		}
		r.stop()
		if n := r.total().Panics; n != 6 {
			t.Errorf("%d panics counted, want 6", n)
		}
	})
}

// A Handler whose Expire always panics must not keep the loop from its packets, nor from sleep.
func TestExpireAlwaysPanics(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			return &handler{
				receive: echo,
				expire:  func(*handler, transport.Instant) transport.Instant { panic("again") },
			}
		})
		p := newPeer(t, "127.0.0.1")
		for range 5 {
			p.want(r.Addrs()[0], []byte("x"))
		}
		p.nothing()
		r.stop()
		s := r.total()
		if s.Panics == 0 {
			t.Error("no panic counted")
		}
		if s.Panics > 1000 {
			t.Errorf("%d panics: the loop spins", s.Panics)
		}
	})
}

func TestUnreachable(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		if !b.icmp {
			t.Logf("%s reports no ICMP errors, see its package comment; TestDeadDestination has the rest", b.name)
			return
		}
		for _, c := range []struct{ listen, dead string }{
			{"127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "::1"}, {"0.0.0.0:0", "127.0.0.1"}, {"[::]:0", "::1"},
		} {
			t.Run(c.listen, func(t *testing.T) {
				d := newPeer(t, c.dead)
				dead := d.addr()
				d.Close()
				payload := "INVITE sip:x@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK-unreachable\r\n\r\n"
				type report struct {
					to      netip.AddrPort
					payload string
					why     transport.Failure
				}
				reports := make(chan report, 10)
				r := start(t, b, transport.Config{Listeners: listeners(t, c.listen), Loops: 2}, func() *handler {
					return &handler{
						woken: func(h *handler, _ transport.Instant) {
							h.send(transport.Flow{Remote: transport.AddrFrom(dead), Proto: transport.UDP}, []byte(payload))
						},
						failed: func(h *handler, to transport.Flow, b []byte, why transport.Failure, _ transport.Instant) {
							reports <- report{to.Remote.AddrPort(), string(b), why}
						},
					}
				})
				r.handlers[1].l.Wake()
				select {
				case got := <-reports:
					if (got != report{dead, payload, transport.Unreachable}) {
						t.Errorf("reported %+v", got)
					}
				case <-time.After(patience):
					t.Fatal("not reported")
				}
				r.stop()
				if n := r.total().ICMPErrors; n != 1 {
					t.Errorf("%d ICMP errors counted, want 1", n)
				}
			})
		}
	})
}

// Every second message goes to a closed port. The others all arrive.
func TestDeadDestination(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		d := newPeer(t, "127.0.0.1")
		dead := transport.AddrFrom(d.addr())
		d.Close()
		var failures atomic.Int64
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler {
			return &handler{
				receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
					to := from
					to.Remote = dead
					for range 3 {
						h.send(to, b)
						h.send(from, b)
					}
				},
				failed: func(*handler, transport.Flow, []byte, transport.Failure, transport.Instant) { failures.Add(1) },
			}
		})
		p := newPeer(t, "127.0.0.1")
		const bursts, burst = 60, 8
		for i := range bursts {
			for j := range burst {
				p.send(r.Addrs()[0], fmt.Appendf(nil, "%d/%d", i, j))
			}
			for j := range burst {
				for range 3 {
					if got, _ := p.receive(); string(got) != fmt.Sprintf("%d/%d", i, j) {
						t.Fatalf("got %q, want %d/%d: a datagram to a live destination was lost", got, i, j)
					}
				}
			}
		}
		r.stop()
		if s := r.total(); s.SendErrors != 0 {
			t.Errorf("%d datagrams refused, want none; %d ICMP errors", s.SendErrors, s.ICMPErrors)
		}
		// The kernel limits how many ICMP errors it sends, so only some are seen.
		if b.icmp && failures.Load() == 0 {
			t.Error("no SendFailed")
		}
	})
}

func TestPortInUse(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		holder := newPeer(t, "127.0.0.1")
		for _, listen := range []string{"127.0.0.1", "0.0.0.0"} {
			for _, loops := range []int{1, 2} {
				busy := at(listen, holder.addr().Port())
				e, err := b.open(transport.Config{Listeners: []netip.AddrPort{busy}, Loops: loops})
				if err == nil {
					e.Stop()
					t.Fatalf("%s: opened though another has the port", busy)
				}
				for _, part := range []string{busy.String(), "another process has this port", "ss -ulpn", "--listen"} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q does not say %q", err, part)
					}
				}
				if !errors.Is(err, syscall.EADDRINUSE) {
					t.Errorf("%v does not wrap EADDRINUSE", err)
				}
			}
		}
		// Not even a second engine with several loops, whose sockets could all share the port.
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 2}, func() *handler { return &handler{} })
		if e, err := b.open(transport.Config{Listeners: r.Addrs(), Loops: 2}); err == nil {
			e.Stop()
			t.Errorf("two engines share %s", r.Addrs()[0])
		}
	})
}

func TestOpenErrors(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for _, c := range []struct {
			cfg  transport.Config
			says string
		}{
			{transport.Config{Loops: 1}, "--listen"},
			{transport.Config{Loops: 0, Listeners: listeners(t, "127.0.0.1:0")}, "loops"},
			{transport.Config{Loops: 1, Listeners: listeners(t, "192.0.2.77:5060")}, "does not have that address"},
			{transport.Config{Loops: 1, Listeners: listeners(t, "[fe80::1%nosuch0]:5060")}, "nosuch0"},
			{transport.Config{Loops: 1, Listeners: []netip.AddrPort{{}}}, "--listen"},
		} {
			e, err := b.open(c.cfg)
			if err == nil {
				e.Stop()
				t.Errorf("%+v opened", c.cfg)
			} else if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
		}
	})
}

// A listener that cannot be had must not leave the others open.
func TestOpenFailsWhole(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		holder := newPeer(t, "127.0.0.1")
		free := newPeer(t, "127.0.0.1")
		freed := free.addr()
		free.Close()
		cfg := transport.Config{Loops: 2, Listeners: []netip.AddrPort{freed, holder.addr()}}
		if e, err := b.open(cfg); err == nil {
			e.Stop()
			t.Fatal("opened though another has the port")
		}
		holder.Close()
		e, err := b.open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		e.Stop()
	})
}

func TestReceiveBufferWarning(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		var warnings []string
		e, err := b.open(transport.Config{
			Listeners: listeners(t, "127.0.0.1:0"), Loops: 2, ReceiveBuffer: 1<<31>>1 - 1, // the kernel's limit is below
			Warn: func(m string) { warnings = append(warnings, m) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Stop()
		for _, w := range warnings {
			if !strings.Contains(w, "net.core.rmem_max") || !strings.Contains(w, e.Addrs()[0].String()) {
				t.Errorf("warning %q", w)
			}
		}
		if len(warnings) > 1 {
			t.Errorf("%d warnings, want one: %q", len(warnings), warnings)
		}
	})
}

// One peer with one socket: what it sends must use both loops. Equal datagrams, which are
// retransmissions, must meet on one.
func TestSteering(t *testing.T) {
	if !steers {
		t.Logf("no steering on %s: a peer stays on one loop", runtime.GOOS)
		return
	}
	each(t, func(t *testing.T, b backend) {
		for name, message := range steeringMixes {
			t.Run(name, func(t *testing.T) {
				var mu sync.Mutex
				loopOf := map[string]int{} // the loop that a datagram, cut to its identity, was first seen on
				moved := 0
				r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 2, ReceiveBuffer: 1 << 20}, func() *handler {
					return &handler{receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
						mu.Lock()
						if l, ok := loopOf[string(b)]; ok && l != h.loop {
							moved++
						}
						loopOf[string(b)] = h.loop
						mu.Unlock()
						h.send(from, []byte("ok"))
					}}
				})
				p := newPeer(t, "127.0.0.1")
				// gnet opens the sockets of the second loop only now.
				for i := 0; r.Stats(0).PacketsIn == 0 || r.Stats(1).PacketsIn == 0; i++ {
					p.send(r.Addrs()[0], fmt.Appendf(nil, "no SIP, but varied: %d and long enough to hash", i))
					p.receive()
				}
				before := [2]uint64{r.Stats(0).PacketsIn, r.Stats(1).PacketsIn}
				const calls = 1000
				for i := range calls {
					m := []byte(message(i))
					for range 2 {
						p.send(r.Addrs()[0], m)
						p.receive()
					}
				}
				r.stop()
				if moved != 0 {
					t.Errorf("%d of %d retransmissions came to another loop than the first", moved, calls)
				}
				n0, n1 := r.Stats(0).PacketsIn-before[0], r.Stats(1).PacketsIn-before[1]
				if n0+n1 != 2*calls {
					t.Errorf("%d packets counted, want %d", n0+n1, 2*calls)
				}
				share := float64(n0) / (2 * calls)
				t.Logf("loop 0 had %.1f %%", share*100)
				if share < 0.40 || share > 0.60 {
					t.Errorf("loop 0 had %.1f %% of the packets, want 40 to 60", share*100)
				}
			})
		}
	})
}

const steeringRest = "Max-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.com>;tag=%d\r\nTo: <sip:bob@example.com>\r\n" +
	"Call-ID: %d-4711@192.0.2.10\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.10:5060>\r\nContent-Length: 0\r\n\r\n"

// steeringMixes are messages as peers send them; what differs from call to call is a counter or
// a few random characters, at offsets that differ too.
var steeringMixes = map[string]func(i int) string{
	"SIPp requests": func(i int) string {
		return fmt.Sprintf("INVITE sip:service@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-4711-%d-0\r\n"+steeringRest, i, i, i)
	},
	"responses to us": func(i int) string {
		return fmt.Sprintf("SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa%08xAAAAAAAAAAB0123456789\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-4711-%d-0\r\n"+steeringRest,
			uint32(i)*2654435761, i, i, i)
	},
	"short counters": func(i int) string {
		return fmt.Sprintf("BYE sip:bob@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;rport;branch=z9hG4bK%d\r\n"+steeringRest, i, i, i)
	},
	"a far Via": func(i int) string {
		return fmt.Sprintf("OPTIONS sip:bob@192.0.2.4 SIP/2.0\r\nUser-Agent: "+strings.Repeat("x", 200)+"\r\n"+
			"Call-ID: %d\r\nVia: SIP/2.0/UDP 192.0.2.10;rport;branch=z9hG4bK%d\r\n"+steeringRest, i, i, i, i)
	},
	"RFC 2543": func(i int) string {
		return fmt.Sprintf("INVITE sip:bob@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060\r\n"+steeringRest, i, i)
	},
	"compact and mixed": func(i int) string {
		method := []string{"INVITE", "ACK", "BYE", "CANCEL", "REGISTER"}[i%5]
		return fmt.Sprintf("%s sip:%d@192.0.2.4 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK%x\r\n"+steeringRest, method, 1000+i%7, i/5, i/5, i/5)
	},
}

// The INVITE, its CANCEL and the ACK to its failure carry one branch (RFC 3261 sections 9.1 and
// 17.1.1.3) and should meet on one loop; nothing depends on it but speed.
func TestSteeringKeepsATransactionTogether(t *testing.T) {
	if !steers {
		return
	}
	each(t, func(t *testing.T, b backend) {
		var mu sync.Mutex
		loops := map[string]map[int]bool{}
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 4}, func() *handler {
			return &handler{receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
				_, call, _ := strings.Cut(string(b), "Call-ID: ")
				call, _, _ = strings.Cut(call, "-")
				mu.Lock()
				if loops[call] == nil {
					loops[call] = map[int]bool{}
				}
				loops[call][h.loop] = true
				mu.Unlock()
				h.send(from, []byte("ok"))
			}}
		})
		p := newPeer(t, "127.0.0.1")
		for i := 0; ; i++ { // as above
			p.send(r.Addrs()[0], fmt.Appendf(nil, "Call-ID: warm up %d- and long enough to hash", i))
			p.receive()
			some := 0
			for l := range 4 {
				if r.Stats(l).PacketsIn > 0 {
					some++
				}
			}
			if some == 4 {
				break
			}
		}
		used := map[int]bool{}
		for i := range 100 {
			for _, method := range []string{"INVITE", "CANCEL", "ACK"} {
				p.send(r.Addrs()[0], fmt.Appendf(nil, "%s sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK%04d\r\n"+steeringRest, method, i, i, i))
				p.receive()
			}
		}
		r.stop()
		for call, on := range loops {
			if strings.HasPrefix(call, "warm up") {
				continue
			}
			if len(on) != 1 {
				t.Errorf("the messages of transaction %s came to loops %v", call, on)
			}
			for l := range on {
				used[l] = true
			}
		}
		if len(used) != 4 {
			t.Errorf("only loops %v of four were used", used)
		}
	})
}

// A listener that is flooded does not keep the others of its loop from theirs, nor timers.
func TestFairness(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		var ticks atomic.Int64
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0", "127.0.0.2:0", "[::1]:0"), Loops: 1}, func() *handler {
			next := transport.Instant(0)
			return &handler{
				receive: func(h *handler, from transport.Flow, b []byte, now transport.Instant) {
					if from.Listener != 0 {
						echo(h, from, b, now)
					}
				},
				expire: func(h *handler, now transport.Instant) transport.Instant {
					if now >= next {
						ticks.Add(1)
						next = now.Add(time.Millisecond)
					}
					return next
				},
			}
		})
		var stop atomic.Bool
		var senders sync.WaitGroup
		for range 2 {
			p := newPeer(t, "127.0.0.1")
			senders.Go(func() {
				for range 5_000_000 {
					if stop.Load() {
						return
					}
					p.WriteToUDPAddrPort([]byte("flood"), r.Addrs()[0])
				}
			})
		}
		defer senders.Wait()
		defer stop.Store(true)
		for r.Stats(0).PacketsIn < 100 {
			runtime.Gosched()
		}
		p, p6 := newPeer(t, "127.0.0.1"), newPeer(t, "::1")
		before := ticks.Load()
		for i := range 50 {
			p.want(r.Addrs()[1], fmt.Appendf(nil, "message %d", i))
			p6.want(r.Addrs()[2], fmt.Appendf(nil, "message %d", i))
		}
		for until := time.Now().Add(patience); ticks.Load() < before+5; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("timers do not run while packets come")
			}
		}
	})
}

// A link-local address means something only together with its interface, also on the way back.
func TestLinkLocal(t *testing.T) {
	var local netip.Addr
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range interfaces {
		addrs, _ := ifi.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() && ifi.Flags&net.FlagUp != 0 {
				local = p.Addr().WithZone(ifi.Name)
			}
		}
	}
	if !local.IsValid() {
		t.Log("this machine has no link-local address; TestScopes of package batch has the arithmetic")
		return
	}
	each(t, func(t *testing.T, b backend) {
		r := start(t, b, transport.Config{
			Listeners: []netip.AddrPort{netip.AddrPortFrom(local, 0), netip.AddrPortFrom(netip.IPv6Unspecified(), 0)}, Loops: 1,
		}, func() *handler { return &handler{receive: echo} })
		p := newPeer(t, local.String())
		for i := range 2 {
			p.want(netip.AddrPortFrom(local, r.Addrs()[i].Port()), []byte("hello"))
		}
	})
}
