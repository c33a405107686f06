//go:build linux

package rig

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// GoFirst puts this process, and what it starts, into a session of its own with the highest priority: the scheduler gives
// time to sessions first (autogroup) and to the processes of a session by niceness.
func GoFirst() {
	_, _ = unix.Setsid() // it may lead one already
	if err := os.WriteFile("/proc/self/autogroup", []byte("-20"), 0); err != nil {
		fmt.Println("no priority over other sessions:", err)
	}
}
