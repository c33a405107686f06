package wslayer

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"sipedge/parser"
)

// frames is Next after the upgrade.
func (c *Conn) frames(b []byte) (n int, ev Event, payload []byte) {
	for {
		f := b[n:]
		at := int(c.searched)
		if len(f) < int(c.need) {
			return n, More, nil
		}
		h, size := header(f[at:])
		if size == 0 {
			return n, More, nil
		}
		if code, why := c.judge(&h, at+size); why != "" {
			return c.fail(b, code, why)
		}
		end := at + size + int(h.Length)
		if len(f) < end {
			c.need = uint32(end)
			return n, More, nil
		}
		c.need = 0
		body := f[at+size : end : end]
		if c.state == fragmented || !h.Fin {
			c.searched = uint32(end) // fragments, and what stands between them, stay until the last has come
		} else {
			n += end
		}
		switch {
		case h.OpCode == ws.OpPong:
			// "A response to an unsolicited Pong frame is not expected." RFC 6455 section 5.5.3.
		case h.OpCode == ws.OpPing:
			ws.Cipher(body, h.Mask, 0)
			return n, Answer, pong(f[at+size-2 : end : end])
		case h.OpCode == ws.OpClose:
			ws.Cipher(body, h.Mask, 0)
			return c.closing(b, body, f[at+size-2:end])
		case !h.Fin:
			if c.state == open {
				c.state, c.text = fragmented, h.OpCode == ws.OpText
			}
			c.size += uint32(h.Length)
		default:
			text := h.OpCode == ws.OpText
			if c.state == fragmented {
				text = c.text
				payload = assemble(f[:end])
				n += end
				c.state, c.searched, c.size = open, 0, 0
			} else {
				ws.Cipher(body, h.Mask, 0)
				payload = body
			}
			if text && !utf8.Valid(payload) {
				// "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact, a valid
				// UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_." RFC 6455 section 8.1.
				return c.fail(b, ws.StatusInvalidFramePayloadData, "text that is not UTF-8; send it as binary")
			}
			switch k := parser.KeepAlive(payload); {
			case k < len(payload):
				return n, Message, payload
			case k >= 4:
				// RFC 7118 section 6 allows the keep-alive of RFC 5626 here: CRLF CRLF, which section 4.4.1 there answers with CRLF.
				return n, Answer, append(f[:0:4], keepAliveAnswer...)
			}
			// Nothing, or a CRLF: the answer to a keep-alive.
		}
	}
}

// keepAliveAnswer is a text frame with CRLF in it.
const keepAliveAnswer = "\x81\x02\r\n"

// judge tells whether a frame may come now, ending its header at the given distance from the front.
func (c *Conn) judge(h *ws.Header, at int) (code ws.StatusCode, why string) {
	s := ws.StateServerSide
	if c.state == fragmented {
		s = s.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(*h, s); err != nil {
		return ws.StatusProtocolError, err.Error()
	}
	if h.Length < 0 {
		return ws.StatusProtocolError, "the length is not in its shortest form"
	}
	limit := c.rules.limit()
	if !h.OpCode.IsControl() && h.Length > limit-int64(c.size) {
		return ws.StatusMessageTooBig, "the message is too long"
	}
	if int64(at)+h.Length > limit+maxOverhead {
		return ws.StatusPolicyViolation, "the message is in too many pieces"
	}
	return 0, ""
}

func (r *Rules) limit() int64 {
	if r.Limit != 0 {
		return min(int64(r.Limit), mostLimit)
	}
	return parser.MaxStreamMessage
}

// header takes apart the header of a frame, RFC 6455 section 5.2; size is 0 if it is not whole. "the minimal number of bytes MUST be
// used to encode the length": where they are not, or the length has its top bit set, Length is negative.
func header(b []byte) (h ws.Header, size int) {
	if len(b) < 2 {
		return h, 0
	}
	h.Fin, h.Rsv, h.OpCode = b[0]&0x80 != 0, b[0]>>4&7, ws.OpCode(b[0]&0x0f)
	h.Masked = b[1]&0x80 != 0
	size = 2
	switch l := b[1] & 0x7f; l {
	case 126:
		if len(b) < 4 {
			return h, 0
		}
		h.Length, size = int64(binary.BigEndian.Uint16(b[2:])), 4
		if h.Length < 126 {
			h.Length = -1
		}
	case 127:
		if len(b) < 10 {
			return h, 0
		}
		h.Length, size = int64(binary.BigEndian.Uint64(b[2:])), 10
		if h.Length < 1<<16 {
			h.Length = -1
		}
	default:
		h.Length = int64(l)
	}
	if h.Masked {
		if len(b) < size+4 {
			return h, 0
		}
		size += copy(h.Mask[:], b[size:])
	}
	return h, size
}

// assemble unmasks the fragments in f and moves them together at its front. What stands between them is skipped: it was dealt with.
func assemble(f []byte) []byte {
	to := 0
	for from := 0; from < len(f); {
		h, size := header(f[from:])
		from += size
		if !h.OpCode.IsControl() {
			ws.Cipher(f[to:to+copy(f[to:], f[from:from+int(h.Length)])], h.Mask, 0)
			to += int(h.Length)
		}
		from += int(h.Length)
	}
	return f[:to:to]
}

// pong makes of b, two bytes and the payload of a ping, the answer. The two bytes are the end of the ping's mask, so that its header stays for
// assemble.
func pong(b []byte) []byte {
	b[0], b[1] = 0x80|byte(ws.OpPong), byte(len(b)-2)
	return b
}

// closing answers a close frame with body; room is two bytes more in front of it.
func (c *Conn) closing(b, body, room []byte) (int, Event, []byte) {
	if len(body) == 1 {
		return c.fail(b, ws.StatusProtocolError, "half a status code")
	}
	if len(body) > 1 {
		if !mayBeSent(ws.StatusCode(binary.BigEndian.Uint16(body))) {
			return c.fail(b, ws.StatusProtocolError, "no such status code")
		}
		if !utf8.Valid(body[2:]) {
			return c.fail(b, ws.StatusInvalidFramePayloadData, "a reason that is not UTF-8")
		}
		body = body[:2]
	}
	c.state = closed
	// "When sending a Close frame in response, the endpoint typically echos the status code it received." RFC 6455 section 5.5.1.
	room = room[: 2+len(body) : 2+len(body)]
	room[0], room[1] = 0x80|byte(ws.OpClose), byte(len(body))
	return len(b), Close, room
}

// mayBeSent tells whether a close frame may carry code: RFC 6455 section 7.4, and what IANA registered since (1012 to 1014).
func mayBeSent(code ws.StatusCode) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// fail ends a connection for a fault of the peer's.
func (c *Conn) fail(b []byte, code ws.StatusCode, why string) (int, Event, []byte) {
	c.state, c.searched, c.size, c.need = closed, 0, 0, 0
	return len(b), Close, AppendClose(nil, uint16(code), why)
}

// AppendClose appends a close frame: 1000 for an end as planned, 1001 when we shut down or the peer was idle too long, 1008 for a limit. why is cut to
// what fits. The caller closes the connection behind it.
func AppendClose(dst []byte, code uint16, why string) []byte {
	if len(why) > maxControl-2 {
		why = why[:maxControl-2]
	}
	dst = append(dst, 0x80|byte(ws.OpClose), byte(2+len(why)))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, why...)
}

// Append appends message as one frame. It borrows message. "If there is at least one non-UTF-8 symbol in the whole SIP message (including headers
// and the body), then the whole message MUST be sent within a WebSocket binary message." RFC 7118 section 4.2. Scripts in browsers like text better.
func Append(dst, message []byte) []byte {
	return append(AppendHeader(dst, message), message...)
}

// AppendHeader appends what Append puts in front of message.
func AppendHeader(dst, message []byte) []byte {
	op := ws.OpText
	if !utf8.Valid(message) {
		op = ws.OpBinary
	}
	dst = append(dst, 0x80|byte(op))
	switch n := len(message); {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
}

// AppendPing appends a ping; RFC 7118 section 6 lets servers send them. The pong is swallowed by Next.
func AppendPing(dst []byte) []byte { return append(dst, 0x80|byte(ws.OpPing), 0) }
