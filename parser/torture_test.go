package parser

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// rfc4475 is the verdict on each message of RFC 4475, in the order of its sections. Fields of each are in the golden files
// beside the messages. Where the RFC leaves a choice, the note says what was chosen.
var rfc4475 = []struct {
	name, section string
	code          ErrorCode
	status        uint16
	note          string
}{
	{"wsinv", "3.1.1.1", ErrNone, 0, ""},
	{"intmeth", "3.1.1.2", ErrNone, 0, "NUL as a quoted-pair is no fault"},
	{"esc01", "3.1.1.3", ErrNone, 0, ""},
	{"escnull", "3.1.1.4", ErrNone, 0, ""},
	{"esc02", "3.1.1.5", ErrNone, 0, "the method is not REGISTER, the header not Contact"},
	{"lwsdisp", "3.1.1.6", ErrNone, 0, ""},
	{"longreq", "3.1.1.7", ErrNone, 0, ""},
	{"dblreq", "3.1.1.8", ErrNone, 0, "what is behind the body is left alone"},
	{"semiuri", "3.1.1.9", ErrNone, 0, ""},
	{"transports", "3.1.1.10", ErrNone, 0, ""},
	{"mpart01", "3.1.1.11", ErrNone, 0, ""},
	{"unreason", "3.1.1.12", ErrNone, 0, ""},
	{"noreason", "3.1.1.13", ErrNone, 0, ""},
	{"badinv01", "3.1.2.1", ErrViaParams, 400, ""},
	{"clerr", "3.1.2.2", ErrBodyTruncated, 400, "a stream waits for more"},
	{"ncl", "3.1.2.3", ErrContentLength, 400, ""},
	{"scalar02", "3.1.2.4", ErrCSeqNumber, 400, ""},
	{"scalarlg", "3.1.2.5", ErrCSeqNumber, 400, "a response, so it is dropped"},
	{"quotbal", "3.1.2.6", ErrTo, 400, "no closing quote is guessed"},
	{"ltgtruri", "3.1.2.7", ErrRequestURI, 400, "choice: refused"},
	{"lwsruri", "3.1.2.8", ErrRequestURI, 400, ""},
	{"lwsstart", "3.1.2.9", ErrRequestLine, 400, "choice: refused, since what is relayed has to be right"},
	{"trws", "3.1.2.10", ErrRequestLine, 400, "choice: refused, likewise"},
	{"escruri", "3.1.2.11", ErrRequestURI, 400, "choice: refused"},
	{"baddate", "3.1.2.12", ErrNone, 0, "choice: a proxy does not read Date"},
	{"regbadct", "3.1.2.13", ErrNone, 0, "choice: read; Angle and URI.Headers tell the registrar, which may refuse"},
	{"badaspec", "3.1.2.14", ErrTo, 400, "choice: refused"},
	{"baddn", "3.1.2.15", ErrNoHeaderEnd, 0, "the archived file has no empty line"},
	{"baddn_crlf", "3.1.2.15", ErrFrom, 400, "choice: refused; not of the RFC: baddn with the empty line"},
	{"badvers", "3.1.2.16", ErrVersion, 505, ""},
	{"mismatch01", "3.1.2.17", ErrCSeqMethod, 400, ""},
	{"mismatch02", "3.1.2.18", ErrCSeqMethod, 400, "choice: 400, not 501, which is not a proxy's"},
	{"bigcode", "3.1.2.19", ErrStatus, 0, ""},
	{"badbranch", "3.2.1", ErrNone, 0, "an empty id behind the cookie: transactions match it as RFC 2543 has it"},
	{"insuf", "3.3.1", ErrNoFrom, 400, ""},
	{"unkscm", "3.3.2", ErrNone, 0, "SchemeOther: 416 is the router's"},
	{"novelsc", "3.3.3", ErrNone, 0, "likewise"},
	{"unksm2", "3.3.4", ErrNone, 0, ""},
	{"bext01", "3.3.5", ErrNone, 0, ""},
	{"invut", "3.3.6", ErrNone, 0, ""},
	{"regaut01", "3.3.7", ErrNone, 0, ""},
	{"multi01", "3.3.8", ErrDuplicate, 400, ""},
	{"mcl01", "3.3.9", ErrDuplicateContentLength, 400, ""},
	{"bcast", "3.3.10", ErrNone, 0, ""},
	{"zeromf", "3.3.11", ErrNone, 0, "483 is the router's"},
	{"cparam01", "3.3.12", ErrNone, 0, ""},
	{"cparam02", "3.3.13", ErrNone, 0, ""},
	{"regescrt", "3.3.14", ErrNone, 0, ""},
	{"sdp01", "3.3.15", ErrNone, 0, ""},
	{"inv2543", "3.4.1", ErrNone, 0, "without Content-Length the body takes the rest"},
	{"test", "", ErrStartLine, 0, "in the archive, not in the text: no SIP-Version"},
}

// TestRFC4475 reads all messages of the RFC: 49 described ones, "test" of its archive, and baddn_crlf.
func TestRFC4475(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil || len(files) != 51 || len(rfc4475) != len(files) {
		t.Fatalf("%d files, %d verdicts, %v", len(files), len(rfc4475), err)
	}
	for _, c := range rfc4475 {
		t.Run(c.name, func(t *testing.T) {
			b, err := os.ReadFile("testdata/rfc4475/" + c.name + ".dat")
			if err != nil {
				t.Fatal(err)
			}
			checkMessage(t, b, c.code, c.status, "testdata/rfc4475/"+c.name+".golden")
		})
	}
}

// checkMessage parses b and compares verdict and fields, and does so in each delivery.
func checkMessage(t *testing.T, b []byte, code ErrorCode, status uint16, file string) {
	t.Helper()
	original := bytes.Clone(b)
	var m Message
	got := Parse(b, &m)
	if got != m.Err || got.Code != code || got.Code.Status() != status {
		t.Errorf("verdict %v (%d), want %v (%d)", got, got.Code.Status(), code, status)
	}
	golden(t, file, dump(b, &m))
	if !bytes.Equal(b, original) {
		t.Error("the input was written to")
	}
	var e Edits
	if m.Err.Class() != ClassUnreadable && !bytes.Equal(e.AppendTo(nil, b, int(m.Len)), b[:m.Len]) {
		t.Error("rendered without edits, it is another message")
	}
	agree(t, b)
}

// rfc5118 is the verdict on each message of RFC 5118.
var rfc5118 = []struct {
	name, section string
	code          ErrorCode
	status        uint16
}{
	{"ipv6-good", "4.1", ErrNone, 0},
	{"ipv6-bad", "4.2", ErrRequestURI, 400},
	{"port-ambiguous", "4.3", ErrNone, 0},
	{"port-unambiguous", "4.4", ErrNone, 0},
	{"via-received-param-with-delim", "4.5", ErrNone, 0},
	{"via-received-param-no-delim", "4.5", ErrNone, 0},
	{"ipv6-in-sdp", "4.6", ErrBodyTruncated, 400}, // the RFC's own message has 251 bytes of body and claims 268
	{"mult-ip-in-header", "4.7", ErrNone, 0},
	{"mult-ip-in-sdp", "4.8", ErrNone, 0},
	{"ipv4-mapped-ipv6", "4.9", ErrNone, 0},
	{"ipv6-bug-abnf-3-colons", "4.10", ErrNone, 0},
	{"ipv6-correct-abnf-2-colons", "4.10", ErrNone, 0},
}

// TestRFC5118 reads all messages of the RFC. Its archive has them with LF for CRLF, and the two of section 4.10 without an empty line behind the
// headers: as they are, no header section of theirs ends. They are read with both put right.
func TestRFC5118(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc5118/*.lf")
	if err != nil || len(files) != 12 || len(rfc5118) != len(files) {
		t.Fatalf("%d files, %d verdicts, %v", len(files), len(rfc5118), err)
	}
	for _, c := range rfc5118 {
		t.Run(c.name, func(t *testing.T) {
			b, err := os.ReadFile("testdata/rfc5118/" + c.name + ".lf")
			if err != nil {
				t.Fatal(err)
			}
			var m Message
			if got := Parse(b, &m); got.Code != ErrNoHeaderEnd {
				t.Errorf("with LF alone: %v", got)
			}
			b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
			if !bytes.Contains(b, []byte("\r\n\r\n")) {
				b = append(b, "\r\n"...)
			}
			checkMessage(t, b, c.code, c.status, "testdata/rfc5118/"+c.name+".golden")
			if c.code == ErrBodyTruncated {
				b = bytes.Replace(b, []byte("Content-Length: 268"), []byte("Content-Length: 251"), 1)
				if got := Parse(b, &m); got.Code != ErrNone || int(m.Len) != len(b) {
					t.Errorf("with the right length: %v", got)
				}
			}
		})
	}
}

// agree feeds b to a Framer whole, byte by byte, and followed by more, and compares with Parse.
func agree(t *testing.T, b []byte) {
	t.Helper()
	start := KeepAlive(b)
	msg := b[start:]
	var m Message
	err := Parse(msg, &m)

	whole, wholeErr, wholeLen := frameAll(msg, len(msg))
	split, splitErr, splitLen := frameAll(msg, 1)
	if whole != split || wholeErr != splitErr || wholeLen != splitLen {
		t.Fatalf("whole: %d %v %d; split: %d %v %d", whole, wholeErr, wholeLen, split, splitErr, splitLen)
	}
	switch {
	case err.Code == ErrEmpty || len(msg) == 0:
	case err.Code == ErrNoHeaderEnd || err.Code == ErrBodyTruncated:
		if whole != FrameMore && wholeErr.Code != ErrMessageSize {
			t.Fatalf("datagram: %v; stream: %d %v", err, whole, wholeErr)
		}
	case wholeErr.Code == ErrNoContentLength || wholeErr.Code == ErrMessageSize:
		if m.Has(HeaderContentLength) && wholeErr.Code == ErrNoContentLength {
			t.Fatalf("datagram: %v; stream: %v", err, wholeErr)
		}
	case whole == FrameMore:
		// The first fault is another, and the body is not all there: a datagram says so at once.
		if !m.broken {
			t.Fatalf("datagram: %v; stream waits", err)
		}
	default:
		if whole == FrameMessage && (m.broken && m.Has(HeaderContentLength) || int(m.Len) != wholeLen) {
			t.Fatalf("datagram: %v, %d bytes; stream: %v, %d bytes", err, m.Len, wholeErr, wholeLen)
		}
		if err != wholeErr {
			t.Fatalf("datagram: %v; stream: %v", err, wholeErr)
		}
	}
	if whole == FrameMessage {
		var again Message
		if got := Parse(msg[:wholeLen], &again); got != wholeErr || int(again.Len) != wholeLen {
			t.Fatalf("the framed bytes alone: %v, %d bytes; the stream said %v, %d bytes", got, again.Len, wholeErr, wholeLen)
		}
		more := append(bytes.Clone(msg[:wholeLen]), "INVITE sip:x@y SIP/2.0\r\n"...)
		if f, e, n := frameAll(more, len(more)); f != whole || e != wholeErr || n != wholeLen {
			t.Fatalf("followed by more: %d %v %d", f, e, n)
		}
	}
}

// frameAll shows b to a Framer in pieces and returns the first frame that is not more.
func frameAll(b []byte, piece int) (Frame, Error, int) {
	var f Framer
	var m Message
	for n := min(piece, len(b)); n > 0; n = min(n+piece, len(b)) {
		length, frame := f.Next(b[:n:n], &m)
		if frame == FrameBroken {
			return frame, m.Err, 0
		}
		if frame != FrameMore {
			return frame, m.Err, length
		}
		if n == len(b) {
			break
		}
	}
	return FrameMore, Error{}, 0
}
