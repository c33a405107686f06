//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"sipedge/transport"
	"sipedge/transport/tlslayer"
	"sipedge/transport/tlslayer/tlstest"
)

// authority signs everything that the tests use.
type authority struct {
	*tlstest.Authority
	edge, client, gateway tlstest.Pair
	files                 tlslayer.Files
}

var theAuthority = sync.OnceValues(func() (*authority, error) {
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	a, err := tlstest.NewAuthority(dir, "authority")
	if err != nil {
		return nil, err
	}
	x := &authority{Authority: a}
	for _, c := range []struct {
		name string
		p    *tlstest.Pair
	}{{"edge", &x.edge}, {"client", &x.client}, {"gateway", &x.gateway}} {
		if *c.p, err = a.Issue(c.name, tlstest.Names{SIP: []string{c.name + ".example.com"}, DNS: []string{c.name + ".example.com"}}); err != nil {
			return nil, err
		}
	}
	x.files = tlslayer.Files{Pairs: []tlslayer.Pair{{Cert: x.edge.Cert, Key: x.edge.Key}}, ClientCA: a.File, Roots: a.File}
	return x, nil
})

func certificates(t testing.TB) *authority {
	t.Helper()
	a, err := theAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// all is a configuration with a listener of each protocol, in the order of transport.Protocol.
func all(t testing.TB) Config {
	c, err := tlslayer.Load(certificates(t).files, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Loops: 2, FirstLoop: 2, TLS: c, Names: new(transport.Names), Origins: []string{"https://phone.example.com"}}
	for p := transport.TCP; p <= transport.WSS; p++ {
		cfg.Listeners = append(cfg.Listeners, Listener{Index: uint16(p) + 10, Addr: netip.MustParseAddrPort("127.0.0.1:0"), Proto: p})
	}
	return cfg
}

func (r *running) at(p transport.Protocol) string { return r.Addrs()[p-transport.TCP].String() }

// pieces is a connection whose bytes leave in the ways in which a stream test has to deliver them.
type pieces struct {
	net.Conn
	single bool // byte by byte; of long writes only the ends
	hold   bool
	held   []byte
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.hold {
		p.held = append(p.held, b...)
		return len(b), nil
	}
	const most = 1500
	for i := 0; p.single && i < len(b); i++ {
		n := 1
		if len(b) > 2*most && i == most {
			n = len(b) - 2*most
		}
		if _, err := p.Conn.Write(b[i : i+n]); err != nil {
			return 0, err
		}
		if i += n - 1; i == len(b)-1 {
			return len(b), nil
		}
	}
	return p.Conn.Write(b)
}

func (p *pieces) flush() error {
	p.hold = false
	_, err := p.Conn.Write(p.held)
	p.held = nil
	return err
}

// phone is a peer over any protocol.
type phone struct {
	t    testing.TB
	raw  *net.TCPConn
	wire *pieces
	c    net.Conn // on top of it
	web  bool
	r    *bufio.Reader
}

// connect makes a phone. It shows the certificate, if there is one.
func (r *running) connect(t testing.TB, proto transport.Protocol, single bool, c *tls.Config) *phone {
	t.Helper()
	p, err := r.tryConnect(proto, single, c)
	if err != nil {
		t.Fatal(err)
	}
	p.t = t
	t.Cleanup(func() { p.raw.Close() })
	return p
}

func (r *running) tryConnect(proto transport.Protocol, single bool, c *tls.Config) (*phone, error) {
	raw, err := net.Dial("tcp", r.at(proto))
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(patience))
	p := &phone{raw: raw.(*net.TCPConn), wire: &pieces{Conn: raw, single: single}}
	p.c = p.wire
	if proto == transport.TLS || proto == transport.WSS {
		t := tls.Client(p.wire, c)
		if err := t.Handshake(); err != nil {
			raw.Close()
			return nil, err
		}
		p.c = t
	}
	p.r = bufio.NewReader(p.c)
	if proto == transport.WS || proto == transport.WSS {
		p.web = true
		d := ws.Dialer{Protocols: []string{"sip"}, Header: ws.HandshakeHeaderHTTP{"Origin": {"https://phone.example.com"}}}
		if _, _, err := d.Upgrade(p.c, &url.URL{Scheme: "ws", Host: "edge.example.com", Path: "/"}); err != nil {
			raw.Close()
			return nil, err
		}
		p.r = bufio.NewReader(&webReader{c: p.c})
	}
	return p, nil
}

// webReader reads what is in the frames.
type webReader struct {
	c    io.ReadWriter
	rest []byte
}

func (w *webReader) Read(b []byte) (int, error) {
	for len(w.rest) == 0 {
		m, _, err := wsutil.ReadServerData(w.c)
		if err != nil {
			return 0, err
		}
		w.rest = m
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (p *phone) write(messages ...string) {
	p.t.Helper()
	if err := p.tryWrite(messages...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *phone) tryWrite(messages ...string) (err error) {
	for _, m := range messages {
		if p.web {
			err = wsutil.WriteClientText(p.c, []byte(m))
		} else {
			_, err = io.WriteString(p.c, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *phone) read(want string) {
	p.t.Helper()
	b := make([]byte, len(want))
	n, err := io.ReadFull(p.r, b)
	if err != nil || string(b) != want {
		p.t.Fatalf("read %d bytes %.200q, %v; want %d bytes %.200q", n, b[:n], err, len(want), want)
	}
}

func (p *phone) ends() {
	p.t.Helper()
	if b, err := io.ReadAll(p.r); len(b) > 0 {
		p.t.Fatalf("read %d bytes %.200q, %v; want the end", len(b), b, err)
	}
}

// toward is how a client verifies the edge.
func toward(t testing.TB, version uint16, show ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: certificates(t).Pool(), ServerName: "edge.example.com", MinVersion: version, MaxVersion: version, Certificates: show}
}

// Messages of all sizes go both ways over every protocol, however the bytes are cut.
func TestProtocols(t *testing.T) {
	r := start(t, all(t), newEcho)
	messages := []string{message("one", 0), message("two", 100), message("three", 20_000), message("four", 300_000), message("five", 1)}
	whole := strings.Join(messages, "")
	for _, c := range []struct {
		name    string
		proto   transport.Protocol
		version uint16
	}{
		{"tcp", transport.TCP, 0}, {"tls 1.2", transport.TLS, tls.VersionTLS12}, {"tls 1.3", transport.TLS, tls.VersionTLS13},
		{"ws", transport.WS, 0}, {"wss", transport.WSS, tls.VersionTLS13},
	} {
		for _, delivery := range []string{"whole", "byte by byte", "in one write"} {
			t.Run(c.name+" "+delivery, func(t *testing.T) {
				p := r.connect(t, c.proto, delivery == "byte by byte", toward(t, c.version))
				p.wire.hold = delivery == "in one write"
				go func() {
					if p.tryWrite(messages...) == nil && p.wire.hold {
						p.wire.flush()
					}
				}()
				p.read(whole)
			})
		}
	}
	n := r.Counters()
	if n.Handshakes != 9 || n.HandshakeFails != 0 || n.ClosedBroken != 0 || n.ClosedSlow != 0 || n.Accepted != 15 {
		t.Errorf("counted %+v", n)
	}
}

// What a turn has gathered for a connection that turns out to be gone comes back, message by message and whole.
func TestGatheredForNobody(t *testing.T) {
	for proto := transport.TCP; proto <= transport.WSS; proto++ {
		t.Run(protoNames[proto], func(t *testing.T) {
			failures := make(chan told, 10)
			flows := make(chan transport.Flow, 1)
			messages := []string{message("one", 10), message("two", 200), message("three", 40_000), message("four", 300_000), message("five", 0)}
			hold := make(chan struct{})
			cfg := all(t)
			cfg.Loops = 1
			r := start(t, cfg, func() *handler {
				h := listening(failures)()
				h.receive = func(_ *handler, from transport.Flow, _ []byte) { flows <- from }
				h.woken = func(h *handler) {
					flow := <-flows
					<-hold
					for _, m := range messages {
						h.send(flow, []byte(m))
					}
				}
				return h
			})
			p := r.connect(t, proto, false, toward(t, 0))
			p.write(message("hello", 0))
			flow := <-flows
			r.handlers[0].l.Wake()
			flows <- flow
			p.raw.SetLinger(0)
			p.raw.Close() // with a reset, which the loop does not hear of yet
			close(hold)
			for i, m := range messages {
				if f := <-failures; f.why != transport.Closed || f.b != m || f.to != flow {
					t.Errorf("message %d failed as %.40q for %d", i, f.b, f.why)
				}
			}
		})
	}
}

// A message right behind the client's part of the handshake, in the same packet.
func TestMessageBehindHandshake(t *testing.T) {
	r := start(t, all(t), newEcho)
	for range 20 {
		raw, err := net.Dial("tcp", r.at(transport.TLS))
		if err != nil {
			t.Fatal(err)
		}
		w := &lastFlight{Conn: raw}
		c := tls.Client(w, toward(t, tls.VersionTLS13))
		raw.SetDeadline(time.Now().Add(patience))
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		m := message("behind", 500)
		io.WriteString(c, m)
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(m))
		if n, err := io.ReadFull(c, b); err != nil || string(b) != m {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		raw.Close()
	}
}

// lastFlight holds back everything behind the ClientHello.
type lastFlight struct {
	net.Conn
	hello bool
	held  []byte
}

func (w *lastFlight) Write(b []byte) (int, error) {
	if !w.hello {
		w.hello = true
		return w.Conn.Write(b)
	}
	w.held = append(w.held, b...)
	return len(b), nil
}

func (w *lastFlight) flush() error {
	_, err := w.Conn.Write(w.held)
	return err
}

// A peer over TLS is connected to if its certificate proves the name; the messages that wait come back if not.
func TestDialTLS(t *testing.T) {
	failures := make(chan told, 10)
	cfg := all(t)
	a := certificates(t)
	r := start(t, cfg, listening(failures))
	number, err := cfg.Names.Number("gateway.example.com")
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := cfg.Names.Number("bank.example.com")
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, "127.0.0.1:0")
	flow := to(l.Addr().String())
	flow.Proto, flow.Conn = transport.TLS, number
	messages := []string{message("one", 10), message("two", 300_000), message("three", 0)}
	for _, m := range messages {
		r.Post(flow, []byte(m))
	}
	serve := func() (*tls.Conn, error) {
		p := accept(t, l)
		c := tls.Server(p.TCPConn, &tls.Config{Certificates: []tls.Certificate{a.gateway.TLS}, ClientAuth: tls.RequestClientCert})
		return c, c.Handshake()
	}
	c, err := serve()
	if err != nil {
		t.Fatal(err)
	}
	if shown := c.ConnectionState().PeerCertificates; len(shown) == 0 || shown[0].DNSNames[0] != "edge.example.com" {
		t.Error("we showed no certificate")
	}
	p := &phone{t: t, c: c, r: bufio.NewReader(c)}
	p.read(strings.Join(messages, ""))
	back := message("back", 100)
	p.write(back)
	p.read(back)
	r.Post(flow, []byte(back)) // the same connection again
	p.read(back)
	if n := r.Counters(); n.Dialed != 1 || n.Handshakes != 1 {
		t.Errorf("counted %+v", n)
	}

	// Another name at the same address is not proved by it.
	other := flow
	other.Conn = wrong
	r.Post(other, []byte(back))
	if _, err := serve(); err == nil {
		t.Log("the peer's side of the handshake is over before ours refuses")
	}
	if f := <-failures; f.why != transport.NoConnection || f.b != back || f.to != other {
		t.Errorf("failed: %+v for %d", f.to, f.why)
	}
	// Nor the address itself.
	bare := flow
	bare.Conn = 0
	r.Post(bare, []byte(back))
	serve()
	if f := <-failures; f.why != transport.NoConnection || f.b != back || f.to != bare {
		t.Errorf("failed: %+v for %d", f.to, f.why)
	}
	if n := r.Counters(); n.HandshakeFails != 2 || n.Open != 1 || n.DialFailures != 2 {
		t.Errorf("counted %+v", n)
	}
}

// A peer that accepts and then says nothing, and one that hangs up in the middle.
func TestDialTLSSilent(t *testing.T) {
	failures := make(chan told, 10)
	cfg := all(t)
	cfg.Limits.HalfOpen = 100 * time.Millisecond
	cfg.Limits.Unreachable = time.Millisecond
	r := start(t, cfg, listening(failures))
	l := listen(t, "127.0.0.1:0")
	flow := to(l.Addr().String())
	flow.Proto = transport.TLS
	for _, hangUp := range []bool{true, false} {
		r.Post(flow, []byte("waits"))
		p := accept(t, l)
		if hangUp {
			p.Close()
		}
		if f := <-failures; f.why != transport.NoConnection || f.b != "waits" || f.to != flow {
			t.Errorf("failed: %+v for %d", f.to, f.why)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if n := r.Counters(); n.ClosedHalfOpen != 1 || n.DialFailures != 2 || n.Open != 0 {
		t.Errorf("counted %+v", n)
	}
}

// Who the peer is, by its certificate; and requests to where it says that it listens use its connection ("alias", RFC 5923), if it is meant.
func TestPeer(t *testing.T) {
	failures := make(chan told, 10)
	flows := make(chan transport.Flow, 10)
	cfg := all(t)
	r := start(t, cfg, func() *handler {
		h := listening(failures)()
		h.receive = func(_ *handler, from transport.Flow, _ []byte) { flows <- from }
		return h
	})
	hello := message("hello", 0)
	named := r.connect(t, transport.TLS, false, toward(t, 0, certificates(t).client.TLS))
	named.write(hello)
	flow := <-flows
	name := r.Peer(flow.Conn, flow.Loop, flow.Gen)
	if got := cfg.Names.Name(name); got != "client.example.com" {
		t.Errorf("the peer is %q", got)
	}
	if n := r.Peer(flow.Conn, flow.Loop, flow.Gen+1) | r.Peer(flow.Conn+1000, flow.Loop, flow.Gen) | r.Peer(flow.Conn, 77, flow.Gen); n != 0 {
		t.Errorf("a peer without connection: %d", n)
	}
	nameless := r.connect(t, transport.TLS, false, toward(t, 0))
	nameless.write(hello)
	anonymous := <-flows
	if n := r.Peer(anonymous.Conn, anonymous.Loop, anonymous.Gen); n != 0 {
		t.Errorf("a peer without certificate is %d", n)
	}

	// Its own port finds it, and the one that it names.
	mine := to(named.raw.LocalAddr().String())
	mine.Proto, mine.Conn = transport.TLS, name
	r.Post(mine, []byte(hello))
	named.read(hello)
	const port = 9 // discard; nobody listens
	alias := mine
	alias.Remote.Port = port
	r.Alias(anonymous, port)
	r.Alias(flow, port)
	r.Post(alias, []byte(hello))
	named.read(hello)
	// Another name is not served by it, and has to be dialed.
	other, _ := cfg.Names.Number("bank.example.com")
	for _, f := range []transport.Flow{mine, alias} {
		f.Conn = other
		r.Post(f, []byte(hello))
		if got := <-failures; got.why != transport.NoConnection || got.to != f {
			t.Errorf("failed: %+v for %d", got.to, got.why)
		}
	}
	// A response needs no name: whatever loop has it, its request came on that connection.
	for _, p := range []*phone{named, nameless, named} {
		f := to(p.raw.LocalAddr().String())
		f.Proto, f.Conn = transport.TLS, transport.AnyName
		r.Post(f, []byte(hello))
		p.read(hello)
	}
	named.raw.Close()
	eventually(t, "it closes", func() bool { return r.Peer(flow.Conn, flow.Loop, flow.Gen) == 0 })
	r.Post(alias, []byte(hello))
	if got := <-failures; got.why != transport.NoConnection {
		t.Errorf("failed for %d", got.why)
	}
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	if len(r.index.aliases) != 0 || len(r.index.m) != 1 {
		t.Errorf("%d aliases and %d connections are left", len(r.index.aliases), len(r.index.m))
	}
}

// Handshakes that do not go on, and bytes that are no TLS.
func TestHandshakeFails(t *testing.T) {
	cfg := all(t)
	cfg.Limits.HalfOpen = 100 * time.Millisecond
	r := start(t, cfg, newEcho)
	for _, proto := range []transport.Protocol{transport.TLS, transport.WSS} {
		mute := dial(t, r.at(proto))
		noTLS := dial(t, r.at(proto))
		noTLS.write(message("plain", 100))
		half := dial(t, r.at(proto))
		half.write("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") // the beginning of a ClientHello
		stuck := dial(t, r.at(proto))
		w := &lastFlight{Conn: stuck.TCPConn}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		tls.Client(w, toward(t, tls.VersionTLS13)).HandshakeContext(ctx) // never sends its Finished
		cancel()
		mute.ends()
		io.Copy(io.Discard, noTLS.r)
		half.ends()
		io.Copy(io.Discard, stuck.r)
	}
	eventually(t, "all are closed", func() bool { return r.Counters().Open == 0 })
	if n := r.Counters(); n.ClosedHalfOpen != 6 || n.HandshakeFails != 2 {
		t.Errorf("counted %+v", n)
	}
}

// A TLS record that does not end is a message that does not end.
func TestSlowRecord(t *testing.T) {
	cfg := all(t)
	cfg.Limits.Message, cfg.Limits.HalfOpen, cfg.Limits.Idle = 100*time.Millisecond, never, never
	r := start(t, cfg, newEcho)
	p := r.connect(t, transport.TLS, false, toward(t, 0))
	m := message("m", 10)
	p.write(m)
	p.read(m)
	p.wire.hold = true
	p.write(m)
	p.raw.Write(p.wire.held[:len(p.wire.held)-1])
	io.Copy(io.Discard, p.raw)
	if n := r.Counters(); n.ClosedSlow != 1 {
		t.Errorf("counted %+v", n)
	}
}

// readFrame is one frame of the server, which masks nothing.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err == nil && f.Header.Length < 1<<16 {
		f.Payload = make([]byte, f.Header.Length)
		_, err = io.ReadFull(r, f.Payload)
	}
	return f, err
}

func TestWebSocket(t *testing.T) {
	cfg := all(t)
	cfg.Limits.Idle = 24 * time.Hour
	r := start(t, cfg, newEcho)
	p := r.connect(t, transport.WS, false, nil)
	// There a message needs no Content-Length. RFC 7118 section 5
	bare := strings.Replace(message("bare", 0), "Content-Length: 0\r\n", "", 1)
	p.write(bare)
	p.read(bare)
	// Fragments with a ping between them.
	m := message("fragments", 100)
	for i, f := range []ws.Frame{
		ws.NewFrame(ws.OpText, false, []byte(m[:50])),
		ws.NewPingFrame([]byte("are you there")),
		ws.NewFrame(ws.OpContinuation, false, []byte(m[50:51])),
		ws.NewFrame(ws.OpContinuation, true, []byte(m[51:])),
	} {
		if err := ws.WriteFrame(p.c, ws.MaskFrameInPlace(f)); err != nil {
			t.Fatal(i, err)
		}
	}
	pong, err := readFrame(p.c)
	if err != nil || pong.Header.OpCode != ws.OpPong || string(pong.Payload) != "are you there" {
		t.Fatalf("%+v, %v", pong, err)
	}
	p.read(m)
	// Close is answered.
	if err := ws.WriteFrame(p.c, ws.MaskFrameInPlace(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))); err != nil {
		t.Fatal(err)
	}
	if f, err := readFrame(p.c); err != nil || f.Header.OpCode != ws.OpClose {
		t.Errorf("%+v, %v", f, err)
	}
	p.ends()
	// Web pages of others may not connect.
	raw, err := net.Dial("tcp", r.at(transport.WS))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	d := ws.Dialer{Protocols: []string{"sip"}, Header: ws.HandshakeHeaderHTTP{"Origin": {"https://evil.example.com"}}}
	if _, _, err := d.Upgrade(raw, &url.URL{Scheme: "ws", Host: "edge.example.com", Path: "/"}); err == nil {
		t.Error("a page of others connects")
	}
	io.Copy(io.Discard, raw)
	// An idle one hears why it is closed.
	r.stop()
	cfg.Limits.Idle = 50 * time.Millisecond
	r = start(t, cfg, newEcho)
	eventually(t, "a connection is up before it is idle", func() bool {
		p, err = r.tryConnect(transport.WSS, false, toward(t, 0))
		return err == nil
	})
	defer p.raw.Close()
	if f, err := readFrame(p.c); err != nil || f.Header.OpCode != ws.OpClose {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := p.c.Read(make([]byte, 1)); err != io.EOF { // close_notify
		t.Errorf("the end is %v", err)
	}
}

// Certificates are reloaded under traffic: connections stay, new ones see the new certificate.
func TestReload(t *testing.T) {
	cfg := all(t)
	r := start(t, cfg, newEcho)
	old := r.connect(t, transport.TLS, false, toward(t, 0))
	if err := cfg.TLS.Reload(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m := message(fmt.Sprint("m", i), 10)
		old.write(m)
		old.read(m)
		p := r.connect(t, transport.TLS, false, toward(t, 0))
		p.write(m)
		p.read(m)
	}
}

// TestAliasOfAnother: who shares an address with another peer, as behind one NAT, does not get its place by asking for its port.
func TestAliasOfAnother(t *testing.T) {
	var x index
	key := func(port uint16) indexKey {
		return indexKey{transport.Addr{IP: [16]byte{15: 1}, Port: port}, transport.TLS}
	}
	victim, mallory, again := owned{connID{1, 1}, 0}, owned{connID{2, 1}, 0}, owned{connID{3, 1}, 0}
	x.put(key(40001), indexed{victim, identities{7}})
	x.alias(key(40001), victim, key(5061))
	x.put(key(40002), indexed{mallory, identities{8}})
	for _, port := range []uint16{5061, 40001} {
		x.alias(key(40002), mallory, key(port))
		if v, ok := x.get(key(port)); !ok || v.owned != victim {
			t.Errorf("port %d is that of %+v", port, v)
		}
	}
	x.put(key(40003), indexed{again, identities{7}}) // the same peer, before its old connection was found dead
	x.alias(key(40003), again, key(5061))
	if v, _ := x.get(key(5061)); v.owned != again {
		t.Errorf("the newer connection is not used: %+v", v)
	}
	x.remove(key(40001), victim)
	if v, _ := x.get(key(5061)); v.owned != again {
		t.Errorf("the end of the old connection took the alias of the new one: %+v", v)
	}
}
