package tlslayer

import (
	"bytes"
	"sync"
)

// buffer holds ciphertext from being fed to being decrypted. An idle connection has none.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, firstTaken)} }}

func (b *buffer) free() {
	if cap(b.b) >= firstTaken && cap(b.b) <= maxPooled {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// feed copies b behind what waits.
func (w *wire) feed(b []byte) error {
	waiting := w.waiting()
	switch {
	case w.closed || w.ended:
		return nil // what comes now, nobody reads
	case len(waiting)+len(b) > MaxWaiting:
		return ErrFlood
	case w.in == nil:
		w.in, w.from = buffers.Get().(*buffer), 0
	case cap(w.in.b) < firstTaken:
		old := w.in
		w.in, w.from = buffers.Get().(*buffer), 0
		w.in.b = append(w.in.b, old.b[len(old.b)-len(waiting):]...)
	}
	// Never moved to the front: what crypto/tls has not given out yet may lie there.
	w.in.b = append(w.in.b, b...)
	return nil
}

func (w *wire) waiting() []byte {
	if w.in == nil {
		return nil
	}
	return w.in.b[w.from:]
}

// front is the length of the first record if all of it is here, else 0. Of what cannot be a record only the header counts: crypto/tls refuses
// it by that.
func (w *wire) front() int {
	b := w.waiting()
	if len(b) < headerLen {
		return 0
	}
	n := headerLen + int(b[3])<<8 + int(b[4])
	if b[0] < 20 || b[0] > 23 || b[1] != 3 || n > maxRecord {
		n = headerLen
	}
	if len(b) < n {
		return 0
	}
	return n
}

func (w *wire) hasRecord() bool {
	locked := w.lock()
	defer w.unlock(locked)
	return w.front() > 0
}

// next is Read when it must not wait.
func (w *wire) next(p []byte) (int, error) {
	if w.left == 0 {
		w.left = w.front()
	}
	switch {
	case w.left > 0:
		n := copy(p, w.in.b[w.from:w.from+w.left])
		w.from += n
		w.left -= n
		if w.left == 0 && !w.open.Load() {
			w.settle()
		}
		return n, nil
	case w.ended:
		return 0, ErrTruncated
	}
	return 0, errDry
}

// load gives crypto/tls the first record without a copy: it decrypts in place.
func (w *wire) load() {
	if w.kept.raw == nil || w.kept.raw.Len() > 0 {
		return
	}
	if n := w.front(); n > 0 {
		*w.kept.raw = *bytes.NewBuffer(w.in.b[w.from : w.from+n : w.from+n])
		w.from += n
	}
}

// settle gives back what is not needed. Nothing that crypto/tls handed out may be in use.
func (w *wire) settle() {
	w.kept.release()
	if w.in == nil {
		return
	}
	rest := w.waiting()
	if len(rest) > 0 && len(rest) >= cap(w.in.b)/4 {
		return
	}
	old := w.in
	w.in, w.from = nil, 0
	if len(rest) > 0 {
		w.in = &buffer{bytes.Clone(rest)} // a peer that sends five bytes and stops shall not hold 4 KB
	}
	old.free()
}

// drop forgets all input.
func (w *wire) drop() {
	if w.in != nil {
		w.in.free()
		w.in, w.from, w.left = nil, 0, 0
	}
}

// dry is the error that crypto/tls does not remember: it takes a net.Error that is Temporary as "try again".
type dry struct{}

func (dry) Error() string   { return "no whole record" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

var errDry error = dry{}
