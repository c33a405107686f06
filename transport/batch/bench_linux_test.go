package batch

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sipedge/transport"
)

// BenchmarkRelay relays datagrams of 600 bytes unread, one loop, from a sender in a process of its
// own on the last CPU to a socket that drops them. cpu-ns/packet is user and system time of
// this whole process, the runtime's helper threads included, for each packet relayed.
//
//	taskset -c 0 go test -run - -bench Relay -benchtime 300000x ./transport/batch
func BenchmarkRelay(b *testing.B) {
	for _, c := range []struct {
		name string
		rate int // packets/s, 0: as fast as they go
	}{{"saturated", 0}, {"100000_per_s", 100_000}, {"14000_per_s", 14_000}} {
		b.Run(c.name, func(b *testing.B) {
			e := open(b, 1, loopback())
			sinkhole := peer(b, netip.MustParseAddr("127.0.0.1"))
			sinkhole.SetReadBuffer(4096)
			stop := serve(b, e, func(_ int, l transport.Loop) transport.Handler {
				return &relay{l: l, a: addrOf(sinkhole)} // all comes from elsewhere, so all goes there
			})
			sender := exec.Command(os.Args[0])
			sender.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", senderTask, e.Addrs()[0], b.N, c.rate))
			b.ResetTimer()
			cpu := cpuTime()
			if out, err := sender.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			cpu = cpuTime() - cpu
			b.StopTimer()
			s := e.Stats(0)
			stop()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(cpu)/float64(s.PacketsOut), "cpu-ns/packet")
			b.ReportMetric(float64(s.PacketsOut)/b.Elapsed().Seconds(), "packets/s")
			b.ReportMetric(float64(s.PacketsIn)/float64(max(s.Batches, 1)), "packets/batch")
			b.ReportMetric(float64(b.N-int(s.PacketsIn))/float64(b.N)*100, "%lost")
		})
	}
}

// BenchmarkIdle is the CPU that an engine with nothing to do takes, in thousandths of a core.
func BenchmarkIdle(b *testing.B) {
	for _, raw := range []bool{false, true} {
		b.Run(map[bool]string{false: "as_it_is", true: "always_raw"}[raw], func(b *testing.B) {
			e := open(b, 1, loopback())
			if raw {
				e.loops[0].rawWait = int(time.Hour / time.Millisecond)
			}
			stop := serve(b, e, func(_ int, l transport.Loop) transport.Handler { return &relay{l: l} })
			time.Sleep(50 * time.Millisecond)
			began, cpu := time.Now(), cpuTime()
			for range b.N {
				time.Sleep(time.Second)
			}
			b.ReportMetric(float64(cpuTime()-cpu)/float64(time.Since(began))*1000, "mcores")
			b.ReportMetric(0, "ns/op")
			stop()
		})
	}
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// senderTask is the environment variable that makes the test binary a sender: address, number of
// packets, packets/s.
const senderTask = "BATCH_TEST_SENDER"

func senderChild(task string) int {
	f := strings.Fields(task)
	to := netip.MustParseAddrPort(f[0])
	n, _ := strconv.Atoi(f[1])
	rate, _ := strconv.Atoi(f[2])
	runtime.LockOSThread()
	var cpus unix.CPUSet
	cpus.Set(runtime.NumCPU() - 1)
	if runtime.NumCPU() == 1 { // inherited: the whole benchmark was pinned to the first one
		cpus.Zero()
		cpus.Set(1)
	}
	_ = unix.SchedSetaffinity(0, &cpus) // a machine with one CPU has to share it
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	payload := []byte(strings.Repeat("0123456789", 60))
	q := newSendQueue(false, false)
	s := socket{fd: fd}
	a := transport.AddrFrom(to)
	for i := range q.hdrs {
		s.putAddr(&q.names[i], &a)
		q.iovs[i].Base = &payload[0]
		q.iovs[i].SetLen(len(payload))
	}
	const burst = 16
	began := time.Now()
	for sent := 0; sent < n; {
		if rate > 0 {
			for time.Since(began) < time.Duration(sent)*time.Second/time.Duration(rate) {
			}
		}
		k := min(burst, n-sent)
		if rate > 0 && rate < 100_000 {
			k = 1
		}
		r, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(ptr(&q.hdrs[0])), uintptr(k), 0, 0, 0)
		if errno != 0 {
			fmt.Println(errno)
			return 1
		}
		sent += int(r)
	}
	return 0
}
