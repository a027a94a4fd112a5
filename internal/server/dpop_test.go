package server

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A prover signs proofs, each of a name of its own.
type prover struct {
	w      *world
	key    jose.SigningKey
	serial int
}

func (p *prover) proof(method, path, token string, change map[string]any) string {
	p.w.t.Helper()
	p.serial++
	claims := map[string]any{
		"jti": strconv.Itoa(p.serial), "htm": method, "htu": "https://auth.example.com" + path, "iat": p.w.opened.DB.Now().Unix(),
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	maps.Copy(claims, change)
	payload, err := json.Marshal(claims)
	if err != nil {
		p.w.t.Fatal(err)
	}
	signer, err := jose.NewSigner(p.key, (&jose.SignerOptions{}).WithType("dpop+jwt").
		WithHeader("jwk", jose.JSONWebKey{Key: p.key.Key.(crypto.Signer).Public()}))
	if err != nil {
		p.w.t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		p.w.t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		p.w.t.Fatal(err)
	}
	return compact
}

const dpopRoutes = `
public_url: https://auth.example.com
routes:
  - {path: /api,    upstream: "%s", accepts: [OAUTH_ACCESS, B2B_ACCESS], errors: oauth}
  - {path: /strict, upstream: "%s", accepts: [OAUTH_ACCESS, B2B_ACCESS], errors: b2b, dpop: true}
`

// A token that is bound to a key is worth nothing without it, at any address.
func TestATokenThatIsBoundToAKey(t *testing.T) {
	w := newWorld(t, strings.ReplaceAll(dpopRoutes, "%s", api(t, "the API"))+unlimited)
	c, trusted := w.client("a", "b"), w.client(auth.ScopeIntrospect)
	_, username, password := w.issue(auth.Login, "a")
	for _, alg := range []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256, jose.PS256} {
		holder, thief := &prover{w: w, key: generate(t, alg)}, &prover{w: w, key: generate(t, jose.EdDSA)}
		ask := func(form string) tokenAnswer {
			t.Helper()
			a := w.form("/oauth/token", c.id, c.secret, form, "DPoP", holder.proof("POST", "/oauth/token", "", nil))
			var got tokenAnswer
			a.decode(t, &got)
			if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `"token_type":"DPoP"`) {
				t.Fatalf("%s: %d %s", alg, a.Code, a.Body)
			}
			return got
		}
		login, _ := w.login(username, password)
		pair := ask("grant_type=refresh_token&refresh_token=" + login.Refresh)
		for _, token := range []string{ask("grant_type=client_credentials&scope=a").AccessToken, pair.AccessToken} {
			call := func(path, scheme string, headers ...string) answer {
				return w.ask("GET", path, "", append([]string{"Authorization", scheme + " " + token}, headers...)...)
			}
			for _, path := range []string{"/api/x", "/strict/x"} {
				if a := call(path, "DPoP", "DPoP", holder.proof("GET", path, token, nil)); a.Code != http.StatusOK || a.Body.String() != "the API" {
					t.Errorf("%s, %s: %d %s", alg, path, a.Code, a.Body)
				}
				once := holder.proof("GET", path, token, nil)
				call(path, "DPoP", "DPoP", once)
				for name, a := range map[string]answer{
					"alone":                      call(path, "Bearer"),
					"with a proof, as a bearer":  call(path, "Bearer", "DPoP", holder.proof("GET", path, token, nil)),
					"without a proof":            call(path, "DPoP"),
					"with a thief's proof":       call(path, "DPoP", "DPoP", thief.proof("GET", path, token, nil)),
					"with a proof that was used": call(path, "DPoP", "DPoP", once),
					"with a proof of elsewhere":  call(path, "DPoP", "DPoP", holder.proof("GET", "/other", token, nil)),
				} {
					if challenge := a.Header().Get("WWW-Authenticate"); a.Code != http.StatusUnauthorized || !strings.HasPrefix(challenge, `DPoP realm="gatehouse", error="invalid_`) {
						t.Errorf("%s, %s, %s: %d %s", alg, path, name, a.Code, challenge)
					}
				}
			}
			if code := w.logout(token); code != http.StatusUnauthorized {
				t.Errorf("%s: a logout with the token alone: %d", alg, code)
			}
			a := w.form("/oauth/introspect", trusted.id, trusted.secret, "token="+token)
			if !strings.Contains(a.Body.String(), `"token_type":"DPoP","cnf":{"jkt":"`) {
				t.Errorf("%s: introspected: %s", alg, a.Body)
			}
			if _, _, err := w.Gate().Verify(context.Background(), token, auth.Caller{Address: netip.MustParseAddr("192.0.2.1")}, auth.Want{Types: []verifyType{b2bAccess, "OAUTH_ACCESS"}}); err == nil {
				t.Errorf("%s: it is a bearer token", alg)
			}
			if found, err := w.opened.Inspect(t.Context(), token, netip.Addr{}); err != nil || !found.Good || !strings.Contains(fmt.Sprint(found.Checks), "{key ok it is bound to the key ") {
				t.Errorf("%s: inspected: %+v, %v", alg, found, err)
			}
			w.revokeAs(c, token)
			if a := call("/api/x", "DPoP", "DPoP", holder.proof("GET", "/api/x", token, nil)); a.Code != http.StatusUnauthorized || !strings.Contains(a.Header().Get("WWW-Authenticate"), "revoked") {
				t.Errorf("%s: revoked: %d %v", alg, a.Code, a.Header())
			}
		}
	}

	// Bearer tokens stay what they were, but for routes that ask for more.
	plain, _ := w.token(c.id, c.secret, "grant_type=client_credentials")
	if a := w.ask("GET", "/api/x", "", "Authorization", "Bearer "+plain.AccessToken); a.Code != http.StatusOK {
		t.Errorf("a bearer token: %d", a.Code)
	}
	if a := w.ask("GET", "/strict/x", "", "Authorization", "Bearer "+plain.AccessToken); a.Code != http.StatusUnauthorized || !strings.HasPrefix(a.Header().Get("WWW-Authenticate"), "DPoP ") {
		t.Errorf("a bearer token where a proof is asked for: %d %v", a.Code, a.Header())
	}
	p := &prover{w: w, key: generate(t, jose.EdDSA)}
	if a := w.ask("GET", "/api/x", "", "Authorization", "DPoP "+plain.AccessToken, "DPoP", p.proof("GET", "/api/x", plain.AccessToken, nil)); a.Code != http.StatusUnauthorized {
		t.Errorf("a bearer token with anybody's proof: %d", a.Code)
	}
	if a := w.ask("GET", "/strict/x", ""); a.Code != http.StatusUnauthorized || a.Header().Get("WWW-Authenticate") != `DPoP realm="gatehouse", algs="EdDSA Ed25519 ES256 RS256 PS256"` {
		t.Errorf("nothing where a proof is asked for: %d %v", a.Code, a.Header())
	}
}

// A refresh under an idempotency key is repeated for the same key alone.
func TestARepeatedRefreshOfABoundToken(t *testing.T) {
	w := newWorld(t, "public_url: https://auth.example.com\n"+unlimited)
	c := w.client()
	_, username, password := w.issue(auth.Login)
	login, _ := w.login(username, password)
	holder, thief := &prover{w: w, key: generate(t, jose.EdDSA)}, &prover{w: w, key: generate(t, jose.EdDSA)}
	ask := func(p *prover) answer {
		headers := []string{"Idempotency-Key", "0123456789abcdef"}
		if p != nil {
			headers = append(headers, "DPoP", p.proof("POST", "/oauth/token", "", nil))
		}
		return w.form("/oauth/token", c.id, c.secret, "grant_type=refresh_token&refresh_token="+login.Refresh, headers...)
	}
	first := ask(holder)
	if again := ask(holder); first.Code != http.StatusOK || seen(again) != seen(first) {
		t.Errorf("%s\n\nand again\n%s", seen(first), seen(again))
	}
	for name, p := range map[string]*prover{"another key": thief, "no key": nil} {
		if a := ask(p); a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), "invalid_grant") {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
}

func TestOfManyUsesOfOneProofOneCounts(t *testing.T) {
	w := newWorld(t, strings.ReplaceAll(dpopRoutes, "%s", api(t, "the API"))+unlimited)
	c := w.client()
	p := &prover{w: w, key: generate(t, jose.EdDSA)}
	var got tokenAnswer
	w.form("/oauth/token", c.id, c.secret, "grant_type=client_credentials", "DPoP", p.proof("POST", "/oauth/token", "", nil)).decode(t, &got)
	for round := range rounds(t, 40) {
		proof := p.proof("GET", "/strict", got.AccessToken, nil)
		won := 0
		for _, code := range together(16, func(int) int {
			return w.ask("GET", "/strict", "", "Authorization", "DPoP "+got.AccessToken, "DPoP", proof).Code
		}) {
			if code == http.StatusOK {
				won++
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d of sixteen counted", round, won)
		}
	}
	proof := p.proof("GET", "/strict", got.AccessToken, nil)
	w.move(91 * time.Second)
	if a := w.ask("GET", "/strict", "", "Authorization", "DPoP "+got.AccessToken, "DPoP", proof); a.Code != http.StatusUnauthorized {
		t.Errorf("a proof of a minute and a half ago: %d", a.Code)
	}
}
