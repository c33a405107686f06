//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gnetudp

import "time"

const (
	// receiveBatch datagrams at most are taken before timers have their turn.
	receiveBatch = 32

	// expandedAddresses bounds the addresses of the machine that a wildcard listener is bound
	// to one by one. On a machine with more, the others are served by the catch-all socket.
	expandedAddresses = 64

	// panicPause keeps an Expire that always panics from spinning.
	panicPause = 10 * time.Millisecond
)
