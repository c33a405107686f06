package steer

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSend is a datagram sent into a group of two sockets whose buffers are full, so the
// difference between the cases is what choosing the socket costs.
func BenchmarkSend(b *testing.B) {
	message := func(pad int) []byte {
		return []byte("INVITE sip:bob@example.com SIP/2.0\r\nX: " + strings.Repeat("x", pad) +
			"\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0123456789abcdef0123\r\nMax-Forwards: 70\r\n" + strings.Repeat("Subject: x\r\n", 30))
	}
	for _, c := range []struct {
		name string
		prog []unix.SockFilter
		pad  int
	}{
		{"by_address", []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: byAddress}}, 0},
		{"near", program(2, near), 0},
		{"far", program(2, far), 0},
		{"far_Via_at_300", program(2, far), 260},
		{"far_Via_at_700", program(2, far), 660},
	} {
		b.Run(c.name, func(b *testing.B) {
			socks := group(b, 2, c.prog)
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(fd)
			var port int
			fmt.Sscanf(socks[0].LocalAddr().String(), "127.0.0.1:%d", &port)
			to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
			m := message(c.pad)
			for b.Loop() {
				if err := unix.Sendto(fd, m, 0, to); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
