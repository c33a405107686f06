//go:build !amd64

package parser

// scan marks in nt the bytes that no token has and notes in ends the offsets of the line feeds, up to the end of the header section: the
// LF of the first LF CR LF, which it returns; noEnd; or tooManyLines. Behind the end neither holds anything to rely on.
// suspect tells whether there is a bare CR, a bare LF or a NUL in the section.
func scan(b []byte, ends *lineEnds, nt *bitmap) (end int, suspect bool) {
	return scanPortable(b[:min(len(b), MaxHeaderSection)], ends, nt)
}

// SetPortable has no effect: there is one form only.
func SetPortable(bool) {}

// Acceleration names the form of the scan in use.
func Acceleration() string { return "none" }
