package resolve

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sipedge/transport"
)

// Resolver answers Queries. Safe for concurrent use.
type Resolver struct {
	cfg     Config
	cache   *cache
	blocked blocklist
	files   files
	client  client
	desk    *desk
	stop    context.CancelFunc
	n       counts
	tallies [tallies]tally
}

// New checks the configuration and starts the workers. Close ends them.
func New(cfg Config) (*Resolver, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	var seed [16]byte
	crand.Read(seed[:])
	r := &Resolver{cfg: cfg, cache: newCache(cfg.Entries, binary.LittleEndian.Uint64(seed[:]))}
	r.blocked.seed = binary.LittleEndian.Uint64(seed[8:])
	r.files = files{resolvConf: cfg.ResolvConf, hostsPath: cfg.Hosts, warn: cfg.Warn}
	if len(cfg.Servers) > 0 {
		r.files.resolvConf = ""
		r.files.servers = &servers{addrs: cfg.Servers}
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.client = client{ctx: ctx, try: cfg.Try, tries: cfg.Tries, n: &r.n}
	r.desk = newDesk(r)
	r.desk.all.Add(1 + cfg.Workers)
	go r.desk.run()
	for range cfg.Workers {
		go r.desk.worker()
	}
	return r, nil
}

// complete puts defaults in and refuses what cannot be.
func (c *Config) complete() error {
	if c.Names == nil {
		return errors.New("resolve: Names is missing; TLS hops need the same as the streams")
	}
	if len(c.Servers) > maxServers {
		return fmt.Errorf("resolve: %d DNS servers; at most %d", len(c.Servers), maxServers)
	}
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		var err error
		if addrs[i], err = serverAddr(s); err != nil {
			return err
		}
	}
	c.Servers = addrs
	orString := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	orString(&c.ResolvConf, "/etc/resolv.conf")
	orString(&c.Hosts, "/etc/hosts")
	orInt := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	orInt(&c.Entries, defaultEntries)
	orInt(&c.Queue, defaultQueue)
	orInt(&c.Workers, defaultWorkers)
	orInt(&c.Tries, defaultTries)
	orTime := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	orTime(&c.Try, defaultTry)
	orTime(&c.Deadline, defaultDeadline)
	orTime(&c.MinTTL, defaultMinTTL)
	orTime(&c.MaxTTL, defaultMaxTTL)
	orTime(&c.MaxNegative, defaultMaxNegative)
	orTime(&c.MaxStale, defaultMaxStale)
	if c.Now == nil {
		c.Now = transport.Now
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	if c.Entries < 1 || c.Queue < 1 || c.Workers < 1 || c.Tries < 1 || c.Try < 0 || c.Deadline < 0 ||
		c.MinTTL < 0 || c.MaxTTL < c.MinTTL || c.MaxNegative < 0 || c.MaxStale < 0 {
		return errors.New("resolve: a bound is negative, or the least TTL is over the largest")
	}
	return nil
}

// Close ends the workers and returns when they have ended. Who still waits is called back first. Lookup goes on serving
// what is known; Start says false from now on.
func (r *Resolver) Close() {
	if r.desk.closed.Swap(true) {
		return
	}
	r.stop()
	close(r.desk.closing)
	r.desk.all.Wait()
}

// Lookup appends to dst the places for q, the best first, at most MaxHops. It only reads what is known already: it takes no
// lock and, when dst has room for MaxHops more, allocates nothing. The order is drawn anew by weight each time (see
// Query.Hash); hops that are blocked come last.
func (r *Resolver) Lookup(q *Query, dst []transport.Hop, now transport.Instant) ([]transport.Hop, Status) {
	ip, family, isLiteral := parseLiteral(q.Host)
	if !isLiteral {
		family = bothFamilies
	}
	rt, ok := q.route(isLiteral, family)
	if !ok {
		return dst, Unsupported
	}
	if isLiteral {
		port := q.Port
		if port == 0 {
			port = defaultPort(rt.proto)
		}
		return append(dst, transport.Hop{Addr: transport.Addr{IP: ip, Port: port}, Proto: rt.proto}), Hit
	}
	seed := q.Hash
	if seed == 0 {
		seed = rand.Uint64() // the runtime's generator of this thread: no lock
	}
	n := &r.tallies[seed%tallies].by
	var key [keySpace]byte
	end, ok := r.cache.appendKey(&key, rt, q.Host)
	if !ok {
		n[Negative].Add(1)
		return dst, Negative
	}
	hash := r.cache.hash(key[:end])
	p := r.cache.find(hash, key[seedSpace:end])
	if p == nil {
		n[Miss].Add(1)
		return dst, Miss
	}
	status, refresh := p.state(now)
	n[status].Add(1)
	if status == Miss {
		return dst, Miss
	}
	p.use(now)
	if refresh && p.claimRefresh(now) {
		r.desk.let(job{key: p.key, hash: p.hash, route: p.route, end: time.Now().Add(r.cfg.Deadline)})
	}
	if status == Hit || status == Stale {
		dst = p.hops(dst, q.Port, rt.proto, seed, &r.blocked, now)
	}
	return dst, status
}

// Start looks for q in DNS and calls done exactly once, on a goroutine of the Resolver, when Lookup knows the answer or the
// deadline has passed; done must not block. False: too many wait already, or q is of no use (a numeric address, or Lookup says
// Unsupported), and done will not be called. It copies q, never blocks, and may be called on a loop.
func (r *Resolver) Start(q Query, done func()) bool {
	if _, _, isLiteral := parseLiteral(q.Host); isLiteral {
		return false
	}
	rt, ok := q.route(false, bothFamilies)
	if !ok {
		return false
	}
	var key [keySpace]byte
	end, ok := r.cache.appendKey(&key, rt, q.Host)
	if !ok {
		return false
	}
	return r.desk.let(job{
		key: string(key[seedSpace:end]), hash: r.cache.hash(key[:end]), route: rt, done: done, end: time.Now().Add(r.cfg.Deadline),
	})
}

// Block makes Lookup put the address, port and transport of hop last until then: "failure occurs if the transaction layer
// reports a 503 error response or a transport failure of some sort", or a timeout without any response (RFC 3263 section
// 4.3). A time that has passed unblocks. Lock-free; on any goroutine.
func (r *Resolver) Block(hop *transport.Hop, until transport.Instant) { r.blocked.block(hop, until) }

// Blocked tells whether Block holds for the address, port and transport of hop.
func (r *Resolver) Blocked(hop *transport.Hop, now transport.Instant) bool {
	return r.blocked.any(now) && r.blocked.blocked(hop, now)
}
