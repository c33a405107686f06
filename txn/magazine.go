package txn

import "sync/atomic"

// Free and retired slots of all slabs are kept as numbers in magazines, each for one kind of slot. A
// loop takes from one magazine and retires into another without touching anything shared; only full
// magazines travel between loops, over a lock-free stack.

// magazine is an array of slot numbers. It belongs to one loop, or to a stack, at a time; only next
// is touched by loops that do not own it (a pop that loses its race), so only next is atomic.
type magazine struct {
	next  uint32 // 1 + number of the magazine below in a stack, or behind in a queue; 0: none; atomic
	self  uint32 // own number; constant
	n     uint32
	_     uint32
	epoch uint64 // when the last slot was retired into it
	slots [magazineSlots]uint32
}

const (
	magazineSlots  = 58 // makes a magazine 256 bytes
	magazineShift  = 8
	magazinesChunk = 1 << magazineShift
)

// magazines is the supply: chunks in a directory, and the empty ones on a stack.
type magazines struct {
	dir   []atomic.Pointer[[magazinesChunk]magazine]
	empty stack
	fresh atomic.Uint64 // first number never handed out
	ready atomic.Uint64 // numbers below have memory behind them
}

func (s *magazines) at(i uint32) *magazine {
	return &s.dir[i>>magazineShift].Load()[i%magazinesChunk]
}

// reserve sees to it that there are n magazines. It is called before the slots that may fill them
// exist, see extend: an empty one is always to be had, so that retiring never fails.
func (s *magazines) reserve(n uint64) {
	for {
		r := s.ready.Load()
		if r >= n {
			return
		}
		chunk := new([magazinesChunk]magazine)
		for i := range chunk {
			chunk[i].self = uint32(r) + uint32(i)
		}
		// Whoever comes second finds the directory entry filled and only helps to count it.
		s.dir[r>>magazineShift].CompareAndSwap(nil, chunk)
		s.ready.CompareAndSwap(r, r+magazinesChunk)
	}
}

// stack is a lock-free stack of magazines (Treiber). Its word:
//
//	bits  0 to 31   1 + number of the top magazine; 0: empty
//	bits 32 to 63   tag, one more at each transition, against ABA
//
// Legal transitions, all by CAS: push sets the top after writing next of the new top; pop sets the
// top to next of the old one. The CAS of push publishes what is in the magazine to whoever pops it.
type stack struct {
	word atomic.Uint64
	_    [120]byte
}

func (s *stack) push(m *magazine) {
	for {
		w := s.word.Load()
		atomic.StoreUint32(&m.next, uint32(w))
		if s.word.CompareAndSwap(w, (w>>32+1)<<32|uint64(m.self+1)) {
			return
		}
	}
}

func (s *stack) pop(of *magazines) *magazine {
	for {
		w := s.word.Load()
		if uint32(w) == 0 {
			return nil
		}
		m := of.at(uint32(w) - 1)
		next := atomic.LoadUint32(&m.next) // may be stale: then the tag has moved and the CAS fails
		if s.word.CompareAndSwap(w, (w>>32+1)<<32|uint64(next)) {
			return m
		}
	}
}

// cache is a loop's own stock of one kind of slot. Owned by one loop.
type cache struct {
	take   *magazine // slots to use
	fill   *magazine // slots retired since the last full one
	oldest *magazine // full magazines waiting for their grace period, linked by next, oldest first
	newest *magazine
	full   uint32 // how many those are
	lo, hi uint32 // slots never used before, carved off the pool
}

// alloc takes a slot of kind k, or says that there is none.
func (l *Local) alloc(k kind) (slot uint32, ok bool) {
	c := &l.caches[k]
	if m := c.take; m != nil && m.n > 0 {
		m.n--
		return m.slots[m.n], true
	}
	return l.refill(k)
}

// refill is alloc when the magazine at hand is empty: what this loop retired, then what others gave,
// then slots never used, then, as a counted emergency, a chunk made on the spot.
func (l *Local) refill(k kind) (slot uint32, ok bool) {
	c, p := &l.caches[k], &l.store.pools[k]
	e := l.store.epochs.now.Load()
	m := c.take
	switch {
	case c.lo < c.hi:
		c.lo++
		return c.lo - 1, true
	case c.oldest != nil && c.oldest.epoch+grace <= e:
		c.take = l.dequeue(c)
	case c.oldest == nil && c.fill != nil && c.fill.n > 0 && c.fill.epoch+grace <= e:
		c.take, c.fill = c.fill, nil
	default:
		full := p.full.pop(&l.store.magazines)
		if full == nil {
			return l.carve(k)
		}
		c.take = full
	}
	if m != nil {
		l.discard(m)
	}
	ripen(k, l.store, c.take)
	c.take.n--
	return c.take.slots[c.take.n], true
}

// carve takes a run of slots never used before.
func (l *Local) carve(k kind) (slot uint32, ok bool) {
	c, p := &l.caches[k], &l.store.pools[k]
	for {
		lo, hi := p.carve()
		if lo < hi {
			if left := p.ready.Load() - uint64(hi); left < p.ahead(uint64(hi)) {
				l.store.ask(p)
			}
			c.lo, c.hi = lo+1, hi
			return lo, true
		}
		if !l.store.extend(k) {
			return 0, false
		}
		l.count[countEmergency]++
	}
}

// retire gives slot up. It is reused after a grace period; the caller has removed the last reference
// to it that another loop could find.
func (l *Local) retire(k kind, slot uint32) {
	c := &l.caches[k]
	m := c.fill
	if m == nil {
		m = l.emptyMagazine()
		c.fill = m
	}
	e := l.store.epochs.now.Load()
	m.slots[m.n] = slot
	m.n++
	m.epoch = e
	l.lastRetired = e
	if m.n == l.store.pools[k].batch {
		c.fill = nil
		atomic.StoreUint32(&m.next, 0)
		if c.newest == nil {
			c.oldest = m
		} else {
			atomic.StoreUint32(&c.newest.next, m.self+1)
		}
		c.newest = m
		c.full++
		l.surplus |= 1 << k
	}
}

// putBack returns a slot that alloc gave and nobody else has seen.
func (l *Local) putBack(k kind, slot uint32) {
	if m := l.caches[k].take; m != nil && m.n < magazineSlots {
		m.slots[m.n] = slot
		m.n++
		return
	}
	l.retire(k, slot)
}

func (l *Local) dequeue(c *cache) *magazine {
	m := c.oldest
	if next := atomic.LoadUint32(&m.next); next != 0 {
		c.oldest = l.store.magazines.at(next - 1)
	} else {
		c.oldest, c.newest = nil, nil
	}
	c.full--
	return m
}

// shareReclaimed hands full magazines whose grace period is over to the other loops, a few at a time:
// a loop that ends more than it creates must not hoard.
func (l *Local) shareReclaimed(e uint64) {
	if l.surplus == 0 {
		return
	}
	budget := reclaimBudget
	for k := range l.caches {
		if l.surplus&(1<<k) == 0 {
			continue
		}
		c := &l.caches[k]
		for c.full > keptMagazines && c.oldest.epoch+grace <= e {
			if budget == 0 {
				return
			}
			budget--
			m := l.dequeue(c)
			ripen(kind(k), l.store, m)
			l.store.pools[k].full.push(m)
		}
		if c.full <= keptMagazines {
			l.surplus &^= 1 << k
		}
	}
}

// emptyMagazine never fails, see reserve; if it does, the accounting is broken.
func (l *Local) emptyMagazine() *magazine {
	if l.empties > 0 {
		l.empties--
		return l.empty[l.empties]
	}
	s := &l.store.magazines
	if m := s.empty.pop(s); m != nil {
		return m
	}
	for {
		i := s.fresh.Load()
		if i >= s.ready.Load() {
			panic("txn: more full magazines than slots")
		}
		if s.fresh.CompareAndSwap(i, i+1) {
			return s.at(uint32(i))
		}
	}
}

func (l *Local) discard(m *magazine) {
	m.n = 0
	if l.empties < len(l.empty) {
		l.empty[l.empties] = m
		l.empties++
		return
	}
	l.store.magazines.empty.push(m)
}
