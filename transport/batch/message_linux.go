package batch

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// mmsghdr is struct mmsghdr of recvmmsg(2); the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received or sent
}

func recvmmsg(fd int, hdrs *mmsghdr, n int, flags int) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(hdrs)),
		uintptr(n), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

func sendmmsg(fd int, hdrs *mmsghdr, n int) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(hdrs)),
		uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// sockaddr has room for an address of either family; an IPv4 one lies at its start.
type sockaddr = unix.RawSockaddrInet6

func (s *socket) putAddr(sa *sockaddr, a *transport.Addr) {
	if s.v6 {
		sa.Family = unix.AF_INET6
		putPort(&sa.Port, a.Port)
		sa.Addr = a.IP
		sa.Scope_id = a.Scope
		return
	}
	sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	sa4.Family = unix.AF_INET
	putPort(&sa4.Port, a.Port)
	sa4.Addr = [4]byte(a.IP[12:])
}

func (s *socket) getAddr(sa *sockaddr, a *transport.Addr) {
	if s.v6 {
		a.Port = getPort(&sa.Port)
		a.IP = sa.Addr
		a.Scope = sa.Scope_id
		return
	}
	sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
	a.Port = getPort(&sa4.Port)
	mapped(&a.IP, sa4.Addr)
}

// mapped stores an IPv4 address in its IPv4-mapped IPv6 form.
func mapped(ip *[16]byte, v4 [4]byte) {
	*ip = [16]byte{10: 0xff, 11: 0xff, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}
}

// A port in a sockaddr is in network byte order, whatever the machine's.
func putPort(p *uint16, port uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], port)
}

func getPort(p *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:])
}

// cmsgs walks over control data. The bytes are the kernel's, but lengths are checked anyway.
type cmsgs struct{ rest []byte }

func (c *cmsgs) next() (level, kind int32, data []byte, ok bool) {
	if len(c.rest) < unix.SizeofCmsghdr {
		return 0, 0, nil, false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(c.rest)))
	n := int(h.Len)
	if n < unix.SizeofCmsghdr || n > len(c.rest) {
		return 0, 0, nil, false
	}
	data = c.rest[unix.CmsgLen(0):n]
	c.rest = c.rest[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(c.rest)):]
	return h.Level, h.Type, data, true
}

// local finds the address that a datagram came to.
func (s *socket) local(control []byte, ip *[16]byte) {
	for c := (cmsgs{control}); ; {
		level, kind, data, ok := c.next()
		switch {
		case !ok:
			return
		case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// ipi_spec_dst is the local address, also for a broadcast; ip(7).
			mapped(ip, (*unix.Inet4Pktinfo)(unsafe.Pointer(unsafe.SliceData(data))).Spec_dst)
			return
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			*ip = (*unix.Inet6Pktinfo)(unsafe.Pointer(unsafe.SliceData(data))).Addr
			return
		}
	}
}
