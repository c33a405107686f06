package dialog

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sipedge/parser"
	"sipedge/transport"
	"sipedge/txn"
)

const token = "se"

func table(t *testing.T, cfg Config, loops int) (*Table, *txn.Store) {
	t.Helper()
	cfg.TokenParam = token
	d := New(cfg)
	s := txn.NewStore(txn.StoreConfig{MaxTransactions: 100_000, Loops: loops})
	t.Cleanup(func() { d.Close(); s.Close() })
	return d, s
}

func parsed(t testing.TB, text string) (*parser.Message, []byte) {
	t.Helper()
	b := []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	m := new(parser.Message)
	if err := parser.Parse(b, m); err.Code != 0 {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m, b
}

const invite = `INVITE sip:bob@example.com SIP/2.0
Via: SIP/2.0/UDP p1.example.com;branch=z9hG4bK1
Record-Route: <sip:p2.example.com;lr>, <sip:p1.example.com;lr>
Max-Forwards: 70
From: "Alice" <sip:alice@example.com>;tag=a1
To: <sip:bob@example.com>
Call-ID: call-1
CSeq: 10 INVITE
Contact: <sip:alice@198.51.100.1>
Content-Length: 0

`

const ok200 = `SIP/2.0 200 OK
Via: SIP/2.0/UDP edge.example.com;branch=z9hG4bK2
Via: SIP/2.0/UDP p1.example.com;branch=z9hG4bK1
Record-Route: <sip:p4.example.com;lr>, <sip:p3.example.com;lr>, <sip:203.0.113.1;lr;se=1x>,
 <sip:203.0.113.1:5061;transport=tls;lr;se=1y>, <sip:p2.example.com;lr>, <sip:p1.example.com;lr>
From: "Alice" <sip:alice@example.com>;tag=a1
To: <sip:bob@example.com>;tag=b1
Call-ID: call-1
CSeq: 10 INVITE
Contact: <sip:bob@192.0.2.20>
Content-Length: 0

`

// later is a request inside the dialog.
func later(method string, cseq int, from, to, contact string) string {
	return fmt.Sprintf("%s sip:x@192.0.2.20 SIP/2.0\nVia: SIP/2.0/UDP p1.example.com;branch=z9hG4bK3\nMax-Forwards: 70\nFrom: <sip:x@example.com>;tag=%s\nTo: <sip:y@example.com>;tag=%s\nCall-ID: call-1\nCSeq: %d %s\n%sContent-Length: 0\n\n",
		method, from, to, cseq, method, contact)
}

func TestWholeCall(t *testing.T) {
	var ended []Owner
	d, s := table(t, Config{Ended: func(o Owner) { ended = append(ended, o) }}, 1)
	l := s.Local(0)
	from := transport.Flow{Remote: transport.Addr{Port: 5060}, Proto: transport.UDP}
	m, b := parsed(t, invite)
	ref, ok := d.Begin(l, Owner{Gateway: 7, Peer: 3}, &from, m, b, 1)
	if !ok || d.Live() != 1 {
		t.Fatalf("Begin: %v, %d live", ok, d.Live())
	}
	m, b = parsed(t, ok200)
	d.Confirm(l, ref, &from, m, b, 2)
	second, sb := parsed(t, strings.ReplaceAll(ok200, "tag=b1", "tag=b2"))
	d.Confirm(l, ref, &from, second, sb, 3)

	c, ok := d.Look(l, ref)
	want := Call{Owner: Owner{7, 3}, Confirmed: true, CSeq: [2]uint32{10, 0}}
	want.Text[CallID], want.Text[CallerTag], want.Text[CalleeTag] = "call-1", "a1", "b1"
	want.Text[CallerAddress], want.Text[CalleeAddress] = "sip:alice@example.com", "sip:bob@example.com"
	want.Text[CallerContact], want.Text[CalleeContact] = "sip:alice@198.51.100.1", "sip:bob@192.0.2.20"
	want.Text[CallerRoutes] = "<sip:p2.example.com;lr>, <sip:p1.example.com;lr>"
	want.Text[CalleeRoutes] = "<sip:p3.example.com;lr>, <sip:p4.example.com;lr>"
	if !ok || c != want {
		t.Errorf("kept\n%+v, want\n%+v", c, want)
	}

	for _, r := range []struct {
		text  string
		known bool
	}{
		{later("INVITE", 11, "a1", "b1", "Contact: <sip:alice@198.51.100.9>\n"), true},
		{later("UPDATE", 5, "b1", "a1", "Contact: <sip:bob@192.0.2.99>\n"), true},
		{later("INFO", 12, "a1", "b1", "Contact: <sip:mallory@192.0.2.66>\n"), true}, // no target refresh
		{later("INVITE", 99, "a1", "b2", "Contact: <sip:mallory@192.0.2.66>\n"), false},
		{strings.Replace(later("INVITE", 99, "a1", "b1", ""), "call-1", "call-2", 1), false},
	} {
		m, b := parsed(t, r.text)
		if known := d.Request(l, ref, m, b); known != r.known {
			t.Errorf("known %v, want %v:\n%s", known, r.known, r.text)
		}
	}
	m, b = parsed(t, strings.ReplaceAll(strings.Replace(ok200, "10 INVITE", "11 INVITE", 1), "192.0.2.20", "192.0.2.77"))
	d.Target(l, ref, m, b)
	c, _ = d.Look(l, ref)
	if c.CSeq != [2]uint32{12, 5} || c.Text[CallerContact] != "sip:alice@198.51.100.9" || c.Text[CalleeContact] != "sip:bob@192.0.2.77" || c.Text[CalleeTag] != "b1" {
		t.Errorf("after requests in the dialog: %+v", c)
	}

	if !d.End(l, ref) || d.End(l, ref) || d.Live() != 0 || len(ended) != 1 || ended[0] != (Owner{7, 3}) {
		t.Errorf("%d live, ended %v", d.Live(), ended)
	}
	if _, ok := d.Look(l, ref); ok || d.Request(l, ref, m, b) {
		t.Error("an entry that has ended is found")
	}
	l.Idle() // publishes
	if n := s.Stats().Spans; n != 0 {
		t.Errorf("%d texts are left", n)
	}
}

func TestEnds(t *testing.T) {
	for status, want := range map[int]bool{0: true, 200: true, 202: true, 408: true, 481: true, 100: false, 401: false, 403: false, 407: false, 500: false, 503: false} {
		if Ends(status) != want {
			t.Errorf("a BYE answered %d ends the call: %v", status, !want)
		}
	}
}

// Texts that do not fit cost what they say and never the count.
func TestTooMuchText(t *testing.T) {
	d, s := table(t, Config{}, 1)
	l := s.Local(0)
	var from transport.Flow
	many := strings.Replace(invite, "Record-Route: ", "Record-Route: "+strings.Repeat("<sip:a.very.long.name.of.a.proxy.example.com;lr>, ", 100), 1)
	m, b := parsed(t, many)
	ref, ok := d.Begin(l, Owner{}, &from, m, b, 1)
	c, _ := d.Look(l, ref)
	if !ok || c.Text[CallerRoutes] != "" || c.Text[CallerTag] != "a1" {
		t.Errorf("%v, %+v", ok, c)
	}
	m, b = parsed(t, strings.Replace(ok200, "Record-Route: ", "Record-Route: "+strings.Repeat("<sip:a.very.long.name.of.a.proxy.example.com;lr>, ", 60), 1))
	d.Confirm(l, ref, &from, m, b, 2)
	if c, _ := d.Look(l, ref); !c.Confirmed || c.Text[CalleeRoutes] != "" || c.Text[CalleeTag] != "b1" {
		t.Errorf("%+v", c)
	}
}

// A call whose texts found no room, or are too long to be kept, is ended by its BYE all the same, and by nobody else's: its places
// would be taken for hours otherwise.
func TestByeOfTheForgotten(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for _, c := range []struct {
		name      string
		edit      func(string) string
		fillsUp   bool
		forgotten uint64
	}{
		{name: "the Call-ID does not fit", edit: func(s string) string { return strings.ReplaceAll(s, "call-1", long) }},
		{name: "the caller's tag does not fit", edit: func(s string) string { return strings.ReplaceAll(s, "a1", long) }},
		{name: "the callee's tag does not fit", edit: func(s string) string { return strings.ReplaceAll(s, "b1", long) }},
		{name: "the store is full", edit: func(s string) string { return s }, fillsUp: true, forgotten: 1},
	} {
		d := New(Config{TokenParam: token})
		s := txn.NewStore(txn.StoreConfig{MaxTransactions: 100, MaxRetainedBytes: 8 << 20, Loops: 1})
		l := s.Local(0)
		var from transport.Flow
		m, b := parsed(t, c.edit(invite))
		ref, ok := d.Begin(l, Owner{}, &from, m, b, 1)
		for full := !c.fillsUp; !full; {
			_, fits := l.Keep(make([]byte, 64))
			full = !fits
		}
		m, b = parsed(t, c.edit(ok200))
		d.Confirm(l, ref, &from, m, b, 2)
		if n := d.Stats().Forgotten; !ok || n != c.forgotten {
			t.Errorf("%s: %v, %d forgotten", c.name, ok, n)
		}
		for _, r := range []struct {
			text  string
			known bool
		}{
			{later("BYE", 11, "a1", "b1", ""), true},
			{later("BYE", 11, "b1", "a1", ""), true},
			{later("BYE", 11, "a1", "b2", ""), false},
			{later("BYE", 11, "b1", "a2", ""), false},
			{strings.Replace(later("BYE", 11, "a1", "b1", ""), "call-1", "call-2", 1), false},
		} {
			m, b := parsed(t, c.edit(r.text))
			if known := d.Request(l, ref, m, b); known != r.known {
				t.Errorf("%s: known %v, want %v:\n%.300s", c.name, known, r.known, r.text)
			}
		}
		d.Close()
		s.Close()
	}
}

func TestFull(t *testing.T) {
	d, s := table(t, Config{Most: 3}, 1)
	l := s.Local(0)
	var from transport.Flow
	m, b := parsed(t, invite)
	var refs []txn.Ref
	for i := range 5 {
		ref, ok := d.Begin(l, Owner{}, &from, m, b, 1)
		if ok != (i < 3) {
			t.Errorf("call %d: %v", i, ok)
		}
		refs = append(refs, ref)
	}
	d.End(l, refs[1])
	if ref, ok := d.Begin(l, Owner{}, &from, m, b, 1); !ok || ref == refs[1] || ref.Slot != refs[1].Slot {
		t.Errorf("after one ended: %v %v, before %v", ref, ok, refs[1])
	}
	if st := d.Stats(); st.Full != 2 || st.Live != 3 || st.Begun-st.Ended != 3 {
		t.Errorf("%+v", st)
	}
}

func TestSweep(t *testing.T) {
	ended := 0
	d, s := table(t, Config{MaxEarly: time.Minute, MaxDuration: time.Hour, Ended: func(Owner) { ended++ }}, 2)
	l := s.Local(0)
	var from transport.Flow
	m, b := parsed(t, invite)
	m2, b2 := parsed(t, ok200)
	const calls = 3000
	for i := range calls {
		ref, _ := d.Begin(l, Owner{}, &from, m, b, 1)
		if i%3 == 0 {
			d.Confirm(l, ref, &from, m2, b2, 1)
		}
	}
	sweepers := []Sweeper{NewSweeper(0, 2), NewSweeper(1, 2)}
	until := func(from, to time.Duration) {
		for now := transport.Instant(from); now < transport.Instant(to); now = now.Add(time.Millisecond) {
			for i := range sweepers {
				if next := d.Sweep(s.Local(i), &sweepers[i], now); next == 0 && d.Live() > 0 {
					t.Fatal("a sweep with entries left has no next")
				}
			}
		}
	}
	until(0, 3*time.Second)
	if ended != 0 {
		t.Fatalf("%d ended before their time", ended)
	}
	until(time.Minute+time.Second, time.Minute+5*time.Second)
	if ended != calls-calls/3 {
		t.Errorf("%d ended after a minute, want the %d that nobody answered", ended, calls-calls/3)
	}
	until(time.Hour+time.Second, time.Hour+5*time.Second)
	if ended != calls || d.Live() != 0 || d.Stats().Expired != calls {
		t.Errorf("%d ended, %+v", ended, d.Stats())
	}
}

// The counters are the number of entries, whatever loops do at the same time to the same calls: a plain twin counts along.
func TestCountersAreEntries(t *testing.T) {
	const loops, owners, calls, rounds = 4, 5, 64, 20_000
	var counted [owners]atomic.Int64
	d, s := table(t, Config{Most: calls * 2, Ended: func(o Owner) { counted[o.Gateway].Add(-1) }}, loops)
	var refs [calls]atomic.Uint64
	var all sync.WaitGroup
	for loop := range loops {
		all.Go(func() {
			l := s.Local(loop)
			r := rand.New(rand.NewPCG(1, uint64(loop)))
			m, b := parsed(t, invite)
			m2, b2 := parsed(t, ok200)
			bye, bb := parsed(t, later("BYE", 11, "a1", "b1", "Contact: <sip:somewhere.else@198.51.100.77>\n"))
			re, rb := parsed(t, later("INVITE", 12, "a1", "b1", "Contact: <sip:somewhere.else@198.51.100.77>\n"))
			var from transport.Flow
			for range rounds {
				cell := &refs[r.IntN(calls)]
				w := cell.Load()
				ref := txn.Ref{Slot: uint32(w), Gen: uint32(w >> 32)}
				switch r.IntN(6) {
				case 0, 1:
					o := Owner{Gateway: uint16(r.IntN(owners))}
					counted[o.Gateway].Add(1)
					ref, ok := d.Begin(l, o, &from, m, b, 1)
					if !ok {
						counted[o.Gateway].Add(-1)
						break
					}
					old := cell.Swap(uint64(ref.Gen)<<32 | uint64(ref.Slot))
					d.End(l, txn.Ref{Slot: uint32(old), Gen: uint32(old >> 32)})
				case 2:
					d.Confirm(l, ref, &from, m2, b2, 2)
				case 3:
					d.Request(l, ref, re, rb)
				case 4:
					d.Request(l, ref, bye, bb)
				case 5:
					d.End(l, ref)
				}
				l.Quiesce()
			}
			l.Idle()
		})
	}
	all.Wait()
	entries := [owners]int64{}
	for i := range uint32(d.fresh.Load()) {
		if e := d.slot(i); e.word&stateMask != free {
			entries[e.Gateway]++
			if e.word&(claimedBit|doomedBit) != 0 {
				t.Errorf("entry %d is left with word %x", i, e.word)
			}
		}
	}
	total := int64(0)
	for o := range counted {
		total += entries[o]
		if counted[o].Load() != entries[o] {
			t.Errorf("owner %d counts %d calls and has %d entries", o, counted[o].Load(), entries[o])
		}
	}
	st := d.Stats()
	if total != int64(d.Live()) || st.Begun-st.Ended != uint64(total) || st.Begun < 1000 {
		t.Errorf("%d entries, %+v", total, st)
	}
	l := s.Local(0)
	for i := range refs {
		w := refs[i].Load()
		d.End(l, txn.Ref{Slot: uint32(w), Gen: uint32(w >> 32)})
	}
	for o := range counted {
		if n := counted[o].Load(); n != 0 || d.Live() != 0 {
			t.Errorf("owner %d still counts %d, %d live", o, n, d.Live())
		}
	}
}

func TestNoPointers(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(ty reflect.Type) {
		switch ty.Kind() {
		case reflect.Struct:
			for i := range ty.NumField() {
				walk(ty.Field(i).Type)
			}
		case reflect.Array:
			walk(ty.Elem())
		case reflect.Bool, reflect.Int8, reflect.Uint8, reflect.Int16, reflect.Uint16, reflect.Int32, reflect.Uint32, reflect.Int64, reflect.Uint64:
		default:
			t.Errorf("an entry holds a %v", ty)
		}
	}
	walk(reflect.TypeFor[entry]())
	if n := reflect.TypeFor[entry]().Size(); n > 288 {
		t.Errorf("an entry takes %d bytes", n)
	}
}

func TestAllocs(t *testing.T) {
	d, s := table(t, Config{}, 1)
	l := s.Local(0)
	var from transport.Flow
	m, b := parsed(t, invite)
	m2, b2 := parsed(t, ok200)
	re, rb := parsed(t, later("INVITE", 12, "a1", "b1", "Contact: <sip:somewhere.else@198.51.100.77>\n"))
	w := NewSweeper(0, 1)
	now := transport.Instant(1)
	call := func() {
		now++
		ref, _ := d.Begin(l, Owner{}, &from, m, b, now)
		d.Confirm(l, ref, &from, m2, b2, now)
		d.Request(l, ref, re, rb)
		d.Target(l, ref, m2, b2)
		d.Sweep(l, &w, now)
		d.End(l, ref)
		l.Quiesce()
	}
	call()
	runtime.GC()
	if n := testing.AllocsPerRun(1000, call); n != 0 {
		t.Errorf("%v allocations for each call", n)
	}
}
