package main

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"

	"sipedge/config"
)

// A panic that comes back is written once; another one is written too; a flood neither blocks nor fills.
func TestPanicLog(t *testing.T) {
	var out bytes.Buffer
	p := newPanicLog(newLog(&config.Config{LogFormat: config.LogJSON}, &out))
	packet := append([]byte("INVITE sip:bob@example.com SIP/2.0\r\n"), bytes.Repeat([]byte("x"), 2*panicPacket)...)
	here := func(what string) { p.report(1, what, debug.Stack(), packet) }
	for range 1000 {
		here("first place")
	}
	p.close()
	text := out.String()
	if n := strings.Count(text, "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
	if missing := lacks(text, "first place", "TestPanicLog", "INVITE sip:bob", `"loop":1`); missing != nil {
		t.Errorf("%q lacks %q", text, missing)
	}
	if len(text) > 3*panicPacket {
		t.Errorf("%d characters", len(text))
	}
}

func TestPanicKinds(t *testing.T) {
	var out bytes.Buffer
	p := newPanicLog(newLog(&config.Config{LogFormat: config.LogText}, &out))
	for i := range 2 * panicKinds {
		// One at a time, so that the queue does not drop any.
		p.queue <- panicReport{stack: fmt.Appendf(nil, "goroutine 7 [running]:\nf(0x%d)\n\t/src/f.go:%d +0x1d\n", i, i/2)}
	}
	p.close()
	if n := strings.Count(out.String(), "\n"); n != panicKinds {
		t.Errorf("%d lines, want %d", n, panicKinds)
	}
}
