package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// answerWithin bounds every wait of a phone: longer than T1's first repetitions, in case the
// machine is busy.
const answerWithin = 5 * time.Second

// phone is one end of the call, with a real socket.
type phone struct {
	name   string
	conn   *net.UDPConn
	addr   netip.AddrPort
	ladder *ladder
}

func listen(name string) (*phone, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &phone{name: name, conn: c, addr: c.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
}

// message is a SIP message as text: small enough to read, slow enough for one call.
type message struct {
	start   string
	headers []string
}

func parse(s string) message {
	head, _, _ := strings.Cut(s, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	return message{lines[0], lines[1:]}
}

// all returns the header lines of that name, whole.
func (m message) all(name string) (lines []string) {
	for _, h := range m.headers {
		if n, _, ok := strings.Cut(h, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			lines = append(lines, h)
		}
	}
	return lines
}

// get returns the value of the first header of that name.
func (m message) get(name string) string {
	for _, h := range m.all(name) {
		_, value, _ := strings.Cut(h, ":")
		return strings.TrimSpace(value)
	}
	return ""
}

// status is the status code of a response, empty for a request.
func (m message) status() string {
	if rest, ok := strings.CutPrefix(m.start, "SIP/2.0 "); ok {
		code, _, _ := strings.Cut(rest, " ")
		return code
	}
	return ""
}

func (p *phone) send(to netip.AddrPort, lines ...string) error {
	text := strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
	p.ladder.add(p.addr, to, parse(text))
	_, err := p.conn.WriteToUDPAddrPort([]byte(text), to)
	return err
}

func (p *phone) receive() (message, netip.AddrPort, error) {
	b := make([]byte, 65535)
	_ = p.conn.SetReadDeadline(time.Now().Add(answerWithin))
	n, from, err := p.conn.ReadFromUDPAddrPort(b)
	if err != nil {
		return message{}, from, fmt.Errorf("%s waited for a message: %w", p.name, err)
	}
	m := parse(string(b[:n]))
	p.ladder.add(from, p.addr, m)
	return m, from, nil
}

// call places the call: INVITE, wait for 200, ACK, talk, BYE, wait for its 200.
func (p *phone) call(edge netip.AddrPort) error {
	via := func(branch string) string {
		return fmt.Sprintf("Via: SIP/2.0/UDP %v;branch=z9hG4bKdemo%s;rport", p.addr, branch)
	}
	from := fmt.Sprintf("From: Alice <sip:alice@%v>;tag=a1", p.addr)
	const hops, callID = "Max-Forwards: 70", "Call-ID: demo-call"
	target := fmt.Sprintf("sip:bob@%v", edge)
	if err := p.send(edge, "INVITE "+target+" SIP/2.0", via("invite"), hops, from, "To: Bob <"+target+">", callID, "CSeq: 1 INVITE",
		fmt.Sprintf("Contact: <sip:alice@%v>", p.addr)); err != nil {
		return err
	}
	var ok message
	for ok.status() != "200" {
		m, _, err := p.receive()
		if err != nil {
			return err
		}
		if code := m.status(); code == "" || code >= "300" {
			return fmt.Errorf("alice got %q instead of an answer", m.start)
		}
		ok = m
	}
	// "The route set MUST be set to the list of URIs in the Record-Route header field from the
	// response, taken in reverse order", RFC 3261 section 12.1.2.
	var route []string
	rr := ok.all("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- {
		_, value, _ := strings.Cut(rr[i], ":")
		route = append(route, "Route:"+value)
	}
	if len(route) == 0 {
		return fmt.Errorf("alice got a 200 without Record-Route, although the edge was told to stay in the call")
	}
	remote := strings.Trim(ok.get("Contact"), "<>")
	inDialog := func(method, branch, cseq string) error {
		lines := append([]string{method + " " + remote + " SIP/2.0", via(branch), hops}, route...)
		return p.send(edge, append(lines, from, "To: "+ok.get("To"), callID, "CSeq: "+cseq+" "+method)...)
	}
	if err := inDialog("ACK", "ack", "1"); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // they talk
	if err := inDialog("BYE", "bye", "2"); err != nil {
		return err
	}
	for {
		m, _, err := p.receive()
		if err != nil {
			return err
		}
		if strings.HasSuffix(m.get("CSeq"), "BYE") {
			if m.status() != "200" {
				return fmt.Errorf("alice's BYE got %q", m.start)
			}
			return nil
		}
	}
}

// called answers one call and returns after its BYE.
func (p *phone) called() error {
	acked := false
	for {
		m, from, err := p.receive()
		if err != nil {
			return err
		}
		reply := func(line string, extra ...string) error {
			lines := append([]string{"SIP/2.0 " + line}, m.all("Via")...)
			lines = append(lines, m.all("Record-Route")...)
			to := "To: " + m.get("To")
			if !strings.Contains(to, ";tag=") && !strings.HasPrefix(line, "100") {
				to += ";tag=b1"
			}
			lines = append(lines, "From: "+m.get("From"), to, "Call-ID: "+m.get("Call-ID"), "CSeq: "+m.get("CSeq"))
			return p.send(from, append(lines, extra...)...)
		}
		method, _, _ := strings.Cut(m.start, " ")
		switch method {
		case "INVITE":
			if err := reply("180 Ringing"); err != nil {
				return err
			}
			time.Sleep(50 * time.Millisecond) // it rings
			if err := reply("200 OK", fmt.Sprintf("Contact: <sip:bob@%v>", p.addr)); err != nil {
				return err
			}
		case "ACK":
			acked = true
		case "BYE":
			if !acked {
				return fmt.Errorf("bob got a BYE before the ACK")
			}
			return reply("200 OK")
		default:
			return fmt.Errorf("bob got %q", m.start)
		}
	}
}
