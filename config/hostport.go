package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parseHostPort reads HOST, HOST:PORT, [IPv6] and [IPv6]:PORT. Port 0 is returned for an absent one
// and refused when written.
func parseHostPort(s string) (HostPort, error) {
	host, port, hasPort, err := splitHostPort(s)
	if err != nil {
		return HostPort{}, err
	}
	var h HostPort
	if h.Host, err = parseHost(host); err != nil {
		return HostPort{}, err
	}
	if hasPort {
		if h.Port, err = parsePort(port); err != nil {
			return HostPort{}, err
		}
		if h.Port == 0 {
			return HostPort{}, fmt.Errorf("port 0 means nothing here")
		}
	}
	return h, nil
}

// splitHostPort takes the host, with its brackets, from the port.
func splitHostPort(s string) (host, port string, hasPort bool, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", false, fmt.Errorf("the bracket of the IPv6 address is not closed")
		}
		host, rest := s[:end+1], s[end+1:]
		if rest == "" {
			return host, "", false, nil
		}
		if rest[0] != ':' {
			return "", "", false, fmt.Errorf("%q stands behind the IPv6 address", rest)
		}
		return host, rest[1:], true, nil
	}
	if strings.Count(s, ":") > 1 {
		return "", "", false, fmt.Errorf("an IPv6 address needs brackets, as in [2001:db8::1]:5060")
	}
	host, port, hasPort = strings.Cut(s, ":")
	return host, port, hasPort, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s[0] == '+' {
		return 0, fmt.Errorf("%q is no port (0 to 65535)", s)
	}
	return uint16(n), nil
}

// parseHost reads the host of RFC 3261 section 25.1: hostname, IPv4address or IPv6reference.
func parseHost(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("the host is missing")
	}
	if s[0] == '[' {
		addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil || !addr.Is6() {
			return "", fmt.Errorf("%s is no IPv6 address", s)
		}
		if addr.Zone() != "" {
			return "", fmt.Errorf("%s: a zone means nothing to others", s)
		}
		return addr.String(), nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if !isHostname(name) {
		return "", fmt.Errorf("%q is neither a host name nor an IP address", s)
	}
	return name, nil
}

// isHostname is the rule of RFC 3261 section 25.1 for a name in lower case:
//
//	hostname    =  *( domainlabel "." ) toplabel [ "." ]
//	domainlabel =  alphanum / alphanum *( alphanum / "-" ) alphanum
//	toplabel    =  ALPHA / ALPHA *( alphanum / "-" ) alphanum
func isHostname(name string) bool {
	if len(name) > 253 {
		return false
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
		if i == len(labels)-1 && label[0] <= '9' {
			return false
		}
	}
	return true
}
