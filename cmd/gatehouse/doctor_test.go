package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/certtest"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/redistest"
	"github.com/gatehouse/gatehouse/internal/server"
)

func TestDoctorLooksAtCertificates(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, until time.Time) (cert, key string) {
		template := x509.Certificate{NotBefore: until.Add(-time.Hour), NotAfter: until, DNSNames: []string{"auth.example.com"}}
		cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
		certtest.New(t, template, nil).Write(t, cert, key)
		return cert, key
	}
	good, goodKey := write("good", time.Now().Add(60*24*time.Hour))
	late, lateKey := write("late", time.Now().Add(24*time.Hour))
	over, overKey := write("over", time.Now().Add(-time.Hour))
	for _, c := range []struct {
		url       string
		tls       config.AdminTLS
		grade, of string
	}{
		{"https://auth.example.com", config.AdminTLS{}, "", ""},
		{"https://auth.example.com", config.AdminTLS{CertFile: good, KeyFile: goodKey, ClientCAFile: over}, well, "is good until"},
		{"http://auth.example.org", config.AdminTLS{CertFile: good, KeyFile: goodKey}, well, "is good until"},
		{"https://auth.example.org", config.AdminTLS{CertFile: good, KeyFile: goodKey}, doubtful, "is not for auth.example.org"},
		{"https://auth.example.com", config.AdminTLS{CertFile: late, KeyFile: lateKey}, doubtful, "expires on"},
		{"https://auth.example.com", config.AdminTLS{CertFile: over, KeyFile: overKey}, wrong, "expired on"},
		{"https://auth.example.com", config.AdminTLS{CertFile: good, KeyFile: overKey}, wrong, "private key does not match"},
		{"https://auth.example.com", config.AdminTLS{CertFile: good, KeyFile: goodKey, ClientCAFile: goodKey}, wrong, "no certificate in it"},
	} {
		loaded := config.Default()
		loaded.PublicURL, loaded.TLS.CertFile, loaded.TLS.KeyFile, loaded.TLS.ClientCAFile = c.url, c.tls.CertFile, c.tls.KeyFile, c.tls.ClientCAFile
		e := &examination{}
		e.certificates(loaded)
		if c.grade == "" {
			if len(e.findings) > 0 {
				t.Errorf("without certificates: %+v", e.findings)
			}
			continue
		}
		if len(e.findings) != 1 || e.findings[0].Grade != c.grade || !strings.Contains(e.findings[0].Message, c.of) {
			t.Errorf("%s with %+v: %+v, want %s: %s", c.url, c.tls, e.findings, c.grade, c.of)
		}
	}
}

func TestDoctorLooksAtWhatACMEGot(t *testing.T) {
	c := config.Default()
	c.DataDir, c.PublicURL = t.TempDir(), "https://auth.example.com"
	c.TLS.ACME.Hosts = []string{"login.example.com"}
	for _, step := range []struct{ file, grade, of string }{
		{"", doubtful, "there is no certificate for login.example.com"},
		{"rubbish", wrong, "the certificate for login.example.com"},
	} {
		if step.file != "" {
			if err := os.Mkdir(server.ACMEPath(c.DataDir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(server.ACMEPath(c.DataDir), "login.example.com"), []byte(step.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e := &examination{}
		e.certificates(c)
		if len(e.findings) != 2 || e.findings[0].Grade != step.grade || !strings.Contains(e.findings[0].Message, step.of) ||
			e.findings[1].Grade != doubtful || !strings.Contains(e.findings[1].Message, "none for auth.example.com") {
			t.Errorf("%+v", e.findings)
		}
	}
}

func TestDoctorLooksAtRedis(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "s3cret"})
	examine := func(url string) []finding {
		t.Helper()
		shared, err := config.ParseRedis(url)
		if err != nil {
			t.Fatal(err)
		}
		e := &examination{sh: &shell{ctx: t.Context()}}
		e.redis(&config.Config{SharedLimits: shared})
		for _, f := range e.findings {
			if strings.Contains(f.Message+f.Do, "s3cret") || strings.Contains(f.Message+f.Do, "hunter2") {
				t.Errorf("%s: the password is in %+v", url, f)
			}
		}
		return e.findings
	}
	expect := func(url string, want ...string) {
		t.Helper()
		found := examine(url)
		ok := len(found)*2 == len(want)
		for i, f := range found {
			ok = ok && f.Check == "redis" && f.Grade == want[2*i] && strings.Contains(f.Message, want[2*i+1])
		}
		if !ok {
			t.Errorf("%s: got %+v, want %q", url, found, want)
		}
	}
	expect(s.URL(), well, "maxmemory-policy noeviction")
	expect("redis://:hunter2@"+s.Addr(), wrong, "WRONGPASS")
	expect("redis://:hunter2@redis.invalid", wrong, "redis.invalid", doubtful, "in clear text")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	expect(s.URL(), wrong, "connection refused")
	e := &examination{}
	e.redis(config.Default())
	if len(e.findings) > 0 {
		t.Errorf("without Redis: %+v", e.findings)
	}
	for _, c := range []struct {
		version, policy string
		bounded         bool
		want            string
	}{
		{"7.0.15", "noeviction", false, well},
		{"7.0.15", "noeviction", true, doubtful},
		{"8.0.1 (Valkey)", "volatile-ttl", true, well},
		{"6.2.0", "allkeys-lru", true, well},
		{"6.0.16", "allkeys-lru", true, doubtful},
		{"", "", false, well},
	} {
		e := &examination{}
		e.redisState("r:6379", c.version, c.policy, c.bounded)
		if len(e.findings) != 1 || e.findings[0].Grade != c.want {
			t.Errorf("%+v: got %+v", c, e.findings)
		}
	}
}
