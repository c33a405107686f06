package txn

import (
	"encoding/binary"

	"sipedge/transport"
)

// A flow in a token is what names the way back to a neighbour (RFC 5626 section 5.2):
//
//	listener 2 | transport 1 | loop 1 | connection 4 | generation 4 | port 2 | remote 4, local 4              of IPv4
//	                                                                         | remote 16, local 16 | scope 3   of IPv6
//
// The remote address is there for connections too: it says whom the connection was to, and where another one may lead.
const (
	flowHead  = 2 + 1 + 1 + 4 + 4 + 2
	flowBytes = flowHead + 4 + 4
	flowLong  = flowHead + 16 + 16 + 3
)

// putFlow fills t, which is of the size that flowSize says.
func putFlow(t []byte, f *transport.Flow) {
	binary.BigEndian.PutUint16(t, f.Listener)
	t[2], t[3] = byte(f.Proto), f.Loop
	binary.BigEndian.PutUint32(t[4:], f.Conn)
	binary.BigEndian.PutUint32(t[8:], f.Gen)
	binary.BigEndian.PutUint16(t[12:], f.Remote.Port)
	if len(t) == flowBytes {
		copy(t[flowHead:], f.Remote.IP[12:])
		copy(t[flowHead+4:], f.Local[12:])
		return
	}
	copy(t[flowHead:], f.Remote.IP[:])
	copy(t[flowHead+16:], f.Local[:])
	t[flowHead+32], t[flowHead+33], t[flowHead+34] = byte(f.Remote.Scope>>16), byte(f.Remote.Scope>>8), byte(f.Remote.Scope)
}

// readFlow is what putFlow wrote.
func readFlow(t []byte) (f transport.Flow) {
	f.Listener = binary.BigEndian.Uint16(t)
	f.Proto, f.Loop = transport.Protocol(t[2]), t[3]
	f.Conn = binary.BigEndian.Uint32(t[4:])
	f.Gen = binary.BigEndian.Uint32(t[8:])
	f.Remote.Port = binary.BigEndian.Uint16(t[12:])
	if len(t) == flowBytes {
		f.Remote.IP = [16]byte{10: 0xff, 11: 0xff}
		copy(f.Remote.IP[12:], t[flowHead:])
		if local := t[flowHead+4:]; local[0]|local[1]|local[2]|local[3] != 0 { // else the listener's own
			f.Local = [16]byte{10: 0xff, 11: 0xff}
			copy(f.Local[12:], local)
		}
		return f
	}
	copy(f.Remote.IP[:], t[flowHead:])
	copy(f.Local[:], t[flowHead+16:])
	f.Remote.Scope = uint32(t[flowHead+32])<<16 | uint32(t[flowHead+33])<<8 | uint32(t[flowHead+34])
	return f
}

// flowSize is the room that f takes.
func flowSize(f *transport.Flow) int {
	if f.Remote.Is4() {
		return flowBytes
	}
	return flowLong
}
