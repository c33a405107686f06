//go:build linux

package load

import (
	"fmt"
	"net/netip"
	"time"
)

// Mode says what one unit of load is.
type Mode string

const (
	Call    Mode = "call"    // INVITE 100 180 200 ACK BYE 200
	Ring    Mode = "ring"    // INVITE 100 180, pending until told to finish
	Options Mode = "options" // OPTIONS 200, answered by the called party
)

// Ending says how ringing calls finish.
type Ending string

const (
	Answer Ending = "answer"
	Cancel Ending = "cancel"
)

// Expect says whether requests must have been record-routed.
type Expect string

const (
	Any    Expect = "any"
	Always Expect = "always"
	Never  Expect = "never"
)

// Bounds of what one process drives.
const (
	maxSockets = 64        // sockets of one side; a socket number is a byte in a call
	maxCalls   = 1_000_000 // calls alive at once: about 1.5 GB of call state
	maxRate    = 1_000_000 // calls per second; far above what a core can send
)

// Config says what to place and what to hold the answers against.
type Config struct {
	Mode   Mode
	Proxy  netip.AddrPort // where the caller sends
	UAC    netip.AddrPort // bind address of the callers; with several sockets the ports count up from here
	UAS    netip.AddrPort // bind address of the called party, which the proxy's next hop must be
	Target string         // host part of the Request-URI; empty: the proxy's address. "uas": the called socket's own address

	UACSockets, UASSockets int

	Rate     float64       // units per second
	Duration time.Duration // how long units are started
	Units    int           // how many units are started at most; 0: no such bound
	Pending  int           // Ring: how many calls ring at once
	Warm     time.Duration // of it: what Result.Sustained leaves out
	Poisson  bool          // exponential gaps between starts instead of equal ones
	Seed     uint64

	RingTime time.Duration // from 180 to 200
	HoldTime time.Duration // from ACK to BYE
	Ending   Ending        // Ring: how they finish

	T1, T2   time.Duration // RFC 3261 section 17.1.1.1
	Patience time.Duration // a unit that has not ended this long after it should have is failed
	Late     time.Duration // set-up latency beyond which a call counts as late

	InDialogToProxy bool   // ACK and BYE without a Route go to the proxy (an outbound proxy) instead of the peer
	RecordRoute     Expect // held against what the called party receives
	Floor           bool   // the peer is a relay that does not touch the datagrams: expect no Via, no hop
	DeepEvery       int    // compare every n-th call's INVITE and 200 byte for byte; 0: none
	Spin            bool   // poll instead of sleeping, so that the proxy does not pay for waking us
	Segment         bool   // send datagrams of equal length in bursts (UDP_SEGMENT): cheaper, but a proxy's sockets then get bursts whole
	Each            bool   // Result.Each tells of each unit
	MaxCalls        int    // calls alive at once; 0: from rate, ring, hold and patience
}

// Default is a plain call load that a caller of Run narrows down.
func Default() Config {
	return Config{
		Mode: Call, UACSockets: 1, UASSockets: 1, Rate: 1000, Duration: 5 * time.Second, Poisson: true, Seed: 1,
		Ending: Answer, T1: 500 * time.Millisecond, T2: 4 * time.Second, Patience: 32 * time.Second,
		Late: 500 * time.Millisecond, RecordRoute: Any, DeepEvery: 16,
	}
}

// check refuses what cannot run and fills in what follows from the rest.
func (c *Config) check() error {
	switch {
	case !c.Proxy.IsValid() || !c.UAC.IsValid() || !c.UAS.IsValid():
		return fmt.Errorf("load: proxy, uac and uas need an address each, such as 127.0.0.1:5060")
	case !c.Proxy.Addr().IsLoopback():
		return fmt.Errorf("load: %v is not a loopback address; this generator is for benches on one machine", c.Proxy)
	case c.Rate <= 0 || c.Rate > maxRate:
		return fmt.Errorf("load: rate %v; give more than 0 and at most %d units per second", c.Rate, maxRate)
	case c.UACSockets < 1 || c.UACSockets > maxSockets || c.UASSockets < 1 || c.UASSockets > maxSockets:
		return fmt.Errorf("load: give 1 to %d sockets for each side", maxSockets)
	case c.Mode != Call && c.Mode != Ring && c.Mode != Options:
		return fmt.Errorf("load: mode %q; give call, ring or options", c.Mode)
	case c.Ending != Answer && c.Ending != Cancel:
		return fmt.Errorf("load: ending %q; give answer or cancel", c.Ending)
	case c.RecordRoute != Any && c.RecordRoute != Always && c.RecordRoute != Never:
		return fmt.Errorf("load: record-route %q; give any, always or never", c.RecordRoute)
	case c.Mode == Ring && c.Pending < 1:
		return fmt.Errorf("load: ring needs the number of calls to keep pending")
	case c.T1 <= 0 || c.T2 < c.T1 || c.Patience <= 0:
		return fmt.Errorf("load: T1 and patience must be positive and T2 at least T1")
	}
	if c.MaxCalls == 0 {
		alive := c.Rate * (c.RingTime + c.HoldTime + min(c.Patience, 4*time.Second)).Seconds()
		if c.Mode == Ring {
			alive = float64(c.Pending)
		}
		c.MaxCalls = int(min(alive*1.2+4096, maxCalls))
	}
	if c.MaxCalls < 1 || c.MaxCalls > maxCalls {
		return fmt.Errorf("load: %d calls alive at once; give 1 to %d", c.MaxCalls, maxCalls)
	}
	if c.Mode == Ring {
		c.Units = c.Pending
	}
	return nil
}
