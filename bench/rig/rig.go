//go:build linux

package rig

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options say how a proxy under test is to run.
type Options struct {
	Stateful    bool
	RecordRoute bool
	NextHop     netip.AddrPort
	Next        string         // sipedge: the URI of the next hop, instead of NextHop
	Listen      []string       // sipedge: further --listen values
	CPUs        string         // cores to pin the process to, as taskset -c takes them; empty: none
	Workers     int            // loops of sipedge, UDP worker processes of Kamailio; 0: 1
	UDPIO       string         // sipedge: batch or gnet; empty: its default
	OpenRelay   bool           // sipedge: follow the Request-URI of in-dialog requests that carry no Route
	Extra       []string       // further flags of sipedge
	Addr        netip.AddrPort // sipedge: where to listen; zero: a free port of 127.0.0.1
	Stderr      *os.File       // sipedge: where its log goes; nil: it is shown only when it does not start
}

// Proxy is a running proxy under test.
type Proxy struct {
	Name  string
	Addr  netip.AddrPort
	Admin string // sipedge: HOST:PORT of its metrics

	cmd    *exec.Cmd
	dir    string
	exited chan error
	stderr *os.File
}

//go:embed kamailio-stateless.cfg
var kamailioStateless []byte

//go:embed kamailio-stateful.cfg
var kamailioStateful []byte

// FreeAddr returns a loopback address that nobody has bound at the moment, neither for UDP nor for TCP. It is below the ports
// that the kernel gives to outgoing connections (32768 and up), or one of those could take it before its user does.
func FreeAddr() (netip.AddrPort, error) {
	for range 1000 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(10_000+rand.IntN(22_000)))
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a))
		if err != nil {
			continue
		}
		l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(a))
		c.Close()
		if err != nil {
			continue
		}
		l.Close()
		return a, nil
	}
	return netip.AddrPort{}, errors.New("rig: no free port between 10000 and 32000")
}

// StartSipedge starts the binary and returns when it answers OPTIONS.
func StartSipedge(binary string, o Options) (*Proxy, error) {
	addr, err := o.Addr, error(nil)
	if !addr.IsValid() {
		if addr, err = FreeAddr(); err != nil {
			return nil, err
		}
	}
	admin, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	mode, rr := "stateless", "never"
	if o.Stateful {
		mode = "stateful"
	}
	if o.RecordRoute {
		rr = "always"
	}
	next := o.Next
	if next == "" {
		next = "sip:" + o.NextHop.String()
	}
	dir, err := os.MkdirTemp("", "sipedge-bench-")
	if err != nil {
		return nil, err
	}
	args := []string{
		"serve", "--listen", "udp:" + addr.String(), "--mode", mode, "--record-route", rr, "--next-hop", next,
		"--loops", strconv.Itoa(max(o.Workers, 1)), "--data-dir", filepath.Join(dir, "state"), "--admin", admin.String(), "--log-level", "warn",
	}
	if o.UDPIO != "" {
		args = append(args, "--udp-io", o.UDPIO)
	}
	for _, l := range o.Listen {
		args = append(args, "--listen", l)
	}
	if o.OpenRelay {
		args = append(args, "--open-relay")
	}
	p := &Proxy{Name: "sipedge", Addr: addr, Admin: admin.String(), dir: dir, stderr: o.Stderr}
	return p, p.start(o.CPUs, binary, append(args, o.Extra...))
}

// StartKamailio starts Kamailio with the configuration beside this file and returns when it
// answers OPTIONS.
//
// What makes it a fair peer: one UDP worker per core that it may use, the TLSF allocator with
// shared memory to spare (Debian's default costs it four times as much), nothing logged, no TCP,
// and the same socket buffer as sipedge.
func StartKamailio(o Options) (*Proxy, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kamailio-bench-")
	if err != nil {
		return nil, err
	}
	text := kamailioStateless
	if o.Stateful {
		text = kamailioStateful
	}
	cfg := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(cfg, text, 0o600); err != nil {
		return nil, err
	}
	args := []string{
		"-DD", "-E", "-f", cfg, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "8192", "-x", "tlsf", "-X", "tlsf", "-b", "4194304",
		"-A", fmt.Sprintf("LISTEN_PORT=%d", addr.Port()), "-A", fmt.Sprintf("NEXT_HOP=%q", "sip:"+o.NextHop.String()),
		"-A", fmt.Sprintf("WORKERS=%d", max(o.Workers, 1)),
	}
	if o.RecordRoute {
		args = append(args, "-A", "RECORD_ROUTE")
	}
	p := &Proxy{Name: "Kamailio", Addr: addr, dir: dir}
	return p, p.start(o.CPUs, "kamailio", args)
}

// Neighbour is a Kamailio in front of or behind the proxy under test.
type Neighbour struct {
	*Proxy
	TCP, TLS netip.AddrPort // beside Proxy.Addr, which is UDP
}

// Hop is the URI to reach n by the transport: udp, tcp or tls.
func (n *Neighbour) Hop(transport string) string {
	switch transport {
	case "tcp":
		return fmt.Sprintf("sip:%v;transport=tcp", n.TCP)
	case "tls":
		// By name, since that is what its certificate proves.
		return fmt.Sprintf("sip:localhost:%d;transport=tls", n.TLS.Port())
	}
	return fmt.Sprintf("sip:%v", n.Addr)
}

//go:embed kamailio-neighbour.cfg
var kamailioNeighbour []byte

// StartNeighbour starts a Kamailio that sends what is new to the URI next and proves itself with a certificate; authority is
// what it checks others by. All three are PEM files.
func StartNeighbour(next, cert, key, authority string) (*Neighbour, error) {
	n := &Neighbour{}
	var udp netip.AddrPort
	for _, a := range []*netip.AddrPort{&udp, &n.TCP, &n.TLS} {
		var err error
		if *a, err = FreeAddr(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "kamailio-neighbour-")
	if err != nil {
		return nil, err
	}
	cfg, tlsCfg := filepath.Join(dir, "kamailio.cfg"), filepath.Join(dir, "tls.cfg")
	var secure strings.Builder
	for _, side := range []string{"server", "client"} {
		verify := "no" // as a server it asks for no certificate, as a client it checks the one it gets
		if side == "client" {
			verify = "yes"
		}
		fmt.Fprintf(&secure, "[%s:default]\nmethod = TLSv1.2+\nverify_certificate = %s\nrequire_certificate = %s\nprivate_key = %s\ncertificate = %s\nca_list = %s\n",
			side, verify, verify, key, cert, authority)
	}
	if err := errors.Join(os.WriteFile(cfg, kamailioNeighbour, 0o600), os.WriteFile(tlsCfg, []byte(secure.String()), 0o600)); err != nil {
		return nil, err
	}
	n.Proxy = &Proxy{Name: "Kamailio", Addr: udp, dir: dir}
	return n, n.start("", "kamailio", []string{
		"-DD", "-E", "-f", cfg, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "64",
		"-A", fmt.Sprintf("UDP_PORT=%d", udp.Port()), "-A", fmt.Sprintf("TCP_PORT=%d", n.TCP.Port()), "-A", fmt.Sprintf("TLS_PORT=%d", n.TLS.Port()),
		"-A", fmt.Sprintf("NEXT_HOP=%q", next), "-A", fmt.Sprintf("TLS_CFG=%q", tlsCfg),
	})
}

// StartFloor starts the relay that forwards unread.
func StartFloor(binary string, o Options) (*Proxy, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	p := &Proxy{Name: "floor", Addr: addr}
	return p, p.start(o.CPUs, binary, []string{"--listen", addr.String(), "--next", o.NextHop.String()})
}

// startWithin bounds how long a proxy may take to answer; Kamailio maps its memory first.
const startWithin = 15 * time.Second

func (p *Proxy) start(cpus, binary string, args []string) error {
	if cpus != "" {
		args = append([]string{"-c", cpus, binary}, args...)
		binary = "taskset"
	}
	p.cmd = exec.Command(binary, args...)
	var out bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr = &out, &out
	if p.stderr != nil {
		p.cmd.Stderr = p.stderr
	}
	// The proxy must not outlive a driver that was killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		p.clean()
		return fmt.Errorf("rig: %s does not start: %w", p.Name, err)
	}
	p.exited = make(chan error, 1)
	go func() { p.exited <- p.cmd.Wait() }()
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); {
		select {
		case err := <-p.exited:
			p.exited <- err
			p.clean()
			return fmt.Errorf("rig: %s ended at once (%v):\n%s", p.Name, err, tail(out.String(), 20))
		default:
		}
		if p.ready() {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.Stop()
	return fmt.Errorf("rig: %s did not answer within %v:\n%s", p.Name, startWithin, tail(out.String(), 20))
}

// ready asks for an answer of the proxy itself, which the floor cannot give.
func (p *Proxy) ready() bool {
	if p.Name == "floor" {
		_, _, ok := udpRow(p.Addr)
		return ok
	}
	c, err := net.Dial("udp", p.Addr.String())
	if err != nil {
		return false
	}
	defer c.Close()
	id := time.Now().UnixNano()
	fmt.Fprintf(c, "OPTIONS sip:%v SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bK%x;rport\r\nMax-Forwards: 70\r\nFrom: <sip:bench@127.0.0.1>;tag=%x\r\nTo: <sip:%v>\r\nCall-ID: ready%x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		p.Addr, c.LocalAddr(), id, id, p.Addr, id)
	c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	b := make([]byte, 4096)
	n, err := c.Read(b)
	return err == nil && strings.HasPrefix(string(b[:n]), "SIP/2.0 200")
}

// Stop ends the proxy and removes its directory. It returns an error when sipedge did not end
// with status 0, as SIGTERM promises.
func (p *Proxy) Stop() error {
	defer p.clean()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.exited:
		if p.Name == "sipedge" && err != nil {
			return fmt.Errorf("rig: sipedge after SIGTERM: %w", err)
		}
		return nil
	case <-time.After(12 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("rig: %s did not end within 12 s of SIGTERM", p.Name)
	}
}

// Signal sends the process a signal: to let it read its files again, to stop it, to continue it.
func (p *Proxy) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the process as a power cut does.
func (p *Proxy) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.clean()
}

func (p *Proxy) clean() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// tree lists the process and all its descendants.
func (p *Proxy) tree() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			for _, s := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(s); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// CPU is the processor time, user and system, that the whole process tree has used. It comes
// from the scheduler's nanosecond counters: utime and stime in /proc/PID/stat are the same sum,
// cut to ticks of 10 ms per process.
func (p *Proxy) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range p.tree() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if errors.Is(err, os.ErrNotExist) {
				continue // a thread that has just ended
			}
			if err != nil {
				return 0, err
			}
			if first, _, ok := strings.Cut(string(b), " "); ok {
				n, err := strconv.ParseInt(first, 10, 64)
				if err != nil {
					return 0, err
				}
				sum += time.Duration(n)
			}
		}
	}
	if sum == 0 {
		return 0, errors.New("rig: the kernel gives no /proc/PID/task/TID/schedstat")
	}
	return sum, nil
}

// Memory is the resident memory of the process tree in bytes; pages shared between processes
// count once.
func (p *Proxy) Memory() (int64, error) {
	var sum int64
	for _, pid := range p.tree() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return 0, err
				}
				sum += kb * 1024
			}
		}
	}
	return sum, nil
}

// Drops is how many datagrams the kernel dropped because the proxy's socket buffers were full.
func (p *Proxy) Drops() uint64 {
	drops, _, _ := udpRow(p.Addr)
	return drops
}

// Bound reports whether somebody has bound the UDP address.
func Bound(a netip.AddrPort) bool {
	_, _, ok := udpRow(a)
	return ok
}

// Listening reports whether somebody listens for TCP at the address.
func Listening(a netip.AddrPort) bool {
	b, err := os.ReadFile("/proc/net/tcp")
	ip := a.Addr().As4()
	const listen = "0A"
	return err == nil && strings.Contains(string(b), fmt.Sprintf(" %02X%02X%02X%02X:%04X 00000000:0000 %s ", ip[3], ip[2], ip[1], ip[0], a.Port(), listen))
}

// udpRow sums the rows of /proc/net/udp for one local address; several sockets may share it.
func udpRow(a netip.AddrPort) (drops uint64, sockets int, ok bool) {
	f, err := os.Open("/proc/net/udp")
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	b := a.Addr().As4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], a.Port())
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) > 12 && fields[1] == local {
			n, _ := strconv.ParseUint(fields[len(fields)-1], 10, 64)
			drops += n
			sockets++
		}
	}
	return drops, sockets, sockets > 0
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
