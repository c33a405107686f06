//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// BenchmarkIdle is the memory of this process (heap and stacks) for each connection that is open and idle.
func BenchmarkIdle(b *testing.B) {
	for _, proto := range []transport.Protocol{transport.TCP, transport.TLS, transport.WS, transport.WSS} {
		b.Run(protoNames[proto], func(b *testing.B) {
			const conns = 10_000
			cfg := all(b)
			cfg.Limits.PerAddress = conns
			r := start(b, cfg, newEcho)
			self, err := os.Executable()
			if err != nil {
				b.Fatal(err)
			}
			c := exec.Command(self)
			c.Env = append(os.Environ(), fmt.Sprintf("%s=hold %s %d %d %s", childTask, r.at(proto), proto, conns, certificates(b).File))
			c.Stderr = os.Stderr
			in, _ := c.StdinPipe()
			out, _ := c.StdoutPipe()
			before := memory()
			if err := c.Start(); err != nil {
				b.Fatal(err)
			}
			ready := make([]byte, 6)
			if _, err := io.ReadFull(out, ready); err != nil {
				b.Fatal(err)
			}
			eventually(b, "all are open", func() bool { return r.Counters().Open == conns })
			after := memory()
			in.Close()
			c.Wait()
			r.stop()
			b.ReportMetric(float64(after-before)/conns, "B/connection")
			b.ReportMetric(0, "ns/op")
			for range b.N {
			}
		})
	}
}

func memory() uint64 {
	for range 3 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// holdConnections is a process that opens connections, says "ready" and keeps them until its input ends.
func holdConnections(task string) int {
	var at, ca string
	var proto transport.Protocol
	var n int
	fmt.Sscan(task, &at, &proto, &n, &ca)
	pem, err := os.ReadFile(ca)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	r := &running{Engine: &Engine{}}
	for p := transport.TCP; p <= transport.WSS; p++ {
		r.Engine.ordered = append(r.Engine.ordered, &listener{addr: netip.MustParseAddrPort(at)})
	}
	phones := make([]*phone, n)
	var dials sync.WaitGroup
	for w := range 8 {
		dials.Go(func() {
			for i := w; i < n; i += 8 {
				p, err := r.tryConnect(proto, false, &tls.Config{RootCAs: roots, ServerName: "edge.example.com"})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				p.t = nil
				m := message("x", 0)
				if err := p.tryWrite(m); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				if _, err := io.ReadFull(p.r, make([]byte, len(m))); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				phones[i] = p
			}
		})
	}
	dials.Wait()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(phones)
	return 0
}

// echoes sends a message n times over each of some connections and waits for it to come back.
func echoes(b testing.TB, conns []net.Conn, m []byte, n int) {
	back := make([]byte, len(m))
	for range n {
		for _, c := range conns {
			if _, err := c.Write(m); err != nil {
				b.Fatal(err)
			}
		}
		for _, c := range conns {
			if _, err := io.ReadFull(c, back); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkEcho is one message of 800 bytes in and out. cpu-ns is that of this whole process, the peer's part included.
func BenchmarkEcho(b *testing.B) {
	for _, proto := range []transport.Protocol{transport.TCP, transport.TLS} {
		b.Run(protoNames[proto], func(b *testing.B) {
			r := start(b, all(b), newEcho)
			p := r.connect(b, proto, false, toward(b, 0))
			p.raw.SetDeadline(time.Time{})
			m := []byte(message("m", 800-len(message("m", 0))))
			conns := []net.Conn{p.c}
			echoes(b, conns, m, 100)
			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime()
			echoes(b, conns, m, b.N)
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkPipelined is one of 64 messages of 800 bytes that are on their way at once, on one connection.
func BenchmarkPipelined(b *testing.B) {
	for _, proto := range []transport.Protocol{transport.TCP, transport.TLS, transport.WS} {
		b.Run(protoNames[proto], func(b *testing.B) {
			const burst = 64
			r := start(b, all(b), newEcho)
			p := r.connect(b, proto, false, toward(b, 0))
			p.raw.SetDeadline(time.Time{})
			m := message("m", 800-len(message("m", 0)))
			burstOf := make([]string, burst)
			for i := range burstOf {
				burstOf[i] = m
			}
			back := make([]byte, burst*len(m))
			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime()
			for i := 0; i < b.N; i += burst {
				p.wire.hold = true
				p.write(burstOf...)
				if err := p.wire.flush(); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(p.r, back); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
