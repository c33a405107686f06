package tlslayer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

var (
	sanOID = asn1.ObjectIdentifier{2, 5, 29, 17}
	// sipDomainOID is id-kp-sipDomain, RFC 5924.
	sipDomainOID = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 20}
)

// Identities are the SIP domain identities of a certificate, RFC 5922 section 7.1, in lower case.
func Identities(cert *x509.Certificate) (domains []string) {
	for _, u := range cert.URIs {
		// "If the scheme of the URI is not "sip", then the implementation MUST NOT accept the value as a SIP domain
		// identity", and with a userpart "it MUST NOT" either.
		if u.Scheme != "sip" || strings.Contains(u.Opaque, "@") {
			continue
		}
		if host := hostOf(u.Opaque); host != "" && !slices.Contains(domains, host) {
			domains = append(domains, host)
		}
	}
	if domains != nil {
		return domains
	}
	// "An implementation MUST accept a domain name system identifier as a SIP domain identity if and only if no other identity is
	// found that matches the "sip" URI type described above."
	for _, name := range cert.DNSNames {
		if name = canonical(name); name != "" && !slices.Contains(domains, name) {
			domains = append(domains, name)
		}
	}
	if hasSAN(cert) {
		return domains
	}
	// "If and only if the subjectAltName does not appear in the certificate, the implementation MAY examine the CN field of the
	// certificate. If a valid DNS name is found there, the implementation MAY accept this value".
	if name := canonical(cert.Subject.CommonName); isDomain(name) {
		return []string{name}
	}
	return nil
}

func hasSAN(cert *x509.Certificate) bool {
	for _, e := range cert.Extensions {
		if e.Id.Equal(sanOID) {
			return true
		}
	}
	return false
}

// hostOf is the hostpart of what stands behind "sip:", without userinfo.
func hostOf(s string) string {
	if i := strings.IndexAny(s, ";?"); i >= 0 {
		s = s[:i]
	}
	if strings.HasPrefix(s, "[") {
		i := strings.IndexByte(s, ']')
		if i < 0 {
			return ""
		}
		return canonical(s[1:i])
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		s = s[:i]
	}
	return canonical(s)
}

// canonical makes names equal that RFC 5922 section 7.2 has equal: "Implementations MUST compare the values as DNS names, which means that
// the comparison is case insensitive". A name in a SIP URI is ASCII already, as an IDN in a certificate is (RFC 5280 section 7.2). Two spellings of one
// address become one.
func canonical(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if a, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return a.Unmap().String()
	}
	return name
}

// isDomain tells whether s, a common name, is a DNS name of two labels or more and not an address.
func isDomain(s string) bool {
	if len(s) > 253 || !strings.Contains(s, ".") {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
				return false
			}
		}
	}
	return true
}

// verifyClient judges what a client showed; that it showed something at all is for ClientAuth to demand.
func (m *material) verifyClient(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return nil
	}
	if err := verifyChain(s.PeerCertificates, m.clientCAs); err != nil {
		return fmt.Errorf("the client's certificate: %w", err)
	}
	return nil
}

// verifyServer judges what a server showed that has to be name, RFC 5922 section 7.3.
func (m *material) verifyServer(s tls.ConnectionState, name string) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	if err := verifyChain(s.PeerCertificates, m.roots); err != nil {
		return fmt.Errorf("the certificate of %s: %w", name, err)
	}
	leaf := s.PeerCertificates[0]
	domains := Identities(leaf)
	// Matching is of whole names: "Implementations MUST NOT match any form of wildcard". RFC 5922 section 7.2.
	if slices.Contains(domains, name) {
		return nil
	}
	// RFC 5922 is about domains. Where the next hop is named by its address there is none; then the rule is that of RFC 2818 section 3.1:
	// "the iPAddress subjectAltName must be present in the certificate and must exactly match the IP in the URI."
	if a, err := netip.ParseAddr(name); err == nil {
		for _, ip := range leaf.IPAddresses {
			if b, ok := netip.AddrFromSlice(ip); ok && b.Unmap() == a.Unmap() {
				return nil
			}
		}
	}
	return fmt.Errorf("the certificate is for %s and not for %s (wildcards do not count in SIP: RFC 5922 section 7.2)", list(domains), name)
}

func list(domains []string) string {
	if len(domains) == 0 {
		return "no SIP domain"
	}
	return strings.Join(domains, ", ")
}

// verifyChain is RFC 5280 path validation. A neighbour's certificate is good in both roles: RFC 3261 section 26.3.2.2 has proxies
// authenticate each other with their site certificates, whichever of them connects, and authorities that issue those put
// only serverAuth in.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool) error {
	opts := x509.VerifyOptions{
		Roots:         roots,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	for _, usage := range chain[0].UnknownExtKeyUsage {
		if usage.Equal(sipDomainOID) { // made for just this; crypto/x509 does not know it
			opts.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}
	}
	_, err := chain[0].Verify(opts)
	return err
}
