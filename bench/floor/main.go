//go:build linux

// Command floor relays UDP datagrams unread between callers and one called party: the least that
// any proxy could cost on this machine. bench/peers prints it beside the proxies.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"

	"sipedge/bench/load"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5060", "where callers send")
	next := flag.String("next", "127.0.0.1:5080", "the called party")
	flag.Parse()
	l, err := netip.ParseAddrPort(*listen)
	n, err2 := netip.ParseAddrPort(*next)
	if err != nil || err2 != nil {
		fmt.Fprintln(os.Stderr, "floor: --listen and --next are HOST:PORT, such as 127.0.0.1:5060")
		os.Exit(2)
	}
	if err := load.Relay(l, n, func(netip.AddrPort) {}); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}
