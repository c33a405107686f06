package main

import (
	"bufio"
	"context"
	"crypto/tls"
	endian "encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// example is a file of docs/examples in force. Its places are sockets of this test: 192.0.2.x is 127.0.2.x, 198.51.100.x is
// 127.51.100.x, and each HOST:PORT is a free port there. Everything else is as the file has it.
type example struct {
	*edge
	t    *testing.T
	ends map[string]*end
	mu   sync.Mutex
	log  []visit
	ids  int
}

// visit is a request that came to an end; its retransmissions are no more of them.
type visit struct {
	id, method, to, via string // Call-ID, method, name of the end, topmost Via
	text                string
}

var (
	documented = strings.NewReplacer("192.0.2.", "127.0.2.", "198.51.100.", "127.51.100.")
	hostPort   = regexp.MustCompile(`\b(192\.0\.2|198\.51\.100)\.[0-9]+:[0-9]+`)
)

func newExample(t *testing.T) *example { return &example{t: t, ends: map[string]*end{}} }

// run puts docs/examples/FILE.yaml in force.
func (x *example) run(file string, env []string, args ...string) {
	x.t.Helper()
	b, err := os.ReadFile("../../docs/examples/" + file + ".yaml")
	if err != nil {
		x.t.Fatal(err)
	}
	x.runText(file, string(b), env, args...)
}

func (x *example) runText(file, text string, env []string, args ...string) {
	x.t.Helper()
	var policy strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			line = hostPort.ReplaceAllStringFunc(line, func(at string) string {
				name, _, _ := strings.Cut(at, ":")
				return x.end(name).addr()
			})
		}
		policy.WriteString(documented.Replace(line))
	}
	name := writeFile(x.t, filepath.Join(x.t.TempDir(), file+".yaml"), policy.String())
	x.edge = startEdge(x.t, env, append([]string{"--loops=1", "--stream-loops=1", "--policy=" + name}, args...)...)
}

// runExample is run for those that need nothing else.
func runExample(t *testing.T, file string, env []string, args ...string) *example {
	t.Helper()
	x := newExample(t)
	x.run(file, env, args...)
	return x
}

// end is a place where requests come to. What it answers is for the test to say; at first it is busy.
type end struct {
	x    *example
	name string // its address in the example, or another name
	conn *net.UDPConn
	mu   sync.Mutex
	says func(request string) string
}

// end returns the place of that name, which begins to listen when it is asked for first.
func (x *example) end(name string) *end {
	x.t.Helper()
	if e := x.ends[name]; e != nil {
		return e
	}
	ip := net.IPv4(127, 0, 0, 1)
	if a := net.ParseIP(documented.Replace(name)); a != nil {
		ip = a
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		x.t.Fatal(err)
	}
	e := &end{x: x, name: name, conn: conn}
	e.answer("486 Busy Here")
	x.ends[name] = e
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.serve()
	}()
	x.t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return e
}

func (e *end) addr() string { return e.conn.LocalAddr().String() }

// set says what is answered: a status, with more header lines behind it if there are; nothing for "".
func (e *end) set(says func(request string) string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.says = says
}

// answer is what all requests but OPTIONS are answered, which get 200.
func (e *end) answer(status string) {
	e.set(func(request string) string {
		if strings.HasPrefix(request, "OPTIONS ") {
			return "200 OK"
		}
		return status
	})
}

// silence answers nothing, not even OPTIONS.
func (e *end) silence() { e.set(func(string) string { return "" }) }

func (e *end) serve() {
	b := make([]byte, 65536)
	for {
		n, from, err := e.conn.ReadFromUDP(b)
		if err != nil {
			return
		}
		e.got(string(b[:n]), func(text string) { e.conn.WriteToUDP([]byte(text), from) })
	}
}

// later answers a request that came before.
func (e *end) later(request, status string) {
	e.x.t.Helper()
	to, err := net.ResolveUDPAddr("udp", e.x.udp[0])
	if err != nil {
		e.x.t.Fatal(err)
	}
	if _, err := e.conn.WriteToUDP([]byte(response(request, status, e.addr())), to); err != nil {
		e.x.t.Fatal(err)
	}
}

// serveTLS takes connections at the same address and port, by a certificate; no request here has a body.
func (e *end) serveTLS(cert tls.Certificate) {
	e.x.t.Helper()
	ln, err := tls.Listen("tcp", e.addr(), &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		e.x.t.Fatal(err)
	}
	var all sync.WaitGroup
	serve := func(conn net.Conn) {
		defer conn.Close()
		text, read := "", bufio.NewReader(conn)
		for {
			line, err := read.ReadString('\n')
			if err != nil {
				return
			}
			if text += line; line == "\r\n" {
				e.got(strings.TrimLeft(text, "\r\n"), func(text string) { conn.Write([]byte(text)) })
				text = ""
			}
		}
	}
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(e.x.t.Context(), func() { conn.Close() })
			all.Go(func() {
				defer stop()
				serve(conn)
			})
		}
	})
	e.x.t.Cleanup(func() {
		ln.Close()
		all.Wait()
	})
}

// got notes a request and answers it.
func (e *end) got(text string, send func(string)) {
	method, _, _ := strings.Cut(text, " ")
	if method == "ACK" || strings.HasPrefix(method, "SIP/") {
		return
	}
	v := visit{id: field(text, "Call-ID"), method: method, to: e.name, via: field(text, "Via"), text: text}
	e.x.note(v)
	e.mu.Lock()
	status := e.says(text)
	e.mu.Unlock()
	if status != "" {
		send(response(text, status, e.addr()))
	}
}

// response is answerTo with status perhaps being followed by header lines, which are there instead of a Contact.
func response(request, status, contact string) string {
	status, lines, more := strings.Cut(status, "\r\n")
	text := answerTo(request, status, contact)
	if more {
		text = strings.Replace(text, "Contact: <sip:bob@"+contact+">", lines, 1)
	}
	return text
}

func (x *example) note(v visit) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, w := range x.log {
		if v.id == w.id && v.method == w.method && v.to == w.to && v.via == w.via {
			return
		}
	}
	x.log = append(x.log, v)
}

// visits are the requests of a call by a method, in the order in which they came.
func (x *example) visits(id, method string) (found []visit) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, v := range x.log {
		if v.id == id && v.method == method {
			found = append(found, v)
		}
	}
	return found
}

// waitVisits waits until there are n of them.
func (x *example) waitVisits(id, method string, n int) []visit {
	x.t.Helper()
	for over := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if v := x.visits(id, method); len(v) >= n {
			return v
		}
		if time.Now().After(over) {
			x.t.Fatalf("%s %s went to %v", method, id, x.visits(id, method))
		}
	}
}

// probes is how often the end was asked whether it is there.
func (x *example) probes(name string) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, v := range x.log {
		if v.method == "OPTIONS" && v.to == name {
			n++
		}
	}
	return n
}

// waitProbes waits until that has been n times.
func (x *example) waitProbes(name string, n int) {
	x.t.Helper()
	for over := time.Now().Add(patience); x.probes(name) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(over) {
			x.t.Fatalf("%s got %d probes, not %d", name, x.probes(name), n)
		}
	}
}

// field is the value of the first header field of that name.
func field(text, name string) string {
	for line := range strings.SplitSeq(text, "\r\n") {
		if n, value, ok := strings.Cut(line, ": "); ok && n == name {
			return value
		}
	}
	return ""
}

// caller calls from an address.
type caller struct {
	x    *example
	conn *net.UDPConn
	edge *net.UDPAddr
	id   string // of its last call
	sent string
}

// caller makes one; from is an address as in the example.
func (x *example) caller(from string) *caller {
	x.t.Helper()
	to, err := net.ResolveUDPAddr("udp", x.udp[0])
	if err != nil {
		x.t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(documented.Replace(from))})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { conn.Close() })
	return &caller{x: x, conn: conn, edge: to}
}

// newRequest is a request of a call of its own.
func (x *example) newRequest(method, uri, via string, lines ...string) (id, text string) {
	x.ids++
	id = fmt.Sprintf("call%d@example.com", x.ids)
	text = fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/%s;branch=z9hG4bKcall%d\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=%d\r\nTo: <%s>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:alice@127.0.0.1>\r\n", method, uri, via, x.ids, x.ids, uri, id, method)
	for _, l := range lines {
		text += l + "\r\n"
	}
	return id, text + "Content-Length: 0\r\n\r\n"
}

// begin sends a request.
func (c *caller) begin(method, uri string, lines ...string) {
	c.x.t.Helper()
	c.id, c.sent = c.x.newRequest(method, uri, "UDP "+c.conn.LocalAddr().String(), lines...)
	c.write(c.sent)
}

func (c *caller) write(text string) {
	c.x.t.Helper()
	if _, err := c.conn.WriteToUDP([]byte(text), c.edge); err != nil {
		c.x.t.Fatal(err)
	}
}

// final waits for the final response to the last request, and acknowledges that of an INVITE that failed. Provisional ones are returned
// too.
func (c *caller) final() (answer string, provisional []string) {
	c.x.t.Helper()
	return c.finalOf(map[string]string{c.id: c.sent})
}

// finalOf is final for one of the requests, by Call-ID, that have had none. It is taken out of them.
func (c *caller) finalOf(sent map[string]string) (answer string, provisional []string) {
	c.x.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 65536)
	for {
		n, err := c.conn.Read(b)
		if err != nil {
			c.x.t.Fatalf("no final response to %q: %v", sent, err)
		}
		text := string(b[:n])
		request, waiting := sent[field(text, "Call-ID")]
		switch {
		case !waiting || !strings.HasPrefix(text, "SIP/2.0 "):
		case strings.HasPrefix(text, "SIP/2.0 1"):
			provisional = append(provisional, text)
		default:
			delete(sent, field(text, "Call-ID"))
			if !strings.HasPrefix(text, "SIP/2.0 2") && strings.HasPrefix(request, "INVITE ") {
				ack := strings.NewReplacer("INVITE ", "ACK ", " INVITE\r\n", " ACK\r\n", "To: "+field(request, "To"), "To: "+field(text, "To"))
				c.write(ack.Replace(request))
			}
			return text, provisional
		}
	}
}

// call sends an INVITE and checks the status line, or the begin of it, and where it went, in that order.
func (c *caller) call(uri, status string, to ...string) (answer string) {
	c.x.t.Helper()
	return c.request("INVITE", uri, nil, status, to...)
}

func (c *caller) request(method, uri string, lines []string, status string, to ...string) (answer string) {
	c.x.t.Helper()
	c.begin(method, uri, lines...)
	return c.ends(status, to...)
}

// ends checks how the last request ends.
func (c *caller) ends(status string, to ...string) (answer string) {
	c.x.t.Helper()
	answer, _ = c.final()
	c.x.check(c.id, answer, status, to...)
	return answer
}

// check compares how a call ended with how it had to, and where it went.
func (x *example) check(id, answer, status string, to ...string) {
	x.t.Helper()
	var went []string
	for _, v := range x.visits(id, field(answer, "CSeq")[2:]) {
		went = append(went, v.to)
	}
	if line, _, _ := strings.Cut(answer, "\r\n"); !strings.HasPrefix(line, "SIP/2.0 "+status) || !slices.Equal(went, to) {
		x.t.Errorf("%s: %q by way of %q, want %q by way of %q", id, line, went, status, to)
	}
}

// only is the one request of the caller's last call that came to an end.
func (c *caller) only() string {
	c.x.t.Helper()
	method, _, _ := strings.Cut(c.sent, " ")
	v := c.x.visits(c.id, method)
	if len(v) != 1 {
		c.x.t.Fatalf("%s went to %d places", c.id, len(v))
	}
	return v[0].text
}

// zoneWhere makes Europe/Berlin a zone in which it is now that date and time. The result is for the environment.
func zoneWhere(t *testing.T, wall string) string {
	t.Helper()
	then, err := time.Parse("2006-01-02 15:04", wall)
	if err != nil {
		t.Fatal(err)
	}
	// RFC 9636 section 3: a header with six counts, of which there is one type and four characters of its name.
	b := append([]byte("TZif"), make([]byte, 16)...)
	for _, n := range []uint32{0, 0, 0, 0, 1, 4} {
		b = endian.BigEndian.AppendUint32(b, n)
	}
	b = endian.BigEndian.AppendUint32(b, uint32(int32(time.Until(then)/time.Second)))
	b = append(b, 0, 0)
	b = append(b, "HERE\x00"[1:]...)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "Europe"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "Europe", "Berlin"), string(b))
	return "ZONEINFO=" + dir
}
