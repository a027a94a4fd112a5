// Package verify says whether an access token is good: its spelling, its signature, its claims, and whether it was
// revoked. It is pure: it does no I/O, starts nothing, and knows keys and revocations only through the two small
// interfaces [Keys] and [Revocations]. The server's gateway and a service far from it use this same code, so a token is
// judged in one place only.
//
// The invariant: [Verifier.Verify] returns no error only for a token that one of our own keys signed, that is of this
// issuer and audience, within its time, of a type the caller accepts, and alive at that moment. What is remembered between
// calls is only that a signature held; every decision is taken anew.
package verify

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// Leeway is how far exp, nbf and iat may lie on the wrong side of now (RFC 7519, section 4.1.4, allows "some small
	// leeway"). It is one constant for every check of a token's times.
	Leeway = 30 * time.Second

	// MaxLength is the longest token looked at, in bytes. Ours are about 600.
	MaxLength = 4096
)

// A Type is what a token is for, its claim "type". A token of one type is never good where another is asked for.
type Type string

// The types of access tokens.
const (
	AccessToken Type = "ACCESS_TOKEN" // contract 1: from an API key
	OrderAPI    Type = "ORDER_API"    // contract 2: from a user ID and password
	B2BAccess   Type = "B2B_ACCESS"   // contract 3: from a username and password
	OAuthAccess Type = "OAUTH_ACCESS" // contract 4: from an OAuth client
)

// Types lists every type of access token, in the order of their contracts.
var Types = []Type{AccessToken, OrderAPI, B2BAccess, OAuthAccess}

// A Principal is who a verified token speaks for.
type Principal struct {
	*Claims
	// Scope is what the token may do now, space-separated: what it was given, less what its credential has lost since.
	Scope string

	key *Key // that signed the token; nil where no Verifier has seen it
}

// HasScopes says whether the principal has every one of wanted.
func (p Principal) HasScopes(wanted []string) bool {
	for _, w := range wanted {
		if !HasScope(p.Scope, w) {
			return false
		}
	}
	return true
}

// HasScope says whether the space-separated list scope contains one, exactly spelled (RFC 6749, section 3.3: scopes are
// case-sensitive).
func HasScope(scope, one string) bool {
	for part := range strings.SplitSeq(scope, " ") {
		if part == one && one != "" {
			return true
		}
	}
	return false
}

// Intersect returns the scopes of a that b has too, in a's order.
func Intersect(a, b string) string {
	if a == b {
		return a
	}
	var both []string
	for part := range strings.SplitSeq(a, " ") {
		if HasScope(b, part) {
			both = append(both, part)
		}
	}
	return strings.Join(both, " ")
}

// Keys finds the key that wrote a token's header. Implementations answer from memory: a header nobody wrote must cost no
// I/O, and a key that was revoked or retired must not be found.
type Keys interface {
	// Key returns the key whose [Key.Header] equals header.
	Key(header string) (*Key, bool)
}

// Revocations tells what is known of tokens that died before their time.
type Revocations interface {
	// Standing says how the token's account, credential and session stand now. An error means that nobody can know at
	// this moment; the token is then neither good nor bad, and must not be let in.
	Standing(*Claims) (Standing, error)
}

// Standing is what [Revocations] know of one token.
type Standing struct {
	Revoked  bool   // the token, its session, credential or account is dead or suspended
	Narrowed bool   // the credential may have lost scopes since the token was made:
	Scope    string // if Narrowed, those it has now, space-separated
}

// Reasons a token is not good. [Error] wraps one of them.
var (
	ErrMalformed   = errors.New("the token is not spelled as ours are")
	ErrSignature   = errors.New("no key of ours made the token's signature")
	ErrForeign     = errors.New("the token is of another issuer or for another audience")
	ErrExpired     = errors.New("the token expired")
	ErrNotYetValid = errors.New("the token is not valid yet")
	ErrRevoked     = errors.New("the token was revoked")
	ErrWrongType   = errors.New("the token is of another type than is accepted here")
	ErrBound       = errors.New("the token is bound to another key than it came with, or came with one and is bound to none")
	ErrUnknown     = errors.New("whether the token was revoked cannot be known now")
)

// An Error is a refusal. Its reason is one of this package's Err values, by [errors.Is].
type Error struct {
	Err    error
	Claims *Claims // what the token says, if its signature held; else nil. For logs: it is not good.
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Config says what a [Verifier] accepts.
type Config struct {
	Issuers     []string // accepted iss; at least one
	Audiences   []string // accepted aud; at least one
	Keys        Keys
	Revocations Revocations
	Now         func() time.Time // nil means time.Now
	Seen        int              // for how many tokens to remember that the signature held; 0 means none
}

// A Verifier judges access tokens. It is safe for concurrent use.
type Verifier struct {
	issuers, audiences []string
	keys               Keys
	revocations        Revocations
	now                func() time.Time
	seen               *seen
}

// New returns a Verifier. Without issuers, audiences, keys or revocations it is an error: nothing would be checked.
func New(c Config) (*Verifier, error) {
	if len(c.Issuers) == 0 || len(c.Audiences) == 0 || c.Keys == nil || c.Revocations == nil {
		return nil, errors.New("verify: issuers, audiences, keys and revocations are all needed")
	}
	if slices.Contains(c.Issuers, "") || slices.Contains(c.Audiences, "") {
		return nil, errors.New("verify: an empty issuer or audience would accept a token that names none")
	}
	v := &Verifier{
		issuers: slices.Clone(c.Issuers), audiences: slices.Clone(c.Audiences),
		keys: c.Keys, revocations: c.Revocations, now: c.Now,
	}
	if v.now == nil {
		v.now = time.Now
	}
	if c.Seen > 0 {
		v.seen = newSeen(c.Seen)
	}
	return v, nil
}

// Verify returns who token speaks for, if it is a bearer token, good, and of one of the types accepted. Otherwise the error is
// an [*Error] that wraps, in this order of checking, [ErrMalformed], [ErrSignature], [ErrBound], [ErrForeign],
// [ErrNotYetValid], [ErrExpired], [ErrUnknown], [ErrRevoked] or [ErrWrongType].
func (v *Verifier) Verify(token string, accepted []Type) (Principal, error) {
	return v.verify(token, "", accepted)
}

// VerifyBound is [Verifier.Verify] for a token that came with a proof, which the caller has checked: that its sender holds a
// key of this thumbprint (RFC 7638), and signed for this very request and token (RFC 9449, section 4.3). A bearer token, and
// one that is bound to another key, is [ErrBound].
func (v *Verifier) VerifyBound(token, thumbprint string, accepted []Type) (Principal, error) {
	if thumbprint == "" {
		return Principal{}, &Error{Err: ErrBound}
	}
	return v.verify(token, thumbprint, accepted)
}

// verify judges a token that came with a key of this thumbprint, "" with none.
func (v *Verifier) verify(token, thumbprint string, accepted []Type) (Principal, error) {
	claims, key, err := v.authentic(token)
	if err != nil {
		return Principal{}, &Error{Err: err}
	}
	if claims.Bound != thumbprint {
		return Principal{}, &Error{Err: ErrBound, Claims: claims}
	}
	return v.judge(claims, key, accepted)
}

// Again judges once more a principal that Verify or VerifyBound returned, as it would judge its token now. It does without the
// token: that a key signed it stays true, that the key is alive need not. A principal that no Verifier made is not good.
func (v *Verifier) Again(p Principal, accepted []Type) (Principal, error) {
	if p.key == nil {
		return Principal{}, &Error{Err: ErrSignature}
	}
	if key, _ := v.keys.Key(p.key.header); key != p.key { // another of that name does not inherit what this one signed
		return Principal{}, &Error{Err: ErrSignature, Claims: p.Claims}
	}
	return v.judge(p.Claims, p.key, accepted)
}

// judge decides on the claims of a token that key signed.
func (v *Verifier) judge(claims *Claims, key *Key, accepted []Type) (Principal, error) {
	if !slices.Contains(v.issuers, claims.Issuer) || !slices.Contains(v.audiences, claims.Audience) {
		return Principal{}, &Error{Err: ErrForeign, Claims: claims}
	}
	if err := claims.within(v.now()); err != nil {
		return Principal{}, &Error{Err: err, Claims: claims}
	}
	standing, err := v.revocations.Standing(claims)
	if err != nil {
		return Principal{}, &Error{Err: fmt.Errorf("%w: %w", ErrUnknown, err), Claims: claims}
	}
	if standing.Revoked {
		return Principal{}, &Error{Err: ErrRevoked, Claims: claims}
	}
	if !slices.Contains(accepted, claims.Type) {
		return Principal{}, &Error{Err: ErrWrongType, Claims: claims}
	}
	scope := claims.Granted
	if standing.Narrowed {
		scope = Intersect(scope, standing.Scope)
	}
	return Principal{Claims: claims, Scope: scope, key: key}, nil
}

// authentic returns the claims of a token that a live key of ours signed, and the key. It says nothing of their being good
// now.
func (v *Verifier) authentic(token string) (*Claims, *Key, error) {
	if len(token) > MaxLength {
		return nil, nil, ErrMalformed
	}
	header, rest, ok := strings.Cut(token, ".")
	if !ok {
		return nil, nil, ErrMalformed
	}
	// The header is never parsed: a key has one header, and whoever writes another has no key of ours. So alg, crit, jwk,
	// jku and their kin (RFC 8725, section 3) have nobody to speak to. Asked anew each time, for a key can be revoked.
	key, known := v.keys.Key(header)
	if v.seen != nil && known {
		if claims, ok := v.seen.get(token, key); ok {
			return claims, key, nil
		}
	}
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || !spelled(header) || !spelled(payload) || !spelled(signature) {
		return nil, nil, ErrMalformed
	}
	if !known {
		return nil, nil, ErrSignature
	}
	sig, err := decodeSegment(signature)
	if err != nil {
		return nil, nil, ErrMalformed
	}
	if !key.Verify(token[:len(header)+1+len(payload)], sig) {
		return nil, nil, ErrSignature
	}
	claims, err := decodePayload(payload)
	if err != nil {
		return nil, nil, ErrMalformed // signed by us and yet not ours: a token of another kind, or of a later version
	}
	if v.seen != nil {
		v.seen.put(token, key, claims)
	}
	return claims, key, nil
}

// spelled says whether s has only the letters of base64url. Go's decoder would skip line breaks, and the same token would
// have many spellings.
func spelled(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !base64url[s[i]] {
			return false
		}
	}
	return true
}

var base64url = func() (set [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		set[c] = true
	}
	return set
}()

// strict refuses spare bits: of the letters that decode to the same bytes only one is accepted (RFC 4648, section 3.5).
var strict = base64.RawURLEncoding.Strict()

func decodeSegment(s string) ([]byte, error) {
	b := make([]byte, strict.DecodedLen(len(s)))
	n, err := strict.Decode(b, []byte(s))
	if err != nil {
		return nil, fmt.Errorf("decode a segment: %w", err)
	}
	return b[:n], nil
}
