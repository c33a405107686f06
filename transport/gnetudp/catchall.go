//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import (
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// catchAll is the wildcard socket of a listener. gnet would read it the wrong way (see
// listener), so a goroutine waits until it is readable and rings at the first loop, which reads.
type catchAll struct {
	listener *listener
	conn     *net.UDPConn
	fd       int // of conn

	ready atomic.Bool   // there is something to read, and the loop has not read all of it
	again chan struct{} // the loop has, so wait again
}

func newCatchAll(l *listener, c *net.UDPConn, cfg *transport.Config) (*catchAll, error) {
	r := &catchAll{listener: l, conn: c, again: make(chan struct{}, 1)}
	err := control(c, func(fd int) error {
		r.fd = fd
		return wantLocalAddress(fd, l.v6)
	})
	if err != nil {
		return nil, err
	}
	if !tellsLocalAddress && cfg.Warn != nil {
		cfg.Warn("udp " + l.addr.String() + ": answers to datagrams that came to an address added after the start may leave from another")
	}
	if cfg.ReceiveBuffer > 0 {
		_ = c.SetReadBuffer(cfg.ReceiveBuffer) // the warning comes from gnet's sockets, which have the traffic
	}
	return r, nil
}

// watch runs until the socket is closed or ended is.
func (r *catchAll) watch(l *loop, ended <-chan struct{}) {
	rc, err := r.conn.SyscallConn()
	if err != nil {
		return
	}
	var b [1]byte
	for {
		err := rc.Read(func(fd uintptr) bool {
			_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return err != unix.EAGAIN
		})
		if err != nil {
			return
		}
		r.ready.Store(true)
		l.ring()
		select {
		case <-r.again:
		case <-ended:
			return
		}
	}
}

// drained tells watch to wait again.
func (r *catchAll) drained() {
	r.ready.Store(false)
	r.again <- struct{}{} // has room: watch takes one for each ready
}
