package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// OAuth clients as they are published, unchanged: what they need to know of us is an address, an id, and a secret or key.

const oauthConfig = wideLimits + `
public_url: %URL%
routes:
  - {path: /api/strict, upstream: "%API%", accepts: [OAUTH_ACCESS], errors: oauth, dpop: true}
  - {path: /api/, upstream: "%API%", accepts: [OAUTH_ACCESS, B2B_ACCESS], errors: oauth}
`

// startOAuth starts a server that knows its own address, in front of an API.
func startOAuth(t *testing.T) (*server, *upstream) {
	t.Helper()
	up := newUpstream(t, func(call) string { return `{}` })
	in := install(t, "")
	in.URL = in.watched(t) // which is the issuer
	yaml := strings.NewReplacer("%URL%", in.URL, "%API%", up.URL).Replace(oauthConfig)
	text := "listen: " + in.Listen + "\nadmin_listen: " + in.Admin + "\ndata_dir: data\n" + yaml
	if err := os.WriteFile(in.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := in.start(t)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("the server stopped with %v; it said:\n%s", err, s.Said.Tail())
		}
	})
	return s, up
}

// golang.org/x/oauth2.
func TestGoOAuthClient(t *testing.T) {
	s, up := startOAuth(t)
	client := s.newCredential(t, s.newAccount(t, "Customer"), "oauth", "--scope", "orders:read", "--scope", "orders:write")
	for name, style := range map[string]oauth2.AuthStyle{
		"client_secret_basic": oauth2.AuthStyleInHeader, "client_secret_post": oauth2.AuthStyleInParams, "found out": oauth2.AuthStyleAutoDetect,
	} {
		c := clientcredentials.Config{
			ClientID: client.ClientID, ClientSecret: client.ClientSecret, TokenURL: s.URL + "/oauth/token", Scopes: []string{"orders:read"}, AuthStyle: style,
		}
		res, err := c.Client(context.Background()).Get(s.URL + "/api/orders")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		res.Body.Close()
		calls := up.take()
		if res.StatusCode != http.StatusOK || len(calls) != 1 || calls[0].Header.Get("X-Auth-Scope") != "orders:read" || calls[0].Header.Get("X-Auth-Type") != "OAUTH_ACCESS" {
			t.Errorf("%s: got %s, %v", name, res.Status, calls)
		}
		c.ClientSecret = "wrong"
		var refused *oauth2.RetrieveError
		if _, err := c.Token(context.Background()); !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" || refused.Response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s, with a wrong secret: %v", name, err)
		}
		c.ClientSecret, c.Scopes = client.ClientSecret, []string{"orders:delete"}
		if _, err := c.Token(context.Background()); !errors.As(err, &refused) || refused.ErrorCode != "invalid_scope" {
			t.Errorf("%s, with a scope that it does not have: %v", name, err)
		}
	}
}

// openid-client and jose, in Node.
func TestNodeOAuthClient(t *testing.T) {
	needNode(t)
	npmCI(t, "oauth")
	s, _ := startOAuth(t)
	account := s.newAccount(t, "Customer")
	secret := s.newCredential(t, account, "oauth", "--scope", "orders:read", "--scope", "orders:write")
	node := startNode(t, "oauth")
	node.do(nil, "issuer", s.URL)

	// signing makes a client that signs with a key of its own.
	signing := func(alg string) []any {
		t.Helper()
		var set json.RawMessage
		node.do(&set, "generate", alg, "main")
		file := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(file, set, 0o600); err != nil {
			t.Fatal(err)
		}
		c := s.newCredential(t, account, "oauth", "--scope", "orders:read", "--scope", "orders:write", "--jwks", file)
		return []any{"privateKey", c.ClientID, alg, "main"}
	}
	for _, known := range [][]any{
		{"basic", secret.ClientID, secret.ClientSecret},
		{"post", secret.ClientID, secret.ClientSecret},
		signing("ES256"), signing("EdDSA"), signing("RS256"), signing("PS256"),
	} {
		name := known[0].(string)
		if len(known) > 3 {
			name += " " + known[2].(string)
		}
		t.Run(name, func(t *testing.T) {
			var metadata struct{ Issuer, Token_endpoint string } //nolint:revive // as the client names them
			node.do(&metadata, known...)
			if metadata.Issuer != s.URL || metadata.Token_endpoint != s.URL+"/oauth/token" {
				t.Fatalf("it found %+v", metadata)
			}
			var got struct {
				AccessToken string `json:"access_token"`
				TokenType   string `json:"token_type"`
				ExpiresIn   int    `json:"expires_in"`
				Scope       string
			}
			node.do(&got, "token")
			if got.TokenType != "bearer" || got.ExpiresIn != 3600 || got.Scope != "orders:read orders:write" { // it writes types in lower case
				t.Errorf("got %+v", got)
			}
			node.do(&got, "token", map[string]string{"scope": "orders:read"})
			if got.Scope != "orders:read" {
				t.Errorf("asked for less, got %+v", got)
			}
			if res := bearer(t, s.URL+"/api/orders", got.AccessToken); res.StatusCode != http.StatusOK {
				t.Errorf("the API: %s", res.Status)
			}

			// Whoever has the key set needs to ask nobody.
			var claims struct{ Iss, Sub, Scope, Type string }
			node.do(&claims, "verify", got.AccessToken)
			if claims.Iss != s.URL || claims.Sub != account || claims.Scope != "orders:read" || claims.Type != "OAUTH_ACCESS" {
				t.Errorf("the token says %+v", claims)
			}

			var told struct {
				Active     bool
				Sub, Scope string
			}
			node.do(&told, "introspect", got.AccessToken)
			if !told.Active || told.Sub != account || told.Scope != "orders:read" {
				t.Errorf("introspected: %+v", told)
			}
			node.do(nil, "revoke", got.AccessToken)
			node.do(&told, "introspect", got.AccessToken)
			if told.Active {
				t.Error("it was revoked and is active")
			}
			if res := bearer(t, s.URL+"/api/orders", got.AccessToken); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("the API, with a revoked token: %s", res.Status)
			}
			if got, want := node.refused("token", map[string]string{"scope": "orders:delete"}), "invalid_scope The client does not have this scope 400"; got != want {
				t.Errorf("a scope that it does not have: got %q, want %q", got, want)
			}

			// Bound to a key, it is worth nothing alone.
			for path, alg := range map[string]string{"/api/orders": "ES256", "/api/strict": "Ed25519"} {
				var bound struct {
					AccessToken string `json:"access_token"`
					TokenType   string `json:"token_type"`
					Statuses    []int
					Alone       int
				}
				node.do(&bound, "bound", s.URL+path, alg)
				if bound.TokenType != "dpop" || !slices.Equal(bound.Statuses, []int{200, 200}) || bound.Alone != http.StatusUnauthorized {
					t.Errorf("%s with a key of %s: %+v", path, alg, bound)
				}
			}

			// The pairs of contract 3 are refreshed as any.
			pair := login(t, s, s.newCredential(t, account, "login"))
			var next struct {
				AccessToken  string `json:"access_token"`
				RefreshToken string `json:"refresh_token"`
			}
			node.do(&next, "refresh", pair)
			if res := bearer(t, s.URL+"/api/orders", next.AccessToken); res.StatusCode != http.StatusOK {
				t.Errorf("the API, with a refreshed token: %s", res.Status)
			}
			node.do(nil, "refresh", next.RefreshToken)
			if got, want := node.refused("refresh", next.RefreshToken), "invalid_grant The refresh token is not valid 400"; got != want {
				t.Errorf("a refresh token that was used: got %q, want %q", got, want)
			}
		})
	}
	node.do(nil, "basic", secret.ClientID, "wrong")
	if got, want := node.refused("token"), "OAUTH_WWW_AUTHENTICATE_CHALLENGE"; !strings.HasPrefix(got, want) { // it shows no more of a 401
		t.Errorf("a wrong secret: got %q, want %s…", got, want)
	}
}

// login logs in and returns the refresh token.
func login(t *testing.T, s *server, c credential) string {
	t.Helper()
	res, err := http.Post(s.URL+"/auth/login", "application/json", strings.NewReader(`{"username":"`+c.Username+`","password":"`+c.Password+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct {
		Data struct {
			RefreshToken string `json:"refresh_token"`
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil || body.Data.RefreshToken == "" {
		t.Fatalf("login: %s, %v", res.Status, err)
	}
	return body.Data.RefreshToken
}
