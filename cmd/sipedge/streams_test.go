package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// certificate writes a certificate for name, and its key, which proves itself; the pool trusts it.
func certificate(t *testing.T, cert, key, name string, serial int64) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

// line is a connection that speaks SIP as far as these tests need it.
type line struct {
	t    *testing.T
	conn net.Conn
	read *bufio.Reader
	via  string // the transport in its Via
	web  bool
}

// dial connects by one of tcp, tls, ws, wss.
func dial(t *testing.T, proto, at string, roots *x509.CertPool) *line {
	t.Helper()
	l := &line{t: t, via: strings.ToUpper(proto)}
	var err error
	trust := &tls.Config{RootCAs: roots, ServerName: "edge.example"}
	switch proto {
	case "tcp":
		l.conn, err = net.Dial("tcp", at)
	case "tls":
		l.conn, err = tls.Dial("tcp", at, trust)
	case "ws", "wss":
		d := ws.Dialer{Protocols: []string{"sip"}, TLSConfig: trust, Timeout: patience}
		var early *bufio.Reader
		l.conn, early, _, err = d.Dial(context.Background(), proto+"://"+at+"/")
		if early != nil {
			t.Fatal("the edge speaks before it is spoken to")
		}
		l.web = true
	}
	if err != nil {
		t.Fatalf("%s %s: %v", proto, at, err)
	}
	t.Cleanup(func() { l.conn.Close() })
	l.conn.SetDeadline(time.Now().Add(patience))
	l.read = bufio.NewReader(l.conn)
	return l
}

func (l *line) send(text string) {
	l.t.Helper()
	var err error
	if l.web {
		err = wsutil.WriteClientText(l.conn, []byte(text))
	} else {
		_, err = l.conn.Write([]byte(text))
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) request(method, uri, branch string) {
	l.t.Helper()
	host := l.conn.LocalAddr().String()
	l.send(fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=%s\r\nTo: <%s>\r\n"+
		"Call-ID: %s@example.com\r\nCSeq: 1 %s\r\nContact: <sip:alice@%s;transport=%s>\r\nContent-Length: 0\r\n\r\n",
		method, uri, l.via, host, branch, branch, uri, branch, method, host, strings.ToLower(l.via)))
}

// message is the next one.
func (l *line) message() string {
	l.t.Helper()
	if l.web {
		b, _, err := wsutil.ReadServerData(l.conn)
		if err != nil {
			l.t.Fatal(err)
		}
		return string(b)
	}
	var text strings.Builder
	body := 0
	for {
		s, err := l.read.ReadString('\n')
		if err != nil {
			l.t.Fatalf("after %q: %v", text.String(), err)
		}
		if text.Len() == 0 && s == "\r\n" {
			continue // between messages
		}
		text.WriteString(s)
		if name, value, ok := strings.Cut(s, ":"); ok && strings.EqualFold(name, "Content-Length") {
			body, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if s == "\r\n" {
			break
		}
	}
	b := make([]byte, body)
	if _, err := io.ReadFull(l.read, b); err != nil {
		l.t.Fatal(err)
	}
	return text.String() + string(b)
}

func (l *line) receive(words ...string) string {
	l.t.Helper()
	for {
		m := l.message()
		for _, w := range words {
			if strings.HasPrefix(m, w) {
				return m
			}
		}
	}
}

var allListeners = []string{"--listen=udp:127.0.0.1:0", "--listen=tcp:127.0.0.1:0", "--listen=tls:127.0.0.1:0", "--listen=ws:127.0.0.1:0", "--listen=wss:127.0.0.1:0"}

// secureEdge starts one with every transport.
func secureEdge(t *testing.T, args ...string) (*edge, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	roots := certificate(t, cert, key, "edge.example", 1)
	return startEdge(t, nil, append(append(args, allListeners...), "--tls-cert="+cert, "--tls-key="+key, "--tls-ca="+cert)...), roots
}

// OPTIONS is answered by every transport, and a call that came in by it goes out by UDP.
func TestEveryTransport(t *testing.T) {
	for _, io := range backends {
		t.Run(io, func(t *testing.T) {
			bob := newPhone(t, "127.0.0.1:9")
			e, roots := secureEdge(t, "--udp-io="+io, "--next-hop=sip:"+bob.addr())
			bob.edge, _ = net.ResolveUDPAddr("udp", e.udp[0])
			for _, proto := range []string{"tcp", "tls", "ws", "wss"} {
				alice := dial(t, proto, e.at[proto][0], roots)
				alice.request("OPTIONS", "sip:"+e.at[proto][0], "options"+proto)
				if m := alice.receive("SIP/2.0 "); !strings.HasPrefix(m, "SIP/2.0 200 ") {
					t.Errorf("%s: OPTIONS is answered %q", proto, m)
				}
				alice.request("INVITE", "sip:bob@"+e.udp[0], "call"+proto)
				alice.receive("SIP/2.0 100 ")
				invite := bob.receive("INVITE ")
				if missing := lacks(invite, "Via: SIP/2.0/UDP "+e.udp[0], "Via: SIP/2.0/"+strings.ToUpper(proto), "Record-Route: "); missing != nil {
					t.Errorf("%s: %q lacks %q", proto, invite, missing)
				}
				bob.answer(invite, "200 OK")
				if m := alice.receive("SIP/2.0 200 "); strings.Contains(m, "SIP/2.0/UDP") {
					t.Errorf("%s: our Via is left in %q", proto, m)
				}
			}
			_, text := e.get("/metrics")
			if missing := lacks(text, "\nsipedge_connections_accepted_total 4\n", "\nsipedge_tls_handshakes_total 2\n", fmt.Sprintf(`sipedge_loop_packets_in_total{loop="%d"}`, strings.Count(text, "sipedge_loop_packets_in_total{")-1)); missing != nil {
				t.Errorf("/metrics lacks %q", missing)
			}
			e.signal(syscall.SIGTERM)
			if s := e.status(); s != 0 {
				t.Errorf("exit status %d", s)
			}
		})
	}
}

// A proxy may do without UDP.
func TestStreamsAlone(t *testing.T) {
	e := startEdge(t, nil, "--listen=tcp:127.0.0.1:0", "--listen=tcp:[::1]:0")
	if len(e.udp) != 0 || len(e.at["tcp"]) != 2 {
		t.Fatal(e.at)
	}
	for _, at := range e.at["tcp"] {
		alice := dial(t, "tcp", at, nil)
		alice.request("OPTIONS", "sip:"+at, "options")
		alice.receive("SIP/2.0 200 ")
	}
	e.signal(syscall.SIGTERM)
	if s := e.status(); s != 0 {
		t.Errorf("exit status %d", s)
	}
}

// A call that came in by UDP goes out by TCP when the next hop says so, and the answer comes back.
func TestUDPToTCP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	e := startEdge(t, nil, "--listen=udp:127.0.0.1:0", "--listen=tcp:127.0.0.1:0", "--next-hop=sip:"+ln.Addr().String()+";transport=tcp")
	alice := newPhone(t, e.udp[0])
	alice.request("INVITE", "sip:bob@"+e.udp[0], "call")
	ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	bob := &line{t: t, conn: conn, read: bufio.NewReader(conn), via: "TCP"}
	invite := bob.receive("INVITE ")
	if missing := lacks(invite, "Via: SIP/2.0/TCP "+e.at["tcp"][0], "Via: SIP/2.0/UDP"); missing != nil {
		t.Errorf("%q lacks %q", invite, missing)
	}
	bob.send(answerTo(invite, "200 OK", ln.Addr().String()))
	alice.receive("SIP/2.0 200 ")
}

// New certificates count for new connections, after SIGHUP and by themselves; connections that are there stay.
func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	roots := certificate(t, cert, key, "edge.example", 1)
	e := startEdge(t, nil, "--listen=tls:127.0.0.1:0", "--tls-cert="+cert, "--tls-key="+key)
	at := e.at["tls"][0]
	old := dial(t, "tls", at, roots)
	serial := func(roots *x509.CertPool) int64 {
		conn, err := tls.Dial("tcp", at, &tls.Config{RootCAs: roots, ServerName: "edge.example"})
		if err != nil {
			return 0
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	for n, hup := range []bool{true, false} {
		want := int64(n + 2)
		roots := certificate(t, cert, key, "edge.example", want)
		if hup {
			e.signal(syscall.SIGHUP)
		}
		for end := time.Now().Add(patience); serial(roots) != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("certificate %d is never shown (SIGHUP: %v)", want, hup)
			}
		}
	}
	old.request("OPTIONS", "sip:"+at, "old")
	old.receive("SIP/2.0 200 ")

	// A wrong file changes nothing.
	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.signal(syscall.SIGHUP)
	e.waitLog("the certificates stay as they were")
	old.request("OPTIONS", "sip:"+at, "older")
	old.receive("SIP/2.0 200 ")
}

// A peer is known by what its certificate proves; who shows none is nobody.
func TestPeerByCertificate(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	roots := certificate(t, in("cert.pem"), in("key.pem"), "edge.example", 1)
	certificate(t, in("trunk.pem"), in("trunk.key"), "trunk.example", 2)
	certificate(t, in("other.pem"), in("other.key"), "other.example", 3)
	var authorities []byte
	for _, f := range []string{"trunk.pem", "other.pem"} {
		b, err := os.ReadFile(in(f))
		if err != nil {
			t.Fatal(err)
		}
		authorities = append(authorities, b...)
	}
	writeFile(t, in("clients.pem"), string(authorities))
	bob := newPhone(t, "127.0.0.1:9")
	writeFile(t, in("policy.yaml"), fmt.Sprintf(`
domains: [example.com]
peers:
  trunk: {tls: trunk.example}
routes:
  - match: {peer: trunk}
    next-hop: sip:%s
  - reject: {code: 403, reason: Who Are You}
`, bob.addr()))
	e := startEdge(t, nil, "--listen=udp:127.0.0.1:0", "--listen=tls:127.0.0.1:0", "--tls-cert="+in("cert.pem"), "--tls-key="+in("key.pem"), "--tls-client-ca="+in("clients.pem"), "--policy="+in("policy.yaml"))
	for _, who := range []string{"", "other", "trunk"} {
		cfg := &tls.Config{RootCAs: roots, ServerName: "edge.example"}
		if who != "" {
			pair, err := tls.LoadX509KeyPair(in(who+".pem"), in(who+".key"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		conn, err := tls.Dial("tcp", e.at["tls"][0], cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		alice := &line{t: t, conn: conn, read: bufio.NewReader(conn), via: "TLS"}
		alice.request("INVITE", "sip:bob@example.com", "by"+who)
		if who == "trunk" {
			bob.receive("INVITE ")
		} else if m := alice.receive("SIP/2.0 4", "SIP/2.0 1"); !strings.HasPrefix(m, "SIP/2.0 403 Who Are You") {
			t.Errorf("%q gets %q", who, m)
		}
	}
}

func TestTLSRefusals(t *testing.T) {
	status, _, text := once(t, nil, "serve", "--listen=tls:127.0.0.1:0", "--tls-cert=/nowhere.pem", "--tls-key=/nowhere.key", "--data-dir="+filepath.Join(t.TempDir(), "d"))
	if missing := lacks(text, "/nowhere.pem"); status != exitFailed || missing != nil {
		t.Errorf("status %d, %q lacks %q", status, text, missing)
	}
	e := startEdge(t, nil, "--listen=tcp:127.0.0.1:0")
	status, _, text = once(t, nil, "serve", "--listen=tcp:"+e.at["tcp"][0], "--data-dir="+filepath.Join(t.TempDir(), "d"))
	if missing := lacks(text, e.at["tcp"][0]); status != exitFailed || missing != nil {
		t.Errorf("status %d, %q lacks %q", status, text, missing)
	}
}
