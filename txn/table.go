package txn

import "sync/atomic"

// The table finds contexts by key: a fixed number of buckets, each a list through the contexts
// themselves (Harris). Every head and every link is one word of the same layout:
//
//	bits 0 to 30   1 + slot of the next context; 0: end of the list
//	bit  31        in a link: the context that holds this link is being removed, and the link frozen
//
// There is no hash tag beside the slot: going on from a context touches the cache line with its link,
// and its key is on the same line. Half the bytes buy twice the buckets, and shorter lists.
//
// Legal transitions, all by CAS but the first:
//
//	a new link   -> the head seen           store, before the context is published
//	head h       -> new context             insert, at the head only; publishes key and claim word.
//	                                        h is the head that the search for the key began with, so
//	                                        between search and insert nobody else inserted
//	link w       -> w with bit 31           by the loop that ended the context (claim.go: end); not if
//	                                        w is 0, which never changes anyway
//	head or link -> link of its successor   unlink, of a successor whose link has bit 31 or is 0
//
// A look-up only reads: it passes over contexts that are being removed and needs no second try for
// them. A context's slot is reused after a grace period (epoch.go), so the words never mean another
// context than the one they were read for.

// Key is a transaction's key, 128 bits over what RFC 3261 section 17.2.3 compares, made with a secret.
type Key struct {
	Hash  uint64 // the low bits choose the bucket
	Check uint64
}

const removing = 1 << 31

// Match looks for the context with key k: Claimed, Busy (then also returned, for Post), or Gone.
func (l *Local) Match(k Key) (*ResponseContext, Outcome) {
	l.Busy()
	for {
		c, w := l.find(atomic.LoadUint32(l.bucket(k.Hash)), k)
		if c == nil {
			return nil, Gone
		}
		if o := tryClaim(c, w); o != Gone {
			return c, o
		}
	}
}

// MatchOrCreate is Match, but makes the context when there is none: Created, or Full. When several
// loops come with the same new key at once, exactly one is told Created.
func (l *Local) MatchOrCreate(k Key) (*ResponseContext, Outcome) {
	l.Busy()
	var made *ResponseContext
	bucket := l.bucket(k.Hash)
	for {
		head := atomic.LoadUint32(bucket)
		if c, w := l.find(head, k); c != nil {
			o := tryClaim(c, w)
			if o == Gone {
				continue // ended in this moment: it is passed over now
			}
			if made != nil {
				l.uncreate(made)
			}
			return c, o
		}
		if made == nil {
			if made = l.create(k); made == nil {
				l.count[countFull]++
				return nil, Full
			}
		}
		made.link = head // still private
		if atomic.CompareAndSwapUint32(bucket, head, made.slot+1) {
			l.count[countCreated]++
			return made, Created
		}
	}
}

// bucket is the head of the list for a hash.
func (l *Local) bucket(hash uint64) *uint32 {
	return &l.buckets[hash&uint64(len(l.buckets)-1)]
}

// find walks a list from the word at on to the live context with key k; w is its claim word.
func (l *Local) find(at uint32, k Key) (c *ResponseContext, w uint64) {
	for at != 0 {
		c := l.contexts.at(at - 1)
		if c.hash == k.Hash && c.check == k.Check {
			if w := atomic.LoadUint64(&c.claim); w&liveBit != 0 {
				return c, w
			}
		}
		at = atomic.LoadUint32(&c.link) &^ removing
	}
	return nil, 0
}

// create makes a claimed context that nobody can find yet. Nil: full.
func (l *Local) create(k Key) *ResponseContext {
	if l.permits == 0 && !l.takePermits() || l.wheel.crowded() {
		return nil
	}
	slot, ok := l.alloc(kindContext)
	if !ok {
		return nil
	}
	l.permits--
	c := l.contexts.at(slot)
	c.reset()
	c.hash, c.check = k.Hash, k.Check
	// Free slots have an even generation and nothing else in the word.
	atomic.StoreUint64(&c.claim, (atomic.LoadUint64(&c.claim)+liveBit)|claimedBit)
	return c
}

// uncreate takes back create: another loop put the same key in first.
func (l *Local) uncreate(c *ResponseContext) {
	atomic.StoreUint64(&c.claim, (atomic.LoadUint64(&c.claim)-liveBit)&^claimedBit)
	l.putBack(kindContext, c.slot)
	l.permits++
}

// reset zeroes what belongs to the holder of the claim.
func (c *ResponseContext) reset() {
	c.inbox, c.armed = 0, 0
	c.Server = Machine{}
	c.Upstream.Remote.IP, c.Upstream.Local = [16]byte{}, [16]byte{}
	c.Upstream.Remote.Scope, c.Upstream.Remote.Port = 0, 0
	c.Upstream.Conn, c.Upstream.Gen = 0, 0
	c.Upstream.Listener, c.Upstream.Loop, c.Upstream.Proto = 0, 0, 0
	c.Request, c.Response, c.Targets = Bytes{}, Bytes{}, Bytes{}
	c.first, c.Wait = 0, 0
	c.Decision, c.Status, c.Peer = 0, 0, 0
	c.Flags, c.Branches, c.Pending, c.Breadth, c.Method = 0, 0, 0, 0, 0
}

// takePermits takes a share of MaxTransactions for this loop, so that creating touches the shared
// count once in a while only. The bound is strict; loops that hold shares make it a little early.
func (l *Local) takePermits() bool {
	for {
		p := l.store.permits.Load()
		n := min(int64(l.store.permitBatch), p)
		if n <= 0 {
			return false
		}
		if l.store.permits.CompareAndSwap(p, p-n) {
			l.permits += uint32(n)
			return true
		}
	}
}

// remove takes c, which has ended, out of its list. It retries only when another loop changed the
// list first, and unlinks for others what it meets on its way.
func (l *Local) remove(c *ResponseContext) {
	// The mark keeps the link from changing while it is copied to the place before. A link that ends
	// the list needs none: nobody ever inserts behind c.
	link := atomic.LoadUint32(&c.link)
	for link != 0 && !atomic.CompareAndSwapUint32(&c.link, link, link|removing) {
		link = atomic.LoadUint32(&c.link)
	}
	bucket := l.bucket(c.hash)
	if at := c.slot + 1; atomic.LoadUint32(bucket) == at && atomic.CompareAndSwapUint32(bucket, at, link) {
		return
	}
	for !l.unlink(c, bucket) {
	}
}

// unlink walks the list once and unlinks c and what else is being removed on the way to it. True: c
// is not in the list any more, by this loop's doing or another's.
func (l *Local) unlink(c *ResponseContext, before *uint32) bool {
	for {
		at := atomic.LoadUint32(before)
		if at&removing != 0 {
			return false // the context before is being removed too: begin again and unlink it first
		}
		if at == 0 {
			return true
		}
		here := l.contexts.at(at - 1)
		next := atomic.LoadUint32(&here.link)
		if here != c && next&removing == 0 {
			before = &here.link
			continue
		}
		if !atomic.CompareAndSwapUint32(before, at, next&^removing) {
			return false
		}
		if here == c {
			return true
		}
	}
}
