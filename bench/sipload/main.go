//go:build linux

// Command sipload places SIP calls through a proxy, caller and called party in one process.
//
//	go run ./bench/sipload --proxy 127.0.0.1:5060 --uas 127.0.0.1:5080 --rate 10000 --seconds 5
//
// It exits with 1 when more than --max-failed of the calls failed or anything came back wrong.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"

	"sipedge/bench/load"
)

func main() {
	cfg := load.Default()
	address := func(to *netip.AddrPort, name, value, usage string) {
		*to = netip.MustParseAddrPort(value)
		flag.Func(name, usage+" (default "+value+")", func(s string) (err error) {
			*to, err = netip.ParseAddrPort(s)
			return err
		})
	}
	address(&cfg.Proxy, "proxy", "127.0.0.1:5060", "where the proxy listens")
	address(&cfg.UAC, "uac", "127.0.0.1:0", "the callers' address")
	address(&cfg.UAS, "uas", "127.0.0.1:5080", "the called party's address, the proxy's next hop")
	mode := flag.String("mode", string(cfg.Mode), "call, ring or options")
	ending := flag.String("ending", string(cfg.Ending), "how ringing calls finish: answer or cancel")
	recordRoute := flag.String("record-route", string(cfg.RecordRoute), "what the proxy must have done: any, always or never")
	seconds := flag.Float64("seconds", cfg.Duration.Seconds(), "how long calls are started")
	flag.StringVar(&cfg.Target, "target", "", "host[:port] of the Request-URI; uas means the called party's own address (default the proxy's address)")
	flag.IntVar(&cfg.UACSockets, "uac-sockets", cfg.UACSockets, "sockets of the callers")
	flag.IntVar(&cfg.UASSockets, "uas-sockets", cfg.UASSockets, "sockets of the called party")
	flag.Float64Var(&cfg.Rate, "rate", cfg.Rate, "calls per second")
	flag.IntVar(&cfg.Units, "calls", 0, "stop after so many calls (default by --seconds alone)")
	flag.IntVar(&cfg.Pending, "pending", 0, "ring: how many calls ring at once")
	uniform := flag.Bool("uniform", false, "equal gaps between calls instead of a Poisson process")
	flag.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "of the Poisson process")
	flag.DurationVar(&cfg.Warm, "warm", 0, "of the seconds: what the sustained rate leaves out")
	flag.DurationVar(&cfg.RingTime, "ring", 0, "time from 180 to 200")
	flag.DurationVar(&cfg.HoldTime, "hold", 0, "time from ACK to BYE")
	flag.DurationVar(&cfg.T1, "t1", cfg.T1, "RFC 3261 T1")
	flag.DurationVar(&cfg.T2, "t2", cfg.T2, "RFC 3261 T2")
	flag.DurationVar(&cfg.Patience, "patience", cfg.Patience, "a call that has not ended this long after it should have is failed")
	flag.DurationVar(&cfg.Late, "late", cfg.Late, "set-up beyond this is late")
	flag.BoolVar(&cfg.InDialogToProxy, "in-dialog-to-proxy", false, "send ACK and BYE to the proxy even without a Route, as behind an outbound proxy")
	flag.BoolVar(&cfg.Floor, "floor", false, "the peer forwards datagrams unread: expect no Via and no hop of it")
	flag.IntVar(&cfg.DeepEvery, "deep", cfg.DeepEvery, "compare every n-th INVITE byte for byte; 0: none")
	flag.BoolVar(&cfg.Spin, "spin", false, "poll instead of sleeping")
	flag.BoolVar(&cfg.Segment, "segment", false, "send datagrams of equal length in one burst: drives more calls, but not for several loops on one port")
	flag.BoolVar(&cfg.Each, "each", false, "with --json: tell of each call when it began and how long its set-up took")
	flag.IntVar(&cfg.MaxCalls, "max-calls", 0, "calls alive at once (default from the rate)")
	maxFailed := flag.Float64("max-failed", 0, "share of calls that may fail")
	asJSON := flag.Bool("json", false, "print the result as JSON")
	gate := flag.Bool("gate", false, "ring: print \"pending\" when all calls ring and finish them after a line on standard input")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "sipload: %q is no flag; see --help\n", flag.Arg(0))
		os.Exit(2)
	}
	cfg.Mode, cfg.Ending, cfg.RecordRoute = load.Mode(*mode), load.Ending(*ending), load.Expect(*recordRoute)
	cfg.Duration, cfg.Poisson = time.Duration(*seconds*float64(time.Second)), !*uniform

	var g *load.Gate
	if *gate {
		g = &load.Gate{Pending: func() { fmt.Println("pending") }}
		go func() {
			// A driver that died releases the calls too: its end of the pipe is closed.
			_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
			g.Release()
		}()
	}
	res, err := load.Run(cfg, g)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sipload:", err)
		os.Exit(2)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(res)
	} else {
		res.Print(os.Stdout)
	}
	if res.FailedShare() > *maxFailed || res.Completed == 0 {
		os.Exit(1)
	}
}
