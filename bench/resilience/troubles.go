//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"sipedge/bench/rig"
)

// Domains of the policies. What is for healthyDomain goes to --next-hop, which is the load's called party.
const (
	healthyDomain = "healthy.test"
	troubleDomain = "trouble.test"
)

// others is how many calls per second meet the trouble.
const others = 50

// trouble is what may be wrong elsewhere. Its functions are called in this order; begin and end take turns.
type trouble struct {
	name    string
	prepare func() (rig.Options, error)
	all     func(p *rig.Proxy) error // begins what goes on in all turns; may be nil
	begin   func(p *rig.Proxy) error
	end     func()
	note    func(p *rig.Proxy) (string, error) // what was seen of it
	finish  func()
}

func (b *bench) troubles() []*trouble {
	return []*trouble{
		b.dnsTrouble("DNS server stopped", true),
		b.dnsTrouble("DNS server silent", false),
		b.gatewayTrouble(),
		b.readerTrouble(),
		b.logTrouble(),
	}
}

// options of a stateful edge with this policy, whose next hop is a free address.
func (b *bench) options(policy string, extra ...string) (o rig.Options, file string, err error) {
	file = filepath.Join(b.dir, "policy.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		return o, file, err
	}
	next, err := rig.FreeAddr()
	if err != nil {
		return o, file, err
	}
	at, err := rig.FreeAddr()
	// Where it listens is ours as well as the policy's domains, so that it answers when it is asked whether it is there.
	extra = append([]string{"--policy", file, "--domain", at.Addr().String()}, extra...)
	return rig.Options{Stateful: true, RecordRoute: true, Addr: at, NextHop: next, Workers: 2, Extra: extra}, file, err
}

// nameServer is a DNS server that knows an address of every name.
type nameServer struct {
	at     *net.UDPAddr
	server *dns.Server
	silent *net.UDPConn
}

func (s *nameServer) answer() error {
	if s.silent != nil {
		s.silent.Close()
		s.silent = nil
	}
	conn, err := net.ListenUDP("udp4", s.at)
	if err != nil {
		return err
	}
	s.server = &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if name := q.Question[0].Name; q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(127, 0, 0, 1)})
		}
		_ = w.WriteMsg(m)
	})}
	started := make(chan struct{})
	s.server.NotifyStartedFunc = func() { close(started) }
	ended := make(chan error, 1)
	go func() { ended <- s.server.ActivateAndServe() }()
	select {
	case <-started:
		return nil
	case err := <-ended:
		return err
	}
}

// stop closes the port, so that the kernel refuses questions; or only answers no more.
func (s *nameServer) stop(closed bool) (err error) {
	if s.server != nil {
		err = s.server.Shutdown()
		s.server = nil
	}
	if err == nil && !closed {
		s.silent, err = net.ListenUDP("udp4", s.at)
	}
	return err
}

func (s *nameServer) close() {
	_ = s.stop(true)
	if s.silent != nil {
		s.silent.Close()
	}
}

// dnsTrouble takes the DNS server away while calls go to names that nobody has looked up.
func (b *bench) dnsTrouble(name string, closed bool) *trouble {
	var server nameServer
	var parties *phones
	stop, turns := func() {}, 0
	return &trouble{
		name: name,
		prepare: func() (o rig.Options, err error) {
			at, err := rig.FreeAddr()
			if err != nil {
				return o, err
			}
			server.at = net.UDPAddrFromAddrPort(at)
			if err := server.answer(); err != nil {
				return o, err
			}
			if parties, err = newPhones(at); err != nil {
				return o, err
			}
			o, _, err = b.options(fmt.Sprintf("domains: [%s]\nroutes:\n- {match: {uri: {ours: false}, source: 127.0.0.0/8}, relay: true}\n", healthyDomain), "--dns", at.String())
			return o, err
		},
		begin: func(p *rig.Proxy) error {
			parties.to(p.Addr)
			turns++
			turn := turns
			if err := server.stop(closed); err != nil {
				return err
			}
			stop = parties.stream(others, 0, func(n int) string {
				return fmt.Sprintf("sip:bob@n%d.turn%d.%s:%d", n, turn, troubleDomain, parties.at().Port())
			})
			return nil
		},
		end: func() {
			stop()
			_ = server.answer() // if it cannot, the next turn's stop says so
		},
		note: func(p *rig.Proxy) (string, error) {
			m, err := p.Metrics()
			return fmt.Sprintf("%d calls/s to names nobody had looked up: %s; %.0f look-ups, %.0f questions without answer, %.0f refused", others, parties.tally(),
				m["sipedge_dns_flights_total"], m["sipedge_dns_timeouts_total"], m["sipedge_dns_server_failures_total"]), err
		},
		finish: func() {
			server.close()
			parties.close()
		},
	}
}

// gatewayTrouble sends calls to a group whose first gateway says nothing. It is not probed, so it stays the first.
func (b *bench) gatewayTrouble() *trouble {
	var parties *phones
	var silent *net.UDPConn
	stop := func() {}
	return &trouble{
		name: "gateway silent",
		prepare: func() (o rig.Options, err error) {
			if silent, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
				return o, err
			}
			if parties, err = newPhones(netip.AddrPort{}); err != nil {
				return o, err
			}
			o, _, err = b.options(fmt.Sprintf(`
domains: [%s, %s]
gateways:
  group:
    timeout: 1s
    failover: [503, timeout]
    members: [{name: silent, uri: "sip:%v", priority: 1}, {name: well, uri: "sip:%v", priority: 2}]
routes:
- {match: {uri: {host: %s}}, gateway: group}
`, healthyDomain, troubleDomain, silent.LocalAddr(), parties.at(), troubleDomain))
			return o, err
		},
		begin: func(p *rig.Proxy) error {
			parties.to(p.Addr)
			stop = parties.stream(others, 0, func(int) string { return "sip:bob@" + troubleDomain })
			return nil
		},
		end: func() { stop() },
		note: func(*rig.Proxy) (string, error) {
			delays := setups(parties.snapshot(), func(*call) bool { return true })
			return fmt.Sprintf("%d calls/s to the group, timeout 1 s: %s after %.0f ms (p50)", others, parties.tally(), quantile(delays, 0.5)), nil
		},
		finish: func() {
			parties.close()
			silent.Close()
		},
	}
}

// pushed is how much is sent to who does not read: as many requests per second, each of so many bytes.
const (
	pushedRate  = 200
	pushedBytes = 30_000
)

// readerTrouble pushes requests at a TCP peer that accepts connections and reads nothing of them.
func (b *bench) readerTrouble() *trouble {
	var ln net.Listener
	stop := func() {}
	var accepted atomic.Int64
	return &trouble{
		name: "TCP peer that never reads",
		prepare: func() (o rig.Options, err error) {
			if ln, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
				return o, err
			}
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					accepted.Add(1)
					defer c.Close() // all of them when the listener is closed
				}
			}()
			stream, err := rig.FreeAddr()
			if err != nil {
				return o, err
			}
			o, _, err = b.options(fmt.Sprintf("domains: [%s, %s]\nroutes:\n- {match: {uri: {host: %s}}, next-hop: \"sip:%v;transport=tcp\"}\n",
				healthyDomain, troubleDomain, troubleDomain, ln.Addr()))
			o.Listen = []string{"tcp:" + stream.String()}
			return o, err
		},
		begin: func(p *rig.Proxy) error {
			conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(p.Addr))
			if err != nil {
				return err
			}
			quit, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				defer conn.Close()
				body := strings.Repeat("x", pushedBytes)
				tick := time.NewTicker(time.Second / pushedRate)
				defer tick.Stop()
				for n := 0; ; n++ {
					select {
					case <-quit:
						return
					case <-tick.C:
					}
					id := fmt.Sprintf("%x-%d", time.Now().UnixNano(), n)
					fmt.Fprintf(conn, "MESSAGE sip:bob@%s SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:bench@127.0.0.1>;tag=%s\r\nTo: <sip:bob@%s>\r\nCall-ID: %s\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
						troubleDomain, conn.LocalAddr(), id, id, troubleDomain, id, len(body), body)
				}
			}()
			stop = func() {
				close(quit)
				<-done
			}
			return nil
		},
		end: func() { stop() },
		note: func(p *rig.Proxy) (string, error) {
			m, err := p.Metrics()
			return fmt.Sprintf("%d requests/s of %d KB: %d connections, %.0f cut because nobody read, %.0f requests failed", pushedRate, pushedBytes/1000,
				accepted.Load(), m["sipedge_connections_closed_overflow_total"], m["sipedge_branch_transport_errors_total"]), err
		},
		finish: func() { ln.Close() },
	}
}

// hangups is how often per second the proxy is made to log: each time it finds a policy file full of mistakes.
const hangups = 20

// spoil makes the proxy log long lines until stop is called.
func spoil(file string, proxies ...*rig.Proxy) (stop func(), err error) {
	if err := os.WriteFile(file, []byte("routes: [\n"+strings.Repeat("  {nonsense: here},\n", 100)+"]\n"), 0o600); err != nil {
		return nil, err
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / hangups)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			for _, p := range proxies {
				_ = p.Signal(syscall.SIGHUP)
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}, nil
}

const healthyPolicy = "domains: [" + healthyDomain + "]\n"

// logTrouble stops reading the pipe that the log goes to. Lines are logged in all turns.
func (b *bench) logTrouble() *trouble {
	var read, write *os.File
	var file string
	var stuck atomic.Bool
	var waiting int
	stop := func() {}
	resume := make(chan struct{}, 1)
	lines := new(atomic.Int64)
	return &trouble{
		name: "log to a pipe nobody reads",
		prepare: func() (o rig.Options, err error) {
			if read, write, err = os.Pipe(); err != nil {
				return o, err
			}
			go func() {
				for s := bufio.NewReader(read); ; {
					if stuck.Load() {
						<-resume
						continue
					}
					if _, err := s.ReadString('\n'); err != nil {
						return
					}
					lines.Add(1)
				}
			}()
			o, file, err = b.options(healthyPolicy)
			o.Stderr = write
			return o, err
		},
		all: func(p *rig.Proxy) (err error) {
			stop, err = spoil(file, p)
			return err
		},
		begin: func(p *rig.Proxy) (err error) {
			stuck.Store(true)
			return nil
		},
		end: func() {
			if raw, err := read.SyscallConn(); err == nil {
				_ = raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
			}
			stuck.Store(false)
			resume <- struct{}{}
		},
		note: func(p *rig.Proxy) (string, error) {
			stop()
			stop = func() {}
			m, err := p.Metrics()
			return fmt.Sprintf("%d lines/s of some KB: %d KB waited in the pipe, %d lines came out, %.0f were lost", hangups, waiting/1024, lines.Load(),
				m["sipedge_log_lines_lost_total"]), err
		},
		finish: func() {
			stop()
			write.Close() // the proxy has its own; the reader ends with it
		},
	}
}

// logDiskFull compares two proxies that run at the same time, under the same calls and with as much to log: the log of one is
// read, that of the other goes to where there is no space left.
func (b *bench) logDiskFull() error {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer full.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	go func() { _, _ = io.Copy(io.Discard, read) }()
	var proxies []*rig.Proxy
	var options []rig.Options
	stopAll := func() (err error) {
		for _, p := range proxies {
			err = errors.Join(err, p.Stop())
		}
		proxies = nil
		return err
	}
	defer stopAll()
	var file string
	for _, log := range []*os.File{write, full} {
		var o rig.Options
		if o, file, err = b.options(healthyPolicy); err != nil {
			return err
		}
		o.Stderr = log
		p, err := rig.StartSipedge(b.sipedge, o)
		if err != nil {
			return err
		}
		proxies, options = append(proxies, p), append(options, o)
	}
	write.Close()
	stop, err := spoil(file, proxies...)
	if err != nil {
		return err
	}
	length := time.Duration(b.rounds) * b.turn
	var results [2]seen
	var loads []*rig.Load
	begun := time.Now()
	for i, p := range proxies {
		l, err := b.unrelated(p, options[i], length+2*settle)
		if err != nil {
			stop()
			return err
		}
		loads = append(loads, l)
	}
	time.Sleep(time.Until(begun.Add(length + settle)))
	m, err := proxies[1].Metrics()
	if err != nil {
		return err
	}
	stop()
	for i, l := range loads {
		r, err := l.Wait()
		if err != nil {
			return err
		}
		results[i] = pick(r, divide(span{begun.Add(settle), begun.Add(settle + length)}, b.rounds))
	}
	row("no space left for the log", results[0], results[1], fmt.Sprintf("%d lines/s; before: another proxy at the same time, whose log is read; %.0f lines lost", hangups, m["sipedge_log_lines_lost_total"]))
	return stopAll()
}

// setups are those of the chosen calls, in sorted milliseconds.
func setups(calls []call, choose func(c *call) bool) (ms []float64) {
	for i := range calls {
		if c := &calls[i]; !c.answered.IsZero() && choose(c) {
			ms = append(ms, float64(c.answered.Sub(c.began).Microseconds())/1000)
		}
	}
	sort.Float64s(ms)
	return ms
}
