package resolve

import (
	"math/bits"
	"sync/atomic"

	"sipedge/transport"
)

// place is what is known about one key: where its servers are, or that there are none. All but the atomics is fixed before
// it is published. It has pointers; there are few of them beside the calls that use them.
type place struct {
	key     string // see appendKey, without the seed
	hash    uint64
	route   route
	fetched transport.Instant
	due     transport.Instant // from here on a Lookup starts a refresh: a little before the end
	expires transport.Instant
	gone    transport.Instant // from here on not even a failing DNS makes it worth using
	status  Status            // Hit, Negative or Failed
	sips    bool              // NAPTR records offered SIPS
	twins   bool              // an address and port occurs twice
	name    uint32            // for TLS hops: number of the domain asked for
	targets []target          // in the order of service, priority, weight 0 first; no two alike
	ips     [][16]byte

	again   atomic.Int64 // transport.Instant before which no further refresh starts
	used    atomic.Int64 // transport.Instant of the last Lookup, coarse; 0: none yet
	regular atomic.Bool  // was looked up again after some time
	failing atomic.Bool  // the last refresh could not be had
}

// target is a server name: an SRV record with the addresses of its target, or the host itself.
type target struct {
	service  uint8 // which NAPTR record or transport it is of, in order of preference
	proto    transport.Protocol
	priority uint16
	weight   uint16
	port     uint16 // 0: that of the query
	first    uint16 // its addresses in ips: n6 of IPv6, then n4 of IPv4
	n6, n4   uint8
}

// usedEvery is how coarse place.used is: often enough to tell busy places from others, seldom enough that loops do not
// fight for the word.
const usedEvery = transport.Instant(1e9)

// state tells whether p can be used at now, and whether it should be refreshed.
func (p *place) state(now transport.Instant) (s Status, refresh bool) {
	switch {
	case now < p.due:
		return p.status, false
	case now < p.expires:
		return p.status, p.status == Hit
	case p.status != Hit || now >= p.gone:
		return Miss, false
	case now < p.expires.Add(revalidate) || p.failing.Load():
		return Stale, true
	}
	return Miss, false
}

// claimRefresh tells one caller, once in recheck, to refresh.
func (p *place) claimRefresh(now transport.Instant) bool {
	again := p.again.Load()
	return int64(now) >= again && p.again.CompareAndSwap(again, int64(now.Add(recheck)))
}

// use notes a Lookup.
func (p *place) use(now transport.Instant) {
	used := transport.Instant(p.used.Load())
	if now-used < usedEvery {
		return
	}
	if used != 0 && !p.regular.Load() {
		p.regular.Store(true)
	}
	p.used.Store(int64(now))
}

// random is SplitMix64: a few operations for each number, and good enough to draw lots.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is a uniform number less than n.
func (r *random) below(n uint32) uint32 {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return uint32(hi)
}

// lots draws the targets of a place in the order of RFC 2782.
type lots struct {
	targets    []target
	drawn      uint32 // bit set: targets of this level that are drawn already
	start, end int    // the level: targets of one service and priority
	left       int
	random     random
}

// next draws one more target.
func (l *lots) next() *target {
	if l.left == 0 {
		if l.end == len(l.targets) {
			return nil
		}
		l.start = l.end
		t := &l.targets[l.start]
		for l.end++; l.end < len(l.targets) && l.targets[l.end].service == t.service && l.targets[l.end].priority == t.priority; {
			l.end++
		}
		l.left = l.end - l.start
	}
	if l.end-l.start == 1 {
		l.left = 0
		return &l.targets[l.start]
	}
	i := l.draw()
	l.drawn |= 1 << i
	l.left--
	return &l.targets[i]
}

// draw: "Compute the sum of the weights of those RRs, and with each RR associate the running sum in the selected order.
// Then choose a uniform random number between 0 and the sum computed (inclusive), and select the RR whose running sum value
// is the first in the selected order which is greater than or equal to the random number selected." RFC 2782. Those of
// weight 0 stand first; when several do, each is the first as often as the others.
func (l *lots) draw() int {
	sum, zeros, last := uint32(0), uint32(0), 0
	for i := l.start; i < l.end; i++ {
		if l.drawn>>i&1 != 0 {
			continue
		}
		last = i
		sum += uint32(l.targets[i].weight)
		if l.targets[i].weight == 0 {
			zeros++
		}
	}
	if l.left == 1 {
		return last
	}
	want := l.random.below(sum + 1)
	skip := uint32(0)
	if want == 0 && zeros > 1 {
		skip = l.random.below(zeros)
	}
	running := uint32(0)
	for i := l.start; i < l.end; i++ {
		if l.drawn>>i&1 != 0 {
			continue
		}
		running += uint32(l.targets[i].weight)
		if running < want {
			continue
		}
		if skip == 0 {
			return i
		}
		skip--
	}
	return last
}

// hops appends the addresses of p in the order in which they should be tried, at most MaxHops. Blocked ones come last and
// are not left out: each is a guess that may be old, and with all others failing it is still the best there is.
func (p *place) hops(dst []transport.Hop, port uint16, proto transport.Protocol, seed uint64, b *blocklist, now transport.Instant) []transport.Hop {
	if !b.any(now) {
		return p.walk(dst, nil, port, proto, seed, nil, now)
	}
	var blocked [MaxHops]transport.Hop // here, because clearing it costs as much as the rest
	return p.walk(dst, blocked[:0], port, proto, seed, b, now)
}

// walk does what hops says; b is nil when nothing is blocked, else blocked has room for MaxHops.
func (p *place) walk(dst, blocked []transport.Hop, port uint16, proto transport.Protocol, seed uint64, b *blocklist, now transport.Instant) []transport.Hop {
	from := len(dst)
	l := lots{targets: p.targets, random: random(seed)}
	for t := l.next(); t != nil && len(dst)-from < MaxHops; t = l.next() {
		h := transport.Hop{Proto: t.proto}
		if h.Proto == 0 {
			h.Proto = proto
		}
		if h.Proto == transport.TLS {
			h.Name = p.name
		}
		h.Port = t.port
		if h.Port == 0 {
			h.Port = port
		}
		// IPv6 first, the default precedence of RFC 6724 section 2.1. Within a family
		// the records have no order of their own; any start spreads the load.
		first, n := uint32(t.first), uint32(t.n6)
		for range 2 {
			start := uint32(0)
			if n > 1 {
				start = l.random.below(n)
			}
			for i := range n {
				k := start + i
				if k >= n {
					k -= n
				}
				h.IP = p.ips[first+k]
				if p.twins && (contains(dst[from:], &h) || contains(blocked, &h)) {
					continue
				}
				if b != nil && b.blocked(&h, now) {
					if len(blocked) < MaxHops {
						blocked = append(blocked, h)
					}
					continue
				}
				if len(dst)-from < MaxHops {
					dst = append(dst, h)
				}
			}
			first, n = first+n, uint32(t.n4)
		}
	}
	return append(dst, blocked[:min(len(blocked), MaxHops-(len(dst)-from))]...)
}

func contains(hops []transport.Hop, h *transport.Hop) bool {
	for i := range hops {
		if hops[i].Addr == h.Addr && hops[i].Proto == h.Proto {
			return true
		}
	}
	return false
}
