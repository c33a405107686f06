package parser

import (
	"math/rand/v2"
	"testing"
)

// sameScan compares the form of scan in use with the portable one on b.
func sameScan(t *testing.T, b []byte) {
	t.Helper()
	var nt, nt2 bitmap
	var ends, ends2 lineEnds
	end, suspect := scan(b, &ends, &nt)
	end2, suspect2 := scanPortable(b[:min(len(b), MaxHeaderSection)], &ends2, &nt2)
	if end != end2 || suspect != suspect2 {
		t.Fatalf("end %d, suspect %v; portable: %d, %v; %q", end, suspect, end2, suspect2, b)
	}
	if end == tooManyLines {
		return
	}
	last, lines := end, 0
	if end < 0 {
		last = min(len(b), MaxHeaderSection) - 1
	}
	for i := 0; i <= last; i++ {
		bit := uint64(1) << (i & 63)
		if b[i] == '\n' {
			if int(ends[lines]) != i || int(ends2[lines]) != i {
				t.Fatalf("line end %d of %q", lines, b)
			}
			lines++
		}
		if nt[i/64]&bit != nt2[i/64]&bit {
			t.Fatalf("byte %d of %q", i, b)
		}
		if nt[i/64]&bit != 0 != !isToken(b[i]) {
			t.Fatalf("byte %d of %q: wrong class", i, b)
		}
	}
}

func TestScanFormsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	sameScan(t, all)
	sameScan(t, []byte(invite))
	for n := range 300 {
		for range 20 {
			b := make([]byte, n)
			for i := range b {
				switch r.IntN(8) {
				case 0:
					b[i] = "\r\n"[r.IntN(2)]
				case 1:
					b[i] = byte(r.IntN(256))
				default:
					b[i] = 'a'
				}
			}
			sameScan(t, b)
			if n > 3 {
				copy(b[r.IntN(n-3):], "\r\n\r\n")
				sameScan(t, b)
			}
		}
	}
	// Ends and faults at every place around a block, with the line end itself cut in two.
	for at := range 140 {
		for _, piece := range []string{"\r\n\r\n", "\n\r\n", "\r", "\n", "\x00", "\r\n\r", "\n\n", "\r\r\n\r\n"} {
			b := append(make([]byte, 0, 400), make([]byte, at)...)
			for i := range b {
				b[i] = 'x'
			}
			b = append(b, piece...)
			for len(b) < 200 {
				sameScan(t, b)
				b = append(b, 'y')
			}
		}
	}
}
