//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	// lorisTime is how long the slow ones are watched: longer than the proxy's limits let them live.
	lorisTime = 30 * time.Second
	// lorisFirst of it is what counts as "while": all of them are there.
	lorisFirst = 9 * time.Second
)

// lorisKind is a way to take one's time.
type lorisKind struct {
	name string
	open func(at []string) (net.Conn, error)
	text string // what comes a byte a second
}

// slowLoris shows calls before and while many connections bring a byte a second, and when those are closed.
func (b *bench) slowLoris() error {
	p, o, listen, authority, err := b.streamEdge()
	if err != nil {
		return err
	}
	defer p.Stop()
	header := "OPTIONS sip:edge.test SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKslow\r\nSubject: " + strings.Repeat("slow ", 100)
	roots := authority.Pool()
	kinds := []lorisKind{
		{"TCP, a header", func(at []string) (net.Conn, error) { return net.DialTimeout("tcp", at[0], lorisTime) }, header},
		{"TLS, its first record", func(at []string) (net.Conn, error) { return net.DialTimeout("tcp", at[1], lorisTime) },
			"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("s", 500)},
		{"TLS, a header", func(at []string) (net.Conn, error) {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: lorisTime}, "tcp", at[1], &tls.Config{RootCAs: roots, ServerName: serverName})
			if err != nil {
				return nil, err
			}
			return c, nil
		}, header},
	}
	quiet := time.Duration(b.rounds) * b.turn
	l, err := b.unrelated(p, o, settle+quiet+lorisTime)
	if err != nil {
		return err
	}
	time.Sleep(settle)
	before := span{time.Now(), time.Now().Add(quiet)}
	time.Sleep(quiet)
	var mu sync.Mutex
	lived := map[string][]float64{}
	open, failed := map[string]int{}, 0
	begun := time.Now()
	over := begun.Add(lorisTime)
	var all sync.WaitGroup
	for i := range b.loris {
		k := kinds[i%len(kinds)]
		all.Add(1)
		go func() {
			defer all.Done()
			// They come within a second, as a program with so many sockets would make them.
			time.Sleep(time.Duration(i) * time.Second / time.Duration(b.loris))
			c, err := k.open(listen)
			if err != nil {
				mu.Lock()
				failed++
				mu.Unlock()
				return
			}
			defer c.Close()
			age, closed := drip(c, k.text, over)
			mu.Lock()
			defer mu.Unlock()
			if closed {
				lived[k.name] = append(lived[k.name], age.Seconds())
			} else {
				open[k.name]++
			}
		}()
	}
	all.Wait()
	res, err := l.Wait()
	if err != nil {
		return err
	}
	m, err := p.Metrics()
	if err != nil {
		return err
	}
	quietly := pick(res, divide(before, b.rounds))
	row("first 9 s", quietly, pick(res, divide(span{begun, begun.Add(lorisFirst)}, b.rounds)), fmt.Sprintf("%d could not connect", failed))
	row("all 30 s", quietly, pick(res, divide(span{begun, over}, 3*b.rounds)), fmt.Sprintf("%.0f closed without a first message in time, %.0f for a message that did not end",
		m["sipedge_connections_closed_half_open_total"], m["sipedge_connections_closed_slow_total"]))
	for _, k := range kinds {
		ages := lived[k.name]
		sort.Float64s(ages)
		fmt.Printf("  %-34s %d closed by the proxy, after %.1f s (first), %.1f s (median), %.1f s (last); %d still open after %v\n", k.name, len(ages),
			quantile(ages, 0), quantile(ages, 0.5), quantile(ages, 1), open[k.name], lorisTime)
	}
	return nil
}

// drip writes a byte a second until the other side closes, or it is over.
func drip(c net.Conn, text string, over time.Time) (age time.Duration, closed bool) {
	begun := time.Now()
	b := make([]byte, 512)
	for i := 0; time.Now().Before(over); i++ {
		if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
			return time.Since(begun), true
		}
		_ = c.SetReadDeadline(begun.Add(time.Duration(i+1) * time.Second))
		for {
			_, err := c.Read(b)
			if err == nil {
				continue
			}
			if os.IsTimeout(err) {
				break
			}
			return time.Since(begun), true
		}
	}
	return time.Since(begun), false
}
