// Package client is for those who call an API behind a Gatehouse. It gets access tokens for what you were given (an API key,
// a user ID and password, a username and password, an OAuth client), renews them in time, and puts them on your calls. What
// the calls say is left to you.
//
//	c, err := client.New(client.Config{
//		BaseURL:    "https://auth.example.com",
//		Credential: client.APIKey{Key: client.NewSecret(os.Getenv("API_KEY"))},
//	})
//	res, err := c.HTTPClient().Get("https://auth.example.com/api/v1/products")
//
// A [Client] is safe for concurrent use, and there should be one for each credential: it is what keeps a hundred callers from
// asking for a hundred tokens. With a [FileStore] several processes share one token, and a restart goes on with it.
//
// The invariant: a secret goes to BaseURL alone and a token to Origins alone, wherever a redirect leads, and neither is in an
// error, a log or a URL; and a refresh token is sent only under an Idempotency-Key that is stored already, and no more once
// nobody can know whether it is spent.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// Config says whose tokens a [Client] gets and where they go.
type Config struct {
	// BaseURL is where the server is: "https://auth.example.com", with a path if it has one. http:// is refused but for
	// this machine itself, unless PlainHTTP is set.
	BaseURL string
	// Credential is what you were given: an [APIKey], [Basic], [Login] or [OAuthClient].
	Credential Credential
	// Origins are where calls get the token, each as "https://api.example.com" or "https://api.example.com:8443". Calls to
	// any other origin are sent as they are. nil is the origin of BaseURL.
	Origins []string
	// PlainHTTP lets secrets and tokens go over http:// to other machines.
	PlainHTTP bool
	// Transport carries all requests; nil is http.DefaultTransport. It must not follow redirects, as no transport does.
	Transport http.RoundTripper
	// Store keeps tokens between processes; nil is a new [MemoryStore], which forgets them with the process.
	Store Store
	// RefreshInBand lets calls ask for the next token of an API key before it is due: near its end, a call whose body is one
	// JSON object, of a known length up to 1 MiB, gets the member "refresh" (see [AddRefresh]), and the member "auth" that
	// comes with the answer is taken over. Both stay in the bodies. false leaves all bodies as they are, and the key is
	// exchanged again. It is not for an API that refuses unknown members, or bodies that you sign.
	RefreshInBand bool
	// Timeout is how long one request for a token may take; 0 is 10 seconds. A refresh has 2 seconds at most, because its
	// answer can be had again for ten. Calls have the time that their own context gives them.
	Timeout time.Duration
	// Attempts is how often a request is sent at most; 0 is 4, 1 is never again.
	Attempts int
	// MaxWait is the longest Retry-After that is waited for; 0 is a minute. What asks for more is answered at once.
	MaxWait time.Duration
	// Log is told what went wrong and was got over, such as a renewal that failed while the old token was good; nil is nobody.
	Log *slog.Logger
	// Now is the time; nil is time.Now. It may be wrong: what is the matter for a token is the server's, which its answers say.
	Now func() time.Time
	// Sleep waits, or returns the context's error; nil is a timer.
	Sleep func(context.Context, time.Duration) error
}

// A Client gets tokens and puts them on calls. As an [http.RoundTripper] it is for http.Client.Transport.
type Client struct {
	base       string // without a slash at its end
	credential Credential
	owner      string // of what is stored
	origins    map[string]bool
	transport  http.RoundTripper
	store      Store
	inBand     bool
	timeout    time.Duration
	attempts   int
	maxWait    time.Duration
	log        *slog.Logger
	now        func() time.Time
	sleep      func(context.Context, time.Duration) error

	skew atomic.Int64 // what the server's clock is ahead of ours, in nanoseconds

	mu        sync.Mutex
	current   *held
	flight    *flight   // nil: none is under way
	notBefore time.Time // by our clock: no flight begins before
	failed    error     // and this is why, if there is no token to go on with
	dead      string    // the token that a call was refused with last
	asking    *held     // for which a call asks in band
	ended     bool      // by a logout: nothing begins any more
}

// New returns a Client. It asks for nothing yet: the first call or [Client.Token] does.
func New(c Config) (*Client, error) {
	base, err := parseBase(c.BaseURL, c.PlainHTTP)
	if err != nil {
		return nil, fmt.Errorf("client: BaseURL: %w", err)
	}
	if c.Credential == nil {
		return nil, errors.New("client: there is no Credential")
	}
	if err := c.Credential.check(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if c.Timeout < 0 || c.Attempts < 0 || c.MaxWait < 0 {
		return nil, errors.New("client: Timeout, Attempts and MaxWait cannot be negative")
	}
	origins := map[string]bool{origin(base): true}
	if c.Origins != nil {
		origins = make(map[string]bool, len(c.Origins))
	}
	for _, s := range c.Origins {
		u, err := parseBase(s, c.PlainHTTP)
		if err == nil && u.Path != "" {
			err = errors.New("it has a path")
		}
		if err != nil {
			return nil, fmt.Errorf("client: Origins: %w", err)
		}
		origins[origin(u)] = true
	}
	cl := &Client{
		base: base.String(), credential: c.Credential, origins: origins, transport: c.Transport, store: c.Store,
		inBand:  c.RefreshInBand && c.Credential.contract() == Liquid,
		timeout: cmp.Or(c.Timeout, 10*time.Second), attempts: cmp.Or(c.Attempts, 4), maxWait: cmp.Or(c.MaxWait, time.Minute),
		log: c.Log, now: c.Now, sleep: c.Sleep,
	}
	cl.owner = fmt.Sprintf("%d %s %s", c.Credential.contract(), cl.base, c.Credential.owner())
	if cl.transport == nil {
		cl.transport = http.DefaultTransport
	}
	if cl.store == nil {
		cl.store = new(MemoryStore)
	}
	if cl.log == nil {
		cl.log = slog.New(slog.DiscardHandler)
	}
	if cl.now == nil {
		cl.now = time.Now
	}
	if cl.sleep == nil {
		cl.sleep = sleep
	}
	return cl, nil
}

// parseBase reads a URL that secrets or tokens go to. The error does not repeat it: there may be a password in it.
func parseBase(s string, plainHTTP bool) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("it cannot be read")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("it has to begin with https:// and a host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("it has more than a scheme, a host, a port and a path")
	case u.Scheme == "http" && !plainHTTP && !loopback(u.Hostname()):
		return nil, errors.New("http:// to another machine shows secrets to everybody on the way; use https://, or set PlainHTTP")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// origin is scheme, host and port (RFC 6454, section 4), in one spelling.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Format writes a Client, under any verb, without what it knows.
func (c *Client) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "client of "+c.base)
}

// A Token is an access token.
type Token struct {
	Value Secret
	Type  string // "ACCESS_TOKEN", "ORDER_API", "B2B_ACCESS" or "OAUTH_ACCESS"
	// Expires is by this machine's clock, also where that is wrong.
	Expires time.Time
	Scope   string // contract 4: what was granted, space-separated
}

// Token returns a token that is good for some time: the one at hand, or a new one.
//
// A token is renewed five minutes before it expires; one that lives for less than 50 minutes, in the last tenth of its life.
// Each Client is up to a fifth of that sooner, by chance, so that processes do not come together. However many ask, one
// request is sent; whoever's context ends leaves alone. If a renewal fails while the old token is good, that one goes on.
//
// An error is about the last request that was sent, by errors.As an [*Error] if the server answered. A refusal stands for a
// second, and a Retry-After for its time, or MaxWait, before anything is sent again.
func (c *Client) Token(ctx context.Context) (*Token, error) {
	t, err := c.token(ctx)
	if err != nil {
		return nil, err
	}
	return &Token{Value: NewSecret(t.value), Type: t.kind, Expires: c.ours(t.expires), Scope: t.scope}, nil
}

// TokenSource is [Client.Token] for whatever takes an [oauth2.TokenSource]. It remembers by itself: around it,
// [oauth2.ReuseTokenSource] would hold on to a token that was replaced.
func (c *Client) TokenSource(ctx context.Context) oauth2.TokenSource { return source{ctx, c} }

type source struct {
	ctx    context.Context //nolint:containedctx // oauth2's interface has no room for one
	client *Client
}

func (s source) Token() (*oauth2.Token, error) {
	t, err := s.client.Token(s.ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.Value.Reveal(), TokenType: "Bearer", Expiry: t.Expires}, nil
}

// HTTPClient returns a new http.Client that sends its calls through c.
func (c *Client) HTTPClient() *http.Client { return &http.Client{Transport: c} }

// theirs is the time by the server's clock.
func (c *Client) theirs() time.Time { return c.now().Round(0).Add(time.Duration(c.skew.Load())) }

// ours says what our clock shows when the server's shows t.
func (c *Client) ours(t time.Time) time.Time { return t.Add(-time.Duration(c.skew.Load())) }
