package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// BindError wraps err, the reason why the UDP address ap could not be bound, in what to do about it.
func BindError(ap netip.AddrPort, err error) error {
	advice := "give another --listen"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "another process has this port; stop it (ss -ulpn shows it) or give another --listen"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		advice = "this machine does not have that address (ip address shows those it has); give another --listen"
	case errors.Is(err, syscall.EACCES):
		advice = "this port is for privileged processes; give one above 1023, or CAP_NET_BIND_SERVICE"
	}
	return fmt.Errorf("cannot bind udp %s: %w; %s", ap, err, advice)
}

// Normal checks a listener's address and brings it into the form that the backends use:
// IPv4-mapped addresses as IPv4, the zone as a number. The scope is that number.
func Normal(ap netip.AddrPort) (n netip.AddrPort, scope uint32, err error) {
	ip := ap.Addr().Unmap()
	if !ip.IsValid() {
		return ap, 0, errors.New("a listener has no address; give --listen udp:HOST:PORT, for example udp:0.0.0.0:5060")
	}
	if zone := ip.Zone(); zone != "" {
		index, err := strconv.ParseUint(zone, 10, 32)
		if err != nil {
			ifi, err := net.InterfaceByName(zone)
			if err != nil {
				return ap, 0, fmt.Errorf("cannot bind udp %s: there is no interface %q; ip link shows those there are", ap, zone)
			}
			index = uint64(ifi.Index)
		}
		scope = uint32(index)
		ip = ip.WithZone(strconv.FormatUint(index, 10))
	}
	return netip.AddrPortFrom(ip, ap.Port()), scope, nil
}

// WarnReceiveBuffer tells through c.Warn that a socket got a smaller receive buffer than wanted.
func (c *Config) WarnReceiveBuffer(ap netip.AddrPort, got int) {
	if got < c.ReceiveBuffer && c.Warn != nil {
		c.Warn(fmt.Sprintf("udp %s: the receive buffer is %d bytes instead of %d, so bursts may be lost; raise net.core.rmem_max or lower --udp-receive-buffer",
			ap, got, c.ReceiveBuffer))
	}
}
