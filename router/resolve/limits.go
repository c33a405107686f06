package resolve

import "time"

const (
	// MaxHops bounds what one Lookup appends. At a response timeout of 2 s each, the last of 16 is tried after half a minute,
	// when no caller waits any more.
	MaxHops = 16
	// maxTargets bounds the SRV targets kept for one place, those of lower priority going first. A message of 64 KB could
	// bring thousands; Lookup draws lots among them.
	maxTargets = 32
	// maxAddresses bounds the addresses kept for one target and family.
	maxAddresses = 8
	// maxPlaceAddresses bounds the addresses of one place, so that a stranger's domain cannot fill more than 3 KB.
	maxPlaceAddresses = 128
	// maxQuestions bounds the DNS questions for one place: NAPTR, three SRV, and A and AAAA of every target, CNAMEs included.
	maxQuestions = 80
	// maxAliases bounds a chain of CNAMEs. Real ones have two or three.
	maxAliases = 8
	// maxHost is the longest name there is in text form (RFC 1035 section 2.3.4: 255 octets on the wire).
	maxHost = 253

	// defaultEntries bounds the cache: the domains that an edge calls, many times over. 10 MB when full
	// of ordinary domains, 50 MB of the largest that the other bounds let in.
	defaultEntries = 1 << 14
	// defaultQueue bounds those who wait for an answer.
	defaultQueue = 4096
	// defaultWorkers bounds the look-ups under way. Each costs a goroutine and a socket; a domain whose servers are silent
	// occupies one for the whole deadline, so it takes many of those to keep others waiting.
	defaultWorkers = 64
	// defaultTry is how long one server is waited for. A resolver that needs longer has started to look, and the second
	// question finds its cache.
	defaultTry = time.Second
	// defaultTries is how often each server is asked.
	defaultTries = 2
	// defaultDeadline bounds a look-up: what a suspended request waits (see router).
	defaultDeadline = 4500 * time.Millisecond
	// defaultMinTTL keeps an answer of TTL 0 long enough to be used by the one who asked, and a name from being asked for
	// with each call.
	defaultMinTTL = 5 * time.Second
	// defaultMaxTTL bounds how long a mistake in DNS can stay.
	defaultMaxTTL = time.Hour
	// defaultMaxNegative bounds negative answers. "Values of one to three hours have been found to work well" (RFC 2308
	// section 5), but nobody wants to wait so long for a new customer's domain.
	defaultMaxNegative = 5 * time.Minute
	// defaultMaxStale is how long places stay known while DNS does not answer; what RFC 8767 calls
	// the maximum stale timer.
	defaultMaxStale = 24 * time.Hour
	// revalidate is how long after its end an answer is still used while a newer one is looked for. It covers a failed refresh
	// and its repetition.
	revalidate = time.Minute
	// recheck is the time between two attempts to refresh one answer: "Attempts to refresh from non-responsive or otherwise
	// failing authoritative nameservers are recommended to be done no more frequently than every 30 seconds" (RFC 8767 section 5).
	recheck = 30 * time.Second
	// failureTTL is how long a failure is remembered for a name about which nothing is known: long enough that a flood for
	// one dead domain costs one look-up, short enough that a caller who redials is served. RFC 2308 section 7 allows five minutes.
	failureTTL = 5 * time.Second
	// hostsTTL is how often a place out of the hosts file is looked at again.
	hostsTTL = 5 * time.Second
	// filesEvery is the least time between two looks at the modification times of files.
	filesEvery = 2 * time.Second
	// maxServers bounds --dns.
	maxServers = 8
)
