//go:build !linux

package steer

import "errors"

// Attach says that this system cannot steer.
func Attach(fd, loops int) error { return errors.New("steering of datagrams needs Linux") }
