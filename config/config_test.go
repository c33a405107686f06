package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"sipedge/transport"
)

// load runs a command line and an environment through the whole package. The home directory is
// made up, so that the result does not depend on who runs the test.
func load(args []string, environ ...string) (*Config, error) {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f := Register(fs)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	return f.Load(append([]string{"HOME=/home/alice"}, environ...))
}

func listeners(proto, at string) []Listener {
	p, err := parseProtocol(proto)
	if err != nil {
		panic(err)
	}
	return []Listener{{Proto: p, Addr: addr(at)}}
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// settingCases has, for every setting, values that are right with what they must do, and values
// that are wrong with a word of the refusal.
var settingCases = map[string]struct {
	get   func(c *Config) any
	right map[string]any
	wrong map[string]string
	with  []string // flags that it needs beside it
}{
	"listen": {
		get: func(c *Config) any { return c.Listeners },
		right: map[string]any{
			"udp:192.0.2.1:5060":      listeners("udp", "192.0.2.1:5060"),
			"UDP:127.0.0.1:0":         listeners("udp", "127.0.0.1:0"),
			"udp:[2001:DB8::1]:5080":  listeners("udp", "[2001:db8::1]:5080"),
			"udp:[::]:5060":           listeners("udp", "[::]:5060"),
			"udp:[::ffff:10.0.0.1]:1": listeners("udp", "10.0.0.1:1"),
			"udp:localhost:5060":      listeners("udp", "127.0.0.1:5060"),
			"tcp:192.0.2.1:5060":      listeners("tcp", "192.0.2.1:5060"),
			"ws:[2001:db8::1]:80":     listeners("ws", "[2001:db8::1]:80"),
		},
		wrong: map[string]string{
			"sctp:192.0.2.1:5060": "begin with udp:, tcp:, tls:, ws: or wss:", "tls:192.0.2.1:5061": "needs a certificate", "wss:192.0.2.1:443": "--tls-cert",
			"192.0.2.1:5060": "begin with udp:", "192.0.2.1": "begin with udp:", "tcp": "begin with", "udp:192.0.2.1": "port is missing", "tcp:192.0.2.1": "port is missing",
			"udp:192.0.2.1:": "no port", "udp:192.0.2.1:65536": "no port", "udp:192.0.2.1:+5": "no port", "udp:192.0.2.1:-5": "no port",
			"udp::5060": "0.0.0.0 or [::]", "udp:*:5060": "0.0.0.0 or [::]", "udp:sip.example.com:5060": "no IP address",
			"udp:2001:db8::1:5060": "brackets", "udp:[2001:db8::1": "not closed", "udp:[2001:db8::1]5060": "behind", "udp:224.0.1.75:5060": "multicast",
		},
	},
	"advertise": {
		get: func(c *Config) any { return c.Listeners[0].Advertise },
		right: map[string]any{
			"sip.Example.com.":               HostPort{"sip.example.com", 0},
			"203.0.113.1:5080":               HostPort{"203.0.113.1", 5080},
			"[2001:db8::1]":                  HostPort{"2001:db8::1", 0},
			"[2001:DB8::1]:5080":             HostPort{"2001:db8::1", 5080},
			"udp:127.0.0.1:5060=203.0.113.1": HostPort{"203.0.113.1", 0},
			"udp:localhost:5060=a.example:1": HostPort{"a.example", 1},
		},
		wrong: map[string]string{
			"0.0.0.0": "nobody can send", "[::]:5060": "nobody can send", "224.0.1.75": "nobody can send", "2001:db8::1": "brackets",
			"exa_mple.com": "neither a host name", "a.example:0": "port 0", "a.example:http": "no port", "udp:10.9.9.9:5060=a.example": "no --listen has",
			"tcp:127.0.0.1:5060=a.example": "no --listen has that transport",
			"5060=a.example":               "begin with udp:", "udp:127.0.0.1:5060=": "host is missing", "[fe80::1%1]": "zone",
		},
	},
	"udp-mtu-switch": {
		get:   func(c *Config) any { return c.UDPMTUSwitch },
		right: map[string]any{"on": true, "off": false},
		wrong: map[string]string{"1300": "neither on nor off"},
	},
	"dns": {
		get: func(c *Config) any { return c.DNS },
		right: map[string]any{
			"192.0.2.53": []netip.AddrPort{addr("192.0.2.53:53")}, "127.0.0.1:5353": []netip.AddrPort{addr("127.0.0.1:5353")},
			"[2001:db8::53]:53": []netip.AddrPort{addr("[2001:db8::53]:53")}, "2001:db8::53": []netip.AddrPort{addr("[2001:db8::53]:53")}, "[2001:db8::53]": []netip.AddrPort{addr("[2001:db8::53]:53")},
		},
		wrong: map[string]string{"ns.example.com": "no IP address", "0.0.0.0": "no address to ask", "192.0.2.53:0": "port 0", "udp:192.0.2.53": "no port"},
	},
	"stream-loops": {
		get:   func(c *Config) any { return c.StreamLoops },
		right: map[string]any{"1": 0, "32": 0}, // nothing listens for streams
		wrong: map[string]string{"0": "not within 1 and 64", "65": "not within", "x": "no such number"},
	},
	"max-connections": {
		get:   func(c *Config) any { return c.MaxConnections },
		right: map[string]any{"1": 1, "20k": 20_000},
		wrong: map[string]string{"0": "not within", "5M": "not within", "all": "no such number"},
	},
	"max-connections-per-address": {
		get:   func(c *Config) any { return c.MaxConnectionsPerAddress },
		right: map[string]any{"1": 1, "20k": 20_000},
		wrong: map[string]string{"0": "not within", "5M": "not within", "all": "no such number"},
	},
	"stream-idle": {
		get:   func(c *Config) any { return c.StreamIdle },
		right: map[string]any{"1s": time.Second, "2h": 2 * time.Hour},
		wrong: map[string]string{"0s": "not within", "25h": "not within", "10": "no duration"},
	},
	"ws-origin": {
		get:   func(c *Config) any { return c.WSOrigins },
		right: map[string]any{"https://phone.example.com": []string{"https://phone.example.com"}, "http://localhost:8080": []string{"http://localhost:8080"}, "https://*.example.com": []string{"https://*.example.com"}, "*": []string{"*"}},
		wrong: map[string]string{"phone.example.com": "no origin", "https://phone.example.com/call": "no origin", "https://a@b.example": "no origin", "https://*b.example": "no origin"},
	},
	"tls-cert": {
		get:   func(c *Config) any { return c.TLS.Pairs },
		right: map[string]any{"/etc/a/../cert.pem": []TLSPair{{"/etc/cert.pem", "/etc/key.pem"}}},
		wrong: map[string]string{},
		with:  []string{"--tls-key=/etc/key.pem"},
	},
	"tls-key": {
		get:   func(c *Config) any { return c.TLS.Pairs },
		right: map[string]any{"/etc/a/../key.pem": []TLSPair{{"/etc/cert.pem", "/etc/key.pem"}}},
		wrong: map[string]string{},
		with:  []string{"--tls-cert=/etc/cert.pem"},
	},
	"tls-client-ca": {
		get:   func(c *Config) any { return c.TLS.ClientCA },
		right: map[string]any{"/etc/x/../ca.pem": "/etc/ca.pem"},
		wrong: map[string]string{},
	},
	"tls-ca": {
		get:   func(c *Config) any { return c.TLS.CA },
		right: map[string]any{"/etc/x/../ca.pem": "/etc/ca.pem"},
		wrong: map[string]string{},
	},
	"policy": {
		get:   func(c *Config) any { return c.Policy.Domains },
		right: map[string]any{"testdata/minimal.yaml": []HostPort{{"example.com", 0}}},
		wrong: map[string]string{"testdata/absent.yaml": "no such file", "testdata": "is a directory"},
	},
	"udp-io": {
		get:   func(c *Config) any { return c.UDPIO },
		right: map[string]any{"gnet": Gnet},
		wrong: map[string]string{"uring": "none of batch, gnet", "Batch": "none of"},
	},
	"loops": {
		get:   func(c *Config) any { return c.Loops },
		right: map[string]any{"1": 1, "64": 64},
		wrong: map[string]string{"0": "not within 1 and 64", "65": "not within", "-1": "no such number", "two": "no such number", "1k": "no such number", "1.5": "no such number"},
	},
	"udp-receive-buffer": {
		get:   func(c *Config) any { return c.UDPReceiveBuffer },
		right: map[string]any{"65536": 65536, "64KiB": 65536, "4MiB": 4 << 20, "4m": 4 << 20, "128 k": 128 << 10},
		wrong: map[string]string{"4": "not within", "2048MiB": "not within", "4GiB": "no such number", "MiB": "no such number", "99999999999999999999": "no such number"},
	},
	"domain": {
		get: func(c *Config) any { return c.Domains },
		right: map[string]any{
			"Example.COM": []HostPort{{"example.com", 0}}, "example.com:5080": []HostPort{{"example.com", 5080}},
			"192.0.2.1": []HostPort{{"192.0.2.1", 0}}, "[2001:db8:0::1]:5060": []HostPort{{"2001:db8::1", 5060}}, "localhost": []HostPort{{"localhost", 0}},
		},
		wrong: map[string]string{
			"sip:example.com": "no port", "exa mple.com": "neither", "-a.example": "neither", "a-.example": "neither", "a..example": "neither", "example.1com": "neither",
			"300.1.1.1": "neither", strings.Repeat("a", 64) + ".example": "neither", strings.Repeat("a.", 130) + "example": "neither", "@": "neither", ":5060": "host is missing",
			"[192.0.2.1]": "no IPv6", "[::1": "not closed",
		},
	},
	"next-hop": {
		get: func(c *Config) any { return *c.NextHop },
		right: map[string]any{
			"sip:192.0.2.10:5080": TargetURI{"sip:192.0.2.10:5080", "192.0.2.10", 5080, 0, false}, "sip:192.0.2.10": TargetURI{"sip:192.0.2.10", "192.0.2.10", 0, 0, false},
			"SIP:[2001:db8::1]:5060": TargetURI{"SIP:[2001:db8::1]:5060", "2001:db8::1", 5060, 0, false}, "sip:gw.Example.com": TargetURI{"sip:gw.Example.com", "gw.example.com", 0, 0, false},
			"sip:gw.example.com:5060;transport=udp;lr": TargetURI{"sip:gw.example.com:5060;transport=udp;lr", "gw.example.com", 5060, transport.UDP, false},
		},
		wrong: map[string]string{
			"192.0.2.10:5060": `begin with "sip:"`, "sips:192.0.2.10": "no --listen tls", "sip:bob@192.0.2.10": "without user", "sip:192.0.2.10?a=b": "without user", "tel:+1": `begin with "sip:"`,
			"sip:192.0.2.10;transport=tcp": "no --listen tcp", "sip:192.0.2.10;transport=tsl": "did you mean \"tls\"", "sip:192.0.2.10;transport=ws": "WebSocket", "sips:192.0.2.10;transport=udp": "which UDP does not have",
			"sip:192.0.2.10;maddr=192.0.2.1": "not supported here",
			"sip:2001:db8::1":                "brackets", "sip:": "no SIP URI", "sip::5060": "no SIP URI", "sip:0.0.0.0": "no address to send to", "sip:192.0.2.10:0": "port 0", "sip:127.0.0.1": "our own listener udp:127.0.0.1:5060",
		},
	},
	"mode": {
		get:   func(c *Config) any { return c.Mode },
		right: map[string]any{"stateful": Stateful, "stateless": Stateless},
		wrong: map[string]string{"both": "none of stateful, stateless"},
	},
	"record-route": {
		get:   func(c *Config) any { return c.RecordRoute },
		right: map[string]any{"auto": RecordAuto, "always": RecordAlways, "never": RecordNever},
		wrong: map[string]string{"on": "none of auto, always, never"},
	},
	"open-relay": {
		get:   func(c *Config) any { return c.OpenRelay },
		right: map[string]any{"on": true, "true": true, "1": true, "off": false, "False": false, "no": false},
		wrong: map[string]string{"perhaps": "neither on nor off"},
	},
	"force-rport": {
		get:   func(c *Config) any { return c.ForceRport },
		right: map[string]any{"on": true, "yes": true, "off": false, "0": false},
		wrong: map[string]string{"2": "neither on nor off"},
	},
	"t1": {
		get:   func(c *Config) any { return c.T1 },
		right: map[string]any{"500ms": 500 * time.Millisecond, "0.1s": 100 * time.Millisecond, "2s": 2 * time.Second},
		wrong: map[string]string{"500": "no duration with a unit", "1us": "not within", "11s": "not within", "-1s": "not within", "soon": "no duration"},
	},
	"t2": {
		get:   func(c *Config) any { return c.T2 },
		right: map[string]any{"500ms": 500 * time.Millisecond, "8s": 8 * time.Second},
		wrong: map[string]string{"400ms": "less than --t1", "61s": "not within", "4": "no duration"},
	},
	"t4": {
		get:   func(c *Config) any { return c.T4 },
		right: map[string]any{"10ms": 10 * time.Millisecond, "5s": 5 * time.Second},
		wrong: map[string]string{"0s": "not within", "5": "no duration"},
	},
	"timer-c": {
		get:   func(c *Config) any { return c.TimerC },
		right: map[string]any{"185s": 185 * time.Second, "2s": 2 * time.Second, "3h": 3 * time.Hour},
		wrong: map[string]string{"0s": "not within", "4h": "not within", "180": "no duration"},
	},
	"max-transactions": {
		get:   func(c *Config) any { return c.MaxTransactions },
		right: map[string]any{"1": 1, "20k": 20_000, "8M": 8_000_000, "8000000": 8_000_000},
		wrong: map[string]string{"0": "not within", "1000M": "not within", "8G": "no such number", "many": "no such number"},
	},
	"max-call-duration": {
		get:   func(c *Config) any { return c.MaxCallDuration },
		right: map[string]any{"12h": 12 * time.Hour, "1m": time.Minute},
		wrong: map[string]string{"12": "no duration", "0s": "not within", "1000h": "not within"},
	},
	"data-dir": {
		get:   func(c *Config) any { return c.DataDir },
		right: map[string]any{"/srv/sipedge": "/srv/sipedge", "/srv/x/../y/": "/srv/y"},
		wrong: map[string]string{"/" + strings.Repeat("d", 100): "admin socket does not fit"},
	},
	"secret-file": {
		get:   func(c *Config) any { return c.SecretFile },
		right: map[string]any{"/etc/sipedge/secret": "/etc/sipedge/secret"},
		wrong: map[string]string{},
	},
	"admin": {
		get: func(c *Config) any { return c.Admin },
		right: map[string]any{
			"unix:/run/sipedge.sock": Admin{UnixPath: "/run/sipedge.sock"}, "127.0.0.1:9060": Admin{TCP: addr("127.0.0.1:9060")},
			"localhost:0": Admin{TCP: addr("127.0.0.1:0")}, "[::1]:9060": Admin{TCP: addr("[::1]:9060")}, "127.3.2.1:9": Admin{TCP: addr("127.3.2.1:9")},
		},
		wrong: map[string]string{
			"0.0.0.0:9060": "other machines", "192.0.2.1:9060": "other machines", "[::]:9060": "other machines", ":9060": "0.0.0.0 or [::]", "9060": "neither unix:PATH",
			"unix:": "path is missing", "unix:/" + strings.Repeat("s", 103): "104 characters", "host.example:1": "no IP address", "127.0.0.1:x": "no port",
		},
	},
	"drain": {
		get:   func(c *Config) any { return c.Drain },
		right: map[string]any{"0s": time.Duration(0), "0": time.Duration(0), "1m": time.Minute},
		wrong: map[string]string{"5": "no duration", "-5s": "not within", "61m": "not within"},
	},
	"log-level": {
		get:   func(c *Config) any { return c.LogLevel },
		right: map[string]any{"debug": LogDebug, "info": LogInfo, "warn": LogWarn, "error": LogError},
		wrong: map[string]string{"loud": "none of debug, info, warn, error"},
	},
	"log-format": {
		get:   func(c *Config) any { return c.LogFormat },
		right: map[string]any{"text": LogText, "json": LogJSON},
		wrong: map[string]string{"xml": "none of text, json"},
	},
}

func TestEverySettingHasCases(t *testing.T) {
	for s := range settings {
		if c, ok := settingCases[s.name]; !ok || len(c.right) == 0 {
			t.Errorf("--%s has no cases in this test", s.name)
		}
	}
}

func TestValues(t *testing.T) {
	for name, c := range settingCases {
		env := "SIPEDGE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		for value, want := range c.right {
			ways := map[string]func() (*Config, error){
				"flag": func() (*Config, error) { return load(append(c.with, "--"+name+"="+value)) },
				// Whatever the environment says, the flag goes before it.
				"flag over env": func() (*Config, error) { return load(append(c.with, "--"+name+"="+value), env+"=nonsense") },
			}
			if !strings.Contains(value, " ") {
				ways["env"] = func() (*Config, error) { return load(c.with, env+"="+value) }
			}
			if name != "open-relay" { // a switch may stand alone, so its value needs the =
				ways["flag and word"] = func() (*Config, error) { return load(append(c.with, "--"+name, value)) }
			}
			for way, f := range ways {
				cfg, err := f()
				if err != nil {
					t.Errorf("%s, --%s %q: %v", way, name, value, err)
				} else if got := c.get(cfg); !reflect.DeepEqual(got, want) {
					t.Errorf("%s, --%s %q is %v, want %v", way, name, value, got, want)
				}
			}
		}
		for value, word := range c.wrong {
			_, err := load([]string{"--" + name + "=" + value})
			refused(t, err, "--"+name, word, "example: --"+name+"=")
			if !strings.Contains(value, " ") {
				_, err = load(nil, env+"="+value)
				refused(t, err, "--"+name, env, word, "example: "+env+"=")
			}
		}
		_, err := load([]string{"--" + name + "="})
		refused(t, err, "--"+name, "empty")
	}
}

// refused wants an error that has every word.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("accepted; want an error with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q lacks %q", err, w)
		}
	}
}

// What --help shows as an example must be accepted.
func TestExamplesAreRight(t *testing.T) {
	for s := range settings {
		args := append(settingCases[s.name].with, "--"+s.name+"="+s.example)
		switch s.name {
		case "advertise":
			args = append(args, "--listen=udp:10.0.0.1:5060")
		case "policy": // the file is made up
			continue
		}
		if s.name == "udp-io" && runtime.GOOS != "linux" {
			continue
		}
		if _, err := load(args); err != nil {
			t.Error(err)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := load(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Listeners: listeners("udp", "127.0.0.1:5060"),
		Mode:      Stateful, RecordRoute: RecordAuto, Policy: DefaultPolicy(),
		T1: 500 * time.Millisecond, T2: 4 * time.Second, T4: 5 * time.Second, TimerC: 185 * time.Second,
		MaxTransactions: 8_000_000, MaxCallDuration: 12 * time.Hour, Loops: min(runtime.NumCPU(), runtime.GOMAXPROCS(0), 32), UDPIO: UDPIO(defaultUDPIO()), UDPReceiveBuffer: 4 << 20, UDPMTUSwitch: true,
		MaxConnections: 100_000, MaxConnectionsPerAddress: 4096, StreamIdle: 16 * time.Minute,
		DataDir: c.DataDir, Admin: Admin{UnixPath: c.DataDir + "/admin.sock"}, Drain: 5 * time.Second, LogLevel: LogInfo, LogFormat: LogText,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("defaults are\n%+v, want\n%+v", c, want)
	}
}

func TestDefaultDataDir(t *testing.T) {
	f := func(uid int, env map[string]string, want string) {
		t.Helper()
		if got, err := defaultDataDir(uid, env); got != want || (err == nil) != (want != "") {
			t.Errorf("uid %d, %v: %q, %v; want %q", uid, env, got, err, want)
		}
	}
	f(0, map[string]string{"HOME": "/root", "XDG_STATE_HOME": "/x"}, "/var/lib/sipedge")
	f(1000, map[string]string{"HOME": "/home/a"}, "/home/a/.local/state/sipedge")
	f(1000, map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "/x"}, "/x/sipedge")
	f(1000, map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "x"}, "/home/a/.local/state/sipedge")
	f(1000, nil, "")
}

func TestRepeatable(t *testing.T) {
	c, err := load([]string{"--listen", "udp:10.0.0.1:5060", "--listen", "udp:[::1]:5060", "--domain", "a.example", "--domain", "b.example:5070", "--domain", "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	if want := append(listeners("udp", "10.0.0.1:5060"), listeners("udp", "[::1]:5060")...); !slices.Equal(c.Listeners, want) {
		t.Errorf("listeners %v", c.Listeners)
	}
	if want := []HostPort{{"a.example", 0}, {"b.example", 5070}}; !slices.Equal(c.Domains, want) {
		t.Errorf("domains %v", c.Domains)
	}
	c, err = load(nil, "SIPEDGE_LISTEN=udp:10.0.0.1:5060, udp:[::1]:5060", "SIPEDGE_DOMAIN=a.example b.example:5070")
	if err != nil || len(c.Listeners) != 2 || len(c.Domains) != 2 {
		t.Errorf("%v, %v", c, err)
	}
	_, err = load([]string{"--listen", "udp:10.0.0.1:5060", "--listen", "udp:10.0.0.1:5060"})
	refused(t, err, "--listen", "twice")
	for _, two := range [][2]string{{"udp:0.0.0.0:5060", "udp:10.0.0.1:5060"}, {"udp:10.0.0.1:5060", "udp:0.0.0.0:5060"}, {"udp:[::]:5060", "udp:[::1]:5060"}} {
		_, err = load([]string{"--listen", two[0], "--listen", two[1]})
		refused(t, err, "--listen", "overlaps with "+two[0])
	}
	_, err = load([]string{"--listen", "tcp:10.0.0.1:5060", "--listen", "ws:10.0.0.1:5060"})
	refused(t, err, "--listen", "tcp:10.0.0.1:5060 has this address and port already", "ws is TCP too")
	_, err = load([]string{"--listen", "tcp:0.0.0.0:5060", "--listen", "ws:10.0.0.1:5060"})
	refused(t, err, "--listen", "overlaps with tcp:0.0.0.0:5060")
	if _, err = load([]string{"--listen", "udp:0.0.0.0:5060", "--listen", "tcp:10.0.0.1:5060", "--listen", "ws:10.0.0.1:5062"}); err != nil {
		t.Error(err)
	}
	if _, err = load([]string{"--listen", "udp:0.0.0.0:5060", "--listen", "udp:[::]:5060", "--listen", "udp:10.0.0.1:5061"}); err != nil {
		t.Error(err)
	}
	if _, err = load([]string{"--listen", "udp:10.0.0.1:0", "--listen", "udp:10.0.0.1:0"}); err != nil {
		t.Errorf("two ports that the system chooses: %v", err)
	}
	args := []string{}
	for i := range 65 {
		args = append(args, fmt.Sprintf("--listen=udp:10.0.0.1:%d", 5000+i))
	}
	_, err = load(args)
	refused(t, err, "--listen", "more than 64")
}

func TestAdvertise(t *testing.T) {
	listen := []string{"--listen=udp:10.0.0.1:5060", "--listen=udp:10.0.0.2:5060"}
	f := func(args []string, first, second HostPort) {
		t.Helper()
		c, err := load(append(args, listen...))
		if err != nil {
			t.Error(err)
		} else if c.Listeners[0].Advertise != first || c.Listeners[1].Advertise != second {
			t.Errorf("%v: %v", args, c.Listeners)
		}
	}
	all, one := HostPort{"all.example", 0}, HostPort{"one.example", 5099}
	f([]string{"--advertise=all.example"}, all, all)
	f([]string{"--advertise=udp:10.0.0.2:5060=one.example:5099"}, HostPort{}, one)
	f([]string{"--advertise=all.example", "--advertise=udp:10.0.0.2:5060=one.example:5099"}, all, one)
	f([]string{"--advertise=udp:10.0.0.2:5060=one.example:5099", "--advertise=all.example"}, all, one)
	_, err := load(append(listen, "--advertise=a.example", "--advertise=b.example"))
	refused(t, err, "--advertise", "second one for all")
	_, err = load(append(listen, "--advertise=udp:10.0.0.1:5060=a.example", "--advertise=udp:10.0.0.1:5060=b.example"))
	refused(t, err, "--advertise", "second one for udp:10.0.0.1:5060")
}

// One address may be advertised for UDP and another for TCP on the same port.
func TestAdvertiseByTransport(t *testing.T) {
	c, err := load([]string{"--listen=udp:10.0.0.1:5060", "--listen=tcp:10.0.0.1:5060", "--advertise=tcp:10.0.0.1:5060=tcp.example", "--advertise=udp:10.0.0.1:5060=udp.example"})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := c.Listeners[0], c.Listeners[1]; a.Advertise.Host != "udp.example" || b.Advertise.Host != "tcp.example" || b.Proto != transport.TCP {
		t.Errorf("%v", c.Listeners)
	}
}

// What listens decides which loops there are.
func TestLoopsFollowListeners(t *testing.T) {
	f := func(udp, stream int, args ...string) {
		t.Helper()
		c, err := load(append(args, "--loops=3", "--stream-loops=2"))
		if err != nil {
			t.Error(err)
		} else if c.Loops != udp || c.StreamLoops != stream || c.Streams() != (stream > 0) {
			t.Errorf("%v: %d and %d loops", args, c.Loops, c.StreamLoops)
		}
	}
	f(3, 0)
	f(3, 2, "--listen=udp:10.0.0.1:5060", "--listen=tcp:10.0.0.1:5060")
	f(0, 2, "--listen=tcp:10.0.0.1:5060")
	_, err := load([]string{"--listen=udp:10.0.0.1:5060", "--listen=tcp:10.0.0.1:5060", "--loops=60", "--stream-loops=5"})
	refused(t, err, "--stream-loops", "more than 64 loops")
}

func TestTLSFiles(t *testing.T) {
	_, err := load([]string{"--tls-cert=/a", "--tls-cert=/b", "--tls-key=/c"})
	refused(t, err, "--tls-key", "2 of --tls-cert and 1 of --tls-key")
	c, err := load([]string{"--listen=tls:10.0.0.1:5061", "--listen=wss:10.0.0.1:443", "--tls-cert=/a", "--tls-key=/c", "--tls-cert=/b", "--tls-key=/d"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []TLSPair{{"/a", "/c"}, {"/b", "/d"}}; !slices.Equal(c.TLS.Pairs, want) {
		t.Errorf("%v", c.TLS.Pairs)
	}
}

// A next hop must not be ourselves, and some listener must be able to send there.
func TestNextHopAgainstListeners(t *testing.T) {
	all := []string{"--listen=udp:127.0.0.1:5060", "--listen=tcp:127.0.0.1:5062", "--listen=tls:0.0.0.0:5061", "--listen=udp:10.0.0.1:5064", "--advertise=udp:10.0.0.1:5064=edge.example", "--tls-cert=/a", "--tls-key=/b"}
	for hop, word := range map[string]string{
		"sip:127.0.0.1":                         "own listener udp:127.0.0.1:5060",
		"sip:127.0.0.1:5062;transport=tcp":      "own listener tcp:127.0.0.1:5062",
		"sips:127.0.0.1":                        "own listener tls:0.0.0.0:5061",
		"sip:edge.example:5064":                 "own listener udp:10.0.0.1:5064",
		"sip:[2001:db8::1];transport=tcp":       "no --listen tcp",
		"sip:127.0.0.1:5061":                    "",
		"sip:127.0.0.1:5060;transport=tcp":      "",
		"sip:edge.example":                      "",
		"sips:192.0.2.1":                        "",
		"sip:gw.example:5060;transport=tls":     "",
		"sip:192.0.2.1:5064;transport=udp;lr":   "",
		"sip:127.0.0.2:5061;transport=tls":      "own listener tls:0.0.0.0:5061",
		"sip:edge.example:5064;transport=tcp":   "",
		"sip:localhost:5060":                    "",
		"sips:gw.example.com;transport=tcp":     "",
		"sip:10.0.0.1:5064;transport=udp":       "own listener udp:10.0.0.1:5064",
		"sip:gw.example.com;transport=tls;lr":   "",
		"sip:192.0.2.1;transport=tcp":           "",
		"sip:127.0.0.1:5062;transport=udp":      "",
		"sip:gw.example.com:5062;transport=tcp": "",
	} {
		_, err := load(append(all, "--next-hop="+hop))
		if word == "" && err != nil {
			t.Errorf("%s: %v", hop, err)
		} else if word != "" {
			refused(t, err, "--next-hop", word)
		}
	}
}

func TestT1AboveT2(t *testing.T) {
	_, err := load([]string{"--t1=5s"})
	refused(t, err, "--t2", "less than --t1 (5s)")
	if _, err = load([]string{"--t1=5s", "--t2=5s"}); err != nil {
		t.Error(err)
	}
}

// Every problem is told at once, from flags and environment alike.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := load([]string{"--listen=sctp:10.0.0.1:5060", "--t1=fast", "--mode=none"}, "SIPEDGE_DRAIN=5", "SIPEDGE_LOOPS=0")
	refused(t, err, "--listen", "--t1", "--mode", "--drain (from SIPEDGE_DRAIN)", "--loops (from SIPEDGE_LOOPS)")
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 5 {
		t.Errorf("%d lines: %v", len(lines), err)
	}
	var p Problem
	if !errors.As(err, &p) || p.Setting != "listen" || p.Value != "sctp:10.0.0.1:5060" {
		t.Errorf("first problem %+v", p)
	}
}

func TestWarnings(t *testing.T) {
	f := func(word string, args []string, environ ...string) {
		t.Helper()
		c, err := load(args, environ...)
		if err != nil {
			t.Error(err)
		} else if found := slices.ContainsFunc(c.Warnings, func(w string) bool { return word != "" && strings.Contains(w, word) }); found != (word != "") || len(c.Warnings) > 1 {
			t.Errorf("%v %v: warnings %q, want %q", args, environ, c.Warnings, word)
		}
	}
	f("", nil)
	f("--timer-c 3m0s", []string{"--timer-c=180s"})
	f("--timer-c 2s", nil, "SIPEDGE_TIMER_C=2s")
	f("", []string{"--timer-c=180.001s"})
	f("", []string{"--next-hop=sip:gw.example.com:5060"})
	f("SIPEDGE_LISTN", nil, "SIPEDGE_LISTN=udp:10.0.0.1:5060")
	f("--open-relay", []string{"--open-relay", "--listen=udp:0.0.0.0:5060"})
	f("", []string{"--open-relay"})
	f("", nil, "SIPEDGE_DRAIN=", "PATH=/bin")
}

// Whatever a value looks like, Load names the flag in a refusal or gives a complete configuration.
func TestAnyValue(t *testing.T) {
	var values []string
	for _, c := range settingCases {
		values = slices.AppendSeq(values, maps.Keys(c.right))
		values = slices.AppendSeq(values, maps.Keys(c.wrong))
	}
	slices.Sort(values)
	// A value made of pieces of real ones gets further than a random string.
	piece := rapid.Custom(func(t *rapid.T) string {
		v := rapid.SampledFrom(values).Draw(t, "from")
		i := rapid.IntRange(0, len(v)).Draw(t, "begin")
		return v[i:rapid.IntRange(i, len(v)).Draw(t, "end")]
	})
	value := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(piece, 1, 4).Draw(t, "pieces"), "") }),
		rapid.String(),
	)
	names := slices.Sorted(maps.Keys(settingCases))
	rapid.Check(t, func(t *rapid.T) {
		name, v := rapid.SampledFrom(names).Draw(t, "name"), value.Draw(t, "value")
		c, err := load([]string{"--" + name + "=" + v})
		if err != nil {
			if !strings.Contains(err.Error(), "--"+name) {
				t.Fatalf("--%s=%q: %v does not name the flag", name, v, err)
			}
			return
		}
		switch {
		case len(c.Listeners) == 0, c.Loops+c.StreamLoops < 1, c.Policy == nil, c.T1 <= 0, c.T2 < c.T1, c.T4 <= 0, c.TimerC <= 0, c.MaxTransactions < 1, c.UDPReceiveBuffer < 1, c.DataDir == "", c.Admin == (Admin{}):
			t.Fatalf("--%s=%q gave %+v", name, v, c)
		}
	})
}

func TestUsage(t *testing.T) {
	text := Usage()
	for s := range settings {
		if !strings.Contains(text, "\n  --"+s.name) || s.arg != "" && !strings.Contains(text, "Example: --"+s.name+" "+s.example+"\n") {
			t.Errorf("--help lacks --%s or its example", s.name)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 101 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}
