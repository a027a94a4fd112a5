package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/certtest"
)

// reloads is how often the configuration and the certificate are replaced under load.
const reloads = 100

// Nobody who calls meanwhile notices that the configuration and the certificate are replaced, again and again: not on a
// connection that stays, not on a new one, over HTTP/1 and HTTP/2.
func TestReloadsUnderLoadLoseNoRequest(t *testing.T) {
	api := newUpstream(t, func(call) string { return `{"ok":true}` })
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	configuration := func(generation int) string {
		return fmt.Sprintf("tls: {cert_file: '%s', key_file: '%s'}\nrealm: generation %d\nroutes: [{path: /api, public: true, upstream: '%s'}, {path: /g%d, public: true, upstream: '%s'}]\n",
			filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), generation, api.URL, generation, api.URL)
	}
	s := startServer(t, configuration(0))
	whole, err := os.ReadFile(s.config())
	if err != nil {
		t.Fatal(err)
	}
	head := strings.TrimSuffix(string(whole), configuration(0)) // where it listens

	var asked, failed atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for i := range 8 {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: i%2 == 0, DisableKeepAlives: i%4 == 3,
		}
		callers.Go(func() {
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: time.Minute}
			for {
				select {
				case <-stop:
					return
				default:
				}
				// POST: net/http repeats no POST by itself, so every loss is seen.
				res, err := client.Post("https://"+s.Listen+"/api/x", "application/json", strings.NewReader(`{}`))
				asked.Add(1)
				if err != nil {
					failed.Add(1)
					t.Error(err)
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != http.StatusOK || string(body) != `{"ok":true}` {
					failed.Add(1)
					t.Errorf("got %d %s, %v", res.StatusCode, body, err)
				}
			}
		})
	}
	for i := 1; i <= reloads; i++ {
		writeCertificate(t, dir, int64(i+1))
		replace(t, s.config(), []byte(head+configuration(i)))
		s.Signal(syscall.SIGHUP)
		s.awaitReload(t, i)
	}
	close(stop)
	callers.Wait()
	if served := s.certificateSerial(t); served != reloads+1 {
		t.Errorf("the certificate shown is number %d, want %d", served, reloads+1)
	}
	if got := api.take(); int64(len(got)) < asked.Load() {
		t.Errorf("%d calls, %d arrived", asked.Load(), len(got))
	}
	t.Logf("%d reloads of configuration and certificate, %d calls meanwhile, %d failed", reloads, asked.Load(), failed.Load())
}

// awaitReload returns when the route of that generation is there.
func (s *server) awaitReload(t *testing.T, generation int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		res, err := client.Get(fmt.Sprintf("https://%s/g%d", s.Listen, generation))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("the configuration %d does not come into force; the server said:\n%s", generation, s.Said.Tail())
}

// certificateSerial is the serial number of the certificate that is shown.
func (s *server) certificateSerial(t *testing.T) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", s.Listen, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// writeCertificate puts a new certificate and key into dir, each in one step.
func writeCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	c := certtest.New(t, x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}}, nil)
	replace(t, filepath.Join(dir, "key.pem"), c.KeyPEM)
	replace(t, filepath.Join(dir, "cert.pem"), c.CertPEM)
}

// replace puts a file in the place of another in one step.
func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
