//go:build linux

package load

// request takes in a request at the called party.
func (g *generator) request(c *call, s *socket, number int, from *sockaddr, b []byte) {
	v, st := &g.v, g.styles[c.style]
	if why := g.checkRequest(c, number, from, b); why != fine {
		g.wrongMessage(why, false, b)
		if why == wrongSource {
			return
		}
	}
	g.vias = g.vias[:0]
	for i := range v.nVias {
		g.vias = append(g.vias, "Via: "...)
		g.vias = append(g.vias, v.vias[i]...)
		g.vias = append(g.vias, "\r\n"...)
	}
	var to sockaddr
	if !g.replyTo(from, &to) {
		g.wrongMessage(wrongVia, false, b)
		return
	}
	switch v.method {
	case mInvite:
		g.invite(c, s, &to, b)
	case mACK:
		switch c.uas {
		case answered, confirmed:
			if c.uas == confirmed {
				g.res.Duplicates++
			}
			c.uas, c.uasDue, c.acked = confirmed, 0, true
		case rejected, ended:
			if c.uas == ended && !c.acked {
				g.res.Overtaken++
			}
			c.uasDue, c.acked = 0, true
		default:
			g.wrongMessage(unexpectedRequest, false, b)
		}
	case mBYE:
		switch c.uas {
		case answered, confirmed:
			c.uas, c.uasDue = ended, 0
		case ended:
			g.res.Duplicates++
		default:
			g.wrongMessage(unexpectedRequest, false, b)
			return
		}
		g.sendCalled(s, &to, st.okBye, c)
	case mCancel:
		g.sendCalled(s, &to, st.okCancel, c)
		if c.uas == ringing {
			c.uas = rejected
			g.vias = append(g.vias[:0], c.vias[:c.viasLen]...)
			g.sendCalled(s, &c.source, st.tm, c)
			c.uasGap = int64(g.T1)
			c.uasDue = g.now + c.uasGap
			g.lookAt(c, c.uasDue)
		}
	case mOptions:
		g.sendCalled(s, &to, st.okOptions, c)
	default:
		g.wrongMessage(unexpectedRequest, false, b)
	}
}

func (g *generator) sendCalled(s *socket, to *sockaddr, t template, c *call) {
	s.send(to, g.render(s.buffer(), t, c), c.slot)
}

// invite handles an INVITE, new or again.
func (g *generator) invite(c *call, s *socket, to *sockaddr, b []byte) {
	v, st := &g.v, g.styles[c.style]
	switch c.uas {
	case idle:
	case ringing:
		g.res.Duplicates++
		g.sendCalled(s, to, st.ringing, c)
		return
	case answered:
		g.res.Duplicates++
		g.sendCalled(s, to, st.ok, c)
		return
	default:
		g.res.Duplicates++ // overtaken by what came after it; the transaction is over
		return
	}
	n := 0
	for i := range v.nRR {
		if n+len("Record-Route: \r\n")+len(v.rr[i]) > keptRoutes {
			g.wrongMessage(tooManyRoutes, false, b)
			break
		}
		n += copy(c.record[n:], "Record-Route: ")
		n += copy(c.record[n:], v.rr[i])
		n += copy(c.record[n:], "\r\n")
	}
	c.recordLen = uint16(n)
	if len(g.vias) > keptVias {
		g.wrongMessage(tooManyVias, false, b)
		return
	}
	c.viasLen = uint16(copy(c.vias[:], g.vias))
	c.source = *to
	g.sendCalled(s, to, st.trying, c)
	g.sendCalled(s, to, st.ringing, c)
	c.uas = ringing
	switch {
	case g.Mode == Ring:
	case g.RingTime > 0:
		c.uasDue = g.now + int64(g.RingTime)
		g.lookAt(c, c.uasDue)
	default:
		g.answer(c)
	}
}

// answer sends the 200 and starts repeating it.
//
// "...passed to the transport with an interval that starts at T1 seconds and doubles for each
// retransmission until it reaches T2 seconds", RFC 3261 section 13.3.1.4.
func (g *generator) answer(c *call) {
	g.vias = append(g.vias[:0], c.vias[:c.viasLen]...)
	c.uas = answered
	g.sendCalled(g.uas[c.uasSocket], &c.source, g.styles[c.style].ok, c)
	c.uasGap = int64(g.T1)
	c.uasDue = g.now + c.uasGap
	g.lookAt(c, c.uasDue)
}

// calledDue is a timer of the called party: it answers, or sends its final response again.
func (g *generator) calledDue(c *call) {
	t := g.styles[c.style].ok
	switch c.uas {
	case ringing:
		g.answer(c)
		return
	case answered:
	case rejected:
		t = g.styles[c.style].tm
	default:
		c.uasDue = 0
		return
	}
	g.vias = append(g.vias[:0], c.vias[:c.viasLen]...)
	g.sendCalled(g.uas[c.uasSocket], &c.source, t, c)
	g.res.Retransmissions.Final++
	c.uasGap = min(2*c.uasGap, int64(g.T2))
	c.uasDue = g.now + c.uasGap
}

// replyTo says where a response to the request in the view goes.
//
// "...the response MUST be sent ... to the source IP address" of the request, and to the source
// port if the topmost Via has "rport" (RFC 3581 section 4), else to the port of sent-by
// (RFC 3261 section 18.2.2). The address is the source either way, since "received" is.
func (g *generator) replyTo(from, to *sockaddr) bool {
	*to = *from
	via := g.v.vias[0]
	if _, rport := param(via, "rport"); rport {
		return true
	}
	port := sentByPort(via)
	if port < 0 {
		return false
	}
	to.setPort(uint16(port))
	return true
}
