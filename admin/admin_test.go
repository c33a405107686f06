package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sipedge/config"
	"sipedge/transport"
)

// figures is an engine as far as admin looks at one: loops with counters.
type figures struct {
	transport.Engine
	loops []transport.LoopStats
}

func (f *figures) Loops() int                         { return len(f.loops) }
func (f *figures) Stats(loop int) transport.LoopStats { return f.loops[loop] }

// fill gives every field a figure of its own, from base on.
func fill[T any](base uint64) (v T) {
	r := reflect.ValueOf(&v).Elem()
	for i := range r.NumField() {
		r.Field(i).SetUint(base + uint64(i))
	}
	return v
}

// start serves on a fresh unix socket and returns a client for it.
func start(t *testing.T, s *Service) (*http.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	ln, err := Listen(config.Admin{UnixPath: path})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		s.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return client, path
}

func get(t *testing.T, c *http.Client, path string) (int, string) {
	t.Helper()
	resp, err := c.Get("http://admin" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func newService(t *testing.T, e transport.Engine) *Service {
	t.Helper()
	s, err := New(func(m string) { t.Error(m) }, Loops(e), Build("v1", "go1"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every field of LoopStats is shown, each under its loop.
func TestLoopMetrics(t *testing.T) {
	e := &figures{loops: []transport.LoopStats{fill[transport.LoopStats](1000), fill[transport.LoopStats](2000)}}
	c, _ := start(t, newService(t, e))
	status, text := get(t, c, "/metrics")
	if status != http.StatusOK {
		t.Fatal(status, text)
	}
	for loop := range e.loops {
		for i := range reflect.TypeFor[transport.LoopStats]().NumField() {
			want := fmt.Sprintf("{loop=\"%d\"} %d\n", loop, 1000*(loop+1)+i)
			if strings.Count(text, want) != 1 {
				t.Errorf("/metrics has %d of %q", strings.Count(text, want), want)
			}
		}
	}
	for _, want := range []string{
		`sipedge_loop_packets_in_total{loop="1"} 2000`, `sipedge_build_info{goversion="go1",version="v1"} 1`,
		"go_gc_duration_seconds", "go_sched_pauses_total_gc_seconds_bucket", "go_goroutines", "process_cpu_seconds_total",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func TestHealthz(t *testing.T) {
	s := newService(t, &figures{})
	c, _ := start(t, s)
	if status, text := get(t, c, "/healthz"); status != 200 || text != "ok\n" {
		t.Error(status, text)
	}
	s.Drain()
	if status, text := get(t, c, "/healthz"); status != 503 || text != "draining\n" {
		t.Error(status, text)
	}
	if status, _ := get(t, c, "/"); status != 404 {
		t.Error("/ is", status)
	}
	resp, err := c.Post("http://admin/healthz", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error("POST is", resp.StatusCode)
	}
}

func TestHugeHeaderIsRefused(t *testing.T) {
	c, _ := start(t, newService(t, &figures{}))
	req, _ := http.NewRequest("GET", "http://admin/healthz", nil)
	req.Header.Set("X", strings.Repeat("x", 64<<10))
	resp, err := c.Do(req)
	if err != nil {
		return // refused by closing the connection while we wrote
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.StatusCode)
	}
}

// Connections beyond the bound wait; they are served when others end.
func TestConnectionsAreBounded(t *testing.T) {
	_, path := start(t, newService(t, &figures{}))
	ask := func(c net.Conn) {
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: admin\r\n\r\n"); err != nil {
			t.Error(err)
		}
	}
	answered := func(c net.Conn) bool {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return true
	}
	var conns []net.Conn
	for range maxConns + 1 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, c := range conns[:maxConns] {
		ask(c)
		if !answered(c) {
			t.Fatal("not answered")
		}
	}
	last := conns[maxConns]
	ask(last)
	last.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if answered(last) {
		t.Fatalf("connection %d was served at once", maxConns+1)
	}
	last.SetReadDeadline(time.Time{})
	conns[0].Close()
	if !answered(last) {
		t.Error("it was not served later either")
	}
}

func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin.sock")
	a := config.Admin{UnixPath: path}
	ln, err := Listen(a)
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if _, err := Listen(a); err == nil || !strings.Contains(err.Error(), "another sipedge") {
		t.Errorf("a live socket was taken: %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the refused one broke it: %v", err)
	} else {
		c.Close()
	}
	ln.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket stayed after Close")
	}

	// What a killed process leaves: a socket that nobody answers on.
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	if ln, err = Listen(a); err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	ln.Close()

	// A socket of another program, which knows nothing of the lock.
	foreign, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if _, err := Listen(a); err == nil || !strings.Contains(err.Error(), "another sipedge answers") {
		t.Errorf("a foreign live socket was taken: %v", err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(config.Admin{UnixPath: file}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file was replaced: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file is gone")
	}
	if _, err := Listen(config.Admin{UnixPath: filepath.Join(dir, "no", "s")}); err == nil || !strings.Contains(err.Error(), "--admin unix:") {
		t.Errorf("%v", err)
	}
}

func TestTCP(t *testing.T) {
	ln, err := Listen(config.Admin{TCP: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).AddrPort()
	if _, err := Listen(config.Admin{TCP: taken}); err == nil || !strings.Contains(err.Error(), "another process has this port") {
		t.Errorf("%v", err)
	}
	s := newService(t, &figures{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	c := &http.Client{Transport: &http.Transport{}}
	resp, err := c.Get("http://" + taken.String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Error(resp.StatusCode)
	}
	c.CloseIdleConnections()
	s.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
