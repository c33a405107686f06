package parsertest

import (
	"bytes"
	"testing"

	"sipedge/parser"
)

// The mix has to be what its doc says, or the figures taken on it mean something else.
func TestMix(t *testing.T) {
	mix := Mix(2048, 1)
	var m parser.Message
	seen := map[string]bool{}
	kinds := map[string]int{}
	total, requests, lines := 0, 0, 0
	for _, x := range mix {
		if err := parser.Parse(x.Data, &m); err.Code != parser.ErrNone {
			t.Fatalf("%v\n%s", err, x.Data)
		}
		if seen[string(x.Data)] {
			t.Fatalf("twice:\n%s", x.Data)
		}
		seen[string(x.Data)] = true
		kinds[x.Kind]++
		total += len(x.Data)
		lines += m.HeaderCount()
		if m.Request {
			requests++
		}
	}
	if mean := total / len(mix); mean < 740 || mean > 800 {
		t.Errorf("the mean is %d bytes", mean)
	}
	if requests < len(mix)*2/5 || requests > len(mix)*3/5 {
		t.Errorf("%d of %d are requests", requests, len(mix))
	}
	if len(kinds) != len(Kinds()) {
		t.Errorf("%d kinds of %d", len(kinds), len(Kinds()))
	}
	t.Logf("mean %d bytes, %.1f header lines, %d requests", total/len(mix), float64(lines)/float64(len(mix)), requests)
	for i, x := range Mix(2048, 1) {
		if !bytes.Equal(x.Data, mix[i].Data) {
			t.Fatal("the same seed gives another mix")
		}
	}
}
