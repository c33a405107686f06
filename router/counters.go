package router

import (
	"sync/atomic"
	"unsafe"

	"sipedge/transport"
)

// Counters are the sums of all loops since the start.
type Counters struct {
	RequestsIn, ResponsesIn   uint64 // readable messages received
	RequestsOut, ResponsesOut uint64 // messages given to the transport, retransmissions included
	Absorbed                  uint64 // retransmitted requests that an existing transaction took
	Resent                    uint64 // requests and responses sent again by a timer or for a retransmission
	KeepAlives                uint64 // empty and CRLF datagrams
	Malformed                 uint64 // received and not readable as SIP, or answered 400 and 505
	Stray                     uint64 // responses whose branch is not ours, is forged or has ended; ACKs that belong to nothing
	Rejected                  uint64 // requests answered with a final response of our own
	Looped                    uint64 // of these: 482
	TooManyHops               uint64 // of these: 483
	Refused                   uint64 // of these: 403
	Unavailable               uint64 // of these: 503
	Scanners, Limited         uint64 // requests dropped as a scanner's; dropped or answered 503 for being over the rate of their source
	Shed                      uint64 // requests turned away because there was too much of everything
	StoreFull                 uint64 // new transactions refused because a table or store was full
	Timeouts                  uint64 // branches that ended by Timer B, C or F
	TransportErrors           uint64 // branches that ended because the transport failed
	SendFailed                uint64 // messages that the transport did not take
	Panics                    uint64
	Suspended                 uint64 // decisions that had to wait
	LateAnswers               uint64 // answers to decisions that nobody waits for any more
	Begun, Answered           uint64 // transactions created; of these, that had a final response or ended
	Ended                     uint64 // of Begun, whose context is gone
}

// counterWords is Counters as a row of words, for publishing.
const counterWords = unsafe.Sizeof(Counters{}) / 8

// published is a copy of a worker's Counters that other goroutines may read.
type published struct {
	words [counterWords]atomic.Uint64
}

// publish copies n word by word. Counting is thus plain arithmetic on memory that one loop owns,
// and readers see figures that are at most publishEvery old.
func (p *published) publish(n *Counters) {
	words := (*[counterWords]uint64)(unsafe.Pointer(n))
	for i := range words {
		p.words[i].Store(words[i])
	}
}

// Counters sums the published counters of all workers. Safe from any goroutine.
func (c *Core) Counters() (sum Counters) {
	words := (*[counterWords]uint64)(unsafe.Pointer(&sum))
	for i := range c.workers {
		w := c.workers[i].Load()
		if w == nil {
			continue
		}
		for j := range words {
			words[j] += w.shared.words[j].Load()
		}
	}
	return sum
}

// announce publishes when it is time to, and reports whether it did.
func (w *Worker) announce(now transport.Instant) bool {
	if now.Sub(w.announced) < publishEvery {
		return false
	}
	w.announced = now
	w.shared.publish(&w.n)
	return true
}
