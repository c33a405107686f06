//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// gnet ends when a connection cannot be accepted for want of files. It is started again, the Handlers go on, and their timers and what
// they send by UDP never stop. A process of its own, since it has few files.
func TestRestart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), childTask+"=restart")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	say := func(command string) string {
		t.Helper()
		fmt.Fprintln(in, command)
		if !lines.Scan() {
			t.Fatalf("the process ended: %v", c.Wait())
		}
		return lines.Text()
	}
	at := say("listen")
	hello := message("hello", 100)
	works := func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, len(hello))
		if _, err := c.Write([]byte(hello)); err != nil {
			return false
		}
		for n := 0; n < len(b); {
			m, err := c.Read(b[n:])
			if n += m; err != nil {
				return false
			}
		}
		return string(b) == hello
	}
	eventually(t, "it serves", works)
	for round := 1; round <= 2; round++ {
		old := dial(t, at)
		old.write(hello)
		old.read(hello)
		expired := say("expired")
		if got := say("starve"); got != "ok" {
			t.Fatal(got)
		}
		// One connection too many: gnet ends, and with it every connection.
		many := make(chan net.Conn, 1)
		go func() {
			c, _ := net.Dial("tcp", at)
			many <- c
		}()
		old.ends()
		if got := say("feed"); got != "ok" {
			t.Fatal(got)
		}
		eventually(t, "it is started again", func() bool { return say("restarts") == fmt.Sprint(round) })
		eventually(t, "it serves again", works)
		eventually(t, "timers go on", func() bool { return say("expired") != expired })
		if c := <-many; c != nil {
			c.Close()
		}
	}
	if got := say("stop"); got != "Handlers: 2, Serve: <nil>" {
		t.Error(got)
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func child(task string) int {
	if at, ok := strings.CutPrefix(task, "hold "); ok {
		return holdConnections(at)
	}
	var expired atomic.Int64
	handlers := 0
	cfg := tcp("127.0.0.1:0")
	cfg.Loops = 2
	cfg.Panicked = func(_ int, what any, stack []byte, _ []byte) { panic(fmt.Sprint(what, string(stack))) }
	e, err := Open(cfg)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	served := make(chan error)
	go func() {
		served <- e.Serve(func(loop int, l transport.Loop) transport.Handler {
			handlers++
			return &handler{loop: loop, l: l, receive: echo, expire: func(_ *handler, now transport.Instant) transport.Instant {
				expired.Add(1)
				return now.Add(10 * time.Millisecond)
			}}
		})
	}()
	var mu sync.Mutex
	var hogs []int
	for commands := bufio.NewScanner(os.Stdin); commands.Scan(); {
		switch commands.Text() {
		case "listen":
			fmt.Println(e.Addrs()[0])
		case "expired":
			fmt.Println(expired.Load())
		case "restarts":
			fmt.Println(e.Counters().Restarts)
		case "starve":
			for e.Counters().Open != 1 { // one that closes late would make room
				time.Sleep(time.Millisecond)
			}
			mu.Lock()
			// As few files as there are now: every next one fails.
			low := unix.Rlimit{Cur: 64, Max: 4096}
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
				fmt.Println(err)
				return 1
			}
			for {
				fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					break
				}
				hogs = append(hogs, fd)
			}
			mu.Unlock()
			fmt.Println("ok")
		case "feed":
			for _, fd := range hogs {
				unix.Close(fd)
			}
			hogs = nil
			fmt.Println("ok")
		case "stop":
			e.Stop()
			fmt.Printf("Handlers: %d, Serve: %v\n", handlers, <-served)
			return 0
		}
	}
	return 1
}

// While gnet is down and cannot come back, timers and Wake go on, and what the Handlers send comes back.
func TestWhileDown(t *testing.T) {
	failures := make(chan told, 10)
	woken := make(chan struct{}, 10)
	cfg := tcp("127.0.0.1:0")
	var warnings, expiredDown atomic.Int64
	var back atomic.Bool
	cfg.Warn = func(string) { warnings.Add(1) }
	r := start(t, cfg, func() *handler {
		h := listening(failures)()
		h.woken = func(*handler) { woken <- struct{}{} }
		var real netip.AddrPort
		h.expire = func(h *handler, now transport.Instant) transport.Instant {
			l := h.l.(*loop)
			if at := l.engine.ordered[0]; l.bell.Load() == nil && l.gnet.Load() == nil { // Serve's goroutine calls, which opens the listeners too
				if expiredDown.Add(1); !real.IsValid() {
					real = at.addr
				}
				if at.addr = netip.MustParseAddrPort("192.0.2.1:5060"); back.Load() { // not an address of ours
					at.addr = real
				}
			}
			return now.Add(time.Millisecond)
		}
		return h
	})
	at := r.addr()
	p := dial(t, at)
	hello := message("hello", 0)
	p.write(hello)
	p.read(hello)
	eventually(t, "the loop has its doorbell", r.run.Load().hung.Load)
	go r.run.Load().gnet.Stop(t.Context())
	p.ends()
	eventually(t, "timers go on", func() bool { return expiredDown.Load() > 10 })
	flow := to(p.LocalAddr().String())
	for range 2 {
		r.Post(flow, []byte(hello))
		if f := <-failures; f.why != transport.NoConnection || f.b != hello || f.to != flow {
			t.Errorf("failed for %d", f.why)
		}
	}
	r.handlers[0].l.Wake()
	<-woken
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("somebody listens")
	}
	back.Store(true)
	eventually(t, "it is back", func() bool { return r.Counters().Restarts == 1 })
	p = dial(t, at)
	p.write(hello)
	p.read(hello)
	if n := warnings.Load(); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// Stop ends an engine that is down, too.
func TestStopWhileDown(t *testing.T) {
	down := make(chan struct{}, 1)
	r := start(t, tcp("127.0.0.1:0"), func() *handler {
		return &handler{expire: func(h *handler, now transport.Instant) transport.Instant {
			if l := h.l.(*loop); l.bell.Load() == nil && l.gnet.Load() == nil {
				l.engine.ordered[0].addr = netip.MustParseAddrPort("192.0.2.1:5060")
				select {
				case down <- struct{}{}:
				default:
				}
			}
			return now.Add(time.Millisecond)
		}}
	})
	eventually(t, "the loop runs", r.run.Load().hung.Load)
	go r.run.Load().gnet.Stop(t.Context())
	<-down
	r.stop()
}
