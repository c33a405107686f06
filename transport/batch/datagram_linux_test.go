//go:build !race

package batch

import (
	"net/netip"
	"testing"

	"sipedge/transport"
)

var failed transport.Failure

func TestAllocsSendDatagram(t *testing.T) {
	e := open(t, 1, netip.MustParseAddrPort("0.0.0.0:0"))
	defer e.Stop()
	to := transport.Flow{Remote: addrOf(peer(t, netip.MustParseAddr("127.0.0.1"))), Proto: transport.UDP, Local: netip.MustParseAddr("127.0.0.1").As16()}
	message := make([]byte, 600)
	if n := testing.AllocsPerRun(1000, func() { failed |= e.SendDatagram(to, message) }); n != 0 || failed != 0 {
		t.Errorf("%v allocations for a datagram, failure %d", n, failed)
	}
}
