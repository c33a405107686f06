package router

import (
	"bytes"

	"sipedge/parser"
	"sipedge/txn"
)

// redirected is a Contact of a 3xx.
type redirected struct {
	uri parser.Span // in the response
	q   uint16      // thousandths
}

// recurse follows the 3xx m that came on br, if br's rule says so: "If the proxy chooses to recurse on any contacts in a 3xx response
// by adding them to the target set, it MUST remove them from the response before adding the response to the response context."
// RFC 3261 section 16.7 step 4. Contacts are tried in turn, by descending q, and as listed where q is the same. It reports whether
// one is being tried.
func (w *Worker) recurse(c *txn.ResponseContext, br *txn.ClientTransaction, m *parser.Message, b []byte) bool {
	r := w.core.rules.at(RuleID(br.Rule))
	switch br.Status {
	case 300, 301, 302:
		// 305 wants the proxy it names to be used, 380 speaks of other services: neither lists places to try instead.
	default:
		return false
	}
	if !r.recurse || c.Flags&flagCancelled != 0 || c.Branches >= maxRecursed || !m.Has(parser.HeaderContact) {
		return false
	}
	for x := w.local.First(c); x != nil; x = w.local.Next(x) {
		if x.Status >= 600 {
			return false // "it MUST NOT create any new branches in this context": step 5
		}
	}
	request, requestBytes, ok := w.again(c)
	if !ok {
		return false
	}
	list, all := w.contacts(m, b, request, requestBytes)
	if len(list) == 0 {
		if all { // every place it names has been tried
			br.Flags |= branchReplaced
		}
		return false
	}
	then := r.then
	if then == Same {
		then = RuleID(br.Rule)
	}
	i := w.addContacts(c, br.Index, then, list, b, request, requestBytes)
	if i < 0 {
		return false
	}
	done, _ := w.try(c, &c.Upstream, sourceOf(c), request, requestBytes, i, br.Breadth)
	switch done {
	case begun:
		w.followed(br, m, b)
	case waits:
		br.Response, _ = w.local.Keep(b[:m.Len]) // it counts until a place that it names is found
	}
	w.keepTargets(c)
	return done != exhausted
}

// followed puts into the response context what is left of the 3xx m on br, now that one of its Contacts is being tried: "If the
// proxy recurses on all of the contacts in a 3xx response, the proxy SHOULD NOT add the resulting contactless response to the
// response context."
func (w *Worker) followed(br *txn.ClientTransaction, m *parser.Message, b []byte) {
	rest := w.withoutTried(m, b)
	w.local.Drop(&br.Response)
	if len(rest) > 0 {
		br.Response, _ = w.local.Keep(rest)
	}
	if br.Response.Len == 0 {
		br.Flags |= branchReplaced
	}
}

// contacts lists the Contacts of m that are to be tried, best first; all is false when others are left for upstream. Those that have been
// tried are neither: "any given URI MUST NOT be added to the set more than once." RFC 3261 section 16.5
func (w *Worker) contacts(m *parser.Message, b []byte, request *parser.Message, requestBytes []byte) (list []redirected, all bool) {
	x := &w.finder
	list, all = x.contacts[:0], true
	triedRequest := w.targets.hasRequestURI()
	vs := m.Values(b, parser.HeaderContact)
	for {
		v, _, ok := vs.Next()
		if !ok && vs.Err.Code != 0 {
			return nil, false
		}
		if !ok {
			return list, all
		}
		a := &x.route
		if parser.ParseAddress(b, v, a).Code != 0 || !w.mayFollow(&a.URI) {
			all = false
			continue
		}
		uri := a.Addr.In(b)
		if triedRequest && parser.EqualURI(b, &a.URI, requestBytes, &request.URI) || w.targets.hasURI(uri) || has(list, b, uri) {
			continue
		}
		if len(list) == maxContacts {
			all = false
			continue
		}
		q := qOf(b, a.Params)
		i := len(list)
		list = append(list, redirected{})
		for ; i > 0 && list[i-1].q < q; i-- {
			list[i] = list[i-1]
		}
		list[i] = redirected{uri: a.Addr, q: q}
	}
}

// mayFollow tells whether a Contact can be tried; a tel URI has to be placed by the decision first. "A proxy may choose to recurse on the SIP and SIPS URIs and place the remainder into
// the response context to be returned"; "a proxy SHOULD NOT recurse to a non-SIPS URI if the Request-URI of the original request was a
// SIPS URI." RFC 3261 section 16.7 step 4
func (w *Worker) mayFollow(u *parser.URI) bool {
	switch u.SchemeIs {
	case parser.SchemeSIPS:
		return true
	case parser.SchemeSIP:
		return w.routing.uri.SchemeIs != parser.SchemeSIPS
	case parser.SchemeTel:
		return w.routing.uri.SchemeIs != parser.SchemeSIPS && w.cfg.Decide != nil
	}
	return false
}

func has(list []redirected, b, uri []byte) bool {
	var u parser.URI
	readable := parser.ParseURI(uri, whole(uri), &u).Code == 0
	for i := range list {
		if sameURI(uri, &u, readable, list[i].uri.In(b)) {
			return true
		}
	}
	return false
}

// hasURI tells whether uri is in s, by whatever hop.
func (s *TargetSet) hasURI(uri []byte) bool {
	var u parser.URI
	readable := parser.ParseURI(uri, whole(uri), &u).Code == 0
	for i := range s.n {
		if t := &s.list[i]; t.len > 0 && sameURI(uri, &u, readable, s.uri(t)) {
			return true
		}
	}
	return false
}

// hasRequestURI tells whether a target of s leaves the Request-URI as it is.
func (s *TargetSet) hasRequestURI() bool {
	for i := range s.n {
		if s.list[i].len == 0 {
			return true
		}
	}
	return false
}

// qOf is the q parameter of a Contact in thousandths; 1000 without one.
func qOf(b []byte, params parser.Span) uint16 {
	value, ok := parser.Param(b, params, "q")
	s := value.In(b)
	if !ok || len(s) == 0 {
		return 1000
	}
	// qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
	if s[0] != '0' && s[0] != '.' {
		return 1000
	}
	_, digits, _ := bytes.Cut(s, dot)
	q := uint16(0)
	for i := range 3 {
		q *= 10
		if i < len(digits) && digits[i] >= '0' && digits[i] <= '9' {
			q += uint16(digits[i] - '0')
		}
	}
	return q
}

var dot = []byte{'.'}

// addContacts puts list in the place of what branch has left, and returns where. Contacts of earlier redirections stay behind them;
// alternatives do not, since the target has answered. -1: there is nothing to try, or no room.
func (w *Worker) addContacts(c *txn.ResponseContext, branch uint8, rule RuleID, list []redirected, b []byte, request *parser.Message, requestBytes []byte) int {
	s := &w.targets
	at := s.spareOf(branch)
	if at < 0 {
		at = s.n
	} else {
		for at < s.n && s.list[at].kind != contact {
			if !s.drop(at) {
				break
			}
		}
		if at < s.n && s.list[at].state == spare && s.list[at].of == branch {
			s.list[at].state = follows
		}
	}
	first := at
	for i := range list {
		uri := list[i].uri.In(b)
		u := &w.finder.uri // as placeContact has it
		switch placed, known := w.placeContact(c, uri, request, requestBytes); {
		case known:
			for j := range placed.n {
				x := placed.list[j]
				if x.kind == member {
					x.kind = contact
				}
				x.state, x.of, x.breadth = follows, branch, 0
				itself := placed.uri(&x)
				if len(itself) == 0 {
					itself = uri
				} else if s.hasURI(itself) {
					continue
				}
				if s.put(at, x, itself, placed.next(&x)) {
					at++
				}
			}
			// Whatever it became, no other 3xx leads here again.
			s.put(s.n, target{state: tried, of: noBranch}, uri, nil)
		case u.SchemeIs != parser.SchemeTel:
			if s.put(at, target{rule: rule, kind: contact, state: follows, of: branch}, uri, nil) {
				at++
			}
		}
	}
	if at == first {
		return -1
	}
	s.list[first].state = spare
	return first
}

// placeContact asks the decision about a Contact that leads to ourselves, or to no place at all as a tel URI does: as if the request had
// come with it as its Request-URI. known is false for others, and where the decision has nothing to say. What it refuses has no places: to
// follow such a Contact would be to ask again in our own name.
func (w *Worker) placeContact(c *txn.ResponseContext, uri []byte, request *parser.Message, requestBytes []byte) (placed *TargetSet, known bool) {
	placed = &w.placed
	placed.Reset()
	u := &w.finder.uri
	if w.cfg.Decide == nil || parser.ParseURI(uri, whole(uri), u).Code != 0 || u.SchemeIs != parser.SchemeTel && !w.isOurURI(uri, u, &c.Upstream) {
		return placed, false
	}
	if !u.Headers.Empty() {
		uri = uri[:int(u.Headers.Off)-1]
	}
	b := append(w.renamed[:0], requestBytes[:request.RequestURI.Off]...)
	b = append(b, uri...)
	b = append(b, requestBytes[request.RequestURI.End():]...)
	w.renamed = b
	if parser.Parse(b, &w.other).Code != 0 {
		return placed, false
	}
	w.query = Query{Message: &w.other, Bytes: b, From: c.Upstream, Maddr: !u.Maddr.Empty(), Now: w.now, Loop: w.id, Lines: w.lines}
	verdict := w.cfg.Decide(&w.query, placed)
	if verdict != Forward {
		placed.Reset()
	}
	return placed, verdict != Default
}

// remember keeps the URI of t, which was tried, so that no 3xx leads there again.
func (w *Worker) remember(t *target) {
	s := &w.targets
	if t.kind != contact && !w.core.rules.at(t.rule).recurse {
		return
	}
	for i := range s.n {
		if s.list[i].state == tried && bytes.Equal(s.uri(&s.list[i]), s.uri(t)) {
			return // another address of it
		}
	}
	s.insert(s.n, target{off: t.off, len: t.len, nextOff: t.nextOff, state: tried, of: noBranch})
}

// withoutTried renders the 3xx m with those Contacts alone that are left for upstream.
func (w *Worker) withoutTried(m *parser.Message, b []byte) []byte {
	e, x := &w.edits, &w.finder
	e.Reset()
	e.Begin()
	e.Text = append(e.Text, "Contact: "...)
	n := 0
	vs := m.Values(b, parser.HeaderContact)
	for {
		v, _, ok := vs.Next()
		if !ok {
			break
		}
		if parser.ParseAddress(b, v, &x.route).Code == 0 && w.mayFollow(&x.route.URI) && w.targets.hasURI(x.route.Addr.In(b)) {
			continue
		}
		if n++; n > 1 {
			e.Text = append(e.Text, ", "...)
		}
		e.Text = append(e.Text, v.In(b)...)
	}
	e.Text = append(e.Text, "\r\n"...)
	if n == 0 {
		return nil
	}
	e.Insert(int(m.LineSpan(m.First(parser.HeaderContact)).Off))
	for i := range m.HeaderCount() {
		if m.HeaderAt(i).ID == parser.HeaderContact {
			s := m.LineSpan(i)
			e.Cut(int(s.Off), int(s.Len))
		}
	}
	w.scratch = e.AppendTo(w.scratch[:0], b, int(m.Len))
	return w.scratch
}

// allTried tells whether a 3xx led nowhere but to places that had been tried: "If the target set remains empty after applying all of
// the above, the proxy MUST return an error response, which SHOULD be the 480 (Temporarily Unavailable) response." RFC 3261
// section 16.5
func (w *Worker) allTried(c *txn.ResponseContext) bool {
	for br := w.local.First(c); br != nil; br = w.local.Next(br) {
		if br.Status/100 == 3 && br.Flags&branchReplaced != 0 {
			return true
		}
	}
	return false
}
