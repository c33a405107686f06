package policy

import (
	"github.com/gaissmai/bart"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
	"sipedge/router/gateway"
	"sipedge/transport"
)

// peers is who the neighbours are.
type peers struct {
	list       []peer
	addresses  bart.Table[uint16] // index + 1
	identities map[uint32]int     // by transport.Names; index + 1
	kinds      []kind
}

// kind is what peers have in common that their rules (router.Rule) have to say. 0 is who is no peer.
type kind struct {
	headers router.HeaderEditsID
	counted bool
	rule    router.RuleID // of requests that the static order places
}

// peer is config.Peer made ready.
type peer struct {
	name    string
	country *config.Country
	kind    int
	answer  answer
	// What it may send; 0: no limit. They are members of a gateway.Pool, which has such counters and keeps them over a reload.
	calls, callRate, requestRate gateway.Number

	domains *hosts
	numbers *trie
	regions set
}

// The groups of the pool that the limits of peers are kept in. Names of gateway groups have no space.
const (
	peerCalls    = "calls of peer "
	peerCallRate = "calls per second of peer "
	peerRate     = "requests per second of peer "
)

// find is the peer that a request is from, 0 for none.
func (ps *peers) find(from *transport.Flow, identity func(*transport.Flow) uint32) int {
	if identity != nil && len(ps.identities) > 0 && (from.Proto == transport.TLS || from.Proto == transport.WSS) {
		if id := identity(from); id != 0 {
			if i, known := ps.identities[id]; known {
				return i
			}
		}
	}
	i, _ := ps.addresses.Lookup(address(&from.Remote))
	return int(i)
}

// over tells which limit the request exceeds. What does not, counts.
func (p *peer) over(x *decision) Step {
	pool, now := x.s.pool, x.q.Now
	if p.requestRate != 0 && pool.Pass(p.requestRate, now, false) != gateway.Admitted {
		return TooManyRequests
	}
	if x.method != parser.MethodInvite {
		return notOver
	}
	if p.calls != 0 && pool.Full(p.calls, now) != gateway.Admitted {
		return TooManyCalls
	}
	if p.callRate != 0 && pool.Pass(p.callRate, now, false) != gateway.Admitted {
		return TooManyNewCalls
	}
	return notOver
}

// allows tells whether the peer may send requests to that Request-URI.
func (p *peer) allows(x *decision) bool {
	if p.domains != nil && !(p.domains.has(x.b, &x.m.URI) && (!x.q.Maddr || p.domains.has(x.b, x.maddr()))) {
		return false
	}
	if p.numbers == nil && p.regions == nil {
		return true
	}
	n := x.number(ofURI)
	if n == nil {
		return !dialable(x.b, &x.m.URI) // the list is about those who have one
	}
	if p.numbers != nil {
		if _, found := p.numbers.findNumber(&n.number); found {
			return true
		}
	}
	if p.regions != nil {
		if region := x.regionOf(n); region >= 0 && p.regions.has(region) {
			return true
		}
	}
	return false
}
