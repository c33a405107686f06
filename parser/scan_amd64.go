package parser

import "github.com/klauspost/cpuid/v2"

// useAVX2 is set once, before anything is parsed.
var useAVX2 = haveAVX2()

//go:noescape
func scanAVX2(b *byte, n int, ends *lineEnds, nt *bitmap) (end int, suspect uint64)

// scan marks in nt the bytes that no token has and notes in ends the offsets of the line feeds, up to the end of the header section: the
// LF of the first LF CR LF, which it returns; noEnd; or tooManyLines. Behind the end neither holds anything to rely on.
// suspect tells whether there is a bare CR, a bare LF or a NUL in the section.
func scan(b []byte, ends *lineEnds, nt *bitmap) (end int, suspect bool) {
	b = b[:min(len(b), MaxHeaderSection)]
	if !useAVX2 || len(b) < 64 {
		return scanPortable(b, ends, nt)
	}
	end, odd := scanAVX2(&b[0], len(b), ends, nt)
	return end, odd != 0
}

// SetPortable has all parsing use the portable form of the scan, or the fastest again. It is for tests that compare the two; not while anything
// is parsed.
func SetPortable(on bool) {
	useAVX2 = !on && haveAVX2()
}

func haveAVX2() bool { return cpuid.CPU.Supports(cpuid.AVX2, cpuid.BMI1, cpuid.POPCNT) }

// Acceleration names the form of the scan in use.
func Acceleration() string {
	if useAVX2 {
		return "avx2"
	}
	return "none"
}
