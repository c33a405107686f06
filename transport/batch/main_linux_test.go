package batch

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sipedge/transport"
)

// Never more than two loops run in these tests.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(Procs(2))
	if task := os.Getenv(guardTask); task != "" {
		os.Exit(guardChild(task))
	}
	if task := os.Getenv(senderTask); task != "" {
		os.Exit(senderChild(task))
	}
	goleak.VerifyTestMain(m)
}

const patience = 20 * time.Second

// relay sends what comes from a to b, and what comes from anywhere else to a.
type relay struct {
	l    transport.Loop
	a, b transport.Addr
}

func (r *relay) Receive(from transport.Flow, b []byte, _ transport.Instant) {
	if from.Remote == r.a {
		from.Remote = r.b
	} else {
		from.Remote = r.a
	}
	r.l.Send(from, append(r.l.Buffer(), b...))
}

func (*relay) SendFailed(transport.Flow, []byte, transport.Failure, transport.Instant) {}
func (*relay) Expire(transport.Instant) transport.Instant                              { return 0 }
func (*relay) Woken(transport.Instant)                                                 {}
func (*relay) Quiesce()                                                                {}
func (*relay) Idle()                                                                   {}
func (*relay) Busy()                                                                   {}

func loopback() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:0") }

// open is Open for tests; the sockets close with the test.
func open(t testing.TB, loops int, listeners ...netip.AddrPort) *Engine {
	t.Helper()
	e, err := Open(transport.Config{Listeners: listeners, Loops: loops, ReceiveBuffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// serve runs e; the returned function stops it and waits.
func serve(t testing.TB, e *Engine, newHandler func(int, transport.Loop) transport.Handler) (stop func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- e.Serve(newHandler) }()
	return func() {
		t.Helper()
		e.Stop()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("Serve does not end after Stop")
		}
	}
}

func peer(t testing.TB, host netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) transport.Addr {
	return transport.AddrFrom(c.LocalAddr().(*net.UDPAddr).AddrPort())
}
