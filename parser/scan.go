package parser

import "math/bits"

// bitmap has one bit for each byte of a header section, and a word more, so that two can be read at once.
type bitmap [(MaxHeaderSection+1)/64 + 1]uint64

// noBitmap stands for "there is none": parsing goes byte by byte then. It stays zero.
var noBitmap bitmap

// lineEnds has the offsets of the line feeds in order. A block of the scan may write 64 behind MaxLineEnds, and three more
// that are none.
type lineEnds [MaxLineEnds + 64 + 3]uint16

// What scan returns in the place of the end.
const (
	noEnd        = -1
	tooManyLines = -2
)

// Character classes, RFC 3261 section 25.1.
const (
	classToken = 1 << iota // token: alphanum and -.!%*_+`'~
	classUser              // user-unreserved and the rest that an unescaped user part or password may have
	classParam             // paramchar of a URI parameter, outside of token; '=' in values, for the base64 of the wild
	classHost              // IPv6reference between the brackets
	classDigit
	classAlpha
	classNever // in no URI: controls, SP, DQUOTE, <, >, \
)

var classes = makeClasses()

// spaces are SP, HTAB, and CR and LF, which inside a value are part of a fold.
const spaces = 1<<' ' | 1<<'\t' | 1<<'\r' | 1<<'\n'

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
func isSpace(c byte) bool { return c <= ' ' && spaces>>c&1 != 0 }
func isDigit(c byte) bool { return c-'0' <= 9 }

// scanBits has, in four lanes of 16 bits, a one for: a byte that no token has, LF, CR, NUL. So 16 bytes are classified by 16 look-ups and as
// many shifts.
var scanBits = makeScanBits()

func makeScanBits() (t [256]uint64) {
	for c := range 256 {
		if !isToken(byte(c)) {
			t[c] = 1
		}
	}
	t['\n'] |= 1 << 16
	t['\r'] |= 1 << 32
	t[0] |= 1 << 48
	return
}

// classify returns a word each for the four lanes of scanBits.
func classify(block *[64]byte) (nt, lf, cr, nul uint64) {
	for g := uint(0); g < 64; g += 16 {
		p := (*[16]byte)(block[g : g+16])
		x := scanBits[p[0]] | scanBits[p[1]]<<1 | scanBits[p[2]]<<2 | scanBits[p[3]]<<3 |
			scanBits[p[4]]<<4 | scanBits[p[5]]<<5 | scanBits[p[6]]<<6 | scanBits[p[7]]<<7 |
			scanBits[p[8]]<<8 | scanBits[p[9]]<<9 | scanBits[p[10]]<<10 | scanBits[p[11]]<<11 |
			scanBits[p[12]]<<12 | scanBits[p[13]]<<13 | scanBits[p[14]]<<14 | scanBits[p[15]]<<15
		nt |= x & 0xffff << g
		lf |= x >> 16 & 0xffff << g
		cr |= x >> 32 & 0xffff << g
		nul |= x >> 48 << g
	}
	return
}

// scanPortable is the plain form of scan.
func scanPortable(b []byte, ends *lineEnds, nt *bitmap) (end int, suspect bool) {
	var lastLF, lastCR uint64 // the block before's top bits
	var bad uint64
	lines := 0
	for at := 0; at < len(b); at += 64 {
		var n, l, c, z uint64
		if at+64 <= len(b) {
			n, l, c, z = classify((*[64]byte)(b[at : at+64]))
		} else {
			var rest [64]byte
			mask := uint64(1)<<copy(rest[:], b[at:]) - 1
			n, l, c, z = classify(&rest)
			n, z = n&mask, z&mask
		}
		nt[at/64] = n
		for w := l; w != 0; w &= w - 1 {
			ends[lines] = uint16(at + bits.TrailingZeros64(w))
			lines++
		}
		odd := (c<<1 | lastCR) ^ l | z
		stop := l & (l<<2 | lastLF) & (c<<1 | lastCR)
		if stop != 0 {
			return at + bits.TrailingZeros64(stop), bad|odd&(stop^(stop-1)) != 0
		}
		if lines > MaxLineEnds {
			return tooManyLines, true
		}
		bad |= odd
		lastLF, lastCR = l>>62, c>>63
	}
	return noEnd, true
}

// run is the number of token bytes from i on, but 64 at most. Without a bitmap it is 64. It is made to be inlined in front of next.
func (nt *bitmap) run(i int) int {
	k, s := uint16(i)>>6, uint(i)&63
	return bits.TrailingZeros64(nt[k]>>s | nt[k+1]<<1<<(63-s))
}

// next finds the first byte of b[i:e] that no token has, or e. With a bitmap, e has to be such a byte itself.
func (nt *bitmap) next(b []byte, i, e int) int {
	if n := nt.run(i); n < 64 {
		return i + n
	}
	return nt.nextSlow(b, i, e)
}

// nextSlow is next for the long runs, and without a bitmap.
func (nt *bitmap) nextSlow(b []byte, i, e int) int {
	if nt == &noBitmap {
		for i < e && isToken(b[i]) {
			i++
		}
		return i
	}
	for i += 64; i < e; i += 64 {
		if n := nt.run(i); n < 64 {
			return min(i+n, e)
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
