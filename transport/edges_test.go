package transport

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestNormal(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) == 0 {
		t.Fatal("no interfaces", err)
	}
	first := interfaces[0]
	index := strconv.Itoa(first.Index)
	f := func(in, want string, scope uint32) {
		t.Helper()
		got, gotScope, err := Normal(netip.MustParseAddrPort(in))
		if err != nil || got.String() != want || gotScope != scope {
			t.Errorf("Normal(%s) = %s, %d, %v; want %s, %d", in, got, gotScope, err, want, scope)
		}
	}
	f("192.0.2.1:5060", "192.0.2.1:5060", 0)
	f("[::ffff:192.0.2.1]:5060", "192.0.2.1:5060", 0)
	f("[2001:db8::1]:0", "[2001:db8::1]:0", 0)
	f("[fe80::1%7]:5060", "[fe80::1%7]:5060", 7)
	f("[fe80::1%"+first.Name+"]:5060", "[fe80::1%"+index+"]:5060", uint32(first.Index))
	for _, bad := range []netip.AddrPort{{}, netip.MustParseAddrPort("[fe80::1%nosuch0]:5060")} {
		if _, _, err := Normal(bad); err == nil {
			t.Errorf("Normal(%s) is no error", bad)
		}
	}
}

func TestBindError(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:5060")
	for errno, says := range map[syscall.Errno]string{
		syscall.EADDRINUSE:    "ss -ulpn",
		syscall.EADDRNOTAVAIL: "does not have that address",
		syscall.EACCES:        "above 1023",
		syscall.EINVAL:        "--listen",
	} {
		err := BindError(at, errno)
		if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), at.String()) || !errors.Is(err, errno) {
			t.Errorf("%v: %q", errno, err)
		}
	}
}

func TestWarnReceiveBuffer(t *testing.T) {
	var said []string
	c := Config{ReceiveBuffer: 4 << 20, Warn: func(m string) { said = append(said, m) }}
	at := netip.MustParseAddrPort("192.0.2.1:5060")
	c.WarnReceiveBuffer(at, 4<<20)
	c.WarnReceiveBuffer(at, 5<<20)
	if said != nil {
		t.Errorf("warned for no reason: %q", said)
	}
	c.WarnReceiveBuffer(at, 212992)
	if len(said) != 1 || !strings.Contains(said[0], "212992") || !strings.Contains(said[0], "4194304") || !strings.Contains(said[0], "net.core.rmem_max") {
		t.Errorf("said %q", said)
	}
	(&Config{ReceiveBuffer: 1}).WarnReceiveBuffer(at, 0) // with nobody to tell
}

// told is a Handler that only listens to failures.
type told struct {
	Handler
	payloads []string
	again    func(payload string)
}

func (h *told) SendFailed(to Flow, b []byte, why Failure, _ Instant) {
	h.payloads = append(h.payloads, string(b))
	if h.again != nil {
		h.again(string(b))
	}
}

func TestUndelivered(t *testing.T) {
	var u Undelivered
	h := &told{}
	u.Report(h, 1)
	u.Add(Flow{Listener: 1}, []byte("one"), Refused)
	u.Add(Flow{Listener: 2}, []byte("two"), TooBig)
	u.Add(Flow{}, []byte(strings.Repeat("x", 2*undeliveredBytes)), Refused)
	if !u.Any() {
		t.Error("nothing kept")
	}
	u.Report(h, 1)
	if want := []string{"one", "two", strings.Repeat("x", undeliveredBytes)}; !slices.Equal(h.payloads, want) || u.Any() {
		t.Errorf("told %.20q", h.payloads)
	}
	// What fails during the report waits for the next one, also when all places were taken.
	h.payloads = nil
	for range undeliveredKept + 5 {
		u.Add(Flow{}, []byte("first"), Refused)
	}
	h.again = func(payload string) {
		if payload == "first" {
			u.Add(Flow{}, []byte("second"), Refused)
		}
	}
	u.Report(h, 1)
	if slices.Contains(h.payloads, "second") {
		t.Error("told of what was added during the report")
	}
	u.Report(h, 1)
	first, second := 0, 0
	for _, p := range h.payloads {
		switch p {
		case "first":
			first++
		case "second":
			second++
		default:
			t.Errorf("told %q", p)
		}
	}
	if first != undeliveredKept || second != undeliveredKept {
		t.Errorf("told first %d times, want %d, and second %d times", first, undeliveredKept, second)
	}
}
