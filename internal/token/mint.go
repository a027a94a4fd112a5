package token

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/verify"
)

// RefreshType is the type of refresh tokens. It is no [verify.Type]: no verifier of access tokens knows it.
const RefreshType = "B2B_REFRESH"

// refreshPath follows the issuer in the aud of refresh tokens.
const refreshPath = "/auth/refresh"

// notBefore is how long before iat a token is valid already, so that a verifier without leeway takes a fresh one.
const notBefore = 30

// An Order is what an access token is to say; the rest is the rings' own.
type Order struct {
	Account    auth.AccountID
	Credential auth.CredentialID
	Session    auth.SessionID
	Type       verify.Type
	Position   auth.Position
	Scope      string
	AuthTime   time.Time
	Expires    time.Time // whole seconds
	Audience   string    // "": the configured one; a renewed token keeps its old one's
	ID         string    // jti; "": one is drawn
	Bound      string    // the thumbprint of the key that it is bound to; "": a bearer token
}

// Mint signs a new access token that is issued at now.
func (r *Rings) Mint(o Order, now time.Time) (string, error) {
	if o.ID == "" {
		o.ID = secret.NewTokenID()
	}
	return r.mint(signerAt(r.state.Load().signing, now), o, now)
}

func (r *Rings) mint(s *signer, o Order, now time.Time) (string, error) {
	iat := now.Unix()
	claims := verify.Claims{
		Issuer: r.config.Issuer, Subject: o.Account.String(), Audience: o.Audience,
		IssuedAt: iat, NotBefore: iat - notBefore, Expires: o.Expires.Unix(), AuthTime: o.AuthTime.Unix(),
		ID: o.ID, Type: o.Type, Credential: string(o.Credential), Session: string(o.Session),
		Position: int64(o.Position), Granted: o.Scope, Bound: o.Bound,
	}
	if claims.Audience == "" {
		claims.Audience = r.config.Audience
	}
	var buf [640]byte
	return s.token(claims.Append(buf[:0]))
}

// token signs a payload: header, payload and signature in base64url (RFC 7515, section 7.1).
func (s *signer) token(payload []byte) (string, error) {
	out, err := s.jws(s.key.Header(), payload)
	return string(out), err
}

func (s *signer) jws(header string, payload []byte) ([]byte, error) {
	out := make([]byte, 0, len(header)+2+base64.RawURLEncoding.EncodedLen(len(payload))+base64.RawURLEncoding.EncodedLen(256))
	out = append(out, header...)
	out = append(out, '.')
	out = base64.RawURLEncoding.AppendEncode(out, payload)
	signature, err := s.sign(out)
	if err != nil {
		return nil, err
	}
	out = append(out, '.')
	return base64.RawURLEncoding.AppendEncode(out, signature), nil
}

// ErrNoPublicKey says that every signing key is a shared secret, so that nobody elsewhere could check a signature.
var ErrNoPublicKey = errors.New("no signing key is in the key set")

// Sign signs something other than a token for whoever has the key set: typ stands in its header, and no token's is the same.
// The key is the one that signs tokens, or, where that is a shared secret, the one before it that is not; without any the error
// is [ErrNoPublicKey].
func (r *Rings) Sign(typ string, payload []byte, now time.Time) ([]byte, error) {
	ring := slices.DeleteFunc(slices.Clone(r.state.Load().signing), func(s *signer) bool { return s.public == nil })
	if len(ring) == 0 {
		return nil, ErrNoPublicKey
	}
	s := signerAt(ring, now)
	return s.jws(s.key.HeaderOf(typ), payload)
}

// Revoked names the keys for access tokens that were revoked, as long as somebody may hold a token of theirs.
func (r *Rings) Revoked() []auth.KeyID {
	var ids []auth.KeyID
	for _, row := range r.state.Load().rows {
		if row.Ring == auth.SigningRing && !row.RevokedAt.IsZero() {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// A Pair is what a login or a refresh hands out.
type Pair struct{ Access, Refresh string }

// MintPair signs the pair of a session's present generation, its access token bound to a key of this thumbprint, "" to none.
// It is made of these alone, so the same row gives the same bytes, as often as it is asked. A key that the row names and that
// is gone is an error.
func (r *Rings) MintPair(row auth.Session, bound string) (Pair, error) {
	state := r.state.Load()
	access, refresh := find(state.signing, row.AccessKey), find(state.refresh, row.RefreshKey)
	if access == nil || refresh == nil {
		return Pair{}, auth.ErrEnded.From(fmt.Errorf("a key that signed generation %d of session %s was revoked", row.Generation, row.ID))
	}
	var p Pair
	var err error
	p.Access, err = r.mint(access, Order{
		Account: row.Account, Credential: row.Credential, Session: row.ID, Type: verify.B2BAccess,
		Position: row.Position, Scope: row.Scope, AuthTime: row.StartedAt, Expires: row.AccessExpires,
		ID: state.derivedID("access", row), Bound: bound,
	}, row.RotatedAt)
	if err != nil {
		return Pair{}, err
	}
	claims := refreshClaims{
		Issuer: r.config.Issuer, Subject: row.Account.String(), Audience: r.config.Issuer + refreshPath,
		IssuedAt: row.RotatedAt.Unix(), Expires: row.Expires.Unix(), ID: state.derivedID("refresh", row),
		Credential: row.Credential, Session: row.ID, Generation: row.Generation,
	}
	var buf [512]byte
	p.Refresh, err = refresh.token(claims.append(buf[:0]))
	return p, err
}

func find(ring []*signer, id auth.KeyID) *signer {
	for _, s := range ring {
		if s.id == id {
			return s
		}
	}
	return nil
}

// derivedID is the jti of one token of a session's generation: the same whenever it is asked for, and to be guessed by nobody.
func (s *state) derivedID(which string, row auth.Session) string {
	sum := s.derived.Sum("jti", which, string(row.ID), strconv.FormatInt(row.Generation, 10))
	return base64.RawURLEncoding.EncodeToString(sum[:sha256.Size/2])
}

// A Refresh is what a refresh token, found authentic, says of itself. Whether it is good its session knows.
type Refresh struct {
	Account    auth.AccountID
	Credential auth.CredentialID
	Session    auth.SessionID
	Generation int64
	Expires    time.Time

	claims refreshClaims
}

// Claims are what the token says, as far as access tokens say it too. Its type, [RefreshType], is none of theirs.
func (r Refresh) Claims() *verify.Claims {
	c := r.claims
	return &verify.Claims{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, IssuedAt: c.IssuedAt, NotBefore: c.IssuedAt - notBefore, Expires: c.Expires,
		ID: c.ID, Type: RefreshType, Credential: string(c.Credential), Session: string(c.Session), Account: int64(r.Account),
	}
}

// ParseRefresh reads a refresh token of one of the issuers. It sees the refresh ring alone: an access token is no refresh
// token under any key. It does not look at the time: a session has no leeway, and its row has the last word. The error is
// [auth.ErrBadRefresh] with a reason.
func (r *Rings) ParseRefresh(token string, issuers []string) (Refresh, error) {
	malformed := auth.ErrBadRefresh.Because(auth.ReasonMalformed)
	if len(token) > verify.MaxLength || strings.Count(token, ".") != 2 || strings.ContainsAny(token, "\r\n") {
		return Refresh{}, malformed
	}
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	key, ok := r.state.Load().refHead[header]
	if !ok {
		if _, access := r.Key(header); access {
			return Refresh{}, auth.ErrBadRefresh.Because(auth.ReasonTokenWrongType)
		}
		return Refresh{}, auth.ErrBadRefresh.Because(auth.ReasonSignature)
	}
	sig, err := strict.DecodeString(signature)
	if err != nil {
		return Refresh{}, malformed
	}
	if !key.Verify(token[:len(header)+1+len(payload)], sig) {
		return Refresh{}, auth.ErrBadRefresh.Because(auth.ReasonSignature)
	}
	body, err := strict.DecodeString(payload)
	if err != nil {
		return Refresh{}, malformed
	}
	c, ok := decodeRefresh(string(body))
	if !ok {
		return Refresh{}, malformed
	}
	account, err := strconv.ParseInt(c.Subject, 10, 64)
	if err != nil {
		return Refresh{}, malformed
	}
	for _, issuer := range issuers {
		if c.Issuer == issuer && c.Audience == issuer+refreshPath {
			return Refresh{
				Account: auth.AccountID(account), Credential: c.Credential, Session: c.Session,
				Generation: c.Generation, Expires: time.Unix(c.Expires, 0), claims: c,
			}, nil
		}
	}
	return Refresh{}, auth.ErrBadRefresh.Because(auth.ReasonTokenForeign)
}

// strict refuses spare bits, as verify does.
var strict = base64.RawURLEncoding.Strict()
