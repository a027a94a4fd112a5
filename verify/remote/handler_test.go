package remote

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/verify"
)

func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.full = []string{`{"session":"dead","until":9999999999}`}
		v, stop := run(t, f, func(c *Config) { c.Realm = `the "shop"` })
		defer stop()
		h := v.Handler(Want{Types: []verify.Type{verify.B2BAccess}, Scopes: []string{"orders:read", "orders:write"}},
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				who, ok := FromContext(r.Context())
				fmt.Fprint(w, who.Account, " ", who.Scope, " ", ok)
			}))
		if _, ok := FromContext(t.Context()); ok {
			t.Error("a principal from nowhere")
		}
		const realm = `Bearer realm="the \"shop\""`
		const invalid = realm + `, error="invalid_token", error_description="The access token `
		const unauthorized = `{"error":"invalid_token","error_description":"The access token is missing or not valid"}`
		good := f.mint(nil)
		claim := strings.Split(good, ".")
		payload, _ := strict.DecodeString(claim[1])
		bound := f.keys[0].sign(claim[0], []byte(strings.Replace(string(payload), `{`, `{"cnf":{"jkt":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},`, 1)))
		for name, c := range map[string]struct {
			headers   []string
			status    int
			challenge string
			body      string
		}{
			"good":                {[]string{"Bearer " + good}, 200, "", "100001 orders:read orders:write true"},
			"in another case":     {[]string{"bEARER  " + good}, 200, "", "100001 orders:read orders:write true"},
			"none":                {nil, 401, realm, unauthorized},
			"empty":               {[]string{""}, 401, realm, unauthorized},
			"another scheme":      {[]string{"Basic " + base64.StdEncoding.EncodeToString([]byte("a:b"))}, 401, realm, unauthorized},
			"a bound token's":     {[]string{"DPoP " + good}, 401, realm, unauthorized},
			"twice":               {[]string{"Bearer " + good, "Bearer " + good}, 401, invalid + `is not valid"`, unauthorized},
			"no token":            {[]string{"Bearer "}, 401, invalid + `is not valid"`, unauthorized},
			"only the scheme":     {[]string{"Bearer"}, 401, invalid + `is not valid"`, unauthorized},
			"two tokens":          {[]string{"Bearer " + good + "," + good}, 401, invalid + `is not valid"`, unauthorized},
			"white space":         {[]string{"Bearer " + good + " "}, 401, invalid + `is not valid"`, unauthorized},
			"forged":              {[]string{"Bearer " + mintWith(newSigner(t, "key1"), nil)}, 401, invalid + `is not valid"`, unauthorized},
			"bound to a key":      {[]string{"Bearer " + bound}, 401, invalid + `is not valid"`, unauthorized},
			"revoked":             {[]string{"Bearer " + f.mint(func(c *verify.Claims) { c.Session = "dead" })}, 401, invalid + `was revoked"`, unauthorized},
			"expired":             {[]string{"Bearer " + f.mint(func(c *verify.Claims) { c.Expires = c.IssuedAt - 60 })}, 401, invalid + `expired"`, unauthorized},
			"of another type":     {[]string{"Bearer " + f.mint(func(c *verify.Claims) { c.Type = verify.AccessToken })}, 401, invalid + `is of another type"`, unauthorized},
			"for another service": {[]string{"Bearer " + f.mint(func(c *verify.Claims) { c.Audience = "x" })}, 401, invalid + `is not valid"`, unauthorized},
			"with fewer scopes": {
				[]string{"Bearer " + f.mint(func(c *verify.Claims) { c.Granted = "orders:read" })},
				403,
				realm + `, error="insufficient_scope", error_description="Insufficient scope", scope="orders:read orders:write"`,
				`{"error":"insufficient_scope","error_description":"Insufficient scope"}`,
			},
		} {
			r := httptest.NewRequest(http.MethodGet, "/orders?access_token="+good, nil)
			r.Header["Authorization"] = c.headers
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || w.Body.String() != c.body {
				t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, c.status, c.body)
			}
			want := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
			if c.status != 200 {
				want = http.Header{
					"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
					"Www-Authenticate": {c.challenge},
				}
			}
			if diff := cmp.Diff(want, w.Result().Header); diff != "" {
				t.Errorf("%s: headers (-want +got)\n%s", name, diff)
			}
		}
		stop()
		time.Sleep(2 * time.Minute)
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		r.Header.Set("Authorization", "Bearer "+good)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("past the bound: %d %v", w.Code, w.Header())
		}
		w = httptest.NewRecorder()
		v.Handler(Want{}, h).ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			t.Error("a handler that wants nothing lets everybody in")
		}
	})
}
