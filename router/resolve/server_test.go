package resolve

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"sipedge/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nameserver is a DNS server on a loopback port, UDP and TCP, that serves a zone and does harm on demand.
type nameserver struct {
	t    testing.TB
	addr string
	udp  *dns.Server
	tcp  *dns.Server

	mu     sync.Mutex
	rrs    map[question][]dns.RR
	names  map[string]bool
	extra  map[question][]dns.RR
	soa    dns.RR
	asked  map[question]int
	handle func(w dns.ResponseWriter, q *dns.Msg) bool // before all else; true: done
	total  atomic.Int64
}

// newNameserver serves records in zone file form. A line that begins with "+ NAME TYPE" makes its record additional to answers
// to that question.
func newNameserver(t testing.TB, zone string) *nameserver {
	t.Helper()
	s := &nameserver{t: t}
	s.load(zone)
	s.start("127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

func (s *nameserver) start(addr string) {
	s.t.Helper()
	for range 100 { // the same free port for both
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			s.t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			pc.Close()
			continue
		}
		s.addr = pc.LocalAddr().String()
		s.udp, s.tcp = &dns.Server{PacketConn: pc, Handler: s}, &dns.Server{Listener: l, Handler: s}
		var started sync.WaitGroup
		started.Add(2)
		for _, srv := range []*dns.Server{s.udp, s.tcp} {
			srv.NotifyStartedFunc = started.Done
			go srv.ActivateAndServe()
		}
		started.Wait()
		return
	}
	s.t.Fatal("no port that is free for both UDP and TCP")
}

func (s *nameserver) stop() {
	if s.udp != nil {
		s.udp.Shutdown()
		s.tcp.Shutdown()
		s.udp = nil
	}
}

func (s *nameserver) load(zone string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rrs, s.extra, s.names, s.asked = map[question][]dns.RR{}, map[question][]dns.RR{}, map[string]bool{}, map[question]int{}
	s.soa = nil
	for line := range strings.Lines(zone) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		to := s.rrs
		var at question
		if rest, ok := strings.CutPrefix(line, "+ "); ok {
			w := strings.SplitN(rest, " ", 3)
			at = question{dns.Fqdn(w[0]), dns.StringToType[w[1]]}
			to, line = s.extra, w[2]
		}
		rr, err := dns.NewRR(line)
		if err != nil || rr == nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		h := rr.Header()
		if h.Rrtype == dns.TypeSOA {
			s.soa = rr
			continue
		}
		if at.name == "" {
			at = question{strings.ToLower(h.Name), h.Rrtype}
			s.names[at.name] = true
		}
		to[at] = append(to[at], rr)
	}
}

// set replaces what is done before all else.
func (s *nameserver) set(handle func(w dns.ResponseWriter, q *dns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = handle
}

func (s *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.total.Add(1)
	s.mu.Lock()
	at := question{strings.ToLower(q.Question[0].Name), q.Question[0].Qtype}
	s.asked[at]++
	handle := s.handle
	s.mu.Unlock()
	if handle != nil && handle(w, q) {
		return
	}
	w.WriteMsg(s.answer(q))
}

func (s *nameserver) answer(q *dns.Msg) *dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	at := question{strings.ToLower(q.Question[0].Name), q.Question[0].Qtype}
	m.Extra = append(m.Extra, s.extra[at]...)
	for range 20 {
		m.Answer = append(m.Answer, s.rrs[at]...)
		alias := s.rrs[question{at.name, dns.TypeCNAME}]
		if len(s.rrs[at]) > 0 || len(alias) == 0 {
			break
		}
		m.Answer = append(m.Answer, alias...)
		at.name = strings.ToLower(alias[0].(*dns.CNAME).Target)
	}
	if len(s.rrs[at]) == 0 {
		if !s.names[at.name] {
			m.Rcode = dns.RcodeNameError
		}
		if s.soa != nil {
			m.Ns = append(m.Ns, s.soa)
		}
	}
	return m
}

// times is how often a question came.
func (s *nameserver) times(name, kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[question{dns.Fqdn(name), dns.StringToType[kind]}]
}

// clock is a time that the test moves.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() transport.Instant        { return transport.Instant(c.ns.Load()) }
func (c *clock) advance(d time.Duration)       { c.ns.Add(int64(d)) }
func (c *clock) advanceTo(t transport.Instant) { c.ns.Store(int64(t)) }

const everything = Reach(1<<6 - 1)

var (
	only4 = Over(transport.UDP, false) | Over(transport.TCP, false) | Over(transport.TLS, false)
	only6 = Over(transport.UDP, true) | Over(transport.TCP, true) | Over(transport.TLS, true)
)

// bed is a Resolver under test.
type bed struct {
	*Resolver
	t     testing.TB
	clock *clock
	names *transport.Names
	warn  chan string
}

func newBed(t testing.TB, cfg Config, servers ...*nameserver) *bed {
	t.Helper()
	b := &bed{t: t, clock: &clock{}, names: &transport.Names{}, warn: make(chan string, 100)}
	b.clock.advance(time.Hour)
	for _, s := range servers {
		cfg.Servers = append(cfg.Servers, s.addr)
	}
	cfg.Names, cfg.Now = b.names, b.clock.now
	cfg.Warn = func(m string) { b.warn <- m }
	if cfg.Hosts == "" {
		cfg.Hosts = filepath.Join(t.TempDir(), "hosts")
		os.WriteFile(cfg.Hosts, nil, 0o600)
	}
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	if cfg.Try == 0 {
		cfg.Try = 10 * time.Second // a loaded machine is no reason to give up; tests of silence say what they want
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = time.Minute
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Resolver = r
	t.Cleanup(r.Close)
	return b
}

// query reads HOST[:PORT] with words "sips", "udp", "tcp", "tls", "ws", "wss" behind it.
func query(s string, reach Reach) Query {
	w := strings.Fields(s)
	q := Query{Host: []byte(w[0]), Reach: reach, Hash: 1}
	if i := strings.LastIndexByte(w[0], ':'); i > 0 && strings.Count(w[0], ":") == 1 || strings.Contains(w[0], "]:") {
		q.Host = []byte(w[0][:i])
		for _, c := range w[0][i+1:] {
			q.Port = q.Port*10 + uint16(c-'0')
		}
	}
	for _, p := range w[1:] {
		switch p {
		case "sips":
			q.Sips = true
		default:
			q.Transport = transport.Protocol(slices.Index([]string{"", "udp", "tcp", "tls", "ws", "wss"}, p))
		}
	}
	return q
}

// resolve looks up, through DNS if need be.
func (b *bed) resolve(q Query) ([]transport.Hop, Status) {
	b.t.Helper()
	hops, status := b.Lookup(&q, nil, b.clock.now())
	if status == Miss {
		b.await(q)
		hops, status = b.Lookup(&q, nil, b.clock.now())
	}
	return hops, status
}

// await starts a look-up and waits for its end.
func (b *bed) await(q Query) {
	b.t.Helper()
	done := make(chan struct{})
	if !b.Start(q, func() { close(done) }) {
		b.t.Fatalf("Start(%s) was refused", q.Host)
	}
	<-done
}

// until waits for a state that comes by itself.
func (b *bed) until(what string, ok func() bool) {
	b.t.Helper()
	for range 10000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	b.t.Fatalf("never: %s", what)
}

// list is hops as text: "udp:192.0.2.1:5060 tls(name):...".
func (b *bed) list(hops []transport.Hop) string {
	var out []string
	for i := range hops {
		s := []string{"", "udp", "tcp", "tls"}[hops[i].Proto]
		if hops[i].Name != 0 {
			s += "(" + b.names.Name(hops[i].Name) + ")"
		}
		out = append(out, s+":"+hops[i].AddrPort().String())
	}
	return strings.Join(out, " ")
}
