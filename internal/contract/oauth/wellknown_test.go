package oauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/contract/oauth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

func TestKeySet(t *testing.T) {
	keys := `{"keys":[]}`
	s := webtest.Serve(t, web.Config{
		Own:       []web.Address{oauth.KeySet(func() []byte { return []byte(keys) }, time.Hour)},
		Fallbacks: []web.Fallback{{Contract: auth.OAuth2, Refuse: newContract(t, &gate{}).Refuse}},
	})
	a := s.Send(t, "GET /.well-known/jwks.json")
	tag := a.Header.Get("ETag")
	want := http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
		"Cache-Control": {"public, max-age=3600"}, "Etag": {tag},
	}
	if a.Status != 200 || a.Body != keys || cmp.Diff(want, a.Header) != "" || len(tag) != 24 {
		t.Errorf("got %d %s\n%v", a.Status, a.Body, a.Header)
	}
	for value, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, `"x","y"` + "\nIf-None-Match: " + tag: 304, "*": 304,
		`"x"`: 200, "": 200, tag[1 : len(tag)-1]: 200,
	} {
		a := s.Send(t, "GET /.well-known/jwks.json\nIf-None-Match: "+value)
		if a.Status != status || (a.Body == "") != (status == 304) || a.Header.Get("ETag") != tag || a.Header.Get("Cache-Control") != "public, max-age=3600" {
			t.Errorf("If-None-Match: %s: %d %s %v, want %d", value, a.Status, a.Body, a.Header, status)
		}
	}

	keys = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig","alg":"EdDSA","kid":"k1"}]}` // one was published
	if a := s.Send(t, "GET /.well-known/jwks.json\nIf-None-Match: "+tag); a.Status != 200 || a.Body != keys || a.Header.Get("ETag") == tag {
		t.Errorf("after a change: %d %s %v", a.Status, a.Body, a.Header)
	}
	for _, method := range []string{"HEAD", "POST", "OPTIONS"} {
		if a := s.Send(t, method+" /.well-known/jwks.json"); a.Status != 405 || a.Header.Get("Allow") != "GET" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", method, a.Status, a.Header)
		}
	}
}

func TestMetadata(t *testing.T) {
	const rest = `,"token_endpoint":"https://auth.example.com/oauth/token","jwks_uri":"https://auth.example.com/.well-known/jwks.json",` +
		`"response_types_supported":[],"grant_types_supported":["client_credentials"%s],` +
		`"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],"token_endpoint_auth_signing_alg_values_supported":["EdDSA","Ed25519","ES256","RS256","PS256"],` +
		`"introspection_endpoint":"https://auth.example.com/oauth/introspect",` +
		`"introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],"introspection_endpoint_auth_signing_alg_values_supported":["EdDSA","Ed25519","ES256","RS256","PS256"],` +
		`"revocation_endpoint":"https://auth.example.com/oauth/revoke",` +
		`"revocation_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],"revocation_endpoint_auth_signing_alg_values_supported":["EdDSA","Ed25519","ES256","RS256","PS256"],` +
		`"dpop_signing_alg_values_supported":["EdDSA","Ed25519","ES256","RS256","PS256"]}`
	const usual = "/.well-known/oauth-authorization-server"
	for _, c := range []struct {
		issuer string
		alone  bool
		paths  []string
		nobody []string
	}{
		{"https://auth.example.com", false, []string{usual}, []string{usual + "/", usual + "/x"}},
		{"https://auth.example.com/", true, []string{usual}, []string{usual + "/"}},
		{"https://example.com/eu/auth", false, []string{usual, usual + "/eu/auth"}, []string{usual + "/eu", usual + "/eu/auth/", "/eu/auth" + usual}},
		{"https://example.com/eu/", false, []string{usual, usual + "/eu"}, nil},
		{"urn:gatehouse:eu", false, []string{usual}, nil},
		{"https://example.com/a//b", false, []string{usual}, nil}, // no request can name that
	} {
		s := serve(t, setup{gate: &gate{issuer: c.issuer, alone: c.alone}})
		pairs := `,"refresh_token"`
		if c.alone {
			pairs = ""
		}
		want := `{"issuer":"` + c.issuer + `"` + fmt.Sprintf(rest, pairs)
		for _, path := range c.paths {
			a := s.Send(t, "GET "+path+"?issuer=x\nX-Forwarded-Host: evil.example.com")
			a.Is(t, path, 200, want, http.Header{
				"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
				"Cache-Control": {"public, max-age=300"}, "Etag": a.Header["Etag"],
			})
			if again := s.Send(t, "GET "+path+"\nIf-None-Match: "+a.Header.Get("ETag")); again.Status != 304 {
				t.Errorf("%s: asked again: %d", path, again.Status)
			}
		}
		for _, path := range c.nobody {
			if a := s.Send(t, "GET "+path); a.Status != 404 {
				t.Errorf("%s: %d", path, a.Status)
			}
		}
		var answer api.OAuthMetadata
		if err := json.Unmarshal([]byte(want), &answer); err != nil || answer.Issuer != c.issuer {
			t.Errorf("the wire type: %+v, %v", answer, err)
		}
	}
}
