package resolve

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"sipedge/transport"
)

const gateway = `
	gw.test. 100 A 192.0.2.1
	gw.test. 100 AAAA 2001:db8::1
`

func (b *bed) expect(q Query, want Status) {
	b.t.Helper()
	if _, s := b.Lookup(&q, nil, b.clock.now()); s != want {
		b.t.Errorf("status %d, want %d", s, want)
	}
}

// TestTTL: an answer is used for as long as the least TTL on the way to it says, within the bounds.
func TestTTL(t *testing.T) {
	for _, tt := range []struct {
		what, zone, query string
		cfg               Config
		want              time.Duration
	}{
		{"an address", "a.test. 100 A 192.0.2.1", "a.test:5060", Config{}, 100 * time.Second},
		{"the lesser of A and AAAA", "a.test. 100 A 192.0.2.1\na.test. 70 AAAA 2001:db8::1", "a.test:5060", Config{}, 70 * time.Second},
		{"an alias", "a.test. 40 CNAME b.test.\nb.test. 100 A 192.0.2.1", "a.test:5060", Config{}, 40 * time.Second},
		{"an SRV record", "_sip._udp.a.test. 50 SRV 0 0 5060 b.test.\nb.test. 100 A 192.0.2.1", "a.test udp", Config{}, 50 * time.Second},
		{"the address of its target", "_sip._udp.a.test. 500 SRV 0 0 5060 b.test.\nb.test. 100 A 192.0.2.1", "a.test udp", Config{}, 100 * time.Second},
		{"a NAPTR record", `a.test. 30 NAPTR 1 1 "s" "SIP+D2U" "" s.test.
			s.test. 50 SRV 0 0 5060 b.test.
			b.test. 100 A 192.0.2.1`, "a.test", Config{}, 30 * time.Second},
		{"the absence of NAPTR and SRV records", "t. 500 SOA n. h. 1 2 3 4 60\na.test. 100 A 192.0.2.1", "a.test", Config{}, 60 * time.Second},
		{"the TTL of the SOA, if less than its minimum", "t. 55 SOA n. h. 1 2 3 4 60\na.test. 100 A 192.0.2.1", "a.test", Config{}, 55 * time.Second},
		{"the least that we do", "a.test. 0 A 192.0.2.1", "a.test:5060", Config{}, defaultMinTTL},
		{"the most that we do", "a.test. 604800 A 192.0.2.1", "a.test:5060", Config{}, defaultMaxTTL},
		{"other bounds", "a.test. 604800 A 192.0.2.1", "a.test:5060", Config{MaxTTL: 7 * time.Second}, 7 * time.Second},
		{"a TTL with its highest bit set", "a.test. 4294967295 A 192.0.2.1", "a.test:5060", Config{}, defaultMaxTTL},
	} {
		t.Run(tt.what, func(t *testing.T) {
			tt.cfg.MaxStale = 1 // nothing is used behind its end
			b := newBed(t, tt.cfg, newNameserver(t, tt.zone))
			q := query(tt.query, everything)
			if _, s := b.resolve(q); s != Hit {
				t.Fatal(s)
			}
			b.clock.advance(tt.want * 89 / 100)
			b.expect(q, Hit)
			if n := b.Counters().Lookups; n != 1 {
				t.Errorf("%d look-ups before it is time", n)
			}
			p, _ := b.only()
			if got := p.expires.Sub(p.fetched); got != tt.want {
				t.Errorf("kept for %v, want %v", got, tt.want)
			}
			b.clock.advanceTo(p.gone)
			b.expect(q, Miss)
		})
	}
}

// TestNegative: RFC 2308. What does not exist is not asked for again before its time.
func TestNegative(t *testing.T) {
	for _, tt := range []struct {
		what, zone string
		cfg        Config
		want       time.Duration
	}{
		{"the minimum of the SOA", "t. 3600 SOA n. h. 1 2 3 4 60", Config{}, time.Minute},
		{"the TTL of the SOA", "t. 30 SOA n. h. 1 2 3 4 60", Config{}, 30 * time.Second},
		{"no SOA", "", Config{}, defaultMinTTL},
		{"a long time", "t. 86400 SOA n. h. 1 2 3 4 86400", Config{}, defaultMaxNegative},
		{"another bound", "t. 86400 SOA n. h. 1 2 3 4 86400", Config{MaxNegative: time.Hour}, time.Hour},
		{"no data for a name that exists", "t. 3600 SOA n. h. 1 2 3 4 60\nno.test. 300 TXT x", Config{}, time.Minute},
	} {
		t.Run(tt.what, func(t *testing.T) {
			s := newNameserver(t, tt.zone)
			b := newBed(t, tt.cfg, s)
			q := query("no.test:5060", only4)
			if _, got := b.resolve(q); got != Negative {
				t.Fatal(got)
			}
			b.clock.advance(tt.want - 1)
			b.expect(q, Negative)
			done := false
			b.awaitDone(q, &done)
			if n := s.total.Load(); n != 1 || !done {
				t.Errorf("%d questions", n)
			}
			b.clock.advance(1)
			b.expect(q, Miss)
			s.load("no.test. 300 A 192.0.2.1")
			if _, got := b.resolve(q); got != Hit {
				t.Errorf("it exists now: %v", got)
			}
		})
	}
}

// awaitDone starts and waits, and sets done.
func (b *bed) awaitDone(q Query, done *bool) {
	b.t.Helper()
	b.await(q)
	*done = true
}

// TestRefreshAhead: a place in use is looked up again before its time is over, once, and nobody waits for it.
func TestRefreshAhead(t *testing.T) {
	s := newNameserver(t, gateway)
	b := newBed(t, Config{}, s)
	q := query("gw.test:5060", only4)
	b.resolve(q)
	s.load("gw.test. 100 A 192.0.2.2")
	b.clock.advance(91 * time.Second)
	for range 100 {
		b.expect(q, Hit)
	}
	b.until("the new address", func() bool {
		hops, _ := b.Lookup(&q, nil, b.clock.now())
		return hops[0].IP[15] == 2
	})
	if n := s.times("gw.test", "A"); n != 1 {
		t.Errorf("%d questions for one refresh", n)
	}
	if c := b.Counters(); c.Refreshes != 1 || c.Misses != 1 {
		t.Errorf("%+v", c)
	}
	b.clock.advance(99 * time.Second)
	b.expect(q, Hit)
}

// TestStale: an answer that has just ended is used once more, while a newer one is fetched.
func TestStale(t *testing.T) {
	s := newNameserver(t, gateway)
	b := newBed(t, Config{}, s)
	q := query("gw.test:5060", only4)
	b.resolve(q)
	s.load("gw.test. 100 A 192.0.2.2")
	b.clock.advance(101 * time.Second)
	hops, status := b.Lookup(&q, nil, b.clock.now())
	if status != Stale || hops[0].IP[15] != 1 {
		t.Fatal(status, b.list(hops))
	}
	b.until("the new address", func() bool {
		hops, status := b.Lookup(&q, nil, b.clock.now())
		return status == Hit && hops[0].IP[15] == 2
	})
	// One that nobody asked for a long time is not: the request waits for a new one.
	b.clock.advance(100*time.Second + revalidate)
	b.expect(q, Miss)
	if _, status := b.resolve(q); status != Hit {
		t.Error(status)
	}
	// One that does not exist any more is not used at all.
	s.load("")
	b.clock.advance(101 * time.Second)
	b.expect(q, Stale)
	b.until("the end of the name", func() bool {
		_, status := b.Lookup(&q, nil, b.clock.now())
		return status == Negative
	})
}

// TestServerStopped: with DNS gone, what is known stays known up to MaxStale, is asked for again only now and then, and comes
// back when DNS does.
func TestServerStopped(t *testing.T) {
	s := newNameserver(t, gateway)
	b := newBed(t, Config{MaxStale: time.Hour}, s)
	q := query("gw.test:5060", only4)
	idle := query("gw.test:5060", everything)
	b.resolve(q)
	b.resolve(idle)
	at := s.addr
	s.stop()
	p := b.cache.find(b.hashOf(q))
	for b.clock.now() < p.gone {
		hops, status := b.Lookup(&q, nil, b.clock.now())
		if len(hops) != 1 || status != Hit && status != Stale {
			t.Fatalf("%v before the end: %v", p.gone.Sub(b.clock.now()), status)
		}
		// Let a refresh that began fail before the clock goes on.
		b.until("quiet", func() bool { return b.Counters().InFlight == 0 && b.desk.pending.Load() == 0 })
		b.clock.advance(10 * time.Second)
	}
	if n := b.Counters().Refreshes; n < 50 || n > 130 {
		t.Errorf("%d attempts in an hour, one in %v was meant", n, recheck)
	}
	b.expect(q, Miss)
	if _, status := b.resolve(q); status != Failed {
		t.Errorf("a place that is too old: %v", status)
	}
	b.expect(q, Failed) // and remembered
	b.clock.advance(failureTTL)
	b.expect(q, Miss)

	s.start(at)
	if _, status := b.resolve(q); status != Hit {
		t.Errorf("DNS is back: %v", status)
	}
}

// TestStoppedAndIdle: a place that nobody called for a while, and DNS is gone: the first request waits for the failure, and then
// the old answer serves.
func TestStoppedAndIdle(t *testing.T) {
	s := newNameserver(t, gateway)
	b := newBed(t, Config{}, s)
	q := query("gw.test:5060", only4)
	b.resolve(q)
	s.stop()
	b.clock.advance(time.Hour)
	b.expect(q, Miss)
	if hops, status := b.resolve(q); status != Stale || len(hops) != 1 {
		t.Errorf("%v", status)
	}
	n := b.Counters().Lookups
	for range 100 {
		b.expect(q, Stale)
	}
	if b.Counters().Lookups != n {
		t.Error("each call asks a dead server again")
	}
}

func (b *bed) hashOf(q Query) (uint64, []byte) {
	rt, _ := q.route(false, bothFamilies)
	var key [keySpace]byte
	n, _ := b.cache.appendKey(&key, rt, q.Host)
	return b.cache.hash(key[:n]), key[seedSpace:n]
}

// TestShared: what the same DNS questions answer is one place.
func TestShared(t *testing.T) {
	s := newNameserver(t, gateway)
	b := newBed(t, Config{}, s)
	for _, w := range []string{"gw.test:5060", "GW.Test:5060 udp", "gw.test.:5070 tcp", "gw.test:1 sips", "gw.test:2 tls"} {
		if _, status := b.resolve(query(w, only4)); status != Hit {
			t.Error(w, status)
		}
	}
	if n := s.total.Load(); n != 2 { // TLS has a name to prove
		t.Errorf("%d questions", n)
	}
}

// TestFlood: a million names that somebody made up push out neither the bound of the cache nor what is in use.
func TestFlood(t *testing.T) {
	const entries = 1 << 12
	s := newNameserver(t, gateway)
	b := newBed(t, Config{Entries: entries}, s)
	q := query("gw.test:5060", only4)
	b.resolve(q)
	b.clock.advance(time.Duration(usedEvery))
	b.expect(q, Hit) // it is in regular use
	status := Negative
	names := 1_000_000
	if raceEnabled {
		names /= 10
	}
	for i := range names {
		if i%1000 == 0 {
			b.clock.advance(10 * time.Millisecond)
			b.expect(q, Hit)
		}
		if i == names/2 {
			status = Hit // and now names that exist, in a domain of the flooder
		}
		flood := Query{Host: fmt.Appendf(nil, "%d.evil.test", i), Port: 5060, Reach: only4}
		hash, key := b.hashOf(flood)
		now := b.clock.now()
		b.cache.put(&place{key: string(key), hash: hash, status: status, fetched: now, due: now.Add(time.Minute), expires: now.Add(time.Minute), gone: now.Add(time.Hour)}, now)
	}
	if n := b.Counters().Entries; n > entries || n < entries/2 {
		t.Errorf("%d entries of %d", n, entries)
	}
	if _, n := b.only(); n > entries {
		t.Errorf("%d places", n)
	}
	if n := b.Counters().Evictions; n < uint64(names*9/10) {
		t.Errorf("%d evictions", n)
	}
	b.expect(q, Hit)
}

// TestEviction: what is over goes first, then what says no, then what was used least lately.
func TestEviction(t *testing.T) {
	c := newCache(ways, 1)
	now := transport.Instant(time.Hour)
	add := func(name string, status Status, used, gone time.Duration) {
		key := string([]byte{byte(addresses), 0, 1}) + name
		p := &place{key: key, hash: xxh(c, key), status: status, fetched: now, gone: now.Add(gone)}
		p.used.Store(int64(now.Add(used)))
		c.put(p, now)
	}
	there := func(name string) bool {
		key := string([]byte{byte(addresses), 0, 1}) + name
		return c.find(xxh(c, key), []byte(key)) != nil
	}
	add("over", Hit, 9*time.Second, 0)
	add("no-new", Negative, 8*time.Second, time.Hour)
	add("no-old", Failed, 7*time.Second, time.Hour)
	add("regular", Hit, 0, time.Hour)
	regular := string([]byte{byte(addresses), 0, 1}) + "regular"
	c.find(xxh(c, regular), []byte(regular)).regular.Store(true)
	for i := range 4 {
		add(fmt.Sprintf("yes%d", i), Hit, time.Duration(1+i)*time.Second, time.Hour)
	}
	for i, victim := range []string{"over", "no-old", "no-new", "yes0", "yes1", "yes2", "yes3", "new0"} {
		if !there(victim) {
			t.Fatalf("%s went too early", victim)
		}
		add(fmt.Sprintf("new%d", i), Hit, time.Duration(100+i)*time.Second, time.Hour)
		if there(victim) {
			t.Fatalf("%s should have gone", victim)
		}
	}
	if n := c.count.Load(); n != ways || !there("regular") {
		t.Errorf("%d entries, the regular one is there: %v", n, there("regular"))
	}
}

func xxh(c *cache, key string) uint64 {
	var b [keySpace]byte
	n, _ := c.appendKey(&b, route{kind(key[0]), transport.Protocol(key[1]), Reach(key[2])}, []byte(key[keyFields:]))
	return c.hash(b[:n])
}

// TestCacheConcurrent: readers and writers at once; each reader finds the place of its name or nothing. A map with a mutex says
// which places were put last.
func TestCacheConcurrent(t *testing.T) {
	c := newCache(64, 3)
	now := transport.Instant(time.Hour)
	var mu sync.Mutex
	model := map[string]uint32{}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := random(g)
			for range 20_000 {
				key := string([]byte{byte(addresses), 0, 1}) + fmt.Sprint(rnd.below(100))
				hash := xxh(c, key)
				if g%2 == 0 {
					mu.Lock()
					model[key]++
					c.put(&place{key: key, hash: hash, status: Hit, gone: now.Add(time.Hour), name: model[key]}, now)
					if p := c.find(hash, []byte(key)); p == nil || p.name != model[key] {
						t.Errorf("%q: what was just put is not there", key)
					}
					mu.Unlock()
					continue
				}
				mu.Lock()
				least := model[key]
				mu.Unlock()
				if p := c.find(hash, []byte(key)); p != nil && (p.key != key || p.name < least) {
					t.Errorf("looked for %q (%d), found %q (%d)", key, least, p.key, p.name)
				}
			}
		})
	}
	wg.Wait()
	n := uint64(0)
	for i := range c.sets {
		for j := range c.sets[i].places {
			if c.sets[i].places[j].Load() != nil {
				n++
			}
		}
	}
	if n > 64 || n != c.count.Load() {
		t.Errorf("%d places, %d counted", n, c.count.Load())
	}
}

// TestDowngrade holds RFC 3263 section 7: NAPTR records that cease to offer SIPS are noticed, and no answer is no reason to do
// without TLS.
func TestDowngrade(t *testing.T) {
	const secure = `
		d.test. 100 NAPTR 1 1 "s" "SIPS+D2T" "" _sips._tcp.d.test.
		d.test. 100 NAPTR 2 1 "s" "SIP+D2U" "" _sip._udp.d.test.
		_sips._tcp.d.test. 100 SRV 0 0 5061 x.test.
		_sip._udp.d.test. 100 SRV 0 0 5060 x.test.
		x.test. 100 A 192.0.2.1
	`
	s := newNameserver(t, secure)
	b := newBed(t, Config{}, s)
	q := query("d.test", only4)
	if hops, _ := b.resolve(q); b.list(hops) != "tls(d.test):192.0.2.1:5061" {
		t.Fatal(b.list(hops))
	}
	// Somebody lets no NAPTR answer through.
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if q.Question[0].Qtype == dns.TypeNAPTR {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			return true
		}
		return false
	})
	b.clock.advance(time.Hour)
	if hops, status := b.resolve(q); status != Stale || b.list(hops) != "tls(d.test):192.0.2.1:5061" {
		t.Errorf("%v %s", status, b.list(hops))
	}
	// Somebody, or the domain itself, takes the record away.
	s.set(nil)
	s.load(`
		d.test. 100 NAPTR 2 1 "s" "SIP+D2U" "" _sip._udp.d.test.
		_sip._udp.d.test. 100 SRV 0 0 5060 x.test.
		x.test. 100 A 192.0.2.1
	`)
	b.clock.advance(time.Minute)
	b.expect(q, Stale)
	b.until("the other transport", func() bool {
		hops, _ := b.Lookup(&q, nil, b.clock.now())
		return b.list(hops) == "udp:192.0.2.1:5060"
	})
	if n := b.Counters().Downgrades; n != 1 {
		t.Errorf("%d downgrades", n)
	}
	if m := <-b.warn; m != "dns: the NAPTR records of d.test no longer offer SIPS" {
		t.Error(m)
	}
}
