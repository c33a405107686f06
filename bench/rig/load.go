//go:build linux

package rig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sipedge/bench/load"
)

// Tools are the programs of this repository that a bench runs as processes of their own, so that
// they can be pinned and do not share a runtime with the driver.
type Tools struct{ Sipload, Floor string }

// BuildTools builds them into dir. It must run inside the repository.
func BuildTools(dir string) (Tools, error) {
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "sipedge/bench/sipload", "sipedge/bench/floor")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Tools{}, fmt.Errorf("rig: go build of the load generator: %w\n%s", err, out)
	}
	return Tools{filepath.Join(dir, "sipload"), filepath.Join(dir, "floor")}, nil
}

// Load is a load that runs.
type Load struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	stdin    io.WriteCloser
	pending  chan struct{}
	done     chan struct{}
}

// StartLoad starts the generator, pinned to cpus, with these flags and --json.
func (t Tools) StartLoad(cpus string, args ...string) (*Load, error) {
	l := &Load{pending: make(chan struct{}), done: make(chan struct{})}
	argv := append([]string{t.Sipload, "--json"}, args...)
	if cpus != "" {
		argv = append([]string{"taskset", "-c", cpus}, argv...)
	}
	l.cmd = exec.Command(argv[0], argv[1:]...)
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	l.cmd.Stderr = &l.err
	var err error
	if l.stdin, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(l.done)
		const word = "pending\n"
		b := make([]byte, 4096)
		announced := false
		for {
			n, err := stdout.Read(b)
			l.out.Write(b[:n])
			if !announced && bytes.HasPrefix(l.out.Bytes(), []byte(word)) {
				announced = true
				l.out.Next(len(word))
				close(l.pending)
			}
			if err != nil {
				return
			}
		}
	}()
	return l, nil
}

// Pending waits until all calls of a gated ringing load ring; false when the load ended before.
func (l *Load) Pending() bool {
	select {
	case <-l.pending:
		return true
	case <-l.done:
		select {
		case <-l.pending:
			return true
		default:
			return false
		}
	}
}

// Release lets the calls of a gated ringing load finish.
func (l *Load) Release() { _, _ = io.WriteString(l.stdin, "\n") }

// Wait returns the result; that calls failed is in it, not in the error.
func (l *Load) Wait() (*load.Result, error) {
	<-l.done
	err := l.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("rig: sipload: %w: %s", err, tail(l.err.String(), 5))
	}
	var r load.Result
	if err := json.Unmarshal(l.out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("rig: sipload printed no result: %w: %s", err, tail(l.err.String(), 5))
	}
	return &r, nil
}

// Kill ends the load without a result.
func (l *Load) Kill() {
	_ = l.cmd.Process.Kill()
	<-l.done
	_ = l.cmd.Wait()
}

// RunLoad is StartLoad and Wait.
func (t Tools) RunLoad(cpus string, args ...string) (*load.Result, error) {
	l, err := t.StartLoad(cpus, args...)
	if err != nil {
		return nil, err
	}
	return l.Wait()
}

// Metrics reads sipedge's /metrics: every sample by its name with labels, as in the text format.
func (p *Proxy) Metrics() (map[string]float64, error) {
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get("http://" + p.Admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("rig: /metrics: %s", r.Status)
	}
	m := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
				m[line[:at]] = v
			}
		}
	}
	return m, nil
}

// LoopPackets is the number of datagrams that each loop of sipedge has received, loop 0 first.
func (p *Proxy) LoopPackets() ([]float64, error) {
	m, err := p.Metrics()
	if err != nil {
		return nil, err
	}
	var loops []float64
	for i := 0; ; i++ {
		v, ok := m[fmt.Sprintf(`sipedge_loop_packets_in_total{loop="%d"}`, i)]
		if !ok {
			break
		}
		loops = append(loops, v)
	}
	if len(loops) == 0 {
		return nil, errors.New("rig: no sipedge_loop_packets_in_total in /metrics")
	}
	return loops, nil
}

// CoreBusy is the time that a core has spent on anything but idling, since boot.
func CoreBusy(core int) (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != "cpu"+strconv.Itoa(core) {
			continue
		}
		ticks := int64(0)
		for i, s := range f[1:9] {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return 0, err
			}
			if i != 3 && i != 4 { // idle and iowait
				ticks += n
			}
		}
		return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 everywhere Linux runs Go
	}
	return 0, fmt.Errorf("rig: no core %d in /proc/stat", core)
}
