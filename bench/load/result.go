//go:build linux

package load

import (
	"fmt"
	"io"
	"math/bits"
	"sort"
	"strings"
	"time"
)

// reason says what was wrong with a message.
type reason uint8

const (
	fine reason = iota
	unreadable
	tooManyVias
	tooManyRoutes
	duplicateHeader
	missingHeader
	unknownCall
	wrongSource
	wrongStart
	wrongVia
	wrongHops
	wrongRecordRoute
	wrongRoute
	wrongFrom
	wrongTo
	wrongCallID
	wrongCSeq
	wrongContact
	wrongBody
	wrongBytes
	unexpectedRequest
	unexpectedResponse
	numReasons
)

var reasons = [numReasons]string{
	"fine", "unreadable", "too many Via values", "too many Route or Record-Route values", "header twice",
	"header missing", "Call-ID of no call of ours", "from an address that is neither proxy nor peer", "start line changed", "Via wrong",
	"Max-Forwards wrong", "Record-Route wrong", "Route wrong", "From changed", "To changed", "Call-ID changed", "CSeq changed",
	"Contact changed", "body corrupted", "bytes changed that nobody had to touch", "request out of place", "response out of place",
}

// Retransmissions counts what was sent again because nothing came in time.
type Retransmissions struct {
	Request uint64 // INVITE, BYE, CANCEL or OPTIONS, by the caller
	Final   uint64 // final responses to INVITE, by the called party
	ACK     uint64 // ACK, because a final response came again
}

// Sum is all of them together.
func (r Retransmissions) Sum() uint64 { return r.Request + r.Final + r.ACK }

// Sample is a message that was counted as wrong.
type Sample struct {
	Reason  string
	At      string // "caller" or "called"
	Message string
}

// Result is what a run saw. A unit is a call, or one OPTIONS.
type Result struct {
	Mode        Mode
	Rate        float64 // units per second asked for
	Achieved    float64 // units per second completed, over the time in which units were started
	Sustained   float64 // units per second completed while units were started, after Config.Warm: not what a backlog brings afterwards
	Seconds     float64 // from the first start to the last
	Started     uint64
	Completed   uint64
	Failed      uint64            // not completed for whatever reason; the next fields say why
	TimedOut    uint64            // no answer within the patience
	NotStarted  uint64            // due, but too many were alive
	Refused     map[string]uint64 // final responses that were not wanted, by status
	Late        uint64            // calls set up, but later than the bound
	Lost        uint64            // datagrams known to be lost: what had to be sent again, and ACKs that never came
	AcksMissing uint64
	Wrong       uint64 // messages that should not have been as they were
	WrongBy     map[string]uint64
	Stray       uint64 // messages of calls that had ended, those of an earlier run through the same proxy included
	Duplicates  uint64 // messages that had come before
	Overtaken   uint64 // messages that came after one that was sent later

	Retransmissions Retransmissions
	Sent, Received  uint64 // datagrams
	NotSent         uint64 // datagrams that the kernel refused
	Dropped         uint64 // datagrams lost in the generator's own socket buffers: its fault, not the proxy's

	SetupP50, SetupP99, SetupP999, SetupMax float64 // microseconds from INVITE sent to 200 received; OPTIONS likewise
	LagMax                                  float64 // milliseconds by which a start came after its time: above some, the generator is the bottleneck
	Busy                                    float64 // share of the time that the generator was at work
	Samples                                 []Sample

	Began time.Time // when the run did
	Each  []Each    // with Config.Each: in the order in which they were set up or failed
}

// Each is one unit that was set up or failed; one that failed later is there twice.
type Each struct {
	At    int64 // microseconds from Result.Began to its start
	Setup int64 // microseconds until the 200; -1: it failed
}

// FailedShare is failed units and wrong messages over all units due.
func (r *Result) FailedShare() float64 {
	due := r.Started + r.NotStarted
	if due == 0 {
		return 1
	}
	return float64(r.Failed+r.NotStarted+r.Wrong) / float64(due)
}

// Print writes the result for people.
func (r *Result) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d started in %.2f s at %.0f/s, %d completed (%.0f/s), %d failed, %d wrong, %d lost, %d late\n",
		r.Mode, r.Started, r.Seconds, r.Rate, r.Completed, r.Achieved, r.Failed, r.Wrong, r.Lost, r.Late)
	fmt.Fprintf(w, "  set-up us: p50 %.0f  p99 %.0f  p99.9 %.0f  max %.0f\n", r.SetupP50, r.SetupP99, r.SetupP999, r.SetupMax)
	fmt.Fprintf(w, "  sent again: %d requests, %d finals, %d ACKs; %d duplicates, %d overtaken, %d stray, %d ACKs missing\n",
		r.Retransmissions.Request, r.Retransmissions.Final, r.Retransmissions.ACK, r.Duplicates, r.Overtaken, r.Stray, r.AcksMissing)
	fmt.Fprintf(w, "  generator: %d out, %d in, %d dropped here, %d refused, busy %.0f %%, starts late by %.1f ms at most\n",
		r.Sent, r.Received, r.Dropped, r.NotSent, r.Busy*100, r.LagMax)
	if r.TimedOut+r.NotStarted > 0 || len(r.Refused) > 0 {
		fmt.Fprintf(w, "  failures: %d timed out, %d not started, refused %v\n", r.TimedOut, r.NotStarted, r.Refused)
	}
	if r.Wrong > 0 {
		var names []string
		for name := range r.WrongBy {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Fprintf(w, "  wrong: %d x %s\n", r.WrongBy[name], name)
		}
		for _, s := range r.Samples {
			fmt.Fprintf(w, "  --- %s, received by the %s\n  %s\n", s.Reason, s.At, strings.ReplaceAll(strings.TrimSpace(s.Message), "\r\n", "\n  "))
		}
	}
}

// histogram counts microseconds in 32 steps per doubling: a reading is within 3 % of the truth.
type histogram struct {
	counts [64 * 32]uint64
	n      uint64
	max    int64
}

func (h *histogram) add(nanos int64) {
	h.counts[bucket(nanos)]++
	h.n++
	h.max = max(h.max, nanos)
}

func bucket(v int64) int {
	if v < 32 {
		return int(max(v, 0))
	}
	e := bits.Len64(uint64(v)) - 6 // v>>e is in 32..63
	return (e+1)*32 + int(v>>e) - 32
}

// at returns the value, in microseconds, below which the share q of all values lies.
func (h *histogram) at(q float64) float64 {
	left := uint64(q * float64(h.n))
	for i, c := range h.counts {
		if c > left {
			if i < 32 {
				return float64(i) / 1000
			}
			e := i/32 - 1
			return float64(int64(i%32+32)<<e) / 1000
		}
		left -= c
	}
	return float64(h.max) / 1000
}
