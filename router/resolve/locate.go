package resolve

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"sipedge/transport"
)

// finding is what locate found out about one key.
type finding struct {
	status  Status // Hit, Negative, Failed
	targets []target
	ips     [][16]byte
	ttl     uint32 // seconds; noTTL: no answer named one
	weak    bool   // a part could not be had: look again soon
	sips    bool   // NAPTR records offered SIPS
	hosts   bool   // from the hosts file
	naptr   bool   // the question for NAPTR records was answered
}

const noTTL = math.MaxUint32

// look is one look-up of a place: RFC 3263 section 4 over answers that are fetched as they are needed, each once.
type look struct {
	ask     func([]question) []*dns.Msg
	hosts   map[string][]netip.Addr
	answers map[question]*answer
	extra   map[question][]dns.RR // additional sections: used instead of asking
	left    int                   // questions that may still be asked
	f       finding
}

// answer is a set of records, or the knowledge that there is none.
type answer struct {
	rrs    []dns.RR // all of the type asked for; the CNAMEs on the way are gone
	ttl    uint32   // least along the way; noTTL: negative and without SOA
	failed bool     // nobody could say
}

// fetch makes sure that there is an answer for each question, asking all that are not known at once.
func (l *look) fetch(qs ...question) {
	var open []chain
	for _, q := range qs {
		if l.answers[q] != nil || slices.ContainsFunc(open, func(c chain) bool { return c.q == q }) {
			continue
		}
		open = append(open, chain{q: q, ttl: noTTL})
	}
	next := make([]question, len(open)) // what is asked for open[i]; another name than that when a CNAME led on
	for i := range open {
		next[i] = open[i].q
	}
	for len(open) > 0 {
		var asked []question
		var of []int
		for i, q := range next {
			if rrs := l.extra[q]; len(rrs) > 0 {
				l.answers[open[i].q] = &answer{rrs: rrs, ttl: min(open[i].ttl, least(rrs))}
			} else if l.left == 0 {
				l.answers[open[i].q] = &answer{failed: true}
			} else {
				l.left--
				asked, of = append(asked, q), append(of, i)
			}
		}
		if len(asked) == 0 {
			return
		}
		var stillOpen []chain
		var stillNext []question
		for j, m := range l.ask(asked) {
			c := open[of[j]]
			if m == nil {
				l.answers[c.q] = &answer{failed: true}
				continue
			}
			l.keepExtra(m)
			rrs, name := c.follow(m.Answer, asked[j])
			soa := negativeTTL(m)
			switch {
			case len(rrs) > 0:
				l.answers[c.q] = &answer{rrs: rrs, ttl: c.ttl}
			case c.hops > maxAliases:
				l.answers[c.q] = &answer{failed: true} // a loop, or as good as one
			case m.Rcode == dns.RcodeSuccess && soa == noTTL && name != asked[j].name:
				// The server stopped at an alias.
				stillOpen, stillNext = append(stillOpen, c), append(stillNext, question{name, asked[j].kind})
			default:
				l.answers[c.q] = &answer{ttl: min(c.ttl, soa)}
			}
		}
		open, next = stillOpen, stillNext
	}
}

// chain is a question on its way along CNAMEs.
type chain struct {
	q    question
	ttl  uint32
	hops int
}

// follow looks in the answer section for what q asks, along CNAMEs; name is where that ended.
func (c *chain) follow(section []dns.RR, q question) (rrs []dns.RR, name string) {
	name = q.name
	for {
		if rrs = records(section, name, q.kind); len(rrs) > 0 {
			c.ttl = min(c.ttl, least(rrs))
			return rrs, name
		}
		alias := records(section, name, dns.TypeCNAME)
		if len(alias) == 0 || c.hops > maxAliases {
			return nil, name
		}
		c.hops++
		c.ttl = min(c.ttl, least(alias[:1]))
		name = lower(alias[0].(*dns.CNAME).Target)
	}
}

// keepExtra notes address and SRV records that the server sent along: "query the DNS for address records for the Target or
// use any such records found in the Additional Data section of the earlier SRV response" (RFC 2782). They are used only for
// names that we would ask the same server for.
func (l *look) keepExtra(m *dns.Msg) {
	var first []question // of this message: an earlier one wins
	for _, rr := range m.Extra {
		h := rr.Header()
		switch h.Rrtype {
		case dns.TypeA, dns.TypeAAAA, dns.TypeSRV:
		default:
			continue
		}
		q := question{lower(h.Name), h.Rrtype}
		if h.Class != dns.ClassINET || len(l.extra[q]) > 0 && !slices.Contains(first, q) || len(l.extra) > maxQuestions {
			continue
		}
		if len(l.extra[q]) == 0 {
			first = append(first, q)
		}
		l.extra[q] = append(l.extra[q], rr)
	}
}

func records(rrs []dns.RR, name string, kind uint16) (found []dns.RR) {
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype == kind && h.Class == dns.ClassINET && strings.EqualFold(h.Name, name) {
			found = append(found, rr)
		}
	}
	return found
}

// least is the TTL of records that are used together.
func least(rrs []dns.RR) uint32 {
	ttl := uint32(noTTL - 1)
	for _, rr := range rrs {
		ttl = min(ttl, rr.Header().Ttl)
	}
	return ttl
}

// negativeTTL is how long an answer that says no is good for: "The TTL of this record is set from the minimum of the MINIMUM
// field of the SOA record and the TTL of the SOA itself, and indicates how long a resolver may cache the negative answer."
// RFC 2308 section 3
func negativeTTL(m *dns.Msg) uint32 {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(soa.Minttl, soa.Hdr.Ttl)
		}
	}
	return noTTL
}

func lower(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// use takes the time that an answer is good for into account.
func (l *look) use(a *answer) *answer {
	if a.failed {
		l.f.weak = true
	} else {
		l.f.ttl = min(l.f.ttl, a.ttl)
	}
	return a
}

// offer is one way to a domain: the transport, and the name of its SRV records.
type offer struct {
	proto transport.Protocol
	srv   string
}

// srvName is RFC 3263 section 4.2: "_sips" for TLS, "_sip" otherwise.
func srvName(p transport.Protocol, host string) string {
	switch p {
	case transport.UDP:
		return "_sip._udp." + host
	case transport.TCP:
		return "_sip._tcp." + host
	}
	return "_sips._tcp." + host
}

// locate finds the servers for a route and host; host is in lower case without final dot.
func (l *look) locate(rt route, host string) finding {
	l.f = finding{ttl: noTTL, naptr: true}
	families := func(p transport.Protocol) Reach {
		if rt.kind == automatic {
			return rt.reach.families(p)
		}
		return rt.reach
	}
	if _, ok := l.hosts[host]; ok {
		// What the operator wrote into the hosts file is the answer, as with any other program.
		l.f.hosts = true
		l.f.weak = false
		p := rt.proto
		if rt.kind == automatic {
			p = rt.reach.first(bothFamilies)
		}
		l.plain(rt, host, p, families(p))
		return l.done()
	}
	if !isName(host) {
		l.f.status = Negative
		return l.f
	}
	fqdn := host + "."
	var offers []offer
	fromNAPTR := false
	switch rt.kind {
	case addresses:
		l.plain(rt, host, rt.proto, rt.reach)
		return l.done()
	case service, automaticS:
		offers = []offer{{rt.proto, srvName(rt.proto, fqdn)}}
	case automatic:
		// "Queries are done using the service identifier "_sip" for SIP URIs": TLS is not among them. The order is ours to choose:
		// UDP is what every SIP element has.
		for _, p := range []transport.Protocol{transport.UDP, transport.TCP} {
			if rt.reach.families(p) != 0 {
				offers = append(offers, offer{p, srvName(p, fqdn)})
			}
		}
	}
	naptr := question{fqdn, dns.TypeNAPTR}
	qs := srvQuestions(offers)
	if rt.kind != service {
		// "the client SHOULD perform a NAPTR query", and "If no NAPTR records are found, the client constructs SRV queries for those
		// transport protocols it supports": most domains have none, so all is asked at once.
		qs = append(qs, naptr)
	}
	l.fetch(qs...)
	if rt.kind != service {
		a := l.use(l.answers[naptr])
		l.f.naptr = !a.failed
		if o := l.offers(a.rrs, rt); len(o) > 0 {
			offers, fromNAPTR = o, true
			l.fetch(srvQuestions(offers)...)
		}
	}
	if l.services(offers, fromNAPTR, families) {
		return l.done()
	}
	// "If no SRV records were found, the client performs an A or AAAA record lookup of the domain name."
	p := rt.proto
	switch {
	case fromNAPTR:
		p = offers[0].proto
	case rt.kind == automatic:
		p = rt.reach.first(bothFamilies) // "the client SHOULD use TCP for a SIPS URI, and UDP for a SIP URI"
	}
	l.plain(rt, host, p, families(p))
	return l.done()
}

// isName tells whether host can be asked for: letters, digits, hyphens (RFC 3261 section 25.1, hostname) and the underscores
// that some use. What is special in DNS's text form is not a name.
func isName(host string) bool {
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	// The longest thing put before it is "_sips._tcp.".
	_, ok := dns.IsDomainName(host)
	_, ok2 := dns.IsDomainName("_sips._tcp." + host)
	return ok && ok2
}

func srvQuestions(offers []offer) (qs []question) {
	for _, o := range offers {
		qs = append(qs, question{o.srv, dns.TypeSRV})
	}
	return qs
}

// offers sorts out NAPTR records. "First, a client resolving a SIPS URI MUST discard any services that do not contain "SIPS"
// as the protocol in the service field. [...] A client resolving a SIP URI SHOULD retain records with "SIPS" as the protocol,
// if the client supports TLS. Second, a client MUST discard any service fields that identify a resolution service whose
// value is not "D2X", for values of X that indicate transport protocols supported by the client."
func (l *look) offers(rrs []dns.RR, rt route) (offers []offer) {
	var fit []*dns.NAPTR
	for _, rr := range rrs {
		n, ok := rr.(*dns.NAPTR)
		if !ok {
			continue
		}
		p := protocolOf(n.Service)
		if p == transport.TLS {
			l.f.sips = true
		}
		switch {
		// "The resource record will contain an empty regular expression and a replacement value, which is the SRV record"
		case p == 0, !strings.EqualFold(n.Flags, "s"), n.Regexp != "", n.Replacement == ".", n.Replacement == "":
		case rt.kind == automaticS && p != transport.TLS:
		case rt.kind == automatic && rt.reach.families(p) == 0:
		default:
			fit = append(fit, n)
		}
	}
	// Records of one order and preference have no order of their own; a stateless proxy needs one (section 4.4).
	slices.SortFunc(fit, func(a, b *dns.NAPTR) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference),
			cmp.Compare(strings.ToUpper(a.Service), strings.ToUpper(b.Service)), strings.Compare(lower(a.Replacement), lower(b.Replacement)))
	})
	for _, n := range fit {
		// "once a match is found the client MUST NOT consider records with a different Order but they MAY process records with the
		// same Order but different Preferences" (RFC 3403 section 4.1).
		if n.Order != fit[0].Order || len(offers) == maxOffers {
			break
		}
		o := offer{protocolOf(n.Service), lower(n.Replacement)}
		if !slices.Contains(offers, o) {
			offers = append(offers, o)
		}
	}
	return offers
}

// maxOffers bounds the NAPTR records followed: one for each transport, and one again.
const maxOffers = 4

func protocolOf(naptrService string) transport.Protocol {
	switch strings.ToUpper(naptrService) {
	case "SIP+D2U":
		return transport.UDP
	case "SIP+D2T":
		return transport.TCP
	case "SIPS+D2T":
		return transport.TLS
	}
	return 0 // SCTP, and WebSocket (RFC 7118), which a proxy cannot call
}

// services turns the SRV records of the offers into targets. False: there are no SRV records, so that the host itself is
// asked for.
func (l *look) services(offers []offer, fromNAPTR bool, families func(transport.Protocol) Reach) (decided bool) {
	type choice struct {
		service int
		offer   offer
		rrs     []*dns.SRV
	}
	var choices []choice
	barred, failed := false, false
	for i, o := range offers {
		a := l.use(l.answers[question{o.srv, dns.TypeSRV}])
		failed = failed || a.failed
		var rrs []*dns.SRV
		for _, rr := range a.rrs {
			// "A Target of "." means that the service is decidedly not available at this domain." RFC 2782; and port 0 is none.
			if s, ok := rr.(*dns.SRV); ok && s.Target != "." && s.Port != 0 {
				rrs = append(rrs, s)
			} else {
				barred = true
			}
		}
		if len(rrs) > 0 {
			choices = append(choices, choice{i, o, rrs})
		}
	}
	for len(choices) > 0 {
		// Without NAPTR, "A particular transport is supported if the query is successful. The client MAY use any transport protocol
		// it desires which is supported by the server": the first with an address. With NAPTR, those of one order in turn.
		n := len(choices)
		if !fromNAPTR {
			n = 1
		}
		var qs []question
		for _, c := range choices[:n] {
			sortSRV(c.rrs)
			for _, s := range c.rrs[:min(len(c.rrs), maxTargets)] {
				qs = l.appendAddressQuestions(qs, strings.TrimSuffix(lower(s.Target), "."), families(c.offer.proto))
			}
		}
		l.fetch(qs...)
		for _, c := range choices[:n] {
			for _, s := range c.rrs[:min(len(c.rrs), maxTargets)] {
				t := target{service: uint8(c.service), proto: c.offer.proto, priority: s.Priority, weight: s.Weight, port: s.Port}
				l.add(t, strings.TrimSuffix(lower(s.Target), "."), families(c.offer.proto))
			}
		}
		if len(l.f.targets) > 0 {
			return true
		}
		choices = choices[n:]
		barred = true // there are records, and none leads anywhere: that is not the same as having none
	}
	// A failure is not the absence of records: the host's own address may be its web server.
	return barred || failed
}

// sortSRV puts records in the order that lots expects, and that does not depend on the order in which they came.
func sortSRV(rrs []*dns.SRV) {
	slices.SortFunc(rrs, func(a, b *dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)),
			strings.Compare(lower(a.Target), lower(b.Target)), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Weight, b.Weight))
	})
}

// plain makes the host itself the only target.
func (l *look) plain(rt route, host string, p transport.Protocol, families Reach) {
	l.fetch(l.appendAddressQuestions(nil, host, families)...)
	t := target{proto: p}
	if rt.kind == addresses {
		t.proto = 0 // UDP and TCP share these addresses; the query says which
		if p == transport.TLS {
			t.proto = p
		}
	} else {
		t.port = defaultPort(p)
	}
	l.add(t, host, families)
}

func (l *look) appendAddressQuestions(qs []question, host string, families Reach) []question {
	if _, ok := l.hosts[host]; ok {
		return qs
	}
	if families&family6 != 0 {
		qs = append(qs, question{host + ".", dns.TypeAAAA})
	}
	if families&family4 != 0 {
		qs = append(qs, question{host + ".", dns.TypeA})
	}
	return qs
}

// add appends a target with its addresses, if it has any.
func (l *look) add(t target, host string, families Reach) {
	if len(l.f.targets) == maxTargets {
		return
	}
	t.first = uint16(len(l.f.ips))
	known, inHosts := l.hosts[host]
	for _, family := range []Reach{family6, family4} {
		if families&family == 0 {
			continue
		}
		from := len(l.f.ips)
		if inHosts {
			for _, a := range known {
				l.addIP(a, family, from)
			}
		} else {
			kind := dns.TypeA
			if family == family6 {
				kind = dns.TypeAAAA
			}
			a := l.use(l.answers[question{host + ".", kind}])
			for _, rr := range a.rrs {
				switch rr := rr.(type) {
				case *dns.A:
					if ip, ok := netip.AddrFromSlice(rr.A.To4()); ok {
						l.addIP(ip, family, from)
					}
				case *dns.AAAA:
					if ip, ok := netip.AddrFromSlice(rr.AAAA); ok {
						l.addIP(ip, family, from)
					}
				}
			}
		}
		n := uint8(len(l.f.ips) - from)
		slices.SortFunc(l.f.ips[from:], func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
		if family == family6 {
			t.n6 = n
		} else {
			t.n4 = n
		}
	}
	if t.n4+t.n6 > 0 {
		l.f.targets = append(l.f.targets, t)
	}
}

// addIP appends an address of the family behind from, once, if one can send a request to it at all.
func (l *look) addIP(a netip.Addr, family Reach, from int) {
	is6 := a.Is6() && !a.Is4In6()
	if is6 != (family == family6) || a.IsUnspecified() || a.IsMulticast() || is6 && a.IsLinkLocalUnicast() {
		return
	}
	ip := a.As16()
	if len(l.f.ips)-from < maxAddresses && len(l.f.ips) < maxPlaceAddresses && !slices.Contains(l.f.ips[from:], ip) {
		l.f.ips = append(l.f.ips, ip)
	}
}

// done concludes: with a target it is a hit; else it depends on whether everybody could say so.
func (l *look) done() finding {
	switch {
	case len(l.f.targets) > 0:
		l.f.status = Hit
	case l.f.weak:
		l.f.status = Failed
	default:
		l.f.status = Negative
	}
	return l.f
}
