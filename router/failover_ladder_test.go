package router_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sipedge/router"
	calls "sipedge/router/dialog"
	"sipedge/router/resolve"
	"sipedge/transport"
)

// addTarget adds "b1", "via b1", "next sip:NAME" or a URI, with "by RULE" and "as GATEWAY" behind it.
func (p *edgeProxy) addTarget(to *router.TargetSet, group uint8, alternative bool, words []string) error {
	var rule router.RuleID
	var gateway int
	var err error
	var uri, next []byte
	var hop *transport.Hop
	for i := 0; i < len(words); i++ {
		arg := ""
		if i+1 < len(words) {
			arg = words[i+1]
		}
		switch word := words[i]; {
		case word == "by":
			var ok bool
			if rule, ok = p.rules[arg]; !ok {
				return fmt.Errorf("no rule %q", arg)
			}
			i++
		case word == "as":
			if gateway, err = strconv.Atoi(arg); err != nil {
				return err
			}
			i++
		case word == "next":
			next = []byte(arg)
			i++
		case word == "via":
			a, err := p.e.n.actor(arg)
			if err != nil {
				return err
			}
			hop = a.hop()
			i++
		case strings.Contains(word, ":"):
			uri = []byte(word)
		default:
			a, err := p.e.n.actor(word)
			if err != nil {
				return err
			}
			uri = []byte(strings.Trim(a.contact(), "<>"))
		}
	}
	to.Rule(rule, uint16(gateway))
	var ok bool
	switch {
	case alternative && next != nil:
		ok = to.AlternativeNext(uri, next)
	case alternative:
		ok = to.Alternative(uri, hop)
	case next != nil:
		ok = to.AddNext(group, uri, next)
	default:
		ok = to.Add(group, uri, hop)
	}
	if !ok {
		return fmt.Errorf("the target set is full at %v", words)
	}
	return nil
}

// makeRules interns the rules of the settings. One that "then" names must come first in the alphabet.
func (p *edgeProxy) makeRules() error {
	for left := len(p.ruleText); left > 0; {
		before := left
		for name, words := range p.ruleText {
			if _, done := p.rules[name]; done {
				continue
			}
			if r, ready, err := p.rule(words); err != nil {
				return fmt.Errorf("rule %s: %w", name, err)
			} else if !ready {
				continue
			} else if p.rules[name], err = p.core.Rule(r); err != nil {
				return fmt.Errorf("rule %s: %w", name, err)
			}
			left--
		}
		if left == before {
			return fmt.Errorf("rules that name each other, or none")
		}
	}
	return nil
}

func (p *edgeProxy) rule(words []string) (r router.Rule, ready bool, err error) {
	for i := 0; i < len(words); i++ {
		switch word := words[i]; word {
		case "silence":
			r.Silence = true
		case "recurse":
			r.Recurse = true
		case "record":
			r.Record = true
		case "counted":
			r.Counted = true
		case "timeout", "overflow", "then":
			i++
			if i == len(words) {
				return r, false, fmt.Errorf("%s what?", word)
			}
			var ok bool
			switch {
			case word == "timeout":
				var d time.Duration
				d, err = time.ParseDuration(words[i])
				r.Timeout = scale(d)
			case word == "overflow":
				r.Overflow, err = strconv.Atoi(words[i])
			case words[i] == "same":
				r.Then = router.Same
			default:
				if r.Then, ok = p.rules[words[i]]; !ok {
					return r, false, nil
				}
			}
		default:
			var n int
			n, err = strconv.Atoi(word)
			r.Statuses = append(r.Statuses, n)
		}
		if err != nil {
			return r, false, err
		}
	}
	return r, true, nil
}

func (p *edgeProxy) setFull(gateway string, is bool) {
	n, _ := strconv.Atoi(gateway)
	p.full[uint16(n)] = is
}

func (p *edgeProxy) admit(a router.Attempt) bool {
	p.asked[a.Gateway]++
	if p.full[a.Gateway] {
		return false
	}
	if a.Counted {
		p.places[a.Gateway]++
	}
	return true
}

// openDialogs is "dialogs [most N] [duration D] [early D]".
func (p *edgeProxy) openDialogs(words []string) (err error) {
	cfg := calls.Config{TokenParam: "se", Ended: func(o calls.Owner) {
		if o.Gateway != 0 {
			p.places[o.Gateway]--
		}
	}}
	for i := 0; i+1 < len(words) && err == nil; i += 2 {
		var d time.Duration
		switch words[i] {
		case "most":
			cfg.Most, err = strconv.Atoi(words[i+1])
		case "duration":
			d, err = time.ParseDuration(words[i+1])
			cfg.MaxDuration = scale(d)
		case "early":
			d, err = time.ParseDuration(words[i+1])
			cfg.MaxEarly = scale(d)
		default:
			err = fmt.Errorf("unknown")
		}
	}
	p.dialogs = calls.New(cfg)
	return err
}

// callsAddUp wants as many places taken as there are entries, and in the end none.
func (p *edgeProxy) callsAddUp() error {
	if p.dialogs == nil {
		return nil
	}
	for g, n := range p.places {
		if n != 0 {
			return fmt.Errorf("%d calls at gateway %d", n, g)
		}
	}
	if n := p.dialogs.Live(); n != 0 {
		return fmt.Errorf("%d calls are watched still", n)
	}
	return nil
}

func (p *edgeProxy) outcome(o router.Outcome) {
	if p.outcomes[o.Gateway] == nil {
		p.outcomes[o.Gateway] = map[router.Event]int{}
	}
	p.outcomes[o.Gateway][o.Event]++
	if o.Counted {
		p.places[o.Gateway]--
	}
}

// outcomesAddUp wants every branch that was started ended, once.
func (p *edgeProxy) outcomesAddUp() error {
	for g, n := range p.outcomes {
		if ends := n[router.Answered] + n[router.Unfinished] + n[router.Silent] + n[router.Failed]; n[router.Started] != ends {
			return fmt.Errorf("gateway %d: %d branches were started and %d ended: %v", g, n[router.Started], ends, n)
		}
	}
	return nil
}

var events = map[string]router.Event{"Started": router.Started, "Provisional": router.Provisional, "Answered": router.Answered,
	"Unfinished": router.Unfinished, "Silent": router.Silent, "Failed": router.Failed, "Late": router.Late, "Unsent": router.Unsent}

// own is "probe 7 gw [DURATION]" or "sends 7 METHOD URI [DURATION]".
func (p *edgeProxy) own(text string) error {
	p.e.owns = true
	words := strings.Fields(text)
	id, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return err
	}
	id |= 1 << 40 // all of it must come back
	var timeout time.Duration
	if d, err := time.ParseDuration(words[len(words)-1]); err == nil {
		timeout = scale(d)
	}
	var ok bool
	switch {
	case words[0] == "sends":
		text := fmt.Sprintf("%s %s SIP/2.0\r\nMax-Forwards: 70\r\nFrom: <sip:edge@example.com>;tag=1\r\nTo: <%s>;tag=2\r\nCall-ID: own-%d\r\nCSeq: 7 %s\r\nContent-Length: 2\r\n\r\nhi",
			words[2], words[3], words[3], id, words[2])
		ok = p.core.Request(router.OwnRequest{ID: id, Text: []byte(text), Next: words[3], Timeout: timeout})
	case strings.Contains(words[2], ":"):
		ok = p.core.Probe(router.Probe{ID: id, URI: words[2], Timeout: timeout})
	default:
		a, err := p.e.n.actor(words[2])
		if err != nil {
			return err
		}
		ok = p.core.Probe(router.Probe{ID: id, URI: "sip:" + a.addr.String(), Hop: *a.hop(), Timeout: timeout})
	}
	if !ok {
		return fmt.Errorf("refused")
	}
	return nil
}

func (p *edgeProxy) probe(id uint64, status uint16, now transport.Instant) {
	if _, twice := p.probed[id]; (twice || now != p.e.n.now) && p.e.n.err == nil {
		p.e.n.err = fmt.Errorf("a second result of probe %d, or another time", id)
	}
	p.probed[id] = status
}

// failoverCounter is "gateway 7 Started", "blocked b1" or "probe 7".
func (p *edgeProxy) failoverCounter(name string) (uint64, bool) {
	words := strings.Fields(name)
	switch {
	case len(words) == 3 && words[0] == "gateway" && events[words[2]] != 0:
		n, _ := strconv.Atoi(words[1])
		return uint64(p.outcomes[uint16(n)][events[words[2]]]), true
	case len(words) == 2 && words[0] == "calls":
		n, _ := strconv.Atoi(words[1])
		return uint64(p.places[uint16(n)]), true
	case name == "calls":
		return uint64(p.dialogs.Live()), true
	case len(words) == 2 && words[0] == "probe":
		n, _ := strconv.ParseUint(words[1], 10, 64)
		status, ok := p.probed[n|1<<40]
		return uint64(status), ok
	case len(words) == 3 && words[0] == "gateway" && words[2] == "asked":
		n, _ := strconv.Atoi(words[1])
		return uint64(p.asked[uint16(n)]), true
	case len(words) == 2 && words[0] == "blocked":
		a, err := p.e.n.actor(words[1])
		if err != nil {
			return 0, false
		}
		until := p.blocked[transport.AddrFrom(a.addr)]
		return uint64(max(0, until.Sub(p.e.n.now)).Milliseconds()), true
	}
	return 0, false
}

// dnsName is what the ladder's DNS says of a name.
type dnsName struct {
	known   bool
	failed  bool
	hops    []transport.Hop // none: there is no such name
	waiting []func()
	asked   int
}

// resolver is a resolver with a table for DNS. A name that is not in it waits for its line "dns > edge".
func (p *edgeProxy) resolver() router.Resolver {
	return router.Resolver{
		Lookup: func(q *resolve.Query, dst []transport.Hop, now transport.Instant) ([]transport.Hop, resolve.Status) {
			d := p.names[string(q.Host)]
			switch {
			case d == nil || !d.known:
				return dst, resolve.Miss
			case d.failed:
				return dst, resolve.Failed
			case len(d.hops) == 0:
				return dst, resolve.Negative
			}
			for _, blocked := range []bool{false, true} {
				for _, h := range d.hops {
					if q.Port != 0 {
						h.Port = q.Port
					}
					if q.Transport != 0 {
						h.Proto = q.Transport
					}
					if (p.blocked[h.Addr] > now) == blocked {
						dst = append(dst, h)
					}
				}
			}
			return dst, resolve.Hit
		},
		Start: func(q resolve.Query, done func()) bool {
			d := p.names[string(q.Host)]
			if d == nil {
				d = &dnsName{}
				p.names[string(q.Host)] = d
			}
			d.asked++
			d.waiting = append(d.waiting, done)
			return string(q.Host) != "queue.full"
		},
		Block: func(hop *transport.Hop, until transport.Instant) { p.blocked[hop.Addr] = until },
	}
}

func (p *edgeProxy) setName(name string, actors []string) error {
	d := p.names[name]
	if d == nil {
		d = &dnsName{}
		p.names[name] = d
	}
	d.known, d.failed, d.hops = true, false, nil
	for _, who := range actors {
		switch who {
		case "none":
		case "failed":
			d.failed = true
		case "unknown":
			d.known = false
		default:
			a, err := p.e.n.actor(who)
			if err != nil {
				return err
			}
			d.hops = append(d.hops, transport.Hop{Addr: transport.AddrFrom(a.addr), Proto: transport.UDP})
		}
	}
	waiting := d.waiting
	d.waiting = nil
	for _, done := range waiting {
		done()
	}
	return nil
}

// learns is "NAME = b1, b2".
func (p *edgeProxy) learns(text string) error {
	name, actors, ok := strings.Cut(text, " = ")
	if !ok {
		return fmt.Errorf("want NAME = ACTORS")
	}
	return p.setName(name, strings.Fields(strings.ReplaceAll(actors, ",", " ")))
}
