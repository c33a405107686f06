package stream

import (
	"time"

	"sipedge/parser"
)

// Limits bounds what peers can take. A zero field means its default.
type Limits struct {
	// Connections open at once, accepted and dialed; lowered to what RLIMIT_NOFILE allows.
	Connections int
	// PerAddress: accepted connections open at once from one address, or one IPv6 /64, which is what one subscriber has.
	PerAddress int

	// OutBytes may wait in one connection for a peer to read; then the connection is cut. One message always fits.
	OutBytes int
	// OutTotal may wait in all connections of a loop.
	OutTotal int
	// InTotal may be held by unfinished messages in all connections of a loop.
	InTotal int
	// RingMessages and RingBytes may wait for a loop from other goroutines; then a Post is Backpressure.
	RingMessages, RingBytes int

	// Destinations known at once, of each loop: places that requests go to without naming a connection.
	Destinations int
	// PerDestination messages, and PerDestinationBytes of them, may wait while a connection is being made; not more bytes than OutBytes.
	PerDestination, PerDestinationBytes int
	// Dials and Handshakes under way at once; more wait.
	Dials, Handshakes int

	// Idle: without a message, or a keep-alive, in either direction, a connection is closed.
	Idle time.Duration
	// HalfOpen: an accepted connection must bring its first message (over TLS: finish its handshake) within it.
	HalfOpen time.Duration
	// Message: a message that was begun must be complete within it, and a peer must read something of what waits for it.
	Message time.Duration
	// Dial bounds connecting to a peer. Unreachable is how long a destination that could not be connected to
	// is not tried again: messages for it fail at once.
	Dial, Unreachable time.Duration
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	setD := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	// A carrier edge with 100,000 phones on TCP or TLS; about 1 GB with TLS.
	set(&l.Connections, 100_000)
	// A company behind one NAT address; SIPp and other load generators open a connection for each call.
	set(&l.PerAddress, 4096)
	// One of the largest messages and some usual ones.
	set(&l.OutBytes, parser.MaxStreamMessage+512<<10)
	set(&l.OutTotal, 256<<20)
	set(&l.InTotal, 256<<20)
	// 10 ms of 400,000 messages/s.
	set(&l.RingMessages, 4096)
	set(&l.RingBytes, 32<<20)
	// Trunks, gateways and neighbours are tens; foreign domains are bounded by this.
	set(&l.Destinations, 4096)
	// What 1,000 calls/s to one place need while a TCP and TLS handshake over 200 ms of round trip takes place.
	set(&l.PerDestination, 1024)
	// All of it goes to the connection at once when that is there, and must not be more than the connection takes.
	set(&l.PerDestinationBytes, l.OutBytes)
	l.PerDestinationBytes = min(l.PerDestinationBytes, l.OutBytes)
	set(&l.Dials, 256)
	// Handshakes that wait for their peer, which is what an attacker's do: more than one address can have. Those that compute are
	// one for each CPU (tlslayer). About 20 KB each.
	set(&l.Handshakes, 8192)
	// RFC 5626 section 4.4.1 has clients on batteries ping every 14 minutes, others every two.
	setD(&l.Idle, 16*time.Minute)
	setD(&l.HalfOpen, 10*time.Second)
	// 1 MiB at 420 kbit/s.
	setD(&l.Message, 20*time.Second)
	// Three SYNs: 0, 1 and 3 s. Far below Timer B (32 s), so that there is time for another destination.
	setD(&l.Dial, 5*time.Second)
	setD(&l.Unreachable, 2*time.Second)
	return l
}

const (
	// mostRing keeps the ring's indices in a word.
	mostRing = 1 << 20

	// keptOut is the largest send buffer that a loop keeps: one of the largest messages with what a hop adds to it.
	keptOut = parser.MaxStreamMessage + 128<<10

	// stagedBytes of messages for one connection are gathered before they are written, in a turn: as many as one read brings.
	stagedBytes = 64 << 10

	// readBuffer is what gnet reads at once, per loop.
	readBuffer = 64 << 10

	// ringBatch messages from others at most are sent before a loop looks at its connections again.
	ringBatch = 256

	// ringKept bytes of buffer stay with each place of the ring; larger messages get a buffer of their own.
	ringKept = 2 << 10

	// sweepBatch connections at most are looked at in one sweep: about 0.5 ms.
	sweepBatch = 4096

	// Sweeps are this often, or more often where a limit is shorter.
	sweepEvery  = 250 * time.Millisecond
	sweepAtMost = 5 * time.Millisecond

	// keepAlives of a connection that are answered within keepAliveSpan; RFC 5626 pings once in 95 s or more
	// (section 4.4.1), so a peer with more only keeps us busy.
	keepAlives    = 64
	keepAliveSpan = 10 * time.Second

	// lingering: how long a connection that is closed for a fault of the peer is read from, so that the answer
	// is not lost: a socket closed with unread bytes sends RST, which discards what the peer has not read.
	lingering = 2 * time.Second

	// failuresKept and failureBytes bound what waits for SendFailed in a loop.
	failuresKept = 8192
	failureBytes = 64 << 20

	// queuedBytes bounds what waits for connections being made, in all destinations of a loop.
	queuedBytes = 64 << 20

	// dialsWaiting for their turn.
	dialsWaiting = 4096

	// reservedFiles are left of RLIMIT_NOFILE for everything else: UDP sockets, logs, stores, HTTP; and connections being
	// dialed take two. One eighth when that is more.
	reservedFiles = 64

	// enrollTries, each with a pause, are made to let connections finish their way into gnet before it ends.
	enrollTries = 100
	enrollPause = 2 * time.Millisecond

	// keepAliveIdle is when the kernel begins to ask a silent peer whether it is still there; connections whose peer vanished are
	// found that way long before Limits.Idle.
	keepAliveIdle = time.Minute

	// restartAfter and restartLongest: when gnet ended by itself it is started again after a pause that doubles up to
	// the longest; one that lasted restartGood begins anew.
	restartAfter   = 50 * time.Millisecond
	restartLongest = 5 * time.Second
	restartGood    = time.Minute

	// panicPause keeps an Expire that always panics from spinning.
	panicPause = 10 * time.Millisecond
)
