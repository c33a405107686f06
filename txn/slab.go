package txn

import "sync/atomic"

// Slabs hold everything of a transaction without pointers, so that the collector never looks inside:
// with a million transactions as ordinary structs one GC cycle costs 450 ms of CPU. A slab is a
// directory of chunks; chunks are ordinary slices, are added at the end, and stay for good.

// slab is the memory of one kind of slot. Safe for concurrent use: a chunk is published once, by a
// CAS of its directory entry from nil, and what is in a slot belongs to whoever owns the slot.
type slab[T any] struct {
	dir []atomic.Pointer[[chunkSlots]T]
}

func (s *slab[T]) at(i uint32) *T {
	return &s.dir[i>>chunkShift].Load()[i%chunkSlots]
}

// kind is a kind of slot with free and retired ones to keep track of.
type kind uint8

const (
	kindContext kind = iota
	kindBranch
	kindNode
	kindBytes // the first of the size classes, see bytes.go

	numSlabs = int(kindBytes) + numClasses
)

// What the slots take. A test compares them with the types.
const (
	contextSize = 176
	branchSize  = 152
	nodeSize    = 80
)

// pool is what the loops share about one kind of slot, apart from the memory itself.
//
//	fresh   first slot that no loop has carved off; only grows, by CAS in carve
//	ready   slots below have a chunk behind them; only grows, by CAS in extend, which publishes the chunk
//	asked   a loop found too little room ahead; the grower clears it before it looks
type pool struct {
	full  stack // full magazines whose grace period is over
	fresh atomic.Uint64
	ready atomic.Uint64
	asked atomic.Bool
	_     [104]byte

	limit uint64 // slots at most
	chunk uint64 // slots in a chunk
	size  uint64 // bytes in a slot
	batch uint32 // slots in a full magazine
}

// carve takes up to a batch of slots never used before; lo == hi when there are none ready.
func (p *pool) carve() (lo, hi uint32) {
	for {
		f, r := p.fresh.Load(), p.ready.Load()
		n := min(uint64(p.batch), r-f)
		if n == 0 || p.fresh.CompareAndSwap(f, f+n) {
			return uint32(f), uint32(f + n)
		}
	}
}

// ahead is how many slots should be ready beyond those in use: one chunk, some more while a young
// process may still be growing fast, and a small share of a large store.
func (p *pool) ahead(used uint64) uint64 {
	return min(p.chunk+min(used/8, 8*p.chunk)+used/aheadShare, p.limit-min(used, p.limit))
}

// ask tells the grower that p needs room. Never blocks: when the channel is full the grower is
// awake, and sees asked.
func (s *Store) ask(p *pool) {
	if p.asked.Load() || p.ready.Load() >= p.limit || !p.asked.CompareAndSwap(false, true) {
		return
	}
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// grow is the grower: it makes chunks ahead of need, off the loops.
func (s *Store) grow() {
	defer close(s.grown)
	for {
		select {
		case <-s.done:
			return
		case <-s.work:
		}
		for k := range s.pools {
			p := &s.pools[k]
			if !p.asked.Load() {
				continue
			}
			p.asked.Store(false)
			for p.ready.Load()-p.fresh.Load() < p.ahead(p.fresh.Load()) && s.extend(kind(k)) {
			}
		}
		for _, l := range s.locals {
			l.wheel.restock()
		}
	}
}

// extend adds one chunk of kind k, or helps whoever is just adding it; false when k is at its bound.
// Safe for concurrent use; no caller waits for another.
func (s *Store) extend(k kind) bool {
	p := &s.pools[k]
	r := p.ready.Load()
	if r+p.chunk > p.limit || !s.reserveMemory(k) {
		return false
	}
	s.magazines.reserve(s.magazinesNeeded())
	i := r / p.chunk
	var added bool
	switch k {
	case kindContext:
		added = s.addContexts(i)
	case kindBranch:
		added = s.branches.dir[i].CompareAndSwap(nil, touched(new([chunkSlots]ClientTransaction)))
	case kindNode:
		added = s.nodes.dir[i].CompareAndSwap(nil, touched(new([chunkSlots]node)))
	default:
		added = s.addBytes(k, i)
	}
	if !added {
		s.releaseMemory(k)
	}
	p.ready.CompareAndSwap(r, r+p.chunk)
	return true
}

// magazinesNeeded is how many magazines the slots of all kinds can fill, with one chunk more of each
// kind than there is: another loop may be adding that one just now, and does its own sum before it
// adds a second. Beside the full ones there are a few at each loop that are not.
func (s *Store) magazinesNeeded() uint64 {
	n := uint64(len(s.locals)) * (3*uint64(numSlabs) + keptEmpty)
	for k := range s.pools {
		p := &s.pools[k]
		n += (p.ready.Load()/p.chunk + 1) * p.magazinesPerChunk()
	}
	return n
}

// magazinesPerChunk is how many magazines the slots of a chunk fill, rounded up.
func (p *pool) magazinesPerChunk() uint64 { return p.chunk/uint64(p.batch) + 1 }

// touched writes to each page of a chunk so that the kernel backs it now, here, and not at the first
// packet that needs it.
func touched[T any](chunk *[chunkSlots]T) *[chunkSlots]T {
	var zero T
	for i := range chunk {
		chunk[i] = zero
	}
	return chunk
}

func (s *Store) addContexts(i uint64) bool {
	if s.contexts.dir[i].Load() != nil {
		return false
	}
	chunk := new([chunkSlots]ResponseContext)
	for n := range chunk {
		c := &chunk[n]
		c.slot = uint32(i*chunkSlots) + uint32(n)
		c.claim = uint64(s.generation) << genShift
	}
	return s.contexts.dir[i].CompareAndSwap(nil, chunk)
}
