package parser

import "bytes"

// EqualURI compares two URIs by RFC 3261 section 19.1.4. It borrows both; ua is a taken apart, ub is b taken apart.
// Not transitive: "sip:carol@chicago.com" equals it with ";security=on" and with ";security=off".
//
// tel URIs are compared by RFC 3966 section 4, all other schemes byte for byte but for the case of the scheme, and so are
// URIs with more than maxCompared parameters or headers.
func EqualURI(a []byte, ua *URI, b []byte, ub *URI) bool {
	// "A SIP and SIPS URI are never equivalent."
	if ua.SchemeIs != ub.SchemeIs {
		return false
	}
	if tooMany(a, ua) || tooMany(b, ub) {
		return equalOther(ua.Whole.In(a), ub.Whole.In(b))
	}
	switch ua.SchemeIs {
	case SchemeSIP, SchemeSIPS:
	case SchemeTel:
		return equalTel(a, ua, b, ub)
	default:
		return equalOther(ua.Whole.In(a), ub.Whole.In(b))
	}
	// "A URI omitting the user component will not match a URI that includes one", and so with the password. "Comparison of the userinfo
	// ... is case-sensitive."
	if ua.HasUser != ub.HasUser || !equalEscaped(ua.User.In(a), ub.User.In(b), false) {
		return false
	}
	if hasPassword(ua) != hasPassword(ub) || !equalEscaped(ua.Password.In(a), ub.Password.In(b), false) {
		return false
	}
	if !equalEscaped(ua.Host.In(a), ub.Host.In(b), true) {
		return false
	}
	// "a URI omitting the optional port component will not match a URI explicitly declaring port 5060"
	if ua.PortSpan.Empty() != ub.PortSpan.Empty() || ua.Port != ub.Port {
		return false
	}
	return paramsMatch(a, ua.Params, b, ub.Params) && paramsMatch(b, ub.Params, a, ua.Params) &&
		headersMatch(a, ua.Headers, b, ub.Headers) && headersMatch(b, ub.Headers, a, ua.Headers)
}

// tooMany tells whether comparing each with each would take too long.
func tooMany(b []byte, u *URI) bool {
	return bytes.Count(u.Params.In(b), []byte(";")) > maxCompared || bytes.Count(u.Headers.In(b), []byte("&")) > maxCompared
}

// hasPassword tells "user:@host" from "user@host": the colon stands between.
func hasPassword(u *URI) bool { return u.Password.Off != 0 }

// paramsMatch tells whether each parameter of a agrees with b: "Any uri-parameter appearing in both URIs must match." A user, ttl,
// method, maddr or transport in one only never matches; all others are ignored then.
func paramsMatch(a []byte, pa Span, b []byte, pb Span) bool {
	w := URIParamsOf(a, pa)
	for {
		name, value, _, ok := w.Next()
		if !ok {
			return true
		}
		n := name.In(a)
		found, same := findURIParam(b, pb, n, value.In(a))
		if found {
			if !same {
				return false
			}
			continue
		}
		for _, never := range [...]string{"user", "ttl", "method", "maddr", "transport"} {
			if equalEscapedString(n, never) {
				return false
			}
		}
	}
}

// findURIParam tells whether a parameter of that name is there, and whether one has that value too. (A name stands once, but a
// URI where it does not has to equal itself.)
func findURIParam(b []byte, params Span, name, value []byte) (found, same bool) {
	w := URIParamsOf(b, params)
	for {
		n, v, _, ok := w.Next()
		if !ok {
			return found, false
		}
		if equalEscaped(n.In(b), name, true) {
			found = true
			if equalParamValue(name, v.In(b), value) {
				return true, true
			}
		}
	}
}

// equalParamValue compares without case; but in tel URIs phone-context "is compared as a host name if it is a 'domainname' or digit by digit
// if it is 'global-number-digits'" (RFC 3966 section 4), and an extension is a phone number too.
func equalParamValue(name, a, b []byte) bool {
	if len(a) > 0 && a[0] == '+' && equalFold(name, "phone-context") || equalFold(name, "ext") {
		return equalNumber(a, b)
	}
	return equalEscaped(a, b, true)
}

// headersMatch tells whether each header of a stands in b as often: "URI header components are never ignored. Any present header component
// MUST be present in both URIs and match". Values are compared without case, the rule for all parts without one of their own.
func headersMatch(a []byte, ha Span, b []byte, hb Span) bool {
	wa := uriHeaders{b: a, at: int(ha.Off), end: ha.End()}
	for {
		name, value, ok := wa.next()
		if !ok {
			return true
		}
		if countHeader(a, ha, name.In(a), value.In(a)) != countHeader(b, hb, name.In(a), value.In(a)) {
			return false
		}
	}
}

func countHeader(b []byte, headers Span, name, value []byte) (n int) {
	w := uriHeaders{b: b, at: int(headers.Off), end: headers.End()}
	for {
		nb, vb, ok := w.next()
		if !ok {
			return n
		}
		if equalEscaped(nb.In(b), name, true) && equalEscaped(vb.In(b), value, true) {
			n++
		}
	}
}

// uriHeaders walks over hname "=" hvalue, parted by "&".
type uriHeaders struct {
	b       []byte
	at, end int
}

func (w *uriHeaders) next() (name, value Span, ok bool) {
	if w.at >= w.end {
		return
	}
	i := w.at
	e, eq := i, -1
	for ; e < w.end && w.b[e] != '&'; e++ {
		if w.b[e] == '=' && eq < 0 {
			eq = e
		}
	}
	w.at = e + 1
	if eq < 0 {
		return span(i, e), span(e, e), true
	}
	return span(i, eq), span(eq+1, e), true
}

// equalTel compares tel URIs by RFC 3966 section 4: both global (with '+') or both local, digits "equal, after removing all
// visual separators", and "Parameters are compared according to 'pname', regardless of the order they appeared in the URI. If one URI has a
// parameter name not found in the other, the two URIs are not equal."
func equalTel(a []byte, ua *URI, b []byte, ub *URI) bool {
	return equalNumber(ua.User.In(a), ub.User.In(b)) && telParamsMatch(a, ua.Params, b, ub.Params) && telParamsMatch(b, ub.Params, a, ua.Params)
}

// equalNumber compares digits without visual separators; the '+' counts as one.
func equalNumber(a, b []byte) bool {
	i, j := 0, 0
	for {
		for i < len(a) && isVisualSeparator(a[i]) {
			i++
		}
		for j < len(b) && isVisualSeparator(b[j]) {
			j++
		}
		if i == len(a) || j == len(b) {
			return i == len(a) && j == len(b)
		}
		if lower(a[i]) != lower(b[j]) {
			return false
		}
		i++
		j++
	}
}

func isVisualSeparator(c byte) bool { return c == '-' || c == '.' || c == '(' || c == ')' }

func telParamsMatch(a []byte, pa Span, b []byte, pb Span) bool {
	w := URIParamsOf(a, pa)
	for {
		name, value, _, ok := w.Next()
		if !ok {
			return true
		}
		if _, same := findURIParam(b, pb, name.In(a), value.In(a)); !same {
			return false
		}
	}
}

// equalOther compares URIs of schemes whose rules are not known here.
func equalOther(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	scheme := true
	for i := range a {
		if a[i] == b[i] {
			scheme = scheme && a[i] != ':'
			continue
		}
		if !scheme || lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
