package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"sipedge/transport"
)

// setting is one flag and its environment variable. The table below is all there is to know about
// a setting: flags, environment, defaults and --help are made from it.
type setting struct {
	name    string
	arg     string // what stands behind the flag in --help; empty: a switch that may stand alone
	usage   string // why one would set it, for --help
	example string // a value that is right
	def     func() string
	repeat  bool
	set     func(d *draft, value string) error
}

type group struct {
	title    string
	settings []setting
}

// env is the name of the environment variable of a setting.
func (s *setting) env() string {
	return "SIPEDGE_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

// groups are the settings in the order of --help. Values are applied in this order too.
var groups = []group{
	{"Network", []setting{
		{
			name: "listen", arg: "udp|tcp|tls|ws|wss:HOST:PORT", repeat: true,
			usage:   "Address to receive SIP on: an IP address of this machine, IPv6 in brackets; 0.0.0.0 or [::] for all of them.",
			example: "udp:192.0.2.1:5060", def: is("udp:127.0.0.1:5060"), set: setListen,
		},
		{
			name: "advertise", arg: "[LISTENER=]HOST[:PORT]", repeat: true,
			usage:   "What Via and Record-Route say instead of the listen address, for all listeners, or for one with its --listen value in front.",
			example: "udp:10.0.0.1:5060=sip.example.com:5060", set: setAdvertise,
		},
		{
			name: "udp-io", arg: "batch|gnet",
			usage:   "How UDP is read and written: batch (Linux only, the faster) or gnet (everywhere).",
			example: "batch", def: defaultUDPIO, set: setUDPIO,
		},
		{
			name: "loops", arg: "N",
			usage:   "Event loops for UDP. Each keeps one CPU when there is load.",
			example: "4", def: defaultLoops, set: loops(func(c *Config) *int { return &c.Loops }),
		},
		{
			name: "udp-receive-buffer", arg: "SIZE",
			usage:   "Receive buffer to ask of the kernel, per socket. Less than that is served with a warning.",
			example: "4MiB", def: is("4MiB"), set: setReceiveBuffer,
		},
		{
			name: "udp-mtu-switch", arg: "on|off",
			usage:   "Send a request that is too large for a UDP packet (over 1,300 bytes) by TCP, as RFC 3261 section 18.1.1 wants, and by UDP after all when nothing answers there.",
			example: "off", def: is("on"), set: onOff(func(c *Config) *bool { return &c.UDPMTUSwitch }),
		},
		{
			name: "dns", arg: "HOST[:PORT]", repeat: true,
			usage:   "DNS server to ask for next hops (RFC 3263), an IP address. Default: those of /etc/resolv.conf.",
			example: "192.0.2.53", set: setDNS,
		},
	}},
	{"Streams", []setting{
		{
			name: "stream-loops", arg: "N",
			usage:   "Event loops for TCP, TLS and WebSocket, besides those for UDP.",
			example: "2", def: defaultLoops, set: loops(func(c *Config) *int { return &c.StreamLoops }),
		},
		{
			name: "max-connections", arg: "N",
			usage:   "Connections at once. Lowered, with a warning, to what the limit of open files allows.",
			example: "100k", def: is("100k"), set: count(func(c *Config) *int { return &c.MaxConnections }, maxConnections),
		},
		{
			name: "max-connections-per-address", arg: "N",
			usage:   "Connections at once that one address, or one IPv6 /64, may open.",
			example: "1000", def: is("4096"), set: count(func(c *Config) *int { return &c.MaxConnectionsPerAddress }, maxConnections),
		},
		{
			name: "stream-idle", arg: "DURATION",
			usage:   "Close a connection on which nothing was said for this long, keep-alives included (phones on batteries send one every 14 minutes, RFC 5626 section 4.4.1).",
			example: "10m", def: is("16m"), set: duration(func(c *Config) *time.Duration { return &c.StreamIdle }, minStreamIdle, maxStreamIdle),
		},
		{
			name: "ws-origin", arg: "ORIGIN", repeat: true,
			usage:   "Web site whose pages may open WebSockets (RFC 6455 section 10.2), as scheme, host and port; *. stands for any host below. Default: any.",
			example: "https://phone.example.com", set: setWSOrigin,
		},
		{
			name: "tls-cert", arg: "FILE", repeat: true,
			usage:   "Certificate chain, PEM, leaf first. The first is for clients that ask for no name or an unknown one; others are chosen by the name asked for. Read again on SIGHUP and when it changes.",
			example: "/etc/sipedge/cert.pem", set: setTLSCert,
		},
		{
			name: "tls-key", arg: "FILE", repeat: true,
			usage:   "Private key, PEM, of each --tls-cert in the same order.",
			example: "/etc/sipedge/key.pem", set: setTLSKey,
		},
		{
			name: "tls-client-ca", arg: "FILE",
			usage:   "Authorities, PEM, that client certificates are checked by. Clients are then asked for one; without one they have no identity for the policy.",
			example: "/etc/sipedge/clients.pem", set: file(func(c *Config) *string { return &c.TLS.ClientCA }),
		},
		{
			name: "tls-ca", arg: "FILE",
			usage:   "Authorities, PEM, that servers are checked by where we connect. Default: the system's.",
			example: "/etc/ssl/certs/ca-certificates.crt", set: file(func(c *Config) *string { return &c.TLS.CA }),
		},
	}},
	{"Routing", []setting{
		{
			name: "domain", arg: "HOST[:PORT]", repeat: true,
			usage:   "A host that is ours; without PORT on every port we listen on. Without any, the listen and advertised addresses are ours.",
			example: "example.com", set: setDomain,
		},
		{
			name: "next-hop", arg: "URI",
			usage:   "Where new requests go that nothing else decides: sip:HOST[:PORT][;transport=udp|tcp|tls] or sips:HOST[:PORT]. A name is looked up by RFC 3263.",
			example: "sip:192.0.2.10:5060", set: setNextHop,
		},
		{
			name: "policy", arg: "FILE",
			usage:   "Routes, gateways, peers and limits, in YAML. sipedge check FILE says what is wrong with one or what it means.",
			example: "/etc/sipedge/policy.yaml", set: file(func(c *Config) *string { return &c.PolicyFile }),
		},
		{
			name: "mode", arg: "stateful|stateless",
			usage:   "Keep transactions, or pass each message on by itself.",
			example: "stateless", def: is(string(Stateful)), set: choice(func(c *Config) *Mode { return &c.Mode }, Stateful, Stateless),
		},
		{
			name: "record-route", arg: "auto|always|never",
			usage:   "Stay on the path of later requests of a dialog: where it is needed, always or never.",
			example: "always", def: is(string(RecordAuto)), set: choice(func(c *Config) *RecordRoute { return &c.RecordRoute }, RecordAuto, RecordAlways, RecordNever),
		},
		{
			name:    "open-relay",
			usage:   "Relay for anyone to anywhere. For closed networks and tests only.",
			example: "off", def: is("off"), set: onOff(func(c *Config) *bool { return &c.OpenRelay }),
		},
		{
			name: "force-rport", arg: "on|off",
			usage:   "Answer to the source address and port of a request even when its Via does not ask for it.",
			example: "on", def: is("off"), set: onOff(func(c *Config) *bool { return &c.ForceRport }),
		},
	}},
	{"Transactions", []setting{
		{
			name: "t1", arg: "DURATION",
			usage:   "Estimate of the round trip; first retransmission interval (RFC 3261 section 17.1.1.1).",
			example: "500ms", def: is("500ms"), set: duration(func(c *Config) *time.Duration { return &c.T1 }, minT1, maxT1),
		},
		{
			name: "t2", arg: "DURATION",
			usage:   "Longest retransmission interval of non-INVITE requests and INVITE responses.",
			example: "4s", def: is("4s"), set: duration(func(c *Config) *time.Duration { return &c.T2 }, minT1, maxT2),
		},
		{
			name: "t4", arg: "DURATION",
			usage:   "Longest time a message stays in the network.",
			example: "5s", def: is("5s"), set: duration(func(c *Config) *time.Duration { return &c.T4 }, minT1, maxT4),
		},
		{
			name: "timer-c", arg: "DURATION",
			usage:   "How long a called party may ring without a further provisional response (RFC 3261 section 16.6 step 11).",
			example: "185s", def: is("185s"), set: duration(func(c *Config) *time.Duration { return &c.TimerC }, minT1, maxTimerC),
		},
		{
			name: "max-transactions", arg: "N",
			usage:   "Transactions kept at once, finished ones included; beyond that 503. Memory is taken as it is needed.",
			example: "8M", def: is("8M"), set: setMaxTransactions,
		},
		{
			name: "max-call-duration", arg: "DURATION",
			usage:   "When a call that counts against a limit of the policy, and whose BYE never came by, counts no longer.",
			example: "12h", def: is("12h"), set: duration(func(c *Config) *time.Duration { return &c.MaxCallDuration }, minCallDuration, maxCallDuration),
		},
	}},
	{"Process", []setting{
		{
			name: "data-dir", arg: "DIR",
			usage: "All state; mode 0700, made when missing. Default: " + rootDataDir + " for root, else " +
				"$XDG_STATE_HOME/sipedge or ~/.local/state/sipedge.",
			example: "/var/lib/sipedge", set: file(func(c *Config) *string { return &c.DataDir }),
		},
		{
			name: "secret-file", arg: "FILE",
			usage: "Master secret, mode 0600: the current one on the first line, the previous one, still accepted, on the second. " +
				"The nodes of one site share it. Default: made once in the data directory.",
			example: "/etc/sipedge/secret", set: file(func(c *Config) *string { return &c.SecretFile }),
		},
		{
			name: "admin", arg: "unix:PATH|HOST:PORT",
			usage: "Where /metrics and /healthz are served. A TCP address must be a loopback one, for there is no password: " +
				"every user of this machine can ask there. Default: unix:DATA_DIR/admin.sock, mode 0600.",
			example: "127.0.0.1:9060", set: setAdmin,
		},
		{
			name: "drain", arg: "DURATION",
			usage:   "On SIGTERM wait at most this long for transactions without a final response; 0 for not at all.",
			example: "5s", def: is("5s"), set: duration(func(c *Config) *time.Duration { return &c.Drain }, 0, maxDrain),
		},
		{
			name: "log-level", arg: "debug|info|warn|error",
			usage:   "Least severity to log.",
			example: "info", def: is(string(LogInfo)), set: choice(func(c *Config) *LogLevel { return &c.LogLevel }, LogDebug, LogInfo, LogWarn, LogError),
		},
		{
			name: "log-format", arg: "text|json",
			usage:   "How log lines on standard error look.",
			example: "json", def: is(string(LogText)), set: choice(func(c *Config) *LogFormat { return &c.LogFormat }, LogText, LogJSON),
		},
	}},
}

func is(value string) func() string { return func() string { return value } }

// choice sets one of the given words.
func choice[T ~string](field func(*Config) *T, words ...T) func(*draft, string) error {
	return func(d *draft, s string) error {
		if !slices.Contains(words, T(s)) {
			return fmt.Errorf("it is none of %s", join(words))
		}
		*field(&d.cfg) = T(s)
		return nil
	}
}

func join[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

func onOff(field func(*Config) *bool) func(*draft, string) error {
	return func(d *draft, s string) error {
		switch strings.ToLower(s) {
		case "on", "true", "yes", "1":
			*field(&d.cfg) = true
		case "off", "false", "no", "0":
			*field(&d.cfg) = false
		default:
			return fmt.Errorf("it is neither on nor off")
		}
		return nil
	}
}

func duration(field func(*Config) *time.Duration, least, most time.Duration) func(*draft, string) error {
	return func(d *draft, s string) error {
		v, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("it is no duration with a unit (ms, s, m, h)")
		}
		if v < least || v > most {
			return fmt.Errorf("it is not within %v and %v", least, most)
		}
		*field(&d.cfg) = v
		return nil
	}
}

// parseCount reads a whole number with an optional unit out of units.
func parseCount(s string, least, most int64, units map[string]int64) (int, error) {
	end := len(s)
	for end > 0 && (s[end-1] < '0' || s[end-1] > '9') {
		end--
	}
	unit, ok := units[strings.ToLower(strings.TrimSpace(s[end:]))]
	n, err := strconv.ParseUint(s[:end], 10, 40) // 40 bits times the largest unit fit an int64
	if err != nil || !ok {
		return 0, fmt.Errorf("it is no such number")
	}
	v := int64(n) * unit
	if v < least || v > most {
		return 0, fmt.Errorf("it is not within %d and %d", least, most)
	}
	return int(v), nil
}

var (
	countUnits = map[string]int64{"": 1, "k": 1e3, "m": 1e6}
	byteUnits  = map[string]int64{"": 1, "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20}
)

func setMaxTransactions(d *draft, s string) (err error) {
	d.cfg.MaxTransactions, err = parseCount(s, 1, maxTransactions, countUnits)
	return err
}

func setReceiveBuffer(d *draft, s string) (err error) {
	d.cfg.UDPReceiveBuffer, err = parseCount(s, minReceiveBuffer, maxReceiveBuffer, byteUnits)
	return err
}

func loops(field func(*Config) *int) func(*draft, string) error {
	return func(d *draft, s string) (err error) {
		*field(&d.cfg), err = parseCount(s, 1, transport.MaxLoops, map[string]int64{"": 1})
		return err
	}
}

func count(field func(*Config) *int, most int64) func(*draft, string) error {
	return func(d *draft, s string) (err error) {
		*field(&d.cfg), err = parseCount(s, 1, most, countUnits)
		return err
	}
}

func file(field func(*Config) *string) func(*draft, string) error {
	return func(d *draft, s string) (err error) {
		*field(&d.cfg), err = filepath.Abs(s)
		return err
	}
}

// defaultLoops is one for each CPU that this process may use, a container's quota included
// (GOMAXPROCS follows it). UDP and streams share MaxLoops.
func defaultLoops() string {
	return strconv.Itoa(min(runtime.NumCPU(), runtime.GOMAXPROCS(0), transport.MaxLoops/2))
}

func defaultUDPIO() string {
	if runtime.GOOS == "linux" {
		return string(Batch)
	}
	return string(Gnet)
}

func setUDPIO(d *draft, s string) error {
	if UDPIO(s) == Batch && runtime.GOOS != "linux" {
		return fmt.Errorf("batch is for Linux; here only gnet works")
	}
	return choice(func(c *Config) *UDPIO { return &c.UDPIO }, Batch, Gnet)(d, s)
}

func setDomain(d *draft, s string) error {
	h, err := parseHostPort(s)
	if err != nil {
		return err
	}
	if len(d.cfg.Domains) == maxDomains {
		return fmt.Errorf("more than %d domains", maxDomains)
	}
	if !slices.Contains(d.cfg.Domains, h) { // a domain given twice is still ours
		d.cfg.Domains = append(d.cfg.Domains, h)
	}
	return nil
}

// setAdmin refuses TCP addresses that other machines can reach: the service asks for no password.
func setAdmin(d *draft, s string) error {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return d.setAdminSocket(path)
	}
	host, port, hasPort, err := splitHostPort(s)
	if err != nil {
		return err
	}
	if !hasPort {
		return fmt.Errorf("it is neither unix:PATH nor HOST:PORT")
	}
	n, err := parsePort(port)
	if err != nil {
		return err
	}
	addr, err := parseBindAddr(host)
	if err != nil {
		return err
	}
	if !addr.IsLoopback() {
		return fmt.Errorf("%s can be reached from other machines, and admin asks for no password; use a loopback address", addr)
	}
	d.cfg.Admin = Admin{TCP: netip.AddrPortFrom(addr, n)}
	return nil
}

func (d *draft) setAdminSocket(path string) error {
	if path == "" {
		return fmt.Errorf("the path is missing")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if len(path) > maxUnixPath {
		return fmt.Errorf("the path %s has %d characters; a unix socket takes %d", path, len(path), maxUnixPath)
	}
	d.cfg.Admin = Admin{UnixPath: path}
	return nil
}
