package tlslayer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sipedge/transport/tlslayer/tlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must come. It is no measure of speed.
const patience = 20 * time.Second

// link is the peer's end of a connection in memory. Its writes never block; its reads wait for the loop.
type link struct {
	nowhere
	wake func() // tells the loop

	mu      sync.Mutex
	cond    sync.Cond
	toPeer  []byte
	toLoop  []byte
	peerEOF bool // the loop's side closed
	loopEOF bool // the peer closed
}

func newLink(wake func()) *link {
	l := &link{wake: wake}
	l.cond.L = &l.mu
	return l
}

func (l *link) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.toPeer) == 0 && !l.peerEOF && !l.loopEOF {
		l.cond.Wait()
	}
	if len(l.toPeer) == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.toPeer)
	l.toPeer = l.toPeer[n:]
	return n, nil
}

func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.toLoop = append(l.toLoop, p...)
	l.mu.Unlock()
	l.wake()
	return len(p), nil
}

func (l *link) Close() error {
	l.mu.Lock()
	l.loopEOF = true
	l.mu.Unlock()
	l.cond.Broadcast()
	l.wake()
	return nil
}

func (l *link) LocalAddr() net.Addr              { return nowhere{} }
func (l *link) RemoteAddr() net.Addr             { return nowhere{} }
func (l *link) SetDeadline(time.Time) error      { return nil }
func (l *link) SetReadDeadline(time.Time) error  { return nil }
func (l *link) SetWriteDeadline(time.Time) error { return nil }

// take is what the loop reads from its socket, at most n bytes.
func (l *link) take(n int) (b []byte, eof bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.toLoop))
	b = bytes.Clone(l.toLoop[:n])
	l.toLoop = l.toLoop[n:]
	return b, l.loopEOF && len(l.toLoop) == 0
}

func (l *link) send(b []byte) {
	l.mu.Lock()
	l.toPeer = append(l.toPeer, b...)
	l.mu.Unlock()
	l.cond.Broadcast()
}

func (l *link) hangUp() {
	l.mu.Lock()
	l.peerEOF = true
	l.mu.Unlock()
	l.cond.Broadcast()
}

// side is a Conn in the hands of a loop: the test's goroutine.
type side struct {
	*Conn
	t      testing.TB
	link   *link
	woken  chan struct{}
	done   chan error // result of Handshake
	cancel context.CancelFunc
	piece  int // how much the loop reads at once
	read   int // size of dst of Read
}

// newSide makes a Conn by make, connected to a link. piece as in side.
func newSide(t testing.TB, piece int, make func(notify func()) *Conn) *side {
	s := &side{t: t, piece: piece, read: 4096, woken: newSignal(), done: newResult()}
	wake := func() {
		select {
		case s.woken <- struct{}{}:
		default:
		}
	}
	s.link = newLink(wake)
	s.Conn = make(wake)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	s.cancel = cancel
	t.Cleanup(cancel)
	go func() {
		err := s.Handshake(ctx)
		s.done <- err
		wake()
	}()
	return s
}

func newSignal() chan struct{} { return make(chan struct{}, 1) }
func newResult() chan error    { return make(chan error, 1) }

// wait sleeps until something happened.
func (s *side) wait() {
	select {
	case <-s.woken:
	case <-time.After(patience):
		panic("nothing happens")
	}
}

// shake drives the handshake to its end.
func (s *side) shake() error {
	s.t.Helper()
	for {
		for {
			b, eof := s.link.take(s.piece)
			if err := s.Feed(b); err != nil {
				return err
			}
			clear(b)
			if len(b) == 0 {
				if eof {
					s.End()
				}
				break
			}
			if out := s.Out(nil); len(out) > 0 {
				s.link.send(out)
			}
		}
		over := false
		var err error
		select {
		case err = <-s.done:
			over = true
		default:
		}
		if out := s.Out(nil); len(out) > 0 {
			s.link.send(out)
		}
		if over {
			if err != nil {
				s.link.hangUp()
			}
			return err
		}
		s.wait()
	}
}

// pump reads what the link has, in pieces, until enough is there or the connection is over.
func (s *side) pump(enough int) (plain []byte, err error) {
	s.t.Helper()
	dst := make([]byte, s.read)
	for {
		for {
			n, err := s.Read(dst)
			plain = append(plain, dst[:n]...)
			clear(dst)
			if out := s.Out(nil); len(out) > 0 {
				s.link.send(out)
			}
			if errors.Is(err, ErrMore) {
				break
			}
			if err != nil {
				return plain, err
			}
		}
		if len(plain) >= enough {
			return plain, nil
		}
		b, eof := s.link.take(s.piece)
		if len(b) == 0 {
			if eof {
				s.End()
				continue
			}
			s.wait()
			continue
		}
		if err := s.Feed(b); err != nil {
			return plain, err
		}
		clear(b)
	}
}

func (s *side) write(plain []byte) {
	s.t.Helper()
	out, err := s.Append(nil, plain)
	if err != nil {
		s.t.Fatal(err)
	}
	s.link.send(out)
}

// authority and the pairs that many tests use.
type world struct {
	dir string
	ca  *tlstest.Authority
}

func newWorld(t testing.TB) world { return worldOf(t, "ca") }

func worldOf(t testing.TB, name string) world {
	dir := t.TempDir()
	ca, err := tlstest.NewAuthority(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return world{dir, ca}
}

func (w world) issue(t testing.TB, name string, names tlstest.Names) tlstest.Pair {
	t.Helper()
	p, err := w.ca.Issue(name, names)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func load(t testing.TB, f Files) *Config {
	t.Helper()
	c, err := Load(f, func(m string) { t.Log("warned:", m) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func files(ps ...tlstest.Pair) (f Files) {
	for _, p := range ps {
		f.Pairs = append(f.Pairs, Pair{p.Cert, p.Key})
	}
	return f
}

// versions are those that we speak.
var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// pieces are the deliveries: everything that is there, a byte at a time, and sizes that cut records anywhere.
var pieces = map[string]int{"whole": 1 << 20, "each byte": 1, "seven bytes": 7, "a segment": 1448}

func (s *side) holdsNothing() { s.t.Helper(); holdsNothing(s.t, s.Conn) }

// holdsNothing wants that an idle connection has no memory of what came and went.
func holdsNothing(t testing.TB, c *Conn) {
	t.Helper()
	if c.w.in != nil || c.w.out != nil || c.Partial() {
		t.Error("the idle connection has a buffer")
	}
	if r := c.w.kept.raw; r != nil && r.Cap() > 0 {
		t.Errorf("the idle connection holds a record buffer of %d bytes", r.Cap())
	}
	if r := c.w.kept.input; r != nil && r.Size() > 0 {
		t.Errorf("the idle connection holds a plaintext of %d bytes", r.Size())
	}
}
