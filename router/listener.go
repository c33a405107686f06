package router

import (
	"net/netip"
	"strconv"

	"sipedge/transport"
)

// listener is the text that a listener writes into messages, made once.
type listener struct {
	sentBy   []byte // "host:port"; nil for a wildcard: the address that the packet came to
	proto    transport.Protocol
	port     uint16
	is4      bool
	wildcard bool
	source   [16]byte // the address to leave from when the packet in hand came by another listener
}

func newListener(l Listener) listener {
	ip := l.Addr.Addr().Unmap()
	n := listener{proto: l.protocol(), port: l.Addr.Port(), is4: ip.Is4(), wildcard: ip.IsUnspecified(), source: ip.As16()}
	if n.wildcard && l.Source.IsValid() {
		n.source = l.Source.As16()
	}
	switch {
	case l.AdvertiseHost != "":
		port := l.AdvertisePort
		if port == 0 {
			port = n.port
		}
		host := l.AdvertiseHost
		if h := newOwnHost(host, 0, false); h.literal {
			n.sentBy = appendHost(nil, &h.addr)
		} else {
			n.sentBy = append(n.sentBy, host...)
		}
		n.sentBy = append(n.sentBy, ':')
		n.sentBy = strconv.AppendUint(n.sentBy, uint64(port), 10)
	case !n.wildcard:
		n.sentBy = appendHost(nil, &n.source)
		n.sentBy = append(n.sentBy, ':')
		n.sentBy = strconv.AppendUint(n.sentBy, uint64(n.port), 10)
	}
	return n
}

func (l *Listener) protocol() transport.Protocol {
	if l.Proto == 0 {
		return transport.UDP
	}
	return l.Proto
}

// appendSentBy appends the sent-by of RFC 3261 section 20.42 for a message that leaves by f, or the host and port by which
// the side of f reaches us.
func (c *Core) appendSentBy(dst []byte, f *transport.Flow) []byte {
	l := &c.listeners[f.Listener]
	if l.sentBy != nil {
		return append(dst, l.sentBy...)
	}
	dst = appendHost(dst, &f.Local)
	dst = append(dst, ':')
	return strconv.AppendUint(dst, uint64(l.port), 10)
}

// egress is the flow towards to for a request that came by from: the same listener when transport and
// address family allow, so that a proxy with several listeners stays on the side it was
// spoken to; else the first listener that fits. A connection that to names is used as it is.
func (c *Core) egress(from *transport.Flow, to *transport.Hop) (f transport.Flow, why fault) {
	proto := to.Proto
	if proto == 0 {
		proto = transport.UDP
	}
	f = transport.Flow{Remote: to.Addr, Proto: proto, Loop: to.Loop, Conn: to.Conn, Gen: to.Gen}
	if to.Gen == 0 {
		if proto >= transport.WS {
			// Only clients open WebSocket connections (RFC 6455 section 1.2), so what speaks it is reached by the connection that it
			// has made.
			return f, fault{statusUnavailable, causeConnection}
		}
		f.Loop, f.Conn = 0, to.Name
	}
	is4 := to.Is4()
	if int(from.Listener) < len(c.listeners) {
		if l := &c.listeners[from.Listener]; l.is4 == is4 && l.proto == proto {
			f.Local, f.Listener = from.Local, from.Listener
			return f, fault{}
		}
	}
	i, why := c.listenerFor(proto, is4)
	if why.status != 0 {
		return f, why
	}
	f.Local, f.Listener = c.listeners[i].source, uint16(i)
	return f, fault{}
}

// listenerFor is the first listener of that transport and address family that knows an address to leave from.
func (c *Core) listenerFor(proto transport.Protocol, is4 bool) (i int, why fault) {
	why = fault{statusUnavailable, causeTransport}
	for i := range c.listeners {
		l := &c.listeners[i]
		if l.proto != proto {
			continue
		}
		if l.is4 == is4 && (!l.wildcard || !isUnspecified(&l.source)) {
			return i, fault{}
		}
		why.why = causeFamily
	}
	return 0, why
}

func isUnspecified(ip *[16]byte) bool { return netip.AddrFrom16(*ip).Unmap().IsUnspecified() }
