package txn

import (
	"encoding/binary"
)

// BranchKind is the first character of a branch parameter of ours, behind the magic cookie.
type BranchKind byte

const (
	BranchForeign      BranchKind = 0   // not a branch of ours
	BranchTransaction  BranchKind = 't' // names a client transaction; ReadBranch proves it
	BranchStateless    BranchKind = 's' // CheckStatelessBranch proves it
	BranchStatelessOld BranchKind = 'o' // for an RFC 2543 request; proven the same way
	magicCookie                   = "z9hG4bK"
	branchHead                    = len(magicCookie) + 1
	branchVersion                 = 1
	loopBits                      = 48
)

// BranchID is what the branch parameter of a forwarded request says: which branch of which response
// context, so that a response finds its client transaction without a search, and the loop hash of
// RFC 5393 section 4.2.1 (its "second part").
type BranchID struct {
	Ref   Ref
	Index uint8  // ClientTransaction.Index
	Loop  uint64 // KeyLoop.LoopHash: 48 bits
}

// A branch parameter of a client transaction is 40 characters:
//
//	z9hG4bK t base64url( slot 4 | generation 4 | index 1 | version 1 | loop hash 6 | MAC 8 )
//
// The first 16 bytes are one AES block and the MAC is the first half of its encryption: over inputs of
// one fixed length a block cipher needs no mode. A forged MAC has a chance of one in 2^64 per packet.
//
// The branch is "globally unique" (RFC 3261 section 8.1.1.7) because a generation of a slot is used once,
// generations begin at random in each process, and the loop hash varies with the request.
const branchMAC = 16

// AppendBranch appends the branch parameter's value for a client transaction. The CANCEL and the ACK of a
// non-2xx response have the same (RFC 3261 sections 9.1 and 17.1.1.3).
func (l *KeyLoop) AppendBranch(dst []byte, id BranchID) []byte {
	t := l.token[:tokenBytes]
	binary.BigEndian.PutUint32(t, id.Ref.Slot)
	binary.BigEndian.PutUint32(t[4:], id.Ref.Gen)
	binary.BigEndian.PutUint64(t[8:], id.Loop)
	t[8], t[9] = id.Index, branchVersion
	l.accepted[0].branch.Encrypt(l.block[:], t[:branchMAC])
	copy(t[branchMAC:], l.block[:])
	dst = append(dst, magicCookie...)
	dst = append(dst, byte(BranchTransaction))
	return appendToken(dst, t)
}

// ReadBranch reads the branch parameter of a response's topmost Via. It borrows branch. ok means that
// this site issued it to a client transaction, under the current or the previous master secret; what is not ok
// is dropped ("any element other than a stateless proxy MUST silently discard the response", RFC 6026 section
// 8.9), unless kind is one of the stateless ones and the caller has sent such.
func (l *KeyLoop) ReadBranch(branch []byte) (id BranchID, kind BranchKind, ok bool) {
	kind = branchKind(branch)
	t := l.token[:tokenBytes]
	if kind != BranchTransaction || !readToken(t, branch[branchHead:]) || t[9] != branchVersion {
		return BranchID{}, kind, false
	}
	for i := range l.accepted {
		l.accepted[i].branch.Encrypt(l.block[:], t[:branchMAC])
		// One comparison of whole words takes the same time whatever differs.
		if binary.BigEndian.Uint64(t[branchMAC:]) == binary.BigEndian.Uint64(l.block[:]) {
			return BranchID{
				Ref:   Ref{Slot: binary.BigEndian.Uint32(t), Gen: binary.BigEndian.Uint32(t[4:])},
				Index: t[8],
				Loop:  binary.BigEndian.Uint64(t[8:]) & loopMask,
			}, kind, true
		}
	}
	return BranchID{}, kind, false
}

// branchKind tells whose branch it may be, by its first characters.
func branchKind(branch []byte) BranchKind {
	if len(branch) <= branchHead || string(branch[:len(magicCookie)]) != magicCookie {
		return BranchForeign
	}
	switch kind := BranchKind(branch[len(magicCookie)]); kind {
	case BranchTransaction, BranchStateless, BranchStatelessOld:
		return kind
	}
	return BranchForeign
}
