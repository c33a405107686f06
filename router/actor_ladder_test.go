package router_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sipedge/transport"
)

// actor is a user agent, or a proxy upstream of the edge, that does what its lines say and remembers what a real one
// would: its transactions, and of each dialog the tags, the remote target and the route set (RFC 3261 section 12).
type actor struct {
	n       *network
	name    string
	addr    netip.AddrPort // its own idea of where it is
	seen    netip.AddrPort // where its packets come from
	proto   transport.Protocol
	also    []transport.Protocol // by which it can be reached too
	proves  string               // name in the certificate that it shows
	rfc2543 bool
	rport   bool
	conns   []*conn // in the order they were made, by either side

	refuses      bool // connections
	refusesAfter time.Duration

	parties  map[int]*party
	branches int
}

// party is an actor's part in one call.
type party struct {
	tag       string
	cseq      int
	from, to  string // of requests outside a dialog
	sent, got []*message
	dialogs   []*dialog // the latest last
}

type dialog struct {
	tag           string // of the far end
	route         []string
	target        string
	local, remote string // From and To of requests
	invite        int    // CSeq of the last INVITE that this side sent and that a 2xx answered
}

func (a *actor) party(call int) *party {
	p := a.parties[call]
	if p == nil {
		p = &party{tag: fmt.Sprintf("%s-%d", a.name, call)}
		a.parties[call] = p
	}
	return p
}

// dialog picks a dialog: the one with the named far end, or the latest.
func (p *party) dialog(far string) (*dialog, error) {
	for _, d := range slices.Backward(p.dialogs) {
		if far == "" || strings.HasPrefix(d.tag, far+"-") {
			return d, nil
		}
	}
	return nil, fmt.Errorf("no dialog with %q", far)
}

// make builds the message of a line, the changes below the line included, and remembers it as sent.
func (a *actor) make(l *line) (*message, error) {
	p := a.party(l.notes.call)
	var m *message
	var err error
	switch {
	case l.notes.again:
		if m = p.last(p.sent, l); m == nil {
			return nil, fmt.Errorf("%s has sent nothing like it before", a.name)
		}
		if len(l.below) > 0 {
			return nil, fmt.Errorf("the same message again cannot differ")
		}
		return m, nil
	case l.notes.fork:
		old := p.last(p.sent, l)
		if old == nil {
			return nil, fmt.Errorf("%s has sent nothing like it before", a.name)
		}
		m = old.clone()
		m.headers[0].value = a.via()
	case l.notes.relay:
		old := p.last(p.got, &line{text: strings.SplitN(l.text, " ", 2)[0], notes: l.notes})
		if isStatus(l.text) {
			old = p.last(p.got, l)
		}
		if old == nil {
			return nil, fmt.Errorf("%s has received nothing like it", a.name)
		}
		m = old.relayed(a, l.text)
	case isStatus(l.text):
		m, err = a.response(p, l)
	default:
		m, err = a.request(p, l)
	}
	if err != nil {
		return nil, err
	}
	if err := a.change(m, p, l); err != nil {
		return nil, err
	}
	p.sent = append(p.sent, m)
	if id := m.get("Call-ID"); a.n.calls[id] == 0 {
		a.n.calls[id] = l.notes.call
	}
	return m, nil
}

// last finds the latest message like the line says: a request by method (and URI, if there is one), a response by status and method.
func (p *party) last(in []*message, l *line) *message {
	for _, m := range slices.Backward(in) {
		if isStatus(l.text) {
			if m.status() == statusOf(l.text) && m.method() == l.notes.method {
				return m
			}
			continue
		}
		method, uri, _ := strings.Cut(l.text, " ")
		if m.request() && m.method() == method && (uri == "" || uri == m.uri()) {
			return m
		}
	}
	return nil
}

// relayed is m as a simple proxy sends it on; text may name another Request-URI.
func (m *message) relayed(a *actor, text string) *message {
	out := m.clone()
	if !m.request() {
		vias := m.values("Via")[1:]
		out.remove("Via")
		for _, v := range slices.Backward(vias) {
			out.addTop("Via", v)
		}
		return out
	}
	if method, uri, _ := strings.Cut(text, " "); uri != "" {
		out.start = method + " " + uri + " SIP/2.0"
	}
	out.addTop("Via", a.via())
	return out
}

func statusOf(text string) int { n, _ := strconv.Atoi(text[:3]); return n }

// lastRequest finds the latest request with that method.
func lastRequest(in []*message, method string) *message {
	for _, m := range slices.Backward(in) {
		if m.request() && m.method() == method {
			return m
		}
	}
	return nil
}

// nthRequest finds the nth request with that method, copies not counted.
func nthRequest(in []*message, method string, nth int) *message {
	seen := map[string]bool{}
	for _, m := range in {
		if branch, _ := param(m.values("Via")[0], "branch"); m.request() && m.method() == method && !seen[branch] {
			if seen[branch] = true; len(seen) == nth {
				return m
			}
		}
	}
	return nil
}

// lastFinal finds the latest final response to an INVITE.
func (p *party) lastFinal() *message {
	for _, m := range slices.Backward(p.got) {
		if m.status() >= 200 && m.method() == "INVITE" {
			return m
		}
	}
	return nil
}

func (a *actor) via() string {
	a.branches++
	v := "SIP/2.0/" + strings.ToUpper(protocolName(a.proto)) + " " + a.sentBy()
	if !a.rfc2543 {
		v += fmt.Sprintf(";branch=z9hG4bK-%s-%d", a.name, a.branches)
	}
	if a.rport {
		v += ";rport"
	}
	return v
}

func (a *actor) contact() string {
	return "<sip:" + a.name + "@" + a.sentBy() + a.transportParam() + ">"
}

func (a *actor) sdp() string {
	return "v=0\r\no=" + a.name + " 1 1 IN IP4 " + a.addr.Addr().String() + "\r\ns=-\r\nc=IN IP4 " + a.addr.Addr().String() +
		"\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
}

func (a *actor) request(p *party, l *line) (*message, error) {
	method, uri, _ := strings.Cut(l.text, " ")
	switch {
	case method == "CANCEL" && uri == "":
		return p.cancel()
	case method == "ACK" && uri == "" && l.notes.dialog == "":
		if final := p.lastFinal(); final != nil && final.status() >= 300 {
			return p.ack(final)
		}
	}
	m := &message{}
	if uri != "" && !l.notes.inDialog {
		m.start = method + " " + uri + " SIP/2.0"
		p.cseq++
		p.from = "<sip:" + a.name + "@example.com>;tag=" + p.tag
		p.to = "<" + uri + ">"
		a.common(m, p.from, p.to, l.notes.call, p.cseq, method)
	} else {
		d, err := p.dialog(l.notes.dialog)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		cseq := d.invite
		if method != "ACK" {
			p.cseq++
			cseq = p.cseq
		}
		target, route := d.target, d.route
		if len(route) > 0 && !strings.Contains(uriOf(route[0]), ";lr") {
			// "If the route set is not empty, and its first URI does not contain the lr parameter, the UAC MUST place the
			// first URI from the route set into the Request-URI, stripping any parameters that are not allowed in a
			// Request-URI. The UAC MUST add a Route header field containing the remainder of the route set values in
			// order, including all parameters. The UAC MUST then place the remote target URI into the Route header field
			// as the last value." RFC 3261 section 12.2.1.1
			target, route = uriOf(route[0]), append(slices.Clone(route[1:]), "<"+d.target+">")
		}
		if uri != "" {
			target = uri
		}
		m.start = method + " " + target + " SIP/2.0"
		a.common(m, d.local, d.remote, l.notes.call, cseq, method)
		for _, r := range route {
			m.add("Route", r)
		}
		// Under the line another Route may be given: p1 may stand for a proxy that has taken its own value off.
		given := slices.ContainsFunc(l.below, func(s string) bool { return strings.HasPrefix(s, "Route:") || s == "!Route" })
		if len(d.route) > 0 && !given {
			if want := a.n.resolve(hostPort(uriOf(d.route[0]))); want != l.to {
				return nil, fmt.Errorf("%s must send this to %s, the first of its route set %v", a.name, want, d.route)
			}
			if !a.reaches(uriOf(d.route[0])) {
				return nil, fmt.Errorf("%s does not speak what the first of its route set asks for: %v", a.name, d.route)
			}
		}
	}
	switch method {
	case "INVITE", "UPDATE":
		m.add("Contact", a.contact())
		m.setBody("application/sdp", a.sdp())
	case "SUBSCRIBE", "REFER", "NOTIFY":
		m.add("Contact", a.contact())
		m.setBody("", "")
	case "MESSAGE", "INFO":
		m.setBody("text/plain", "hello from "+a.name)
	default:
		m.setBody("", "")
	}
	return m, nil
}

// common adds what every request has, and two headers that no proxy knows: they must arrive as they are.
func (a *actor) common(m *message, from, to string, call, cseq int, method string) {
	m.add("Via", a.via())
	m.add("Max-Forwards", "70")
	m.add("X-Kept", `a, "b,c" ;d=<e>   f`)
	m.add("From", from)
	m.add("t", to)
	m.add("Call-ID", a.n.callID(call))
	m.add("CSeq", fmt.Sprintf("%d %s", cseq, method))
	m.add("User-Agent", a.name)
}

// cancel makes the CANCEL of the last INVITE sent. "The Request-URI, Call-ID, To, the numeric part of CSeq, and From header
// fields in the CANCEL request MUST be identical to those in the request being cancelled, including tags. A CANCEL
// constructed by a client MUST have only a single Via header field value matching the top Via value in the request being
// cancelled. [...] If the request being cancelled contains a Route header field, the CANCEL request MUST include that Route
// header field's values." RFC 3261 section 9.1
func (p *party) cancel() (*message, error) {
	inv := lastRequest(p.sent, "INVITE")
	if inv == nil {
		return nil, fmt.Errorf("no INVITE to cancel")
	}
	return hopByHop(inv, "CANCEL", inv.get("To")), nil
}

// ack makes the ACK for a failure, which is part of the INVITE's transaction (RFC 3261 section 17.1.1.3).
func (p *party) ack(final *message) (*message, error) {
	n, _ := final.cseq()
	for _, inv := range slices.Backward(p.sent) {
		if c, _ := inv.cseq(); inv.request() && inv.method() == "INVITE" && c == n {
			return hopByHop(inv, "ACK", final.get("To")), nil
		}
	}
	return nil, fmt.Errorf("no INVITE to acknowledge")
}

func hopByHop(inv *message, method, to string) *message {
	n, _ := inv.cseq()
	m := &message{start: method + " " + inv.uri() + " SIP/2.0"}
	m.add("Via", inv.values("Via")[0])
	m.add("Max-Forwards", "70")
	for _, r := range inv.values("Route") {
		m.add("Route", r)
	}
	m.add("From", inv.get("From"))
	m.add("To", to)
	m.add("Call-ID", inv.get("Call-ID"))
	m.add("CSeq", fmt.Sprintf("%d %s", n, method))
	m.setBody("", "")
	return m
}

func (a *actor) response(p *party, l *line) (*message, error) {
	req := lastRequest(p.got, l.notes.method)
	if l.notes.request > 0 {
		req = nthRequest(p.got, l.notes.method, l.notes.request)
	}
	if req == nil {
		return nil, fmt.Errorf("%s has received no %s in call %d to answer", a.name, l.notes.method, l.notes.call)
	}
	status := statusOf(l.text)
	m := &message{start: "SIP/2.0 " + l.text, conn: req.conn}
	for _, v := range req.values("Via") {
		m.add("Via", v)
	}
	m.add("From", req.get("From"))
	to := req.get("To")
	if status > 100 && req.tag("To") == "" {
		to += ";tag=" + p.tag
	}
	m.add("To", to)
	m.add("Call-ID", req.get("Call-ID"))
	m.add("CSeq", req.get("CSeq"))
	if ts := req.get("Timestamp"); ts != "" && status == 100 {
		m.add("Timestamp", ts)
	}
	dialog := status > 100 && status < 300 && (req.method() == "INVITE" || req.method() == "SUBSCRIBE" || req.method() == "REFER")
	if dialog {
		for _, r := range req.values("Record-Route") {
			m.add("Record-Route", r)
		}
		m.add("Contact", a.contact())
	}
	m.add("X-Answer", `by  "`+a.name+`"`)
	if req.method() == "INVITE" && (status == 200 || status == 183) {
		m.setBody("application/sdp", a.sdp())
	} else {
		m.setBody("", "")
	}
	if dialog {
		d, _ := p.dialogWith(req.tag("From"))
		d.local, d.remote = to, req.get("From")
		if req.tag("To") == "" {
			d.route = req.values("Record-Route")
		}
		if c := req.get("Contact"); c != "" {
			d.target = uriOf(c)
		}
	}
	if req.conn != nil {
		return m, nil // back on its connection
	}
	if to := a.n.resolve(responseAddress(req.values("Via")[0])); to != l.to {
		return nil, fmt.Errorf("%s must answer to %s, as the topmost Via %q says", a.name, to, req.values("Via")[0])
	}
	return m, nil
}

// responseAddress is RFC 3261 section 18.2.2 with RFC 3581 section 4.
func responseAddress(via string) string {
	host := sentBy(via)
	i := strings.LastIndexByte(host, ':')
	name, port := host[:i], host[i+1:]
	if received, ok := param(via, "received"); ok {
		name = received
		if strings.Contains(name, ":") && name[0] != '[' {
			name = "[" + name + "]"
		}
	}
	if rport, ok := param(via, "rport"); ok && rport != "" {
		port = rport
	}
	return name + ":" + port
}

// dialogWith finds or makes the dialog with the far end's tag, and makes it the latest.
func (p *party) dialogWith(tag string) (d *dialog, found bool) {
	i := slices.IndexFunc(p.dialogs, func(d *dialog) bool { return d.tag == tag })
	if i < 0 {
		d = &dialog{tag: tag}
		p.dialogs = append(p.dialogs, d)
		return d, false
	}
	d = p.dialogs[i]
	p.dialogs = append(slices.Delete(p.dialogs, i, i+1), d)
	return d, true
}

// learn takes in a message that arrived.
func (a *actor) learn(m *message) {
	call := a.n.calls[m.get("Call-ID")]
	p := a.party(call)
	p.got = append(p.got, m)
	switch {
	case m.request():
		if c := m.get("Contact"); c != "" && m.tag("To") != "" {
			for _, d := range p.dialogs {
				if d.tag == m.tag("From") {
					d.target = uriOf(c) // a target refresh, RFC 3261 section 12.2.2
				}
			}
		}
	case m.status() > 100 && m.status() < 300 && m.tag("To") != "" && m.get("Contact") != "" &&
		(m.method() == "INVITE" || m.method() == "SUBSCRIBE" || m.method() == "UPDATE"):
		d, found := p.dialogWith(m.tag("To"))
		n, method := m.cseq()
		if !found || d.invite == 0 && method == "INVITE" {
			// "The route set MUST be set to the list of URIs in the Record-Route header field from the response, taken in
			// reverse order" RFC 3261 section 12.1.2; the 2xx decides (13.2.2.4).
			d.route = m.values("Record-Route")
			slices.Reverse(d.route)
			d.local, d.remote = m.get("From"), m.get("To")
		}
		d.target = uriOf(m.get("Contact"))
		if m.status() >= 200 && method == "INVITE" {
			d.invite = n
		}
	}
}

// change does what the lines below an input say.
func (a *actor) change(m *message, p *party, l *line) error {
	seen := map[string]bool{}
	for _, s := range l.below {
		s, err := a.n.fill(s, l.notes.call)
		if err != nil {
			return err
		}
		if name, ok := strings.CutPrefix(s, "!"); ok {
			if !m.has(name) {
				return fmt.Errorf("no %s to take away", name)
			}
			m.remove(name)
			continue
		}
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("%q: want NAME: VALUE", s)
		}
		value = strings.TrimSpace(value)
		switch key := strings.ToLower(name); {
		case key == "start":
			m.start = value
		case key == "body":
			switch value {
			case "none":
				m.setBody("", "")
			case "sdp":
				m.setBody("application/sdp", a.sdp())
			default:
				text, err := strconv.Unquote(`"` + value + `"`)
				if err != nil {
					return err
				}
				m.setBody("text/plain", text)
			}
		case name[0] == '+':
			m.add(name[1:], value)
		case name[0] == '^':
			m.addTop(name[1:], value)
		case seen[key]:
			m.add(name, value)
		default:
			m.set(name, value)
			seen[key] = true
		}
	}
	return nil
}
