//go:build linux

package load

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// Every message is held against what its sender meant, as far as a proxy may not change it.

func (g *generator) same(t template, c *call, got []byte) bool {
	g.scratch = g.render(g.scratch[:0], t, c)
	return bytes.Equal(g.scratch, got)
}

// checkRequest looks at a request that the called party got on its socket of that number.
func (g *generator) checkRequest(c *call, number int, from *sockaddr, b []byte) reason {
	v, st := &g.v, g.styles[c.style]
	direct := false
	if *from != g.proxy && !g.Floor {
		// Without Record-Route, what follows the 200 goes from end to end.
		if from.port() != g.uac[c.uacSocket].local.Port() || c.routeLen > 0 || (v.method != mACK && v.method != mBYE) {
			return wrongSource
		}
		direct = true
	}
	if number != int(c.uasSocket) {
		if len(g.uas) == 1 || g.targets[number] == g.targets[c.uasSocket] {
			c.uasSocket = uint8(number)
		} else {
			return wrongStart
		}
	}
	var start template
	letter, cseq, to := byte('i'), "1 INVITE", st.to
	switch v.method {
	case mInvite:
		start = g.startInvite
	case mACK:
		start, cseq, to, letter = g.startDialog[0], "1 ACK", st.toTagged, 'a'
		if c.uas == rejected {
			// Between a stateful proxy and us this ACK is the proxy's own.
			start, letter = nil, 0
		}
	case mBYE:
		start, cseq, to, letter = g.startDialog[1], "2 BYE", st.toTagged, 'b'
	case mCancel:
		// "A stateful proxy generates its own CANCEL", so its Via stack is the proxy's alone.
		start, cseq, letter = g.startOther[0], "1 CANCEL", 0
	case mOptions:
		start, cseq, letter = g.startOther[1], "1 OPTIONS", 'o'
	default:
		return unexpectedRequest
	}
	if start != nil && !g.same(start, c, v.start) {
		return wrongStart
	}
	vias, hops := 2, "69"
	if direct || g.Floor {
		vias, hops = 1, "70"
	}
	if letter != 0 {
		if v.nVias != vias || !g.ourVia(c, v.vias[v.nVias-1], letter) {
			return wrongVia
		}
		if string(v.hops) != hops {
			return wrongHops
		}
	}
	if vias == 2 {
		if branch, _ := param(v.vias[0], "branch"); len(branch) < 8 || string(branch[:7]) != "z9hG4bK" {
			return wrongVia
		}
	}
	if v.method == mInvite {
		if (g.RecordRoute == Always && v.nRR == 0) || (g.RecordRoute == Never && v.nRR != 0) {
			return wrongRecordRoute
		}
	}
	if v.nRoutes != 0 {
		return wrongRoute
	}
	if why := g.checkCommon(c, cseq, to); why != fine {
		return why
	}
	if v.method == mInvite {
		if !g.bodyIs(st.body) {
			return wrongBody
		}
		if c.deep {
			g.scratch = g.render(g.scratch[:0], st.invite, c)
			if !sameButForHops(g.scratch, b) {
				return wrongBytes
			}
		}
	} else if !g.bodyIs(nil) {
		return wrongBody
	}
	return fine
}

// checkResponse looks at a response that the caller got.
func (g *generator) checkResponse(c *call, s *socket, from *sockaddr) reason {
	v, st := &g.v, g.styles[c.style]
	if s != g.uac[c.uacSocket] {
		return wrongVia
	}
	if *from != g.proxy && (v.method != mBYE || c.routeLen > 0 || from.port() != g.uas[c.uasSocket].local.Port()) {
		return wrongSource
	}
	letter, cseq := byte('i'), "1 INVITE"
	switch v.method {
	case mInvite:
	case mBYE:
		letter, cseq = 'b', "2 BYE"
	case mCancel:
		cseq = "1 CANCEL"
	case mOptions:
		letter, cseq = 'o', "1 OPTIONS"
	default:
		return unexpectedResponse
	}
	if v.nVias != 1 || !g.ourVia(c, v.vias[0], letter) {
		return wrongVia
	}
	if rport, _ := param(v.vias[0], "rport"); len(rport) > 0 && decimal(rport) != int(s.local.Port()) && !g.Floor {
		return wrongVia
	}
	// The proxy's own answers, 100 among them, carry the To as sent or a tag of its own.
	fromPeer := v.status == 180 || v.status == 200 && v.method != mCancel
	if !fromPeer {
		if !g.same(st.from, c, v.from) {
			return wrongFrom
		}
		if !bytes.Equal(v.cseq, []byte(cseq)) {
			return wrongCSeq
		}
		return fine
	}
	if why := g.checkCommon(c, cseq, st.toTagged); why != fine {
		return why
	}
	if v.method != mInvite {
		if !g.bodyIs(nil) && v.method != mOptions {
			return wrongBody
		}
		return fine
	}
	n := 0
	for i := range v.nRR {
		// The called party copied what it got; on the way back nobody may change it here.
		rr := v.rr[i]
		line := c.record[n:c.recordLen]
		if len(line) < len("Record-Route: \r\n")+len(rr) || !bytes.Equal(line[len("Record-Route: "):][:len(rr)], rr) {
			return wrongRecordRoute
		}
		n += len("Record-Route: \r\n") + len(rr)
	}
	if n != int(c.recordLen) {
		return wrongRecordRoute
	}
	if v.status == 200 {
		if !g.bodyIs(st.answer) {
			return wrongBody
		}
		return fine
	}
	if !g.bodyIs(nil) {
		return wrongBody
	}
	return fine
}

func (g *generator) checkCommon(c *call, cseq string, to template) reason {
	v, st := &g.v, g.styles[c.style]
	switch {
	case !g.same(st.callID, c, v.callID):
		return wrongCallID
	case !g.same(st.from, c, v.from):
		return wrongFrom
	case !g.same(to, c, v.to):
		return wrongTo
	case string(v.cseq) != cseq:
		return wrongCSeq
	}
	return fine
}

func (g *generator) bodyIs(want []byte) bool {
	v := &g.v
	return v.length == len(want) && bytes.Equal(v.body, want)
}

const viaStart = "SIP/2.0/UDP "

// ourVia reports whether via is the one this call's caller wrote, apart from what a server adds
// to it (received, rport).
func (g *generator) ourVia(c *call, via []byte, letter byte) bool {
	host := g.uac[c.uacSocket].host
	if len(via) < len(viaStart)+len(host)+1 || string(via[:len(viaStart)]) != viaStart {
		return false
	}
	rest := via[len(viaStart):]
	if string(rest[:len(host)]) != host || rest[len(host)] != ';' {
		return false
	}
	branch, ok := param(rest, "branch")
	own := g.styles[c.style].branch
	return ok && len(branch) == len(own)+len(c.token)+1 && string(branch[:len(own)]) == own &&
		bytes.Equal(branch[len(own):len(own)+len(c.token)], c.token[:]) && branch[len(branch)-1] == letter
}

// sameButForHops compares two messages line by line, leaving out what a proxy adds, removes or
// counts: Via, Record-Route, Route, Max-Forwards and, by RFC 5393, Max-Breadth. All else must be the same bytes in the same order.
func sameButForHops(sent, got []byte) bool {
	for {
		a, restA := nextKept(sent)
		b, restB := nextKept(got)
		if !bytes.Equal(a, b) {
			return false
		}
		if len(a) <= 2 { // the empty line, or the end
			return bytes.Equal(restA, restB)
		}
		sent, got = restA, restB
	}
}

func nextKept(b []byte) (line, rest []byte) {
	for {
		n := bytes.IndexByte(b, '\n') + 1
		line, b = b[:n], b[n:]
		name := line
		if i := bytes.IndexByte(line, ':'); i >= 0 {
			name = line[:i]
		}
		switch string(name) {
		case "Via", "v", "Record-Route", "Route", "Max-Forwards", "Max-Breadth":
			continue
		}
		return line, b
	}
}

// sentByPort is the port of a Via's sent-by, 5060 when there is none, -1 when it cannot be read.
func sentByPort(via []byte) int {
	if len(via) < len(viaStart) {
		return -1
	}
	b := via[len(viaStart):]
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		b = b[:i]
	}
	b = trimRight(b)
	colon := bytes.LastIndexByte(b, ':')
	if colon < 0 || b[len(b)-1] == ']' {
		return 5060
	}
	return decimal(b[colon+1:])
}

// parseHostPort reads the address out of a name-addr or URI whose host is an IP literal.
func parseHostPort(b []byte, to *sockaddr) bool {
	b = trimAngle(b)
	if len(b) < 4 || string(b[:4]) != "sip:" {
		return false
	}
	b = b[4:]
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		b = b[:i]
	}
	if i := bytes.IndexByte(b, '@'); i >= 0 {
		b = b[i+1:]
	}
	// The string does not outlive the call, so it may share the bytes.
	s := unsafe.String(unsafe.SliceData(b), len(b))
	if ap, err := netip.ParseAddrPort(s); err == nil {
		to.set(ap)
		return true
	}
	if a, err := netip.ParseAddr(s); err == nil {
		to.set(netip.AddrPortFrom(a, 5060))
		return true
	}
	return false
}
