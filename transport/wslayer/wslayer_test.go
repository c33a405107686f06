package wslayer

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"sipedge/parser"
)

const hello = "GET /sip?x=1 HTTP/1.1\r\nHost: edge.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://www.example.com\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"

// welcome has the Sec-WebSocket-Accept that RFC 6455 section 1.3 computes for that key.
const welcome = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: sip\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// frame is a client's frame. first is the first byte: FIN, RSV, opcode.
func frame(first byte, payload string) string {
	f := ws.Frame{Header: ws.Header{Fin: first&0x80 != 0, Rsv: first >> 4 & 7, OpCode: ws.OpCode(first & 15), Length: int64(len(payload))}, Payload: []byte(payload)}
	var b bytes.Buffer
	if err := ws.WriteFrame(&b, ws.MaskFrameWith(f, [4]byte{0x37, 0xfa, 0x21, 0x3d})); err != nil {
		panic(err)
	}
	return b.String()
}

// readFrame reads a frame as another implementation does.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	if f.Header.Length > 1<<20 {
		return f, fmt.Errorf("a frame of %d bytes", f.Header.Length)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// play shows b to a connection as an event loop does, in pieces, and says what came out. Bytes that were consumed are overwritten after each
// event, and the buffer moves with each piece: what the connection kept of it would show.
func play(t testing.TB, c *Conn, b string, piece func(i int) int) (events []string) {
	t.Helper()
	var shown []byte
	sent := 0
	for i := 0; ; i++ {
		for {
			if need := c.Need(); len(shown) < need && need > int(c.rules.limit())+maxOverhead {
				t.Fatalf("needs %d bytes", need)
			}
			n, ev, payload := c.Next(shown)
			if n < 0 || n > len(shown) {
				t.Fatalf("%d bytes of %d", n, len(shown))
			}
			switch ev {
			case More:
			case Open:
				events = append(events, "open "+string(payload))
			case Message:
				events = append(events, "message "+string(payload))
			case Answer:
				events = append(events, "answer "+string(payload))
			case Close:
				if len(payload) > 0 || len(events) == 0 || !strings.HasPrefix(events[len(events)-1], "close") {
					events = append(events, "close "+string(payload))
				}
				if n, ev, payload := c.Next(shown[n:]); ev != Close || len(payload) != 0 || n > len(shown) {
					t.Fatalf("after Close: %d %d %q", n, ev, payload)
				}
				return events
			}
			clear(shown[:n])
			shown = shown[n:]
			if ev == More {
				break
			}
		}
		if len(shown) > max(int(c.rules.limit())+maxOverhead+14, MaxUpgrade) {
			t.Fatalf("%d bytes have to be kept", len(shown))
		}
		if sent == len(b) {
			return events
		}
		k := min(piece(i), len(b)-sent)
		shown = append(bytes.Clone(shown), b[sent:sent+k]...)
		sent += k
	}
}

func whole(int) int   { return 1 << 30 }
func oneByte(int) int { return 1 }

// wants plays b in all deliveries, and wants the same events from each: whole, each byte, split in two at every place.
func wants(t *testing.T, rules Rules, started bool, b string, want ...string) {
	t.Helper()
	try := func(how string, piece func(int) int) {
		t.Helper()
		c := NewConn(&rules)
		if started {
			c.state = open
		}
		got := play(t, &c, b, piece)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s:\ngot  %.300q\nwant %.300q", how, got, want)
		}
	}
	try("whole", whole)
	if len(b) > 100_000 {
		try("in segments", func(int) int { return 1448 })
		return
	}
	try("each byte", oneByte)
	for cut := 1; cut < len(b) && len(b) < 2000; cut++ {
		try(fmt.Sprint("cut at ", cut), func(i int) int {
			if i == 0 {
				return cut
			}
			return len(b)
		})
	}
}

const sip = "OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK1\r\n\r\n"

func TestFrames(t *testing.T) {
	f := func(b string, want ...string) { t.Helper(); wants(t, Rules{}, true, b, want...) }
	long := strings.Repeat("x", 70_000)
	f(frame(0x81, sip), "message "+sip)
	f(frame(0x82, sip), "message "+sip)
	f(frame(0x82, sip+"\xff\x00"), "message "+sip+"\xff\x00")
	f(frame(0x81, sip+"ü"), "message "+sip+"ü")
	f(frame(0x81, sip)+frame(0x82, sip)+frame(0x81, "x"), "message "+sip, "message "+sip, "message x")
	f(frame(0x81, long[:125])+frame(0x81, long[:126])+frame(0x81, long[:127]), "message "+long[:125], "message "+long[:126], "message "+long[:127])
	f(frame(0x81, long[:65535])+frame(0x81, long[:65536]), "message "+long[:65535], "message "+long[:65536])
	// Fragments, and control frames between them (RFC 6455 section 5.4).
	f(frame(0x01, sip[:5])+frame(0x00, sip[5:9])+frame(0x80, sip[9:])+frame(0x81, sip), "message "+sip, "message "+sip)
	f(frame(0x02, "")+frame(0x00, "")+frame(0x80, sip), "message "+sip)
	f(frame(0x01, sip)+frame(0x80, ""), "message "+sip)
	f(frame(0x01, sip[:5])+frame(0x89, "are you there?")+frame(0x8a, "")+frame(0x00, sip[5:9])+frame(0x89, "")+frame(0x80, sip[9:])+frame(0x89, "1"),
		"answer \x8a\x0eare you there?", "answer \x8a\x00", "message "+sip, "answer \x8a\x011")
	f(frame(0x89, long[:125])+frame(0x8a, "pong nobody asked for")+frame(0x81, sip), "answer \x8a\x7d"+long[:125], "message "+sip)
	f(frame(0x02, sip[:5])+frame(0x80, "\xff"), "message "+sip[:5]+"\xff")
	// A character may be cut by fragments.
	f(frame(0x01, sip+"\xc3")+frame(0x80, "\xbc"), "message "+sip+"ü")
	// RFC 7118 section 6: the keep-alive of RFC 5626.
	f(frame(0x81, "\r\n\r\n")+frame(0x81, sip), "answer \x81\x02\r\n", "message "+sip)
	f(frame(0x02, "\r\n")+frame(0x80, "\r\n"), "answer \x81\x02\r\n")
	f(frame(0x81, "\r\n")+frame(0x81, "")+frame(0x81, sip), "message "+sip)
	f(frame(0x81, "\r\n\r\n"+sip), "message \r\n\r\n"+sip)
}

func TestFaults(t *testing.T) {
	f := func(b string, code ws.StatusCode, why string) {
		t.Helper()
		wants(t, Rules{Limit: 1000}, true, frame(0x81, sip)+b+frame(0x81, "too late"), "message "+sip, "close "+string(AppendClose(nil, uint16(code), why)))
	}
	long := strings.Repeat("x", 1001)
	f("\x81\x05hello", 1002, "frames from client to server must be masked")
	f(frame(0xc1, sip), 1002, "non-zero rsv bits with no extension negotiated")
	f(frame(0x91, sip), 1002, "non-zero rsv bits with no extension negotiated")
	f(frame(0x83, ""), 1002, "use of reserved op code")
	f(frame(0x8b, ""), 1002, "use of reserved op code")
	f(frame(0x09, ""), 1002, "control frame is not final")
	f(frame(0x89, long[:126]), 1002, "control frame payload limit exceeded")
	f(frame(0x88, long[:126]), 1002, "control frame payload limit exceeded")
	f(frame(0x80, "x"), 1002, "unexpected continuation data frame")
	f(frame(0x01, "x")+frame(0x81, "x"), 1002, "unexpected non-continuation data frame")
	f("\x81\xfe\x00\x05mask", 1002, "the length is not in its shortest form")
	f("\x81\xff\x00\x00\x00\x00\x00\x00\xff\xffmask", 1002, "the length is not in its shortest form")
	f("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffmask", 1002, "the length is not in its shortest form")
	f("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask", 1009, "the message is too long")
	f(frame(0x81, long), 1009, "the message is too long")
	f(frame(0x01, long[:600])+frame(0x80, long[:401]), 1009, "the message is too long")
	f(frame(0x81, "\xff"), 1007, "text that is not UTF-8; send it as binary")
	f(frame(0x01, "\xc3")+frame(0x89, "")[:0]+frame(0x80, "x"), 1007, "text that is not UTF-8; send it as binary")
	f(frame(0x88, "\x03"), 1002, "half a status code")
	f(frame(0x88, "\x03\xe8\xff"), 1007, "a reason that is not UTF-8")
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535} {
		f(frame(0x88, string([]byte{byte(code >> 8), byte(code)})), 1002, "no such status code")
	}
	// Exactly the limit passes, again and again.
	pieces := frame(0x01, long[:600]) + frame(0x80, long[:400])
	wants(t, Rules{Limit: 1000}, true, pieces+pieces, "message "+long[:1000], "message "+long[:1000])
	wants(t, Rules{Limit: 1000}, true, frame(0x81, long[:1000])+frame(0x01, long[:600])+frame(0x80, long[:400]), "message "+long[:1000], "message "+long[:1000])
}

func TestClose(t *testing.T) {
	f := func(b, want string) {
		t.Helper()
		wants(t, Rules{}, true, b+frame(0x81, "too late"), "close "+want)
		wants(t, Rules{}, true, frame(0x01, "half")+b, "close "+want)
	}
	f(frame(0x88, ""), "\x88\x00")
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999} {
		c := string([]byte{byte(code >> 8), byte(code)})
		f(frame(0x88, c), "\x88\x02"+c)
		f(frame(0x88, c+"bye"), "\x88\x02"+c)
	}
	if got := AppendClose([]byte("x"), 1001, strings.Repeat("y", 200)); len(got) != 1+2+maxControl || got[2] != maxControl {
		t.Errorf("%q", got)
	}
}

// What waits in the caller's buffer is bounded, whatever the fragments are.
func TestTooManyPieces(t *testing.T) {
	pieces, long := AppendClose(nil, 1008, "the message is in too many pieces"), AppendClose(nil, 1009, "the message is too long")
	for filler, want := range map[string][]byte{
		frame(0x00, ""):                       pieces,
		frame(0x00, "x"):                      long,
		frame(0x89, strings.Repeat("p", 125)): pieces,
		frame(0x8a, ""):                       pieces,
	} {
		b := frame(0x01, "x") + strings.Repeat(filler, (maxOverhead+3000)/len(filler))
		c := NewConn(&Rules{Limit: 1000})
		c.state = open
		events := play(t, &c, b, func(int) int { return 1448 })
		if last := events[len(events)-1]; last != "close "+string(want) {
			t.Errorf("fragments and fillers like %.10q end with %q", filler, last)
		}
	}
	// Far fewer than the bound are no problem: 1 MiB in 8 KB pieces, pings between.
	big := strings.Repeat("y", parser.MaxStreamMessage)
	b := frame(0x02, "")
	for i := 0; i < len(big); i += 8192 {
		b += frame(0x00, big[i:i+8192]) + frame(0x89, "")
	}
	b += frame(0x80, "")
	c := NewConn(&Rules{})
	c.state = open
	events := play(t, &c, b, func(int) int { return 60_000 })
	if len(events) != 129 || events[128] != "message "+big {
		t.Errorf("%d events", len(events))
	}
}

func TestUpgrade(t *testing.T) {
	f := func(request string, want ...string) { t.Helper(); wants(t, Rules{}, false, request, want...) }
	f(hello, "open "+welcome)
	f(hello+frame(0x81, sip)+frame(0x88, ""), "open "+welcome, "message "+sip, "close \x88\x00")
	swap := func(old, new string) string {
		t.Helper()
		if !strings.Contains(hello, old) {
			t.Fatal(old)
		}
		return strings.Replace(hello, old, new, 1)
	}
	for _, good := range []string{
		swap("Host: edge.example.com", "host:edge.example.com"),
		swap("Upgrade: websocket", "UPGRADE: h2c, WebSocket"),
		swap("keep-alive, Upgrade", "\tupgrade ,x"),
		swap("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
		swap("Sec-WebSocket-Protocol: sip", "Sec-WebSocket-Protocol: mqtt, sip"),
		swap("Sec-WebSocket-Protocol: sip", "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Protocol: sip"),
		swap("Origin: https://www.example.com\r\n", ""),
		swap("Version: 13\r\n", "Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nCookie: a=b\r\nContent-Length: 0\r\n"),
	} {
		f(good, "open "+welcome)
	}
	refused := func(request, status string, parts ...string) {
		t.Helper()
		for _, piece := range []func(int) int{whole, oneByte, func(int) int { return 7 }} {
			c := NewConn(&Rules{})
			got := play(t, &c, request, piece)
			if len(got) != 1 || !strings.HasPrefix(got[0], "close HTTP/1.1 "+status+" ") || !strings.Contains(got[0], "\r\nConnection: close\r\n") {
				t.Errorf("%q: %q, want %s", request, got, status)
				continue
			}
			for _, part := range parts {
				if !strings.Contains(got[0], part) {
					t.Errorf("%q: %q does not say %q", request, got, part)
				}
			}
			head, body, _ := strings.Cut(got[0], "\r\n\r\n")
			if !strings.Contains(head, fmt.Sprintf("Content-Length: %d", len(body))) {
				t.Errorf("Content-Length of %q", got)
			}
			if c.Established() {
				t.Error("established")
			}
		}
	}
	refused(swap("GET ", "POST "), "405", "Allow: GET")
	refused("OPTIONS sip:a@example.com SIP/2.0\r\n", "405")
	refused("\x16\x03\x01\x02\x00\x01", "400")
	refused("\r\n\r\n", "400")
	refused("get / HTTP/1.1\r\n\r\n", "400")
	refused(swap("HTTP/1.1", "HTTP/1.0"), "505")
	refused(swap("HTTP/1.1", "HTTP/2.0"), "505")
	refused(swap("HTTP/1.1", "SIP/2.0"), "400")
	refused(swap(" HTTP/1.1", ""), "400")
	refused(swap("/sip?x=1 ", " "), "400")
	refused(swap("Host: edge.example.com\r\n", ""), "400", "Host")
	refused(swap("Host: edge.example.com\r\n", "Host: \r\n"), "400", "Host")
	refused(swap("Host: edge.example.com\r\n", "Host: a\r\nHost: a\r\n"), "400", "Host")
	refused(swap("Host: edge", " folded"), "400", "header line")
	refused(swap("Host: edge", "Host : edge"), "400", "header line")
	refused(swap("Host: edge", ": edge"), "400", "header line")
	refused(swap("Host: edge", "Host edge"), "400", "header line")
	refused(swap("Host: edge", "Host: \nedge"), "400", "header line")
	refused(swap("Host: edge", "Host: \redge"), "400", "header line")
	refused(swap("Upgrade: websocket\r\n", ""), "426", "Upgrade: websocket\r\n", "Sec-WebSocket-Version: 13\r\n")
	refused(swap("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"), "426")
	refused(swap("keep-alive, Upgrade", "keep-alive"), "426")
	refused(swap("Version: 13", "Version: 8"), "426", "Sec-WebSocket-Version: 13\r\n")
	refused(swap("Sec-WebSocket-Version: 13\r\n", ""), "426")
	refused(swap("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13"), "426")
	refused(swap("/sip?x=1", "/sip\tx"), "400")
	refused(swap("/sip?x=1", "/sip\rx"), "400")
	refused(swap("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400", "Key")
	for _, key := range []string{"dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25j*Q==", strings.Repeat("A", 300), ""} {
		refused(swap("dGhlIHNhbXBsZSBub25jZQ==", key), "400", "Key")
	}
	refused(swap("Origin: ", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: "), "400", "Key")
	// RFC 7118 section 4.1: the client MUST offer sip.
	refused(swap("Sec-WebSocket-Protocol: sip\r\n", ""), "400", "Sec-WebSocket-Protocol")
	refused(swap("Protocol: sip", "Protocol: xmpp, sips, SIP"), "400", "Sec-WebSocket-Protocol")
	refused(swap("Host: edge", "Content-Length: 5\r\nHost: edge"), "400", "body")
	refused(swap("Host: edge", "Transfer-Encoding: chunked\r\nHost: edge"), "400", "body")
	// The size limit: 8192 bytes pass, one more does not, and an end that never comes is not waited for.
	pad := func(n int) string {
		return swap("Host: edge", "X: "+strings.Repeat("x", n-len(hello)-len("X: \r\n"))+"\r\nHost: edge")
	}
	f(pad(MaxUpgrade), "open "+welcome)
	refused(pad(MaxUpgrade+1), "431")
	refused("GET /"+strings.Repeat("x", 10*MaxUpgrade), "431")
}

func TestOrigins(t *testing.T) {
	f := func(list, origin string, want bool) {
		t.Helper()
		o, err := ParseOrigins(strings.Fields(list))
		if err != nil {
			t.Fatal(err)
		}
		c := NewConn(&Rules{Origins: o})
		got := play(t, &c, strings.Replace(hello, "https://www.example.com", origin, 1), whole)
		if status := got[0][:len("close HTTP/1.1 403")]; want != (got[0] == "open "+welcome) || !want && status != "close HTTP/1.1 403" {
			t.Errorf("%q with %q: %q", origin, list, got)
		}
	}
	f("", "https://anything.example", true)
	f("*", "https://anything.example", true)
	f("https://a.example https://www.example.com", "https://www.example.com", true)
	f("HTTPS://WWW.example.com:443/", "https://www.Example.com", true)
	f("http://www.example.com", "http://www.example.com:80", true)
	f("https://www.example.com", "http://www.example.com", false)
	f("https://www.example.com", "https://www.example.com:8443", false)
	f("https://www.example.com", "https://www.example.com.evil.example", false)
	f("https://www.example.com", "https://evil.example/https://www.example.com", false)
	f("https://*.example.com", "https://www.example.com", true)
	f("https://*.example.com", "https://a.b.example.com:443", true)
	f("https://*.example.com", "https://example.com", false)
	f("https://*.example.com", "https://.example.com", false)
	f("https://*.example.com", "https://evilexample.com", false)
	f("https://*.example.com", "http://www.example.com", false)
	f("https://*.example.com", "https://www.example.com:8443", false)
	f("https://*.example.com", "https://evil.example/x.example.com", false)
	f("https://*.example.com", "https://evil.example#.example.com", false)
	f("https://*.example.com:8443", "https://www.example.com:8443", true)
	f("https://*.example.com", "null", false)
	f("https://a.example null", "null", true)
	f("https://a.example", "", false)
	for _, bad := range []string{"www.example.com", "https://", "://x", "https://example.com/path", "https://*", "https://*.", "https://a.*.example", "https://*a.example", "https://*.*.example", "https://x@y", ""} {
		if _, err := ParseOrigins([]string{bad}); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
	// Without the header it is no browser.
	o, _ := ParseOrigins([]string{"https://a.example"})
	c := NewConn(&Rules{Origins: o})
	if got := play(t, &c, strings.Replace(hello, "Origin: https://www.example.com\r\n", "", 1), whole); got[0] != "open "+welcome {
		t.Errorf("%q", got)
	}
	c = NewConn(&Rules{Origins: o})
	twice := strings.Replace(hello, "https://www.example.com", "https://a.example\r\nOrigin: https://a.example", 1)
	if got := play(t, &c, twice, whole); !strings.HasPrefix(got[0], "close HTTP/1.1 403") {
		t.Errorf("%q", got)
	}
}

// What we send, as another implementation reads it.
func TestAppend(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 300_000} {
		for _, c := range []struct {
			last string
			op   ws.OpCode
		}{{"x", ws.OpText}, {"\xff", ws.OpBinary}} {
			m := []byte(strings.Repeat("a", max(n-1, 0)) + c.last)[:n]
			if n == 0 {
				c.op = ws.OpText
			}
			b := Append([]byte("before"), m)
			f, err := readFrame(bytes.NewReader(b[6:]))
			if err != nil || f.Header.OpCode != c.op || !f.Header.Fin || f.Header.Masked || f.Header.Rsv != 0 || !bytes.Equal(f.Payload, m) || string(b[:6]) != "before" {
				t.Errorf("%d bytes: %+v, %v", n, f.Header, err)
			}
			if want := ws.HeaderSize(f.Header) + 6 + n; len(b) != want {
				t.Errorf("%d bytes became %d, want %d", n, len(b), want)
			}
		}
	}
	if f, err := readFrame(bytes.NewReader(AppendPing(nil))); err != nil || f.Header.OpCode != ws.OpPing || len(f.Payload) != 0 {
		t.Error(f, err)
	}
}

// A client that others wrote, over a socket, which splits as it likes.
func TestClientOfOthers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- echo(l) }()
	d := ws.Dialer{Protocols: []string{"sip"}}
	conn, _, hs, err := d.Dial(t.Context(), "ws://"+l.Addr().String()+"/")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if hs.Protocol != "sip" || len(hs.Extensions) != 0 {
		t.Errorf("%+v", hs)
	}
	for i, n := range []int{1, 500, 70_000, 300_000} {
		m := []byte(strings.Repeat("ab", n/2+1)[:n])
		if i%2 == 1 {
			m[0] = 0xff
			err = wsutil.WriteClientBinary(conn, m)
		} else {
			err = wsutil.WriteClientText(conn, m)
		}
		if err != nil {
			t.Fatal(err)
		}
		got, op, err := wsutil.ReadServerData(conn)
		if err != nil || !bytes.Equal(got, m) || (op == ws.OpBinary) != (i%2 == 1) {
			t.Fatalf("%d bytes: %d back, op %d, %v", n, len(got), op, err)
		}
	}
	w := wsutil.NewWriterSize(conn, ws.StateClientSide, ws.OpText, 100) // sends fragments of 100
	io.WriteString(w, strings.Repeat("fragment ", 100))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, _, err := wsutil.ReadServerData(conn); err != nil || string(got) != strings.Repeat("fragment ", 100) {
		t.Fatalf("%q, %v", got, err)
	}
	wsutil.WriteClientMessage(conn, ws.OpPing, []byte("hi"))
	if f, err := readFrame(conn); err != nil || f.Header.OpCode != ws.OpPong || string(f.Payload) != "hi" {
		t.Fatal(f, err)
	}
	wsutil.WriteClientMessage(conn, ws.OpClose, ws.NewCloseFrameBody(ws.StatusGoingAway, "bye"))
	if f, err := readFrame(conn); err != nil || f.Header.OpCode != ws.OpClose || !bytes.Equal(f.Payload, []byte{3, 233}) {
		t.Fatal(f, err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func echo(l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	c := NewConn(&Rules{})
	var b []byte
	in := make([]byte, 4096)
	for {
		n, ev, payload := c.Next(b)
		switch ev {
		case More:
			b = b[n:]
			k, err := conn.Read(in)
			if err != nil {
				return err
			}
			b = append(b, in[:k]...)
			continue
		case Message:
			payload = Append(nil, payload)
		}
		if _, err := conn.Write(payload); err != nil || ev == Close {
			return err
		}
		b = b[n:]
	}
}

// Random conversations, in random pieces, fragmented anywhere.
func TestRandomStreams(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		b, want := hello, []string{"open " + welcome}
		for range r.IntN(10) {
			switch r.IntN(4) {
			case 0:
				p := strings.Repeat("p", r.IntN(126))
				b += frame(0x89, p)
				want = append(want, "answer \x8a"+string(byte(len(p)))+p)
			default:
				m := strings.Repeat(sip, 1+r.IntN(5))[:1+r.IntN(len(sip))]
				want = append(want, "message "+m)
				first := byte(0x01)
				for rest := m; ; first = 0x00 {
					k := r.IntN(len(rest) + 1)
					if r.IntN(3) == 0 {
						b += frame(first|0x80, rest)
						break
					}
					b += frame(first, rest[:k])
					rest = rest[k:]
				}
			}
		}
		most := 1 + r.IntN(300)
		c := NewConn(&Rules{})
		if got := play(t, &c, b, func(int) int { return 1 + r.IntN(most) }); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// Need tells how much room a caller has to make, as soon as the header is there, and is bounded by what judge lets pass.
func TestNeed(t *testing.T) {
	c := NewConn(&Rules{})
	c.state = open
	first, ping, second := frame(0x01, sip), frame(0x89, "ping"), frame(0x80, strings.Repeat("x", 70_000))
	for _, k := range []struct {
		shown string
		need  int
	}{
		{first[:1], 0}, {first[:6], len(first)}, {first, 0}, {first + ping[:6], len(first + ping)},
		{first + second[:13], 0}, {first + second[:14], len(first + second)}, {first + second[:100], len(first + second)},
	} {
		if strings.HasPrefix(k.shown, first+second[:13]) {
			c.need = 0 // the ping of the line before never came
		}
		if n, ev, _ := c.Next([]byte(k.shown)); n != 0 || ev != More || c.Need() != k.need {
			t.Errorf("%d bytes shown: event %d, %d consumed, %d needed, want %d", len(k.shown), ev, n, c.Need(), k.need)
		}
	}
}

func TestConnIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > 32 {
		t.Errorf("a Conn has %d bytes", n)
	}
}
