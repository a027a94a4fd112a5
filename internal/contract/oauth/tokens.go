package oauth

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// introspect serves POST /oauth/introspect (RFC 7662): what a token is, or nothing but that it is no live one. What it is
// thought to be (token_type_hint) makes no difference: it says itself what it is.
func (c *Contract) introspect(w http.ResponseWriter, r *web.Request) error {
	token, client, err := c.tokenAndClient(r)
	if err != nil {
		return err
	}
	who, served, err := c.gate.Introspect(r.Context(), client, token, r.Caller)
	if err != nil {
		return err
	}
	body, err := json.Marshal(introspection(who))
	if err != nil {
		return err
	}
	c.served(w, r, served)
	return web.Reply(w, http.StatusOK, body)
}

func introspection(who verify.Principal) api.OAuthIntrospection {
	if who.Claims == nil {
		return api.OAuthIntrospection{}
	}
	kind := tokenType(who.Bound != "")
	if !slices.Contains(verify.Types, who.Type) {
		kind = "N_A" // a refresh token: an API that asks must not take it for what it asks for (RFC 8693, section 2.2.1)
	}
	told := api.OAuthIntrospection{
		Active: true, Issuer: who.Issuer, Subject: who.Subject, Audience: who.Audience, Scope: who.Scope, IssuedAt: who.IssuedAt,
		NotBefore: who.NotBefore, Expires: who.Expires, ID: who.ID, TokenType: kind,
	}
	if who.Bound != "" {
		told.Confirmation = &api.OAuthConfirmation{Thumbprint: who.Bound}
	}
	return told
}

// revoke serves POST /oauth/revoke (RFC 7009): the token, and all that came of the same login or exchange, is dead when the
// answer is sent. A token that is none is no error, for then there is nothing left to do.
func (c *Contract) revoke(w http.ResponseWriter, r *web.Request) error {
	token, client, err := c.tokenAndClient(r)
	if err != nil {
		return err
	}
	served, err := c.gate.RevokeFor(r.Context(), client, token, r.Caller)
	if err != nil {
		return err
	}
	c.served(w, r, served)
	w.Header()["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(http.StatusOK)
	return nil
}

// tokenAndClient reads the token that a request is about, and who asks.
func (c *Contract) tokenAndClient(r *web.Request) (string, auth.Presented, error) {
	form, err := web.DecodeForm(r)
	if err != nil {
		return "", auth.Presented{}, err
	}
	if form["token"] == "" {
		return "", auth.Presented{}, missing("token")
	}
	client, err := c.client(r, form)
	return form["token"], client, err
}

func (c *Contract) served(w http.ResponseWriter, r *web.Request, s auth.Served) {
	r.Seen.Subject = s.Client
	r.Seen.Limit = auth.Tighter(r.Seen.Limit, s.Limit)
	web.WriteLimit(w.Header(), auth.Tighter(r.Caller.Limit, s.Limit))
}
