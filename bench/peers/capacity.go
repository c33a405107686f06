//go:build linux

package main

import (
	"fmt"
	"strings"

	"sipedge/bench/load"
	"sipedge/bench/rig"
)

const (
	// failedBound is what counts as carried: under 0.01 % of the calls failed.
	failedBound = 0.0001
	// closeness ends the search: the last rate that held and the first that did not are this near.
	closeness = 0.03
	// lagBound, in milliseconds: a generator further behind its own schedule is the bottleneck itself.
	lagBound  = 200
	firstStep = 4000 // calls/s
)

// found is the capacity of one contender.
type found struct {
	rate      float64 // the highest that held
	generator bool    // it was the generator that gave in, so the true figure is higher
	steps     string
}

// capacity looks for the highest rate that each contender carries alone on its core.
func (b *bench) capacity(mode string, floor bool) error {
	fmt.Printf("\n%s calls: capacity of one core, calls/s at under 0.01 %% failed (steps of %.0f s; a call not over within 4 s has failed)\n", mode, b.step)
	best := map[string]found{}
	for _, c := range b.contenders(floor) {
		o, err := b.options(mode)
		if err != nil {
			return err
		}
		p, err := c.start(o)
		if err != nil {
			return err
		}
		f, err := b.search(p, o, b.load(), "--segment")
		if err2 := p.Stop(); err == nil {
			err = err2
		}
		if err != nil {
			return err
		}
		best[c.name] = f
		more := ""
		if f.generator {
			more = " or more: the generator gave in first"
		}
		fmt.Printf("  %-9s %6.0f%s   (%s)\n", c.name, f.rate, more, f.steps)
	}
	fmt.Printf("  ratio     %.2f\n", best["sipedge"].rate/max(best["Kamailio"].rate, 1))
	return nil
}

// search doubles the rate until it no longer holds and then halves the gap. A step that fails is
// tried once more, since a pause of the machine is not the proxy's.
func (b *bench) search(p *rig.Proxy, o rig.Options, cpus string, more ...string) (found, error) {
	var f found
	var steps []string
	good, bad := 0.0, 0.0
	for rate := float64(firstStep); ; {
		held, generator := false, false
		for try := 0; try < 2 && !held; try++ {
			settle(p)
			res, err := b.tools.RunLoad(cpus, b.loadArgs(p, o, rate, b.step, more...)...)
			if err != nil {
				return f, err
			}
			held = carried(res)
			generator = res.LagMax > lagBound || res.Dropped > 0
			mark := "+"
			if !held {
				mark = "-"
			}
			if generator {
				mark += "!"
			}
			steps = append(steps, fmt.Sprintf("%.0f%s", rate, mark))
		}
		if held {
			good = rate
		} else {
			bad = rate
			f.generator = generator
		}
		switch {
		case bad == 0 && good >= b.ceiling:
			f.generator = true
		case bad == 0:
			rate = min(good*1.5, b.ceiling)
			continue
		case bad-good > closeness*bad && bad > 500:
			rate = (good + bad) / 2
			continue
		}
		f.rate, f.steps = good, strings.Join(steps, " ")
		return f, nil
	}
}

// carried reports whether so few failed that the rate counts, and whether it was this rate at all.
func carried(r *load.Result) bool {
	return r.FailedShare() < failedBound && r.LagMax <= lagBound
}
