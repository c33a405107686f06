package txn

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"sipedge/transport"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from the table; got\n%s", path, got)
	}
}

var timerNames = [16]string{
	"arm A", "arm B", "arm D", "arm E", "arm E at T2", "arm F", "arm G", "arm H",
	"arm I", "arm J", "arm K", "arm L", "arm M", "arm 100", "stop retransmit", "stop deadline",
}

func (w timers) String() string {
	if w == keep {
		return "-"
	}
	var names []string
	for i, name := range timerNames {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// TestFigures prints each table beside the figure it stands for, so that a reviewer compares the
// golden file with the RFC.
func TestFigures(t *testing.T) {
	figures := [numKinds]struct{ file, title string }{
		InviteServer:    {"figure7.golden", "INVITE server transaction: RFC 3261 figure 7 as of RFC 6026 section 8.6"},
		NonInviteServer: {"figure8.golden", "non-INVITE server transaction: RFC 3261 figure 8, RFC 4320 section 4, RFC 6026 section 8.8"},
		InviteClient:    {"figure5.golden", "INVITE client transaction: RFC 3261 figure 5 as of RFC 6026 section 8.4, RFC 3261 section 9.1"},
		NonInviteClient: {"figure6.golden", "non-INVITE client transaction: RFC 3261 figure 6"},
	}
	for kind, f := range figures {
		t.Run(Kind(kind).String(), func(t *testing.T) {
			golden(t, f.file, f.title+"\n"+draw(Kind(kind)))
		})
	}
}

func draw(kind Kind) string {
	var b strings.Builder
	row := func(event string, s step) {
		fmt.Fprintf(&b, "  %-15s %-32s %-31s %v\n", event, s.do, s.timers, s.to)
	}
	fmt.Fprintf(&b, "\n  %-15s %-32s %-31s %s\n\nstart\n", "event", "action", "timers", "next state")
	row("request", starts[kind])
	for state := range numStates {
		cells := &tables[kind][state]
		if *cells == ([numInputs]step{}) {
			continue
		}
		fmt.Fprintf(&b, "\n%v\n", state)
		for in := range numInputs {
			if cells[in].to != None {
				row(in.String(), cells[in])
			} else if cells[in] != (step{}) {
				fmt.Fprintf(&b, "  %v: BROKEN CELL without a next state\n", in)
			}
		}
	}
	return b.String()
}

// TestTablesAreWhole walks each table from its start: every state that is drawn is reached, every
// state but Terminated has a way out, Terminate comes with the entry to Terminated and only there, and
// leaving a state never leaves a retransmit timer behind that the next state does not fire.
func TestTablesAreWhole(t *testing.T) {
	for kind := range numKinds {
		reached := map[State]bool{starts[kind].to: true}
		todo := []State{starts[kind].to}
		for len(todo) > 0 {
			from := todo[0]
			todo = todo[1:]
			out := false
			for in, s := range tables[kind][from] {
				if s.to == None {
					continue
				}
				if (s.do&Terminate != 0) != (s.to == Terminated) {
					t.Errorf("%v: %v on %v: Terminate and Terminated do not come together", kind, from, Input(in))
				}
				fires := tables[kind][s.to][FireRetransmit].to != None
				if s.to != from && Input(in) != FireRetransmit && tables[kind][from][FireRetransmit].to != None && !fires && s.timers&stopRetransmit == 0 {
					t.Errorf("%v: %v on %v to %v leaves the retransmit timer armed", kind, from, Input(in), s.to)
				}
				out = out || s.to != from
				if !reached[s.to] {
					reached[s.to] = true
					todo = append(todo, s.to)
				}
			}
			if from == Terminated && out || from != Terminated && !out {
				t.Errorf("%v: %v: way out is %v", kind, from, out)
			}
		}
		for state := range numStates {
			if drawn := tables[kind][state] != ([numInputs]step{}); drawn && !reached[state] {
				t.Errorf("%v: %v is drawn and never reached", kind, state)
			}
		}
		if !reached[Terminated] {
			t.Errorf("%v never ends", kind)
		}
	}
}

func TestMachineSize(t *testing.T) {
	if size := unsafe.Sizeof(Machine{}); size != 24 {
		t.Errorf("a Machine is %d bytes; 24 were planned for", size)
	}
}

// clock runs one machine on a simulated clock and writes down what it does, as "500ms Resend".
type clock struct {
	m   Machine
	t   Timers
	now transport.Instant
	log []string
}

const epoch = transport.Instant(1e9) // a machine must not depend on time beginning at zero

func startClock(kind Kind, proto transport.Protocol, t Timers) *clock {
	c := &clock{t: t, now: epoch}
	c.note("start", c.m.Start(kind, proto.Reliable(), c.now, &c.t))
	return c
}

func (c *clock) note(what string, do Action) {
	at := c.now.Sub(epoch)
	c.log = append(c.log, fmt.Sprintf("%v %s: %v; %v", at, what, do, c.m.State))
}

// until fires every timer on time up to at.
func (c *clock) until(at time.Duration) *clock {
	end := epoch.Add(at)
	for next := c.m.Next(); next != 0 && next <= end; next = c.m.Next() {
		c.now = next
		c.note("timer", c.m.Expire(c.now, &c.t))
	}
	c.now = end
	return c
}

// at lets an event happen at a time, after all timers due before.
func (c *clock) at(at time.Duration, in Input) *clock {
	c.until(at)
	c.note(in.String(), c.m.Step(in, c.now, &c.t))
	return c
}

func (c *clock) want(t *testing.T, lines ...string) {
	t.Helper()
	got, want := strings.Join(c.log, "\n"), strings.Join(lines, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if c.m.State == Terminated && c.m.Next() != 0 {
		t.Errorf("terminated with a timer armed")
	}
}

const (
	ms  = time.Millisecond
	sec = time.Second
)

func TestTimerAAndB(t *testing.T) {
	// "a client transaction will send seven requests in the case of an unreliable transport" in 64*T1.
	startClock(InviteClient, transport.UDP, DefaultTimers()).until(100*sec).want(t,
		"0s start: Send; Calling",
		"500ms timer: Resend; Calling",
		"1.5s timer: Resend; Calling",
		"3.5s timer: Resend; Calling",
		"7.5s timer: Resend; Calling",
		"15.5s timer: Resend; Calling",
		"31.5s timer: Resend; Calling",
		"32s timer: InformTimeout Terminate; Terminated")
	startClock(InviteClient, transport.TCP, DefaultTimers()).until(100*sec).want(t,
		"0s start: Send; Calling",
		"32s timer: InformTimeout Terminate; Terminated")
}

func TestTimerAAndBStopAtProvisional(t *testing.T) {
	startClock(InviteClient, transport.UDP, DefaultTimers()).
		at(600*ms, Recv1xx).at(40*sec, Recv1xx).until(1000*sec).want(t,
		"0s start: Send; Calling",
		"500ms timer: Resend; Calling",
		"600ms Recv1xx: Inform; Proceeding",
		"40s Recv1xx: Inform; Proceeding")
}

func TestTimerDAnswersEachCopyWithACK(t *testing.T) {
	startClock(InviteClient, transport.UDP, DefaultTimers()).
		at(100*ms, Recv1xx).at(2*sec, Recv3to6xx).at(2500*ms, Recv3to6xx).at(3*sec, Recv2xx).at(4*sec, Recv1xx).
		until(100*sec).want(t,
		"0s start: Send; Calling",
		"100ms Recv1xx: Inform; Proceeding",
		"2s Recv3to6xx: SendACK Inform; Completed",
		"2.5s Recv3to6xx: SendACK; Completed",
		"3s Recv2xx: -; Completed",
		"4s Recv1xx: -; Completed",
		"34s timer: Terminate; Terminated")
	startClock(InviteClient, transport.TLS, DefaultTimers()).at(100*ms, Recv3to6xx).want(t,
		"0s start: Send; Calling",
		"100ms Recv3to6xx: SendACK Inform Terminate; Terminated")
}

func TestTimerDIsAtLeast32Seconds(t *testing.T) {
	for _, test := range []struct{ t1, want time.Duration }{
		{100 * ms, 32 * sec}, {500 * ms, 32 * sec}, {sec, 64 * sec},
	} {
		timers := Timers{T1: test.t1, T2: 4 * sec, T4: 5 * sec, C: 180 * sec}
		c := startClock(InviteClient, transport.UDP, timers).at(ms, Recv3to6xx)
		if got := c.m.Next().Sub(epoch) - ms; got != test.want {
			t.Errorf("T1 %v: timer D is %v, want %v", test.t1, got, test.want)
		}
	}
}

func TestTimerDEndsWithTransportError(t *testing.T) {
	startClock(InviteClient, transport.UDP, DefaultTimers()).at(ms, Recv3to6xx).at(2*ms, TransportError).want(t,
		"0s start: Send; Calling",
		"1ms Recv3to6xx: SendACK Inform; Completed",
		"2ms TransportError: InformTransportError Terminate; Terminated")
}

func TestTimerMPassesEach2xx(t *testing.T) {
	for _, proto := range []transport.Protocol{transport.UDP, transport.TCP} {
		startClock(InviteClient, proto, DefaultTimers()).
			at(100*ms, Recv2xx).at(600*ms, Recv2xx).at(700*ms, Recv3to6xx).at(800*ms, Recv1xx).at(900*ms, TransportError).
			until(100*sec).want(t,
			"0s start: Send; Calling",
			"100ms Recv2xx: Inform; Accepted",
			"600ms Recv2xx: Inform; Accepted",
			"700ms Recv3to6xx: -; Accepted",
			"800ms Recv1xx: -; Accepted",
			"900ms TransportError: -; Accepted",
			"32.1s timer: Terminate; Terminated")
	}
}

func TestCancelledInviteEndsAfter64T1(t *testing.T) {
	startClock(InviteClient, transport.UDP, DefaultTimers()).
		at(100*ms, Cancelled). // no CANCEL is sent before a provisional response: section 9.1
		at(200*ms, Recv1xx).at(10*sec, Cancelled).at(11*sec, Recv1xx).until(100*sec).want(t,
		"0s start: Send; Calling",
		"100ms Cancelled: -; Calling",
		"200ms Recv1xx: Inform; Proceeding",
		"10s Cancelled: -; Proceeding",
		"11s Recv1xx: Inform; Proceeding",
		"42s timer: InformTimeout Terminate; Terminated")
	startClock(InviteClient, transport.UDP, DefaultTimers()).
		at(200*ms, Recv1xx).at(10*sec, Cancelled).at(11*sec, Recv3to6xx).until(100*sec).want(t,
		"0s start: Send; Calling",
		"200ms Recv1xx: Inform; Proceeding",
		"10s Cancelled: -; Proceeding",
		"11s Recv3to6xx: SendACK Inform; Completed",
		"43s timer: Terminate; Terminated")
}

func TestInviteClientTransportError(t *testing.T) {
	startClock(InviteClient, transport.UDP, DefaultTimers()).at(ms, TransportError).want(t,
		"0s start: Send; Calling",
		"1ms TransportError: InformTransportError Terminate; Terminated")
	startClock(InviteClient, transport.UDP, DefaultTimers()).at(ms, Recv1xx).at(2*ms, TransportError).want(t,
		"0s start: Send; Calling",
		"1ms Recv1xx: Inform; Proceeding",
		"2ms TransportError: -; Proceeding")
}

func TestTimerEAndF(t *testing.T) {
	// "this results in intervals of 500 ms, 1 s, 2 s, 4 s, 4 s, 4 s, etc." RFC 3261 section 17.1.2.2
	startClock(NonInviteClient, transport.UDP, DefaultTimers()).until(100*sec).want(t,
		"0s start: Send; Trying",
		"500ms timer: Resend; Trying",
		"1.5s timer: Resend; Trying",
		"3.5s timer: Resend; Trying",
		"7.5s timer: Resend; Trying",
		"11.5s timer: Resend; Trying",
		"15.5s timer: Resend; Trying",
		"19.5s timer: Resend; Trying",
		"23.5s timer: Resend; Trying",
		"27.5s timer: Resend; Trying",
		"31.5s timer: Resend; Trying",
		"32s timer: InformTimeout Terminate; Terminated")
	startClock(NonInviteClient, transport.TCP, DefaultTimers()).until(100*sec).want(t,
		"0s start: Send; Trying",
		"32s timer: InformTimeout Terminate; Terminated")
}

func TestTimerEInProceedingIsT2(t *testing.T) {
	startClock(NonInviteClient, transport.UDP, DefaultTimers()).
		at(600*ms, Recv1xx).until(100*sec).want(t,
		"0s start: Send; Trying",
		"500ms timer: Resend; Trying",
		"600ms Recv1xx: Inform; Proceeding",
		"1.5s timer: Resend; Proceeding", // as armed in Trying
		"5.5s timer: Resend; Proceeding",
		"9.5s timer: Resend; Proceeding",
		"13.5s timer: Resend; Proceeding",
		"17.5s timer: Resend; Proceeding",
		"21.5s timer: Resend; Proceeding",
		"25.5s timer: Resend; Proceeding",
		"29.5s timer: Resend; Proceeding",
		"32s timer: InformTimeout Terminate; Terminated")
}

func TestTimerK(t *testing.T) {
	for _, final := range []Input{Recv2xx, Recv3to6xx} {
		startClock(NonInviteClient, transport.UDP, DefaultTimers()).
			at(600*ms, final).at(700*ms, final).at(800*ms, Recv1xx).at(900*ms, TransportError).until(100*sec).want(t,
			"0s start: Send; Trying",
			"500ms timer: Resend; Trying",
			"600ms "+final.String()+": Inform; Completed",
			"700ms "+final.String()+": -; Completed",
			"800ms Recv1xx: -; Completed",
			"900ms TransportError: -; Completed",
			"5.6s timer: Terminate; Terminated")
		startClock(NonInviteClient, transport.WS, DefaultTimers()).at(600*ms, Recv1xx).at(700*ms, final).want(t,
			"0s start: Send; Trying",
			"600ms Recv1xx: Inform; Proceeding",
			"700ms "+final.String()+": Inform Terminate; Terminated")
	}
}

func TestNonInviteClientTransportError(t *testing.T) {
	startClock(NonInviteClient, transport.UDP, DefaultTimers()).at(ms, TransportError).want(t,
		"0s start: Send; Trying",
		"1ms TransportError: InformTransportError Terminate; Terminated")
	startClock(NonInviteClient, transport.UDP, DefaultTimers()).at(ms, Recv1xx).at(2*ms, TransportError).want(t,
		"0s start: Send; Trying",
		"1ms Recv1xx: Inform; Proceeding",
		"2ms TransportError: InformTransportError Terminate; Terminated")
}

func TestTimerGAndH(t *testing.T) {
	startClock(InviteServer, transport.UDP, DefaultTimers()).
		at(10*ms, Send1xx).at(sec, Send3to6xx).at(10*sec, RecvRequest).until(100*sec).want(t,
		"0s start: SendTrying Inform; Proceeding",
		"10ms Send1xx: Send; Proceeding",
		"1s Send3to6xx: Send; Completed",
		"1.5s timer: Resend; Completed",
		"2.5s timer: Resend; Completed",
		"4.5s timer: Resend; Completed",
		"8.5s timer: Resend; Completed",
		"10s RecvRequest: Resend; Completed",
		"12.5s timer: Resend; Completed",
		"16.5s timer: Resend; Completed",
		"20.5s timer: Resend; Completed",
		"24.5s timer: Resend; Completed",
		"28.5s timer: Resend; Completed",
		"32.5s timer: Resend; Completed",
		"33s timer: InformTimeout Terminate; Terminated")
	// "timer G is [...] not set to fire for reliable transports", "timer H MUST be set to fire in 64*T1
	// seconds for all transports". RFC 3261 section 17.2.1
	startClock(InviteServer, transport.TCP, DefaultTimers()).at(sec, Send3to6xx).until(100*sec).want(t,
		"0s start: SendTrying Inform; Proceeding",
		"1s Send3to6xx: Send; Completed",
		"33s timer: InformTimeout Terminate; Terminated")
}

func TestTimerI(t *testing.T) {
	startClock(InviteServer, transport.UDP, DefaultTimers()).
		at(sec, Send3to6xx).at(1600*ms, RecvACK).at(1700*ms, RecvACK).at(1800*ms, RecvRequest).at(1900*ms, Send3to6xx).
		until(100*sec).want(t,
		"0s start: SendTrying Inform; Proceeding",
		"1s Send3to6xx: Send; Completed",
		"1.5s timer: Resend; Completed",
		"1.6s RecvACK: -; Confirmed",
		"1.7s RecvACK: -; Confirmed",
		"1.8s RecvRequest: -; Confirmed",
		"1.9s Send3to6xx: -; Confirmed",
		"6.6s timer: Terminate; Terminated")
	startClock(InviteServer, transport.TCP, DefaultTimers()).at(sec, Send3to6xx).at(2*sec, RecvACK).want(t,
		"0s start: SendTrying Inform; Proceeding",
		"1s Send3to6xx: Send; Completed",
		"2s RecvACK: Terminate; Terminated")
}

func TestTimerLAbsorbsInvites(t *testing.T) {
	for _, proto := range []transport.Protocol{transport.UDP, transport.TCP} {
		startClock(InviteServer, proto, DefaultTimers()).
			at(ms, RecvRequest).at(sec, Send2xx).at(1100*ms, RecvRequest).at(1500*ms, Send2xx).at(1600*ms, RecvACK).
			at(1700*ms, Send3to6xx).at(1800*ms, Send1xx).at(1900*ms, TransportError).until(100*sec).want(t,
			"0s start: SendTrying Inform; Proceeding",
			"1ms RecvRequest: Resend; Proceeding",
			"1s Send2xx: Send; Accepted",
			"1.1s RecvRequest: -; Accepted",
			"1.5s Send2xx: Send; Accepted",
			"1.6s RecvACK: Inform; Accepted",
			"1.7s Send3to6xx: -; Accepted",
			"1.8s Send1xx: -; Accepted",
			"1.9s TransportError: InformTransportError; Accepted",
			"33s timer: Terminate; Terminated")
	}
}

func TestServersStayAfterTransportError(t *testing.T) {
	startClock(InviteServer, transport.UDP, DefaultTimers()).
		at(ms, TransportError).at(2*ms, Send3to6xx).at(3*ms, TransportError).at(4*ms, RecvRequest).want(t,
		"0s start: SendTrying Inform; Proceeding",
		"1ms TransportError: InformTransportError; Proceeding",
		"2ms Send3to6xx: Send; Completed",
		"3ms TransportError: InformTransportError; Completed",
		"4ms RecvRequest: Resend; Completed")
	startClock(NonInviteServer, transport.UDP, DefaultTimers()).
		at(ms, TransportError).at(4*sec, TransportError).at(5*sec, Send2xx).at(6*sec, TransportError).at(7*sec, RecvRequest).want(t,
		"0s start: Inform; Trying",
		"1ms TransportError: -; Trying", // nothing of this transaction has been sent yet
		"3.5s timer: SendTrying; Proceeding",
		"4s TransportError: InformTransportError; Proceeding",
		"5s Send2xx: Send; Completed",
		"6s TransportError: InformTransportError; Completed",
		"7s RecvRequest: Resend; Completed")
}

func TestTimerJ(t *testing.T) {
	for _, final := range []Input{Send2xx, Send3to6xx} {
		startClock(NonInviteServer, transport.UDP, DefaultTimers()).
			at(ms, RecvRequest).at(2*ms, final).at(sec, RecvRequest).at(2*sec, final).until(100*sec).want(t,
			"0s start: Inform; Trying",
			"1ms RecvRequest: -; Trying",
			"2ms "+final.String()+": Send; Completed",
			"1s RecvRequest: Resend; Completed",
			"2s "+final.String()+": -; Completed", // RFC 3261 section 17.2.2: other final responses "MUST be discarded"
			"32.002s timer: Terminate; Terminated")
		startClock(NonInviteServer, transport.TCP, DefaultTimers()).at(2*ms, final).want(t,
			"0s start: Inform; Trying",
			"2ms "+final.String()+": Send Terminate; Terminated")
	}
}

func TestNonInviteProvisionals(t *testing.T) {
	for _, proto := range []transport.Protocol{transport.UDP, transport.TCP} {
		startClock(NonInviteServer, proto, DefaultTimers()).
			at(sec, Send1xx).at(3*sec, RecvRequest).at(4*sec, RecvRequest).at(5*sec, Send1xx).at(40*sec, RecvRequest).want(t,
			"0s start: Inform; Trying",
			"1s Send1xx: -; Trying", // never sent: RFC 4320 section 4.1
			"3s RecvRequest: -; Trying",
			"3.5s timer: SendTrying; Proceeding",
			"4s RecvRequest: Resend; Proceeding",
			"5s Send1xx: -; Proceeding",
			"40s RecvRequest: Resend; Proceeding")
	}
}

func TestTimerTrying(t *testing.T) {
	for _, test := range []struct{ t1, t2, want time.Duration }{
		{500 * ms, 4 * sec, 3500 * ms},
		{500 * ms, 3 * sec, 3500 * ms}, // E: 0.5, 1, 2, then 3 = T2
		{500 * ms, 5 * sec, 7500 * ms}, // E: 0.5, 1, 2, 4, then 5 = T2
		{500 * ms, 500 * ms, 500 * ms}, // reset to T2 when it first fires
		{sec, 500 * ms, sec},           //
		{10 * ms, 80 * ms, 70 * ms},    //
		{500 * ms, sec, 500 * ms},      //
		{500 * ms, 1001 * ms, 1500 * ms},
	} {
		timers := Timers{T1: test.t1, T2: test.t2}
		if got := timers.TimerTrying(); got != test.want {
			t.Errorf("T1 %v, T2 %v: %v, want %v", test.t1, test.t2, got, test.want)
		}
		// The definition, on a client that never hears anything: when is timer E first reset to T2?
		timers.T4 = sec
		c := startClock(NonInviteClient, transport.UDP, timers)
		for range 100 {
			c.now = c.m.Next()
			c.m.Expire(c.now, &c.t)
			if c.m.Next().Sub(c.now) == timers.T2 {
				break
			}
		}
		if got := c.now.Sub(epoch); got != test.want {
			t.Errorf("T1 %v, T2 %v: a client resets timer E to T2 after %v, want %v", test.t1, test.t2, got, test.want)
		}
	}
}

// TestLateExpiry: a loop that overslept does not make up for it by a burst, and what it arms is ahead.
func TestLateExpiry(t *testing.T) {
	c := startClock(InviteClient, transport.UDP, DefaultTimers())
	c.now = epoch.Add(10 * sec)
	if do := c.m.Expire(c.now, &c.t); do != Resend {
		t.Errorf("first: %v", do)
	}
	if do := c.m.Expire(c.now, &c.t); do != 0 {
		t.Errorf("again: %v", do)
	}
	if got := c.m.Next().Sub(c.now); got != sec {
		t.Errorf("next in %v", got)
	}
	c.now = epoch.Add(64 * sec) // both have come
	if do := c.m.Expire(c.now, &c.t); do != InformTimeout|Terminate {
		t.Errorf("both due: %v", do)
	}
	if do := c.m.Expire(c.now, &c.t); do != 0 || c.m.Next() != 0 {
		t.Errorf("after the end: %v, next %v", do, c.m.Next())
	}
}

func TestExpireEarlyDoesNothing(t *testing.T) {
	for kind := range numKinds {
		c := startClock(kind, transport.UDP, DefaultTimers())
		before := c.m
		if do := c.m.Expire(epoch.Add(500*ms)-1, &c.t); do != 0 || c.m != before {
			t.Errorf("%v: %v, %+v", kind, do, c.m)
		}
	}
}

func TestZeroMachineIgnoresEverything(t *testing.T) {
	timers := DefaultTimers()
	for in := range numInputs {
		var m Machine
		if do := m.Step(in, epoch, &timers); do != 0 || m != (Machine{}) {
			t.Errorf("%v: %v, %+v", in, do, m)
		}
	}
	var m Machine
	if do := m.Expire(epoch, &timers); do != 0 || m.Next() != 0 {
		t.Errorf("%v", do)
	}
}

func TestTimersValidate(t *testing.T) {
	good := DefaultTimers()
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]Timers{
		"T1":      {T1: 0, T2: sec, T4: sec, C: sec},
		"T2":      {T1: sec, T2: -1, T4: sec, C: sec},
		"T4":      {T1: sec, T2: sec, T4: 61 * sec, C: sec},
		"timer C": {T1: sec, T2: sec, T4: sec, C: time.Microsecond},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), name+" is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongTimersDoNotOverflow(t *testing.T) {
	c := startClock(InviteClient, transport.UDP, Timers{T1: maxT, T2: maxT, T4: maxT, C: maxTimerC})
	c.until(100*maxT).want(t,
		"0s start: Send; Calling",
		"1m0s timer: Resend; Calling",
		"3m0s timer: Resend; Calling",
		"7m0s timer: Resend; Calling",
		"15m0s timer: Resend; Calling",
		"31m0s timer: Resend; Calling",
		"1h3m0s timer: Resend; Calling",
		"1h4m0s timer: InformTimeout Terminate; Terminated")
}

var sink Action

func TestAllocsMachine(t *testing.T) {
	timers := DefaultTimers()
	var m Machine
	if n := testing.AllocsPerRun(100, func() {
		sink |= m.Start(InviteServer, false, epoch, &timers)
		sink |= m.Step(Send3to6xx, epoch, &timers)
		sink |= m.Expire(m.Next(), &timers)
		sink |= m.Step(RecvACK, epoch, &timers)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMachine(b *testing.B) {
	timers := DefaultTimers()
	b.Run("invite_200", func(b *testing.B) {
		b.ReportAllocs()
		var s, c Machine
		for b.Loop() {
			sink |= s.Start(InviteServer, false, epoch, &timers)
			sink |= s.Step(Send1xx, epoch, &timers)
			sink |= c.Start(InviteClient, false, epoch, &timers)
			sink |= c.Step(Recv1xx, epoch, &timers)
			sink |= c.Step(Recv2xx, epoch, &timers)
			sink |= s.Step(Send2xx, epoch, &timers)
			sink |= s.Expire(s.Next(), &timers)
			sink |= c.Expire(c.Next(), &timers)
		}
	})
}
