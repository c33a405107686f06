//go:build linux

package load

import "bytes"

// sendFirst sends, or sends again, the request that opens the unit.
func (g *generator) sendFirst(c *call) {
	t := g.styles[c.style].invite
	if g.Mode == Options {
		t = g.styles[c.style].options
	}
	g.sendCaller(c, &g.proxy, t)
}

func (g *generator) sendCaller(c *call, to *sockaddr, t template) {
	s := g.uac[c.uacSocket]
	s.send(to, g.render(s.buffer(), t, c), c.slot)
}

// callerDue is a timer of the caller: Timer A, E or the end of the hold time.
func (g *generator) callerDue(c *call) {
	st := g.styles[c.style]
	switch c.uac {
	case calling:
		g.sendFirst(c)
		g.res.Retransmissions.Request++
		c.uacGap *= 2
		if g.Mode == Options {
			c.uacGap = min(c.uacGap, int64(g.T2))
		}
	case talking:
		g.sendBye(c)
		return
	case leaving, cancelling:
		if c.uac == leaving {
			g.sendCaller(c, &c.next, st.bye)
		} else {
			g.sendCaller(c, &g.proxy, st.cancel)
		}
		g.res.Retransmissions.Request++
		// "the timer resets with MIN(2*T1, T2)", RFC 3261 section 17.1.2.1
		c.uacGap = min(2*c.uacGap, int64(g.T2))
	default:
		c.uacDue = 0
		return
	}
	c.uacDue = g.now + c.uacGap
}

func (g *generator) sendBye(c *call) {
	c.uac = leaving
	g.sendCaller(c, &c.next, g.styles[c.style].bye)
	c.uacGap = int64(g.T1)
	c.uacDue = g.now + c.uacGap
	g.lookAt(c, c.uacDue)
}

func (g *generator) sendCancel(c *call) {
	c.uac, c.cancelled = cancelling, true
	g.sendCaller(c, &g.proxy, g.styles[c.style].cancel)
	c.uacGap = int64(g.T1)
	c.uacDue = g.now + c.uacGap
}

// response takes in a response at the caller.
func (g *generator) response(c *call, s *socket, from *sockaddr, b []byte) {
	v := &g.v
	if why := g.checkResponse(c, s, from); why != fine {
		g.wrongMessage(why, true, b)
	}
	switch v.method {
	case mInvite:
		g.inviteResponse(c, b)
	case mBYE:
		if c.uac != leaving || v.status < 200 {
			g.res.Overtaken++
			return
		}
		if v.status != 200 {
			g.refuse[v.status]++
			g.fail(c)
			return
		}
		g.complete(c)
	case mCancel:
		if v.status != 200 {
			g.refuse[v.status]++
			g.fail(c)
		} else if c.uac == cancelling {
			c.uacDue = 0 // what remains is the 487 to the INVITE
		}
	case mOptions:
		switch {
		case v.status < 200:
		case v.status != 200:
			g.refuse[v.status]++
			g.fail(c)
		default:
			g.setUp(c)
			g.complete(c)
		}
	default:
		g.wrongMessage(unexpectedResponse, true, b)
	}
}

func (g *generator) inviteResponse(c *call, b []byte) {
	v, st := &g.v, g.styles[c.style]
	switch {
	case v.status < 200:
		switch c.uac {
		case calling:
			c.uac, c.uacDue = proceeding, 0
		case proceeding, cancelling:
		default:
			g.res.Overtaken++
			return
		}
		if v.status == 180 && c.uasGap == 0 && g.Mode == Ring && c.giveUp != 0 && !g.opened {
			c.giveUp = 0 // rings until told otherwise
			g.inviteRinging++
		}
	case v.status == 200:
		switch c.uac {
		case calling, proceeding:
			g.setUp(c)
			if why := g.learnRoute(c); why != fine {
				g.wrongMessage(why, true, b)
				g.fail(c)
				return
			}
			c.uac = talking
			g.sendCaller(c, &c.next, st.ack)
			if g.HoldTime == 0 {
				g.sendBye(c)
			} else {
				c.uacDue = g.now + int64(g.HoldTime)
				g.lookAt(c, c.uacDue)
			}
		case talking, leaving:
			// "Any retransmissions of the 2xx ... ACK is passed to the transport each time",
			// in the sense of RFC 3261 section 13.2.2.4.
			g.res.Duplicates++
			g.res.Retransmissions.ACK++
			g.sendCaller(c, &c.next, st.ack)
		default:
			g.wrongMessage(unexpectedResponse, true, b)
		}
	default:
		g.sendCaller(c, &g.proxy, st.ackFailure)
		if c.cancelled && v.status == 487 {
			// The ACK is hop by hop: behind a stateful proxy the called party gets the proxy's.
			c.acked = true
			g.complete(c)
			return
		}
		if c.uac == calling || c.uac == proceeding || c.uac == cancelling {
			g.refuse[v.status]++
			g.fail(c)
			return
		}
		g.wrongMessage(unexpectedResponse, true, b)
	}
}

func (g *generator) setUp(c *call) {
	d := g.now - c.started - int64(g.RingTime)
	if g.Mode == Ring {
		return // how long it rang was the bench's choice
	}
	g.setup.add(d)
	if g.Each {
		g.res.Each = append(g.res.Each, Each{c.started / 1000, d / 1000})
	}
	if d > int64(g.Late) {
		g.res.Late++
	}
}

// learnRoute takes the route set and the next hop of the dialog from the 200 in the view.
//
// "The route set MUST be set to the list of URIs in the Record-Route header field from the
// response, taken in reverse order", RFC 3261 section 12.1.2.
func (g *generator) learnRoute(c *call) reason {
	v := &g.v
	n := 0
	for i := v.nRR - 1; i >= 0; i-- {
		if n+len("Route: \r\n")+len(v.rr[i]) > keptRoutes {
			return tooManyRoutes
		}
		n += copy(c.route[n:], "Route: ")
		n += copy(c.route[n:], v.rr[i])
		n += copy(c.route[n:], "\r\n")
	}
	c.routeLen = uint16(n)
	switch {
	case v.nRR > 0:
		top := v.rr[v.nRR-1]
		if _, lr := param(trimAngle(top), "lr"); !lr {
			return wrongRoute // a strict router: nobody in this bench is one
		}
		if !parseHostPort(top, &c.next) {
			return wrongRoute
		}
	case g.InDialogToProxy || g.Floor:
		c.next = g.proxy
	default:
		if !parseHostPort(v.contact, &c.next) {
			return wrongContact
		}
	}
	return fine
}

func trimAngle(b []byte) []byte {
	if i := bytes.IndexByte(b, '<'); i >= 0 {
		b = b[i+1:]
	}
	if i := bytes.IndexByte(b, '>'); i >= 0 {
		b = b[:i]
	}
	return b
}
