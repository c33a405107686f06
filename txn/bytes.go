package txn

import "sync/atomic"

// Retained bytes (a request that branches may still need, the last response) live in slots of fixed
// sizes. A span belongs to whoever holds the claim of the context whose handle names it.

// classes are the sizes of slots. Messages of a call are 300 to 1,500 bytes, where the steps are
// close; chunks are 256 KB to 512 KB, and two slots of what only a stream can bring.
var classes = [numClasses]class{
	{64, 12}, {128, 11}, {192, 10}, {256, 10}, {384, 10}, {512, 9}, {768, 9}, {1024, 8}, {1536, 8},
	{2048, 7}, {3072, 7}, {4096, 6}, {8192, 5}, {16384, 4}, {32768, 3}, {65536, 3},
	{131072, 1}, {262144, 1}, {524288, 1}, {1048576, 1},
}

const (
	numClasses      = 20
	datagramClasses = 16 // those that a datagram needs
)

type class struct {
	size  uint32
	shift uint8 // a chunk has 1 << shift slots
}

// classOf is the smallest class for a length, by the number of 64-byte units.
var classOf = func() (t [MaxKept/64 + 1]uint8) {
	c := uint8(0)
	for units := range t {
		if uint32(units)*64 > classes[c].size {
			c++
		}
		t[units] = c
	}
	return t
}()

// A Bytes ref is 1 + (class << classShift | slot); 0 names nothing.
const classShift = 27

type byteChunk struct{ b []byte }

// Keep copies b into the store. False: MaxRetainedBytes is reached, or b is longer than MaxKept. The
// zero-length b is kept as the zero Bytes.
func (l *Local) Keep(b []byte) (Bytes, bool) {
	if len(b) == 0 {
		return Bytes{}, true
	}
	if len(b) > MaxKept {
		l.count[countBytesFull]++
		return Bytes{}, false
	}
	// When a class is at its bound a larger one serves: a flood of messages of one size must not
	// leave the others without memory. A datagram in a slot for the largest messages would waste nearly all of it.
	last := uint8(numClasses)
	if len(b) <= int(classes[datagramClasses-1].size) {
		last = datagramClasses
	}
	for c := classOf[(len(b)+63)/64]; c < last; c++ {
		slot, ok := l.alloc(kindBytes + kind(c))
		if !ok {
			continue
		}
		h := Bytes{ref: uint32(c)<<classShift + slot + 1, Len: uint32(len(b))}
		copy(l.span(h.ref), b)
		l.count[countKept]++
		l.count[countKeptBytes] += uint64(classes[c].size)
		return h, true
	}
	l.count[countBytesFull]++
	return Bytes{}, false
}

// Bytes lends what h names: valid while the claim is held and until h is dropped. Nil for the zero Bytes.
func (l *Local) Bytes(h Bytes) []byte {
	if h.ref == 0 {
		return nil
	}
	return l.span(h.ref)[:h.Len:h.Len]
}

// Drop gives up what *h names and zeroes *h. The zero Bytes is fine.
func (l *Local) Drop(h *Bytes) {
	ref := h.ref
	if ref == 0 {
		return
	}
	*h = Bytes{} // first: if anything below panics, nothing is given up twice
	if poisoning {
		b := l.span(ref)
		if poisoned(b) {
			panic("txn: bytes dropped twice")
		}
		poison(b)
	}
	l.dropSpan(ref)
}

// dropSpan retires a span; a slice of it stays readable until this loop's next Quiesce.
func (l *Local) dropSpan(ref uint32) {
	c := (ref - 1) >> classShift
	l.retire(kindBytes+kind(c), (ref-1)&(1<<classShift-1))
	l.count[countDropped]++
	l.count[countDroppedBytes] += uint64(classes[c].size)
}

// span is the whole slot of a ref.
func (l *Local) span(ref uint32) []byte {
	c, slot := (ref-1)>>classShift, (ref-1)&(1<<classShift-1)
	k := classes[c%numClasses]
	chunk := l.store.bytes[c%numClasses][slot>>k.shift].Load().b
	from := (slot & (1<<k.shift - 1)) * k.size
	return chunk[from : from+k.size : from+k.size]
}

// ripen is called when a magazine's grace period is over. Under -tags poison the spans are
// overwritten, so that whoever still reads them sees it.
func ripen(k kind, s *Store, m *magazine) {
	if poisoning && k >= kindBytes {
		class := classes[k-kindBytes]
		for _, slot := range m.slots[:m.n] {
			chunk := s.bytes[k-kindBytes][slot>>class.shift].Load().b
			from := (slot & (1<<class.shift - 1)) * class.size
			poison(chunk[from : from+class.size])
		}
	}
}

// reserveMemory counts a chunk of bytes against MaxRetainedBytes. Chunks stay with their class, so
// no class may have more than twice of what is left for all: a flood of one size then leaves a third,
// of two sizes a ninth. Other kinds are bounded by their number of slots.
func (s *Store) reserveMemory(k kind) bool {
	if k < kindBytes {
		return true
	}
	size := s.pools[k].chunk * s.pools[k].size
	own := s.pools[k].ready.Load() * s.pools[k].size
	for {
		used := s.retained.Load()
		if used+size > s.config.MaxRetainedBytes || own > 2*(s.config.MaxRetainedBytes-used-size) {
			return false
		}
		if s.retained.CompareAndSwap(used, used+size) {
			return true
		}
	}
}

// releaseMemory takes back reserveMemory for a chunk that another caller was first to add.
func (s *Store) releaseMemory(k kind) {
	if k >= kindBytes {
		s.retained.Add(^(s.pools[k].chunk*s.pools[k].size - 1))
	}
}

func (s *Store) addBytes(k kind, i uint64) bool {
	entry := &s.bytes[k-kindBytes][i]
	if entry.Load() != nil {
		return false
	}
	b := make([]byte, s.pools[k].chunk*s.pools[k].size)
	if i > 0 { // the first chunk of each class is there from the start and costs nothing until used
		for at := 0; at < len(b); at += 4096 {
			b[at] = 0
		}
	}
	return entry.CompareAndSwap(nil, &byteChunk{b})
}

// byteDir is the directory of one size class.
type byteDir []atomic.Pointer[byteChunk]
