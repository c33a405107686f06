package policy

import (
	"math/bits"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/transport"
)

const (
	numMethods   = int(parser.MethodRefer) + 1
	numSchemes   = int(parser.SchemeOther) + 1
	numProtocols = int(transport.WSS) + 1
)

// routes finds the first route that matches. What most routes ask is kept the other way round, as the set of routes for each answer, so
// that one word of each says which of 64 routes are left to be looked at: method, scheme, transport, peer and, of the
// Request-URI, host, number and region, by which large tables of routes are told apart.
type routes struct {
	list   []route
	method [numMethods]set
	scheme [numSchemes]set
	proto  [numProtocols]set
	peer   []set // by decision.peer

	anyHost   set // routes that ask for no host; nil: none asks
	hosts     hosts
	anyNumber set // likewise for numbers
	numbers   trie
	region    []set // by region + 1, 0 for none; nil: no route asks
}

// route is config.Route made ready.
type route struct {
	name   string
	match  match
	action action
}

// match is the part of config.Match that is looked at route by route. Nil parts are always true.
type match struct {
	methods   []string // names of methods without a number
	uri       [3]uriMatch
	sources   *bart.Lite
	schedules []int
	outside   []int
}

// uriMatch is config.URIMatch made ready.
type uriMatch struct {
	on      bool
	schemes []string // nil for the Request-URI, whose schemes are in routes.scheme, but for those without a number
	hosts   *hosts
	ours    *bool
	users   *users
	numbers *trie
	regions set
}

func newRoutes(p *config.Policy) routes {
	n := len(p.Routes)
	r := routes{peer: make([]set, len(p.Peers)+1)}
	for _, list := range [][]set{r.method[:], r.scheme[:], r.proto[:], r.peer} {
		for i := range list {
			list[i] = newSet(n)
		}
	}
	for i := range p.Routes {
		m := &p.Routes[i].Match
		r.list = append(r.list, route{name: p.Routes[i].Name, match: newMatch(m)})
		each(r.method[:], i, len(m.Methods) == 0, func(x int) bool {
			return slices.ContainsFunc(m.Methods, func(s string) bool { return int(parser.LookupMethod([]byte(s))) == x })
		})
		each(r.scheme[:], i, len(m.URI.Schemes) == 0, func(x int) bool {
			return slices.ContainsFunc(m.URI.Schemes, func(s string) bool { return int(schemeOf(s)) == x })
		})
		r.index(i, &r.list[i].match.uri[ofURI], m, len(p.Regions), n)
		each(r.proto[:], i, len(m.Transports) == 0, func(x int) bool { return slices.Contains(m.Transports, transport.Protocol(x)) })
		each(r.peer, i, len(m.Peers) == 0 && !m.AnyPeer && !m.NoPeer, func(x int) bool { return x == 0 && m.NoPeer || x > 0 && m.AnyPeer })
		for _, ref := range m.Peers {
			r.peer[ref.Index+1].add(i)
		}
	}
	return r
}

// index takes over what route i asks of the Request-URI, so that it need not be asked again.
func (r *routes) index(i int, u *uriMatch, m *config.Match, regions, n int) {
	if u.hosts != nil {
		if r.anyHost == nil {
			r.anyHost = firsts(i, n)
		}
		r.hosts.add(m.URI.Hosts, uint32(i))
		u.hosts = nil
	} else if r.anyHost != nil {
		r.anyHost.add(i)
	}
	if u.numbers != nil {
		if r.anyNumber == nil {
			r.anyNumber = firsts(i, n)
		}
		for j := range m.URI.Numbers {
			r.numbers.add(&m.URI.Numbers[j], uint32(i))
		}
		u.numbers = nil
	} else if r.anyNumber != nil {
		r.anyNumber.add(i)
	}
	if u.regions != nil && r.region == nil {
		r.region = make([]set, regions+1)
		for x := range r.region {
			r.region[x] = firsts(i, n)
		}
	}
	if r.region != nil {
		each(r.region, i, u.regions == nil, func(x int) bool { return x > 0 && u.regions.has(x-1) })
	}
	u.regions = nil
	u.on = u.asks()
}

// firsts is the set of the first i of n routes.
func firsts(i, n int) set {
	s := newSet(n)
	for j := range i {
		s.add(j)
	}
	return s
}

// each adds route i to the sets of those answers that it takes.
func each(sets []set, i int, all bool, takes func(answer int) bool) {
	for x := range sets {
		if all || takes(x) {
			sets[x].add(i)
		}
	}
}

// schemeOf is the number of a scheme; those without one are told apart by name.
func schemeOf(s string) parser.Scheme {
	switch s {
	case "sip":
		return parser.SchemeSIP
	case "sips":
		return parser.SchemeSIPS
	case "tel":
		return parser.SchemeTel
	case "urn":
		return parser.SchemeURN
	}
	return parser.SchemeOther
}

func newMatch(m *config.Match) match {
	n := match{}
	for _, s := range m.Methods {
		if parser.LookupMethod([]byte(s)) == parser.MethodOther {
			n.methods = append(n.methods, s)
		}
	}
	for i, u := range []*config.URIMatch{&m.URI, &m.From, &m.To} {
		n.uri[i] = newURIMatch(u)
	}
	if len(m.Sources) > 0 {
		n.sources = new(bart.Lite)
		for _, p := range m.Sources {
			n.sources.Insert(p)
		}
	}
	for _, r := range m.Schedules {
		n.schedules = append(n.schedules, r.Index)
	}
	for _, r := range m.Outside {
		n.outside = append(n.outside, r.Index)
	}
	return n
}

func newURIMatch(u *config.URIMatch) uriMatch {
	m := uriMatch{schemes: u.Schemes, ours: u.Ours}
	if len(u.Hosts) > 0 {
		m.hosts = newHosts(u.Hosts)
	}
	if len(u.Users) > 0 {
		m.users = newUsers(u.Users)
	}
	if len(u.Numbers) > 0 {
		m.numbers = new(trie)
		for i := range u.Numbers {
			m.numbers.add(&u.Numbers[i], 0)
		}
	}
	m.regions = setOf(u.Regions)
	m.on = m.asks()
	return m
}

func (m *uriMatch) asks() bool {
	return len(m.schemes) > 0 || m.hosts != nil || m.ours != nil || m.users != nil || m.numbers != nil || m.regions != nil
}

// find is the index of the first route that matches, -1 for none.
func (r *routes) find(x *decision) int {
	if len(r.list) == 0 {
		return -1
	}
	method, scheme, proto, peer := r.method[x.method], r.scheme[x.m.URI.SchemeIs], r.proto[x.from.Proto], r.peer[x.peer]
	var left, some [maxRoutes / 64]uint64
	for i := range method {
		left[i] = method[i] & scheme[i] & proto[i] & peer[i]
	}
	if r.anyHost != nil {
		r.hosts.collect(x.b, &x.m.URI, some[:])
		keep(left[:], some[:], r.anyHost)
		if x.q.Maddr { // it leads to another host, which the route has to take as well
			clear(some[:len(method)])
			r.hosts.collect(x.b, x.maddr(), some[:])
			keep(left[:], some[:], r.anyHost)
		}
	}
	if r.anyNumber != nil || r.region != nil {
		n := x.number(ofURI)
		if r.anyNumber != nil {
			clear(some[:len(method)])
			if n != nil {
				r.numbers.collectNumber(&n.number, some[:])
			}
			keep(left[:], some[:], r.anyNumber)
		}
		if r.region != nil {
			region := 0
			if n != nil {
				region = x.regionOf(n) + 1
			}
			for i, word := range r.region[region] {
				left[i] &= word
			}
		}
	}
	for i := range method {
		for word := left[i]; word != 0; word &= word - 1 {
			at := i*64 + bits.TrailingZeros64(word)
			if r.list[at].match.takes(x) {
				return at
			}
		}
	}
	return -1
}

// keep leaves in left what is in some or in any.
func keep(left, some []uint64, any set) {
	for i := range any {
		left[i] &= some[i] | any[i]
	}
}

// takes tells whether what routes.find has not looked at matches too.
func (m *match) takes(x *decision) bool {
	if len(m.methods) > 0 && x.method == parser.MethodOther && !slices.ContainsFunc(m.methods, func(s string) bool { return string(x.m.MethodName.In(x.b)) == s }) {
		return false
	}
	for i := range m.uri {
		if m.uri[i].on && !m.uri[i].takes(x, i) {
			return false
		}
	}
	if m.sources != nil && !m.sources.Lookup(address(&x.from.Remote)) {
		return false
	}
	return m.scheduled(*x.s.open.Load())
}

func address(a *transport.Addr) netip.Addr { return netip.AddrFrom16(a.IP).Unmap() }

// scheduled: one of schedules is open, and all of outside are closed.
func (m *match) scheduled(open set) bool {
	found := len(m.schedules) == 0
	for _, i := range m.schedules {
		found = found || open.has(i)
	}
	for _, i := range m.outside {
		found = found && !open.has(i)
	}
	return found
}

func (m *uriMatch) takes(x *decision, which int) bool {
	u := x.uri(which)
	switch {
	case len(m.schemes) > 0 && !m.hasScheme(x.b, u):
	case m.ours != nil && *m.ours != x.s.core.Ours(x.b, u, x.from):
	case m.hosts != nil && !m.hosts.has(x.b, u):
	case m.users != nil && !m.users.has(x.b, u):
	case m.numbers == nil && m.regions == nil:
		return true
	default:
		n := x.number(which)
		if n == nil {
			return false
		}
		if m.numbers != nil {
			if _, found := m.numbers.findNumber(&n.number); !found {
				return false
			}
		}
		region := -1
		if m.regions != nil {
			region = x.regionOf(n)
		}
		return m.regions == nil || region >= 0 && m.regions.has(region)
	}
	return false
}

// hasScheme compares names: there are a few at most, and those that have a number are in front.
func (m *uriMatch) hasScheme(b []byte, u *parser.URI) bool {
	whole := u.Whole.In(b)
	for _, s := range m.schemes {
		if len(whole) > len(s) && whole[len(s)] == ':' && equalFold(whole[:len(s)], s) {
			return true
		}
	}
	return false
}
