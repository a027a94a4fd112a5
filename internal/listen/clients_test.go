package listen_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/listen"
)

// An authority signs certificates of clients.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T, serial int64) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{byte(serial)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// client signs a certificate of a client, good until then.
func (a *authority) client(t *testing.T, until time.Time, use ...x509.ExtKeyUsage) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: until, ExtKeyUsage: use}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// showing is a client that shows a certificate whoever the server believes, and remembers sessions.
func showing(certificate *tls.Certificate, versions ...uint16) *http.Client {
	c := client(versions...)
	config := c.Transport.(*http.Transport).TLSClientConfig
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return c
}

// A lock is a listener that asks clients for certificates, by a file of authorities that is written anew.
func newLock(t *testing.T, ca []byte, optional bool) (w *world, authorities string, f *folder) {
	t.Helper()
	f = newFolder(t, newPair(t, 1, time.Now().Add(time.Hour)))
	authorities = filepath.Join(f.dir, "ca.pem")
	if err := os.WriteFile(authorities, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var err error
	f.Certificates, err = listen.NewCertificates(listen.CertificatesConfig{
		CertFile: filepath.Join(f.dir, "cert.pem"), KeyFile: filepath.Join(f.dir, "key.pem"),
		ClientCAFile: authorities, ClientsMayHaveNone: optional,
		Now: func() time.Time { return start.Add(time.Duration(f.past.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, listen.Config{Certificates: f.Certificates}), authorities, f
}

func TestCertificatesOfClients(t *testing.T) {
	ours, others := newAuthority(t, 100), newAuthority(t, 101)
	later := time.Now().Add(time.Hour)
	for _, optional := range []bool{false, true} {
		w, _, _ := newLock(t, ours.pem, optional)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for name, c := range map[string]struct {
				shown *tls.Certificate
				good  bool
			}{
				"none":           {nil, optional},
				"ours":           {ours.client(t, later, x509.ExtKeyUsageClientAuth), true},
				"another's":      {others.client(t, later, x509.ExtKeyUsageClientAuth), false},
				"expired":        {ours.client(t, time.Now().Add(-time.Minute), x509.ExtKeyUsageClientAuth), false},
				"for servers":    {ours.client(t, later, x509.ExtKeyUsageServerAuth), false},
				"a self-made CA": {&tls.Certificate{Certificate: [][]byte{others.cert.Raw}, PrivateKey: others.key}, false},
			} {
				if _, _, err := get(showing(c.shown, version), "https://"+w.addr+"/x"); (err == nil) != c.good {
					t.Errorf("optional %v, %s, %s: %v", optional, tls.VersionName(version), name, err)
				}
			}
		}
		w.mu.Lock()
		if want := map[bool]int{false: 2, true: 4}[optional]; len(w.arrived) != want {
			t.Errorf("%d requests arrived, want %d", len(w.arrived), want)
		}
		w.mu.Unlock()
	}
}

// Whoever may come in is decided by the authorities that are there now: for new connections of clients that were let in before,
// too.
func TestAuthoritiesAreReadAnew(t *testing.T) {
	former, next := newAuthority(t, 100), newAuthority(t, 101)
	w, authorities, f := newLock(t, former.pem, false)
	until := time.Now().Add(time.Hour)
	first, second := showing(former.client(t, until, x509.ExtKeyUsageClientAuth)), showing(next.client(t, until, x509.ExtKeyUsageClientAuth))
	for _, step := range []struct {
		name          string
		write         string
		first, second bool
	}{
		{"as it was", "", true, false},
		{"both", string(former.pem) + string(next.pem), true, true},
		{"the next", string(next.pem), false, true},
		{"rubbish", "rubbish", false, true},
		{"the former", string(former.pem), true, false},
	} {
		if step.write != "" {
			if err := os.WriteFile(authorities, []byte(step.write), 0o600); err != nil {
				t.Fatal(err)
			}
			f.past.Add(int64(2 * time.Second))
		}
		for c, good := range map[*http.Client]bool{first: step.first, second: step.second} {
			c.CloseIdleConnections()
			if _, _, err := get(c, "https://"+w.addr+"/x"); (err == nil) != good {
				t.Errorf("%s: the client of the former authority %v: got %v", step.name, c == first, err)
			}
		}
	}
}

func TestNoGoodAuthoritiesAtTheStart(t *testing.T) {
	f := newFolder(t, newPair(t, 1, time.Now().Add(time.Hour)))
	for name, want := range map[string]string{"missing.pem": "no such file", "key.pem": "no certificate in it"} {
		if _, err := listen.NewCertificates(listen.CertificatesConfig{
			CertFile: filepath.Join(f.dir, "cert.pem"), KeyFile: filepath.Join(f.dir, "key.pem"), ClientCAFile: filepath.Join(f.dir, name),
		}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
