package transport

import "time"

// began is shortly before the process served anything; every Instant counts from it.
var began = time.Now()

// Now reads the monotonic clock; it is never zero. The backends call it once per batch and
// hand the result on: a Handler that wants to know the time is told.
func Now() Instant { return Instant(time.Since(began)) + 1 }
