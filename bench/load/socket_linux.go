package load

import (
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch       = 64        // datagrams per receive call: enough that the call itself no longer shows
	queue       = 256       // datagrams queued before they are sent
	maxDatagram = 4096      // no message of ours comes near, a proxy's additions included
	receiveBuf  = 4_194_304 // bytes asked for; the kernel's net.core.rmem_max may give less
)

// sockaddr is a socket address as the kernel wants it, without pointers.
type sockaddr struct {
	raw [unix.SizeofSockaddrInet6]byte
	n   uint32
}

func (s *sockaddr) set(ap netip.AddrPort) {
	*s = sockaddr{}
	if a := ap.Addr().Unmap(); a.Is4() {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		sa.Family, sa.Addr = unix.AF_INET, a.As4()
		s.n = unix.SizeofSockaddrInet4
	} else {
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.raw))
		sa.Family, sa.Addr = unix.AF_INET6, a.As16()
		s.n = unix.SizeofSockaddrInet6
	}
	s.setPort(ap.Port())
}

// The port is at the same place, in network order, in both families.
func (s *sockaddr) setPort(p uint16) { s.raw[2], s.raw[3] = byte(p>>8), byte(p) }
func (s *sockaddr) port() uint16     { return uint16(s.raw[2])<<8 | uint16(s.raw[3]) }

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// groups are the datagrams of one flush, those of one length and one destination together.
//
// Sending is four fifths of what this generator costs, nearly all of it in the kernel, once per
// call of sendmsg. With UDP_SEGMENT the kernel walks its stack once for a whole group and cuts it
// into datagrams where they are received. What the proxy gets is the same datagrams, in bursts.
type groups struct {
	n      int
	hdr    [queue]mmsghdr
	to     [queue]int // the datagram whose destination and length the group has
	count  [queue]int
	start  [queue]int
	iov    [queue]unix.Iovec
	cmsg   [queue][cmsgSpace]byte
	newest [maxDatagram + 1]int // by length: 1 + the last group of that length
}

const (
	cmsgSpace   = 24     // one control message with 16 bits of data
	maxSegments = 64     // UDP_MAX_SEGMENTS of older kernels
	maxGroup    = 60_000 // bytes, below the 65,507 that a datagram can have
)

// socket is one UDP socket with a batch of received datagrams and a queue of datagrams to send.
type socket struct {
	fd    int
	local netip.AddrPort
	host  string // local as it stands in a URI or a Via

	in     [batch]mmsghdr
	inIov  [batch]unix.Iovec
	inFrom [batch]sockaddr
	inBuf  [batch][maxDatagram]byte

	outBuf  [queue][maxDatagram]byte
	outLen  [queue]int
	outTo   [queue]sockaddr
	outCall [queue]uint32 // the call that a datagram belongs to: its datagrams keep their order
	outIn   [queue]uint16 // the group it leaves with
	queued  int
	groups  groups
	gso     bool

	sent, received uint64
	refused        uint64 // datagrams that the kernel would not take
}

func openSocket(at netip.AddrPort) (*socket, error) {
	family := unix.AF_INET
	if !at.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// A smaller buffer shows up as drops in the Result, so failing to get it is not an error.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuf)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, receiveBuf)
	var bind unix.Sockaddr
	if family == unix.AF_INET {
		bind = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().Unmap().As4()}
	} else {
		bind = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	if err := unix.Bind(fd, bind); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind %v: %w", at, err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("getsockname", err)
	}
	s := &socket{fd: fd}
	switch n := name.(type) {
	case *unix.SockaddrInet4:
		s.local = netip.AddrPortFrom(netip.AddrFrom4(n.Addr), uint16(n.Port))
	case *unix.SockaddrInet6:
		s.local = netip.AddrPortFrom(netip.AddrFrom16(n.Addr), uint16(n.Port))
	}
	s.host = s.local.String()
	for i := range batch {
		s.inIov[i].Base = &s.inBuf[i][0]
		s.inIov[i].SetLen(maxDatagram)
		s.in[i].hdr.Iov, s.in[i].hdr.Iovlen = &s.inIov[i], 1
		s.in[i].hdr.Name = &s.inFrom[i].raw[0]
	}
	return s, nil
}

// receive takes in what has arrived, at most one batch, and says how many datagrams that is.
// Datagram i is s.inBuf[i][:s.in[i].n] until the next receive.
func (s *socket) receive() int {
	for i := range batch {
		s.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.in[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0
	}
	for i := range int(n) {
		s.inFrom[i].n = s.in[i].hdr.Namelen
	}
	s.received += uint64(n)
	return int(n)
}

// buffer lends the next send buffer; send queues what was written to it.
func (s *socket) buffer() []byte {
	if s.queued == queue {
		s.flush()
	}
	return s.outBuf[s.queued][:0]
}

func (s *socket) send(to *sockaddr, b []byte, call uint32) {
	i := s.queued
	if len(b) > maxDatagram || &b[0] != &s.outBuf[i][0] {
		panic("load: message outgrew its send buffer")
	}
	s.outLen[i], s.outTo[i], s.outCall[i] = len(b), *to, call
	s.queued++
}

// sameCallWithin is how far apart in the queue two datagrams of a call can be: what one received
// message sets off leaves at once.
const sameCallWithin = 3

// group decides which datagrams leave together. The datagrams of one call keep their order:
// a later one never joins a group that leaves before the earlier one's.
func (s *socket) group() {
	g := &s.groups
	g.n = 0
	for i := range s.queued {
		n := s.outLen[i]
		at := g.newest[n] - 1
		if at >= 0 && at < g.n && s.gso && g.count[at] < maxSegments && (g.count[at]+1)*n <= maxGroup && s.outTo[g.to[at]] == s.outTo[i] {
			for j := i - 1; j >= 0 && j >= i-sameCallWithin; j-- {
				if s.outCall[j] == s.outCall[i] && int(s.outIn[j]) > at {
					at = -1
					break
				}
			}
		} else {
			at = -1
		}
		if at < 0 {
			at = g.n
			g.n++
			g.to[at], g.count[at] = i, 0
			g.newest[n] = at + 1
		}
		s.outIn[i] = uint16(at)
		g.count[at]++
	}
	for i := range s.queued {
		g.newest[s.outLen[i]] = 0
	}
	at := 0
	for k := range g.n {
		g.start[k] = at
		at += g.count[k]
		to := &s.outTo[g.to[k]]
		h := &g.hdr[k].hdr
		h.Name, h.Namelen = &to.raw[0], to.n
		h.Iov, h.Iovlen = &g.iov[g.start[k]], uint64(g.count[k])
		h.Control, h.Controllen = nil, 0
		if g.count[k] > 1 {
			c := (*unix.Cmsghdr)(unsafe.Pointer(&g.cmsg[k]))
			c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
			c.SetLen(unix.SizeofCmsghdr + 2)
			*(*uint16)(unsafe.Pointer(&g.cmsg[k][unix.SizeofCmsghdr])) = uint16(s.outLen[g.to[k]])
			h.Control, h.Controllen = &g.cmsg[k][0], cmsgSpace
		}
	}
	for i := range s.queued {
		k := s.outIn[i]
		iov := &g.iov[g.start[k]]
		iov.Base = &s.outBuf[i][0]
		iov.SetLen(s.outLen[i])
		g.start[k]++
	}
}

// flush sends what is queued. A full socket buffer is retried a bounded number of times: on
// loopback it empties as fast as the peer's softirq runs.
func (s *socket) flush() {
	if s.queued == 0 {
		return
	}
	s.group()
	g := &s.groups
	for first, tries := 0, 0; first < g.n; {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&g.hdr[first])), uintptr(g.n-first), unix.MSG_DONTWAIT, 0, 0)
		if e == 0 {
			for k := first; k < first+int(n); k++ {
				s.sent += uint64(g.count[k])
			}
			first += int(n)
			continue
		}
		if e == unix.EAGAIN && tries < 1000 {
			tries++
			continue
		}
		s.refused += uint64(g.count[first])
		first++
	}
	s.queued = 0
}

// drops is how many datagrams the kernel threw away because this socket's buffer was full.
func (s *socket) drops() uint64 {
	var mem [9]uint32 // SK_MEMINFO_VARS words
	n := uint32(unsafe.Sizeof(mem))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&mem)), uintptr(unsafe.Pointer(&n)), 0)
	const skMeminfoDrops = 8
	if e != 0 || n <= skMeminfoDrops*4 {
		return 0
	}
	return uint64(mem[skMeminfoDrops])
}

func (s *socket) close() { unix.Close(s.fd) }

// wait sleeps until a socket has something or the time, in nanoseconds, is over.
func wait(fds []unix.PollFd, ns int64) {
	ts := unix.NsecToTimespec(ns)
	_, _ = unix.Ppoll(fds, &ts, nil)
}
