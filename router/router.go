// Package router decides where a SIP message goes: RFC 3261 section 16.
//
// Enters: requests and responses with their flow, timer expiries, transport errors, answers of decisions.
// Leaves: rendered messages with the flow to send them by; transactions created, driven and ended.
// Never:  opens a socket, starts a goroutine, reads a clock, retransmits by itself.
//
// Directions are those of RFC 3261 section 6: requests flow downstream, to the UAS; responses
// flow upstream. (HTTP proxies use the words the other way round.)
package router

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"sipedge/router/dialog"
	"sipedge/router/overload"
	"sipedge/router/resolve"
	"sipedge/transport"
	"sipedge/txn"
)

// Mode says whether requests get a transaction of ours.
type Mode uint8

const (
	Stateful  Mode = iota // RFC 3261 section 16.2
	Stateless             // RFC 3261 section 16.11
)

// RecordRoute says when we stay on the path of a dialog (RFC 3261 section 16.6 step 4).
type RecordRoute uint8

const (
	RecordAuto   RecordRoute = iota // only where something needs to see the rest of the dialog
	RecordAlways                    // every request that may create or belong to a dialog
	RecordNever
)

// Domain is a host that we are responsible for. With Port 0 the port of a URI may be
// absent or any that we listen on; otherwise it must be Port, an absent one counting as 5060.
type Domain struct {
	Host string
	Port uint16
}

// Listener is an address that packets come to.
type Listener struct {
	Addr  netip.AddrPort     // as bound, with its port
	Proto transport.Protocol // 0: UDP
	// AdvertiseHost and AdvertisePort are shown in Via and Record-Route instead of Addr
	// when AdvertiseHost is not empty; port 0 means the port of Addr.
	AdvertiseHost string
	AdvertisePort uint16
	// Source is for a wildcard Addr: the address of ours to show and to send from when the request came
	// in by another listener and so gives none. A zero Source leaves such requests without a way.
	Source netip.Addr
}

// NextHop is where requests go that are for us to place and have no better place.
type NextHop struct {
	Host  string             // an IP address or, with a Resolver, a name
	Port  uint16             // 0: the default of Proto
	Proto transport.Protocol // 0: UDP; one of UDP, TCP, TLS
}

// Config is what a Core needs to know. It is copied by New and frozen from then on.
type Config struct {
	Mode        Mode
	RecordRoute RecordRoute
	Domains     []Domain
	Listeners   []Listener
	NextHop     *NextHop // nil: none
	OpenRelay   bool     // forward requests for anyone to anywhere
	ForceRport  bool     // treat every request as if its Via had "rport" (RFC 3581)
	// ViaMaddr sends responses over UDP to whatever maddr a Via has, as RFC 3261 section 18.2.2 says. Without it
	// maddr is followed to a multicast address and to the source of the request only: to follow it to any address makes
	// of a proxy something that sends to third parties whatever a stranger likes.
	ViaMaddr bool
	// UDPMTUSwitch sends requests of more than 1300 bytes over TCP instead of UDP (RFC 3261 section 18.1.1).
	UDPMTUSwitch bool
	// Peer is the number of the name that the peer of a TLS connection has proven, 0 for none; nil: nobody proves names. It
	// is called on the packet path from any loop.
	Peer func(conn uint32, loop uint8, gen uint32) uint32
	// Alias is told that the peer of a TLS connection, which has proven a name, lets it be used for requests to that port of
	// its as well (RFC 5923), once for a connection; nil: connections are not reused so. It is called on the packet path.
	Alias  func(f transport.Flow, port uint16)
	Timers txn.Timers
	// DecisionTimeout bounds a suspended decision; its answer is then 504. 0: 5 s.
	DecisionTimeout time.Duration
	// Decide places requests before the static order does; nil: the static order alone.
	Decide DecideFunc
	// Resolver finds the next hops of names; without it they are answered 503.
	Resolver Resolver
	// Admit is asked before a request is sent to a target with a gateway number; false counts as a failure of the target, so
	// that its alternatives are tried. Nil: always. Outcome hears what became of such branches. Both are called on the loop: they
	// must not block, allocate or log.
	Admit   func(Attempt) bool
	Outcome func(Outcome)
	// Dialogs watches the calls of the rules that count them; nil: no rule does. What it holds of Admit's places it gives back by
	// itself (dialog.Config.Ended).
	Dialogs *dialog.Table
	// Probed hears the final status of a Probe, 0 when there was none in time, and OwnAnswered that of other requests of our own.
	// Called on the loop, as Outcome; nil: nobody asks.
	Probed      func(id uint64, status uint16, now transport.Instant)
	OwnAnswered func(id uint64, status uint16, now transport.Instant)
	// Overload says what is turned away when there is too much; see also Core.SetOverload.
	Overload overload.Rules
	// Trusted tells whether a request comes from a neighbour that no rate is for. It is called on the loop, and only for what would
	// be turned away otherwise. Nil: nobody.
	Trusted func(from transport.Flow) bool
	// Emergency tells by the Request-URI whether a request is for help: it is let in however much else there is. It is called on
	// the loop, and only for what would be turned away otherwise. Nil: urn:service:sos and what is below it.
	Emergency func(uri []byte) bool
}

// Core is what all workers of one proxy share. It is safe for concurrent use.
type Core struct {
	cfg       Config
	store     *txn.Store
	keys      *txn.Keys
	listeners []listener
	domains   []ownHost // empty: the listeners' addresses are the domain
	addresses []ownHost // listen and advertised addresses, by which our own Route is known
	nextHop   nextHop
	workers   [transport.MaxLoops]atomic.Pointer[Worker]
	draining  atomic.Bool
	guard     *overload.Guard
	rules     rules
	headers   headerTable
	reach     resolve.Reach
	seed      maphash.Seed
	turn      atomic.Uint64 // which loop makes the next request of our own
}

// New checks cfg and prepares all text that does not change from message to message.
func New(cfg Config, store *txn.Store, keys *txn.Keys) (*Core, error) {
	if len(cfg.Listeners) == 0 || len(cfg.Listeners) > transport.MaxListeners {
		return nil, fmt.Errorf("router: %d listeners; give 1 to %d", len(cfg.Listeners), transport.MaxListeners)
	}
	if cfg.DecisionTimeout == 0 {
		cfg.DecisionTimeout = defaultDecisionTimeout
	}
	if cfg.Peer == nil {
		cfg.Peer = func(uint32, uint8, uint32) uint32 { return 0 }
	}
	c := &Core{cfg: cfg, store: store, keys: keys, guard: overload.NewGuard(), seed: maphash.MakeSeed()}
	if err := c.guard.Set(cfg.Overload); err != nil {
		return nil, err
	}
	c.rules.addDefault()
	for _, l := range cfg.Listeners {
		c.listeners = append(c.listeners, newListener(l))
		c.reach |= reachOf(&l)
	}
	c.addresses = listenHosts(cfg.Listeners)
	for _, d := range cfg.Domains {
		if d.Host == "" {
			return nil, fmt.Errorf("router: a domain with an empty host")
		}
		c.domains = append(c.domains, newOwnHost(d.Host, d.Port, d.Port != 0))
	}
	if cfg.NextHop != nil {
		c.nextHop = newNextHop(*cfg.NextHop)
	}
	return c, nil
}

// NewWorker makes the Handler of one loop.
func (c *Core) NewWorker(loop int, l transport.Loop) *Worker {
	w := &Worker{core: c, cfg: &c.cfg, timers: &c.cfg.Timers, loop: l, id: loop, local: c.store.Local(loop), keys: c.keys.Local()}
	w.targets.text, w.placed.text = make([]byte, 0, maxTargetText), make([]byte, 0, maxTargetText)
	w.sweeper = dialog.NewSweeper(0, 1) // each loop looks after all: one that sleeps may be the only one with nothing to do
	w.lines = make([]byte, 0, maxAnswerLines)
	w.shed.init(l, w.keys)
	c.workers[loop].Store(w)
	return w
}

// SetOverload puts other rules about too much in force; with an error those before stay. Safe from any goroutine.
func (c *Core) SetOverload(r overload.Rules) error { return c.guard.Set(r) }

// Drain turns new work away: requests that belong to nothing we know are answered 503 from
// now on. Safe from any goroutine.
func (c *Core) Drain() { c.draining.Store(true) }

// Pending is the number of transactions that have no final response yet. Safe from any
// goroutine; exact when all loops are quiet, at most a few milliseconds old otherwise.
func (c *Core) Pending() int {
	n := c.Counters()
	return int(n.Begun - n.Answered)
}
