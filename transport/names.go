package transport

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
)

// Names gives numbers to domain names, so that a Hop can name one without holding a pointer. A number is never given to
// another name, and a name is never forgotten: their count is bounded. The zero Names is ready. Safe for concurrent use;
// Name takes no lock.
type Names struct {
	list   atomic.Pointer[[]string]
	mu     sync.Mutex
	number map[string]uint32
}

// maxNames bounds Names: the TLS neighbours of one edge, with much room. About 4 MB when full.
const maxNames = 1 << 16

// ErrNames says that maxNames different names are known already.
var ErrNames = errors.New("transport: too many different TLS names")

// Number is the number of name, without regard to case and a final dot; 0 for the empty name. It copies name. It takes a
// lock and may allocate: not for the packet path.
func (n *Names) Number(name string) (uint32, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" {
		return 0, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok := n.number[name]; ok {
		return i, nil
	}
	var list []string
	if p := n.list.Load(); p != nil {
		list = *p
	}
	if len(list) == maxNames {
		return 0, ErrNames
	}
	if n.number == nil {
		n.number = map[string]uint32{}
	}
	list = append(list, name) // what others see of the old array does not change
	n.list.Store(&list)
	i := uint32(len(list))
	n.number[name] = i
	return i, nil
}

// Name is the name of a number, "" for 0 and for a number that was never given.
func (n *Names) Name(i uint32) string {
	p := n.list.Load()
	if p == nil || i == 0 || int(i) > len(*p) {
		return ""
	}
	return (*p)[i-1]
}
