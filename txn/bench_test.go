package txn

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sipedge/transport"
)

// BenchmarkTable is the life of contexts among others: each turn makes one, finds one, ends one, with
// the claim taken and given up each time and a Quiesce per 32 turns. Reported per operation.
func BenchmarkTable(b *testing.B) {
	for _, live := range []uint64{1 << 10, 1 << 17, 1 << 20} {
		b.Run(fmt.Sprintf("live=%d", live), func(b *testing.B) {
			s := newTestStore(b, StoreConfig{MaxTransactions: int(2 * live)})
			l := s.Local(0)
			fillTable(b, l, live)
			b.ReportAllocs()
			n := live
			for b.Loop() {
				turn(l, n, live)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(3*b.N), "ns/table-op")
		})
	}
}

// BenchmarkTableParallel is the same by two loops at once, each ending and finding the other's.
func BenchmarkTableParallel(b *testing.B) {
	const live, loops = 1 << 17, 2
	s := newTestStore(b, StoreConfig{MaxTransactions: 4 * live, Loops: loops})
	var loop atomic.Int32
	b.SetParallelism(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		me := uint64(loop.Add(1) - 1)
		if me >= loops {
			for pb.Next() {
			}
			return
		}
		l := s.Local(int(me))
		n := uint64(0)
		for pb.Next() {
			k := key(n<<1 | me)
			if c, o := l.MatchOrCreate(k); o == Created {
				l.Release(c)
			}
			if n > 100 {
				if c, o := l.Match(key((n-100)<<1 | me ^ 1)); o == Claimed {
					l.End(c)
				}
			}
			if n++; n%32 == 0 {
				l.Quiesce()
			}
		}
		l.Idle()
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/table-op")
}

func fillTable(b *testing.B, l *Local, live uint64) {
	for i := range live {
		c, o := l.MatchOrCreate(key(i))
		if o != Created {
			b.Fatalf("%v", o)
		}
		l.Release(c)
		if i%32 == 0 {
			l.Quiesce()
		}
	}
	time.Sleep(100 * time.Millisecond) // the grower catches up
}

// turn makes context n, finds one from half the table ago, ends the oldest.
func turn(l *Local, n, live uint64) {
	c, _ := l.MatchOrCreate(key(n))
	l.Release(c)
	c, _ = l.Match(key(n - live/2))
	l.Release(c)
	c, _ = l.Match(key(n - live))
	l.End(c)
	if n%32 == 0 {
		l.Quiesce()
	}
}

// BenchmarkKeep keeps and drops a message of 500 bytes.
func BenchmarkKeep(b *testing.B) {
	l := newTestStore(b, StoreConfig{MaxTransactions: 1000}).Local(0)
	msg := make([]byte, 500)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		h, _ := l.Keep(msg)
		l.Drop(&h)
		if n++; n%32 == 0 {
			l.Quiesce()
		}
	}
}

// BenchmarkWheel arms and fires the timer of one context after another, 100,000 armed at any time.
func BenchmarkWheel(b *testing.B) {
	const armed = 100_000
	l := newTestStore(b, StoreConfig{MaxTransactions: armed}).Local(0)
	step := transport.Instant(32e9 / armed)
	now := transport.Instant(1)
	for i := range armed {
		l.wheel.insert(now+transport.Instant(i)*step, Ref{Slot: uint32(i), Gen: 1})
	}
	b.ReportAllocs()
	for b.Loop() {
		now += step
		for {
			r, _, ok := l.Due(now)
			if !ok {
				break
			}
			l.wheel.insert(now+32e9, r)
		}
		if l.NextDeadline() == 0 {
			b.Fatal("wheel ran empty")
		}
	}
}
