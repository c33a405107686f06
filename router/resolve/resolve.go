// Package resolve finds the next hops of a SIP URI by RFC 3263: NAPTR, SRV, A and AAAA.
//
// Enters: Queries from the loops, answers of DNS servers on workers.
// Leaves: ordered transport.Hops out of a cache that the loops read without locks; questions to DNS.
// Never:  waits or allocates in Lookup, decides what becomes of a call that has no next hop.
package resolve

import (
	"time"

	"sipedge/transport"
)

// Config is what a Resolver needs to know. Zero values take the defaults of limits.go.
type Config struct {
	// Servers are the DNS servers to ask, IP or IP:port. None: those of ResolvConf, read again when that file changes.
	Servers []string
	// ResolvConf and Hosts are paths: "/etc/resolv.conf" and "/etc/hosts" when empty.
	ResolvConf, Hosts string
	// Names gives the numbers that TLS hops name their domain by. Must be the one that the streams use.
	Names *transport.Names

	Entries  int           // places in the cache
	Queue    int           // waiting calls of Start
	Workers  int           // look-ups at once
	Try      time.Duration // for one server to answer
	Tries    int           // for each server
	Deadline time.Duration // for a whole look-up

	MinTTL, MaxTTL time.Duration // bounds of positive answers
	MaxNegative    time.Duration // longest negative answer
	MaxStale       time.Duration // how long after its end a positive answer is used while DNS fails

	// Now is the clock of the workers; nil: transport.Now. The loops bring their time to Lookup.
	Now func() transport.Instant
	// Warn is told, on a worker, what an operator should know: a domain that stopped offering TLS, a hosts file that cannot be
	// read. May be nil.
	Warn func(message string)
}

// Counters are sums since the start, InFlight and Entries apart.
type Counters struct {
	Hits, Misses, Stale, Negative, Failed, Unsupported uint64 // Lookups, by how they ended; literal addresses are not counted
	Lookups                                            uint64 // flights: look-ups in DNS for one place
	Refreshes                                          uint64 // of these: for a place that was known
	Questions                                          uint64 // sent to DNS servers, repetitions included
	Timeouts                                           uint64 // questions that a server did not answer in time
	ServerFailures                                     uint64 // answers that are none: SERVFAIL, REFUSED, ICMP errors and the like
	Truncated                                          uint64 // answers fetched again by TCP
	Mismatched                                         uint64 // packets that answer no question of ours
	Dropped                                            uint64 // Starts and refreshes refused because the queue was full
	Expired                                            uint64 // Starts that no worker was free for in time
	Evictions                                          uint64 // places forgotten for want of room
	Downgrades                                         uint64 // domains whose NAPTR records ceased to offer SIPS
	NamesFull                                          uint64 // look-ups that failed because no further TLS name can be numbered
	Panics                                             uint64
	InFlight                                           uint64 // look-ups under way or waiting for a worker now
	Entries                                            uint64 // places in the cache now
}
