//go:build linux

// Command sipp sends real SIPp calls through the built binary: every scenario in both modes and
// over both UDP backends, then in by each of UDP, TCP and TLS and out by each, then between two Kamailios. Caller and called
// party are a SIPp each.
//
//	go run ./bench/sipp -sipedge bin/sipedge
//
// It prints one line per scenario and exits with 1 if a single call failed anywhere.
package main

import (
	"bytes"
	"embed"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sipedge/bench/lossy"
	"sipedge/bench/rig"
)

//go:embed *.xml
var files embed.FS

// scenario is one pair of SIPp files and how they are run.
type scenario struct {
	name          string
	caller        string // file without .xml
	called        string // empty: a socket that never answers
	calls, rate   int
	pause         time.Duration // of a <pause/> without a time
	recordRoute   bool
	statefulOnly  bool // a stateless proxy has no timers of its own
	oursOnly      bool // needs flags of sipedge, so not with -peer kamailio
	streams       bool // part of -transports
	flags         []string
	loss          int  // per cent of the datagrams, each way, on each side of the proxy
	load          bool // part of -load
	expectResends bool // SIPp has to have repeated something, or the loss did not happen
}

var scenarios = []scenario{
	{name: "call, Record-Route", caller: "uac_call", called: "uas_call", calls: 100, rate: 50, recordRoute: true},
	{name: "call, no Record-Route", caller: "uac_call", called: "uas_call", calls: 100, rate: 50, streams: true},
	{name: "call, ACK and BYE direct", caller: "uac_direct", called: "uas_direct", calls: 100, rate: 50},
	{name: "re-INVITE", caller: "uac_reinvite", called: "uas_reinvite", calls: 100, rate: 50, recordRoute: true, streams: true},
	{name: "called party hangs up", caller: "uac_hung_up", called: "uas_hangs_up", calls: 100, rate: 50, recordRoute: true, streams: true},
	{name: "CANCEL while ringing", caller: "uac_cancel", called: "uas_cancel", calls: 100, rate: 50, pause: 300 * time.Millisecond, streams: true},
	{name: "busy", caller: "uac_busy", called: "uas_busy", calls: 100, rate: 50, streams: true},
	{name: "no answer, caller hangs up", caller: "uac_cancel", called: "uas_cancel", calls: 50, rate: 50, pause: 3 * time.Second, recordRoute: true},
	{name: "no answer, Timer C", caller: "uac_no_answer", called: "uas_cancel", calls: 50, rate: 50, statefulOnly: true, oursOnly: true, flags: []string{"--timer-c", "2s"}},
	{name: "no answer at all, Timer B", caller: "uac_silence", calls: 50, rate: 50, statefulOnly: true, oursOnly: true, flags: []string{"--t1", "50ms"}},
	{name: "lost packets, 10 %", caller: "uac_lossy", called: "uas_lossy", calls: 100, rate: 50, recordRoute: true, loss: 10, expectResends: true},
	{name: "RFC 2543 peer", caller: "uac_2543", called: "uas_call", calls: 100, rate: 50, recordRoute: true},
	{name: "RFC 2543 peer, busy", caller: "uac_2543_busy", called: "uas_busy", calls: 100, rate: 50},
	{name: "RFC 2543 peer, CANCEL", caller: "uac_2543_cancel", called: "uas_cancel", calls: 100, rate: 50},
	{name: "10,000 calls at 500/s", caller: "uac_call", called: "uas_call", calls: 10_000, rate: 500, recordRoute: true, load: true},
}

// outcome is what both SIPps together saw.
type outcome struct {
	good, failed, resent int
	passed, lost         uint64
	took                 time.Duration
	trouble              string // empty: all is well
}

type runner struct {
	sipedge string
	peer    string
	dir     string
}

func main() {
	var r runner
	flag.StringVar(&r.sipedge, "sipedge", "bin/sipedge", "the binary")
	flag.StringVar(&r.peer, "peer", "sipedge", "what to test; kamailio shows that the scenarios themselves are sound")
	modes := flag.String("modes", "stateful,stateless", "comma-separated")
	backends := flag.String("udp-io", "batch,gnet", "comma-separated; none: only what -transports says")
	only := flag.String("only", "", "run the scenarios whose names contain this")
	withLoad := flag.Bool("load", true, "include the 10,000 calls at 500/s")
	transports := flag.String("transports", "udp,tcp,tls", "comma-separated; calls come in by each and go out by each")
	flag.Parse()
	if _, err := exec.LookPath("sipp"); err != nil {
		fail(errors.New("sipp is not installed; make deps installs it"))
	}
	var err error
	if r.dir, err = os.MkdirTemp("", "sipedge-sipp-"); err != nil {
		fail(err)
	}
	ios := strings.Split(*backends, ",")
	if *backends == "none" {
		ios = nil
	}
	if r.peer == "kamailio" {
		ios = []string{"-"}
	}
	failures, runs := 0, 0
	for _, io := range ios {
		for _, mode := range strings.Split(*modes, ",") {
			for _, s := range scenarios {
				switch {
				case !strings.Contains(s.name, *only), s.load && !*withLoad, s.statefulOnly && mode != "stateful", s.oursOnly && r.peer != "sipedge":
					continue
				}
				runs++
				o, err := r.run(s, mode, io)
				if err != nil {
					os.RemoveAll(r.dir)
					fail(fmt.Errorf("%s, %s, %s: %w", s.name, mode, io, err))
				}
				if !report(s, mode, io, o) {
					failures++
				}
			}
		}
	}
	if r.peer == "sipedge" {
		for _, mode := range strings.Split(*modes, ",") {
			for _, place := range []func([]string, string, string) (int, int, error){r.transports, r.neighbours} {
				n, failed, err := place(strings.Split(*transports, ","), mode, *only)
				if err != nil {
					os.RemoveAll(r.dir)
					fail(err)
				}
				runs += n
				failures += failed
			}
		}
	}
	os.RemoveAll(r.dir)
	if failures > 0 || runs == 0 {
		fail(fmt.Errorf("%d of %d scenario runs failed", failures, runs))
	}
	fmt.Printf("all %d scenario runs: 0 failed calls\n", runs)
}

// report prints one line, and what went wrong; false: something did.
func report(s scenario, mode, io string, o outcome) (ok bool) {
	verdict := "ok"
	if o.trouble != "" {
		verdict = "FAILED"
	}
	more := ""
	if s.loss > 0 {
		more = fmt.Sprintf(", %d of %d datagrams lost", o.lost, o.lost+o.passed)
	}
	fmt.Printf("%-6s %-10s %-9s  %-27s %5d calls, %d failed, %d sent again%s, %.1f s\n", verdict, io, mode, s.name, o.good, o.failed, o.resent, more, o.took.Seconds())
	if o.trouble != "" {
		fmt.Println("  " + strings.ReplaceAll(o.trouble, "\n", "\n  "))
	}
	return o.trouble == ""
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "sipp:", err)
	os.Exit(1)
}

func (r *runner) run(s scenario, mode, io string) (outcome, error) {
	dir, err := os.MkdirTemp(r.dir, "run-")
	if err != nil {
		return outcome{}, err
	}
	uas, err := rig.FreeAddr()
	if err != nil {
		return outcome{}, err
	}
	next := uas
	var relays []*lossy.Relay
	defer func() {
		for _, relay := range relays {
			relay.Close()
		}
	}()
	relay := func(target netip.AddrPort, seed uint64) (netip.AddrPort, error) {
		l, err := lossy.Listen(netip.MustParseAddrPort("127.0.0.1:0"), target, lossy.Pattern{Percent: s.loss, Seed: seed}, lossy.Pattern{Percent: s.loss, Seed: seed + 100})
		if err != nil {
			return netip.AddrPort{}, err
		}
		relays = append(relays, l)
		return l.Addr(), nil
	}
	if s.loss > 0 {
		if next, err = relay(uas, 1); err != nil {
			return outcome{}, err
		}
	}
	o := rig.Options{Stateful: mode == "stateful", RecordRoute: s.recordRoute, NextHop: next, UDPIO: io, Extra: s.flags, Workers: 2}
	var p *rig.Proxy
	if r.peer == "kamailio" {
		p, err = rig.StartKamailio(o)
	} else {
		p, err = rig.StartSipedge(r.sipedge, o)
	}
	if err != nil {
		return outcome{}, err
	}
	to := p.Addr
	if s.loss > 0 {
		if to, err = relay(p.Addr, 2); err != nil {
			p.Stop()
			return outcome{}, err
		}
	}
	out, err := r.place(s, dir, party{at: to, target: p.Addr}, party{at: uas})
	for _, relay := range relays {
		passed, lost := relay.Counts()
		out.passed += passed
		out.lost += lost
	}
	if s.expectResends && out.trouble == "" && (out.lost == 0 || out.resent == 0) {
		out.trouble = "the relay lost nothing or nobody repeated anything: this run shows nothing"
	}
	if err2 := p.Stop(); err2 != nil && out.trouble == "" {
		out.trouble = err2.Error()
	}
	return out, err
}

// party is one side of a call.
type party struct {
	at      netip.AddrPort // caller: where it sends to; called: where it listens
	target  netip.AddrPort // caller: the proxy, in the Request-URI
	tcp     bool
	via     string // transport in Via, where SIPp does not know it; empty: its own
	contact string // in Contact instead of its own address; a "*" in it stands for that address
	hops    int    // called: Max-Forwards when the request arrives; 0: 69
}

// mode is SIPp's way of using sockets: one for all calls.
func (p *party) mode() string {
	if p.tcp {
		return "t1"
	}
	return "u1"
}

// place runs the two SIPps and reads what they report.
func (r *runner) place(s scenario, dir string, from, to party) (outcome, error) {
	var out outcome
	within := 60 * time.Second
	if s.load {
		within = 120 * time.Second
	}
	start := time.Now()
	var called *sipp
	if s.called == "" {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(to.at))
		if err != nil {
			return out, err
		}
		defer c.Close()
	} else {
		contact := to.contact
		if contact == "" {
			contact = to.at.String()
		}
		var err error
		hops := to.hops
		if hops == 0 {
			hops = 69
		}
		if called, err = startSIPp(dir, s.called, within, hops, to.via, "-t", to.mode(), "-i", to.at.Addr().String(), "-p", strconv.Itoa(int(to.at.Port())), "-m", strconv.Itoa(s.calls), "-key", "contact", contact); err != nil {
			return out, err
		}
		if err := called.bound(to.at, to.tcp); err != nil {
			return out, err
		}
	}
	uac, err := rig.FreeAddr()
	if err != nil {
		return out, err
	}
	contact := strings.Replace(from.contact, "*", uac.String(), 1)
	if contact == "" {
		contact = uac.String()
	}
	caller, err := startSIPp(dir, s.caller, within, 0, from.via, "-t", from.mode(), "-i", uac.Addr().String(), "-p", strconv.Itoa(int(uac.Port())), "-m", strconv.Itoa(s.calls), "-r", strconv.Itoa(s.rate),
		"-l", strconv.Itoa(s.calls), "-s", "+493012345", "-key", "target", from.target.String(), "-key", "contact", contact, "-d", strconv.FormatInt(max(s.pause.Milliseconds(), 100), 10), from.at.String())
	if err != nil {
		if called != nil {
			called.kill()
		}
		return out, err
	}
	reports := []*sipp{caller}
	if called != nil {
		reports = append(reports, called)
	}
	for i, p := range reports {
		code := p.wait()
		st, err := p.statistics()
		if err != nil {
			out.trouble += fmt.Sprintf("%s: %v\n", p.name, err)
		}
		good, failed := st["SuccessfulCall(C)"], st["FailedCall(C)"]
		if i == 0 {
			out.good = good
		}
		out.failed = max(out.failed, failed)
		out.resent += st["Retransmissions(C)"]
		if code != 0 || failed != 0 || good != s.calls {
			out.trouble += fmt.Sprintf("%s: exit code %d, %d good and %d failed calls of %d\n%s\n", p.name, code, good, failed, s.calls, p.errors())
			out.failed = max(out.failed, s.calls-good)
		}
	}
	out.took = time.Since(start)
	return out, nil
}

// sipp is one SIPp process.
type sipp struct {
	name, dir string
	cmd       *exec.Cmd
	exited    chan struct{}
}

func startSIPp(dir, file string, within time.Duration, hops int, via string, args ...string) (*sipp, error) {
	p := &sipp{name: file, dir: filepath.Join(dir, file), exited: make(chan struct{})}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return nil, err
	}
	xml, err := files.ReadFile(file + ".xml")
	if err != nil {
		return nil, err
	}
	xml = bytes.ReplaceAll(xml, []byte("^ *69$"), fmt.Appendf(nil, "^ *%d$", hops))
	if via != "" {
		xml = bytes.ReplaceAll(xml, []byte("SIP/2.0/[transport]"), []byte("SIP/2.0/"+via))
	}
	if err := os.WriteFile(filepath.Join(p.dir, "scenario.xml"), xml, 0o600); err != nil {
		return nil, err
	}
	args = append([]string{
		"-sf", "scenario.xml", "-nostdin", "-buff_size", "4194304", "-trace_err", "-error_file", "errors.log", "-trace_stat", "-stf", "stat.csv", "-fd", "1",
		"-timeout", strconv.Itoa(int(within.Seconds())), "-timeout_error",
		// An unexpected message is a failed call and nothing else: SIPp must not tidy up after us.
		"-default_behaviors", "none",
	}, args...)
	p.cmd = exec.Command("sipp", args...)
	p.cmd.Dir = p.dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	screen, err := os.Create(filepath.Join(p.dir, "screen"))
	if err != nil {
		return nil, err
	}
	defer screen.Close()
	p.cmd.Stdout, p.cmd.Stderr = screen, screen
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// bound waits until the called party's socket is there.
func (p *sipp) bound(at netip.AddrPort, tcp bool) error {
	for range 100 {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended at once:\n%s", p.name, p.errors())
		default:
		}
		if tcp && rig.Listening(at) || !tcp && rig.Bound(at) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.kill()
	return fmt.Errorf("%s did not bind %v", p.name, at)
}

func (p *sipp) kill() { _ = p.cmd.Process.Kill(); <-p.exited }

// wait returns SIPp's exit code: 0 when every call succeeded.
func (p *sipp) wait() int {
	<-p.exited // -timeout ends it at the latest
	return p.cmd.ProcessState.ExitCode()
}

// statistics is the last row of SIPp's statistics by column name.
func (p *sipp) statistics() (map[string]int, error) {
	f, err := os.Open(filepath.Join(p.dir, "stat.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rd := csv.NewReader(f)
	rd.Comma, rd.FieldsPerRecord, rd.LazyQuotes = ';', -1, true
	rows, err := rd.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) < 2 {
		return nil, errors.New("no statistics")
	}
	st := map[string]int{}
	last := rows[len(rows)-1]
	for i, name := range rows[0] {
		if i < len(last) {
			if n, err := strconv.Atoi(last[i]); err == nil {
				st[name] = n
			}
		}
	}
	return st, nil
}

// errors is the end of what SIPp complained about.
func (p *sipp) errors() string {
	const lines = 60
	for _, name := range []string{"errors.log", "screen"} {
		b, err := os.ReadFile(filepath.Join(p.dir, name))
		if err == nil && len(b) > 0 {
			text, _, _ := strings.Cut(strings.ReplaceAll(string(b), "\r", ""), "- Test Terminated") // the scenario's screen, not those after it
			all := strings.Split(strings.TrimSpace(text), "\n")
			if name == "errors.log" && len(all) > lines {
				all = all[:lines] // the first complaint is the cause of the rest
			}
			return strings.Join(all[max(0, len(all)-lines):], "\n")
		}
	}
	return "(SIPp said nothing)"
}
