package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this package run the binary as people do: flags, signals, sockets.

var (
	binary     string
	buildFlags = []string{"build"}
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sipedge-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sipedge")
	if out, err := exec.Command("go", append(buildFlags, "-ldflags", "-X main.version=v9.8.7", "-o", binary, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience is how long a test waits for what has to happen; nothing fails for being slow before that.
const patience = 30 * time.Second

// edge is a running sipedge.
type edge struct {
	t        *testing.T
	cmd      *exec.Cmd
	dir      string              // its data directory
	udp      []string            // where it listens
	at       map[string][]string // the same, by transport
	admin    string              // as --admin takes it
	exited   chan struct{}
	mu       sync.Mutex
	messages []logLine
	arrived  chan struct{} // closed and renewed with each line
	log      *os.File      // what the lines come from
	deaf     chan struct{} // closed: no more lines are read
	hear     chan struct{} // closed: they are again
}

type logLine map[string]any

// startEdge runs `sipedge serve` with a data directory of its own (unless env has one) and waits
// until it serves.
func startEdge(t *testing.T, env []string, args ...string) *edge {
	t.Helper()
	e := &edge{t: t, dir: filepath.Join(t.TempDir(), "state"), exited: make(chan struct{}), arrived: make(chan struct{}), at: map[string][]string{}, deaf: make(chan struct{}), hear: make(chan struct{})}
	environ := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "SIPEDGE_DATA_DIR=" + e.dir, "SIPEDGE_LISTEN=udp:127.0.0.1:0", "SIPEDGE_LOG_FORMAT=json"}
	e.cmd = exec.Command(binary, append([]string{"serve"}, args...)...)
	e.cmd.Env = append(environ, env...)
	stderr, err := e.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.log = stderr.(*os.File)
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.cmd.Process.Kill()
		close(e.hear)
		<-e.exited
		if t.Failed() {
			for _, l := range e.messages {
				t.Log(l)
			}
		}
	})
	go e.read(stderr)
	if e.waitLog("serving") == nil {
		t.Fatal("it did not start")
	}
	for _, l := range e.lines() {
		switch l["msg"] {
		case "listening":
			for _, proto := range []string{"udp", "tcp", "tls", "ws", "wss"} {
				if addr, ok := l[proto].(string); ok {
					e.at[proto] = append(e.at[proto], addr)
				}
			}
		case "admin":
			e.admin = l["address"].(string)
		}
	}
	e.udp = e.at["udp"]
	return e
}

// read collects the log until the process ends.
func (e *edge) read(stderr io.Reader) {
	for s := bufio.NewScanner(stderr); s.Scan(); {
		var l logLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			l = logLine{"msg": s.Text(), "level": "not JSON"}
		}
		e.mu.Lock()
		e.messages = append(e.messages, l)
		close(e.arrived)
		e.arrived = make(chan struct{})
		e.mu.Unlock()
		select {
		case <-e.deaf:
			<-e.hear
		default:
		}
	}
	e.cmd.Wait()
	close(e.exited)
}

// deafen ends the reading of the log until the test ends. (One more read may take what the pipe holds.)
func (e *edge) deafen() *os.File {
	close(e.deaf)
	return e.log
}

func (e *edge) lines() []logLine {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]logLine(nil), e.messages...)
}

// waitLog returns the first line with that message, or nil when the process ends without it.
func (e *edge) waitLog(msg string) logLine {
	e.t.Helper()
	timeout := time.After(patience)
	for {
		e.mu.Lock()
		arrived := e.arrived
		lines := e.messages
		e.mu.Unlock()
		for _, l := range lines {
			if l["msg"] == msg {
				return l
			}
		}
		select {
		case <-arrived:
		case <-e.exited:
			for _, l := range e.lines() {
				if l["msg"] == msg {
					return l
				}
			}
			return nil
		case <-timeout:
			e.t.Fatalf("no %q in the log after %v", msg, patience)
		}
	}
}

func (e *edge) signal(s syscall.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
}

// status waits for the end of the process.
func (e *edge) status() int {
	e.t.Helper()
	select {
	case <-e.exited:
	case <-time.After(patience):
		e.t.Fatal("it does not end")
	}
	return e.cmd.ProcessState.ExitCode()
}

// get asks the admin service.
func (e *edge) get(path string) (status int, text string) {
	e.t.Helper()
	return e.ask(http.MethodGet, path, "")
}

func (e *edge) post(path, body string) (status int, text string) {
	e.t.Helper()
	return e.ask(http.MethodPost, path, body)
}

func (e *edge) ask(method, path, body string) (status int, text string) {
	e.t.Helper()
	network, address := "tcp", e.admin
	if p, ok := strings.CutPrefix(e.admin, "unix:"); ok {
		network, address = "unix", p
	}
	c := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
	req, err := http.NewRequest(method, "http://sipedge"+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// waitMetric waits until /metrics has that line; counters become visible some milliseconds late.
func (e *edge) waitMetric(line string) {
	e.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, text := e.get("/metrics"); strings.Contains(text, "\n"+line+"\n") {
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("/metrics never has %q", line)
		}
	}
}

// once runs the binary to its end.
func once(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append([]string{"HOME=" + t.TempDir()}, env...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String()
}

// phone is a UDP socket that speaks SIP as far as these tests need it.
type phone struct {
	t    *testing.T
	conn *net.UDPConn
	edge *net.UDPAddr
}

func newPhone(t *testing.T, edge string) *phone {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", edge)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: to.IP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &phone{t, conn, to}
}

func (p *phone) addr() string { return p.conn.LocalAddr().String() }

// request sends a request with a branch of its own.
func (p *phone) request(method, uri, branch string) {
	p.t.Helper()
	text := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=%s\r\nTo: <%s>\r\n"+
		"Call-ID: %s@example.com\r\nCSeq: 1 %s\r\nContact: <sip:alice@%s>\r\nContent-Length: 0\r\n\r\n",
		method, uri, p.addr(), branch, branch, uri, branch, method, p.addr())
	if _, err := p.conn.WriteToUDP([]byte(text), p.edge); err != nil {
		p.t.Fatal(err)
	}
}

// receive returns the next message that begins with one of the given words; others are skipped.
func (p *phone) receive(words ...string) string {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 65536)
	for {
		n, err := p.conn.Read(b)
		if err != nil {
			p.t.Fatalf("no %q: %v", words, err)
		}
		for _, w := range words {
			if strings.HasPrefix(string(b[:n]), w) {
				return string(b[:n])
			}
		}
	}
}

// answer sends a response to a received request.
func (p *phone) answer(request, status string) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDP([]byte(answerTo(request, status, p.addr())), p.edge); err != nil {
		p.t.Fatal(err)
	}
}

// answerTo is a response to request by somebody at a contact.
func answerTo(request, status, contact string) string {
	text := "SIP/2.0 " + status + "\r\n"
	for line := range strings.SplitSeq(request, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			text += line + "\r\n"
		case "To":
			if !strings.Contains(line, ";tag=") {
				line += ";tag=bob"
			}
			text += line + "\r\n"
		}
	}
	return text + "Contact: <sip:bob@" + contact + ">\r\nContent-Length: 0\r\n\r\n"
}

// lacks lists the words that text does not have.
func lacks(text string, words ...string) (missing []string) {
	for _, w := range words {
		if !strings.Contains(text, w) {
			missing = append(missing, w)
		}
	}
	return missing
}
