package router_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sipedge/parser"
	"sipedge/transport"
)

// check holds every message of an edge to what is true whatever the ladder says:
//
//   - sipedge/parser reads it without complaint, unless the same complaint holds for what was received, and Content-Length is the length of the body;
//   - a forwarded message is the received one, header lines in their order and body byte for byte, but for what RFC 3261
//     sections 16.4, 16.6 and 16.7 change: Request-URI, one Via on top, Max-Forwards, Route, Record-Route, Max-Breadth;
//     on the way back one Via less, and in a 401 or 407 the challenges of other branches;
//   - a message that the edge made itself belongs to one it received or sent, with the header fields that sections 8.2.6,
//     9.1 and 17.1.1.3 take over;
//   - a branch parameter is never used for two transactions.
func (e *edge) check(to string, by transport.Flow, b []byte) error {
	var pm parser.Message
	if fault := parser.Parse(b, &pm); fault.Code != 0 {
		// What a proxy only relays may be faulty, and stays so.
		asReceived := func(in *message) bool { return parser.Parse(in.raw, &pm).Code == fault.Code }
		if e.received(asReceived) == nil {
			return fmt.Errorf("the parser refuses it: %v", fault)
		}
	}
	m, err := readMessage(b)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(m.get("Content-Length")); m.has("Content-Length") && (err != nil || n != len(m.body)) {
		return fmt.Errorf("Content-Length %q with a body of %d bytes", m.get("Content-Length"), len(m.body))
	}
	if (by.Proto == transport.TCP || by.Proto == transport.TLS) && !m.has("Content-Length") {
		return fmt.Errorf("no Content-Length on a stream (RFC 3261 section 16.6 step 9)")
	}
	if m.request() {
		return e.checkRequest(to, by, m, b)
	}
	return e.checkResponse(m)
}

func (e *edge) checkRequest(to string, by transport.Flow, m *message, b []byte) error {
	via := m.values("Via")
	if got, want := sentBy(via[0]), e.sentByOf(int(by.Listener)); got != want {
		return fmt.Errorf("topmost Via is %s and not ours, %s", got, want)
	}
	if want := "SIP/2.0/" + strings.ToUpper(protocolName(by.Proto)) + " "; !strings.HasPrefix(via[0], want) {
		return fmt.Errorf("topmost Via is %s and it leaves over %s", via[0], protocolName(by.Proto))
	}
	branch, _ := param(via[0], "branch")
	if !strings.HasPrefix(branch, "z9hG4bK") {
		return fmt.Errorf("branch %q without the magic cookie (RFC 3261 section 8.1.1.7)", branch)
	}
	if err := e.checkBranch(branch, m, to, b); err != nil {
		return err
	}
	if len(via) == 1 {
		switch m.method() {
		case "ACK", "CANCEL":
			return e.checkHopByHop(branch, m)
		}
		return e.checkOwn(branch, m)
	}
	in := e.received(func(in *message) bool {
		v := in.values("Via")
		return in.request() && in.start[:4] == m.start[:4] && in.get("Call-ID") == m.get("Call-ID") && in.get("CSeq") == m.get("CSeq") &&
			len(v)+1 == len(via) && sameVia(v[0], via[1])
	})
	if in == nil {
		return fmt.Errorf("it comes from no request received")
	}
	if !slices.Equal(in.values("Via")[1:], via[2:]) {
		return fmt.Errorf("Via values below the sender's were changed")
	}
	if err := checkReceived(in, via[1]); err != nil {
		return err
	}
	// RFC 3261 section 16.6 step 3
	switch old := in.get("Max-Forwards"); {
	case old == "" && m.get("Max-Forwards") != "70":
		return fmt.Errorf("Max-Forwards was added as %q and not as 70", m.get("Max-Forwards"))
	case old != "":
		n, _ := strconv.Atoi(old)
		if m.get("Max-Forwards") != strconv.Itoa(n-1) {
			return fmt.Errorf("Max-Forwards went from %s to %s", old, m.get("Max-Forwards"))
		}
	}
	// "All proxied requests MUST contain a single Max-Breadth header field value." RFC 5393 section 5.3.3
	if n := len(m.values("Max-Breadth")); n != 1 {
		return fmt.Errorf("%d Max-Breadth values", n)
	}
	if err := e.checkRecordRoute(in, m, by); err != nil {
		return err
	}
	changed := []string{"Via", "Max-Forwards", "Route", "Record-Route", "Max-Breadth"}
	if m.method() == "REGISTER" {
		changed = append(changed, "Path", "Require") // RFC 3327 section 5.2
	}
	if !in.has("Content-Length") {
		changed = append(changed, "Content-Length") // step 9
	}
	return sameBut(in, m, changed...)
}

// checkRecordRoute holds the values that the edge has put in to RFC 3261 section 16.6 step 4 and RFC 5658: none, one, or two,
// and two whenever it was received on another listener than it leaves by. The topmost faces the side that it goes to.
func (e *edge) checkRecordRoute(in, m *message, by transport.Flow) error {
	old, now := in.values("Record-Route"), m.values("Record-Route")
	n := len(now) - len(old)
	if n < 0 || !slices.Equal(now[n:], old) {
		return fmt.Errorf("Record-Route values of others were changed: %q, now %q", old, now)
	}
	if n == 0 {
		return nil
	}
	sips := strings.HasPrefix(m.uri(), "sips:") || m.has("Route") && strings.HasPrefix(uriOf(m.values("Route")[0]), "sips:")
	secure := in.flow.Proto == transport.TLS || in.flow.Proto == transport.WSS
	facing := []transport.Flow{by, in.flow}
	switch {
	case n > 2, n == 1 && by.Listener != in.flow.Listener && !(sips && !secure) && !e.overSize(m, by):
		return fmt.Errorf("%d Record-Route values were put in by %s for what came by %s", n, protocolName(by.Proto), protocolName(in.flow.Proto))
	}
	for i, v := range now[:n] {
		uri, f := uriOf(v), facing[i]
		if e.overSize(m, by) && i == 0 {
			f.Proto = transport.UDP // RFC 5658 section 6.2
			k, _ := e.listenerFor(transport.UDP, f.Remote.Is4())
			f.Listener = uint16(k)
		}
		if sips && !secure && i == 1 {
			f = by
		}
		want := map[transport.Protocol]string{transport.UDP: "udp", transport.TCP: "tcp", transport.TLS: "tls", transport.WS: "ws", transport.WSS: "ws"}[f.Proto]
		got := "udp"
		for _, p := range strings.Split(uri, ";")[1:] {
			if t, ok := strings.CutPrefix(p, "transport="); ok {
				got = t
			}
		}
		if sips != strings.HasPrefix(uri, "sips:") {
			return fmt.Errorf("Record-Route %s for %s", v, m.start)
		}
		if sips && want == "tls" {
			want = "udp" // not named
		}
		switch {
		case hostPort(uri) != e.sentByOf(int(f.Listener)):
			return fmt.Errorf("Record-Route %s faces %s", v, e.sentByOf(int(f.Listener)))
		case want != got:
			return fmt.Errorf("Record-Route %s faces %s", v, protocolName(f.Proto))
		case !strings.Contains(uri, ";lr"):
			return fmt.Errorf("Record-Route %s without lr", v)
		}
	}
	return nil
}

// overSize tells whether a request leaves over TCP for its size alone.
func (e *edge) overSize(m *message, by transport.Flow) bool {
	return e.mtuSwitch && by.Proto == transport.TCP && len(m.bytes()) > 1300
}

// checkOwn holds a request of the edge's own making to RFC 3261 section 8.1.1: "A valid SIP request formulated by a UAC MUST, at a
// minimum, contain the following header fields: To, From, CSeq, Call-ID, Max-Forwards, and Via", and From has a tag.
func (e *edge) checkOwn(branch string, m *message) error {
	if !e.owns {
		return fmt.Errorf("a request of the edge's own making")
	}
	n, method := m.cseq()
	switch {
	case m.get("To") == "", m.tag("From") == "", m.get("Call-ID") == "", m.get("Max-Forwards") != "70", n == 0, method != m.method():
		return fmt.Errorf("a header field is missing, or odd")
	case m.has("Record-Route"), m.has("Max-Breadth"):
		return fmt.Errorf("a header field too many")
	}
	return nil
}

// sameVia tells whether a Via value is that of the sender, received and rport apart.
func sameVia(sent, now string) bool {
	a, _ := param(sent, "branch")
	b, _ := param(now, "branch")
	return sentBy(sent) == sentBy(now) && a == b
}

// checkReceived holds the Via of the sender to RFC 3261 section 18.2.1 and RFC 3581 section 4.
func checkReceived(in *message, via string) error {
	old := in.values("Via")[0]
	source := in.get("X-Test-Source") // put there by the network for this check, never sent
	host, port := source[:strings.LastIndexByte(source, ':')], source[strings.LastIndexByte(source, ':')+1:]
	received, has := param(via, "received")
	sender := sentBy(old)
	_, wantsRport := param(old, "rport")
	if strings.Trim(received, "[]") != strings.Trim(host, "[]") && (has || wantsRport || sender[:strings.LastIndexByte(sender, ':')] != host) {
		return fmt.Errorf("Via %q of a packet from %s: received is %q", via, source, received)
	}
	if rport, _ := param(via, "rport"); wantsRport && rport != port {
		return fmt.Errorf("Via %q of a packet from %s: rport is %q", via, source, rport)
	}
	return nil
}

// checkBranch: RFC 3261 section 8.1.1.7: unique across space and time, CANCEL and ACK for a failure apart, which have that of their
// INVITE; a retransmission is the same message, and in stateless mode the same request always has the same branch (16.11).
func (e *edge) checkBranch(branch string, m *message, to string, b []byte) error {
	first, seen := e.branches[branch]
	if !seen {
		e.branches[branch] = m
	} else if method := m.method(); method != "ACK" && method != "CANCEL" {
		switch {
		case bytes.Equal(first.bytes(), b):
		case e.failed[branch] && strings.HasPrefix(m.values("Via")[0], "SIP/2.0/UDP "):
			e.branches[branch] = m // back to UDP, RFC 3261 section 18.1.1: the first one never left
		default:
			return fmt.Errorf("branch %s was used before, for %s", branch, first.line())
		}
	} else if f := first.method(); f != "INVITE" && f != "ACK" && f != "CANCEL" || first.get("Call-ID") != m.get("Call-ID") {
		return fmt.Errorf("branch %s belongs to %s", branch, first.line())
	}
	if e.stateless {
		v := m.values("Via")
		theirs, ok := param(v[1], "branch")
		if !ok || !strings.HasPrefix(theirs, "z9hG4bK") {
			return nil
		}
		key := theirs + " " + sentBy(v[1])
		if old, ok := e.mapped[key]; ok && old != branch {
			return fmt.Errorf("branch %s came out as %s before and as %s now (RFC 3261 section 16.11)", theirs, old, branch)
		}
		e.mapped[key] = branch
	}
	return nil
}

// checkHopByHop holds a CANCEL or an ACK for a failure to the INVITE that it belongs to.
func (e *edge) checkHopByHop(branch string, m *message) error {
	inv := e.branches[branch]
	if inv == nil || inv.method() != "INVITE" {
		return fmt.Errorf("no INVITE went out with branch %s", branch)
	}
	n, _ := inv.cseq()
	switch {
	case m.uri() != inv.uri():
		return fmt.Errorf("Request-URI is not that of the INVITE, %s", inv.uri())
	case m.get("CSeq") != fmt.Sprintf("%d %s", n, m.method()):
		return fmt.Errorf("CSeq %q for the INVITE's %q", m.get("CSeq"), inv.get("CSeq"))
	case m.get("Call-ID") != inv.get("Call-ID"), m.get("From") != inv.get("From"):
		return fmt.Errorf("Call-ID or From is not that of the INVITE")
	case m.values("Via")[0] != inv.values("Via")[0]:
		return fmt.Errorf("Via is not that of the INVITE")
	case !slices.Equal(m.values("Route"), inv.values("Route")):
		return fmt.Errorf("Route %q is not that of the INVITE, %q", m.values("Route"), inv.values("Route"))
	case m.body != "":
		return fmt.Errorf("it has a body")
	case !m.has("Max-Forwards"):
		return fmt.Errorf("no Max-Forwards")
	}
	to := inv.get("To")
	if m.method() == "ACK" {
		final := e.received(func(in *message) bool {
			return !in.request() && in.status() >= 300 && in.method() == "INVITE" && in.values("Via")[0] == m.values("Via")[0]
		})
		if final == nil {
			return fmt.Errorf("an ACK for no failure received")
		}
		to = final.get("To") // "The To header field in the ACK MUST equal the To header field in the response being acknowledged" 17.1.1.3
	}
	if m.get("To") != to {
		return fmt.Errorf("To is %q and not %q", m.get("To"), to)
	}
	return nil
}

func (e *edge) checkResponse(m *message) error {
	via := m.values("Via")
	in := e.received(func(in *message) bool {
		v := in.values("Via")
		return !in.request() && in.start == m.start && in.get("Call-ID") == m.get("Call-ID") && in.get("CSeq") == m.get("CSeq") &&
			in.get("To") == m.get("To") && slices.Equal(v[1:], via)
	})
	if m.status() == 100 && !e.stateless {
		if m.has("X-Answer") {
			return fmt.Errorf("a 100 was forwarded (RFC 3261 section 16.7 step 5)")
		}
		in = nil // ours, however alike
	}
	if in != nil {
		if s := m.status(); s == 401 || s == 407 {
			// "[...] the proxy MUST collect any WWW-Authenticate and Proxy-Authenticate header field values from all other
			// 401 (Unauthorized) and 407 (Proxy Authentication Required) responses received so far in this response context and
			// add them to this response without modification before forwarding." RFC 3261 section 16.7 step 7
			return sameBut(in, m, "Via", "WWW-Authenticate", "Proxy-Authenticate")
		} else if before, now := in.values("Contact"), m.values("Contact"); s/100 == 3 && len(now) > 0 && len(now) < len(before) {
			// "If the proxy chooses to recurse on any contacts in a 3xx response by adding them to the target set, it MUST remove them from
			// the response before adding the response to the response context." RFC 3261 section 16.7 step 4
			for _, c := range now {
				if !slices.Contains(before, c) {
					return fmt.Errorf("Contact %q was not in the response received", c)
				}
			}
			return sameBut(in, m, "Via", "Contact")
		}
		if !in.has("Content-Length") {
			return sameBut(in, m, "Via", "Content-Length")
		}
		return sameBut(in, m, "Via")
	}
	req := e.received(func(in *message) bool {
		v := in.values("Via")
		return in.request() && in.get("Call-ID") == m.get("Call-ID") && in.get("CSeq") == m.get("CSeq") &&
			len(v) == len(via) && len(via) > 0 && sameVia(v[0], via[0])
	})
	if req == nil {
		return fmt.Errorf("it answers no request received")
	}
	if !slices.Equal(req.values("Via")[1:], via[1:]) {
		return fmt.Errorf("Via values were changed (RFC 3261 section 8.2.6.2)")
	}
	if err := checkReceived(req, via[0]); err != nil {
		return err
	}
	to, tagged := strings.CutPrefix(m.get("To"), req.get("To"))
	switch {
	case m.get("From") != req.get("From"):
		return fmt.Errorf("From was changed (RFC 3261 section 8.2.6.2)")
	case !tagged, req.tag("To") != "" && to != "":
		return fmt.Errorf("To was changed (RFC 3261 section 8.2.6.2)")
	case m.status() > 100 && m.tag("To") == "":
		return fmt.Errorf("To without a tag (RFC 3261 section 8.2.6.2)")
	case m.status() == 100 && m.get("Timestamp") != req.get("Timestamp"):
		return fmt.Errorf("Timestamp %q for %q (RFC 3261 section 8.2.6.1)", m.get("Timestamp"), req.get("Timestamp"))
	}
	return nil
}

// received finds the latest message that reached the edge and fits.
func (e *edge) received(fits func(*message) bool) *message {
	for _, m := range slices.Backward(e.in) {
		if fits(m) {
			return m
		}
	}
	return nil
}

// sameBut tells whether out has the header lines of in, in their order and byte for byte, and its body; the named headers apart.
func sameBut(in, out *message, names ...string) error {
	strip := func(m *message) []string {
		var s []string
		for _, h := range m.headers {
			if h.name != "X-Test-Source" && !slices.ContainsFunc(names, func(n string) bool { return sameName(n, h.name) }) {
				s = append(s, h.name+": "+h.value)
			}
		}
		return s
	}
	a, b := strip(in), strip(out)
	if !slices.Equal(a, b) {
		return fmt.Errorf("header lines were changed: received\n\t%s\nsent\n\t%s", strings.Join(a, "\n\t"), strings.Join(b, "\n\t"))
	}
	if in.body != out.body {
		return fmt.Errorf("the body was changed")
	}
	return nil
}

// claims checks the lines below an expectation.
func (n *network) claims(l *line, m *message) error {
	for _, raw := range l.below {
		s, err := n.fill(raw, l.notes.call)
		if err != nil {
			return err
		}
		if err := claim(s, m); err != nil {
			return fmt.Errorf("%s: %w", raw, err)
		}
	}
	return nil
}

func claim(s string, m *message) error {
	s, absent := strings.CutPrefix(s, "!")
	name, want, exact := s, "", false
	colon, tilde := strings.Index(s, ":"), strings.Index(s, " ~ ")
	switch {
	case tilde >= 0 && (colon < 0 || tilde < colon):
		name, want = strings.TrimSpace(s[:tilde]), strings.TrimSpace(s[tilde+3:])
	case colon >= 0:
		name, want, exact = s[:colon], strings.TrimSpace(s[colon+1:]), true
	case !absent:
		return fmt.Errorf("want NAME: VALUE, NAME ~ TEXT or !NAME")
	}
	if strings.EqualFold(name, "Body") {
		if has := exact && m.body == want || !exact && strings.Contains(m.body, want); has == absent {
			return fmt.Errorf("the body is %q", m.body)
		}
		return nil
	}
	name, number, one := strings.Cut(name, "#")
	got := m.values(name)
	if one {
		i, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		if i < 1 || i > len(got) {
			got = nil
		} else {
			got = got[i-1 : i]
		}
	}
	var has bool
	if exact {
		has = len(got) > 0 && strings.Join(got, ", ") == want
	} else {
		has = slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, want) })
	}
	if has == absent {
		return fmt.Errorf("it has %q", got)
	}
	return nil
}
