package tlslayer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sipedge/transport/tlslayer/tlstest"
)

// meet runs a handshake of our server with a client of crypto/tls.
func meet(t testing.TB, c *Config, client *tls.Config) (s *side, peer *tls.Conn, ours, theirs error) {
	t.Helper()
	s = newSide(t, 1<<20, c.Server)
	peer = tls.Client(s.link, client)
	done := make(chan error, 1)
	go func() { done <- peer.Handshake() }()
	ours = s.shake()
	if ours == nil {
		// In TLS 1.3 a client is done before its certificate was judged; only a Read tells it.
		s.write([]byte("x"))
	}
	theirs = <-done
	if theirs == nil {
		_, theirs = io.ReadFull(peer, make([]byte, 1))
	}
	return s, peer, ours, theirs
}

// reach runs a handshake of our client with a server of crypto/tls.
func reach(t testing.TB, c *Config, name string, server *tls.Config) (s *side, peer *tls.Conn, ours, theirs error) {
	t.Helper()
	s = newSide(t, 1<<20, func(notify func()) *Conn { return c.Client(name, notify) })
	peer = tls.Server(s.link, server)
	done := make(chan error, 1)
	go func() { done <- peer.Handshake() }()
	ours = s.shake()
	return s, peer, ours, <-done
}

func TestChoice(t *testing.T) {
	w := newWorld(t)
	first := w.issue(t, "first", tlstest.Names{DNS: []string{"first.example.com"}})
	exact := w.issue(t, "exact", tlstest.Names{DNS: []string{"a.wild.example.com", "other.example.com"}})
	wild := w.issue(t, "wild", tlstest.Names{DNS: []string{"*.wild.example.com"}})
	sip := w.issue(t, "sip", tlstest.Names{SIP: []string{"domain.example.com"}, DNS: []string{"host.example.com"}})
	common := w.issue(t, "common", tlstest.Names{CommonName: "cn.example.com"})
	rsa := w.issue(t, "rsa", tlstest.Names{RSA: true, DNS: []string{"first.example.com"}})
	c := load(t, files(first, exact, wild, sip, common, rsa))
	onlyRSA := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, k := range []struct {
		asked  string
		suites []uint16
		want   tlstest.Pair
	}{
		{"first.example.com", nil, first},
		{"FIRST.Example.com", nil, first},
		{"first.example.com", onlyRSA, rsa},
		{"a.wild.example.com", nil, exact},
		{"b.wild.example.com", nil, wild},
		{"wild.example.com", nil, first},
		{"a.b.wild.example.com", nil, first},
		{"other.example.com", nil, exact},
		{"domain.example.com", nil, sip},
		{"host.example.com", nil, sip},
		{"cn.example.com", nil, common},
		{"unknown.example.com", nil, first},
		{"unknown.example.com", onlyRSA, rsa},
		{"192.0.2.1", nil, first}, // no name is sent for an address
		{"", nil, first},
	} {
		cfg := &tls.Config{ServerName: k.asked, InsecureSkipVerify: true, CipherSuites: k.suites}
		if k.suites != nil {
			cfg.MaxVersion = tls.VersionTLS12
		}
		_, peer, ours, theirs := meet(t, c, cfg)
		if ours != nil || theirs != nil {
			t.Errorf("%q: %v, %v", k.asked, ours, theirs)
			continue
		}
		if got := peer.ConnectionState().PeerCertificates[0]; !got.Equal(k.want.TLS.Leaf) {
			t.Errorf("%q with suites %v: got the certificate for %v %q", k.asked, k.suites, got.DNSNames, got.Subject)
		}
	}
	if _, _, ours, theirs := meet(t, load(t, Files{}), &tls.Config{InsecureSkipVerify: true}); ours == nil || theirs == nil {
		t.Error("a server without certificate")
	}
}

func TestIdentities(t *testing.T) {
	w := newWorld(t)
	for i, k := range []struct {
		names tlstest.Names
		want  string
	}{
		{tlstest.Names{SIP: []string{"Example.COM"}}, "example.com"},
		{tlstest.Names{SIP: []string{"a.example", "b.example", "a.example"}}, "a.example b.example"},
		{tlstest.Names{URI: []string{"sip:example.com:5061;transport=tls", "SIP:b.example?Subject=x"}}, "example.com b.example"},
		{tlstest.Names{URI: []string{"sip:[2001:DB8::1]:5061"}}, "2001:db8::1"},
		// "The URI value that contains a userpart (there is an '@')": no domain. Then the DNS names count.
		{tlstest.Names{URI: []string{"sip:alice@example.com"}, DNS: []string{"d.example"}}, "d.example"},
		{tlstest.Names{URI: []string{"sips:example.com"}}, ""},
		{tlstest.Names{URI: []string{"https://example.com/"}, DNS: []string{"D.example."[:9]}}, "d.example"},
		// DNS names count only where there is no SIP URI.
		{tlstest.Names{SIP: []string{"example.com"}, DNS: []string{"d.example"}}, "example.com"},
		{tlstest.Names{DNS: []string{"d.example", "*.e.example"}, CommonName: "cn.example"}, "d.example *.e.example"},
		// The common name counts only where there is no subjectAltName at all.
		{tlstest.Names{CommonName: "CN.example"}, "cn.example"},
		{tlstest.Names{CommonName: "cn.example", IP: []string{"192.0.2.1"}}, ""},
		{tlstest.Names{CommonName: "Alice Smith"}, ""},
		{tlstest.Names{CommonName: "192.0.2.1"}, ""},
		{tlstest.Names{CommonName: "-a.example"}, ""},
		{tlstest.Names{}, ""},
	} {
		p := w.issue(t, fmt.Sprint("c", i), k.names)
		if got := strings.Join(Identities(p.TLS.Leaf), " "); got != k.want {
			t.Errorf("%+v: %q, want %q", k.names, got, k.want)
		}
	}
}

// RFC 5922 section 7.3, both versions: whom we connect to has to be the domain, by a chain that we trust.
func TestServerIdentity(t *testing.T) {
	w := newWorld(t)
	elsewhere := worldOf(t, "elsewhere")
	c := load(t, Files{Roots: w.ca.File})
	for i, k := range []struct {
		names tlstest.Names
		asked string
		says  string // in the error; "" for none
	}{
		{tlstest.Names{SIP: []string{"example.com"}}, "example.com", ""},
		{tlstest.Names{SIP: []string{"example.com"}}, "EXAMPLE.com.", ""},
		{tlstest.Names{DNS: []string{"example.com"}}, "example.com", ""},
		{tlstest.Names{CommonName: "example.com"}, "example.com", ""},
		{tlstest.Names{SIP: []string{"example.com"}, SIPUsage: true}, "example.com", ""},
		{tlstest.Names{SIP: []string{"example.com"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, "example.com", ""},
		{tlstest.Names{SIP: []string{"example.com"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}, "example.com", "incompatible key usage"},
		{tlstest.Names{DNS: []string{"*.example.com"}}, "a.example.com", "not for a.example.com"},
		{tlstest.Names{DNS: []string{"example.com"}}, "a.example.com", "is for example.com and not for a.example.com"},
		{tlstest.Names{SIP: []string{"other.example"}, DNS: []string{"example.com"}}, "example.com", "is for other.example"},
		{tlstest.Names{URI: []string{"sip:alice@example.com"}}, "example.com", "no SIP domain"},
		{tlstest.Names{SIP: []string{"example.com"}, NotAfter: time.Now().Add(-time.Hour)}, "example.com", "expired"},
		{tlstest.Names{IP: []string{"192.0.2.1"}}, "192.0.2.1", ""},
		{tlstest.Names{IP: []string{"2001:db8::1"}}, "2001:DB8:0::1", ""},
		{tlstest.Names{IP: []string{"192.0.2.1"}}, "192.0.2.2", "not for 192.0.2.2"},
		{tlstest.Names{SIP: []string{"192.0.2.1"}}, "192.0.2.1", ""},
	} {
		for v, version := range versions {
			p := w.issue(t, fmt.Sprint("c", i), k.names)
			s, _, err, _ := reach(t, c, k.asked, &tls.Config{Certificates: []tls.Certificate{p.TLS}, MaxVersion: version})
			if k.says == "" && err != nil || k.says != "" && (err == nil || !strings.Contains(err.Error(), k.says)) {
				t.Errorf("TLS %s, %+v asked for %s: %v, want %q", v, k.names, k.asked, err, k.says)
			}
			if s.Established() != (err == nil) {
				t.Error("established", s.Established(), err)
			}
		}
	}
	foreign := elsewhere.issue(t, "c", tlstest.Names{SIP: []string{"example.com"}})
	if _, _, err, _ := reach(t, c, "example.com", &tls.Config{Certificates: []tls.Certificate{foreign.TLS}}); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Error("a chain that we do not know:", err)
	}
	// Without a CA file the system's authorities judge, and none of those signed this.
	if _, _, err, _ := reach(t, load(t, Files{}), "example.com", &tls.Config{Certificates: []tls.Certificate{foreign.TLS}}); err == nil {
		t.Error("the system's authorities accept it")
	}
}

// A resumed connection is judged like a first one: a ticket is no way around the name.
func TestResumptionIsVerified(t *testing.T) {
	w := newWorld(t)
	ca := w.issue(t, "a", tlstest.Names{SIP: []string{"example.com"}})
	server := &tls.Config{Certificates: []tls.Certificate{ca.TLS}}
	c := load(t, Files{Roots: w.ca.File})
	first := func() (*side, error) {
		s := newSide(t, 1<<20, func(notify func()) *Conn { return c.Client("example.com", notify) })
		done := peerOf(tls.Server(s.link, server), func(c *tls.Conn) error { _, err := c.Write([]byte("x")); return err })
		err := s.shake()
		if err == nil {
			s.pump(1)
		}
		<-done
		return s, err
	}
	if _, err := first(); err != nil {
		t.Fatal(err)
	}
	if s, err := first(); err != nil || !s.tls.ConnectionState().DidResume {
		t.Fatal("not resumed", err)
	}
	// The authority is trusted no more; the ticket is still in the cache.
	c.now.Load().roots = x509.NewCertPool()
	if _, err := first(); err == nil {
		t.Error("resumed with a server that is trusted no more")
	}
}

func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	elsewhere := worldOf(t, "elsewhere")
	pair := w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})
	known := w.issue(t, "b", tlstest.Names{SIP: []string{"b.example", "b2.example"}})
	serverOnly := w.issue(t, "d", tlstest.Names{DNS: []string{"d.example"}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	old := w.issue(t, "o", tlstest.Names{SIP: []string{"o.example"}, NotAfter: time.Now().Add(-time.Hour)})
	foreign := elsewhere.issue(t, "f", tlstest.Names{SIP: []string{"b.example"}})
	asking, demanding, silent := files(pair), files(pair), files(pair)
	asking.ClientCA, demanding.ClientCA, demanding.RequireClient = w.ca.File, w.ca.File, true
	for _, k := range []struct {
		mode string
		f    Files
		show *tlstest.Pair
		want string // identities, or "refused"
	}{
		{"asking", asking, &known, "b.example b2.example"},
		{"asking", asking, &serverOnly, "d.example"},
		{"asking", asking, nil, ""},
		{"asking", asking, &foreign, "refused"},
		{"asking", asking, &old, "refused"},
		{"demanding", demanding, &known, "b.example b2.example"},
		{"demanding", demanding, nil, "refused"},
		{"demanding", demanding, &foreign, "refused"},
		{"silent", silent, &known, ""},
	} {
		for v, version := range versions {
			c := load(t, k.f)
			cfg := &tls.Config{RootCAs: w.ca.Pool(), ServerName: "example.com", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(2)}
			who := "nobody"
			if k.show != nil {
				who = k.show.Cert
				// Shown even where the server's list of authorities does not have its issuer.
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &k.show.TLS, nil }
			}
			for i := range 2 { // the second is resumed
				s, _, ours, theirs := meet(t, c, cfg)
				if k.want == "refused" {
					if ours == nil || theirs == nil {
						t.Errorf("TLS %s, %s shows %s: %v, %v", v, k.mode, who, ours, theirs)
					}
					continue
				}
				if ours != nil || theirs != nil {
					t.Errorf("TLS %s, %s shows %s: %v, %v", v, k.mode, who, ours, theirs)
				}
				if got := strings.Join(s.Identities(), " "); got != k.want {
					t.Errorf("TLS %s, %s shows %s, connection %d: %q, want %q", v, k.mode, who, i, got, k.want)
				}
			}
		}
	}
}

// Outbound, we show a certificate that the server's request allows.
func TestOwnClientCertificate(t *testing.T) {
	w := newWorld(t)
	elsewhere := worldOf(t, "elsewhere")
	theirs := w.issue(t, "s", tlstest.Names{SIP: []string{"s.example"}})
	foreign := elsewhere.issue(t, "f", tlstest.Names{SIP: []string{"f.example"}})
	ours := w.issue(t, "o", tlstest.Names{SIP: []string{"o.example"}})
	for _, k := range []struct {
		pairs []tlstest.Pair
		want  string
	}{
		{[]tlstest.Pair{foreign, ours}, "o.example"},
		{[]tlstest.Pair{foreign}, ""},
		{nil, ""},
	} {
		f := files(k.pairs...)
		f.Roots = w.ca.File
		_, peer, err, perr := reach(t, load(t, f), "s.example", &tls.Config{
			Certificates: []tls.Certificate{theirs.TLS}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: w.ca.Pool(),
		})
		if err != nil || perr != nil {
			t.Fatal(err, perr)
		}
		got := ""
		if chain := peer.ConnectionState().PeerCertificates; len(chain) > 0 {
			got = strings.Join(Identities(chain[0]), " ")
		}
		if got != k.want {
			t.Errorf("shown %q, want %q", got, k.want)
		}
	}
}

func TestReload(t *testing.T) {
	w := newWorld(t)
	f := files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}}))
	c := load(t, f)
	cfg := &tls.Config{RootCAs: w.ca.Pool(), ServerName: "example.com", ClientSessionCache: tls.NewLRUClientSessionCache(2)}
	serial := func() string {
		t.Helper()
		_, peer, ours, theirs := meet(t, c, cfg)
		if ours != nil || theirs != nil {
			t.Fatal(ours, theirs)
		}
		return peer.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	live, _, _, _ := meet(t, c, cfg)
	before, was := c.now.Load(), serial()
	if err := c.Reload(); err != nil || c.now.Load() != before {
		t.Error("files that are the same change something", err)
	}
	next := w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}})
	if got := serial(); got != was {
		t.Error("changed before Reload")
	}
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != next.TLS.Leaf.SerialNumber.String() {
		t.Error("the certificate is not the new one; a ticket of before may have been taken")
	}
	live.write([]byte("still here"))
	// A broken file leaves all as it was.
	was = serial()
	os.WriteFile(next.Key, []byte("garbage"), 0o600)
	if err := c.Reload(); err == nil || !strings.Contains(err.Error(), next.Key) {
		t.Error("a broken key:", err)
	}
	if got := serial(); got != was {
		t.Error("a broken file changed something")
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t)
	f := files(w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}}))
	warnings := make(chan string, 10)
	c, err := Load(f, func(m string) { warnings <- m })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { c.Watch(ctx); close(ended) }()
	changes := func(change func()) *material {
		t.Helper()
		before := c.now.Load()
		change()
		for until := time.Now().Add(patience); c.now.Load() == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("the change is not noticed")
			}
			// The watch may not have begun when the files changed first.
			now := time.Now()
			os.Chtimes(f.Pairs[0].Cert, now, now)
			time.Sleep(settle + settle/2)
		}
		return c.now.Load()
	}
	changes(func() { w.issue(t, "a", tlstest.Names{DNS: []string{"example.com"}}) })
	before := c.now.Load()
	os.WriteFile(f.Pairs[0].Key, []byte("garbage"), 0o600)
	for warned := false; !warned; {
		select {
		case m := <-warnings: // on a slow machine there may be one of a certificate whose key was not written yet
			warned = strings.Contains(m, f.Pairs[0].Key+" holds no private key") && strings.Contains(m, "stay in force")
		case <-time.After(patience):
			t.Fatal("no warning of a broken file")
		}
	}
	if c.now.Load() != before {
		t.Error("a broken file took effect")
	}
	// As careful tools replace files: written beside, and renamed.
	changes(func() {
		next := w.issue(t, "b", tlstest.Names{DNS: []string{"example.com"}})
		os.Rename(next.Cert, f.Pairs[0].Cert)
		os.Rename(next.Key, f.Pairs[0].Key)
	})
	cancel()
	<-ended
}

func TestLoadErrors(t *testing.T) {
	w := newWorld(t)
	a := w.issue(t, "a", tlstest.Names{DNS: []string{"a.example"}})
	b := w.issue(t, "b", tlstest.Names{DNS: []string{"b.example"}})
	file := func(name, content string) string {
		name = filepath.Join(w.dir, name)
		os.WriteFile(name, []byte(content), 0o600)
		return name
	}
	ca, _ := os.ReadFile(w.ca.File)
	encrypted := file("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	damaged := file("damaged.pem", string(ca)+string(ca[:len(ca)-20]))
	wrong := file("wrong.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	empty := file("empty", "")
	missing := filepath.Join(w.dir, "missing")
	for _, k := range []struct {
		f    Files
		says []string
	}{
		{Files{Pairs: []Pair{{missing, a.Key}}}, []string{missing, "does not exist"}},
		{Files{Pairs: []Pair{{a.Cert, missing}}}, []string{missing, "does not exist"}},
		{Files{Pairs: []Pair{{a.Key, a.Cert}}}, []string{a.Key, "swapped"}},
		{Files{Pairs: []Pair{{a.Cert, b.Key}}}, []string{a.Cert, b.Key, "first certificate"}},
		{Files{Pairs: []Pair{{a.Cert, encrypted}}}, []string{encrypted, "passphrase"}},
		{Files{Pairs: []Pair{{a.Cert, empty}}}, []string{empty, "PEM"}},
		{Files{Pairs: []Pair{{empty, a.Key}}}, []string{empty, "no certificate"}},
		{Files{Pairs: []Pair{{w.dir, a.Key}}}, []string{w.dir}},
		{Files{ClientCA: missing}, []string{missing, "does not exist"}},
		{Files{ClientCA: empty}, []string{empty, "no certificate"}},
		{Files{Roots: damaged}, []string{damaged, "damaged"}},
		{Files{Roots: wrong}, []string{wrong, "certificate 1"}},
	} {
		c, err := Load(k.f, nil)
		if err == nil || c != nil {
			t.Errorf("%+v loads", k.f)
			continue
		}
		for _, part := range k.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	for when, says := range map[time.Duration]string{-time.Hour: "ended", 24 * time.Hour: "ends", 30 * 24 * time.Hour: ""} {
		var warned string
		p := w.issue(t, "old", tlstest.Names{DNS: []string{"a.example"}, NotAfter: time.Now().Add(when)})
		if _, err := Load(files(p), func(m string) { warned += m }); err != nil {
			t.Error(err)
		}
		if !strings.Contains(warned, says) || says == "" && warned != "" || says != "" && !strings.Contains(warned, p.Cert) {
			t.Errorf("a certificate that ends in %v: %q", when, warned)
		}
	}
}
