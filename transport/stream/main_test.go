//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sipedge/transport"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(childTask); task != "" {
		os.Exit(child(task))
	}
	goleak.VerifyTestMain(m,
		goleak.Cleanup(func(code int) {
			if dir != "" {
				os.RemoveAll(dir)
			}
			os.Exit(code)
		}),
		// gnet's worker pool is made when the package is loaded, and its workers stay for ten seconds.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"))
}

// dir has the certificates of all tests.
var dir string

func tempDir() (_ string, err error) {
	dir, err = os.MkdirTemp("", "stream")
	return dir, err
}

// patience bounds every wait for something that must come. It is no measure of speed.
const patience = 20 * time.Second

// handler is a Handler made of functions; what is nil does nothing.
type handler struct {
	loop    int
	l       transport.Loop
	receive func(h *handler, from transport.Flow, b []byte)
	failed  func(h *handler, to transport.Flow, b []byte, why transport.Failure)
	expire  func(h *handler, now transport.Instant) transport.Instant
	woken   func(h *handler)
	calls   atomic.Int32 // to notice two calls at once
	asleep  bool
}

// enter and leave hold the contract that a loop calls its Handler on one goroutine, and never one call inside another.
func (h *handler) enter() {
	if h.calls.Add(1) != 1 {
		panic("the loop called its Handler inside a call")
	}
	if h.asleep {
		panic("the loop called its Handler between Idle and Busy")
	}
}
func (h *handler) leave() { h.calls.Add(-1) }

func (h *handler) Receive(from transport.Flow, b []byte, _ transport.Instant) {
	h.enter()
	defer h.leave()
	if h.receive != nil {
		h.receive(h, from, b)
	}
}

func (h *handler) SendFailed(to transport.Flow, b []byte, why transport.Failure, _ transport.Instant) {
	h.enter()
	defer h.leave()
	if h.failed != nil {
		h.failed(h, to, b, why)
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

func (h *handler) Woken(transport.Instant) {
	h.enter()
	defer h.leave()
	if h.woken != nil {
		h.woken(h)
	}
}

func (h *handler) Quiesce() { h.enter(); h.leave() }
func (h *handler) Idle()    { h.enter(); h.asleep = true; h.leave() }
func (h *handler) Busy()    { h.asleep = false; h.enter(); h.leave() }

// send copies b to the flow.
func (h *handler) send(to transport.Flow, b []byte) transport.Status {
	return h.l.Send(to, append(h.l.Buffer(), b...))
}

func echo(h *handler, from transport.Flow, b []byte) { h.send(from, b) }

// running is an Engine in service.
type running struct {
	*Engine
	t        testing.TB
	handlers []*handler
	served   chan error
}

func tcp(addr string) Config {
	return Config{Listeners: []Listener{{Index: 3, Addr: netip.MustParseAddrPort(addr), Proto: transport.TCP}}, Loops: 1, FirstLoop: 2}
}

// start opens the listeners and serves with one copy of like per loop.
func start(t testing.TB, cfg Config, like func() *handler) *running {
	t.Helper()
	if cfg.Warn == nil {
		cfg.Warn = func(m string) { t.Log("warning:", m) }
	}
	e, err := Open(cfg)
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
	}
	t.Cleanup(r.stop)
	return r
}

var stopped sync.Map

func (r *running) stop() {
	r.t.Helper()
	if _, again := stopped.LoadOrStore(r, true); again {
		return
	}
	r.Stop()
	select {
	case err := <-r.served:
		if err != nil {
			r.t.Errorf("Serve: %v", err)
		}
	case <-time.After(patience):
		b := make([]byte, 1<<20)
		r.t.Fatalf("Serve does not end after Stop\n%s", b[:runtime.Stack(b, true)])
	}
	if n := r.Counters().Open; n != 0 {
		r.t.Errorf("%d connections are counted as open after the end", n)
	}
}

func (r *running) addr() string { return r.Addrs()[0].String() }

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// peer is the other end of a connection.
type peer struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return asPeer(t, c)
}

func asPeer(t testing.TB, c net.Conn) *peer {
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return &peer{c.(*net.TCPConn), t, bufio.NewReader(c)}
}

func (p *peer) write(b string) {
	p.t.Helper()
	if _, err := io.WriteString(p.TCPConn, b); err != nil {
		p.t.Fatal(err)
	}
}

// read wants exactly these bytes next.
func (p *peer) read(want string) {
	p.t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(p.r, b)
	if err != nil || string(b) != want {
		p.t.Fatalf("read %d bytes %.200q, %v; want %d bytes %.200q", n, b[:n], err, len(want), want)
	}
}

// ends wants the connection to be closed by the engine, with nothing more to read.
func (p *peer) ends() {
	p.t.Helper()
	if b, err := io.ReadAll(p.r); len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		p.t.Fatalf("read %d bytes %.200q, %v; want the end", len(b), b, err)
	}
}

// message is a SIP request with that Call-ID and a body of n bytes.
func message(callID string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK%s\r\n"+
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: %s\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\n"+
		"Content-Length: %d\r\n\r\n", callID, callID, n)
	b.Write(bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n])
	return b.String()
}

// deliveries are the ways in which bytes come in: what must work, must work in each.
var deliveries = []struct {
	name  string
	write func(p *peer, messages ...string)
}{
	{"whole", func(p *peer, messages ...string) {
		for _, m := range messages {
			p.write(m)
		}
	}},
	{"byte by byte", func(p *peer, messages ...string) {
		all := strings.Join(messages, "")
		const most = 3000 // of a long one only the ends
		for i := 0; i < len(all); i++ {
			if len(all) > 2*most && i == most {
				p.write(all[most : len(all)-most])
				i = len(all) - most
			}
			p.write(all[i : i+1])
		}
	}},
	{"in one write", func(p *peer, messages ...string) { p.write(strings.Join(messages, "")) }},
}

func eachDelivery(t *testing.T, test func(t *testing.T, write func(p *peer, messages ...string))) {
	for _, d := range deliveries {
		t.Run(d.name, func(t *testing.T) { test(t, d.write) })
	}
}

// childTask is the environment variable that makes the test binary something else.
const childTask = "STREAM_TEST_CHILD"
