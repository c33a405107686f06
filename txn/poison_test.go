//go:build poison

package txn

import "testing"

// TestPoison: under this tag a borrow that outlives its Drop shows, and so does a second Drop.
func TestPoison(t *testing.T) {
	l := newTestStore(t, StoreConfig{MaxTransactions: 100}).Local(0)
	h, _ := l.Keep([]byte("INVITE"))
	again, b := h, l.Bytes(h)
	l.Drop(&h)
	if string(b) == "INVITE" {
		t.Error("dropped bytes are still there")
	}
	defer func() {
		if recover() == nil {
			t.Error("dropped twice, unnoticed")
		}
	}()
	l.Drop(&again)
}
