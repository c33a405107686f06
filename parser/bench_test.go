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

// BenchmarkRender renders what a proxy sends for each message of the mix: from the edits, and from the marshalled form that is kept for retransmission.
func BenchmarkRender(b *testing.B) {
	type job struct {
		data, kept []byte
		edits      parser.Edits
		end        int
	}
	var jobs []*job
	total := 0
	for _, x := range parsertest.Mix(256, 1) {
		var m parser.Message
		parser.Parse(x.Data, &m)
		j := &job{data: x.Data, end: int(m.Len)}
		proxy(x.Data, &m, &j.edits)
		j.kept = j.edits.Marshal(nil)
		jobs = append(jobs, j)
		total += len(x.Data)
	}
	out := make([]byte, 0, 1<<16)
	run := func(name string, f func(j *job)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(total / len(jobs)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				f(jobs[i])
				if i++; i == len(jobs) {
					i = 0
				}
			}
		})
	}
	run("edits", func(j *job) { sinkBytes = j.edits.AppendTo(out, j.data, j.end) })
	run("marshalled", func(j *job) { sinkBytes = parser.AppendEdited(out, j.data, j.end, j.kept) })
	run("copy", func(j *job) { sinkBytes = append(out, j.data...) })
}

// BenchmarkFramer takes messages from a stream, each whole and each in two segments.
func BenchmarkFramer(b *testing.B) {
	var all [][]byte
	var m parser.Message
	for _, x := range parsertest.Mix(256, 1) {
		if parser.Parse(x.Data, &m); m.Has(parser.HeaderContentLength) {
			all = append(all, x.Data)
		}
	}
	for _, pieces := range []int{1, 2} {
		b.Run([]string{1: "whole", 2: "halves"}[pieces], func(b *testing.B) {
			b.ReportAllocs()
			var f parser.Framer
			i := 0
			for b.Loop() {
				data := all[i]
				if pieces == 2 {
					f.Next(data[:len(data)/2], &m)
				}
				if _, frame := f.Next(data, &m); frame != parser.FrameMessage {
					b.Fatal(frame, m.Err)
				}
				if i++; i == len(all) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkForms is Parse of the mix with either form of the scan.
func BenchmarkForms(b *testing.B) {
	for _, portable := range []bool{false, true} {
		b.Run(map[bool]string{false: parser.Acceleration(), true: "portable"}[portable], func(b *testing.B) {
			parser.SetPortable(portable)
			defer parser.SetPortable(false)
			var all [][]byte
			for _, x := range parsertest.Mix(1024, 1) {
				all = append(all, x.Data)
			}
			parseAll(b, all)
		})
	}
}
