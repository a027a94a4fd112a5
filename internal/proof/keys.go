package proof

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	maxKeys    = 8
	maxKeySet  = 64 << 10
	minRSABits = 2048
	maxRSABits = 4096 // more would cost us too much for what anybody may send
)

// ParseKeys reads the public keys of a client, a JWK set (RFC 7517) or a single key, and writes them in the one form in which
// they are kept: what identifies them, and nothing else. The error is [auth.ErrInvalid] and says what to do.
func ParseKeys(raw []byte) (string, error) {
	invalid := func(format string, args ...any) (string, error) {
		return "", auth.ErrInvalid.Saying(fmt.Sprintf(format, args...))
	}
	if len(raw) > maxKeySet {
		return invalid("a set of keys has at most %d bytes", maxKeySet)
	}
	var file struct {
		Keys []json.RawMessage `json:"keys"`
		Type string            `json:"kty"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return invalid("this is no JWK set: it is written {\"keys\":[{\"kty\":…}]}")
	}
	if file.Type != "" {
		file.Keys = []json.RawMessage{raw}
	}
	if len(file.Keys) == 0 || len(file.Keys) > maxKeys {
		return invalid("a client has 1 to %d keys; here are %d", maxKeys, len(file.Keys))
	}
	set := jose.JSONWebKeySet{}
	for i, one := range file.Keys {
		var key jose.JSONWebKey
		if err := json.Unmarshal(one, &key); err != nil {
			return invalid("key %d cannot be read: only public keys of Ed25519, P-256 and RSA are taken", i+1)
		}
		if wrong := wrongWith(key); wrong != "" {
			return invalid("key %d %s", i+1, wrong)
		}
		if key.KeyID == "" && len(file.Keys) > 1 {
			return invalid("key %d has no kid, so that nobody could say which of these it is", i+1)
		}
		if len(set.Key(key.KeyID)) > 0 {
			return invalid("two keys have the kid %q", key.KeyID)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Key, KeyID: key.KeyID, Algorithm: key.Algorithm, Use: "sig"})
	}
	kept, err := json.Marshal(set)
	if err != nil {
		return "", fmt.Errorf("write a set of keys: %w", err)
	}
	return string(kept), nil
}

func wrongWith(key jose.JSONWebKey) string {
	if _, symmetric := key.Key.([]byte); symmetric || !key.IsPublic() {
		return "is private or a secret: keep it, and give its public half alone"
	}
	if !key.Valid() || fitting(key.Key) == nil {
		return fmt.Sprintf("is of no sort that we take: Ed25519, P-256, or RSA of %d to %d bits", minRSABits, maxRSABits)
	}
	if key.Algorithm != "" && !fits(key, jose.SignatureAlgorithm(key.Algorithm)) {
		return "has another alg than it can be used with: EdDSA (or Ed25519), ES256, RS256 or PS256"
	}
	if key.Use != "" && key.Use != "sig" {
		return "is not for signatures (use)"
	}
	if len(key.KeyID) > 256 || strings.ContainsFunc(key.KeyID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "has a kid that is not up to 256 visible characters of ASCII"
	}
	return ""
}

// fitting are the algorithms that a public key can be used with; none if we do not take it.
func fitting(key any) []jose.SignatureAlgorithm {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA, ed25519Name}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return []jose.SignatureAlgorithm{jose.ES256}
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSABits && bits <= maxRSABits {
			return []jose.SignatureAlgorithm{jose.RS256, jose.PS256}
		}
	}
	return nil
}

func fits(key jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if of := jose.SignatureAlgorithm(key.Algorithm); of != "" && plain(of) != plain(alg) {
		return false
	}
	return slices.Contains(fitting(key.Key), alg)
}

// plain is alg by one name.
func plain(alg jose.SignatureAlgorithm) jose.SignatureAlgorithm {
	if alg == ed25519Name {
		return jose.EdDSA
	}
	return alg
}

// find returns the key of a set that a JWS with this kid and algorithm names; without a kid it is the only one there is.
func find(keys, kid string, alg jose.SignatureAlgorithm) (any, bool) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(keys), &set); err != nil {
		return nil, false
	}
	for _, key := range set.Keys {
		if (key.KeyID == kid || kid == "" && len(set.Keys) == 1) && fits(key, alg) {
			return key.Key, true
		}
	}
	return nil, false
}

// KeyNames says which keys a client has, each by its kid, or by its thumbprint (RFC 7638) if it has none.
func KeyNames(keys string) []string {
	var set jose.JSONWebKeySet
	if keys == "" || json.Unmarshal([]byte(keys), &set) != nil {
		return nil
	}
	var names []string
	for _, key := range set.Keys {
		name := key.KeyID
		if sum, err := key.Thumbprint(crypto.SHA256); name == "" && err == nil {
			name = base64.RawURLEncoding.EncodeToString(sum)
		}
		names = append(names, name)
	}
	return names
}

// OnlyKeys returns the keys of a set that have one of these names, as [KeyNames] says them; "" if there are none.
func OnlyKeys(keys string, names []string) (string, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal([]byte(keys), &set); err != nil {
		return "", fmt.Errorf("read a client's keys: %w", err)
	}
	named := KeyNames(keys)
	if len(named) != len(set.Keys) {
		return "", fmt.Errorf("read a client's keys: %d of %d can be read", len(named), len(set.Keys))
	}
	var left []json.RawMessage
	for i, key := range set.Keys {
		if slices.Contains(names, named[i]) {
			left = append(left, key)
		}
	}
	if len(left) == 0 {
		return "", nil
	}
	if len(left) == len(set.Keys) {
		return keys, nil
	}
	set.Keys = left
	text, err := json.Marshal(set)
	return string(text), err
}
