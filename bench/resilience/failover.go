//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sipedge/bench/rig"
)

const (
	callLength   = 4 * time.Second
	failoverRate = 100 // calls/s: Go phones in one process, so it is modest
	// calm is how long calls run undisturbed, before and after each blow.
	calm = 4 * time.Second
	// outage is how long the gateway stays away: longer than its probes need, and than the calls last that it set up.
	outage = 7 * time.Second
	// watch is how often the state of a gateway is asked for.
	watch = 25 * time.Millisecond
)

// failover takes the active gateway of two away under load, in both ways there are: its process is killed, so that its
// machine refuses what comes for it; and it is stopped, so that nothing answers at all.
//
// Both gateways are proxies in front of one called party and stay out of the dialogs: the calls that they set up do not need them.
func (b *bench) failover() error {
	parties, err := newPhones(netip.AddrPort{})
	if err != nil {
		return err
	}
	defer parties.close()
	gateway := rig.Options{Stateful: true, NextHop: parties.at(), Next: "sip:" + parties.at().String()}
	var gateways [2]*rig.Proxy
	defer func() {
		for _, g := range gateways {
			if g != nil {
				_ = g.Signal(syscall.SIGCONT)
				_ = g.Stop()
			}
		}
	}()
	for i := range gateways {
		if gateways[i], err = rig.StartSipedge(b.sipedge, gateway); err != nil {
			return err
		}
	}
	o, _, err := b.options(fmt.Sprintf(`
domains: [%s]
gateways:
  carriers:
    timeout: 2s
    failover: [500, 502, 503, 504, timeout]
    probe: {every: 1s, down: 2, up: 1}
    members: [{name: first, uri: "sip:%v", priority: 1}, {name: second, uri: "sip:%v", priority: 2}]
routes:
- {match: {uri: {ours: true}}, gateway: carriers}
`, troubleDomain, gateways[0].Addr, gateways[1].Addr))
	if err != nil {
		return err
	}
	p, err := rig.StartSipedge(b.sipedge, o)
	if err != nil {
		return err
	}
	defer p.Stop()
	parties.to(p.Addr)
	health := watchHealth(p, "first")
	defer health.stop()
	if !health.wait("up", time.Now().Add(5*time.Second)) {
		return fmt.Errorf("the first gateway never comes up")
	}
	first := gateways[0].Addr
	var blows []blow
	stop := parties.stream(failoverRate, callLength, func(int) string { return "sip:bob@" + troubleDomain })
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	for _, kind := range []string{"killed (kill -9)", "stopped (kill -STOP)"} {
		bl := blow{kind: kind, from: time.Now()}
		time.Sleep(calm)
		bl.struck = time.Now()
		if len(blows) == 0 {
			gateways[0].Kill()
		} else if err := gateways[0].Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		health.wait("down", bl.struck.Add(outage))
		bl.down = health.since("down", bl.struck)
		time.Sleep(time.Until(bl.struck.Add(outage)))
		bl.back = time.Now()
		if len(blows) == 0 {
			gateway.Addr = first
			if gateways[0], err = rig.StartSipedge(b.sipedge, gateway); err != nil {
				return err
			}
		} else if err := gateways[0].Signal(syscall.SIGCONT); err != nil {
			return err
		}
		health.wait("up", bl.back.Add(calm))
		bl.up = health.since("up", bl.back)
		time.Sleep(calm)
		bl.to = time.Now()
		blows = append(blows, bl)
	}
	stop()
	stop = nil
	for over := time.Now().Add(callLength + patience); time.Now().Before(over) && !allEnded(parties.snapshot()); {
		time.Sleep(100 * time.Millisecond)
	}
	calls := parties.snapshot()
	for _, bl := range blows {
		bl.report(calls, first.String(), gateways[1].Addr.String())
	}
	return nil
}

func allEnded(calls []call) bool {
	for i := range calls {
		if calls[i].ended.IsZero() {
			return false
		}
	}
	return true
}

// blow is one time that the gateway was taken away.
type blow struct {
	kind         string
	from, to     time.Time // what belongs to it
	struck, back time.Time // the gateway went, and came back
	down, up     time.Time // the proxy saw it; zero: it did not
}

func (bl *blow) report(calls []call, first, second string) {
	between := func(from, to time.Time) func(c *call) bool {
		return func(c *call) bool { return !c.began.Before(from) && c.began.Before(to) }
	}
	count := func(choose ...func(c *call) bool) (n int) {
	calls:
		for i := range calls {
			for _, f := range choose {
				if !f(&calls[i]) {
					continue calls
				}
			}
			n++
		}
		return n
	}
	by := func(gateway string) func(c *call) bool { return func(c *call) bool { return c.through == gateway } }
	failed := func(c *call) bool { return c.answered.IsZero() }
	lives := func(c *call) bool {
		return !c.answered.IsZero() && c.answered.Before(bl.struck) && c.ended.After(bl.struck)
	}
	harmed := func(c *call) bool { return c.status != 200 || c.resent > 0 }
	inSetup := func(c *call) bool {
		return c.began.Before(bl.struck) && (c.answered.IsZero() || c.answered.After(bl.struck)) && !c.began.Before(bl.from)
	}
	down, up := bl.down, bl.up
	if down.IsZero() {
		down = bl.back
	}
	if up.IsZero() {
		up = bl.to
	}
	fmt.Printf("  first gateway %s\n", bl.kind)
	fmt.Printf("    established through it at that moment  %d calls; %d of them harmed (BYE not answered 200, or sent twice)\n", count(lives, by(first)), count(lives, by(first), harmed))
	fmt.Printf("    being set up at that moment            %d calls, %d failed\n", count(inSetup), count(inSetup, failed))
	fmt.Printf("    taken for down after                   %s;  up again %s after it was back\n", after(bl.struck, bl.down), after(bl.back, bl.up))
	fmt.Printf("    %-38s %8s %8s %8s %10s %10s %10s\n", "new calls", "number", "failed", "by 2nd", "p50 ms", "p99 ms", "max ms")
	for _, phase := range []struct {
		name     string
		from, to time.Time
	}{
		{"before", bl.from, bl.struck},
		{"until it was taken for down", bl.struck, down},
		{"while down", down, bl.back},
		{"until it was taken for up", bl.back, up},
		{"afterwards", up, bl.to},
	} {
		in := between(phase.from, phase.to)
		ms := setups(calls, in)
		fmt.Printf("    %-38s %8d %8d %8d %10.2f %10.2f %10.2f\n", phase.name, count(in), count(in, failed), count(in, by(second)), quantile(ms, 0.5), quantile(ms, 0.99), quantile(ms, 1))
	}
}

func after(from, to time.Time) string {
	if to.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%.2f s", to.Sub(from).Seconds())
}

// healthWatch asks the proxy what it thinks of a gateway.
type healthWatch struct {
	quit, done chan struct{}
	member     string
	how        string // the last word for down; to be read after stop
	now        atomic.Pointer[reading]
}

type reading struct {
	health string
	since  time.Time // when this was first read
}

func watchHealth(p *rig.Proxy, member string) *healthWatch {
	h := &healthWatch{quit: make(chan struct{}), done: make(chan struct{}), member: member}
	h.now.Store(&reading{})
	go func() {
		defer close(h.done)
		tick := time.NewTicker(watch)
		defer tick.Stop()
		for {
			select {
			case <-h.quit:
				return
			case <-tick.C:
			}
			if s := h.ask(p); s != "" && s != h.now.Load().health {
				h.now.Store(&reading{s, time.Now()})
			}
		}
	}()
	return h
}

func (h *healthWatch) ask(p *rig.Proxy) string {
	client := http.Client{Timeout: 2 * time.Second}
	r, err := client.Get("http://" + p.Admin + "/gateways")
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	var list []struct{ Member, Health string }
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		return ""
	}
	for _, m := range list {
		if m.Member == h.member {
			if !strings.HasPrefix(m.Health, "up") {
				h.how = m.Health
				return "down"
			}
			return m.Health
		}
	}
	return ""
}

// wait until the gateway is in that state, or until over.
func (h *healthWatch) wait(state string, over time.Time) bool {
	for time.Now().Before(over) {
		if h.now.Load().health == state {
			return true
		}
		time.Sleep(watch)
	}
	return false
}

// since tells when it got into the state, after from; zero when it is in another.
func (h *healthWatch) since(state string, from time.Time) time.Time {
	if r := h.now.Load(); r.health == state && r.since.After(from) {
		return r.since
	}
	return time.Time{}
}

func (h *healthWatch) stop() {
	close(h.quit)
	<-h.done
}
