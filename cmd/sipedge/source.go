package main

import (
	"net"
	"net/netip"
)

// sourceFor is the address of this machine that a wildcard listener shows when the packet at hand came by another
// listener, as between IPv4 and IPv6: the first global one of the family, else the first of any kind. The zero Addr for a
// listener with an address of its own, or on a machine without one of that family.
func sourceFor(listen netip.Addr, ours []net.Addr) (source netip.Addr) {
	listen = listen.Unmap()
	if !listen.IsUnspecified() {
		return netip.Addr{}
	}
	for _, a := range ours {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().Is4() != listen.Is4() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
		if !source.IsValid() {
			source = p.Addr()
		}
	}
	return source
}
