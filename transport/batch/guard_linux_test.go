package batch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// TestRuntimeIsNotHeldUp has everything that stops the world or scans stacks happen while the
// loops sleep in their raw wait and while they are busy. A loop that does not obey hangs the
// whole process, timers of tests included, so each case is a process of its own, and what fails
// the test is that it has to be killed.
func TestRuntimeIsNotHeldUp(t *testing.T) {
	for _, c := range []struct{ task, godebug string }{
		{"sleeping", ""},
		{"sleeping raw", ""}, // not even bounded by rawWait
		{"timers", ""},
		{"busy", ""},
		{"busy raw", ""},
		{"sleeping", "asyncpreemptoff=1"}, // no SIGURG: the bound alone must do
		{"timers", "asyncpreemptoff=1"},
	} {
		t.Run(strings.TrimSpace(c.task+" "+c.godebug), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			child := exec.CommandContext(ctx, os.Args[0])
			child.Env = append(os.Environ(), guardTask+"="+c.task, "GODEBUG="+c.godebug)
			out, err := child.CombinedOutput()
			if ctx.Err() != nil {
				t.Fatalf("the runtime was held up for ever; so far:\n%s", out)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s", bytes.TrimSpace(out))
		})
	}
}

// guardTask is the environment variable that makes the test binary a guardChild.
const guardTask = "BATCH_TEST_GUARD"

func guardChild(task string) int {
	const loops = 2
	runtime.GOMAXPROCS(loops + 2)
	e, err := Open(transport.Config{Listeners: []netip.AddrPort{loopback()}, Loops: loops})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if strings.HasSuffix(task, "raw") {
		for _, l := range e.loops {
			l.rawWait = int(time.Hour / time.Millisecond) // the guard alone must do
		}
	}
	done := make(chan error)
	go func() {
		done <- e.Serve(func(_ int, l transport.Loop) transport.Handler {
			return &garbage{relay: relay{l: l}, tick: task == "timers"}
		})
	}()
	stop := make(chan struct{})
	var load sync.WaitGroup
	if strings.HasPrefix(task, "busy") {
		for range loops {
			load.Go(func() { flood(e.Addrs()[0], stop) })
		}
	}
	time.Sleep(20 * time.Millisecond) // the loops have fallen asleep, or are in full swing

	var slowest time.Duration
	var slowestName string
	for range 4 {
		for _, c := range runtimeWork {
			began := time.Now()
			if err := c.do(); err != nil {
				fmt.Println(c.name, err)
				return 1
			}
			if d := time.Since(began); d > slowest {
				slowest, slowestName = d, c.name
			}
		}
	}
	close(stop)
	load.Wait()
	packets := e.Stats(0).PacketsIn + e.Stats(1).PacketsIn
	if strings.HasPrefix(task, "busy") && (e.Stats(0).PacketsIn == 0 || e.Stats(1).PacketsIn == 0) {
		fmt.Printf("a loop had no packets: %+v %+v\n", e.Stats(0), e.Stats(1))
		return 1
	}
	e.Stop()
	if err := <-done; err != nil {
		fmt.Println(err)
		return 1
	}
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	var worst time.Duration
	for _, p := range gc.Pause {
		worst = max(worst, p)
	}
	fmt.Printf("%d packets, %d collections, longest pause %s, slowest of all: %s %s\n", packets, gc.NumGC, worst, slowestName, slowest)
	return 0
}

// runtimeWork is what needs all goroutines to stand still for a moment, each.
var runtimeWork = []struct {
	name string
	do   func() error
}{
	{"garbage collection", func() error { runtime.GC(); return nil }},
	{"goroutine dump", func() error { return pprof.Lookup("goroutine").WriteTo(io.Discard, 2) }},
	{"goroutine profile", func() error { return pprof.Lookup("goroutine").WriteTo(io.Discard, 0) }},
	{"all stacks", func() error { runtime.Stack(make([]byte, 64<<10), true); return nil }},
	{"memory statistics", func() error { runtime.ReadMemStats(new(runtime.MemStats)); return nil }},
	{"heap profile", func() error { return pprof.Lookup("heap").WriteTo(io.Discard, 0) }},
	{"CPU profile", func() error {
		if err := pprof.StartCPUProfile(io.Discard); err != nil {
			return err
		}
		time.Sleep(15 * time.Millisecond)
		pprof.StopCPUProfile()
		return nil
	}},
	{"execution trace", func() error {
		if err := trace.Start(io.Discard); err != nil {
			return err
		}
		runtime.GC()
		trace.Stop()
		return nil
	}},
	{"GOMAXPROCS", func() error { runtime.GOMAXPROCS(5); runtime.GOMAXPROCS(4); return nil }},
	{"concurrent garbage", func() error {
		for range 100 {
			sink.Store(new(make([]byte, 64<<10)))
		}
		return nil
	}},
}

var sink atomic.Pointer[[]byte]

// garbage echoes, and keeps the collector interested in its stack and its timers.
type garbage struct {
	relay
	tick bool
	last *[]byte
}

func (g *garbage) Receive(from transport.Flow, b []byte, _ transport.Instant) {
	g.last = new(append([]byte(nil), b...))
	g.l.Send(from, append(g.l.Buffer(), *g.last...))
}

func (g *garbage) Expire(now transport.Instant) transport.Instant {
	if g.tick {
		return now.Add(time.Millisecond)
	}
	return 0
}

// flood sends without a pause, until stop or 60 s.
func flood(to netip.AddrPort, stop <-chan struct{}) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	defer unix.Close(fd)
	sa := &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	for i := range 60_000_000 {
		if i%64 == 0 {
			select {
			case <-stop:
				return
			default:
			}
		}
		b := fmt.Appendf(nil, "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%08d\r\nMax-Forwards: 70\r\n\r\n", i)
		_ = unix.Sendto(fd, b, unix.MSG_DONTWAIT, sa) // a full buffer is fine
	}
}
