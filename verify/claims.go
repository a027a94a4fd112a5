package verify

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Claims are what a token says, in the order they are written. All but the scope and the key are always there. Times are in seconds
// of Unix time (RFC 7519, section 2, NumericDate), whole.
type Claims struct {
	Issuer     string // iss
	Subject    string // sub: the account's number
	Audience   string // aud, one string
	IssuedAt   int64  // iat
	NotBefore  int64  // nbf
	Expires    int64  // exp
	AuthTime   int64  // auth_time: when the long-lived credential was last presented
	ID         string // jti
	Type       Type   // type
	Credential string // cid
	Session    string // sid: drawn by every exchange and login, carried on by every renewal and refresh
	Position   int64  // pos: a position in the change log
	Granted    string // scope, space-separated; "" if absent. What is left of it now is [Principal.Scope].
	Bound      string // cnf.jkt (RFC 9449, section 6.1): the thumbprint of the key that it is good with alone; "" if absent: a bearer token

	Account int64 // Subject as a number
}

// within says whether now lies in the token's time, give or take [Leeway].
func (c *Claims) within(now time.Time) error {
	ms := now.UnixMilli()
	leeway := Leeway.Milliseconds()
	switch {
	case ms+leeway < c.NotBefore*1000 || ms+leeway < c.IssuedAt*1000:
		return ErrNotYetValid
	case ms >= c.Expires*1000+leeway:
		return ErrExpired
	}
	return nil
}

// maxNumber is the largest whole number that every reader of JSON keeps exactly.
const maxNumber = 1<<53 - 1

// Append writes the claims as the JSON that tokens carry, and returns the longer buf. Every string must be printable ASCII
// without quote and backslash, every number between 0 and 2^53-1: whoever mints has made sure of it.
func (c *Claims) Append(buf []byte) []byte {
	text := func(name, value string) {
		buf = append(buf, name...)
		buf = append(buf, value...)
		buf = append(buf, '"')
	}
	number := func(name string, value int64) {
		buf = append(buf, name...)
		buf = strconv.AppendInt(buf, value, 10)
	}
	text(`{"iss":"`, c.Issuer)
	text(`,"sub":"`, c.Subject)
	text(`,"aud":"`, c.Audience)
	number(`,"iat":`, c.IssuedAt)
	number(`,"nbf":`, c.NotBefore)
	number(`,"exp":`, c.Expires)
	number(`,"auth_time":`, c.AuthTime)
	text(`,"jti":"`, c.ID)
	text(`,"type":"`, string(c.Type))
	text(`,"cid":"`, c.Credential)
	text(`,"sid":"`, c.Session)
	number(`,"pos":`, c.Position)
	if c.Granted != "" {
		text(`,"scope":"`, c.Granted)
	}
	if c.Bound != "" {
		text(`,"cnf":{"jkt":"`, c.Bound)
		buf = append(buf, '}')
	}
	return append(buf, '}')
}

var errClaims = errors.New("not the claims of one of our tokens")

func decodePayload(payload string) (*Claims, error) {
	b := make([]byte, base64.RawURLEncoding.DecodedLen(len(payload)))
	n, err := strict.Decode(b, []byte(payload))
	if err != nil {
		return nil, errClaims
	}
	return DecodeClaims(string(b[:n]))
}

// DecodeClaims reads exactly what [Claims.Append] writes, its members in any order: no white space, no escapes, no member
// twice, none unknown (a token that says more than this verifier understands may say something that limits it), no other
// types, all but scope and cnf present.
func DecodeClaims(s string) (*Claims, error) {
	c := new(Claims)
	var have uint
	p := parser{rest: s}
	if !p.skip('{') {
		return nil, errClaims
	}
	for {
		name, ok := p.text()
		if !ok || !p.skip(':') {
			return nil, errClaims
		}
		bit := c.member(&p, name)
		if bit == 0 || have&bit != 0 {
			return nil, errClaims
		}
		have |= bit
		if p.skip('}') {
			break
		}
		if !p.skip(',') {
			return nil, errClaims
		}
	}
	if p.rest != "" || have|1<<13|1<<14 != 1<<15-2 {
		return nil, errClaims
	}
	return c, c.consistent()
}

// member reads the value of the member called name and returns the bit that stands for it, 0 if it is not ours or not good.
func (c *Claims) member(p *parser, name string) uint {
	var ok bool
	var bit uint
	switch name {
	case "iss":
		c.Issuer, ok = p.text()
		bit = 1 << 1
	case "sub":
		c.Subject, ok = p.text()
		bit = 1 << 2
	case "aud":
		c.Audience, ok = p.text()
		bit = 1 << 3
	case "iat":
		c.IssuedAt, ok = p.number()
		bit = 1 << 4
	case "nbf":
		c.NotBefore, ok = p.number()
		bit = 1 << 5
	case "exp":
		c.Expires, ok = p.number()
		bit = 1 << 6
	case "auth_time":
		c.AuthTime, ok = p.number()
		bit = 1 << 7
	case "jti":
		c.ID, ok = p.text()
		bit = 1 << 8
	case "type":
		var t string
		t, ok = p.text()
		c.Type = Type(t)
		bit = 1 << 9
	case "cid":
		c.Credential, ok = p.text()
		bit = 1 << 10
	case "sid":
		c.Session, ok = p.text()
		bit = 1 << 11
	case "pos":
		c.Position, ok = p.number()
		bit = 1 << 12
	case "scope":
		c.Granted, ok = p.text()
		ok = ok && c.Granted != ""
		bit = 1 << 13
	case "cnf":
		c.Bound, ok = p.confirmation()
		bit = 1 << 14
	}
	if !ok {
		return 0
	}
	return bit
}

// consistent refuses what no mint of ours would have written, whoever signed it.
func (c *Claims) consistent() error {
	p := parser{rest: c.Subject}
	account, ok := p.number()
	if !ok || p.rest != "" || account == 0 {
		return errClaims
	}
	c.Account = account
	if c.Issuer == "" || c.Audience == "" || c.ID == "" || c.Credential == "" || c.Session == "" {
		return errClaims
	}
	switch c.Type {
	case AccessToken, OrderAPI, B2BAccess, OAuthAccess:
		return nil
	}
	return errClaims
}

// A parser reads the narrow JSON that our tokens are written in, from the left.
type parser struct{ rest string }

func (p *parser) skip(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// text reads a string of printable ASCII without escapes.
func (p *parser) text() (string, bool) {
	if !p.skip('"') {
		return "", false
	}
	end := strings.IndexByte(p.rest, '"')
	if end < 0 {
		return "", false
	}
	s := p.rest[:end]
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '\\' {
			return "", false
		}
	}
	p.rest = p.rest[end+1:]
	return s, true
}

// confirmation reads the one way in which our tokens are bound to a key: {"jkt":"…"}, the SHA-256 of RFC 7638 in base64url.
func (p *parser) confirmation() (string, bool) {
	if !p.skip('{') {
		return "", false
	}
	name, ok := p.text()
	if !ok || name != "jkt" || !p.skip(':') {
		return "", false
	}
	thumbprint, ok := p.text()
	return thumbprint, ok && len(thumbprint) == 43 && spelled(thumbprint) && p.skip('}')
}

// number reads a whole number from 0 to 2^53-1, without sign, fraction, exponent or leading zero.
func (p *parser) number() (int64, bool) {
	n, i := int64(0), 0
	for ; i < len(p.rest) && '0' <= p.rest[i] && p.rest[i] <= '9'; i++ {
		n = n*10 + int64(p.rest[i]-'0')
		if n > maxNumber {
			return 0, false
		}
	}
	if i == 0 || i > 1 && p.rest[0] == '0' {
		return 0, false
	}
	p.rest = p.rest[i:]
	return n, true
}
