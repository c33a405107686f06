package parser

// ParseAddress takes apart one name-addr or addr-spec with the parameters of its header field. It borrows b. "*" is
// read as Star. a.Line is left 0. With a fault a is zero.
func ParseAddress(b []byte, s Span, a *Address) Error {
	end, ok := parseAddress(b, &noBitmap, int(s.Off), s.End(), a)
	if !ok || end < s.End() {
		*a = Address{}
		return Error{ErrAddress, uint32(end)}
	}
	return Error{}
}

// parseAddress takes apart the first value of b[s:e], which has no LWS at its ends. It returns the end: e, or a
// comma; or the place of a fault.
func parseAddress(b []byte, nt *bitmap, s, e int, a *Address) (int, bool) {
	*a = Address{}
	if s == e {
		return s, false
	}
	p := s
	switch b[s] {
	case '<':
	case '"':
		if p = skipQuoted(b, s, e); p < 0 {
			return s, false
		}
		a.Display = span(s, p)
		p = skipSpace(b, p, e)
		if p == e || b[p] != '<' {
			return p, false
		}
	default:
		p = nt.next(b, s, e)
		if p == s+1 && p == e && b[s] == '*' {
			a.Star = true
			a.Value = span(s, e)
			return e, true
		}
		// display-name = *(token LWS); "<" may follow without LWS (RFC 4475 section 3.1.1.6). Anything but delimiters of
		// addresses and lists is taken for text, since too many send "J. (Joe) Doe" or UTF-8 there.
		for p < e && b[p] != '<' && b[p] != ':' {
			if c := b[p]; c == ',' || c == ';' || c == '"' || c == '>' || c == 0 {
				return p, false
			}
			p = nt.next(b, p+1, e)
		}
		if p == e {
			return p, false
		}
		if b[p] == '<' {
			a.Display = span(s, trimSpace(b, s, p))
		}
	}
	var ok bool
	if b[p] == '<' {
		a.Angle = true
		i := p + 1
		if p, ok = parseURI(b, nt, i, e, uriAngle, &a.URI); !ok {
			return p, false
		}
		a.Addr = a.URI.Whole
		p++
	} else {
		if p, ok = parseURI(b, nt, s, e, uriSpec, &a.URI); !ok {
			return p, false
		}
		a.Addr = a.URI.Whole
	}
	if p < e && isSpace(b[p]) {
		p = skipSpace(b, p, e)
	}
	if p < e && b[p] == ';' {
		i := p
		for p < e && b[p] == ';' {
			var name, value Span
			if name, value, _, p, ok = parseParam(b, nt, p+1, e); !ok {
				return p, false
			}
			if key8(b, int(name.Off), int(name.Len)) == keyTag {
				if a.Tag.Off != 0 {
					return int(name.Off), false // two tags name two dialogs
				}
				a.Tag = value
			}
		}
		a.Params = span(i, trimSpace(b, i, p))
	}
	a.Value = span(s, trimSpace(b, s, p))
	return p, p == e || b[p] == ','
}
