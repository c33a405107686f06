package txn

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"sipedge/parser"
	"sipedge/transport"
)

// A branch parameter of a request that is forwarded without a transaction is 32 characters:
//
//	z9hG4bK s base64url( version 1 | loop hash 6 | MAC 11 )
//
// "The component of the branch parameter that makes it unique MUST be the same each time a retransmitted
// request is forwarded" (RFC 3261 section 16.11). It is the MAC, over the loop hash and:
//
//   - kind 's': the received branch ("computed as a hash of the received branch ID") and the sent-by beside it,
//     since other clients may have chosen the same branch. A response brings both back in its second Via, so
//     the MAC proves that this site forwarded such a request, as far as the hash tells requests apart (macReceived). What this proxy adds to that Via (received, rport) is left out.
//   - of both kinds: where the response will go. So a branch, once seen, cannot send anything anywhere else.
//   - kind 'o', when the received branch has no magic cookie: "the topmost Via, the tag in the To header
//     field, the tag in the From header field, the Call-ID header field, the CSeq number (but not method), and the
//     Request-URI from the received request". A response does not bring all of these back, so the last five bytes are
//     a MAC of their own, over what it does bring: Call-ID, From tag, CSeq number and where it goes.
//
// Deviation: for INVITE, ACK and CANCEL the To tag is left out. The ACK of a non-2xx response has the tag of
// the response, so with it the ACK would get another branch than its INVITE and could not be matched downstream,
// and "CANCEL and non-200 ACK requests MUST have the same branch parameter value as the corresponding
// request they cancel or acknowledge" (RFC 5393 section 4.2.1).
const (
	statelessHead  = 7 // version and loop hash
	statelessMAC   = 11
	statelessBytes = statelessHead + statelessMAC
	oldProof       = 5 // of the MAC of kind 'o': what a response can prove
)

// AppendStatelessBranch appends the branch parameter's value for forwarding m without a transaction. It borrows
// b. loop is m's LoopHash, to where its responses go. ACK and CANCEL have the same as their INVITE, and each retransmission has the same.
func (l *KeyLoop) AppendStatelessBranch(dst []byte, m *parser.Message, b []byte, loop uint64, to *transport.Addr) []byte {
	kind := BranchStatelessOld
	if m.Via.Cookie {
		kind = BranchStateless
		l.macReceived(l.accepted[0], loop, b, &m.Via, to)
	} else {
		l.macOld(l.accepted[0], loop, m, b)
	}
	t := l.token[:statelessBytes]
	binary.BigEndian.PutUint64(t, branchVersion<<56|loop&loopMask<<8)
	copy(t[statelessHead:], l.block[:statelessMAC])
	if kind == BranchStatelessOld {
		l.macReturned(l.accepted[0], loop, m, b, to)
		copy(t[statelessBytes-oldProof:], l.block[:oldProof])
	}
	dst = append(dst, magicCookie...)
	dst = append(dst, byte(kind))
	return appendToken(dst, t)
}

// CheckStatelessBranch checks branch, that of the topmost Via of the response m, against next, the Via behind it,
// and to, where the response would go by it. It borrows all of them; m and next lie in b. ok means that this site
// forwarded a request whose topmost Via was next and whose responses go to that place.
func (l *KeyLoop) CheckStatelessBranch(branch []byte, m *parser.Message, b []byte, next *parser.Via, to *transport.Addr) (kind BranchKind, ok bool) {
	kind = branchKind(branch)
	t := l.token[:statelessBytes]
	if kind != BranchStateless && kind != BranchStatelessOld || !readToken(t, branch[branchHead:]) || t[0] != branchVersion {
		return kind, false
	}
	loop := binary.BigEndian.Uint64(t) >> 8 & loopMask
	for i := range l.accepted {
		got, want := t[statelessHead:], l.block[:statelessMAC]
		if kind == BranchStateless {
			l.macReceived(l.accepted[i], loop, b, next, to)
		} else {
			l.macReturned(l.accepted[i], loop, m, b, to)
			got, want = t[statelessBytes-oldProof:], l.block[:oldProof]
		}
		if subtle.ConstantTimeCompare(got, want) == 1 {
			return kind, true
		}
	}
	return kind, false
}

// appendPlace appends an address and port; the scope of a link-local one is not in a Via.
func appendPlace(buf []byte, to *transport.Addr) []byte {
	buf = append(buf, to.IP[:]...)
	return binary.BigEndian.AppendUint16(buf, to.Port)
}

// macReturned makes l.block the MAC over what a response to an RFC 2543 request brings back. Its first block differs
// from those of macReceived and macOld by its kind, and has the length of all that follows.
func (l *KeyLoop) macReturned(key issuers, loop uint64, m *parser.Message, b []byte, to *transport.Addr) {
	buf := l.buf[:aes.BlockSize]
	clear(buf)
	buf = appendPlace(buf, to)
	buf = appendSequence(buf, m, b)
	binary.BigEndian.PutUint64(buf, branchVersion<<56|loop&loopMask<<8)
	buf[7] = 'r'
	binary.BigEndian.PutUint32(buf[8:], uint32(len(buf)))
	l.block = [aes.BlockSize]byte{}
	l.mac(key.stateless, buf)
}

// macReceived makes l.block the MAC for kind 's': of two blocks, which tell by their first byte that they are for this kind. What
// tells requests apart is in them as 56 bits of xxHash. Someone may find two branches and hosts of his own that meet
// there: then his two requests leave with one branch, which he can have by sending the same twice. Where responses go is in them as it is.
func (l *KeyLoop) macReceived(key issuers, loop uint64, b []byte, v *parser.Via, to *transport.Addr) {
	buf := l.buf[:aes.BlockSize]
	binary.LittleEndian.PutUint64(buf, key.received)
	binary.LittleEndian.PutUint16(buf[8:], v.Port)
	binary.LittleEndian.PutUint16(buf[10:], v.Host.Len)
	buf = appendLower(buf[:12], v.Host.In(b))
	hash := xxhash.Sum64(append(buf, v.Branch.In(b)...))

	buf = buf[:2*aes.BlockSize]
	binary.BigEndian.PutUint64(buf, uint64(BranchStateless)<<56|loop&loopMask<<8)
	binary.BigEndian.PutUint64(buf[7:], hash)
	binary.BigEndian.PutUint16(buf[14:], to.Port)
	copy(buf[aes.BlockSize:], to.IP[:])
	l.block = [aes.BlockSize]byte{}
	l.mac(key.stateless, buf)
}

// macOld makes l.block the MAC for kind 'o'. The fields have their lengths in front of each, and there is a fixed
// number of them.
func (l *KeyLoop) macOld(key issuers, loop uint64, m *parser.Message, b []byte) {
	buf := l.buf[:aes.BlockSize]
	clear(buf)
	invite := m.Method == parser.MethodInvite || m.Method == parser.MethodAck || m.Method == parser.MethodCancel
	buf = appendOld(buf, m, b, invite)
	binary.BigEndian.PutUint64(buf, branchVersion<<56|loop&loopMask<<8)
	buf[7] = byte(BranchStatelessOld)
	l.block = [aes.BlockSize]byte{}
	l.mac(key.stateless, buf)
}
