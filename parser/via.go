package parser

import "encoding/binary"

// ParseVia takes apart the Via value in s, which holds one value and no comma behind it. It borrows b.
// A fault in the parameters is ErrViaParams; transport and sent-by are filled then.
func ParseVia(b []byte, s Span, v *Via) Error {
	end, err := parseVia(b, &noBitmap, int(s.Off), s.End(), v)
	if err.Code == ErrNone && end < s.End() {
		err = Error{ErrViaParams, uint32(end)}
	}
	return err
}

// SecondVia takes apart the Via value behind the topmost one, which must have been readable. It borrows b, the bytes that m was parsed
// from. ok is false when there is none, or none that can be read.
func (m *Message) SecondVia(b []byte, v *Via) (ok bool) {
	if !m.Has(HeaderVia) {
		return false
	}
	line := int(m.Via.Line)
	h := &m.headers[line]
	s, e := m.Via.Value.End(), h.Value.End()
	if m.Via.LastValue {
		if m.lines[HeaderVia] == 1 {
			return false
		}
		for line++; m.headers[line].ID != HeaderVia; line++ {
		}
		h = &m.headers[line]
		s, e = int(h.Value.Off), h.Value.End()
	} else {
		s = skipSpace(b, skipSpace(b, s, e)+1, e) // the comma
	}
	_, err := parseVia(b, &m.nt, s, e, v)
	v.Line = uint16(line)
	return err.Code == ErrNone
}

// parseVia takes apart the first value of b[s:e], which has no LWS at its ends, and returns its end: e, or
// a comma.
func parseVia(b []byte, nt *bitmap, s, e int, v *Via) (int, Error) {
	*v = Via{}
	i := s
	if e-s >= 8 && binary.LittleEndian.Uint64(b[s:])|0x202020 == 's'|'i'<<8|'p'<<16|'/'<<24|'2'<<32|'.'<<40|'0'<<48|'/'<<56 {
		i = s + 8
	} else {
		// protocol-name SLASH protocol-version SLASH, each SLASH with LWS around it
		for range 2 {
			i = skipSpace(b, i, e)
			p := nt.next(b, i, e)
			if p == i {
				return p, Error{ErrVia, uint32(p)}
			}
			p = skipSpace(b, p, e)
			if p == e || b[p] != '/' {
				return p, Error{ErrVia, uint32(p)}
			}
			i = p + 1
		}
	}
	if i < e && isSpace(b[i]) {
		i = skipSpace(b, i, e)
	}
	p := i + nt.run(i)
	if p == i+64 {
		p = nt.next(b, i, e)
	}
	if p == i || p == e || !isSpace(b[p]) {
		return p, Error{ErrVia, uint32(p)}
	}
	v.Transport = span(i, p)

	// sent-by
	i = p + 1
	if i < e && isSpace(b[i]) {
		i = skipSpace(b, i, e)
	}
	if p = i + nt.run(i); p == i+64 {
		p = nt.next(b, i, e)
	}
	if p == i {
		if p == e || b[p] != '[' {
			return p, Error{ErrVia, uint32(p)}
		}
		for p++; p < e && classes[b[p]]&classHost != 0; p++ {
		}
		if p == e || b[p] != ']' || p == i+1 {
			return p, Error{ErrVia, uint32(p)}
		}
		p++
	}
	v.Host = span(i, p)
	if p < e && isSpace(b[p]) {
		p = skipSpace(b, p, e)
	}
	if p < e && b[p] == ':' {
		i = p + 1
		if i < e && isSpace(b[i]) {
			i = skipSpace(b, i, e)
		}
		n := 0
		for p = i; p < e && isDigit(b[p]) && p-i < maxDigits; p++ {
			n = min(n*10+int(b[p]-'0'), 1<<16)
		}
		if p == i || n > 65535 {
			return i, Error{ErrVia, uint32(i)}
		}
		v.Port = uint16(n)
		if p < e && isSpace(b[p]) {
			p = skipSpace(b, p, e)
		}
	}

	// via-params
	for p < e && b[p] == ';' {
		var ok bool
		if p, ok = v.parseParam(b, nt, p+1, e); !ok {
			v.Value = span(s, trimSpace(b, s, p))
			return p, Error{ErrViaParams, uint32(p)}
		}
	}
	v.Value = span(s, trimSpace(b, s, p))
	v.LastValue = p == e
	if p < e && b[p] != ',' {
		return p, Error{ErrViaParams, uint32(p)}
	}
	return p, Error{}
}

func (v *Via) parseParam(b []byte, nt *bitmap, p, e int) (int, bool) {
	name, value, _, p, ok := parseParam(b, nt, p, e)
	if !ok {
		return p, false
	}
	switch key8(b, int(name.Off), int(name.Len)) {
	case keyBranch:
		if v.HasBranch {
			return p, false
		}
		v.HasBranch, v.Branch = true, value
		v.Cookie = hasCookie(b, value)
	case keyRPort:
		if v.HasRPort {
			return p, false
		}
		v.HasRPort, v.RPortName, v.RPort = true, name, value
	case keyReceived:
		if v.Received.Off != 0 {
			return p, false
		}
		v.Received = value
	case keyMaddr:
		if v.Maddr.Off != 0 {
			return p, false
		}
		v.Maddr = value
	case keyTTL:
		ttl, good := ParseUint(value.In(b), 255)
		if !good || v.HasTTL {
			return p, false
		}
		v.HasTTL, v.TTL = true, uint8(ttl)
	}
	return p, true
}

// hasCookie tells whether a branch starts with "z9hG4bK" (RFC 3261 section 8.1.1.7); a token has no case.
func hasCookie(b []byte, branch Span) bool {
	if branch.Len < 8 || int(branch.Off)+8 > len(b) {
		return branch.Len >= 7 && equalFold(b[branch.Off:branch.Off+7], "z9hG4bK")
	}
	return (binary.LittleEndian.Uint64(b[branch.Off:])|lower8)<<8 == ('z'|'9'<<8|'h'<<16|'g'<<24|'4'<<32|'b'<<40|'k'<<48)<<8
}
