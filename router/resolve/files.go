package resolve

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"sipedge/transport"
)

// maxFile bounds what is read of resolv.conf and hosts. Lists of unwanted hosts run to a few MB.
const maxFile = 16 << 20

// files are the parts of the configuration that live in files of the system. Workers look whether they changed; loops
// never do.
type files struct {
	resolvConf, hostsPath string // resolvConf "": the servers are given
	warn                  func(string)

	mu      sync.Mutex // workers: who reads
	next    transport.Instant
	seen    [2]stamp
	servers *servers
	hosts   map[string][]netip.Addr
}

// stamp tells one state of a file from another.
type stamp struct {
	mtime time.Time
	size  int64
	there bool
}

func stampOf(path string) stamp {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{fi.ModTime(), fi.Size(), true}
}

// current is the servers and hosts of now. The results are not changed any more.
func (f *files) current(now transport.Instant) (*servers, map[string][]netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.servers == nil || now >= f.next {
		f.next = now.Add(filesEvery)
		f.read()
	}
	return f.servers, f.hosts
}

func (f *files) read() {
	if f.resolvConf != "" {
		if s := stampOf(f.resolvConf); f.servers == nil || s != f.seen[0] {
			f.seen[0] = s
			addrs, err := readResolvConf(f.resolvConf)
			switch {
			case err == nil:
				f.servers = &servers{addrs: addrs}
			case f.servers == nil:
				// "If there are no nameserver lines, the default is the name server on the local machine" (resolv.conf(5)).
				f.servers = &servers{addrs: []string{"127.0.0.1:53"}}
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				f.warn(fmt.Sprintf("dns: %v; the servers stay %s", err, strings.Join(f.servers.addrs, ", ")))
			}
		}
	}
	if s := stampOf(f.hostsPath); f.hosts == nil || s != f.seen[1] {
		f.seen[1] = s
		hosts, err := readHosts(f.hostsPath)
		if err == nil || f.hosts == nil {
			f.hosts = hosts
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			f.warn(fmt.Sprintf("dns: %v; names in it stay as they were", err))
		}
	}
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile))
}

func readResolvConf(path string) ([]string, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c, err := dns.ClientConfigFromReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var addrs []string
	for _, s := range c.Servers {
		if a, err := serverAddr(s); err == nil && len(addrs) < maxServers {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%s: no usable nameserver", path)
	}
	return addrs, nil
}

// serverAddr reads IP or IP:port.
func serverAddr(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53).String(), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		a, err1 := netip.ParseAddr(host)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err1 == nil && err2 == nil && n > 0 {
			return netip.AddrPortFrom(a, uint16(n)).String(), nil
		}
	}
	return "", fmt.Errorf("resolve: DNS server %q is not IP or IP:port", s)
}

// readHosts reads a hosts file: an address and its names in each line. The result is never nil.
func readHosts(path string) (map[string][]netip.Addr, error) {
	hosts := map[string][]netip.Addr{}
	b, err := readFile(path)
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), "#")
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		a, err := netip.ParseAddr(w[0])
		if err != nil {
			continue // a line that means something to somebody else
		}
		a = a.Unmap().WithZone("")
		for _, name := range w[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if len(hosts[name]) < maxAddresses {
				hosts[name] = append(hosts[name], a)
			}
		}
	}
	if hosts["localhost"] == nil {
		// "Name resolution APIs and libraries SHOULD recognize localhost names as special and SHOULD always return the IP loopback
		// address for address queries" (RFC 6761 section 6.3).
		hosts["localhost"] = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	if err == nil {
		err = s.Err()
	}
	return hosts, err
}
