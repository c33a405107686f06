//go:build linux

package main

import (
	"fmt"
	"sort"
	"time"

	"sipedge/bench/rig"
)

// row is what one contender showed at one rate.
type row struct {
	cost              []float64 // CPU microseconds per call, one a round
	calls, failed     uint64
	p50, p99          []float64
	drops             uint64
	disturbed, rounds int
	generatorDropped  uint64
	generatorLag      float64
	wrong             uint64
	firstWrong        string
}

// disturbedShare is how much of the proxy's core others may use before a round is called disturbed.
const disturbedShare = 0.05

// table runs every rate with all contenders in turns and prints the medians.
func (b *bench) table(mode string, floor bool) error {
	o, err := b.options(mode)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s calls: CPU microseconds per call, user and system of the whole process tree; median of %d rounds of %.0f s, in turns on core %d\n",
		mode, b.rounds, b.seconds, b.proxyCPU)
	var proxies []*rig.Proxy
	defer func() {
		for _, p := range proxies {
			if err := p.Stop(); err != nil {
				fmt.Println("  ", err)
			}
		}
	}()
	for _, c := range b.contenders(floor) {
		p, err := c.start(o)
		if err != nil {
			return err
		}
		proxies = append(proxies, p)
		// The first calls pay for memory that is touched for the first time.
		if _, err := b.tools.RunLoad(b.load(), b.loadArgs(p, o, 2000, 1)...); err != nil {
			return err
		}
	}
	fmt.Printf("  %8s %9s %9s %9s %7s   %-23s %-21s %s\n", "calls/s", "floor", "sipedge", "Kamailio", "ratio", "failed sipedge/Kamailio", "p99 us sipedge/Kam.", "notes")
	for _, rate := range b.rates {
		rows := map[string]*row{}
		for round := range b.rounds {
			for i := range proxies {
				p := proxies[(i+round)%len(proxies)] // who begins changes
				if rows[p.Name] == nil {
					rows[p.Name] = &row{}
				}
				if err := b.round(p, o, rate, rows[p.Name]); err != nil {
					return err
				}
			}
		}
		b.printRow(rate, rows)
	}
	if b.steady > 0 && mode == "stateful" {
		return b.steadyState(o, b.rates[len(b.rates)-1], proxies)
	}
	return nil
}

func (b *bench) round(p *rig.Proxy, o rig.Options, rate float64, r *row) error {
	settle(p)
	drops := p.Drops()
	busy, err := rig.CoreBusy(b.proxyCPU)
	if err != nil {
		return err
	}
	start := time.Now()
	before, err := p.CPU()
	if err != nil {
		return err
	}
	res, err := b.tools.RunLoad(b.load(), b.loadArgs(p, o, rate, b.seconds)...)
	if err != nil {
		return err
	}
	after, err := p.CPU()
	if err != nil {
		return err
	}
	took := time.Since(start)
	busyAfter, err := rig.CoreBusy(b.proxyCPU)
	if err != nil {
		return err
	}
	r.rounds++
	if others := (busyAfter - busy) - (after - before); others.Seconds() > disturbedShare*took.Seconds() {
		r.disturbed++
	}
	r.cost = append(r.cost, float64((after-before).Nanoseconds())/1000/float64(max(res.Completed, 1)))
	r.p50, r.p99 = append(r.p50, res.SetupP50), append(r.p99, res.SetupP99)
	r.calls += res.Started + res.NotStarted
	r.failed += res.Failed + res.NotStarted
	r.wrong += res.Wrong
	if len(res.Samples) > 0 && r.firstWrong == "" {
		r.firstWrong = res.Samples[0].Reason
	}
	r.drops += p.Drops() - drops
	r.generatorDropped += res.Dropped
	r.generatorLag = max(r.generatorLag, res.LagMax)
	return nil
}

func (b *bench) printRow(rate float64, rows map[string]*row) {
	ours, theirs, floor := rows["sipedge"], rows["Kamailio"], rows["floor"]
	least := "-"
	if floor != nil {
		least = fmt.Sprintf("%.1f", median(floor.cost))
	}
	// What disturbs the machine for seconds disturbs both of a round: the ratio is taken within rounds.
	ratios := make([]float64, len(ours.cost))
	for i := range ratios {
		ratios[i] = ours.cost[i] / theirs.cost[i]
	}
	fmt.Printf("  %8.0f %9s %9.1f %9.1f %7.2f   %-23s %-21s %s\n", rate, least, median(ours.cost), median(theirs.cost), median(ratios),
		fmt.Sprintf("%d/%d of %d", ours.failed, theirs.failed, ours.calls), fmt.Sprintf("%.0f/%.0f", median(ours.p99), median(theirs.p99)), notes(ours, theirs))
}

func notes(rows ...*row) string {
	s := ""
	for i, r := range rows {
		name := []string{"sipedge", "Kamailio"}[i]
		if r.disturbed > 0 {
			s += fmt.Sprintf("core shared with others in %d of %s's %d rounds; ", r.disturbed, name, r.rounds)
		}
		if r.wrong > 0 {
			s += fmt.Sprintf("%s: %d wrong messages (%s); ", name, r.wrong, r.firstWrong)
		}
		if r.drops > 0 {
			s += fmt.Sprintf("%s: %d datagrams dropped at its socket; ", name, r.drops)
		}
		if r.generatorDropped > 0 {
			s += fmt.Sprintf("generator dropped %d with %s; ", r.generatorDropped, name)
		}
	}
	return s
}

// steadyAfter is when finished transactions leave as fast as new ones come: Timers L, M and J of
// RFC 3261 and RFC 6026 are 32 s. Shorter runs hide the price of forgetting.
const steadyAfter = 35 * time.Second

// steadyState measures the cost per call once transactions end as fast as they begin.
func (b *bench) steadyState(o rig.Options, rate float64, proxies []*rig.Proxy) error {
	cost := map[string]float64{}
	failed := map[string]uint64{}
	for _, p := range proxies {
		if p.Name == "floor" {
			continue
		}
		settle(p)
		l, err := b.tools.StartLoad(b.load(), b.loadArgs(p, o, rate, steadyAfter.Seconds()+b.steady+0.5)...)
		if err != nil {
			return err
		}
		time.Sleep(steadyAfter)
		start := time.Now()
		before, err := p.CPU()
		if err != nil {
			l.Kill()
			return err
		}
		time.Sleep(time.Duration(b.steady * float64(time.Second)))
		after, err := p.CPU()
		took := time.Since(start)
		if err != nil {
			l.Kill()
			return err
		}
		res, err := l.Wait()
		if err != nil {
			return err
		}
		cost[p.Name] = float64((after - before).Nanoseconds()) / 1000 / (rate * took.Seconds())
		failed[p.Name] = res.Failed + res.NotStarted
	}
	fmt.Printf("  %8.0f %9s %9.1f %9.1f %7.2f   %-23s %-21s %s\n", rate, "", cost["sipedge"], cost["Kamailio"], cost["sipedge"]/cost["Kamailio"],
		fmt.Sprintf("%d/%d", failed["sipedge"], failed["Kamailio"]), "", fmt.Sprintf("after %.0f s, when transactions leave as fast as they come", steadyAfter.Seconds()))
	return nil
}

func median(v []float64) float64 {
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	if len(s) == 0 {
		return 0
	}
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}
