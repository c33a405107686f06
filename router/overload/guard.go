package overload

import (
	"sync/atomic"

	"sipedge/parser"
	"sipedge/transport"
)

// Rules are all that is said about too much. The zero Rules have no rates and no scanners.
type Rules struct {
	Config
	// Rates: the first with its address counts. Loopback is free unless a rate has a prefix within loopback.
	Rates []Rate
	// Scanners are dropped without an answer, which would tell them that there is something.
	Scanners []Pattern
}

// DefaultScanners are programs that look for open doors and call themselves by name. Nobody has them as a telephone.
var DefaultScanners = []Pattern{
	{Text: "friendly-scanner"}, {Text: "sipvicious"}, {Text: "sipcli"}, {Text: "sip-scan"}, {Text: "sundayddr"}, {Text: "iwar"},
	{Text: "siparmyknife"}, {Text: "vaxsipuseragent"}, {Text: "pplsip"}, {Text: "smap"},
}

// Guard has the rules in force, and knows what is not let in however much room there is. Safe for concurrent use:
// lock-free.
type Guard struct {
	now     atomic.Pointer[compiled]
	buckets *buckets
}

// compiled are Rules made ready. Frozen.
type compiled struct {
	config   Config
	rates    *rates
	scanners *scanners
}

// NewGuard makes a Guard with the zero Rules.
func NewGuard() *Guard {
	g := &Guard{buckets: newBuckets(sources)}
	g.now.Store(&compiled{})
	return g
}

// Config is what is in force now. It must not be changed.
func (g *Guard) Config() *Config { return &g.now.Load().config }

// Set puts rules in force, or leaves those before when they are wrong. Sources keep what they have used up of a rate that
// stays at its place in the list. It copies.
func (g *Guard) Set(r Rules) error {
	c := &compiled{config: r.Config}
	var err error
	if len(r.Rates) > 0 {
		if c.rates, err = newRates(r.Rates); err != nil {
			return err
		}
	}
	if len(r.Scanners) > 0 {
		if c.scanners, err = newScanners(r.Scanners); err != nil {
			return err
		}
	}
	g.now.Store(c)
	return nil
}

// Scanner tells whether a request is a scanner's. It borrows b.
func (g *Guard) Scanner(m *parser.Message, b []byte) bool {
	c := g.now.Load()
	return c.scanners != nil && c.scanners.sent(m, b)
}

// Verdict is what becomes of a request.
type Verdict uint8

const (
	Pass   Verdict = iota
	Drop           // without an answer
	Reject         // 503
)

// Limits tells whether there is a rate for a source, so that Take would count.
func (g *Guard) Limits(ip *[16]byte) bool {
	c := g.now.Load()
	return c.rates != nil && c.rates.find(ip) >= 0
}

// Take counts a request of a source against its rate and says what becomes of it.
func (g *Guard) Take(ip *[16]byte, now transport.Instant) Verdict {
	c := g.now.Load()
	if c.rates == nil {
		return Pass
	}
	i := c.rates.find(ip)
	if i < 0 {
		return Pass
	}
	r := &c.rates.rules[i]
	switch {
	case g.buckets.take(ip, r, uint16(i), now):
		return Pass
	case r.reject:
		return Reject
	}
	return Drop
}

// Forgotten is how many sources were given up before their time, because more than can be told apart sent something at
// once.
func (g *Guard) Forgotten() uint64 { return g.buckets.evicted.Load() }
