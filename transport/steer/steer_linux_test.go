package steer

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// group is a number of sockets that share one address and a steering program.
func group(t testing.TB, n int, prog []unix.SockFilter) (socks []*net.UDPConn) {
	t.Helper()
	address := "127.0.0.1:0"
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return err
	}}
	for range n {
		c, err := lc.ListenPacket(t.Context(), "udp4", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		address = c.LocalAddr().String()
		socks = append(socks, c.(*net.UDPConn))
	}
	rc, err := socks[0].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { err = attach(int(fd), prog) })
	if err != nil {
		t.Fatalf("%d instructions: %v", len(prog), err)
	}
	return socks
}

// share sends what message makes, each twice, and counts what each socket has.
func share(t *testing.T, socks []*net.UDPConn, messages int, message func(i int) string) []int {
	t.Helper()
	p, err := net.Dial("udp4", socks[0].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	counts := make([]int, len(socks))
	for from := 0; from < messages; from += 50 { // so few fit into the socket buffers
		for i := from; i < min(from+50, messages); i++ {
			for range 2 {
				if _, err := p.Write([]byte(message(i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		// On loopback a datagram is in the socket when Write returns.
		for k, s := range socks {
			seen := map[string]int{}
			b := make([]byte, 65536)
			for {
				n, ok := read(t, s, b)
				if !ok {
					break
				}
				seen[string(b[:n])]++
				counts[k]++
			}
			for m, n := range seen {
				if n != 2 {
					t.Errorf("the copies of %.40q... came to different sockets", m)
				}
			}
		}
	}
	return counts
}

func TestShares(t *testing.T) {
	const messages = 1000
	header := func(name string, n int) string { return name + ": " + strings.Repeat("x", n) + "\r\n" }
	for name, prog := range map[string]func(loops int) []unix.SockFilter{
		"near": func(loops int) []unix.SockFilter { return program(loops, near) },
		"far":  func(loops int) []unix.SockFilter { return program(loops, far) },
	} {
		for _, loops := range []int{2, 3, 5} {
			t.Run(fmt.Sprintf("%s, %d sockets", name, loops), func(t *testing.T) {
				socks := group(t, loops, prog(loops))
				// The cookie at every offset that the program can find it at.
				for pad := range 8 {
					check(t, share(t, socks, messages, func(i int) string {
						return "INVITE sip:bob@example.com SIP/2.0\r\n" + header("v", pad+(i%40)*8) +
							fmt.Sprintf("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d\r\n", i) + header("Max-Forwards", 60)
					}), 2*messages)
				}
				// Only something early varies, and there is no cookie.
				check(t, share(t, socks, messages, func(i int) string {
					return fmt.Sprintf("REGISTER sip:example.com SIP/2.0\r\nCall-ID: %d\r\n", i) + header("Max-Forwards", 500)
				}), 2*messages)
			})
		}
	}
	t.Run("beyond near", func(t *testing.T) {
		socks := group(t, 2, program(2, far))
		check(t, share(t, socks, messages, func(i int) string {
			return "INVITE sip:bob@example.com SIP/2.0\r\n" + header("Subject", 800) +
				fmt.Sprintf("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d\r\n", i) + header("Max-Forwards", 60)
		}), 2*messages)
		check(t, share(t, socks, messages, func(i int) string {
			return "INVITE sip:bob@example.com SIP/2.0\r\n" + header("Subject", 500) + fmt.Sprintf("Call-ID: %d\r\n", i) + header("Max-Forwards", 60)
		}), 2*messages)
	})
}

// read takes a datagram that is there already.
func read(t *testing.T, s *net.UDPConn, b []byte) (n int, ok bool) {
	t.Helper()
	rc, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT) })
	return n, err == nil
}

func check(t *testing.T, counts []int, total int) {
	t.Helper()
	sum := 0
	for _, n := range counts {
		sum += n
		if fair := total / len(counts); n < fair*7/10 || n > fair*13/10 {
			t.Errorf("the sockets have %v of %d packets: not even", counts, total)
		}
	}
	if sum != total {
		t.Errorf("the sockets have %v, together not %d", counts, total)
	}
}

// No packet may end the program early, which would be socket 0; and the short ones, keep-alives,
// stay where the kernel's own hash puts them.
func TestEveryLength(t *testing.T) {
	socks := group(t, 2, program(2, far))
	whole := "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKabcdefghijklmnopqrstuvwxyz012345\r\n" + strings.Repeat("Subject: hello\r\n", 90)
	for n := range min(len(whole), 400) {
		share(t, socks, 1, func(int) string { return whole[:n] })
	}
	// Cut inside the branch, which is not enough to hash.
	cut := strings.Index(whole, "z9hG4bK") + 8
	for i := range 10 {
		share(t, socks, 1, func(int) string { return whole[:cut+i] })
	}
}

// Older kernels take a program of at most 20 KiB. Each load of a word becomes about eight
// instructions of eight bytes, most others one or two.
func TestNearFitsOldKernels(t *testing.T) {
	const old = 20480
	size := 0
	for _, i := range program(64, near) {
		switch i.Code & 0xe7 {
		case unix.BPF_LD | unix.BPF_ABS, unix.BPF_LD | unix.BPF_IND:
			size += 8 * 8
		default:
			size += 8
		}
	}
	if size > old {
		t.Errorf("%d bytes translated, more than %d", size, old)
	}
}
