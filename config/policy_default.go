package config

import (
	"reflect"
	"slices"
	"time"
)

// busy is the answer to what has no room: "The 503 ... MAY indicate when the client should retry ... in a Retry-After",
// RFC 3261 section 21.5.4. Without one a caller takes the whole proxy for dead.
var busy = Answer{Code: 503, RetryAfter: 10 * time.Second}

// DefaultPolicy is what an empty policy file means.
func DefaultPolicy() *Policy {
	p := &Policy{}
	setDefaults(reflect.ValueOf(p).Elem())
	return p
}

func (l *Limits) setDefaults() { l.Answer = busy }

func (s *Schedule) setDefaults() { s.Zone = time.UTC }

func (g *Group) setDefaults() {
	g.Select, g.HashBy, g.Overflow, g.RequestURI = SelectPriority, HashCallID, OverflowNext, KeepHost
	g.Unavailable, g.DownFor = busy, 30*time.Second
	g.Failover = Failover{Statuses: []StatusRange{{500, 500}, {502, 502}, {503, 503}, {504, 504}}, Timeout: true}
}

func (m *Member) setDefaults() { m.Priority, m.Weight = 1, 1 }

func (p *Probe) setDefaults() {
	p.Every, p.Down, p.Up = 10*time.Second, 2, 1
	p.Expect = Failover{Statuses: []StatusRange{{200, 407}, {409, 499}, {501, 501}, {505, 699}}}
}

func (e *Emergency) setDefaults() { e.URN = true }

func (r *Redirect) setDefaults() { r.Code = 302 }

func (r *Rate) setDefaults() { r.Each, r.Over = EachAddress, OverDrop }

func (o *Overload) setDefaults() {
	o.Delay, o.RetryAfter = 20*time.Millisecond, 5*time.Second
	o.Scanners = slices.Clone(scanners)
}

// scanners are programs that look for open doors and call themselves by name. Nobody has them as a telephone.
var scanners = []string{
	"friendly-scanner", "sipvicious", "sipcli", "sip-scan", "sipsak-scan", "sundayddr", "iwar", "siparmyknife", "vaxsipuseragent", "pplsip", "smap",
}

// perSource fills in what Each means.
func (r *Rate) perSource() {
	switch r.Each {
	case EachAddress:
		r.IPv4Bits, r.IPv6Bits = 32, 64 // a machine has as many addresses as it likes within its /64
	case EachPrefix:
		r.IPv4Bits, r.IPv6Bits = 24, 48
	case EachAll:
		r.IPv4Bits, r.IPv6Bits = 0, 0
	}
	if r.Burst == 0 {
		r.Burst = 2 * r.PerSecond
	}
}
