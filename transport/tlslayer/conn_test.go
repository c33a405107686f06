package tlslayer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"sipedge/transport/tlslayer/tlstest"
)

func each(t *testing.T, test func(t *testing.T, version uint16, piece int)) {
	for v, version := range versions {
		for p, piece := range pieces {
			t.Run(v+", "+p, func(t *testing.T) { test(t, version, piece) })
		}
	}
}

// peerOf runs a peer made of crypto/tls; do gets it after its handshake.
func peerOf(c *tls.Conn, do func(c *tls.Conn) error) <-chan error {
	done := make(chan error, 1)
	go func() {
		defer c.NetConn().Close()
		err := c.Handshake()
		if err == nil {
			err = do(c)
		}
		done <- err
	}()
	return done
}

func message(n int) []byte {
	return bytes.Repeat([]byte("OPTIONS sip:a@example.com SIP/2.0\r\n"), n/35+1)[:n]
}

var sizes = []int{1, 400, 1200, 16384, 16385, 300_000}

// A client made of crypto/tls against our server: an echo of messages of many sizes, then close_notify.
func TestServer(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{SIP: []string{"example.com"}, DNS: []string{"example.com"}})))
	each(t, func(t *testing.T, version uint16, piece int) {
		s := newSide(t, piece, c.Server)
		client := tls.Client(s.link, &tls.Config{RootCAs: w.ca.Pool(), ServerName: "example.com", MaxVersion: version})
		done := peerOf(client, echoes)
		if err := s.shake(); err != nil {
			t.Fatal(err)
		}
		if v := s.tls.ConnectionState().Version; v != version {
			t.Errorf("version %x, want %x", v, version)
		}
		serveEcho(t, s)
		if err := <-done; err != nil {
			t.Error("the peer:", err)
		}
		if len(s.Identities()) != 0 {
			t.Error("an anonymous peer has identities", s.Identities())
		}
	})
}

// Our client against a server made of crypto/tls.
func TestClient(t *testing.T) {
	w := newWorld(t)
	pair := w.issue(t, "a", tlstest.Names{SIP: []string{"Example.com"}})
	c := load(t, Files{Roots: w.ca.File})
	each(t, func(t *testing.T, version uint16, piece int) {
		s := newSide(t, piece, func(notify func()) *Conn { return c.Client("example.COM.", notify) })
		server := tls.Server(s.link, &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MaxVersion: version})
		done := peerOf(server, echoes)
		if err := s.shake(); err != nil {
			t.Fatal(err)
		}
		serveEcho(t, s)
		if err := <-done; err != nil {
			t.Error("the peer:", err)
		}
		if got := fmt.Sprint(s.Identities()); got != "[example.com]" {
			t.Error("identities", got)
		}
	})
}

// echoes sends messages and wants them back, some one by one and some at once, then closes and wants the close_notify of the other side.
func echoes(c *tls.Conn) error {
	for _, n := range sizes {
		if _, err := c.Write(message(n)); err != nil {
			return err
		}
		got := make([]byte, n)
		if _, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		if !bytes.Equal(got, message(n)) {
			return fmt.Errorf("%d bytes came back changed", n)
		}
	}
	for range 10 {
		if _, err := c.Write(message(500)); err != nil {
			return err
		}
	}
	got := make([]byte, 5000)
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := c.Read(got); err != io.EOF {
		return fmt.Errorf("%d bytes and %v instead of close_notify", n, err)
	}
	return nil
}

func serveEcho(t *testing.T, s *side) {
	t.Helper()
	for _, n := range sizes {
		got, err := s.pump(n)
		if err != nil || !bytes.Equal(got, message(n)) {
			t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
		}
		s.write(got)
		s.holdsNothing()
	}
	got, err := s.pump(5000)
	if err != nil || len(got) != 5000 {
		t.Fatalf("ten messages: %d bytes, %v", len(got), err)
	}
	s.write(got)
	if got, err := s.pump(1); err != io.EOF {
		t.Fatalf("close_notify reads as %q, %v", got, err)
	}
	s.Shut()
	s.link.send(s.Out(nil))
	if _, err := s.Append(nil, []byte("x")); err == nil {
		t.Error("Append works after Shut")
	}
}

// Every split of one record: two feeds, wherever the cut.
func TestEverySplit(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	for v, version := range versions {
		t.Run(v, func(t *testing.T) {
			s, client := established(t, c, w, version)
			const n = 90
			for cut := 0; cut <= n; cut++ {
				client.Write(message(60))
				client.Write(message(9))
				b, _ := s.link.take(1 << 20)
				cut := min(cut*len(b)/n, len(b))
				var got []byte
				for _, part := range [][]byte{b[:cut], b[cut:]} {
					if err := s.Feed(part); err != nil {
						t.Fatal(err)
					}
					clear(part)
					got = append(got, s.drain(t)...)
				}
				if string(got) != string(message(60))+string(message(9)) {
					t.Fatalf("cut at %d of %d: %q", cut, len(b), got)
				}
				s.holdsNothing()
			}
		})
	}
}

// established is a server's side after a handshake with a client of crypto/tls.
func established(t testing.TB, c *Config, w world, version uint16) (*side, *tls.Conn) {
	s := newSide(t, 1<<20, c.Server)
	client := tls.Client(s.link, &tls.Config{RootCAs: w.ca.Pool(), ServerName: "example.com", MaxVersion: version})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := s.shake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return s, client
}

// drain reads what is there.
func (s *side) drain(t testing.TB) (got []byte) {
	t.Helper()
	dst := make([]byte, s.read)
	for {
		n, err := s.Read(dst)
		got = append(got, dst[:n]...)
		if err == ErrMore {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A dst that is smaller than a record, and one that is just as large.
func TestSmallReads(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	for _, size := range []int{1, 2, 59, 60, 61, 120, 4096} {
		s, client := established(t, c, w, tls.VersionTLS13)
		s.read = size
		for range 3 {
			client.Write(message(60))
			client.Write(message(60))
			b, _ := s.link.take(1 << 20)
			// More comes while the first record is half read.
			s.Feed(b[:len(b)/2+3])
			dst := make([]byte, size)
			n, err := s.Read(dst)
			if err != nil {
				t.Fatal(err)
			}
			got := dst[:n]
			s.Feed(b[len(b)/2+3:])
			s.Feed(nil)
			got = append(got, s.drain(t)...)
			if string(got) != string(message(60))+string(message(60)) {
				t.Fatalf("dst of %d: %q", size, got)
			}
		}
	}
}

func TestTruncated(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	for v, version := range versions {
		for _, cut := range []int{0, 1, 4, 5, 6, 30} {
			t.Run(fmt.Sprint(v, " cut at ", cut), func(t *testing.T) {
				s, client := established(t, c, w, version)
				client.Write(message(60))
				client.Write(message(60))
				b, _ := s.link.take(1 << 20)
				s.Feed(b[:len(b)/2+cut])
				s.End()
				got, err := io.ReadAll(readerFunc(s.Read))
				if err != ErrTruncated || string(got) != string(message(60)) {
					t.Errorf("%q, %v", got, err)
				}
				if _, err := s.Read(make([]byte, 10)); err != ErrTruncated {
					t.Error("then", err)
				}
			})
		}
		s, client := established(t, c, w, version)
		client.Write(message(60))
		client.CloseWrite()
		b, _ := s.link.take(1 << 20)
		s.Feed(b)
		s.End()
		if got, err := io.ReadAll(readerFunc(s.Read)); err != nil || len(got) != 60 {
			t.Errorf("closed in order, but %d bytes and %v", len(got), err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// What is no TLS, and TLS that was changed on the way, ends the connection with an alert.
func TestBroken(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	for _, b := range []string{
		"OPTIONS sip:a@example.com SIP/2.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\x80\x2e\x01\x03\x01",
		"\x16\x03\x01\xff\xff", "\x16\x09\x01\x00\x05hello", "\x17\x03\x03\x00\x05hello", "\x16\x03\x01\x00\x05hello",
	} {
		for _, piece := range []int{1, 100} {
			s := newSide(t, piece, c.Server)
			s.link.Write([]byte(b))
			if err := s.shake(); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%q: %v", b, err)
			}
		}
	}
	for v, version := range versions {
		t.Run(v, func(t *testing.T) {
			s, client := established(t, c, w, version)
			client.Write(message(60))
			b, _ := s.link.take(1 << 20)
			b[len(b)-1] ^= 1
			s.Feed(b)
			n, err := s.Read(make([]byte, 100))
			if n != 0 || err == nil || err == ErrMore {
				t.Errorf("%d, %v", n, err)
			}
			out := s.Out(nil)
			if len(out) == 0 {
				t.Error("no alert")
			}
			s.link.send(out)
			if _, err := client.Read(make([]byte, 10)); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
				t.Error("the peer reads", err)
			}
			if _, err := s.Append(nil, []byte("x")); err == nil {
				t.Error("Append works on a broken connection")
			}
		})
	}
}

func TestFlood(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	s := c.Server(func() {})
	var err error
	fed := 0
	for err == nil && fed < 4<<20 {
		err = s.Feed(make([]byte, 1<<16))
		fed += 1 << 16
	}
	if err != ErrFlood || fed > MaxWaiting+1<<17 {
		t.Errorf("%v after %d bytes", err, fed)
	}
	s.Shut()
	if s.w.in != nil {
		t.Error("a closed connection has a buffer")
	}
}

// A handshake ends with its context, with Shut and with the connection below, wherever it waits.
func TestHandshakeEnds(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	hello := clientHello(t)
	ends := map[string]func(s *side){
		"context": func(s *side) { s.cancel() },
		"Shut":    func(s *side) { s.Shut() },
		"End":     func(s *side) { s.End() },
	}
	for how, end := range ends {
		for fed, b := range map[string][]byte{"nothing": nil, "half a hello": hello[:len(hello)/2], "a hello": hello} {
			s := newSide(t, 1<<20, c.Server)
			s.Feed(b)
			if fed == "a hello" {
				for len(s.Out(nil)) == 0 {
					s.wait()
				}
			}
			end(s)
			if err := <-s.done; err == nil {
				t.Errorf("%s after %s: Handshake succeeds", how, fed)
			}
			if s.Established() {
				t.Error("established")
			}
			if n, err := s.Read(make([]byte, 1)); n != 0 || err != ErrMore {
				t.Errorf("Read: %d, %v", n, err)
			}
			if _, err := s.Append(nil, []byte("x")); err != ErrHandshake {
				t.Error("Append:", err)
			}
		}
	}
}

func clientHello(t *testing.T) []byte {
	t.Helper()
	l := newLink(func() {})
	client := tls.Client(l, &tls.Config{ServerName: "example.com"})
	l.hangUp()
	if err := client.Handshake(); err == nil {
		t.Fatal("a handshake with nobody")
	}
	return l.toLoop
}

// Peers that are slow in their handshakes take no place from others: more of them than there are places, and one that is quick.
func TestSlowHandshakesKeepNobodyWaiting(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	hello := clientHello(t)
	var slow []*side
	for i := range 3*cap(c.slots) + 3 {
		s := newSide(t, 1<<20, c.Server)
		if i%2 == 0 {
			s.Feed(hello) // and then nothing
			for len(s.Out(nil)) == 0 {
				s.wait()
			}
		}
		slow = append(slow, s)
	}
	established(t, c, w, tls.VersionTLS13)
	for _, s := range slow {
		s.Shut()
		if err := <-s.done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	if len(c.slots) != 0 {
		t.Errorf("%d places are still taken", len(c.slots))
	}
}

// A peer that begins a record and stops holds what it sent and not a whole buffer, in both stages.
func TestHalfARecordIsSmall(t *testing.T) {
	w := newWorld(t)
	c := load(t, files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})))
	s, client := established(t, c, w, tls.VersionTLS13)
	client.Write(message(60))
	b, _ := s.link.take(1 << 20)
	fresh := c.Server(func() {})
	for _, conn := range []*Conn{s.Conn, fresh} {
		for _, b := range b[:40] {
			if err := conn.Feed([]byte{b}); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(make([]byte, 10)); n != 0 || err != ErrMore {
				t.Fatal(n, err)
			}
		}
		if n := cap(conn.w.in.b); n > 200 {
			t.Errorf("40 bytes of a record hold %d", n)
		}
	}
	if !s.Partial() || fresh.Partial() {
		t.Error("Partial is", s.Partial(), "and before the handshake", fresh.Partial())
	}
	s.Feed(b[40:])
	if got := s.drain(t); string(got) != string(message(60)) || s.Partial() {
		t.Errorf("%q, %t", got, s.Partial())
	}
}

// Ready waits for the first record, and no longer.
func TestReady(t *testing.T) {
	w := newWorld(t)
	c := load(t, Files{Pairs: files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})).Pairs, Roots: w.ca.File})
	hello := clientHello(t)
	s := c.Server(func() {})
	for i, b := range hello {
		if s.Ready() {
			t.Fatalf("ready after %d of %d bytes", i, len(hello))
		}
		s.Feed([]byte{b})
	}
	if !s.Ready() {
		t.Error("not ready for a whole hello")
	}
	if !c.Client("example.com", func() {}).Ready() {
		t.Error("a client waits for nobody")
	}
	s = c.Server(func() {})
	s.Feed([]byte("INVIT"))
	if !s.Ready() {
		t.Error("not ready to refuse what is no TLS")
	}
}

// Messages that come after the handshake: tickets, of which our client makes use, and key updates.
func TestResumption(t *testing.T) {
	w := newWorld(t)
	pair := w.issue(t, "a", tlstest.Names{SIP: []string{"example.com"}})
	ours := load(t, Files{Roots: w.ca.File, Pairs: files(pair).Pairs})
	for v, version := range versions {
		t.Run("client "+v, func(t *testing.T) {
			theirs := &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MaxVersion: version}
			c := load(t, Files{Roots: w.ca.File})
			for i := range 3 {
				s := newSide(t, 1<<20, func(notify func()) *Conn { return c.Client("example.com", notify) })
				done := peerOf(tls.Server(s.link, theirs), func(c *tls.Conn) error {
					_, err := c.Write([]byte("hello"))
					return err
				})
				if err := s.shake(); err != nil {
					t.Fatal(err)
				}
				if got, err := s.pump(5); string(got) != "hello" {
					t.Fatalf("%q, %v", got, err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if resumed := s.tls.ConnectionState().DidResume; resumed != (i > 0) {
					t.Errorf("connection %d: resumed is %t", i, resumed)
				}
				if len(s.Identities()) != 1 {
					t.Error("identities", s.Identities())
				}
			}
		})
		t.Run("server "+v, func(t *testing.T) {
			theirs := &tls.Config{RootCAs: w.ca.Pool(), InsecureSkipVerify: true, ServerName: "example.com", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
			for i := range 3 {
				s := newSide(t, 1<<20, ours.Server)
				got := make(chan string, 1)
				done := peerOf(tls.Client(s.link, theirs), func(c *tls.Conn) error {
					b := make([]byte, 5)
					_, err := io.ReadFull(c, b)
					got <- string(b)
					return err
				})
				if err := s.shake(); err != nil {
					t.Fatal(err)
				}
				s.write([]byte("hello"))
				if err := <-done; err != nil || <-got != "hello" {
					t.Fatal(err)
				}
				if resumed := s.tls.ConnectionState().DidResume; resumed != (i > 0) {
					t.Errorf("connection %d: resumed is %t", i, resumed)
				}
			}
		})
	}
}

// Messages of random sizes, fed in random pieces and read into buffers of random sizes, in both directions, come out as they went in. Each piece
// is overwritten once it was fed, and what was read once it was compared.
func TestRandomPieces(t *testing.T) {
	for v, version := range versions {
		server, client := both(t, mirror(t, version))
		r := rand.New(rand.NewPCG(3, uint64(version)))
		for round := range 150 {
			from, to := client, server
			if round%2 == 1 {
				from, to = to, from
			}
			var want, wire, got []byte
			for range 1 + r.IntN(6) {
				m := message(1 + r.IntN(1<<r.IntN(17)))
				m[0] = byte(round)
				want = append(want, m...)
				var err error
				if wire, err = from.Append(wire, m); err != nil {
					t.Fatal(err)
				}
			}
			for len(wire) > 0 {
				n := min(len(wire), 1+r.IntN(1<<r.IntN(18)))
				if err := to.Feed(wire[:n]); err != nil {
					t.Fatal(err)
				}
				clear(wire[:n])
				wire = wire[n:]
				for r.IntN(4) > 0 { // sometimes more is fed before all was read
					dst := make([]byte, 1+r.IntN(1<<r.IntN(16)))
					n, err := to.Read(dst)
					got = append(got, dst[:n]...)
					if err == ErrMore {
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
			}
			for dst := make([]byte, 5000); ; {
				n, err := to.Read(dst)
				got = append(got, dst[:n]...)
				if err == ErrMore {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("TLS %s, round %d: %d bytes of %d, or others", v, round, len(got), len(want))
			}
			holdsNothing(t, to)
		}
	}
}
