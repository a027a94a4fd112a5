package oauth

import (
	"net/http"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Scoped puts client authentication in front of an address that only clients with a scope of the operator's may use. They are
// known by client_secret_basic: the address has no form.
func (c *Contract) Scoped(a web.Address, scope string) web.Address {
	methods := make(map[string]web.Handler, len(a.Methods))
	for method, handler := range a.Methods {
		methods[method] = func(w http.ResponseWriter, r *web.Request) error {
			p, err := c.client(r, web.Form{})
			if err != nil {
				return err
			}
			if r.Seen.Subject, err = c.gate.Scoped(r.Context(), p, scope, r.Caller); err != nil {
				return err
			}
			return handler(w, r)
		}
	}
	a.Methods, a.Contract, a.Refuse = methods, auth.OAuth2, c.refuseClient
	return a
}
