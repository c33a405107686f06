//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import "sipedge/transport"

// Backlog implements transport.Gauge. What waits in connections waits in the kernel, and its sender with it: what counts
// is how long an event waits for its turn, and how full the queue of messages from other loops is.
func (l *loop) Backlog() transport.Backlog {
	return transport.Backlog{
		Delay: l.waits.Delay(),
		Fill:  min(float64(l.ring.bytes.Load())/float64(max(l.ring.limit, 1)), 1),
	}
}
