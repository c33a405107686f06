package router

import (
	"net/netip"
	"slices"
	"strconv"

	"sipedge/parser"
	"sipedge/transport"
)

// ownHost is a host and port that we answer for.
type ownHost struct {
	name    []byte // nil for an address
	addr    [16]byte
	any     bool   // a wildcard address: every address that a packet came to
	port    uint16 // with exact: the one asked for; of an address: the port we listen on
	exact   bool
	literal bool // addr is valid
}

func newOwnHost(host string, port uint16, exact bool) ownHost {
	h := ownHost{port: port, exact: exact}
	if a, err := netip.ParseAddr(trimBrackets(host)); err == nil {
		h.literal, h.addr, h.any = true, a.As16(), a.IsUnspecified()
		return h
	}
	h.name = []byte(host)
	return h
}

// listenHosts is the set of addresses we listen on or advertise, each with its port. Listeners of several transports at one
// address and port are one host.
func listenHosts(ls []Listener) []ownHost {
	var hosts []ownHost
	add := func(h ownHost) {
		if !slices.ContainsFunc(hosts, func(o ownHost) bool {
			return o.port == h.port && o.literal == h.literal && o.addr == h.addr && parser.EqualFold(o.name, h.name)
		}) {
			hosts = append(hosts, h)
		}
	}
	for _, l := range ls {
		add(newOwnHost(l.Addr.Addr().Unmap().String(), l.Addr.Port(), false))
		if l.AdvertiseHost != "" {
			port := l.AdvertisePort
			if port == 0 {
				port = l.Addr.Port()
			}
			add(newOwnHost(l.AdvertiseHost, port, false))
		}
	}
	return hosts
}

// isOurs tells whether a URI with this host and port is one that we are responsible for: a
// configured domain or, with none configured, an address we listen on or advertise. standard is what an absent port stands
// for.
func (c *Core) isOurs(host []byte, port, standard uint16, from *transport.Flow) bool {
	if len(c.domains) == 0 {
		return c.isAddressOfOurs(host, port, from)
	}
	addr, literal := parseIP(host)
	for i := range c.domains {
		d := &c.domains[i]
		if !d.names(host, addr, literal, from) {
			continue
		}
		if d.exact {
			if d.port == port || port == 0 && d.port == standard {
				return true
			}
		} else if port == 0 || c.listensOn(port) {
			return true
		}
	}
	return false
}

// isAddressOfOurs tells whether host and port are an address that we listen on or advertise.
// Our own Route values are known by it, whatever the configured domains are.
func (c *Core) isAddressOfOurs(host []byte, port uint16, from *transport.Flow) bool {
	addr, literal := parseIP(host)
	for i := range c.addresses {
		a := &c.addresses[i]
		if a.names(host, addr, literal, from) && (port == 0 || port == a.port) {
			return true
		}
	}
	return false
}

// isOurURI applies isOurs to a URI.
func (w *Worker) isOurURI(b []byte, u *parser.URI, from *transport.Flow) bool {
	return w.core.Ours(b, u, from)
}

// Ours tells whether u, in b, is a sip or sips URI that the proxy is responsible for. Safe from any goroutine.
func (c *Core) Ours(b []byte, u *parser.URI, from *transport.Flow) bool {
	return (u.SchemeIs == parser.SchemeSIP || u.SchemeIs == parser.SchemeSIPS) && c.isOurs(u.Host.In(b), u.Port, standardPort(u), from)
}

// isOurRoute tells whether a Route value indicates this proxy (RFC 3261 section 16.4).
func (w *Worker) isOurRoute(b []byte, u *parser.URI, from *transport.Flow) bool {
	return (u.SchemeIs == parser.SchemeSIP || u.SchemeIs == parser.SchemeSIPS) &&
		(w.core.isAddressOfOurs(u.Host.In(b), u.Port, from) || w.core.isOurs(u.Host.In(b), u.Port, standardPort(u), from))
}

// standardPort is what an absent port of u stands for: "The default is 5060 for sip: using UDP, TCP, or SCTP. The default is
// 5061 for sip: using TLS over TCP and sips: over TCP." RFC 3261 section 19.1.1, table 1
func standardPort(u *parser.URI) uint16 {
	if u.SchemeIs == parser.SchemeSIPS {
		return portOr(0, transport.TLS)
	}
	return defaultPort
}

func (c *Core) listensOn(port uint16) bool {
	for i := range c.addresses {
		if c.addresses[i].port == port {
			return true
		}
	}
	return false
}

func (h *ownHost) names(host []byte, addr [16]byte, literal bool, from *transport.Flow) bool {
	if h.literal {
		return literal && (h.addr == addr || h.any && from.Local == addr)
	}
	return !literal && parser.EqualFold(host, h.name)
}

// orDefault is the port that an absent one stands for (RFC 3261 section 19.1.2).
func orDefault(port uint16) uint16 {
	if port == 0 {
		return defaultPort
	}
	return port
}

const defaultPort = 5060

// ParseIP reads the host of a URI that is an address, IPv6 in brackets. IPv4 is in its IPv4-mapped form.
func ParseIP(host []byte) (ip [16]byte, ok bool) { return parseIP(host) }

// parseIP reads an IPv4 address or an IPv6 reference in brackets into 16 bytes.
func parseIP(host []byte) (ip [16]byte, ok bool) {
	if len(host) == 0 {
		return ip, false
	}
	if host[0] == '[' {
		if host[len(host)-1] != ']' {
			return ip, false
		}
		return parseIPv6(host[1 : len(host)-1])
	}
	if host[0] < '0' || host[0] > '9' {
		return ip, false
	}
	ip[10], ip[11] = 0xff, 0xff
	octet, digits, n := 0, 0, 0
	for _, c := range host {
		switch {
		case c >= '0' && c <= '9' && digits < 3:
			octet, digits = octet*10+int(c-'0'), digits+1
		case c == '.' && digits > 0 && n < 3 && octet < 256:
			ip[12+n] = byte(octet)
			octet, digits, n = 0, 0, n+1
		default:
			return ip, false
		}
	}
	if n != 3 || digits == 0 || octet > 255 {
		return ip, false
	}
	ip[15] = byte(octet)
	return ip, true
}

// parseIPv6 reads an IPv6 address: hexadecimal groups, one "::", an IPv4 tail (RFC 3261 section 25.1).
func parseIPv6(s []byte) (ip [16]byte, ok bool) {
	if len(s) < 2 {
		return ip, false
	}
	at, gap := 0, -1 // bytes filled, where "::" stood
	if s[0] == ':' {
		if s[1] != ':' {
			return ip, false
		}
		gap, s = 0, s[2:]
	}
	for len(s) > 0 {
		if at > 14 {
			return ip, false
		}
		v, n := 0, 0
		for n < len(s) && n < 4 {
			d := hexDigit(s[n])
			if d < 0 {
				break
			}
			v, n = v<<4|d, n+1
		}
		if n < len(s) && s[n] == '.' {
			v4, ok := parseIP(s)
			if !ok || at > 12 {
				return ip, false
			}
			at += copy(ip[at:], v4[12:])
			s = nil
			break
		}
		if n == 0 {
			return ip, false
		}
		ip[at], ip[at+1] = byte(v>>8), byte(v)
		at, s = at+2, s[n:]
		if len(s) == 0 {
			break
		}
		if s[0] != ':' || len(s) == 1 {
			return ip, false
		}
		s = s[1:]
		if s[0] == ':' {
			if gap >= 0 {
				return ip, false
			}
			gap, s = at, s[1:]
		}
	}
	switch {
	case gap < 0:
		return ip, at == 16
	case at > 14:
		return ip, false
	}
	tail := at - gap
	copy(ip[16-tail:], ip[gap:at])
	clear(ip[gap : 16-tail])
	return ip, true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// appendHost appends ip as it stands in a URI or Via: IPv6 in brackets (RFC 3261 section 25.1).
func appendHost(dst []byte, ip *[16]byte) []byte {
	a := netip.AddrFrom16(*ip)
	if a.Is4In6() {
		dst = strconv.AppendUint(dst, uint64(ip[12]), 10)
		for _, o := range ip[13:] {
			dst = append(dst, '.')
			dst = strconv.AppendUint(dst, uint64(o), 10)
		}
		return dst
	}
	dst = append(dst, '[')
	dst = a.AppendTo(dst)
	return append(dst, ']')
}

func trimBrackets(host string) string {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}
