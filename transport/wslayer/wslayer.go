// Package wslayer is the server's side of WebSocket for SIP (RFC 7118 over RFC 6455): bytes in, messages out, no socket.
//
// Enters: the bytes of a connection as they come, SIP messages to frame.
// Leaves: whole SIP messages, bytes to send.
// Never:  keeps a byte between calls, opens a socket, reads a clock.
package wslayer

// Rules is what the connections of a listener share. It does not change.
type Rules struct {
	// Origins says which web pages may connect.
	Origins Origins
	// Limit bounds a message in bytes; 0 means parser.MaxStreamMessage.
	Limit uint32
}

// Conn is one connection; NewConn makes it. It holds two dozen bytes and no buffer: the caller keeps what was not
// consumed and shows it again with more behind it, as for parser.Framer. Owned by one loop.
type Conn struct {
	rules *Rules

	// Of the bytes at the front of what is shown: those known not to hold the end of the upgrade request but for the last three; later those
	// of the fragments, and of control frames between them, that were looked at.
	searched uint32
	size     uint32 // payload bytes of those fragments
	need     uint32 // bytes until the frame behind them is whole, all counted from the front; 0: not known
	state    state
	text     bool // the fragments are of a text message
}

type state uint8

const (
	upgrading state = iota
	open
	fragmented
	closed
)

// Event says what Next found.
type Event uint8

const (
	// More means that the bytes are not enough.
	More Event = iota
	// Open means that the upgrade was accepted: the payload is the response, to be sent. It comes once.
	Open
	// Message means that the payload is one whole SIP message, for which RFC 7118 section 5 wants no Content-Length: it reads like a
	// datagram.
	Message
	// Answer means that the payload has to be sent, and nothing else happened: a pong, or the CRLF that answers a keep-alive.
	Answer
	// Close means that the payload has to be sent, if it has any bytes, and then the connection closed. It stays so.
	Close
)

// NewConn makes a connection that has not sent its upgrade request yet.
func NewConn(rules *Rules) Conn { return Conn{rules: rules} }

// Established tells whether the upgrade is over.
func (c *Conn) Established() bool { return c.state != upgrading && c.state != closed }

// Next looks at the front of b. The caller drops n bytes from it when it is done with the payload; n may be 0 with any event, and more than
// 0 with More. It borrows b, and unmasks in place: payload, if it is not fresh, lies in b and is valid as long as b is.
func (c *Conn) Next(b []byte) (n int, ev Event, payload []byte) {
	switch c.state {
	case upgrading:
		return c.upgrade(b)
	case closed:
		return len(b), Close, nil
	}
	return c.frames(b)
}

// Need is how many bytes have to be shown before Next finds something, once that is known; 0 before. It is bounded by the limit and
// maxOverhead.
func (c *Conn) Need() int { return int(c.need) }
