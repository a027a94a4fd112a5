package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
)

// A Secret is a key, a password or a token. However it is printed, logged or encoded, it shows nothing.
type Secret struct {
	reveal func() string // a closure, because fmt reads through unexported fields
}

// NewSecret returns a Secret.
func NewSecret(s string) Secret { return Secret{func() string { return s }} }

// Reveal returns what it is.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

const redacted = "[secret]"

// Format implements [fmt.Formatter].
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A Credential is what tokens are had for. It is an [APIKey], [Basic], [Login] or [OAuthClient].
type Credential interface {
	contract() Contract
	act() string // what is done with it, for errors
	check() error
	owner() string     // tells it from others, and is no secret
	secrets() []string // what must not be in an error, as it is and as it is sent
	request(ctx context.Context, base string) (*http.Request, error)
	// grant reads the answer of a request that succeeded.
	grant(a *answer) (grant, error)
}

// A grant is what the server gave.
type grant struct {
	token, kind, scope string
	expires            time.Time // by the server's clock
	refresh            string
	refreshExpires     time.Time
}

// An APIKey is had an ACCESS_TOKEN for, which lives for a day (contract 1).
type APIKey struct {
	Key    Secret
	Header string // that it is sent in; "" is X-LIQUID-API-KEY
}

func (k APIKey) contract() Contract { return Liquid }
func (k APIKey) act() string        { return "exchange the API key" }
func (k APIKey) secrets() []string  { return []string{k.Key.Reveal()} }

func (k APIKey) check() error {
	if !visible(k.Key.Reveal()) {
		return errors.New("the API key is empty, or has a character that no key has, such as a line end")
	}
	if strings.ContainsFunc(k.Header, func(r rune) bool { return !headerRune(r) }) {
		return errors.New("the API key's Header is not the name of one")
	}
	return nil
}

// owner is a digest: a key is too long and too random to be guessed from one.
func (k APIKey) owner() string {
	sum := sha256.Sum256([]byte(k.Key.Reveal()))
	return hex.EncodeToString(sum[:16])
}

func (k APIKey) request(ctx context.Context, base string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/authentication", nil)
	if err != nil {
		return nil, err
	}
	name := k.Header
	if name == "" {
		name = "X-LIQUID-API-KEY"
	}
	req.Header.Set(name, k.Key.Reveal())
	return req, nil
}

// grant reads HTTP 201 with an inner 200.
func (k APIKey) grant(a *answer) (grant, error) {
	var body api.LiquidAnswer
	if err := json.Unmarshal(a.body, &body); err != nil {
		return grant{}, err
	}
	if body.StatusCode != http.StatusOK || body.Data == nil {
		return grant{}, fmt.Errorf("statusCode is %d", body.StatusCode)
	}
	return liquidGrant(*body.Data, "ACCESS_TOKEN")
}

// liquidGrant reads a token whose exp is in milliseconds.
func liquidGrant(t api.LiquidToken, kind string) (grant, error) {
	if t.Type != kind {
		return grant{}, fmt.Errorf("the token is not of the type %s", kind)
	}
	return grant{token: t.Token, kind: kind, expires: time.UnixMilli(t.Exp)}, nil
}

// A Basic is a user ID and password, which an ORDER_API token is had for (contract 2). It lives for ten minutes.
type Basic struct {
	UserID   string
	Password Secret
}

func (b Basic) contract() Contract { return Orders }
func (b Basic) act() string        { return "exchange user ID and password" }
func (b Basic) owner() string      { return b.UserID }
func (b Basic) secrets() []string  { return basicSecrets(b.UserID, b.Password.Reveal()) }

func (b Basic) check() error {
	if b.UserID == "" || b.Password.Reveal() == "" || strings.Contains(b.UserID, ":") {
		return errors.New("the user ID or the password is empty, or the user ID has a colon")
	}
	return nil
}

func (b Basic) request(ctx context.Context, base string) (*http.Request, error) {
	// Not /api/order-authentication, whose exp is in seconds.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/order-authentication", nil)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(b.UserID, b.Password.Reveal())
	return req, nil
}

func (b Basic) grant(a *answer) (grant, error) {
	var body api.LiquidToken
	if err := json.Unmarshal(a.body, &body); err != nil {
		return grant{}, err
	}
	return liquidGrant(body, "ORDER_API")
}

// A Login is a username and password, which a B2B_ACCESS token and a refresh token are had for (contract 3). The one lives
// for an hour, the other for a week. The Client refreshes, and logs in only when there is nothing left to refresh.
type Login struct {
	Username string
	Password Secret
}

func (l Login) contract() Contract { return B2B }
func (l Login) act() string        { return "log in" }
func (l Login) owner() string      { return l.Username }
func (l Login) secrets() []string  { return []string{l.Password.Reveal()} }

func (l Login) check() error {
	if l.Username == "" || l.Password.Reveal() == "" {
		return errors.New("the username or the password is empty")
	}
	return nil
}

func (l Login) request(ctx context.Context, base string) (*http.Request, error) {
	return postJSON(ctx, base+"/auth/login", api.LoginRequest{Username: l.Username, Password: l.Password.Reveal()})
}

func (l Login) grant(a *answer) (grant, error) { return pairGrant(a) }

// pairGrant reads the answer of a login or a refresh.
func pairGrant(a *answer) (grant, error) {
	var body api.PairAnswer
	if err := json.Unmarshal(a.body, &body); err != nil {
		return grant{}, err
	}
	expires, err := time.Parse(time.RFC3339, body.Data.AccessExpiresAt)
	if err != nil {
		return grant{}, errors.New("access_expires_at is no time")
	}
	refreshExpires, err := time.Parse(time.RFC3339, body.Data.RefreshExpiresAt)
	if err != nil {
		return grant{}, errors.New("refresh_expires_at is no time")
	}
	if body.Data.RefreshToken == "" {
		return grant{}, errors.New("there is no refresh token")
	}
	return grant{
		token: body.Data.AccessToken, kind: "B2B_ACCESS", expires: expires,
		refresh: body.Data.RefreshToken, refreshExpires: refreshExpires,
	}, nil
}

func postJSON(ctx context.Context, target string, body any) (*http.Request, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// An OAuthClient is a client id and secret, which an OAUTH_ACCESS token is had for (contract 4: the grant client_credentials
// with client_secret_basic).
type OAuthClient struct {
	ID     string
	Secret Secret
	Scopes []string // nil: all that the client has
}

func (o OAuthClient) contract() Contract { return OAuth }
func (o OAuthClient) act() string        { return "get a token for the OAuth client" }
func (o OAuthClient) owner() string      { return o.ID + " " + strings.Join(o.Scopes, " ") }

func (o OAuthClient) secrets() []string {
	return basicSecrets(url.QueryEscape(o.ID), url.QueryEscape(o.Secret.Reveal()), o.Secret.Reveal())
}

func (o OAuthClient) check() error {
	if o.ID == "" || o.Secret.Reveal() == "" {
		return errors.New("the client's ID or its secret is empty")
	}
	for _, scope := range o.Scopes {
		if !visible(scope) {
			return errors.New("a scope is empty or has a space; each has an element of its own")
		}
	}
	return nil
}

func (o OAuthClient) request(ctx context.Context, base string) (*http.Request, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(o.Scopes) > 0 {
		form.Set("scope", strings.Join(o.Scopes, " "))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(o.ID), url.QueryEscape(o.Secret.Reveal())) // RFC 6749, section 2.3.1
	return req, nil
}

func (o OAuthClient) grant(a *answer) (grant, error) {
	var body api.OAuthToken
	if err := json.Unmarshal(a.body, &body); err != nil {
		return grant{}, err
	}
	if !strings.EqualFold(body.TokenType, "Bearer") {
		return grant{}, errors.New("token_type is not Bearer")
	}
	const century = 100 * 365 * 24 * 60 * 60
	life := time.Duration(min(body.ExpiresIn, century)) * time.Second
	return grant{token: body.AccessToken, kind: "OAUTH_ACCESS", scope: body.Scope, expires: a.at.Add(life)}, nil
}

// basicSecrets are the secrets of a request with Authorization: Basic.
func basicSecrets(user, password string, more ...string) []string {
	return append(more, password, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// visible says whether s is some visible ASCII and nothing else.
func visible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// headerRune says whether r may stand in the name of a header (RFC 9110, section 5.6.2).
func headerRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
