//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/bench/rig"
	"sipedge/transport/tlslayer/tlstest"
)

const (
	// serverName is what the certificate proves.
	serverName = "edge.test"
	// clients is how many source addresses the connections have, 127.0.0.2 and up: more than --max-connections-per-address allows one.
	clients = 8
	// dialing connections at once.
	dialing = 16
	// rest is how long the connections are left alone before the proxy is weighed again.
	rest = 10 * time.Second
)

// memory weighs the proxy before and with many idle TLS connections, whose clients are a process of their own.
func (b *bench) memory() error {
	n, limited := b.idle, ""
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	// The proxy keeps an eighth of its files for other things.
	if most := int(limit.Max) - int(limit.Max)/8 - 100; n > most {
		n, limited = most, fmt.Sprintf(" (the limit of open files, %d, allows no more)", limit.Max)
	}
	p, at, authority, err := b.secureEdge()
	if err != nil {
		return err
	}
	defer p.Stop()
	time.Sleep(settle)
	empty, err := p.Memory()
	if err != nil {
		return err
	}
	idle, err := p.Metrics()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-hold", at, "-hold-ca", authority.File, "-connections", fmt.Sprint(n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer stdin.Close()
	up, failed := 0, 0
	if _, err := fmt.Fscanf(bufio.NewReader(stdout), "%d up, %d failed\n", &up, &failed); err != nil {
		return fmt.Errorf("the clients: %w", err)
	}
	if up == 0 {
		return fmt.Errorf("no connection came about")
	}
	took := time.Since(begun)
	fmt.Printf("  %d connections%s, TLS 1.3, one OPTIONS answered on each, from %d addresses, in %.1f s; %d failed\n", up, limited, clients, took.Seconds(), failed)
	for _, when := range []string{"at once", fmt.Sprintf("after %v", rest)} {
		if when != "at once" {
			time.Sleep(rest)
		}
		full, err := p.Memory()
		if err != nil {
			return err
		}
		m, err := p.Metrics()
		if err != nil {
			return err
		}
		each := func(bytes float64) string { return fmt.Sprintf("%.1f KB", bytes/float64(up)/1024) }
		fmt.Printf("  %-10s  %s resident for each connection (%.1f MB, %.1f MB before); Go heap in use %s; %.0f open\n", when,
			each(float64(full-empty)), float64(full)/(1<<20), float64(empty)/(1<<20),
			each(m["go_memstats_heap_inuse_bytes"]-idle["go_memstats_heap_inuse_bytes"]), m["sipedge_connections"])
	}
	return nil
}

// secureEdge starts a proxy that also listens for TCP and TLS; at is where for TLS.
func (b *bench) secureEdge() (p *rig.Proxy, at string, authority *tlstest.Authority, err error) {
	p, _, listen, authority, err := b.streamEdge()
	if err != nil {
		return nil, "", nil, err
	}
	return p, listen[1], authority, nil
}

// streamEdge is secureEdge with all of it: listen are the addresses for TCP and TLS.
func (b *bench) streamEdge() (p *rig.Proxy, o rig.Options, listen []string, authority *tlstest.Authority, err error) {
	if authority, err = tlstest.NewAuthority(b.dir, "authority"); err != nil {
		return nil, o, nil, nil, err
	}
	pair, err := authority.Issue("edge", tlstest.Names{DNS: []string{serverName}})
	if err != nil {
		return nil, o, nil, nil, err
	}
	o, _, err = b.options(healthyPolicy, "--tls-cert", pair.Cert, "--tls-key", pair.Key)
	if err != nil {
		return nil, o, nil, nil, err
	}
	for _, proto := range []string{"tcp", "tls"} {
		a, err := rig.FreeAddr()
		if err != nil {
			return nil, o, nil, nil, err
		}
		listen = append(listen, a.String())
		o.Listen = append(o.Listen, proto+":"+a.String())
	}
	p, err = rig.StartSipedge(b.sipedge, o)
	return p, o, listen, authority, err
}

// holdConnections opens n TLS connections, says how many there are, and keeps them until standard input ends.
func holdConnections(at, authority string, n int) error {
	pem, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("no certificate in %s", authority)
	}
	cfg := &tls.Config{RootCAs: roots, ServerName: serverName}
	var mu sync.Mutex
	var held []*tls.Conn
	var first error
	turns := make(chan int)
	var all sync.WaitGroup
	for range dialing {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range turns {
				c, err := idleConnection(at, i, cfg)
				mu.Lock()
				if err == nil {
					held = append(held, c)
				} else if first == nil {
					first = err
				}
				mu.Unlock()
			}
		}()
	}
	for i := range n {
		turns <- i
	}
	close(turns)
	all.Wait()
	if first != nil {
		fmt.Fprintln(os.Stderr, "resilience: the first connection that failed:", first)
	}
	fmt.Printf("%d up, %d failed\n", len(held), n-len(held))
	_, err = io.Copy(io.Discard, os.Stdin)
	for _, c := range held {
		c.NetConn().Close()
	}
	return err
}

// idleConnection is a connection over which one request was answered.
func idleConnection(at string, i int, cfg *tls.Config) (*tls.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%clients))}}
	c, err := tls.DialWithDialer(&d, "tcp", at, cfg)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	id := fmt.Sprintf("idle%d", i)
	_, err = fmt.Fprintf(c, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/TLS %v;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=1\r\nTo: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		at, c.LocalAddr(), id, id, healthyDomain, at, id)
	b := make([]byte, 2048)
	n := 0
	for err == nil && !strings.Contains(string(b[:n]), "\r\n\r\n") {
		var m int
		m, err = c.Read(b[n:])
		n += m
	}
	if err == nil && !strings.HasPrefix(string(b[:n]), "SIP/2.0 200 ") {
		err = fmt.Errorf("OPTIONS was answered %.40q", b[:n])
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}
