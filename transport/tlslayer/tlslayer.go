// Package tlslayer is TLS 1.2 and 1.3 for event loops: bytes in, bytes out, no socket.
//
// Enters: ciphertext that a loop read, plaintext to send, certificate files.
// Leaves: plaintext, ciphertext to send, the SIP identities that a peer proved (RFC 5922).
// Never:  opens a socket, blocks a loop.
package tlslayer

import (
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// Files names what proves who we are and who others are. All are PEM.
type Files struct {
	// Pairs are our certificates. A client that names a server (SNI) gets the pair for that name, any other the first. As
	// a client we show one that the server's request allows.
	Pairs []Pair
	// ClientCA holds the authorities whose certificates prove a client. Empty: clients are not asked. Otherwise they are, as
	// RFC 5923 section 9.2 wants; who shows none is served without identity, unless RequireClient is set, and who shows a bad one is
	// refused.
	ClientCA      string
	RequireClient bool
	// Roots holds the authorities that servers are verified by when we connect. Empty: the system's.
	Roots string
}

// Pair is a certificate chain, leaf first, and its private key.
type Pair struct{ Cert, Key string }

// Config makes connections. What they share lives here: certificates, authorities, tickets, the limit of concurrent handshakes. Safe for
// concurrent use.
type Config struct {
	files Files
	warn  func(string)
	slots chan struct{} // one token per handshake that computes

	reloading sync.Mutex
	now       atomic.Pointer[material]
}

// Load reads the files. warn is told of what is weaker than it looks, then and at each reload: a certificate that ends soon, new
// files that cannot be used. An error says which file and what to do.
func Load(files Files, warn func(message string)) (*Config, error) {
	if warn == nil {
		warn = func(string) {}
	}
	c := &Config{files: files, warn: warn, slots: make(chan struct{}, max(1, runtime.NumCPU()/shareOfCPUs))}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again. Connections that are made from now on use what they hold; those that are there stay as they are.
// After an error everything stays as it was. Files with the bytes of before change nothing. It reads files: not for a loop.
func (c *Config) Reload() error {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	old := c.now.Load()
	m, err := c.load(old)
	if err != nil {
		return err
	}
	if m != old {
		c.now.Store(m)
	}
	return nil
}

// Server makes the server's side of a connection that was accepted. notify is called on the worker's goroutine, during Handshake
// only, whenever there is something for Out.
func (c *Config) Server(notify func()) *Conn {
	conn := newConn(c.slots, notify)
	conn.tls = tls.Server(&conn.w, c.now.Load().server)
	return conn
}

// Client makes the client's side of a connection to a server that has to prove that it is name, as RFC 5922 section 7.3 says: the
// domain of the URI that led there, or an address. notify as in Server.
func (c *Config) Client(name string, notify func()) *Conn {
	conn := newConn(c.slots, notify)
	conn.client = true
	conn.tls = tls.Client(&conn.w, c.now.Load().toward(name))
	return conn
}

// Errors of a Conn, beside those of crypto/tls and io.EOF.
var (
	// ErrMore says that nothing is left to read until more is fed.
	ErrMore = errors.New("tlslayer: needs more ciphertext")
	// ErrHandshake says that nothing can be sent before Handshake has succeeded.
	ErrHandshake = errors.New("tlslayer: the handshake is not over")
	// ErrFlood says that more than MaxWaiting bytes wait.
	ErrFlood = errors.New("tlslayer: the peer sends faster than its handshake goes on")
	// ErrTruncated says that the connection ended without the close_notify of the peer.
	ErrTruncated = errors.New("tlslayer: the connection ended without close_notify")
)

// Conn is one connection. It is used in two stages:
//
// First a worker runs Handshake, and the loop that owns the connection feeds and takes what Out has. Then, from the moment that
// Handshake has returned nil, only the loop uses it, and nothing here blocks or takes a contended lock.
// Ready, Feed, End, Read, Partial, Append, Out and Shut belong to the loop in both stages; in the first, Read says ErrMore and Append ErrHandshake.
// Identities may be called from anywhere after Handshake.
type Conn struct {
	w      wire
	tls    *tls.Conn
	client bool
	more   bool // the last Read filled dst, so that plaintext may be left

	identities []string
}

// Ready tells whether there is something for Handshake to work on: for a server not before a first record is whole. Before that a worker
// would only wait.
func (c *Conn) Ready() bool { return c.client || c.w.hasRecord() }

// Handshake runs the handshake; it blocks until that is over or ctx is, and belongs on a worker. While it waits for the peer it
// holds no place among those that compute, so slow peers do not keep others waiting. It is called once. After an error Out may
// hold an alert for the peer.
func (c *Conn) Handshake(ctx context.Context) error {
	if err := c.w.compute(ctx, c.tls.HandshakeContext); err != nil {
		c.w.Close()
		return err
	}
	// Handshake fails unless our verification accepted what the peer showed, so that what is there is proved.
	if chain := c.tls.ConnectionState().PeerCertificates; len(chain) > 0 {
		c.identities = Identities(chain[0])
	}
	return c.w.establish(release(c.tls, c.client))
}

// Identities are the SIP domains that the peer proved to speak for, in lower case; none without a certificate. It is not changed
// after Handshake.
func (c *Conn) Identities() []string { return c.identities }

// Established tells whether Handshake has succeeded.
func (c *Conn) Established() bool { return c.w.open.Load() }
