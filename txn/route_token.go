package txn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"sipedge/transport"
)

// RouteRef is what our Record-Route URI remembers for us, so that a later request of the dialog
// brings it back. The zero RouteRef takes no room in the token.
type RouteRef struct {
	Dialog   Ref                // what is kept about the dialog
	Listener uint16             // where the side that this URI faces is reached
	Proto    transport.Protocol // and by what
	Flags    uint8              // named by the router
	// Flow is the only way to the side that this URI faces; a zero Flow: that side is found by its address. Listener and
	// Proto are then those of the flow.
	Flow transport.Flow
}

// A route token is a URI parameter's value of 17, 33, 61 or 97 characters:
//
//	1 base64url( MAC 12 )                                                              without a reference
//	2 base64url( dialog slot 4 | generation 4 | listener 2 | transport 1 | flags 1 | MAC 12 )
//	3 base64url( dialog slot 4 | generation 4 | flags 1 | flow 22 | MAC 14 )            with a flow, IPv4; see flow_bytes.go
//	4 base64url( dialog slot 4 | generation 4 | flags 1 | flow 49 | MAC 14 )            IPv6
//
// The first character is the version and says how long the rest is; there is room for more. The MAC is over version,
// reference, Call-ID and the caller's tag: so it says that this site record-routed a request of
// that call, from that caller. Whoever sees the token can use it again with the same Call-ID and tag, which is
// what every request of the dialog does; with another call or caller it is worth nothing.
const (
	routeBare     = '1'
	routeRef      = '2'
	routeFlow     = '3'
	routeFlowLong = '4'
	routeRefBytes = 12
	routeMAC      = 12
	routeFlowHead = 4 + 4 + 1
)

// RouteTokenHasFlow tells by the first character whether token names a flow, good or not.
func RouteTokenHasFlow(token []byte) bool {
	return len(token) > 0 && (token[0] == routeFlow || token[0] == routeFlowLong)
}

// AppendRouteToken appends the token for a Record-Route URI. It borrows callID and callerTag, the From tag
// of the request that begins the dialog.
func (l *KeyLoop) AppendRouteToken(dst, callID, callerTag []byte, ref RouteRef) []byte {
	if ref.Flow.Proto != 0 {
		return l.appendFlowRef(dst, callID, callerTag, &ref)
	}
	version, from := byte(routeRef), 0
	if ref == (RouteRef{}) {
		version, from = routeBare, routeRefBytes
	}
	t := l.token[:routeRefBytes+routeMAC]
	binary.BigEndian.PutUint32(t, ref.Dialog.Slot)
	binary.BigEndian.PutUint32(t[4:], ref.Dialog.Gen)
	binary.BigEndian.PutUint16(t[8:], ref.Listener)
	t[10], t[11] = byte(ref.Proto), ref.Flags
	key := l.accepted[0].route
	l.macCall(key, version, t[:routeRefBytes], callID)
	l.macTag(key, callerTag)
	copy(t[routeRefBytes:], l.block[:routeMAC])
	return appendToken(append(dst, version), t[from:])
}

// VerifyRouteToken reads the token of a Route URI of ours. It borrows all. ok means that this site issued the
// token for a call with that Call-ID whose caller had one of the two tags: requests of a dialog come from both sides,
// so the caller's tag is in From or in To.
func (l *KeyLoop) VerifyRouteToken(token, callID, fromTag, toTag []byte) (ref RouteRef, ok bool) {
	if RouteTokenHasFlow(token) {
		return l.verifyFlowRef(token, callID, fromTag, toTag)
	}
	t := l.token[:routeRefBytes+routeMAC]
	var version byte
	switch {
	case len(token) == 0:
		return RouteRef{}, false
	case token[0] == routeBare && readToken(t[routeRefBytes:], token[1:]):
		version = routeBare
		clear(t[:routeRefBytes])
	case token[0] == routeRef && readToken(t, token[1:]):
		version = routeRef
	default:
		return RouteRef{}, false
	}
	if !l.verifyRoute(t, routeRefBytes, version, callID, fromTag, toTag) {
		return RouteRef{}, false
	}
	return RouteRef{
		Dialog:   Ref{Slot: binary.BigEndian.Uint32(t), Gen: binary.BigEndian.Uint32(t[4:])},
		Listener: binary.BigEndian.Uint16(t[8:]),
		Proto:    transport.Protocol(t[10]),
		Flags:    t[11],
	}, true
}

// verifyRoute tells whether t[n:] is the MAC over t[:n] for a call of that Call-ID whose caller had one of the two tags.
func (l *KeyLoop) verifyRoute(t []byte, n int, version byte, callID, fromTag, toTag []byte) bool {
	for i := range l.accepted {
		key := l.accepted[i].route
		l.macCall(key, version, t[:n], callID)
		call := l.block
		l.macTag(key, fromTag)
		if subtle.ConstantTimeCompare(t[n:], l.block[:len(t)-n]) == 1 {
			return true
		}
		l.block = call
		l.macTag(key, toTag)
		if subtle.ConstantTimeCompare(t[n:], l.block[:len(t)-n]) == 1 {
			return true
		}
	}
	return false
}

// appendFlowRef is AppendRouteToken for a reference with a flow.
func (l *KeyLoop) appendFlowRef(dst, callID, callerTag []byte, ref *RouteRef) []byte {
	n, version := routeFlowHead+flowSize(&ref.Flow), byte(routeFlow)
	if n > routeFlowHead+flowBytes {
		version = routeFlowLong
	}
	t := l.token[:n+flowMAC]
	binary.BigEndian.PutUint32(t, ref.Dialog.Slot)
	binary.BigEndian.PutUint32(t[4:], ref.Dialog.Gen)
	t[8] = ref.Flags
	putFlow(t[routeFlowHead:n], &ref.Flow)
	key := l.accepted[0].route
	l.macCall(key, version, t[:n], callID)
	l.macTag(key, callerTag)
	copy(t[n:], l.block[:flowMAC])
	return appendToken(append(dst, version), t)
}

// verifyFlowRef is VerifyRouteToken for a reference with a flow.
func (l *KeyLoop) verifyFlowRef(token, callID, fromTag, toTag []byte) (ref RouteRef, ok bool) {
	n := routeFlowHead + flowBytes
	if token[0] == routeFlowLong {
		n = routeFlowHead + flowLong
	}
	t := l.token[:n+flowMAC]
	if !readToken(t, token[1:]) || !l.verifyRoute(t, n, token[0], callID, fromTag, toTag) {
		return RouteRef{}, false
	}
	ref = RouteRef{
		Dialog: Ref{Slot: binary.BigEndian.Uint32(t), Gen: binary.BigEndian.Uint32(t[4:])},
		Flags:  t[8],
		Flow:   readFlow(t[routeFlowHead:n]),
	}
	ref.Listener, ref.Proto = ref.Flow.Listener, ref.Flow.Proto
	return ref, true
}

// macCall begins the MAC with version, reference and Call-ID. Their lengths are known from the first block,
// and the tag begins on a block of its own behind its length: so no input is a prefix of another.
func (l *KeyLoop) macCall(key cipher.Block, version byte, ref, callID []byte) {
	buf := append(l.buf[:0], version, 0)
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(callID)))
	buf = append(buf, ref...)
	buf = append(buf, callID...)
	l.block = [aes.BlockSize]byte{}
	l.mac(key, buf)
}

// macTag ends the MAC that macCall began.
func (l *KeyLoop) macTag(key cipher.Block, tag []byte) {
	l.mac(key, appendField(l.buf[:0], tag))
}
