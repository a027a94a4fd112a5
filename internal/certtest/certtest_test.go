package certtest

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"
)

// Who believes the authority believes what it signed, and not what signed itself; and the files are a pair.
func TestWhoIsBelieved(t *testing.T) {
	ca := New(t, x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	template := x509.Certificate{DNSNames: []string{"auth.example.com"}}
	for by, believed := range map[*Certificate]bool{ca: true, nil: false} {
		c := New(t, template, by)
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: "auth.example.com"}); (err == nil) != believed {
			t.Errorf("signed by the authority %v: %v", believed, err)
		}
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		c.Write(t, cert, key)
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			t.Error(err)
		}
	}
}
