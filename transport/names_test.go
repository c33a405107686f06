package transport_test

import (
	"fmt"
	"sync"
	"testing"

	"sipedge/transport"
)

func TestNames(t *testing.T) {
	var n transport.Names
	if i, err := n.Number(""); i != 0 || err != nil || n.Name(0) != "" || n.Name(1) != "" {
		t.Errorf("the empty name has number %d, %v", i, err)
	}
	a, _ := n.Number("Example.COM.")
	if b, _ := n.Number("example.com"); a != b || n.Name(a) != "example.com" {
		t.Errorf("numbers %d and %d, name %q", a, b, n.Name(a))
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 2000 {
				name := fmt.Sprint("host", i)
				if k, err := n.Number(name); err != nil || n.Name(k) != name {
					t.Errorf("%q came back as %q, %v", name, n.Name(k), err)
				}
			}
		})
	}
	all.Wait()
	for i := 0; ; i++ {
		if _, err := n.Number(fmt.Sprint("more", i)); err != nil {
			if i < 60_000 || err != transport.ErrNames {
				t.Errorf("after %d names: %v", i, err)
			}
			break
		}
	}
	if _, err := n.Number("example.com"); err != nil {
		t.Errorf("a known name in a full table: %v", err)
	}
}
