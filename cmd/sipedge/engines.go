package main

import (
	"net"
	"net/netip"

	"go.uber.org/zap"

	"sipedge/admin"
	"sipedge/config"
	"sipedge/router"
	"sipedge/transport"
	"sipedge/transport/batch"
	"sipedge/transport/gnetudp"
	"sipedge/transport/stream"
	"sipedge/transport/tlslayer"
)

// engines are the event loops: those of UDP, and behind them, with the numbers that follow, those of the streams. Each is
// nil when nothing listens for it.
type engines struct {
	udp          udpEngine
	streams      *stream.Engine
	tls          *tlslayer.Config // nil: no certificates and nobody to speak TLS with
	names        *transport.Names
	streamsEnded chan struct{}
}

// udpEngine is what both backends for UDP are.
type udpEngine interface {
	transport.Engine
	transport.Datagrams
}

// openEngines binds every listener. The configuration has those for UDP first, so that an engine's own numbers of its
// listeners are those of the configuration, moved on by those for UDP for the streams.
func openEngines(cfg *config.Config, warn func(string), panics *panicLog) (e engines, err error) {
	e = engines{names: &transport.Names{}, streamsEnded: make(chan struct{})}
	udp := transport.Config{Loops: cfg.Loops, ReceiveBuffer: cfg.UDPReceiveBuffer, Warn: warn, Panicked: panics.report}
	streams := stream.Config{
		Loops: cfg.StreamLoops, FirstLoop: cfg.Loops, Origins: cfg.WSOrigins, Names: e.names, Warn: warn, Panicked: panics.report,
		Limits: stream.Limits{Connections: cfg.MaxConnections, PerAddress: cfg.MaxConnectionsPerAddress, Idle: cfg.StreamIdle},
	}
	for i, l := range cfg.Listeners {
		if l.Proto == transport.UDP {
			udp.Listeners = append(udp.Listeners, l.Addr)
			continue
		}
		streams.Listeners = append(streams.Listeners, stream.Listener{Index: uint16(i), Addr: l.Addr, Proto: l.Proto})
	}
	if files := cfg.TLS; len(files.Pairs) > 0 {
		list := tlslayer.Files{ClientCA: files.ClientCA, Roots: files.CA}
		for _, p := range files.Pairs {
			list.Pairs = append(list.Pairs, tlslayer.Pair{Cert: p.Cert, Key: p.Key})
		}
		if e.tls, err = tlslayer.Load(list, warn); err != nil {
			return e, err
		}
		streams.TLS = e.tls
	}
	if len(udp.Listeners) > 0 {
		if e.udp, err = openUDP(cfg.UDPIO, udp); err != nil {
			return e, err
		}
		streams.Datagrams = e.udp
	}
	if len(streams.Listeners) > 0 {
		if e.streams, err = stream.Open(streams); err != nil {
			e.stop()
			return e, err
		}
	}
	return e, nil
}

func openUDP(io config.UDPIO, tc transport.Config) (udpEngine, error) {
	if io == config.Gnet {
		return gnetudp.Open(tc)
	}
	return batch.Open(tc)
}

// stop makes both engines end.
func (e *engines) stop() {
	if e.streams != nil {
		e.streams.Stop()
	}
	if e.udp != nil {
		e.udp.Stop()
	}
}

// loops is the number of all loops.
func (e *engines) loops() (n int) {
	for _, s := range e.loopSources() {
		n += s.Loops()
	}
	return n
}

func (e *engines) loopSources() (list []admin.LoopSource) {
	if e.udp != nil {
		list = append(list, e.udp)
	}
	if e.streams != nil {
		list = append(list, e.streams)
	}
	return list
}

// bound is the address of each listener of the configuration, port 0 resolved.
func (e *engines) bound() (list []netip.AddrPort) {
	if e.udp != nil {
		list = append(list, e.udp.Addrs()...)
	}
	if e.streams != nil {
		list = append(list, e.streams.Addrs()...)
	}
	return list
}

// peer is the number of the name that the peer of a connection has proven.
func (e *engines) peer(f *transport.Flow) uint32 {
	if e.streams == nil || f.Proto == transport.UDP {
		return 0
	}
	return e.streams.Peer(f.Conn, f.Loop, f.Gen)
}

func (e *engines) logListeners(cfg *config.Config, log *zap.Logger) {
	for i, addr := range e.bound() {
		l := cfg.Listeners[i]
		fields := []zap.Field{zap.String(config.ProtocolName(l.Proto), addr.String())}
		if l.Advertise.Host != "" {
			fields = append(fields, zap.String("advertise", l.Advertise.String()))
		}
		log.Info("listening", fields...)
	}
}

// routerListeners are the listeners as the router wants them.
func (e *engines) routerListeners(cfg *config.Config) (list []router.Listener) {
	ours, _ := net.InterfaceAddrs() // none: as on a machine without addresses
	for i, addr := range e.bound() {
		l := cfg.Listeners[i]
		list = append(list, router.Listener{
			Addr: addr, Proto: l.Proto, Source: sourceFor(addr.Addr(), ours),
			AdvertiseHost: l.Advertise.Host, AdvertisePort: l.Advertise.Port,
		})
	}
	return list
}
