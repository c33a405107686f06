package parser

import "encoding/binary"

// Parse reads one datagram. It borrows b and fills m, whose offsets mean something only beside the same bytes.
//
// It returns what m.Err keeps: the zero Error, or the first fault found. With a fault of ClassAnswerable the whole header
// section is indexed and Via, From, To, Call-ID and CSeq are filled as far as they are there. Octets
// behind the body are ignored (RFC 3261 section 18.3: "they MUST be discarded").
func Parse(b []byte, m *Message) Error {
	end, suspect := scan(b, &m.ends, &m.nt)
	if end < 0 {
		m.reset()
		m.noHeaderEnd(b, end)
		return m.Err
	}
	m.parse(b, end, suspect, false)
	return m.Err
}

// reset forgets the message before.
func (m *Message) reset() {
	m.Err = Error{}
	m.seen = 0
	m.count = 0
	m.Request = false
	m.Method, m.Status = MethodOther, 0
	m.HeaderEnd, m.BodyOff, m.BodyLen, m.Len = 0, 0, 0, 0
	m.broken = false
}

// fail notes a fault. The first one stays, but an unreadable one takes the place of an answerable one, and one that
// nobody may overlook that of one in a header that a proxy may have no use for.
func (m *Message) fail(code ErrorCode, off int) {
	if m.Err.Code == ErrNone || code < ErrVersion && m.Err.Code >= ErrVersion || m.Err.Code.ignorable() && !code.ignorable() {
		m.Err = Error{code, uint32(off)}
	}
}

// ignorable tells the faults that a proxy overlooks, in a request (Contact) or in a response, from those that it never does:
// "Any other components, well-formed or not, SHOULD be ignored" (RFC 3261 section 16.3 step 1).
func (c ErrorCode) ignorable() bool {
	return c == ErrContact || c == ErrRoute || c == ErrMaxForwards
}

// noHeaderEnd says why there is no end of the header section in b.
func (m *Message) noHeaderEnd(b []byte, end int) {
	m.broken = true
	switch {
	case end == tooManyLines:
		m.fail(ErrHeaderLines, int(m.ends[MaxLineEnds]))
	case len(b) > MaxHeaderSection:
		m.fail(ErrHeaderSectionSize, MaxHeaderSection)
	case KeepAlive(b) == len(b):
		m.fail(ErrEmpty, 0)
	default:
		m.fail(ErrNoHeaderEnd, len(b))
	}
}

// KeepAlive is the number of bytes of CRLF that b starts with. RFC 3261 section 7.5: "Implementations processing SIP messages over
// stream-oriented transports MUST ignore any CRLF appearing before the start-line"; RFC 5626 makes pings of them.
func KeepAlive(b []byte) (n int) {
	for n+1 < len(b) && b[n] == '\r' && b[n+1] == '\n' {
		n += 2
	}
	return n
}

// Headers that a proxy cannot do without. RFC 3261 section 8.1.1 has Max-Forwards too, but RFC 2543 had not, and
// section 16.6 step 3 adds it.
const mandatory = 1<<HeaderVia | 1<<HeaderFrom | 1<<HeaderTo | 1<<HeaderCallID | 1<<HeaderCSeq

// Headers that stand once, of which a proxy, registrar or session timer acts on the value: two of them are two messages in
// one, to two readers. Others that should stand once are only relayed, and Message.Lines tells.
const single = 1<<HeaderFrom | 1<<HeaderTo | 1<<HeaderCallID | 1<<HeaderCSeq | 1<<HeaderMaxForwards | 1<<HeaderContentLength |
	1<<HeaderContentType | 1<<HeaderExpires | 1<<HeaderMinExpires | 1<<HeaderMaxBreadth | 1<<HeaderSessionExpires | 1<<HeaderMinSE

// parse reads a message whose header section ends with the LF at end and is in the bitmaps.
func (m *Message) parse(b []byte, end int, suspect, stream bool) {
	m.reset()
	m.HeaderEnd = uint16(end - 1)
	m.BodyOff = uint32(end + 1)
	m.BodyLen = uint32(len(b) - (end + 1))
	m.Len = uint32(len(b))

	line := m.parseStartLine(b, end)
	if line < 0 || !m.indexHeaders(b, line, end) {
		m.broken = true
		return
	}
	if suspect {
		m.findControls(b, end)
	}
	m.readHeaders(b)
	m.frame(b, stream)
}

// indexHeaders notes name, value and id of each header line from p to the empty line that ends at end.
func (m *Message) indexHeaders(b []byte, p, end int) bool {
	h := end - 1 // the empty line
	k := 1       // ends[k] is the end of the line at hand
	n := 0
	seen := uint64(0) // kept out of m, so that a line need not wait for the store of the one before
	for ; p < h; n++ {
		if n == MaxHeaderLines {
			m.fail(ErrHeaderLines, p)
			return false
		}
		// "HCOLON = *( SP / HTAB ) ":" SWS"
		c := p + m.nt.run(p)
		if c == p+64 {
			c = m.nt.next(b, p, h)
		}
		colon := c
		for b[colon] == ' ' || b[colon] == '\t' {
			colon++
		}
		id := HeaderOther
		v := colon + 1
		if b[colon] != ':' || c == p {
			m.fail(ErrHeaderLine, p)
			v, c = p, p
		} else if p+8 <= len(b) {
			id = lookupHeader(b, p, c-p)
		} else {
			id = LookupHeader(b[p:c])
		}
		// a line goes on where the next one starts with white space
		e := int(m.ends[k])
		for k++; b[e+1] == ' ' || b[e+1] == '\t'; k++ {
			e = int(m.ends[k])
		}
		next := e + 1
		if b[v] == ' ' { // as nearly all send it
			v++
		}
		for v < e && isSpace(b[v]) {
			v++
		}
		if e > v && b[e-1] == '\r' {
			e--
		}
		for e > v && isSpace(b[e-1]) {
			e--
		}
		m.headers[n] = Header{Name: span(p, c), Value: span(v, e), ID: id}
		bit := uint64(1) << (id & 63)
		if seen&bit == 0 {
			seen |= bit
			m.first[id&63], m.lines[id&63] = uint16(n), 1
		} else {
			m.lines[id&63]++
			if bit&single != 0 {
				code := ErrDuplicate
				if id == HeaderContentLength {
					m.broken = true
					code = ErrDuplicateContentLength
				}
				m.fail(code, p)
			}
		}
		p = next
	}
	m.seen, m.count = seen, uint16(n)
	if k+1 > MaxLineEnds { // the empty line counts too
		m.fail(ErrHeaderLines, int(m.ends[MaxLineEnds]))
		return false
	}
	return true
}

// readHeaders takes the headers apart that a proxy always needs: in one fixed order, whatever theirs is, which
// the branch predictor likes.
func (m *Message) readHeaders(b []byte) {
	if missing := mandatory &^ m.seen; missing != 0 {
		m.failMissing(missing)
	}
	if m.Has(HeaderVia) {
		line := m.first[HeaderVia]
		s := m.headers[line].Value
		_, err := parseVia(b, &m.nt, int(s.Off), s.End(), &m.Via)
		m.Via.Line = line
		if err.Code != ErrNone {
			m.fail(err.Code, int(err.Off))
		}
	}
	if m.Has(HeaderFrom) {
		m.readAddress(b, HeaderFrom, &m.From, ErrFrom, false)
	}
	if m.Has(HeaderTo) {
		m.readAddress(b, HeaderTo, &m.To, ErrTo, false)
	}
	if m.Has(HeaderCallID) {
		m.CallID = m.headers[m.first[HeaderCallID]].Value
		if m.CallID.Empty() {
			m.fail(ErrCallID, int(m.CallID.Off))
		}
	}
	if m.Has(HeaderCSeq) {
		m.readCSeq(b)
	}
	if m.Has(HeaderMaxForwards) {
		s := m.headers[m.first[HeaderMaxForwards]].Value
		n, ok := ParseUint(b[s.Off:s.End()], 255)
		m.MaxForwards = uint8(n)
		if !ok {
			m.fail(ErrMaxForwards, int(s.Off))
		}
	}
	if m.Has(HeaderRoute) {
		m.readAddress(b, HeaderRoute, &m.Route, ErrRoute, true)
	}
	if m.Has(HeaderContact) {
		m.readAddress(b, HeaderContact, &m.Contact, ErrContact, true)
	}
}

func (m *Message) readAddress(b []byte, id HeaderID, a *Address, code ErrorCode, list bool) {
	line := m.first[id]
	s := m.headers[line].Value
	end, ok := parseAddress(b, &m.nt, int(s.Off), s.End(), a)
	a.Line = line
	if !ok || end < s.End() && !list || a.Star && id != HeaderContact {
		a.URI = URI{} // what was read of it is no URI
		m.fail(code, end)
	}
}

func (m *Message) failMissing(missing uint64) {
	for _, f := range [...]struct {
		id   HeaderID
		code ErrorCode
	}{{HeaderVia, ErrNoVia}, {HeaderFrom, ErrNoFrom}, {HeaderTo, ErrNoTo}, {HeaderCallID, ErrNoCallID}, {HeaderCSeq, ErrNoCSeq}} {
		if missing&(1<<f.id) != 0 {
			m.fail(f.code, int(m.HeaderEnd))
		}
	}
}

// readCSeq reads 1*DIGIT LWS Method.
func (m *Message) readCSeq(b []byte) {
	s := m.headers[m.first[HeaderCSeq]].Value
	i, e := int(s.Off), s.End()
	p := i
	n := uint64(0)
	for p < e && isDigit(b[p]) {
		n = min(n*10+uint64(b[p]-'0'), 1<<32)
		p++
	}
	m.CSeq = CSeq{NumberSpan: span(i, p), Number: uint32(n)}
	q := skipSpace(b, p, e)
	name := b[q:e]
	m.CSeq.MethodName = span(q, e)
	same := m.Request && string(name) == string(b[m.MethodName.Off:m.MethodName.End()])
	if same {
		m.CSeq.Method = m.Method
	} else {
		m.CSeq.Method = LookupMethod(name)
	}
	if p == i || q == p || m.CSeq.Method == MethodOther && !same && !IsToken(name) {
		m.fail(ErrCSeq, i)
		return
	}
	// "The sequence number value MUST be expressible as a 32-bit unsigned integer", RFC 3261 section 8.1.1.5 (which
	// also wants it below 2^31; RFC 4475 section 3.1.2.4 rejects beyond 2^32 - 1 only)
	if n > 1<<32-1 {
		m.fail(ErrCSeqNumber, i)
	}
	if !m.Request {
		m.Method = m.CSeq.Method
	} else if !same {
		m.fail(ErrCSeqMethod, q)
	}
}

// frame finds the body, RFC 3261 section 18.3.
func (m *Message) frame(b []byte, stream bool) {
	if !m.Has(HeaderContentLength) {
		m.ContentLength = 0
		if stream {
			// "The Content-Length header field MUST be used with stream oriented transports."
			m.failFrame(ErrNoContentLength, int(m.HeaderEnd))
		}
		return
	}
	s := m.headers[m.first[HeaderContentLength]].Value
	n, ok := ParseUint(b[s.Off:s.End()], 1<<31-1)
	m.ContentLength = uint32(n)
	switch {
	case !ok && isNumber(b[s.Off:s.End()]):
		m.failFrame(ErrContentLengthRange, int(s.Off))
	case !ok:
		m.failFrame(ErrContentLength, int(s.Off))
	case m.broken:
	case uint64(m.BodyOff)+n <= uint64(len(b)):
		m.BodyLen = uint32(n)
		m.Len = m.BodyOff + m.BodyLen
	case stream:
		// The rest may come.
		m.BodyLen = uint32(n)
		m.Len = m.BodyOff + m.BodyLen
	default:
		// "If the transport packet ends before the end of the message body, this is considered an error."
		m.failFrame(ErrBodyTruncated, int(s.Off))
	}
}

// failFrame notes a fault after which the end of the message is not known.
func (m *Message) failFrame(code ErrorCode, off int) {
	m.broken = true
	m.fail(code, off)
}

// Headers that a response copies from the request, RFC 3261 section 8.2.6 (Record-Route: 12.1.1).
const copied = 1<<HeaderVia | 1<<HeaderFrom | 1<<HeaderTo | 1<<HeaderCallID | 1<<HeaderCSeq | 1<<HeaderTimestamp | 1<<HeaderRecordRoute

// findControls looks for bare CR, bare LF and NUL in the header section. A NUL may stand in a quoted string behind a backslash:
// "quoted-pair = "\" (%x00-09 / %x0B-0C / %x0E-7F)".
func (m *Message) findControls(b []byte, end int) {
	start := end // of the first header line
	if m.count > 0 {
		start = int(m.headers[0].Name.Off)
	}
	m.findControl(b, 0, start, ErrStartLineControl)
	for n := range int(m.count) {
		h := &m.headers[n]
		code := ErrNone
		if copied>>h.ID&1 != 0 {
			code = ErrCopiedControl
		}
		line := m.LineSpan(n)
		m.findControl(b, int(line.Off), line.End(), code)
	}
}

// findControl looks into one line, b[i:e]. What it finds is reported as code, or under its own name if there is none. A bare LF ends a
// line, as CR LF does: so it is in a value only where that is folded, and at the end of a line goes by its own name.
func (m *Message) findControl(b []byte, i, e int, code ErrorCode) {
	quoted := false
	for ; i < e; i++ {
		found := ErrNone
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted && b[i+1] != '\r' && b[i+1] != '\n':
			i++
		case c == 0:
			found = ErrNUL
		case c == '\r' && b[i+1] != '\n':
			found = ErrBareCR
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			found = ErrBareLF
		}
		if found == ErrNone {
			continue
		}
		if found != ErrNUL {
			m.broken = true // another reader sees other lines
		}
		if code != ErrNone && (found != ErrBareLF || i+1 < e || code == ErrStartLineControl) {
			found = code
		}
		m.fail(found, i)
	}
}

// parseStartLine returns the offset of the first header line, or -1 for what cannot be read.
func (m *Message) parseStartLine(b []byte, end int) int {
	l := int(m.ends[0])
	e := l // end of the line's text
	if e > 0 && b[e-1] == '\r' {
		e--
	}
	if e < 8 {
		code := ErrStartLine
		if KeepAlive(b) == len(b) {
			code = ErrEmpty
		}
		m.fail(code, 0)
		return -1
	}
	if binary.LittleEndian.Uint32(b)|0x202020 == 's'|'i'<<8|'p'<<16|'/'<<24 {
		if !m.parseStatusLine(b, e) {
			return -1
		}
	} else if !m.parseRequestLine(b, e) {
		return -1
	}
	if c := b[l+1]; c == ' ' || c == '\t' {
		// a start line is not folded
		m.fail(ErrHeaderLine, l+1)
	}
	return l + 1
}

// parseStatusLine reads SIP-Version SP Status-Code SP Reason-Phrase.
func (m *Message) parseStatusLine(b []byte, e int) bool {
	p := 4
	for p < e && (isDigit(b[p]) || b[p] == '.') {
		p++
	}
	m.Version = span(0, p)
	if p == e || b[p] != ' ' {
		m.fail(ErrStartLine, p)
		return false
	}
	if p != 7 || string(b[4:7]) != "2.0" {
		m.fail(ErrResponseVersion, 0)
		return false
	}
	p++
	i := p
	n := 0
	for p < e && isDigit(b[p]) {
		n = min(n*10+int(b[p]-'0'), 1000)
		p++
	}
	if p != i+3 || n < 100 || n > 699 || p < e && b[p] != ' ' {
		m.fail(ErrStatus, i)
		return false
	}
	m.Status = uint16(n)
	m.MethodName, m.RequestURI = Span{}, Span{}
	if p < e {
		p++
	}
	m.Reason = span(p, e)
	return true
}

// parseRequestLine reads Method SP Request-URI SP SIP-Version.
func (m *Message) parseRequestLine(b []byte, e int) bool {
	m.Request = true
	m.Reason = Span{}
	p := m.nt.next(b, 0, e)
	if p == 0 || p == e || b[p] != ' ' {
		m.fail(ErrStartLine, p)
		return false
	}
	m.MethodName = span(0, p)
	m.Method = LookupMethod(b[:p])
	// The version is looked for at the end, so that the rest can be judged afterwards.
	u := p + 1
	v, q := e, e-7
	m.URI = URI{}
	if q > u && binary.LittleEndian.Uint64(b[q-1:]) == ' '|'S'<<8|'I'<<16|'P'<<24|'/'<<32|'2'<<40|'.'<<48|'0'<<56 {
		m.Version = span(q, e)
	} else if v, q = m.parseVersion(b, p, e); q < 0 {
		return false
	}
	m.RequestURI = span(u, max(q-1, u))
	switch {
	case u >= q-1 || v < e || b[u] == ' ' || b[q-2] == ' ':
		// RFC 4475 sections 3.1.2.9 and 3.1.2.10: what would be forwarded has to be right
		m.fail(ErrRequestLine, p)
	default:
		if at, ok := parseURI(b, &m.nt, u, q-1, uriWhole, &m.URI); !ok {
			m.URI = URI{}
			code := ErrRequestURI
			if q-1-u > MaxURI {
				code = ErrRequestURISize
			}
			m.fail(code, at)
		} else if !m.URI.Headers.Empty() {
			// RFC 3261 section 19.1.1, table 1: headers are not allowed in a Request-URI; RFC 4475 section 3.1.2.11
			m.fail(ErrRequestURI, int(m.URI.Headers.Off)-1)
		}
	}
	return true
}

// parseVersion finds the SIP-Version that ends b[p:e], RFC 3261 section 7.1: "The SIP-Version string is case-insensitive, but implementations MUST send upper-case." It
// returns where it ends and starts; -1 if there is none.
func (m *Message) parseVersion(b []byte, p, e int) (end, start int) {
	v := trimSpace(b, p, e)
	q := v
	for q > p && !isSpace(b[q-1]) {
		q--
	}
	version := b[q:v]
	dot := 4
	for dot < len(version) && isDigit(version[dot]) {
		dot++
	}
	if q == p || len(version) < 4 || !equalFold(version[:4], "SIP/") ||
		dot == 4 || dot+1 >= len(version) || version[dot] != '.' || !isNumber(version[dot+1:]) {
		m.fail(ErrStartLine, q)
		return 0, -1
	}
	m.Version = span(q, v)
	if string(version[4:]) != "2.0" {
		m.fail(ErrVersion, q)
	}
	return v, q
}
