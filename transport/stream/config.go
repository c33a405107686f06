package stream

import (
	"net/netip"

	"sipedge/transport"
	"sipedge/transport/tlslayer"
)

// Listener is one address where connections are accepted.
type Listener struct {
	Index uint16 // in the configuration, as in Flow.Listener
	Addr  netip.AddrPort
	Proto transport.Protocol
}

// Config says what to serve.
type Config struct {
	Listeners []Listener
	Loops     int // number of event loops
	FirstLoop int // Flow.Loop of the first one; those below belong to the UDP engine
	Limits    Limits
	// TLS has the certificates; needed for listeners of TLS and WSS.
	TLS *tlslayer.Config
	// Origins are the web pages that may connect by WebSocket, see wslayer.ParseOrigins.
	Origins []string
	// Names has the numbers of TLS names; nil: one of its own.
	Names *transport.Names
	// Datagrams sends what leaves by UDP; nil: nothing does.
	Datagrams transport.Datagrams
	// Warn is told about what is weaker than asked for, at start, and of every restart of gnet.
	Warn func(message string)
	// Panicked is as in transport.Config; of the message at most transport.MaxDatagram bytes.
	Panicked func(loop int, what any, stack []byte, message []byte)
}

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
