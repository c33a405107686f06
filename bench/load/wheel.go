//go:build linux

package load

// wheel holds when to look at which call again: one bucket a millisecond, a minute around.
// Entries are hints. A call knows its own deadlines, so an entry that comes too early is put
// back and one for a call that has ended is dropped; nothing is ever searched for.
type wheel struct {
	buckets [wheelSize][]entry
	tick    int64 // the last tick that was run
}

type entry struct{ slot, gen uint32 }

const (
	wheelSize = 1 << 16 // ticks; what lies further ahead is looked at once per turn
	tickNanos = 1_000_000
)

func (w *wheel) add(at int64, e entry) {
	t := max((at+tickNanos-1)/tickNanos, w.tick+1)
	t = min(t, w.tick+wheelSize-1)
	b := &w.buckets[t%wheelSize]
	*b = append(*b, e)
}

// run hands every entry up to now to f, which may add.
func (w *wheel) run(now int64, f func(entry)) {
	for w.tick < now/tickNanos {
		w.tick++
		b := &w.buckets[w.tick%wheelSize]
		for i := 0; i < len(*b); i++ {
			f((*b)[i])
		}
		*b = (*b)[:0]
	}
}
