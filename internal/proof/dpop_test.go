package proof

import (
	"crypto"
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func newProofs(t testing.TB, publicURL string, now time.Time) *Proofs {
	t.Helper()
	p, err := NewProofs(ProofsConfig{PublicURL: publicURL, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// RFC 9449, figures 2, 3 and 12.
func TestTheProofOfTheRFC(t *testing.T) {
	const (
		atTokenEndpoint = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19." +
			"eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ." +
			"2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
		key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	)
	p := newProofs(t, "https://server.example.com", time.Unix(1562262616, 0))
	got, err := p.Read([]string{atTokenEndpoint}, Request{Method: "POST", Path: "/token"})
	if err != nil || got.Key != key || got.Name != "-BwC3ESc6acc2lTc" {
		t.Errorf("got %+v, %v", got, err)
	}
	const token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	if got, want := hashed(token), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"; got != want {
		t.Errorf("ath: got %s, want %s", got, want)
	}
}

// proves is a good proof with some claims changed; nil takes one away.
func proves(change map[string]any) map[string]any {
	c := map[string]any{"jti": "j1", "htm": "GET", "htu": us + "/api/orders", "iat": start.Unix(), "ath": hashed("a.b.c")}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// dpop signs a proof; in its header stands the public half of key, or what header says.
func dpop(t testing.TB, key any, alg jose.SignatureAlgorithm, header, claims map[string]any) string {
	t.Helper()
	h := map[string]any{"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: key.(crypto.Signer).Public()}}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	return sign(t, key, alg, h, claims)
}

var orders = Request{Method: "GET", Path: "/api/orders", Token: "a.b.c"}

func TestAProofShowsAKey(t *testing.T) {
	c, p := newClients(t), newProofs(t, us, start)
	for alg, key := range c.private {
		sum, err := (&jose.JSONWebKey{Key: key.(crypto.Signer).Public()}).Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		want := base64.RawURLEncoding.EncodeToString(sum)
		for name, raw := range map[string]string{
			"usual":            dpop(t, key, alg, nil, proves(nil)),
			"type in capitals": dpop(t, key, alg, map[string]any{"typ": "DPoP+JWT"}, proves(nil)),
			"a query":          dpop(t, key, alg, nil, proves(map[string]any{"htu": us + "/api/orders?a=b#c"})),
			"a port":           dpop(t, key, alg, nil, proves(map[string]any{"htu": "HTTPS://AUTH.example.com:443/api/orders"})),
			"an escape":        dpop(t, key, alg, nil, proves(map[string]any{"htu": us + "/api/%6frders"})),
			"a minute ago":     dpop(t, key, alg, nil, proves(map[string]any{"iat": start.Unix() - 89})),
			"of a fast clock":  dpop(t, key, alg, nil, proves(map[string]any{"iat": float64(start.Unix()) + 29.5})),
			"with more":        dpop(t, key, alg, map[string]any{"kid": "x"}, proves(map[string]any{"nonce": "n", "exp": 1})),
		} {
			got, err := p.Read([]string{raw}, orders)
			if err != nil || got.Key != want || got.Name != "j1" || got.Until.Before(start) || got.Until.After(start.Add(2*time.Minute+time.Second)) {
				t.Errorf("%s, %s: %+v, %v", alg, name, got, err)
			}
		}
	}
	key := c.private[jose.EdDSA]
	for _, one := range []struct {
		public string
		htu    string
		about  Request
	}{
		{"http://127.0.0.1:8000", "http://127.0.0.1:8000/oauth/token", Request{Method: "GET", Path: "/oauth/token"}},
		{"http://example.com", "http://example.com:80", Request{Method: "GET", Path: "/"}},
		{us, "https://api.example.com/x", Request{Method: "GET", Host: "api.example.com", Path: "/x"}},
		{us + ":8443", "https://api.example.com:8443/x", Request{Method: "GET", Host: "api.example.com", Path: "/x"}},
		{"https://[2001:db8::1]", "https://[2001:DB8::1]/a%2Fb", Request{Method: "GET", Path: "/a%2Fb"}},
		{us, us + "/caf%C3%A9", Request{Method: "GET", Path: "/caf%C3%A9"}},
	} {
		raw := dpop(t, key, jose.EdDSA, nil, proves(map[string]any{"htu": one.htu, "ath": nil}))
		if _, err := newProofs(t, one.public, start).Read([]string{raw}, one.about); err != nil {
			t.Errorf("%s for %+v at %s: %v", one.htu, one.about, one.public, err)
		}
	}
}

func TestProofsThatShowNothing(t *testing.T) {
	c, p := newClients(t), newProofs(t, us, start)
	key := c.private[jose.ES256]
	usual := dpop(t, key, jose.ES256, nil, proves(nil))
	segments := strings.Split(usual, ".")
	with := func(change map[string]any) []string { return []string{dpop(t, key, jose.ES256, nil, proves(change))} }
	header := func(h map[string]any) []string { return []string{dpop(t, key, jose.ES256, h, proves(nil))} }
	raw := func(head string) []string { return []string{b64(head) + "." + segments[1] + "." + segments[2]} }
	now := start.Unix()
	for name, one := range map[string]struct {
		values []string
		reason auth.Reason
	}{
		"none":                  {nil, auth.ReasonNoCredential},
		"empty":                 {[]string{""}, auth.ReasonMalformed},
		"two":                   {[]string{usual, usual}, auth.ReasonMalformed},
		"two in one":            {[]string{usual + ", " + usual}, auth.ReasonMalformed},
		"a line break":          {[]string{usual[:20] + "\n" + usual[20:]}, auth.ReasonMalformed},
		"padding":               {[]string{usual + "="}, auth.ReasonMalformed},
		"no type":               {header(map[string]any{"typ": nil}), auth.ReasonMalformed},
		"another type":          {header(map[string]any{"typ": "JWT"}), auth.ReasonMalformed},
		"no key":                {header(map[string]any{"jwk": nil}), auth.ReasonMalformed},
		"a key by name":         {header(map[string]any{"jwk": nil, "kid": "main"}), auth.ReasonMalformed},
		"a private key":         {raw(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{` + ed + edD + `}}`), auth.ReasonMalformed},
		"a secret":              {raw(`{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":"c2VjcmV0"}}`), auth.ReasonMalformed},
		"alg none":              {raw(`{"typ":"dpop+jwt","alg":"none","jwk":{` + ed + `}}`), auth.ReasonMalformed},
		"a key of another sort": {raw(`{"typ":"dpop+jwt","alg":"ES256","jwk":{` + ed + `}}`), auth.ReasonMalformed},
		"a small key":           {raw(`{"typ":"dpop+jwt","alg":"RS256","jwk":{` + rs(128) + `}}`), auth.ReasonMalformed},
		"a huge key":            {raw(`{"typ":"dpop+jwt","alg":"RS256","jwk":{` + rs(1024) + `}}`), auth.ReasonMalformed},
		"crit":                  {raw(`{"typ":"dpop+jwt","alg":"EdDSA","crit":["x"],"x":1,"jwk":{` + ed + `}}`), auth.ReasonMalformed},
		"somebody else's key":   {raw(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{` + ed + `}}`), auth.ReasonSignature},
		"no jti":                {with(map[string]any{"jti": nil}), auth.ReasonMalformed},
		"no iat":                {with(map[string]any{"iat": nil}), auth.ReasonMalformed},
		"a member twice":        {[]string{sign(t, key, jose.ES256, map[string]any{"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: key.(crypto.Signer).Public()}}, `{"jti":"a","jti":"b"}`)}, auth.ReasonMalformed},
		"no htm":                {with(map[string]any{"htm": nil}), auth.ReasonTokenForeign},
		"another method":        {with(map[string]any{"htm": "POST"}), auth.ReasonTokenForeign},
		"a method in small":     {with(map[string]any{"htm": "get"}), auth.ReasonTokenForeign},
		"no htu":                {with(map[string]any{"htu": nil}), auth.ReasonTokenForeign},
		"another path":          {with(map[string]any{"htu": us + "/api/orders/"}), auth.ReasonTokenForeign},
		"another letter":        {with(map[string]any{"htu": us + "/api/Orders"}), auth.ReasonTokenForeign},
		"an escaped slash":      {with(map[string]any{"htu": us + "/api%2Forders"}), auth.ReasonTokenForeign},
		"a path alone":          {with(map[string]any{"htu": "/api/orders"}), auth.ReasonTokenForeign},
		"a host and a path":     {with(map[string]any{"htu": "//auth.example.com/api/orders"}), auth.ReasonTokenForeign},
		"another host":          {with(map[string]any{"htu": "https://auth.example.com.evil.example/api/orders"}), auth.ReasonTokenForeign},
		"a user":                {with(map[string]any{"htu": "https://u@auth.example.com/api/orders"}), auth.ReasonTokenForeign},
		"another scheme":        {with(map[string]any{"htu": "http://auth.example.com/api/orders"}), auth.ReasonTokenForeign},
		"another port":          {with(map[string]any{"htu": us + ":8443/api/orders"}), auth.ReasonTokenForeign},
		"no ath":                {with(map[string]any{"ath": nil}), auth.ReasonTokenForeign},
		"the ath of another":    {with(map[string]any{"ath": hashed("other")}), auth.ReasonTokenForeign},
		"old":                   {with(map[string]any{"iat": now - 90}), auth.ReasonTokenExpired},
		"very old":              {with(map[string]any{"iat": -1e300}), auth.ReasonTokenExpired},
		"of the future":         {with(map[string]any{"iat": now + 31}), auth.ReasonTokenNotYetValid},
		"of a far future":       {with(map[string]any{"iat": 1e300}), auth.ReasonTokenNotYetValid},
		"a changed payload":     {[]string{segments[0] + "." + strings.Split(with(map[string]any{"jti": "j2"})[0], ".")[1] + "." + segments[2]}, auth.ReasonSignature},
	} {
		_, err := p.Read(one.values, orders)
		if e := auth.AsError(err); !errors.Is(err, auth.ErrBadProof) || e.Reason != one.reason || !e.Proof || !e.TokenSent {
			t.Errorf("%s: %v, want reason %s", name, err, one.reason)
		}
	}
}

func FuzzProof(f *testing.F) {
	p, c := newProofs(f, us, start), newClients(f)
	for alg, key := range c.private {
		f.Add(dpop(f, key, alg, nil, proves(nil)))
	}
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := p.Read([]string{raw}, orders)
		if err != nil && !errors.Is(err, auth.ErrBadProof) || err == nil && (len(got.Key) != 43 || got.Name == "") {
			t.Fatalf("%q: %+v, %v", raw, got, err)
		}
	})
}
