//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sync/atomic"

	"sipedge/transport"
)

// counters are those of one loop. The loop alone writes them, but for ringFull; anyone reads.
type counters struct {
	accepted, dialed, dialFailures, refusedTotal, refusedAddress                        atomic.Uint64
	handshakes, handshakeFails                                                          atomic.Uint64
	closedIdle, closedHalfOpen, closedSlow, closedOverflow, closedBroken, closedPings   atomic.Uint64
	stale, unwritten, failuresLost                                                      atomic.Uint64
	packetsIn, packetsOut, bytesIn, bytesOut, batches, waits, sendErrors, drops, panics atomic.Uint64
	_                                                                                   [64]byte
	ringFull                                                                            atomic.Uint64
}

// Counters sums the counters of all loops. Safe from any goroutine.
func (e *Engine) Counters() (c Counters) {
	c.Open = uint64(max(e.open.Load(), 0))
	c.Restarts = e.restarts.Load()
	for _, l := range e.loops {
		n := &l.n
		c.Accepted += n.accepted.Load()
		c.Dialed += n.dialed.Load()
		c.DialFailures += n.dialFailures.Load()
		c.RefusedTotal += n.refusedTotal.Load()
		c.RefusedAddress += n.refusedAddress.Load()
		c.Handshakes += n.handshakes.Load()
		c.HandshakeFails += n.handshakeFails.Load()
		c.ClosedIdle += n.closedIdle.Load()
		c.ClosedHalfOpen += n.closedHalfOpen.Load()
		c.ClosedSlow += n.closedSlow.Load()
		c.ClosedOverflow += n.closedOverflow.Load()
		c.ClosedBroken += n.closedBroken.Load()
		c.ClosedPings += n.closedPings.Load()
		c.Stale += n.stale.Load()
		c.Unwritten += n.unwritten.Load()
		c.RingFull += n.ringFull.Load()
		c.FailuresLost += n.failuresLost.Load()
	}
	return c
}

// Stats copies the counters of one loop, 0 to Loops()-1. A packet is a whole message. Safe from any goroutine.
func (e *Engine) Stats(loop int) transport.LoopStats {
	n := &e.loops[loop].n
	return transport.LoopStats{
		PacketsIn:   n.packetsIn.Load(),
		PacketsOut:  n.packetsOut.Load(),
		BytesIn:     n.bytesIn.Load(),
		BytesOut:    n.bytesOut.Load(),
		Batches:     n.batches.Load(),
		Waits:       n.waits.Load(),
		SendErrors:  n.sendErrors.Load(),
		SendDropped: n.drops.Load(),
		Panics:      n.panics.Load(),
	}
}
