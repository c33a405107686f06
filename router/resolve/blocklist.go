package resolve

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"sipedge/transport"
)

// blocklist remembers hops that failed. It is a hash table of fixed size: where five hops of one bucket are blocked, the one
// that ends first is forgotten. Lock-free, for any goroutine.
//
// A slot is one word: 24 bits of the hop's hash, 40 bits of milliseconds at which the block ends (34 years). With the
// bucket's bits a hop is told from another by 34 bits; a wrong guess only puts a hop last.
type blocklist struct {
	seed  uint64
	until atomic.Int64 // no block ends later than this Instant
	slots [blockBuckets][blockWays]atomic.Uint64
}

const (
	blockBuckets = 1 << 10 // with blockWays: 4,096 dead hops at once, 32 KB
	blockWays    = 4
	untilBits    = 40
	untilMask    = 1<<untilBits - 1
	milli        = transport.Instant(1e6)
)

func (b *blocklist) find(h *transport.Hop) (bucket *[blockWays]atomic.Uint64, tag uint64) {
	var key [27]byte
	binary.LittleEndian.PutUint64(key[:], b.seed)
	copy(key[8:], h.IP[:])
	binary.LittleEndian.PutUint16(key[24:], h.Port)
	key[26] = byte(h.Proto)
	sum := xxhash.Sum64(key[:])
	return &b.slots[sum%blockBuckets], sum >> untilBits << untilBits
}

// any tells whether anything is blocked at all: nearly always nothing is.
func (b *blocklist) any(now transport.Instant) bool { return int64(now) < b.until.Load() }

func (b *blocklist) blocked(h *transport.Hop, now transport.Instant) bool {
	bucket, tag := b.find(h)
	for i := range bucket {
		v := bucket[i].Load()
		if v&^untilMask == tag && transport.Instant(v&untilMask)*milli > now {
			return true
		}
	}
	return false
}

// block notes that h is blocked until then; in its bucket it takes the slot that it has, else the one that ends first.
func (b *blocklist) block(h *transport.Hop, until transport.Instant) {
	bucket, tag := b.find(h)
	end := uint64(max(until, 0)+milli-1) / uint64(milli) & untilMask
	for {
		slot, old := 0, ^uint64(0)
		has := false
		for i := range bucket {
			v := bucket[i].Load()
			if v != 0 && v&^untilMask == tag {
				slot, old, has = i, v, true
				break
			}
			if i == 0 || v&untilMask < old&untilMask {
				slot, old = i, v
			}
		}
		if !has && old&untilMask >= end {
			return // all four end later
		}
		if bucket[slot].CompareAndSwap(old, tag|end) {
			break
		}
	}
	for latest := b.until.Load(); latest < int64(end)*int64(milli); latest = b.until.Load() {
		if b.until.CompareAndSwap(latest, int64(end)*int64(milli)) {
			break
		}
	}
}
