// Package tunnel puts TLS around a TCP connection, or takes it off, for programs that speak SIP over TCP only.
//
// Enters: connections to its own address.
// Leaves: one connection each to the target, the bytes unread.
// Never:  looks at what it carries.
package tunnel

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
)

// Tunnel passes bytes between whoever connects to its address and one target. Safe for concurrent use.
type Tunnel struct {
	listener net.Listener
	dial     func() (net.Conn, error)

	mu      sync.Mutex
	conns   map[net.Conn]bool
	closed  bool
	running sync.WaitGroup
}

// Wrap listens for TCP at a free loopback port and goes on to target by TLS.
func Wrap(target string, c *tls.Config) (*Tunnel, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return start(l, func() (net.Conn, error) { return tls.Dial("tcp", target, c) }), nil
}

// Unwrap listens for TLS at a free loopback port and goes on to target by TCP.
func Unwrap(target string, c *tls.Config) (*Tunnel, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		return nil, err
	}
	return start(l, func() (net.Conn, error) { return net.Dial("tcp", target) }), nil
}

func start(l net.Listener, dial func() (net.Conn, error)) *Tunnel {
	t := &Tunnel{listener: l, dial: dial, conns: map[net.Conn]bool{}}
	t.running.Go(t.accept)
	return t
}

// Addr is where to connect.
func (t *Tunnel) Addr() *net.TCPAddr { return t.listener.Addr().(*net.TCPAddr) }

// Close ends all connections.
func (t *Tunnel) Close() {
	t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
}

// keep notes a connection that Close has to end; false: it has been called.
func (t *Tunnel) keep(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.Close()
		return false
	}
	t.conns[c] = true
	return true
}

func (t *Tunnel) drop(c net.Conn) {
	c.Close()
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
}

func (t *Tunnel) accept() {
	for {
		near, err := t.listener.Accept()
		if err != nil {
			return
		}
		if !t.keep(near) {
			return
		}
		t.running.Go(func() {
			defer t.drop(near)
			far, err := t.dial()
			if err != nil || !t.keep(far) {
				return
			}
			defer t.drop(far)
			t.running.Go(func() {
				io.Copy(near, far)
				near.Close()
			})
			io.Copy(far, near)
		})
	}
}
