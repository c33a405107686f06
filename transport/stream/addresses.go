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
	mu      sync.Mutex
	m       map[indexKey]indexed
	aliases map[owned]indexKey // the second key of a connection
}

type owned struct {
	connID
	loop uint8
}

type indexKey struct {
	addr  transport.Addr
	proto transport.Protocol
}

type indexed struct {
	owned
	names identities
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

// alias lets the connection that has key k be found by another one too.
func (x *index) alias(k indexKey, who owned, also indexKey) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v, ok := x.m[k]
	if !ok || v.owned != who || v.names[0] == 0 || also == k {
		return
	}
	if other, ok := x.m[also]; ok && other.owned != who && other.names != v.names {
		return // another peer at that address, as behind one NAT, has that port
	}
	if old, ok := x.aliases[who]; ok {
		if old == also {
			return
		}
		x.forget(old, who)
	}
	if x.aliases == nil {
		x.aliases = map[owned]indexKey{}
	}
	x.m[also], x.aliases[who] = v, also
}

// remove forgets the connection that has k, unless another has its place.
func (x *index) remove(k indexKey, who owned) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(k, who)
	if also, ok := x.aliases[who]; ok {
		x.forget(also, who)
		delete(x.aliases, who)
	}
}

func (x *index) forget(k indexKey, who owned) {
	if v, ok := x.m[k]; ok && v.owned == who {
		delete(x.m, k)
	}
}

// Alias notes that the peer of a TLS connection asked for it to be used for requests to port at its address as well ("alias" in its Via),
// which holds for requests that the connection's identities may be sent. Of a connection without a verified identity it takes no
// notice: "Servers MUST follow the authentication steps outlined in Section 9.2 to authenticate the connection before
// forming an alias." RFC 5923 section 8.2. Safe from any goroutine; it takes a lock, so not for every request.
func (e *Engine) Alias(f transport.Flow, port uint16) {
	if f.Proto != transport.TLS || e.Peer(f.Conn, f.Loop, f.Gen) == 0 {
		return
	}
	also := indexKey{f.Remote, f.Proto}
	also.addr.Port = port
	e.index.alias(indexKey{f.Remote, f.Proto}, owned{connID{f.Conn, f.Gen}, f.Loop}, also)
}
