//go:build linux

package load

import (
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Relay forwards datagrams unread, for ever: what comes from next goes to the last other sender,
// everything else goes to next. It is the floor that a proxy on the same core can be held
// against: the same system calls, and no SIP.
func Relay(listen, next netip.AddrPort, ready func(netip.AddrPort)) error {
	s, err := openSocket(listen)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	defer s.close()
	ready(s.local)
	var down, up sockaddr
	down.set(next)
	// Nothing is allocated below, and the raw wait would hold up a collection.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	fds := [1]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	for {
		n := s.receive()
		for i := range n {
			to := &down
			if s.inFrom[i] == down {
				to = &up
			} else {
				up = s.inFrom[i]
			}
			if to.n != 0 {
				s.send(to, append(s.buffer(), s.inBuf[i][:s.in[i].n]...), 0)
			}
		}
		s.flush()
		if n == 0 {
			_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, 0, 0, 0, 0)
		}
	}
}
