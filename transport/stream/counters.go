//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import (
	"sync/atomic"

	"sipedge/transport"
)

// Counters count what became of connections since the start, all loops together.
type Counters struct {
	Open           uint64 // connections there are now
	Accepted       uint64
	Dialed         uint64
	DialFailures   uint64 // refused, timed out, or the certificate proves another name
	RefusedTotal   uint64 // closed at once: Limits.Connections
	RefusedAddress uint64 // closed at once: Limits.PerAddress
	Handshakes     uint64 // TLS handshakes that succeeded
	HandshakeFails uint64
	ClosedIdle     uint64
	ClosedHalfOpen uint64 // no first message, or no handshake, in time
	ClosedSlow     uint64 // a message that was begun did not end in time
	ClosedOverflow uint64 // the peer did not read
	ClosedBroken   uint64 // where the next message starts was not known
	ClosedPings    uint64 // a flood of keep-alives
	Stale          uint64 // messages for connections that were gone
	Unwritten      uint64 // messages that waited in a connection when it closed
	RingFull       uint64 // messages that a loop's queue had no room for
	FailuresLost   uint64 // failed messages that nobody could be told of
	Restarts       uint64 // of gnet, after it had ended by itself
}

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
