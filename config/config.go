// Package config turns flags and environment into one validated value.
//
// Enters: command line flags, SIPEDGE_ environment variables, the secret file.
// Leaves: a Config that nobody changes any more, with its warnings; or every problem at once.
// Never:  opens a socket, knows what a setting does to a packet.
package config

import (
	"net/netip"
	"strconv"
	"time"
)

// Config is what one process runs with. It is complete (defaults are filled in), checked, and
// frozen: whoever gets it reads it and never writes to it, so it may be shared freely.
type Config struct {
	Listeners   []Listener
	Domains     []HostPort // --domain; empty: the listen and advertised addresses are ours
	NextHop     *HostPort  // --next-hop; nil: none. Port 0: absent
	Mode        Mode
	RecordRoute RecordRoute
	OpenRelay   bool
	ForceRport  bool

	T1, T2, T4, TimerC time.Duration
	MaxTransactions    int

	Loops            int
	UDPIO            UDPIO
	UDPReceiveBuffer int // bytes

	DataDir    string // absolute
	SecretFile string // empty: the one in DataDir
	Admin      Admin
	Drain      time.Duration
	LogLevel   LogLevel
	LogFormat  LogFormat

	// Warnings are settings that work but that an operator should know about, one line each.
	Warnings []string
}

// Listener is one UDP address to bind, and what to tell others about it.
type Listener struct {
	Addr      netip.AddrPort // port 0: the system chooses one
	Advertise HostPort       // zero Host: the address itself; Port 0: the listener's port
}

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
