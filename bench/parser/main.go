// Command parser takes the time of sipedge's parser beside that of github.com/emiago/sipgo, on the same messages, in the same
// process, in turns. It is a module of its own, so that sipedge does not depend on sipgo.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"sipedge/parser"
	"sipedge/parser/parsertest"

	"github.com/emiago/sipgo/sip"
)

func main() {
	count := flag.Int("messages", 1024, "how many different messages; fewer than 1000 flatter both parsers")
	rounds := flag.Int("rounds", 15, "how many turns each parser gets; the medians count")
	length := flag.Duration("length", 150*time.Millisecond, "how long one turn is, about")
	seed := flag.Uint64("seed", 1, "which mix")
	flag.Parse()
	runtime.GOMAXPROCS(1) // one core, and what the collector takes counts

	mix := parsertest.Mix(*count, *seed)
	total := 0
	for _, m := range mix {
		total += len(m.Data)
	}
	fmt.Printf("%d messages, mean %d bytes, %s, GOMAXPROCS %d\n", len(mix), total/len(mix), runtime.Version(), runtime.GOMAXPROCS(0))

	ours, theirs := newOurs(), newTheirs()
	for _, m := range mix {
		if err := compare(m.Data, ours, theirs); err != nil {
			fmt.Fprintf(os.Stderr, "the parsers do not agree: %v\n%s\n", err, m.Data)
			os.Exit(1)
		}
	}

	runs := [3][]float64{}
	for range *rounds {
		for i, parse := range [3]func([]byte){ours.parse, theirs.parse, ours.parse} {
			parser.SetPortable(i == 2)
			runs[i] = append(runs[i], take(mix, parse, *length))
		}
		parser.SetPortable(false)
	}
	a, b := median(runs[0]), median(runs[1])
	fmt.Printf("lowest: parser %.0f, sipgo %.0f ns/message\n", slices.Min(runs[0]), slices.Min(runs[1]))
	fmt.Printf("scan by %s; with the portable scan: %.0f ns/message, lowest %.0f\n", parser.Acceleration(), median(runs[2]), slices.Min(runs[2]))
	fmt.Printf("parser: %.0f ns/message, sipgo: %.0f ns/message, ratio %.2f, allocs %.0f\n", a, b, b/a, allocs(mix, ours.parse))
}

// take parses the mix over and over for about length of CPU time and returns nanoseconds of it per message.
func take(mix []parsertest.Message, parse func([]byte), length time.Duration) float64 {
	for _, m := range mix {
		parse(m.Data) // caches warm, as they are under load
	}
	n := 0
	start := cpuTime()
	for cpuTime()-start < length {
		for _, m := range mix {
			parse(m.Data)
		}
		n += len(mix)
	}
	return float64((cpuTime() - start).Nanoseconds()) / float64(n)
}

// cpuTime is the user and system time of the whole process, the garbage collector's included. On an idle machine and with
// GOMAXPROCS 1 it goes like the clock; on a busy one it leaves out what others took.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// allocs is the number of heap allocations per message.
func allocs(mix []parsertest.Message, parse func([]byte)) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 10 {
		for _, m := range mix {
			parse(m.Data)
		}
	}
	runtime.ReadMemStats(&after)
	return float64((after.Mallocs - before.Mallocs) / uint64(10*len(mix)))
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// ours is sipedge's parser. Parse extracts all that a proxy needs, and indexes all headers.
type ours struct{ m parser.Message }

func newOurs() *ours { return new(ours) }

func (o *ours) parse(b []byte) {
	if err := parser.Parse(b, &o.m); err.Code != parser.ErrNone {
		panic(err.String())
	}
}

// theirs is sipgo's parser, with the headers it has ready of its own accord: Via, From, To, Call-ID, CSeq, Max-Forwards, Content-Length, Contact and
// Route. It makes a new message each time; there is no other way to use it.
type theirs struct {
	p *sip.Parser
	m sip.Message
}

func newTheirs() *theirs { return &theirs{p: sip.NewParser()} }

func (t *theirs) parse(b []byte) {
	m, err := t.p.ParseSIP(b)
	if err != nil {
		panic(err)
	}
	t.m = m
}

// compare has both read one message and checks that what a proxy needs is the same: so neither is fast by leaving something out.
func compare(b []byte, o *ours, t *theirs) error {
	o.parse(b)
	t.parse(b)
	m := &o.m
	if bytes.Contains(b[:m.HeaderEnd], []byte("\r\n ")) {
		return nil // sipgo does not unfold: it reads the message, and a parameter on a folded line as " tag"
	}
	in := func(s parser.Span) string { return string(s.In(b)) }
	var err error
	same := func(what string, got, want any) {
		// sipgo takes the brackets off an IPv6 reference in a Via only
		got, want = strings.Trim(fmt.Sprint(got), "[]"), strings.Trim(fmt.Sprint(want), "[]")
		if got != want && err == nil {
			err = fmt.Errorf("%s: %v here, %v there", what, got, want)
		}
	}
	h := t.m.(interface {
		Via() *sip.ViaHeader
		From() *sip.FromHeader
		To() *sip.ToHeader
		CallID() *sip.CallIDHeader
		CSeq() *sip.CSeqHeader
		MaxForwards() *sip.MaxForwardsHeader
		ContentLength() *sip.ContentLengthHeader
		Contact() *sip.ContactHeader
		Route() *sip.RouteHeader
		Body() []byte
	})
	if r, ok := t.m.(*sip.Request); ok {
		same("method", in(m.MethodName), r.Method)
		same("Request-URI user", in(m.URI.User), r.Recipient.User)
		same("Request-URI host", in(m.URI.Host), r.Recipient.Host)
		same("Request-URI port", m.URI.Port, r.Recipient.Port)
	} else if r, ok := t.m.(*sip.Response); ok {
		same("status", m.Status, r.StatusCode)
	}
	branch, _ := h.Via().Params.Get("branch")
	same("Via host", in(m.Via.Host), h.Via().Host)
	same("Via port", m.Via.Port, h.Via().Port)
	same("branch", in(m.Via.Branch), branch)
	fromTag, _ := h.From().Params.Get("tag")
	same("From tag", in(m.From.Tag), fromTag)
	same("From user", in(m.From.URI.User), h.From().Address.User)
	same("From host", in(m.From.URI.Host), h.From().Address.Host)
	toTag, _ := h.To().Params.Get("tag")
	same("To tag", in(m.To.Tag), toTag)
	same("To host", in(m.To.URI.Host), h.To().Address.Host)
	same("Call-ID", in(m.CallID), h.CallID().Value())
	same("CSeq", m.CSeq.Number, h.CSeq().SeqNo)
	same("CSeq method", in(m.CSeq.MethodName), h.CSeq().MethodName)
	same("Max-Forwards", m.Has(parser.HeaderMaxForwards), h.MaxForwards() != nil)
	if h.MaxForwards() != nil {
		same("Max-Forwards", m.MaxForwards, h.MaxForwards().Val())
	}
	same("Content-Length", m.Has(parser.HeaderContentLength), h.ContentLength() != nil)
	if c := h.Contact(); c != nil {
		same("Contact host", in(m.Contact.URI.Host), c.Address.Host)
		same("Contact port", m.Contact.URI.Port, c.Address.Port)
	} else {
		same("Contact", m.Has(parser.HeaderContact), false)
	}
	if r := h.Route(); r != nil {
		same("Route host", in(m.Route.URI.Host), r.Address.Host)
		same("Route port", m.Route.URI.Port, r.Address.Port)
	} else {
		same("Route", m.Has(parser.HeaderRoute), false)
	}
	same("body", string(b[m.BodyOff:m.BodyOff+m.BodyLen]), string(h.Body()))
	return err
}
