package signon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	patience   = 10 * time.Second // for all that one answer asks of a provider
	keepFor    = time.Hour        // what was discovered
	keepFailed = 3 * time.Second  // that nothing could be
	mostBody   = 1 << 20          // bytes of an answer
)

// A provider is one with what is known of it.
type provider struct {
	Provider
	redirect string // the one address that it sends people back to
	client   *http.Client
	now      func() time.Time

	mu     sync.Mutex // held while it is asked: who comes meanwhile waits for the same answer
	known  *discovered
	at     time.Time
	failed error
}

// A discovered is what a provider says of itself.
type discovered struct {
	provider   *oidc.Provider
	verifier   *oidc.IDTokenVerifier
	oauth      oauth2.Config
	saysIssuer bool // in every answer (RFC 9207)
}

// discover returns what is known of the provider, and asks it where that is nothing, or too old. One that does not answer is known
// as it was for as long as the server runs: its keys are fetched anew when it signs with others.
func (p *provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	age := p.now().Sub(p.at)
	if p.known != nil && age < keepFor {
		return p.known, nil
	}
	if p.failed != nil && age < keepFailed {
		return p.last()
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), patience)
	defer cancel()
	d, err := p.ask(ctx)
	if err != nil && ctx.Err() == context.Canceled {
		return nil, err // whoever asked has gone, which says nothing of the provider
	}
	p.at, p.failed = p.now(), err
	if err == nil {
		p.known = d
	}
	return p.last()
}

func (p *provider) last() (*discovered, error) {
	if p.known != nil {
		return p.known, nil
	}
	return nil, p.failed
}

// ask reads the provider's own description (OpenID Connect Discovery).
func (p *provider) ask(ctx context.Context) (*discovered, error) {
	found, err := oidc.NewProvider(ctx, p.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover %s: %w", p.Issuer, err)
	}
	var more struct {
		SaysIssuer  bool     `json:"authorization_response_iss_parameter_supported"`
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
		Keys        string   `json:"jwks_uri"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, fmt.Errorf("read the description of %s: %w", p.Issuer, err)
	}
	endpoint := found.Endpoint()
	for name, address := range map[string]string{"authorization_endpoint": endpoint.AuthURL, "token_endpoint": endpoint.TokenURL, "jwks_uri": more.Keys} {
		if err := safe(address); err != nil {
			return nil, fmt.Errorf("the %s of %s: %w", name, p.Issuer, err)
		}
	}
	d := &discovered{
		provider: found, saysIssuer: more.SaysIssuer,
		verifier: found.Verifier(&oidc.Config{ClientID: p.ClientID, Now: p.now}),
		oauth: oauth2.Config{
			ClientID: p.ClientID, Endpoint: endpoint, RedirectURL: p.redirect,
			Scopes: append([]string{oidc.ScopeOpenID}, slices.DeleteFunc(slices.Clone(p.Scopes), func(s string) bool { return s == oidc.ScopeOpenID })...),
		},
	}
	// Said, not tried: a second try would find the code spent.
	d.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	if p.ClientSecret != nil {
		d.oauth.ClientSecret = p.ClientSecret()
		if len(more.AuthMethods) == 0 || slices.Contains(more.AuthMethods, "client_secret_basic") {
			d.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
		}
	}
	return d, nil
}

var (
	errNotHTTPS = errors.New("is not https://")
	errLedAway  = errors.New("a provider led to another place, which is not followed")
	errTooLong  = fmt.Errorf("an answer of more than %d bytes", mostBody)
)

// safe says whether an address may be asked: over TLS, or on this machine.
func safe(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("is no URL")
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return errNotHTTPS
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// newClient is what providers are asked with.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: patience, ResponseHeaderTimeout: patience,
		}
	}
	return &http.Client{
		Transport: bounded{transport},
		Timeout:   patience,
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			if first := before[0]; first.Method != http.MethodGet || next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme || len(before) > 3 {
				return errLedAway
			}
			return nil
		},
	}
}

// A bounded transport asks nobody in clear text but this machine, and reads no answer without an end.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := safe(r.URL.Scheme + "://" + r.URL.Host); err != nil {
		return nil, err
	}
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: mostBody}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}
