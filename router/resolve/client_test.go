package resolve

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestOneFlight: a thousand who ask for one name at the same time cause one question, and each is called back once.
func TestOneFlight(t *testing.T) {
	s := newNameserver(t, gateway)
	release := make(chan struct{})
	s.set(func(dns.ResponseWriter, *dns.Msg) bool { <-release; return false })
	b := newBed(t, Config{}, s)
	q := query("gw.test:5060", only4)
	var called [1000]atomic.Int32
	var all, started sync.WaitGroup
	all.Add(len(called))
	for i := range called {
		started.Go(func() {
			if !b.Start(q, func() { called[i].Add(1); all.Done() }) {
				t.Error("refused")
			}
		})
	}
	started.Wait()
	close(release)
	all.Wait()
	for i := range called {
		if n := called[i].Load(); n != 1 {
			t.Fatalf("number %d was called back %d times", i, n)
		}
	}
	if n := s.total.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
	b.expect(q, Hit)
	if c := b.Counters(); c.Lookups != 1 || c.InFlight != 0 || b.desk.pending.Load() != 0 {
		t.Errorf("%+v", c)
	}
}

// TestSilent: a server that says nothing costs the one who asks the deadline and no more, Lookup does not wait, and the failure is
// remembered.
func TestSilent(t *testing.T) {
	s := newNameserver(t, gateway)
	s.set(func(dns.ResponseWriter, *dns.Msg) bool { return true })
	b := newBed(t, Config{Try: 30 * time.Millisecond, Tries: 2}, s)
	known := query("localhost:5060", only4)
	b.resolve(known)
	q := query("other.test:5060", only4)
	done := make(chan struct{})
	if !b.Start(q, func() { close(done) }) {
		t.Fatal("refused")
	}
	for range 1000 {
		b.expect(known, Hit) // while that look-up hangs
	}
	<-done
	b.expect(q, Failed)
	if n := b.Counters().Questions; n != 2 {
		t.Errorf("%d questions, want 2 tries", n)
	}
	if n := b.Counters().Timeouts; n != 2 {
		t.Errorf("%d timeouts", n)
	}
}

// TestDeadline: the whole look-up has an end, whatever the tries say.
func TestDeadline(t *testing.T) {
	s := newNameserver(t, gateway)
	s.set(func(dns.ResponseWriter, *dns.Msg) bool { return true })
	b := newBed(t, Config{Try: time.Hour, Deadline: 50 * time.Millisecond}, s)
	q := query("gw.test", only4)
	if _, status := b.resolve(q); status != Failed && b.Counters().Expired == 0 {
		t.Error(status)
	}
}

// TestQueueFull: with all workers stuck and the queue full, Start refuses; who waits for a worker is called back at the deadline;
// and everybody who was let in is called back exactly once.
func TestQueueFull(t *testing.T) {
	s := newNameserver(t, gateway)
	release := make(chan struct{})
	s.set(func(dns.ResponseWriter, *dns.Msg) bool { <-release; return false })
	b := newBed(t, Config{Workers: 2, Queue: 10, Deadline: 500 * time.Millisecond}, s)
	var called atomic.Int32
	let := 0
	for i := range 50 {
		if b.Start(query(fmt.Sprintf("n%d.test:5060", i), only4), func() { called.Add(1) }) {
			let++
		}
	}
	if let != 10 {
		t.Errorf("%d were let in", let)
	}
	b.until("all called back", func() bool { return called.Load() == 10 })
	c := b.Counters()
	if c.Dropped != 40 || c.Expired+c.Lookups != 10 {
		t.Errorf("%+v", c)
	}
	close(release)
	q := query("gw.test:5060", only4)
	b.until("an answer afterwards", func() bool {
		_, status := b.resolve(q)
		b.clock.advance(failureTTL) // a busy machine may need longer than the deadline
		return status == Hit
	})
	if n := called.Load(); n != 10 {
		t.Errorf("called back %d times", n)
	}
}

// TestStuckWorker: when a worker hangs where no deadline reaches it, who waits behind it is called back in time.
func TestStuckWorker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	os.WriteFile(path, []byte("nothing of use"), 0o600)
	b := newBed(t, Config{Workers: 1, Deadline: time.Second, ResolvConf: path})
	for range cap(b.warn) {
		b.warn <- "the log takes no more"
	}
	var called [2]chan struct{}
	for i := range called {
		called[i] = make(chan struct{})
		b.Start(query(fmt.Sprintf("n%d.test:5060", i), only4), func() { close(called[i]) })
		b.until("the worker has the first", func() bool { return b.Counters().Lookups == 1 })
	}
	<-called[1]
	select {
	case <-called[0]:
		t.Error("the first did not hang")
	default:
	}
	if n := b.Counters().Expired; n != 1 {
		t.Errorf("%d expired", n)
	}
	for len(b.warn) > 0 {
		<-b.warn
	}
	<-called[0]
}

// TestKnownFirst: places in use are refreshed before names that nobody has called yet are looked up.
func TestKnownFirst(t *testing.T) {
	s := newNameserver(t, gateway)
	b := newBed(t, Config{Workers: 1}, s)
	known := query("gw.test:5060", only4)
	b.resolve(known)
	release := make(chan struct{})
	var order []string
	var mu sync.Mutex
	s.set(func(_ dns.ResponseWriter, q *dns.Msg) bool {
		<-release
		mu.Lock()
		defer mu.Unlock()
		order = append(order, q.Question[0].Name)
		return false
	})
	var all sync.WaitGroup
	for i := range 5 {
		all.Add(1)
		b.Start(query(fmt.Sprintf("n%d.test:5060", i), only4), all.Done)
	}
	b.until("the worker is busy", func() bool { return s.total.Load() == 2 })
	b.clock.advance(95 * time.Second)
	b.expect(known, Hit)
	b.until("all are waiting", func() bool { return b.Counters().InFlight == 6 })
	close(release)
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(order) != 6 || order[1] != "gw.test." {
		t.Errorf("asked in the order %v", order)
	}
}

// TestClose: who waits is called back, Start refuses, Lookup goes on.
func TestClose(t *testing.T) {
	s := newNameserver(t, gateway)
	b := newBed(t, Config{Workers: 2}, s)
	known := query("gw.test:5060", only4)
	b.resolve(known)
	s.set(func(dns.ResponseWriter, *dns.Msg) bool { return true })
	var let, called atomic.Int32
	var starters sync.WaitGroup
	for i := range 4 {
		starters.Go(func() {
			for j := range 100 {
				if b.Start(query(fmt.Sprintf("n%d-%d.test:5060", i, j), only4), func() { called.Add(1) }) {
					let.Add(1)
				}
			}
		})
	}
	b.Close()
	starters.Wait()
	b.Close() // a second time does nothing
	if let.Load() != called.Load() {
		t.Errorf("%d let in, %d called back", let.Load(), called.Load())
	}
	if b.Start(known, func() {}) {
		t.Error("Start after Close")
	}
	b.expect(known, Hit)
	b.clock.advance(101 * time.Second)
	b.expect(known, Stale)
}

// TestTruncated: what does not fit a datagram is fetched by TCP.
func TestTruncated(t *testing.T) {
	var zone strings.Builder
	for i := range 30 {
		fmt.Fprintf(&zone, "_sip._udp.d.test. 300 SRV %d 0 5060 a-name-that-is-rather-long-%d.test.\na-name-that-is-rather-long-%d.test. 300 A 192.0.2.%d\n", i, i, i, i)
	}
	s := newNameserver(t, zone.String())
	for _, cut := range []string{"empty", "in the middle of a record"} {
		t.Run(cut, func(t *testing.T) {
			s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
				if _, udp := w.RemoteAddr().(*net.UDPAddr); !udp || q.Question[0].Qtype != dns.TypeSRV {
					return false
				}
				m := s.answer(q)
				if cut == "empty" {
					m.Answer = nil
					m.Truncated = true
					w.WriteMsg(m)
					return true
				}
				m.Truncated = true
				wire, _ := m.Pack()
				w.Write(wire[:513])
				return true
			})
			b := newBed(t, Config{}, s)
			hops, status := b.resolve(query("d.test udp", only4))
			if status != Hit || len(hops) != MaxHops || hops[0].IP[15] != 0 || hops[15].IP[15] != 15 {
				t.Error(status, b.list(hops))
			}
			if n := b.Counters().Truncated; n != 1 {
				t.Errorf("%d by TCP", n)
			}
		})
	}
}

// TestTruncatedWithoutTCP: when TCP does not bring it either, the next server is asked.
func TestTruncatedWithoutTCP(t *testing.T) {
	bad, good := newNameserver(t, gateway), newNameserver(t, gateway)
	bad.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := bad.answer(q)
		m.Answer, m.Truncated = nil, true // by TCP too
		w.WriteMsg(m)
		return true
	})
	b := newBed(t, Config{}, bad, good)
	if _, status := b.resolve(query("gw.test:5060", only4)); status != Hit {
		t.Error(status)
	}
	bad.tcp.Shutdown()
	if _, status := b.resolve(query("gw.test:5060 tls", only4)); status != Hit {
		t.Error(status)
	}
}

// TestForged: answers with another number, another question, no answer bit or from elsewhere are not taken, and the right one that
// comes after them is.
func TestForged(t *testing.T) {
	elsewhere, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	s := newNameserver(t, gateway)
	var forged atomic.Uint64
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		lie := func(change func(m *dns.Msg)) []byte {
			m := s.answer(q)
			m.Answer = nil
			rr, _ := dns.NewRR("gw.test. 300 A 203.0.113.66")
			m.Answer = append(m.Answer, rr)
			change(m)
			b, err := m.Pack()
			if err != nil {
				t.Error(err)
			}
			return b
		}
		for _, b := range [][]byte{
			lie(func(m *dns.Msg) { m.Id++ }),
			lie(func(m *dns.Msg) { m.Question[0].Name = "evil.test." }),
			lie(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }),
			lie(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
			lie(func(m *dns.Msg) { m.Question = nil }),
			lie(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
			lie(func(m *dns.Msg) { m.Response = false }),
			lie(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
			lie(func(m *dns.Msg) {})[:40],
			{1, 2, 3},
			{},
		} {
			forged.Add(1)
			w.Write(b)
		}
		elsewhere.WriteTo(lie(func(*dns.Msg) {}), w.RemoteAddr()) // the right number and question from a wrong address
		return false
	})
	b := newBed(t, Config{}, s)
	hops, status := b.resolve(query("gw.test:5060", only4))
	if got := b.list(hops); status != Hit || got != "udp:192.0.2.1:5060" {
		t.Errorf("%v %s", status, got)
	}
	if n := b.Counters().Mismatched; n != forged.Load() {
		t.Errorf("%d packets ignored, %d were sent", n, forged.Load())
	}
}

// TestForgedRecords: records that do not belong to the question are not used, wherever they stand.
func TestForgedRecords(t *testing.T) {
	s := newNameserver(t, `
		_sip._udp.d.test. 300 SRV 0 0 5060 t.test.
		evil.test. 300 A 203.0.113.66
		t.test. 300 A 192.0.2.1
		+ _sip._udp.d.test. SRV bank.test. 300 A 203.0.113.66
		+ _sip._udp.d.test. SRV t.test. 300 CH A 203.0.113.66
	`)
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := s.answer(q)
		for _, rr := range []string{"evil.test. 300 A 203.0.113.66", "evil.test. 1 SRV 0 0 1 evil.test."} {
			rr, _ := dns.NewRR(rr)
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
		return true
	})
	b := newBed(t, Config{}, s)
	hops, status := b.resolve(query("d.test udp", only4))
	if got := b.list(hops); status != Hit || got != "udp:192.0.2.1:5060" {
		t.Errorf("%v %s", status, got)
	}
	if hops, status := b.resolve(query("bank.test:5060", only4)); status != Negative {
		t.Errorf("a name from somebody else's additional section: %v %s", status, b.list(hops))
	}
}

// TestAdditional: addresses and SRV records that come along are used and not asked for.
func TestAdditional(t *testing.T) {
	s := newNameserver(t, `
		d.test. 300 NAPTR 1 1 "s" "SIP+D2T" "" srv.other.test.
		+ d.test. NAPTR srv.other.test. 300 SRV 0 0 5070 t.test.
		+ d.test. NAPTR t.test. 300 A 192.0.2.1
		+ d.test. NAPTR t.test. 200 A 192.0.2.2
	`)
	b := newBed(t, Config{}, s)
	hops, status := b.resolve(query("d.test", only4))
	if status != Hit || len(hops) != 2 || hops[0].Port != 5070 {
		t.Errorf("%v %s", status, b.list(hops))
	}
	if n := s.total.Load(); n != 3 { // NAPTR, and the SRV of UDP and TCP that are asked for at the same time
		t.Errorf("%d questions", n)
	}
	if p, _ := b.only(); p.expires.Sub(p.fetched) != 200*time.Second {
		t.Error("their TTL does not count")
	}
	// Only one family came along: the other is asked for.
	s.load(`
		_sip._tcp.e.test. 300 SRV 0 0 5070 u.test.
		+ _sip._tcp.e.test. SRV u.test. 300 A 192.0.2.1
		u.test. 300 AAAA 2001:db8::1
	`)
	hops, _ = b.resolve(query("e.test tcp", everything))
	if got := b.list(hops); got != "tcp:[2001:db8::1]:5070 tcp:192.0.2.1:5070" {
		t.Error(got)
	}
	if s.times("u.test", "A") != 0 || s.times("u.test", "AAAA") != 1 {
		t.Error("asked for the wrong family")
	}
}

// TestFamilies: only those families are asked for that we can send by.
func TestFamilies(t *testing.T) {
	for _, tt := range []struct {
		reach   Reach
		a, aaaa int
	}{{only4, 1, 0}, {only6, 0, 1}, {everything, 1, 1}} {
		s := newNameserver(t, gateway)
		b := newBed(t, Config{}, s)
		b.resolve(query("gw.test:5060", tt.reach))
		if a, aaaa := s.times("gw.test", "A"), s.times("gw.test", "AAAA"); a != tt.a || aaaa != tt.aaaa {
			t.Errorf("reach %b: %d A, %d AAAA", tt.reach, a, aaaa)
		}
	}
}

// TestServers: one that does not answer, refuses or is not there is passed over, and not asked first next time if it was silent.
func TestServers(t *testing.T) {
	code := func(rcode int) func(dns.ResponseWriter, *dns.Msg) bool {
		return func(w dns.ResponseWriter, q *dns.Msg) bool {
			w.WriteMsg(new(dns.Msg).SetRcode(q, rcode))
			return true
		}
	}
	for _, tt := range []struct {
		what string
		bad  func(dns.ResponseWriter, *dns.Msg) bool
		next int64 // questions that the bad one gets at the second look-up
	}{
		{"silent", func(dns.ResponseWriter, *dns.Msg) bool { return true }, 0},
		{"SERVFAIL", code(dns.RcodeServerFailure), 1},
		{"REFUSED", code(dns.RcodeRefused), 1},
		{"a referral", func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			ns, _ := dns.NewRR("test. 300 NS ns.test.")
			m.Ns = append(m.Ns, ns)
			w.WriteMsg(m)
			return true
		}, 1},
	} {
		t.Run(tt.what, func(t *testing.T) {
			bad, good := newNameserver(t, gateway), newNameserver(t, gateway)
			bad.set(tt.bad)
			b := newBed(t, Config{Try: 1500 * time.Millisecond}, bad, good)
			if _, status := b.resolve(query("gw.test:5060", only4)); status != Hit {
				t.Fatal(status)
			}
			before := bad.total.Load()
			if _, status := b.resolve(query("gw.test:5060 tls", only4)); status != Hit {
				t.Fatal(status)
			}
			if n := bad.total.Load() - before; n != tt.next {
				t.Errorf("%d questions to the bad one", n)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		gone, good := newNameserver(t, gateway), newNameserver(t, gateway)
		gone.stop()
		b := newBed(t, Config{}, gone, good) // each try may last 10 s, but ICMP says at once that nobody is there
		if _, status := b.resolve(query("gw.test:5060", only4)); status != Hit {
			t.Fatal(status)
		}
	})
	t.Run("all fail", func(t *testing.T) {
		one, two := newNameserver(t, gateway), newNameserver(t, gateway)
		one.set(code(dns.RcodeServerFailure))
		two.set(code(dns.RcodeServerFailure))
		b := newBed(t, Config{}, one, two)
		if _, status := b.resolve(query("gw.test:5060", only4)); status != Failed {
			t.Fatal(status)
		}
		if one.total.Load() != 1 || two.total.Load() != 1 {
			t.Errorf("asked %d and %d times", one.total.Load(), two.total.Load())
		}
	})
}

// TestPartialFailure: what could be had serves, but not for long; and a failed SRV look-up is not the absence of SRV records.
func TestPartialFailure(t *testing.T) {
	s := newNameserver(t, `
		d.test. 3000 A 192.0.2.8
		d.test. 3000 AAAA 2001:db8::8
		_sip._udp.u.test. 3000 SRV 0 0 5060 d.test.
		u.test. 3000 A 192.0.2.9
	`)
	broken := map[question]bool{}
	var mu sync.Mutex
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		mu.Lock()
		defer mu.Unlock()
		if broken[question{q.Question[0].Name, q.Question[0].Qtype}] {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			return true
		}
		return false
	})
	for _, tt := range []struct {
		broken question
		query  string
		want   Status
		hops   string
	}{
		{question{"d.test.", dns.TypeAAAA}, "d.test:5060", Hit, "udp:192.0.2.8:5060"},
		{question{"d.test.", dns.TypeNAPTR}, "d.test", Hit, "udp:[2001:db8::8]:5060 udp:192.0.2.8:5060"},
		{question{"_sip._udp.u.test.", dns.TypeSRV}, "u.test udp", Failed, ""},
		{question{"_sip._udp.u.test.", dns.TypeSRV}, "u.test", Failed, ""},
		{question{"_sip._tcp.u.test.", dns.TypeSRV}, "u.test", Hit, "udp:[2001:db8::8]:5060 udp:192.0.2.8:5060"},
	} {
		mu.Lock()
		clear(broken)
		broken[tt.broken] = true
		mu.Unlock()
		b := newBed(t, Config{}, s)
		hops, status := b.resolve(query(tt.query, everything))
		if got := b.list(hops); status != tt.want || got != tt.hops {
			t.Errorf("%v broken, %s: %v %s", tt.broken, tt.query, status, got)
		}
		if p, _ := b.only(); status == Hit && p.expires.Sub(p.fetched) != recheck {
			t.Errorf("%v broken, %s: kept for %v", tt.broken, tt.query, p.expires.Sub(p.fetched))
		}
	}
}

// TestOldServers: servers that do not know EDNS0, or a type.
func TestOldServers(t *testing.T) {
	for _, tt := range []struct {
		what  string
		reply func(q *dns.Msg) *dns.Msg
	}{
		{"FORMERR", func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeFormatError) }},
		{"NOTIMP", func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented) }},
		{"FORMERR, and nothing but a header", func(q *dns.Msg) *dns.Msg {
			return &dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeFormatError}}
		}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			s := newNameserver(t, gateway)
			s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
				if q.IsEdns0() == nil {
					return false
				}
				w.WriteMsg(tt.reply(q))
				return true
			})
			b := newBed(t, Config{}, s)
			if hops, status := b.resolve(query("gw.test:5060", only4)); status != Hit {
				t.Error(status, b.list(hops))
			}
			if n := s.total.Load(); n != 2 {
				t.Errorf("%d questions", n)
			}
		})
	}
}

// TestAliasInSteps: a server that stops at an alias is asked for what it leads to.
func TestAliasInSteps(t *testing.T) {
	s := newNameserver(t, `
		a.test. 300 CNAME b.test.
		b.test. 200 CNAME c.test.
		c.test. 300 A 192.0.2.3
		l1.test. 300 CNAME l2.test.
		l2.test. 300 CNAME l1.test.
	`)
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := s.answer(q)
		m.Answer = m.Answer[:min(1, len(m.Answer))]
		m.Rcode = dns.RcodeSuccess
		w.WriteMsg(m)
		return true
	})
	b := newBed(t, Config{}, s)
	hops, status := b.resolve(query("a.test:5060", only4))
	if got := b.list(hops); status != Hit || got != "udp:192.0.2.3:5060" {
		t.Error(status, got)
	}
	if p, _ := b.only(); p.expires.Sub(p.fetched) != 200*time.Second {
		t.Error(p.expires.Sub(p.fetched))
	}
	before := s.total.Load()
	if _, status := b.resolve(query("l1.test:5060", only4)); status != Failed {
		t.Error("a loop:", status)
	}
	if n := s.total.Load() - before; n > maxAliases+2 {
		t.Errorf("a loop cost %d questions", n)
	}
}

// TestHosts: the hosts file goes before DNS, is read again when it changes, and localhost needs neither.
func TestHosts(t *testing.T) {
	s := newNameserver(t, `
		gw.test. 300 A 192.0.2.1
		_sip._udp.d.test. 300 SRV 0 0 5070 in-file.test.
	`)
	path := filepath.Join(t.TempDir(), "hosts")
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		os.Chtimes(path, at, at)
	}
	write(`
# a comment
10.0.0.1	In-File.test alias.test # and another
10.0.0.2	in-file.test
2001:db8::5 in-file.test
fe80::1%eth0 in-file.test
not an address
10.0.0.3`, time.Hour)
	b := newBed(t, Config{Hosts: path}, s)
	for _, tt := range []struct {
		query string
		reach Reach
		want  string
	}{
		{"in-file.test:5080", only6, "udp:[2001:db8::5]:5080"},
		{"alias.test", only4, "udp:10.0.0.1:5060"},
		{"ALIAS.test. tcp", only4, "tcp:10.0.0.1:5060"},
		{"alias.test sips", only4, "tls(alias.test):10.0.0.1:5061"},
		{"alias.test:5061 tls", only4, "tls(alias.test):10.0.0.1:5061"},
		{"localhost", only4, "udp:127.0.0.1:5060"},
		{"localhost:5080 tcp", everything, "tcp:[::1]:5080 tcp:127.0.0.1:5080"},
	} {
		hops, status := b.resolve(query(tt.query, tt.reach))
		if got := b.list(hops); status != Hit || got != tt.want {
			t.Errorf("%s: %v %s, want %s", tt.query, status, got, tt.want)
		}
	}
	if n := s.total.Load(); n != 0 {
		t.Errorf("%d questions for names in the file", n)
	}
	if hops, _ := b.resolve(query("d.test udp", only4)); len(hops) != 2 || hops[0].Port != 5070 || hops[0].IP[12] != 10 {
		t.Errorf("an SRV target in the file: %s", b.list(hops))
	}
	if hops, _ := b.resolve(query("gw.test:5060", only4)); b.list(hops) != "udp:192.0.2.1:5060" {
		t.Errorf("a name that is not in it: %s", b.list(hops))
	}
	write("10.0.0.9 alias.test", time.Minute)
	b.clock.advance(hostsTTL + revalidate)
	if hops, _ := b.resolve(query("alias.test", only4)); b.list(hops) != "udp:10.0.0.9:5060" {
		t.Errorf("after a change: %s", b.list(hops))
	}
}

// TestResolvConf: the servers come from the file, are read again when it changes, and stay when it breaks.
func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	b := newBed(t, Config{ResolvConf: path})
	f := &b.files
	expect := func(what, want string) {
		t.Helper()
		b.clock.advance(filesEvery)
		s, _ := f.current(b.clock.now())
		if got := strings.Join(s.addrs, " "); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	age := time.Hour
	write := func(text string) {
		t.Helper()
		os.WriteFile(path, []byte(text), 0o600)
		at := time.Now().Add(-age)
		age -= time.Minute
		os.Chtimes(path, at, at)
	}
	expect("no file", "127.0.0.1:53")
	write("search example.com\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\noptions rotate\n")
	expect("a file", "192.0.2.1:53 [2001:db8::1]:53 [fe80::1%eth0]:53")
	s, _ := f.current(b.clock.now())
	b.clock.advance(filesEvery)
	if again, _ := f.current(b.clock.now()); again != s {
		t.Error("read again without a change")
	}
	write("nameserver 192.0.2.9\n")
	expect("another", "192.0.2.9:53")
	write("nothing of use")
	expect("a broken one", "192.0.2.9:53")
	if m := <-b.warn; !strings.Contains(m, "no usable nameserver") || !strings.Contains(m, "192.0.2.9:53") {
		t.Error(m)
	}
	os.Remove(path)
	expect("none any more", "192.0.2.9:53")
}

// TestResolvConfIsUsed asks a server that only the file names. Its port is 53, so the address is one of 127/8 that nobody uses.
func TestResolvConfIsUsed(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.53.0.1:53")
	if err != nil {
		t.Skip("port 53 needs rights: ", err)
	}
	pc.Close()
	s := &nameserver{t: t}
	s.load(gateway)
	s.start("127.53.0.1:53")
	t.Cleanup(s.stop)
	path := filepath.Join(t.TempDir(), "resolv.conf")
	os.WriteFile(path, []byte("nameserver 127.53.0.1\n"), 0o600)
	b := newBed(t, Config{ResolvConf: path})
	if _, status := b.resolve(query("gw.test:5060", only4)); status != Hit {
		t.Error(status)
	}
}

// TestNamesFull: a TLS name that cannot be numbered is a failure, not a hop that proves something else.
func TestNamesFull(t *testing.T) {
	b := newBed(t, Config{}, newNameserver(t, gateway))
	for i := 0; ; i++ {
		if _, err := b.names.Number(fmt.Sprint("n", i)); err != nil {
			break
		}
	}
	if _, status := b.resolve(query("gw.test:5061 tls", only4)); status != Failed {
		t.Error(status)
	}
	if _, status := b.resolve(query("gw.test:5060", only4)); status != Hit {
		t.Error("UDP needs no name:", status)
	}
	if n := b.Counters().NamesFull; n != 1 {
		t.Error(n)
	}
}

// TestRefused: what New does not take, and what Start does not.
func TestRefused(t *testing.T) {
	b := newBed(t, Config{})
	for _, cfg := range []Config{
		{},
		{Names: b.names, Servers: []string{"dns.example.com"}},
		{Names: b.names, Servers: []string{"192.0.2.1:0"}},
		{Names: b.names, Servers: []string{"192.0.2.1:99999"}},
		{Names: b.names, Servers: make([]string, maxServers+1)},
		{Names: b.names, Workers: -1},
		{Names: b.names, MinTTL: time.Minute, MaxTTL: time.Second},
	} {
		if r, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
			r.Close()
		}
	}
	for _, q := range []Query{
		query("192.0.2.1", only4), query("[2001:db8::1]", only6), query("a.test ws", everything), query("a.test udp sips", everything),
		query("a.test", 0), query("a.test tcp", Over(3, false)), query("."+strings.Repeat("a", 300), only4), {Reach: only4},
	} {
		if b.Start(q, func() { t.Error("called back") }) {
			t.Errorf("Start(%s) began", q.Host)
		}
	}
}
