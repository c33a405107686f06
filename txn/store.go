package txn

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// Store is the memory of all transactions, shared by all loops. Safe for concurrent use; what loops
// do with contexts goes through their Locals.
type Store struct {
	contexts slab[ResponseContext]
	branches slab[ClientTransaction]
	nodes    slab[node]
	bytes    [numClasses]byteDir
	buckets  []uint32 // table.go

	epochs    epochs
	magazines magazines
	pools     [numSlabs]pool

	permits     atomic.Int64 // contexts that may still be created, apart from what Locals hold
	permitBatch uint32
	retained    atomic.Uint64 // bytes in chunks of all size classes

	config     StoreConfig
	generation uint32 // even; the generation of slots never used
	locals     []*Local
	work       chan struct{} // wakes the grower; capacity 1
	done       chan struct{}
	grown      chan struct{} // closed when the grower has ended
}

// StoreConfig says how large a Store may become. The zero value of a field means its default.
type StoreConfig struct {
	MaxTransactions  int    // live contexts; default DefaultMaxTransactions
	MaxRetainedBytes uint64 // memory for retained bytes; default 1 KiB for each of MaxTransactions
	Loops            int    // Locals; default 1
	Generation       uint32 // of the first use of each slot; default random, so that a Ref of an earlier process is Gone
}

// NewStore makes a Store and starts its grower goroutine, which Close ends. A Store begins small and
// grows with use.
func NewStore(config StoreConfig) *Store {
	if config.MaxTransactions <= 0 {
		config.MaxTransactions = DefaultMaxTransactions
	}
	config.MaxTransactions = min(config.MaxTransactions, maxTransactions)
	config.Loops = min(max(config.Loops, 1), maxLoops)
	if config.MaxRetainedBytes == 0 {
		config.MaxRetainedBytes = max(64<<20, uint64(config.MaxTransactions)*bytesPerTransaction)
	}
	if config.Generation == 0 {
		var b [4]byte
		rand.Read(b[:]) // never fails, see its documentation
		config.Generation = binary.LittleEndian.Uint32(b[:])
	}
	s := &Store{
		config:     config,
		generation: config.Generation &^ 1,
		work:       make(chan struct{}, 1),
		done:       make(chan struct{}),
		grown:      make(chan struct{}),
	}
	most, loops := uint64(config.MaxTransactions), uint64(config.Loops)
	s.permits.Store(int64(most))
	s.permitBatch = uint32(min(max(most/(8*loops), 1), 64))
	// As many buckets as contexts, to the next power of two: lists of one on average when full, of half
	// a context in steady state. The memory is untouched, and costs nothing, until contexts come.
	s.buckets = make([]uint32, 1<<bits.Len64(max(most, 1024)-1))

	s.epochs.now.Store(1)
	s.epochs.loops = make([]participant, loops)
	s.makePools(most, loops)
	for i := range config.Loops {
		s.locals = append(s.locals, newLocal(s, i))
	}
	for k := range s.pools {
		s.extend(kind(k))
	}
	go s.grow()
	return s
}

// makePools sets the bounds of all kinds and makes their directories.
func (s *Store) makePools(most, loops uint64) {
	// Slots in retirement, and in the hands of loops that do not need them, come on top.
	slack := most/8 + loops*8*magazineSlots
	// One branch per transaction is what a trunk has; the rest is for calls that fork.
	set := func(k kind, slots, chunk, size, batch uint64) {
		slots = (slots + chunk - 1) / chunk * chunk
		s.pools[k].limit, s.pools[k].chunk = slots, chunk
		s.pools[k].size, s.pools[k].batch = size, uint32(batch)
	}
	set(kindContext, most+slack, chunkSlots, contextSize, magazineSlots)
	set(kindBranch, 2*most+slack, chunkSlots, branchSize, magazineSlots)
	set(kindNode, min(maxInboxNodes, most+slack), chunkSlots, nodeSize, magazineSlots)
	for c, class := range classes {
		chunk := uint64(1) << class.shift
		slots := min(s.config.MaxRetainedBytes/uint64(class.size), 1<<classShift-chunk)
		set(kindBytes+kind(c), slots, chunk, uint64(class.size), min(magazineSlots, max(chunk/4, 2)))
	}
	s.contexts.dir = make([]atomic.Pointer[[chunkSlots]ResponseContext], s.pools[kindContext].limit/chunkSlots)
	s.branches.dir = make([]atomic.Pointer[[chunkSlots]ClientTransaction], s.pools[kindBranch].limit/chunkSlots)
	s.nodes.dir = make([]atomic.Pointer[[chunkSlots]node], s.pools[kindNode].limit/chunkSlots)
	most = loops * (3*uint64(numSlabs) + keptEmpty) // magazines, as in magazinesNeeded
	for k := range s.pools {
		p := &s.pools[k]
		if k >= int(kindBytes) {
			s.bytes[k-int(kindBytes)] = make(byteDir, p.limit/p.chunk)
		}
		most += (p.limit/p.chunk + 1) * p.magazinesPerChunk()
	}
	s.magazines.dir = make([]atomic.Pointer[[magazinesChunk]magazine], most/magazinesChunk+1)
}

// Close ends the grower. Loops may still finish what they are doing.
func (s *Store) Close() {
	close(s.done)
	<-s.grown
}

// Local is the view of one loop: what it may do with the store, and what it keeps to itself. Owned
// by one loop.
func (s *Store) Local(loop int) *Local { return s.locals[loop] }

// Local is one loop's part of the Store. Owned by one loop: all its methods belong to that loop's
// goroutine.
type Local struct {
	store    *Store
	contexts slab[ResponseContext] // the store's
	buckets  []uint32              // the store's
	loop     int

	announced   uint64 // epoch.go: what participant says
	lastRetired uint64 // epoch of the last retire
	scanned     uint64 // epoch that scan belongs to
	scan        int    // participants seen in it
	batches     uint64

	permits uint32 // contexts this loop may create without asking
	surplus uint32 // bit per kind: caches with more full magazines than this loop keeps
	empties int
	empty   [keptEmpty]*magazine
	caches  [numSlabs]cache

	event Event // what Release gave out
	count counters

	wheel     wheel
	published published
}

const keptEmpty = 8

func newLocal(s *Store, loop int) *Local {
	l := &Local{store: s, contexts: s.contexts, buckets: s.buckets, loop: loop}
	w := &l.wheel
	w.store, w.local = s, l
	w.limit = uint32(min(uint64(s.config.MaxTransactions)*entriesPerTransaction+chunkSlots, 1<<31))
	w.entries = make([]*[chunkSlots]entry, 0, w.limit/chunkSlots+1)
	w.spare.Store(touchedEntries())
	return l
}
