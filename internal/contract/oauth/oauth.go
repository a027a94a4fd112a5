// Package oauth speaks contract 4, OAuth 2: client credentials to an access token, a refresh token of contract 3 to the next
// pair, and what tells others how to work with our tokens: introspection, revocation, the key set, the metadata. It only
// translates; what a client may have is for gate to say, and which keys there are for token.
//
// The invariants: an error has a code of the RFCs, and a description that is printable ASCII without quote and backslash
// (RFC 6749, section 5.2); nothing that comes out of here tells an unknown client from one that is revoked, expired or
// suspended; nothing is read from a query.
package oauth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// Gate is what the contract needs of the core. Errors are of type [*auth.Error].
type Gate interface {
	// ExchangeFor turns client credentials into a token.
	ExchangeFor(ctx context.Context, p auth.Presented, ask auth.Ask, from auth.Caller) (auth.Grant, error)
	// RefreshFor spends a refresh token of the client's account for the next pair. idempotencyKey is "" for none.
	RefreshFor(ctx context.Context, p auth.Presented, raw, idempotencyKey string, ask auth.Ask, from auth.Caller) (auth.Grant, error)
	// Introspect says what a token is. Claims is nil if it is not alive, or not for this client to know.
	Introspect(ctx context.Context, p auth.Presented, raw string, from auth.Caller) (verify.Principal, auth.Served, error)
	// RevokeFor ends the session of a token, if it is for this client to end.
	RevokeFor(ctx context.Context, p auth.Presented, raw string, from auth.Caller) (auth.Served, error)
	// Scoped says which client this is, if an operator gave it the scope.
	Scoped(ctx context.Context, p auth.Presented, scope string, from auth.Caller) (auth.Subject, error)
	// Failed counts a credential that was no good before it could be asked about, and returns what becomes of the request.
	Failed(from auth.Caller, err error) error
}

// The addresses.
const (
	TokenPath      = "/oauth/token"
	IntrospectPath = "/oauth/introspect"
	RevokePath     = "/oauth/revoke"
)

// Config says how the contract is spoken.
type Config struct {
	Gate        Gate
	Environment auth.Environment
	Realm       string           // in WWW-Authenticate
	Issuer      string           // of our tokens
	PublicURL   string           // how clients reach us
	Pairs       bool             // contract 3 is spoken too, so that there are refresh tokens
	Now         func() time.Time // nil means time.Now
}

// A Contract speaks contract 4.
type Contract struct {
	gate       Gate
	env        auth.Environment
	pairs      bool
	public     []web.Address
	assertions *proof.Assertions
	proofs     *proof.Proofs
	basic      []string
	bearer     *web.Bearer
	now        func() time.Time
}

// New returns a Contract.
func New(c Config) (*Contract, error) {
	if c.Gate == nil {
		return nil, errors.New("oauth: there is no gate")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	public, err := metadata(c)
	if err != nil {
		return nil, err
	}
	assertions, err := proof.NewAssertions(proof.AssertionsConfig{
		Environment: c.Environment, Audiences: []string{c.Issuer, tokenEndpoint(c)}, Now: c.Now,
	})
	if err != nil {
		return nil, err
	}
	proofs, err := proof.NewProofs(proof.ProofsConfig{PublicURL: c.PublicURL, Now: c.Now})
	if err != nil {
		return nil, err
	}
	return &Contract{
		gate: c.Gate, env: c.Environment, pairs: c.Pairs, public: public, assertions: assertions, proofs: proofs,
		basic: []string{web.BasicChallenge(c.Realm)}, bearer: web.NewBearer(c.Realm), now: c.Now,
	}, nil
}

// Addresses are those that clients call, and where they find them.
func (c *Contract) Addresses() []web.Address {
	post := func(path, did string, handler web.Handler) web.Address {
		return web.Address{
			Path: path, Methods: map[string]web.Handler{http.MethodPost: handler},
			Contract: auth.OAuth2, Refuse: c.refuseClient, Limited: true, Did: did,
		}
	}
	return append([]web.Address{
		post(TokenPath, auth.DidExchange, c.token),
		post(IntrospectPath, auth.DidIntrospect, c.introspect),
		post(RevokePath, auth.DidRevoke, c.revoke),
	}, c.public...)
}

// token serves POST /oauth/token (RFC 6749, section 3.2).
func (c *Contract) token(w http.ResponseWriter, r *web.Request) error {
	form, err := web.DecodeForm(r)
	if err != nil {
		return err
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		return c.clientCredentials(w, r, form)
	case "refresh_token":
		if c.pairs {
			return c.refresh(w, r, form)
		}
	case "":
		return missing("grant_type")
	}
	return errGrantType
}

// clientCredentials is the grant of RFC 6749, section 4.4: what a client is to be known by in, an access token out.
func (c *Contract) clientCredentials(w http.ResponseWriter, r *web.Request, form web.Form) error {
	ask, err := c.ask(r, form)
	if err != nil {
		return err
	}
	client, err := c.client(r, form)
	if err != nil {
		return err
	}
	grant, err := c.gate.ExchangeFor(r.Context(), client, ask, r.Caller)
	if err != nil {
		return err
	}
	return c.granted(w, r, &grant)
}

// refresh is the grant of RFC 6749, section 6: a refresh token of contract 3 in, a completely new pair of contract 3 out.
func (c *Contract) refresh(w http.ResponseWriter, r *web.Request, form web.Form) error {
	r.Seen.Did = auth.DidRefresh
	token := form.Get("refresh_token")
	if token == "" {
		return missing("refresh_token")
	}
	key, ok := web.IdempotencyKey(r.Header)
	if !ok {
		return errIdempotencyKey
	}
	ask, err := c.ask(r, form)
	if err != nil {
		return err
	}
	client, err := c.client(r, form)
	if err != nil {
		return err
	}
	grant, err := c.gate.RefreshFor(r.Context(), client, token, key, ask, r.Caller)
	if err != nil {
		return err
	}
	return c.granted(w, r, &grant)
}

// ask reads what the token is to be: of which scope, and bound to which key, if there is a proof of one (RFC 9449, section 5).
func (c *Contract) ask(r *web.Request, form web.Form) (auth.Ask, error) {
	ask := auth.Ask{Scope: form.Get("scope")}
	values := r.Header["Dpop"]
	if len(values) == 0 {
		return ask, nil
	}
	var err error
	ask.Bound, err = c.proofs.Read(values, proof.Request{Method: r.Method, Path: r.Path})
	return ask, err
}

// noCache is what RFC 6749, section 5.1, asks for beside Cache-Control: no-store.
var noCache = []string{"no-cache"}

// granted answers with an [api.OAuthToken], written by hand: nothing in it needs escaping, for a scope has neither quote nor
// backslash.
func (c *Contract) granted(w http.ResponseWriter, r *web.Request, g *auth.Grant) error {
	r.Granted(g)
	b := make([]byte, 0, len(g.Token)+len(g.Refresh)+len(g.Scope)+128)
	b = append(append(b, `{"access_token":"`...), g.Token...)
	b = append(append(b, `","token_type":"`...), tokenType(g.Bound)...)
	b = append(b, `","expires_in":`...)
	// Rounded up: a fresh token has its whole life left, and exp is a whole second.
	b = strconv.AppendInt(b, int64(max(0, g.Expires.Sub(c.now())+time.Second-1)/time.Second), 10)
	if g.Scope != "" {
		b = append(append(append(b, `,"scope":"`...), g.Scope...), '"')
	}
	if g.Refresh != "" {
		b = append(append(append(b, `,"refresh_token":"`...), g.Refresh...), '"')
	}
	w.Header()["Pragma"] = noCache
	web.WriteLimit(w.Header(), auth.Tighter(r.Caller.Limit, g.Limit))
	return web.Reply(w, http.StatusOK, append(b, '}'))
}

// tokenType says how a token is presented.
func tokenType(bound bool) string {
	if bound {
		return "DPoP"
	}
	return "Bearer"
}
