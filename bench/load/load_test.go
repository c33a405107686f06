//go:build linux

package load

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sipedge/bench/lossy"
)

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// freePort returns an address nobody has bound: the target has to be known before Run binds it.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(anyPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func testConfig(proxy, uas netip.AddrPort) Config {
	cfg := Default()
	cfg.Proxy, cfg.UAC, cfg.UAS = proxy, anyPort, uas
	cfg.Floor, cfg.DeepEvery = true, 1
	cfg.Rate, cfg.Units, cfg.Duration = 2000, 100, time.Minute
	cfg.T1, cfg.T2 = 20*time.Millisecond, 80*time.Millisecond
	return cfg
}

// Calls whose datagrams get lost complete all the same, and the losses are counted.
func TestLossIsRecovered(t *testing.T) {
	for _, c := range []struct {
		name    string
		percent int
		change  func(*Config)
	}{
		{"no loss", 0, func(*Config) {}},
		{"loss", 20, func(*Config) {}},
		{"loss, ring and hold", 20, func(c *Config) { c.RingTime, c.HoldTime = 30*time.Millisecond, 30*time.Millisecond }},
		{"loss, segments", 20, func(c *Config) { c.Segment = true }},
		{"loss, options", 20, func(c *Config) { c.Mode = Options }},
		{"several sockets", 0, func(c *Config) { c.UACSockets = 3 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			uas := freePort(t)
			relay, err := lossy.Listen(anyPort, uas, lossy.Pattern{Percent: c.percent, Seed: 1}, lossy.Pattern{Percent: c.percent, Seed: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer relay.Close()
			cfg := testConfig(relay.Addr(), uas)
			c.change(&cfg)
			r, err := Run(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Completed != 100 || r.Failed != 0 || r.Wrong != 0 {
				var b bytes.Buffer
				r.Print(&b)
				t.Fatalf("not all calls completed:\n%s", &b)
			}
			if _, lost := relay.Counts(); (lost > 0) != (c.percent > 0) {
				t.Fatalf("the relay lost %d datagrams at %d %%", lost, c.percent)
			}
			if c.percent > 0 && (r.Retransmissions.Request == 0 || r.Lost == 0) {
				t.Errorf("datagrams were lost, but the result knows of none: %+v", r)
			}
		})
	}
}

// Ringing calls all ring before the first one finishes, by answer or by CANCEL.
func TestRinging(t *testing.T) {
	for _, ending := range []Ending{Answer, Cancel} {
		t.Run(string(ending), func(t *testing.T) {
			uas := freePort(t)
			relay, err := lossy.Listen(anyPort, uas, lossy.Pattern{}, lossy.Pattern{})
			if err != nil {
				t.Fatal(err)
			}
			defer relay.Close()
			cfg := testConfig(relay.Addr(), uas)
			cfg.Mode, cfg.Pending, cfg.Ending = Ring, 50, ending
			gate := &Gate{}
			passed := uint64(0)
			gate.Pending = func() {
				passed, _ = relay.Counts()
				gate.Release()
			}
			r, err := Run(cfg, gate)
			if err != nil {
				t.Fatal(err)
			}
			if r.Completed != 50 || r.Failed != 0 {
				t.Errorf("%d of 50 completed, %d failed, refused %v", r.Completed, r.Failed, r.Refused)
			}
			if passed < 150 { // INVITE, 100 and 180 of each
				t.Errorf("pending was announced after %d datagrams", passed)
			}
		})
	}
}

// A called party that is not there makes every call fail, and Run ends.
func TestNobodyThere(t *testing.T) {
	cfg := testConfig(freePort(t), freePort(t))
	cfg.Units, cfg.Patience = 5, 200*time.Millisecond
	r, err := Run(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != 5 || r.TimedOut != 5 || r.FailedShare() != 1 {
		t.Errorf("failed %d, timed out %d, share %v", r.Failed, r.TimedOut, r.FailedShare())
	}
}

// What a broken proxy may do to a message is noticed and named.
func TestCorruptionIsSeen(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	}
	for _, c := range []struct {
		only   string // start of the messages that are touched
		change func([]byte) []byte
		want   reason
	}{
		{"INVITE", replace("a=sendrecv", "a=sendonly"), wrongBody},
		{"INVITE", func(b []byte) []byte { return b[:len(b)-1] }, wrongBody},
		{"INVITE", replace("Max-Forwards: 70", "Max-Forwards: 71"), wrongHops},
		{"INVITE", replace("User-Agent: ", "User-Agent:  "), wrongBytes},
		{"INVITE", replace("\r\nVia:", "\r\nVia: SIP/2.0/UDP 127.0.0.1:1;branch=z9hG4bKx\r\nVia:"), wrongVia},
		{"INVITE", replace(";branch=z9hG4bK", ";branch=z9hG4bKx"), wrongVia},
		{"INVITE", replace("sip:+49", "sip:+48"), wrongStart},
		{"INVITE", replace("CSeq: 1", "CSeq: 2"), wrongCSeq},
		{"INVITE", replace("\r\nContent-Type", "\r\n Content-Type"), wrongBytes},
		{"INVITE", replace("\r\nMax-Forwards", "\nMax-Forwards"), unreadable},
		{"ACK", replace(";tag=", ";tag=0"), wrongFrom},
		{"BYE", replace("CSeq: 2", "CSeq: 3"), wrongCSeq},
		{"BYE", replace("\r\nMax-Forwards", "\r\nRoute: <sip:127.0.0.1;lr>\r\nMax-Forwards"), wrongRoute},
		{"SIP/2.0 180", replace("\r\nFrom", "\r\nRecord-Route: <sip:127.0.0.1:1;lr>\r\nFrom"), wrongRecordRoute},
		{"SIP/2.0 200", replace("a=sendrecv", "a=recvonly"), wrongBody},
		{"SIP/2.0 200", replace("Via: SIP/2.0/UDP 127.0.0.1", "Via: SIP/2.0/UDP 127.0.0.2"), wrongVia},
		{"SIP/2.0 200", replace("\r\nTo: ", "\r\nTo: x"), wrongTo},
		{"SIP/2.0 200", replace("\r\nTo: ", "\r\nTo: <sip:a@b>\r\nTo: "), duplicateHeader},
		{"SIP/2.0 200", replace("\r\nCall-ID: ", "\r\nCall-ID: x"), unknownCall},
		{"SIP/2.0 100", replace("\r\nCSeq: 1", "\r\nCSeq: 7"), wrongCSeq},
	} {
		t.Run(c.only+" "+reasons[c.want], func(t *testing.T) {
			uas := freePort(t)
			proxy, touched := corrupt(t, uas, c.only, c.change)
			cfg := testConfig(proxy, uas)
			cfg.Units, cfg.Patience = 16, 300*time.Millisecond
			r, err := Run(cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			if touched() == 0 {
				t.Fatal("the relay changed nothing, so this test shows nothing")
			}
			if r.WrongBy[reasons[c.want]] == 0 {
				t.Errorf("wrong by %v, want some of %q", r.WrongBy, reasons[c.want])
			}
		})
	}
}

// corrupt is a relay that changes what begins with only.
func corrupt(t *testing.T, uas netip.AddrPort, only string, change func([]byte) []byte) (netip.AddrPort, func() int) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(anyPort))
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		var uac netip.AddrPort
		b := make([]byte, 65535)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			out := b[:n]
			if strings.HasPrefix(string(out), only) {
				out = change(bytes.Clone(out))
				if !bytes.Equal(out, b[:n]) {
					changed++
				}
			}
			to := uas
			if from == uas {
				to = uac
			} else {
				uac = from
			}
			_, _ = c.WriteToUDPAddrPort(out, to)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), func() int { c.Close(); <-done; return changed }
}

// Tokens are unique, look random, and lead back to where they came from.
func TestTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var b [16]byte
	for i := range 100_000 {
		x := rng.Uint64()
		if i < 1000 {
			x = uint64(i)
		}
		putHex(b[:], scramble(x))
		y, ok := getHex(b[:])
		if !ok || unscramble(y) != x {
			t.Fatalf("%#x became %s and then %#x, %v", x, b, unscramble(y), ok)
		}
	}
	if _, ok := getHex([]byte("0123456789abcdeF")); ok {
		t.Error("an upper-case digit was taken, although none is ever sent")
	}
}

// A reading of the histogram is within 3 % of the exact quantile.
func TestHistogram(t *testing.T) {
	var h histogram
	const n = 100_000
	for i := 1; i <= n; i++ {
		h.add(int64(i) * 1000) // 1 us to 100 ms
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		if got, want := h.at(q), q*n; got < want*0.97 || got > want*1.03 {
			t.Errorf("quantile %v is %v us, want about %v", q, got, want)
		}
	}
	if h.max != n*1000 {
		t.Errorf("max %d", h.max)
	}
}

// Every entry of the wheel comes up, none before its time, those beyond a turn included.
func TestWheel(t *testing.T) {
	var w wheel
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 20_000
	var due [n]int64
	for i := range due {
		due[i] = rng.Int64N(3 * wheelSize * tickNanos)
		w.add(due[i], entry{slot: uint32(i)})
	}
	seen := 0
	for now := int64(0); now <= (3*wheelSize+2)*tickNanos; now += 7 * tickNanos {
		w.run(now, func(e entry) {
			if now < due[e.slot] {
				w.add(due[e.slot], e) // beyond a turn: looked at once per turn
				return
			}
			seen++
			if late := now - due[e.slot]; late > 9*tickNanos {
				t.Fatalf("entry %d came %d ns late", e.slot, late)
			}
		})
	}
	if seen != n {
		t.Errorf("%d of %d entries came up", seen, n)
	}
}

// Datagrams of one length and destination leave together, and those of one call in their order.
func TestGroups(t *testing.T) {
	s, err := openSocket(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.gso = true
	rng := rand.New(rand.NewPCG(1, 3))
	var to [2]sockaddr
	to[0].set(netip.MustParseAddrPort("127.0.0.1:9"))
	to[1].set(netip.MustParseAddrPort("127.0.0.1:10"))
	for range 200 {
		s.queued = 0
		call := uint32(0)
		for s.queued < queue-3 {
			call++
			for range 1 + rng.IntN(3) {
				b := s.buffer()[:300+100*rng.IntN(4)]
				s.send(&to[rng.IntN(2)], b, call)
			}
		}
		s.group()
		g := &s.groups
		sum := 0
		for k := range g.n {
			sum += g.count[k]
			if g.count[k] > maxSegments || g.count[k]*s.outLen[g.to[k]] > maxGroup {
				t.Fatalf("a group of %d datagrams of %d bytes", g.count[k], s.outLen[g.to[k]])
			}
		}
		if sum != s.queued {
			t.Fatalf("%d of %d datagrams are in groups", sum, s.queued)
		}
		if g.n >= s.queued {
			t.Fatal("nothing was grouped, so this test shows nothing")
		}
		for i := range s.queued {
			first := g.to[s.outIn[i]]
			if s.outLen[first] != s.outLen[i] || s.outTo[first] != s.outTo[i] {
				t.Fatal("a group of different lengths or destinations")
			}
			if i > 0 && s.outCall[i] == s.outCall[i-1] && s.outIn[i] < s.outIn[i-1] {
				t.Fatalf("datagram %d of call %d leaves before its predecessor", i, s.outCall[i])
			}
		}
	}
}

// The styles are varied, of the size that real INVITEs have, and hold what they announce.
func TestStyles(t *testing.T) {
	cfg := testConfig(freePort(t), freePort(t))
	cfg.Units, cfg.Patience = 64, time.Millisecond
	sink, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(cfg.Proxy))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if err := sink.SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(cfg, nil); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65535)
	sum := 0
	lengths := map[int]bool{}
	for range 64 {
		_ = sink.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := sink.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		var v view
		if why := v.read(b[:n]); why != fine || v.length != len(v.body) || v.nVias != 1 || len(v.hops) == 0 || len(v.contact) == 0 {
			t.Fatalf("an INVITE of ours is %s:\n%s", reasons[why], b[:n])
		}
		sum += n
		lengths[n] = true
	}
	if mean := sum / 64; mean < 500 || mean > 770 {
		t.Errorf("the mean INVITE has %d bytes", mean)
	}
	if len(lengths) < 6 {
		t.Errorf("only %d different lengths", len(lengths))
	}
}
