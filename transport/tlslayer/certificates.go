package tlslayer

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// material is what the files held when they were read last. It does not change.
type material struct {
	sum              [sha256.Size]byte // of all that was read
	pairs            []tls.Certificate
	byName           map[string][]*tls.Certificate // wildcards as they are written, "*.example.com"
	clientCAs, roots *x509.CertPool
	server           *tls.Config
	client           *tls.Config // to be cloned for each connection
}

var errNoPair = errors.New("tlslayer: no certificate; give --tls-cert and --tls-key")

// load reads the files; it returns old if nothing has changed.
func (c *Config) load(old *material) (*material, error) {
	r := reader{sum: sha256.New()}
	m := &material{byName: map[string][]*tls.Certificate{}}
	var loaded []loadedPair
	for _, p := range c.files.Pairs {
		loaded = append(loaded, loadedPair{p, r.read(p.Cert, "certificate"), r.read(p.Key, "private key")})
	}
	clientCA, roots := r.read(c.files.ClientCA, "client CA"), r.read(c.files.Roots, "CA")
	if r.err != nil {
		return nil, r.err
	}
	r.sum.Sum(m.sum[:0])
	if old != nil && old.sum == m.sum {
		return old, nil
	}
	for _, p := range loaded {
		cert, err := p.parse()
		if err != nil {
			return nil, err
		}
		c.warnOfEnd(p.Cert, cert.Leaf)
		m.pairs = append(m.pairs, cert)
	}
	for i := range m.pairs {
		for _, name := range serves(m.pairs[i].Leaf) {
			m.byName[name] = append(m.byName[name], &m.pairs[i])
		}
	}
	var err error
	if m.clientCAs, err = pool(c.files.ClientCA, clientCA); err != nil {
		return nil, err
	}
	if m.roots, err = pool(c.files.Roots, roots); err != nil {
		return nil, err
	}
	if m.roots == nil {
		if m.roots, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("tlslayer: the system's CA certificates cannot be read: %w; install the package ca-certificates or name a CA file", err)
		}
	}
	m.configure(c.files.RequireClient)
	return m, nil
}

// configure makes what connections share. Tickets of before do not fit the new server configuration: who comes back after a reload
// shows its certificate anew.
//
// Deviation: RFC 3261 section 26.2.1 wants TLS_RSA_WITH_AES_128_CBC_SHA at least, and TLS_RSA_WITH_3DES_EDE_CBC_SHA for old peers. Neither has forward
// secrecy, and crypto/tls has taken them out of its defaults, which are what we use.
func (m *material) configure(requireClient bool) {
	m.server = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: m.choose,
		// A SIP message is of use only as a whole; small first records only cost.
		DynamicRecordSizingDisabled: true,
	}
	if m.clientCAs != nil {
		m.server.ClientCAs = m.clientCAs // sent as a hint; the verification is ours, see verifyChain
		m.server.ClientAuth = tls.RequestClientCert
		if requireClient {
			m.server.ClientAuth = tls.RequireAnyClientCert
		}
		m.server.VerifyConnection = m.verifyClient
	}
	m.client = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// crypto/tls would accept wildcards and refuse SIP URIs. verifyServer, which runs for resumed connections too, does
		// all that this leaves out.
		InsecureSkipVerify:          true,
		GetClientCertificate:        m.show,
		ClientSessionCache:          tls.NewLRUClientSessionCache(sessions),
		DynamicRecordSizingDisabled: true,
	}
}

// toward is the configuration of a connection to name.
func (m *material) toward(name string) *tls.Config {
	name = canonical(name)
	cfg := m.client.Clone()
	// "the client SHOULD use that extension to request a certificate corresponding to the specific domain (from the SIP AUS)". RFC 5922 section 7.8.
	// crypto/tls sends none for an address; the name is the key of the ticket cache too.
	cfg.ServerName = name
	cfg.VerifyConnection = func(s tls.ConnectionState) error { return m.verifyServer(s, name) }
	return cfg
}

// choose finds the certificate for a client's hello: of those for the name it asks for, else of all, the first that it can
// verify a signature of; else the first of all.
func (m *material) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(m.pairs) == 0 {
		return nil, errNoPair
	}
	anonymous := *hello
	anonymous.ServerName = "" // SupportsCertificate would compare it without regard to SIP URIs
	name := canonical(hello.ServerName)
	candidates := m.byName[name]
	if candidates == nil {
		if _, domain, ok := strings.Cut(name, "."); ok {
			candidates = m.byName["*."+domain]
		}
	}
	for _, cert := range candidates {
		if anonymous.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	for i := range m.pairs {
		if anonymous.SupportsCertificate(&m.pairs[i]) == nil {
			return &m.pairs[i], nil
		}
	}
	return &m.pairs[0], nil
}

// show finds the certificate for a server that asks for one; an empty one says that there is none that it would take.
func (m *material) show(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	for i := range m.pairs {
		if request.SupportsCertificate(&m.pairs[i]) == nil {
			return &m.pairs[i], nil
		}
	}
	return &tls.Certificate{}, nil
}

// serves lists the names that a client may ask for to get cert. More count than SIP identities do: who asks judges.
func serves(cert *x509.Certificate) (names []string) {
	names = append(names, Identities(cert)...)
	seen := map[string]bool{}
	for _, n := range names {
		seen[n] = true
	}
	for _, n := range cert.DNSNames {
		if n = canonical(n); !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	return names
}

func (c *Config) warnOfEnd(file string, cert *x509.Certificate) {
	switch left := time.Until(cert.NotAfter); {
	case left <= 0:
		c.warn(fmt.Sprintf("tls: the certificate in %s ended on %s: peers refuse it; replace the file", file, cert.NotAfter.Format(time.DateTime)))
	case left < expiry:
		c.warn(fmt.Sprintf("tls: the certificate in %s ends on %s; replace the file before", file, cert.NotAfter.Format(time.DateTime)))
	}
}

// reader reads files until one fails.
type reader struct {
	sum hash.Hash
	err error
}

func (r *reader) read(name, what string) []byte {
	if name == "" || r.err != nil {
		fmt.Fprintf(r.sum, "%s none;", what)
		return nil
	}
	b, err := readFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.err = fmt.Errorf("tlslayer: the %s file %s does not exist: %w", what, name, err)
	case errors.Is(err, fs.ErrPermission):
		r.err = fmt.Errorf("tlslayer: the %s file %s may not be read by this user: %w", what, name, err)
	case err != nil:
		r.err = fmt.Errorf("tlslayer: the %s file %s: %w", what, name, err)
	}
	fmt.Fprintf(r.sum, "%s %d;", what, len(b))
	r.sum.Write(b)
	return b
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("is larger than %d bytes: not a PEM file", maxFile)
	}
	return b, err
}

type loadedPair struct {
	Pair
	cert, key []byte
}

func (p *loadedPair) parse() (tls.Certificate, error) {
	if !hasBlock(p.cert, "CERTIFICATE") {
		hint := "give the chain in PEM, the server's certificate first"
		if hasBlock(p.cert, "PRIVATE KEY") {
			hint = "it holds a private key: are --tls-cert and --tls-key swapped?"
		}
		return tls.Certificate{}, fmt.Errorf("tlslayer: %s holds no certificate; %s", p.Cert, hint)
	}
	if !hasBlock(p.key, "PRIVATE KEY") {
		hint := "give the key in PEM"
		if hasBlock(p.key, "ENCRYPTED") {
			hint = "it is encrypted: store it without a passphrase"
		}
		return tls.Certificate{}, fmt.Errorf("tlslayer: %s holds no private key that can be used; %s", p.Key, hint)
	}
	cert, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		return cert, fmt.Errorf("tlslayer: %s and %s cannot be used together: %w; the key must be that of the first certificate in the file", p.Cert, p.Key, err)
	}
	if cert.Leaf == nil {
		cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	}
	return cert, err
}

// hasBlock tells whether a PEM file has a block of that type, or one whose type ends in it ("EC PRIVATE KEY").
func hasBlock(b []byte, kind string) bool {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, kind) && !strings.HasPrefix(block.Type, "ENCRYPTED") ||
			kind == "ENCRYPTED" && (strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "") {
			return true
		}
		b = rest
	}
}

// pool makes a pool of a CA file; nil for no file.
func pool(name string, b []byte) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	p := x509.NewCertPool()
	n := 0
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("tlslayer: CA file %s: certificate %d cannot be read: %w", name, n+1, err)
		}
		p.AddCert(cert)
		n++
	}
	if n == 0 {
		return nil, fmt.Errorf("tlslayer: the CA file %s holds no certificate; give the authorities' certificates in PEM", name)
	}
	if len(bytes.TrimSpace(b)) > 0 && bytes.Contains(b, []byte("-----BEGIN")) {
		return nil, fmt.Errorf("tlslayer: the CA file %s is damaged: a PEM block in it has no end", name)
	}
	return p, nil
}
