//go:build linux

package main

import (
	"fmt"
	"sort"
	"time"

	"sipedge/bench/load"
	"sipedge/bench/rig"
)

// settle is what lies between a change and the turn that shows its effect.
const settle = 500 * time.Millisecond

// span is a time in which a load is looked at.
type span struct{ from, to time.Time }

// seen is what calls that began in some spans met with.
type seen struct {
	setups []float64 // milliseconds
	failed int
}

// pick takes the calls that began in one of the spans.
func pick(r *load.Result, spans []span) (s seen) {
	for _, c := range r.Each {
		at := r.Began.Add(time.Duration(c.At) * time.Microsecond)
		for _, p := range spans {
			if at.Before(p.from) || !at.Before(p.to) {
				continue
			}
			if c.Setup < 0 {
				s.failed++
			} else {
				s.setups = append(s.setups, float64(c.Setup)/1000)
			}
		}
	}
	sort.Float64s(s.setups)
	return s
}

// quantile of sorted values; 0 when there are none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func row(name string, before, while seen, note string) {
	ms := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	p99, trouble := quantile(before.setups, 0.99), quantile(while.setups, 0.99)
	ratio := "-"
	if p99 > 0 {
		ratio = fmt.Sprintf("%.2f", trouble/p99)
	}
	fmt.Printf(rowFormat, name, ms(quantile(before.setups, 0.5)), ms(p99), ms(quantile(while.setups, 0.5)), ms(trouble), ratio,
		fmt.Sprintf("%d, %d", before.failed, while.failed), note)
}

// unrelated starts the calls that have nothing to do with any trouble: to the healthy next hop, by name of a domain of the policy.
func (b *bench) unrelated(p *rig.Proxy, o rig.Options, length time.Duration) (*rig.Load, error) {
	return b.tools.StartLoad("", "--proxy", p.Addr.String(), "--uas", o.NextHop.String(), "--target", healthyDomain, "--rate", fmt.Sprint(b.rate),
		"--seconds", fmt.Sprint(length.Seconds()), "--record-route", "always", "--patience", "8s", "--each")
}

// during shows one trouble: calls run all the time, and the trouble comes and goes.
func (b *bench) during(t *trouble) (err error) {
	o, err := t.prepare()
	if err != nil {
		return err
	}
	p, err := rig.StartSipedge(b.sipedge, o)
	if err != nil {
		return err
	}
	defer func() {
		t.finish()
		if err2 := p.Stop(); err == nil {
			err = err2
		}
	}()
	if t.all != nil {
		if err := t.all(p); err != nil {
			return err
		}
	}
	l, err := b.unrelated(p, o, time.Duration(b.rounds)*(2*b.turn+2*settle)+settle)
	if err != nil {
		return err
	}
	var before, while []span
	turn := func(to *[]span) {
		time.Sleep(settle)
		from := time.Now()
		time.Sleep(b.turn)
		*to = append(*to, span{from, time.Now()})
	}
	for range b.rounds {
		turn(&before)
		if err := t.begin(p); err != nil {
			l.Kill()
			return err
		}
		turn(&while)
		t.end()
	}
	res, err := l.Wait()
	if err != nil {
		return err
	}
	note, err := t.note(p)
	if err != nil {
		return err
	}
	if res.Wrong > 0 {
		note += fmt.Sprintf("; %d messages were wrong", res.Wrong)
	}
	row(t.name, pick(res, before), pick(res, while), note)
	return nil
}
