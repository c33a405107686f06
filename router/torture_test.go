package router

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sipedge/parser"
)

// torture is what becomes of the messages of RFC 4475 and RFC 5118 at a proxy with a next hop that is no open relay: "forwarded", "dropped", or
// the status they are answered with.
var torture = map[string]string{
	"badaspec":                      "400",
	"badbranch":                     "forwarded",
	"baddate":                       "forwarded",
	"baddn":                         "dropped",
	"baddn_crlf":                    "400",
	"badinv01":                      "400",
	"badvers":                       "505",
	"bcast":                         "dropped", // a response that is not ours
	"bext01":                        "420",     // Proxy-Require
	"bigcode":                       "dropped",
	"clerr":                         "400",
	"cparam01":                      "forwarded",
	"cparam02":                      "forwarded",
	"dblreq":                        "forwarded",
	"esc01":                         "forwarded",
	"esc02":                         "forwarded",
	"escnull":                       "forwarded",
	"escruri":                       "400",
	"insuf":                         "400",
	"intmeth":                       "forwarded",
	"inv2543":                       "forwarded",
	"invut":                         "forwarded",
	"ipv4-mapped-ipv6":              "forwarded",
	"ipv6-bad":                      "400",
	"ipv6-bug-abnf-3-colons":        "forwarded",
	"ipv6-correct-abnf-2-colons":    "forwarded",
	"ipv6-good":                     "forwarded",
	"ipv6-in-sdp":                   "400",
	"longreq":                       "forwarded",
	"ltgtruri":                      "400",
	"lwsdisp":                       "forwarded",
	"lwsruri":                       "400",
	"lwsstart":                      "400",
	"mcl01":                         "400",
	"mismatch01":                    "400",
	"mismatch02":                    "400",
	"mpart01":                       "403", // a Route of no dialog of ours, and no open relay
	"mult-ip-in-header":             "forwarded",
	"mult-ip-in-sdp":                "forwarded",
	"multi01":                       "400",
	"ncl":                           "400",
	"noreason":                      "dropped", // likewise
	"novelsc":                       "416",
	"port-ambiguous":                "forwarded",
	"port-unambiguous":              "forwarded",
	"quotbal":                       "400",
	"regaut01":                      "forwarded",
	"regbadct":                      "forwarded",
	"regescrt":                      "forwarded",
	"scalar02":                      "400",
	"scalarlg":                      "dropped",
	"sdp01":                         "forwarded",
	"semiuri":                       "forwarded",
	"test":                          "dropped",
	"transports":                    "forwarded",
	"trws":                          "400",
	"unkscm":                        "416",
	"unksm2":                        "forwarded",
	"unreason":                      "dropped", // likewise
	"via-received-param-no-delim":   "forwarded",
	"via-received-param-with-delim": "forwarded",
	"wsinv":                         "403", // likewise
	"zeromf":                        "483", // Max-Forwards: 0
}

// TestTorture sends all messages of both RFCs to a proxy, stateful and stateless. What it says is in the table of each in
// docs/CONFORMANCE.md.
func TestTorture(t *testing.T) {
	seen := 0
	for _, pattern := range []string{"../parser/testdata/rfc4475/*.dat", "../parser/testdata/rfc5118/*.lf"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			msg, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
			if filepath.Ext(file) == ".lf" { // as in the parser's test: CRLF, and an empty line at the end of the headers
				msg = bytes.ReplaceAll(msg, []byte("\n"), []byte("\r\n"))
				if !bytes.Contains(msg, []byte("\r\n\r\n")) {
					msg = append(msg, "\r\n"...)
				}
			}
			for _, mode := range []Mode{Stateful, Stateless} {
				if got := outcome(t, mode, msg); got != torture[name] {
					t.Errorf("%s, mode %d: %s, want %s", name, mode, got, torture[name])
				}
			}
			seen++
		}
	}
	if seen != len(torture) {
		t.Errorf("%d messages, %d verdicts", seen, len(torture))
	}
}

// outcome says what a new proxy makes of msg.
func outcome(t *testing.T, mode Mode, msg []byte) string {
	t.Helper()
	b := newBed(t, mode, RecordNever)
	n := b.receive(b.alice, bytes.Clone(msg))
	sent := b.wire.sent[:n]
	if n == 2 && bytes.HasPrefix(sent[0], []byte("SIP/2.0 100 ")) {
		sent = sent[1:]
	}
	if len(sent) == 0 {
		return "dropped"
	}
	if len(sent) > 1 {
		t.Fatalf("%d messages for one:\n%s", n, bytes.Join(sent, []byte("\n")))
	}
	out := sent[0]
	if status, ok := bytes.CutPrefix(out, []byte("SIP/2.0 ")); ok {
		return string(status[:3])
	}
	var was, is parser.Message
	parser.Parse(msg, &was)
	if err := parser.Parse(out, &is); err != was.Err && err.Code != was.Err.Code {
		t.Errorf("what was sent is read as %v, what came as %v", err, was.Err)
	}
	if !bytes.Equal(out[is.BodyOff:], msg[was.BodyOff:was.Len]) {
		t.Errorf("the body was changed: %q", out[is.BodyOff:])
	}
	for i := range was.HeaderCount() {
		switch was.HeaderAt(i).ID {
		case parser.HeaderVia, parser.HeaderRoute, parser.HeaderMaxForwards, parser.HeaderMaxBreadth:
		default:
			if line := was.LineSpan(i).In(msg); !bytes.Contains(out, line) {
				t.Errorf("the line %q was changed", line)
			}
		}
	}
	return "forwarded"
}
