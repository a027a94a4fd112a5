package conform

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
)

// A signingKey signs with one algorithm.
type signingKey struct {
	alg, id string
	public  map[string]string // the members that RFC 7638 takes its thumbprint of
	sign    func(text []byte) ([]byte, error)
}

// newSigningKey makes one up that signs with ES256.
func newSigningKey() (signingKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signingKey{}, err
	}
	return es256(private)
}

// readKey reads a private JWK. The error repeats nothing of it.
func readKey(jwk json.RawMessage) (signingKey, error) {
	var members map[string]any
	if err := json.Unmarshal(jwk, &members); err != nil {
		return signingKey{}, errors.New("the key is no JWK")
	}
	k, err := privateKey(func(name string) []byte {
		s, _ := members[name].(string)
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return nil
		}
		return b
	}, members["kty"], members["crv"])
	k.id, _ = members["kid"].(string)
	return k, err
}

func privateKey(member func(string) []byte, kind, curve any) (signingKey, error) {
	switch {
	case kind == "OKP" && curve == "Ed25519" && len(member("d")) == ed25519.SeedSize:
		private := ed25519.NewKeyFromSeed(member("d"))
		return signingKey{
			alg: "EdDSA", public: map[string]string{"crv": "Ed25519", "kty": "OKP", "x": b64(private[ed25519.SeedSize:])},
			sign: func(text []byte) ([]byte, error) { return ed25519.Sign(private, text), nil },
		}, nil
	case kind == "EC" && curve == "P-256":
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), member("d"))
		if err != nil {
			return signingKey{}, errors.New("the key is none of P-256")
		}
		return es256(private)
	case kind == "RSA":
		whole := func(name string) *big.Int { return new(big.Int).SetBytes(member(name)) }
		private := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: whole("n"), E: int(whole("e").Int64())}, D: whole("d"), Primes: []*big.Int{whole("p"), whole("q")},
		}
		if err := private.Validate(); err != nil {
			return signingKey{}, errors.New("the key is none of RSA")
		}
		return signingKey{
			alg: "RS256", public: map[string]string{"e": b64(whole("e").Bytes()), "kty": "RSA", "n": b64(private.N.Bytes())},
			sign: func(text []byte) ([]byte, error) {
				sum := sha256.Sum256(text)
				return rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
			},
		}, nil
	}
	return signingKey{}, errors.New("the key is no private JWK of Ed25519, P-256 or RSA")
}

func es256(private *ecdsa.PrivateKey) (signingKey, error) {
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return signingKey{}, err
	}
	return signingKey{
		alg: "ES256", public: map[string]string{"crv": "P-256", "kty": "EC", "x": b64(point[1:33]), "y": b64(point[33:])},
		sign: func(text []byte) ([]byte, error) {
			sum := sha256.Sum256(text)
			r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
			if err != nil {
				return nil, err
			}
			signature := make([]byte, 64)
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			return signature, nil
		},
	}, nil
}

// thumbprint is that of RFC 7638 with SHA-256: members are marshaled in the order of their names.
func (k signingKey) thumbprint() string {
	text, _ := json.Marshal(k.public) // strings can be marshaled
	sum := sha256.Sum256(text)
	return b64(sum[:])
}

// jws signs claims under a header with these members.
func (k signingKey) jws(header, claims map[string]any) (string, error) {
	header = maps.Clone(header)
	if header["alg"] == nil {
		header["alg"] = k.alg
	}
	var parts []string
	for _, one := range []map[string]any{header, claims} {
		text, err := json.Marshal(one)
		if err != nil {
			return "", err
		}
		parts = append(parts, b64(text))
	}
	signed := strings.Join(parts, ".")
	if header["alg"] == "none" {
		return signed + ".", nil
	}
	signature, err := k.sign([]byte(signed))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return signed + "." + b64(signature), nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
