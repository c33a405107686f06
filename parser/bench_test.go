package parser_test

import (
	"testing"

	"sipedge/parser"
	"sipedge/parser/parsertest"
)

// BenchmarkParse takes the mix first: it is the figure that counts. The kinds alone show where time goes; each has 256 different messages.
func BenchmarkParse(b *testing.B) {
	mix := parsertest.Mix(1024, 1)
	all := make([][]byte, len(mix))
	for i, m := range mix {
		all[i] = m.Data
	}
	b.Run("mix", func(b *testing.B) { parseAll(b, all) })
	for _, kind := range parsertest.Kinds() {
		b.Run(kind, func(b *testing.B) { parseAll(b, parsertest.OfKind(kind, 256, 1)) })
	}
}

func parseAll(b *testing.B, messages [][]byte) {
	total := 0
	for _, m := range messages {
		total += len(m)
	}
	b.SetBytes(int64(total / len(messages)))
	b.ReportAllocs()
	var m parser.Message
	i := 0
	for b.Loop() {
		if err := parser.Parse(messages[i], &m); err.Code != parser.ErrNone {
			b.Fatal(err)
		}
		if i++; i == len(messages) {
			i = 0
		}
	}
}
