package listen_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/listen"
)

// A pair is a certificate and its key in PEM.
type pair struct{ cert, key []byte }

func newPair(t *testing.T, serial int64, until time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

// A folder holds a pair as files, and a clock that is moved.
type folder struct {
	t    *testing.T
	dir  string
	past atomic.Int64
	*listen.Certificates
}

func newFolder(t *testing.T, first pair) *folder {
	t.Helper()
	f := &folder{t: t, dir: t.TempDir()}
	f.write(first)
	start := time.Now()
	var err error
	f.Certificates, err = listen.NewCertificates(listen.CertificatesConfig{
		CertFile: filepath.Join(f.dir, "cert.pem"), KeyFile: filepath.Join(f.dir, "key.pem"),
		Now: func() time.Time { return start.Add(time.Duration(f.past.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// write puts files in the place of those that are there; what is empty stays.
func (f *folder) write(p pair) {
	f.t.Helper()
	for name, text := range map[string][]byte{"cert.pem": p.cert, "key.pem": p.key} {
		path := filepath.Join(f.dir, name)
		if len(text) == 0 {
			continue
		}
		if err := os.WriteFile(path+".new", text, 0o600); err != nil {
			f.t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			f.t.Fatal(err)
		}
	}
	f.past.Add(int64(2 * time.Second))
}

// client trusts whoever answers: which certificate it is, the tests look at themselves.
func client(versions ...uint16) *http.Client {
	c := &tls.Config{InsecureSkipVerify: true}
	if len(versions) > 0 {
		c.MinVersion, c.MaxVersion = versions[0], versions[0]
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}, Timeout: time.Minute}
}

func get(c *http.Client, url string) (serial int64, proto string, err error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.Proto, err
}

func TestCertificateIsReadAnew(t *testing.T) {
	soon, later := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(1000*time.Hour).Truncate(time.Second)
	first, second := newPair(t, 1, soon), newPair(t, 2, later)
	f := newFolder(t, first)
	w := serve(t, listen.Config{Certificates: f.Certificates})
	for _, step := range []struct {
		name  string
		write pair
		want  int64
	}{
		{"as it was", pair{}, 1},
		{"a certificate without its key", pair{cert: second.cert}, 1},
		{"its key", pair{key: second.key}, 2},
		{"something else", pair{cert: []byte("rubbish")}, 2},
		{"the first again", first, 1},
	} {
		f.write(step.write)
		serial, _, err := get(client(), "https://"+w.addr+"/x")
		if err != nil || serial != step.want {
			t.Errorf("%s: got certificate %d, %v, want %d", step.name, serial, err, step.want)
		}
	}
	if err := os.Remove(filepath.Join(f.dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	f.past.Add(int64(2 * time.Second))
	if got := f.Expires(); !got.Equal(soon) {
		t.Errorf("without a key file: expires %v, want %v of the one that is shown", got, soon)
	}
}

func TestNoGoodCertificateAtTheStart(t *testing.T) {
	a, b := newPair(t, 1, time.Now().Add(time.Hour)), newPair(t, 2, time.Now().Add(time.Hour))
	dir := t.TempDir()
	c := listen.CertificatesConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	if _, err := listen.NewCertificates(c); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("no files: %v", err)
	}
	f := &folder{t: t, dir: dir}
	f.write(pair{a.cert, b.key})
	if _, err := listen.NewCertificates(c); err == nil {
		t.Error("a key of another certificate was taken")
	}
}

// While certificates change all the time, no request is lost, neither on connections that are there nor on new ones.
func TestCertificateChangesUnderLoad(t *testing.T) {
	pairs := []pair{newPair(t, 1, time.Now().Add(time.Hour)), newPair(t, 2, time.Now().Add(time.Hour))}
	f := newFolder(t, pairs[0])
	w := serve(t, listen.Config{Certificates: f.Certificates})
	var clients sync.WaitGroup
	var served atomic.Int64
	for i := range 4 {
		clients.Go(func() {
			c := client()
			for n := range 100 {
				if i%2 == 0 && n%5 == 0 {
					c.CloseIdleConnections()
				}
				if _, _, err := get(c, "https://"+w.addr+"/x"); err != nil {
					t.Errorf("request %d: %v", n, err)
					return
				}
				served.Add(1)
			}
		})
	}
	for i := range 40 {
		f.write(pairs[(i+1)%2])
	}
	clients.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := int64(len(w.arrived)); got != served.Load() || got != 400 {
		t.Errorf("%d arrived, %d were answered, want 400", got, served.Load())
	}
}

func TestVersionsOfTLSAndHTTP(t *testing.T) {
	w := serve(t, listen.Config{Certificates: newFolder(t, newPair(t, 1, time.Now().Add(time.Hour))).Certificates})
	for version, good := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		_, proto, err := get(client(version), "https://"+w.addr+"/x")
		if (err == nil) != good || good && proto != "HTTP/2.0" {
			t.Errorf("%s: %s, %v", tls.VersionName(version), proto, err)
		}
	}
	c := client()
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	c.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
	resp, err := c.Get("https://" + w.addr + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.Proto != "HTTP/1.1" || !strings.Contains(string(body), `"tls":"true"`) {
		t.Errorf("HTTP/1.1: %s %s", resp.Proto, body)
	}
}

func TestFramingUnderTLS(t *testing.T) {
	w := serve(t, listen.Config{Certificates: newFolder(t, newPair(t, 1, time.Now().Add(time.Hour))).Certificates})
	raw := "GET /1 HTTP/1.1\r\n" + host + "\r\n" + post("/x", "Content-Length: 1\r\n"+chunked, "0\r\n\r\n") + after
	c := tls.Client(w.dial(), &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	if got := w.answers(c); len(got) != 2 || got[0] != 200 || got[1] != 400 {
		t.Errorf("got %v, want 200 400", got)
	}
	if got := w.send("GET /clear HTTP/1.1\r\n"+host+"\r\n", 0); len(got) != 1 || got[0] != 400 {
		t.Errorf("clear text where TLS is spoken: got %v, want 400", got)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.arrived, ", "); got != "GET /1" {
		t.Errorf("arrived: %s", got)
	}
}
