package overload

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"sipedge/transport"
)

// buckets is how far ahead of its rate each source is: the generic cell rate algorithm (ITU-T I.371), one word a source. Safe
// for concurrent use: lock-free.
//
// A word is, from the high end:
//
//	tagBits    of the hash of the source; with the set, who it is
//	timeBits   when the source may be forgotten, in ticks, modulo 2^timeBits: its theoretical arrival time
//
// A source whose time has come is as good as one that never sent anything, so its word is free: forgetting it loses nothing.
// All transitions are by CAS of a whole word: to a later time, or to another source.
//
// A set that is full of sources ahead of their rate gives up the one that is least ahead. So a flood of invented addresses,
// each of which sends little, pushes out such as itself, and honest sources that send little, which gain by it; who sends a
// lot is far ahead and stays.
type buckets struct {
	seed    maphash.Seed
	sets    []set
	evicted atomic.Uint64 // sources given up before their time
}

// set is a cache line.
type set [8]atomic.Uint64

const (
	timeBits = 44
	tagBits  = 64 - timeBits
	timeMask = 1<<timeBits - 1
	// tickShift: a tick is 16 ns, so that 10 million a second can be told from 11 million, and the clock wraps after
	// three days.
	tickShift = 4
	// maxAhead is how far ahead of its time a source can be: a day and a half, half of what can be told from the past.
	maxAhead = 1<<(timeBits-1) - 1
	// attempts to change a word that other loops change as well.
	attempts = 4
)

// newBuckets makes room for so many sources, a power of two.
func newBuckets(sources int) *buckets {
	return &buckets{seed: maphash.MakeSeed(), sets: make([]set, sources/len(set{}))}
}

// take reports whether one more request of a source is within its rate, and counts it then. One that is not costs the
// source nothing: who goes on at twice the rate gets half through.
func (t *buckets) take(ip *[16]byte, r *rule, number uint16, now transport.Instant) bool {
	var key [18]byte
	bits := r.bits[1]
	if [12]byte(ip[:12]) == [12]byte{10: 0xff, 11: 0xff} {
		bits = r.bits[0]
	}
	whole := int(bits >> 3)
	copy(key[:], ip[:whole])
	if rest := bits & 7; rest != 0 {
		key[whole] = ip[whole] &^ (0xff >> rest)
	}
	binary.LittleEndian.PutUint16(key[16:], number)
	hash := maphash.Bytes(t.seed, key[:])
	tag := hash>>timeBits<<timeBits | 1<<timeBits // never zero
	s := &t.sets[hash&uint64(len(t.sets)-1)]
	tick := uint64(now) >> tickShift & timeMask

	for range attempts {
		at, least, word := 0, uint64(maxAhead+1), uint64(0)
		found := false
		for i := range s {
			w := s[i].Load()
			ahead := aheadOf(w, tick, r.longest)
			if w&^timeMask == tag {
				at, least, word, found = i, ahead, w, true
				break
			}
			if ahead < least {
				at, least, word = i, ahead, w
			}
		}
		ahead := uint64(0)
		if found {
			if ahead = least; ahead > r.tolerance {
				return false
			}
		}
		if s[at].CompareAndSwap(word, tag|(tick+ahead+r.increment)&timeMask) {
			if !found && least > 0 {
				t.evicted.Add(1)
			}
			return true
		}
	}
	return true // other loops were faster each time; they have counted theirs
}

// aheadOf is how far the time of a word is ahead of now, in ticks; 0: its source may be forgotten. More than any source can
// be is a time that is so long past that the clock has wrapped.
func aheadOf(w, tick, longest uint64) uint64 {
	if ahead := (w - tick) & timeMask; w != 0 && ahead <= longest {
		return ahead
	}
	return 0
}
