//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package stream

import "golang.org/x/sys/unix"

// fileLimit is how many connections RLIMIT_NOFILE leaves room for.
func fileLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<30 {
		return 1 << 30
	}
	n := int(r.Cur)
	return max(n-max(reservedFiles, n/8), 1)
}
