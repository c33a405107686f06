package router

import (
	"sipedge/parser"
	"sipedge/transport"
)

// hopOf is where a URI leads whose host is an address; for a name see next_hop.go: RFC 3263 section 4
// with an IP address for a host. maddr takes the host's place (RFC 3261 section 19.1.1). secure asks for it "as
// if the input URI were a SIPS URI" (RFC 3261 section 16.6 step 7).
func hopOf(b []byte, u *parser.URI, secure bool) (hop transport.Hop, f fault) {
	if u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS {
		return hop, fault{statusUnavailable, causeTransport}
	}
	proto := protocolOf(b, u, secure)
	if proto == 0 {
		return hop, fault{statusUnavailable, causeTransport}
	}
	host := u.Host
	if !u.Maddr.Empty() {
		host = u.Maddr
	}
	ip, ok := parseIP(host.In(b))
	if !ok {
		return hop, fault{statusUnavailable, causeName}
	}
	return transport.Hop{Addr: transport.Addr{IP: ip, Port: portOr(u.Port, proto)}, Proto: proto}, fault{}
}

// protocolOf is the transport that a SIP or SIPS URI asks for, 0 for one that does not exist: "if no transport protocol is
// specified, but the TARGET is a numeric IP address, the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI"
// (RFC 3263 section 4.1), and TCP of a SIPS URI is TLS over TCP.
func protocolOf(b []byte, u *parser.URI, secure bool) transport.Protocol {
	secure = secure || u.SchemeIs == parser.SchemeSIPS
	switch t := u.Transport.In(b); {
	case len(t) == 0 && !secure:
		return transport.UDP
	case len(t) == 0:
		return transport.TLS
	case parser.EqualFoldString(t, "udp"):
		if secure {
			return 0 // "note that UDP is not a valid transport for SIPS", RFC 3261 section 26.2.2
		}
		return transport.UDP
	case parser.EqualFoldString(t, "tcp"):
		if secure {
			return transport.TLS
		}
		return transport.TCP
	case parser.EqualFoldString(t, "tls"): // deprecated by RFC 3261 section 26.2.2, and still what many write
		return transport.TLS
	case parser.EqualFoldString(t, "ws"):
		if secure {
			return transport.WSS
		}
		return transport.WS
	case parser.EqualFoldString(t, "wss"): // not registered (RFC 7118 section 5.2 has "ws" alone), and written all the same
		return transport.WSS
	}
	return 0
}

// portOr is the port that an absent one stands for: RFC 3261 section 19.1.2, and RFC 7118 section 5.5 for WebSocket.
func portOr(port uint16, proto transport.Protocol) uint16 {
	if port != 0 {
		return port
	}
	switch proto {
	case transport.TLS:
		return 5061
	case transport.WS:
		return 80
	case transport.WSS:
		return 443
	}
	return defaultPort
}

// isSecure tells whether a transport is what a SIPS URI asks for.
func isSecure(p transport.Protocol) bool { return p == transport.TLS || p == transport.WSS }
