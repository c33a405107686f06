//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// to is a flow without a connection.
func to(addr string) transport.Flow {
	return transport.Flow{Proto: transport.TCP, Remote: transport.AddrFrom(netip.MustParseAddrPort(addr))}
}

// listen is a peer that can be connected to.
func listen(t testing.TB, addr string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

func accept(t testing.TB, l *net.TCPListener) *peer {
	t.Helper()
	l.SetDeadline(time.Now().Add(patience))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return asPeer(t, c)
}

// failure is what SendFailed was told.
type told struct {
	to  transport.Flow
	b   string
	why transport.Failure
}

// listening are Handlers that echo, and tell of failures.
func listening(failures chan told) func() *handler {
	return func() *handler {
		return &handler{receive: echo, failed: func(_ *handler, to transport.Flow, b []byte, why transport.Failure) {
			failures <- told{to, string(b), why}
		}}
	}
}

// What is sent to a place without a connection leaves in order by one that is made, and what comes back on it arrives.
func TestDial(t *testing.T) {
	for _, c := range []struct{ listen, peer string }{
		{"127.0.0.1:0", "127.0.0.1:0"}, {"127.0.0.1:0", "127.0.0.5:0"}, {"0.0.0.0:0", "127.0.0.5:0"}, {"[::1]:0", "[::1]:0"}, {"[::]:0", "[::1]:0"},
	} {
		for _, loops := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s to %s, %d loops", c.listen, c.peer, loops), func(t *testing.T) {
				cfg := tcp(c.listen)
				cfg.Loops = loops
				got := make(chan transport.Flow, 1)
				r := start(t, cfg, func() *handler {
					return &handler{receive: func(_ *handler, from transport.Flow, _ []byte) { got <- from }}
				})
				l := listen(t, c.peer)
				flow := to(l.Addr().String())
				flow.Listener = 3
				var all []string
				send := func(i, n int) {
					t.Helper()
					m := message(fmt.Sprint("m", i), n)
					if s := r.Post(flow, []byte(m)); s != transport.Queued {
						t.Errorf("Post says %d", s)
					}
					all = append(all, m)
				}
				for i := range 10 {
					send(i, i*100)
				}
				send(10, 300_000)
				p := accept(t, l)
				p.read(strings.Join(all, ""))
				all = nil
				for i := range 10 {
					send(i, i*10)
				}
				p.read(strings.Join(all, ""))
				if host := netip.MustParseAddrPort(c.listen).Addr(); !host.IsUnspecified() && p.RemoteAddr().(*net.TCPAddr).AddrPort().Addr() != host {
					t.Errorf("the connection comes from %s, not from the listener's address", p.RemoteAddr())
				}
				p.write(message("back", 7))
				from := <-got
				want := flow
				want.Loop, want.Conn, want.Gen, want.Local = from.Loop, from.Conn, from.Gen, from.Local
				if from != want || from.Gen == 0 || from.Local == [16]byte{} {
					t.Errorf("flow of the answer %+v, want %+v", from, want)
				}
				if n := r.Counters(); n.Dialed != 1 || n.Accepted != 0 || n.Open != 1 {
					t.Errorf("counted %+v", n)
				}
				// The connection ends, and another takes its place.
				p.Close()
				eventually(t, "the connection closes", func() bool { return r.Counters().Open == 0 })
				all = nil
				send(1, 1)
				accept(t, l).read(all[0])
			})
		}
	}
}

// Every message that waits for a connection that cannot be made comes back whole.
func TestDialRefused(t *testing.T) {
	failures := make(chan told, 10)
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Unreachable = time.Hour
	r := start(t, cfg, listening(failures))
	l := listen(t, "127.0.0.1:0")
	flow := to(l.Addr().String())
	l.Close()
	messages := []string{message("one", 10), message("two", 300_000)}
	for _, m := range messages {
		if s := r.Post(flow, []byte(m)); s != transport.Queued {
			t.Errorf("Post says %d", s)
		}
	}
	for _, m := range messages {
		if f := <-failures; f.to != flow || f.b != m || f.why != transport.NoConnection {
			t.Errorf("failed: %+v with %d bytes for %d", f.to, len(f.b), f.why)
		}
	}
	// It is not tried again for a while.
	listen(t, flow.Remote.AddrPort().String())
	r.Post(flow, []byte(messages[0]))
	if f := <-failures; f.why != transport.NoConnection {
		t.Errorf("failed for %d", f.why)
	}
	if n := r.Counters(); n.DialFailures != 1 || n.Dialed != 0 || n.Open != 0 {
		t.Errorf("counted %+v", n)
	}
}

// As much as may wait for a connection may also wait in it: what was queued does not cut it off, whatever the limits say.
func TestDialFlushes(t *testing.T) {
	failures := make(chan told, 100)
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.PerDestinationBytes = 100 << 20
	cfg.Limits.OutBytes = 10 << 20
	l := listen(t, "127.0.0.1:0")
	flow := to(l.Addr().String())
	const sent = 50
	r := start(t, cfg, func() *handler {
		h := listening(failures)()
		h.woken = func(h *handler) { // meanwhile the loop cannot meet the connection
			for i := range sent {
				h.send(flow, []byte(message(fmt.Sprint("m", i), 300_000)))
			}
		}
		return h
	})
	r.handlers[0].l.Wake()
	for i := 34; i < sent; i++ { // 34 of them are 10 MB
		if f := <-failures; f.why != transport.Overflow || f.b != message(fmt.Sprint("m", i), 300_000) {
			t.Errorf("failed: %.60q for %d", f.b, f.why)
		}
	}
	p := accept(t, l)
	for i := range 34 {
		p.read(message(fmt.Sprint("m", i), 300_000))
	}
	if n := r.Counters(); n.ClosedOverflow != 0 || n.Dialed != 1 {
		t.Errorf("counted %+v", n)
	}
}

// After the pause a place is tried again.
func TestDialAgain(t *testing.T) {
	failures := make(chan told, 1000)
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Unreachable = time.Millisecond
	r := start(t, cfg, listening(failures))
	l := listen(t, "127.0.0.1:0")
	flow := to(l.Addr().String())
	l.Close()
	r.Post(flow, []byte("first"))
	<-failures
	l = listen(t, flow.Remote.AddrPort().String())
	eventually(t, "it connects", func() bool {
		r.Post(flow, []byte(message("again", 0)))
		return r.Counters().Dialed == 1
	})
	accept(t, l).read(message("again", 0))
}

// silent is an address that takes no connections and refuses none: its queue is full.
func silent(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", at, 100*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { c.Close() })
	}
}

// A place that does not answer holds up nobody else; what does not fit in its queue comes back at once.
func TestDialSilent(t *testing.T) {
	failures := make(chan told, 100)
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Dial = never
	cfg.Limits.PerDestination = 5
	cfg.Limits.PerDestinationBytes = 12_000
	r := start(t, cfg, listening(failures))
	dead := to(silent(t))
	small, large := message("small", 10), message("large", 9000)
	for range 2 {
		r.Post(dead, []byte(small))
	}
	r.Post(dead, []byte(large))
	r.Post(dead, []byte(large)) // too many bytes
	if f := <-failures; f.why != transport.Overflow || f.b != large || f.to != dead {
		t.Errorf("failed: %d bytes for %d", len(f.b), f.why)
	}
	for range 3 { // the last of them is one too many
		r.Post(dead, []byte(small))
	}
	if f := <-failures; f.why != transport.Overflow || f.b != small {
		t.Errorf("failed: %d bytes for %d", len(f.b), f.why)
	}
	l := listen(t, "127.0.0.1:0")
	r.Post(to(l.Addr().String()), []byte(small))
	accept(t, l).read(small)
	if len(failures) > 0 {
		t.Errorf("failed: %+v", <-failures)
	}
}

// What waits for it fails at the deadline.
func TestDialDeadline(t *testing.T) {
	failures := make(chan told, 1)
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Dial = 50 * time.Millisecond
	r := start(t, cfg, listening(failures))
	dead := to(silent(t))
	large := message("large", 300_000)
	r.Post(dead, []byte(large))
	if f := <-failures; f.why != transport.NoConnection || f.to != dead || f.b != large {
		t.Errorf("failed: %d bytes for %d", len(f.b), f.why)
	}
	if n := r.Counters(); n.DialFailures != 1 || n.Open != 0 {
		t.Errorf("counted %+v", n)
	}
}

// Stop does not wait for a dial.
func TestStopWhileDialing(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Dial = never
	r := start(t, cfg, newEcho)
	r.Post(to(silent(t)), []byte("x"))
	eventually(t, "the dial is under way", func() bool { return r.Counters().Open == 1 })
	r.Stop()
	if err := <-r.served; err != nil {
		t.Error(err)
	}
	stopped.Store(r, true)
}

// A connection that the peer has made is used for what goes to its address and port, whichever loop has it: the response to a request
// whose own connection is named otherwise, or a request to where it listens.
func TestReuseAccepted(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Loops = 3
	r := start(t, cfg, newEcho)
	for i := range 12 { // loops differ
		p := dial(t, r.addr())
		hello := message(fmt.Sprint("hello", i), 0)
		p.write(hello)
		p.read(hello)
		r.Post(to(p.LocalAddr().String()), []byte(hello))
		p.read(hello)
		r.Post(to(p.LocalAddr().String()), []byte(hello))
		p.read(hello)
		if n := r.Counters(); n.Dialed != 0 || n.DialFailures != 0 {
			t.Fatalf("counted %+v", n)
		}
		// When it is gone, its place is dialed; nobody listens there.
		before := r.Counters().Open
		gone := to(p.LocalAddr().String())
		p.Close()
		eventually(t, "the connection closes", func() bool { return r.Counters().Open < before })
		r.Post(gone, []byte(hello))
		eventually(t, "the dial fails", func() bool { return r.Counters().DialFailures == 1 })
		r.stop()
		r = start(t, cfg, newEcho)
	}
}

// Places that were used long ago are forgotten for new ones, and their connections still found.
func TestDestinationsBounded(t *testing.T) {
	failures := make(chan told, 100)
	cfg := tcp("127.0.0.1:0")
	cfg.Limits.Destinations = 4
	cfg.Limits.Dial = never
	r := start(t, cfg, listening(failures))
	m := message("x", 0)
	var listeners []*net.TCPListener
	var peers []*peer
	for range 10 {
		l := listen(t, "127.0.0.1:0")
		r.Post(to(l.Addr().String()), []byte(m))
		p := accept(t, l)
		p.read(m)
		listeners, peers = append(listeners, l), append(peers, p)
	}
	for i, l := range listeners {
		r.Post(to(l.Addr().String()), []byte(m))
		peers[i].read(m)
	}
	if n := r.Counters(); n.Dialed != 10 || n.Open != 10 {
		t.Errorf("counted %+v", n)
	}
	// While all are being dialed there is no room.
	var dead []transport.Flow
	for range 5 {
		dead = append(dead, to(silent(t)))
	}
	for _, d := range dead {
		r.Post(d, []byte(m))
	}
	if f := <-failures; f.why != transport.NoConnection || f.to != dead[4] {
		t.Errorf("failed: %+v for %d", f.to, f.why)
	}
}

// Places for which there is no listener whose address our Via could say.
func TestDialWithoutListener(t *testing.T) {
	failures := make(chan told, 10)
	r := start(t, tcp("127.0.0.1:0"), listening(failures))
	r.Post(to("[::1]:5060"), []byte("x"))
	if f := <-failures; f.why != transport.NoConnection {
		t.Errorf("failed for %d", f.why)
	}
	tls := to("127.0.0.1:5061")
	tls.Proto = transport.TLS
	r.Post(tls, []byte("x"))
	if f := <-failures; f.why != transport.NoConnection {
		t.Errorf("failed for %d", f.why)
	}
}

// Many goroutines post to many places and connections at once; each message arrives, in the order of its sender.
func TestPostFromMany(t *testing.T) {
	cfg := tcp("127.0.0.1:0")
	cfg.Loops = 3
	r := start(t, cfg, newEcho)
	const places, senders, each = 5, 4, 200
	var readers sync.WaitGroup
	var flows []transport.Flow
	for range places {
		l := listen(t, "127.0.0.1:0")
		flows = append(flows, to(l.Addr().String()))
		readers.Go(func() {
			p := accept(t, l)
			next := map[byte]int{}
			for range senders * each {
				line, err := p.r.ReadString('\n')
				var who byte
				var i int
				if _, err2 := fmt.Sscanf(line, "%c %d", &who, &i); err != nil || err2 != nil || next[who] != i {
					t.Errorf("read %q, %v, want number %d", line, err, next[who])
					return
				}
				next[who]++
			}
		})
	}
	for s := range senders {
		readers.Go(func() {
			for i := range each {
				for _, f := range flows {
					for r.Post(f, fmt.Appendf(nil, "%c %d\n", 'a'+s, i)) != transport.Queued {
						time.Sleep(time.Millisecond)
					}
				}
			}
		})
	}
	readers.Wait()
}
