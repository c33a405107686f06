//go:build poison

package txn

// poisoning: dropped bytes are overwritten, so that a borrow that was kept too long fails in tests.
const poisoning = true

func poison(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}
