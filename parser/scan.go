package parser

import "math/bits"

// bitmap has one bit for each byte of a header section.
type bitmap [(MaxHeaderSection + 1) / 64]uint64

// noBitmap stands for "there is none": parsing goes byte by byte then. It stays zero.
var noBitmap bitmap

// Character classes, RFC 3261 section 25.1.
const (
	classToken = 1 << iota // token: alphanum and -.!%*_+`'~
	classUser              // user-unreserved and the rest that an unescaped user part or password may have
	classParam             // paramchar of a URI parameter, outside of token; '=' in values, for the base64 of the wild
	classSpace             // SP, HTAB, and CR LF, which inside a value are part of a fold
	classHost              // IPv6reference between the brackets
	classDigit
	classAlpha
	classNever // in no URI: controls, SP, DQUOTE, <, >, \
)

var classes = makeClasses()

func makeClasses() (t [256]uint8) {
	add := func(class uint8, set string) {
		for i := range len(set) {
			t[set[i]] |= class
		}
	}
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	add(classDigit, digits)
	add(classAlpha, lower+upper)
	add(classToken, digits+lower+upper+"-.!%*_+`'~")
	add(classUser, digits+lower+upper+"-.!%*_+`'~"+"()&=+$,;?/"+":#")
	add(classParam, "()[]/:&+$")
	add(classSpace, " \t\r\n")
	add(classHost, digits+"abcdefABCDEF:.")
	for c := range 256 {
		if c <= ' ' || c == 0x7f {
			t[c] |= classNever
		}
		if c >= 0x80 {
			t[c] |= classUser // raw UTF-8 is sent by many, and what is relayed is not ours to refuse
		}
	}
	add(classNever, "\"<>\\")
	return
}

func isToken(c byte) bool { return classes[c]&classToken != 0 }
func isSpace(c byte) bool { return classes[c]&classSpace != 0 }
func isDigit(c byte) bool { return c-'0' <= 9 }

// scanBits has bit 0 for a byte that no token has, bit 1 for LF, bit 2 for CR, bit 3 for NUL.
var scanBits = makeScanBits()

func makeScanBits() (t [256]uint8) {
	for c := range 256 {
		if !isToken(byte(c)) {
			t[c] = 1
		}
	}
	t['\n'] |= 2
	t['\r'] |= 4
	t[0] |= 8
	return
}

// scanPortable is the plain form of scan.
func scanPortable(b []byte, lf, nt *bitmap) (end int, suspect bool) {
	var lastLF, lastCR uint64 // the block before's top bits
	var bad uint64
	for at := 0; at < len(b); at += 64 {
		block := b[at:min(at+64, len(b))]
		var l, n, c, z uint64
		for i, x := range block {
			k := uint64(scanBits[x])
			n |= (k & 1) << uint(i&63)
			l |= (k >> 1 & 1) << uint(i&63)
			c |= (k >> 2 & 1) << uint(i&63)
			z |= (k >> 3) << uint(i&63)
		}
		lf[at/64], nt[at/64] = l, n
		odd := (c<<1 | lastCR) ^ l | z
		stop := l & (l<<2 | lastLF) & (c<<1 | lastCR)
		if stop != 0 {
			return at + bits.TrailingZeros64(stop), bad|odd&(stop^(stop-1)) != 0
		}
		bad |= odd
		lastLF, lastCR = l>>62, c>>63
	}
	return -1, true
}

// next finds the first byte of b[i:e] that no token has, or e. With a bitmap, e has to be such a byte itself.
func (nt *bitmap) next(b []byte, i, e int) int {
	if w := nt[uint16(i)>>6] >> (uint(i) & 63); w != 0 {
		return i + bits.TrailingZeros64(w)
	}
	return nt.nextSlow(b, i, e)
}

func (nt *bitmap) nextSlow(b []byte, i, e int) int {
	if nt == &noBitmap {
		for i < e && isToken(b[i]) {
			i++
		}
		return i
	}
	for w := int(uint16(i)>>6) + 1; w < len(nt); w++ {
		if nt[w] != 0 {
			return min(w<<6+bits.TrailingZeros64(nt[w]), e)
		}
	}
	return e
}

// skipSpace skips linear white space forward.
func skipSpace(b []byte, i, e int) int {
	for i < e && isSpace(b[i]) {
		i++
	}
	return i
}

// trimSpace moves e back over linear white space, down to i.
func trimSpace(b []byte, i, e int) int {
	for e > i && isSpace(b[e-1]) {
		e--
	}
	return e
}

// span is b[i:e] as a Span; both are offsets into a header section.
func span(i, e int) Span { return Span{uint16(i), uint16(e - i)} }
