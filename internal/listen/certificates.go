package listen

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// CertificatesConfig says where the certificates of one listener lie.
type CertificatesConfig struct {
	CertFile string // PEM: the certificate, then those that lead to the root
	KeyFile  string // PEM
	// ClientCAFile is PEM with the authorities that certificates of clients must be signed by. "": clients are not asked for
	// one.
	ClientCAFile string
	// ClientsMayHaveNone lets in clients that show no certificate. One that is no good fails the handshake all the same.
	ClientsMayHaveNone bool
	Log                *slog.Logger
	Now                func() time.Time // nil means time.Now
}

// Certificates are what one listener shows, and asks for: files, read anew when one of them changes. While what lies there is
// no good, what was read before goes on.
//
// A certificate of a client is a lock on the door: that it was good is all that is known of it behind.
type Certificates struct {
	shown   *watched[tls.Certificate]
	clients *watched[x509.CertPool] // nil: clients are not asked
	asked   tls.ClientAuthType
}

// NewCertificates reads the files. It fails where they are no good.
func NewCertificates(c CertificatesConfig) (*Certificates, error) {
	s := &Certificates{}
	var err error
	s.shown, err = watch(&watched[tls.Certificate]{
		paths: []string{c.CertFile, c.KeyFile}, what: "certificate", log: c.Log, now: c.Now,
		read: func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.CertFile, c.KeyFile, err)
			}
			return &pair, nil
		},
		about: func(pair *tls.Certificate) []any { return []any{"expires", pair.Leaf.NotAfter} },
	})
	if err != nil {
		return nil, err
	}
	if c.ClientCAFile == "" {
		return s, nil
	}
	s.asked = tls.RequireAndVerifyClientCert
	if c.ClientsMayHaveNone {
		s.asked = tls.VerifyClientCertIfGiven
	}
	s.clients, err = watch(&watched[x509.CertPool]{
		paths: []string{c.ClientCAFile}, what: "list of authorities for clients", log: c.Log, now: c.Now,
		read: func() (*x509.CertPool, error) { return readAuthorities(c.ClientCAFile) },
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func readAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: there is no certificate in it, in PEM", path)
	}
	return pool, nil
}

// Expires is when the certificate that is shown now is over.
func (s *Certificates) Expires() time.Time { return s.shown.get().Leaf.NotAfter }

// Look looks at the files now. Handshakes do so by themselves, a second after the last look.
func (s *Certificates) Look() {
	s.shown.look()
	if s.clients != nil {
		s.clients.look()
	}
}

func (s *Certificates) config() *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.shown.get(), nil },
	}
	if s.clients == nil {
		return c
	}
	c.ClientAuth = s.asked
	c.SessionTicketsDisabled = true // a ticket would let in whom the authorities of an hour ago had signed
	asking := c
	c = c.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := asking.Clone()
		now.ClientCAs = s.clients.get()
		return now, nil
	}
	return c
}
