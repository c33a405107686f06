//go:build !amd64

package parser

// scan marks in lf the line feeds and in nt the bytes that no token has, up to the end of the header section: the
// LF of the first LF CR LF, which it returns, or -1. Behind the end the bitmaps hold nothing to rely on.
// suspect tells whether there is a bare CR, a bare LF or a NUL in the section.
func scan(b []byte, lf, nt *bitmap) (end int, suspect bool) {
	return scanPortable(b[:min(len(b), MaxHeaderSection)], lf, nt)
}

// Acceleration names the form of the scan in use.
func Acceleration() string { return "none" }
