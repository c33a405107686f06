package config

import (
	"fmt"
	"strings"

	"sipedge/parser"
)

// checkURI wants a whole URI of a scheme whose form we know.
func checkURI(s string) error {
	var u parser.URI
	b := []byte(s)
	if len(b) > maxPolicyText {
		return fmt.Errorf("it has more than %d characters", maxPolicyText)
	}
	err := parser.ParseURI(b, parser.Span{Len: uint16(len(b))}, &u)
	switch {
	case err.Code != 0:
		return fmt.Errorf("%q is no URI from character %d on", s, err.Off+1)
	case u.SchemeIs == parser.SchemeSIP || u.SchemeIs == parser.SchemeSIPS || u.SchemeIs == parser.SchemeTel:
		return nil
	}
	return fmt.Errorf("%q is neither a sip, a sips nor a tel URI", s)
}

// isUser is the user of RFC 3261 section 25.1, without escapes.
func isUser(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0) {
			return false
		}
	}
	return s != ""
}
