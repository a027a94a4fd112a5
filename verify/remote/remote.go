// Package remote judges access tokens in a service far from the server, without asking it for each: it gives the package
// verify its keys and revocations, the key set and the revocation feed of a server, which it follows. Whether a token is good
// is decided in verify alone. Allowlists of addresses and limits stay with the gateway: this package knows nothing of them.
//
// The invariants: nothing is let in on knowledge older than the bound that the service sets itself, counted from before the
// request that brought it was sent; what the feed said is believed only where a key of the key set signed it, never goes back
// within an incarnation, and is applied as a whole; no caller with a token decides how often the server is asked.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

// Config says which server to follow, and what to accept.
type Config struct {
	// URL is where the server is: https://auth.example.com. The key set and the feed lie below it. Without TLS it is an error
	// unless the host is this machine's loopback, or ClearText is set.
	URL       string
	ClearText bool
	// Credentials are id and secret of an OAuth client with the scope gatehouse:revocations, as [File] reads them. They are
	// asked for before each request, so that a rotated secret is taken up where it lies.
	Credentials func() (id, secret string, err error)

	Issuers   []string // accepted iss; nil: URL alone
	Audiences []string // accepted aud; nil: the issuers

	// MaxStaleness is the bound past which every token is refused as [verify.ErrUnknown]: how long ago it may be that all
	// revocations were known here for certain. 0 stands for a minute; below four seconds it is an error.
	MaxStaleness time.Duration
	Seen         int    // for how many tokens to remember that their signature held; 0: none
	Realm        string // in WWW-Authenticate; "" stands for "gatehouse"

	// Client sends the requests; nil is one of this verifier's own. What it says of redirects, cookies and a timeout is not
	// used: there are no redirects and no cookies, and each request has an end of its own.
	Client *http.Client
	Now    func() time.Time // nil means time.Now
	Log    *slog.Logger     // nil: none
}

// A Verifier judges tokens. It is safe for concurrent use, and refuses everything until [Verifier.Run] has brought the first
// full answer.
type Verifier struct {
	config   Config
	now      func() time.Time
	log      *slog.Logger
	client   *http.Client
	feed     string
	wait     time.Duration // how long the server may hold an answer back
	patience time.Duration // how long it may take beyond that, and from page to page
	keys     *keys
	verifier *verify.Verifier
	running  atomic.Bool
	ready    chan struct{} // closed after the first full answer
	first    sync.Once
	heard    atomic.Pointer[time.Time] // what is known is of then or later; nil: nothing is

	mu          sync.RWMutex // for what follows; whoever follows the feed, who alone writes, reads without it
	known       revocations
	incarnation string
	position    int64
	forgot      time.Time // when what is over was dropped last
}

var (
	_ verify.Keys        = (*Verifier)(nil)
	_ verify.Revocations = (*Verifier)(nil)
)

// New returns a Verifier. It asks nobody anything: [Verifier.Run] does.
func New(c Config) (*Verifier, error) {
	base, err := checkURL(c.URL, c.ClearText)
	if err != nil {
		return nil, err
	}
	if c.Credentials == nil {
		return nil, errors.New("remote: the credentials of an OAuth client with the scope gatehouse:revocations are needed")
	}
	if c.MaxStaleness == 0 {
		c.MaxStaleness = time.Minute
	}
	if c.MaxStaleness < 4*time.Second {
		return nil, fmt.Errorf("remote: MaxStaleness is %v; below 4 s a server that answers in time would be taken for one that is cut off", c.MaxStaleness)
	}
	if c.Issuers == nil {
		c.Issuers = []string{base}
	}
	if c.Audiences == nil {
		c.Audiences = c.Issuers
	}
	c.Issuers = slices.Clone(c.Issuers)
	if c.Realm == "" {
		c.Realm = "gatehouse"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var client http.Client
	if c.Client != nil {
		client = *c.Client
	} else if common, ok := http.DefaultTransport.(*http.Transport); ok {
		client.Transport = common.Clone()
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Timeout, client.Jar = 0, nil
	v := &Verifier{
		config: c, now: c.Now, log: c.Log, client: &client, feed: base + feedPath,
		// Often enough that an answer that was held back is still young, and that one or two may get lost.
		wait:     min(c.MaxStaleness/4, mostWait).Truncate(time.Second),
		patience: min(max(c.MaxStaleness/4, leastPatience), mostPatience),
		keys:     newKeys(base, &client, c.Log), ready: make(chan struct{}), known: newRevocations(),
	}
	v.verifier, err = verify.New(verify.Config{
		Issuers: c.Issuers, Audiences: c.Audiences, Keys: v, Revocations: v, Now: c.Now, Seen: c.Seen,
	})
	return v, err
}

// File reads the credentials of an OAuth client from a file such as gatehouse credential create --out writes: a line
// client_id=… and a line client_secret=….
func File(path string) func() (id, secret string, err error) {
	return func() (id, secret string, err error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", "", fmt.Errorf("read the credentials: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch name {
			case "client_id":
				id = value
			case "client_secret":
				secret = value
			}
		}
		if id == "" || secret == "" {
			return "", "", fmt.Errorf("%s has no lines client_id=… and client_secret=…", path)
		}
		return id, secret, nil
	}
}

func checkURL(s string, clearText bool) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("remote: URL is to be that of a server, like https://auth.example.com")
	}
	switch u.Scheme {
	case "https":
	case "http":
		ip := net.ParseIP(u.Hostname())
		if !clearText && u.Hostname() != "localhost" && !ip.IsLoopback() {
			return "", fmt.Errorf("remote: %s is without TLS: keys and revocations would be whatever somebody on the way says", s)
		}
	default:
		return "", fmt.Errorf("remote: %s is neither https nor http", s)
	}
	return strings.TrimSuffix(s, "/"), nil
}

// Run follows the server until ctx ends. A server that is away or refuses is no error: it is logged, and tried again. A
// Verifier runs once.
func (v *Verifier) Run(ctx context.Context) error {
	if v.running.Swap(true) {
		return errors.New("remote: the verifier runs already, or has run")
	}
	var keys sync.WaitGroup
	keys.Go(func() { v.keys.run(ctx) })
	v.follow(ctx)
	keys.Wait()
	return nil
}

// Wait returns when the first full answer is there, or ctx ends.
func (v *Verifier) Wait(ctx context.Context) error {
	select {
	case <-v.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the revocations: %w", context.Cause(ctx))
	}
}

// Ready is an error when nothing is known yet, or it is too old to decide on: for a service's own readiness.
func (v *Verifier) Ready() error {
	age := v.Age()
	switch {
	case age == math.MaxInt64:
		return errors.New("the revocations are not loaded yet")
	case age > v.config.MaxStaleness:
		return fmt.Errorf("the revocations were last known for certain %v ago, and at most %v is allowed", age.Round(time.Millisecond), v.config.MaxStaleness)
	}
	return nil
}

// Age is how long ago, at most, everything that was revoked by then was known here; [math.MaxInt64] if nothing is known. On a
// quiet day it moves between nothing and a quarter of MaxStaleness, or 15 s if that is less.
func (v *Verifier) Age() time.Duration {
	heard := v.heard.Load()
	if heard == nil {
		return math.MaxInt64
	}
	// By the monotonic clock, or by the wall clock where that says more: the former stands still while the machine sleeps.
	now := v.now()
	return max(now.Sub(*heard), time.Duration(now.UnixNano()-heard.UnixNano()), 0)
}

// Verify returns who token speaks for, if it is good now and of one of the types accepted: [verify.Verifier.Verify], whose
// errors it returns.
func (v *Verifier) Verify(token string, accepted []verify.Type) (verify.Principal, error) {
	return v.verifier.Verify(token, accepted)
}

// Again judges once more who was let in: [verify.Verifier.Again], for what lasts longer than a request.
func (v *Verifier) Again(p verify.Principal, accepted []verify.Type) (verify.Principal, error) {
	return v.verifier.Again(p, accepted)
}

// Key implements [verify.Keys].
func (v *Verifier) Key(header string) (*verify.Key, bool) { return v.keys.token(header) }

// Standing implements [verify.Revocations].
func (v *Verifier) Standing(c *verify.Claims) (verify.Standing, error) {
	if err := v.Ready(); err != nil {
		return verify.Standing{}, err
	}
	now := v.now().Unix()
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.known.standing(c, now), nil
}
