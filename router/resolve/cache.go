package resolve

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"sipedge/transport"
)

// cache keeps places by key: a table of fixed size, in which a name has eight slots to be in. Readers take no lock: they
// find a place or miss one that is just being put in. Writers are workers, one at a time.
//
// The hash has a secret seed, so that nobody can choose names that push a certain place out.
type cache struct {
	seed uint64
	sets []set

	mu        sync.Mutex // writers
	count     atomic.Uint64
	evictions atomic.Uint64
}

const ways = 8

// set is where the names of one hash live. A tag is not zero where there is a place, and is stored after it: a reader that
// sees the new tag sees the new place, and one that sees the old tag finds by the key that it was replaced.
type set struct {
	tags   [ways]atomic.Uint32
	places [ways]atomic.Pointer[place]
}

func newCache(entries int, seed uint64) *cache {
	return &cache{seed: seed, sets: make([]set, max(entries/ways, 1))}
}

// A key is kind, transport, reach and host; before it, for the hash, stands the seed.
const (
	seedSpace = 8
	keyFields = 3
	keySpace  = seedSpace + keyFields + maxHost
)

// appendKey makes the key of a look-up: the seed, what the route asks for, and the name in lower case without its final dot.
// False: no name can be like this.
func (c *cache) appendKey(key *[keySpace]byte, rt route, host []byte) (n int, ok bool) {
	if len(host) > 0 && host[len(host)-1] == '.' {
		host = host[:len(host)-1]
	}
	if len(host) == 0 || len(host) > maxHost {
		return 0, false
	}
	binary.LittleEndian.PutUint64(key[:], c.seed)
	p := rt.proto
	if rt.kind == addresses && p != transport.TLS {
		p = 0 // addresses are the same for each; but TLS has a name to prove
	}
	key[seedSpace], key[seedSpace+1], key[seedSpace+2] = byte(rt.kind), byte(p), byte(rt.reach)
	n = seedSpace + keyFields
	for _, b := range host {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		key[n] = b
		n++
	}
	return n, true
}

func (c *cache) hash(key []byte) uint64 { return xxhash.Sum64(key) }

func (c *cache) set(hash uint64) *set {
	i, _ := bits.Mul64(hash, uint64(len(c.sets)))
	return &c.sets[i]
}

func tagOf(hash uint64) uint32 { return uint32(hash) | 1 }

// find borrows key, which is without seed.
func (c *cache) find(hash uint64, key []byte) *place {
	s := c.set(hash)
	tag := tagOf(hash)
	for i := range s.tags {
		if s.tags[i].Load() == tag {
			if p := s.places[i].Load(); p != nil && p.key == string(key) {
				return p
			}
		}
	}
	return nil
}

// put publishes p in the place of what has the same key, of what is over, or of what is missed least.
func (c *cache) put(p *place, now transport.Instant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.set(p.hash)
	slot, worst := -1, worth{}
	for i := range s.places {
		old := s.places[i].Load()
		if old == nil {
			if slot < 0 || worst != (worth{}) {
				slot, worst = i, worth{}
			}
			continue
		}
		if old.key == p.key {
			p.regular.Store(old.regular.Load())
			s.places[i].Store(p)
			return
		}
		if w := old.worth(now); slot < 0 || w.less(worst) {
			slot, worst = i, w
		}
	}
	if s.places[slot].Load() != nil {
		c.evictions.Add(1)
	} else {
		c.count.Add(1)
	}
	s.places[slot].Store(p)
	s.tags[slot].Store(tagOf(p.hash))
}

// worth orders places by how much they would be missed: those that are over, those that say "no", those used once, those in
// regular use; among these the one whose last use is longest ago goes first. Whoever has us look up random names, his own
// among them, brings places that nobody uses again, so places in use stay however fast he is.
type worth struct {
	class int // 1 to 4; 0 is an empty slot
	used  int64
}

// regularFor is how long after its last use a place counts as in regular use.
const regularFor = transport.Instant(10 * time.Minute)

func (w worth) less(v worth) bool {
	return w.class < v.class || w.class == v.class && w.used < v.used
}

func (p *place) worth(now transport.Instant) worth {
	w := worth{3, max(p.used.Load(), int64(p.fetched))}
	switch {
	case now >= p.gone:
		w.class = 1
	case p.status != Hit:
		w.class = 2
	case p.regular.Load() && now-transport.Instant(w.used) < regularFor:
		w.class = 4
	}
	return w
}
