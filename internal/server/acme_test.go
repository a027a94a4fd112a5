package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// pebble is the ACME server that Let's Encrypt has for tests. It is built from here, and is in no go.mod of ours.
const pebble = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// buildPebble returns the program, which is built once on a machine.
func buildPebble(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "gatehouse-tests", "pebble-"+pebble[strings.IndexByte(pebble, '@')+1:])
	program := filepath.Join(dir, "pebble")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	build := exec.CommandContext(t.Context(), "go", "install", pebble)
	build.Dir = t.TempDir() // no module's
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		beside.Lack(t, "go install %s: %v\n%s", pebble, err, out)
	}
	return program
}

// here is a DNS server, over TCP, for which every name is this machine. It returns its address.
func here(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for answerDNS(conn) == nil { //nolint:revive // one question after the other
				}
			}()
		}
	}()
	return l.Addr().String()
}

func answerDNS(conn net.Conn) error {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	answer, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// An acmeServer is pebble, which looks at port on this machine for whoever asks for a certificate.
type acmeServer struct {
	run        *exec.Cmd
	management string
	out        bytes.Buffer
}

func (a *acmeServer) start(t *testing.T, program, listen, management, port, cert, key string) {
	t.Helper()
	config := fmt.Sprintf(`{"pebble": {"listenAddress": %q, "managementListenAddress": %q, "certificate": %q, "privateKey": %q, "tlsPort": %s, "httpPort": 1,
		"retryAfter": {"authz": 1, "order": 1}}}`, listen, management, cert, key, port)
	file := filepath.Join(t.TempDir(), "pebble.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	a.management = management
	a.run = exec.Command(program, "-config", file, "-dnsserver", here(t), "-strict")
	a.run.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	a.run.Stdout, a.run.Stderr = &a.out, &a.out
	if err := a.run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.stop)
	for {
		c, err := net.Dial("tcp", management)
		if err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (a *acmeServer) stop() {
	_ = a.run.Process.Kill()
	_ = a.run.Wait()
}

// roots are what its certificates lead to.
func (a *acmeServer) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := c.Get("https://" + a.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no root in %s, %v", text, err)
	}
	return pool
}

// The server gets its certificate from an ACME server that comes to look at it, serves without one until then, keeps it, and
// shows it to nobody who asks for another name.
func TestACME(t *testing.T) {
	program := buildPebble(t)
	lines := newCertificate(t, time.Now().Add(time.Hour)) // of the ACME server itself, and of a client
	files := regexp.MustCompile(`'([^']+)'`).FindAllStringSubmatch(lines, 2)
	cert, key := files[0][1], files[1][1]
	directory, management := beside.FreeAddress(t), beside.FreeAddress(t)
	const host = "auth.example.com"
	config := "log: {level: debug}\npublic_url: https://" + host + "\nrequire_https: true\ntls: {client_ca_file: '" + cert + "', client_certificates: require, " +
		"acme: {hosts: [" + host + ", login.example.com], email: ops@example.com, directory: 'https://" + directory + "/dir', ca_file: '" + cert + "'}}\n"
	w := newWorld(t, config)
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var roots *x509.CertPool
	ask := func(name string) (*http.Response, error) {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{ServerName: name, RootCAs: roots, Certificates: []tls.Certificate{own}}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		}
		res, err := (&http.Client{Transport: transport}).Get("https://" + w.Addr() + "/healthz")
		if err == nil {
			_ = res.Body.Close()
		}
		return res, err
	}
	metric := func() bool {
		res, err := http.Get("http://" + w.AdminAddr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return bytes.Contains(text, []byte("\ngatehouse_certificate_expiry_timestamp_seconds "))
	}
	// There is no ACME server yet.
	if _, err := ask(host); err == nil {
		t.Error("there is a certificate from nowhere")
	}
	for !strings.Contains(w.log.String(), "there is no certificate for a host") {
		time.Sleep(10 * time.Millisecond)
	}
	if metric() {
		t.Error("a metric says when no certificate expires")
	}

	var authority acmeServer
	_, port, _ := net.SplitHostPort(w.Addr())
	authority.start(t, program, directory, management, port, cert, key)
	roots = authority.roots(t)
	w.certificates.Look()
	for began := time.Now(); strings.Count(w.log.String(), "there is a certificate") < 2; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			authority.stop()
			t.Fatalf("no certificate comes:\n%s\n%s", w.log, authority.out.String())
		}
	}
	serial := ""
	for _, name := range []string{host, "login.example.com", "AUTH.example.com"} {
		res, err := ask(name)
		if err != nil || res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			t.Fatalf("%s: %v, %v", name, res, err)
		}
		if shown := res.TLS.PeerCertificates[0]; name == host {
			serial = shown.SerialNumber.String()
		}
	}
	if !metric() {
		t.Error("no metric says when the certificate expires")
	}
	for _, name := range []string{"other.example.com", "auth.example.com.example.org", ""} {
		if conn, err := tls.Dial("tcp", w.Addr(), &tls.Config{ServerName: name, InsecureSkipVerify: true, Certificates: []tls.Certificate{own}}); err == nil {
			t.Errorf("%q gets a certificate", name)
			_ = conn.Close()
		}
	}
	// A look at who we are opens nothing: whoever pretends to be the ACME server is not spoken to, certificate or not.
	if conn, err := tls.Dial("tcp", w.Addr(), &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}}); err == nil {
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
		if answer, _ := io.ReadAll(conn); len(answer) > 0 {
			t.Errorf("as the ACME server: %q", answer)
		}
		_ = conn.Close()
	}
	noCertificate := &tls.Config{ServerName: host, RootCAs: roots, MaxVersion: tls.VersionTLS12}
	if conn, err := tls.Dial("tcp", w.Addr(), noCertificate); err == nil {
		t.Error("a client without a certificate is let in")
		_ = conn.Close()
	}
	err = filepath.WalkDir(filepath.Join(w.dir, "acme"), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	// The next start has it at once, and asks nobody.
	authority.stop()
	w.stop()
	if log := w.log.String(); strings.Contains(log, "PRIVATE") || strings.Contains(log, "BEGIN") {
		t.Errorf("a key is in the log:\n%s", log)
	}
	w.start(config)
	for strings.Count(w.log.String(), "there is a certificate") < 2 {
		time.Sleep(10 * time.Millisecond)
	}
	if res, err := ask(host); err != nil || res.TLS.PeerCertificates[0].SerialNumber.String() != serial {
		t.Errorf("after a restart: %v, %v", res, err)
	}
}
