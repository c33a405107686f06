// Package tlstest makes certificates for tests and demonstrations: an authority of its own, and what it signs, as PEM files.
//
// Enters: a directory, the names that a certificate shall prove.
// Leaves: files, and the same in memory for peers made with crypto/tls.
// Never:  is imported by the server.
package tlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates. Its own is in File.
type Authority struct {
	File string // PEM
	Cert *x509.Certificate

	dir string
	key crypto.Signer
}

// NewAuthority makes an authority and writes its certificate to dir/name.pem. The directory is where Issue writes too.
func NewAuthority(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour * 365),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &Authority{File: filepath.Join(dir, name+".pem"), dir: dir, key: key}
	if a.Cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, write(a.File, "CERTIFICATE", der)
}

// Pool holds the authority, for peers that verify.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Cert)
	return p
}

// Names is what a certificate says. The zero value of each is "none".
type Names struct {
	SIP        []string // domains, as URI subjectAltNames "sip:DOMAIN"
	URI        []string // other URI subjectAltNames, as they are
	DNS        []string
	IP         []string
	CommonName string

	RSA      bool               // an RSA key, else ECDSA P-256
	NotAfter time.Time          // zero: in 30 days
	Usages   []x509.ExtKeyUsage // nil: both serverAuth and clientAuth
	// SIPUsage has id-kp-sipDomain (RFC 5924) as the only extended key usage.
	SIPUsage bool
}

// Pair is a certificate with its key: the files, and the same in memory.
type Pair struct {
	Cert, Key string
	TLS       tls.Certificate
}

// Issue signs a certificate for names and writes it to name.pem and its key to name.key.
func (a *Authority) Issue(name string, names Names) (p Pair, err error) {
	var key crypto.Signer
	if names.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return p, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: names.CommonName},
		NotBefore: time.Now().Add(-24 * time.Hour * 365), NotAfter: names.NotAfter,
		DNSNames: names.DNS, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: names.Usages,
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour * 30)
	}
	if names.SIPUsage {
		template.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 20}}
	} else if names.Usages == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	for _, domain := range names.SIP {
		template.URIs = append(template.URIs, &url.URL{Scheme: "sip", Opaque: domain})
	}
	for _, s := range names.URI {
		u, err := url.Parse(s)
		if err != nil {
			return p, err
		}
		template.URIs = append(template.URIs, u)
	}
	for _, s := range names.IP {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			return p, err
		}
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, key.Public(), a.key)
	if err != nil {
		return p, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return p, err
	}
	p = Pair{Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key")}
	p.TLS = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if p.TLS.Leaf, err = x509.ParseCertificate(der); err != nil {
		return p, err
	}
	if err := write(p.Cert, "CERTIFICATE", der); err != nil {
		return p, err
	}
	return p, write(p.Key, "PRIVATE KEY", keyDER)
}

func write(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n
}
