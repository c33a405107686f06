package overload

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"
)

// Rate is how many requests that belong to no dialog each source may send.
type Rate struct {
	Addresses []netip.Prefix // sources that this is about
	// IPv4Bits and IPv6Bits say how much of an address makes one source: 32 and 64 for each machine, 24 and 48 for each
	// network, 0 and 0 for all of Addresses together. An IPv6 machine has as many addresses as it likes within its /64.
	IPv4Bits, IPv6Bits int
	PerSecond          int  // 1 to MaxRate
	Burst              int  // requests at once after a silence; 0: 1
	Reject             bool // more are answered 503; else dropped
}

// MaxRate bounds Rate.PerSecond: far beyond what a machine can take in.
const MaxRate = 10_000_000

// rates holds sources to their rates. Frozen, but for the buckets. Safe for concurrent use.
type rates struct {
	rules    []rule
	all      bart.Table[uint16] // rule by source address
	loopback bart.Table[uint16] // the same for loopback, where only rules that name it count
}

// rule is a Rate made ready. Times are in units of tick.
type rule struct {
	bits      [2]uint8 // of the 16-byte address that make a source: of an IPv4 one, of an IPv6 one
	increment uint64   // time that one request takes
	tolerance uint64   // how far ahead of time a source may be to be let in
	longest   uint64   // how far ahead any source of any rule can be
	reject    bool
}

func newRates(all []Rate) (*rates, error) {
	if len(all) > maxRates {
		return nil, fmt.Errorf("overload: %d rates; at most %d", len(all), maxRates)
	}
	r := &rates{}
	for i, x := range all {
		switch {
		case x.PerSecond < 1 || x.PerSecond > MaxRate:
			return nil, fmt.Errorf("overload: %d requests per second; give 1 to %d", x.PerSecond, MaxRate)
		case x.IPv4Bits < 0 || x.IPv4Bits > 32 || x.IPv6Bits < 0 || x.IPv6Bits > 128:
			return nil, fmt.Errorf("overload: a source of /%d and /%d; IPv4 has 32 bits and IPv6 128", x.IPv4Bits, x.IPv6Bits)
		}
		increment := max(uint64(time.Second)/uint64(x.PerSecond)>>tickShift, 1)
		r.rules = append(r.rules, rule{
			bits:      [2]uint8{uint8(96 + x.IPv4Bits), uint8(x.IPv6Bits)},
			increment: increment,
			tolerance: min(increment*uint64(max(x.Burst, 1)-1), maxAhead-increment),
			reject:    x.Reject,
		})
		for _, p := range x.Addresses {
			if !p.IsValid() {
				return nil, fmt.Errorf("overload: %v is no prefix", p)
			}
			if p.Addr().Is4In6() && p.Bits() >= 96 {
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			first(&r.all, p, uint16(i))
			if p.Addr().IsLoopback() {
				first(&r.loopback, p, uint16(i))
			}
		}
	}
	longest := uint64(0)
	for i := range r.rules {
		longest = max(longest, r.rules[i].tolerance+r.rules[i].increment)
	}
	for i := range r.rules {
		r.rules[i].longest = longest
	}
	inherit(&r.all)
	inherit(&r.loopback)
	return r, nil
}

// first puts a prefix in, unless an earlier rule has it.
func first(t *bart.Table[uint16], p netip.Prefix, rule uint16) {
	p = p.Masked()
	if _, there := t.Get(p); !there {
		t.Insert(p, rule)
	}
}

// inherit makes of "the longest prefix around an address", which is what a Table finds, "the first rule that has the
// address": every prefix gets the earliest rule of those around it.
func inherit(t *bart.Table[uint16]) {
	earliest := map[netip.Prefix]uint16{}
	for p, rule := range t.All() {
		for _, around := range t.Supernets(p) {
			rule = min(rule, around)
		}
		earliest[p] = rule
	}
	for p, rule := range earliest {
		t.Insert(p, rule)
	}
}

// find returns the number of the rule for a source, -1 if there is none.
func (r *rates) find(ip *[16]byte) int {
	a := netip.AddrFrom16(*ip).Unmap()
	t := &r.all
	if a.IsLoopback() {
		t = &r.loopback
	}
	if i, ok := t.Lookup(a); ok {
		return int(i)
	}
	return -1
}
