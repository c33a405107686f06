package router_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sipedge/transport"
)

// message is a SIP message as the actors see it. It has a reader of its own, simple and apart from the parser under
// test, so that a fault of that parser cannot hide itself.
type message struct {
	start   string
	headers []header
	body    string
	raw     []byte         // as received by an edge
	flow    transport.Flow // by which an edge received it
	conn    *conn          // by which an actor received it; nil: UDP
}

type header struct{ name, value string }

var compactForms = map[string]string{"i": "call-id", "m": "contact", "l": "content-length", "c": "content-type",
	"e": "content-encoding", "f": "from", "s": "subject", "k": "supported", "t": "to", "v": "via"}

func sameName(a, b string) bool {
	full := func(s string) string {
		s = strings.ToLower(s)
		if long, ok := compactForms[s]; ok {
			return long
		}
		return s
	}
	return full(a) == full(b)
}

func readMessage(b []byte) (*message, error) {
	head, body, ok := strings.Cut(string(b), "\r\n\r\n")
	if !ok {
		return nil, fmt.Errorf("no empty line")
	}
	m := &message{body: body}
	for i, s := range strings.Split(head, "\r\n") {
		if i == 0 {
			m.start = s
			continue
		}
		if s != "" && (s[0] == ' ' || s[0] == '\t') && len(m.headers) > 0 {
			m.headers[len(m.headers)-1].value += "\r\n" + s
			continue
		}
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return nil, fmt.Errorf("no colon in %q", s)
		}
		m.headers = append(m.headers, header{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return m, nil
}

func (m *message) bytes() []byte {
	var s strings.Builder
	s.WriteString(m.start + "\r\n")
	for _, h := range m.headers {
		s.WriteString(h.name + ": " + h.value + "\r\n")
	}
	s.WriteString("\r\n" + m.body)
	return []byte(s.String())
}

func (m *message) clone() *message {
	c := *m
	c.headers = slices.Clone(m.headers)
	return &c
}

func (m *message) request() bool { return !strings.HasPrefix(m.start, "SIP/2.0 ") }

// method is that of the request line, or for a response of the CSeq.
func (m *message) method() string {
	if m.request() {
		s, _, _ := strings.Cut(m.start, " ")
		return s
	}
	_, method := m.cseq()
	return method
}

func (m *message) uri() string {
	_, rest, _ := strings.Cut(m.start, " ")
	uri, _, _ := strings.Cut(rest, " ")
	return uri
}

func (m *message) status() int {
	if m.request() || len(m.start) < 11 {
		return 0
	}
	n, _ := strconv.Atoi(m.start[8:11])
	return n
}

// line is the start line as ladders show it.
func (m *message) line() string {
	if m.request() {
		return strings.TrimSuffix(m.start, " SIP/2.0")
	}
	return strings.TrimPrefix(m.start, "SIP/2.0 ")
}

func (m *message) cseq() (number int, method string) {
	n, method, _ := strings.Cut(m.get("CSeq"), " ")
	number, _ = strconv.Atoi(n)
	return number, strings.TrimSpace(method)
}

// get returns the first value line of a header, "" when there is none.
func (m *message) get(name string) string {
	for _, h := range m.headers {
		if sameName(h.name, name) {
			return h.value
		}
	}
	return ""
}

func (m *message) has(name string) bool {
	return slices.ContainsFunc(m.headers, func(h header) bool { return sameName(h.name, name) })
}

// values returns every value of a header, line by line and comma by comma.
func (m *message) values(name string) []string {
	var all []string
	for _, h := range m.headers {
		switch {
		case !sameName(h.name, name):
		case strings.Contains(strings.ToLower(name), "auth"):
			all = append(all, h.value) // "The syntax for [...] header fields [of authentication] does not follow the general rule": RFC 3261 section 7.3
		default:
			all = append(all, splitValues(h.value)...)
		}
	}
	return all
}

func splitValues(s string) []string {
	var all []string
	quoted, angle, from := false, false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			all = append(all, strings.TrimSpace(s[from:i]))
			from = i + 1
		}
	}
	return append(all, strings.TrimSpace(s[from:]))
}

func (m *message) remove(name string) {
	m.headers = slices.DeleteFunc(m.headers, func(h header) bool { return sameName(h.name, name) })
}

// set replaces the header where it first stands, or adds it at the end.
func (m *message) set(name, value string) {
	i := slices.IndexFunc(m.headers, func(h header) bool { return sameName(h.name, name) })
	if i < 0 {
		m.add(name, value)
		return
	}
	m.headers[i] = header{name, value}
	rest := slices.DeleteFunc(m.headers[i+1:], func(h header) bool { return sameName(h.name, name) })
	m.headers = m.headers[:i+1+len(rest)]
}

func (m *message) add(name, value string) { m.headers = append(m.headers, header{name, value}) }

func (m *message) addTop(name, value string) {
	m.headers = slices.Insert(m.headers, 0, header{name, value})
}

// setBody sets the body with its Content-Type and Content-Length.
func (m *message) setBody(contentType, body string) {
	m.body = body
	if body == "" {
		m.remove("Content-Type")
	} else {
		m.set("Content-Type", contentType)
	}
	m.set("Content-Length", strconv.Itoa(len(body)))
}

// param returns a parameter of a header value; those inside of angle brackets do not count.
func param(value, name string) (string, bool) {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	for i, p := range strings.Split(value, ";") {
		k, v, _ := strings.Cut(p, "=")
		if i > 0 && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

func (m *message) tag(name string) string {
	tag, _ := param(m.get(name), "tag")
	return tag
}

// uriOf returns the URI of a name-addr or addr-spec.
func uriOf(value string) string {
	if _, rest, ok := strings.Cut(value, "<"); ok {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}

// hostPort returns the host and port of a SIP URI, or of a Via's sent-by.
func hostPort(uri string) string {
	s := uri
	for _, scheme := range []string{"sips:", "sip:"} {
		s = strings.TrimPrefix(s, scheme)
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	if i := strings.IndexAny(s, ";?"); i >= 0 {
		s = s[:i]
	}
	if strings.LastIndexByte(s, ':') <= strings.LastIndexByte(s, ']') {
		s += ":5060"
	}
	return s
}

// sentBy returns the host and port of a Via value.
func sentBy(via string) string {
	_, rest, _ := strings.Cut(strings.TrimSpace(via), " ")
	rest, _, _ = strings.Cut(rest, ";")
	return hostPort(strings.TrimSpace(rest))
}
