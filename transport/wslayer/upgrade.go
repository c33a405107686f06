package wslayer

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
)

// upgrade is Next before the upgrade: it waits for the end of the request and judges it.
func (c *Conn) upgrade(b []byte) (int, Event, []byte) {
	if status, why := mistaken(b); status != "" {
		return c.refuse(b, status, "", why)
	}
	window := b[:min(len(b), MaxUpgrade)]
	from := max(int(c.searched), 3) - 3
	i := bytes.Index(window[min(from, len(window)):], []byte("\r\n\r\n"))
	if i < 0 {
		if len(b) >= MaxUpgrade {
			return c.refuse(b, "431 Request Header Fields Too Large", "", "The request is too long.")
		}
		c.searched = uint32(len(b))
		return 0, More, nil
	}
	n := from + i + 4
	r, status, why := parseRequest(b[:n])
	if status == "" {
		status, why = c.rules.judge(&r)
	}
	if status != "" {
		extra := ""
		if status == upgradeRequired {
			// RFC 9110 section 15.5.22 and RFC 6455 section 4.2.2 want these with a 426.
			extra = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		}
		return c.refuse(b, status, extra, why)
	}
	c.state, c.searched = open, 0
	return n, Open, accept(r.key)
}

const getLine = "GET "

// mistaken looks whether the first bytes can be those of an upgrade. SIP over TCP or TLS that came to this port gets its answer
// before a timer has to end it.
func mistaken(b []byte) (status, why string) {
	for i := range min(len(b), len(getLine)) {
		switch {
		case b[i] == getLine[i]:
			continue
		case b[i] >= 'A' && b[i] <= 'Z' || b[i] == ' ' && i > 0:
			return "405 Method Not Allowed", "WebSocket begins with GET."
		}
		return "400 Bad Request", "This is no HTTP."
	}
	return "", ""
}

const (
	badRequest      = "400 Bad Request"
	upgradeRequired = "426 Upgrade Required"
)

// request is what the fields of an upgrade request say. It borrows the request.
type request struct {
	host, origin, key, version     []byte
	hosts, origins, keys, versions int
	websocket, connection, sip     bool
	body                           bool
}

// parseRequest reads a request that ends with an empty line. It is strict: what another HTTP reader in front of us could understand
// differently is refused.
func parseRequest(b []byte) (r request, status, why string) {
	line, rest, _ := bytes.Cut(b, crlf)
	target, version, ok := bytes.Cut(line[len(getLine):], []byte(" "))
	switch {
	case !ok || len(target) == 0 || !printable(target):
		return r, badRequest, "The request line cannot be read."
	case !bytes.Equal(version, []byte("HTTP/1.1")):
		if bytes.HasPrefix(version, []byte("HTTP/")) && printable(version) {
			return r, "505 HTTP Version Not Supported", "WebSocket needs HTTP/1.1."
		}
		return r, badRequest, "The request line cannot be read."
	}
	for {
		line, rest, _ = bytes.Cut(rest, crlf)
		if len(line) == 0 {
			return r, "", ""
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || bytes.ContainsAny(value, "\r\n\x00") {
			return r, badRequest, "A header line cannot be read."
		}
		r.note(name, bytes.Trim(value, " \t"))
	}
}

var crlf = []byte("\r\n")

func (r *request) note(name, value []byte) {
	switch is := func(s string) bool { return bytes.EqualFold(name, []byte(s)) }; {
	case is("Host"):
		r.host = value
		r.hosts++
	case is("Origin"):
		r.origin = value
		r.origins++
	case is("Sec-WebSocket-Key"):
		r.key = value
		r.keys++
	case is("Sec-WebSocket-Version"):
		r.version = value
		r.versions++
	case is("Upgrade"):
		r.websocket = r.websocket || contains(value, "websocket", bytes.EqualFold)
	case is("Connection"):
		r.connection = r.connection || contains(value, "upgrade", bytes.EqualFold)
	case is("Sec-WebSocket-Protocol"):
		// Subprotocol names are compared as they are: a browser drops a connection whose answer has another spelling than its page asked for.
		r.sip = r.sip || contains(value, "sip", bytes.Equal)
	case is("Content-Length"):
		r.body = r.body || !bytes.Equal(value, []byte("0"))
	case is("Transfer-Encoding"):
		r.body = true
	}
}

// judge is RFC 6455 section 4.2.1, and 4.1 of RFC 7118: "The client MUST include the value "sip" in the Sec-WebSocket-Protocol header in its handshake
// request."
func (r *Rules) judge(q *request) (status, why string) {
	var key [24]byte
	size, err := base64.StdEncoding.Strict().Decode(key[:], q.key[:min(len(q.key), 32)])
	switch {
	case q.hosts != 1 || len(q.host) == 0:
		return badRequest, "One Host header is needed."
	case !q.websocket || !q.connection:
		return upgradeRequired, "This port speaks WebSocket with the subprotocol sip (RFC 7118)."
	case q.versions != 1 || !bytes.Equal(q.version, []byte("13")):
		return upgradeRequired, "WebSocket version 13 is needed."
	case q.keys != 1 || size != 16 || err != nil:
		return badRequest, "Sec-WebSocket-Key has to be 16 bytes in base64."
	case q.body:
		return badRequest, "An upgrade request has no body."
	case q.origins > 1 || !r.Origins.allow(q.origin, q.origins == 1):
		return "403 Forbidden", "Pages of this origin may not connect."
	case !q.sip:
		return badRequest, "Sec-WebSocket-Protocol has to offer sip (RFC 7118 section 4.1)."
	}
	return "", ""
}

// accept is the response to a good request. "The 101 reply from the server MUST contain "sip" in its corresponding Sec-WebSocket-Protocol
// header." RFC 7118 section 4.1. No extension is agreed to.
func accept(key []byte) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 section 1.3
	h := sha1.Sum(append(bytes.Clone(key), guid...))
	b := make([]byte, 0, 192)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, h[:])
	return append(b, "\r\n\r\n"...)
}

// refuse ends a connection before it was one.
func (c *Conn) refuse(b []byte, status, extra, why string) (int, Event, []byte) {
	c.state, c.searched = closed, 0
	if status[:3] == "405" {
		extra = "Allow: GET\r\n"
	}
	return len(b), Close, fmt.Appendf(nil, "HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\n", status, extra, len(why)+1, why)
}

// contains tells whether a list with commas has want.
func contains(list []byte, want string, equal func(a, b []byte) bool) bool {
	for e := range bytes.SplitSeq(list, []byte(",")) {
		if equal(bytes.Trim(e, " \t"), []byte(want)) {
			return true
		}
	}
	return false
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0) {
			return false
		}
	}
	return len(b) > 0
}

func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
