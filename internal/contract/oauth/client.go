package oauth

import (
	"errors"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/web"
)

// client reads what the client is to be known by. A request that tries it in two ways, or twice, is errMethods: no two
// readers of it shall see different clients (RFC 6749, section 2.3). What is malformed, or missing, is a failure.
func (c *Contract) client(r *web.Request, form web.Form) (auth.Presented, error) {
	p, err := c.presented(r.Header["Authorization"], form)
	if errors.Is(err, auth.ErrBadCredential) {
		err = c.gate.Failed(r.Caller, err)
	}
	return p, err
}

func (c *Contract) presented(authorization []string, form web.Form) (auth.Presented, error) {
	if form.Get("client_assertion") != "" || form.Get("client_assertion_type") != "" {
		return c.asserted(authorization, form)
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if len(authorization) == 0 {
		if id == "" && secret != "" {
			return auth.Presented{}, missing("client_id")
		}
		return auth.ParseUser(auth.OAuth, c.env, id, secret)
	}
	if len(authorization) > 1 || secret != "" {
		return auth.Presented{}, errMethods
	}
	p, err := auth.ParseClientBasic(c.env, authorization[0])
	if err == nil && id != "" && id != p.Identifier {
		return auth.Presented{}, errMethods
	}
	return p, err
}

// asserted reads an assertion that stands in place of the secret (RFC 7523, section 2.2).
func (c *Contract) asserted(authorization []string, form web.Form) (auth.Presented, error) {
	switch {
	case len(authorization) > 0 || form.Get("client_secret") != "":
		return auth.Presented{}, errMethods
	case form.Get("client_assertion") == "":
		return auth.Presented{}, missing("client_assertion")
	case form.Get("client_assertion_type") != proof.AssertionType:
		return auth.Presented{}, errAssertionType
	}
	p, err := c.assertions.Parse(form.Get("client_assertion"))
	if err == nil && form.Get("client_id") != "" && form.Get("client_id") != p.Identifier {
		return auth.Presented{}, errMethods
	}
	return p, err
}
