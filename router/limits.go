package router

import "time"

const (
	// MaxTargets bounds the branches of one request. RFC 5393 section 5 lets a request spread to 60
	// at once over all proxies; 32 is what a subscriber's plan can use, and the index is 5 bits of the branch.
	MaxTargets = 32
	// maxEntries bounds the targets of a request with all their alternatives: 32 phones with three addresses each, or a few
	// gateways with as many addresses as anybody would wait for.
	maxEntries = 96
	// maxTargetText bounds the URIs of a target set: 32 URIs of 250 bytes fill it.
	maxTargetText = 8 << 10
	// maxBreadth is our "maximum allowable Incoming Max-Breadth value" (RFC 5393 section 5.3.3),
	// and the value that a request without the header is given: 60, as that section recommends.
	maxBreadth = 60
	// maxContacts bounds the Contacts of one 3xx that are tried. A redirect server lists a handful of routes.
	maxContacts = 16
	// maxRecursed is from how many branches on a request follows no further redirection: each may ring for minutes.
	maxRecursed = 64
	// maxRules bounds the rules of a process, those of earlier policies included. About 350 KB when full.
	maxRules = 1 << 12
	// maxHeaderEdits bounds the different changes to header fields that the policies of a process have asked for.
	maxHeaderEdits = 1 << 12
	// maxAnswerLines is the room for the header lines of an answer that a decision gives: sixteen Contacts of 250 bytes.
	maxAnswerLines = 4 << 10
	// maxLater bounds the requests of one loop that wait for a name outside of any context, each a copy of at most maxLaterBytes:
	// 16 MB, and what comes in 100 ms at 10,000 a second, which is how long a look-up takes.
	maxLater      = 1024
	maxLaterBytes = 16 << 10
	// maxAnswers bounds the answers of decisions that wait for one loop: more than can be in
	// flight at once from any sensible pool of workers.
	maxAnswers = 1 << 16
	// defaultDecisionTimeout bounds a suspended decision. A caller hears nothing but 100 meanwhile.
	defaultDecisionTimeout = 5 * time.Second
	// blockedFor is how long other requests avoid an address that was silent or could not be sent to, as long as its name has
	// others: about as long as it takes to find out (Timer B), so that a dead server costs one call in a while.
	blockedFor = 32 * time.Second
	// maxBlocked bounds what a Retry-After can ask for: a mistake there must not take a server out for days.
	maxBlocked = 10 * time.Minute
	// retryAfter is what a 503 of ours asks for, in seconds: long enough to spread a crowd,
	// short enough that a phone tries again.
	retryAfter = "5"
	// maxKeepAlive is the longest datagram that counts as a keep-alive when it holds nothing
	// but CR, LF and NUL: a double CRLF (RFC 5626 section 3.5.1) and what phones make of it.
	maxKeepAlive = 8
	// publishEvery is how often a busy worker's counters become visible to others.
	publishEvery = 20 * time.Millisecond
	// maxDuePerCall bounds the timers run in one Expire, so that packets are not kept waiting
	// behind a burst of them.
	maxDuePerCall = 256
)
