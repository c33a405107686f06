// Package transport says how packets come in and go out; the sockets are in its backends.
//
// Enters: Flows and rendered messages to send.
// Leaves: borrowed datagrams, each with the Flow it came on, to a Handler.
// Never:  looks inside SIP, opens a socket here (see batch and gnetudp), waits for anyone.
package transport

import "time"

// Instant is a point in time inside the core: nanoseconds on the monotonic clock since
// a moment shortly before the process began serving. Zero means "never" or "not armed".
type Instant int64

// Add returns t moved by d.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

// Sub returns the time from u to t.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Handler is what a loop calls. Each loop has a Handler of its own and calls it on one
// goroutine only, so a Handler needs no locks for what belongs to its loop.
type Handler interface {
	// Receive takes in one datagram, or one framed message of a stream. It borrows b.
	Receive(from Flow, b []byte, now Instant)
	// SendFailed reports that an earlier Send to the flow could not be delivered: an ICMP
	// error or an error of the send call. b borrows what is known of the datagram sent:
	// at least its first bytes, possibly cut short, possibly empty.
	SendFailed(to Flow, b []byte, why Failure, now Instant)
	// Expire runs everything due at now and returns the next deadline, 0 when there is none.
	// A loop calls it after every batch and whenever the returned deadline has come.
	Expire(now Instant) (next Instant)
	// Woken is called on the loop after another goroutine called Loop.Wake.
	Woken(now Instant)
	// Quiesce is called once per batch, after everything queued was flushed: the handler holds
	// no reference to shared memory. Idle is called before the loop sleeps and Busy after it wakes.
	Quiesce()
	Idle()
	Busy()
}

// Loop is a backend's loop as its Handler sees it. All methods but Wake belong to the
// loop's goroutine.
type Loop interface {
	// Buffer lends the next free send buffer: length 0, capacity MaxDatagram. The caller
	// appends one message and gives the slice to Send, or forgets it. A second Buffer before
	// the Send lends the same memory again.
	Buffer() []byte
	// Send queues b, which must lie at the start of the last Buffer, to leave by the flow.
	// It takes b, unless it returns Gone: then b is as it was, and may be given to Send again for another flow. For a
	// stream, b may be longer than a datagram, and then lies elsewhere: it is copied. Failures that show only later come
	// to SendFailed.
	Send(to Flow, b []byte) Status
	// Wake makes the loop call Woken soon. Safe from any goroutine; never blocks.
	Wake()
}

// Status says what became of a Send.
type Status uint8

const (
	Queued       Status = iota // will leave at the next flush, at the latest when the batch ends
	Backpressure               // a bound was reached; nothing was queued
	Gone                       // the flow is no longer there (a closed connection, an unknown listener)
)

// Failure says why a datagram did not arrive.
type Failure uint8

const (
	Unreachable  Failure = iota + 1 // host, network or port unreachable, by ICMP
	TooBig                          // larger than the path takes
	Refused                         // refused here: a local firewall, no route, no such address
	Closed                          // the connection that it was for is gone
	NoConnection                    // no connection could be made: refused, timed out, or the certificate proves another name
	Overflow                        // the peer does not read, and what waits for it reached its bound
)
