package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the same zones everywhere, whatever the machine has installed

	"go.yaml.in/yaml/v4"

	"sipedge/transport"
)

// The values of one word or line in a policy file, each with how it is read and what is said when it is wrong.

// words of the choices, in the order of messages and the schema.
func (Select) words() []string {
	return []string{string(SelectPriority), string(SelectRoundRobin), string(SelectWeight), string(SelectHash), string(SelectLeastCalls)}
}
func (HashBy) words() []string {
	return []string{string(HashCallID), string(HashFrom), string(HashTo)}
}
func (Overflow) words() []string   { return []string{string(OverflowNext), string(OverflowReject)} }
func (RequestURI) words() []string { return []string{string(KeepHost), string(GatewayHost)} }
func (Mode) words() []string       { return []string{string(Stateful), string(Stateless)} }
func (Each) words() []string {
	return []string{string(EachAddress), string(EachPrefix), string(EachAll)}
}
func (Over) words() []string { return []string{string(OverDrop), string(OverReject)} }

func checkWord(s string, words []string) error {
	if slices.Contains(words, s) {
		return nil
	}
	if w := nearest(s, words); w != "" {
		return fmt.Errorf("%q is none of %s; did you mean %q?", s, oneOf(words), w)
	}
	return fmt.Errorf("%q is none of %s", s, oneOf(words))
}

// checkText is for any text: it may end up in a header field.
func checkText(s string) error {
	if s == "" {
		return fmt.Errorf("the value is empty")
	}
	if len(s) > maxPolicyText {
		return fmt.Errorf("%d bytes; at most %d", len(s), maxPolicyText)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("%q has a control character", s)
	}
	return nil
}

// checkName is for names that people give to peers, groups and so on. They begin with a letter, so that nothing that
// begins with a digit or + can be taken for one.
func checkName(s string) error {
	ok := s != "" && len(s) <= maxPolicyName
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		ok = ok && (letter || i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '_'))
	}
	switch {
	case !ok:
		return fmt.Errorf("%q is no name; a name is a letter and up to %d letters, digits, - and _", s, maxPolicyName-1)
	case s == "any" || s == "none":
		return fmt.Errorf("%q has a meaning of its own in routes; take another name", s)
	}
	return nil
}

// splitRange takes the tag "range" apart.
func splitRange(tag string) (least, most string) {
	least, most, _ = strings.Cut(tag, "..")
	return least, most
}

func setRangedDuration(v reflect.Value, s, tag string) error {
	least, most := splitRange(tag)
	value, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no duration with a unit, as in 500ms, 2s or 3m", s)
	}
	a, _ := time.ParseDuration(least)
	b, _ := time.ParseDuration(most)
	if value < a || value > b {
		return fmt.Errorf("%v is not within %s and %s", value, least, most)
	}
	v.SetInt(int64(value))
	return nil
}

func setRangedInt(v reflect.Value, s, tag string) error {
	least, most := splitRange(tag)
	value, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no whole number", s)
	}
	a, _ := strconv.ParseInt(least, 10, 64)
	b, _ := strconv.ParseInt(most, 10, 64)
	if value < a || value > b {
		return fmt.Errorf("%d is not within %s and %s", value, least, most)
	}
	v.SetInt(value)
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	none := netip.Prefix{}
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil || addr.Zone() != "" {
			return none, fmt.Errorf("%q is neither an IP address nor a prefix, as in 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", s)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return none, fmt.Errorf("%q is neither an IP address nor a prefix, as in 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", s)
	case p.Addr().Is4In6():
		return none, fmt.Errorf("%q: write an IPv4 prefix as such, as in 192.0.2.0/24", s)
	case p.Masked() != p:
		return none, fmt.Errorf("%q has bits behind its length; the prefix is %v, the address alone %v", s, p.Masked(), p.Addr())
	}
	return p, nil
}

var protocols = []string{"udp", "tcp", "tls", "ws", "wss"} // by transport.Protocol, from 1

func parseProtocol(s string) (transport.Protocol, error) {
	if i := slices.Index(protocols, strings.ToLower(s)); i >= 0 {
		return transport.Protocol(i + 1), nil
	}
	return 0, checkWord(s, protocols)
}

// ProtocolName is the word for a transport in flags, in the policy file and in log lines: "udp", "tcp" and so on.
func ProtocolName(p transport.Protocol) string {
	if p == 0 || int(p) > len(protocols) {
		return "unknown"
	}
	return protocols[p-1]
}

func parseZone(s string) (*time.Location, error) {
	zone, err := time.LoadLocation(s)
	if err != nil || s == "" || s == "Local" {
		return time.UTC, fmt.Errorf("%q is no time zone of the tz database, as in Europe/Berlin or UTC", s)
	}
	return zone, nil
}

func (h *HostPort) setText(s string) (err error) {
	*h, err = parseHostPort(s)
	return err
}

func (t *TargetURI) setText(s string) (err error) {
	*t, err = parseTargetURI(s)
	return err
}

// setText reads one pattern: +49 or 0049 or 112 is a prefix, =112 a whole number, +4930..+4939 a range of prefixes.
func (p *NumberPattern) setText(s string) error {
	text, exact := strings.CutPrefix(s, "=")
	low, high, isRange := strings.Cut(text, "..")
	if !isRange {
		high = low
	}
	for _, n := range []string{low, high} {
		if !isNumber(n) {
			return fmt.Errorf("%q is no telephone number pattern; write +49 for a prefix, +4930..+4939 for a range of prefixes, =112 for a whole number, without spaces", s)
		}
	}
	switch {
	case len(low) != len(high) || (low[0] == '+') != (high[0] == '+'):
		return fmt.Errorf("%q: both ends of a range have the same number of digits, and both have a + or neither", s)
	case low > high:
		return fmt.Errorf("%q: the range is the wrong way round; did you mean %s..%s?", s, high, low)
	}
	*p = NumberPattern{low, high, exact}
	return nil
}

// isNumber: digits, * and #, with or without a + before them.
func isNumber(s string) bool {
	digits := strings.TrimPrefix(s, "+")
	return digits != "" && len(digits) <= maxNumber && strings.Trim(digits, "0123456789*#") == ""
}

func (p NumberPattern) String() string {
	s := p.Low
	if p.High != p.Low {
		s += ".." + p.High
	}
	if p.Exact {
		s = "=" + s
	}
	return s
}

func (t *TextPattern) setText(s string) error {
	if err := checkText(s); err != nil {
		return err
	}
	text, suffix := strings.CutPrefix(s, "*")
	text, prefix := strings.CutSuffix(text, "*")
	if strings.Contains(text, "*") || suffix && prefix && text != "" {
		return fmt.Errorf("%q: a * may stand at the begin or at the end, not both or between", s)
	}
	*t = TextPattern{Text: text}
	switch {
	case suffix && text != "":
		t.Kind = PatternSuffix
	case suffix || prefix: // * alone: anything, even nothing
		t.Kind = PatternPrefix
	}
	return nil
}

func (t TextPattern) String() string {
	switch t.Kind {
	case PatternPrefix:
		return t.Text + "*"
	case PatternSuffix:
		return "*" + t.Text
	}
	return t.Text
}

// asHost puts a pattern into the form of a host.
func (t *TextPattern) asHost() (err error) {
	switch t.Kind {
	case PatternExact:
		t.Text, err = parseHost(t.Text)
	case PatternPrefix:
		if t.Text != "" {
			err = fmt.Errorf("%v: of a host only the begin may be left open, as in *.example.com", t)
		}
	case PatternSuffix:
		t.Text = strings.ToLower(t.Text)
		if t.Text[0] != '.' || !isHostname(t.Text[1:]) {
			err = fmt.Errorf("%v is no host pattern, as in *.example.com", t)
		}
	}
	return err
}

// decode reads 503, 5xx and timeout, alone or in a list.
func (f *Failover) decode(d *decoder, n *yaml.Node, path string) {
	*f = Failover{}
	var words []statusWord
	d.list(n, reflect.ValueOf(&words).Elem(), path, `most:"64"`)
	for _, w := range words {
		switch {
		case w == statusWord{}: // refused
		case w.timeout:
			f.Timeout = true
		case f.Has(w.First) && f.Has(w.Last):
			d.at(path, "%s is given twice", w.text)
		default:
			f.Statuses = append(f.Statuses, w.StatusRange)
		}
	}
}

// statusWord is one entry of a Failover.
type statusWord struct {
	StatusRange
	timeout bool
	text    string
}

func (w *statusWord) setText(s string) error {
	*w = statusWord{}
	if strings.EqualFold(s, "timeout") {
		*w = statusWord{timeout: true, text: s}
		return nil
	}
	if len(s) == 3 && s[0] >= '1' && s[0] <= '6' {
		if strings.EqualFold(s[1:], "xx") {
			first := int(s[0]-'0') * 100
			*w = statusWord{StatusRange{first, first + 99}, false, s}
			return nil
		}
		if n, err := strconv.Atoi(s); err == nil {
			*w = statusWord{StatusRange{n, n}, false, s}
			return nil
		}
	}
	return fmt.Errorf("%q is no status, as in 503 or 5xx, and not the word timeout", s)
}

// decode reads a region: a list of patterns.
func (r *Region) decode(d *decoder, n *yaml.Node, path string) {
	d.list(n, reflect.ValueOf(&r.Patterns).Elem(), path, `most:"100000"`)
}

// decode reads NAME: VALUE pairs.
func (h *Headers) decode(d *decoder, n *yaml.Node, path string) {
	*h = nil
	if n.Kind != yaml.MappingNode {
		d.problem(n, "%s is %s; it must be NAME: VALUE for each header field", last(path), kindName(n))
		return
	}
	d.eachKey(n, path, func(key, value *yaml.Node) {
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch err := checkText(value.Value); {
		case value.Kind != yaml.ScalarNode:
			d.problem(value, "the value of %s is %s; it must be a text", key.Value, kindName(value))
		case err != nil:
			d.problem(value, "%s: %v", key.Value, err)
		case len(*h) == maxPolicyHeaders:
			d.problem(key, "more than %d header fields", maxPolicyHeaders)
		default:
			if err := checkHeader(key.Value); err != nil {
				d.problem(key, "%v", err)
			}
			*h = append(*h, Header{key.Value, value.Value})
		}
	})
}

// ownHeaders are those that a proxy's work depends on: nobody edits them by hand (RFC 3261 section 16.6), compact forms
// of section 7.3.3 included.
var ownHeaders = []string{
	"via", "v", "from", "f", "to", "t", "call-id", "i", "cseq", "max-forwards", "route", "record-route", "path", "contact", "m", "content-length", "l",
	"proxy-authorization", "proxy-require",
}

func checkHeader(name string) error {
	if !isToken(name) || len(name) > maxPolicyName {
		return fmt.Errorf("%q is no name of a header field", name)
	}
	if slices.Contains(ownHeaders, strings.ToLower(name)) {
		return fmt.Errorf("%s is not for a policy to change: the proxy's own work depends on it", name)
	}
	return nil
}

// isToken is the token of RFC 3261 section 25.1.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

func (a *Answer) shortField() string   { return "code" }
func (m *Member) shortField() string   { return "uri" }
func (r *Redirect) shortField() string { return "to" }

// decode reads an answer as a whole: what is not said of it is not taken from the default answer of its place.
func (a *Answer) decode(d *decoder, n *yaml.Node, path string) {
	*a = Answer{}
	type plain Answer // without this method
	if n.Kind == yaml.MappingNode {
		d.structure(n, reflect.ValueOf((*plain)(a)).Elem(), path)
		if _, given := d.where[path+".code"]; !given {
			d.problem(n, "%s: the status is missing, as in code: 503", last(path))
		}
		return
	}
	field, _ := fieldByKey(reflect.TypeFor[Answer](), "code")
	d.value(n, reflect.ValueOf(&a.Code).Elem(), path, field.Tag)
}
