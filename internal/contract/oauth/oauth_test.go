package oauth_test

import (
	"encoding/json"
	"errors"
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

func serve(t *testing.T, keys func() []byte, next web.Handler) *webtest.Server {
	t.Helper()
	return webtest.Serve(t, web.Config{
		Own: []web.Address{oauth.KeySet(keys, time.Hour)}, Next: next,
		Fallbacks: []web.Fallback{{Contract: auth.OAuth2, Refuse: oauth.New("gatehouse").Refuse}},
	})
}

func TestKeySet(t *testing.T) {
	keys := `{"keys":[]}`
	s := serve(t, func() []byte { return []byte(keys) }, nil)
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

	keys = `{"keys":[{}]}` // a key was published
	if a := s.Send(t, "GET /.well-known/jwks.json\nIf-None-Match: "+tag); a.Status != 200 || a.Body != keys || a.Header.Get("ETag") == tag {
		t.Errorf("after a change: %d %s %v", a.Status, a.Body, a.Header)
	}
	for _, method := range []string{"HEAD", "POST", "OPTIONS"} {
		if a := s.Send(t, method+" /.well-known/jwks.json"); a.Status != 405 || a.Header.Get("Allow") != "GET" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", method, a.Status, a.Header)
		}
	}
}

func TestRefusals(t *testing.T) {
	const realm = `Bearer realm="gatehouse"`
	revoked := auth.ErrBadToken.Because(auth.ReasonTokenRevoked)
	revoked.TokenSent = true
	for _, c := range []struct {
		err    error
		status int
		body   string
		header string // and its value
		value  string
	}{
		{&web.StatusError{Status: 400}, 400, `{"error":"invalid_request","error_description":"Bad request"}`, "", ""},
		{auth.ErrBadToken, 401, `{"error":"invalid_token","error_description":"The access token is missing or not valid"}`, "Www-Authenticate", realm},
		{
			revoked, 401, `{"error":"invalid_token","error_description":"The access token is missing or not valid"}`, "Www-Authenticate",
			realm + `, error="invalid_token", error_description="The access token was revoked"`,
		},
		{auth.ErrAddressNotAllowed, 403, `{"error":"access_denied","error_description":"IP address not authorized"}`, "", ""},
		{auth.ErrInsufficientScope, 403, `{"error":"insufficient_scope","error_description":"Insufficient scope"}`, "", ""},
		{auth.ErrRateLimited, 429, `{"error":"temporarily_unavailable","error_description":"Too many requests"}`, "Retry-After", "1"},
		{&web.StatusError{Status: 404}, 404, `{"error":"invalid_request","error_description":"Not found"}`, "", ""},
		{&web.StatusError{Status: 405, Allow: "POST"}, 405, `{"error":"invalid_request","error_description":"Method not allowed"}`, "Allow", "POST"},
		{&web.StatusError{Status: 413}, 413, `{"error":"invalid_request","error_description":"Request body too large"}`, "", ""},
		{&web.StatusError{Status: 415}, 415, `{"error":"invalid_request","error_description":"Unsupported media type"}`, "", ""},
		{errors.New("no"), 500, `{"error":"server_error","error_description":"Internal server error"}`, "", ""},
		{&web.StatusError{Status: 502}, 502, `{"error":"server_error","error_description":"Bad gateway"}`, "", ""},
		{auth.ErrOverloaded, 503, `{"error":"temporarily_unavailable","error_description":"Service temporarily unavailable"}`, "Retry-After", "1"},
		{&web.StatusError{Status: 504}, 504, `{"error":"server_error","error_description":"Gateway timeout"}`, "", ""},
	} {
		a := serve(t, func() []byte { return nil }, func(http.ResponseWriter, *web.Request) error { return c.err }).Send(t, "POST /oauth/token")
		want := http.Header{
			"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
		}
		if c.header != "" {
			want[c.header] = []string{c.value}
		}
		if a.Status != c.status || a.Body != c.body {
			t.Errorf("%v: %d %s\nwant %d %s", c.err, a.Status, a.Body, c.status, c.body)
		}
		if diff := cmp.Diff(want, a.Header); diff != "" {
			t.Errorf("%v: headers (-want +got)\n%s", c.err, diff)
		}
		var answer api.OAuthError
		if err := json.Unmarshal([]byte(a.Body), &answer); err != nil || answer.Error == "" || answer.Description == "" {
			t.Errorf("%v: the wire type: %+v, %v", c.err, answer, err)
		}
	}
}
