//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import "sipedge/transport"

// failures keeps messages that could not be sent until the Handler can be told: the failure often shows inside a call of the
// Handler, which is no place to call it again. Owned by one loop.
type failures struct {
	list  []failure // a queue: list[first:]
	first int
	size  int    // bytes in it
	told  []byte // what the Handler is being told of
}

type failure struct {
	to  transport.Flow
	why transport.Failure
	b   []byte // of loop.buffers
}

func (f *failures) any() bool { return f.first < len(f.list) }

// fail copies b. When too much is waiting it is forgotten: the transaction's own timer then ends it.
func (l *loop) fail(to *transport.Flow, b []byte, why transport.Failure) {
	f := &l.failures
	if len(f.list)-f.first >= failuresKept || f.size+len(b) > failureBytes {
		l.n.failuresLost.Add(1)
		return
	}
	l.failWith(to, l.buffers.grow(nil, b), why)
}

// failWith is fail for b of loop.buffers, which it takes.
func (l *loop) failWith(to *transport.Flow, b []byte, why transport.Failure) {
	f := &l.failures
	if len(f.list) == cap(f.list) && f.first > 0 { // move down instead of growing
		n := copy(f.list, f.list[f.first:])
		clear(f.list[n:])
		f.list, f.first = f.list[:n], 0
	}
	f.list = append(f.list, failure{*to, why, b})
	f.size += len(b)
	if l.phase == done { // no turn is under way
		l.call()
	}
}

// report tells the Handler of everything that has failed so far, oldest first. What fails meanwhile waits for the next turn.
func (l *loop) report() {
	f := &l.failures
	for n := len(f.list) - f.first; n > 0; n-- {
		// Taken off before the call, so that a panic in it does not bring the same one back.
		x := f.list[f.first]
		f.list[f.first] = failure{}
		f.first++
		f.size -= len(x.b)
		f.told, l.intake.current = x.b, x.b
		l.handler.SendFailed(x.to, x.b, x.why, l.now)
		l.intake.current = nil
		l.dropReported()
	}
	if !f.any() {
		f.list, f.first = f.list[:0], 0
	}
}

// dropReported is done with the message in hand, also after a panic.
func (l *loop) dropReported() {
	f := &l.failures
	if f.told != nil {
		l.buffers.put(f.told)
		f.told = nil
	}
	if f.any() {
		l.call()
	}
}
