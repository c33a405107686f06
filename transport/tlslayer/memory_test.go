package tlslayer

import (
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"testing"

	"sipedge/transport/tlslayer/tlstest"
)

// idleLimit is the memory that an idle connection may take, in bytes.
const idleLimit = 10 << 10

// heap is what is in use after everything that can be freed was.
func heap() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// settled is one connection at rest: handshake over, a message each way, one of them large. Only the Conn stays; its peer and the harness go.
func settled(t testing.TB, c *Config, client *tls.Config, large int) *Conn {
	s := newSide(t, 1<<20, c.Server)
	peer := tls.Client(s.link, client)
	done := make(chan error, 1)
	go func() {
		if err := peer.Handshake(); err != nil {
			done <- err
			return
		}
		peer.Write(message(large))
		_, err := io.ReadFull(peer, make([]byte, 700))
		done <- err
	}()
	if err := s.shake(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pump(large); err != nil {
		t.Fatal(err)
	}
	s.write(message(700))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.cancel()
	return s.Conn
}

// TestIdleMemory holds what a connection costs that has nothing to do, and prints it.
func TestIdleMemory(t *testing.T) {
	if raceEnabled {
		return // the race detector's own memory would be measured
	}
	w := newWorld(t)
	pair := w.issue(t, "a", tlstest.Names{SIP: []string{"example.com"}, DNS: []string{"example.com"}})
	mutual := w.issue(t, "b", tlstest.Names{SIP: []string{"b.example.com"}})
	f := files(pair)
	f.ClientCA = w.ca.File
	c := load(t, f)
	const n, large = 500, 16384
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, certificate := range []bool{false, true} {
			cfg := &tls.Config{RootCAs: w.ca.Pool(), ServerName: "example.com", MaxVersion: version}
			if certificate {
				cfg.Certificates = []tls.Certificate{mutual.TLS}
			}
			conns := make([]*Conn, 0, n)
			for range 20 {
				settled(t, c, cfg, large) // pools and caches fill
			}
			before := heap()
			for range n {
				conns = append(conns, settled(t, c, cfg, large))
			}
			each := int64(heap()-before) / n
			name := fmt.Sprintf("%s, client certificate %t", tls.VersionName(version), certificate)
			t.Logf("%s: %d bytes per idle connection", name, each)
			if each > idleLimit {
				t.Errorf("%s: %d bytes per idle connection, want at most %d", name, each, idleLimit)
			}
			runtime.KeepAlive(conns)
		}
	}
}

// mirror is a Config for both sides of a connection, with at most that version.
func mirror(t testing.TB, version uint16) *Config {
	w := newWorld(t)
	f := files(w.issue(t, "a", tlstest.Names{SIP: []string{"example.com"}}))
	f.Roots = w.ca.File
	c := load(t, f)
	c.now.Load().server.MaxVersion = version
	return c
}

// both are the two sides of one connection after the handshake, without crypto/tls directly on either.
func both(t testing.TB, c *Config) (server, client *Conn) {
	wake := make(chan struct{}, 1)
	notify := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	server, client = c.Server(notify), c.Client("example.com", notify)
	done := make(chan error, 2)
	for _, conn := range []*Conn{server, client} {
		go func() {
			done <- conn.Handshake(t.Context())
			notify()
		}()
	}
	for !server.Established() || !client.Established() {
		<-wake
		server.Feed(client.Out(nil))
		client.Feed(server.Out(nil))
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	client.Feed(server.Out(nil)) // tickets
	if n, err := client.Read(make([]byte, 10)); n != 0 || err != ErrMore {
		t.Fatal(n, err)
	}
	return server, client
}

// round is a message there and its answer back; scratch is what a loop has for all its connections.
type round struct {
	server, client *Conn
	out, plain     []byte
}

func (r *round) run(t testing.TB, request, response []byte) {
	r.pass(t, r.client, r.server, request)
	r.pass(t, r.server, r.client, response)
}

func (r *round) pass(t testing.TB, from, to *Conn, m []byte) {
	var err error
	if r.out, err = from.Append(r.out[:0], m); err != nil {
		t.Fatal(err)
	}
	if err = to.Feed(r.out); err != nil {
		t.Fatal(err)
	}
	for got := 0; ; {
		n, err := to.Read(r.plain)
		got += n
		if err == ErrMore && got == len(m) {
			return
		}
		if err != nil {
			t.Fatal(err, got)
		}
	}
}

func TestAllocs(t *testing.T) {
	if raceEnabled {
		return // it makes pools forget on purpose
	}
	for v, version := range versions {
		server, client := both(t, mirror(t, version))
		r := round{server, client, make([]byte, 0, 1<<17), make([]byte, 1<<16)}
		for _, n := range []int{700, 3000} {
			m := message(n)
			if a := testing.AllocsPerRun(200, func() { r.run(t, m, m) }); a != 0 {
				t.Errorf("TLS %s, %d bytes: %v allocations for a message each way", v, n, a)
			}
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	server, client := both(b, mirror(b, tls.VersionTLS13))
	r := round{server, client, make([]byte, 0, 1<<17), make([]byte, 1<<16)}
	m := message(766)
	b.ReportAllocs()
	b.SetBytes(int64(2 * len(m)))
	for b.Loop() {
		r.run(b, m, m)
	}
}

// Both sides together.
func BenchmarkHandshake(b *testing.B) {
	for v, version := range versions {
		for _, tickets := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/resumed=%t", v, tickets), func(b *testing.B) {
				c := mirror(b, version)
				c.now.Load().server.SessionTicketsDisabled = !tickets
				b.ReportAllocs()
				for b.Loop() {
					both(b, c)
				}
			})
		}
	}
}
