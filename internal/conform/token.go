package conform

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
)

// A jws is a token taken apart. Nothing in it has been verified.
type jws struct {
	header, claims map[string]any
	signed         string // what the signature is over
	signature      []byte
}

// open takes a token apart. The error repeats nothing of it.
func open(raw string) (jws, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return jws{}, errors.New("the token is not three parts with dots between them")
	}
	var t jws
	for i, to := range []*map[string]any{&t.header, &t.claims} {
		text, err := base64.RawURLEncoding.Strict().DecodeString(parts[i])
		if err != nil {
			return jws{}, errors.New("the token is not base64url without padding")
		}
		v, err := decode(string(text))
		o, ok := v.(map[string]any)
		if err != nil || !ok {
			return jws{}, errors.New("the token's parts are not JSON objects")
		}
		*to = o
	}
	var err error
	if t.signature, err = base64.RawURLEncoding.Strict().DecodeString(parts[2]); err != nil {
		return jws{}, errors.New("the token is not base64url without padding")
	}
	t.signed = parts[0] + "." + parts[1]
	return t, nil
}

func (t jws) str(claim string) string {
	s, _ := t.claims[claim].(string)
	return s
}

func (t jws) int(claim string) int64 {
	n, _ := integer(t.claims[claim])
	return n
}

// isToken is the member that holds a token.
var isToken = some(func(v any) error {
	s, _ := v.(string)
	if _, err := open(s); err != nil {
		return fmt.Errorf("a token: %w", err)
	}
	return nil
})

// says checks a token's header and claims. life is in seconds.
func (t jws) says(kind string, life int64) error {
	problems := []error{
		fits("the token's header", object{"alg": text, "typ": "JWT", "kid": text}, t.header),
		fits("the token", object{
			"iss": text, "sub": text, "aud": text, "iat": number, "nbf": number, "exp": number, "auth_time": number, "jti": text,
			"type": kind, "cid": text, "sid": text, "pos": number, "scope?": text,
		}, t.claims),
	}
	if got := t.int("exp") - t.int("iat"); got != life {
		problems = append(problems, fmt.Errorf("the token lives %d s, wanted %d", got, life))
	}
	if got := t.int("iat") - t.int("nbf"); got != 30 {
		problems = append(problems, fmt.Errorf("nbf is %d s before iat, wanted 30", got))
	}
	if t.int("auth_time") > t.int("iat") {
		problems = append(problems, errors.New("auth_time is after iat"))
	}
	if strings.Trim(t.str("sub"), "0123456789") != "" {
		problems = append(problems, errors.New("sub is not the account's number"))
	}
	return errors.Join(problems...)
}

// A keySet is the keys of /.well-known/jwks.json, by their ids; nil: not fetched yet.
type keySet map[string]map[string]any

var getKeys = request{method: http.MethodGet, target: "/.well-known/jwks.json"}

func readKeys(a answer) (keySet, error) {
	all, ok := a.at("keys").([]any)
	if a.status != http.StatusOK || !ok {
		return nil, fmt.Errorf("there is no key set: the status is %d", a.status)
	}
	keys := keySet{}
	for _, one := range all {
		if key, ok := one.(map[string]any); ok {
			id, _ := key["kid"].(string)
			keys[id] = key
		}
	}
	return keys, nil
}

// verify verifies a signature against the key set.
func (p *probe) verify(t jws) error {
	alg, _ := t.header["alg"].(string)
	if alg == "HS256" {
		return skip("tokens are signed with HS256, whose keys are in no key set")
	}
	if p.kit.keys == nil {
		a, err := p.ask(getKeys)
		if err != nil {
			return err
		}
		if p.kit.keys, err = readKeys(a); err != nil {
			return err
		}
	}
	id, _ := t.header["kid"].(string)
	key, there := p.kit.keys[id]
	if !there {
		return fmt.Errorf("no key of the key set has the token's kid %q", id)
	}
	if of, named := key["alg"]; named && of != alg {
		return fmt.Errorf("the token is signed with %s, and the key is for %v", alg, of)
	}
	if !signedBy(key, alg, t) {
		return fmt.Errorf("the signature (%s) does not verify with the key %q", alg, id)
	}
	return nil
}

func signedBy(key map[string]any, alg string, t jws) bool {
	member := func(name string) []byte {
		s, _ := key[name].(string)
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return nil
		}
		return b
	}
	sum := sha256.Sum256([]byte(t.signed))
	switch alg {
	case "EdDSA":
		x := member("x")
		return key["kty"] == "OKP" && key["crv"] == "Ed25519" && len(x) == ed25519.PublicKeySize && ed25519.Verify(x, []byte(t.signed), t.signature)
	case "ES256":
		if key["kty"] != "EC" || key["crv"] != "P-256" || len(t.signature) != 64 {
			return false
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, member("x"), member("y")))
		if err != nil { // not on the curve
			return false
		}
		return ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(t.signature[:32]), new(big.Int).SetBytes(t.signature[32:]))
	case "RS256":
		e := new(big.Int).SetBytes(member("e"))
		if key["kty"] != "RSA" || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return false
		}
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(member("n")), E: int(e.Int64())}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], t.signature) == nil
	}
	return false
}

// token is a row about a token: get gets one.
func token(kind string, life int64, get func(*probe) (string, error)) row {
	return row{name: fmt.Sprintf("the token: header, claims, its life of %d s, signed by a key of the key set", life), run: func(p *probe) error {
		raw, err := get(p)
		if err != nil {
			return err
		}
		t, err := open(raw)
		if err != nil {
			return err
		}
		signature := p.verify(t)
		said := t.says(kind, life)
		if said != nil && errors.As(signature, new(skip)) {
			return said // that its signature cannot be judged does not make it good
		}
		return errors.Join(said, signature)
	}}
}

// shared is the token that rows share which do not end it.
func (p *probe) shared(contract string) (string, error) {
	if got := p.kit.tokens[contract]; got != "" {
		return got, nil
	}
	get := map[string]func() (string, error){
		Liquid: p.liquidToken, Orders: p.orderToken, OAuth: p.oauthToken,
		B2B: func() (string, error) { s, err := p.signIn(); return s.access, err },
	}[contract]
	got, err := get()
	if err == nil && contract != B2B { // a logout ends all of those
		p.kit.tokens[contract] = got
	}
	return got, err
}

// got is a token out of an answer, where a row is about something else.
func got(a answer, err error, path ...string) (string, error) {
	if err != nil {
		return "", err
	}
	raw := a.str(path...)
	if raw == "" {
		return "", fmt.Errorf("no token was to be had: the status is %d", a.status)
	}
	return raw, nil
}
