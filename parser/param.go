package parser

// parseParam reads one generic-param of a header field from p, behind its ';': a token, and maybe "=" and a value that is
// a token, a host or a quoted string; LWS may stand between them. It returns the place behind it and its trailing LWS: a ';', a ',' or e.
// Values are taken liberally: any run without ';', ',', LWS and quotes. Where there is none, value is empty and stands at the name's end.
func parseParam(b []byte, nt *bitmap, p, e int) (name, value Span, hasValue bool, end int, ok bool) {
	if p < e && isSpace(b[p]) {
		p = skipSpace(b, p, e)
	}
	q := p + nt.run(p)
	if q == p+64 {
		q = nt.next(b, p, e)
	}
	if q == p {
		return name, value, false, p, false
	}
	name, value = span(p, q), span(q, q)
	if q < e && isSpace(b[q]) {
		q = skipSpace(b, q, e)
	}
	if q == e || b[q] != '=' {
		return name, value, false, q, q == e || b[q] == ';' || b[q] == ','
	}
	p = q + 1
	if p < e && isSpace(b[p]) {
		p = skipSpace(b, p, e)
	}
	if q = p + nt.run(p); q == p+64 {
		q = nt.next(b, p, e)
	}
	if q == e || b[q] == ';' {
		return name, span(p, q), true, q, true
	}
	if q == p && b[p] == '"' {
		if q = skipQuoted(b, p, e); q < 0 {
			return name, value, true, p, false
		}
		value = span(p, q)
	} else {
		for q < e {
			c := b[q]
			if c == ';' || c == ',' || isSpace(c) {
				break
			}
			if c == '"' || c == '<' || c == '>' || c == 0 {
				return name, value, true, q, false
			}
			q = nt.next(b, q+1, e)
		}
		value = span(p, q)
	}
	if q < e && isSpace(b[q]) {
		q = skipSpace(b, q, e)
	}
	return name, value, true, q, q == e || b[q] == ';' || b[q] == ','
}

// skipQuoted skips the quoted string that starts at b[p] and returns the place behind it, or -1 if it
// does not end before e.
func skipQuoted(b []byte, p, e int) int {
	for p++; p < e; p++ {
		switch b[p] {
		case '"':
			return p + 1
		case '\\':
			p++
		}
	}
	return -1
}

// Params walks over the parameters in a span that starts with ';': those of a URI or of a header field.
type Params struct {
	b   []byte
	at  int
	end int
	uri bool
	Err Error // set when the walk ended at a malformed parameter
}

// ParamsOf starts a walk over the parameters of a header field. It borrows b.
func ParamsOf(b []byte, s Span) Params { return Params{b: b, at: int(s.Off), end: s.End()} }

// URIParamsOf starts a walk over the parameters of a URI: more characters may stand in them, but neither LWS nor quoted
// strings. It borrows b.
func URIParamsOf(b []byte, s Span) Params {
	return Params{b: b, at: int(s.Off), end: s.End(), uri: true}
}

// Next is the next parameter; hasValue tells ";x=" from ";x". A quoted value keeps its quotes.
func (w *Params) Next() (name, value Span, hasValue, ok bool) {
	if w.at < w.end && isSpace(w.b[w.at]) && !w.uri {
		w.at = skipSpace(w.b, w.at, w.end)
	}
	if w.at >= w.end {
		return
	}
	if w.b[w.at] != ';' {
		w.fail(w.at)
		return
	}
	if w.uri {
		p := w.at + 1
		q, r := splitURIParam(w.b, &noBitmap, p, w.end)
		if q == p {
			w.fail(p)
			return
		}
		name, value, w.at = span(p, q), span(q, q), r
		if q < r {
			value, hasValue = span(q+1, r), true
		}
		return name, value, hasValue, true
	}
	name, value, hasValue, w.at, ok = parseParam(w.b, &noBitmap, w.at+1, w.end)
	if ok && w.at < w.end && w.b[w.at] == ',' {
		ok = false
	}
	if !ok {
		w.fail(w.at)
	}
	return
}

func (w *Params) fail(at int) {
	w.Err = Error{ErrParam, uint32(at)}
	w.at = w.end
}

// Param finds a parameter of a header field by name, in any case. The value of one without "=" is empty.
func Param(b []byte, params Span, name string) (value Span, ok bool) {
	return ParamsOf(b, params).find(name)
}

// URIParam finds a parameter of a URI likewise.
func URIParam(b []byte, params Span, name string) (value Span, ok bool) {
	return URIParamsOf(b, params).find(name)
}

func (w Params) find(name string) (Span, bool) {
	for {
		n, v, _, more := w.Next()
		if !more {
			return Span{}, false
		}
		if equalFold(n.In(w.b), name) {
			return v, true
		}
	}
}
