package txn

import (
	"fmt"
	"time"

	"sipedge/transport"
)

// Timers are the configured times (RFC 3261 section 17 and table 4); all others follow from them.
type Timers struct {
	T1 time.Duration // estimate of the round-trip time
	T2 time.Duration // longest interval between retransmissions of a non-INVITE request or an INVITE response
	T4 time.Duration // longest time that a message stays in the network
	C  time.Duration // the router's limit for an INVITE without a final response (section 16.6 step 11)
}

// DefaultTimers are the RFC's: T1 500 ms, T2 4 s, T4 5 s. Timer C "MUST be larger than 3 minutes"
// (section 16.6 step 11), so it is a little more.
func DefaultTimers() Timers {
	return Timers{T1: 500 * time.Millisecond, T2: 4 * time.Second, T4: 5 * time.Second, C: 185 * time.Second}
}

// Validate refuses times that the machines cannot run on. That a time is unwise, it does not say.
func (t *Timers) Validate() error {
	for _, v := range []struct {
		name     string
		d, limit time.Duration
	}{{"T1", t.T1, maxT}, {"T2", t.T2, maxT}, {"T4", t.T4, maxT}, {"timer C", t.C, maxTimerC}} {
		if v.d < minTimer || v.d > v.limit {
			return fmt.Errorf("txn: %s is %v; give %v to %v", v.name, v.d, minTimer, v.limit)
		}
	}
	return nil
}

const (
	minTimer  = time.Millisecond // the wheel's tick is of this order; less would be no timer at all
	maxT      = time.Minute      // timer A reaches 64*T1, which must fit into Machine.Interval (71 minutes)
	maxTimerC = 24 * time.Hour   // longer than any phone rings
)

// TimerB is also timer F, H, J, L and M: "64*T1" each (RFC 3261 table 4, RFC 6026 section 8.11), the
// time in which a neighbour with our T1 gives up.
func (t *Timers) TimerB() time.Duration { return 64 * t.T1 }

// TimerD is how long a client keeps answering final responses with ACK: "at least 32 seconds for
// unreliable transports" (section 17.1.1.2). It equals the server's timer H, whose T1 "the client
// transaction does not know", so a small T1 of ours does not shorten it; a large one lengthens it.
func (t *Timers) TimerD() time.Duration { return max(32*time.Second, 64*t.T1) }

// TimerTrying is when a non-INVITE server transaction must send its 100: "the amount of time it
// takes a client transaction's Timer E to be reset to T2" (RFC 4320 section 4.1). With the default
// times timer E fires after 0.5, 1.5 and 3.5 s and is then reset to T2: 3.5 s.
func (t *Timers) TimerTrying() time.Duration {
	sum, interval := t.T1, t.T1
	for 2*interval < t.T2 {
		interval *= 2
		sum += interval
	}
	return sum
}

// timers is what a step does to the two timers of a machine. A timer that is neither armed nor
// stopped runs on; arming one that runs starts it anew.
type timers uint16

const keep timers = 0

const (
	armA      timers = 1 << iota // T1, then doubling
	armB                         // 64*T1
	armD                         // 32 s or more; 0 when reliable
	armE                         // T1, then doubling up to T2
	armET2                       // timer E at T2: the Proceeding state
	armF                         // 64*T1
	armG                         // T1, then doubling up to T2
	armH                         // 64*T1
	armI                         // T4; 0 when reliable
	armJ                         // 64*T1; 0 when reliable
	armK                         // T4; 0 when reliable
	armL                         // 64*T1
	armM                         // 64*T1
	armTrying                    // the 100 of RFC 4320
	stopRetransmit
	stopDeadline

	stopA = stopRetransmit
	stopB = stopDeadline
	stopE = stopRetransmit
	stopG = stopRetransmit

	stopTrying = stopRetransmit
)

// set carries out w. It reports whether a timer of zero seconds was armed, which the caller fires
// at once.
func (m *Machine) set(w timers, now transport.Instant, t *Timers) (fire bool) {
	if w&stopRetransmit != 0 {
		m.Retransmit, m.Interval = 0, 0
	}
	if w&stopDeadline != 0 {
		m.Deadline = 0
	}
	switch w & (armA | armE | armET2 | armG | armTrying) {
	case armA:
		m.again(now, t, t.TimerB()) // no limit: timer B ends the state before it is reached
	case armE, armG:
		m.again(now, t, t.T2)
	case armET2:
		m.retransmitIn(t.T2, now)
	case armTrying:
		// Not only for unreliable transports: "Without regard to transport, an SIP element MUST respond
		// to a non-INVITE request with a Status-Code of 100 if it has not otherwise responded".
		// RFC 4320 section 4.1
		m.Retransmit = now.Add(t.TimerTrying())
	}
	switch w & (armB | armD | armF | armH | armI | armJ | armK | armL | armM) {
	case armB, armF, armH, armL, armM:
		m.Deadline = now.Add(t.TimerB())
	case armD:
		return m.lingerFor(t.TimerD(), now)
	case armJ:
		return m.lingerFor(t.TimerB(), now)
	case armI, armK:
		return m.lingerFor(t.T4, now)
	}
	return false
}

// again arms timer A, E or G: T1 when the transaction or the state begins, then twice the last
// interval, at most limit. "The request is not retransmitted over reliable transports" (section
// 17.1.1.1), so there the timer stays off.
func (m *Machine) again(now transport.Instant, t *Timers, limit time.Duration) {
	interval := t.T1
	if m.Interval != 0 {
		interval = min(2*time.Duration(m.Interval)*time.Microsecond, limit)
	}
	m.retransmitIn(interval, now)
}

func (m *Machine) retransmitIn(interval time.Duration, now transport.Instant) {
	if m.Reliable {
		return
	}
	m.Interval = uint32(interval / time.Microsecond)
	m.Retransmit = now.Add(interval)
}

// lingerFor arms timer D, I, J or K, each of which is there for late copies of datagrams and has
// "zero seconds for reliable transports".
func (m *Machine) lingerFor(d time.Duration, now transport.Instant) (fire bool) {
	if m.Reliable {
		m.Deadline = 0
		return true
	}
	m.Deadline = now.Add(d)
	return false
}
