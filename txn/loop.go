package txn

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"sipedge/parser"
)

const loopMask = 1<<loopBits - 1

// LoopHash is the part of the branch parameter that tells loops from spirals: 48 bits over what decides
// where the received request goes. "This second part MUST vary with any field used by the location
// service logic in determining where to retarget or forward this request. [...] Hence, the second part
// MUST depend at least on the received Request-URI and any Route header field values used when processing
// the received request." "This second part MUST NOT vary with the request method." RFC 5393 section 4.2.1
//
// Call-ID, CSeq number and From tag are in it because "implementations SHOULD include at least one field in
// the input to the hash that varies between different transactions" (section 4.2.4). The To tag is not: the
// ACK of a non-2xx response has one that its INVITE had not. A rule that routes by another field than these
// must add that field here.
//
// It borrows b, and reads m as received, before anything is edited.
func (l *KeyLoop) LoopHash(m *parser.Message, b []byte) uint64 {
	buf := binary.LittleEndian.AppendUint64(l.buf[:0], l.loop)
	buf = appendField(buf, m.RequestURI.In(b))
	buf = appendSequence(buf, m, b)
	if i := m.First(parser.HeaderRoute); i >= 0 {
		for n := m.HeaderCount(); i < n; i++ {
			if h := m.HeaderAt(i); h.ID == parser.HeaderRoute {
				buf = appendField(buf, h.Value.In(b))
			}
		}
	}
	return xxhash.Sum64(buf) & loopMask
}

// ReadLoop reads the loop hash out of the branch of a Via that may be ours, of any kind. It borrows
// branch. It proves nothing about who wrote it, and need not: a value that equals the keyed LoopHash of the very
// request it stands in was not guessed, and who copies it into a request of his own gets that one rejected.
func ReadLoop(branch []byte) (loop uint64, ok bool) {
	// Characters 8 to 23 hold the first 12 bytes in each kind; the loop hash is in them as far as its layout goes.
	var t [18]byte
	switch branchKind(branch) {
	case BranchTransaction:
		if len(branch) != branchHead+tokenBytes/3*4 || !readToken(t[:], branch[branchHead:branchHead+24]) || t[9] != branchVersion {
			return 0, false
		}
		return binary.BigEndian.Uint64(t[8:]) & loopMask, true
	case BranchStateless, BranchStatelessOld:
		if !readToken(t[:], branch[branchHead:]) || t[0] != branchVersion {
			return 0, false
		}
		return binary.BigEndian.Uint64(t[:]) >> 8 & loopMask, true
	}
	return 0, false
}
