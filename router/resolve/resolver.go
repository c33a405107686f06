package resolve

import (
	"sipedge/transport"
)

// Resolver answers Queries. Safe for concurrent use.
type Resolver struct {
	cfg Config
}

// New checks the configuration and starts the workers. Close ends them.
func New(cfg Config) (*Resolver, error) {
	return &Resolver{cfg: cfg}, nil
}

// Close ends the workers and returns when they have ended. Who still waits is called back first. Lookup goes on serving
// what is known; Start says false from now on.
func (r *Resolver) Close() {}

// Lookup appends to dst the places for q, the best first, at most MaxHops. It only reads what is known already: it takes no
// lock and, when dst has room for MaxHops more, allocates nothing. The order is drawn anew by weight each time (see
// Query.Hash); hops that are blocked come last.
func (r *Resolver) Lookup(q *Query, dst []transport.Hop, now transport.Instant) ([]transport.Hop, Status) {
	ip, family, ok := parseLiteral(q.Host)
	if !ok {
		return dst, Miss
	}
	rt, ok := q.route(true, family)
	if !ok {
		return dst, Unsupported
	}
	port := q.Port
	if port == 0 {
		port = defaultPort(rt.proto)
	}
	return append(dst, transport.Hop{Addr: transport.Addr{IP: ip, Port: port}, Proto: rt.proto}), Hit
}

// Start looks for q in DNS and calls done exactly once, on a goroutine of the Resolver, when Lookup knows the answer or the
// deadline has passed; done must not block. False: too many wait already, and done will not be called. It copies q, never
// blocks, and may be called on a loop.
func (r *Resolver) Start(q Query, done func()) bool {
	return false
}

// Block makes Lookup put the address, port and transport of hop last until then: "failure occurs if the transaction layer
// reports a 503 error response or a transport failure of some sort" or a timeout without any response (RFC 3263 section
// 4.3). A time that has passed unblocks. Lock-free; on any goroutine.
func (r *Resolver) Block(hop *transport.Hop, until transport.Instant) {}

// Counters is a snapshot.
func (r *Resolver) Counters() (sum Counters) { return sum }
