package resolve

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sipedge/transport"
)

// TestWeights holds RFC 2782's lots: how often each target comes first, and second, against the figures of its algorithm.
func TestWeights(t *testing.T) {
	const draws = 100_000
	for _, weights := range [][]uint16{{1, 2}, {60, 20, 20}, {0, 10}, {0, 0, 8}, {0, 0, 0}, {65535, 65535}, {1, 0}} {
		var zone strings.Builder
		for i, w := range weights {
			fmt.Fprintf(&zone, "_sip._udp.d.test. 300 SRV 1 %d 5060 t%d.test.\nt%d.test. 300 A 192.0.2.%d\n", w, i, i, i)
		}
		zone.WriteString("_sip._udp.d.test. 300 SRV 2 1 5060 last.test.\nlast.test. 300 A 192.0.2.99\n")
		b := newBed(t, Config{}, newNameserver(t, zone.String()))
		q := query("d.test udp", only4)
		b.resolve(q)
		// What the algorithm says: of a number in 0 to sum, 0 falls to one of the weightless if there are any.
		share := func(of []uint16, i int) float64 {
			sum, zeros := 1.0, 0.0
			for _, w := range of {
				sum += float64(w)
				if w == 0 {
					zeros++
				}
			}
			switch {
			case of[i] == 0:
				return 1 / sum / zeros
			case zeros > 0:
				return float64(of[i]) / sum
			}
			// Without them, 0 falls to the first in our order of names.
			if i == 0 {
				return (float64(of[i]) + 1) / sum
			}
			return float64(of[i]) / sum
		}
		first := make([]float64, len(weights))
		second := make([]float64, len(weights))
		var dst []transport.Hop
		for i := range draws {
			q.Hash = uint64(i + 1)
			var s Status
			dst, s = b.Lookup(&q, dst[:0], b.clock.now())
			if s != Hit || len(dst) != len(weights)+1 || dst[len(weights)].IP[15] != 99 {
				t.Fatalf("weights %v: %v %s", weights, s, b.list(dst))
			}
			first[dst[0].IP[15]]++
			second[dst[1].IP[15]]++
		}
		check := func(place string, i int, got, p float64) {
			// Five standard deviations; the draws are the same in each run.
			if want, sigma := p*draws, math.Sqrt(draws*p*(1-p)); math.Abs(got-want) > 5*sigma+1 {
				t.Errorf("weights %v: number %d came %s %.0f times, want %.0f", weights, i, place, got, want)
			}
		}
		for i := range weights {
			check("first", i, first[i], share(weights, i))
			p := 0.0
			for j := range weights {
				if j != i {
					rest := slices.Delete(slices.Clone(weights), j, j+1)
					k := i
					if j < i {
						k--
					}
					p += share(weights, j) * share(rest, k)
				}
			}
			check("second", i, second[i], p)
		}
	}
}

// TestAddressesTakeTurns: the addresses of one name share the load, each family by itself.
func TestAddressesTakeTurns(t *testing.T) {
	b := newBed(t, Config{}, newNameserver(t, `
		d.test. 300 A 192.0.2.1
		d.test. 300 A 192.0.2.2
		d.test. 300 A 192.0.2.3
		d.test. 300 AAAA 2001:db8::1
		d.test. 300 AAAA 2001:db8::2
	`))
	q := query("d.test:5060", everything)
	b.resolve(q)
	seen := map[string]int{}
	for i := range 6000 {
		q.Hash = uint64(i + 1)
		hops, _ := b.Lookup(&q, nil, b.clock.now())
		if len(hops) != 5 || hops[0].Is4() || hops[1].Is4() || !hops[2].Is4() {
			t.Fatal(b.list(hops))
		}
		seen[hops[0].AddrPort().String()]++
		seen[hops[2].AddrPort().String()]++
	}
	for a, want := range map[string]int{
		"[2001:db8::1]:5060": 3000, "[2001:db8::2]:5060": 3000, "192.0.2.1:5060": 2000, "192.0.2.2:5060": 2000, "192.0.2.3:5060": 2000,
	} {
		if n := seen[a]; n < want-250 || n > want+250 {
			t.Errorf("%s came first %d times of about %d", a, n, want)
		}
	}
}

// TestDeterministic holds RFC 3263 section 4.4: the same request goes the same way, whatever order the records came in.
func TestDeterministic(t *testing.T) {
	var lines []string
	for i := range 12 {
		lines = append(lines, fmt.Sprintf("_sip._udp.d.test. 300 SRV %d %d 5060 t%d.test.", i%2, i%3, i), fmt.Sprintf("t%d.test. 300 A 192.0.2.%d", i, i))
	}
	forward := strings.Join(lines, "\n")
	slices.Reverse(lines)
	backward := strings.Join(lines, "\n")
	one, two := newBed(t, Config{}, newNameserver(t, forward)), newBed(t, Config{}, newNameserver(t, backward))
	orders := map[string]bool{}
	for i := range 200 {
		q := query("d.test udp", only4)
		q.Hash = uint64(i)*0x9e3779b97f4a7c15 + 1
		h1, _ := one.resolve(q)
		h2, _ := two.resolve(q)
		again, _ := one.resolve(q)
		if one.list(h1) != two.list(h2) || one.list(h1) != one.list(again) {
			t.Fatalf("hash %d: %s and %s and %s", q.Hash, one.list(h1), two.list(h2), one.list(again))
		}
		orders[one.list(h1)] = true
	}
	if len(orders) < 50 {
		t.Errorf("200 requests went only %d ways", len(orders))
	}
	// And without a hash by chance.
	q := query("d.test udp", only4)
	q.Hash = 0
	clear(orders)
	for range 200 {
		h, _ := one.resolve(q)
		orders[one.list(h)] = true
	}
	if len(orders) < 50 {
		t.Errorf("200 requests by chance went only %d ways", len(orders))
	}
}

// TestBounds: a domain with more of everything than anyone needs.
func TestBounds(t *testing.T) {
	var zone strings.Builder
	for i := range 100 {
		fmt.Fprintf(&zone, "_sip._udp.d.test. 300 SRV %d 0 5060 t%d.test.\n", i, i)
		for j := range 20 {
			fmt.Fprintf(&zone, "t%d.test. 300 A 10.0.%d.%d\n", i, i, j+1)
		}
	}
	for i := range 50 {
		fmt.Fprintf(&zone, "d.test. 300 NAPTR 1 %d \"s\" \"SIP+D2U\" \"\" n%d.test.\n", i, i)
	}
	s := newNameserver(t, zone.String())
	b := newBed(t, Config{}, s)
	hops, status := b.resolve(query("d.test udp", only4))
	if status != Hit || len(hops) != MaxHops || hops[0].IP[14] != 0 || hops[15].IP[14] != 1 {
		t.Errorf("%v %s", status, b.list(hops))
	}
	if n := s.total.Load(); n > maxQuestions {
		t.Errorf("%d questions", n)
	}
	key, _ := b.only()
	if len(key.targets) > maxTargets || len(key.ips) > maxPlaceAddresses {
		t.Errorf("%d targets, %d addresses kept", len(key.targets), len(key.ips))
	}
	b.resolve(query("d.test", only4))
	if n := s.times("n9.test", "SRV"); n != 0 {
		t.Error("the tenth NAPTR record was followed")
	}
}

// only is the only place in the cache.
func (b *bed) only() (p *place, n int) {
	for i := range b.cache.sets {
		for j := range b.cache.sets[i].places {
			if q := b.cache.sets[i].places[j].Load(); q != nil {
				p, n = q, n+1
			}
		}
	}
	return p, n
}

// TestSameAddressTwice: trying the same server twice helps nobody.
func TestSameAddressTwice(t *testing.T) {
	b := newBed(t, Config{}, newNameserver(t, `
		_sip._udp.d.test. 300 SRV 1 0 5060 one.test.
		_sip._udp.d.test. 300 SRV 2 0 5060 two.test.
		_sip._udp.d.test. 300 SRV 3 0 5070 two.test.
		one.test. 300 A 192.0.2.1
		two.test. 300 A 192.0.2.1
		two.test. 300 A 192.0.2.2
	`))
	hops, _ := b.resolve(query("d.test udp", only4))
	got := b.list(hops)
	if !strings.HasPrefix(got, "udp:192.0.2.1:5060 udp:192.0.2.2:5060 udp:192.0.2.") || len(hops) != 4 {
		t.Error(got)
	}
}

// TestBlock holds RFC 3263 section 4.3 as far as it is here: hops that failed come last, in their order, until their time is over.
func TestBlock(t *testing.T) {
	b := newBed(t, Config{}, newNameserver(t, `
		_sip._udp.d.test. 30000 SRV 1 0 5060 one.test.
		_sip._udp.d.test. 30000 SRV 2 0 5060 two.test.
		_sip._udp.d.test. 30000 SRV 3 0 5060 three.test.
		one.test. 30000 A 192.0.2.1
		two.test. 30000 A 192.0.2.2
		three.test. 30000 A 192.0.2.3
	`))
	q := query("d.test udp", only4)
	expect := func(what, want string) {
		t.Helper()
		hops, s := b.resolve(q)
		var got []string
		for _, h := range hops {
			got = append(got, fmt.Sprint(h.IP[15]))
		}
		if strings.Join(got, " ") != want || s != Hit {
			t.Errorf("%s: %v %v, want %s", what, s, got, want)
		}
	}
	expect("none is blocked", "1 2 3")
	hops, _ := b.resolve(q)
	now := b.clock.now()
	b.Block(&hops[0], now.Add(10*time.Second))
	expect("the first is", "2 3 1")
	b.Block(&hops[1], now.Add(20*time.Second))
	expect("two are", "3 1 2")
	b.Block(&hops[2], now.Add(30*time.Second))
	expect("all are", "1 2 3")
	if !b.Blocked(&hops[2], b.clock.now()) {
		t.Error("Blocked does not know")
	}
	other := hops[2]
	other.Proto = transport.TCP
	if b.Blocked(&other, b.clock.now()) {
		t.Error("UDP blocks TCP")
	}
	other = hops[2]
	other.Port++
	if b.Blocked(&other, b.clock.now()) {
		t.Error("a port blocks another")
	}
	b.clock.advance(10 * time.Second)
	expect("the first is back", "1 2 3")
	b.Block(&hops[1], 0)
	b.Block(&hops[0], b.clock.now().Add(time.Second))
	expect("the second is forgiven", "2 1 3")
	b.clock.advance(20 * time.Second)
	expect("all are back", "1 2 3")
}

// TestBlocklistAgainstMap plays random blocks on the list and on a map. A hop of the map may be missing in the list only when its
// bucket was full of later ends.
func TestBlocklistAgainstMap(t *testing.T) {
	var b blocklist
	b.seed = 7
	model := map[transport.Hop]transport.Instant{}
	rnd := random(1)
	now := transport.Instant(time.Hour)
	for range 20_000 {
		h := transport.Hop{Addr: transport.Addr{Port: uint16(5060 + rnd.below(1000))}, Proto: transport.UDP}
		now = now.Add(time.Duration(rnd.below(20)) * time.Millisecond)
		switch rnd.below(3) {
		case 0:
			until := now.Add(time.Duration(rnd.below(5000)) * time.Millisecond)
			b.block(&h, until)
			model[h] = until
		case 1:
			if rnd.below(10) == 0 {
				b.block(&h, 0)
				delete(model, h)
			}
		default:
			got, want := b.any(now) && b.blocked(&h, now), model[h] > now
			if got && !want {
				t.Fatalf("port %d is blocked and should not be", h.Port)
			}
			if !got && want {
				bucket, _ := b.find(&h)
				for i := range bucket {
					if transport.Instant(bucket[i].Load()&untilMask)*milli < model[h] {
						t.Fatalf("port %d is forgotten though its bucket has a slot that ends sooner", h.Port)
					}
				}
			}
		}
	}
}
