package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// question is what DNS is asked: a name in lower case with its final dot, and a type.
type question struct {
	name string
	kind uint16
}

// servers is the list to ask. It is replaced as a whole when resolv.conf changes.
type servers struct {
	addrs  []string
	prefer atomic.Uint32 // index of the one to ask first: rotates away from one that says nothing
}

// udpSize is what we take by UDP (EDNS0): what fits an Ethernet and IPv6's least MTU with headers, as the DNS flag day of
// 2020 settled.
const udpSize = 1232

// client asks DNS servers. One for all workers; nothing in it belongs to one of them.
type client struct {
	ctx   context.Context // ends with the Resolver
	try   time.Duration
	tries int
	n     *counts
}

// asking is one question under way.
type asking struct {
	q         question
	id        uint16
	wire      []byte
	reply     *dns.Msg
	refused   int  // servers that answered without an answer
	plain     bool // without EDNS0: the server does not know it
	again     bool // to be sent to the same server once more, without EDNS0
	truncated bool // to be asked by TCP
	skip      bool // this server has refused it
}

func (a *asking) open() bool { return a.reply == nil && !a.skip }

// ask asks all questions at once, server after server, until each has its answer or the time is over. The result has nil
// where there is none.
func (c *client) ask(s *servers, qs []question, deadline time.Time) []*dns.Msg {
	asks := make([]*asking, len(qs))
	for i, q := range qs {
		asks[i] = &asking{q: q}
	}
	first := int(s.prefer.Load()) % len(s.addrs)
	for i := range len(s.addrs) * c.tries {
		at := (first + i) % len(s.addrs)
		waits := false
		for _, a := range asks {
			a.skip = a.refused >= len(s.addrs) // each server has its say once
			waits = waits || a.open()
		}
		if !waits || c.ctx.Err() != nil || !time.Now().Before(deadline) {
			break
		}
		end := time.Now().Add(c.try)
		if end.After(deadline) {
			end = deadline
		}
		if heard := c.exchange(s.addrs[at], asks, end); !heard {
			s.prefer.CompareAndSwap(uint32(at), uint32((at+1)%len(s.addrs)))
		}
	}
	replies := make([]*dns.Msg, len(asks))
	for i, a := range asks {
		replies[i] = a.reply
	}
	return replies
}

// exchange sends what is open to one server and collects its answers. heard tells whether it said anything at all.
func (c *client) exchange(addr string, asks []*asking, end time.Time) (heard bool) {
	// A socket for each exchange: its port is one more thing that a forger has to guess (RFC 5452 section 9.2). Connected, so that
	// packets from others do not come in and ICMP errors do.
	var d net.Dialer
	conn, err := d.DialContext(c.ctx, "udp", addr)
	if err != nil {
		c.n.serverFailures.Add(1)
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(c.ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	conn.SetDeadline(end)
	if c.ctx.Err() != nil {
		return false
	}
	waiting := 0
	for _, a := range asks {
		if a.open() {
			a.id = dns.Id()
			if !c.send(conn, a) {
				return false
			}
			waiting++
		}
	}
	var buf [udpSize + 2048]byte // a server may send more than we asked for
	truncated := false
	for waiting > 0 {
		n, err := conn.Read(buf[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.n.timeouts.Add(uint64(waiting))
			break
		}
		if err != nil {
			c.n.serverFailures.Add(1) // most often: nobody is at that port
			return heard
		}
		a := c.take(buf[:n], asks)
		switch {
		case a == nil:
			c.n.mismatched.Add(1)
			continue
		case a.again:
			a.again = false
			if !c.send(conn, a) {
				return true
			}
		default:
			truncated = truncated || a.truncated
			waiting--
		}
		heard = true
	}
	if truncated {
		c.exchangeTCP(addr, asks, end)
	}
	return heard
}

func (c *client) send(conn net.Conn, a *asking) bool {
	m := dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: a.id, RecursionDesired: true},
		Question: []dns.Question{{Name: a.q.name, Qtype: a.q.kind, Qclass: dns.ClassINET}},
	}
	if !a.plain {
		m.SetEdns0(udpSize, false)
	}
	var err error
	if a.wire, err = m.Pack(); err != nil {
		a.skip = true // not a name; whoever asks checks before
		return false
	}
	c.n.questions.Add(1)
	if _, err = conn.Write(a.wire); err != nil {
		c.n.serverFailures.Add(1)
		return false
	}
	return true
}

// take finds out which of asks a packet answers, and puts its answer there; nil: none. What does not carry the number and
// the very question of a query under way is from a forger or too late, and ignored (RFC 5452 section 9.1).
func (c *client) take(packet []byte, asks []*asking) *asking {
	if len(packet) < 12 {
		return nil
	}
	var m dns.Msg
	err := m.Unpack(packet)
	if !m.Response || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 || m.Question[0].Qclass != dns.ClassINET {
		// A server that cannot read our packet at all answers FORMERR with nothing but a header.
		if m.Response && m.Rcode == dns.RcodeFormatError && len(m.Question) == 0 {
			for _, a := range asks {
				if a.open() && !a.truncated && a.id == m.Id && !a.plain {
					a.plain, a.again = true, true
					return a
				}
			}
		}
		return nil
	}
	var a *asking
	for _, b := range asks {
		if b.open() && !b.truncated && b.id == m.Id && b.q.kind == m.Question[0].Qtype && strings.EqualFold(b.q.name, m.Question[0].Name) {
			a = b
			break
		}
	}
	switch {
	case a == nil:
		return nil
	case m.Truncated:
		a.truncated = true
		return a
	case err != nil:
		return nil // the rest of it cannot be read: a forger's, or not worth waiting for
	}
	c.judge(a, &m)
	return a
}

// judge takes in a whole answer.
func (c *client) judge(a *asking, m *dns.Msg) {
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		// A referral: NS records and neither an answer nor an SOA (RFC 2308 section 2.2). This server does not look further for us.
		if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 && !m.Authoritative && has(m.Ns, dns.TypeNS) && !has(m.Ns, dns.TypeSOA) {
			c.refuse(a)
			return
		}
		a.reply = m
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		if !a.plain {
			a.plain, a.again = true, true // RFC 6891 section 7
			return
		}
		c.refuse(a)
	default:
		c.refuse(a)
	}
}

func (c *client) refuse(a *asking) {
	c.n.serverFailures.Add(1)
	a.refused++
	a.skip = true
}

func has(rrs []dns.RR, kind uint16) bool {
	for _, rr := range rrs {
		if rr.Header().Rrtype == kind {
			return true
		}
	}
	return false
}

// exchangeTCP asks again what did not fit a datagram.
func (c *client) exchangeTCP(addr string, asks []*asking, end time.Time) {
	defer func() {
		for _, a := range asks {
			a.truncated = false // what has no answer now is asked elsewhere
		}
	}()
	d := net.Dialer{Deadline: end}
	conn, err := d.DialContext(c.ctx, "tcp", addr)
	if err != nil {
		c.n.serverFailures.Add(1)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(c.ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	conn.SetDeadline(end)
	if c.ctx.Err() != nil {
		return
	}
	var buf []byte
	for _, a := range asks {
		if !a.truncated || a.reply != nil {
			continue
		}
		a.truncated = false // take knows it again
		c.n.truncated.Add(1)
		c.n.questions.Add(1)
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(a.wire)))
		if _, err := conn.Write(append(framed, a.wire...)); err != nil {
			return
		}
		for a.open() && !a.truncated {
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				c.n.serverFailures.Add(1)
				return
			}
			n := int(binary.BigEndian.Uint16(size[:]))
			if cap(buf) < n {
				buf = make([]byte, n)
			}
			if _, err := io.ReadFull(conn, buf[:n]); err != nil {
				c.n.serverFailures.Add(1)
				return
			}
			got := c.take(buf[:n], asks)
			if got == nil {
				c.n.mismatched.Add(1)
				return // on a connection nobody else can speak: this server is confused
			}
			if a.again || a.truncated {
				c.refuse(a) // knows EDNS0 by UDP and not by TCP, or cuts short where there is room
				a.again = false
			}
		}
	}
}
