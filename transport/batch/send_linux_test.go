package batch

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// fakeKernel stands for sendmmsg: loopback sockets take everything, so a full send buffer and
// errors at the wrong moment cannot be had from the real one.
type fakeKernel struct {
	takes   int                                          // datagrams until the buffer is full
	refuses func(payload string, call int) syscall.Errno // 0: take it
	calls   int
	sent    []string
}

func (k *fakeKernel) sendmmsg(fd int, hdrs *mmsghdr, n int) (int, syscall.Errno) {
	k.calls++
	taken := 0
	for _, h := range unsafe.Slice(hdrs, n) {
		payload := string(unsafe.Slice(h.hdr.Iov.Base, h.hdr.Iov.Len))
		errno := syscall.Errno(0)
		if k.takes == 0 {
			errno = unix.EAGAIN
		} else if k.refuses != nil {
			errno = k.refuses(payload, k.calls)
		}
		if errno != 0 {
			// "On success, sendmmsg() returns the number of messages sent from msgvec; if this
			// is less than vlen, the caller can retry. On error, -1 is returned": sendmmsg(2)
			// reports an error only if it is with the first message.
			if taken == 0 {
				return 0, errno
			}
			break
		}
		taken++
		k.takes--
		k.sent = append(k.sent, payload)
	}
	return taken, 0
}

const endless = 1 << 30

// bench is a loop in the hands of the test, which does not run.
func bench(t *testing.T, k *fakeKernel, listeners ...netip.AddrPort) (*loop, *recorder) {
	l := open(t, 1, listeners...).loops[0]
	l.sendmmsg = k.sendmmsg
	r := &recorder{}
	l.handler = r
	l.now = 1
	return l, r
}

// recorder is a Handler that keeps the failures.
type recorder struct {
	relay
	failures []string
}

func (r *recorder) SendFailed(to transport.Flow, b []byte, why transport.Failure, _ transport.Instant) {
	r.failures = append(r.failures, fmt.Sprint(string(b), " to ", to.Remote.AddrPort(), ": ", why))
}

func flowTo(listener uint16, to string) transport.Flow {
	return transport.Flow{Remote: transport.AddrFrom(netip.MustParseAddrPort(to)), Listener: listener, Proto: transport.UDP}
}

func numbered(from, to int) (s []string) {
	for i := from; i < to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

func (l *loop) sendNumbered(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if s := l.Send(flowTo(0, "127.0.0.9:9"), fmt.Appendf(l.Buffer(), "%d", i)); s != transport.Queued {
			t.Fatalf("Send says %d", s)
		}
	}
}

func TestFullSendBuffer(t *testing.T) {
	k := &fakeKernel{takes: 10}
	l, _ := bench(t, k, loopback())
	l.sendNumbered(t, 0, 30)
	l.flush()
	if !slices.Equal(k.sent, numbered(0, 10)) {
		t.Fatalf("sent %v, want the first 10", k.sent)
	}
	if !l.socks[0].queue.blocked {
		t.Fatal("POLLOUT was not asked for")
	}
	// The others are kept, and go in order once there is room. The real socket is writable, so
	// poll says so.
	k.takes = endless
	n := l.wait(0)
	if n != 1 || l.polls[0].Revents != unix.POLLOUT {
		t.Fatalf("poll reports %v", l.polls)
	}
	l.poll()
	if !slices.Equal(k.sent, numbered(0, 30)) {
		t.Fatalf("sent %v, want 30 in order", k.sent)
	}
	if l.socks[0].queue.blocked || l.out.waiting != 0 {
		t.Error("the socket still counts as full")
	}
	if l.wait(0); l.polls[0].Revents != 0 {
		t.Error("POLLOUT is still asked for")
	}
	if s := l.stats.load(); s.SendDropped != 0 || s.PacketsOut != 30 {
		t.Errorf("counted %+v", s)
	}
}

// A buffer that stays full never blocks, and costs only messages of its own socket.
func TestSendBufferStaysFull(t *testing.T) {
	k := &fakeKernel{takes: 0}
	l, _ := bench(t, k, loopback(), netip.MustParseAddrPort("127.0.0.2:0"))
	const messages = 1000
	l.sendNumbered(t, 0, messages)
	l.flush()
	if max := messages/sendBatch*2 + 10; k.calls > max {
		t.Errorf("%d system calls for %d messages, want at most %d", k.calls, messages, max)
	}
	s := l.stats.load()
	if kept := messages - int(s.SendDropped); kept < 1 || kept > sendBatch || s.PacketsOut != 0 {
		t.Errorf("%d kept, want 1 to %d; %+v", kept, sendBatch, s)
	}
	// Large ones run out of arena instead of queue entries.
	big := make([]byte, 60_000)
	for range 100 {
		l.Send(flowTo(0, "127.0.0.9:9"), append(l.Buffer(), big...))
		if l.out.used > len(l.out.arena) {
			t.Fatal("beyond the arena")
		}
	}
	if d := l.stats.load().SendDropped; d < messages+100-sendBatch {
		t.Errorf("%d dropped", d)
	}
	// The other socket's messages go out, as does what comes after.
	k.takes = endless
	k.sent = nil
	l.Send(flowTo(1, "127.0.0.9:9"), append(l.Buffer(), "the other"...))
	l.flush()
	if !slices.Contains(k.sent, "the other") {
		t.Error("the other socket's message was not sent")
	}
	k.sent = nil
	l.sendNumbered(t, 0, 200)
	l.flush()
	if !slices.Equal(k.sent, numbered(0, 200)) {
		t.Errorf("sent %v", k.sent)
	}
}

func TestBufferAlwaysHasRoom(t *testing.T) {
	k := &fakeKernel{takes: endless}
	l, _ := bench(t, k, loopback())
	want := 0
	for i := range 500 {
		b := l.Buffer()
		if len(b) != 0 || cap(b) != transport.MaxDatagram {
			t.Fatalf("Buffer %d has length %d and capacity %d", i, len(b), cap(b))
		}
		if i%3 == 0 {
			continue // forgotten
		}
		message := bytes.Repeat([]byte{byte(i)}, i*131%transport.MaxDatagram)
		l.Send(flowTo(0, "127.0.0.9:9"), append(l.Buffer(), message...))
		want++
	}
	l.flush()
	if len(k.sent) != want {
		t.Fatalf("%d sent, want %d", len(k.sent), want)
	}
	next := 0
	for i := range 500 {
		if i%3 == 0 {
			continue
		}
		if k.sent[next] != string(bytes.Repeat([]byte{byte(i)}, i*131%transport.MaxDatagram)) {
			t.Fatalf("message %d was overwritten", i)
		}
		next++
	}
}

// An error that ICMP left on the socket is reported by the next call, whatever it sends.
func TestPendingErrorHarmsNobody(t *testing.T) {
	k := &fakeKernel{takes: endless}
	k.refuses = func(payload string, call int) syscall.Errno {
		if call%2 == 1 {
			return unix.ECONNREFUSED
		}
		return 0
	}
	l, r := bench(t, k, loopback())
	for i := 0; i < 200; i += 10 {
		l.sendNumbered(t, i, i+10)
		l.settle()
	}
	if !slices.Equal(k.sent, numbered(0, 200)) {
		t.Errorf("sent %v", k.sent)
	}
	if len(r.failures) != 0 || l.stats.load().SendErrors != 0 {
		t.Errorf("failures %v", r.failures)
	}
}

func TestRefusedEntryHarmsNoOther(t *testing.T) {
	k := &fakeKernel{takes: endless}
	k.refuses = func(payload string, call int) syscall.Errno {
		switch payload {
		case "0", "7", "19":
			return unix.EPERM
		case "8":
			return unix.EMSGSIZE
		case "9":
			return unix.ENOBUFS
		}
		return 0
	}
	l, r := bench(t, k, loopback())
	l.sendNumbered(t, 0, 20)
	l.settle()
	want := slices.DeleteFunc(numbered(0, 20), func(s string) bool {
		return s == "0" || s == "7" || s == "8" || s == "9" || s == "19"
	})
	if !slices.Equal(k.sent, want) {
		t.Errorf("sent %v, want %v", k.sent, want)
	}
	slices.Sort(r.failures)
	wantFailures := []string{"0 to 127.0.0.9:9: 3", "19 to 127.0.0.9:9: 3", "7 to 127.0.0.9:9: 3", "8 to 127.0.0.9:9: 2"}
	if !slices.Equal(r.failures, wantFailures) {
		t.Errorf("failures %q, want %q", r.failures, wantFailures)
	}
	if s := l.stats.load(); s.SendErrors != 4 || s.SendDropped != 1 || s.PacketsOut != 15 {
		t.Errorf("counted %+v", s)
	}
}

// Failures beyond the bound are counted and forgotten.
func TestManyRefusals(t *testing.T) {
	k := &fakeKernel{takes: endless, refuses: func(string, int) syscall.Errno { return unix.EPERM }}
	l, r := bench(t, k, loopback())
	l.sendNumbered(t, 0, 500)
	l.settle()
	if n := len(r.failures); n == 0 || n > 500 {
		t.Errorf("%d failures told", n)
	}
	if n := l.stats.load().SendErrors; n != 500 {
		t.Errorf("%d counted, want 500", n)
	}
}

func TestSendOfForeignBytesPanics(t *testing.T) {
	l, _ := bench(t, &fakeKernel{takes: endless}, loopback())
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	l.Buffer()
	l.Send(flowTo(0, "127.0.0.9:9"), []byte("elsewhere"))
}
