package verify_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

// A KeySet is what /.well-known/jwks.json said last. Whoever fetches it calls Replace; Key answers from memory.
type KeySet struct {
	keys atomic.Pointer[map[string]*verify.Key]
}

// Key implements verify.Keys.
func (s *KeySet) Key(header string) (*verify.Key, bool) {
	keys := s.keys.Load()
	if keys == nil {
		return nil, false
	}
	key, ok := (*keys)[header]
	return key, ok
}

// Replace takes over a key set. A key of another sort than the one expected is left out, and with it the tokens it signed.
func (s *KeySet) Replace(jwks []byte) error {
	var set struct {
		Keys []struct{ Kid, Alg, X string }
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		return err
	}
	keys := make(map[string]*verify.Key)
	for _, k := range set.Keys {
		public, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || k.Alg != "EdDSA" {
			continue
		}
		key, err := verify.NewKey(k.Kid, verify.EdDSA, ed25519.PublicKey(public))
		if err != nil {
			return err
		}
		keys[key.Header()] = key
	}
	s.keys.Store(&keys)
	return nil
}

// Blocked are accounts that this service was told to refuse. Nothing else that was revoked is known here: other tokens are
// good until they expire.
type Blocked map[int64]bool

// Standing implements verify.Revocations.
func (b Blocked) Standing(c *verify.Claims) (verify.Standing, error) {
	return verify.Standing{Revoked: b[c.Account]}, nil
}

func Example() {
	keys := new(KeySet)
	if err := keys.Replace([]byte(jwks)); err != nil {
		panic(err)
	}
	verifier, err := verify.New(verify.Config{
		Issuers:     []string{"https://auth.example.com"},
		Audiences:   []string{"https://auth.example.com"},
		Keys:        keys,
		Revocations: Blocked{100002: true},
		Now:         now, // leave it out: time.Now
	})
	if err != nil {
		panic(err)
	}
	for _, token := range []string{good, blocked, good + "x"} {
		who, err := verifier.Verify(token, []verify.Type{verify.AccessToken})
		switch {
		case errors.Is(err, verify.ErrUnknown):
			fmt.Println("503: nobody knows")
		case err != nil:
			fmt.Println("401:", err)
		case !who.HasScopes([]string{"products:read"}):
			fmt.Println("403: account", who.Account, "may not read products")
		default:
			fmt.Println("200: account", who.Account, "may", who.Scope)
		}
	}
	// Output:
	// 200: account 100001 may products:read
	// 401: the token was revoked
	// 401: the token is not spelled as ours are
}

// The rest is what a server would have answered.
var (
	private = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	jwks    = `{"keys":[{"use":"sig","kty":"OKP","kid":"example","crv":"Ed25519","alg":"EdDSA","x":"` +
		base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey)) + `"}]}`
	issued        = time.Date(2026, time.November, 22, 9, 0, 0, 0, time.UTC)
	good, blocked = mint(100001), mint(100002)
)

func now() time.Time { return issued.Add(time.Hour) }

func mint(account int64) string {
	key, err := verify.NewKey("example", verify.EdDSA, private.Public())
	if err != nil {
		panic(err)
	}
	claims := verify.Claims{
		Issuer: "https://auth.example.com", Subject: fmt.Sprint(account), Audience: "https://auth.example.com",
		IssuedAt: issued.Unix(), NotBefore: issued.Unix() - 30, Expires: issued.Add(24 * time.Hour).Unix(), AuthTime: issued.Unix(),
		ID: "jti", Type: verify.AccessToken, Credential: "credential", Session: "session", Granted: "products:read",
	}
	signed := key.Header() + "." + base64.RawURLEncoding.EncodeToString(claims.Append(nil))
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(signed)))
}
