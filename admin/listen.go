package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"

	"sipedge/config"
)

// Listen opens the place that --admin names. A unix socket has mode 0600; one that a dead process
// left is replaced, one that somebody answers on is not.
func Listen(a config.Admin) (net.Listener, error) {
	if a.UnixPath != "" {
		ln, err := listenUnix(a.UnixPath)
		if err != nil {
			return nil, fmt.Errorf("--admin unix:%s: %w", a.UnixPath, err)
		}
		return ln, nil
	}
	ln, err := net.Listen("tcp", a.TCP.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--admin %s: %w: another process has this port; give another --admin", a.TCP, err)
	}
	if err != nil {
		return nil, fmt.Errorf("--admin %s: %w", a.TCP, err)
	}
	return ln, nil
}

// listenUnix holds a lock beside the socket as long as it listens, so that of two processes that
// start at once and find a dead socket only one replaces it.
func listenUnix(path string) (net.Listener, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ln, err := listenLocked(path, lock)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &lockedListener{Listener: ln, lock: lock}, nil
}

func listenLocked(path string, lock *os.File) (net.Listener, error) {
	inUse := errors.New("another sipedge answers here; stop it, or give this one its own --data-dir or --admin")
	switch err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, inUse
	case err != nil:
		return nil, fmt.Errorf("cannot lock %s: %w", lock.Name(), err)
	}
	switch st, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case st.Mode().Type() != fs.ModeSocket:
		return nil, errors.New("something that is not a socket is there; move it away or give another path")
	default:
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			return nil, inUse
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("a socket is there and cannot be tried: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// The mode must be right from the start; a chmod afterwards would leave a moment in between.
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.Listen("unix", path)
}

// lockedListener lets go of the lock after its socket.
type lockedListener struct {
	net.Listener
	lock *os.File
	once sync.Once
}

func (l *lockedListener) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() { l.lock.Close() })
	return err
}

// limitConns lets at most n connections be open at once; the others wait in the kernel's backlog.
func limitConns(ln net.Listener, n int) net.Listener {
	return &limitListener{Listener: ln, free: make(chan struct{}, n), closed: make(chan struct{})}
}

type limitListener struct {
	net.Listener
	free   chan struct{} // holds one for each open connection
	closed chan struct{}
	once   sync.Once
}

func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitConn{Conn: c, free: l.free}, nil
}

func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (c *limitConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.free })
	return err
}
