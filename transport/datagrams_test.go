package transport_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"sipedge/transport"
)

// A datagram from a goroutine that is no loop leaves from the listener's port and the address asked for.
func TestSendDatagram(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for _, c := range []struct{ listen, local, peer string }{
			{"127.0.0.1:0", "", "127.0.0.1"},
			{"0.0.0.0:0", "", "127.0.0.1"},
			{"0.0.0.0:0", "127.0.0.1", "127.0.0.1"},
			{"0.0.0.0:0", "127.0.0.7", "127.0.0.1"},
			{"[::1]:0", "", "::1"},
			{"[::]:0", "::1", "::1"},
		} {
			t.Run(fmt.Sprintf("%s from %s", c.listen, c.local), func(t *testing.T) {
				r := start(t, b, transport.Config{Listeners: listeners(t, c.listen), Loops: 2}, func() *handler { return &handler{} })
				d := r.Engine.(transport.Datagrams)
				p := newPeer(t, c.peer)
				to := transport.Flow{Remote: transport.AddrFrom(p.addr()), Proto: transport.UDP}
				if c.local != "" {
					to.Local = netip.MustParseAddr(c.local).As16()
				}
				var senders sync.WaitGroup
				for range 4 {
					senders.Go(func() {
						for range 10 {
							if why := d.SendDatagram(to, []byte("hello")); why != 0 {
								t.Errorf("SendDatagram says %d", why)
							}
						}
					})
				}
				for range 40 {
					got, from := p.receive()
					if string(got) != "hello" || from.Port() != r.Addrs()[0].Port() || c.local != "" && from.Addr() != netip.MustParseAddr(c.local) {
						t.Fatalf("got %q from %s", got, from)
					}
				}
				senders.Wait()
				if s := r.total(); s.PacketsOut != 40 || s.BytesOut != 200 {
					t.Errorf("counted %+v", s)
				}
			})
		}
	})
}

func TestSendDatagramRefused(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler { return &handler{} })
		d := r.Engine.(transport.Datagrams)
		p := newPeer(t, "127.0.0.1")
		good := transport.Flow{Remote: transport.AddrFrom(p.addr()), Proto: transport.UDP}
		f := func(want transport.Failure, n int, change func(*transport.Flow)) {
			t.Helper()
			to := good
			change(&to)
			if why := d.SendDatagram(to, bytes.Repeat([]byte("x"), n)); why != want {
				t.Errorf("%+v with %d bytes: %d, want %d", to, n, why, want)
			}
		}
		f(transport.Refused, 5, func(to *transport.Flow) { to.Proto = transport.TCP })
		f(transport.Refused, 5, func(to *transport.Flow) { to.Listener = 1 })
		f(transport.Refused, 5, func(to *transport.Flow) { to.Remote.IP = [16]byte{15: 1} })
		f(transport.TooBig, 65536, func(*transport.Flow) {})
		f(transport.TooBig, 65520, func(*transport.Flow) {}) // more than an IPv4 packet holds
		f(0, 5, func(*transport.Flow) {})
		if got, _ := p.receive(); string(got) != "xxxxx" {
			t.Errorf("got %q", got)
		}
		r.stop()
		f(transport.Refused, 5, func(*transport.Flow) {})
	})
}

// The sockets close while others still send: nothing is written into a file that got a socket's number.
func TestSendDatagramWhileStopping(t *testing.T) {
	each(t, func(t *testing.T, b backend) {
		for range 10 {
			r := start(t, b, transport.Config{Listeners: listeners(t, "127.0.0.1:0"), Loops: 1}, func() *handler { return &handler{} })
			d := r.Engine.(transport.Datagrams)
			p := newPeer(t, "127.0.0.1")
			to := transport.Flow{Remote: transport.AddrFrom(p.addr()), Proto: transport.UDP}
			var senders sync.WaitGroup
			began := make(chan struct{}, 4)
			for range 4 {
				senders.Go(func() {
					began <- struct{}{}
					for d.SendDatagram(to, []byte("hello")) == 0 {
					}
				})
			}
			for range 4 {
				<-began
			}
			r.stop()
			senders.Wait()
		}
	})
}
