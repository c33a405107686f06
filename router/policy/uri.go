package policy

import (
	"bytes"

	"sipedge/parser"
)

// requestURI is the Request-URI to send: with another number, if number is not nil, and another host with its port, if host
// is not. Nil: as it was received. It borrows the decision's text.
func (x *decision) requestURI(number, host []byte) []byte {
	u := &x.m.URI
	if number == nil && host == nil {
		return nil
	}
	dst := x.text.text[:0]
	switch u.SchemeIs {
	case parser.SchemeSIP, parser.SchemeSIPS:
		dst = appendSIP(dst, x.b, u, number, host)
	case parser.SchemeTel:
		if host != nil {
			dst = appendTelAsSIP(dst, x.b, u, number, host)
		} else {
			dst = x.appendTel(dst, u, number)
		}
	default:
		return nil // what has no host and no number stays
	}
	x.text.text = dst
	return dst
}

func appendSIP(dst, b []byte, u *parser.URI, number, host []byte) []byte {
	scheme := u.Host.Off
	if u.HasUser {
		scheme = u.User.Off
	}
	dst = append(dst, b[u.Whole.Off:scheme]...)
	if u.HasUser {
		dst = appendUser(dst, b, u, number)
		dst = append(dst, '@')
	}
	if host == nil {
		return append(dst, b[u.Host.Off:u.Whole.End()]...)
	}
	dst = append(dst, host...)
	it := parser.URIParamsOf(b, u.Params)
	for {
		name, value, hasValue, ok := it.Next()
		if !ok {
			return dst // header fields of a URI have no place in a Request-URI
		}
		// These said how to reach the host that is not there any more.
		if n := name.In(b); equalFold(n, "transport") || equalFold(n, "maddr") || equalFold(n, "ttl") {
			continue
		}
		dst = appendParam(dst, b, name, value, hasValue)
	}
}

func appendParam(dst, b []byte, name, value parser.Span, hasValue bool) []byte {
	dst = append(dst, ';')
	dst = append(dst, name.In(b)...)
	if hasValue {
		dst = append(dst, '=')
		dst = append(dst, value.In(b)...)
	}
	return dst
}

// appendUser appends the user part: as it was, password included, or with another number in its place, behind which the
// parameters of a telephone-subscriber stay, but for the context that a global number does not have.
func appendUser(dst, b []byte, u *parser.URI, number []byte) []byte {
	if number == nil {
		end := u.User.End()
		if !u.Password.Empty() {
			end = u.Password.End()
		}
		return append(dst, b[u.User.Off:end]...)
	}
	dst = parser.AppendEscaped(dst, number, parser.EscapeUser) // a # has to be
	params := u.Params
	if u.SchemeIs != parser.SchemeTel {
		i := bytes.IndexByte(u.User.In(b), ';')
		if i < 0 {
			return dst
		}
		params = parser.Span{Off: u.User.Off + uint16(i), Len: u.User.Len - uint16(i)}
	}
	return appendNumberParams(dst, b, params, number)
}

func appendNumberParams(dst, b []byte, params parser.Span, number []byte) []byte {
	it := parser.URIParamsOf(b, params)
	for {
		name, value, hasValue, ok := it.Next()
		if !ok {
			return dst
		}
		if number[0] == '+' && equalFold(name.In(b), "phone-context") {
			continue // "global-number = global-number-digits *par", without one: RFC 3966 section 3
		}
		dst = appendParam(dst, b, name, value, hasValue)
	}
}

// appendTelAsSIP: "the entire telephone-subscriber portion of the tel URL, including any parameters, is placed into the userinfo
// part of the SIP or SIPS URI." RFC 3261 section 19.1.6. There "the user parameter value "phone" SHOULD be present", section
// 19.1.1.
func appendTelAsSIP(dst, b []byte, u *parser.URI, number, host []byte) []byte {
	dst = append(dst, "sip:"...)
	if number == nil {
		dst = parser.AppendEscaped(dst, u.User.In(b), parser.EscapeUser)
		dst = append(dst, u.Params.In(b)...)
	} else {
		dst = appendUser(dst, b, u, number)
	}
	dst = append(dst, '@')
	dst = append(dst, host...)
	return append(dst, ";user=phone"...)
}

// appendTel appends a tel URI with another number. "Local numbers MUST have a 'phone-context' parameter" (RFC 3966 section
// 5.1.5): one that is made here is one of the caller's country.
func (x *decision) appendTel(dst []byte, u *parser.URI, number []byte) []byte {
	dst = append(dst, "tel:"...)
	dst = append(dst, number...)
	dst = appendNumberParams(dst, x.b, u.Params, number)
	if number[0] != '+' {
		if _, ok := parser.URIParam(x.b, u.Params, "phone-context"); !ok {
			if c := x.country(); c != nil {
				dst = append(dst, ";phone-context=+"...)
				dst = append(dst, c.Code...)
			}
		}
	}
	return dst
}
