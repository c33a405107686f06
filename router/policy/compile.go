package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sipedge/config"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/transport"
)

// compiler makes a snapshot out of a policy.
type compiler struct {
	d    *Decider
	core *router.Core
	p    *config.Policy
	s    *snapshot
}

func (c *compiler) compile(now transport.Instant) error {
	s := c.s
	s.country, s.schedules = c.p.Numbers.Country, c.p.Schedules
	for i := range c.p.Regions {
		r := &c.p.Regions[i]
		s.regionNames = append(s.regionNames, r.Name)
		for j := range r.Patterns {
			s.regions.add(&r.Patterns[j], uint32(i))
		}
	}
	if err := c.pool(now); err != nil {
		return err
	}
	if err := c.peers(); err != nil {
		return err
	}
	if n := len(c.p.Routes); n > maxRoutes {
		return fmt.Errorf("%d routes; at most %d", n, maxRoutes)
	}
	s.routes = newRoutes(c.p)
	for i := range c.p.Routes {
		if err := c.action(&c.p.Routes[i].Action, false, &s.routes.list[i].action); err != nil {
			return fmt.Errorf("route %q: %w", c.p.Routes[i].Name, err)
		}
	}
	if e := c.p.Emergency; e != nil {
		s.emergency = &emergency{urn: e.URN, numbers: map[string]struct{}{}}
		for _, n := range e.Numbers {
			s.emergency.numbers[n] = struct{}{}
		}
		if err := c.action(&e.Action, true, &s.emergency.action); err != nil {
			return fmt.Errorf("emergency: %w", err)
		}
	}
	return nil
}

// pool has the gateways and the limits of peers numbered.
func (c *compiler) pool(now transport.Instant) error {
	var specs []gateway.GroupSpec
	for i := range c.p.Gateways {
		for j := range c.p.Gateways[i].Members {
			if _, err := newPlace(&c.p.Gateways[i].Members[j].URI); err != nil {
				return fmt.Errorf("gateway %q: %w", c.p.Gateways[i].Name, err)
			}
		}
		specs = append(specs, groupSpec(&c.p.Gateways[i]))
	}
	for i := range c.p.Peers {
		p := &c.p.Peers[i]
		limit := func(name string, m gateway.MemberSpec) {
			if m.Calls > 0 || m.Rate > 0 {
				m.Name = p.Name
				specs = append(specs, gateway.GroupSpec{Name: name + p.Name, Members: []gateway.MemberSpec{m}})
			}
		}
		limit(peerCalls, gateway.MemberSpec{Calls: p.Limits.Calls})
		limit(peerCallRate, gateway.MemberSpec{Rate: p.Limits.CallsPerSecond})
		limit(peerRate, gateway.MemberSpec{Rate: p.Limits.RequestsPerSecond})
	}
	var err error
	if c.s.groups, err = c.d.pool.Prepare(specs, now); err != nil {
		return err
	}
	for i := range c.p.Gateways {
		g := &c.p.Gateways[i]
		of := c.s.groups.Group(i)
		tries := maxTries
		if g.Tries > 0 {
			tries = min(g.Tries, maxTries)
		}
		c.s.gateways = append(c.s.gateways, group{
			name: g.Name, of: of, hashBy: g.HashBy, tries: tries, strict: g.Overflow == config.OverflowReject,
			host: g.RequestURI == config.GatewayHost, unavailable: newAnswer(&g.Unavailable),
		})
		for j := range g.Members {
			m := &g.Members[j]
			at, _ := newPlace(&m.URI)
			n := c.d.pool.Find(g.Name, m.Name)
			if more := int(n) + 1 - len(c.s.places); more > 0 {
				c.s.places = append(c.s.places, make([]*place, more)...)
			}
			c.s.places[n] = &at
		}
	}
	return nil
}

func groupSpec(g *config.Group) gateway.GroupSpec {
	s := gateway.GroupSpec{Name: g.Name, Strict: g.Overflow == config.OverflowReject}
	switch g.Select {
	case config.SelectRoundRobin:
		s.Method = gateway.RoundRobin
	case config.SelectWeight:
		s.Method = gateway.Weighted
	case config.SelectHash:
		s.Method = gateway.Hash
	case config.SelectLeastCalls:
		s.Method = gateway.LeastCalls
	default:
		s.Method = gateway.InOrder
	}
	s.Passive = gateway.Passive{Failures: g.DownAfter, Hold: g.DownFor}
	if p := g.Probe; p != nil {
		s.Probe = gateway.Probe{Interval: p.Every, Timeout: p.Timeout, Up: p.Up, Down: p.Down, Alive: new(gateway.Statuses)}
		for status := 200; status < 700; status++ {
			if p.Expect.Has(status) {
				s.Probe.Alive.Add(status)
			}
		}
	}
	for i := range g.Members {
		m := &g.Members[i]
		spec := gateway.MemberSpec{Name: m.Name, Priority: m.Priority, Weight: m.Weight, Calls: m.Calls, Rate: m.CallsPerSecond}
		if g.Probe != nil {
			place, _ := newPlace(&m.URI) // checked by pool
			spec.URI, spec.From, spec.Hop = place.uri(g.Probe.To), g.Probe.From, place.hop
		}
		s.Members = append(s.Members, spec)
	}
	return s
}

// uri is the place as a URI, with or without a user.
func (p *place) uri(user string) string {
	if user != "" {
		user += "@"
	}
	if p.next == nil {
		return "sip:" + user + string(p.host)
	}
	scheme, rest, _ := strings.Cut(string(p.next), ":")
	return scheme + ":" + user + rest
}

// newPlace makes t ready: an address as a hop, a name for RFC 3263.
func newPlace(t *config.TargetURI) (place, error) {
	p := place{}
	proto := t.Transport
	ip, err := netip.ParseAddr(t.Host)
	literal := err == nil
	if literal && ip.Is6() {
		p.host = append(p.host, "["+t.Host+"]"...)
	} else {
		p.host = append(p.host, t.Host...)
	}
	if t.Port != 0 {
		p.host = append(p.host, ':')
		p.host = strconv.AppendUint(p.host, uint64(t.Port), 10)
	}
	if t.Host == "" {
		return p, fmt.Errorf("%q names no host", t.Text)
	}
	if !literal {
		p.next = append(p.next, "sip:"...)
		if t.Sips {
			p.next = append(p.next[:0], "sips:"...)
		}
		p.next = append(p.next, p.host...)
		if proto != 0 {
			p.next = append(p.next, ";transport="+config.ProtocolName(proto)...)
		}
		return p, nil
	}
	// "if no transport protocol is specified, but the TARGET is a numeric IP address, the client SHOULD use UDP for a SIP URI,
	// and TCP for a SIPS URI" RFC 3263 section 4.1, which for SIPS is TLS over TCP.
	switch {
	case t.Sips:
		proto = transport.TLS
	case proto == 0:
		proto = transport.UDP
	}
	port := t.Port
	if port == 0 {
		port = 5060
		if proto == transport.TLS {
			port = 5061
		}
	}
	p.hop = transport.Hop{Addr: transport.AddrFrom(netip.AddrPortFrom(ip, port)), Proto: proto}
	return p, nil
}

func (c *compiler) peers() error {
	ps := &c.s.peers
	ps.identities, ps.kinds = map[uint32]int{}, []kind{{}}
	for i := range c.p.Peers {
		p := &c.p.Peers[i]
		headers, err := c.headers(&p.Headers)
		if err != nil {
			return fmt.Errorf("peer %q: %w", p.Name, err)
		}
		n := peer{
			name: p.Name, country: p.Country, answer: newAnswer(&p.Limits.Answer), regions: setOf(p.Allow.Regions),
			calls: c.limit(peerCalls, p.Name, p.Limits.Calls), callRate: c.limit(peerCallRate, p.Name, p.Limits.CallsPerSecond),
			requestRate: c.limit(peerRate, p.Name, p.Limits.RequestsPerSecond),
		}
		k := kind{headers: headers, counted: n.calls != 0}
		k.rule, err = c.core.Rule(router.Rule{Counted: k.counted, Headers: [2]router.HeaderEditsID{k.headers}})
		if err != nil {
			return fmt.Errorf("peer %q: %w", p.Name, err)
		}
		if n.kind = slices.Index(ps.kinds, k); n.kind < 0 {
			n.kind = len(ps.kinds)
			ps.kinds = append(ps.kinds, k)
		}
		if len(p.Allow.Domains) > 0 {
			n.domains = newHosts(p.Allow.Domains)
		}
		if len(p.Allow.Numbers) > 0 {
			n.numbers = new(trie)
			for j := range p.Allow.Numbers {
				n.numbers.add(&p.Allow.Numbers[j], 0)
			}
		}
		ps.list = append(ps.list, n)
		for _, a := range p.Addresses {
			ps.addresses.Insert(a, uint16(i+1))
		}
		for _, name := range p.TLS {
			id, err := c.d.names.Number(name)
			if err != nil {
				return fmt.Errorf("peer %q: %w", p.Name, err)
			}
			ps.identities[id] = i + 1
		}
	}
	return nil
}

// limit is the number under which a limit of a peer is counted, 0 without a limit.
func (c *compiler) limit(name, peer string, limit int) gateway.Number {
	if limit == 0 {
		return 0
	}
	return c.d.pool.Find(name+peer, peer)
}

func (c *compiler) headers(e *config.HeaderEdits) (router.HeaderEditsID, error) {
	n := router.HeaderEdits{Remove: e.Remove}
	for _, h := range e.Add {
		n.Add = append(n.Add, h.Name+": "+h.Value)
	}
	return c.core.HeaderEdits(n)
}

func (c *compiler) action(a *config.Action, exempt bool, n *action) (err error) {
	n.number = newNumberEdit(&a.Number)
	n.stateless = a.Mode == config.Stateless && !exempt
	rule := router.Rule{Record: a.RecordRoute, Exempt: exempt}
	switch {
	case a.Reject != nil:
		n.kind, n.answer = toReject, newAnswer(a.Reject)
		return nil
	case a.Redirect != nil:
		n.kind = toRedirect
		n.rules = make([]router.RuleID, len(c.s.peers.kinds))
		n.redirect, err = newRedirect(a.Redirect)
		return err
	case a.Gateway != nil:
		n.kind, n.group = toGateway, a.Gateway.Index
		c.groupRule(&c.p.Gateways[n.group], &rule)
		rule.Counted = c.s.gateways[n.group].of.CountsCalls()
	case a.NextHop != nil, a.RedirectServer != nil:
		t := a.NextHop
		if t == nil {
			t = a.RedirectServer
		}
		n.kind = toPlace
		if n.place, err = newPlace(t); err != nil {
			return err
		}
	case a.Relay:
		n.kind = toURI
	default:
		return fmt.Errorf("no action")
	}
	own, err := c.headers(&a.Headers)
	if err != nil {
		return err
	}
	for _, k := range c.s.peers.kinds {
		r := rule
		r.Counted = rule.Counted || k.counted
		r.Headers = [2]router.HeaderEditsID{k.headers, own}
		if a.FollowRedirects {
			// Where a redirect leads, all of the rule holds but one thing: whoever was asked where to go is not asked again.
			r.Recurse, r.Then = true, router.Same
			if a.RedirectServer != nil {
				then := r
				then.Recurse, then.Then = false, 0
				if r.Then, err = c.core.Rule(then); err != nil {
					return err
				}
			}
		}
		id, err := c.core.Rule(r)
		if err != nil {
			return err
		}
		n.rules = append(n.rules, id)
	}
	return nil
}

// groupRule adds to a rule what a group says.
func (c *compiler) groupRule(g *config.Group, r *router.Rule) {
	r.Silence, r.Timeout, r.Overflow = g.Failover.Timeout, g.Timeout, g.Unavailable.Code
	for _, f := range g.Failover.Statuses {
		for status := f.First; status <= f.Last; status++ {
			r.Statuses = append(r.Statuses, status)
		}
	}
}
