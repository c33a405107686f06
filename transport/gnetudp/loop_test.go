//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// still is an engine that was opened and does not serve: its loops are in the hands of the test.
func still(t *testing.T, listener string) *Engine {
	t.Helper()
	e, err := Open(transport.Config{Listeners: []netip.AddrPort{netip.MustParseAddrPort(listener)}, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// A full socket buffer cannot be had on loopback, so the system call is replaced.
func TestFullSendBuffer(t *testing.T) {
	l := still(t, "127.0.0.1:0").loops[0]
	calls := 0
	l.sendmsg = func(int, []byte, []byte, unix.Sockaddr) error {
		calls++
		if calls%2 == 1 {
			return unix.EAGAIN
		}
		return nil
	}
	to := transport.Flow{Remote: transport.AddrFrom(netip.MustParseAddrPort("127.0.0.1:9")), Proto: transport.UDP}
	for range 100 {
		if s := l.Send(to, append(l.Buffer(), "x"...)); s != transport.Queued {
			t.Fatalf("Send says %d", s)
		}
	}
	s := l.stats.load()
	if calls != 100 || s.SendDropped != 50 || s.PacketsOut != 50 || s.SendErrors != 0 || l.refusals.Any() {
		t.Errorf("%d calls; counted %+v", calls, s)
	}
}

// A wildcard listener sends by the socket of the address that the flow names, by the catch-all
// when that has none, and says there which address to leave from.
func TestWayOfAWildcard(t *testing.T) {
	e := still(t, "0.0.0.0:0")
	l := e.loops[0]
	from := e.listeners[0]
	var own *source
	for _, s := range from.sources {
		if s.addr.Addr() == netip.MustParseAddr("127.0.0.1") {
			own = s
		}
	}
	if own == nil {
		t.Fatalf("127.0.0.1 is not among the addresses bound: %v", from.sources)
	}
	to := transport.Flow{Remote: transport.AddrFrom(netip.MustParseAddrPort("127.0.0.1:9")), Proto: transport.UDP}
	way := func(local string) (fd int, control []byte) {
		to.Local = [16]byte{}
		if local != "" {
			to.Local = netip.MustParseAddr(local).As16()
		}
		return l.way(from, &to)
	}
	if fd, control := way("127.0.0.1"); fd != own.fd || control != nil {
		t.Errorf("from 127.0.0.1 by %d with % x, want its own socket %d", fd, control, own.fd)
	}
	if fd, control := way(""); fd != from.rest.fd || control != nil {
		t.Errorf("from anywhere by %d with % x, want the catch-all %d", fd, control, from.rest.fd)
	}
	fd, control := way("127.0.0.2")
	if fd != from.rest.fd {
		t.Errorf("from 127.0.0.2 by %d, want the catch-all %d", fd, from.rest.fd)
	}
	if tellsLocalAddress && localOf(control) != to.Local {
		t.Errorf("from 127.0.0.2 with % x", control)
	}
}
