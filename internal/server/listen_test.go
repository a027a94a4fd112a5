package server

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/certtest"
)

// newCertificate writes a certificate and its key, and returns the lines of a configuration for them.
func newCertificate(t *testing.T, until time.Time) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certtest.New(t, x509.Certificate{NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, nil).Write(t, cert, key)
	return "tls: {cert_file: '" + cert + "', key_file: '" + key + "'}\n"
}

// Over the wire, what is refused before net/http is refused in the words of the contract that it was meant for, and the
// connection is closed.
func TestAmbiguousFramingIsRefusedInTheContractsWords(t *testing.T) {
	w := newWorld(t, "")
	both := "POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
	for raw, want := range map[string]string{
		both:                                   `"code":"BAD_REQUEST"`,
		"GET /auth/x HTTP/1.1\nHost: a\n\n":    `"code":"BAD_REQUEST"`,
		"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n": `"message":"Bad Request"`,
		"POST /oauth/token HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": `"error":"invalid_request"`,
	} {
		for _, address := range []string{w.Addr(), w.AdminAddr()} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, raw); err != nil {
				t.Fatal(err)
			}
			br := bufio.NewReader(c)
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 400 || address == w.Addr() && !strings.Contains(string(body), want) {
				t.Errorf("%.30q: got %d %s, want %s", raw, resp.StatusCode, body, want)
			}
			if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
				t.Errorf("%.30q: the connection goes on: %q, %v", raw, rest, err)
			}
			_ = c.Close()
		}
	}
}

func TestTLS(t *testing.T) {
	until := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	w := newWorld(t, newCertificate(t, until)+"require_https: true\n")
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("https://" + w.Addr() + "/authentication")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode == http.StatusNotFound || resp.StatusCode >= 500 {
		t.Errorf("got %s %s", resp.Proto, resp.Status)
	}
	if body, _ := io.ReadAll(resp.Body); strings.Contains(string(body), `"Bad Request"`) {
		t.Errorf("TLS is taken for clear text: %s", body)
	}
	metrics, err := http.Get("http://" + w.AdminAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	if text, _ := io.ReadAll(metrics.Body); !strings.Contains(string(text), "\ngatehouse_certificate_expiry_timestamp_seconds ") {
		t.Error("no metric says when the certificate expires")
	}
}

func TestRequireHTTPS(t *testing.T) {
	w := newWorld(t, "require_https: true\ntrusted_proxies: [10.0.0.0/8]\n"+
		"routes:\n- {path: /open, public: true, upstream: 'http://127.0.0.1:1'}\n")
	for _, c := range []struct {
		name, path, peer string
		tls              bool
		proto            []string
		refused          bool
	}{
		{"clear text", "/authentication", "192.0.2.1:1", false, nil, true},
		{"clear text through a route", "/open/x", "192.0.2.1:1", false, nil, true},
		{"TLS", "/authentication", "192.0.2.1:1", true, nil, false},
		{"a proxy with TLS", "/authentication", "10.0.0.1:1", false, []string{"https"}, false},
		{"a proxy without", "/authentication", "10.0.0.1:1", false, []string{"http"}, true},
		{"a proxy that says nothing", "/authentication", "10.0.0.1:1", false, nil, true},
		{"two proxies, the first without", "/authentication", "10.0.0.1:1", false, []string{"http, https"}, true},
		{"a client's word and a proxy's", "/authentication", "10.0.0.1:1", false, []string{"https", "http"}, true},
		{"TLS from a proxy, clear text to it", "/authentication", "10.0.0.1:1", true, []string{"http"}, true},
		{"a stranger's word", "/authentication", "192.0.2.1:1", false, []string{"https"}, true},
		{"the key set", "/.well-known/jwks.json", "192.0.2.1:1", false, nil, false},
		{"health", "/healthz", "192.0.2.1:1", false, nil, false},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		r.RemoteAddr, r.TLS = c.peer, nil
		if c.tls {
			r.TLS = new(tls.ConnectionState)
		}
		if c.proto != nil {
			r.Header["X-Forwarded-Proto"] = c.proto
		}
		rec := httptest.NewRecorder()
		w.public.Handler.ServeHTTP(rec, r)
		if refused := strings.Contains(rec.Body.String(), "Bad Request"); refused != c.refused {
			t.Errorf("%s: got %d %s", c.name, rec.Code, rec.Body)
		}
	}
}

// A body that breaks on its way through a route is answered with 400 and ends the connection: nothing behind it is served.
func TestMalformedChunkThroughARoute(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer upstream.Close()
	w := newWorld(t, "routes:\n- {path: /open, public: true, upstream: '"+upstream.URL+"'}\n")
	c, err := net.Dial("tcp", w.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || strings.Count(string(answer), "HTTP/1.1") > 1 || err != nil {
		t.Errorf("got %q, %v", answer, err)
	}
}

// The listener for operators can be encrypted and locked like the other, and nothing behind it changes.
func TestAdminTLS(t *testing.T) {
	lines := newCertificate(t, time.Now().Add(48*time.Hour))
	files := regexp.MustCompile(`'([^']+)'`).FindAllStringSubmatch(lines, 2)
	w := newWorld(t, "admin_"+strings.Replace(lines, "}", ", client_ca_file: '"+files[0][1]+"'}", 1))
	own, err := tls.LoadX509KeyPair(files[0][1], files[1][1])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, url string
		show      []tls.Certificate
		status    int // 0: no answer
	}{
		{"with a certificate", "https://" + w.AdminAddr() + "/metrics", []tls.Certificate{own}, 200},
		{"without", "https://" + w.AdminAddr() + "/metrics", nil, 0},
		{"in clear text", "http://" + w.AdminAddr() + "/metrics", nil, 400},
		{"customers, as before", "http://" + w.Addr() + "/healthz", nil, 200},
	} {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: c.show},
		}}
		res, err := client.Get(c.url)
		status := 0
		if err == nil {
			status = res.StatusCode
			_ = res.Body.Close()
		}
		if status != c.status {
			t.Errorf("%s: got %d, %v, want %d", c.name, status, err, c.status)
		}
	}
}
