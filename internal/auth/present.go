package auth

import (
	"encoding/base64"
	"hash/crc32"
	"log/slog"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// IDLength is the length of a credential's id.
	IDLength = 12
	// SecretLength is the length of a secret we make: 32 of 62 letters, 190 bits.
	SecretLength = 32
	// MaxPresented is the longest identifier or secret that is looked at, in bytes; longer ones are wrong without a look.
	MaxPresented = 1024

	checksumLength = 6
)

// A Presented is a credential as its holder presents it: an identifier and a secret. It prints as its identifier alone.
type Presented struct {
	Kind       Kind
	ID         CredentialID  // "" where the identifier cannot be one of ours
	Identifier string        // as presented, for the limits; of an API key, its id
	secret     func() string // a closure, because fmt reads through unexported fields
	signature  Signature     // in place of a secret; nil: there is none
}

// A Signature is what somebody signed to show who he is, well-formed and not yet believed.
type Signature interface {
	// SignedBy says whether one of keys made it, a JWK set as [Credential.Keys] has it. It costs the same either way, and for
	// "", which are none, too.
	SignedBy(keys string) bool
	// Once is its name, which its signer gives to nothing else until then. What has this name again counts no more.
	Once() (name string, until time.Time)
}

// Reveal returns the secret as presented. It is for the comparison and nothing else.
func (p Presented) Reveal() string {
	if p.secret == nil {
		return ""
	}
	return p.secret()
}

// Signature returns what was signed in place of a secret, nil if a secret was presented.
func (p Presented) Signature() Signature { return p.signature }

// String returns the kind and the id, without the secret.
func (p Presented) String() string { return string(p.Kind) + " " + string(p.ID) }

// GoString is [Presented.String], for %#v.
func (p Presented) GoString() string { return p.String() }

// LogValue is [Presented.String], for slog.
func (p Presented) LogValue() slog.Value { return slog.StringValue(p.String()) }

// NewPresented is for whoever has taken identifier and secret apart already.
func NewPresented(kind Kind, id CredentialID, identifier, secret string) Presented {
	return Presented{Kind: kind, ID: id, Identifier: identifier, secret: func() string { return secret }}
}

// FormatKey writes an API key: prefix "gk", environment, id, secret, checksum, as "gk_live_<id><secret>_<checksum>".
func FormatKey(prefix string, env Environment, id CredentialID, secret string) string {
	body := string(id) + secret
	return prefix + "_" + string(env) + "_" + body + "_" + checksum(prefix+"_"+string(env)+"_"+body)
}

// ParseKey reads an API key of this prefix ("gk") and environment. Whatever is wrong with s, the error is
// [ErrBadCredential], has a reason for the operator, and does not repeat s.
func ParseKey(prefix string, env Environment, s string) (Presented, error) {
	if s == "" {
		return Presented{}, ErrBadCredential.Because(ReasonNoCredential)
	}
	rest, ok := strings.CutPrefix(s, prefix+"_")
	if !ok {
		return Presented{}, ErrBadCredential.Because(ReasonMalformed)
	}
	named, rest, ok := strings.Cut(rest, "_")
	if !ok || len(rest) != IDLength+SecretLength+1+checksumLength || rest[IDLength+SecretLength] != '_' ||
		!Alphanumeric(rest[:IDLength+SecretLength]) {
		return Presented{}, ErrBadCredential.Because(ReasonMalformed)
	}
	// One alphabet, no padding: a key has one spelling.
	if rest[IDLength+SecretLength+1:] != checksum(s[:len(s)-1-checksumLength]) {
		return Presented{}, ErrBadCredential.Because(ReasonChecksum)
	}
	if Environment(named) != env {
		return Presented{}, ErrBadCredential.Because(ReasonWrongEnvironment)
	}
	id := rest[:IDLength]
	return NewPresented(APIKey, CredentialID(id), id, rest[IDLength:IDLength+SecretLength]), nil
}

// checksum is the CRC-32 (IEEE) of s in base 62, six letters: enough to refuse a mistyped key without a look-up.
func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var out [checksumLength]byte
	for i := checksumLength - 1; i >= 0; i-- {
		out[i] = Alphabet[n%62]
		n /= 62
	}
	return string(out[:])
}

// Alphabet is what everything we make is spelled in.
const Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Alphanumeric says whether s has only letters of [Alphabet].
func Alphanumeric(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// FormatUser writes the user ID, username or client id of a credential: "u_<id>", in the test environment "test_u_<id>".
func FormatUser(env Environment, id CredentialID) string {
	if env == Test {
		return "test_u_" + string(id)
	}
	return "u_" + string(id)
}

// parseUser reads what [FormatUser] writes. What cannot be one of ours has the id "" and is unknown like any other: it
// costs what an unknown one costs.
func parseUser(env Environment, s string) (CredentialID, Reason) {
	rest, test := strings.CutPrefix(s, "test_")
	id, ok := strings.CutPrefix(rest, "u_")
	if !ok || len(id) != IDLength || !Alphanumeric(id) {
		return "", ReasonUnknown
	}
	if test != (env == Test) {
		return "", ReasonWrongEnvironment
	}
	return CredentialID(id), ReasonNone
}

// ParseUser returns the presented credential of a user ID, username or client id and its secret. Neither may be empty, or
// longer than [MaxPresented], or hold NUL or invalid UTF-8: that is [ErrBadCredential]. One of another environment is too.
func ParseUser(kind Kind, env Environment, identifier, secret string) (Presented, error) {
	if identifier == "" || secret == "" {
		return Presented{}, ErrBadCredential.Because(ReasonNoCredential)
	}
	if !presentable(identifier) || !presentable(secret) {
		return Presented{}, ErrBadCredential.Because(ReasonMalformed)
	}
	id, wrong := parseUser(env, identifier)
	if wrong == ReasonWrongEnvironment {
		return Presented{}, ErrBadCredential.Because(wrong)
	}
	return NewPresented(kind, id, identifier, secret), nil
}

// ParseSigned returns the presented credential of a client id that comes with a signature. Errors are as of [ParseUser].
func ParseSigned(kind Kind, env Environment, identifier string, s Signature) (Presented, error) {
	if identifier == "" || s == nil {
		return Presented{}, ErrBadCredential.Because(ReasonNoCredential)
	}
	if !presentable(identifier) {
		return Presented{}, ErrBadCredential.Because(ReasonMalformed)
	}
	id, wrong := parseUser(env, identifier)
	if wrong == ReasonWrongEnvironment {
		return Presented{}, ErrBadCredential.Because(wrong)
	}
	return Presented{Kind: kind, ID: id, Identifier: identifier, signature: s}, nil
}

func presentable(s string) bool {
	return len(s) <= MaxPresented && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// ParseBasic reads the value of an Authorization header of the scheme Basic (RFC 7617): user-id and password in base64,
// the scheme in any case. Whatever is wrong, the error is [ErrBadCredential] and does not repeat the header.
func ParseBasic(kind Kind, env Environment, header string) (Presented, error) {
	user, password, err := basicPair(header)
	if err != nil {
		return Presented{}, err
	}
	return ParseUser(kind, env, user, password)
}

// ParseClientBasic reads the value of an Authorization header in which an OAuth client sends its id and secret: Basic, with
// each of the two form-urlencoded first (RFC 6749, section 2.3.1). Errors are as of [ParseBasic].
func ParseClientBasic(env Environment, header string) (Presented, error) {
	escapedID, escapedSecret, err := basicPair(header)
	if err != nil {
		return Presented{}, err
	}
	id, err1 := url.QueryUnescape(escapedID)
	secret, err2 := url.QueryUnescape(escapedSecret)
	if err1 != nil || err2 != nil {
		return Presented{}, ErrBadCredential.Because(ReasonMalformed)
	}
	return ParseUser(OAuth, env, id, secret)
}

// strictBase64 takes one spelling of what it decodes: no spare bits.
var strictBase64 = base64.StdEncoding.Strict()

func basicPair(header string) (user, password string, err error) {
	if header == "" {
		return "", "", ErrBadCredential.Because(ReasonNoCredential)
	}
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") || len(encoded) > 4*MaxPresented {
		return "", "", ErrBadCredential.Because(ReasonMalformed)
	}
	var space [256]byte
	decoded, err := strictBase64.AppendDecode(space[:0], []byte(strings.TrimLeft(encoded, " ")))
	if err != nil || strings.IndexByte(encoded, '\r') >= 0 || strings.IndexByte(encoded, '\n') >= 0 {
		return "", "", ErrBadCredential.Because(ReasonMalformed)
	}
	user, password, ok = strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", ErrBadCredential.Because(ReasonMalformed)
	}
	return user, password, nil
}

// ParseBearer reads the value of an Authorization header of the scheme Bearer (RFC 6750, section 2.1), in any case. The
// error is [ErrBadToken]; it says whether a token was sent at all.
func ParseBearer(values []string) (string, error) {
	token, withProof, err := ParseToken(values)
	if withProof {
		return "", ErrBadToken.Because(ReasonNoCredential)
	}
	return token, err
}

// ParseToken is [ParseBearer] for the scheme DPoP too (RFC 9449, section 7.1): then the token must come with a proof.
func ParseToken(values []string) (token string, withProof bool, err error) {
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return "", false, ErrBadToken.Because(ReasonNoCredential)
	}
	if len(values) > 1 {
		return "", false, malformedToken(false)
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	withProof = strings.EqualFold(scheme, "DPoP")
	if !withProof && !strings.EqualFold(scheme, "Bearer") {
		return "", false, ErrBadToken.Because(ReasonNoCredential)
	}
	token = strings.TrimLeft(token, " ")
	if !ok || token == "" {
		return "", withProof, malformedToken(withProof)
	}
	return token, withProof, nil
}

func malformedToken(withProof bool) *Error {
	e := ErrBadToken.Because(ReasonMalformed)
	e.TokenSent, e.Proof = true, withProof
	return e
}
