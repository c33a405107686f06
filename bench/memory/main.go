//go:build linux

// Command memory shows what a whole sipedge process takes when it is idle, when 100,000 calls
// ring, and when finished transactions pile up behind 40,000 calls/s; and how long the garbage
// collector stops it.
//
//	go run ./bench/memory -sipedge bin/sipedge            about 4 minutes
//	go run ./bench/memory -sipedge bin/sipedge -quick     10,000 calls and 10 s of load
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"sipedge/bench/load"
	"sipedge/bench/rig"
)

type bench struct {
	tools   rig.Tools
	sipedge string
	proxy   string // core of the proxy
	load    string // core of the load
	ringing int
	rate    float64
	idle    time.Duration
	quick   bool
	dir     string
}

func main() {
	var b bench
	flag.StringVar(&b.sipedge, "sipedge", "bin/sipedge", "the binary")
	flag.IntVar(&b.ringing, "ringing", 100_000, "calls that ring at once; 0: leave that out")
	flag.Float64Var(&b.rate, "rate", 40_000, "calls per second of the steady state")
	flag.DurationVar(&b.idle, "idle", 10*time.Second, "how long to watch the idle process")
	flag.BoolVar(&b.quick, "quick", false, "10,000 ringing calls, 10 s of steady load")
	kamailio := flag.Bool("kamailio", true, "let the same calls ring at Kamailio, if it is installed")
	flag.StringVar(&b.proxy, "proxy-cpu", "0", "core of the proxies")
	flag.StringVar(&b.load, "load-cpu", "1", "core of the load")
	flag.Parse()
	if b.quick {
		b.ringing, b.idle = min(b.ringing, 10_000), min(b.idle, 3*time.Second)
	}
	if runtime.NumCPU() < 2 {
		fail(fmt.Errorf("proxy and load need a core each; this machine has one"))
	}
	dir, err := os.MkdirTemp("", "sipedge-memory-")
	if err != nil {
		fail(err)
	}
	b.dir = dir
	if b.tools, err = rig.BuildTools(dir); err == nil {
		err = b.sipedgeIdleAndRinging()
	}
	if _, look := exec.LookPath("kamailio"); err == nil && *kamailio && look == nil && b.ringing > 0 {
		err = b.kamailioRinging()
	}
	if err == nil {
		err = b.steady()
	}
	os.RemoveAll(dir)
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "memory:", err)
	os.Exit(1)
}

func (b *bench) options() (rig.Options, error) {
	next, err := rig.FreeAddr()
	if err != nil {
		return rig.Options{}, err
	}
	// What is weighed here is memory at a given load: none of it is to be turned away because this machine is late.
	policy := filepath.Join(b.dir, "policy.yaml")
	err = os.WriteFile(policy, []byte("overload: {delay: 10s}\n"), 0o600)
	return rig.Options{Stateful: true, RecordRoute: true, NextHop: next, CPUs: b.proxy, Extra: []string{"--policy", policy}}, err
}

func (b *bench) sipedgeIdleAndRinging() error {
	o, err := b.options()
	if err != nil {
		return err
	}
	p, err := rig.StartSipedge(b.sipedge, o)
	if err != nil {
		return err
	}
	err = b.idleCPU(p)
	if err == nil && b.ringing > 0 {
		err = b.ring(p, o)
	}
	if err2 := p.Stop(); err == nil {
		err = err2
	}
	return err
}

func (b *bench) idleCPU(p *rig.Proxy) error {
	time.Sleep(time.Second)
	before, err := p.CPU()
	if err != nil {
		return err
	}
	time.Sleep(b.idle)
	after, err := p.CPU()
	if err != nil {
		return err
	}
	m, err := p.Memory()
	if err != nil {
		return err
	}
	fmt.Printf("idle, one loop:        %.2f %% of a core over %.0f s, %.1f MB resident\n", (after-before).Seconds()/b.idle.Seconds()*100, b.idle.Seconds(), mb(m))
	return nil
}

func (b *bench) kamailioRinging() error {
	o, err := b.options()
	if err != nil {
		return err
	}
	p, err := rig.StartKamailio(o)
	if err != nil {
		return err
	}
	err = b.ring(p, o)
	if err2 := p.Stop(); err == nil {
		err = err2
	}
	return err
}

// ring lets calls ring, weighs the process, then cancels them all,
// and fails if one call got lost.
func (b *bench) ring(p *rig.Proxy, o rig.Options) error {
	idle, err := p.Memory()
	if err != nil {
		return err
	}
	const rate = 4000 // calls/s while they build up: well below what either proxy carries
	l, err := b.tools.StartLoad(b.load, "--proxy", p.Addr.String(), "--uas", o.NextHop.String(), "--mode", "ring", "--pending", strconv.Itoa(b.ringing),
		"--rate", strconv.Itoa(rate), "--gate", "--ending", "cancel", "--record-route", "always", "--patience", "20s")
	if err != nil {
		return err
	}
	if !l.Pending() {
		res, err := l.Wait()
		if err != nil {
			return err
		}
		res.Print(os.Stdout)
		return fmt.Errorf("%s: the calls did not all ring", p.Name)
	}
	full, err := p.Memory()
	if err != nil {
		l.Kill()
		return err
	}
	l.Release()
	res, err := l.Wait()
	if err != nil {
		return err
	}
	fmt.Printf("%d ringing calls:  %s %.0f bytes a call (%.1f MB over %.1f MB idle); all cancelled, %d failed, %d wrong\n",
		b.ringing, p.Name, float64(full-idle)/float64(b.ringing), mb(full-idle), mb(idle), res.Failed, res.Wrong)
	if res.FailedShare() > 0 {
		res.Print(os.Stdout)
		if p.Name == "sipedge" {
			return fmt.Errorf("ringing calls failed")
		}
	}
	return nil
}

// steady finds a rate that this machine carries, then holds it until transactions end as fast
// as they begin.
//
// At 40,000 calls/s Timers L and J (64*T1 = 32 s) keep about 40,000 * 32 * 2 finished server
// transactions, and their client transactions. Where one core carries less, T1 is made longer by
// as much, so that as many of them pile up; the line says so.
func (b *bench) steady() error {
	o, err := b.options()
	if err != nil {
		return err
	}
	rate, err := b.sustainable(o)
	if err != nil {
		return err
	}
	for range holdTries {
		held, err := b.hold(o, rate)
		if held || err != nil {
			return err
		}
		fmt.Printf("steady state:          %.0f calls/s did not hold\n", rate)
		rate *= 0.75
	}
	return fmt.Errorf("no rate held long enough for the steady state")
}

const (
	lagBound    = 200    // milliseconds that the generator may be behind its own schedule
	failedBound = 0.0001 // of the calls
	holdTries   = 3      // each a quarter slower than the one before

	// headroom is what the hold leaves unused of what a few seconds showed: those few seconds do
	// not pay yet for transactions that end.
	headroom = 0.75
)

func (b *bench) args(p *rig.Proxy, o rig.Options, rate, seconds float64) []string {
	return []string{
		"--proxy", p.Addr.String(), "--uas", o.NextHop.String(), "--rate", fmt.Sprint(rate), "--seconds", fmt.Sprint(seconds),
		"--record-route", "always", "--patience", "8s", "--spin", "--segment",
	}
}

func carried(r *load.Result) bool { return r.FailedShare() < failedBound && r.LagMax < lagBound }

// sustainable steps down from the wanted rate to one that holds for a few seconds, and leaves
// some of that unused.
func (b *bench) sustainable(o rig.Options) (float64, error) {
	for rate := b.rate / headroom; rate > b.rate/10; rate *= 0.8 {
		p, err := rig.StartSipedge(b.sipedge, o)
		if err != nil {
			return 0, err
		}
		res, err := b.tools.RunLoad(b.load, b.args(p, o, rate, 4)...)
		if err2 := p.Stop(); err == nil {
			err = err2
		}
		if err != nil {
			return 0, err
		}
		if carried(res) {
			return rate * headroom, nil
		}
	}
	return 0, fmt.Errorf("not even %.0f calls/s hold on this machine", b.rate/10)
}

// hold keeps one rate until the oldest transactions have ended, weighs the process just before
// the load ends, and reports whether the calls went through.
func (b *bench) hold(o rig.Options, rate float64) (held bool, err error) {
	t1 := time.Duration(float64(500*time.Millisecond) * b.rate / rate).Round(time.Millisecond)
	seconds := (64 * t1).Seconds() + 5
	if b.quick {
		seconds = 10
	}
	o.Extra = append(o.Extra, "--t1", t1.String(), "--t2", max(4*time.Second, t1).String())
	p, err := rig.StartSipedge(b.sipedge, o)
	if err != nil {
		return false, err
	}
	defer func() {
		if err2 := p.Stop(); err == nil {
			err = err2
		}
	}()
	idle, err := p.Memory()
	if err != nil {
		return false, err
	}
	l, err := b.tools.StartLoad(b.load, b.args(p, o, rate, seconds)...)
	if err != nil {
		return false, err
	}
	time.Sleep(time.Duration((seconds - 0.5) * float64(time.Second)))
	full, err := p.Memory()
	if err != nil {
		l.Kill()
		return false, err
	}
	m, err := p.Metrics()
	if err != nil {
		l.Kill()
		return false, err
	}
	res, err := l.Wait()
	if err != nil {
		return false, err
	}
	if !carried(res) {
		res.Print(os.Stdout)
		return false, nil
	}
	contexts, branches := m["sipedge_store_contexts"], m["sipedge_store_branches"]
	fmt.Printf("steady state:          %.0f calls/s for %.0f s: %.0f transaction contexts and %.0f branches kept, %.0f MB resident over %.1f MB idle, %.0f bytes a context; %d calls, %d failed, %d wrong, p99 %.1f ms\n",
		rate, seconds, contexts, branches, mb(full-idle), mb(idle), float64(full-idle)/max(contexts, 1), res.Started, res.Failed, res.Wrong, res.SetupP99/1000)
	if rate < b.rate {
		fmt.Printf("                       (one core here does not hold %.0f calls/s; T1 was %v, so that as many transactions pile up as there)\n", b.rate, t1)
	}
	fmt.Printf("stop-the-world:        longest %.2f ms, median %.2f ms of %.0f collections\n",
		m[`go_gc_duration_seconds{quantile="1"}`]*1000, m[`go_gc_duration_seconds{quantile="0.5"}`]*1000, m["go_gc_duration_seconds_count"])
	return true, nil
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }
