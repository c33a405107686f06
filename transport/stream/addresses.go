//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sync"

	"sipedge/transport"
)

// addressKey is an address, or the /64 of an IPv6 address: what one subscriber is given, and could walk through.
type addressKey [16]byte

func addressOf(a *transport.Addr) addressKey {
	if a.Is4() {
		return a.IP
	}
	var k addressKey
	copy(k[:8], a.IP[:8])
	return k
}

// addresses counts the accepted connections of each address. Safe for concurrent use; used when connections come and go,
// never for a message.
type addresses struct {
	mu sync.Mutex
	n  map[addressKey]int
}

// add counts one more, unless there are most.
func (a *addresses) add(k addressKey, most int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n[k] >= most {
		return false
	}
	if a.n == nil {
		a.n = map[addressKey]int{}
	}
	a.n[k]++
	return true
}

func (a *addresses) remove(k addressKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n[k]--; a.n[k] <= 0 {
		delete(a.n, k)
	}
}

// index finds connections by the address of the peer. Safe for concurrent use; used when connections come and go and when
// a destination has no connection, never for a message on one that is known.
type index struct {
	mu sync.Mutex
	m  map[indexKey]indexed
}

type indexKey struct {
	addr  transport.Addr
	proto transport.Protocol
}

type indexed struct {
	conn, gen uint32
	loop      uint8
	names     identities
}

// identities are numbers (see transport.Names) of what a peer's certificate proves, 0 for none.
type identities [8]uint32

func (x *index) put(k indexKey, v indexed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.m == nil {
		x.m = map[indexKey]indexed{}
	}
	x.m[k] = v
}

func (x *index) get(k indexKey) (v indexed, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v, ok = x.m[k]
	return v, ok
}

// remove forgets k unless another connection has its place.
func (x *index) remove(k indexKey, loop uint8, conn, gen uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v, ok := x.m[k]; ok && v.loop == loop && v.conn == conn && v.gen == gen {
		delete(x.m, k)
	}
}
