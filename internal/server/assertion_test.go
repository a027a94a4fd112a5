package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// A signingClient is an OAuth client that signs in place of a secret.
type signingClient struct {
	w          *world
	credential auth.Credential
	id         string
	key        jose.SigningKey
	serial     int
}

func generate(t testing.TB, alg jose.SignatureAlgorithm) jose.SigningKey {
	t.Helper()
	var key any
	var err error
	switch alg {
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return jose.SigningKey{Algorithm: alg, Key: key}
}

// public is what is registered of a key.
func public(t testing.TB, key jose.SigningKey) []byte {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Key.(crypto.Signer).Public(), KeyID: "main"}}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (w *world) signingClient(key jose.SigningKey, scopes ...string) *signingClient {
	w.t.Helper()
	issued, err := w.Registry().CreateCredential(w.t.Context(), operator, registry.NewCredential{
		Account: w.account, Kind: auth.OAuth, Scopes: scopes, Keys: public(w.t, key),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	id, secret := issued.Reveal()
	if secret != "" {
		w.t.Fatal("it has a secret too")
	}
	return &signingClient{w: w, credential: issued.Credential, id: id, key: key}
}

// assertion signs the next one, with some claims changed.
func (c *signingClient) assertion(change map[string]any) string {
	c.w.t.Helper()
	c.serial++
	now := c.w.opened.DB.Now().Unix()
	claims := map[string]any{"iss": c.id, "sub": c.id, "aud": "https://auth.example.com", "exp": now + 60, "iat": now, "jti": strconv.Itoa(c.serial)}
	for name, value := range change {
		claims[name] = value
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		c.w.t.Fatal(err)
	}
	signer, err := jose.NewSigner(c.key, (&jose.SignerOptions{}).WithHeader("kid", "main"))
	if err != nil {
		c.w.t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		c.w.t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		c.w.t.Fatal(err)
	}
	return compact
}

const jwtBearer = "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="

// present asks with an assertion.
func (c *signingClient) present(path, form, assertion string) answer {
	return c.w.form(path, "", "", form+jwtBearer+url.QueryEscape(assertion))
}

func TestAClientSignsInPlaceOfASecret(t *testing.T) {
	w := newWorld(t, "public_url: https://auth.example.com\n"+unlimited)
	for _, alg := range []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256, jose.PS256} {
		c := w.signingClient(generate(t, alg), "orders:read")
		const ask = "grant_type=client_credentials"
		first := c.assertion(map[string]any{"aud": "https://auth.example.com/oauth/token"})
		a := c.present("/oauth/token", ask+"&client_id="+c.id, first)
		var got tokenAnswer
		a.decode(t, &got)
		if p, alive := w.alive(got.AccessToken, "192.0.2.1"); a.Code != http.StatusOK || !alive || p.Credential != string(c.credential.ID) || got.Scope != "orders:read" {
			t.Fatalf("%s: %d %s", alg, a.Code, a.Body)
		}
		if a := c.present("/oauth/introspect", "token="+got.AccessToken, c.assertion(nil)); !strings.Contains(a.Body.String(), `"active":true`) {
			t.Errorf("%s: introspect: %d %s", alg, a.Code, a.Body)
		}
		if a := c.present("/oauth/revoke", "token="+got.AccessToken, c.assertion(nil)); a.Code != http.StatusOK {
			t.Errorf("%s: revoke: %d %s", alg, a.Code, a.Body)
		}
		if _, alive := w.alive(got.AccessToken, "192.0.2.1"); alive {
			t.Errorf("%s: it was revoked and lives", alg)
		}

		// What counted once counts nowhere again, and looks like what never counted.
		unknown := *c
		unknown.id = "u_AAAAAAAAAAAA"
		template := seen(unknown.present("/oauth/token", ask, unknown.assertion(nil)))
		if !strings.HasPrefix(template, "401") || !strings.Contains(template, "invalid_client") {
			t.Fatalf("an unknown client: %s", template)
		}
		for path, form := range map[string]string{"/oauth/token": ask, "/oauth/introspect": "token=x", "/oauth/revoke": "token=x"} {
			if got := seen(c.present(path, form, first)); got != template {
				t.Errorf("%s: the same assertion at %s:\n%s", alg, path, got)
			}
		}
		again := c.assertion(map[string]any{"jti": "mine"})
		if a := c.present("/oauth/token", ask, again); a.Code != http.StatusOK {
			t.Fatalf("%s: %d", alg, a.Code)
		}
		if got := seen(c.present("/oauth/token", ask, c.assertion(map[string]any{"jti": "mine", "exp": w.opened.DB.Now().Unix() + 599}))); got != template {
			t.Errorf("%s: the same jti, signed anew:\n%s", alg, got)
		}
		other := w.signingClient(generate(t, jose.EdDSA))
		if a := other.present("/oauth/token", ask, other.assertion(map[string]any{"jti": "mine"})); a.Code != http.StatusOK {
			t.Errorf("%s: another client may use the same jti: %d", alg, a.Code)
		}

		// Other keys from now on.
		next := generate(t, jose.ES256)
		keys := string(public(t, next))
		if _, err := w.Registry().UpdateCredential(t.Context(), operator, c.credential.ID, auth.CredentialUpdate{Keys: &keys}); err != nil {
			t.Fatal(err)
		}
		if got := seen(c.present("/oauth/token", ask, c.assertion(nil))); got != template {
			t.Errorf("%s: with the former key:\n%s", alg, got)
		}
		c.key = next
		if a := c.present("/oauth/token", ask, c.assertion(nil)); a.Code != http.StatusOK {
			t.Errorf("%s: with the new key: %d %s", alg, a.Code, a.Body)
		}

		for name, kill := range map[string]func() error{
			"revoked": func() error {
				_, err := w.Registry().RevokeCredential(t.Context(), operator, c.credential.ID)
				return err
			},
			"suspended": func() error {
				_, err := w.Registry().SuspendAccount(t.Context(), operator, w.account, false)
				return err
			},
		} {
			if err := kill(); err != nil {
				t.Fatal(err)
			}
			if got := seen(c.present("/oauth/token", ask, c.assertion(nil))); got != template {
				t.Errorf("%s: %s:\n%s", alg, name, got)
			}
		}
		if _, err := w.Registry().ResumeAccount(t.Context(), operator, w.account); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOfManyUsesOfOneAssertionOneCounts(t *testing.T) {
	w := newWorld(t, "public_url: https://auth.example.com\n"+unlimited)
	c := w.signingClient(generate(t, jose.EdDSA))
	for round := range rounds(t, 40) {
		assertion := c.assertion(nil)
		won := 0
		for _, code := range together(16, func(int) int { return c.present("/oauth/token", "grant_type=client_credentials", assertion).Code }) {
			if code == http.StatusOK {
				won++
			} else if code != http.StatusUnauthorized {
				t.Fatalf("round %d: %d", round, code)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d of sixteen counted", round, won)
		}
	}
}
