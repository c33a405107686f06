package txn

import (
	"bytes"
	"reflect"
	"testing"
	"unsafe"
)

// TestSlabsHoldNoPointers walks every type that lives in a slab: one pointer, and the collector
// would look into millions of them.
func TestSlabsHoldNoPointers(t *testing.T) {
	for _, v := range []any{ResponseContext{}, ClientTransaction{}, node{}, entry{}, magazine{}} {
		if path := pointerIn(reflect.TypeOf(v)); path != "" {
			t.Errorf("%T holds a pointer: %s", v, path)
		}
	}
	// The walk itself must be able to fail.
	for _, v := range []any{Event{}, struct{ A [2]struct{ S string } }{}, struct{ M map[int]int }{}, struct{ I any }{}} {
		if pointerIn(reflect.TypeOf(v)) == "" {
			t.Errorf("%T passed for pointer-free", v)
		}
	}
}

func pointerIn(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return ""
	case reflect.Array:
		if p := pointerIn(t.Elem()); p != "" {
			return "[]" + p
		}
		return ""
	case reflect.Struct:
		for i := range t.NumField() {
			if p := pointerIn(t.Field(i).Type); p != "" {
				return "." + t.Field(i).Name + p
			}
		}
		return ""
	}
	return " " + t.String()
}

// TestSizes holds the sizes that the memory figures rest on.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"ResponseContext", unsafe.Sizeof(ResponseContext{}), contextSize},
		{"ClientTransaction", unsafe.Sizeof(ClientTransaction{}), branchSize},
		{"node", unsafe.Sizeof(node{}), nodeSize},
		{"entry", unsafe.Sizeof(entry{}), 24},
		{"magazine", unsafe.Sizeof(magazine{}), 256},
	} {
		if c.got != c.want {
			t.Errorf("%s takes %d bytes, want %d", c.name, c.got, c.want)
		}
	}
}

// newTestStore makes a Store whose first generations are known, and closes it with the test.
func newTestStore(t testing.TB, config StoreConfig) *Store {
	t.Helper()
	if config.Generation == 0 {
		config.Generation = 1000
	}
	s := NewStore(config)
	t.Cleanup(s.Close)
	return s
}

// TestResetZeroesEverythingOfTheHolder fills a context with ones: a field that reset forgets would
// leak one call's facts into another.
func TestResetZeroesEverythingOfTheHolder(t *testing.T) {
	var c ResponseContext
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c))
	for i := range raw {
		raw[i] = 0xFF
	}
	c.reset()
	c.claim, c.link, c.hash, c.check, c.slot = 0, 0, 0, 0, 0
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if v.Type().Field(i).Name != "_" && !v.Field(i).IsZero() {
			t.Errorf("reset leaves %s", v.Type().Field(i).Name)
		}
	}
}

func TestKeepAndDrop(t *testing.T) {
	l := newTestStore(t, StoreConfig{MaxTransactions: 100}).Local(0)
	for _, n := range []int{0, 1, 63, 64, 65, 128, 129, 192, 193, 500, 1024, 1025, 4096, 4097, 16385, 65535, MaxKept} {
		want := bytes.Repeat([]byte{byte(n), 1, 2}, n/3+1)[:n]
		h, ok := l.Keep(want)
		if !ok {
			t.Fatalf("Keep of %d bytes refused", n)
		}
		got := l.Bytes(h)
		if !bytes.Equal(got, want) || cap(got) != len(got) {
			t.Fatalf("%d bytes came back as %d, capacity %d", n, len(got), cap(got))
		}
		l.Drop(&h)
		if h != (Bytes{}) {
			t.Fatalf("Drop left %+v", h)
		}
		l.Drop(&h)
		l.Quiesce()
	}
	if _, ok := l.Keep(make([]byte, MaxKept+1)); ok {
		t.Error("Keep took more than MaxKept")
	}
	l.Idle()
	if s := l.store.Stats(); s.Spans != 0 || s.SpanBytes != 0 || s.BytesFull != 1 {
		t.Errorf("after all was dropped: %+v", s)
	}
}

// TestClassOf checks the table against a search.
func TestClassOf(t *testing.T) {
	for n := 1; n <= MaxKept; n++ {
		c := classOf[(n+63)/64]
		if int(classes[c].size) < n || c > 0 && int(classes[c-1].size) >= n {
			t.Fatalf("%d bytes go to slots of %d", n, classes[c].size)
		}
	}
}
