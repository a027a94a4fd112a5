package main

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/listen"
	"github.com/gatehouse/gatehouse/internal/server"
)

// soon is before which a certificate should have been renewed.
const soon = 14 * 24 * time.Hour

// certificates looks at what the listeners show, and by which authorities they let clients in.
func (e *examination) certificates(c *config.Config) {
	host := ""
	if u, err := url.Parse(c.PublicURL); err == nil && u.Scheme == "https" {
		host = u.Hostname()
	}
	e.certificate("tls", config.AdminTLS{
		CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ClientCAFile: c.TLS.ClientCAFile, ClientCertificates: c.TLS.ClientCertificates,
	}, host)
	e.certificate("admin_tls", c.AdminTLS, "")
	for _, name := range c.TLS.ACME.Hosts {
		e.fetched(c, name)
	}
	if hosts := c.TLS.ACME.Hosts; len(hosts) > 0 && !slices.Contains(hosts, host) {
		e.note(doubtful, "tls", "add it to tls.acme.hosts, unless a proxy in front shows another certificate", "there is to be none for %s, which is in public_url", host)
	}
}

// fetched looks at the certificate that ACME got for a host.
func (e *examination) fetched(c *config.Config, name string) {
	text, err := os.ReadFile(filepath.Join(server.ACMEPath(c.DataDir), name))
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair(text, text)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.note(doubtful, "tls", "start the server, which gets one; if it runs, its log says why there is none yet", "there is no certificate for %s", name)
	case err != nil:
		e.note(wrong, "tls", "delete that file, and the server gets another certificate when it starts", "the certificate for %s: %v", name, err)
	case time.Until(pair.Leaf.NotAfter) <= 0:
		e.note(wrong, "tls", "the log of the server says why it was not renewed", "the certificate for %s expired on %s", name, stamp(pair.Leaf.NotAfter))
	default:
		e.well("tls", "the certificate for %s is good until %s, and renewed before", name, stamp(pair.Leaf.NotAfter))
	}
}

// certificate looks at one listener's. host is the name that it must be good for, "" if none is known.
func (e *examination) certificate(key string, t config.AdminTLS, host string) {
	if t.CertFile == "" {
		return
	}
	shown, err := listen.NewCertificates(listen.CertificatesConfig{CertFile: t.CertFile, KeyFile: t.KeyFile, ClientCAFile: t.ClientCAFile})
	if err != nil {
		e.note(wrong, key, "mend the files; a running server goes on with what it read before, a start fails", "%v", err)
		return
	}
	switch left := time.Until(shown.Expires()); {
	case left <= 0:
		e.note(wrong, key, "put a new certificate and its key in the place of the old ones", "%s expired on %s", t.CertFile, stamp(shown.Expires()))
	case left < soon:
		e.note(doubtful, key, "put a new certificate and its key in the place of the old ones", "%s expires on %s", t.CertFile, stamp(shown.Expires()))
	case host != "" && !goodFor(t, host):
		e.note(doubtful, key, "get a certificate with that name, unless a proxy in front shows another", "%s is not for %s, which is in public_url", t.CertFile, host)
	default:
		e.well(key, "%s is good until %s", t.CertFile, stamp(shown.Expires()))
	}
}

func goodFor(t config.AdminTLS, host string) bool {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	return err == nil && pair.Leaf.VerifyHostname(host) == nil
}

// atAdmin is a way to ask admin_listen on this machine, by no proxy. Its certificate is for other names, and nothing that is
// asked or answered is a secret.
func atAdmin() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
}
