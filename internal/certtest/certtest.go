// Package certtest makes certificates for tests: with a new key each, signed by themselves or by one that was made before.
// What stands in them, and who is to believe them, is left to the tests.
//
// The invariant: nobody outside of a test believes one, for nothing of it is kept but what the test writes down.
package certtest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"testing"
	"time"
)

// A Certificate has its key beside it.
type Certificate struct {
	*x509.Certificate
	Key             *ecdsa.PrivateKey
	CertPEM, KeyPEM []byte
}

// Make makes a certificate like template, signed by by, or by itself where that is nil. What template does not say is: number
// 1, good since an hour ago, for an hour from now.
func Make(template x509.Certificate, by *Certificate) (*Certificate, error) {
	template.SerialNumber = cmp.Or(template.SerialNumber, big.NewInt(1))
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if by == nil {
		by = &Certificate{Certificate: &template, Key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by.Certificate, key.Public(), by.Key)
	if err != nil {
		return nil, err
	}
	cert, err1 := x509.ParseCertificate(der)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	return &Certificate{
		cert, key,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, errors.Join(err1, err2)
}

// New is [Make] for a test.
func New(t testing.TB, template x509.Certificate, by *Certificate) *Certificate {
	t.Helper()
	c, err := Make(template, by)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Write writes the certificate and its key into files that are its owner's alone.
func (c *Certificate) Write(t testing.TB, certFile, keyFile string) {
	t.Helper()
	for file, text := range map[string][]byte{certFile: c.CertPEM, keyFile: c.KeyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
