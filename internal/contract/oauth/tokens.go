package oauth

import (
	"net/http"
	"slices"
	"strconv"

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
	c.served(w, r, served)
	return web.Reply(w, http.StatusOK, introspection(who))
}

// introspection is an [api.OAuthIntrospection], written by hand as tokens are: nothing that a token says needs escaping.
func introspection(who verify.Principal) []byte {
	if who.Claims == nil {
		return []byte(`{"active":false}`)
	}
	kind := tokenType(who.Bound != "")
	if !slices.Contains(verify.Types, who.Type) {
		kind = "N_A" // a refresh token: an API that asks must not take it for what it asks for (RFC 8693, section 2.2.1)
	}
	b := make([]byte, 0, len(who.Issuer)+len(who.Audience)+len(who.Scope)+len(who.ID)+256)
	b = append(append(b, `{"active":true,"iss":"`...), who.Issuer...)
	b = append(append(b, `","sub":"`...), who.Subject...)
	b = append(append(b, `","aud":"`...), who.Audience...)
	if who.Scope != "" {
		b = append(append(b, `","scope":"`...), who.Scope...)
	}
	b = strconv.AppendInt(append(b, `","iat":`...), who.IssuedAt, 10)
	b = strconv.AppendInt(append(b, `,"nbf":`...), who.NotBefore, 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), who.Expires, 10)
	b = append(append(b, `,"jti":"`...), who.ID...)
	b = append(append(append(b, `","token_type":"`...), kind...), '"')
	if who.Bound != "" {
		b = append(append(append(b, `,"cnf":{"jkt":"`...), who.Bound...), `"}`...)
	}
	return append(b, '}')
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
	if form.Get("token") == "" {
		return "", auth.Presented{}, missing("token")
	}
	client, err := c.client(r, form)
	return form.Get("token"), client, err
}

func (c *Contract) served(w http.ResponseWriter, r *web.Request, s auth.Served) {
	r.Seen.Subject = s.Client
	r.Seen.Limit = auth.Tighter(r.Seen.Limit, s.Limit)
	web.WriteLimit(w.Header(), auth.Tighter(r.Caller.Limit, s.Limit))
}
