package config

import (
	"net/netip"
	"slices"
	"strings"
)

// checkReach refuses a route that can never match because an earlier one takes everything that it would. It finds what
// can be seen from the two alone: for each thing that the earlier one asks, the later one asks the same or more.
func (c *checker) checkReach() {
	for j := range c.p.Routes {
		later := &c.p.Routes[j]
		for i := range j {
			if earlier := &c.p.Routes[i]; c.covers(&earlier.Match, &later.Match) {
				c.problem(c.node(routePath(j)), "route %q can never match: %q in line %d takes all of its requests; put this one first or take it out", later.Name, earlier.Name, earlier.Line)
				break
			}
		}
	}
}

// covers tells whether every request that b takes is taken by a.
func (c *checker) covers(a, b *Match) bool {
	return coversList(a.Methods, b.Methods, equal) &&
		c.coversURI(&a.URI, &b.URI) && c.coversURI(&a.From, &b.From) && c.coversURI(&a.To, &b.To) &&
		coversPeers(a, b) &&
		coversList(a.Sources, b.Sources, func(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }) &&
		coversList(a.Transports, b.Transports, equal) &&
		coversList(a.Schedules, b.Schedules, equal) &&
		// Of Outside all have to hold, so a may ask for no more than b does.
		!slices.ContainsFunc(a.Outside, func(r Ref) bool { return !slices.Contains(b.Outside, r) })
}

func equal[T comparable](a, b T) bool { return a == b }

// coversList: an empty list takes all; else each entry of b must be within one of a.
func coversList[T any](a, b []T, within func(outer, inner T) bool) bool {
	if len(a) == 0 {
		return true
	}
	if len(b) == 0 {
		return false
	}
	for _, inner := range b {
		if !slices.ContainsFunc(a, func(outer T) bool { return within(outer, inner) }) {
			return false
		}
	}
	return true
}

func coversPeers(a, b *Match) bool {
	all := func(m *Match) bool { return len(m.Peers) == 0 && !m.AnyPeer && !m.NoPeer }
	switch {
	case all(a):
		return true
	case all(b), b.NoPeer && !a.NoPeer, b.AnyPeer && !a.AnyPeer:
		return false
	case a.AnyPeer:
		return true
	}
	return !slices.ContainsFunc(b.Peers, func(r Ref) bool { return !slices.Contains(a.Peers, r) })
}

func (c *checker) coversURI(a, b *URIMatch) bool {
	return coversList(a.Schemes, b.Schemes, equal) &&
		coversList(a.Hosts, b.Hosts, coversText) &&
		(a.Ours == nil || b.Ours != nil && *a.Ours == *b.Ours) &&
		coversList(a.Users, b.Users, coversText) &&
		coversList(a.Numbers, b.Numbers, coversNumber) &&
		coversList(a.Regions, b.Regions, equal)
}

func coversText(a, b TextPattern) bool {
	switch a.Kind {
	case PatternPrefix:
		return a.Text == "" || b.Kind != PatternSuffix && strings.HasPrefix(b.Text, a.Text)
	case PatternSuffix:
		return b.Kind != PatternPrefix && strings.HasSuffix(b.Text, a.Text)
	}
	return a == b
}

func coversNumber(a, b NumberPattern) bool {
	if a.Exact {
		return b.Exact && len(a.Low) == len(b.Low) && a.Low <= b.Low && b.High <= a.High
	}
	n := len(a.Low)
	return len(b.Low) >= n && a.Low <= b.Low[:n] && b.High[:n] <= a.High
}
