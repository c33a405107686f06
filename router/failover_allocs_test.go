package router

import (
	"bytes"
	"testing"
	"time"

	"sipedge/router/dialog"
	"sipedge/router/resolve"
	"sipedge/transport"
)

// TestAllocsFailover holds "0 heap allocations from packet in to packet out" for what a target that fails over costs: the
// message that makes it do so is measured, and what it leads to.
func TestAllocsFailover(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	number := 1
	each := func(kind string, want int, set func(b *bed), prepare func(b *bed, n int) (from byte, msg []byte)) {
		t.Run(kind, func(t *testing.T) {
			b := newBed(t, Stateful, RecordAuto)
			set(b)
			const runs = 200
			type measured struct {
				from byte
				msg  []byte
			}
			row := make([]measured, runs+1)
			for i := range row {
				number++
				from, msg := prepare(b, number)
				row[i] = measured{from, bytes.Clone(msg)}
			}
			i, left := 0, 0
			got := testing.AllocsPerRun(runs, func() {
				from := b.alice
				if row[i].from == 'b' {
					from = b.bob
				}
				left += b.receive(from, row[i].msg)
				i++
			})
			if got != 0 {
				t.Errorf("%v allocations per message", got)
			}
			if left != want*(runs+1) {
				t.Errorf("%d messages left, want %d each: the way measured is not the one meant", left, want)
			}
		})
	}
	rule := func(b *bed, r Rule) RuleID {
		id, err := b.worker.core.Rule(r)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	decide := func(b *bed, r Rule) {
		id := rule(b, r)
		first, second := transport.HopOf(&b.bob), transport.HopOf(&b.bob)
		second.Port++
		cfg := &b.worker.core.cfg
		cfg.Decide = func(q *Query, to *TargetSet) Verdict {
			to.Rule(id, 7)
			to.Add(0, []byte("sip:one@127.0.0.1:5080"), &first)
			to.Alternative([]byte("sip:two@127.0.0.1:5081"), &second)
			return Forward
		}
		cfg.Admit = func(Attempt) bool { return true }
		cfg.Outcome = func(Outcome) {}
	}
	invite := func(b *bed, n int) []byte {
		b.receive(b.alice, newCall(n, "").invite)
		return b.last()
	}
	each("INVITE with an alternative", 2, func(b *bed) { decide(b, Rule{Statuses: []int{503}}) },
		func(b *bed, n int) (byte, []byte) { return 'a', newCall(n, "").invite })
	each("503", 2, func(b *bed) { decide(b, Rule{Statuses: []int{503}}) },
		func(b *bed, n int) (byte, []byte) {
			return 'b', answer([]byte("503 Service Unavailable"), invite(b, n), "")
		})
	each("302", 2, func(b *bed) { decide(b, Rule{Recurse: true, Then: Same}) },
		func(b *bed, n int) (byte, []byte) {
			moved := answer([]byte("302 Moved Temporarily"), invite(b, n), "")
			at := bytes.Index(moved, []byte("Content-Length"))
			return 'b', bytes.Join([][]byte{moved[:at], []byte("Contact: <sip:a@127.0.0.1:5085>;q=0.5, <sip:b@127.0.0.1:5086>\r\n"), moved[at:]}, nil)
		})
	each("a name that is known", 2, func(b *bed) {
		hops := []transport.Hop{transport.HopOf(&b.bob), transport.HopOf(&b.bob)}
		hops[1].Port++
		b.worker.core.cfg.Resolver = Resolver{
			Lookup: func(q *resolve.Query, dst []transport.Hop, now transport.Instant) ([]transport.Hop, resolve.Status) {
				return append(dst, hops...), resolve.Hit
			},
			Block: func(*transport.Hop, transport.Instant) {},
		}
		b.worker.core.cfg.Decide = func(q *Query, to *TargetSet) Verdict {
			to.AddNext(0, nil, []byte("sip:gw.example.net"))
			return Forward
		}
	}, func(b *bed, n int) (byte, []byte) { return 'a', newCall(n, "").invite })

	counted := func(b *bed) {
		decide(b, Rule{Counted: true})
		table := dialog.New(dialog.Config{Most: 10_000, TokenParam: tokenParam})
		t.Cleanup(table.Close)
		b.worker.core.cfg.Dialogs = table
	}
	each("INVITE of a counted call", 2, counted, func(b *bed, n int) (byte, []byte) { return 'a', newCall(n, "").invite })
	each("200 of a counted call", 1, counted,
		func(b *bed, n int) (byte, []byte) { return 'b', answer([]byte("200 OK"), invite(b, n), sdp) })
	each("BYE of a counted call", 1, counted, func(b *bed, n int) (byte, []byte) {
		sent := invite(b, n)
		b.receive(b.bob, answer([]byte("200 OK"), sent, sdp))
		return 'a', newCall(n, "Route: "+header(sent, "Record-Route", 0)+"\r\n").bye
	})
}

// TestAllocsGivenUp holds the same for targets whose time is over.
func TestAllocsGivenUp(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBed(t, Stateful, RecordAuto)
	id, err := b.worker.core.Rule(Rule{Silence: true, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	first, second := transport.HopOf(&b.bob), transport.HopOf(&b.bob)
	second.Port++
	b.worker.core.cfg.Decide = func(q *Query, to *TargetSet) Verdict {
		to.Rule(id, 0)
		to.Add(0, nil, &first)
		to.Alternative(nil, &second)
		return Forward
	}
	const runs = 100
	for n := range runs + 1 {
		b.receive(b.alice, newCall(n+1, "").invite)
		b.now = b.now.Add(time.Millisecond * 2)
	}
	sent := 0
	got := testing.AllocsPerRun(runs, func() {
		b.wire.n = 0
		b.now = b.now.Add(2 * time.Millisecond)
		b.worker.Expire(b.now)
		b.worker.Quiesce()
		sent += b.wire.n
	})
	if got != 0 {
		t.Errorf("%v allocations per turn", got)
	}
	if sent < runs {
		t.Errorf("%d INVITEs sent to alternatives, want about %d", sent, runs)
	}
}

// BenchmarkFailover is the router's part of a 503 and the INVITE to the next target.
func BenchmarkFailover(bm *testing.B) {
	b := newBed(bm, Stateful, RecordAuto)
	first, second := transport.HopOf(&b.bob), transport.HopOf(&b.bob)
	second.Port++
	b.worker.core.cfg.Decide = func(q *Query, to *TargetSet) Verdict {
		to.Add(0, nil, &first)
		to.Alternative(nil, &second)
		return Forward
	}
	bm.ReportAllocs()
	n := 0
	for bm.Loop() {
		bm.StopTimer()
		n++
		b.receive(b.alice, newCall(n, "").invite)
		unavailable := answer([]byte("503 Service Unavailable"), b.last(), "")
		bm.StartTimer()
		b.receive(b.bob, unavailable)
		bm.StopTimer()
		if b.wire.n != 2 {
			bm.Fatalf("%d messages left", b.wire.n)
		}
		b.receive(b.bob, answer([]byte("200 OK"), b.last(), "")) // so that no timer sends anything
		b.now = b.now.Add(10 * time.Millisecond)
		bm.StartTimer()
	}
}
