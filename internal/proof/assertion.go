package proof

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// AssertionType is the client_assertion_type of what [Assertions] read (RFC 7523, section 2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxLife is how far ahead the end of an assertion may lie: for so long it must be remembered.
const maxLife = 10 * time.Minute

// AssertionsConfig says what assertions must say.
type AssertionsConfig struct {
	Environment auth.Environment
	Audiences   []string         // us, in the words of clients; at least one
	Now         func() time.Time // nil means time.Now
}

// Assertions read the JWTs that OAuth clients present in place of a secret. They are safe for concurrent use.
type Assertions struct {
	config AssertionsConfig
	now    func() time.Time
	nobody map[jose.SignatureAlgorithm]any // a public key of each sort whose private half nobody has
}

// NewAssertions returns Assertions.
func NewAssertions(c AssertionsConfig) (*Assertions, error) {
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		return nil, errors.New("proof: without an audience an assertion for anybody would do")
	}
	a := &Assertions{config: c, now: c.Now}
	if a.now == nil {
		a.now = time.Now
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make nobody's key: %w", err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make nobody's key: %w", err)
	}
	// To make a pair of RSA would take a second, and it is only to cost what a key costs: any odd number of its size does.
	n := make([]byte, minRSABits/8)
	_, _ = rand.Read(n)
	n[0], n[len(n)-1] = n[0]|0x80, n[len(n)-1]|1
	rs := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	a.nobody = map[jose.SignatureAlgorithm]any{jose.EdDSA: ed, ed25519Name: ed, jose.ES256: &ec.PublicKey, jose.RS256: rs, jose.PS256: rs}
	return a, nil
}

// assertionTypes are what an assertion may say that it is; a DPoP proof, which the same key may have signed, is none.
var assertionTypes = []string{"", "JWT", "client-authentication+jwt"}

// Parse reads an assertion. Whatever is wrong with it that its sender can see himself is [auth.ErrBadCredential]; whether
// its signature holds is for who has the client's keys to ask.
func (a *Assertions) Parse(raw string) (auth.Presented, error) {
	bad := auth.ErrBadCredential.Because
	s, err := parse(raw)
	if err != nil || !s.is(assertionTypes...) {
		return auth.Presented{}, bad(auth.ReasonMalformed)
	}
	var c struct {
		Issuer    string   `json:"iss"`
		Subject   string   `json:"sub"`
		Audience  audience `json:"aud"`
		Expires   *float64 `json:"exp"` // whole or not (RFC 7519, section 2, NumericDate)
		NotBefore *float64 `json:"nbf"`
		IssuedAt  *float64 `json:"iat"`
		ID        string   `json:"jti"`
	}
	if s.claims(&c) != nil || c.Expires == nil || c.ID == "" || c.Issuer != c.Subject {
		return auth.Presented{}, bad(auth.ReasonMalformed)
	}
	now := float64(a.now().UnixMilli()) / 1000
	latest := now + leeway.Seconds()
	switch {
	case !slices.ContainsFunc(c.Audience, func(s string) bool { return slices.Contains(a.config.Audiences, s) }):
		return auth.Presented{}, bad(auth.ReasonTokenForeign)
	case now >= *c.Expires+leeway.Seconds():
		return auth.Presented{}, bad(auth.ReasonTokenExpired)
	case c.NotBefore != nil && *c.NotBefore > latest, c.IssuedAt != nil && *c.IssuedAt > latest:
		return auth.Presented{}, bad(auth.ReasonTokenNotYetValid)
	case *c.Expires > latest+maxLife.Seconds():
		return auth.Presented{}, bad(auth.ReasonMalformed)
	}
	until := time.UnixMilli(int64(*c.Expires*1000) + 1).Add(leeway)
	return auth.ParseSigned(auth.OAuth, a.config.Environment, c.Issuer, &assertion{signed: s, nobody: a.nobody, id: c.ID, until: until})
}

// An assertion is one that says what it must.
type assertion struct {
	*signed
	nobody map[jose.SignatureAlgorithm]any
	id     string
	until  time.Time
}

// nobodysKeys is what is looked through where there are no keys.
const nobodysKeys = `{"keys":[{"use":"sig","kty":"OKP","kid":" ","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`

// SignedBy implements [auth.Signature].
func (a *assertion) SignedBy(keys string) bool {
	some := keys != ""
	if !some {
		keys = nobodysKeys
	}
	alg := jose.SignatureAlgorithm(a.header.Algorithm)
	key, found := find(keys, a.header.KeyID, alg)
	if found = found && some; !found {
		key = a.nobody[alg]
	}
	return a.by(key) && found
}

// Once implements [auth.Signature].
func (a *assertion) Once() (name string, until time.Time) { return a.id, a.until }
