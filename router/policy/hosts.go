package policy

import (
	"bytes"
	"net/netip"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
)

// hosts is a set of host patterns. Frozen after its making; safe for concurrent use.
type hosts struct {
	any      bool
	names    map[string]struct{}
	suffixes map[string]struct{} // with the dot before them
	ips      map[[16]byte]struct{}
}

// maxHost is the longest host name there is (RFC 1035 section 2.3.4), with room for a final dot.
const maxHost = 256

func newHosts(ps []config.TextPattern) *hosts {
	h := &hosts{names: map[string]struct{}{}, suffixes: map[string]struct{}{}, ips: map[[16]byte]struct{}{}}
	for _, p := range ps {
		switch p.Kind {
		case config.PatternPrefix:
			h.any = true // * alone: of hosts only the begin may be left open
		case config.PatternSuffix:
			h.suffixes[p.Text] = struct{}{}
		default:
			if ip, err := netip.ParseAddr(p.Text); err == nil {
				h.ips[ip.As16()] = struct{}{}
			} else {
				h.names[p.Text] = struct{}{}
			}
		}
	}
	return h
}

// has tells whether the host of a sip or sips URI is in h: case does not count there (RFC 3261 section 19.1.4), and
// addresses are compared by value.
func (h *hosts) has(b []byte, u *parser.URI) bool {
	if u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS {
		return false
	}
	if h.any {
		return true
	}
	name := u.Host.In(b)
	if len(h.ips) > 0 {
		if ip, ok := router.ParseIP(name); ok {
			_, found := h.ips[ip]
			return found
		}
	}
	if len(name) > maxHost {
		return false
	}
	var lower [maxHost]byte
	s := lower[:copy(lower[:], name)]
	for i, c := range s {
		if c-'A' <= 'Z'-'A' {
			s[i] = c | 0x20
		}
	}
	if len(s) > 0 && s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	if _, found := h.names[string(s)]; found {
		return true
	}
	if len(h.suffixes) == 0 {
		return false
	}
	for i := bytes.IndexByte(s, '.'); i > 0; {
		if _, found := h.suffixes[string(s[i:])]; found {
			return true
		}
		next := bytes.IndexByte(s[i+1:], '.')
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// users is a set of patterns for user parts, case-sensitive (RFC 3261 section 19.1.4).
type users struct {
	whole map[string]struct{}
	open  []config.TextPattern
}

func newUsers(ps []config.TextPattern) *users {
	s := &users{whole: map[string]struct{}{}}
	for _, p := range ps {
		if p.Kind == config.PatternExact {
			s.whole[p.Text] = struct{}{}
		} else {
			s.open = append(s.open, p)
		}
	}
	return s
}

// maxUser is the longest user part that is compared when it has escapes.
const maxUser = 256

func (s *users) has(b []byte, u *parser.URI) bool {
	user := u.User.In(b)
	if bytes.IndexByte(user, '%') >= 0 {
		if len(user) > maxUser {
			return false
		}
		var plain [maxUser]byte
		return s.match(parser.AppendUnescaped(plain[:0], user))
	}
	return s.match(user)
}

func (s *users) match(user []byte) bool {
	if _, found := s.whole[string(user)]; found {
		return true
	}
	for i := range s.open {
		p := &s.open[i]
		at := 0
		if p.Kind == config.PatternSuffix {
			at = max(len(user)-len(p.Text), 0)
		}
		if hasPrefix(user[at:], p.Text) {
			return true
		}
	}
	return false
}

func equalFold(b []byte, s string) bool { return parser.EqualFoldString(b, s) }
