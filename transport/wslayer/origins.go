package wslayer

import (
	"fmt"
	"strings"
)

// Origins says which web pages may connect; the zero value lets all. RFC 6455 section 10.2: it guards users against pages of others that run
// in their browser. Clients that are no browsers send no Origin, or any that they like, so one without is let in: to refuse it would
// stop nobody.
type Origins struct {
	exact map[string]bool
	wild  []wildcard
	some  bool
}

// wildcard is scheme://*suffix, with the dot and the port.
type wildcard struct{ scheme, suffix string }

// ParseOrigins reads a list of origins as browsers send them, like https://phone.example.com or http://localhost:8080; https://*.example.com stands for
// every host below example.com; * for any. An empty list lets all.
func ParseOrigins(list []string) (o Origins, err error) {
	for _, s := range list {
		if s == "*" {
			return Origins{}, nil
		}
		norm := normal(s)
		scheme, host, ok := strings.Cut(norm, "://")
		suffix, wild := strings.CutPrefix(host, "*")
		switch {
		case norm == "null": // what browsers send for local files and sandboxed frames
		case !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@ ,\t"):
			return Origins{}, fmt.Errorf("wslayer: %q is no origin; give SCHEME://HOST or SCHEME://HOST:PORT without a path, like https://phone.example.com", s)
		case strings.Contains(suffix, "*") || wild && (len(suffix) < 2 || suffix[0] != '.'):
			return Origins{}, fmt.Errorf("wslayer: origin %q: the only wildcard is a host's first label, like https://*.example.com", s)
		}
		o.some = true
		if wild {
			o.wild = append(o.wild, wildcard{scheme + "://", suffix})
			continue
		}
		if o.exact == nil {
			o.exact = map[string]bool{}
		}
		o.exact[norm] = true
	}
	return o, nil
}

// normal writes equal origins equally: RFC 6454 section 6.2 has lower case and no default port.
func normal(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "/"))
	switch {
	case strings.HasPrefix(s, "https://"):
		return strings.TrimSuffix(s, ":443")
	case strings.HasPrefix(s, "http://"):
		return strings.TrimSuffix(s, ":80")
	}
	return s
}

func (o *Origins) allow(origin []byte, given bool) bool {
	if !o.some || !given {
		return true
	}
	s := normal(string(origin))
	if o.exact[s] {
		return true
	}
	for _, w := range o.wild {
		host, ok := strings.CutPrefix(s, w.scheme)
		if label, below := strings.CutSuffix(host, w.suffix); ok && below && label != "" && !strings.ContainsAny(label, "/?#@: ,") {
			return true
		}
	}
	return false
}
