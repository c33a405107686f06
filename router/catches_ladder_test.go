package router_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sipedge/transport"
)

// TestLaddersCatch holds the harness itself to its word: a good ladder with one thing made wrong must fail, and say why.
func TestLaddersCatch(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "ladders", "basic", "call.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := play(string(text)); err != nil {
		t.Fatal("the good one:", err)
	}
	for _, x := range []struct{ name, old, new, want string }{
		{"something sent that is not listed", "0ms     edge  > alice  100 Trying\n", "", "the edge sent"},
		{"something listed that is not sent", "60s     end", "59s     edge  > bob    OPTIONS sip:bob@example.com\n60s     end", "never sent"},
		{"too early", "2000ms  edge  > alice  200 OK", "2001ms  edge  > alice  200 OK", "the edge sent"},
		{"another order", "0ms     edge  > alice  100 Trying\n0ms     edge  > bob    INVITE sip:bob@example.com\n",
			"0ms     edge  > bob    INVITE sip:bob@example.com\n0ms     edge  > alice  100 Trying\n", "the edge sent"},
		{"another Request-URI", "edge  > bob    ACK sip:bob@192.0.2.20:5060", "edge  > bob    ACK sip:bob@192.0.2.20", "the edge sent"},
		{"another receiver", "edge  > bob    ACK", "edge  > dave   ACK", "the edge sent"},
		{"a copy where none is", "2000ms  edge  > alice  200 OK", "2000ms  edge  > alice  200 OK (again)", "the edge sent"},
		{"another call", "2000ms  edge  > alice  200 OK", "2000ms  edge  > alice  200 OK (call 2)", "the edge sent"},
		{"another method answered", "edge  > bob    200 OK                                  (BYE)", "edge  > bob    200 OK (INFO)", "the edge sent"},
		{"header", "Max-Forwards: 69", "Max-Forwards: 68", "Max-Forwards: 68: it has"},
		{"header that must not be there", "!Route", "!Max-Forwards", "!Max-Forwards: it has"},
		{"part of a header", "Via#2 ~ ;received=198.51.100.1", "Via#2 ~ ;received=198.51.100.2", "it has"},
		{"body", "Body ~ c=IN IP4 192.0.2.20", "Body ~ c=IN IP4 192.0.2.21", "the body is"},
		{"counter", "Begun: 2", "Begun: 3", "Begun is 2"},
		{"something left at the end", "60s     end", "20s     end", "transactions are left"},
		{"a message that nobody could send", "5010ms  alice > edge   200 OK", "5010ms  carol > edge   200 OK", "has received no BYE"},
		{"a lost message", "0ms     edge  > bob    INVITE sip:bob@example.com", "0ms     edge  > bob    INVITE sip:bob@example.com (lost)", "has received no INVITE"},
		{"an unknown note", "0ms     alice > edge   INVITE sip:bob@example.com", "0ms     alice > edge   INVITE sip:bob@example.com (agian)", "unknown note"},
		{"an unknown setting", "record-route always", "record-rout always", "unknown setting"},
		{"away from the route set", "alice > edge   ACK", "alice > bob    ACK", "the first of its route set"},
		{"a second call on the quiet", "5010ms  alice > edge   200 OK", "5005ms  alice > edge   MESSAGE sip:bob@example.com\n5010ms  alice > edge   200 OK", "the edge sent"},
	} {
		t.Run(x.name, func(t *testing.T) {
			bad := strings.Replace(string(text), x.old, x.new, 1)
			if bad == string(text) {
				t.Fatalf("%q is not in the ladder", x.old)
			}
			err := play(bad)
			if err == nil {
				t.Fatal("nobody noticed")
			}
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v\nwant: %s", err, x.want)
			}
		})
	}
}

// TestLadderChecksCatch gives the checks that every message goes through something to find.
func TestLadderChecksCatch(t *testing.T) {
	const in = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n" +
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nX-Kept: 1\r\nX-Kept: 2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody"
	const out = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK2\r\nMax-Breadth: 60\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 69\r\n" +
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nX-Kept: 1\r\nX-Kept: 2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody"
	check := func(b string) error {
		m, err := readMessage([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		m.add("X-Test-Source", "198.51.100.1:5060")
		m.flow.Proto = transport.UDP
		e := &edge{name: "edge", sentBy: "203.0.113.1:5060", in: []*message{m}, branches: map[string]*message{}, mapped: map[string]string{}}
		return e.check("bob", transport.Flow{Proto: transport.UDP}, []byte(b))
	}
	if err := check(out); err != nil {
		t.Fatal("the good one:", err)
	}
	for _, x := range []struct{ name, old, new, want string }{
		{"header order", "X-Kept: 1\r\nX-Kept: 2", "X-Kept: 2\r\nX-Kept: 1", "header lines were changed"},
		{"a byte of a header", "X-Kept: 1", "X-Kept:  1x", "header lines were changed"},
		{"a header too many", "Call-ID: 1", "X-New: 1\r\nCall-ID: 1", "header lines were changed"},
		{"body", "body", "Body", "the body was changed"},
		{"Content-Length", "Content-Length: 4", "Content-Length: 3", "Content-Length"},
		{"Max-Forwards", "Max-Forwards: 69", "Max-Forwards: 70", "Max-Forwards went"},
		{"Via of another", "203.0.113.1", "203.0.113.9", "not ours"},
		{"Via of the sender", "198.51.100.1:5060;branch=z9hG4bK1", "198.51.100.1:5060;branch=z9hG4bK9", "comes from no request"},
		{"cookie", "z9hG4bK2", "x9hG4bK2", "magic cookie"},
		{"Max-Breadth", "Max-Breadth: 60\r\n", "", "Max-Breadth"},
		{"received", "branch=z9hG4bK1\r\nMax-F", "branch=z9hG4bK1;received=192.0.2.9\r\nMax-F", "received is"},
	} {
		t.Run(x.name, func(t *testing.T) {
			err := check(strings.Replace(out, x.old, x.new, 1))
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v\nwant: %s", err, x.want)
			}
		})
	}
}

// TestStreamLaddersCatch is TestLaddersCatch for what ladders say of transports and connections.
func TestStreamLaddersCatch(t *testing.T) {
	for _, x := range []struct{ name, ladder, old, new, want string }{
		{"another connection", "streams/connection_lost_response", "(MESSAGE, connection 2)", "(MESSAGE)", "the edge sent"},
		{"a connection that is still there", "streams/connection_lost_response", "5ms     alice > edge   closes\n", "", "the edge sent"},
		{"somebody who does not listen", "streams/udp_to_tcp", "bob over tcp", "bob over udp", "the edge sent"},
		{"a listener that is not there", "streams/tcp_to_tls", "listen tcp tls", "listen tls", "does not listen on tcp"},
		{"a closed connection", "flows/flow_gone", "5000ms  bob   > edge   BYE", "4000ms  alice > edge   BYE (connection 1)\n5000ms  bob   > edge   BYE", "is closed"},
		{"a far end that dials", "flows/websocket_caller", "alice over ws", "alice over tcp", "does not listen on tcp"},
		{"no Record-Route", "record_route5658/ipv4_to_ipv6", "next-hop six", "next-hop six\nrecord-route never", "Record-Route#1"},
		{"no fall-back", "mtu/back_to_udp", "mtu-switch\nlisten tcp", "mtu-switch\nlisten tcp\nbob also tcp", "it has"},
		{"a token of another kind", "path/nat_udp", "alice behind 198.51.100.99:40001", "alice behind 198.51.100.1:40001", "Path ~"},
	} {
		t.Run(x.name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", "ladders", x.ladder+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			if err := play(string(text)); err != nil {
				t.Fatal("the good one:", err)
			}
			bad := strings.Replace(string(text), x.old, x.new, 1)
			if bad == string(text) {
				t.Fatalf("%q is not in the ladder", x.old)
			}
			if err = play(bad); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v\nwant: %s", err, x.want)
			}
		})
	}
}

// TestStreamChecksCatch is TestLadderChecksCatch for a request that came over TCP and leaves over TLS.
func TestStreamChecksCatch(t *testing.T) {
	const in = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n" +
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nRecord-Route: <sip:p9;lr>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody"
	const out = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TLS 203.0.113.1:5061;branch=z9hG4bK2\r\n" +
		"Record-Route: <sip:203.0.113.1:5061;transport=tls;lr>\r\nRecord-Route: <sip:203.0.113.1:5060;transport=tcp;lr>\r\n" +
		"Max-Breadth: 60\r\nVia: SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 69\r\n" +
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nRecord-Route: <sip:p9;lr>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 4\r\n\r\nbody"
	check := func(b string) error {
		m, err := readMessage([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		m.add("X-Test-Source", "198.51.100.1:5060")
		remote := transport.AddrFrom(netip.MustParseAddrPort("198.51.100.1:5060"))
		m.flow = transport.Flow{Remote: remote, Proto: transport.TCP, Listener: 1}
		at := netip.MustParseAddrPort("203.0.113.1:5060")
		e := &edge{name: "edge", addr: at, in: []*message{m}, branches: map[string]*message{}, mapped: map[string]string{},
			also: []listener{{at, transport.TCP}, {netip.AddrPortFrom(at.Addr(), 5061), transport.TLS}}}
		return e.check("bob", transport.Flow{Remote: remote, Proto: transport.TLS, Listener: 2}, []byte(b))
	}
	if err := check(out); err != nil {
		t.Fatal("the good one:", err)
	}
	for _, x := range []struct{ name, old, new, want string }{
		{"transport of the Via", "SIP/2.0/TLS", "SIP/2.0/TCP", "leaves over tls"},
		{"listener of the Via", "SIP/2.0/TLS 203.0.113.1:5061", "SIP/2.0/TLS 203.0.113.1:5060", "not ours"},
		{"Content-Length", "Content-Length: 4\r\n", "", "no Content-Length"},
		{"one Record-Route", "Record-Route: <sip:203.0.113.1:5060;transport=tcp;lr>\r\n", "", "1 Record-Route values"},
		{"three", "Record-Route: <sip:203.0.113.1:5060;transport=tcp;lr>\r\n",
			"Record-Route: <sip:203.0.113.1:5060;transport=tcp;lr>\r\nRecord-Route: <sip:203.0.113.1:5060;transport=tcp;lr>\r\n", "3 Record-Route values"},
		{"their order", "Record-Route: <sip:203.0.113.1:5061;transport=tls;lr>\r\nRecord-Route: <sip:203.0.113.1:5060;transport=tcp;lr>",
			"Record-Route: <sip:203.0.113.1:5060;transport=tcp;lr>\r\nRecord-Route: <sip:203.0.113.1:5061;transport=tls;lr>", "faces"},
		{"no transport", "<sip:203.0.113.1:5060;transport=tcp;lr>", "<sip:203.0.113.1:5060;lr>", "faces tcp"},
		{"SIPS", "<sip:203.0.113.1:5061;transport=tls;lr>", "<sips:203.0.113.1:5061;lr>", "Record-Route <sips:"},
		{"no lr", ";transport=tcp;lr", ";transport=tcp", "without lr"},
		{"a value of another", "Record-Route: <sip:p9;lr>", "Record-Route: <sip:p8;lr>", "of others were changed"},
	} {
		t.Run(x.name, func(t *testing.T) {
			bad := strings.Replace(out, x.old, x.new, 1)
			if err := check(bad); bad == out || err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v\nwant: %s", err, x.want)
			}
		})
	}
}

func play(text string) error {
	l, err := readLadder(text)
	if err != nil {
		return err
	}
	n := newNetwork(l, false, startRouter)
	defer n.close()
	return n.run()
}
