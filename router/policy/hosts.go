package policy

import (
	"bytes"
	"net/netip"

	"sipedge/config"
	"sipedge/parser"
	"sipedge/router"
)

// hosts finds the host patterns that have a host. Each has a value, by which the caller tells them apart. Frozen after its making; safe
// for concurrent use.
type hosts struct {
	any      []uint32
	names    map[string][]uint32
	suffixes map[string][]uint32 // with the dot before them
	ips      map[[16]byte][]uint32
}

// maxHost is the longest host name there is (RFC 1035 section 2.3.4), with room for a final dot.
const maxHost = 256

func newHosts(ps []config.TextPattern) *hosts {
	h := new(hosts)
	h.add(ps, 0)
	return h
}

func (h *hosts) add(ps []config.TextPattern, value uint32) {
	if h.names == nil {
		h.names, h.suffixes, h.ips = map[string][]uint32{}, map[string][]uint32{}, map[[16]byte][]uint32{}
	}
	for _, p := range ps {
		switch p.Kind {
		case config.PatternPrefix:
			h.any = append(h.any, value) // * alone: of hosts only the begin may be left open
		case config.PatternSuffix:
			h.suffixes[p.Text] = append(h.suffixes[p.Text], value)
		default:
			if ip, err := netip.ParseAddr(p.Text); err == nil {
				h.ips[ip.As16()] = append(h.ips[ip.As16()], value)
			} else {
				h.names[p.Text] = append(h.names[p.Text], value)
			}
		}
	}
}

// has tells whether any pattern has the host of u.
func (h *hosts) has(b []byte, u *parser.URI) bool {
	var found [1]uint64 // all values are 0
	h.collect(b, u, found[:])
	return found[0] != 0
}

// collect adds the values of the patterns that have the host of u to out; only sip and sips URIs have one. Case does not
// count there (RFC 3261 section 19.1.4), and addresses are compared by value.
func (h *hosts) collect(b []byte, u *parser.URI, out set) {
	if u.SchemeIs != parser.SchemeSIP && u.SchemeIs != parser.SchemeSIPS {
		return
	}
	out.addAll(h.any)
	name := u.Host.In(b)
	if len(h.ips) > 0 {
		if ip, ok := router.ParseIP(name); ok {
			out.addAll(h.ips[ip])
			return
		}
	}
	if len(name) > maxHost {
		return
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
	out.addAll(h.names[string(s)])
	if len(h.suffixes) == 0 {
		return
	}
	for i := bytes.IndexByte(s, '.'); i > 0; {
		out.addAll(h.suffixes[string(s[i:])])
		next := bytes.IndexByte(s[i+1:], '.')
		if next < 0 {
			return
		}
		i += 1 + next
	}
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
