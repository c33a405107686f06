package resolve

import (
	"sipedge/transport"
)

// Reach is a bit set of the ways by which we can send: transport protocol and address family, as the listeners give them.
// WS and WSS are not in it, since nobody can be called by them (RFC 7118 section 5 has the client connect).
type Reach uint8

// Over is the way by p to IPv6 or IPv4 addresses; none for a protocol that nobody can be called by.
func Over(p transport.Protocol, ipv6 bool) Reach {
	if p < transport.UDP || p > transport.TLS {
		return 0
	}
	r := Reach(1) << (2 * (p - transport.UDP))
	if ipv6 {
		r <<= 1
	}
	return r
}

// families is what of r goes by p: bit 0 IPv4, bit 1 IPv6.
func (r Reach) families(p transport.Protocol) Reach {
	return r >> (2 * (p - transport.UDP)) & bothFamilies
}

const (
	family4      Reach = 1
	family6      Reach = 2
	bothFamilies       = family4 | family6
)

// Query asks where to send a request for a URI, or a response that lost its connection (see ServerQuery).
type Query struct {
	// Host is RFC 3263's TARGET: the maddr of the URI if there is one, else its host: a name, an IPv4 address or an IPv6
	// address, with or without brackets. Lookup and Start borrow it.
	Host []byte
	// Port is the port of the URI, 0 when it has none (5060 written down is a port).
	Port uint16
	// Transport is the transport parameter of the URI, 0 when it has none.
	Transport transport.Protocol
	// Sips tells that the scheme is sips: nothing but TLS will do.
	Sips bool
	// Reach is what we can send by.
	Reach Reach
	// Hash settles the choices that RFC 2782 leaves to chance: the same Hash and the same records give the same order, as a
	// stateless proxy needs it (RFC 3263 section 4.4). 0: by chance, each time anew.
	Hash uint64
}

// ServerQuery asks where else a response can go when the address and connection it should use fail (RFC 3263 section 5):
// host and port are those of sent-by in the topmost Via, p is its transport. It borrows host.
func ServerQuery(host []byte, port uint16, p transport.Protocol, reach Reach) Query {
	// With a port: A and AAAA; without: SRV by the transport of the Via, never NAPTR. That is what section 4 does when the
	// transport is given.
	return Query{Host: host, Port: port, Transport: p, Reach: reach}
}

// Status is how a Lookup ended.
type Status uint8

const (
	// Miss: not known; Start and look up again. After done was called it means that nobody could say in time.
	Miss Status = iota
	// Hit: hops were appended.
	Hit
	// Stale: hops were appended; their time is over, and newer ones are being looked for or cannot be had.
	Stale
	// Negative: DNS says that there is no such place, or that it does not offer the service (RFC 2782, target ".").
	Negative
	// Failed: DNS could not say, a moment ago; asking again at once is of no use.
	Failed
	// Unsupported: the query asks for what we cannot send by.
	Unsupported

	numStatus
)

// kind is the shape of a look-up.
type kind uint8

const (
	literal    kind = iota
	addresses       // A and AAAA: the port is given
	service         // SRV for one transport, then A and AAAA
	automatic       // NAPTR, SRV, A and AAAA of a SIP URI
	automaticS      // the same of a SIPS URI
)

// route is what of a Query decides about what to ask. Queries with equal hosts and routes share their answers.
type route struct {
	kind  kind
	proto transport.Protocol // but for automatic: the transport
	reach Reach              // automatic: all that matters; else families of proto
}

// route is RFC 3263 section 4.1 as far as it goes without DNS; isLiteral: Host is a numeric address of that family.
func (q *Query) route(isLiteral bool, family Reach) (rt route, ok bool) {
	t := q.Transport
	if t > transport.TLS {
		return rt, false
	}
	if q.Sips {
		// "the use of sips requires TLS" on each hop (RFC 3261 section 26.2.2 and 19.1: transport=tcp in a SIPS URI is TLS over TCP).
		if t == transport.UDP {
			return rt, false
		}
		t = transport.TLS
	}
	switch {
	case isLiteral:
		rt.kind = literal
	case q.Port != 0:
		rt.kind = addresses
	case q.Transport != 0:
		rt.kind = service
	case q.Sips:
		return route{automaticS, t, q.Reach.families(t)}, q.Reach.families(t) != 0
	default:
		return route{automatic, 0, q.Reach}, q.Reach != 0
	}
	if t == 0 {
		// "If no transport protocol is specified, but the TARGET is a numeric IP address, the client SHOULD use UDP for a SIP
		// URI [...]. Similarly, if no transport protocol is specified, and the TARGET is not numeric, but an explicit port is
		// provided, the client SHOULD use UDP for a SIP URI". Who has no UDP uses what there is.
		t = q.Reach.first(family)
	}
	if t == 0 {
		return rt, false
	}
	rt.proto, rt.reach = t, q.Reach.families(t)&family
	return rt, rt.reach != 0
}

// first is the first protocol of UDP, TCP, TLS with one of the families; 0: none.
func (r Reach) first(family Reach) transport.Protocol {
	for p := transport.UDP; p <= transport.TLS; p++ {
		if r.families(p)&family != 0 {
			return p
		}
	}
	return 0
}

// defaultPort is the port of RFC 3261 section 19.1.2.
func defaultPort(p transport.Protocol) uint16 {
	if p == transport.TLS {
		return 5061
	}
	return 5060
}
