package txn

import (
	"testing"
	"time"

	"sipedge/transport"
)

func TestWheelFiresInTime(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 100})
	l := s.Local(0)
	for _, d := range []time.Duration{
		1, time.Microsecond, time.Millisecond, 500 * time.Millisecond, 32 * time.Second,
		34 * time.Second, 35 * time.Second, 3 * time.Minute, 3*time.Hour + 30*time.Minute, 48 * time.Hour,
	} {
		start := l.wheel.now()
		c, _ := l.MatchOrCreate(key(uint64(d)))
		r := c.Ref()
		deadline := start.Add(d)
		l.Arm(c, deadline)
		l.Release(c)
		fired, hops := transport.Instant(0), 0
		for fired == 0 {
			now := l.NextDeadline()
			if now == 0 {
				t.Fatalf("%v: nothing to wait for", d)
			}
			got, at, ok := l.Due(now)
			if !ok {
				t.Fatalf("%v: NextDeadline %v, nothing due", d, now)
			}
			if got != r {
				t.Fatalf("%v: another context", d)
			}
			c, o := l.Claim(got)
			if o != Claimed || !l.Fired(c, at) {
				t.Fatalf("%v: the entry does not count", d)
			}
			if now >= deadline {
				fired = now
				l.End(c)
			} else {
				hops++
				l.Arm(c, deadline)
				l.Release(c)
			}
		}
		if late := fired.Sub(deadline); late < 0 || late > wheelTick {
			t.Errorf("%v: late by %v", d, late)
		}
		if most := int(d/(34*time.Second)) + 1; hops > most {
			t.Errorf("%v: armed again %d times", d, hops)
		}
		if n := l.NextDeadline(); n != 0 {
			t.Errorf("%v: something left at %v", d, n)
		}
		l.Quiesce()
	}
}
