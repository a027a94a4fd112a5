// Package b2b speaks contract 3: username and password to a pair of tokens, a refresh token to the next pair, and logout. It
// only translates: what a pair is worth is for gate to say, and how a body is read for web.
//
// The invariant: nothing that comes out of here tells an unknown user from a wrong password, or one bad refresh token from
// another.
package b2b

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// Gate is what the contract needs of the core. Errors are of type [*auth.Error].
type Gate interface {
	// Exchange turns username and password into a pair.
	Exchange(ctx context.Context, p auth.Presented, from auth.Caller) (auth.Grant, error)
	// Refresh spends a refresh token for the next pair. idempotencyKey is "" for none.
	Refresh(ctx context.Context, refreshToken, idempotencyKey string, from auth.Caller) (auth.Grant, error)
	// Logout ends all that this contract gave to the account of an access token.
	Logout(ctx context.Context, accessToken string, from auth.Caller) (verify.Principal, error)
	// Failed counts a credential or token that was no good before it could be asked about, and returns what becomes of the
	// request.
	Failed(from auth.Caller, err error) error
}

// The addresses.
const (
	LoginPath   = "/auth/login"
	RefreshPath = "/auth/refresh"
	LogoutPath  = "/auth/logout"
)

// Config says how the contract is spoken.
type Config struct {
	Gate        Gate
	Environment auth.Environment
	Realm       string // in WWW-Authenticate
}

// A Contract speaks contract 3.
type Contract struct {
	gate   Gate
	env    auth.Environment
	bearer *web.Bearer
}

// New returns a Contract.
func New(c Config) (*Contract, error) {
	if c.Gate == nil {
		return nil, errors.New("b2b: there is no gate")
	}
	return &Contract{gate: c.Gate, env: c.Environment, bearer: web.NewBearer(c.Realm)}, nil
}

// Addresses are those of contract 3.
func (c *Contract) Addresses() []web.Address {
	post := func(path, did string, handler web.Handler, refuse web.Refuse) web.Address {
		return web.Address{
			Path: path, Methods: map[string]web.Handler{http.MethodPost: handler},
			Contract: auth.B2B, Refuse: refuse, Limited: true, Did: did,
		}
	}
	return []web.Address{
		post(LoginPath, auth.DidLogin, c.login, c.refuseLogin),
		post(RefreshPath, auth.DidRefresh, c.refresh, c.refuseRefresh),
		post(LogoutPath, auth.DidLogout, c.logout, c.Refuse),
	}
}

// login serves POST /auth/login: a username and password in, an access token and its refresh token out.
func (c *Contract) login(w http.ResponseWriter, r *web.Request) error {
	body, err := web.Decode[api.LoginRequest](r)
	if err != nil {
		return err
	}
	if body.Username == "" || body.Password == "" {
		return errNoLogin
	}
	presented, err := auth.ParseUser(auth.Login, c.env, body.Username, body.Password)
	if err != nil {
		return c.gate.Failed(r.Caller, err)
	}
	grant, err := c.gate.Exchange(r.Context(), presented, r.Caller)
	if err != nil {
		return err
	}
	return pair(w, r, &grant)
}

// refresh serves POST /auth/refresh: a refresh token in, a completely new pair out.
func (c *Contract) refresh(w http.ResponseWriter, r *web.Request) error {
	body, err := web.Decode[api.RefreshRequest](r)
	if err != nil {
		return err
	}
	if body.RefreshToken == "" {
		return errNoRefreshToken
	}
	key, ok := web.IdempotencyKey(r.Header)
	if !ok {
		return errIdempotencyKey
	}
	grant, err := c.gate.Refresh(r.Context(), body.RefreshToken, key, r.Caller)
	if err != nil {
		return err
	}
	return pair(w, r, &grant)
}

// logout serves POST /auth/logout: an access token in, and all that the account has of this contract is dead when the answer
// is sent.
func (c *Contract) logout(w http.ResponseWriter, r *web.Request) error {
	if err := web.Discard(r); err != nil {
		return err
	}
	token, err := auth.ParseBearer(r.Header["Authorization"])
	if err != nil {
		return c.gate.Failed(r.Caller, err)
	}
	who, err := c.gate.Logout(r.Context(), token, r.Caller)
	if err != nil {
		return err
	}
	r.Seen.Type = who.Type
	r.Seen.Subject = auth.Subject{
		Account: auth.AccountID(who.Account), Credential: auth.CredentialID(who.Credential), Session: auth.SessionID(who.Session),
	}
	body, err := json.Marshal(api.LogoutAnswer{Success: true, Data: api.Message{Message: "Successfully logged out"}})
	if err != nil {
		return err
	}
	web.WriteLimit(w.Header(), r.Caller.Limit)
	return web.Reply(w, http.StatusOK, body)
}

// pair answers with an [api.PairAnswer], written by hand: it is the answer of every login and refresh, and nothing in it needs
// escaping.
func pair(w http.ResponseWriter, r *web.Request, g *auth.Grant) error {
	r.Granted(g)
	b := make([]byte, 0, len(g.Token)+len(g.Refresh)+256)
	b = append(append(b, `{"success":true,"data":{"access_token":"`...), g.Token...)
	b = append(append(b, `","refresh_token":"`...), g.Refresh...)
	b = g.Expires.UTC().AppendFormat(append(b, `","access_expires_at":"`...), time.RFC3339)
	b = g.RefreshExpires.UTC().AppendFormat(append(b, `","refresh_expires_at":"`...), time.RFC3339)
	b = strconv.AppendInt(append(b, `","client_id":`...), int64(g.Account), 10)
	web.WriteLimit(w.Header(), auth.Tighter(r.Caller.Limit, g.Limit))
	return web.Reply(w, http.StatusOK, append(b, "}}"...))
}
