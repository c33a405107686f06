package resolve

import (
	"fmt"
	"testing"
	"time"

	"sipedge/transport"
)

const busyDomain = `
	d.test. 3000 NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.d.test.
	_sip._udp.d.test. 3000 SRV 1 60 5060 t1.test.
	_sip._udp.d.test. 3000 SRV 1 20 5060 t2.test.
	_sip._udp.d.test. 3000 SRV 1 20 5060 t3.test.
	_sip._udp.d.test. 3000 SRV 2 1 5060 t4.test.
	t1.test. 3000 A 192.0.2.1
	t2.test. 3000 A 192.0.2.2
	t3.test. 3000 A 192.0.2.3
	t4.test. 3000 A 192.0.2.4
	one.test. 3000 A 192.0.2.1
`

// TestAllocs: the path of a packet allocates nothing, whatever Lookup says, a refresh that begins included.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBed(t, Config{}, newNameserver(t, busyDomain))
	dst := make([]transport.Hop, 0, MaxHops)
	var status Status
	for _, tt := range []struct {
		q    Query
		want Status
	}{
		{query("d.test", only4), Hit},
		{query("one.test:5060", only4), Hit},
		{query("one.test:5061 tls", only4), Hit},
		{query("none.test:5061 tls", only4), Negative},
		{query("192.0.2.1", only4), Hit},
		{query("[2001:db8::1]:5070 tcp", only6), Hit},
		{query("x.test ws", only4), Unsupported},
	} {
		b.resolve(tt.q)
		for _, hash := range []uint64{0, 1} {
			tt.q.Hash = hash
			if n := testing.AllocsPerRun(1000, func() { dst, status = b.Lookup(&tt.q, dst[:0], b.clock.now()) }); n != 0 || status != tt.want {
				t.Errorf("%s: %v, %v allocations", tt.q.Host, status, n)
			}
		}
	}
	q := query("unknown.test", only4)
	if n := testing.AllocsPerRun(1000, func() { dst, status = b.Lookup(&q, dst[:0], b.clock.now()) }); n != 0 || status != Miss {
		t.Errorf("a miss: %v, %v allocations", status, n)
	}
	q = query("d.test", only4)
	hop := transport.Hop{Proto: transport.UDP}
	b.Lookup(&q, dst[:0], b.clock.now())
	if n := testing.AllocsPerRun(1000, func() {
		hop.Port++
		b.Block(&hop, b.clock.now().Add(time.Minute))
		b.Lookup(&q, dst[:0], b.clock.now())
	}); n != 0 {
		t.Errorf("Block: %v allocations", n)
	}
}

// TestAllocsOfARefresh: the Lookup that begins a refresh is on the path of a packet too.
func TestAllocsOfARefresh(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBed(t, Config{}, newNameserver(t, busyDomain))
	b.Close() // nobody works, so that nothing but Lookup can allocate
	b.desk.closed.Store(false)
	defer b.desk.closed.Store(true)
	now := b.clock.now()
	q := query("d.test", only4)
	hash, key := b.hashOf(q)
	b.cache.put(&place{key: string(key), hash: hash, status: Hit, fetched: now, expires: now.Add(time.Hour), gone: now.Add(time.Hour)}, now)
	dst := make([]transport.Hop, 0, MaxHops)
	if n := testing.AllocsPerRun(1000, func() {
		b.cache.find(hash, key).again.Store(0)
		b.Lookup(&q, dst, now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(b.desk.jobs) == 0 {
		t.Error("no refresh began")
	}
}

func BenchmarkLookup(bm *testing.B) {
	b := newBed(bm, Config{}, newNameserver(bm, busyDomain))
	for _, tt := range []struct{ name, query string }{
		{"address", "one.test:5060"}, {"naptr_srv_4_targets", "d.test"}, {"literal", "192.0.2.1:5060"}, {"miss", "unknown.test:5060"},
	} {
		bm.Run(tt.name, func(bm *testing.B) {
			q := query(tt.query, only4)
			if tt.name != "miss" {
				b.resolve(q)
			}
			q.Hash = 0
			now := b.clock.now()
			dst := make([]transport.Hop, 0, MaxHops)
			bm.ReportAllocs()
			for bm.Loop() {
				dst, _ = b.Lookup(&q, dst[:0], now)
			}
		})
	}
	bm.Run("10000_places", func(bm *testing.B) {
		queries := make([]Query, 10_000)
		now := b.clock.now()
		one := query("one.test:5060", only4)
		p := b.cache.find(b.hashOf(one))
		for i := range queries {
			queries[i] = query(fmt.Sprintf("gateway-%d.carrier.test:5060", i), only4)
			hash, key := b.hashOf(queries[i])
			b.cache.put(&place{key: string(key), hash: hash, status: Hit, fetched: now, due: p.due, expires: p.expires, gone: p.gone, targets: p.targets, ips: p.ips}, now)
		}
		dst := make([]transport.Hop, 0, MaxHops)
		bm.ReportAllocs()
		for i := 0; bm.Loop(); i++ {
			dst, _ = b.Lookup(&queries[i*7919%len(queries)], dst[:0], now)
		}
	})
	bm.Run("parallel", func(bm *testing.B) {
		now := b.clock.now()
		bm.RunParallel(func(pb *testing.PB) {
			q := query("d.test", only4)
			q.Hash = 0
			dst := make([]transport.Hop, 0, MaxHops)
			for pb.Next() {
				dst, _ = b.Lookup(&q, dst[:0], now)
			}
		})
	})
}
