//go:build linux

// Command peers holds sipedge against Kamailio: the same calls through both, in turns, each
// pinned to the same core, the load on another one.
//
//	go run ./bench/peers -sipedge bin/sipedge            the whole table, about 12 minutes
//	go run ./bench/peers -sipedge bin/sipedge -quick     the same rows, shorter: under 3 minutes
//	go run ./bench/peers -sipedge bin/sipedge -loops 2   how two loops share the packets of two peers
//
// A call is INVITE 100 180 200 ACK BYE 200: 7 datagrams in, 7 out.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"sipedge/bench/rig"
)

type bench struct {
	tools    rig.Tools
	sipedge  string
	udpIO    string
	proxyCPU int
	loadCPU  int
	rates    []float64
	seconds  float64
	rounds   int
	modes    []string
	spin     bool
	step     float64 // seconds of one step of the search for capacity
	steady   float64 // seconds of the steady window, 0: none
	ceiling  float64 // calls/s beyond which capacity is not looked for
	kamailio bool
}

func main() {
	var b bench
	flag.StringVar(&b.sipedge, "sipedge", "bin/sipedge", "the binary")
	flag.StringVar(&b.udpIO, "udp-io", "", "sipedge's UDP backend (default its own choice)")
	rates := flag.String("rates", "1000,4000,10000", "calls per second, comma-separated")
	modes := flag.String("modes", "stateless,stateful", "what to run")
	flag.Float64Var(&b.seconds, "seconds", 5, "length of one run")
	flag.IntVar(&b.rounds, "rounds", 5, "alternating runs of each; the median counts")
	flag.BoolVar(&b.spin, "spin", true, "the generator polls, so that a proxy does not pay for waking it")
	capacity := flag.Bool("capacity", true, "look for the capacity of one core")
	flag.Float64Var(&b.step, "step", 4, "seconds of one step of that search")
	flag.Float64Var(&b.ceiling, "ceiling", 60000, "calls per second beyond which it is not looked for")
	flag.Float64Var(&b.steady, "steady", 10, "seconds to measure once calls end as fast as they come (stateful); 0: not")
	floor := flag.Bool("floor", true, "measure a relay that forwards unread as well")
	quick := flag.Bool("quick", false, "short runs: less exact, under 3 minutes")
	loops := flag.Int("loops", 0, "instead: how so many loops share the packets of two peers")
	flag.IntVar(&b.proxyCPU, "proxy-cpu", 0, "core of the proxies")
	flag.IntVar(&b.loadCPU, "load-cpu", 1, "core of the load")
	flag.Parse()
	if *quick {
		b.seconds, b.rounds, b.step, b.steady = 2, 3, 2, 0
	}
	for _, s := range strings.Split(*rates, ",") {
		r, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || r <= 0 {
			fail(fmt.Errorf("-rates %q: give numbers such as 1000,4000", *rates))
		}
		b.rates = append(b.rates, r)
	}
	b.modes = strings.Split(*modes, ",")
	for _, m := range b.modes {
		if m != "stateless" && m != "stateful" {
			fail(fmt.Errorf("-modes %q: give stateless, stateful or both", *modes))
		}
	}
	if runtime.NumCPU() < 2 {
		fail(fmt.Errorf("proxy and load need a core each; this machine has one"))
	}
	if _, err := exec.LookPath("kamailio"); err == nil {
		b.kamailio = true
	} else if *loops == 0 {
		fail(fmt.Errorf("kamailio is not installed; make deps installs it"))
	}
	dir, err := os.MkdirTemp("", "sipedge-peers-")
	if err != nil {
		fail(err)
	}
	defer os.RemoveAll(dir)
	if b.tools, err = rig.BuildTools(dir); err != nil {
		fail(err)
	}
	if *loops > 0 {
		err = b.sharing(*loops)
	} else {
		for _, m := range b.modes {
			if err == nil {
				err = b.table(m, *floor)
			}
			if err == nil && *capacity {
				err = b.capacity(m, *floor)
			}
		}
	}
	if err != nil {
		os.RemoveAll(dir)
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "peers:", err)
	os.Exit(1)
}

// A contender is one of those that take turns.
type contender struct {
	name  string
	start func(o rig.Options) (*rig.Proxy, error)
}

func (b *bench) contenders(floor bool) []contender {
	c := []contender{
		{"sipedge", func(o rig.Options) (*rig.Proxy, error) { return rig.StartSipedge(b.sipedge, o) }},
		{"Kamailio", rig.StartKamailio},
	}
	if floor {
		c = append(c, contender{"floor", func(o rig.Options) (*rig.Proxy, error) { return rig.StartFloor(b.tools.Floor, o) }})
	}
	return c
}

// loadArgs are the generator's flags for one proxy and mode.
func (b *bench) loadArgs(p *rig.Proxy, o rig.Options, rate, seconds float64, more ...string) []string {
	args := []string{
		"--proxy", p.Addr.String(), "--uas", o.NextHop.String(), "--rate", fmt.Sprint(rate), "--seconds", fmt.Sprint(seconds),
		// A call that needs longer than this has failed: its callers have hung up.
		"--patience", "4s",
	}
	if b.spin {
		args = append(args, "--spin")
	}
	switch {
	case p.Name == "floor":
		args = append(args, "--floor")
	case o.RecordRoute:
		args = append(args, "--record-route", "always")
	default:
		args = append(args, "--record-route", "never", "--in-dialog-to-proxy")
	}
	return append(args, more...)
}

// options: stateful calls with Record-Route, stateless ones without, their ACK and BYE following
// the Request-URI through the proxy as behind an outbound proxy.
func (b *bench) options(mode string) (rig.Options, error) {
	next, err := rig.FreeAddr()
	return rig.Options{
		Stateful: mode == "stateful", RecordRoute: mode == "stateful", OpenRelay: mode == "stateless",
		NextHop: next, CPUs: strconv.Itoa(b.proxyCPU), UDPIO: b.udpIO,
	}, err
}

func (b *bench) load() string { return strconv.Itoa(b.loadCPU) }

// settle waits until the proxy has worked off what an earlier run left behind.
func settle(p *rig.Proxy) {
	for range 50 {
		before, err := p.CPU()
		time.Sleep(200 * time.Millisecond)
		after, err2 := p.CPU()
		if err != nil || err2 != nil || after-before < 20*time.Millisecond {
			return
		}
	}
}
