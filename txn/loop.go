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
// ACK of a non-2xx response has one that its INVITE had not.
//
// source is nil where nothing but these decides. A policy also looks at where the request came from, which source is for it, and
// at the URIs of From and To: a call that a neighbour sends back to us unchanged is then a spiral, and a loop is noticed one
// round later. It may look at the time of day too, which moves nothing within a loop.
//
// The seed makes the value hard to meet by chance or by precomputation; it is no MAC, since xxHash can be
// calculated backwards from what is seen of it. Nothing is permitted by it.
//
// It borrows b and source, and reads m as received, before anything is edited.
func (l *KeyLoop) LoopHash(m *parser.Message, b, source []byte) uint64 {
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
	if source != nil {
		buf = appendField(buf, source)
		buf = appendField(buf, m.From.Addr.In(b))
		buf = appendField(buf, m.To.Addr.In(b))
	}
	return xxhash.Sum64(buf) & loopMask
}

// LoopOf reads the loop hash out of the branch of a Via that a request carries. It borrows branch. ok means
// that the branch has the form of ours, and for one of a client transaction that its MAC is right. For a
// stateless one nothing is proven, and need not be: who copies or computes the loop hash of a request into a
// Via of that request gets it rejected, and he had it in his hands anyway.
func (l *KeyLoop) LoopOf(branch []byte) (loop uint64, ok bool) {
	switch branchKind(branch) {
	case BranchTransaction:
		id, _, ok := l.ReadBranch(branch)
		return id.Loop, ok
	case BranchStateless, BranchStatelessOld:
		t := l.token[:statelessBytes]
		if readToken(t, branch[branchHead:]) && t[0] == branchVersion {
			return binary.BigEndian.Uint64(t) >> 8 & loopMask, true
		}
	}
	return 0, false
}
