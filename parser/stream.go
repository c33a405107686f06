package parser

import "bytes"

// Framer cuts a stream into messages, by Content-Length. It keeps no bytes: the caller buffers what was not consumed and
// shows it again with more behind it. The zero Framer is ready. Owned by one connection.
//
// Framer and Parse never disagree: the message that Framer finds is read by the same code, and Parse of exactly its bytes
// gives the same Message, but for ErrNoContentLength, which only a stream has.
type Framer struct {
	// Limit bounds a message in bytes; 0 means MaxStreamMessage.
	Limit uint32

	searched uint32 // bytes known not to hold the end of the header section, but for the last two
	lines    uint32 // line ends in them
	need     uint32 // length of the message, once known
}

// Frame says what is at the front of a stream.
type Frame uint8

const (
	// FrameMore means that the bytes are not enough; nothing is consumed. Never more than the Framer's
	// limit have to be buffered.
	FrameMore Frame = iota
	// FrameKeepAlive means line ends before a start line. RFC 3261 section 7.5 has them ignored; four bytes (CRLFCRLF) are the ping of RFC 5626
	// section 4.4.1, which wants CRLF in return.
	FrameKeepAlive
	// FrameMessage means a whole message, taken apart in m; m.Err may hold a verdict about it, and the stream can go on behind it.
	FrameMessage
	// FrameBroken means that where the next message starts is not known, for m.Err. If its class is
	// answerable, m is filled for the answer. Then the connection has to be closed.
	FrameBroken
)

// Next looks at the front of b, which starts at a message's first byte or at line ends in front of it. It returns how many bytes
// the frame has; the caller drops them when it is done with m. It borrows b.
func (f *Framer) Next(b []byte, m *Message) (n int, frame Frame) {
	if f.searched == 0 && f.need == 0 && len(b) > 0 && b[0] == '\r' {
		if n := KeepAlive(b); n > MaxKeepAlive {
			m.reset()
			m.fail(ErrKeepAliveFlood, 0)
			return n, FrameBroken
		} else if n > 0 {
			return n, FrameKeepAlive
		} else if len(b) == 1 {
			return 0, FrameMore
		}
	}
	if uint64(len(b)) < uint64(f.need) {
		return 0, FrameMore
	}
	if f.searched > 0 && f.need == 0 {
		// Resume: only what is new is searched, and the two bytes in which the end may have begun.
		from := max(int(f.searched), 2) - 2
		window := b[:min(len(b), MaxHeaderSection)]
		f.lines += uint32(bytes.Count(window[min(int(f.searched), len(window)):], []byte("\n")))
		if f.lines <= MaxLineEnds && !bytes.Contains(window[from:], []byte("\n\r\n")) {
			return f.more(b, noEnd, m)
		}
	}
	end, suspect := scan(b, &m.ends, &m.nt)
	if end < 0 {
		f.lines = uint32(bytes.Count(b[:min(len(b), MaxHeaderSection)], []byte("\n")))
		return f.more(b, end, m)
	}
	limit := f.Limit
	if limit == 0 {
		limit = MaxStreamMessage
	}
	m.parse(b, end, suspect, true)
	*f = Framer{Limit: f.Limit}
	switch {
	case m.broken:
		return len(b), FrameBroken
	case uint64(m.BodyOff)+uint64(m.BodyLen) > uint64(limit):
		m.fail(ErrMessageSize, int(m.headers[m.first[HeaderContentLength]].Value.Off))
		return len(b), FrameBroken
	case uint64(m.Len) > uint64(len(b)):
		f.need = m.Len
		return 0, FrameMore
	}
	return int(m.Len), FrameMessage
}

// Need is the length in bytes of the message at the front, once it is known; 0 before. It is never more than the limit: a
// buffer made for it is bounded.
func (f *Framer) Need() int { return int(f.need) }

// more notes that b has no end of the header section yet.
func (f *Framer) more(b []byte, end int, m *Message) (int, Frame) {
	if len(b) > MaxHeaderSection || end == tooManyLines {
		m.reset()
		m.noHeaderEnd(b, end)
		return len(b), FrameBroken
	}
	f.searched = uint32(len(b))
	return 0, FrameMore
}
