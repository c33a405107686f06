//go:build !linux

package batch

import (
	"errors"

	"sipedge/transport"
)

// Engine exists on Linux only.
type Engine struct{ transport.Engine }

// Open says that this system has no recvmmsg and sendmmsg.
func Open(transport.Config) (*Engine, error) {
	return nil, errors.New("batch: this UDP backend needs Linux; use --udp-io gnet")
}

// SendDatagram sends nothing.
func (*Engine) SendDatagram(transport.Flow, []byte) transport.Failure { return transport.Refused }
