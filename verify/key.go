package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
)

// An Algorithm is the name of a signature algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1).
type Algorithm string

// The algorithms that tokens can be signed with.
const (
	EdDSA Algorithm = "EdDSA" // Ed25519
	ES256 Algorithm = "ES256" // ECDSA on P-256 with SHA-256
	RS256 Algorithm = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
	HS256 Algorithm = "HS256" // HMAC-SHA-256
)

// A Key checks the signatures of one key. It has exactly one header, and the algorithm is the key's own: no token can ask
// for another.
type Key struct {
	ID        string
	Algorithm Algorithm
	header    string // of tokens
	verify    func(signed string, signature []byte) bool
}

// NewKey returns the key called id (its kid). The material is an [ed25519.PublicKey], an [*ecdsa.PublicKey] on P-256, an
// [*rsa.PublicKey] of 2048 bits or more, or, for HS256, the secret as []byte of 32 bytes or more; whatever does not fit the
// algorithm is an error. The id is of letters, digits, '-' and '_'.
func NewKey(id string, algorithm Algorithm, material any) (*Key, error) {
	if !spelled(id) {
		return nil, errors.New("verify: a key's id is of letters, digits, '-' and '_'")
	}
	k := &Key{ID: id, Algorithm: algorithm}
	switch m := material.(type) {
	case ed25519.PublicKey:
		if algorithm == EdDSA && len(m) == ed25519.PublicKeySize {
			k.verify = func(signed string, sig []byte) bool { return ed25519.Verify(m, []byte(signed), sig) }
		}
	case *ecdsa.PublicKey:
		if algorithm == ES256 && m.Curve == elliptic.P256() {
			k.verify = func(signed string, sig []byte) bool { return verifyES256(m, signed, sig) }
		}
	case *rsa.PublicKey:
		if algorithm == RS256 && m.Size() >= 256 {
			k.verify = func(signed string, sig []byte) bool {
				sum := sha256.Sum256([]byte(signed))
				return rsa.VerifyPKCS1v15(m, crypto.SHA256, sum[:], sig) == nil
			}
		}
	case []byte:
		if algorithm == HS256 && len(m) >= 32 {
			k.verify = func(signed string, sig []byte) bool {
				mac := hmac.New(sha256.New, m)
				mac.Write([]byte(signed))
				return hmac.Equal(mac.Sum(nil), sig)
			}
		}
	}
	if k.verify == nil {
		return nil, fmt.Errorf("verify: key %s: a %T does not fit algorithm %q", id, material, algorithm)
	}
	k.header = k.HeaderOf("JWT")
	return k, nil
}

// Header is the first segment of every token that this key signs, as it stands in the token.
func (k *Key) Header() string { return k.header }

// RevocationsType is the typ of what the revocation feed answers. It keeps those answers apart from tokens: each is
// looked up by its whole header, so neither passes for the other, though one key signs both.
const RevocationsType = "gatehouse-revocations+jwt"

// HeaderOf is the first segment of what this key signs that is of the type typ; of tokens it is [Key.Header].
func (k *Key) HeaderOf(typ string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + string(k.Algorithm) + `","typ":"` + typ + `","kid":"` + k.ID + `"}`))
}

// Verify says whether signature is this key's over signed, the token up to its second dot.
func (k *Key) Verify(signed string, signature []byte) bool { return k.verify(signed, signature) }

// verifyES256 checks the 64 bytes r, s (RFC 7518, section 3.4). Of the two s that fit every signature only the low one is
// taken, the one that our own mint writes: otherwise each token would have a twin.
func verifyES256(key *ecdsa.PublicKey, signed string, sig []byte) bool {
	if len(sig) != 64 {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	if s.Cmp(halfOrder) > 0 {
		return false
	}
	sum := sha256.Sum256([]byte(signed))
	return ecdsa.Verify(key, sum[:], r, s)
}

var halfOrder = new(big.Int).Rsh(elliptic.P256().Params().N, 1)
