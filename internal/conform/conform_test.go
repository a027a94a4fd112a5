package conform_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/gatehousetest"
	"github.com/gatehouse/gatehouse/internal/conform"
	"github.com/gatehouse/gatehouse/internal/demo"
)

const origin = "https://shop.example.com"

const unlimited = `
limits:
  exchange_per_address: {rate: 0, burst: 0}
  exchange_per_credential: {rate: 0, burst: 0}
  failures_per_address: {rate: 0, burst: 0}
  failures_per_identifier: {rate: 0, burst: 0}
`

// ours is our own server in front of the sample API, and what it is to be judged with.
func ours(t *testing.T, more string) (*gatehousetest.Server, conform.Config) {
	t.Helper()
	api := httptest.NewServer(demo.API())
	t.Cleanup(api.Close)
	s := gatehousetest.Start(t, gatehousetest.Config{YAML: more + fmt.Sprintf(`
cors:
  allowed_origins: [%[2]s]
routes:
  - {path: /api/v1, upstream: "%[1]s", accepts: [B2B_ACCESS, OAUTH_ACCESS]}
  - {path: /api/orders, upstream: "%[1]s", accepts: [ORDER_API]}
  - {path: /api/cart, upstream: "%[1]s", accepts: [ACCESS_TOKEN]}
`, api.URL, origin)})
	account, blocked, other := s.NewAccount("Sample Customer"), s.NewAccount("Elsewhere"), s.NewAccount("Another")
	s.AllowIP(blocked, "203.0.113.0/24")
	dead := func(c gatehousetest.Credential) gatehousetest.Credential {
		s.RevokeCredential(c.ID)
		return c
	}
	user := func(c gatehousetest.Credential) conform.User {
		return conform.User{ID: c.Identifier, Password: c.Secret}
	}
	login := func(c gatehousetest.Credential) conform.Login {
		return conform.Login{Username: c.Identifier, Password: c.Secret}
	}
	client := func(c gatehousetest.Credential) conform.Client {
		return conform.Client{ID: c.Identifier, Secret: c.Secret}
	}
	given := conform.Credentials{
		Liquid: conform.Key{Key: s.NewAPIKey(account, "orders:read").Identifier, Revoked: dead(s.NewAPIKey(account)).Identifier, Blocked: s.NewAPIKey(blocked).Identifier},
		Orders: user(s.NewBasic(account)), B2B: login(s.NewLogin(account)), OAuth: client(s.NewOAuthClient(account, "orders:read", "orders:write")),
		Routes: conform.Routes{Liquid: "POST /api/cart/update", Orders: "/api/orders/7", B2B: "/api/v1/products", OAuth: "/api/v1/products"},
	}
	given.Orders.Revoked, given.Orders.Blocked = new(user(dead(s.NewBasic(account)))), new(user(s.NewBasic(blocked)))
	given.B2B.Revoked, given.B2B.Blocked = new(login(dead(s.NewLogin(account)))), new(login(s.NewLogin(blocked)))
	given.OAuth.Revoked, given.OAuth.Blocked = new(client(dead(s.NewOAuthClient(account)))), new(client(s.NewOAuthClient(blocked)))
	given.OAuth.Other = new(client(s.NewOAuthClient(other)))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	given.OAuth.Signer = signer(t, s, account, key)
	return s, conform.Config{
		URL: s.URL, Credentials: given, Origin: origin,
		Wait: func(_ context.Context, d time.Duration) error {
			s.Clock.Advance(d)
			return nil
		},
	}
}

// signer is a client of the account's that signs with a key.
func signer(t *testing.T, s *gatehousetest.Server, account int64, key crypto.Signer) *conform.Signer {
	t.Helper()
	private, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "main"})
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "main"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &conform.Signer{ID: s.NewSigningClient(account, public, "orders:read").Identifier, Key: private}
}

// judge runs the kit, and looks that no secret is in what it says, nor a token: their heads begin with alg, typ or kid.
func judge(t *testing.T, c conform.Config) conform.Report {
	t.Helper()
	kit, err := conform.New(c)
	if err != nil {
		t.Fatal(err)
	}
	report, err := kit.Run(t.Context(), func(conform.Row) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Rows {
		for _, e := range row.Exchanges {
			for _, secret := range []string{c.Credentials.Liquid.Key, c.Credentials.Orders.Password, c.Credentials.B2B.Password, c.Credentials.OAuth.Secret, "eyJhbGci", "eyJ0eXAi", "eyJraWQi"} {
				if secret != "" && strings.Contains(e.Sent+e.Got, secret) {
					t.Errorf("%s: there is a secret in what is shown:\n%s", row.Name, row.Text())
				}
			}
		}
	}
	return report
}

// Our own server passes every row, and none is left out but those about limits, which it has not.
func TestOurOwnServer(t *testing.T) {
	_, c := ours(t, unlimited)
	c.Slow = true
	report := judge(t, c)
	names := map[string]bool{}
	for _, row := range report.Rows {
		if row.Outcome == conform.Failed || row.Outcome == conform.Skipped && !strings.Contains(row.Name, "too many requests") {
			t.Errorf("%s", row.Text())
		}
		if names[row.Name] {
			t.Errorf("two rows are called %s", row.Name)
		}
		names[row.Name] = true
	}
	t.Logf("%s", report.Summary())
}

// With the limits that every server has unless it is told otherwise, the rows about them hold, and none is skipped.
func TestTheLimitsOfOurOwnServer(t *testing.T) {
	_, c := ours(t, "")
	c.Limits, c.Only = true, "too many requests"
	for _, row := range judge(t, c).Rows {
		if row.Outcome != conform.OK {
			t.Errorf("%s", row.Text())
		}
	}
}

// Whatever tokens are signed with, the kit verifies them, and finds out where the key set has another key.
func TestEveryAlgorithm(t *testing.T) {
	for alg, broken := range map[string]string{"EdDSA": `"x":"`, "ES256": `"x":"`, "RS256": `"n":"`, "HS256": ""} {
		t.Run(alg, func(t *testing.T) {
			s, c := ours(t, "tokens: {algorithm: "+alg+"}\n"+unlimited)
			c.Only = "signed by a key of the key set"
			want := conform.OK
			if alg == "HS256" {
				want = conform.Skipped
			}
			rows := judge(t, c).Rows
			for _, row := range rows {
				if row.Outcome != want {
					t.Errorf("%s", row.Text())
				}
			}
			if len(rows) != 4 {
				t.Errorf("%d rows, one for each contract", len(rows))
			}
			if broken == "" {
				return
			}
			member := regexp.MustCompile(`(` + broken + `)(.)`)
			c.URL = wrong{change: func(request, answer string) string {
				if !strings.HasPrefix(request, "GET /.well-known/jwks.json") {
					return answer
				}
				return member.ReplaceAllStringFunc(answer, func(begin string) string {
					if strings.HasSuffix(begin, "A") {
						return broken + "B"
					}
					return broken + "A"
				})
			}}.serve(t, strings.TrimPrefix(s.URL, "http://"))
			for _, row := range judge(t, c).Rows {
				if row.Outcome != conform.Failed || !strings.Contains(strings.Join(row.Why, "\n"), "the signature ("+alg+") does not verify") {
					t.Errorf("with another key in the key set: %s", row.Text())
				}
			}
		})
	}
}

// A client can sign with a key of any sort that the file may hold.
func TestSignersOfEverySort(t *testing.T) {
	s, c := ours(t, unlimited)
	_, ed25519Key, err1 := ed25519.GenerateKey(rand.Reader)
	rsaKey, err2 := rsa.GenerateKey(rand.Reader, 2048)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	c.Only = "private_key_jwt"
	account := s.NewAccount("Signers")
	for _, key := range []crypto.Signer{ed25519Key, rsaKey} {
		c.Credentials.OAuth.Signer = signer(t, s, account, key)
		rows := judge(t, c).Rows
		for _, row := range rows {
			if row.Outcome != conform.OK {
				t.Errorf("%T: %s", key, row.Text())
			}
		}
		if len(rows) < 5 {
			t.Errorf("%d rows", len(rows))
		}
	}
	for _, bad := range []string{`{}`, `{"kty":"oct","k":"c2VjcmV0"}`, `{"kty":"OKP","crv":"Ed25519","d":"c2VjcmV0"}`, `{"kty":"EC","crv":"P-256","d":"c2VjcmV0"}`, `{"kty":"RSA","n":"c2VjcmV0","e":"AQAB","d":"c2VjcmV0","p":"c2Vj","q":"c2Vj"}`} {
		c.Credentials.OAuth.Signer = &conform.Signer{ID: "u_conformanobod", Key: []byte(bad)}
		for _, row := range judge(t, c).Rows {
			if row.Outcome != conform.Failed || !strings.HasPrefix(row.Why[0], "oauth.signer: the key is no") || strings.Contains(row.Text(), "c2Vj") {
				t.Errorf("%s: %s", bad, row.Text())
			}
		}
	}
}
