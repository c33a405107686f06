package txn

import (
	"runtime"
	"testing"

	"sipedge/transport"
)

// BenchmarkMemory fills a store with transactions as a busy edge has them and reports the heap bytes
// each takes, everything included: slabs, what is retired or grown ahead, table, wheel.
//
//	finished_invite      2xx passed on: no bytes, the branch stays for timer M
//	finished_non_invite  the last response of 450 bytes stays for timer J, the branch is gone;
//	                     reported without the slot of the response
//	ringing              request of 800 bytes, edits of 150, a 180 of 450, the branch
func BenchmarkMemory(b *testing.B) {
	const inFlight = 1000 // answered so many calls later
	msg := make([]byte, 800)
	for _, c := range []struct {
		name   string
		live   int
		answer func(l *Local, c *ResponseContext)
		apart  int
	}{
		{"finished_invite", 1 << 20, func(l *Local, c *ResponseContext) {
			l.Drop(&c.Request)
			l.Drop(&c.Response)
			l.Drop(&l.First(c).Edits)
		}, 0},
		{"finished_non_invite", 1 << 20, func(l *Local, c *ResponseContext) {
			l.Drop(&c.Request)
			l.DropBranches(c)
		}, 512},
		{"ringing", 100_000, func(l *Local, c *ResponseContext) {}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			var bytes, emergencies uint64
			for b.Loop() {
				before := heap()
				s := NewStore(StoreConfig{MaxTransactions: 2 * c.live})
				l := s.Local(0)
				now := transport.Instant(1)
				for i := range uint64(c.live + inFlight) {
					now += 25_000 // 40,000 a second
					if i < uint64(c.live) {
						x, _ := l.MatchOrCreate(key(i))
						x.Request, _ = l.Keep(msg)
						x.Response, _ = l.Keep(msg[:450])
						l.AddBranch(x).Edits, _ = l.Keep(msg[:150])
						l.Arm(x, now+500e6)
						l.Release(x)
					}
					if i >= inFlight {
						x, o := l.Match(key(i - inFlight))
						if o != Claimed {
							b.Fatalf("context %d: %v", i-inFlight, o)
						}
						c.answer(l, x)
						l.Release(x)
					}
					for {
						r, at, ok := l.Due(now)
						if !ok {
							break
						}
						if x, o := l.Claim(r); o == Claimed {
							if l.Fired(x, at) {
								l.Arm(x, now+180e9) // far enough that nothing ends here
							}
							l.Release(x)
						}
					}
					if i%32 == 0 {
						l.Quiesce()
					}
				}
				l.Idle()
				bytes = heap() - before
				st := s.Stats()
				emergencies = st.Emergencies
				if st.Live != uint64(c.live) || st.Full+st.BytesFull+st.FullBranches > 0 {
					b.Fatalf("%+v", st)
				}
				s.Close()
			}
			b.ReportMetric(float64(bytes)/float64(c.live)-float64(c.apart), "B/context")
			b.ReportMetric(float64(emergencies), "emergencies")
		})
	}
}

// heap is what the heap holds after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
