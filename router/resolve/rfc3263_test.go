package resolve

import (
	"strings"
	"testing"

	"sipedge/transport"
)

// TestRFC3263 holds every branch of RFC 3263 sections 4.1 and 4.2, one zone and some queries each. want is the hops in order, or
// the status; the hops of a single level are the same in any order of lots.
func TestRFC3263(t *testing.T) {
	status := [...]string{Miss: "miss", Hit: "hit", Stale: "stale", Negative: "negative", Failed: "failed", Unsupported: "unsupported"}
	const hosts = `
		a.test. 300 A 192.0.2.1
		a.test. 300 AAAA 2001:db8::1
		four.test. 300 A 192.0.2.4
		six.test. 300 AAAA 2001:db8::6
		b.test. 300 A 192.0.2.2
		c.test. 300 A 192.0.2.3
	`
	for _, tt := range []struct {
		rule string
		zone string
		want map[string]string // query -> hops; "| REACH" behind the query
	}{
		{"4.1: a transport parameter is used; 4.2: a port means A and AAAA", hosts, map[string]string{
			"four.test:5080 udp":          "udp:192.0.2.4:5080",
			"four.test:5080 tcp":          "tcp:192.0.2.4:5080",
			"four.test:5080 tls":          "tls(four.test):192.0.2.4:5080",
			"four.test:5080 ws":           "unsupported",
			"four.test:5080 wss":          "unsupported",
			"four.test:5060":              "udp:192.0.2.4:5060",
			"four.test:5060 sips":         "tls(four.test):192.0.2.4:5060",
			"four.test:5060 sips tcp":     "tls(four.test):192.0.2.4:5060",
			"four.test:5060 sips tls":     "tls(four.test):192.0.2.4:5060",
			"four.test:5060 sips udp":     "unsupported",
			"four.test:5060 udp | tcp4":   "unsupported",
			"four.test:5060 | tcp4":       "tcp:192.0.2.4:5060",
			"four.test:5060 | tls4":       "tls(four.test):192.0.2.4:5060",
			"four.test:5060 | udp6 tcp4":  "negative", // UDP it is, and by UDP we reach no IPv4
			"four.test:5060 sips | udp4":  "unsupported",
			"FOUR.Test.:5060":             "udp:192.0.2.4:5060",
			"FOUR.Test.:5060 tls":         "tls(four.test):192.0.2.4:5060",
			"a.test:5060":                 "udp:[2001:db8::1]:5060 udp:192.0.2.1:5060",
			"a.test:5060 | udp4":          "udp:192.0.2.1:5060",
			"a.test:5060 | udp6":          "udp:[2001:db8::1]:5060",
			"a.test:5060 tcp | udp4 tcp6": "tcp:[2001:db8::1]:5060",
			"six.test:5060":               "udp:[2001:db8::6]:5060",
			"six.test:5060 | udp4 tcp4":   "negative",
			"nobody.test:5060":            "negative",
		}},
		{"4.1: a numeric host means UDP, of a SIPS URI TLS; 4.2: its port, else the default of the transport", "", map[string]string{
			"192.0.2.9":                 "udp:192.0.2.9:5060",
			"192.0.2.9:5070":            "udp:192.0.2.9:5070",
			"192.0.2.9 tcp":             "tcp:192.0.2.9:5060",
			"192.0.2.9 tls":             "tls:192.0.2.9:5061",
			"192.0.2.9 sips":            "tls:192.0.2.9:5061",
			"192.0.2.9:5060 sips":       "tls:192.0.2.9:5060",
			"192.0.2.9 sips tcp":        "tls:192.0.2.9:5061",
			"192.0.2.9 sips udp":        "unsupported",
			"192.0.2.9 ws":              "unsupported",
			"192.0.2.9 | udp6":          "unsupported",
			"192.0.2.9 | udp6 tcp4":     "tcp:192.0.2.9:5060",
			"[2001:db8::9]":             "udp:[2001:db8::9]:5060",
			"2001:db8::9":               "udp:[2001:db8::9]:5060",
			"[2001:db8::9]:5070 tls":    "tls:[2001:db8::9]:5070",
			"[2001:db8::9] | udp4 tcp4": "unsupported",
		}},
		{"4.1: NAPTR in order of order and preference, the first order that fits alone", hosts + `
			d.test. 300 NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.d.test.
			d.test. 300 NAPTR 90 50 "s" "SIP+D2T" "" _sip._tcp.d.test.
			d.test. 300 NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.d.test.
			_sips._tcp.d.test. 300 SRV 0 0 5061 four.test.
			_sip._tcp.d.test. 300 SRV 0 1 5060 four.test.
			_sip._udp.d.test. 300 SRV 0 1 5060 b.test.
		`, map[string]string{
			"d.test":             "tls(d.test):192.0.2.4:5061", // not four.test: the certificate must prove what was asked for
			"d.test | udp4 tcp4": "tcp:192.0.2.4:5060",
			"d.test | udp4":      "udp:192.0.2.2:5060",
			"d.test sips":        "tls(d.test):192.0.2.4:5061",
			"d.test sips | udp4": "unsupported",
			"d.test udp":         "udp:192.0.2.2:5060", // a transport parameter: SRV without NAPTR
			"d.test tcp":         "tcp:192.0.2.4:5060",
			"d.test tls":         "tls(d.test):192.0.2.4:5061",
			"d.test sips tcp":    "tls(d.test):192.0.2.4:5061",
			"d.test:5060":        "negative", // the domain itself has no address
		}},
		{"4.1: NAPTR of one order are tried by preference", hosts + `
			d.test. 300 NAPTR 10 20 "S" "sip+d2u" "" u.other.test.
			d.test. 300 NAPTR 10 10 "s" "SIP+D2T" "" t.other.test.
			d.test. 300 NAPTR 20 10 "s" "SIPS+D2T" "" s.other.test.
			u.other.test. 300 SRV 0 0 5062 b.test.
			t.other.test. 300 SRV 0 0 5063 c.test.
			s.other.test. 300 SRV 0 0 5064 four.test.
		`, map[string]string{
			"d.test":        "tcp:192.0.2.3:5063 udp:192.0.2.2:5062",
			"d.test | udp4": "udp:192.0.2.2:5062",
			"d.test sips":   "tls(d.test):192.0.2.4:5064",
		}},
		{"4.1: a SIPS URI discards what is not SIPS", hosts + `
			d.test. 300 NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.d.test.
			_sip._udp.d.test. 300 SRV 0 0 5060 b.test.
			d.test. 300 A 192.0.2.8
		`, map[string]string{
			"d.test":      "udp:192.0.2.2:5060",
			"d.test sips": "tls(d.test):192.0.2.8:5061", // no NAPTR, no SRV: the address, by TLS
		}},
		{"4.1: NAPTR of other services, SCTP, WebSocket, with a regexp, flag or replacement that do not belong are discarded", hosts + `
			d.test. 300 NAPTR 1 1 "s" "SIP+D2S" "" _sip._sctp.d.test.
			d.test. 300 NAPTR 2 1 "s" "SIPS+D2W" "" _sips._ws.d.test.
			d.test. 300 NAPTR 2 1 "s" "SIP+D2W" "" _sip._ws.d.test.
			d.test. 300 NAPTR 2 1 "s" "SIPS+D2U" "" _sips._udp.d.test.
			d.test. 300 NAPTR 2 1 "u" "E2U+sip" "!^.*$!sip:x@evil.test!" .
			d.test. 300 NAPTR 3 1 "s" "SIP+D2U" "!^.*$!x.test!" .
			d.test. 300 NAPTR 4 1 "a" "SIP+D2U" "" b.test.
			d.test. 300 NAPTR 5 1 "s" "SIP+D2U" "" .
			d.test. 300 NAPTR 6 1 "s" "SIP+D2T" "" _sip._tcp.d.test.
			_sip._tcp.d.test. 300 SRV 0 0 5065 c.test.
			_sip._udp.d.test. 300 SRV 0 0 5066 b.test.
		`, map[string]string{
			"d.test":        "tcp:192.0.2.3:5065",
			"d.test | udp4": "udp:192.0.2.2:5066", // none fits: as if there were none
		}},
		{"4.2: NAPTR whose SRV records do not exist: the address of the domain by that transport", hosts + `
			d.test. 300 NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.gone.test.
			d.test. 300 A 192.0.2.8
		`, map[string]string{
			"d.test": "tcp:192.0.2.8:5060",
		}},
		{"4.1: without NAPTR, SRV for each transport of ours, UDP before TCP, TLS of a SIPS URI only", hosts + `
			d.test. 300 A 192.0.2.8
			_sip._udp.d.test. 300 SRV 0 0 5071 b.test.
			_sip._tcp.d.test. 300 SRV 0 0 5072 c.test.
			_sips._tcp.d.test. 300 SRV 0 0 5073 four.test.
			t.test. 300 A 192.0.2.8
			_sip._tcp.t.test. 300 SRV 0 0 5072 c.test.
			s.test. 300 A 192.0.2.8
			_sips._tcp.s.test. 300 SRV 0 0 5073 four.test.
		`, map[string]string{
			"d.test":             "udp:192.0.2.2:5071",
			"d.test | tcp4 tls4": "tcp:192.0.2.3:5072",
			"d.test sips":        "tls(d.test):192.0.2.4:5073",
			"d.test tls":         "tls(d.test):192.0.2.4:5073",
			"t.test":             "tcp:192.0.2.3:5072",
			"t.test udp":         "udp:192.0.2.8:5060",
			"s.test":             "udp:192.0.2.8:5060",
			"s.test sips":        "tls(s.test):192.0.2.4:5073",
		}},
		{"4.2: no records but addresses: the default transport and port", hosts, map[string]string{
			"four.test":        "udp:192.0.2.4:5060",
			"four.test | tcp4": "tcp:192.0.2.4:5060",
			"four.test | tls4": "tls(four.test):192.0.2.4:5061",
			"four.test sips":   "tls(four.test):192.0.2.4:5061",
			"four.test tcp":    "tcp:192.0.2.4:5060",
			"four.test tls":    "tls(four.test):192.0.2.4:5061",
			"a.test":           "udp:[2001:db8::1]:5060 udp:192.0.2.1:5060",
			"a.test | udp4":    "udp:192.0.2.1:5060",
			"nobody.test":      "negative",
			"nobody.test sips": "negative",
			"nobody.test tcp":  "negative",
		}},
		{"4.2, RFC 2782: priorities in order, each target with all of its addresses", hosts + `
			_sip._udp.d.test. 300 SRV 20 0 5061 b.test.
			_sip._udp.d.test. 300 SRV 10 0 5062 a.test.
			_sip._udp.d.test. 300 SRV 30 0 5063 c.test.
			_sip._udp.d.test. 300 SRV 15 0 5064 missing.test.
		`, map[string]string{
			"d.test":        "udp:[2001:db8::1]:5062 udp:192.0.2.1:5062 udp:192.0.2.2:5061 udp:192.0.2.3:5063",
			"d.test | udp4": "udp:192.0.2.1:5062 udp:192.0.2.2:5061 udp:192.0.2.3:5063",
		}},
		{`RFC 2782: the target "." says that there is no such service`, hosts + `
			n.test. 300 A 192.0.2.8
			_sip._udp.n.test. 300 SRV 0 0 0 .
			_sips._tcp.n.test. 300 SRV 0 0 0 .
			_sip._tcp.n.test. 300 SRV 0 0 5060 c.test.
			all.test. 300 A 192.0.2.8
			_sip._udp.zero.test. 300 SRV 0 0 0 b.test.
			_sip._udp.zero.test. 300 SRV 1 0 5070 c.test.
			_sip._udp.all.test. 300 SRV 0 0 0 .
		`, map[string]string{
			"n.test":        "tcp:192.0.2.3:5060",
			"n.test udp":    "negative",
			"n.test sips":   "negative",
			"n.test | udp4": "negative",
			"n.test:5060":   "udp:192.0.2.8:5060", // a port: nobody asks for the service
			"all.test":      "negative",
			"zero.test":     "udp:192.0.2.3:5070",
			"all.test tcp":  "tcp:192.0.2.8:5060",
		}},
		{"4.2: SRV records that lead nowhere are not the same as none", hosts + `
			d.test. 300 A 192.0.2.8
			_sip._udp.d.test. 300 SRV 0 0 5060 missing.test.
		`, map[string]string{
			"d.test": "negative",
		}},
		{"RFC 1034 section 3.6.2: aliases are followed", hosts + `
			www.test. 300 CNAME x.test.
			x.test. 300 CNAME y.test.
			y.test. 300 A 192.0.2.7
			_sip._udp.d.test. 300 CNAME _sip._udp.real.test.
			_sip._udp.real.test. 300 SRV 0 0 5080 www.test.
			loop.test. 300 CNAME loop2.test.
			loop2.test. 300 CNAME loop.test.
			dead.test. 300 CNAME nowhere.test.
		`, map[string]string{
			"www.test:5060":  "udp:192.0.2.7:5060",
			"d.test udp":     "udp:192.0.2.7:5080",
			"loop.test:5060": "failed",
			"dead.test:5060": "negative",
		}},
		{"addresses that nobody can be called at are left out", `
			m.test. 300 A 0.0.0.0
			m.test. 300 A 224.0.0.5
			m.test. 300 A 192.0.2.7
			m.test. 300 AAAA fe80::1
			m.test. 300 AAAA ff02::1
			m.test. 300 AAAA ::
			m.test. 300 AAAA ::ffff:192.0.2.6
		`, map[string]string{
			"m.test:5060": "udp:192.0.2.7:5060",
		}},
		{"hosts that are not names", "", map[string]string{
			"a\\.test:5060":                       "negative",
			"a%41.test":                           "negative",
			"..":                                  "negative",
			strings.Repeat("a", 64) + ".test":     "negative",
			strings.Repeat("a.", 127) + "toolong": "negative",
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			b := newBed(t, Config{}, newNameserver(t, tt.zone+"\ntest. 300 SOA ns.test. h.test. 1 2 3 4 60"))
			for what, want := range tt.want {
				host, ways, given := strings.Cut(what, " | ")
				reach := everything
				if given {
					reach = 0
					for _, w := range strings.Fields(ways) {
						p := map[string]transport.Protocol{"udp": transport.UDP, "tcp": transport.TCP, "tls": transport.TLS}[w[:3]]
						reach |= Over(p, w[3] == '6')
					}
				}
				hops, s := b.resolve(query(host, reach))
				got := b.list(hops)
				if s != Hit {
					got = strings.TrimSpace(status[s] + " " + got)
				}
				if got != want {
					t.Errorf("%s: %s, want %s", what, got, want)
				}
			}
		})
	}
}

// TestServerQuery holds RFC 3263 section 5: where a response goes when its connection is gone.
func TestServerQuery(t *testing.T) {
	b := newBed(t, Config{}, newNameserver(t, `
		v.test. 300 A 192.0.2.1
		v.test. 300 NAPTR 1 1 "s" "SIP+D2T" "" wrong.test.
		_sip._udp.v.test. 300 SRV 0 0 5070 u.test.
		_sip._tcp.v.test. 300 SRV 1 0 5071 t.test.
		_sip._tcp.v.test. 300 SRV 2 0 5072 u.test.
		_sips._tcp.v.test. 300 SRV 0 0 5073 s.test.
		u.test. 300 A 192.0.2.2
		t.test. 300 A 192.0.2.3
		s.test. 300 A 192.0.2.4
	`))
	for _, tt := range []struct {
		host string
		port uint16
		p    transport.Protocol
		want string
	}{
		{"192.0.2.9", 0, transport.TCP, "tcp:192.0.2.9:5060"},
		{"192.0.2.9", 5090, transport.UDP, "udp:192.0.2.9:5090"},
		{"192.0.2.9", 0, transport.TLS, "tls:192.0.2.9:5061"},
		{"v.test", 5090, transport.TCP, "tcp:192.0.2.1:5090"},
		{"v.test", 5090, transport.TLS, "tls(v.test):192.0.2.1:5090"},
		{"v.test", 0, transport.UDP, "udp:192.0.2.2:5070"},
		{"v.test", 0, transport.TCP, "tcp:192.0.2.3:5071 tcp:192.0.2.2:5072"},
		{"v.test", 0, transport.TLS, "tls(v.test):192.0.2.4:5073"},
		{"u.test", 0, transport.TCP, "tcp:192.0.2.2:5060"},
	} {
		hops, s := b.resolve(ServerQuery([]byte(tt.host), tt.port, tt.p, only4))
		if got := b.list(hops); s != Hit || got != tt.want {
			t.Errorf("%s:%d %d: %v %s, want %s", tt.host, tt.port, tt.p, s, got, tt.want)
		}
	}
	q := ServerQuery([]byte("v.test"), 0, transport.WSS, everything)
	if _, s := b.Lookup(&q, nil, b.clock.now()); s != Unsupported {
		t.Errorf("a response that lost its WebSocket: %v", s)
	}
	if n := b.Counters().Lookups; n != 6 {
		t.Errorf("%d look-ups for 6 keys", n)
	}
}
