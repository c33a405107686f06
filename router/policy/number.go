package policy

import (
	"bytes"

	"sipedge/config"
	"sipedge/parser"
)

// digits is a telephone number in one form: digits, * and #, with + before them if it is a whole E.164 number.
type digits struct {
	n uint8 // 0: none
	b [maxDigits + 1]byte
}

func (d *digits) text() []byte { return d.b[:d.n] }
func (d *digits) global() bool { return d.n > 0 && d.b[0] == '+' }

func (d *digits) add(s []byte) bool {
	n := copy(d.b[d.n:], s)
	d.n += uint8(n)
	return n == len(s)
}

// number is the telephone number of a URI.
type number struct {
	dialled digits // as it was sent, without visual separators
	e164    digits // empty when it is not known
}

// read takes the number out of u. c is the country by whose rules it was dialled, nil for none known. It reports whether there is one.
//
// A tel URI has one. The user part of a sip or sips URI is one with user=phone (RFC 3261 section 19.1.1), and, since hardly
// anybody sends that parameter, if it is digits alone or digits after a +.
func (n *number) read(b []byte, u *parser.URI, c *config.Country) bool {
	*n = number{}
	switch u.SchemeIs {
	case parser.SchemeTel:
		if !n.subscriber(u.User.In(b), true) {
			return false
		}
		if context, ok := parser.URIParam(b, u.Params, "phone-context"); ok && !isContextOf(context.In(b), c) {
			c = nil
		}
	case parser.SchemeSIP, parser.SchemeSIPS:
		user := u.User.In(b)
		params := bytes.IndexByte(user, ';')
		if params >= 0 {
			user = user[:params]
		}
		phone := equalFold(u.UserParam.In(b), "phone")
		if len(user) == 0 || !n.subscriber(user, phone) {
			return false
		}
		if params >= 0 {
			at := parser.Span{Off: u.User.Off + uint16(params), Len: u.User.Len - uint16(params)}
			if context, ok := parser.URIParam(b, at, "phone-context"); ok && !isContextOf(context.In(b), c) {
				c = nil
			}
		}
	default:
		return false
	}
	n.normalise(c)
	return true
}

// subscriber reads the digits of a telephone-subscriber (RFC 3966 section 3). "Visual separators [...] merely aid
// readability" (section 5.1.1) and go, where such a thing is expected: behind a + or with phone.
func (n *number) subscriber(s []byte, phone bool) bool {
	d := &n.dialled
	*d = digits{}
	seen := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) { // a sip user has # escaped, and may have any
			var one [3]byte
			if x := parser.AppendUnescaped(one[:0], s[i:i+3]); len(x) == 1 {
				c = x[0]
				i += 2
			}
		}
		switch {
		case c >= '0' && c <= '9':
			seen++
		case c == '+' && d.n == 0:
		case (c == '*' || c == '#') && !d.global():
			seen++
		case (c == '-' || c == '.' || c == '(' || c == ')') && (phone || d.global()):
			continue
		default: // letters of a local number (RFC 3966 section 3) name no line of any numbering plan
			*d = digits{}
			return false
		}
		if int(d.n) == len(d.b) {
			*d = digits{}
			return false
		}
		d.b[d.n] = c
		d.n++
	}
	if seen == 0 {
		*d = digits{}
	}
	return seen > 0
}

// dialable tells whether a URI that has no number that can be read may have one for others: a tel URI has, and so has a user part
// that does not begin with a letter, since gateways take out separators and what else they do not know.
func dialable(b []byte, u *parser.URI) bool {
	user := u.User.In(b)
	switch {
	case u.SchemeIs == parser.SchemeTel:
		return true
	case u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS || len(user) == 0:
		return false
	}
	c := user[0]
	if c == '%' && len(user) > 2 {
		var one [3]byte
		c = parser.AppendUnescaped(one[:0], user[:3])[0]
	}
	letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
	return !letter
}

// isContextOf tells whether a phone-context says no more than that the number is one of that country: "If a recipient of the URI
// intends to place a call to the local number, it MUST understand the context and be able to place calls within that
// context." RFC 3966 section 5.1.5. Other contexts are not understood here: such a number stays as it is.
func isContextOf(context []byte, c *config.Country) bool {
	return c != nil && len(context) == 1+len(c.Code) && context[0] == '+' && string(context[1:]) == c.Code
}

// normalise finds e164, see config.Country.
func (n *number) normalise(c *config.Country) {
	d := n.dialled.text()
	if n.dialled.global() {
		n.e164 = n.dialled
		return
	}
	if c == nil || bytes.IndexByte(d, '*') >= 0 || bytes.IndexByte(d, '#') >= 0 {
		return
	}
	switch {
	case c.International != "" && hasPrefix(d, c.International):
		n.global("", d[len(c.International):])
	case c.National != "" && hasPrefix(d, c.National) && n.global(c.Code, d[len(c.National):]):
	case c.MinDigits > 0 && len(d) >= c.MinDigits && len(d) <= c.MaxDigits:
		n.global(c.Code, d)
	}
}

// global makes e164 of a calling code and what follows it, if it can be one.
func (n *number) global(code string, rest []byte) bool {
	if l := len(code) + len(rest); l < minGlobal || l > maxGlobal {
		return false
	}
	n.e164 = digits{n: 1, b: [maxDigits + 1]byte{'+'}}
	for i := range len(code) {
		n.e164.b[n.e164.n] = code[i]
		n.e164.n++
	}
	return n.e164.add(rest)
}

// edit is NumberEdit made ready.
type numberEdit struct {
	on        bool
	normalise bool
	strip     int
	prepend   string
}

func newNumberEdit(e *config.NumberEdit) numberEdit {
	return numberEdit{
		on:        e.Normalise || e.Strip > 0 || e.Prepend != "",
		normalise: e.Normalise, strip: e.Strip, prepend: e.Prepend,
	}
}

// apply makes of n the number to send on. ok is false when nothing would be left, or more than a number may have.
func (e *numberEdit) apply(n *number) (out digits, ok bool) {
	from := n.dialled.text()
	if e.normalise && n.e164.n > 0 {
		from = n.e164.text()
	}
	from = from[min(e.strip, len(from)):]
	for i := range len(e.prepend) {
		if int(out.n) == len(out.b) {
			return out, false
		}
		out.b[out.n] = e.prepend[i]
		out.n++
	}
	if out.n > 0 && len(from) > 0 && from[0] == '+' {
		from = from[1:] // a + stands at the begin or nowhere
	}
	ok = out.add(from)
	return out, ok && out.n > 0 && !(out.n == 1 && out.b[0] == '+')
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }
