// Package config turns flags and environment into one validated value.
//
// Enters: command line flags, SIPEDGE_ environment variables, the secret file.
// Leaves: a Config that nobody changes any more, with its warnings; or every problem at once.
// Never:  opens a socket, knows what a setting does to a packet.
package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"sipedge/transport"
)

// Config is what one process runs with. It is complete (defaults are filled in), checked, and
// frozen: whoever gets it reads it and never writes to it, so it may be shared freely.
type Config struct {
	Listeners   []Listener // those for UDP first
	Domains     []HostPort // --domain; empty: the listen and advertised addresses are ours
	NextHop     *TargetURI // --next-hop; nil: none
	Mode        Mode
	RecordRoute RecordRoute
	OpenRelay   bool
	ForceRport  bool

	Policy     *Policy // never nil: without a file, that of an empty one
	PolicyFile string  // --policy, absolute; empty: none

	DNS []netip.AddrPort // --dns; empty: the servers of /etc/resolv.conf

	T1, T2, T4, TimerC time.Duration
	MaxTransactions    int
	MaxCallDuration    time.Duration

	Loops            int
	UDPIO            UDPIO
	UDPReceiveBuffer int // bytes
	UDPMTUSwitch     bool

	StreamLoops              int // 0: no listener for streams
	MaxConnections           int
	MaxConnectionsPerAddress int
	StreamIdle               time.Duration
	WSOrigins                []string // empty: any
	TLS                      TLS

	DataDir    string // absolute
	SecretFile string // empty: the one in DataDir
	Admin      Admin
	Drain      time.Duration
	LogLevel   LogLevel
	LogFormat  LogFormat

	// Warnings are settings that work but that an operator should know about, one line each.
	Warnings []string
}

// Listener is one address to bind, and what to tell others about it.
type Listener struct {
	Proto     transport.Protocol
	Addr      netip.AddrPort // port 0: the system chooses one
	Advertise HostPort       // zero Host: the address itself; Port 0: the listener's port
}

// String is the form that --listen takes.
func (l Listener) String() string { return ProtocolName(l.Proto) + ":" + l.Addr.String() }

// Streams tells whether some listener is not for UDP.
func (c *Config) Streams() bool {
	return slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Proto != transport.UDP })
}

// listenerAt is the listener of ours that t leads to, if it is known which; names of ours are known only when they are
// advertised.
func (c *Config) listenerAt(t *TargetURI) *Listener {
	host, isIP := t.hostPort().Addr()
	for i := range c.Listeners {
		l := &c.Listeners[i]
		switch secure := l.Proto == transport.TLS; {
		case t.Transport != 0 && t.Transport != l.Proto && !t.Sips, t.Sips && !secure, t.Transport == 0 && !t.Sips && l.Proto != transport.UDP && l.Proto != transport.TCP:
			continue
		}
		port := t.Port
		if port == 0 {
			port = defaultPort(l.Proto)
		}
		at, shown := l.Addr.Addr(), l.Advertise
		if shown.Port == 0 {
			shown.Port = l.Addr.Port()
		}
		switch {
		case shown.Host != "" && shown.Host == t.Host && shown.Port == port:
			return l
		case !isIP || l.Addr.Port() != port || port == 0:
		case at == host, at.IsUnspecified() && at.Is4() == host.Is4() && host.IsLoopback():
			return l
		}
	}
	return nil
}

// reachable refuses a next hop whose transport or address family no listener has: what we send says in its Via where
// answers come to.
func (c *Config) reachable(t *TargetURI) error {
	if t.Transport == 0 && !t.Sips {
		return nil
	}
	want := t.Transport
	if t.Sips {
		want = transport.TLS
	}
	host, isIP := t.hostPort().Addr()
	if !slices.ContainsFunc(c.Listeners, func(l Listener) bool {
		return l.Proto == want && (!isIP || l.Addr.Addr().Is4() == host.Is4())
	}) {
		return fmt.Errorf("there is no --listen %s: for it to be reached by", ProtocolName(want))
	}
	return nil
}

// defaultPort of a URI without one (RFC 3261 section 19.1.2).
func defaultPort(p transport.Protocol) uint16 {
	if p == transport.TLS {
		return 5061
	}
	return 5060
}

// TLS names the files that TLS needs, all absolute.
type TLS struct {
	Pairs    []TLSPair // empty: none
	ClientCA string    // empty: clients are asked for no certificate
	CA       string    // empty: the system's
}

// TLSPair is a certificate chain and its key.
type TLSPair struct{ Cert, Key string }

// HostPort is a host with an optional port.
type HostPort struct {
	Host string // a name in lower case without a final dot, or an IP address without brackets
	Port uint16 // 0: absent
}

// Addr is the host as an IP address; ok is false for a name.
func (h HostPort) Addr() (addr netip.Addr, ok bool) {
	addr, err := netip.ParseAddr(h.Host)
	return addr, err == nil
}

// String is HOST or HOST:PORT, an IPv6 address in brackets.
func (h HostPort) String() string {
	host := h.Host
	if addr, ok := h.Addr(); ok && addr.Is6() {
		host = "[" + host + "]"
	}
	if h.Port == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(int(h.Port))
}

// Admin is where the HTTP service for people and programs listens: one of the two is set.
type Admin struct {
	UnixPath string         // absolute
	TCP      netip.AddrPort // a loopback address
}

// String is the form that --admin takes.
func (a Admin) String() string {
	if a.UnixPath != "" {
		return "unix:" + a.UnixPath
	}
	return a.TCP.String()
}

// The settings that are a choice between words hold the word itself.
type (
	Mode        string
	RecordRoute string
	UDPIO       string
	LogLevel    string
	LogFormat   string
)

const (
	Stateful  Mode = "stateful"
	Stateless Mode = "stateless"

	RecordAuto   RecordRoute = "auto"
	RecordAlways RecordRoute = "always"
	RecordNever  RecordRoute = "never"

	Batch UDPIO = "batch"
	Gnet  UDPIO = "gnet"

	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"

	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)
