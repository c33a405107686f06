//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"

	"sipedge/bench/rig"
)

// sharing shows what several loops make of two peers with one socket each: the share of the
// datagrams that each loop got, and the calls/s beside those of one loop. Load and loops share
// the machine's cores here, so the second figure is worth what the machine has beyond them.
func (b *bench) sharing(loops int) error {
	for _, mode := range b.modes {
		o, err := b.options(mode)
		if err != nil {
			return err
		}
		o.CPUs = ""
		fmt.Printf("\n%s calls, one upstream and one downstream peer with one socket each\n", mode)
		var rates [2]float64
		for i, n := range []int{1, loops} {
			o.Workers = n
			p, err := rig.StartSipedge(b.sipedge, o)
			if err != nil {
				return err
			}
			err = b.share(p, o, n, &rates[i])
			if err2 := p.Stop(); err == nil {
				err = err2
			}
			if err != nil {
				return err
			}
		}
		fmt.Printf("  calls/s against one loop: %.0f / %.0f = %.2f\n", rates[1], rates[0], rates[1]/max(rates[0], 1))
	}
	return nil
}

func (b *bench) share(p *rig.Proxy, o rig.Options, loops int, rate *float64) error {
	before, err := p.LoopPackets()
	if err != nil {
		return err
	}
	start := time.Now()
	calm := *b
	calm.spin = false // the loops need the cores
	res, err := calm.tools.RunLoad("", calm.loadArgs(p, o, 2000, b.seconds)...)
	if err != nil {
		return err
	}
	after, err := p.LoopPackets()
	if err != nil {
		return err
	}
	total := 0.0
	for i := range after {
		total += after[i] - before[i]
	}
	var shares []string
	for i := range after {
		shares = append(shares, fmt.Sprintf("%.1f %%", (after[i]-before[i])/max(total, 1)*100))
	}
	fmt.Printf("  %d loop(s): %s of %.0f datagrams in %.1f s; %d calls, %d failed, %d wrong, %d sent again, %d overtaken\n", loops, strings.Join(shares, " / "),
		total, time.Since(start).Seconds(), res.Started, res.Failed, res.Wrong, res.Retransmissions.Sum(), res.Overtaken)
	for _, s := range res.Samples {
		fmt.Printf("    wrong: %s, received by the %s:\n      %s\n", s.Reason, s.At, strings.ReplaceAll(strings.TrimSpace(s.Message), "\r\n", "\n      "))
	}
	f, err := calm.search(p, o, "")
	if err != nil {
		return err
	}
	*rate = f.rate
	fmt.Printf("             carries %.0f calls/s (%s)\n", f.rate, f.steps)
	return nil
}
