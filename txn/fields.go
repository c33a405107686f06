package txn

import (
	"encoding/binary"

	"sipedge/parser"
)

// The fields of a message are put in a row, each behind its length, before they are hashed: so no two
// lists of fields read the same.

// appendField appends v behind its length. A field of the header section is shorter than 64 KiB.
func appendField(buf, v []byte) []byte {
	buf = binary.LittleEndian.AppendUint16(buf, uint16(len(v)))
	return append(buf, v...)
}

// appendSequence appends Call-ID, From tag and CSeq number: what a client's request, its ACK and its CANCEL have
// in common. A missing header counts as empty; such a request is only ever answered.
func appendSequence(buf []byte, m *parser.Message, b []byte) []byte {
	var callID, fromTag []byte
	var number uint32
	if m.Has(parser.HeaderCallID) {
		callID = m.CallID.In(b)
	}
	if m.Has(parser.HeaderFrom) {
		fromTag = m.From.Tag.In(b)
	}
	if m.Has(parser.HeaderCSeq) {
		number = m.CSeq.Number
	}
	buf = appendField(buf, callID)
	buf = appendField(buf, fromTag)
	return binary.LittleEndian.AppendUint32(buf, number)
}

// appendLower appends a host name in lower case: "a registered name component is case-insensitive"
// (RFC 3986 section 3.2.2), and so are the digits of an IPv6 reference.
func appendLower(buf, host []byte) []byte {
	n := len(buf)
	buf = append(buf, host...)
	end := len(buf)
	// Eight bytes at a time, the last time perhaps beyond the end: that part is scratch.
	buf = append(buf, 0, 0, 0, 0, 0, 0, 0, 0)
	for ; n < end; n += 8 {
		w := binary.LittleEndian.Uint64(buf[n:])
		binary.LittleEndian.PutUint64(buf[n:], lower8(w))
	}
	return buf[:end]
}

// lower8 turns the ASCII capitals among eight bytes into small letters.
func lower8(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	low := w &^ tops
	beyondZ := low + (0x7f-'Z')*ones // top bit: above 'Z'
	fromA := low + (0x80-'A')*ones   // top bit: 'A' or above
	capitals := (fromA ^ beyondZ) & tops &^ w
	return w | capitals>>2
}

// appendVia appends a whole Via value so that two equal ones read the same: small letters, no white space.
// "Two Via header fields are equal if their sent-protocol and sent-by fields are equal, both have the same set
// of parameters, and the values of all parameters are equal" (RFC 3261 section 20.42); all of these are
// compared without regard to case. Parameters in another order make another value here: the copies of one
// client's Via have one order.
func appendVia(buf, value []byte) []byte {
	at := len(buf)
	buf = append(buf, 0, 0)
	for _, c := range value {
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case 'A' <= c && c <= 'Z':
			buf = append(buf, c|0x20)
		default:
			buf = append(buf, c)
		}
	}
	binary.LittleEndian.PutUint16(buf[at:], uint16(len(buf)-at-2))
	return buf
}
