package config

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sipedge/transport"
)

// Describe writes what p means in plain words.
func (p *Policy) Describe(w io.Writer) {
	d := describer{p: p}
	if len(p.Domains) > 0 {
		d.line(0, "Ours, besides --domain: %s.", texts(p.Domains))
	}
	if c := p.Numbers.Country; c != nil {
		d.line(0, "Numbers are read as people dial %s.", c)
	}
	d.emergency()
	d.routes()
	d.gateways()
	d.peers()
	d.regions()
	d.schedules()
	d.overload()
	io.WriteString(w, d.b.String())
}

type describer struct {
	p *Policy
	b strings.Builder
}

// line writes one paragraph, wrapped.
func (d *describer) line(indent int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	hang := indent
	if n, _, ok := strings.Cut(text, ". "); ok && strings.Trim(n, "0123456789") == "" { // a numbered entry
		hang += len(n) + 2
	}
	width, used := 100, 0
	d.b.WriteString(strings.Repeat(" ", indent))
	for word := range strings.FieldsSeq(text) {
		switch {
		case used == 0:
			used = indent
		case used+1+len(word) > width:
			d.b.WriteString("\n" + strings.Repeat(" ", hang))
			used = hang
		default:
			d.b.WriteByte(' ')
			used++
		}
		d.b.WriteString(word)
		used += len(word)
	}
	d.b.WriteByte('\n')
}

func texts[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = x.String()
	}
	return strings.Join(words, ", ")
}

func (r Ref) String() string { return r.Name }

func (c *Country) String() string {
	s := "in +" + c.Code
	if c.ISO != "" {
		s = fmt.Sprintf("in %s (+%s)", c.ISO, c.Code)
	}
	var how []string
	if c.International != "" {
		how = append(how, c.International+" for abroad")
	}
	if c.National != "" {
		how = append(how, c.National+" for the country")
	}
	switch {
	case c.MinDigits == 0:
	case c.MinDigits == c.MaxDigits:
		how = append(how, fmt.Sprintf("or %d digits with nothing before them", c.MinDigits))
	default:
		how = append(how, fmt.Sprintf("or %d to %d digits with nothing before them", c.MinDigits, c.MaxDigits))
	}
	if how != nil {
		s += ": " + strings.Join(how, ", ")
	}
	return s
}

func (d *describer) emergency() {
	e := d.p.Emergency
	if e == nil {
		return
	}
	what := slices.Clone(e.Numbers)
	if e.URN {
		what = append(what, "urn:service:sos")
	}
	d.section("Emergency calls")
	d.line(2, "Calls to %s go before everything else, whatever the limits.", strings.Join(what, ", "))
	d.action(&e.Action)
}

func (d *describer) section(s string) {
	if d.b.Len() > 0 {
		d.b.WriteByte('\n')
	}
	d.b.WriteString(s + "\n")
}

func (d *describer) routes() {
	if len(d.p.Routes) == 0 {
		d.section("Routes")
		d.line(2, "None: the flags decide (--domain, --next-hop, --open-relay).")
		return
	}
	d.section("Routes, of which the first that matches decides")
	for i := range d.p.Routes {
		r := &d.p.Routes[i]
		d.line(2, "%d. %s (line %d): %s", i+1, r.Name, r.Line, r.Match.describe())
		d.action(&r.Action)
	}
	d.line(2, "What matches none of them: as the flags say (--domain, --next-hop, --open-relay).")
}

func (m *Match) describe() string {
	s := "every request"
	if len(m.Methods) > 0 {
		s = oneOf(m.Methods)
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case m.NoPeer && len(m.Peers) > 0:
		add("from no peer or from %s", texts(m.Peers))
	case m.NoPeer:
		add("from no peer")
	case m.AnyPeer:
		add("from any peer")
	case len(m.Peers) > 0:
		add("from peer %s", strings.Join(refNames(m.Peers), " or "))
	}
	if len(m.Sources) > 0 {
		add("from source %s", prefixes(m.Sources))
	}
	if len(m.Transports) > 0 {
		add("by %s", protocolNames(m.Transports))
	}
	m.URI.describe("the Request-URI", add)
	m.From.describe("the URI in From", add)
	m.To.describe("the URI in To", add)
	if len(m.Schedules) > 0 {
		add("within %s", strings.Join(refNames(m.Schedules), " or "))
	}
	if len(m.Outside) > 0 {
		add("outside of %s", strings.Join(refNames(m.Outside), " and "))
	}
	if parts != nil {
		s += " " + strings.Join(parts, ", ")
	}
	return s
}

func refNames(refs []Ref) (names []string) {
	for _, r := range refs {
		names = append(names, r.Name)
	}
	return names
}

// prefixes writes a prefix of one address as that address.
func prefixes(list []netip.Prefix) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = p.String()
		if p.IsSingleIP() {
			words[i] = p.Addr().String()
		}
	}
	return strings.Join(words, ", ")
}

func protocolNames(list []transport.Protocol) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = ProtocolName(p)
	}
	return oneOf(words)
}

func (u *URIMatch) describe(what string, add func(format string, args ...any)) {
	var parts []string
	if len(u.Schemes) > 0 {
		parts = append(parts, "is a "+oneOf(u.Schemes)+" URI")
	}
	if u.Ours != nil && *u.Ours {
		parts = append(parts, "is for a domain of ours")
	} else if u.Ours != nil {
		parts = append(parts, "is for a domain that is not ours")
	}
	if len(u.Hosts) > 0 {
		parts = append(parts, "has host "+texts(u.Hosts))
	}
	if len(u.Users) > 0 {
		parts = append(parts, "has user "+texts(u.Users))
	}
	if len(u.Numbers) > 0 {
		parts = append(parts, "has a number in "+texts(u.Numbers))
	}
	if len(u.Regions) > 0 {
		parts = append(parts, "has a number of region "+strings.Join(refNames(u.Regions), " or "))
	}
	if parts != nil {
		add("where %s %s", what, strings.Join(parts, " and "))
	}
}

func (d *describer) action(a *Action) {
	switch {
	case a.Gateway != nil:
		d.line(5, "-> gateway group %s", a.Gateway.Name)
	case a.NextHop != nil:
		d.line(5, "-> %s", a.NextHop.Text)
	case a.Relay:
		d.line(5, "-> where its Request-URI says")
	case a.Redirect != nil:
		d.line(5, "-> answer %d with Contact %s", a.Redirect.Code, strings.Join(a.Redirect.To, ", "))
	case a.Reject != nil:
		d.line(5, "-> answer %s", a.Reject)
	case a.RedirectServer != nil:
		d.line(5, "-> ask the redirect server %s and go where it says", a.RedirectServer.Text)
	}
	n := a.Number
	if n.Normalise || n.Strip > 0 || n.Prepend != "" {
		var do []string
		if n.Normalise {
			do = append(do, "made E.164")
		}
		if n.Strip > 0 {
			do = append(do, fmt.Sprintf("%d characters off its begin", n.Strip))
		}
		if n.Prepend != "" {
			do = append(do, n.Prepend+" put before it")
		}
		d.line(8, "the number is changed: %s", strings.Join(do, ", then "))
	}
	d.headers(&a.Headers)
	if a.FollowRedirects && a.RedirectServer == nil {
		d.line(8, "3xx responses are followed here: by q, each URI once")
	}
	if a.Mode != "" {
		d.line(8, "%s, as the route says", a.Mode)
	}
	if a.RecordRoute {
		d.line(8, "stays on the path of the dialog")
	}
}

func (d *describer) headers(h *HeaderEdits) {
	if len(h.Remove) > 0 {
		d.line(8, "without header fields %s", strings.Join(h.Remove, ", "))
	}
	for _, x := range h.Add {
		d.line(8, "with %s: %s", x.Name, x.Value)
	}
}

func (a *Answer) String() string {
	s := fmt.Sprint(a.Code)
	if a.Reason != "" {
		s += " " + a.Reason
	}
	if a.RetryAfter > 0 {
		s += fmt.Sprintf(", to be tried again after %v", a.RetryAfter)
	}
	return s
}

func (d *describer) gateways() {
	if len(d.p.Gateways) == 0 {
		return
	}
	d.section("Gateway groups")
	for i := range d.p.Gateways {
		g := &d.p.Gateways[i]
		how := map[Select]string{
			SelectPriority: "in the order written", SelectRoundRobin: "strictly in turn", SelectWeight: "at random by weight",
			SelectHash: "by a hash of " + string(g.HashBy), SelectLeastCalls: "the one with the fewest calls",
		}[g.Select]
		d.line(2, "%s (line %d): by priority, and among equals %s, of those that are up", g.Name, g.Line, how)
		for _, m := range slices.SortedStableFunc(slices.Values(g.Members), func(a, b Member) int { return a.Priority - b.Priority }) {
			d.line(5, "priority %d: %s", m.Priority, m.describe(g.Select))
		}
		next := "the next one is tried when one cannot be reached"
		if g.Failover.Timeout {
			silent := "for 64 times T1"
			if g.Timeout > 0 {
				silent = fmt.Sprintf("for %v", g.Timeout)
			}
			next += ", is silent " + silent
		}
		if len(g.Failover.Statuses) > 0 {
			next += ", or answers " + oneOf(statusTexts(g.Failover.Statuses))
		}
		if g.Tries > 0 {
			next += fmt.Sprintf("; %d are tried at most", g.Tries)
		}
		d.line(5, "%s", next)
		if g.RequestURI == GatewayHost {
			d.line(5, "the Request-URI gets the host and port of the member")
		}
		if g.Overflow == OverflowReject {
			d.line(5, "a call that the first choice has no room for is answered at once: %s", &g.Unavailable)
		} else {
			d.line(5, "when none is up or has room: %s", &g.Unavailable)
		}
		if p := g.Probe; p != nil {
			d.line(5, "asked by OPTIONS every %v, %v for the answer, which must be %s; out after %s, back after %s", p.Every, p.Timeout, oneOf(statusTexts(p.Expect.Statuses)), times(p.Down, "failure"), times(p.Up, "answer"))
		}
	}
}

func times(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss in a row", n, what)
}

func statusTexts(list []StatusRange) (words []string) {
	for _, r := range list {
		switch {
		case r.First == r.Last:
			words = append(words, fmt.Sprint(r.First))
		case r.First%100 == 0 && r.Last == r.First+99:
			words = append(words, fmt.Sprintf("%dxx", r.First/100))
		default:
			words = append(words, fmt.Sprintf("%d to %d", r.First, r.Last))
		}
	}
	return words
}

func (m *Member) describe(s Select) string {
	text := m.URI.Text
	if m.Name != m.URI.hostPort().String() {
		text = m.Name + ", " + text
	}
	if s == SelectWeight || s == SelectLeastCalls || m.Weight != 1 {
		text += fmt.Sprintf(", weight %d", m.Weight)
	}
	if m.Calls > 0 {
		text += fmt.Sprintf(", at most %d calls at once", m.Calls)
	}
	if m.CallsPerSecond > 0 {
		text += fmt.Sprintf(", at most %d new calls in a second", m.CallsPerSecond)
	}
	return text
}

func (d *describer) peers() {
	if len(d.p.Peers) == 0 {
		return
	}
	d.section("Peers")
	for i := range d.p.Peers {
		p := &d.p.Peers[i]
		var known []string
		if len(p.Addresses) > 0 {
			known = append(known, "by address "+prefixes(p.Addresses))
		}
		if len(p.TLS) > 0 {
			known = append(known, "by TLS identity "+strings.Join(p.TLS, ", "))
		}
		d.line(2, "%s (line %d): known %s", p.Name, p.Line, strings.Join(known, ", or "))
		if p.Country != nil {
			d.line(5, "numbers are read as people dial %s", p.Country)
		}
		l := &p.Limits
		var caps []string
		for _, c := range []struct {
			n    int
			what string
		}{{l.Calls, "calls at once"}, {l.CallsPerSecond, "new calls in a second"}, {l.RequestsPerSecond, "requests outside of dialogs in a second"}} {
			if c.n > 0 {
				caps = append(caps, fmt.Sprintf("%d %s", c.n, c.what))
			}
		}
		if caps != nil {
			d.line(5, "at most %s; more is answered %s", strings.Join(caps, ", "), &l.Answer)
		}
		if a := &p.Allow; len(a.Domains)+len(a.Numbers)+len(a.Regions) > 0 {
			var to []string
			if len(a.Domains) > 0 {
				to = append(to, "domains "+texts(a.Domains))
			}
			if len(a.Numbers) > 0 {
				to = append(to, "numbers "+texts(a.Numbers))
			}
			if len(a.Regions) > 0 {
				to = append(to, "regions "+texts(a.Regions))
			}
			d.line(5, "allowed: %s; anything else is answered 403", strings.Join(to, "; "))
		}
		d.headers(&p.Headers)
	}
}

func (d *describer) regions() {
	if len(d.p.Regions) == 0 {
		return
	}
	d.section("Regions; the longest pattern decides")
	for i := range d.p.Regions {
		r := &d.p.Regions[i]
		if n := len(r.Patterns); n > 12 {
			d.line(2, "%s: %s and %d more", r.Name, texts(r.Patterns[:10]), n-10)
		} else {
			d.line(2, "%s: %s", r.Name, texts(r.Patterns))
		}
	}
}

func (d *describer) schedules() {
	if len(d.p.Schedules) == 0 {
		return
	}
	d.section("Schedules")
	for i := range d.p.Schedules {
		s := &d.p.Schedules[i]
		text := "always"
		if len(s.Hours) > 0 {
			text = texts(s.Hours)
		}
		if len(s.Holidays) > 0 {
			text += "; not on " + texts(s.Holidays)
		}
		d.line(2, "%s: %s, in %s", s.Name, text, s.Zone)
	}
}

func (d *describer) overload() {
	o := &d.p.Overload
	d.section("Overload")
	for _, r := range o.Rates {
		each := map[Each]string{EachAddress: "each address", EachPrefix: "each prefix (/24, /48)", EachAll: "all together"}[r.Each]
		d.line(2, "Sources in %s: %s %d requests in a second, %d at once; more is %s.", prefixes(r.Addresses), each, r.PerSecond, r.Burst, map[Over]string{OverDrop: "dropped", OverReject: "answered 503"}[r.Over])
	}
	if len(o.Scanners) > 0 {
		d.line(2, "Dropped for their User-Agent: %s.", strings.Join(o.Scanners, ", "))
	}
	d.line(2, "New calls are answered 503, to be tried again after %v, when packets wait longer than %v.", o.RetryAfter.Round(time.Second), o.Delay)
}
