package transport

import (
	"testing"
	"time"
)

func TestBell(t *testing.T) {
	var b Bell
	at := func(ms int) Instant { return Instant(time.Second).Add(time.Duration(ms) * time.Millisecond) }
	f := func(want int) {
		t.Helper()
		if got := b.Delay(); got != time.Duration(want)*time.Millisecond {
			t.Errorf("%v, want %d ms", got, want)
		}
	}
	f(0)
	b.Ring(at(0))
	b.Ring(at(5)) // the first counts
	f(0)
	b.Turn(at(20))
	b.Turn(at(30)) // nobody has rung
	f(20)
	f(20)
	b.Ring(at(40))
	b.Turn(at(50))
	b.Ring(at(60))
	b.Turn(at(90))
	f(10)
	f(30)
	b.Ring(at(100))
	b.Turn(at(100))
	f(0)
}

// What Join makes of a loop can still do what the loop can.
func TestGaugeBehindJoin(t *testing.T) {
	if GaugeOf(Join(gauged{}, nil)) == nil || BulkOf(Join(gauged{}, nil)) != nil || GaugeOf(struct{ Loop }{}) != nil {
		t.Error("the wrong loops have a gauge")
	}
	a, b := Backlog{Delay: 2, Fill: 0.1}, Backlog{Delay: 1, Fill: 0.5}
	if w := a.Worse(b); w != (Backlog{Delay: 2, Fill: 0.5}) {
		t.Errorf("%+v", w)
	}
}

type gauged struct{ Loop }

func (gauged) Backlog() Backlog { return Backlog{} }
