package transport

import "net/netip"

// Protocol is a SIP transport protocol.
type Protocol uint8

const (
	UDP Protocol = iota + 1
	TCP
	TLS
	WS
	WSS
)

// Reliable tells whether the protocol retransmits by itself, so that SIP must not (RFC 3261 section 17).
func (p Protocol) Reliable() bool { return p > UDP }

// Addr is an address and port without pointers, so that it can live in slabs
// (netip.Addr holds a pointer). IPv4 is kept in its IPv4-mapped IPv6 form.
type Addr struct {
	IP    [16]byte
	Scope uint32 // IPv6 scope id (interface index), 0 for none
	Port  uint16
}

// AddrFrom converts; an IPv6 zone must be numeric, as the backends make it.
func AddrFrom(ap netip.AddrPort) Addr {
	return Addr{IP: ap.Addr().As16(), Port: ap.Port()}
}

// AddrPort converts back, with IPv4-mapped addresses as IPv4. The scope is left out.
func (a Addr) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.IP).Unmap(), a.Port)
}

// Is4 tells whether a is an IPv4 address.
func (a *Addr) Is4() bool {
	return [12]byte(a.IP[:12]) == [12]byte{10: 0xff, 11: 0xff}
}

// Flow names a way to a neighbour and back: for UDP the two addresses, for a stream its
// connection. It is a value without pointers (RFC 5626 section 2 has the idea).
type Flow struct {
	Remote   Addr
	Local    [16]byte // UDP: the address of ours that the datagram came to, or zero: the listener's own
	Conn     uint32   // streams: slot of the connection in its loop; with Gen 0: number of the name to prove, as Hop.Name, or AnyName
	Gen      uint32   // streams: generation of that slot; a stale one is Gone; 0: no connection yet
	Listener uint16   // index of the listener in the configuration
	Loop     uint8    // streams: the loop that owns the connection
	Proto    Protocol
}

// AnyName in the Conn of a Flow with Gen 0 is for a response: it goes on whatever connection there is with that very remote address
// and port, for that is the one its request came on (RFC 3261 section 18.2.2). Where there is none it is like 0.
const AnyName = 1<<32 - 1
