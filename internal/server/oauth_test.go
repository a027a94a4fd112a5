package server

import (
	"net/http"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What a client may have is what its credential has, and never what is for operators to give.
func TestTheScopesOfAClient(t *testing.T) {
	w := newWorld(t, unlimited)
	_, id, secret := w.issue(auth.OAuth, "orders:read", "orders:write", "gatehouse:introspect")
	for form, want := range map[string]string{
		"":                                        "orders:read orders:write",
		"&scope=":                                 "orders:read orders:write",
		"&scope=orders%3Awrite":                   "orders:write",
		"&scope=orders:write+orders:read":         "orders:read orders:write",
		"&scope=orders:read+orders:read":          "orders:read",
		"&scope=orders:delete":                    "invalid_scope",
		"&scope=orders:read+orders:delete":        "invalid_scope",
		"&scope=gatehouse:introspect":             "invalid_scope",
		"&scope=orders:read+gatehouse:introspect": "invalid_scope",
		"&scope=Orders:read":                      "invalid_scope",
		"&scope=+":                                "invalid_scope",
	} {
		a := w.form("/oauth/token", id, secret, "grant_type=client_credentials"+form)
		var got struct {
			AccessToken string `json:"access_token"`
			Scope       string
			Error       string
		}
		a.decode(t, &got)
		if want == "invalid_scope" {
			if a.Code != http.StatusBadRequest || got.Error != want {
				t.Errorf("%s: %d %s", form, a.Code, a.Body)
			}
			continue
		}
		p, alive := w.alive(got.AccessToken, "192.0.2.1")
		if a.Code != http.StatusOK || got.Scope != want || !alive || p.Scope != want || p.Type != "OAUTH_ACCESS" {
			t.Errorf("%s: %d %s, the token says %q", form, a.Code, a.Body, p.Scope)
		}
	}
	_, id, secret = w.issue(auth.OAuth, "gatehouse:revoke")
	got, _ := w.token(id, secret, "grant_type=client_credentials")
	if p, alive := w.alive(got.AccessToken, "192.0.2.1"); !alive || got.Scope != "" || p.Scope != "" {
		t.Errorf("a client with nothing for tokens got %+v", got)
	}
}

func TestADisabledContractHasNoAddresses(t *testing.T) {
	w := newWorld(t, "contracts: {oauth: {enabled: false}}")
	_, id, secret := w.issue(auth.OAuth)
	for _, path := range []string{"/oauth/token"} {
		if a := w.form(path, id, secret, "grant_type=client_credentials"); a.Code != http.StatusNotFound || a.Body.String() != `{"error":"invalid_request","error_description":"Not found"}` {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}
	if a := w.ask("GET", "/.well-known/jwks.json", ""); a.Code != http.StatusOK {
		t.Errorf("the key set: %d", a.Code)
	}
}
