package batch

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// receiveErrors takes one batch from the error queue of socket i. Linux reports ICMP errors on
// an unconnected socket only there (ip(7), IP_RECVERR), with the payload that was sent and the
// address it was sent to. Which loop sent it is not known: the error comes to the socket that
// the hash over the addresses finds.
func (l *loop) receiveErrors(i int) {
	n, errno := recvmmsg(l.socks[i].fd, &l.in.hdrs[0], receiveBatch, unix.MSG_ERRQUEUE)
	if errno != 0 {
		return // EAGAIN: there was only an error of the socket, which the next receive clears
	}
	l.in.at, l.in.got, l.in.from, l.in.errors = 0, n, i, true
	if n == receiveBatch {
		l.failed |= 1 << uint(i)
	}
	l.stats.icmpErrors.Add(uint64(n))
}

func (l *loop) deliverError(s *socket, i int, flow transport.Flow) {
	in := &l.in
	why := transport.Failure(0)
	for c := (cmsgs{in.controlOf(i)}); ; {
		level, kind, data, ok := c.next()
		if !ok {
			break
		}
		if (level == unix.IPPROTO_IP && kind == unix.IP_RECVERR || level == unix.IPPROTO_IPV6 && kind == unix.IPV6_RECVERR) &&
			len(data) >= int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			why = failureOf((*unix.SockExtendedErr)(unsafe.Pointer(unsafe.SliceData(data))))
		}
	}
	if s.wildcard {
		s.local(in.controlOf(i), &flow.Local)
	}
	in.reset(i)
	if why != 0 {
		l.handler.SendFailed(flow, in.current, why, l.now)
	}
}

// failureOf judges an entry of the error queue; 0 means that it is to be ignored.
//
// "Host, network, port or protocol unreachable errors, or parameter problem errors SHOULD
// cause the transport layer to inform the transport user of a failure in sending. Source
// quench and TTL exceeded ICMP errors SHOULD be ignored." RFC 3261 section 18.4
func failureOf(e *unix.SockExtendedErr) transport.Failure {
	const (
		icmpUnreachable      = 3 // RFC 792
		icmpParameterProblem = 12
		icmp6Unreachable     = 1 // RFC 4443
		icmp6TooBig          = 2
		icmp6ParameterProb   = 4
	)
	switch {
	case unix.Errno(e.Errno) == unix.EMSGSIZE:
		return transport.TooBig // "fragmentation needed", "packet too big", or known here already
	case e.Origin == unix.SO_EE_ORIGIN_ICMP && (e.Type == icmpUnreachable || e.Type == icmpParameterProblem),
		e.Origin == unix.SO_EE_ORIGIN_ICMP6 && (e.Type == icmp6Unreachable || e.Type == icmp6ParameterProb):
		return transport.Unreachable
	case e.Origin == unix.SO_EE_ORIGIN_ICMP6 && e.Type == icmp6TooBig:
		return transport.TooBig
	case e.Origin == unix.SO_EE_ORIGIN_LOCAL:
		return transport.Refused
	}
	return 0
}
