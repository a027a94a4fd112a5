package server

import (
	"net/http"
	"testing"
)

// Behind a route for everything there may stand an API, and what was meant for us is not for it: not where a contract is
// switched off, and not under our addresses that are still to come.
func TestOurAddressesAreNoRoutes(t *testing.T) {
	w := newWorld(t, "contracts: {b2b: {enabled: false}, oauth: {enabled: false}}\nroutes: [{path: /, public: true, upstream: '"+api(t, "the API")+"'}]\n")
	for _, path := range []string{"/auth/login", "/auth/login/x", "/dashboard/", "/oauth/token", "/authz", "/authz/other", "/healthz/x"} {
		if a := w.ask("POST", path, `{"username":"u","password":"p"}`); a.Code != http.StatusNotFound {
			t.Errorf("%s: got %d %s", path, a.Code, a.Body)
		}
	}
	if a := w.ask("POST", "/auth/loginx", ""); a.Body.String() != "the API" {
		t.Errorf("got %d %s", a.Code, a.Body)
	}
}
