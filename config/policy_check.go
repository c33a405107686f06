package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// checker looks at a policy as a whole: what each value is was checked when it was read.
type checker struct {
	*decoder
	p        *Policy
	cfg      *Config // nil: the flags are not known
	warnings []string
	used     map[string]bool // lists' entries that something names, as gateways.NAME
}

func (c *checker) warn(path, format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf("%s:%d: %s", c.file, c.line(path), fmt.Sprintf(format, args...)))
}

// given tells whether the file says something at path.
func (c *checker) given(path string) bool { return c.where[path] != nil }

func (c *checker) check() {
	c.used = map[string]bool{}
	for _, r := range c.refs {
		c.used[r.list+"."+r.ref.Name] = true
	}
	c.wholeSeconds()
	c.checkRegions()
	c.checkPeers()
	for i := range c.p.Gateways {
		c.checkGroup(&c.p.Gateways[i])
	}
	c.checkEmergency()
	c.checkRoutes()
	c.checkOverload()
	if len(c.problems) == 0 { // a route that was misread shadows others only by mistake
		c.checkReach()
	}
	c.warnUnused()
}

// wholeSeconds refuses fractions where a header field has none: Retry-After is delta-seconds (RFC 3261 section 25.1).
func (c *checker) wholeSeconds() {
	for path, n := range c.where {
		if strings.HasSuffix(path, ".retry-after") {
			if d, err := time.ParseDuration(n.Value); err == nil && d%time.Second != 0 {
				c.problem(n, "retry-after: %v is not a whole number of seconds", d)
			}
		}
	}
}

func (c *checker) checkRegions() {
	type entry struct {
		NumberPattern
		region, index int
	}
	var all []entry
	for i := range c.p.Regions {
		r := &c.p.Regions[i]
		if len(r.Patterns) == 0 {
			c.at("regions."+r.Name, "region %s has no numbers", r.Name)
		}
		for j, p := range r.Patterns {
			if p.Low != "" {
				all = append(all, entry{p, i, j})
			}
		}
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(len(a.Low), len(b.Low)), boolCompare(a.Exact, b.Exact), cmp.Compare(a.Low, b.Low), cmp.Compare(a.High, b.High))
	})
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if len(a.Low) == len(b.Low) && a.Exact == b.Exact && b.Low <= a.High {
			if a.region == b.region {
				c.at(fmt.Sprintf("regions.%s[%d]", c.p.Regions[b.region].Name, b.index), "%v overlaps with %v of the same region", b.NumberPattern, a.NumberPattern)
				continue
			}
			c.at(fmt.Sprintf("regions.%s[%d]", c.p.Regions[b.region].Name, b.index), "%v is in region %s too, as %v; a number can be in one region only", b.NumberPattern, c.p.Regions[a.region].Name, a.NumberPattern)
		}
	}
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (c *checker) checkPeers() {
	addresses, identities := map[netip.Prefix]string{}, map[string]string{}
	for i := range c.p.Peers {
		p := &c.p.Peers[i]
		path := "peers." + p.Name
		if p.Limits.Calls > 0 && c.cfg != nil && c.cfg.Mode == Stateless {
			c.at(path+".limits.calls", "--mode stateless cannot count calls")
		}
		if len(p.Addresses) == 0 && len(p.TLS) == 0 {
			c.at(path, "peer %s can never be recognised: it has neither addresses nor tls", p.Name)
		}
		for j, a := range p.Addresses {
			if other, ok := addresses[a]; ok && a.IsValid() {
				c.at(fmt.Sprintf("%s.addresses[%d]", path, j), "%v belongs to peer %s already", a, other)
			}
			addresses[a] = p.Name
		}
		for j := range p.TLS {
			name := strings.ToLower(strings.TrimSuffix(p.TLS[j], "."))
			p.TLS[j] = name
			at := fmt.Sprintf("%s.tls[%d]", path, j)
			if !isHostname(name) {
				c.at(at, "%q is no domain name", name)
			} else if other, ok := identities[name]; ok {
				c.at(at, "%s belongs to peer %s already", name, other)
			}
			identities[name] = p.Name
		}
		c.checkHosts(p.Allow.Domains, path+".allow.domains")
		c.checkHeaders(&p.Headers, path+".headers")
	}
}

func (c *checker) checkHosts(hosts []TextPattern, path string) {
	for i := range hosts {
		if hosts[i] == (TextPattern{}) {
			continue // refused when it was read
		}
		if err := hosts[i].asHost(); err != nil {
			c.at(fmt.Sprintf("%s[%d]", path, i), "%v", err)
		}
	}
}

func (c *checker) checkHeaders(h *HeaderEdits, path string) {
	for i, name := range h.Remove {
		if err := checkHeader(name); err != nil && name != "" {
			c.at(fmt.Sprintf("%s.remove[%d]", path, i), "%v", err)
		}
	}
}

func (c *checker) checkGroup(g *Group) {
	path := "gateways." + g.Name
	if len(g.Members) == 0 {
		c.at(path, "gateway group %s has no members", g.Name)
	}
	names, uris := map[string]bool{}, map[string]string{}
	caps := false
	for i := range g.Members {
		m := &g.Members[i]
		at := fmt.Sprintf("%s.members[%d]", path, i)
		if m.URI.Host == "" {
			if !c.given(at+".uri") && c.node(at).Value == "" {
				c.at(at, "the uri of this member is missing")
			}
			continue
		}
		if m.Name == "" {
			m.Name = m.URI.hostPort().String()
		}
		place := fmt.Sprint(m.URI.hostPort(), m.URI.Transport, m.URI.Sips)
		if other, ok := uris[place]; ok {
			c.at(at+".uri", "member %s of this group is the same place", other)
		} else if names[m.Name] {
			c.at(at+".name", "group %s has a member %s already; give this one another name", g.Name, m.Name)
		}
		names[m.Name] = true
		uris[place] = m.Name
		caps = caps || m.Calls > 0 || m.CallsPerSecond > 0
		c.checkLoop(at+".uri", &m.URI)
	}
	if g.DownAfter == 0 && c.given(path+".down-for") {
		c.at(path+".down-for", "down-for means nothing without down-after")
	}
	if g.Select != SelectHash && c.given(path+".hash-by") {
		c.at(path+".hash-by", "hash-by means nothing without select: hash")
	}
	for _, r := range g.Failover.Statuses {
		switch {
		case r.First < 300:
			c.at(path+".failover", "failover has %d; only final responses that are no success, 300 to 599, can mean that the next member is tried", r.First)
		case r.Last > 599:
			// RFC 3261 section 16.7 step 5: the proxy "MUST NOT create any new branches in this context" then.
			c.at(path+".failover", "failover has %d; a 6xx is the user's own answer, after which nobody else is asked", r.Last)
		}
	}
	if c.given(path+".timeout") && !g.Failover.Timeout {
		c.warn(path+".timeout", "group %s has a timeout, but its failover does not have the word timeout: a silent member ends the call with 408", g.Name)
	}
	if g.Overflow == OverflowReject && !caps {
		c.warn(path+".overflow", "group %s has overflow: reject, but no member has a limit", g.Name)
	}
	c.checkProbe(g, path+".probe")
}

func (c *checker) checkProbe(g *Group, path string) {
	p := g.Probe
	if p == nil {
		return
	}
	if p.Timeout == 0 {
		p.Timeout = min(p.Every, 2*time.Second)
	}
	if p.Timeout > p.Every {
		c.at(path+".timeout", "the timeout %v is longer than the %v between two probes", p.Timeout, p.Every)
	}
	if p.Expect.Timeout {
		c.at(path+".expect", "silence cannot mean that a member is there")
	}
	for _, r := range p.Expect.Statuses {
		if r.First < 200 {
			c.at(path+".expect", "expect has %d; only final responses, 200 to 699, end a probe", r.First)
		}
	}
	if p.From != "" {
		if err := checkURI(p.From); err != nil {
			c.at(path+".from", "from: %v", err)
		}
	}
	if p.To != "" && !isUser(p.To) {
		c.at(path+".to", "to: %q is no user part of a URI", p.To)
	}
}

func (c *checker) checkEmergency() {
	e := c.p.Emergency
	if e == nil {
		return
	}
	const path = "emergency"
	for i, n := range e.Numbers {
		if n != "" && !isNumber(n) {
			c.at(fmt.Sprintf("%s.numbers[%d]", path, i), "%q is no telephone number", n)
		}
	}
	if len(e.Numbers) == 0 && !e.URN {
		c.at(path, "emergency has no numbers and urn: false, so nothing is an emergency call")
	}
	c.checkAction(&e.Action, path, "emergency")
	if !c.given(path+".gateway") && !c.given(path+".next-hop") && c.actions(path) == 1 {
		c.at(path, "an emergency call has to go to a gateway or a next-hop")
	}
	if e.Mode == Stateless {
		c.at(path+".mode", "emergency calls are always stateful: what is lost has to be sent again")
	}
}

// actionKeys are the keys of which a route has exactly one.
var actionKeys = []string{"gateway", "next-hop", "relay", "redirect", "reject", "redirect-server"}

func (c *checker) actions(path string) (n int) {
	for _, k := range actionKeys {
		if c.given(path + "." + k) {
			n++
		}
	}
	return n
}

func (c *checker) checkRoutes() {
	names := map[string]int{}
	for i := range c.p.Routes {
		r := &c.p.Routes[i]
		path := routePath(i)
		if r.Name == "" {
			r.Name = fmt.Sprintf("route %d", i+1)
		} else if err := checkName(r.Name); err != nil {
			c.at(path+".name", "%v", err)
		}
		if line, ok := names[r.Name]; ok {
			c.at(path+".name", "there is a route %q already, in line %d", r.Name, line)
		}
		names[r.Name] = r.Line
		c.checkMatch(&r.Match, path+".match")
		c.checkAction(&r.Action, path, "this route")
		if r.Relay {
			if o := r.Match.URI.Ours; o != nil && *o {
				c.at(path+".relay", "relay never takes a Request-URI that is ours, and match.uri.ours is true: this route can never match")
			}
			r.Match.URI.Ours = new(bool)
		}
		c.warnOpen(r, path)
	}
}

func routePath(i int) string { return fmt.Sprintf("routes[%d]", i) }

func (c *checker) checkMatch(m *Match, path string) {
	for i, method := range m.Methods {
		at := fmt.Sprintf("%s.method[%d]", path, i)
		switch upper := strings.ToUpper(method); {
		case method == "":
		case !isToken(method):
			c.at(at, "%q is no method", method)
		case upper == "ACK" || upper == "CANCEL":
			c.at(at, "%s goes where its INVITE went; routes are not asked", upper)
		case method != upper && slices.Contains(knownMethods, upper):
			c.at(at, "methods are case-sensitive; did you mean %s?", upper)
		}
	}
	c.checkURIMatch(&m.URI, path+".uri")
	c.checkURIMatch(&m.From, path+".from")
	c.checkURIMatch(&m.To, path+".to")
	m.Peers = slices.DeleteFunc(m.Peers, func(r Ref) bool {
		m.AnyPeer = m.AnyPeer || r.Name == "any"
		m.NoPeer = m.NoPeer || r.Name == "none"
		return r.Name == "any" || r.Name == "none"
	})
	if m.AnyPeer && m.NoPeer {
		c.at(path+".peer", "any and none together are everybody; leave peer out")
	} else if m.AnyPeer && len(c.p.Peers) == 0 {
		c.at(path+".peer", "the file has no peers, so this route can never match")
	}
	for _, o := range m.Outside {
		if slices.ContainsFunc(m.Schedules, func(s Ref) bool { return s.Name == o.Name }) && len(m.Schedules) == 1 {
			c.at(path+".outside", "schedule and outside both name %s: this route can never match", o.Name)
		}
	}
}

var knownMethods = []string{"INVITE", "BYE", "OPTIONS", "REGISTER", "INFO", "MESSAGE", "NOTIFY", "SUBSCRIBE", "PUBLISH", "REFER", "PRACK", "UPDATE"}

// warnOpen tells of a route that carries anybody's requests for anybody.
func (c *checker) warnOpen(r *Route, path string) {
	if r.Redirect != nil || r.Reject != nil {
		return
	}
	m := &r.Match
	bySource := len(m.Peers) > 0 || m.AnyPeer || len(m.Sources) > 0
	byPlace := len(m.URI.Hosts) > 0 || m.URI.Ours != nil && *m.URI.Ours
	if !bySource && !byPlace {
		c.warn(path, "route %q sends on what anybody asks for, to any domain; narrow it by peer, source, uri.host or uri.ours", r.Name)
	}
}

func (c *checker) checkURIMatch(u *URIMatch, path string) {
	for i, s := range u.Schemes {
		s = strings.ToLower(s)
		u.Schemes[i] = s
		if s != "" && (!isToken(s) || s[0] < 'a' || s[0] > 'z') {
			c.at(fmt.Sprintf("%s.scheme[%d]", path, i), "%q is no scheme of a URI", s)
		}
	}
	c.checkHosts(u.Hosts, path+".host")
	if u.Ours != nil && len(u.Schemes) > 0 && !slices.Contains(u.Schemes, "sip") && !slices.Contains(u.Schemes, "sips") {
		c.at(path+".ours", "only sip and sips URIs have a host that could be ours")
	}
	if len(u.Hosts) > 0 && len(u.Schemes) > 0 && !slices.Contains(u.Schemes, "sip") && !slices.Contains(u.Schemes, "sips") {
		c.at(path+".host", "only sip and sips URIs have a host")
	}
}

func (c *checker) checkAction(a *Action, path, what string) {
	switch n := c.actions(path); {
	case n == 0:
		c.at(path, "%s does nothing; give one of %s", what, oneOf(actionKeys))
	case n > 1:
		var given []string
		for _, k := range actionKeys {
			if c.given(path + "." + k) {
				given = append(given, k)
			}
		}
		c.at(path+"."+given[1], "%s has %s; it can do only one", what, strings.Join(given, " and "))
	}
	if c.given(path+".relay") && !a.Relay && c.actions(path) == 1 {
		c.at(path+".relay", "relay: false does nothing")
	}
	if a.NextHop != nil {
		c.checkLoop(path+".next-hop", a.NextHop)
	}
	if a.RedirectServer != nil {
		c.checkLoop(path+".redirect-server", a.RedirectServer)
	}
	if r := a.Redirect; r != nil {
		c.checkRedirect(r, path+".redirect")
	}
	if r := a.Reject; r != nil && (r.Code == 401 || r.Code == 407) {
		c.at(path+".reject", "%d is a challenge, which needs more than a status", r.Code)
	}
	if a.Redirect != nil || a.Reject != nil {
		for _, k := range []string{"headers", "follow-redirects", "record-route"} {
			if c.given(path + "." + k) {
				c.at(path+"."+k, "%s means nothing where the request goes no further", k)
			}
		}
	}
	if a.Reject != nil && c.given(path+".number") {
		c.at(path+".number", "number means nothing where the request goes no further")
	}
	if a.RedirectServer != nil && c.given(path+".follow-redirects") && !a.FollowRedirects {
		c.at(path+".follow-redirects", "a redirect server is asked for nothing but redirects")
	}
	a.FollowRedirects = a.FollowRedirects || a.RedirectServer != nil
	if p := a.Number.Prepend; p != "" && !isNumber(p) && p != "+" {
		c.at(path+".number.prepend", "%q is not made of digits, with + only at the begin", p)
	}
	c.checkHeaders(&a.Headers, path+".headers")
	c.checkStateless(a, path)
}

func (c *checker) checkRedirect(r *Redirect, path string) {
	if len(r.To) == 0 {
		c.at(path, "redirect: to is missing: where should the caller ask?")
	}
	for i, s := range r.To {
		if err := checkURI(s); err != nil && s != "" {
			at := fmt.Sprintf("%s.to[%d]", path, i)
			if !c.given(at) {
				at = path
			}
			c.at(at, "to: %v", err)
		}
	}
	if !slices.Contains([]int{300, 301, 302, 305, 380}, r.Code) {
		c.at(path+".code", "%d is no status for a redirect; there are 300, 301, 302, 305 and 380", r.Code)
	}
}

// checkStateless: a stateless proxy sends every copy of a request to the same place and remembers nothing between them
// (RFC 3261 section 16.11), so whatever counts, waits or chooses anew needs a transaction.
func (c *checker) checkStateless(a *Action, path string) {
	at := path + ".mode"
	if a.Mode == Stateful && c.cfg != nil && c.cfg.Mode == Stateless {
		c.at(at, "with --mode stateless no request has state; with --mode stateful each route can say mode: stateless")
		return
	}
	if a.Mode == "" && c.cfg != nil && c.cfg.Mode == Stateless && path != "emergency" {
		at = path
	} else if a.Mode != Stateless {
		return
	}
	var why string
	switch {
	case a.RedirectServer != nil:
		why = "a redirect server's answer is followed"
	case a.FollowRedirects:
		why = "follow-redirects sends the request again"
	case a.Gateway != nil:
		why = c.groupNeedsState(a.Gateway)
	}
	if why != "" {
		c.at(at, "this route cannot be stateless: %s", why)
	}
}

func (c *checker) groupNeedsState(ref *Ref) string {
	if ref.Index >= len(c.p.Gateways) || c.p.Gateways[ref.Index].Name != ref.Name {
		return ""
	}
	g := &c.p.Gateways[ref.Index]
	switch {
	case len(g.Members) > 1 && g.Select != SelectHash:
		return fmt.Sprintf("group %s selects by %s, so copies of one request could go to different members; only select: hash is the same for all", g.Name, g.Select)
	case len(g.Members) > 1 && (g.Failover.Timeout || len(g.Failover.Statuses) > 0):
		return fmt.Sprintf("group %s tries the next member after a failure; with failover: [] it does not", g.Name)
	}
	for _, m := range g.Members {
		if m.Calls > 0 || m.CallsPerSecond > 0 {
			return fmt.Sprintf("member %s of group %s has limits, which count calls", m.Name, g.Name)
		}
	}
	return ""
}

// checkLoop refuses what would send requests back to ourselves, and what cannot be sent at all.
func (c *checker) checkLoop(path string, t *TargetURI) {
	if c.cfg == nil {
		return
	}
	if l := c.cfg.listenerAt(t); l != nil {
		c.at(path, "%s is our own listener %v; every request would come back", t.Text, l)
	} else if err := c.cfg.reachable(t); err != nil {
		c.at(path, "%s: %v", t.Text, err)
	}
}

func (c *checker) checkOverload() {
	o := &c.p.Overload
	for i := range o.Rates {
		r := &o.Rates[i]
		path := fmt.Sprintf("overload.rates[%d]", i)
		if len(r.Addresses) == 0 {
			c.at(path, "this rate has no addresses; for everybody give 0.0.0.0/0 and ::/0")
		}
		if !c.given(path + ".requests-per-second") {
			c.at(path, "this rate has no requests-per-second")
		}
		r.perSource()
		if r.Burst < r.PerSecond {
			c.warn(path+".burst", "a burst of %d is less than one second's requests", r.Burst)
		}
	}
	for i, s := range o.Scanners {
		o.Scanners[i] = strings.ToLower(s)
		if len(s) < 3 && s != "" {
			c.at(fmt.Sprintf("overload.scanners[%d]", i), "%q is in too many User-Agents; give at least three characters", s)
		}
	}
}

func (c *checker) warnUnused() {
	names := func(list string, v any) {
		s := reflect.ValueOf(v)
		for i := range s.Len() {
			if name := s.Index(i).FieldByName("Name").String(); !c.used[list+"."+name] {
				c.warn(list+"."+name, "nothing uses %s of %s", name, list)
			}
		}
	}
	names("gateways", c.p.Gateways)
	names("schedules", c.p.Schedules)
	// Regions take numbers from each other, so one that nothing names still has a meaning; and a peer has limits.
}
