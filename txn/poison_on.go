//go:build poison

package txn

import "bytes"

// poisoning: dropped bytes are overwritten, so that a borrow that was kept too long fails in tests.
const poisoning = true

func poison(b []byte) {
	for i := range b {
		b[i] = dropped
	}
}

// poisoned tells whether b was overwritten whole, which a message never looks like.
func poisoned(b []byte) bool { return bytes.Count(b, []byte{dropped}) == len(b) }

const dropped = 0xDB
