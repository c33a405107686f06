package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/config"
)

// stuckWriter writes nothing until it is released.
type stuckWriter struct {
	began   chan struct{}
	release chan struct{}
	once    sync.Once
	bytes.Buffer
}

func (w *stuckWriter) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.began) })
	<-w.release
	return w.Buffer.Write(b)
}

// Whoever logs is never stopped by what takes the log; what was lost is counted, and told once it can be.
func TestLogNeverBlocks(t *testing.T) {
	w := &stuckWriter{began: make(chan struct{}), release: make(chan struct{})}
	q := newLogQueue(w)
	log := newLog(&config.Config{LogFormat: config.LogJSON}, q)
	q.tell(log)
	log.Info("first")
	<-w.began
	const lost = 7
	for i := range logLines + lost {
		log.Info(fmt.Sprint("line ", i)) // all different, so that none is left out on purpose
	}
	if n := q.lost.Load(); n != lost {
		t.Errorf("%d lost, want %d", n, lost)
	}
	if err := log.Sync(); err == nil {
		t.Error("Sync says that all is written")
	}
	close(w.release)
	for i := range 2 { // the second waits for the line that the first lines bring about
		if err := log.Sync(); err != nil {
			t.Fatal(i, err)
		}
	}
	text := w.String()
	if missing := lacks(text, `"first"`, fmt.Sprintf(`"line %d"`, logLines-1), fmt.Sprintf(`"lines":%d`, lost)); missing != nil {
		t.Errorf("the log lacks %q", missing)
	}
	if n := strings.Count(text, "\n"); n != 1+logLines+1 {
		t.Errorf("%d lines", n)
	}
}

// What a full disk does not take is lost and counted.
func TestLogDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	q := newLogQueue(full)
	log := newLog(&config.Config{LogFormat: config.LogText}, q)
	q.tell(log)
	for i := range 10 {
		log.Info(fmt.Sprint("line ", i))
	}
	if err := log.Sync(); err != nil {
		t.Error(err)
	}
	if n := q.lost.Load(); n != 10 {
		t.Errorf("%d lost, want 10", n)
	}
}

// With nobody reading its log the proxy routes, reads its policy again, and ends as it should.
func TestNobodyReadsTheLog(t *testing.T) {
	bob, carol := newPhone(t, "127.0.0.1:9"), newPhone(t, "127.0.0.1:9")
	file := filepath.Join(t.TempDir(), "policy.yaml")
	to := func(p *phone) string {
		return "domains: [example.com]\nroutes:\n- {match: {uri: {ours: true}}, next-hop: 'sip:" + p.addr() + "'}\n"
	}
	writeFile(t, file, to(bob))
	e := startEdge(t, nil, "--policy="+file, "--drain=0")
	pipe := e.deafen()
	raw, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// One line of more than the pipe holds, so that the write of it hangs when the pipe is full.
	size := 0
	raw.Control(func(fd uintptr) { size, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 4096) })
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, "routes: [\n"+strings.Repeat("  {nonsense: here},\n", size/20)+"]\n")
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		e.signal(syscall.SIGHUP)
		waiting := 0
		raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		if err != nil {
			t.Fatal(err)
		}
		if waiting >= size {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the pipe does not become full")
		}
	}
	alice := newPhone(t, e.udp[0])
	alice.request("INVITE", "sip:someone@example.com", "before")
	bob.receive("INVITE sip:someone@example.com ")
	writeFile(t, file, to(carol))
	e.signal(syscall.SIGHUP)
	for n := 0; ; n++ {
		alice.request("INVITE", "sip:someone@example.com", fmt.Sprint("after", n))
		if carol.within(50 * time.Millisecond) {
			break
		}
		if n == int(patience/(50*time.Millisecond)) {
			t.Fatal("the new policy never comes into force")
		}
		e.signal(syscall.SIGHUP)
	}
	e.signal(syscall.SIGTERM)
	exited := make(chan *os.ProcessState, 1)
	go func() {
		state, _ := e.cmd.Process.Wait()
		exited <- state
	}()
	select {
	case state := <-exited:
		if state.ExitCode() != 0 {
			t.Errorf("exit status %d", state.ExitCode())
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// within tells whether anything arrives in that time.
func (p *phone) within(d time.Duration) bool {
	p.conn.SetReadDeadline(time.Now().Add(d))
	_, err := p.conn.Read(make([]byte, 65536))
	return err == nil
}
