//go:build linux

// Command overload shows what is left of a proxy's calls when it gets more than it can do: sipedge and Kamailio get the same
// calls, in turns, pinned to the same core, from half of what sipedge can carry up to four times as much.
//
//	go run ./bench/overload -sipedge bin/sipedge            about 8 minutes
//	go run ./bench/overload -sipedge bin/sipedge -quick     about 3
//
// Callers do as RFC 3261 says: INVITE is repeated after 0.5, 1, 2 s; a 503 ends the call, which then counts as refused and
// not as failed; a call that is not over within 4 s has failed.
//
// The load needs a core as well, and one core cannot make four times the calls that sipedge carries on another. So the
// proxies share their core with programs that only burn time, and get a part of it: what they can do shrinks, and the
// load for it with it. Ratios stay, and a proxy whose core is taken away for milliseconds at a time is what clouds have.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sipedge/bench/load"
	"sipedge/bench/rig"
)

type bench struct {
	tools    rig.Tools
	binary   string
	proxyCPU int
	loadCPU  int
	burners  int
	seconds  float64
	rounds   int
	loads    []float64
	stateful bool
	kamailio bool
}

const (
	// patience of a caller: a call not over by then has failed.
	patience = "4s"
	// warm is what is left out at the begin of a run, in seconds: memory is touched for the first time.
	warm = 1.0
	// carriedShare of the calls must succeed at a rate that counts as carried.
	carriedShare = 0.99
	// closeness ends the search for the capacity.
	closeness = 0.05
	firstRate = 2000.0 // calls/s
	mostRate  = 60000.0
	// settled is how little CPU, per 200 ms, a proxy uses that has worked off what an earlier run left behind.
	settled = 20 * time.Millisecond
)

func main() {
	var b bench
	flag.StringVar(&b.binary, "sipedge", "bin/sipedge", "the binary")
	flag.IntVar(&b.burners, "burners", 1, "programs that share the proxy's core: it gets one part of 1 + so many")
	flag.Float64Var(&b.seconds, "seconds", 6, "length of one run, the first second of which does not count")
	flag.IntVar(&b.rounds, "rounds", 3, "alternating runs of each; the median counts")
	loads := flag.String("loads", "0.5,1,1.5,2,3,4", "loads, in multiples of what sipedge carries")
	mode := flag.String("mode", "stateful", "stateful or stateless")
	quick := flag.Bool("quick", false, "short runs: less exact")
	alone := flag.Bool("alone", false, "sipedge without Kamailio")
	priority := flag.Bool("priority", false, "go before everything else on this machine (needs root): for machines that others use as well")
	burn := flag.Bool("burn", false, "burn time and nothing else")
	flag.IntVar(&b.proxyCPU, "proxy-cpu", 0, "core of the proxies")
	flag.IntVar(&b.loadCPU, "load-cpu", 1, "core of the load")
	flag.Parse()
	if *burn {
		runtime.LockOSThread()
		for burnt := 0; ; burnt++ {
		}
	}
	if *quick {
		b.seconds, b.rounds = 3, 1
	}
	for _, s := range strings.Split(*loads, ",") {
		x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || x <= 0 {
			fail(fmt.Errorf("-loads %q: give numbers such as 0.5,1,3", *loads))
		}
		b.loads = append(b.loads, x)
	}
	if *mode != "stateful" && *mode != "stateless" {
		fail(fmt.Errorf("-mode %q: give stateful or stateless", *mode))
	}
	b.stateful = *mode == "stateful"
	if runtime.NumCPU() < 2 {
		fail(fmt.Errorf("proxy and load need a core each; this machine has one"))
	}
	if *priority {
		rig.GoFirst()
	}
	_, err := exec.LookPath("kamailio")
	if b.kamailio = err == nil && !*alone; err != nil {
		fmt.Println("kamailio is not installed (make deps installs it): sipedge alone")
	}
	dir, err := os.MkdirTemp("", "sipedge-overload-")
	if err != nil {
		fail(err)
	}
	defer os.RemoveAll(dir)
	if b.tools, err = rig.BuildTools(dir); err == nil {
		err = b.run()
	}
	if err != nil {
		os.RemoveAll(dir)
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "overload:", err)
	os.Exit(1)
}

type contender struct {
	name  string
	start func(rig.Options) (*rig.Proxy, error)
}

func (b *bench) run() error {
	stop, err := b.startBurners()
	if err != nil {
		return err
	}
	defer stop()
	all := []contender{{"sipedge", func(o rig.Options) (*rig.Proxy, error) { return rig.StartSipedge(b.binary, o) }}}
	if b.kamailio {
		all = append(all, contender{"Kamailio", rig.StartKamailio})
	}
	next, err := rig.FreeAddr()
	if err != nil {
		return err
	}
	o := rig.Options{Stateful: b.stateful, RecordRoute: b.stateful, OpenRelay: !b.stateful, NextHop: next, CPUs: strconv.Itoa(b.proxyCPU)}
	var proxies []*rig.Proxy
	defer func() {
		for _, p := range proxies {
			if err := p.Stop(); err != nil {
				fmt.Println("  ", err)
			}
		}
	}()
	for _, c := range all {
		p, err := c.start(o)
		if err != nil {
			return err
		}
		proxies = append(proxies, p)
	}
	fmt.Printf("calls/s carried with at least %.0f %% of the calls completed, on 1/%d of a core:", carriedShare*100, 1+b.burners)
	capacity := make([]float64, len(proxies))
	for i, p := range proxies {
		if capacity[i], err = b.capacity(p, o); err != nil {
			return err
		}
		fmt.Printf("  %s %.0f", p.Name, capacity[i])
	}
	fmt.Printf("\n\nthe same calls to each, in multiples of what sipedge carries; medians of %d runs of %.0f s in turns\n", b.rounds, b.seconds)
	peaks := append([]float64(nil), capacity...)
	if err := b.table(proxies, o, func(int) float64 { return capacity[0] }, peaks); err != nil {
		return err
	}
	if len(proxies) > 1 {
		fmt.Printf("\nKamailio in multiples of what it carries itself\n")
		err = b.table(proxies[1:], o, func(int) float64 { return capacity[1] }, peaks[1:])
	}
	return err
}

// startBurners starts what shares the proxies' core.
func (b *bench) startBurners() (stop func(), err error) {
	var all []*exec.Cmd
	stop = func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	self, err := os.Executable()
	if err != nil {
		return stop, err
	}
	for range b.burners {
		c := exec.Command("taskset", "-c", strconv.Itoa(b.proxyCPU), self, "-burn")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			stop()
			return stop, err
		}
		all = append(all, c)
	}
	return stop, nil
}

// load places calls for a while.
func (b *bench) load(p *rig.Proxy, o rig.Options, rate, seconds float64) (*load.Result, error) {
	args := []string{
		"--proxy", p.Addr.String(), "--uas", o.NextHop.String(), "--rate", fmt.Sprint(rate), "--seconds", fmt.Sprint(seconds),
		"--warm", fmt.Sprintf("%gs", warm), "--patience", patience, "--spin", "--segment", "--deep", "0",
	}
	if o.RecordRoute {
		args = append(args, "--record-route", "always")
	} else {
		args = append(args, "--record-route", "never", "--in-dialog-to-proxy")
	}
	for range 100 { // until the proxy has worked off what an earlier run left behind
		before, err := p.CPU()
		time.Sleep(200 * time.Millisecond)
		after, err2 := p.CPU()
		if err != nil || err2 != nil || after-before < settled {
			break
		}
	}
	return b.tools.RunLoad(strconv.Itoa(b.loadCPU), args...)
}

// capacity looks for the highest rate that is carried.
func (b *bench) capacity(p *rig.Proxy, o rig.Options) (float64, error) {
	good, bad := 0.0, 0.0
	for rate := firstRate; ; {
		held := false
		for try := 0; try < 2 && !held; try++ { // a pause of the machine is not the proxy's
			r, err := b.load(p, o, rate, 3)
			if err != nil {
				return 0, err
			}
			held = float64(r.Completed) >= carriedShare*float64(r.Started+r.NotStarted)
		}
		if held {
			good = rate
		} else {
			bad = rate
		}
		switch {
		case bad == 0 && good >= mostRate:
			return good, nil
		case bad == 0:
			rate = min(good*1.5, mostRate)
		case bad-good <= closeness*bad || bad < 100:
			if good == 0 {
				return 0, fmt.Errorf("%s carries no calls", p.Name)
			}
			return good, nil
		default:
			rate = (good + bad) / 2
		}
	}
}

// row is what one proxy showed at one load, run by run.
type row struct {
	offered, goodput, failed, refused, p50, p99, lag, drops []float64
	wrong                                                   uint64
}

// table runs all loads. peaks are the most calls per second that each has carried so far.
func (b *bench) table(proxies []*rig.Proxy, o rig.Options, unit func(i int) float64, peaks []float64) error {
	rows := make([][]row, len(b.loads))
	for li, x := range b.loads {
		rows[li] = make([]row, len(proxies))
		for round := range b.rounds {
			for k := range proxies {
				i := (k + round) % len(proxies)
				if err := b.round(proxies[i], o, x*unit(i), &rows[li][i]); err != nil {
					return err
				}
			}
		}
		for i := range proxies {
			peaks[i] = max(peaks[i], median(rows[li][i].goodput))
		}
	}
	fmt.Printf("  %5s  %-9s %9s %11s %7s %9s %9s %9s %9s  %s\n", "load", "", "offered/s", "completed/s", "of peak", "503/s", "failed/s", "p50 ms", "p99 ms", "notes")
	for li, x := range b.loads {
		for i, p := range proxies {
			r := &rows[li][i]
			note := ""
			if lag := median(r.lag); lag > 200 {
				note += fmt.Sprintf(" the generator was late by %.0f ms", lag)
			}
			if d := median(r.drops); d > 0 {
				note += fmt.Sprintf(" the generator lost %.0f datagrams", d)
			}
			if r.wrong > 0 {
				note += fmt.Sprintf(" %d messages were wrong", r.wrong)
			}
			fmt.Printf("  %4.1fx  %-9s %9.0f %11.0f %6.0f%% %9.0f %9.0f %9.1f %9.1f %s\n", x, p.Name, median(r.offered), median(r.goodput),
				100*median(r.goodput)/peaks[i], median(r.refused), median(r.failed), median(r.p50), median(r.p99), note)
		}
	}
	return nil
}

func (b *bench) round(p *rig.Proxy, o rig.Options, rate float64, r *row) error {
	res, err := b.load(p, o, rate, b.seconds)
	if err != nil {
		return err
	}
	s := max(res.Seconds, 0.001)
	refused := float64(res.Refused["503"])
	r.offered = append(r.offered, float64(res.Started+res.NotStarted)/s)
	r.goodput = append(r.goodput, res.Sustained)
	r.refused = append(r.refused, refused/s)
	r.failed = append(r.failed, (float64(res.Failed+res.NotStarted)-refused)/s)
	r.p50, r.p99 = append(r.p50, res.SetupP50/1000), append(r.p99, res.SetupP99/1000)
	r.lag, r.drops = append(r.lag, res.LagMax), append(r.drops, float64(res.Dropped))
	r.wrong += res.Wrong
	return nil
}

func median(x []float64) float64 {
	x = append([]float64(nil), x...)
	sort.Float64s(x)
	if len(x) == 0 {
		return 0
	}
	return x[len(x)/2]
}
