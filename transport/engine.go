package transport

import (
	"fmt"
	"net/netip"
)

// Engine is a set of event loops over the same listeners. Two backends implement it:
// batch (Linux, recvmmsg and sendmmsg) and gnetudp (everywhere).
type Engine interface {
	// Serve makes one Handler per loop and runs the loops until Stop; it returns after every
	// loop has ended and its sockets are closed.
	Serve(newHandler func(loop int, l Loop) Handler) error
	// Stop ends Serve. Safe from any goroutine, and more than once.
	Stop()
	// Addrs is the bound address of each listener, port 0 resolved.
	Addrs() []netip.AddrPort
	// Stats copies the counters of one loop. Safe from any goroutine.
	Stats(loop int) LoopStats
	// Loops is the number of loops.
	Loops() int
}

// Config is what both backends need to know.
type Config struct {
	Listeners     []netip.AddrPort // UDP addresses to bind
	Loops         int              // number of event loops, 1 to MaxLoops
	ReceiveBuffer int              // SO_RCVBUF wanted, bytes
	// Warn is told once about what is weaker than asked for, at start only.
	Warn func(message string)
	// Panicked is told of a panic out of a Handler: what it was, and a copy of the packet in hand.
	// The packet is lost, the loop goes on. Called on the loop.
	Panicked func(loop int, what any, stack []byte, packet []byte)
}

// LoopStats are the counters of one loop since its start.
type LoopStats struct {
	PacketsIn, PacketsOut uint64
	BytesIn, BytesOut     uint64
	Batches               uint64 // receive calls that brought at least one packet
	Waits                 uint64 // times the loop slept
	SendErrors            uint64 // datagrams that the kernel refused
	SendDropped           uint64 // datagrams given up because the socket buffer stayed full
	ICMPErrors            uint64 // errors read from the error queue
	Panics                uint64
	ReceiveDropped        uint64 // datagrams lost because a receive buffer was full, as far as seen
}

// Validate refuses what no backend can serve.
func (c *Config) Validate() error {
	switch {
	case len(c.Listeners) == 0:
		return fmt.Errorf("transport: no listener; give at least one --listen udp:HOST:PORT")
	case len(c.Listeners) > MaxListeners:
		return fmt.Errorf("transport: %d listeners; at most %d", len(c.Listeners), MaxListeners)
	case c.Loops < 1 || c.Loops > MaxLoops:
		return fmt.Errorf("transport: %d loops; give 1 to %d", c.Loops, MaxLoops)
	}
	return nil
}
