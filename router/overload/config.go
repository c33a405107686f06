package overload

import "time"

// Config says when new requests are turned away and what they are told. The zero Config is complete: shedding is on, with the
// defaults named at the fields.
type Config struct {
	// Off leaves everything to the socket buffers.
	Off bool
	// Delay is how long a message may wait for its turn: what a Controller keeps the queue at when there is too much.
	// 0: 20 ms, which adds 60 ms to the set-up of a call.
	Delay time.Duration
	// RetryAfter is the least that a 503 asks for; up to twice as much is said, so that a crowd that was turned away at
	// once does not come back at once. 0: 5 s. Negative: nothing is said, as RFC 7339 section 5.10.2 wants it.
	RetryAfter time.Duration
}

func (c *Config) delay() time.Duration {
	if c.Delay <= 0 {
		return defaultDelay
	}
	return c.Delay
}

// Retry is a Retry-After in whole seconds, 0 for none. draw is uniform and belongs to the transaction, so that each copy of a
// request gets the same answer.
func (c *Config) Retry(draw uint64) uint32 {
	least := c.RetryAfter
	switch {
	case least < 0:
		return 0
	case least == 0:
		least = defaultRetryAfter
	}
	s := uint64(max(least/time.Second, 1))
	return uint32(s + draw>>1%(s+1))
}
