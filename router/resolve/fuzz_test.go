package resolve

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"sipedge/transport"
)

// FuzzResolve feeds arbitrary packets as answers and claims: nothing panics; no more is asked and kept than the bounds allow; every
// hop has a family and transport that we can send by and an address that can be called; the same packets give the same finding;
// a packet is taken only for a query with its number and its question.
func FuzzResolve(f *testing.F) {
	pack := func(name string, kind uint16, answer, extra string) []byte {
		m := new(dns.Msg).SetQuestion(name, kind)
		m.Response = true
		for _, s := range bytes.Split([]byte(answer), []byte("\n")) {
			if rr, err := dns.NewRR(string(s)); err == nil && rr != nil {
				m.Answer = append(m.Answer, rr)
			}
		}
		if rr, err := dns.NewRR(extra); err == nil && rr != nil {
			m.Extra = append(m.Extra, rr)
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	join := func(packets ...[]byte) (b []byte) {
		for _, p := range packets {
			b = append(b, byte(len(p)>>8), byte(len(p)))
			b = append(b, p...)
		}
		return b
	}
	f.Add(uint8(automatic), uint8(everything), join(
		pack("d.test.", dns.TypeNAPTR, "d.test. 60 NAPTR 1 1 s SIPS+D2T \"\" _sips._tcp.d.test.\nd.test. 60 NAPTR 1 2 s SIP+D2U \"\" _sip._udp.d.test.", ""),
		pack("_sip._udp.d.test.", dns.TypeSRV, "_sip._udp.d.test. 60 SRV 0 0 5060 d.test.\n_sip._udp.d.test. 60 SRV 0 9 5060 e.test.", "e.test. 60 A 192.0.2.1"),
		pack("_sips._tcp.d.test.", dns.TypeSRV, "_sips._tcp.d.test. 60 SRV 0 0 5061 d.test.", ""),
		pack("d.test.", dns.TypeAAAA, "d.test. 60 CNAME x.test.\nx.test. 60 AAAA 2001:db8::1", ""),
		pack("d.test.", dns.TypeA, "d.test. 60 A 192.0.2.1\nd.test. 60 A 192.0.2.2", "")))
	f.Add(uint8(service), uint8(only4), join(pack("_sip._tcp.d.test.", dns.TypeSRV, "_sip._tcp.d.test. 60 SRV 0 0 0 .", "")))
	f.Add(uint8(addresses), uint8(only4), join(pack("d.test.", dns.TypeA, "d.test. 0 CNAME d.test.", "d.test. 1 A 192.0.2.1")))
	f.Fuzz(func(t *testing.T, shape, reach uint8, data []byte) {
		q := Query{Host: []byte("d.test"), Reach: Reach(reach) & everything}
		switch kind(shape) % 4 {
		case 0:
			q.Port = 5060
		case 1:
			q.Transport = transport.Protocol(shape>>4)%3 + 1
		case 2:
			q.Sips = true
		}
		rt, ok := q.route(false, bothFamilies)
		if !ok {
			return
		}
		var packets [][]byte
		for rest := data; len(rest) > 2; {
			n := min(int(rest[0])<<8|int(rest[1]), len(rest)-2)
			packets = append(packets, rest[2:2+n])
			rest = rest[2+n:]
		}
		asked := 0
		run := func() finding {
			asked = 0
			c := client{n: &counts{}}
			l := look{answers: map[question]*answer{}, extra: map[question][]dns.RR{}, left: maxQuestions}
			l.ask = func(qs []question) []*dns.Msg {
				asked += len(qs)
				asks := make([]*asking, len(qs))
				for i, q := range qs {
					asks[i] = &asking{q: q, id: uint16(i)}
				}
				replies := make([]*dns.Msg, len(qs))
				for _, p := range packets {
					// The number is made to fit, or nothing would ever be taken; the question is the packet's own affair.
					for i := range asks {
						p := bytes.Clone(p)
						if len(p) > 2 {
							p[0], p[1] = byte(i>>8), byte(i)
						}
						if a := c.take(p, asks); a != nil && (a != asks[i] || a.q != qs[i]) {
							t.Fatalf("a packet with the number of %v was taken for %v", qs[i], a.q)
						}
					}
				}
				for i, a := range asks {
					replies[i] = a.reply
				}
				return replies
			}
			return l.locate(rt, "d.test")
		}
		found := run()
		if asked > maxQuestions {
			t.Fatalf("%d questions", asked)
		}
		again := run()
		if found.status != again.status || !slices.Equal(found.targets, again.targets) || !slices.Equal(found.ips, again.ips) || found.ttl != again.ttl {
			t.Fatalf("the same packets give %+v and %+v", found, again)
		}
		if (found.status == Hit) != (len(found.targets) > 0) || len(found.targets) > maxTargets || len(found.ips) > maxPlaceAddresses {
			t.Fatalf("%+v", found)
		}
		p := place{targets: found.targets, ips: found.ips}
		p.twins = hasTwins(&p)
		hops := p.hops(nil, 5060, rt.proto, 1, &blocklist{}, 0)
		if (len(hops) > 0) != (found.status == Hit) || len(hops) > MaxHops {
			t.Fatalf("%d hops of %+v", len(hops), found)
		}
		for i := range hops {
			a := netip.AddrFrom16(hops[i].IP).Unmap()
			if Over(hops[i].Proto, a.Is6())&q.Reach == 0 || q.Sips && hops[i].Proto != transport.TLS || a.IsUnspecified() || a.IsMulticast() || hops[i].Port == 0 {
				t.Fatalf("hop %+v of reach %b", hops[i], q.Reach)
			}
			if contains(hops[:i], &hops[i]) {
				t.Fatalf("%v twice", hops[i].AddrPort())
			}
		}
	})
}
