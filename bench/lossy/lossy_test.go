package lossy

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// The pattern is a share, and the same datagrams in every run.
func TestPattern(t *testing.T) {
	for _, percent := range []int{0, 1, 10, 50, 100} {
		p, again := Pattern{percent, 7}, Pattern{percent, 7}
		other := Pattern{percent, 8}
		lost, differ := 0, 0
		const n = 100_000
		for i := range uint64(n) {
			if p.lose(i) {
				lost++
			}
			if p.lose(i) != again.lose(i) {
				t.Fatalf("datagram %d: lost in one run, passed in another", i)
			}
			if p.lose(i) != other.lose(i) {
				differ++
			}
		}
		if want := n * percent / 100; lost < want-n/200 || lost > want+n/200 {
			t.Errorf("%d %%: %d of %d lost", percent, lost, n)
		}
		if (differ == 0) != (percent == 0 || percent == 100) {
			t.Errorf("%d %%: another seed loses %d other datagrams", percent, differ)
		}
	}
}

// What is not lost arrives unchanged and in order, in both directions and for two clients.
func TestRelay(t *testing.T) {
	target, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	there, back := Pattern{30, 1}, Pattern{}
	r, err := Listen(loopback, target.LocalAddr().(*net.UDPAddr).AddrPort(), there, back)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	echo := make([]byte, 64)
	sent := uint64(0)
	lost := uint64(0)
	for client := range 2 {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		last := false
		for i := 0; i < 50 || !last; i++ { // the last one passes, so that all before it are counted
			msg := []byte{byte(client), byte(i), 0, '\r', '\n'}
			if _, err := c.Write(msg); err != nil {
				t.Fatal(err)
			}
			gone := there.lose(sent)
			sent++
			last = !gone
			if gone {
				lost++
				continue // the next one to arrive shows that this one did not
			}
			target.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, from, err := target.ReadFromUDPAddrPort(echo)
			if err != nil || string(echo[:n]) != string(msg) {
				t.Fatalf("client %d, datagram %d: target got %q, %v", client, i, echo[:n], err)
			}
			if _, err := target.WriteToUDPAddrPort(echo[:n], from); err != nil {
				t.Fatal(err)
			}
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if n, err = c.Read(echo); err != nil || string(echo[:n]) != string(msg) {
				t.Fatalf("client %d, datagram %d: came back as %q, %v", client, i, echo[:n], err)
			}
		}
	}
	if lost == 0 {
		t.Fatal("the pattern lost nothing, so this test shows nothing")
	}
	if _, l := r.Counts(); l != lost {
		t.Errorf("%d counted as lost, %d are", l, lost)
	}
}
