package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// CertificatesConfig says where a certificate lies.
type CertificatesConfig struct {
	CertFile string // PEM: the certificate, then those that lead to the root
	KeyFile  string // PEM
	Log      *slog.Logger
	Now      func() time.Time // nil means time.Now
}

// Certificates are a pair of files, read anew when one of them changes. While what lies there is no good, the former pair
// goes on.
type Certificates struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time
	current           atomic.Pointer[tls.Certificate]
	looked            atomic.Int64 // when the files were last looked at, Unix nanoseconds

	mu   sync.Mutex
	cert os.FileInfo // as they were when they were last read
	key  os.FileInfo
}

// lookEvery is how often handshakes look at the files at most.
const lookEvery = time.Second

// NewCertificates reads the files. It fails where they are no good.
func NewCertificates(c CertificatesConfig) (*Certificates, error) {
	s := &Certificates{certFile: c.CertFile, keyFile: c.KeyFile, log: c.Log, now: c.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.looked.Store(s.now().UnixNano())
	if _, err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Expires is when the certificate that is shown now is over.
func (s *Certificates) Expires() time.Time { return s.get().Leaf.NotAfter }

func (s *Certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.get(), nil },
	}
}

// get returns the certificate, after a look at the files if the last one is long enough ago.
func (s *Certificates) get() *tls.Certificate {
	now, looked := s.now().UnixNano(), s.looked.Load()
	if now-looked >= int64(lookEvery) && s.looked.CompareAndSwap(looked, now) {
		s.Look()
	}
	return s.current.Load()
}

// Look looks at the files now. Handshakes do so by themselves, a second after the last look.
func (s *Certificates) Look() {
	if changed, err := s.load(); err != nil {
		s.log.Error("the new certificate is no good; the former one goes on", "cert_file", s.certFile, "key_file", s.keyFile, "error", err)
	} else if changed {
		s.log.Info("a new certificate is shown", "cert_file", s.certFile, "expires", s.current.Load().Leaf.NotAfter)
	}
}

// load reads the files if they are not as they were. Files that are no good are said to be so once.
func (s *Certificates) load() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cert, err1 := os.Stat(s.certFile) // before they are read: what is written meanwhile shows at the next look
	key, err2 := os.Stat(s.keyFile)
	if same(cert, s.cert) && same(key, s.key) && s.current.Load() != nil {
		return false, nil
	}
	s.cert, s.key = cert, key
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
	if err != nil {
		return false, fmt.Errorf("%s, %s: %w", s.certFile, s.keyFile, err)
	}
	s.current.Store(&pair)
	return true, nil
}

// same says whether two looks at a file, nil where there was none, show the same.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
