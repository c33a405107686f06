package parser

// parseParam reads one generic-param of a header field from p, behind its ';': a token, and maybe "=" and a value that is
// a token, a host or a quoted string; LWS may stand between them. It returns the place behind it and its trailing LWS: a ';', a ',' or e.
// Values are taken liberally: any run without ';', ',', LWS and quotes.
func parseParam(b []byte, nt *bitmap, p, e int) (name, value Span, hasValue bool, end int, ok bool) {
	if p < e && isSpace(b[p]) {
		p = skipSpace(b, p, e)
	}
	q := nt.next(b, p, e)
	if q == p {
		return name, value, false, p, false
	}
	name = span(p, q)
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
	q = nt.next(b, p, e)
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
	Err Error // set when the walk ended at a malformed parameter
}

// ParamsOf starts a walk. It borrows b.
func ParamsOf(b []byte, s Span) Params { return Params{b: b, at: int(s.Off), end: s.End()} }

// Next is the next parameter; hasValue tells ";x=" from ";x". A quoted value keeps its quotes.
func (w *Params) Next() (name, value Span, hasValue, ok bool) {
	if w.at < w.end && isSpace(w.b[w.at]) {
		w.at = skipSpace(w.b, w.at, w.end)
	}
	if w.at >= w.end {
		return
	}
	if w.b[w.at] != ';' {
		w.fail(w.at)
		return
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

// Param finds a parameter by name, in any case. The value of one without "=" is empty.
func Param(b []byte, params Span, name string) (value Span, ok bool) {
	w := ParamsOf(b, params)
	for {
		n, v, _, more := w.Next()
		if !more {
			return Span{}, false
		}
		if equalFold(n.In(b), name) {
			return v, true
		}
	}
}
