package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/crypto/acme"
)

// CertificatesConfig says where the certificates of one listener lie, or come from.
type CertificatesConfig struct {
	CertFile string // PEM: the certificate, then those that lead to the root
	KeyFile  string // PEM
	// ACME gets certificates instead, which are renewed by themselves. nil: the files.
	ACME *ACMEConfig
	// ClientCAFile is PEM with the authorities that certificates of clients must be signed by. "": clients are not asked for
	// one.
	ClientCAFile string
	// ClientsMayHaveNone lets in clients that show no certificate. One that is no good fails the handshake all the same.
	ClientsMayHaveNone bool
	Log                *slog.Logger
	Now                func() time.Time // nil means time.Now
}

// Certificates are what one listener shows, and asks for. What comes from files is read anew when one of them changes; while
// what lies there is no good, what was read before goes on.
//
// A certificate of a client is a lock on the door: that it was good is all that is known of it behind.
type Certificates struct {
	shown   *watched[tls.Certificate] // nil: acme
	acme    *acmeClient               // nil: shown
	clients *watched[x509.CertPool]   // nil: clients are not asked
	asked   tls.ClientAuthType
}

// NewCertificates reads the files. It fails where they are no good. With ACME it asks nobody: [Certificates.Run] does.
func NewCertificates(c CertificatesConfig) (*Certificates, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Certificates{}
	var err error
	if c.ACME != nil {
		s.acme, err = newACMEClient(*c.ACME, c.Log, c.Now)
	} else {
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
	}
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

// Run gets what ACME is to get, until ctx ends. For files there is nothing to do.
func (s *Certificates) Run(ctx context.Context) error {
	if s.acme != nil {
		return s.acme.run(ctx)
	}
	<-ctx.Done()
	return nil
}

// Expires is when the certificate that is shown now is over, or the first of several. Zero: there is none yet.
func (s *Certificates) Expires() time.Time {
	if s.acme != nil {
		return s.acme.expires()
	}
	return s.shown.get().Leaf.NotAfter
}

// Look looks at the files now, and has what ACME could not get tried again. Handshakes look at files by themselves, a second
// after the last look.
func (s *Certificates) Look() {
	if s.acme != nil {
		s.acme.look()
	} else {
		s.shown.look()
	}
	if s.clients != nil {
		s.clients.look()
	}
}

// certificate returns what is shown in a handshake.
func (s *Certificates) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil {
		return s.acme.certificate(hello)
	}
	return s.shown.get(), nil
}

func (s *Certificates) config() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: s.certificate}
	if s.clients == nil && s.acme == nil {
		return c
	}
	var challenge *tls.Config
	if s.acme != nil {
		challenge = c.Clone() // the ACME server shows no certificate
		challenge.NextProtos = []string{acme.ALPNProto}
	}
	if s.clients != nil {
		c.ClientAuth = s.asked
		c.SessionTicketsDisabled = true // a ticket would let in whom the authorities of an hour ago had signed
	}
	usual := c
	c = c.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if challenge != nil && challenged(hello) {
			return challenge, nil
		}
		if s.clients == nil {
			return nil, nil // as it is
		}
		now := usual.Clone()
		now.ClientCAs = s.clients.get()
		return now, nil
	}
	return c
}
