package parser

import (
	"bytes"
	"encoding/binary"
)

// uriForm says where a URI ends.
type uriForm uint8

const (
	uriWhole uriForm = iota // the span is the URI: Request-URI, ParseURI
	uriAngle                // at '>'
	uriSpec                 // addr-spec without angle brackets: at ';', ',' or white space
)

// ParseURI takes the URI in s apart. It borrows b. A scheme that is not known is not a fault; SchemeIs
// says so. With a fault u is zero.
func ParseURI(b []byte, s Span, u *URI) Error {
	end, ok := parseURI(b, &noBitmap, int(s.Off), s.End(), uriWhole, u)
	if !ok {
		*u = URI{}
		return Error{ErrURI, uint32(end)}
	}
	return Error{}
}

// parseURI takes apart the URI that starts at s and ends, as form says, at e or earlier. It returns its end, or the place
// of the fault.
func parseURI(b []byte, nt *bitmap, s, e int, form uriForm, u *URI) (int, bool) {
	*u = URI{}
	i := s
	if e-s < 5 {
		return parseOtherURI(b, nt, s, e, form, u)
	}
	switch x := binary.LittleEndian.Uint32(b[s:]); {
	case x|0x202020 == 's'|'i'<<8|'p'<<16|':'<<24:
		u.SchemeIs, i = SchemeSIP, s+4
	case x|0x20202020 == 's'|'i'<<8|'p'<<16|'s'<<24 && b[s+4] == ':':
		u.SchemeIs, i = SchemeSIPS, s+5
	case x|0x202020 == 't'|'e'<<8|'l'<<16|':'<<24:
		return parseTel(b, s, e, form, u)
	default:
		return parseOtherURI(b, nt, s, e, form, u)
	}

	// userinfo. "@" stands in a SIP-URI once, behind the userinfo, which may hold nearly all other
	// delimiters: so it is looked for first.
	p := i + nt.run(i)
	if p == i+64 {
		p = nt.next(b, i, e)
	}
	if p < e && b[p] == '@' && p > i {
		u.HasUser = true
		u.User = span(i, p)
		i = p + 1
		if p = i + nt.run(i); p == i+64 {
			p = nt.next(b, i, e)
		}
	} else if at := findAt(b, nt, p, e, form); at >= 0 {
		if fault := u.parseUserinfo(b, nt, i, at); fault >= 0 {
			return fault, false
		}
		i = at + 1
		p = nt.next(b, i, e)
	}

	// hostport
	if p == i {
		if p == e || b[p] != '[' {
			return p, false
		}
		for p++; p < e && classes[b[p]]&classHost != 0; p++ {
		}
		if p == e || b[p] != ']' || p == i+1 {
			return p, false
		}
		p++
	}
	u.Host = span(i, p)
	if p < e && b[p] == ':' {
		i = p + 1
		n := 0
		for p = i; p < e && isDigit(b[p]) && p-i < maxDigits; p++ {
			n = min(n*10+int(b[p]-'0'), 1<<16)
		}
		if p == i || n > 65535 {
			return i, false
		}
		u.PortSpan, u.Port = span(i, p), uint16(n)
	}

	// uri-parameters. "If the URI is not enclosed in angle brackets, any semicolon-delimited parameters are header-parameters, not URI
	// parameters." RFC 3261 section 20
	if p < e && b[p] == ';' && form != uriSpec {
		i = p
		for p < e && b[p] == ';' {
			var ok bool
			if p, ok = u.parseParam(b, nt, p+1, e); !ok {
				return p, false
			}
		}
		u.Params = span(i, p)
	}

	// headers
	if p < e && b[p] == '?' {
		i = p + 1
		for p++; p < e && classes[b[p]]&classNever == 0 && !(form == uriSpec && (b[p] == ';' || b[p] == ',')); p++ {
		}
		u.Headers = span(i, p)
	}
	return u.finish(b, s, p, e, form)
}

// finish checks that the URI ends where its form lets it end.
func (u *URI) finish(b []byte, s, p, e int, form uriForm) (int, bool) {
	u.Whole = span(s, p)
	switch {
	case p-s > MaxURI:
		return s, false
	case form == uriAngle:
		return p, p < e && b[p] == '>'
	case p == e:
		return p, true
	case form == uriWhole:
		return p, false
	}
	c := b[p]
	return p, c == ';' || c == ',' || isSpace(c)
}

// findAt finds the '@' of a SIP-URI from p on, or -1.
func findAt(b []byte, nt *bitmap, p, e int, form uriForm) int {
	for p < e {
		switch c := b[p]; {
		case c == '@':
			return p
		case form == uriSpec && (c == ';' || c == ',' || c == '?'):
			return -1
		case classes[c]&classNever != 0:
			return -1
		}
		p = nt.next(b, p+1, e)
	}
	return -1
}

// parseUserinfo takes b[i:at] apart; it returns the place of a fault, or -1.
func (u *URI) parseUserinfo(b []byte, nt *bitmap, i, at int) int {
	u.HasUser = true
	colon := -1
	for p := nt.next(b, i, at); p < at; p = nt.next(b, p+1, at) {
		c := b[p]
		if classes[c]&classUser == 0 {
			return p
		}
		if c == ':' && colon < 0 {
			colon = p
		}
	}
	if colon < 0 {
		u.User = span(i, at)
	} else {
		u.User, u.Password = span(i, colon), span(colon+1, at)
	}
	if u.User.Empty() {
		return i
	}
	return -1
}

// splitURIParam reads one uri-parameter from p, behind its ';': its name is b[p:q], and its value, if b[q] is '=', b[q+1:r]; it ends
// at r. A value may hold '=', which the grammar has only escaped, for the base64 of the wild.
func splitURIParam(b []byte, nt *bitmap, p, e int) (q, r int) {
	if q = p + nt.run(p); q == p+64 {
		q = nt.next(b, p, e)
	}
	for q < e && classes[b[q]]&classParam != 0 {
		q = nt.next(b, q+1, e)
	}
	if q == e || b[q] != '=' {
		return q, q
	}
	r = nt.next(b, q+1, e)
	for r < e && (classes[b[r]]&classParam != 0 || b[r] == '=') {
		r = nt.next(b, r+1, e)
	}
	return q, r
}

// parseParam reads one uri-parameter from p, behind its ';'. It returns the end, or the place of the fault.
func (u *URI) parseParam(b []byte, nt *bitmap, p, e int) (int, bool) {
	q, r := splitURIParam(b, nt, p, e)
	if q == p {
		return p, false
	}
	v := span(q, q)
	if q < r {
		v = span(q+1, r)
	}
	return r, u.note(b, p, q-p, v)
}

// note keeps a parameter that routing asks for. "any given parameter-name MUST NOT appear more than once", RFC 3261 section
// 19.1.1: two transports are a fault, not a choice.
func (u *URI) note(b []byte, p, n int, v Span) bool {
	keep := func(s *Span) bool {
		first := s.Off == 0
		*s = v
		return first
	}
	switch key8(b, p, n) {
	case keyLR:
		u.HasLR = true
		return true
	case keyUser:
		return keep(&u.UserParam)
	case keyMaddr:
		return keep(&u.Maddr)
	}
	if n == len("transport") && equalFold(b[p:p+n], "transport") {
		return keep(&u.Transport)
	}
	if bytes.IndexByte(b[p:p+n], '%') < 0 {
		return true
	}
	// "%6C%72" is lr too: escaped and unescaped are the same (RFC 3261 section 19.1.4; RFC 4475 section 3.1.1.3 sends it).
	switch name := b[p : p+n]; {
	case equalEscapedString(name, "lr"):
		u.HasLR = true
	case equalEscapedString(name, "user"):
		return keep(&u.UserParam)
	case equalEscapedString(name, "maddr"):
		return keep(&u.Maddr)
	case equalEscapedString(name, "transport"):
		return keep(&u.Transport)
	}
	return true
}

// parseTel takes a tel URI apart, RFC 3966 section 3.
func parseTel(b []byte, s, e int, form uriForm, u *URI) (int, bool) {
	u.SchemeIs = SchemeTel
	i := s + 4
	p := i
	global := p < e && b[p] == '+'
	if global {
		p++
	}
	digits := 0
	for ; p < e; p++ {
		c := b[p]
		switch {
		case isDigit(c), !global && (c-'a' <= 5 || c-'A' <= 5 || c == '*' || c == '#'):
			digits++
			continue
		case c == '-', c == '.', c == '(', c == ')': // visual-separator
			continue
		}
		break
	}
	if digits == 0 {
		return p, false
	}
	u.User = span(i, p)
	if p < e && b[p] == ';' && form != uriSpec {
		i = p
		for p < e && b[p] == ';' {
			var ok bool
			if p, ok = u.parseParam(b, &noBitmap, p+1, e); !ok {
				return p, false
			}
		}
		u.Params = span(i, p)
	}
	return u.finish(b, s, p, e, form)
}

// parseOtherURI reads an absoluteURI of any other scheme: the scheme, and that nothing is in it that no
// URI has.
func parseOtherURI(b []byte, nt *bitmap, s, e int, form uriForm, u *URI) (int, bool) {
	p := nt.next(b, s, e)
	if p == e || b[p] != ':' || p == s || classes[b[s]]&classAlpha == 0 {
		return p, false
	}
	for _, c := range b[s:p] {
		if classes[c]&(classAlpha|classDigit) == 0 && c != '+' && c != '-' && c != '.' {
			return p, false
		}
	}
	u.SchemeIs = SchemeOther
	switch scheme := b[s:p]; len(scheme) {
	case 3:
		switch {
		case equalFold(scheme, "urn"):
			u.SchemeIs = SchemeURN
		case equalFold(scheme, "sip"), equalFold(scheme, "tel"):
			return p, false // too short to be one
		}
	case 4:
		if equalFold(scheme, "sips") {
			return p, false
		}
	}
	i := p + 1
	for p = i; p < e; p++ {
		c := b[p]
		if classes[c]&classNever != 0 || form == uriSpec && (c == ';' || c == ',') {
			break
		}
	}
	if p == i {
		return p, false
	}
	return u.finish(b, s, p, e, form)
}
