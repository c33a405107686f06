package fuzz

import (
	"crypto/tls"
	"net"
	"testing"

	"sipedge/transport/tlslayer"
	"sipedge/transport/tlslayer/tlstest"
)

// FuzzTLSHello claims: whatever a client sends before it has proved anything, and however it is cut, the handshake ends with the same error, and the
// bytes that wait are given up with it; nothing but whole records is answered.
func FuzzTLSHello(f *testing.F) {
	dir := f.TempDir()
	ca, err := tlstest.NewAuthority(dir, "ca")
	if err != nil {
		f.Fatal(err)
	}
	pair, err := ca.Issue("a", tlstest.Names{SIP: []string{"example.com"}})
	if err != nil {
		f.Fatal(err)
	}
	cfg, err := tlslayer.Load(tlslayer.Files{Pairs: []tlslayer.Pair{{Cert: pair.Cert, Key: pair.Key}}, ClientCA: ca.File}, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range []*tls.Config{
		{ServerName: "example.com"}, {InsecureSkipVerify: true}, {ServerName: "other.example", MaxVersion: tls.VersionTLS12},
		{ServerName: "example.com", CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"sip"}},
		{ServerName: "example.com", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
	} {
		b := hello(c)
		f.Add(b, uint16(3))
		f.Add(append(b, "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x05hello"...), uint16(700))
		f.Add(b[:len(b)-1], uint16(100))
	}
	f.Add([]byte("\x16\x03\x01\x40\x01"), uint16(1))
	f.Add([]byte("\x15\x03\x01\x00\x02\x01\x00"), uint16(1))
	f.Add([]byte("OPTIONS sip:a@example.com SIP/2.0\r\n\r\n"), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint16) {
		if len(b) > 1<<14 {
			return
		}
		whole := shake(t, cfg, b, len(b))
		if split := shake(t, cfg, b, 1); split != whole {
			t.Fatalf("byte by byte: %s\nwhole: %s", split, whole)
		}
		if split := shake(t, cfg, b, 1+int(step)); split != whole {
			t.Fatalf("in pieces of %d: %s\nwhole: %s", 1+int(step), split, whole)
		}
	})
}

// shake runs the handshake of a client that sends b and hangs up, and says how it ended.
func shake(t *testing.T, cfg *tlslayer.Config, b []byte, piece int) string {
	t.Helper()
	c := cfg.Server(func() {})
	done := make(chan error, 1)
	go func() { done <- c.Handshake(t.Context()) }()
	for len(b) > 0 {
		n := min(piece, len(b))
		if err := c.Feed(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	c.End()
	err := <-done
	if err == nil || c.Established() {
		t.Fatal("a handshake with nobody succeeds")
	}
	for out := c.Out(nil); len(out) > 0; {
		if len(out) < 5 || len(out) < 5+int(out[3])<<8+int(out[4]) {
			t.Fatalf("answered by %q", out)
		}
		out = out[5+int(out[3])<<8+int(out[4]):]
	}
	return err.Error()
}

// hello is what a client of crypto/tls sends first.
func hello(c *tls.Config) []byte {
	near, far := net.Pipe()
	go func() {
		tls.Client(near, c).Handshake()
		near.Close()
	}()
	b := make([]byte, 1<<14)
	n, _ := far.Read(b)
	far.Close()
	return b[:n]
}
