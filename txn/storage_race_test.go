package txn

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"sipedge/transport"
)

// twin is the plain form of the table: a map behind a mutex. A key is in it from after Created until
// before End, so whatever it says twice in a row with the same version held all the while between.
type twin struct {
	sync.Mutex
	refs    map[uint64]Ref
	version map[uint64]int
}

func (w *twin) get(k uint64) (r Ref, ok bool, version int) {
	w.Lock()
	defer w.Unlock()
	r, ok = w.refs[k]
	return r, ok, w.version[k]
}

func (w *twin) put(k uint64, r Ref) {
	w.Lock()
	defer w.Unlock()
	w.refs[k] = r
	w.version[k]++
}

func (w *twin) remove(k uint64) {
	w.Lock()
	defer w.Unlock()
	delete(w.refs, k)
	w.version[k]++
}

// worker is one loop of the random test.
type worker struct {
	t     *testing.T
	l     *Local
	r     *rand.Rand
	w     *twin
	keys  uint64
	stale []Ref
}

// TestTableAgainstTwin runs random operations from several loops, with real quiescence, sleeps and
// reuse, and compares with the twin. Under -race it also shows that a claim orders everything that is
// done under it, and that reuse comes after the last look: all of that is plain memory.
func TestTableAgainstTwin(t *testing.T) {
	const loops, turns = 4, 20_000
	// Few keys and buckets for collisions, and little room beyond the keys for much reuse. A goroutine
	// that the scheduler lets wait in the middle of a batch holds reuse up meanwhile, so the others may
	// be told Full.
	for _, keys := range []uint64{4, 200} {
		s := newTestStore(t, StoreConfig{MaxTransactions: 600, Loops: loops})
		for i := range loops {
			s.Local(i).buckets = s.buckets[:4]
		}
		w := &twin{refs: map[uint64]Ref{}, version: map[uint64]int{}}
		var wg sync.WaitGroup
		for i := range loops {
			wg.Add(1)
			go func() {
				defer wg.Done()
				p := &worker{t: t, l: s.Local(i), r: rand.New(rand.NewPCG(keys, uint64(i))), w: w, keys: keys}
				for n := range turns {
					p.turn()
					switch {
					case n%1000 == 999:
						p.l.Idle()
						p.l.Busy()
					case n%7 == 0:
						p.l.Quiesce()
					}
				}
				p.l.Idle()
			}()
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		l := s.Local(0)
		for k := range keys {
			c, o := l.Match(key(k))
			r, ok, _ := w.get(k)
			if ok != (o == Claimed) || ok && c.Ref() != r {
				t.Fatalf("at the end, key %d: %v, twin %v %v", k, o, r, ok)
			}
			if ok {
				l.End(c)
			}
		}
		for i := range l.buckets {
			if s.buckets[i] != 0 {
				t.Errorf("bucket %d still leads somewhere", i)
			}
		}
		for i := range loops {
			s.Local(i).Idle()
		}
		st := s.Stats()
		if st.Live != 0 || st.Branches != 0 || st.Spans != 0 || st.Created != st.Ended {
			t.Errorf("something is left: %+v", st)
		}
	}
}

func (p *worker) turn() {
	k := p.r.Uint64N(p.keys)
	switch p.r.IntN(8) {
	case 0, 1, 2:
		c, o := p.l.MatchOrCreate(key(k))
		switch o {
		case Created:
			if _, ok, _ := p.w.get(k); ok {
				p.t.Errorf("key %d created twice", k)
			}
			p.fresh(c, k)
			p.w.put(k, c.Ref())
			p.l.Release(c)
		case Claimed:
			p.held(c, k)
		case Gone:
			p.t.Error("MatchOrCreate says Gone")
		}
	case 3, 4, 5:
		before, ok, version := p.w.get(k)
		c, o := p.l.Match(key(k))
		if _, _, again := p.w.get(k); ok && again == version && o == Gone {
			p.t.Errorf("key %d is %v all the while and not found", k, before)
		}
		if o == Claimed {
			p.held(c, k)
		}
	case 6:
		r, ok, version := p.w.get(k)
		if !ok {
			return
		}
		c, o := p.l.Claim(r)
		if _, _, again := p.w.get(k); again == version && o == Gone {
			p.t.Errorf("%v lives and cannot be claimed", r)
		}
		if o == Claimed {
			if c.Ref() != r {
				p.t.Errorf("Claim of %v gave %v", r, c.Ref())
			}
			p.held(c, k)
		}
		p.stale = append(p.stale, r)
	case 7:
		if len(p.stale) == 0 {
			return
		}
		r := p.stale[p.r.IntN(len(p.stale))]
		if c, o := p.l.Claim(r); o == Claimed {
			if c.Ref() != r {
				p.t.Errorf("Claim of an old %v gave %v", r, c.Ref())
			}
			p.held(c, c.check)
		}
	}
}

// fresh checks that a created context is zero, and fills it with what belongs to key k.
func (p *worker) fresh(c *ResponseContext, k uint64) {
	// The first words are shared: they are not to be read plainly.
	if c.inbox != 0 || c.armed != 0 || c.Server != (Machine{}) || c.Upstream != (transport.Flow{}) ||
		c.Request != (Bytes{}) || c.Response != (Bytes{}) || c.Targets != (Bytes{}) || c.first != 0 || c.Wait != 0 ||
		c.Decision != 0 || c.Status != 0 || c.Branches != 0 {
		p.t.Errorf("a new context of key %d is not zero", k)
	}
	c.Server.Interval, c.Upstream.Conn, c.Wait, c.Status = 1, 1, 1, 1
	c.Decision = uint32(k)
	c.Request = p.keep(k, 300)
	c.Response = p.keep(k, 40)
	for range p.r.IntN(4) {
		if b := p.l.AddBranch(c); b != nil {
			b.Edits = p.keep(k, 100)
		}
	}
}

func (p *worker) keep(k uint64, n int) Bytes {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], k)
	}
	h, _ := p.l.Keep(b) // no room: the zero Bytes, as below
	return h
}

func (p *worker) check(h Bytes, k uint64) {
	b := p.l.Bytes(h)
	for i := 0; i+8 <= len(b); i += 8 {
		if got := binary.LittleEndian.Uint64(b[i:]); got != k {
			p.t.Errorf("bytes of key %d say %d", k, got)
			return
		}
	}
}

// held checks a claimed context against its key, changes it, and releases or ends it.
func (p *worker) held(c *ResponseContext, k uint64) {
	if r, ok, _ := p.w.get(k); !ok || r != c.Ref() {
		p.t.Errorf("claimed %v of key %d, the twin has %v %v", c.Ref(), k, r, ok)
	}
	if c.Decision != uint32(k) {
		p.t.Errorf("context of key %d says %d", k, c.Decision)
	}
	p.check(c.Request, k)
	p.check(c.Response, k)
	n := 0
	for b := p.l.First(c); b != nil; b = p.l.Next(b) {
		p.check(b.Edits, k)
		n++
	}
	switch p.r.IntN(6) {
	case 0, 1:
		p.w.remove(k)
		p.l.End(c)
		return
	case 2:
		p.l.Drop(&c.Response)
		c.Response = p.keep(k, 20+p.r.IntN(600))
	case 3:
		if n > 0 {
			p.l.DropBranch(c, p.l.First(c))
		}
	case 4:
		if b := p.l.AddBranch(c); b != nil {
			b.Edits = p.keep(k, 64)
		}
	}
	p.l.Release(c)
}

// TestNoEventIsLost lets loops fight over a few contexts with events, ending and remaking them. Each
// accepted event must be handed over once, in the order of its poster, or be counted as ended with
// its context.
func TestNoEventIsLost(t *testing.T) {
	const loops, turns, contexts = 4, 20_000, 3
	s := newTestStore(t, StoreConfig{MaxTransactions: 600, Loops: loops})
	type seen struct {
		last    [loops]uint32
		handled uint64
	}
	// One per context in the table, by key; only touched under the claim, hence plain.
	var book [contexts]seen
	var refused, ended [loops]uint64
	var wg sync.WaitGroup
	for me := range loops {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l, r := s.Local(me), rand.New(rand.NewPCG(7, uint64(me)))
			data := make([]byte, 300)
			handle := func(c *ResponseContext, e *Event) {
				b := &book[c.check]
				from := e.Why
				if e.Seq <= b.last[from] {
					t.Errorf("loop %d: event %d after %d", from, e.Seq, b.last[from])
				}
				b.last[from] = e.Seq
				b.handled++
				for i := range e.Data {
					if e.Data[i] != byte(e.Seq) {
						t.Errorf("event %d came with bytes of another", e.Seq)
						break
					}
				}
			}
			for n := range turns {
				k := r.Uint64N(contexts)
				e := &Event{Kind: EventResponse, Seq: uint32(n + 1), Why: uint8(me), Data: data[:r.IntN(len(data))]}
				for i := range e.Data {
					e.Data[i] = byte(e.Seq)
				}
				c, o := l.MatchOrCreate(key(k))
				if o == Busy {
					o = l.Post(c, e)
				}
				switch o {
				case Created, Claimed:
					handle(c, e)
					// Let the others come while the claim is held.
					for range r.IntN(300) {
						book[k].handled += 0
					}
					if r.IntN(50) == 0 {
						l.End(c)
						break
					}
					for e, more := l.Release(c); more; e, more = l.Release(c) {
						handle(c, e)
					}
				case Gone:
					ended[me]++
				case Full:
					refused[me]++
				case Busy:
				}
				if n%5 == 0 {
					l.Quiesce()
				}
			}
			l.Idle()
		}()
	}
	wg.Wait()
	var direct uint64
	for i := range book {
		direct += book[i].handled
	}
	for i := range loops {
		direct += refused[i] + ended[i]
	}
	st := s.Stats()
	if st.Posted != st.Handled+st.EndedEvents {
		t.Errorf("%d posted, %d handed over, %d ended", st.Posted, st.Handled, st.EndedEvents)
	}
	if direct+st.EndedEvents != loops*turns {
		t.Errorf("%d of %d events accounted for", direct+st.EndedEvents, loops*turns)
	}
	if st.Posted == 0 || st.EndedEvents == 0 {
		t.Logf("no contention in this run: %+v", st)
	}
	l := s.Local(0)
	for k := range uint64(contexts) {
		if c, o := l.Match(key(k)); o == Claimed {
			l.End(c)
		}
	}
	l.Idle()
	if st := s.Stats(); st.Live != 0 || st.Spans != 0 {
		t.Errorf("something is left: %+v", st)
	}
}

// TestGrow adds chunks from several goroutines at once: none lost, none counted twice.
func TestGrow(t *testing.T) {
	s := newTestStore(t, StoreConfig{MaxTransactions: 40 * chunkSlots, MaxRetainedBytes: 32 << 20})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for k := range s.pools {
				for s.extend(kind(k)) {
				}
			}
		}()
	}
	wg.Wait()
	for i := range uint32(s.pools[kindContext].limit) {
		if c := s.contexts.at(i); c.slot != i {
			t.Fatalf("slot %d says %d", i, c.slot)
		}
	}
	var chunks uint64
	for c := range s.bytes {
		for i := range s.bytes[c] {
			if e := s.bytes[c][i].Load(); e != nil {
				chunks += uint64(len(e.b))
			}
		}
	}
	if chunks != s.retained.Load() || chunks > s.config.MaxRetainedBytes {
		t.Errorf("%d bytes in chunks, %d counted, bound %d", chunks, s.retained.Load(), s.config.MaxRetainedBytes)
	}
	if chunks < s.config.MaxRetainedBytes*3/4 {
		t.Errorf("only %d bytes of %d used", chunks, s.config.MaxRetainedBytes)
	}
}

// TestNoTimerIsLost arms contexts on whichever loop holds them, while all loops claim them at random:
// entries fire while the context is busy, go through its inbox or come again, become stale, are armed
// anew elsewhere. Each context ends after so many of its own deadlines; one lost, and it never ends.
func TestNoTimerIsLost(t *testing.T) {
	const loops, contexts, deadlines = 3, 40, 30
	s := newTestStore(t, StoreConfig{MaxTransactions: 1000, Loops: loops})
	var clock, ended atomic.Int64
	clock.Store(1)
	for k := range uint64(contexts) {
		c := held(t, s, k)
		c.Wait = 1 // its deadline
		s.Local(0).Arm(c, c.Wait)
		s.Local(0).Release(c)
	}
	s.Local(0).Idle()
	var wg sync.WaitGroup
	for me := range loops {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l, r := s.Local(me), rand.New(rand.NewPCG(5, uint64(me)))
			// settle does what is due in c and gives it back; false when c has ended.
			settle := func(c *ResponseContext, now transport.Instant) bool {
				if now < c.Wait {
					l.Arm(c, c.Wait)
					return true
				}
				if c.Decision++; c.Decision == deadlines {
					l.End(c)
					ended.Add(1)
					return false
				}
				c.Wait = now + transport.Instant(r.Int64N(5e6))
				l.Arm(c, c.Wait)
				return true
			}
			release := func(c *ResponseContext, now transport.Instant) {
				for e, more := l.Release(c); more; e, more = l.Release(c) {
					if e.Kind == EventExpired && l.Fired(c, e.At) && !settle(c, now) {
						return
					}
				}
			}
			for turns := 0; ended.Load() < contexts && turns < 300_000; turns++ {
				now := transport.Instant(clock.Add(2e5))
				for range 4 {
					if c, o := l.Match(key(r.Uint64N(contexts))); o == Claimed {
						if r.IntN(4) == 0 && c.Wait > now { // an earlier deadline than what is armed
							c.Wait -= (c.Wait - now) / 2
							l.Arm(c, c.Wait)
						}
						runtime.Gosched() // the others find it busy
						release(c, now)
					}
				}
				for n := 0; n < 100; n++ {
					ref, at, ok := l.Due(now)
					if !ok {
						break
					}
					c, o := l.Claim(ref)
					if o == Busy {
						o = l.Post(c, &Event{Kind: EventExpired, At: at})
					}
					if o == Claimed && (!l.Fired(c, at) || settle(c, now)) {
						release(c, now)
					}
				}
				if next := l.NextDeadline(); next > now && r.IntN(100) == 0 {
					clock.Add(int64(next - now)) // sleep
				}
				l.Quiesce()
			}
			l.Idle()
		}()
	}
	wg.Wait()
	if ended.Load() != contexts {
		t.Errorf("%d of %d contexts ended", ended.Load(), contexts)
	}
	if st := s.Stats(); st.Posted != st.Handled+st.EndedEvents {
		t.Errorf("%+v", st)
	} else {
		t.Logf("%d timers went through an inbox", st.Posted)
	}
}
