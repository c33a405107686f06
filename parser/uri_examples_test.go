package parser

import "testing"

// TestURIExamples reads the URIs of RFC 3261 section 19.1.3 as that section explains them.
func TestURIExamples(t *testing.T) {
	for _, c := range []struct {
		uri                           string
		scheme                        Scheme
		user, password, host, headers string
	}{
		{"sip:alice@atlanta.com", SchemeSIP, "alice", "", "atlanta.com", ""},
		{"sip:alice:secretword@atlanta.com;transport=tcp", SchemeSIP, "alice", "secretword", "atlanta.com", ""},
		{"sips:alice@atlanta.com?subject=project%20x&priority=urgent", SchemeSIPS, "alice", "", "atlanta.com", "subject=project%20x&priority=urgent"},
		{"sip:+1-212-555-1212:1234@gateway.com;user=phone", SchemeSIP, "+1-212-555-1212", "1234", "gateway.com", ""},
		{"sips:1212@gateway.com", SchemeSIPS, "1212", "", "gateway.com", ""},
		{"sip:alice@192.0.2.4", SchemeSIP, "alice", "", "192.0.2.4", ""},
		{"sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com", SchemeSIP, "", "", "atlanta.com", "to=alice%40atlanta.com"},
		// "The escaping rules defined above allow a semicolon to appear unescaped in this field."
		{"sip:alice;day=tuesday@atlanta.com", SchemeSIP, "alice;day=tuesday", "", "atlanta.com", ""},
	} {
		b, u := uri(t, c.uri)
		if u.SchemeIs != c.scheme || u.HasUser != (c.user != "") {
			t.Errorf("%s: scheme %d, user part: %v", c.uri, u.SchemeIs, u.HasUser)
		}
		want(t, c.uri+" user", string(u.User.In(b)), c.user)
		want(t, c.uri+" password", string(u.Password.In(b)), c.password)
		want(t, c.uri+" host", string(u.Host.In(b)), c.host)
		want(t, c.uri+" headers", string(u.Headers.In(b)), c.headers)
	}
}
