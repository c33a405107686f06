package parser

import "encoding/binary"

// equalFold tells whether a is s in any case of ASCII. RFC 3261 section 7.3.1: "Tokens are always case-insensitive", unless
// otherwise stated.
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

// key8 is the name b[p:p+n] of up to eight bytes, in lower case and as one word, to be compared in one step. It is exact for tokens, since among
// them OR 0x20 makes letters of letters only. A longer name gets a key that no name has.
func key8(b []byte, p, n int) uint64 {
	if n > 8 {
		return 0
	}
	if p+8 > len(b) {
		return key8Slow(b, p, n)
	}
	return (binary.LittleEndian.Uint64(b[p:]) | lower8) << (uint(8-n) * 8 & 63)
}

// key8Slow is key8 where less than eight bytes are left.
func key8Slow(b []byte, p, n int) (k uint64) {
	for i := p + n - 1; i >= p; i-- {
		k = k<<8 | uint64(b[i]) | 0x20
	}
	return k << (uint(8-n) * 8 & 63)
}

// The names that key8 is compared with; first byte lowest, and nothing below it.
const (
	keyTag      = ('t' | 'a'<<8 | 'g'<<16) << 40
	keyTTL      = ('t' | 't'<<8 | 'l'<<16) << 40
	keyLR       = ('l' | 'r'<<8) << 48
	keyUser     = ('u' | 's'<<8 | 'e'<<16 | 'r'<<24) << 32
	keyMaddr    = ('m' | 'a'<<8 | 'd'<<16 | 'd'<<24 | 'r'<<32) << 24
	keyRPort    = ('r' | 'p'<<8 | 'o'<<16 | 'r'<<24 | 't'<<32) << 24
	keyBranch   = ('b' | 'r'<<8 | 'a'<<16 | 'n'<<24 | 'c'<<32 | 'h'<<40) << 16
	keyReceived = 'r' | 'e'<<8 | 'c'<<16 | 'e'<<24 | 'i'<<32 | 'v'<<40 | 'e'<<48 | 'd'<<56
)
