package deploy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/gatehousetest"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/certtest"
)

const haproxy = "/usr/sbin/haproxy"

// balancer starts HAProxy on the configuration that is shipped, in front of these servers, and returns its URL and a client
// that takes its certificate and comes from 127.0.0.2.
func balancer(t *testing.T, servers ...*gatehousetest.Server) (string, *http.Client) {
	t.Helper()
	text, err := os.ReadFile("compose/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	address, pemFile := beside.FreeAddress(t), filepath.Join(dir, "tls.pem")
	certificate(t, pemFile)
	config := strings.NewReplacer(":8443", address, "/run/secrets/tls.pem", pemFile, " check port 9000", "", "maxconn 20000", "maxconn 100").Replace(string(text))
	line := regexp.MustCompile(`(?m)^    server gatehouse-\d gatehouse-\d:8000\n`)
	if n := len(line.FindAllString(config, -1)); n != 3 {
		t.Fatalf("the configuration has %d servers", n)
	}
	config = line.ReplaceAllString(config, "")
	for i, s := range servers {
		_, admin, _ := net.SplitHostPort(strings.TrimPrefix(s.AdminURL, "http://"))
		config += fmt.Sprintf("    server gatehouse-%d %s check port %s\n", i+1, strings.TrimPrefix(s.URL, "http://"), admin)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(haproxy, "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy: %s", said.String())
		}
	})
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext:     (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
	}}
	t.Cleanup(client.CloseIdleConnections)
	return "https://" + address, client
}

// certificate writes a key and a certificate, as HAProxy reads them.
func certificate(t *testing.T, file string) {
	t.Helper()
	c := certtest.New(t, x509.Certificate{DNSNames: []string{"auth.example.com"}}, nil)
	text := append(c.CertPEM, c.KeyPEM...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever a client says of where it comes from, the server counts the address that HAProxy saw; and when a server goes, no
// request that changes nothing fails.
func TestTheLoadBalancer(t *testing.T) {
	t.Parallel()
	beside.Need(t, haproxy, "haproxy")
	const config = `
trusted_proxies: [127.0.0.1]
require_https: true
limits: {failures_per_address: {rate: 0}, exchange_per_address: {rate: 0}}
`
	servers := []*gatehousetest.Server{
		gatehousetest.Start(t, gatehousetest.Config{YAML: config}), gatehousetest.Start(t, gatehousetest.Config{YAML: config}),
	}
	url, client := balancer(t, servers...)
	ask := func(header ...string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/authentication", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
		}
		return res, err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := ask(); err == nil && res.StatusCode != http.StatusServiceUnavailable {
			break
		} else if time.Now().After(end) {
			t.Fatalf("HAProxy does not serve: %v", err)
		}
	}
	for range 4 { // either server
		res, err := ask("X-Liquid-Api-Key", "nonsense", "X-Forwarded-For", "198.51.100.9", "X-Forwarded-Proto", "http", "Forwarded", "for=198.51.100.9")
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusBadRequest || res.ProtoMajor != 1 || res.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%d over HTTP/%d, %v", res.StatusCode, res.ProtoMajor, res.Header)
		}
	}

	servers[1].Stop() // at once, and without a word to HAProxy
	for i := range 50 {
		if res, err := ask(); err != nil || res.StatusCode != http.StatusBadRequest {
			t.Fatalf("request %d after one server of two went: %v %v", i, res, err)
		}
	}
	servers[0].Stop()
	log := servers[0].Log() + servers[1].Log()
	if strings.Contains(log, "198.51.100.9") || !strings.Contains(log, `"address":"127.0.0.2"`) {
		t.Errorf("the address is not what HAProxy saw:\n%s", log)
	}
	if strings.Count(servers[1].Log(), `"reason":"malformed"`) < 2 {
		t.Errorf("the second server had none of the requests:\n%s", servers[1].Log())
	}
}

// The configuration as it is, with its names of servers and its paths.
func TestHAProxyTakesTheConfiguration(t *testing.T) {
	t.Parallel()
	beside.Need(t, haproxy, "haproxy")
	text, err := os.ReadFile("compose/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate(t, filepath.Join(dir, "tls.pem"))
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("/run/secrets"), []byte(dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(run(t, haproxy, "-c", "-f", file)) {
		if strings.Contains(line, "WARNING") && !strings.Contains(line, "could not resolve address 'gatehouse-") {
			t.Error(line)
		}
	}
}
