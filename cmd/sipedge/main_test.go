package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sipedge/transport/batch"
)

var backends = []string{"batch", "gnet"}

// With nothing given but where to listen, OPTIONS is answered, by both backends.
func TestServesAndEnds(t *testing.T) {
	for _, io := range backends {
		t.Run(io, func(t *testing.T) {
			e := startEdge(t, nil, "--udp-io", io)
			p := newPhone(t, e.udp[0])
			p.request("OPTIONS", "sip:"+e.udp[0], "options")
			if r := p.receive("SIP/2.0 "); !strings.HasPrefix(r, "SIP/2.0 200 ") {
				t.Errorf("OPTIONS is answered %q", r)
			}
			// The port goes behind -p: sipsak cuts a port of five digits in the URI to four.
			if out, err := exec.Command("sipsak", "-p", e.udp[0], "-s", "sip:127.0.0.1").CombinedOutput(); err != nil {
				t.Errorf("sipsak (make deps installs it): %v\n%s", err, out)
			}
			e.signal(syscall.SIGTERM)
			if s := e.status(); s != 0 {
				t.Errorf("exit status %d", s)
			}
			if e.waitLog("ended") == nil {
				t.Error("the log does not say that it ended")
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	for _, io := range backends {
		t.Run(io, func(t *testing.T) {
			e := startEdge(t, nil, "--udp-io", io, "--listen", "udp:[::1]:0", "--listen", "udp:127.0.0.1:0")
			for _, at := range e.udp {
				p := newPhone(t, at)
				p.request("OPTIONS", "sip:"+at, "options")
				p.receive("SIP/2.0 200 ")
			}
		})
	}
}

func TestFilesAreOurs(t *testing.T) {
	e := startEdge(t, nil)
	for path, want := range map[string]os.FileMode{
		e.dir:                              os.ModeDir | 0o700,
		filepath.Join(e.dir, "secret"):     0o600,
		filepath.Join(e.dir, "admin.sock"): os.ModeSocket | 0o600,
	} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, st, err, want)
		}
	}
}

func TestAdmin(t *testing.T) {
	for _, at := range []string{"", "--admin=127.0.0.1:0"} {
		t.Run("at"+at, func(t *testing.T) {
			args := []string{"--loops=2"}
			if at != "" {
				args = append(args, at)
			}
			e := startEdge(t, nil, args...)
			if status, text := e.get("/healthz"); status != 200 || text != "ok\n" {
				t.Errorf("/healthz: %d %q", status, text)
			}
			p := newPhone(t, e.udp[0])
			p.request("OPTIONS", "sip:"+e.udp[0], "options")
			p.receive("SIP/2.0 200 ")
			status, text := e.get("/metrics")
			if status != 200 {
				t.Errorf("/metrics: %d", status)
			}
			want := []string{
				`sipedge_loop_packets_in_total{loop="0"} `, `sipedge_loop_packets_in_total{loop="1"} `, `version="v9.8.7"`,
				"sipedge_requests_in_total ", "sipedge_store_contexts ", "go_sched_pauses_total_gc_seconds_count",
				// A loop keeps a P while it sleeps, so the runtime needs more than there are loops.
				fmt.Sprintf("go_sched_gomaxprocs_threads %d\n", batch.Procs(2)),
			}
			if missing := lacks(text, want...); missing != nil {
				t.Errorf("/metrics lacks %q", missing)
			}
		})
	}
}

// While it drains, calls end, new ones go elsewhere, and the end of the last one is the end of the wait.
func TestDrainWaitsForCalls(t *testing.T) {
	bob := newPhone(t, "127.0.0.1:9")
	e := startEdge(t, nil, "--drain=1h", "--next-hop=sip:"+bob.addr())
	alice := newPhone(t, e.udp[0])
	alice.request("INVITE", "sip:bob@"+e.udp[0], "first")
	alice.receive("SIP/2.0 100 ")
	invite := bob.receive("INVITE ")
	bob.edge = alice.edge
	e.waitMetric("sipedge_transactions_begun_total 1")

	e.signal(syscall.SIGTERM)
	e.waitLog("draining")
	if status, text := waitDraining(e); status != 503 || text != "draining\n" {
		t.Errorf("/healthz: %d %q", status, text)
	}
	alice.request("INVITE", "sip:bob@"+e.udp[0], "second")
	if r := alice.receive("SIP/2.0 503 "); !strings.Contains(r, "\r\nRetry-After:") {
		t.Errorf("no Retry-After in %q", r)
	}
	bob.answer(invite, "200 OK")
	alice.receive("SIP/2.0 200 ")
	if s := e.status(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	if l := e.waitLog("ended"); l["transactions-without-final-response"] != 0.0 {
		t.Errorf("%v", l)
	}
}

// waitDraining asks until the answer changes: the log line comes a moment before.
func waitDraining(e *edge) (status int, text string) {
	for range 1000 {
		if status, text = e.get("/healthz"); status != 200 {
			break
		}
	}
	return status, text
}

// --drain is a hard bound: a call that rings on does not hold it up.
func TestDrainEnds(t *testing.T) {
	bob := newPhone(t, "127.0.0.1:9")
	e := startEdge(t, []string{"SIPEDGE_DRAIN=100ms", "SIPEDGE_NEXT_HOP=sip:" + bob.addr()})
	alice := newPhone(t, e.udp[0])
	alice.request("INVITE", "sip:bob@"+e.udp[0], "call")
	bob.receive("INVITE ")
	e.waitMetric("sipedge_transactions_begun_total 1")
	e.signal(syscall.SIGTERM)
	if s := e.status(); s != 0 {
		t.Errorf("exit status %d", s)
	}
	if l := e.waitLog("ended"); l["transactions-without-final-response"] != 1.0 {
		t.Errorf("%v", l)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	bob := newPhone(t, "127.0.0.1:9")
	e := startEdge(t, nil, "--drain=1h", "--next-hop=sip:"+bob.addr())
	alice := newPhone(t, e.udp[0])
	alice.request("INVITE", "sip:bob@"+e.udp[0], "call")
	bob.receive("INVITE ")
	e.waitMetric("sipedge_transactions_begun_total 1")
	e.signal(syscall.SIGTERM)
	e.waitLog("draining")
	e.signal(syscall.SIGTERM)
	if s := e.status(); s != exitFailed {
		t.Errorf("exit status %d", s)
	}
}

func TestInterruptDrainsToo(t *testing.T) {
	e := startEdge(t, nil)
	e.signal(syscall.SIGINT)
	if s := e.status(); s != 0 {
		t.Errorf("exit status %d", s)
	}
}

// A process that was killed leaves its socket; the next one takes its place, with the same secret.
func TestStartsAgainAfterKill(t *testing.T) {
	e := startEdge(t, nil)
	secret, err := os.ReadFile(filepath.Join(e.dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	e.signal(syscall.SIGKILL)
	e.status()
	if _, err := os.Lstat(filepath.Join(e.dir, "admin.sock")); err != nil {
		t.Fatalf("nothing stale to find: %v", err)
	}
	again := startEdge(t, []string{"SIPEDGE_DATA_DIR=" + e.dir})
	if status, _ := again.get("/healthz"); status != 200 {
		t.Error(status)
	}
	if now, _ := os.ReadFile(filepath.Join(e.dir, "secret")); string(now) != string(secret) {
		t.Error("the secret is another one")
	}
}

// What is taken by another process is said so, and that process stays as it is.
func TestTaken(t *testing.T) {
	e := startEdge(t, nil)
	for _, io := range backends {
		status, _, text := once(t, nil, "serve", "--udp-io="+io, "--listen=udp:"+e.udp[0], "--data-dir="+filepath.Join(t.TempDir(), "d"))
		if missing := lacks(text, e.udp[0], "another process has this port", "--listen"); status != exitFailed || missing != nil {
			t.Errorf("%s: status %d, %q lacks %q", io, status, text, missing)
		}
	}
	status, _, text := once(t, nil, "serve", "--listen=udp:127.0.0.1:0", "--data-dir="+e.dir)
	if missing := lacks(text, "--admin unix:"+e.dir, "another sipedge answers", "--data-dir"); status != exitFailed || missing != nil {
		t.Errorf("status %d, %q lacks %q", status, text, missing)
	}
	if status, _ := e.get("/healthz"); status != 200 {
		t.Error("the first one is ill:", status)
	}
	p := newPhone(t, e.udp[0])
	p.request("OPTIONS", "sip:"+e.udp[0], "options")
	p.receive("SIP/2.0 200 ")
}

func TestRefusals(t *testing.T) {
	f := func(want int, env, args []string, words ...string) {
		t.Helper()
		status, stdout, stderr := once(t, env, args...)
		if missing := lacks(stderr, words...); status != want || missing != nil || stdout != "" {
			t.Errorf("%v %v: status %d, %q lacks %q; stdout %q", env, args, status, stderr, missing, stdout)
		}
	}
	f(2, nil, []string{"serve", "--listen=sctp:127.0.0.1:5060", "--t1=fast"}, "--listen", "begin with udp:", "example: --listen=udp:", "--t1", "example: --t1=500ms")
	f(2, []string{"SIPEDGE_MODE=fast", "SIPEDGE_LOOPS=many"}, []string{"serve"}, "--mode (from SIPEDGE_MODE)", "--loops (from SIPEDGE_LOOPS)")
	f(2, nil, []string{"serve", "--lisen=x"}, "unknown flag: --lisen", "sipedge serve --help")
	f(2, nil, []string{"serve", "--mode"}, "--mode", "missing", "example: --mode=stateless")
	f(2, nil, []string{"serve", "--open-relay", "on"}, `"on"`, "--open-relay=on")
	f(2, nil, []string{"sreve"}, `"sreve"`, "serve, check, schema and version")
	f(2, nil, []string{"version", "extra"}, `"extra"`)
	f(2, []string{"SIPEDGE_T1=1"}, []string{"version"}, "--t1")

	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	f(1, nil, []string{"serve", "--data-dir=" + open}, "--data-dir", "chmod 700")
	f(1, nil, []string{"serve", "--data-dir=" + t.TempDir() + "/d", "--secret-file=/nowhere"}, "--secret-file", "/nowhere")
	f(1, nil, []string{"serve", "--data-dir=" + t.TempDir() + "/d", "--listen=udp:192.0.2.1:5060"}, "192.0.2.1:5060", "does not have that address")
}

// What is given in the environment is in force.
func TestEnvironment(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("s", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "a.sock")
	e := startEdge(t, []string{
		"SIPEDGE_LISTEN=udp:127.0.0.1:0,udp:[::1]:0", "SIPEDGE_LOOPS=3", "SIPEDGE_MODE=stateless", "SIPEDGE_ADMIN=unix:" + socket,
		"SIPEDGE_SECRET_FILE=" + secret, "SIPEDGE_TIMER_C=10s", "SIPEDGE_UDPIO=gnet", "SIPEDGE_ADVERTISE=sip.example.com",
	})
	l := e.waitLog("serving")
	if l["loops"] != 3.0 || l["mode"] != "stateless" || l["udp-io"] != "batch" || len(e.udp) != 2 || e.admin != "unix:"+socket {
		t.Errorf("%v, %v, %v", l, e.udp, e.admin)
	}
	if l := e.waitLog("listening"); l["advertise"] != "sip.example.com" {
		t.Errorf("%v", l)
	}
	if _, err := os.Stat(filepath.Join(e.dir, "secret")); err == nil {
		t.Error("it made a secret although it was given one")
	}
	var warnings string
	for _, l := range e.lines() {
		if l["level"] == "warn" {
			warnings += fmt.Sprintln(l["msg"])
		}
	}
	if missing := lacks(warnings, "--timer-c 10s", "SIPEDGE_UDPIO"); missing != nil {
		t.Errorf("warnings %q lack %q", warnings, missing)
	}
}

func TestLogLevel(t *testing.T) {
	_, _, text := once(t, nil, "serve", "--timer-c=1s", "--log-level=error", "--log-format=json", "--data-dir="+t.TempDir()+"/d", "--listen=udp:192.0.2.1:5060")
	if strings.Contains(text, `"level":"warn"`) {
		t.Errorf("warnings at level error: %s", text)
	}
}

func TestHelp(t *testing.T) {
	status, text, stderr := once(t, nil, "serve", "--help")
	if missing := lacks(text, "Usage:", "Examples:", "--listen udp|tcp|tls|ws|wss:HOST:PORT", "SIPEDGE_NEXT_HOP", "--timer-c", "185s"); status != 0 || missing != nil || stderr != "" {
		t.Errorf("status %d, lacks %q, stderr %q", status, missing, stderr)
	}
	status, text, _ = once(t, nil)
	if missing := lacks(text, "serve", "version"); status != 0 || missing != nil {
		t.Errorf("status %d, lacks %q", status, missing)
	}
}

func TestVersion(t *testing.T) {
	status, text, stderr := once(t, []string{"SIPEDGE_UDP_IO=gnet", "SIPEDGE_LOOPS=3"}, "version")
	if missing := lacks(text, "v9.8.7", runtime.Version(), runtime.GOARCH, "features ", "parser   "+scanForm()+"\n", "gnet", "3 loops"); status != 0 || missing != nil || stderr != "" {
		t.Errorf("status %d, %q lacks %q, stderr %q", status, text, missing, stderr)
	}
}
