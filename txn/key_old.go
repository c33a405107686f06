package txn

import (
	"sipedge/parser"
)

// oldKey is the key of a request whose topmost Via has no branch that identifies a transaction: RFC 2543.
//
// "The INVITE request matches a transaction if the Request-URI, To tag, From tag, Call-ID, CSeq, and top
// Via header field match those of the INVITE request which created the transaction." "For all other request
// methods, a request is matched to a transaction if the Request-URI, To tag, From tag, Call-ID, CSeq
// (including the method), and top Via header field match". RFC 3261 section 17.2.3. A CANCEL has all of these from
// its INVITE, "including tags" (section 9.1).
//
// "The ACK request matches a transaction if the Request-URI, From tag, Call-ID, CSeq number (not the
// method), and top Via header field match those of the INVITE request which created the transaction, and
// the To tag of the ACK matches the To tag of the response sent by the server transaction." So the ACK's
// own To tag is that of a response, and not part of the INVITE's key unless the INVITE had it too. That is one of
// two: an INVITE outside a dialog had no To tag (leave it out: withoutTo), and an INVITE inside a dialog had the
// one that the response, and so the ACK, has again (InDialogAckKey).
// Whether the To tag is that of the response sent is for the router to see: it has the response.
//
// Deviation: the Request-URI is compared byte by byte. The comparison of section 19.1.4 is not transitive, so no
// key can stand for it; a client's copies, ACK and CANCEL repeat its own spelling.
func (l *KeyLoop) oldKey(m *parser.Message, b []byte, withoutTo bool) Key {
	method := m.Method
	if method == parser.MethodAck || method == parser.MethodCancel {
		method = parser.MethodInvite
	}
	buf := append(l.buf[:8], keyOld, byte(method))
	if method == parser.MethodOther {
		buf = appendField(buf, m.MethodName.In(b))
	}
	return l.sum(appendOld(buf, m, b, withoutTo))
}

// InDialogAckKey is the second key under which the transaction of an ACK may be found, to be looked up
// when that of ServerKey finds nothing: that of an RFC 2543 INVITE inside a dialog. ok is false for all
// other requests. It borrows b.
func (l *KeyLoop) InDialogAckKey(m *parser.Message, b []byte) (k Key, ok bool) {
	if hasTransactionID(&m.Via) || !isAck(m) || toTag(m, b) == nil {
		return Key{}, false
	}
	return l.oldKey(m, b, false), true
}

// appendOld appends the fields that tell RFC 2543 transactions apart; they are those of sections 16.11 and 17.2.3.
func appendOld(buf []byte, m *parser.Message, b []byte, withoutTo bool) []byte {
	buf = appendVia(buf, m.Via.Value.In(b))
	buf = appendField(buf, m.RequestURI.In(b))
	buf = appendSequence(buf, m, b)
	if withoutTo {
		return appendField(buf, nil)
	}
	return appendField(buf, toTag(m, b))
}

// toTag is the tag of the To header, nil when there is none.
func toTag(m *parser.Message, b []byte) []byte {
	if !m.Has(parser.HeaderTo) || m.To.Tag.Empty() {
		return nil
	}
	return m.To.Tag.In(b)
}

func isAck(m *parser.Message) bool { return m.Method == parser.MethodAck }
