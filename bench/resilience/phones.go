//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	t1 = 500 * time.Millisecond // RFC 3261 section 17.1.1.1
	// patience ends a call whose request nobody answers.
	patience = 8 * time.Second
	// look is how often what is due is looked for.
	look = 10 * time.Millisecond
)

// phones are a caller and a called party, each with a socket. The called party answers every INVITE with 200 at once; unlike
// bench/load they note for each call which way it took, and what a call is like is up to the one who places it.
type phones struct {
	caller, called *net.UDPConn
	edge           *net.UDPAddr
	over           chan struct{}

	mu    sync.Mutex
	calls map[string]*call // by Call-ID
	next  int
}

// call is both ends of one call. Owned by phones.mu.
type call struct {
	id, uri  string
	hold     time.Duration // from the 200 to the BYE
	began    time.Time
	answered time.Time // by a 200; zero: it was not
	ended    time.Time // the BYE was answered, the call was refused, or nobody answered
	status   int       // of the last final response; 408: there was none
	through  string    // who brought the INVITE to the called party: host and port of its topmost Via
	resent   int       // requests of the caller sent again

	request []byte // waits for an answer; nil: none does
	gap     time.Duration
	due     time.Time // when it is sent again, or the BYE is sent
	giveUp  time.Time

	answer  []byte // the 200 of the called party, until the ACK
	to      *net.UDPAddr
	repeat  time.Time
	longer  time.Duration
	target  string // of requests inside the call
	routes  string // Route lines of them
	toValue string
	ack     []byte
}

func newPhones(edge netip.AddrPort) (*phones, error) {
	p := &phones{edge: net.UDPAddrFromAddrPort(edge), calls: map[string]*call{}, over: make(chan struct{})}
	var err error
	if p.caller, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, err
	}
	if p.called, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		p.caller.Close()
		return nil, err
	}
	go p.read(p.caller, p.response)
	go p.read(p.called, p.incoming)
	go p.timers()
	return p, nil
}

// to names the edge, which may have to know our address before it starts.
func (p *phones) to(edge netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edge = net.UDPAddrFromAddrPort(edge)
}

// at is the called party's address.
func (p *phones) at() netip.AddrPort {
	return p.called.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (p *phones) close() {
	close(p.over)
	p.caller.Close()
	p.called.Close()
}

func (p *phones) read(c *net.UDPConn, take func(m message, from *net.UDPAddr)) {
	b := make([]byte, 65536)
	for {
		n, from, err := c.ReadFromUDP(b)
		if err != nil {
			select {
			case <-p.over:
				return
			default:
				continue // an ICMP error about an earlier datagram
			}
		}
		if m, ok := cut(b[:n]); ok {
			p.mu.Lock()
			take(m, from)
			p.mu.Unlock()
		}
	}
}

// message is a received message cut into lines.
type message struct {
	start string
	lines []string
}

func cut(b []byte) (m message, ok bool) {
	head, _, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	return message{lines[0], lines[1:]}, ok
}

// all values of a header, as they stand.
func (m *message) all(name string) (values []string) {
	for _, l := range m.lines {
		if n, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

func (m *message) header(name string) string {
	if v := m.all(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// place begins a call.
func (p *phones) place(uri string, hold time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	c := &call{id: fmt.Sprintf("%x-%d", time.Now().UnixNano(), p.next), uri: uri, hold: hold, began: time.Now(), toValue: "<" + uri + ">"}
	p.calls[c.id] = c
	p.send(c, c.message("INVITE", uri, "i", 1, p.caller.LocalAddr().String()))
}

// message is a request of the caller.
func (c *call) message(method, uri, branch string, cseq int, at string) []byte {
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s\r\n%sMax-Forwards: 70\r\nFrom: <sip:bench@%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\n"+
		"CSeq: %d %s\r\nContact: <sip:bench@%s>\r\nContent-Length: 0\r\n\r\n", method, uri, at, branch, c.id, c.routes, at, c.id, c.toValue, c.id, cseq, method, at)
}

// send sends a request that is repeated until it is answered.
func (p *phones) send(c *call, request []byte) {
	now := time.Now()
	c.request, c.gap, c.due, c.giveUp = request, t1, now.Add(t1), now.Add(patience)
	p.caller.WriteToUDP(request, p.edge)
}

func (p *phones) timers() {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-p.over:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		now := time.Now()
		for _, c := range p.calls {
			p.due(c, now)
		}
		p.mu.Unlock()
	}
}

func (p *phones) due(c *call, now time.Time) {
	if c.answer != nil && now.After(c.repeat) {
		// "...with an interval that starts at T1 seconds and doubles for each retransmission", RFC 3261 section 13.3.1.4
		p.called.WriteToUDP(c.answer, c.to)
		c.longer *= 2
		c.repeat = now.Add(c.longer)
	}
	switch {
	case !c.ended.IsZero():
	case !c.giveUp.IsZero() && now.After(c.giveUp):
		c.status, c.ended, c.request, c.answer = 408, now, nil, nil
	case c.due.IsZero() || now.Before(c.due):
	case c.request != nil:
		p.caller.WriteToUDP(c.request, p.edge)
		c.resent++
		c.gap *= 2
		c.due = now.Add(c.gap)
	case !c.answered.IsZero():
		p.send(c, c.message("BYE", c.target, "b", 2, p.caller.LocalAddr().String()))
	}
}

// response is for the caller.
func (p *phones) response(m message, _ *net.UDPAddr) {
	c := p.calls[m.header("Call-ID")]
	status := 0
	if _, err := fmt.Sscanf(m.start, "SIP/2.0 %d ", &status); err != nil || c == nil || !c.ended.IsZero() {
		return
	}
	now := time.Now()
	at := p.caller.LocalAddr().String()
	switch _, method, _ := strings.Cut(m.header("CSeq"), " "); {
	case method == "INVITE" && status < 200:
		c.due, c.request = time.Time{}, nil
	case method == "INVITE" && status < 300:
		if c.answered.IsZero() {
			c.answered, c.status, c.request = now, status, nil
			c.due, c.giveUp = now.Add(c.hold), time.Time{}
			c.toValue = m.header("To")
			c.target = strings.Trim(m.header("Contact"), "<>")
			// "...taken in reverse order and preserving all URI parameters", RFC 3261 section 12.1.2
			routes := strings.Split(strings.Join(m.all("Record-Route"), ","), ",")
			for i := len(routes) - 1; i >= 0; i-- {
				if r := strings.TrimSpace(routes[i]); r != "" {
					c.routes += "Route: " + r + "\r\n"
				}
			}
			c.ack = c.message("ACK", c.target, "a", 1, at)
		}
		p.caller.WriteToUDP(c.ack, p.edge)
	case method == "INVITE":
		ack := *c
		ack.toValue = m.header("To")
		p.caller.WriteToUDP(ack.message("ACK", c.uri, "i", 1, at), p.edge)
		c.status, c.ended, c.request = status, now, nil
	case method == "BYE" && status >= 200:
		c.status, c.ended, c.request = status, now, nil
	}
}

// incoming is for the called party.
func (p *phones) incoming(m message, from *net.UDPAddr) {
	method, _, _ := strings.Cut(m.start, " ")
	c := p.calls[m.header("Call-ID")]
	reply := "SIP/2.0 200 OK\r\n"
	for _, l := range m.lines {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			reply += l + "\r\n"
		case "To":
			if !strings.Contains(l, ";tag=") {
				l += ";tag=called"
			}
			reply += l + "\r\n"
		}
	}
	answer := []byte(reply + "Contact: <sip:called@" + p.called.LocalAddr().String() + ">\r\nContent-Length: 0\r\n\r\n")
	switch {
	case method == "ACK" && c != nil:
		c.answer = nil
	case method == "ACK":
	case method == "INVITE" && c != nil:
		if c.answer == nil && c.answered.IsZero() {
			via := strings.TrimPrefix(m.header("Via"), "SIP/2.0/UDP ")
			c.through, _, _ = strings.Cut(via, ";")
		}
		to := *from
		c.answer, c.to, c.longer, c.repeat = answer, &to, t1, time.Now().Add(t1)
		p.called.WriteToUDP(answer, from)
	default:
		p.called.WriteToUDP(answer, from)
	}
}

// stream places calls at a rate until stop is called; uri is asked for each.
func (p *phones) stream(rate float64, hold time.Duration, uri func(n int) string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case <-tick.C:
				p.place(uri(n), hold)
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// snapshot of all calls so far.
func (p *phones) snapshot() (all []call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		all = append(all, *c)
	}
	return all
}

// tally says how the calls ended, for people.
func (p *phones) tally() string {
	answered, pending := 0, 0
	refused := map[int]int{}
	for _, c := range p.snapshot() {
		switch {
		case !c.answered.IsZero():
			answered++
		case c.ended.IsZero():
			pending++
		default:
			refused[c.status]++
		}
	}
	s := fmt.Sprintf("%d answered", answered)
	for status := range 700 {
		if n := refused[status]; n > 0 {
			word := fmt.Sprint(status)
			if status == 408 {
				word = "408 or silence"
			}
			s += fmt.Sprintf(", %d %s", n, word)
		}
	}
	if pending > 0 {
		s += fmt.Sprintf(", %d waiting", pending)
	}
	return s
}
