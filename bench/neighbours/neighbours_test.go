//go:build linux

package neighbours

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sipedge/bench/rig"
	"sipedge/transport/tlslayer/tlstest"
)

// patience bounds every wait for something that must come. It is no measure of speed.
const patience = 30 * time.Second

var sipedge string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sipedge-neighbours-")
	if err == nil {
		sipedge = filepath.Join(dir, "sipedge")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", sipedge, "sipedge/cmd/sipedge").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func need(t *testing.T, program, pkg string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if path := filepath.Join(dir, program); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	t.Fatalf("%s is not installed (package %s); make deps installs it", program, pkg)
	return ""
}

func freeAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	a, err := rig.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// program is a process of which what it says is waited for.
type program struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	said chan struct{} // capacity 1: there is more
}

func run(t *testing.T, dir, path string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: filepath.Base(path), cmd: exec.Command(path, args...), ended: make(chan struct{}), said: make(chan struct{}, 1)}
	p.cmd.Dir = dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			p.mu.Lock()
			p.text.WriteString(line)
			p.mu.Unlock()
			select {
			case p.said <- struct{}{}:
			default:
			}
			if err != nil {
				break
			}
		}
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // Kamailio's children too
		<-p.ended
	})
	return p
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// says waits until the program has said all of words.
func (p *program) says(words ...string) {
	p.t.Helper()
	over := time.After(patience)
	for {
		text, missing := p.output(), ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing = w
				break
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-p.said:
		case <-p.ended:
			if strings.Contains(p.output(), missing) {
				continue
			}
			p.t.Fatalf("%s ended without saying %q:\n%s", p.name, missing, p.output())
		case <-over:
			p.t.Fatalf("%s does not say %q:\n%s", p.name, missing, p.output())
		}
	}
}

// succeeds waits for the end, which must be with status 0.
func (p *program) succeeds() {
	p.t.Helper()
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Fatalf("%s ended with status %d:\n%s", p.name, code, p.output())
		}
	case <-time.After(patience):
		p.t.Fatalf("%s does not end:\n%s", p.name, p.output())
	}
}

func (p *program) do(command string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, command); err != nil {
		p.t.Fatal(err)
	}
}

// edge is a running sipedge with all its ways in.
type edge struct {
	*rig.Proxy
	tls, ws, wss netip.AddrPort
	ca           string
}

func start(t *testing.T, next string, flags ...string) *edge {
	t.Helper()
	dir := t.TempDir()
	ca, err := tlstest.NewAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue("edge", tlstest.Names{DNS: []string{"localhost"}, IP: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{tls: freeAddr(t), ws: freeAddr(t), wss: freeAddr(t), ca: ca.File}
	e.Proxy, err = rig.StartSipedge(sipedge, rig.Options{
		Stateful: true, Next: next, Workers: 1,
		Listen: []string{"tls:" + e.tls.String(), "ws:" + e.ws.String(), "wss:" + e.wss.String()},
		Extra:  append([]string{"--tls-cert", pair.Cert, "--tls-key", pair.Key, "--record-route", "auto"}, flags...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// called starts a SIPp that takes one call over UDP and ends with status 0 if it was a whole one.
func called(t *testing.T, at netip.AddrPort) *program {
	t.Helper()
	scenario, err := filepath.Abs("../sipp/uas_call.xml")
	if err != nil {
		t.Fatal(err)
	}
	p := run(t, t.TempDir(), need(t, "sipp", "sip-tester"), "-sf", scenario, "-nostdin", "-t", "u1", "-i", at.Addr().String(), "-p", strconv.Itoa(int(at.Port())),
		"-key", "contact", at.String(), "-m", "1", "-timeout", "60", "-timeout_error", "-default_behaviors", "none")
	for over := time.Now().Add(patience); !rig.Bound(at); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(over) {
			t.Fatalf("SIPp does not bind %v:\n%s", at, p.output())
		}
	}
	return p
}

// phone starts a WebSocket phone.
func phone(t *testing.T, url, address, ca string) *program {
	t.Helper()
	if _, err := os.Stat("node_modules/sip.js"); err != nil {
		t.Fatal("SIP.js is not installed; make deps installs it")
	}
	p := run(t, ".", need(t, "env", "coreutils"), "NODE_EXTRA_CA_CERTS="+ca, need(t, "node", "nodejs"), "phone.js", url, address)
	p.name = address
	p.says("connected")
	return p
}

// A phone in a WebSocket calls one on UDP and hangs up.
func TestWebSocketPhoneCalls(t *testing.T) {
	for _, proto := range []string{"ws", "wss"} {
		t.Run(proto, func(t *testing.T) {
			bob := freeAddr(t)
			e := start(t, "sip:"+bob.String())
			uas := called(t, bob)
			url := "ws://" + e.ws.String()
			if proto == "wss" {
				url = "wss://localhost:" + strconv.Itoa(int(e.wss.Port()))
			}
			alice := phone(t, url, "sip:alice@example.com", e.ca)
			alice.do("call sip:bob@example.com")
			alice.says("progress 180", "session out Established")
			alice.do("hangup")
			alice.says("hung up")
			uas.succeeds()
		})
	}
}

// Two phones in WebSockets register through the edge at a registrar that is not ours, which finds the way back to them by the
// Path that the edge put in, and one calls the other: RFC 3327, RFC 5626 section 5, RFC 7118.
func TestWebSocketPhonesRegister(t *testing.T) {
	registrar := freeAddr(t)
	dir := t.TempDir()
	cfg, err := filepath.Abs("kamailio-registrar.cfg")
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, need(t, "kamailio", "kamailio"), "-DD", "-E", "-f", cfg, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "64", "-A", fmt.Sprintf("UDP_PORT=%d", registrar.Port()))
	answers(t, registrar)
	e := start(t, "sip:"+registrar.String())
	alice := phone(t, "ws://"+e.ws.String(), "sip:alice@example.com", e.ca)
	bob := phone(t, "wss://localhost:"+strconv.Itoa(int(e.wss.Port())), "sip:bob@example.com", e.ca)
	for _, p := range []*program{alice, bob} {
		p.do("register")
		p.says("registered")
	}
	alice.do("call sip:bob@example.com")
	bob.says("invite sip:alice@example.com", "session in Established")
	alice.says("session out Established")
	bob.do("hangup")
	alice.says("bye")
	bob.says("hung up")
	alice.do("call sip:nobody@example.com")
	alice.says("rejected 404")
}

// answers waits until a proxy answers OPTIONS.
func answers(t *testing.T, at netip.AddrPort) {
	t.Helper()
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for over := time.Now().Add(patience); time.Now().Before(over); {
		id := time.Now().UnixNano()
		fmt.Fprintf(c, "OPTIONS sip:%v SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bK%x;rport\r\nMax-Forwards: 70\r\nFrom: <sip:test@127.0.0.1>;tag=%x\r\nTo: <sip:%v>\r\nCall-ID: ready%x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
			at, c.LocalAddr(), id, id, at, id)
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 4096)
		if n, err := c.Read(b); err == nil && bytes.HasPrefix(b[:n], []byte("SIP/2.0 200")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%v does not answer", at)
}

// baresip calls over TLS, with our certificate checked, and hangs up.
func TestBaresipOverTLS(t *testing.T) {
	path := need(t, "baresip", "baresip-core")
	bob := freeAddr(t)
	e := start(t, "sip:"+bob.String())
	uas := called(t, bob)
	dir := t.TempDir()
	modules := "/usr/lib/baresip/modules"
	config := fmt.Sprintf("module_path %s\nmodule g711.so\nmodule aufile.so\nmodule ausine.so\nmodule stdio.so\nmodule_app account.so\nmodule_app menu.so\n"+
		"audio_source ausine,400\naudio_player aufile,%s/play.wav\naudio_alert aufile,%s/alert.wav\nausrc_srate 8000\nauplay_srate 8000\n"+
		"sip_listen 127.0.0.1:%d\nsip_verify_server yes\nsip_cafile %s\n", modules, dir, dir, freeAddr(t).Port(), e.ca)
	account := fmt.Sprintf("<sip:alice@127.0.0.1;transport=tls>;outbound=\"sip:%v;transport=tls\";regint=0;audio_codecs=pcma\n", e.tls)
	for name, text := range map[string]string{"config": config, "accounts": account} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	alice := run(t, dir, path, "-f", dir, "-s", "-e", "/dial sip:bob@example.com", "-t", "20")
	alice.says("INVITE sip:bob@example.com", "SIP/2.0 200 OK", "ACK sip:")
	_ = alice.cmd.Process.Signal(syscall.SIGTERM) // it says BYE
	uas.succeeds()
}
