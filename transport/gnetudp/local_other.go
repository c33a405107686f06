//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package gnetudp

const (
	canShareLater     = false
	tellsLocalAddress = false
	bufferFactor      = 1
	controlBytes      = 0
)

func wantLocalAddress(fd int, v6 bool) error { return nil }

func localOf(control []byte) (ip [16]byte) { return ip }

func leaveFrom(ip [16]byte, v6 bool, scope uint32) []byte { return nil }
