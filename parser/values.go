package parser

// Values walks over the values of one header id, over all its lines, comma by comma; commas in quoted strings and in angle brackets do not
// count. It borrows the bytes.
type Values struct {
	b    []byte
	m    *Message
	id   HeaderID
	line int   // of the value at hand
	left int   // lines with that id not begun
	at   int   // start of the next value in the line
	end  int   // end of the line's value; 0 before the first line
	Err  Error // set when the walk ended at a malformed list
}

// Values starts a walk over the values of id.
func (m *Message) Values(b []byte, id HeaderID) Values {
	return Values{b: b, m: m, id: id, left: m.Lines(id), line: m.First(id) - 1, at: 1}
}

// Next is the next value, LWS and commas around it left out, and the index of its line.
// An empty header value has no values; an empty element of a list is a fault.
func (v *Values) Next() (value Span, line int, ok bool) {
	for v.at > v.end {
		if v.left == 0 {
			return Span{}, 0, false
		}
		v.left--
		for v.line++; v.m.headers[v.line].ID != v.id; v.line++ {
		}
		s := v.m.headers[v.line].Value
		v.at, v.end = int(s.Off), s.End()
		if s.Empty() {
			v.at++
		}
	}
	s := skipSpace(v.b, v.at, v.end)
	e, ok := valueEnd(v.b, s, v.end)
	if !ok || e == s {
		v.fail(s)
		return Span{}, 0, false
	}
	v.at = e + 1
	return span(s, trimSpace(v.b, s, e)), v.line, true
}

func (v *Values) fail(at int) {
	v.Err = Error{ErrList, uint32(at)}
	v.left, v.at, v.end = 0, 1, 0
}

// valueEnd finds the comma that ends the value at b[i:e], or e.
func valueEnd(b []byte, i, e int) (int, bool) {
	for angle := false; i < e; i++ {
		switch b[i] {
		case '"':
			if angle {
				continue
			}
			j := skipQuoted(b, i, e)
			if j < 0 {
				return i, false
			}
			i = j - 1
		case '<':
			angle = true
		case '>':
			angle = false
		case ',':
			if !angle {
				return i, true
			}
		}
	}
	return e, true
}
