package router_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"sipedge/parser"
	"sipedge/router"
	calls "sipedge/router/dialog"
	"sipedge/transport"
	"sipedge/txn"
)

// edgeProxy is the real router behind an edge of a ladder.
type edgeProxy struct {
	e     *edge
	store *txn.Store
	core  *router.Core

	domain    string // the first one
	targets   string // the answer of a synchronous Decide; "" leaves it to the static order
	again     string // the same for requests to the user "again"
	later     bool
	suspended map[int]router.Answer // by call: what the last suspension asked

	ruleText map[string][]string
	rules    map[string]router.RuleID
	full     map[uint16]bool
	asked    map[uint16]int // Admit, by gateway
	outcomes map[uint16]map[router.Event]int
	names    map[string]*dnsName
	probed   map[uint64]uint16
	dialogs  *calls.Table
	places   map[uint16]int // taken by calls, by gateway
	blocked  map[transport.Addr]transport.Instant
}

// startRouter makes the router that the settings ask for.
func startRouter(e *edge, settings []setting) error {
	p := &edgeProxy{e: e, suspended: map[int]router.Answer{}, ruleText: map[string][]string{}, rules: map[string]router.RuleID{},
		full: map[uint16]bool{}, asked: map[uint16]int{}, outcomes: map[uint16]map[router.Event]int{}, names: map[string]*dnsName{}, probed: map[uint64]uint16{}, places: map[uint16]int{}, blocked: map[transport.Addr]transport.Instant{}}
	cfg := router.Config{
		Timers: txn.DefaultTimers(), DecisionTimeout: 5 * time.Second, Peer: e.peer, Alias: e.alias,
		Admit: p.admit, Outcome: p.outcome, Probed: p.probe, OwnAnswered: p.probe,
	}
	domains, nextHop := []string{"example.com"}, "bob"
	store := txn.StoreConfig{MaxTransactions: 1000, Loops: 1}
	for _, s := range settings {
		arg := strings.Join(s.words[1:], " ")
		var err error
		switch s.words[0] {
		case "mode":
			switch arg {
			case "stateful":
			case "stateless":
				cfg.Mode, e.stateless = router.Stateless, true
			default:
				err = fmt.Errorf("unknown mode")
			}
		case "record-route":
			modes := map[string]router.RecordRoute{"auto": router.RecordAuto, "always": router.RecordAlways, "never": router.RecordNever}
			var ok bool
			if cfg.RecordRoute, ok = modes[arg]; !ok {
				err = fmt.Errorf("unknown mode")
			}
		case "domain":
			domains = s.words[1:]
		case "next-hop":
			nextHop = arg
		case "advertise":
			e.sentBy = arg
		case "also-at":
			var a netip.AddrPort
			a, err = netip.ParseAddrPort(arg)
			e.also = append(e.also, listener{a, transport.UDP})
		case "listen", "listen-only":
			e.only = e.only || s.words[0] == "listen-only"
			err = e.listen(s.words[1:])
		case "mtu-switch":
			cfg.UDPMTUSwitch, e.mtuSwitch = true, true
		case "via-maddr":
			cfg.ViaMaddr = true
		case "open-relay":
			cfg.OpenRelay = true
		case "force-rport":
			cfg.ForceRport = true
		case "T1":
			cfg.Timers.T1, err = time.ParseDuration(arg)
		case "T2":
			cfg.Timers.T2, err = time.ParseDuration(arg)
		case "T4":
			cfg.Timers.T4, err = time.ParseDuration(arg)
		case "C":
			cfg.Timers.C, err = time.ParseDuration(arg)
		case "decision-timeout":
			cfg.DecisionTimeout, err = time.ParseDuration(arg)
		case "max-transactions":
			store.MaxTransactions, err = strconv.Atoi(arg)
		case "max-bytes":
			store.MaxRetainedBytes, err = strconv.ParseUint(arg, 10, 64)
		case "loops":
			store.Loops, err = strconv.Atoi(arg)
		case "targets":
			p.targets, cfg.Decide = arg, p.decide
		case "rule":
			p.ruleText[s.words[1]] = s.words[2:]
		case "dialogs":
			err = p.openDialogs(s.words[1:])
			cfg.Dialogs = p.dialogs
		case "full":
			for _, g := range s.words[1:] {
				p.setFull(g, true)
			}
		case "dns":
			cfg.Resolver = p.resolver()
			if len(s.words) > 1 {
				err = p.setName(s.words[1], s.words[2:])
			}
		case "again":
			p.again = arg
		case "decide":
			cfg.Decide = p.decide
			switch arg {
			case "later":
				p.later = true
			case "panics":
				e.panicky = true
			default:
				err = fmt.Errorf("unknown")
			}
		default:
			err = fmt.Errorf("unknown setting")
		}
		if err != nil {
			return fmt.Errorf("%d: %v: %w", s.number, s.words, err)
		}
	}
	p.domain, _, _ = strings.Cut(domains[0], ":")
	for _, d := range domains {
		if d == "none" {
			continue
		}
		host, port, _ := strings.Cut(d, ":")
		n, _ := strconv.Atoi(port)
		cfg.Domains = append(cfg.Domains, router.Domain{Host: host, Port: uint16(n)})
	}
	if nextHop != "none" {
		nextHopProto := transport.UDP
		if words := strings.Fields(nextHop); len(words) == 2 { // "bob udp"
			nextHop, nextHopProto = words[0], protocols[words[1]]
		} else if a := e.n.actors[nextHop]; a != nil {
			nextHopProto = a.proto
		}
		if a := e.n.actors[nextHop]; a != nil {
			nextHop = a.addr.String()
		} else if a := wellKnown[nextHop]; a != "" {
			nextHop = a
		}
		i := strings.LastIndexByte(nextHop, ':')
		port, err := strconv.Atoi(nextHop[i+1:])
		if err != nil {
			return err
		}
		cfg.NextHop = &router.NextHop{Host: nextHop[:i], Port: uint16(port), Proto: nextHopProto}
	}
	for _, a := range e.listeners() {
		l := router.Listener{Addr: a.addr, Proto: a.proto}
		if e.sentBy != "" {
			host, port, _ := strings.Cut(e.sentBy, ":")
			n, _ := strconv.Atoi(port)
			l.AdvertiseHost, l.AdvertisePort = host, uint16(n)
		}
		cfg.Listeners = append(cfg.Listeners, l)
	}
	for _, d := range []*time.Duration{&cfg.Timers.T1, &cfg.Timers.T2, &cfg.Timers.T4, &cfg.Timers.C, &cfg.DecisionTimeout} {
		*d = scale(*d)
	}
	if err := cfg.Timers.Validate(); err != nil {
		return err
	}
	keys, err := txn.NewKeys([]byte("the secret of "+e.name+", for ladders only"), nil)
	if err != nil {
		return err
	}
	p.store = txn.NewStore(store)
	e.proxy = p
	if p.core, err = router.New(cfg, p.store, keys); err != nil {
		return err
	}
	if err := p.makeRules(); err != nil {
		return err
	}
	for i := range store.Loops {
		l := &fakeLoop{e: e, index: i}
		l.handler = p.core.NewWorker(i, l)
		e.loops = append(e.loops, l)
	}
	return nil
}

// listen adds listeners: "tcp tls:5071 ws:203.0.113.9:8080".
func (e *edge) listen(words []string) error {
	for _, w := range words {
		name, rest, _ := strings.Cut(w, ":")
		proto := protocols[name]
		if proto == 0 {
			return fmt.Errorf("no transport %q", name)
		}
		at := netip.AddrPortFrom(e.addr.Addr(), usualPort[proto])
		if port, err := strconv.ParseUint(rest, 10, 16); err == nil {
			at = netip.AddrPortFrom(e.addr.Addr(), uint16(port))
		} else if rest != "" {
			if at, err = netip.ParseAddrPort(rest); err != nil {
				return err
			}
		}
		e.also = append(e.also, listener{at, proto})
	}
	return nil
}

// decide is the router's DecideFunc.
func (p *edgeProxy) decide(q *router.Query, to *router.TargetSet) router.Verdict {
	if bytes.Equal(q.Message.URI.User.In(q.Bytes), []byte("crash")) {
		panic("a decision that panics")
	}
	if p.again != "" && (bytes.Equal(q.Message.URI.User.In(q.Bytes), []byte("again")) || q.Message.URI.SchemeIs == parser.SchemeTel) {
		v, _, err := p.verdict(p.again, to)
		if err != nil && p.e.n.err == nil {
			p.e.n.err = err
		}
		return v
	}
	if q.InDialog || !bytes.Equal(q.Message.URI.Host.In(q.Bytes), []byte(p.domain)) {
		return router.Default
	}
	if p.later {
		call := p.e.n.calls[string(q.Message.CallID.In(q.Bytes))]
		p.suspended[call] = router.Answer{Loop: q.Loop, Ref: q.Ref, Decision: q.Decision}
		return router.Suspend
	}
	v, status, err := p.verdict(p.targets, to)
	if err != nil && p.e.n.err == nil {
		p.e.n.err = err
	}
	q.Status = status
	return v
}

// verdict reads "b1 | b2 + b3, b4": targets with alternatives in groups; "via proxy" is a hop with the Request-URI as it is,
// "next sip:NAME" a next hop by name; "404" rejects; "default" and "" leave the request to the static order.
func (p *edgeProxy) verdict(s string, to *router.TargetSet) (v router.Verdict, status int, err error) {
	if s == "" || s == "default" {
		return router.Default, 0, nil
	}
	if status, err := strconv.Atoi(s); err == nil {
		return router.Reject, status, nil
	}
	for group, members := range strings.Split(s, ",") {
		for _, m := range strings.Split(members, " + ") {
			for i, name := range strings.Split(m, " | ") {
				if err := p.addTarget(to, uint8(group), i > 0, strings.Fields(name)); err != nil {
					return 0, 0, err
				}
			}
		}
	}
	return router.Forward, 0, nil
}

func (p *edgeProxy) answer(call int, verdict string, loop int) error {
	asked, ok := p.suspended[call]
	if !ok {
		return fmt.Errorf("no decision of call %d was suspended", call)
	}
	if asked.Ref == (txn.Ref{}) { // stateless: the next copy of the request finds the answer
		p.targets, p.later = verdict, false
		return nil
	}
	a := asked
	var err error
	if a.Verdict, a.Status, err = p.verdict(verdict, &a.Targets); err != nil {
		return err
	}
	if loop != 0 {
		a.Loop = loop
	}
	if !p.core.Answer(&a) {
		return fmt.Errorf("the answer was refused")
	}
	return nil
}

func (p *edgeProxy) drain() { p.core.Drain() }
func (p *edgeProxy) close() {
	p.store.Close()
	if p.dialogs != nil {
		p.dialogs.Close()
	}
}

// counter finds a counter of the router by its name, or one of the store.
func (p *edgeProxy) counter(name string) (uint64, bool) {
	if name == "Pending" {
		return uint64(p.core.Pending()), true
	}
	if n, ok := p.failoverCounter(name); ok {
		return n, true
	}
	for _, s := range []any{p.core.Counters(), p.store.Stats()} {
		if f := reflect.ValueOf(s).FieldByName(name); f.IsValid() {
			if f.CanInt() {
				return uint64(f.Int()), true
			}
			return f.Uint(), true
		}
	}
	return 0, false
}

// idle wants every transaction, branch and retained byte gone.
func (p *edgeProxy) idle() error {
	s := p.store.Stats()
	switch {
	case s.Live != 0:
		return fmt.Errorf("%d transactions are left", s.Live)
	case s.Branches != 0:
		return fmt.Errorf("%d branches are left", s.Branches)
	case s.Spans != 0:
		return fmt.Errorf("%d retained messages are left, %d bytes", s.Spans, s.SpanBytes)
	case s.Posted != s.Handled+s.EndedEvents:
		return fmt.Errorf("%d events were posted, %d handled, %d ended with their context", s.Posted, s.Handled, s.EndedEvents)
	}
	if err := p.callsAddUp(); err != nil {
		return err
	}
	if err := p.outcomesAddUp(); err != nil {
		return err
	}
	if n := p.core.Pending(); n != 0 {
		return fmt.Errorf("%d transactions wait for a final response", n)
	}
	return nil
}
