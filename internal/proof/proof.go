// Package proof reads what clients sign: assertions, by which they show who they are in place of a secret (RFC 7523), and
// DPoP proofs, by which the sender of a request shows that he holds the key that a token is bound to (RFC 9449). It keeps
// public keys in one form, and remembers what was used up. It leaves to gate who may come in, and our own tokens to verify
// and token.
//
// The invariants: a signed text has one spelling; nothing is fetched; whose a key is nobody learns from what it signed: an
// assertion is checked with registered keys alone, and what a DPoP proof brings along is worth what the token says; a check
// of an assertion costs one signature whether there is such a key or not; of algorithms only those of public keys are known.
package proof

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // it takes no member twice, and none in another case

	"github.com/gatehouse/gatehouse/verify"
)

// ed25519Name is what RFC 9864 calls [jose.EdDSA] with the one curve that it is used with here. Newer libraries write it.
const ed25519Name jose.SignatureAlgorithm = "Ed25519"

// algorithms are those of [auth.SigningAlgorithms].
var algorithms = []jose.SignatureAlgorithm{jose.EdDSA, ed25519Name, jose.ES256, jose.RS256, jose.PS256}

// leeway is how far the clock of somebody who signs may be off.
const leeway = verify.Leeway

// maxLength is the longest signed text that is looked at, in bytes. One of RSA with a chain of certificates fits.
const maxLength = 16 << 10

var errMalformed = errors.New("not a JWS that we take")

// A signed is a JWS as it came: well-formed, and by whom nobody knows yet.
type signed struct {
	raw     string
	jws     *jose.JSONWebSignature
	header  jose.Header // the protected one; there is no other
	payload []byte
}

// parse reads a JWS in its compact serialization (RFC 7515, section 7.1), with an algorithm of ours and a header that asks for
// nothing unusual.
func parse(raw string) (*signed, error) {
	if len(raw) > maxLength || !oneSpelling(raw) {
		return nil, errMalformed
	}
	jws, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, errMalformed
	}
	s := &signed{raw: raw, jws: jws, header: jws.Signatures[0].Protected, payload: jws.UnsafePayloadWithoutVerification()}
	for _, name := range []jose.HeaderKey{"crit", "b64"} { // what changes how the rest is to be read
		if _, there := s.header.ExtraHeaders[name]; there {
			return nil, errMalformed
		}
	}
	return s, nil
}

// oneSpelling says whether raw is three segments of base64url without spare bits: a library that skips line breaks, or ignores
// the last bits of a segment, would take one signature in many spellings.
func oneSpelling(raw string) bool {
	segments := strings.Split(raw, ".")
	return len(segments) == 3 && !slices.ContainsFunc(segments, func(s string) bool {
		_, err := base64.RawURLEncoding.Strict().DecodeString(s)
		return err != nil || s == "" || strings.ContainsAny(s, "\r\n")
	})
}

// is says whether the header has one of these types (typ), in any case; "" stands for none.
func (s *signed) is(types ...string) bool {
	typ, there := s.header.ExtraHeaders[jose.HeaderType]
	name, ok := typ.(string)
	return (ok || !there) && slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(name, t) && (t != "") == there })
}

// claims reads the payload into a struct.
func (s *signed) claims(into any) error {
	if err := json.Unmarshal(s.payload, into); err != nil {
		return errMalformed
	}
	return nil
}

// by says whether key made the signature.
func (s *signed) by(key any) bool {
	if public, ok := key.(ed25519.PublicKey); ok { // go-jose knows one name of the algorithm only
		return ed25519.Verify(public, []byte(s.raw[:strings.LastIndexByte(s.raw, '.')]), s.jws.Signatures[0].Signature)
	}
	_, err := s.jws.Verify(key)
	return err == nil
}

// An audience is the claim aud: one string, or several (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	var all []string
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*a = all
	return nil
}
