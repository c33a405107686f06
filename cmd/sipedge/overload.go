package main

import (
	"sipedge/config"
	"sipedge/router/overload"
)

// overloadRules are a policy's words about too much, as the router has them.
func overloadRules(o *config.Overload) overload.Rules {
	r := overload.Rules{Config: overload.Config{Delay: o.Delay, RetryAfter: o.RetryAfter}}
	for _, x := range o.Rates {
		r.Rates = append(r.Rates, overload.Rate{
			Addresses: x.Addresses, IPv4Bits: x.IPv4Bits, IPv6Bits: x.IPv6Bits, PerSecond: x.PerSecond, Burst: x.Burst, Reject: x.Over == config.OverReject,
		})
	}
	for _, s := range o.Scanners {
		r.Scanners = append(r.Scanners, overload.Pattern{Text: s})
	}
	return r
}
