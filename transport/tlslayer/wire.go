package tlslayer

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is the net.Conn that crypto/tls sees. In it are the bytes that the loop has fed and those that it has to send.
//
// open divides its life. Before: the worker (in Read and Write, called by the handshake) and the loop (in feed and take) share it
// under mu. After: it belongs to the loop, and mu is not taken. The worker sets open last, so a loop that sees it sees
// all that the worker did.
//
// It hands out one whole record at a time. So crypto/tls never keeps part of one in a buffer of its own, which it would never give back.
type wire struct {
	open atomic.Bool
	mu   sync.Mutex

	in   *buffer // ciphertext; nil when there is none
	from int     // how much of it has been handed out
	left int     // how much of the record there is still to be handed out
	out  []byte  // ciphertext to send

	waits  *waits // first stage only
	kept   kept   // second stage only
	closed bool   // nothing more is read or written
	ended  bool   // the peer's side of the connection is over
}

// waits is what only a handshake needs.
type waits struct {
	fed    sync.Cond // whole record, closed or ended
	slots  chan struct{}
	notify func()
}

func newConn(slots chan struct{}, notify func()) *Conn {
	c := &Conn{}
	c.w.waits = &waits{slots: slots, notify: notify}
	c.w.waits.fed.L = &c.w.mu
	return c
}

func (w *wire) lock() bool {
	if w.open.Load() {
		return false
	}
	w.mu.Lock()
	return true
}

func (w *wire) unlock(locked bool) {
	if locked {
		w.mu.Unlock()
	}
}

// compute runs f, which reads and writes w, with a place among those that compute.
func (w *wire) compute(ctx context.Context, f func(context.Context) error) error {
	slots := w.waits.slots
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-slots }()
	return f(ctx)
}

// establish begins the second stage.
func (w *wire) establish(k kept) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	w.kept, w.waits = k, nil
	w.open.Store(true)
	return nil
}

// Read hands out the next record. In the first stage it waits for one.
func (w *wire) Read(p []byte) (int, error) {
	if w.open.Load() {
		return w.next(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.closed {
			return 0, net.ErrClosed
		}
		if n, err := w.next(p); err != errDry {
			return n, err
		}
		// Others may compute while this one waits. The place is taken again without the lock, which the loop needs.
		slots := w.waits.slots
		<-slots
		for !w.closed && !w.ended && w.front() == 0 {
			w.waits.fed.Wait()
		}
		w.mu.Unlock()
		slots <- struct{}{}
		w.mu.Lock()
	}
}

// Write keeps b for Out.
func (w *wire) Write(b []byte) (int, error) {
	if w.open.Load() {
		w.out = append(w.out, b...)
		return len(b), nil
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return 0, net.ErrClosed
	}
	w.out = append(w.out, b...)
	w.mu.Unlock()
	w.waits.notify()
	return len(b), nil
}

// Close ends a handshake under way. crypto/tls calls it when the context ends.
func (w *wire) Close() error {
	locked := w.lock()
	defer w.unlock(locked)
	w.closed = true
	w.drop()
	if w.waits != nil {
		w.waits.fed.Broadcast()
	}
	return nil
}

func (w *wire) LocalAddr() net.Addr              { return nowhere{} }
func (w *wire) RemoteAddr() net.Addr             { return nowhere{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// nowhere is the address of a wire.
type nowhere struct{}

func (nowhere) Network() string { return "memory" }
func (nowhere) String() string  { return "memory" }
