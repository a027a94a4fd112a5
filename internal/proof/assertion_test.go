package proof

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	us       = "https://auth.example.com"
	endpoint = us + "/oauth/token"
	clientID = "u_aB3dE5gH7jK9"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A clients is what clients have: a key of each algorithm, and what is registered of them.
type clients struct {
	private map[jose.SignatureAlgorithm]any
	keys    map[jose.SignatureAlgorithm]string // registered, alone, with the kid "main"
}

func newClients(t testing.TB) clients {
	t.Helper()
	c, err := sameClients()
	if err != nil {
		t.Fatal(err)
	}
	c.keys = map[jose.SignatureAlgorithm]string{}
	for alg, private := range c.private {
		c.keys[alg] = registered(t, jose.JSONWebKey{Key: private.(crypto.Signer).Public(), KeyID: "main"})
	}
	return c
}

// sameClients are those of all tests: to make a key of RSA takes seconds with the race detector.
var sameClients = sync.OnceValues(func() (clients, error) {
	_, ed, err1 := ed25519.GenerateKey(rand.Reader)
	ec, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, err3 := rsa.GenerateKey(rand.Reader, 2048)
	return clients{private: map[jose.SignatureAlgorithm]any{jose.EdDSA: ed, jose.ES256: ec, jose.RS256: rs, jose.PS256: rs}}, errors.Join(err1, err2, err3)
})

// registered is what is kept of some public keys.
func registered(t testing.TB, keys ...jose.JSONWebKey) string {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := ParseKeys(raw)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign signs what is no string as JSON, with a header that has what header has besides alg.
func sign(t testing.TB, key any, alg jose.SignatureAlgorithm, header map[string]any, payload any) string {
	t.Helper()
	o := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	for name, value := range header {
		o.ExtraHeaders[jose.HeaderKey(name)] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := payload.(string)
	if !ok {
		b, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	jws, err := signer.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// says is a good assertion with some members changed; nil takes one away.
func says(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": clientID, "sub": clientID, "aud": us, "exp": start.Unix() + 300, "iat": start.Unix(), "nbf": start.Unix(), "jti": "j1",
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func newAssertions(t testing.TB) *Assertions {
	t.Helper()
	a, err := NewAssertions(AssertionsConfig{Environment: auth.Live, Audiences: []string{us, endpoint}, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var kid = map[string]any{"kid": "main"}

func TestAnAssertionShowsWhoSignedIt(t *testing.T) {
	c, a := newClients(t), newAssertions(t)
	for alg, key := range c.private {
		for name, raw := range map[string]string{
			"usual":             sign(t, key, alg, kid, says(nil)),
			"without kid":       sign(t, key, alg, nil, says(nil)),
			"of type JWT":       sign(t, key, alg, map[string]any{"typ": "jwt", "kid": "main"}, says(nil)),
			"of its own type":   sign(t, key, alg, map[string]any{"typ": "client-authentication+jwt"}, says(nil)),
			"with more":         sign(t, key, alg, map[string]any{"kid": "main", "x5t": "abc", "jku": "https://evil.example"}, says(map[string]any{"more": []int{1}})),
			"for the endpoint":  sign(t, key, alg, kid, says(map[string]any{"aud": endpoint})),
			"for several":       sign(t, key, alg, kid, says(map[string]any{"aud": []string{"https://other.example", us}})),
			"in fractions":      sign(t, key, alg, kid, says(map[string]any{"exp": float64(start.Unix()) + 0.5})),
			"without iat, nbf":  sign(t, key, alg, kid, says(map[string]any{"iat": nil, "nbf": nil})),
			"of a fast clock":   sign(t, key, alg, kid, says(map[string]any{"iat": start.Unix() + 30, "nbf": start.Unix() + 30, "exp": start.Unix() + 630})),
			"of a slow clock":   sign(t, key, alg, kid, says(map[string]any{"exp": start.Unix() - 29})),
			"as long as can be": sign(t, key, alg, kid, says(map[string]any{"jti": strings.Repeat("j", 8<<10)})),
		} {
			p, err := a.Parse(raw)
			if err != nil {
				t.Errorf("%s, %s: %v", alg, name, err)
				continue
			}
			if p.Kind != auth.OAuth || p.ID != "aB3dE5gH7jK9" || p.Identifier != clientID || p.Reveal() != "" || p.Signature() == nil {
				t.Fatalf("%s, %s: %v", alg, name, p)
			}
			for of, keys := range c.keys {
				ours := of == alg || alg == jose.RS256 && of == jose.PS256 || alg == jose.PS256 && of == jose.RS256
				if got := p.Signature().SignedBy(keys); got != ours {
					t.Errorf("%s, %s: signed by the key of %s: %v", alg, name, of, got)
				}
			}
			if p.Signature().SignedBy("") {
				t.Errorf("%s, %s: signed by nobody", alg, name)
			}
			if id, until := p.Signature().Once(); !strings.HasPrefix(id, "j") || until.Before(start) || until.After(start.Add(11*time.Minute+time.Second)) {
				t.Errorf("%s, %s: counts once as %.20s until %v", alg, name, id, until)
			}
		}
	}
}

func TestAssertionsThatAreNoGood(t *testing.T) {
	c, a := newClients(t), newAssertions(t)
	key := c.private[jose.ES256]
	usual := sign(t, key, jose.ES256, kid, says(nil))
	segments := strings.Split(usual, ".")
	with := func(change map[string]any) string { return sign(t, key, jose.ES256, kid, says(change)) }
	header := func(h map[string]any) string { return sign(t, key, jose.ES256, h, says(nil)) }
	raw := func(head, payload string) string { return b64(head) + "." + b64(payload) + "." + segments[2] }
	now := start.Unix()
	for name, one := range map[string]struct {
		raw    string
		reason auth.Reason
	}{
		"nothing":                 {"", auth.ReasonMalformed},
		"no JWS":                  {"abc", auth.ReasonMalformed},
		"two segments":            {segments[0] + "." + segments[1], auth.ReasonMalformed},
		"four":                    {usual + ".x", auth.ReasonMalformed},
		"a line break":            {segments[0] + ".\n" + segments[1] + "." + segments[2], auth.ReasonMalformed},
		"a space":                 {" " + usual, auth.ReasonMalformed},
		"padding":                 {usual + "=", auth.ReasonMalformed},
		"spare bits":              {usual[:len(usual)-1] + next(usual[len(usual)-1]), auth.ReasonMalformed},
		"no signature":            {segments[0] + "." + segments[1] + ".", auth.ReasonMalformed},
		"as JSON":                 {`{"payload":"` + segments[1] + `","protected":"` + segments[0] + `","signature":"` + segments[2] + `"}`, auth.ReasonMalformed},
		"too long":                {with(map[string]any{"x": strings.Repeat("x", maxLength)}), auth.ReasonMalformed},
		"alg none":                {raw(`{"alg":"none"}`, `{}`), auth.ReasonMalformed},
		"alg None":                {raw(`{"alg":"nOnE"}`, `{}`), auth.ReasonMalformed},
		"an HMAC":                 {sign(t, []byte(strings.Repeat("k", 32)), jose.HS256, kid, says(nil)), auth.ReasonMalformed},
		"another curve":           {raw(`{"alg":"ES384"}`, `{}`), auth.ReasonMalformed},
		"alg twice":               {raw(`{"alg":"none","alg":"ES256"}`, `{}`), auth.ReasonMalformed},
		"crit":                    {raw(`{"alg":"ES256","crit":["exp"],"exp":1}`, `{}`), auth.ReasonMalformed},
		"an unencoded payload":    {raw(`{"alg":"ES256","crit":["b64"],"b64":false}`, `{}`), auth.ReasonMalformed},
		"b64 without crit":        {raw(`{"alg":"ES256","b64":false}`, `{}`), auth.ReasonMalformed},
		"a DPoP proof":            {header(map[string]any{"typ": "dpop+jwt"}), auth.ReasonMalformed},
		"an access token":         {header(map[string]any{"typ": "at+jwt"}), auth.ReasonMalformed},
		"a type that is empty":    {header(map[string]any{"typ": ""}), auth.ReasonMalformed},
		"a type of numbers":       {header(map[string]any{"typ": 1}), auth.ReasonMalformed},
		"no JSON":                 {sign(t, key, jose.ES256, kid, "x"), auth.ReasonMalformed},
		"a list":                  {sign(t, key, jose.ES256, kid, "[]"), auth.ReasonMalformed},
		"a member twice":          {sign(t, key, jose.ES256, kid, `{"iss":"`+clientID+`","iss":"`+clientID+`"}`), auth.ReasonMalformed},
		"no iss":                  {with(map[string]any{"iss": nil}), auth.ReasonMalformed},
		"no sub":                  {with(map[string]any{"sub": nil}), auth.ReasonMalformed},
		"neither":                 {with(map[string]any{"iss": nil, "sub": nil}), auth.ReasonNoCredential},
		"iss in capitals":         {with(map[string]any{"iss": nil, "ISS": clientID}), auth.ReasonMalformed},
		"another's":               {with(map[string]any{"sub": "u_AAAAAAAAAAAA"}), auth.ReasonMalformed},
		"no exp":                  {with(map[string]any{"exp": nil}), auth.ReasonMalformed},
		"exp of text":             {with(map[string]any{"exp": "1"}), auth.ReasonMalformed},
		"no jti":                  {with(map[string]any{"jti": nil}), auth.ReasonMalformed},
		"an empty jti":            {with(map[string]any{"jti": ""}), auth.ReasonMalformed},
		"no aud":                  {with(map[string]any{"aud": nil}), auth.ReasonTokenForeign},
		"an empty aud":            {with(map[string]any{"aud": []string{}}), auth.ReasonTokenForeign},
		"for another":             {with(map[string]any{"aud": "https://auth.example.com.evil.example"}), auth.ReasonTokenForeign},
		"for us, nearly":          {with(map[string]any{"aud": us + "/"}), auth.ReasonTokenForeign},
		"aud of an object":        {with(map[string]any{"aud": map[string]any{"0": us}}), auth.ReasonMalformed},
		"expired":                 {with(map[string]any{"exp": now - 30}), auth.ReasonTokenExpired},
		"expired long ago":        {with(map[string]any{"exp": -1e300}), auth.ReasonTokenExpired},
		"for eleven minutes":      {with(map[string]any{"exp": now + 631}), auth.ReasonMalformed},
		"for ever":                {with(map[string]any{"exp": 1e300}), auth.ReasonMalformed},
		"not yet":                 {with(map[string]any{"nbf": now + 31}), auth.ReasonTokenNotYetValid},
		"of the future":           {with(map[string]any{"iat": now + 31}), auth.ReasonTokenNotYetValid},
		"another environment":     {with(map[string]any{"iss": "test_" + clientID, "sub": "test_" + clientID}), auth.ReasonWrongEnvironment},
		"a name with NUL":         {with(map[string]any{"iss": "u\x00", "sub": "u\x00"}), auth.ReasonMalformed},
		"a name that is too long": {with(map[string]any{"iss": strings.Repeat("u", 1025), "sub": strings.Repeat("u", 1025)}), auth.ReasonMalformed},
	} {
		_, err := a.Parse(one.raw)
		if e := auth.AsError(err); err == nil || e.Kind != auth.Unauthenticated || e.Reason != one.reason || e.Msg != auth.ErrBadCredential.Msg {
			t.Errorf("%s: %v, want reason %s", name, err, one.reason)
		}
	}
}

// next is the letter after c in base64url: of the last letter of 64 bytes it changes bits that mean nothing.
func next(c byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(letters, c)
	return letters[i+1 : i+2]
}

func TestSignaturesThatDoNotHold(t *testing.T) {
	c, a := newClients(t), newAssertions(t)
	parse := func(raw string) auth.Signature {
		t.Helper()
		p, err := a.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return p.Signature()
	}
	key, keys := c.private[jose.ES256], c.keys[jose.ES256]
	usual := sign(t, key, jose.ES256, kid, says(nil))
	other := sign(t, key, jose.ES256, kid, says(map[string]any{"jti": "j2"}))
	u, o := strings.Split(usual, "."), strings.Split(other, ".")
	if parse(u[0] + "." + o[1] + "." + u[2]).SignedBy(keys) {
		t.Error("a changed payload")
	}
	if parse(u[0] + "." + u[1] + "." + b64(strings.Repeat("\x01", 64))).SignedBy(keys) {
		t.Error("a made-up signature")
	}
	if parse(u[0] + "." + u[1] + "." + b64("x")).SignedBy(keys) {
		t.Error("a short signature")
	}
	if parse(sign(t, key, jose.ES256, map[string]any{"kid": "other"}, says(nil))).SignedBy(keys) {
		t.Error("another kid")
	}
	public := jose.JSONWebKey{Key: key.(crypto.Signer).Public()}
	stranger := c.private[jose.EdDSA]
	if parse(sign(t, stranger, jose.EdDSA, map[string]any{"kid": "main", "jwk": jose.JSONWebKey{Key: stranger.(crypto.Signer).Public()}}, says(nil))).SignedBy(keys) {
		t.Error("a key that came along")
	}

	// The key decides what it is used with.
	rs := c.private[jose.RS256].(crypto.Signer).Public()
	edKey := c.private[jose.EdDSA]
	for _, named := range []string{"", "EdDSA", "Ed25519"} {
		keys := registered(t, jose.JSONWebKey{Key: edKey.(crypto.Signer).Public(), KeyID: "main", Algorithm: named})
		if !parse(sign(t, edKey, jose.EdDSA, kid, says(nil))).SignedBy(keys) {
			t.Errorf("EdDSA for a key of %q", named)
		}
		// The same under its newer name, which go-jose does not write.
		input := b64(`{"alg":"Ed25519","kid":"main"}`) + "." + strings.Split(sign(t, edKey, jose.EdDSA, nil, says(nil)), ".")[1]
		raw := input + "." + b64(string(ed25519.Sign(edKey.(ed25519.PrivateKey), []byte(input))))
		if !parse(raw).SignedBy(keys) || parse(raw).SignedBy(c.keys[jose.ES256]) {
			t.Errorf("Ed25519 for a key of %q", named)
		}
	}
	pss := registered(t, jose.JSONWebKey{Key: rs, KeyID: "main", Algorithm: "PS256"})
	for alg, want := range map[jose.SignatureAlgorithm]bool{jose.PS256: true, jose.RS256: false} {
		if got := parse(sign(t, c.private[alg], alg, kid, says(nil))).SignedBy(pss); got != want {
			t.Errorf("%s for a key of PS256: %v", alg, got)
		}
	}

	// Of several the kid names one.
	two := registered(t, jose.JSONWebKey{Key: public.Key, KeyID: "old"}, jose.JSONWebKey{Key: rs, KeyID: "new"})
	for name, want := range map[string]bool{"old": true, "new": false, "": false} {
		if got := parse(sign(t, key, jose.ES256, map[string]any{"kid": name}, says(nil))).SignedBy(two); got != want {
			t.Errorf("kid %q: %v", name, got)
		}
	}
	if parse(usual).SignedBy("no JSON") {
		t.Error("keys that cannot be read")
	}
}

func FuzzAssertion(f *testing.F) {
	a := newAssertions(f)
	c := newClients(f)
	for alg, key := range c.private {
		f.Add(sign(f, key, alg, kid, says(nil)))
	}
	f.Add("e30.e30.e30")
	f.Add(b64(`{"alg":"ES256","kid":"main"}`) + "." + b64(`{"iss":"`+clientID+`","sub":"`+clientID+`","aud":"`+us+`","exp":1795338000,"jti":"j"}`) + ".AAAA")
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := a.Parse(raw)
		if err != nil {
			if auth.AsError(err).Kind != auth.Unauthenticated {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		segments := strings.Split(raw, ".")
		for i, s := range segments {
			b, err := base64.RawURLEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			segments[i] = base64.RawURLEncoding.EncodeToString(b)
		}
		if strings.Join(segments, ".") != raw {
			t.Fatalf("%q has another spelling", raw)
		}
		if p.Signature().SignedBy("") {
			t.Fatalf("%q: signed by nobody", raw)
		}
	})
}
