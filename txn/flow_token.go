package txn

import (
	"crypto/aes"
	"crypto/subtle"

	"sipedge/transport"
)

// A flow token is what RFC 5626 section 5.2 asks for in the Path of a REGISTER: "A proxy can use any algorithm it wants as long
// as the flow token is unique to a flow, the flow can be recovered from the token, and the token cannot be modified by
// attackers." It is 49 characters for IPv4, 85 for IPv6:
//
//	f base64url( flow 22 | MAC 14 )      g base64url( flow 49 | MAC 14 )
//
// Unlike a route token it is bound to no call: whoever learns it, as the registrar is meant to, can send requests to that one
// client by it, and nowhere else.
const (
	flowToken     = 'f'
	flowTokenLong = 'g'
	flowMAC       = 14
)

// IsFlowToken tells by the first character whether token is a flow token, good or not.
func IsFlowToken(token []byte) bool {
	return len(token) > 0 && (token[0] == flowToken || token[0] == flowTokenLong)
}

// AppendFlowToken appends the token of f, a flow to a client.
func (l *KeyLoop) AppendFlowToken(dst []byte, f *transport.Flow) []byte {
	n := flowSize(f)
	version := byte(flowToken)
	if n == flowLong {
		version = flowTokenLong
	}
	t := l.token[:n+flowMAC]
	putFlow(t[:n], f)
	l.macFlow(l.accepted[0], version, t[:n])
	copy(t[n:], l.block[:flowMAC])
	return appendToken(append(dst, version), t)
}

// ReadFlowToken recovers the flow. It borrows token. ok means that this site issued the token.
func (l *KeyLoop) ReadFlowToken(token []byte) (f transport.Flow, ok bool) {
	if !IsFlowToken(token) {
		return f, false
	}
	n := flowBytes
	if token[0] == flowTokenLong {
		n = flowLong
	}
	t := l.token[:n+flowMAC]
	if !readToken(t, token[1:]) {
		return f, false
	}
	for i := range l.accepted {
		l.macFlow(l.accepted[i], token[0], t[:n])
		if subtle.ConstantTimeCompare(t[n:], l.block[:flowMAC]) == 1 {
			return readFlow(t[:n]), true
		}
	}
	return f, false
}

// macFlow makes l.block the MAC. The version in the first block says how many follow.
func (l *KeyLoop) macFlow(key issuers, version byte, flow []byte) {
	buf := append(l.buf[:0], version)
	buf = append(buf, flow...)
	l.block = [aes.BlockSize]byte{}
	l.mac(key.flow, buf)
}
