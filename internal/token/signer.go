package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
	"github.com/go-jose/go-jose/v4"
)

// A signer is one working key that signs. Every algorithm signs deterministically: the same claims under the same key are
// the same token, which is what lets a lost answer be given again.
type signer struct {
	id     auth.KeyID
	active time.Time
	key    *verify.Key // its other half, and its header
	public any         // for the key set; nil for HMAC
	sign   func(signed []byte) ([]byte, error)
}

// rsaBits is the size of new RSA keys. 2048 is what RFC 7518, section 3.3, asks for at least; more would cost 4 ms a token.
const rsaBits = 2048

// generate draws the material of a key: PKCS #8 for a key pair, 64 bytes for HMAC.
func generate(algorithm verify.Algorithm) ([]byte, error) {
	var private any
	var err error
	switch algorithm {
	case verify.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case verify.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case verify.RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case verify.HS256:
		material := make([]byte, 64)
		rand.Read(material)
		return material, nil
	default:
		return nil, fmt.Errorf("no such algorithm: %q", algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("make a key for %s: %w", algorithm, err)
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

// newSigner makes a signer of what [generate] drew.
func newSigner(row auth.KeyRow, material []byte) (*signer, error) {
	s := &signer{id: row.ID, active: row.ActiveAt}
	algorithm := verify.Algorithm(row.Algorithm)
	var check any = material
	if algorithm == verify.HS256 {
		s.sign = func(signed []byte) ([]byte, error) {
			mac := hmac.New(sha256.New, material)
			mac.Write(signed)
			return mac.Sum(nil), nil
		}
	} else {
		private, err := x509.ParsePKCS8PrivateKey(material)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", row.ID, err)
		}
		switch p := private.(type) {
		case ed25519.PrivateKey:
			s.public = p.Public()
			s.sign = func(signed []byte) ([]byte, error) { return ed25519.Sign(p, signed), nil }
		case *ecdsa.PrivateKey:
			s.public = p.Public()
			s.sign = func(signed []byte) ([]byte, error) { return signES256(p, signed) }
		case *rsa.PrivateKey:
			s.public = p.Public()
			s.sign = func(signed []byte) ([]byte, error) {
				sum := sha256.Sum256(signed)
				return rsa.SignPKCS1v15(nil, p, crypto.SHA256, sum[:])
			}
		}
		check = s.public
	}
	var err error
	s.key, err = verify.NewKey(string(row.ID), algorithm, check)
	return s, err
}

// signES256 signs as RFC 6979 says: a nil source of randomness asks for it. Of the two s that fit the low one is written, as
// verify wants it.
func signES256(key *ecdsa.PrivateKey, signed []byte) ([]byte, error) {
	sum := sha256.Sum256(signed)
	der, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign with ES256: %w", err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, fmt.Errorf("sign with ES256: %w", err)
	}
	order := elliptic.P256().Params().N
	if half := new(big.Int).Rsh(order, 1); rs.S.Cmp(half) > 0 {
		rs.S.Sub(order, rs.S)
	}
	out := make([]byte, 64)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return out, nil
}

// keySet writes the public keys as a JWK set (RFC 7517, section 5).
func keySet(ring []*signer) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, s := range ring {
		if s.public != nil {
			set.Keys = append(set.Keys, jose.JSONWebKey{
				Key: s.public, KeyID: string(s.id), Algorithm: string(s.key.Algorithm), Use: "sig",
			})
		}
	}
	out, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("write the key set: %w", err)
	}
	return out, nil
}
