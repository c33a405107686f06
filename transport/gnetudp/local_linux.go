package gnetudp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// canShareLater: a socket bound alone may let others in afterwards.
	canShareLater = true

	// tellsLocalAddress: the catch-all knows the address that a datagram came to.
	tellsLocalAddress = true

	// bufferFactor: the kernel doubles the receive buffer asked for and reports that. socket(7)
	bufferFactor = 2

	controlBytes = 64 // one packet info of either family
)

func wantLocalAddress(fd int, v6 bool) error {
	if v6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// localOf reads the address from the control data of a received datagram; zero if there is none.
func localOf(control []byte) (ip [16]byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return ip
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			v4 := (*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0])).Spec_dst
			copy(ip[10:], []byte{0xff, 0xff, v4[0], v4[1], v4[2], v4[3]})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			ip = (*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0])).Addr
		}
	}
	return ip
}

// leaveFrom makes the control data for a datagram that is to leave from ip.
func leaveFrom(ip [16]byte, v6 bool, scope uint32) []byte {
	if v6 {
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: ip, Ifindex: scope})
	}
	return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(ip[12:])})
}
