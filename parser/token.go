package parser

// equalFold tells whether a is s in any case of ASCII. RFC 3261 section 7.3.1: "tokens are always
// case-insensitive" unless stated otherwise.
func equalFold(a []byte, s string) bool {
	if len(a) != len(s) {
		return false
	}
	for i, c := range a {
		if lower(c) != lower(s[i]) {
			return false
		}
	}
	return true
}

// EqualFold compares two tokens in any case of ASCII.
func EqualFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

// EqualFoldString compares a token with a known name in any case of ASCII.
func EqualFoldString(a []byte, s string) bool { return equalFold(a, s) }

func lower(c byte) byte {
	if c-'A' <= 'Z'-'A' {
		c |= 0x20
	}
	return c
}

// ParseUint reads all of b as a decimal number of up to maxDigits digits that is at most limit. Leading zeros are fine.
func ParseUint(b []byte, limit uint64) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		d := uint64(c - '0')
		if n > (limit-d)/10 || d > limit {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// isNumber tells whether b is one digit or more and nothing else: a number, however large.
func isNumber(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return len(b) > 0
}

// IsToken tells whether b is a token of RFC 3261 section 25.1.
func IsToken(b []byte) bool {
	for _, c := range b {
		if !isToken(c) {
			return false
		}
	}
	return len(b) > 0
}
