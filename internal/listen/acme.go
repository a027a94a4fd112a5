package listen

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACMEConfig says from whom certificates come by themselves. By using it the operator accepts the terms of that authority.
type ACMEConfig struct {
	Hosts     []string // that there are to be certificates for, in lower-case ASCII
	Email     string   // for the authority to write to; "": none
	Directory string   // of the ACME server; "": that of Let's Encrypt
	CAFile    string   // PEM: the authorities of the ACME server's own certificate; "": those that the system trusts
	Cache     string   // the folder, made for its owner alone, in which account, keys and certificates are kept
}

// How long it takes, at least, until what failed is tried again. An authority counts failures: Let's Encrypt takes five an
// hour for a host.
const (
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// An acmeClient gets certificates by ACME (RFC 8555), each with the challenge TLS-ALPN-01 (RFC 8737) on the listener itself.
//
// Only [acmeClient.run] asks for a certificate, never a handshake: nobody who connects can have the ACME server asked.
type acmeClient struct {
	config ACMEConfig
	heard  *overheard
	log    *slog.Logger
	now    func() time.Time
	hosts  map[string]*acmeHost
	again  chan struct{} // asks run not to wait
}

// An acmeHost is a name that there is, or is to be, a certificate for.
type acmeHost struct {
	name string

	mu      sync.Mutex
	manager *autocert.Manager // of the last try; it renews what it got
	why     error             // there is none; nil: there is one
	told    time.Time         // when that was last logged
}

var errNotYet = errors.New("it has not been asked for yet")

func newACMEClient(c ACMEConfig, log *slog.Logger, now func() time.Time) (*acmeClient, error) {
	c.Directory = cmp.Or(c.Directory, autocert.DefaultACMEDirectory)
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
	}
	if c.CAFile != "" {
		pool, err := readAuthorities(c.CAFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	a := &acmeClient{
		config: c, heard: &overheard{transport: transport}, log: log, now: now,
		hosts: make(map[string]*acmeHost), again: make(chan struct{}, 1),
	}
	for _, name := range c.Hosts {
		a.hosts[name] = &acmeHost{name: name, manager: a.newManager(name), why: errNotYet}
	}
	return a, nil
}

// newManager is for one try: after one that failed a manager does nothing for a while, and says no more why.
func (a *acmeClient) newManager(host string) *autocert.Manager {
	return &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(a.config.Cache), HostPolicy: autocert.HostWhitelist(host), Email: a.config.Email,
		Client: &acme.Client{DirectoryURL: a.config.Directory, UserAgent: "gatehouse", HTTPClient: &http.Client{Transport: a.heard, Timeout: time.Minute}},
	}
}

// challenged says whether a handshake is the authority's look at who we are.
func challenged(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto
}

// asFor is a handshake for host by a client of today: there is one certificate for each host, with a key on P-256.
func asFor(host string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: host, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
	}
}

// certificate returns what is shown to whoever asks for a host, or to the ACME server that looks who we are.
func (a *acmeClient) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := a.hosts[strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))]
	if host == nil {
		return nil, fmt.Errorf("the client asks for %.100q, which is not in tls.acme.hosts", hello.ServerName)
	}
	manager, why := host.standing()
	switch {
	case challenged(hello):
		return manager.GetCertificate(hello)
	case why != nil:
		a.remind(host, why)
		return nil, fmt.Errorf("there is no certificate for %s", host.name)
	}
	return manager.GetCertificate(asFor(host.name)) // it lies in memory
}

func (h *acmeHost) standing() (*autocert.Manager, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.manager, h.why
}

// remind says once a minute that somebody asked for a host that has no certificate.
func (a *acmeClient) remind(h *acmeHost, why error) {
	h.mu.Lock()
	late := a.now().Sub(h.told) < time.Minute
	h.mu.Unlock()
	if !late {
		a.tell(h, why)
	}
}

// tell says that a host has no certificate, and what to do.
func (a *acmeClient) tell(h *acmeHost, why error) {
	h.mu.Lock()
	h.told = a.now()
	h.mu.Unlock()
	a.log.Error("there is no certificate for a host, so nobody can connect by that name: the name must lead to this server, the ACME server "+
		"must reach it there on port 443, and this server must reach the ACME server; it is tried again by itself, and at a reload at once",
		"host", h.name, "directory", a.config.Directory, "error", why)
}

// expires is when the first of the certificates is over; zero: there is none.
func (a *acmeClient) expires() time.Time {
	var first time.Time
	for _, h := range a.hosts {
		manager, why := h.standing()
		if why != nil {
			continue
		}
		if shown, err := manager.GetCertificate(asFor(h.name)); err == nil && (first.IsZero() || shown.Leaf.NotAfter.Before(first)) {
			first = shown.Leaf.NotAfter
		}
	}
	return first
}

// look has what failed tried again.
func (a *acmeClient) look() {
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// run gets a certificate for each host and tries again what failed. Those that are there are renewed by themselves.
func (a *acmeClient) run(ctx context.Context) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		tried := make(chan bool, 1)
		go func() { tried <- a.obtain(ctx) }() // a try cannot be called off: at the end nobody waits for it
		select {
		case <-ctx.Done():
			return nil
		case missing := <-tried:
			if !missing {
				wait = lastRetry
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-a.again:
			timer.Stop()
			wait = firstRetry
		case <-timer.C:
		}
	}
}

// obtain tries each host that has no certificate, and warns of those that should have been renewed long ago.
func (a *acmeClient) obtain(ctx context.Context) (missing bool) {
	for _, name := range a.config.Hosts {
		h := a.hosts[name]
		manager, before := h.standing()
		a.heard.said.Store(nil)
		shown, err := manager.GetCertificate(asFor(name))
		if ctx.Err() != nil {
			return missing
		}
		if err != nil {
			manager = a.newManager(name)
			if why := a.heard.said.Load(); why != nil {
				err = fmt.Errorf("%.500s (%w)", *why, err)
			}
		}
		h.mu.Lock()
		h.manager, h.why = manager, err
		h.mu.Unlock()
		switch {
		case err != nil:
			missing = true
			a.tell(h, err)
		case before != nil:
			a.log.Info("there is a certificate", "host", name, "expires", shown.Leaf.NotAfter)
		case shown.Leaf.NotAfter.Sub(a.now()) < overdue(shown.Leaf.NotAfter.Sub(shown.Leaf.NotBefore)):
			a.log.Error("a certificate should have been renewed and could not; it is tried again by itself every hour",
				"host", name, "expires", shown.Leaf.NotAfter, "directory", a.config.Directory)
		}
	}
	return missing
}

// overdue is how long before its end a certificate that lives so long should have been renewed long ago: the manager begins a
// third of its life before, or thirty days.
func overdue(life time.Duration) time.Duration { return min(30*24*time.Hour, life/3) * 3 / 4 }

// An overheard carries the talk with an ACME server and keeps what that says of a challenge it was not content with, which the
// manager does not tell.
type overheard struct {
	transport http.RoundTripper
	said      atomic.Pointer[string]
}

// mostSaid is the most of an answer that is looked at, in bytes.
const mostSaid = 64 << 10

// RoundTrip is for [http.Client].
func (o *overheard) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := o.transport.RoundTrip(r)
	if err != nil || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		return res, err
	}
	begin, err := io.ReadAll(io.LimitReader(res.Body, mostSaid))
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), res.Body), res.Body}
	var authorization struct {
		Status     string
		Challenges []struct{ Error struct{ Detail string } }
	}
	if err != nil || json.Unmarshal(begin, &authorization) != nil || authorization.Status != acme.StatusInvalid {
		return res, nil // an error comes again
	}
	for _, c := range authorization.Challenges {
		if c.Error.Detail != "" {
			o.said.Store(&c.Error.Detail)
		}
	}
	return res, nil
}
