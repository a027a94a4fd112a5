package gateway

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

const withProof = "Authorization: DPoP good"

var proofKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// dpop is a proof of proofKey for a call with the good token, with some claims changed.
func dpop(t *testing.T, method, url string, change map[string]any) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	sum := sha256.Sum256([]byte("good"))
	claims := map[string]any{"jti": "j1", "htm": method, "htu": url, "iat": time.Now().Unix(), "ath": b64(sum[:])}
	maps.Copy(claims, change)
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	input := b64([]byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+b64(proofKey.Public().(ed25519.PublicKey))+`"}}`)) + "." + b64(payload)
	return "DPoP: " + input + "." + b64(ed25519.Sign(proofKey, []byte(input)))
}

// inFront makes the house believe in its public URL.
func inFront(publicURL string) func(*Config) {
	return func(c *Config) { c.PublicURL, _ = url.Parse(publicURL) }
}

// A proof is read for the call that is judged, and handed to the gate; the API sees neither it nor the token.
func TestACallWithAProof(t *testing.T) {
	const public = "https://auth.example.com"
	elsewhere := protected("/api/")
	elsewhere.Host = "shop.example.com"
	bound := protected("/bound")
	bound.Bound = true
	h := newHouse(t, newAPI(t, nil), []Route{protected("/api/"), elsewhere, bound}, inFront(public))
	proof := func(url string) string { return dpop(t, "GET", url, nil) }
	for _, c := range []struct {
		name, target string
		headers      []string
		status       int
		reason       auth.Reason
	}{
		{"a proof", "/api/x?a=b", []string{withProof, proof(public + "/api/x")}, 200, ""},
		{"in small letters", "/api/x", []string{"authorization: dpop good", strings.Replace(proof(public+"/api/x"), "DPoP", "dpop", 1)}, 200, ""},
		{"where it must be", "/bound/x", []string{withProof, proof(public + "/bound/x")}, 200, ""},
		{"in another spelling of the path", "/api/%78", []string{withProof, proof(public + "/api/x")}, 200, ""},
		{"none", "/api/x", []string{withProof}, 401, auth.ReasonNoCredential},
		{"two", "/api/x", []string{withProof, proof(public + "/api/x"), proof(public + "/api/x")}, 401, auth.ReasonMalformed},
		{"of another path", "/api/x", []string{withProof, proof(public + "/api/y")}, 401, auth.ReasonTokenForeign},
		{"of the host that the client names", "/api/x", []string{withProof, proof("https://api.example.com/api/x")}, 401, auth.ReasonTokenForeign},
		{"of another method", "/api/x", []string{withProof, dpop(t, "POST", public+"/api/x", nil)}, 401, auth.ReasonTokenForeign},
		{"of another token", "/api/x", []string{withProof, dpop(t, "GET", public+"/api/x", map[string]any{"ath": "x"})}, 401, auth.ReasonTokenForeign},
		{"for no token", "/api/x", []string{"Authorization: DPoP", proof(public + "/api/x")}, 401, auth.ReasonMalformed},
		{"a proof alone", "/api/x", []string{proof(public + "/api/x")}, 401, auth.ReasonNoCredential},
		{"nothing, where it must be", "/bound", nil, 401, auth.ReasonNoCredential},
	} {
		h.gate.shown = nil
		before := len(h.api.arrivals())
		answer := h.do("GET", c.target, "", c.headers...)
		o := h.observed()
		if answer.StatusCode != c.status || o.Reason != c.reason {
			t.Errorf("%s: %d %s, %s", c.name, answer.StatusCode, answer.body, o.Reason)
		}
		arrived := h.api.arrivals()[before:]
		if (len(arrived) == 1) != (c.status == 200) {
			t.Fatalf("%s: %d arrived", c.name, len(arrived))
		}
		if c.status != 200 {
			if len(h.gate.shown) != 0 {
				t.Errorf("%s: the gate was asked", c.name)
			}
			continue
		}
		if arrived[0].Header.Get("DPoP") != "" || arrived[0].Header.Get("Authorization") != "" {
			t.Errorf("%s: the API got %v", c.name, arrived[0].Header)
		}
		if s := h.gate.shown; len(s) != 1 || len(s[0].Key) != 43 || s[0].Name != "j1" {
			t.Errorf("%s: the gate was shown %+v", c.name, s)
		}
		if want := h.gate.wants[len(h.gate.wants)-1]; want.Bound != strings.HasPrefix(c.target, "/bound") {
			t.Errorf("%s: the gate was asked for %+v", c.name, want)
		}
	}

	// A route's host is the host of its proofs.
	const head = "GET /api/x HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n" + withProof + "\r\n"
	for htu, status := range map[string]int{"https://shop.example.com/api/x": 200, public + "/api/x": 401} {
		if answer := h.raw("GET", head+proof(htu)+"\r\n\r\n"); answer.StatusCode != status {
			t.Errorf("a proof for %s: %d", htu, answer.StatusCode)
		}
		h.observed()
	}

	// A bearer token needs none, and whether it may do without is for the gate to say.
	h.gate.shown = nil
	if answer := h.do("GET", "/bound", "", withToken, proof(public+"/bound")); answer.StatusCode != 200 || h.gate.shown[0] != (auth.Possession{}) {
		t.Errorf("a bearer token: %d, shown %+v", answer.StatusCode, h.gate.shown)
	}
}

// Other proxies ask about a call: the proof is for that call, and not for the asking.
func TestForwardAuthWithAProof(t *testing.T) {
	eachProxy(t, func(t *testing.T, proxy string) {
		h := newHouse(t, nil, []Route{{Path: "/api/", Accepts: []verify.Type{verify.B2BAccess}, Bound: true}}, inFront("https://auth.example.com"))
		for _, c := range []struct {
			method, url string
			status      int
		}{
			{"POST", "https://auth.example.com/api/x", 200},
			{"GET", "https://auth.example.com/api/x", 401},
			{"POST", "https://auth.example.com/authz/" + proxy, 401},
			{"POST", "https://auth.example.com/authz/envoy/api/x", 401},
		} {
			if answer := h.ask(proxy, "POST", "shop.example.com", "/api/x?a=b", withProof, dpop(t, c.method, c.url, nil)); answer.StatusCode != c.status {
				t.Errorf("%s %s: %d %s", c.method, c.url, answer.StatusCode, answer.body)
			}
		}
	})
}

func TestRoutesThatCannotAskForProofs(t *testing.T) {
	if _, err := newRoute(Route{Path: "/", Public: true, Bound: true}); err == nil {
		t.Error("a public route asks for proofs")
	}
	bound := protected("/")
	bound.Bound = true
	if _, err := New(Config{Routes: newTable(t, bound), Gate: &fakeGate{}}); err == nil {
		t.Error("a gateway without a public URL asks for proofs")
	}
	h := newHouse(t, newAPI(t, nil), []Route{protected("/")})
	if answer := h.do("GET", "/", "", withProof, dpop(t, "GET", "http://api.example.com/", nil)); answer.StatusCode != 401 || h.observed().Reason != auth.ReasonNoCredential {
		t.Errorf("without a public URL: %d", answer.StatusCode)
	}
}
