//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import "sync"

// workers runs what would block a loop. They are goroutines that live only as long as there is something to do. Safe for
// concurrent use.
type workers struct {
	most    int // at once
	waiting int // more of them wait

	mu      sync.Mutex
	running int
	queue   []func()
	done    sync.WaitGroup
}

// do runs f soon; false when too much is waiting.
func (w *workers) do(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == w.most {
		if len(w.queue) >= w.waiting {
			return false
		}
		w.queue = append(w.queue, f)
		return true
	}
	w.running++
	w.done.Go(func() { w.work(f) })
	return true
}

func (w *workers) work(f func()) {
	for f != nil {
		f()
		f = w.next()
	}
}

func (w *workers) next() (f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.running--
		w.queue = nil
		return nil
	}
	f = w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	return f
}
