package config

import "time"

// Bounds of the settings. They are wide: they catch a slipped digit or a forgotten unit, and what
// the code behind a setting cannot do.
const (
	maxDomains = 1024 // the test "is it ours" walks them all

	minT1, maxT1 = 10 * time.Millisecond, 10 * time.Second // RFC 3261 section 17.1.1.2: 500 ms, smaller in private networks
	maxT2, maxT4 = time.Minute, time.Minute

	// RFC 3261 section 16.6 step 11: "The timer MUST be larger than 3 minutes."
	timerCFloor = 3 * time.Minute
	// The timer wheel is good for a little more than three and a half hours.
	maxTimerC = 3 * time.Hour

	maxDrain = time.Hour

	maxTransactions = 256_000_000 // slot numbers have 32 bits; this many would take about 100 GB

	minReceiveBuffer = 64 << 10  // one datagram of the largest size
	maxReceiveBuffer = 1<<30 - 1 // SO_RCVBUF is a signed 32-bit number that the kernel doubles

	// A unix socket path must fit sockaddr_un with its final zero: 108 bytes on Linux, 104 on the BSDs.
	maxUnixPath = 103

	maxNextHop = 512 // a host name has at most 253 characters

	minSecret     = 32   // characters; 32 hexadecimal digits are 128 bits
	maxSecretFile = 4096 // bytes; two lines and room for comments
)
