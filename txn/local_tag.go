package txn

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"sipedge/parser"
)

// AppendLocalTag appends the To tag of a response that we make to m without keeping state. It borrows b.
//
// "A stateless UAS [...] MUST generate [...] To tags [...] in a stateless manner - in a manner that will generate the
// same tag for the same request consistently" (RFC 3261 section 8.2.7). It is a hash of Call-ID, From tag and CSeq
// number under a secret seed, so the ACK, which has them and the tag, is known to be for us. Nothing is
// permitted by it: who guesses it has his own ACK absorbed.
func (l *KeyLoop) AppendLocalTag(dst []byte, m *parser.Message, b []byte) []byte {
	buf := l.buf[:8]
	binary.LittleEndian.PutUint64(buf, l.loop^localTagPurpose)
	buf = appendSequence(buf, m, b)
	t := l.token[:9]
	t[0] = branchVersion
	binary.LittleEndian.PutUint64(t[1:], xxhash.Sum64(buf))
	return appendToken(dst, t)
}

// AppendRefusalTag appends a To tag like AppendLocalTag, with RefusalMark in front.
func (l *KeyLoop) AppendRefusalTag(dst []byte, m *parser.Message, b []byte) []byte {
	return l.AppendLocalTag(append(dst, l.refusal[:]...), m, b)
}

// RefusalMark is what the To tags of our refusals begin with: the same for all processes with the same secret, and nobody
// else's. By it alone an ACK is known to be for a refusal, and need not be read.
func (l *KeyLoop) RefusalMark() []byte { return l.refusal[:] }

// refusalMark makes the mark for a seed.
func refusalMark(seed uint64) (mark [8]byte) {
	var t [8]byte
	binary.LittleEndian.PutUint64(t[:], seed^refusalPurpose)
	binary.LittleEndian.PutUint64(t[:], xxhash.Sum64(t[:]))
	appendToken(mark[:0], t[:6])
	return mark
}

const refusalPurpose = 0x726566757365 // "refuse"

// localTagPurpose keeps the tag's seed apart from that of the loop hash.
const localTagPurpose = 0x746f20746167 // "to tag"
