package gateway

import "time"

const (
	// MaxMembers bounds the members that have a number, over all groups: a carrier's trunks many times over. A member takes
	// about 512 B.
	MaxMembers = 4096
	// MaxGroupMembers bounds one group: its members are the bits of one word while one is chosen.
	MaxGroupMembers = 64
	// maxProbes bounds the probes under way at once. A thousand dead gateways that are asked every second with a
	// time-out of one second fit.
	maxProbes = 1024
	// probeGrace is how long after its time-out a probe without a result is given up: whoever sends it keeps its own
	// time, and this is for one that forgets.
	probeGrace = time.Second
	// probeRetry is when a probe is tried again that could not start, because too many are under way.
	probeRetry = 20 * time.Millisecond
	// minProbeInterval keeps a slip in a file from flooding a neighbour.
	minProbeInterval = 10 * time.Millisecond
	// restNumber is how long a number rests after its member went before another member may get it: longer than a
	// transaction with Timer C (RFC 3261 section 16.6 step 11) can report on the old one.
	restNumber = 30 * time.Minute
	// maxThreshold bounds consecutive outcomes; each count is 8 bits of a word.
	maxThreshold = 255
)
