package txn

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"sipedge/parser"
)

// ServerKey is the key of the server transaction that a received request belongs to, by RFC 3261 section
// 17.2.3. It borrows b; m needs a readable topmost Via. ACK and CANCEL have the key of the INVITE that they
// acknowledge or cancel: for ACK that section says so, for CANCEL section 9.2 ("assuming that the
// request method is anything but CANCEL or ACK"); a CANCEL "has no impact" on any other method, so only an
// INVITE is looked for. An ACK for a 2xx has a branch of its own and finds nothing.
//
// With the magic cookie, what counts is the branch, sent-by and the method. The branch is compared byte by
// byte: it is unique as its client wrote it, and folding its case would merge different ones. The host of sent-by
// is compared without regard to case. Its port is compared as written, absent and 5060 are different: the section
// says "the sent-by value [...] is equal", with no default filled in, and every copy, ACK and CANCEL carries the
// value of the first request ("MUST be equal to the top Via header field of the original request", section
// 17.1.1.3; "matching the top Via value", section 9.1).
//
// Without it, see oldKey.
//
// The key is 128 bits of xxHash under two secret seeds. Nobody meets by chance, and an outsider cannot aim at
// a bucket of the table, since he knows neither seed. xxHash is not a MAC: someone may find two
// inputs that meet under any seed. What that buys is that two of his own requests count as one transaction,
// or that his request counts as a copy of one whose branch and sent-by he knows: and that he can have more
// simply, by sending the same branch and sent-by.
func (l *KeyLoop) ServerKey(m *parser.Message, b []byte) Key {
	if !hasTransactionID(&m.Via) {
		return l.oldKey(m, b, isAck(m))
	}
	v := &m.Via
	method, name := m.Method, parser.Span{}
	switch method {
	case parser.MethodAck, parser.MethodCancel:
		method = parser.MethodInvite
	case parser.MethodOther:
		name = m.MethodName
	}
	buf := l.buf[:16]
	buf[8], buf[9] = keyCookie, byte(method)
	binary.LittleEndian.PutUint16(buf[10:], v.Port)
	binary.LittleEndian.PutUint16(buf[12:], v.Host.Len)
	binary.LittleEndian.PutUint16(buf[14:], v.Branch.Len)
	buf = appendLower(buf, v.Host.In(b))
	buf = append(buf, v.Branch.In(b)...)
	buf = append(buf, name.In(b)...)
	return l.sum(buf)
}

// hasTransactionID tells whether the branch identifies its transaction: a magic cookie with something behind
// it. For a cookie alone, RFC 4475 section 3.2.1 lets one "fall back to the RFC 2543-style transaction identifier".
func hasTransactionID(v *parser.Via) bool {
	return v.Cookie && int(v.Branch.Len) > len(magicCookie)
}

// What stands in front of the fields of a key, so that keys of different forms never meet.
const (
	keyCookie = iota + 1
	keyOld
	keyOwn
)

// OwnKey is the key of the context of a request that this proxy makes by itself: nothing that comes in has it. The caller
// sees to it that no two have the same loop and number.
func (l *KeyLoop) OwnKey(loop uint32, number uint64) Key {
	buf := append(l.buf[:8], keyOwn)
	buf = binary.LittleEndian.AppendUint32(buf, loop)
	return l.sum(binary.LittleEndian.AppendUint64(buf, number))
}

// sum hashes buf, whose first eight bytes are left free for the seed.
func (l *KeyLoop) sum(buf []byte) Key {
	binary.LittleEndian.PutUint64(buf, l.table[0])
	hash := xxhash.Sum64(buf)
	binary.LittleEndian.PutUint64(buf, l.table[1])
	return Key{Hash: hash, Check: xxhash.Sum64(buf)}
}
