package parser

// AppendUnescaped appends b with each "%" HEX HEX as the octet it stands for; once, never twice (RFC 4475 section 3.1.1.3). A "%"
// that starts no escape stays (section 3.1.1.5 there). An escaped NUL is an octet like any other (section 3.1.1.4).
func AppendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		c, n := unescape(b, i)
		dst = append(dst, c)
		i += n
	}
	return dst
}

// EscapeSet says which characters may stand in a part of a URI as they are (RFC 3261 section 25.1).
type EscapeSet uint8

const (
	EscapeUser     EscapeSet = 1 << iota // unreserved and user-unreserved
	EscapePassword                       // unreserved and &=+$,
	EscapeParam                          // unreserved and param-unreserved
	EscapeHeader                         // unreserved and hnv-unreserved
)

var unescapedIn = func() (t [256]EscapeSet) {
	add := func(s string, set EscapeSet) {
		for i := range len(s) {
			t[s[i]] |= set
		}
	}
	const unreserved = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.!~*'()"
	add(unreserved, EscapeUser|EscapePassword|EscapeParam|EscapeHeader)
	add("&=+$,;?/", EscapeUser)
	add("&=+$,", EscapePassword)
	add("[]/:&+$", EscapeParam)
	add("[]/?:+$", EscapeHeader)
	return
}()

// AppendEscaped appends b with each octet escaped that may not stand in that part of a URI as it is.
func AppendEscaped(dst, b []byte, set EscapeSet) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range b {
		if unescapedIn[c]&set != 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// unescape reads the octet at b[i] and says how many bytes it took.
func unescape(b []byte, i int) (c byte, n int) {
	if b[i] == '%' && i+2 < len(b) {
		hi, ok1 := unhex(b[i+1])
		lo, ok2 := unhex(b[i+2])
		if ok1 && ok2 {
			return hi<<4 | lo, 3
		}
	}
	return b[i], 1
}

func unhex(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case lower(c)-'a' <= 'f'-'a':
		return lower(c) - 'a' + 10, true
	}
	return 0, false
}

// reserved is the set of RFC 2396 section 2.2, within which "%3B" is not ";".
var reserved = func() (t [256]bool) {
	for _, c := range []byte(";/?:@&=+$,") {
		t[c] = true
	}
	return
}()

// equalEscaped compares parts of URIs: "Characters other than those in the "reserved" set (see RFC 2396 [5]) are equivalent
// to their ""%" HEX HEX" encoding", RFC 3261 section 19.1.4. fold ignores the case.
func equalEscaped(a, b []byte, fold bool) bool {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		x, n := unescape(a, i)
		y, m := unescape(b, j)
		if n != m && (reserved[x] || reserved[y]) {
			return false
		}
		if x != y && !(fold && lower(x) == lower(y)) {
			return false
		}
		i += n
		j += m
	}
	return i == len(a) && j == len(b)
}

func equalEscapedString(a []byte, s string) bool {
	i := 0
	for j := range len(s) {
		if i >= len(a) {
			return false
		}
		c, n := unescape(a, i)
		if lower(c) != s[j] {
			return false
		}
		i += n
	}
	return i == len(a)
}
