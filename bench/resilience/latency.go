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
const settle = 400 * time.Millisecond

// span is a time in which a load is looked at.
type span struct{ from, to time.Time }

// divide cuts a span into turns.
func divide(s span, turns int) (all []span) {
	length := s.to.Sub(s.from) / time.Duration(turns)
	for i := range turns {
		from := s.from.Add(time.Duration(i) * length)
		all = append(all, span{from, from.Add(length)})
	}
	return all
}

// seen is what calls that began in some spans met with: of each number, the median of the spans. What else the machine does
// comes in bursts, of which one would spoil a 99th percentile of all calls together.
type seen struct {
	p50, p99 float64 // milliseconds
	failed   int     // in all spans
}

// pick takes the calls that began in the spans.
func pick(r *load.Result, spans []span) (s seen) {
	var p50, p99 []float64
	for _, p := range spans {
		var setups []float64
		for _, c := range r.Each {
			at := r.Began.Add(time.Duration(c.At) * time.Microsecond)
			switch {
			case at.Before(p.from) || !at.Before(p.to):
			case c.Setup < 0:
				s.failed++
			default:
				setups = append(setups, float64(c.Setup)/1000)
			}
		}
		sort.Float64s(setups)
		p50, p99 = append(p50, quantile(setups, 0.5)), append(p99, quantile(setups, 0.99))
	}
	sort.Float64s(p50)
	sort.Float64s(p99)
	s.p50, s.p99 = quantile(p50, 0.5), quantile(p99, 0.5)
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
	ratio := "-"
	if before.p99 > 0 {
		ratio = fmt.Sprintf("%.2f", while.p99/before.p99)
	}
	fmt.Printf(rowFormat, name, ms(before.p50), ms(before.p99), ms(while.p50), ms(while.p99), ratio,
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
