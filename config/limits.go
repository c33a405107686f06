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

	minCallDuration, maxCallDuration = time.Minute, 30 * 24 * time.Hour

	maxTransactions = 256_000_000 // slot numbers have 32 bits; this many would take about 100 GB

	minReceiveBuffer = 64 << 10  // one datagram of the largest size
	maxReceiveBuffer = 1<<30 - 1 // SO_RCVBUF is a signed 32-bit number that the kernel doubles

	// A unix socket path must fit sockaddr_un with its final zero: 108 bytes on Linux, 104 on the BSDs.
	maxUnixPath = 103

	maxConnections  = 4_000_000 // connection slots are 32 bits wide; memory and file descriptors end before
	maxCertificates = 1024
	maxOrigins      = 256
	maxDNS          = 8 // each adds its time to a look-up that none answers

	minStreamIdle, maxStreamIdle = time.Second, 24 * time.Hour

	maxNextHop = 512 // a host name has at most 253 characters

	minSecret     = 32   // characters; 32 hexadecimal digits are 128 bits
	maxSecretFile = 4096 // bytes; two lines and room for comments

	maxPolicyFile    = 16 << 20  // bytes; the largest number plans have some hundred thousand patterns
	maxPolicyNodes   = 2_000_000 // values; above what such a file has without aliases
	maxPolicyText    = 1024      // bytes of one value
	maxPolicyName    = 64        // characters; names are labels of metrics
	maxPolicyHeaders = 64
	maxNumber        = 32  // digits; E.164 has 15, and what is dialled has prefixes before them
	maxProblems      = 100 // told of one file
)
