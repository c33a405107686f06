// Package lossy is a UDP relay that loses datagrams on purpose, the same ones in every run.
//
// Enters: datagrams of callers on one side and of one target on the other.
// Leaves: the same datagrams unread, but for those that the pattern takes away.
// Never:  reorders, delays or changes a datagram.
package lossy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

const (
	maxDatagram = 65535 // largest UDP payload
	maxClients  = 1024  // each has a socket and a goroutine
)

// Pattern says which datagrams are lost: the n-th of a direction if its place in a fixed
// pseudo-random order, which Seed picks, is among the first Percent of a hundred.
type Pattern struct {
	Percent int    // 0 to 100
	Seed    uint64 // different seeds lose different datagrams
}

// lose reports whether the n-th datagram goes.
func (p Pattern) lose(n uint64) bool {
	// SplitMix64: every bit of the result depends on every bit of n and the seed.
	x := n + p.Seed*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x^x>>31)%100) < p.Percent
}

// Relay passes datagrams between whoever sends to its address and one target. Each client gets
// a socket of its own towards the target, so that answers find their way back.
// Safe for concurrent use.
type Relay struct {
	listener *net.UDPConn
	target   *net.UDPAddr
	there    Pattern // towards the target
	back     Pattern
	passed   atomic.Uint64
	lost     atomic.Uint64

	mu      sync.Mutex
	clients map[netip.AddrPort]*net.UDPConn
	closed  bool
	running sync.WaitGroup
}

// Listen starts a relay at listen (port 0 picks one) towards target.
func Listen(listen, target netip.AddrPort, there, back Pattern) (*Relay, error) {
	l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(listen))
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, target: net.UDPAddrFromAddrPort(target), there: there, back: back, clients: map[netip.AddrPort]*net.UDPConn{}}
	r.running.Add(1)
	go r.forward()
	return r, nil
}

// Addr is where clients send.
func (r *Relay) Addr() netip.AddrPort { return r.listener.LocalAddr().(*net.UDPAddr).AddrPort() }

// Counts returns how many datagrams were passed on and how many were lost, so far.
func (r *Relay) Counts() (passed, lost uint64) { return r.passed.Load(), r.lost.Load() }

// Close stops the relay and returns when all its goroutines have ended.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	r.listener.Close()
	for _, c := range r.clients {
		c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

func (r *Relay) forward() {
	defer r.running.Done()
	b := make([]byte, maxDatagram)
	for n := uint64(0); ; n++ {
		size, from, err := r.listener.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of an earlier datagram
		}
		if r.there.lose(n) {
			r.lost.Add(1)
			continue
		}
		c := r.client(from)
		if c == nil {
			r.lost.Add(1)
			continue
		}
		if _, err := c.Write(b[:size]); err == nil {
			r.passed.Add(1)
		}
	}
}

// client returns the socket of one client, nil when there are too many.
func (r *Relay) client(from netip.AddrPort) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[from]; c != nil {
		return c
	}
	if r.closed || len(r.clients) == maxClients {
		return nil
	}
	c, err := net.DialUDP("udp", nil, r.target)
	if err != nil {
		return nil
	}
	r.clients[from] = c
	r.running.Add(1)
	go r.answer(c, from, uint64(len(r.clients)))
	return c
}

// answer carries what the target sends to one client.
func (r *Relay) answer(c *net.UDPConn, to netip.AddrPort, client uint64) {
	defer r.running.Done()
	b := make([]byte, maxDatagram)
	pattern := r.back
	pattern.Seed += client
	for n := uint64(0); ; n++ {
		size, err := c.Read(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if pattern.lose(n) {
			r.lost.Add(1)
			continue
		}
		if _, err := r.listener.WriteToUDPAddrPort(b[:size], to); err == nil {
			r.passed.Add(1)
		}
	}
}
