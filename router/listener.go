package router

import (
	"net/netip"
	"strconv"

	"sipedge/transport"
)

// listener is the text that a listener writes into messages, made once.
type listener struct {
	sentBy   []byte // "host:port"; nil for a wildcard: the address that the packet came to
	port     uint16
	is4      bool
	wildcard bool
	source   [16]byte // the address to leave from when the packet in hand came by another listener
}

func newListener(l Listener) listener {
	ip := l.Addr.Addr().Unmap()
	n := listener{port: l.Addr.Port(), is4: ip.Is4(), wildcard: ip.IsUnspecified(), source: ip.As16()}
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

// appendSentBy appends the sent-by of RFC 3261 section 20.42 for a message that leaves by f.
func (c *Core) appendSentBy(dst []byte, f *transport.Flow) []byte {
	l := &c.listeners[f.Listener]
	if l.sentBy != nil {
		return append(dst, l.sentBy...)
	}
	dst = appendHost(dst, &f.Local)
	dst = append(dst, ':')
	return strconv.AppendUint(dst, uint64(l.port), 10)
}

// egress is the flow towards to for a request that came by from: the same listener when the
// address family allows, so that a proxy with several listeners stays on the side it was
// spoken to; else the first listener of the right family.
func (c *Core) egress(from *transport.Flow, to *transport.Hop) (f transport.Flow, ok bool) {
	is4 := to.Is4()
	if int(from.Listener) < len(c.listeners) && c.listeners[from.Listener].is4 == is4 {
		return transport.Flow{Remote: to.Addr, Local: from.Local, Listener: from.Listener, Proto: transport.UDP}, true
	}
	for i := range c.listeners {
		l := &c.listeners[i]
		if l.is4 == is4 && (!l.wildcard || !isUnspecified(&l.source)) {
			return transport.Flow{Remote: to.Addr, Local: l.source, Listener: uint16(i), Proto: transport.UDP}, true
		}
	}
	return f, false
}

func isUnspecified(ip *[16]byte) bool { return netip.AddrFrom16(*ip).Unmap().IsUnspecified() }
