package main

import (
	"net"
	"net/netip"
	"testing"
)

func TestSourceFor(t *testing.T) {
	var ours []net.Addr
	for _, s := range []string{"127.0.0.1/8", "::1/128", "fe80::1/64", "192.0.2.7/24", "2001:db8::7/64", "198.51.100.7/24"} {
		p := netip.MustParsePrefix(s)
		ours = append(ours, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	for _, c := range []struct {
		listen string
		ours   []net.Addr
		want   netip.Addr
	}{
		{"0.0.0.0", ours, netip.MustParseAddr("192.0.2.7")},
		{"::", ours, netip.MustParseAddr("2001:db8::7")},
		{"::", ours[:3], netip.MustParseAddr("::1")},
		{"0.0.0.0", ours[1:3], netip.Addr{}},
		{"127.0.0.1", ours, netip.Addr{}},
	} {
		if got := sourceFor(netip.MustParseAddr(c.listen), c.ours); got != c.want {
			t.Errorf("%s: %v, want %v", c.listen, got, c.want)
		}
	}
}
