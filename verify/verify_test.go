package verify

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

const (
	issuer = "https://auth.example.com"
	month  = 30 * 24 * time.Hour
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A house is a verifier with one key of Ed25519 and a clock and revocations that the test moves.
type house struct {
	*Verifier
	private ed25519.PrivateKey
	public  ed25519.PublicKey
	key     *Key
	keys    keyring
	now     time.Time
	revoked map[string]Standing // by sid
	broken  error
}

type keyring map[string]*Key

func (k keyring) Key(header string) (*Key, bool) { key, ok := k[header]; return key, ok }

func (h *house) Standing(c *Claims) (Standing, error) { return h.revoked[c.Session], h.broken }

func newHouse(t testing.TB, seen int) *house {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{private: private, public: public, now: start, revoked: map[string]Standing{}, keys: keyring{}}
	h.key = mustKey(t, "key1", EdDSA, public)
	h.keys[h.key.Header()] = h.key
	h.Verifier, err = New(Config{
		Issuers: []string{issuer}, Audiences: []string{issuer}, Keys: h.keys, Revocations: h,
		Now: func() time.Time { return h.now }, Seen: seen,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustKey(t testing.TB, id string, a Algorithm, material any) *Key {
	t.Helper()
	k, err := NewKey(id, a, material)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func claims() Claims {
	iat := start.Unix()
	return Claims{
		Issuer: issuer, Subject: "100001", Audience: issuer, IssuedAt: iat, NotBefore: iat - 30, Expires: iat + 3600,
		AuthTime: iat, ID: "jti1", Type: AccessToken, Credential: "abcdefghijkl", Session: "sid1", Position: 7,
		Granted: "orders:read orders:write", Account: 100001,
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign signs any header and payload with the house's own key.
func (h *house) sign(header, payload string) string {
	signed := header + "." + payload
	return signed + "." + b64(ed25519.Sign(h.private, []byte(signed)))
}

func (h *house) mint(c Claims) string { return h.sign(h.key.Header(), b64(c.Append(nil))) }

func (h *house) wants(t *testing.T, token string, want error) {
	t.Helper()
	_, err := h.Verify(token, Types)
	if !errors.Is(err, want) || want != nil && err == nil {
		t.Errorf("Verify(%.80q…) = %v, want %v", token, err, want)
	}
}

func TestAGoodTokenSpeaksForItsHolder(t *testing.T) {
	for _, seen := range []int{0, 100} {
		h := newHouse(t, seen)
		token := h.mint(claims())
		for range 3 { // the second and third time it has been seen
			p, err := h.Verify(token, []Type{OrderAPI, AccessToken})
			if err != nil {
				t.Fatal(err)
			}
			if want := claims(); *p.Claims != want || p.Scope != want.Granted {
				t.Errorf("got %+v scope %q, want %+v", *p.Claims, p.Scope, want)
			}
		}
	}
}

func TestEveryAlgorithmVerifiesItsOwnTokensOnly(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte(strings.Repeat("s", 32))
	for _, k := range []*Key{
		mustKey(t, "k", ES256, ec.Public()), mustKey(t, "k", RS256, rs.Public()), mustKey(t, "k", HS256, secret),
	} {
		if k.Verify("header.payload", make([]byte, 64)) {
			t.Errorf("%s took 64 zero bytes for a signature", k.Algorithm)
		}
	}
	for _, misfit := range []struct {
		algorithm Algorithm
		material  any
	}{
		{HS256, secret[:31]},
		{HS256, ec.Public()},
		{ES256, rs.Public()},
		{EdDSA, secret},
		{"none", secret},
		{"", nil},
		{RS256, secret},
		{"HS512", secret},
	} {
		if _, err := NewKey("k", misfit.algorithm, misfit.material); err == nil {
			t.Errorf("a %T was taken for a key of %q", misfit.material, misfit.algorithm)
		}
	}
}

func TestOfTheTwoSignaturesOfES256OnlyTheLowOneIsGood(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := mustKey(t, "k", ES256, private.Public())
	sum := sha256.Sum256([]byte("signed"))
	r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	low, high := s, new(big.Int).Sub(elliptic.P256().Params().N, s)
	if low.Cmp(high) > 0 {
		low, high = high, low
	}
	sig := func(s *big.Int) []byte {
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out
	}
	if !k.Verify("signed", sig(low)) {
		t.Error("the low s was refused")
	}
	if k.Verify("signed", sig(high)) {
		t.Error("the high s, the token's twin, was accepted")
	}
}

// The headers that have opened other doors. Each is signed with our own key, so that only the header is wrong.
func TestAHeaderIsOursOrNothing(t *testing.T) {
	h := newHouse(t, 100)
	payload := b64(func() []byte { c := claims(); return c.Append(nil) }())
	jwk, _ := json.Marshal(map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(h.public)})
	for _, header := range []string{
		`{"alg":"none","typ":"JWT","kid":"key1"}`, `{"alg":"None","typ":"JWT","kid":"key1"}`, `{"alg":"NONE","kid":"key1"}`,
		`{"alg":"nOnE"}`, `{"alg":"","kid":"key1"}`, `{"alg":"EdDSA "}`, `{"alg":"HS256","typ":"JWT","kid":"key1"}`,
		`{"alg":"ES256","typ":"JWT","kid":"key1"}`, `{"alg":"RS256","typ":"JWT","kid":"key1"}`, `{"alg":"Ed25519","typ":"JWT","kid":"key1"}`,
		`{"alg":"EdDSA","typ":"JWT"}`, `{"alg":"EdDSA","typ":"JWT","kid":""}`, `{"alg":"EdDSA","typ":"JWT","kid":"key2"}`,
		`{"alg":"EdDSA","typ":"JWT","kid":["key1"]}`, `{"alg":"EdDSA","typ":"JWT","kid":null}`, `{"alg":"EdDSA","typ":"JWT","kid":1}`,
		`{"alg":"EdDSA","typ":"JWT","kid":"../key1"}`, `{"alg":"EdDSA","typ":"JWT","kid":"key1' OR '1'='1"}`,
		`{"alg":"EdDSA","typ":"JWT","kid":"https://evil.example/key"}`, `{"alg":"EdDSA","typ":"JWT","kid":"/dev/null"}`,
		`{"alg":"EdDSA","typ":"JWT","kid":"key1","crit":["x"],"x":1}`, `{"alg":"EdDSA","typ":"JWT","kid":"key1","b64":false,"crit":["b64"]}`,
		`{"alg":"EdDSA","typ":"JWT","kid":"key1","jwk":` + string(jwk) + `}`, `{"alg":"EdDSA","typ":"JWT","kid":"key1","jku":"https://evil.example/jwks"}`,
		`{"alg":"EdDSA","typ":"JWT","kid":"key1","x5u":"https://evil.example/cert"}`, `{"alg":"EdDSA","typ":"JWT","kid":"key1","x5c":["AA"]}`,
		`{"alg":"EdDSA","typ":"JWT","kid":"key1","zip":"DEF"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"key1"}`, `{"alg":"EdDSA","typ":"jwt","kid":"key1"}`,
		`{"typ":"JWT","alg":"EdDSA","kid":"key1"}`, `{"alg":"EdDSA","typ":"JWT","kid":"key1","kid":"key1"}`, `{ "alg":"EdDSA","typ":"JWT","kid":"key1"}`,
		`{"alg":"EdDSA","typ":"JWT","kid":"key1"} `, `{"alg":"EdDSA","typ":"JWT","kid":"key1"}{}`, `{"alg":"EdDSA","alg":"none","typ":"JWT","kid":"key1"}`,
		`{"ALG":"EdDSA","typ":"JWT","kid":"key1"}`, `{"alg":"EdDSA","typ":"JWT","kid":"key\u0031"}`, "\ufeff" + `{"alg":"EdDSA","typ":"JWT","kid":"key1"}`,
		`{"alg":"dir","enc":"A256GCM","kid":"key1"}`, `[]`, `null`, `{}`, `x`, `{"alg":"EdDSA","typ":"JWT","kid":"` + strings.Repeat("k", 500) + `"}`,
	} {
		signed := b64([]byte(header)) + "." + payload
		h.wants(t, signed+"."+b64(ed25519.Sign(h.private, []byte(signed))), ErrSignature)
		for _, empty := range []string{signed + ".", signed} {
			if _, err := h.Verify(empty, Types); err == nil {
				t.Errorf("without a signature, header %s was accepted", header)
			}
		}
	}
	if len(h.keys) != 1 {
		t.Fatal("the ring was changed")
	}
}

func TestAPublicKeyIsNoSecret(t *testing.T) {
	h := newHouse(t, 0)
	der, err := x509.MarshalPKIXPublicKey(h.public)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + b64(h.public) + `"}`
	c := claims()
	for _, secret := range []string{
		string(h.public), string(der), text, strings.TrimSpace(text), " " + text, text + "\n", strings.ReplaceAll(text, "\n", "\r\n"),
		jwk, b64(h.public), base64.StdEncoding.EncodeToString(h.public), fmt.Sprintf("%x", []byte(h.public)), b64(der),
	} {
		for _, header := range []string{h.key.Header(), b64([]byte(`{"alg":"HS256","typ":"JWT","kid":"key1"}`))} {
			signed := header + "." + b64(c.Append(nil))
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(signed))
			h.wants(t, signed+"."+b64(mac.Sum(nil)), ErrSignature)
		}
	}
}

func TestATokenHasOneSpelling(t *testing.T) {
	for _, seen := range []int{0, 1000} {
		h := newHouse(t, seen)
		token := h.mint(claims())
		h.wants(t, token, nil)
		refused := func(other string) {
			t.Helper()
			if other == token {
				return
			}
			if _, err := h.Verify(other, Types); err == nil {
				t.Errorf("another spelling was accepted: %.60q…", other)
			}
		}
		for i := range token {
			refused(token[:i])
			refused(token[i:])
			for bit := range 8 {
				bent := []byte(token)
				bent[i] ^= 1 << bit
				refused(string(bent))
			}
			for _, extra := range []string{"\n", "\r", " ", "=", ".", "\x00", "%2e"} {
				refused(token[:i] + extra + token[i:])
			}
		}
		for end := range strings.SplitSeq("A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9 - _", " ") {
			refused(token[:len(token)-1] + end)
		}
		for _, other := range []string{
			token + "=", token + "==", token + "\n", token + ".", "." + token, token + ".x.y", strings.Replace(token, ".", "..", 1),
			strings.Repeat(".", 100_000), strings.Repeat("a", 1<<20), "", ".", "..", "a.b.c", "Bearer " + token,
		} {
			refused(other)
		}
		h.wants(t, token, nil)
	}
}

func TestTimesAreLookedAtWithOneLeeway(t *testing.T) {
	h := newHouse(t, 10)
	c := claims()
	token := h.mint(c)
	exp := time.Unix(c.Expires, 0)
	for _, step := range []struct {
		at   time.Time
		want error
	}{
		{exp.Add(-time.Millisecond), nil},
		{exp, nil},
		{exp.Add(Leeway - time.Millisecond), nil},
		{exp.Add(Leeway), ErrExpired},
		{exp.Add(Leeway + time.Millisecond), ErrExpired},
		{exp.Add(month), ErrExpired},
		{start.Add(-Leeway), nil}, // our clock is behind the one that minted
		{start.Add(-Leeway - time.Millisecond), ErrNotYetValid},
		{start.Add(-24 * time.Hour), ErrNotYetValid},
		{start, nil}, // and nothing was remembered of it
	} {
		h.now = step.at
		h.wants(t, token, step.want)
	}
}

func TestWhoseTokenAndForWhom(t *testing.T) {
	h := newHouse(t, 0)
	for _, bend := range []func(*Claims){
		func(c *Claims) { c.Issuer = "https://evil.example" },
		func(c *Claims) { c.Issuer = issuer + "/" },
		func(c *Claims) { c.Issuer = strings.ToUpper(issuer) },
		func(c *Claims) { c.Audience = "https://other.example" },
		func(c *Claims) { c.Audience = issuer + "/auth/refresh" },
	} {
		c := claims()
		bend(&c)
		h.wants(t, h.mint(c), ErrForeign)
	}
	for _, c := range []Config{
		{},
		{Issuers: []string{""}, Audiences: []string{"a"}, Keys: h.keys, Revocations: h},
		{Issuers: []string{"a"}, Keys: h.keys, Revocations: h},
		{Issuers: []string{"a"}, Audiences: []string{"a"}, Revocations: h},
		{Issuers: []string{"a"}, Audiences: []string{"a"}, Keys: h.keys},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("a verifier that checks nothing was made: %+v", c)
		}
	}
}

func TestPayloadsThatAreNotOurs(t *testing.T) {
	h := newHouse(t, 0)
	c := claims()
	good := string(c.Append(nil))
	for _, payload := range []string{
		"", "{}", "null", "[]", good + " ", " " + good, good + good, good[:len(good)-1], "\ufeff" + good,
		strings.Replace(good, `"exp":`, `"exp":-`, 1), strings.Replace(good, `"exp":`, `"exp":0`, 1),
		strings.Replace(good, `"exp":17`, `"exp":"17`, 1), strings.Replace(good, `"exp":17`, `"exp":1e400,"x":17`, 1),
		strings.Replace(good, `"exp":17`, `"exp":1.7`, 1), strings.Replace(good, `"exp":17`, `"exp":99999999999999999999`, 1),
		strings.Replace(good, `"exp":`, `"Exp":`, 1), strings.Replace(good, `"exp":`, `"exq":`, 1), strings.Replace(good, `"exp":`, `"e\u0078p":`, 1),
		strings.Replace(good, `"aud":"`, `"aud":["`, 1), strings.Replace(good, `"aud":"`+issuer+`"`, `"aud":[]`, 1),
		strings.Replace(good, `"aud":"`+issuer+`",`, ``, 1), strings.Replace(good, `"iss":"`+issuer+`",`, ``, 1),
		strings.Replace(good, `"sub":"100001"`, `"sub":100001`, 1), strings.Replace(good, `"sub":"100001"`, `"sub":"0100001"`, 1),
		strings.Replace(good, `"sub":"100001"`, `"sub":"0"`, 1), strings.Replace(good, `"sub":"100001"`, `"sub":"ten"`, 1),
		strings.Replace(good, `"jti":"jti1"`, `"jti":""`, 1), strings.Replace(good, `"sid":"sid1"`, `"sid":"s\n"`, 1),
		strings.Replace(good, `"type":"ACCESS_TOKEN"`, `"type":"B2B_REFRESH"`, 1), strings.Replace(good, `"type":"ACCESS_TOKEN"`, `"type":"access_token"`, 1),
		strings.Replace(good, `"pos":7`, `"pos":7,"pos":7`, 1), strings.Replace(good, `"pos":7`, `"pos":7,"admin":true`, 1),
		strings.Replace(good, `"pos":7`, `"pos":null`, 1), strings.Replace(good, `"scope":"orders:read orders:write"`, `"scope":""`, 1),
		strings.Replace(good, `,"iat"`, `, "iat"`, 1),
	} {
		if payload == good {
			t.Fatal("the test bends nothing")
		}
		h.wants(t, h.sign(h.key.Header(), b64([]byte(payload))), ErrMalformed)
	}
}

func TestNoTypePassesForAnother(t *testing.T) {
	h := newHouse(t, 10)
	for _, is := range Types {
		c := claims()
		c.Type = is
		token := h.mint(c)
		for _, accepted := range Types {
			_, err := h.Verify(token, []Type{accepted})
			if want := map[bool]error{true: nil, false: ErrWrongType}[is == accepted]; !errors.Is(err, want) {
				t.Errorf("%s where %s is accepted: %v, want %v", is, accepted, err, want)
			}
		}
		if _, err := h.Verify(token, nil); !errors.Is(err, ErrWrongType) {
			t.Errorf("%s where nothing is accepted: %v", is, err)
		}
	}
}

func TestEveryDecisionIsTakenAnew(t *testing.T) {
	h := newHouse(t, 10)
	token := h.mint(claims())
	h.wants(t, token, nil)
	opened, err := h.Verify(token, Types)
	if err != nil {
		t.Fatal(err)
	}
	// wants asks of the token, and again of what it opened.
	wants := func(want error) {
		t.Helper()
		h.wants(t, token, want)
		if p, err := h.Again(opened, Types); !errors.Is(err, want) || want == nil && (err != nil || p.Scope != opened.Scope) {
			t.Errorf("Again = %v, want %v", err, want)
		}
	}

	h.revoked["sid1"] = Standing{Revoked: true}
	wants(ErrRevoked)
	h.revoked["sid1"] = Standing{Narrowed: true, Scope: "orders:write other"}
	if p, err := h.Verify(token, Types); err != nil || p.Scope != "orders:write" || p.HasScopes([]string{"orders:read"}) || !p.HasScopes([]string{"orders:write"}) {
		t.Errorf("narrowed: %+v, %v", p, err)
	}
	if p, err := h.Again(opened, Types); err != nil || p.Scope != "orders:write" {
		t.Errorf("narrowed since: %+v, %v", p, err)
	}
	if _, err := h.Again(opened, []Type{OrderAPI}); !errors.Is(err, ErrWrongType) {
		t.Errorf("for another type: %v", err)
	}
	delete(h.revoked, "sid1")
	h.broken = errors.New("cut off")
	wants(ErrUnknown)
	h.broken = nil
	wants(nil)

	h.now = start.Add(time.Hour + Leeway)
	wants(ErrExpired)
	h.now = start

	delete(h.keys, h.key.Header()) // the key was revoked
	wants(ErrSignature)
	h.keys[h.key.Header()] = mustKey(t, "key1", EdDSA, func() ed25519.PublicKey { k, _, _ := ed25519.GenerateKey(rand.Reader); return k }())
	wants(ErrSignature) // another key of that name does not inherit what was seen

	if _, err := h.Again(Principal{Claims: opened.Claims, Scope: opened.Scope}, Types); !errors.Is(err, ErrSignature) {
		t.Errorf("a principal that nobody verified: %v", err)
	}
}

func TestARefusalTellsTheLogWhoseTokenItWas(t *testing.T) {
	h := newHouse(t, 0)
	token := h.mint(claims())
	h.now = start.Add(month)
	_, err := h.Verify(token, Types)
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Claims == nil || refusal.Claims.Account != 100001 {
		t.Errorf("an expired token: %#v", err)
	}
	_, err = h.Verify(token[:len(token)-4]+"AAAA", Types)
	if !errors.As(err, &refusal) || refusal.Claims != nil {
		t.Errorf("a forged token must say nothing: %#v", err)
	}
}

func TestWhatWasSeenIsBounded(t *testing.T) {
	s := newSeen(1600)
	k := &Key{}
	for i := range 100_000 {
		s.put(fmt.Sprintf("token-%06d-%c%c", i, 'a'+i%26, 'a'+i/26%26), k, &Claims{})
	}
	n := 0
	for i := range s.shards {
		n += len(s.shards[i].young) + len(s.shards[i].old)
	}
	if n > 1600 {
		t.Errorf("%d tokens are remembered, want at most 1600", n)
	}
}

// thumbprint is that of RFC 7638, section 3.1.
const thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

// A token that is bound to a key is good with that key, and worth nothing to whoever has the token alone.
func TestATokenThatIsBoundToAKey(t *testing.T) {
	const other = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	for _, seen := range []int{0, 100} {
		h := newHouse(t, seen)
		bearer, c := h.mint(claims()), claims()
		c.Bound = thumbprint
		bound := h.mint(c)
		for range 2 { // the second time its signature is known
			for _, step := range []struct {
				name, token, key string
				want             error
			}{
				{"a bearer token, alone", bearer, "", nil},
				{"a bearer token, with a key", bearer, thumbprint, ErrBound},
				{"a bound token, alone", bound, "", ErrBound},
				{"a bound token, with its key", bound, thumbprint, nil},
				{"a bound token, with another", bound, other, ErrBound},
				{"a bound token, with no thumbprint of any key", bound, thumbprint[:42], ErrBound},
			} {
				verify := func() (Principal, error) { return h.VerifyBound(step.token, step.key, Types) }
				if step.key == "" {
					verify = func() (Principal, error) { return h.Verify(step.token, Types) }
					if _, err := h.VerifyBound(step.token, "", Types); !errors.Is(err, ErrBound) {
						t.Errorf("%s, that is shown to be nobody's: %v", step.name, err)
					}
				}
				who, err := verify()
				if !errors.Is(err, step.want) || step.want == nil && (err != nil || who.Bound != step.key) {
					t.Errorf("%s: %v, want %v", step.name, err, step.want)
				}
				if step.want == nil {
					if _, err := h.Again(who, Types); err != nil {
						t.Errorf("%s, again: %v", step.name, err)
					}
				}
			}
		}
		h.revoked["sid1"] = Standing{Revoked: true}
		if _, err := h.VerifyBound(bound, thumbprint, Types); !errors.Is(err, ErrRevoked) {
			t.Errorf("a bound token, revoked: %v", err)
		}
		h.now = start.Add(2 * time.Hour)
		if _, err := h.VerifyBound(bound, thumbprint, Types); !errors.Is(err, ErrExpired) {
			t.Errorf("a bound token, expired: %v", err)
		}
	}
	h := newHouse(t, 0)
	payload := claims()
	text := strings.TrimSuffix(string(payload.Append(nil)), "}")
	for _, cnf := range []string{
		`{}`, `{"jkt":""}`, `{"jkt":"` + thumbprint + `x"}`, `{"jkt":"` + thumbprint[:42] + `="}`, `{"jkt":1}`, `"` + thumbprint + `"`, `null`, `[]`,
		`{"jkt":"` + thumbprint + `","x5t#S256":"a"}`, `{"x5t#S256":"` + thumbprint + `"}`, `{"jwk":{}}`, `{"jkt":"` + thumbprint + `","jkt":"` + thumbprint + `"}`,
		`{"jkt":"` + thumbprint + `"},"cnf":{"jkt":"` + thumbprint + `"}`,
	} {
		h.wants(t, h.sign(h.key.Header(), b64([]byte(text+`,"cnf":`+cnf+`}`))), ErrMalformed)
	}
}

func FuzzDecodeClaims(f *testing.F) {
	c := claims()
	f.Add(string(c.Append(nil)))
	c.Granted = ""
	f.Add(string(c.Append(nil)))
	c.Bound = thumbprint
	f.Add(string(c.Append(nil)))
	f.Add(`{"iss":"a","sub":"1"}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := DecodeClaims(s)
		if err != nil {
			return
		}
		// Whatever we accept every reader of JSON understands in the same way.
		var std struct {
			Iss, Sub, Aud, Jti, Type, Cid, Sid, Scope string
			Iat, Nbf, Exp, Pos                        int64
			AuthTime                                  int64 `json:"auth_time"`
			Cnf                                       struct{ Jkt string }
		}
		if err := json.Unmarshal([]byte(s), &std); err != nil {
			t.Fatalf("we accept %q, encoding/json says %v", s, err)
		}
		want := Claims{
			Issuer: std.Iss, Subject: std.Sub, Audience: std.Aud, IssuedAt: std.Iat, NotBefore: std.Nbf, Expires: std.Exp,
			AuthTime: std.AuthTime, ID: std.Jti, Type: Type(std.Type), Credential: std.Cid, Session: std.Sid, Position: std.Pos,
			Granted: std.Scope, Bound: std.Cnf.Jkt, Account: got.Account,
		}
		if *got != want {
			t.Fatalf("%q: we read %+v, encoding/json %+v", s, *got, want)
		}
		again, err := DecodeClaims(string(got.Append(nil)))
		if err != nil || *again != *got {
			t.Fatalf("%q does not survive being written and read: %v", s, err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	h := newHouse(f, 100)
	token := h.mint(claims())
	f.Add(token)
	f.Add("..")
	f.Add(h.key.Header() + ".e30.AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := h.Verify(s, Types); err == nil && s != token {
			t.Fatalf("forged: %q", s)
		}
	})
}

// eachToken is a benchmark, or a test, with a bearer token and with one that is bound to a key.
func eachToken[T interface {
	testing.TB
	Run(string, func(T)) bool
}](t T, seen int, with func(t T, h *house, verify func() error),
) {
	for name, thumbprint := range map[string]string{"bearer": "", "bound": strings.Repeat("k", 43)} {
		t.Run(name, func(t T) {
			h := newHouse(t, seen)
			c := claims()
			c.Bound = thumbprint
			token := h.mint(c)
			with(t, h, func() error {
				_, err := h.verify(token, thumbprint, Types)
				return err
			})
		})
	}
}

// anySignature has the key take any: what is left is everything but the signature.
func (h *house) anySignature() { h.key.verify = func(string, []byte) bool { return true } }

// What verification allocates does not depend on the machine, so it is held to; how long it takes, the benchmarks say.
func TestWhatVerificationAllocates(t *testing.T) {
	atMost := func(t *testing.T, most float64, verify func() error) {
		t.Helper()
		got := testing.AllocsPerRun(1000, func() {
			if err := verify(); err != nil {
				t.Fatal(err)
			}
		})
		if got > most {
			t.Errorf("%v allocations, at most %v", got, most)
		}
	}
	eachToken(t, 1000, func(t *testing.T, _ *house, verify func() error) { atMost(t, 0, verify) })
	eachToken(t, 0, func(t *testing.T, h *house, verify func() error) {
		h.anySignature()
		atMost(t, 4, verify)
	})
}

func repeat(b *testing.B, verify func() error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := verify(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifySeen(b *testing.B) {
	eachToken(b, 1000, func(b *testing.B, _ *house, verify func() error) { repeat(b, verify) })
}

func BenchmarkVerifyNewWithoutSignature(b *testing.B) {
	eachToken(b, 0, func(b *testing.B, h *house, verify func() error) {
		h.anySignature()
		repeat(b, verify)
	})
}

func BenchmarkVerifyNew(b *testing.B) {
	eachToken(b, 0, func(b *testing.B, _ *house, verify func() error) { repeat(b, verify) })
}

// What refuses an attacker must not cost more the more he sends.
func BenchmarkRefuseHugeToken(b *testing.B) {
	h := newHouse(b, 0)
	token := strings.Repeat("a.", 1<<19)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Verify(token, Types); err == nil {
			b.Fatal("accepted")
		}
	}
}
