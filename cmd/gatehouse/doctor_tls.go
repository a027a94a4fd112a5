package main

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"time"

	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/listen"
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
