package dialog

import "time"

const (
	// DefaultMost bounds the calls that are watched at once: 6,000 new calls a second of three minutes each. An entry is 216
	// bytes, its texts 200 to 700.
	DefaultMost = 1 << 20
	// DefaultMaxDuration ends the entry of a call whose BYE never came by. The longest honest calls are conferences of a working day.
	DefaultMaxDuration = 12 * time.Hour
	// DefaultMaxEarly is longer than any INVITE stays without a final response: the longest Timer C is 3 hours.
	DefaultMaxEarly = 4 * time.Hour

	// maxText bounds what is kept of one call: Call-ID, tags, addresses, contacts and two route sets of the usual 50 to 250 bytes each.
	// What does not fit is left out: the call counts all the same.
	maxText = 4096
	// maxRoutes bounds the proxies on the way of a call; Max-Forwards begins at 70.
	maxRoutes = 70
	// claimTries bounds the wait for another loop's claim, which it holds for a copy of a few hundred bytes.
	claimTries = 4096
	// chunkEntries is how many entries are made at once, about 300 KB.
	chunkEntries = 1024

	// sweepSlots, sweepPause and sweepEvery bound a sweep: 512 slots are about 5 us, so a million of them take a loop 8 s
	// with 0.1 % of its time. A call that is over by time may live so much longer.
	sweepSlots = 512
	sweepPause = 4 * time.Millisecond
	sweepEvery = time.Second
)
