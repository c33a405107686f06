package overload

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sipedge/transport"
)

func ip(s string) *[16]byte {
	a := netip.MustParseAddr(s).As16()
	return &a
}

func prefixes(s ...string) (p []netip.Prefix) {
	for _, x := range s {
		p = append(p, netip.MustParsePrefix(x))
	}
	return p
}

func guard(tb testing.TB, r Rules) *Guard {
	tb.Helper()
	g := NewGuard()
	if err := g.Set(r); err != nil {
		tb.Fatal(err)
	}
	return g
}

const start = transport.Instant(time.Hour)

func TestRateOfOneSource(t *testing.T) {
	g := guard(t, Rules{Rates: []Rate{{Addresses: prefixes("0.0.0.0/0"), IPv4Bits: 32, IPv6Bits: 64, PerSecond: 10, Burst: 5}}})
	passed := func(from string, now transport.Instant, n int) (passed int) {
		for range n {
			if g.Take(ip(from), now) == Pass {
				passed++
			}
		}
		return passed
	}
	f := func(from string, after time.Duration, n, want int) {
		t.Helper()
		if got := passed(from, start.Add(after), n); got != want {
			t.Errorf("%s after %v: %d of %d passed, want %d", from, after, got, n, want)
		}
	}
	f("192.0.2.1", 0, 20, 5)
	f("192.0.2.2", 0, 20, 5) // each for itself
	f("192.0.2.1", 0, 20, 0)
	f("192.0.2.1", 99*time.Millisecond, 20, 0)
	f("192.0.2.1", 101*time.Millisecond, 20, 1)
	f("192.0.2.1", 401*time.Millisecond, 20, 3)
	f("192.0.2.1", 10*time.Second, 20, 5)
	f("192.0.2.1", 100*time.Hour, 20, 5)
	f("192.0.2.2", 500*time.Hour, 20, 5) // the clock of the buckets has wrapped several times
	f("127.0.0.1", 0, 20, 20)
	f("::1", 0, 20, 20)
	f("2001:db8::1", 0, 20, 20) // no rule
}

// A steady flood gets exactly the rate through, whatever the rate is.
func TestRateIsKept(t *testing.T) {
	for _, perSecond := range []int{1, 7, 100, 12345, 1_000_000, MaxRate} {
		g := guard(t, Rules{Rates: []Rate{{Addresses: prefixes("::/0"), IPv6Bits: 64, PerSecond: perSecond, Burst: 1}}})
		passed, n := 0, 20000
		gap := time.Duration(float64(time.Second) / float64(perSecond) / 4)
		if gap == 0 {
			t.Fatal("no gap")
		}
		for i := range n {
			if g.Take(ip("2001:db8::1"), start.Add(time.Duration(i)*gap)) == Pass {
				passed++
			}
		}
		seconds := (time.Duration(n) * gap).Seconds()
		got := float64(passed) / seconds
		if math.Abs(got/float64(perSecond)-1) > 0.05 {
			t.Errorf("%d a second: %.1f passed", perSecond, got)
		}
	}
}

func TestWhatMakesASource(t *testing.T) {
	f := func(bits4, bits6 int, a, b string, same bool) {
		t.Helper()
		g := guard(t, Rules{Rates: []Rate{{Addresses: prefixes("0.0.0.0/0", "::/0"), IPv4Bits: bits4, IPv6Bits: bits6, PerSecond: 1}}})
		g.Take(ip(a), start)
		if got := g.Take(ip(b), start) == Drop; got != same {
			t.Errorf("/%d and /%d: %s and %s are one source: %v, want %v", bits4, bits6, a, b, got, same)
		}
	}
	f(32, 64, "192.0.2.1", "192.0.2.1", true)
	f(32, 64, "192.0.2.1", "192.0.2.2", false)
	f(24, 48, "192.0.2.1", "192.0.2.200", true)
	f(24, 48, "192.0.2.1", "192.0.3.1", false)
	f(25, 48, "192.0.2.1", "192.0.2.129", false)
	f(32, 64, "2001:db8::1", "2001:db8::2:3:4", true)
	f(32, 64, "2001:db8:0:1::1", "2001:db8:0:2::1", false)
	f(32, 48, "2001:db8:0:1::1", "2001:db8:0:2::1", true)
	f(32, 63, "2001:db8:0:2::1", "2001:db8:0:3::1", true)
	f(0, 0, "192.0.2.1", "203.0.113.9", true)
	f(0, 0, "2001:db8::1", "fe80::1", true)
	f(0, 0, "2001:db8::1", "192.0.2.1", false) // the two families stay two
}

// "The first entry with its address counts; loopback is free unless an entry names it."
func TestFirstRateCounts(t *testing.T) {
	limit := func(n int, p ...string) Rate {
		return Rate{Addresses: prefixes(p...), IPv4Bits: 32, IPv6Bits: 128, PerSecond: 1, Burst: n, Reject: n == 3}
	}
	g := guard(t, Rules{Rates: []Rate{
		limit(2, "192.0.2.0/24"),
		limit(3, "192.0.2.128/25", "198.51.100.0/24", "2001:db8::/32"),
		limit(4, "0.0.0.0/0", "127.0.0.7/32", "::/0"),
		limit(5, "203.0.113.1/32"),
	}})
	f := func(from string, want int, over Verdict) {
		t.Helper()
		for i := range want {
			if v := g.Take(ip(from), start); v != Pass {
				t.Errorf("%s: request %d gets %v", from, i+1, v)
			}
		}
		if v := g.Take(ip(from), start); v != over {
			t.Errorf("%s: request %d gets %v, want %v", from, want+1, v, over)
		}
	}
	f("192.0.2.1", 2, Drop)
	f("192.0.2.200", 2, Drop) // the second rule is nearer, and later
	f("198.51.100.1", 3, Reject)
	f("2001:db8::1", 3, Reject)
	f("203.0.113.1", 4, Drop)
	f("2001:db9::1", 4, Drop)
	f("127.0.0.7", 4, Drop)
	f("127.0.0.1", 50, Pass)
	f("::1", 50, Pass)
}

func TestRulesAreRefused(t *testing.T) {
	f := func(r Rules) {
		t.Helper()
		g := guard(t, Rules{Rates: []Rate{{Addresses: prefixes("192.0.2.0/24"), IPv4Bits: 32, PerSecond: 1}}})
		if g.Set(r) == nil {
			t.Errorf("taken: %+v", r)
		}
		if g.Take(ip("192.0.2.1"), start); g.Take(ip("192.0.2.1"), start) != Drop {
			t.Error("the rules before are gone")
		}
	}
	f(Rules{Rates: []Rate{{PerSecond: 0}}})
	f(Rules{Rates: []Rate{{PerSecond: MaxRate + 1}}})
	f(Rules{Rates: []Rate{{PerSecond: 1, IPv4Bits: 33}}})
	f(Rules{Rates: []Rate{{PerSecond: 1, Addresses: []netip.Prefix{{}}}}})
	f(Rules{Rates: make([]Rate, maxRates+1)})
	f(Rules{Scanners: []Pattern{{Text: ""}}})
	f(Rules{Scanners: []Pattern{{Text: "x", Header: "X-Unheard-Of"}}})
}

// The buckets against a map without bound: the same verdicts as long as there is room.
func TestBucketsAgreeWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &rule{bits: [2]uint8{128, 128}}
		r.increment = rapid.Uint64Range(1, 1<<30).Draw(t, "increment")
		r.tolerance = r.increment * rapid.Uint64Range(0, 50).Draw(t, "burst")
		r.longest = r.tolerance + r.increment
		b := newBuckets(1 << 14)
		times := map[byte]uint64{}
		now := uint64(start) >> tickShift
		for range rapid.IntRange(1, 300).Draw(t, "requests") {
			now += rapid.Uint64Range(0, 3*r.increment).Draw(t, "gap")
			who := byte(rapid.IntRange(0, 20).Draw(t, "who"))
			want := times[who] <= now+r.tolerance
			if want {
				times[who] = max(times[who], now) + r.increment
			}
			if got := b.take(&[16]byte{15: who}, r, 0, transport.Instant(now<<tickShift)); got != want {
				t.Fatalf("source %d passes: %v, want %v", who, got, want)
			}
		}
		if n := b.evicted.Load(); n != 0 {
			t.Fatalf("%d sources given up for 21", n)
		}
	})
}

// Several loops count one source together: not one request more than its burst passes.
func TestBucketsFromSeveralLoops(t *testing.T) {
	const loops, each, burst = 4, 5000, 1000
	g := guard(t, Rules{Rates: []Rate{{Addresses: prefixes("192.0.2.0/24"), IPv4Bits: 24, PerSecond: 1, Burst: burst}}})
	var passed atomic.Int64
	var all sync.WaitGroup
	for range loops {
		all.Go(func() {
			for i := range each {
				if g.Take(&[16]byte{10: 0xff, 11: 0xff, 12: 192, 14: 2, 15: byte(i)}, start) == Pass {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	// Who loses a word to others four times in a row passes uncounted; that is rare.
	if n := passed.Load(); n < burst || n > burst+burst/10 {
		t.Errorf("%d passed, want %d", n, burst)
	}
}

// A flood of invented addresses, fifty times as many as there is room for, does not make the table forget who really sends too
// much, and honest sources lose nothing.
func TestSpoofedFlood(t *testing.T) {
	b := newBuckets(1 << 10)
	r := &rule{bits: [2]uint8{128, 128}, increment: uint64(100*time.Millisecond) >> tickShift}
	r.tolerance = 20 * r.increment
	r.longest = r.tolerance + r.increment
	now := start
	heavy, spoofed := 0, uint64(0)
	honest, honestLost := 0, 0
	for i := range 50 << 10 {
		now = now.Add(100 * time.Microsecond)
		spoofed++
		var a [16]byte
		binary.BigEndian.PutUint64(a[8:], spoofed)
		a[0] = 1
		b.take(&a, r, 0, now)
		if i%10 == 0 && b.take(&[16]byte{0: 2}, r, 0, now) { // 1,000 a second, 10 allowed
			heavy++
		}
		if i%5000 == 0 { // 2 a second
			honest++
			if !b.take(&[16]byte{0: 3}, r, 0, now) {
				honestLost++
			}
		}
	}
	seconds := now.Sub(start).Seconds()
	if most := int(10*seconds) + 21; heavy > most {
		t.Errorf("%d requests of the heavy source passed in %.1f s, at most %d may", heavy, seconds, most)
	}
	if honestLost > 0 {
		t.Errorf("%d of %d honest requests lost", honestLost, honest)
	}
	if b.evicted.Load() == 0 {
		t.Error("nothing was given up: the test floods nothing")
	}
}

func TestGuardAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	g := guard(t, Rules{Rates: []Rate{{Addresses: prefixes("0.0.0.0/0", "::/0"), IPv4Bits: 32, IPv6Bits: 64, PerSecond: 100}}, Scanners: DefaultScanners})
	a := [16]byte{10: 0xff, 11: 0xff, 12: 192}
	n := uint32(0)
	if got := testing.AllocsPerRun(1000, func() {
		n++
		binary.BigEndian.PutUint32(a[12:], n*2654435761)
		g.Take(&a, start.Add(time.Duration(n)))
		g.Limits(&a)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkTake(b *testing.B) {
	g := guard(b, Rules{Rates: []Rate{{Addresses: prefixes("0.0.0.0/0", "10.0.0.0/8", "192.168.0.0/16"), IPv4Bits: 32, IPv6Bits: 64, PerSecond: 100}}})
	for name, sources := range map[string]uint32{"one": 1, "1k": 1 << 10, "1M": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			a := [16]byte{10: 0xff, 11: 0xff}
			n := uint32(0)
			for b.Loop() {
				n++
				binary.BigEndian.PutUint32(a[12:], n%sources*2654435761)
				g.Take(&a, start.Add(time.Duration(n)*time.Microsecond))
			}
		})
	}
}
