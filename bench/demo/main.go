// Command demo starts the built binary on a free port, places one real call through it and
// prints the call's ladder: who sent what to whom, and when.
//
//	go run ./bench/demo -sipedge bin/sipedge
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	binary := flag.String("sipedge", "bin/sipedge", "the binary")
	mode := flag.String("mode", "stateful", "stateful or stateless")
	flag.Parse()
	if err := run(*binary, *mode); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(binary, mode string) error {
	dir, err := os.MkdirTemp("", "sipedge-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	alice, err := listen("alice")
	if err != nil {
		return err
	}
	defer alice.conn.Close()
	bob, err := listen("bob")
	if err != nil {
		return err
	}
	defer bob.conn.Close()
	edge, err := freePort()
	if err != nil {
		return err
	}
	proxy := exec.Command(binary, "serve", "--listen", "udp:"+edge.String(), "--next-hop", "sip:"+bob.addr.String(), "--mode", mode,
		"--record-route", "always", "--data-dir", filepath.Join(dir, "state"), "--log-level", "warn")
	proxy.Stdout, proxy.Stderr = os.Stderr, os.Stderr
	if err := proxy.Start(); err != nil {
		return fmt.Errorf("%w (make build makes the binary)", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- proxy.Wait() }()
	defer proxy.Process.Kill()
	if err := ready(edge, ended); err != nil {
		return err
	}

	l := &ladder{start: time.Now(), names: map[netip.AddrPort]string{alice.addr: "alice", bob.addr: "bob", edge: "edge"}}
	alice.ladder, bob.ladder = l, l
	fmt.Printf("sipedge %s on %v, alice %v, bob %v\n\n", mode, edge, alice.addr, bob.addr)
	answered := make(chan error, 1)
	go func() { answered <- bob.called() }()
	callErr := alice.call(edge)
	if callErr != nil {
		bob.conn.Close() // alice has given up, so nobody will call bob again
	}
	if err := <-answered; callErr == nil {
		callErr = err
	}
	l.print()
	if callErr != nil {
		return callErr
	}

	_ = proxy.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("sipedge after SIGTERM: %w", err)
		}
	case <-time.After(15 * time.Second):
		return errors.New("sipedge did not end after SIGTERM")
	}
	fmt.Println("\nThe call went through; sipedge has shut down cleanly.")
	return nil
}

func freePort() (netip.AddrPort, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

// ready asks the proxy for OPTIONS until it answers.
func ready(edge netip.AddrPort, ended <-chan error) error {
	c, err := net.Dial("udp", edge.String())
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 2048)
	for i := range 100 {
		select {
		case err := <-ended:
			return fmt.Errorf("sipedge ended at once: %v", err)
		default:
		}
		fmt.Fprintf(c, "OPTIONS sip:%v SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bKready%d\r\nMax-Forwards: 70\r\nFrom: <sip:demo@localhost>;tag=r\r\nTo: <sip:%v>\r\nCall-ID: ready%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
			edge, c.LocalAddr(), i, edge, i)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := c.Read(b); err == nil && strings.HasPrefix(string(b[:n]), "SIP/2.0 200") {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("sipedge does not answer OPTIONS")
}

// ladder collects what was sent and received, seen from the two phones.
type ladder struct {
	mu    sync.Mutex
	start time.Time
	names map[netip.AddrPort]string
	rungs []rung
}

type rung struct {
	at       time.Duration
	from, to string
	text     string
}

func (l *ladder) add(from, to netip.AddrPort, m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := m.start
	if rest, ok := strings.CutPrefix(text, "SIP/2.0 "); ok {
		text = rest
	} else {
		text = strings.TrimSuffix(text, " SIP/2.0")
	}
	if cseq := m.get("CSeq"); m.status() != "" {
		_, method, _ := strings.Cut(cseq, " ")
		text += " (" + method + ")"
	}
	l.rungs = append(l.rungs, rung{time.Since(l.start), l.names[from], l.names[to], text})
}

// print draws alice, the edge and bob as three columns.
func (l *ladder) print() {
	const width = 46
	columns := map[string]int{"alice": 0, "edge": width, "bob": 2 * width}
	fmt.Printf("%10s  %-*s%-*s%s\n", "", width, "alice", width, "edge", "bob")
	for _, r := range l.rungs {
		from, to := columns[r.from], columns[r.to]
		left, right := min(from, to), max(from, to)
		span := right - left - 2
		text := r.text
		if len(text) > span-4 {
			text = text[:span-7] + "..."
		}
		arrow := text + " " + strings.Repeat("-", span-len(text)-2) + ">"
		if to < from {
			arrow = "<" + strings.Repeat("-", span-len(text)-2) + " " + text
		}
		fmt.Printf("%7.2f ms  %s|%s|\n", float64(r.at.Microseconds())/1000, strings.Repeat(" ", left), arrow)
	}
}
