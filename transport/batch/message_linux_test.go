package batch

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// What goes into the kernel's structures comes out of them, scope and port order included.
func TestScopes(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		s := socket{v6: v6, wildcard: true, listener: 3, queue: newSendQueue(v6, true)}
		to := transport.Flow{
			Remote:   transport.Addr{IP: [16]byte{0xfe, 0x80, 15: 9}, Scope: 7, Port: 0x1234},
			Local:    [16]byte{0xfe, 0x80, 15: 1},
			Listener: 3, Proto: transport.UDP,
		}
		if !v6 {
			mapped(&to.Remote.IP, [4]byte{192, 0, 2, 9})
			mapped(&to.Local, [4]byte{192, 0, 2, 1})
			to.Remote.Scope = 0
		}
		s.putAddr(&s.queue.names[5], &to.Remote)
		s.putLocal(s.queue, 5, &to)
		if got := s.flowOf(5); got != to {
			t.Errorf("v6 %t: got %+v, want %+v", v6, got, to)
		}
		port := (*[4]byte)(unsafe.Pointer(&s.queue.names[5]))
		if port[2] != 0x12 || port[3] != 0x34 {
			t.Errorf("v6 %t: the port is not in network byte order: % x", v6, port)
		}
		// The receiving side reads the same control data.
		var ip [16]byte
		h := &s.queue.hdrs[5].hdr
		s.local(bytesOf(&s.queue.control[5])[:h.Controllen], &ip)
		if v6 && ip != to.Local {
			t.Errorf("local %v, want %v", ip, to.Local)
		}
		if v6 {
			if info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&bytesOf(&s.queue.control[5])[unix.CmsgLen(0)])); info.Ifindex != 7 {
				t.Errorf("a link-local address would leave by interface %d, want 7", info.Ifindex)
			}
		}
		to.Local = [16]byte{}
		s.putLocal(s.queue, 5, &to)
		if got := s.flowOf(5); got != to {
			t.Errorf("v6 %t: got %+v, want %+v", v6, got, to)
		}
	}
}

func TestBadControlData(t *testing.T) {
	s := socket{wildcard: true}
	good := make([]uint64, 8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&good[0])), 64)
	for _, n := range []uint64{0, 1, 15, 16, 17, 27, 28, 63, 64, 65, 1 << 40} {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.SetLen(int(n))
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		for cut := range len(b) + 1 {
			var ip [16]byte
			s.local(b[:cut:cut], &ip) // must not read beyond
		}
	}
}

func TestFailureOf(t *testing.T) {
	f := func(origin, kind, code uint8, errno unix.Errno, want transport.Failure) {
		t.Helper()
		e := unix.SockExtendedErr{Errno: uint32(errno), Origin: origin, Type: kind, Code: code}
		if got := failureOf(&e); got != want {
			t.Errorf("%+v: %d, want %d", e, got, want)
		}
	}
	const v4, v6, local = unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6, unix.SO_EE_ORIGIN_LOCAL
	f(v4, 3, 3, unix.ECONNREFUSED, transport.Unreachable) // port
	f(v4, 3, 1, unix.EHOSTUNREACH, transport.Unreachable)
	f(v4, 3, 0, unix.ENETUNREACH, transport.Unreachable)
	f(v4, 3, 2, unix.ENOPROTOOPT, transport.Unreachable)
	f(v4, 3, 13, unix.EHOSTUNREACH, transport.Unreachable) // prohibited by a firewall
	f(v4, 3, 4, unix.EMSGSIZE, transport.TooBig)
	f(v4, 12, 0, unix.EPROTO, transport.Unreachable) // parameter problem
	f(v4, 11, 0, unix.EHOSTUNREACH, 0)               // time exceeded
	f(v4, 4, 0, unix.EHOSTUNREACH, 0)                // source quench
	f(v6, 1, 4, unix.ECONNREFUSED, transport.Unreachable)
	f(v6, 1, 1, unix.EACCES, transport.Unreachable)
	f(v6, 2, 0, unix.EMSGSIZE, transport.TooBig)
	f(v6, 3, 0, unix.EHOSTUNREACH, 0) // time exceeded
	f(v6, 4, 1, unix.EPROTO, transport.Unreachable)
	f(local, 0, 0, unix.EMSGSIZE, transport.TooBig)
	f(local, 0, 0, unix.EHOSTUNREACH, transport.Refused)
	f(unix.SO_EE_ORIGIN_TIMESTAMPING, 0, 0, unix.ENOMSG, 0)
}
