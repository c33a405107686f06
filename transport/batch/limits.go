package batch

import (
	"time"

	"sipedge/transport"
)

const (
	// receiveBatch datagrams at most come from one recvmmsg. More saves no measurable time,
	// and each packet of a batch waits for the ones before it.
	receiveBatch = 32

	// receiveStride separates the receive buffers. It is MaxDatagram and eleven cache lines:
	// with 64 KiB sharp, the first lines of all buffers would fall into the same cache sets
	// and a batch would evict itself.
	receiveStride = 64<<10 + 11*64

	// sendBatch datagrams at most wait in the queue of a socket. Twice a receive batch, since
	// one request in makes up to two messages out (the 100 and the forwarded request).
	sendBatch = 64

	// arenaBytes holds the messages queued on all sockets of a loop. At least MaxDatagram must
	// remain after a flush; twice that keeps what a full batch of usual messages (64 of about
	// 800 bytes) writes inside the second-level cache.
	arenaBytes = 2 * transport.MaxDatagram

	// controlBytes takes the control data of one received datagram: an IP_RECVERR with the
	// offender's address (64 bytes) and a packet info (40 bytes).
	controlBytes = 128

	// sendControlBytes takes one packet info of IPv6.
	sendControlBytes = 40

	// bulkSegments is how many datagrams the kernel makes of one at most (UDP_MAX_SEGMENTS; it was raised later).
	bulkSegments = 64

	// bulkSize bounds those datagrams: one that might not fit a link is left to the ordinary way, which may fragment it.
	bulkSize = 1200

	// roundsPerPoll: a loop with a full batch in hand reads the next one without asking the
	// kernel, but asks every so many rounds, so that other sockets have their turn.
	roundsPerPoll = 8

	// pendingErrors is how often sendmmsg may report an error of the socket (left there by the
	// ICMP answer to some other datagram) before the entry at hand is held to be at fault.
	// Each report clears one; they would have to arrive faster than system calls return.
	pendingErrors = 4

	// rawWait bounds one raw wait; a loop that saw nothing for so long waits in an ordinary
	// system call next, which gives up its P. See (*loop).wait.
	rawWait = 5 * time.Millisecond

	// standing is how long a queue must not have been seen empty before it is looked at: at most 64 batches of usual messages.
	standing = 2 * time.Millisecond

	// measureEvery is how often it is then looked at: often enough for whoever asks every few milliseconds.
	measureEvery = 2 * time.Millisecond

	// weighEvery is how often a datagram's share of a receive buffer is found out. It depends on the network device and the
	// sizes of messages, which change slowly.
	weighEvery = 100 * time.Millisecond

	// longestWait bounds a delay: beyond Timer B of its sender nobody waits for a request any more.
	longestWait = 32 * time.Second

	// panicPause keeps an Expire that always panics from spinning.
	panicPause = 10 * time.Millisecond
)
