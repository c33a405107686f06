package router

import (
	"encoding/binary"

	"sipedge/transport"
)

// STUN keep-alives on UDP ports: "All edge proxies compliant with this specification MUST implement support for STUN NAT
// keep-alives on their SIP UDP ports" (RFC 5626 section 5.4). "The only STUN messages required by this usage are Binding
// Requests, Binding Responses, and Binding Error Responses" (section 8), and what is malformed is not answered.

const (
	stunHeader = 20         // type 2, length 2, cookie 4, transaction 12
	stunCookie = 0x2112A442 // RFC 5389 section 6

	stunBindingRequest  = 0x0001
	stunBindingResponse = 0x0101
	stunBindingError    = 0x0111

	stunErrorCode         = 0x0009
	stunUnknownAttributes = 0x000A
	stunXORMappedAddress  = 0x0020
	stunRequired          = 0x8000 // attributes below it have to be understood

	maxUnknownAttributes = 8 // that an error names
)

// isSTUN tells STUN from SIP: "the first octet of a STUN Binding method has a value of 0 or 1, while the first octet of a
// SIP message is never a 0 or 1" (RFC 5626 section 8).
func isSTUN(b []byte) bool { return len(b) >= stunHeader && b[0] <= 1 }

// answerSTUN answers a binding request with where it came from. It borrows b.
func (w *Worker) answerSTUN(from *transport.Flow, b []byte) {
	// "The message length MUST contain the size, in bytes, of the message not including the 20-byte STUN header. Since all STUN
	// attributes are padded to a multiple of 4 bytes, the last 2 bits of this field are always zero." RFC 5389 section 6
	if binary.BigEndian.Uint16(b) != stunBindingRequest || binary.BigEndian.Uint32(b[4:]) != stunCookie ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-stunHeader || len(b)%4 != 0 {
		return
	}
	var unknown [maxUnknownAttributes]uint16
	n, ok := stunUnknown(b[stunHeader:], &unknown)
	if !ok {
		return
	}
	out := w.loop.Buffer()
	if n > 0 {
		// "If the request contains one or more unknown comprehension-required attributes, the server replies with an error response
		// with an error code of 420 (Unknown Attribute), and includes an UNKNOWN-ATTRIBUTES attribute in the response that lists
		// the unknown comprehension-required attributes." RFC 5389 section 7.3.1
		out = appendSTUN(out, stunBindingError, b)
		out = binary.BigEndian.AppendUint32(out, stunErrorCode<<16|4)
		out = append(out, 0, 0, 4, 20)
		out = binary.BigEndian.AppendUint32(out, stunUnknownAttributes<<16|uint32(2*n))
		for _, t := range unknown[:n] {
			out = binary.BigEndian.AppendUint16(out, t)
		}
		if n%2 != 0 {
			out = append(out, 0, 0)
		}
	} else {
		out = appendSTUN(out, stunBindingResponse, b)
		out = appendXORMapped(out, &from.Remote, b[4:stunHeader])
	}
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)-stunHeader))
	w.send(from, out)
}

// appendSTUN appends a header for an answer to b.
func appendSTUN(dst []byte, kind uint16, b []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, kind)
	dst = append(dst, 0, 0)
	return append(dst, b[4:stunHeader]...)
}

// appendXORMapped appends XOR-MAPPED-ADDRESS (RFC 5389 section 15.2). key is the cookie and the transaction.
func appendXORMapped(dst []byte, a *transport.Addr, key []byte) []byte {
	ip, family := a.IP[:], uint16(2)
	if a.Is4() {
		ip, family = a.IP[12:], 1
	}
	dst = binary.BigEndian.AppendUint16(dst, stunXORMappedAddress)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+len(ip)))
	dst = binary.BigEndian.AppendUint16(dst, family)
	dst = binary.BigEndian.AppendUint16(dst, a.Port^stunCookie>>16)
	for i, c := range ip {
		dst = append(dst, c^key[i])
	}
	return dst
}

// stunUnknown collects the attributes that a server has to understand to answer, and that this one does not. ok is false if
// the attributes cannot be walked to their end.
func stunUnknown(b []byte, unknown *[maxUnknownAttributes]uint16) (n int, ok bool) {
	for len(b) > 0 {
		if len(b) < 4 {
			return 0, false
		}
		kind, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		length = (length + 3) &^ 3
		if length > len(b)-4 {
			return 0, false
		}
		switch {
		case kind >= stunRequired:
		case kind == 0x0006, kind == 0x0008, kind == 0x0014, kind == 0x0015:
			// USERNAME, MESSAGE-INTEGRITY, REALM, NONCE: understood, and of no account where nothing is protected.
		case n < len(unknown):
			unknown[n] = kind
			n++
		}
		b = b[4+length:]
	}
	return n, true
}
