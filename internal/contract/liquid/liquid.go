// Package liquid speaks contracts 1 and 2, which one provider published: an API key to an access token, and a user ID and
// password to an order token, both in one envelope. It only translates: who may have a token is for gate to say, and where a
// request belongs for web.
//
// The invariant: nothing that comes out of here tells an unknown credential from one that is revoked, expired or suspended.
package liquid

import (
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Gate is what the contracts need of the core. Errors are of type [*auth.Error].
type Gate interface {
	// Exchange turns a credential into a token.
	Exchange(ctx context.Context, p auth.Presented, from auth.Caller) (auth.Grant, error)
	// Failed counts a credential that was no good before it could be asked about, and returns what becomes of the request.
	Failed(from auth.Caller, err error) error
}

// The addresses.
const (
	KeyPath       = "/authentication"
	KeyPathAPI    = "/api/authentication" // which the published SDK calls
	OrdersPath    = "/order-authentication"
	OrdersPathAPI = "/api/order-authentication" // likewise
)

// DefaultHeader is the header that API keys come in.
const DefaultHeader = "X-LIQUID-API-KEY"

// Config says how the contracts are spoken.
type Config struct {
	Gate        Gate
	Environment auth.Environment
	KeyPrefix   string           // of API keys, "gk"
	Header      string           // that they come in; "": DefaultHeader
	Realm       string           // in WWW-Authenticate
	Languages   []string         // in metadata; nil: en
	Version     string           // in metadata; "": 1.7.0
	Now         func() time.Time // nil means time.Now
}

// A Contract speaks contracts 1 and 2.
type Contract struct {
	gate      Gate
	env       auth.Environment
	keyPrefix string
	header    string // canonical, as it stands in a header map
	basic     []string
	bearer    *web.Bearer
	envelope  envelope
	now       func() time.Time
}

// New returns a Contract.
func New(c Config) (*Contract, error) {
	if c.Gate == nil {
		return nil, errors.New("liquid: there is no gate")
	}
	if c.Header == "" {
		c.Header = DefaultHeader
	}
	if c.Languages == nil {
		c.Languages = []string{"en"}
	}
	if c.Version == "" {
		c.Version = "1.7.0"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Contract{
		gate: c.Gate, env: c.Environment, keyPrefix: c.KeyPrefix, header: textproto.CanonicalMIMEHeaderKey(c.Header),
		basic: []string{web.BasicChallenge(c.Realm)}, bearer: web.NewBearer(c.Realm),
		envelope: newEnvelope(c.Languages, c.Version), now: c.Now,
	}, nil
}

// Keys are the addresses of contract 1.
func (c *Contract) Keys() []web.Address {
	return c.addresses(auth.Liquid, c.exchangeKey, c.refuseKey, KeyPath, KeyPathAPI)
}

// Orders are the addresses of contract 2.
func (c *Contract) Orders() []web.Address {
	return append(
		c.addresses(auth.Orders, c.exchangeBasic, c.refuseBasic, OrdersPath),
		c.addresses(auth.Orders, c.exchangeBasicAPI, c.refuseBasic, OrdersPathAPI)...,
	)
}

func (c *Contract) addresses(contract auth.Contract, get web.Handler, refuse web.Refuse, paths ...string) []web.Address {
	var all []web.Address
	for _, path := range paths {
		all = append(all, web.Address{
			Path: path, Methods: map[string]web.Handler{http.MethodGet: get},
			Contract: contract, Refuse: refuse, Limited: true, Did: auth.DidExchange,
		})
	}
	return all
}

// exchangeKey serves GET /authentication: an API key in, an access token out. HTTP says 201 and the envelope 200: clients in
// the field compare both.
func (c *Contract) exchangeKey(w http.ResponseWriter, r *web.Request) error {
	key, err := c.key(r.Header)
	if err != nil {
		return c.gate.Failed(r.Caller, err)
	}
	grant, err := c.gate.Exchange(r.Context(), key, r.Caller)
	if err != nil {
		return err
	}
	return c.grant(w, r, http.StatusCreated, KeyPathAPI, &grant, milliseconds(grant.Expires))
}

// key reads the one header that the API key is in.
func (c *Contract) key(h http.Header) (auth.Presented, error) {
	switch values := h[c.header]; len(values) {
	case 0:
		return auth.Presented{}, auth.ErrBadCredential.Because(auth.ReasonNoCredential)
	case 1:
		return auth.ParseKey(c.keyPrefix, c.env, values[0])
	}
	return auth.Presented{}, auth.ErrBadCredential.Because(auth.ReasonMalformed)
}

// exchangeBasic serves GET /order-authentication: user ID and password in, an order token out, without the envelope.
func (c *Contract) exchangeBasic(w http.ResponseWriter, r *web.Request) error {
	grant, err := c.order(r)
	if err != nil {
		return err
	}
	c.granted(w, r, &grant)
	buf := c.envelope.buffer()
	*buf = appendToken((*buf)[:0], &grant, milliseconds(grant.Expires))
	err = web.Reply(w, http.StatusOK, *buf)
	c.envelope.release(buf)
	return err
}

// exchangeBasicAPI serves GET /api/order-authentication, where exp is what the token has left, in seconds: the published
// client adds it to its own time.
func (c *Contract) exchangeBasicAPI(w http.ResponseWriter, r *web.Request) error {
	grant, err := c.order(r)
	if err != nil {
		return err
	}
	// Rounded up: a fresh token has its whole life left, and exp is a whole second.
	left := max(0, grant.Expires.Sub(c.now())+time.Second-1) / time.Second
	return c.grant(w, r, http.StatusOK, OrdersPathAPI, &grant, int64(left))
}

func (c *Contract) order(r *web.Request) (auth.Grant, error) {
	presented, err := c.userAndPassword(r.Header)
	if err != nil {
		return auth.Grant{}, c.gate.Failed(r.Caller, err)
	}
	return c.gate.Exchange(r.Context(), presented, r.Caller)
}

func (c *Contract) userAndPassword(h http.Header) (auth.Presented, error) {
	switch values := h["Authorization"]; len(values) {
	case 0:
		return auth.Presented{}, auth.ErrBadCredential.Because(auth.ReasonNoCredential)
	case 1:
		return auth.ParseBasic(auth.Basic, c.env, values[0])
	}
	return auth.Presented{}, auth.ErrBadCredential.Because(auth.ReasonMalformed)
}

func milliseconds(t time.Time) int64 { return t.Unix() * 1000 }

// grant answers with a token in the envelope.
func (c *Contract) grant(w http.ResponseWriter, r *web.Request, status int, path string, g *auth.Grant, exp int64) error {
	c.granted(w, r, g)
	buf := c.envelope.buffer()
	*buf = c.envelope.appendGrant((*buf)[:0], c.now(), r.Caller.RequestID, path, g, exp)
	err := web.Reply(w, status, *buf)
	c.envelope.release(buf)
	return err
}

func (c *Contract) granted(w http.ResponseWriter, r *web.Request, g *auth.Grant) {
	r.Granted(g)
	web.WriteLimit(w.Header(), auth.Tighter(r.Caller.Limit, g.Limit))
}
