//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package stream

import (
	"errors"
	"net/netip"

	"sipedge/transport"
)

// Engine does not exist on this system.
type Engine struct{}

// Open says that this system has no gnet sockets of the kind that are needed here.
func Open(Config) (*Engine, error) {
	return nil, errors.New("stream: TCP, TLS and WebSocket listeners need Linux, macOS or a BSD")
}

// The methods of an Engine that there never is.

func (*Engine) Serve(func(loop int, l transport.Loop) transport.Handler) error { return nil }
func (*Engine) Stop()                                                          {}
func (*Engine) Addrs() []netip.AddrPort                                        { return nil }
func (*Engine) Loops() int                                                     { return 0 }
func (*Engine) Stats(int) transport.LoopStats                                  { return transport.LoopStats{} }
func (*Engine) Counters() Counters                                             { return Counters{} }
func (*Engine) Post(transport.Flow, []byte) transport.Status                   { return transport.Gone }
func (*Engine) Peer(uint32, uint8, uint32) uint32                              { return 0 }
func (*Engine) Alias(transport.Flow, uint16)                                   {}
