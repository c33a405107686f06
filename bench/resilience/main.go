//go:build linux

// Command resilience shows what trouble elsewhere does to calls that have nothing to do with it.
//
//	go run ./bench/resilience -sipedge bin/sipedge                 about four minutes
//	go run ./bench/resilience -sipedge bin/sipedge -only gateway   what is named so
//
// The parts, by the names that -only takes (a part of a name is enough):
//
//	trouble/...   set-up latency of calls to a next hop that is well, before and while DNS servers, a gateway, a TCP peer or
//	              whoever takes the log fail
//	failover/...  the active gateway of two is killed, and then stopped, under calls that last for seconds
//	memory/tls    what an idle TLS connection costs
//	loris         1,000 connections that bring a byte a second
//
// Everything goes through the binary and real sockets. Nothing is asserted: such machines are noisy, so before and while
// take turns, and the median turn counts.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"sipedge/bench/rig"
)

type bench struct {
	tools   rig.Tools
	sipedge string
	dir     string
	rate    float64       // unrelated calls per second
	rounds  int           // turns of before and while
	turn    time.Duration // length of each
	idle    int           // TLS connections
	loris   int
}

// part is something that -only can name.
type part struct {
	name string
	run  func() error
}

func main() {
	var b bench
	hold := flag.String("hold", "", "for this program's own use: open TLS connections to this address, and keep them until standard input ends")
	authority := flag.String("hold-ca", "", "with -hold: what the server is checked by")
	only := flag.String("only", "", "run the parts whose name has this in it")
	priority := flag.Bool("priority", false, "go before everything else on this machine (needs root): for machines that others use as well")
	flag.StringVar(&b.sipedge, "sipedge", "bin/sipedge", "the binary")
	flag.Float64Var(&b.rate, "rate", 400, "unrelated calls per second")
	flag.IntVar(&b.rounds, "rounds", 5, "turns of before and while")
	flag.DurationVar(&b.turn, "turn", 1400*time.Millisecond, "length of one turn")
	flag.IntVar(&b.idle, "connections", 10_000, "idle TLS connections")
	flag.IntVar(&b.loris, "loris", 1000, "connections that bring a byte a second")
	flag.Parse()
	if *hold != "" {
		if err := holdConnections(*hold, *authority, b.idle); err != nil {
			fail(err)
		}
		return
	}
	if *priority {
		rig.GoFirst()
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "sipedge-resilience-"); err != nil {
		fail(err)
	}
	if b.tools, err = rig.BuildTools(b.dir); err == nil {
		err = b.run(*only)
	}
	os.RemoveAll(b.dir)
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "resilience:", err)
	os.Exit(1)
}

func (b *bench) run(only string) error {
	ran, group := 0, ""
	for _, p := range b.parts() {
		if !strings.Contains(p.name, only) {
			continue
		}
		if g, _, _ := strings.Cut(p.name, "/"); g != group {
			group = g
			b.heading(g)
		}
		if err := p.run(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		ran++
	}
	if ran == 0 {
		return fmt.Errorf("no part has %q in its name", only)
	}
	return nil
}

func (b *bench) parts() (all []part) {
	for _, t := range b.troubles() {
		all = append(all, part{"trouble/" + t.name, func() error { return b.during(t) }})
	}
	return append(all,
		part{"trouble/disk full for logs", b.logDiskFull},
		part{"failover/killed and stopped", b.failover},
		part{"memory/tls", b.memory},
		part{"loris", b.slowLoris},
	)
}

const rowFormat = "  %-34s %9s %9s %9s %9s %7s %7s  %s\n"

func (b *bench) heading(group string) {
	switch group {
	case "trouble":
		fmt.Printf("\nset-up of %.0f calls/s by UDP to a next hop that is well, ms; medians of %d turns of %v each\n", b.rate, b.rounds, b.turn)
		fmt.Printf(rowFormat, "trouble", "before", "", "while", "", "ratio", "failed", "what was wrong meanwhile")
		fmt.Printf(rowFormat, "", "p50", "p99", "p50", "p99", "p99", "", "")
	case "failover":
		fmt.Printf("\ntwo gateways by priority, probed each second (down after 2), timeout 2 s; calls of %v go through the first one\n", callLength)
	case "memory":
		fmt.Printf("\nidle TLS connections\n")
	case "loris":
		fmt.Printf("\n%d connections that bring one byte a second, of a header that never ends\n", b.loris)
		fmt.Printf(rowFormat, "", "before", "", "while", "", "ratio", "failed", "")
		fmt.Printf(rowFormat, "", "p50", "p99", "p50", "p99", "p99", "", "")
	}
}
