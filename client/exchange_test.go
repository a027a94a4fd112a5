package client_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/client"
)

func TestEachContractGivesAToken(t *testing.T) {
	h := openHouse(t, "contracts: {liquid: {header: X-Partner-Key}}\n")
	account := h.NewAccount("Partner")
	basic, login, oauth := h.NewBasic(account), h.NewLogin(account), h.NewOAuthClient(account, "orders:read", "orders:write")
	for _, c := range []struct {
		credential client.Credential
		kind       string
		life       time.Duration
		opens      string
	}{
		{client.APIKey{Key: client.NewSecret(h.NewAPIKey(account).Identifier), Header: "X-Partner-Key"}, "ACCESS_TOKEN", 24 * time.Hour, "/api/x"},
		{client.Basic{UserID: basic.Identifier, Password: client.NewSecret(basic.Secret)}, "ORDER_API", 10 * time.Minute, "/api/orders"},
		{client.Login{Username: login.Identifier, Password: client.NewSecret(login.Secret)}, "B2B_ACCESS", time.Hour, "/api/x"},
		{client.OAuthClient{ID: oauth.Identifier, Secret: client.NewSecret(oauth.Secret)}, "OAUTH_ACCESS", time.Hour, "/api/machines"},
		{client.OAuthClient{ID: oauth.Identifier, Secret: client.NewSecret(oauth.Secret), Scopes: []string{"orders:read"}}, "OAUTH_ACCESS", time.Hour, "/api/machines"},
	} {
		cl := h.client(c.credential)
		got, err := cl.Token(t.Context())
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		if o, ok := c.credential.(client.OAuthClient); ok && got.Scope != strings.Join(append(o.Scopes, "orders:read orders:write")[:1], " ") {
			t.Errorf("%s: the scope is %q", c.kind, got.Scope)
		}
		life := got.Expires.Sub(h.Clock.Now())
		if got.Type != c.kind || life > c.life+2*time.Second || life < c.life-time.Minute {
			t.Errorf("%s: got type %s, for %v", c.kind, got.Type, life)
		}
		if status := get(t, cl, h.URL+c.opens); status != http.StatusOK {
			t.Errorf("%s: the call is answered with %d", c.kind, status)
		}
		other, err := cl.TokenSource(t.Context()).Token()
		if err != nil || other.AccessToken != got.Value.Reveal() || other.Type() != "Bearer" || !other.Expiry.Equal(got.Expires) {
			t.Errorf("%s: as a TokenSource: %v, %v", c.kind, err, other)
		}
	}
}

// A fake of contract 4, by RFC 6749.
func TestAnOAuthClientGivesAToken(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var auth, body, kind string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		auth, body, kind = r.Header.Get("Authorization"), string(text), r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")
		w.Header().Set("Date", now.Format(http.TimeFormat))
		_, _ = io.WriteString(w, `{"access_token":"a.b.c","token_type":"bearer","expires_in":3600,"scope":"orders:read"}`)
	}))
	defer s.Close()
	c := newClient(t, client.Config{
		BaseURL: s.URL + "/gate/", Now: func() time.Time { return now },
		Credential: client.OAuthClient{ID: "u_a", Secret: client.NewSecret("p:s%"), Scopes: []string{"orders:read", "x"}},
	})
	got, err := c.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if life := got.Expires.Sub(now); got.Value.Reveal() != "a.b.c" || got.Type != "OAUTH_ACCESS" || got.Scope != "orders:read" || life < 59*time.Minute || life > time.Hour {
		t.Errorf("got %s %s %q for %v", got.Value.Reveal(), got.Type, got.Scope, life)
	}
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("u_a:p%3As%25")); auth != want {
		t.Errorf("Authorization %s, want %s", auth, want)
	}
	if want := "grant_type=client_credentials&scope=orders%3Aread+x"; body != want {
		t.Errorf("the body is %s, want %s", body, want)
	}
	if want := "POST /gate/oauth/token application/x-www-form-urlencoded"; kind != want {
		t.Errorf("the request is %s, want %s", kind, want)
	}
}

// What is no answer of the contract must not pass for a token.
func TestAnswersThatAreNone(t *testing.T) {
	key := client.APIKey{Key: client.NewSecret("gk_test_x")}
	basic := client.Basic{UserID: "u", Password: client.NewSecret("canary")}
	login := client.Login{Username: "u", Password: client.NewSecret("canary")}
	oauth := client.OAuthClient{ID: "u", Secret: client.NewSecret("canary")}
	in := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).UnixMilli()) }
	for _, c := range []struct {
		credential client.Credential
		status     int
		body       string
	}{
		{key, 200, ""},
		{key, 201, "<html>"},
		{key, 201, `{"statusCode":200,"message":"OK","metadata":{}}`},
		{key, 201, `{"statusCode":5000,"data":{"token":"a.b.c","type":"ACCESS_TOKEN","exp":` + in(time.Hour) + `}}`},
		{key, 201, `{"statusCode":200,"data":{"token":"a.b.c","type":"ORDER_API","exp":` + in(time.Hour) + `}}`},
		{key, 201, `{"statusCode":200,"data":{"token":"a.b.c","type":"ACCESS_TOKEN","exp":` + in(-time.Hour) + `}}`},
		{key, 201, `{"statusCode":200,"data":{"token":"a\r\nb","type":"ACCESS_TOKEN","exp":` + in(time.Hour) + `}}`},
		{key, 302, ""},
		{key, 204, ""},
		{key, 201, `"` + strings.Repeat("x", 1<<20) + `"`},
		{basic, 200, `{"token":"a.b.c","type":"ORDER_API","exp":600}`}, // seconds
		{basic, 200, `{"token":"","type":"ORDER_API","exp":` + in(time.Hour) + `}`},
		{login, 200, `{"success":true,"data":{"access_token":"a.b.c","refresh_token":"d.e.f","access_expires_at":"soon","refresh_expires_at":"2999-01-15T10:30:00Z"}}`},
		{login, 200, `{"success":true,"data":{"access_token":"a.b.c","refresh_token":"d.e.f","access_expires_at":"2999-01-15T10:30:00Z","refresh_expires_at":""}}`},
		{login, 200, `{"success":true,"data":{"access_token":"a.b.c","access_expires_at":"2999-01-15T10:30:00Z","refresh_expires_at":"2999-01-15T10:30:00Z"}}`},
		{oauth, 200, `{"access_token":"a.b.c","token_type":"DPoP","expires_in":3600}`},
		{oauth, 200, `{"access_token":"a.b.c","token_type":"Bearer"}`},
	} {
		w := newWire(t, nil)
		w.on(always(c.status, c.body, "Location", "https://elsewhere.example/"))
		_, err := newClient(t, client.Config{BaseURL: "https://auth.example", Credential: c.credential, Transport: w}).Token(t.Context())
		if !errors.Is(err, client.ErrBadAnswer) || strings.Contains(err.Error(), "a.b.c") || strings.Contains(w.passed(), ",") {
			t.Errorf("%d %.80s: %v", c.status, c.body, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := client.APIKey{Key: client.NewSecret("gk_test_canary")}
	for _, c := range []struct {
		config client.Config
		want   string
	}{
		{client.Config{Credential: good}, "BaseURL: it has to begin with https://"},
		{client.Config{BaseURL: "auth.example.com", Credential: good}, "BaseURL: it has to begin"},
		{client.Config{BaseURL: "https://auth:%zz", Credential: good}, "BaseURL: it cannot be read"},
		{client.Config{BaseURL: "https://u:canary@auth.example.com", Credential: good}, "more than a scheme"},
		{client.Config{BaseURL: "https://auth.example.com?x", Credential: good}, "more than a scheme"},
		{client.Config{BaseURL: "http://auth.example.com", Credential: good}, "PlainHTTP"},
		{client.Config{BaseURL: "https://auth.example.com"}, "no Credential"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: client.APIKey{}}, "the API key is empty"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: client.APIKey{Key: client.NewSecret("gk_canary\n")}}, "a line end"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: client.APIKey{Key: client.NewSecret("canary"), Header: "X Y"}}, "Header"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: client.Basic{UserID: "a:b", Password: client.NewSecret("canary")}}, "colon"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: client.Login{Username: "a"}}, "password is empty"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: client.OAuthClient{ID: "a"}}, "secret is empty"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: client.OAuthClient{ID: "a", Secret: client.NewSecret("canary"), Scopes: []string{"a b"}}}, "a scope"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: good, Origins: []string{"https://api.example.com/v1"}}, "Origins: it has a path"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: good, Origins: []string{"api.example.com"}}, "Origins: it has to begin"},
		{client.Config{BaseURL: "https://auth.example.com", Credential: good, Attempts: -1}, "negative"},
	} {
		_, err := client.New(c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, want one about %q", err, c.want)
		}
	}
	for _, base := range []string{"http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000/gate", "https://auth.example.com/"} {
		if _, err := client.New(client.Config{BaseURL: base, Credential: good}); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
	if _, err := client.New(client.Config{BaseURL: "http://auth.example.com", PlainHTTP: true, Credential: good}); err != nil {
		t.Error(err)
	}
}

// Nothing that holds a secret shows it, by whatever verb.
func TestSecretsDoNotPrint(t *testing.T) {
	s := client.NewSecret("canary")
	type own struct{ hidden client.Credential }
	token := &client.Token{Value: s}
	for _, v := range []any{
		s, &s,
		client.APIKey{Key: s},
		client.Basic{Password: s},
		client.Login{Password: s},
		client.OAuthClient{Secret: s},
		token,
		own{client.APIKey{Key: s}},
		client.Config{Credential: client.Login{Username: "u", Password: s}},
		newClient(t, client.Config{BaseURL: "https://auth.example.com", Credential: client.APIKey{Key: s}}),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "canary") || strings.Contains(text, "63616e617279") {
				t.Errorf("%s of %T shows it: %s", verb, v, text)
			}
		}
	}
	if text := s.LogValue().String(); text != "[secret]" {
		t.Error(text)
	}
	if text, err := s.MarshalText(); err != nil || string(text) != "[secret]" {
		t.Error(text, err)
	}
}
