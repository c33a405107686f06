//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package gnetudp

import (
	"errors"

	"sipedge/transport"
)

// Engine does not exist on this system.
type Engine struct{ transport.Engine }

// Open says that this system has no gnet sockets of the kind that are needed here.
func Open(transport.Config) (*Engine, error) {
	return nil, errors.New("gnetudp: this UDP backend needs Linux, macOS or a BSD")
}
