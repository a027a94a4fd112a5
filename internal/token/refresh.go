package token

import (
	"strconv"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// refreshClaims are what a refresh token says: besides these nbf, which follows from iat, and type, which is always
// [RefreshType].
type refreshClaims struct {
	Issuer     string
	Subject    string
	Audience   string
	IssuedAt   int64
	Expires    int64
	ID         string
	Credential auth.CredentialID
	Session    auth.SessionID
	Generation int64
}

// append writes the claims as JSON. Every string is printable ASCII without quote and backslash.
func (c *refreshClaims) append(b []byte) []byte {
	b = append(append(b, `{"iss":"`...), c.Issuer...)
	b = append(append(b, `","sub":"`...), c.Subject...)
	b = append(append(b, `","aud":"`...), c.Audience...)
	b = strconv.AppendInt(append(b, `","iat":`...), c.IssuedAt, 10)
	b = strconv.AppendInt(append(b, `,"nbf":`...), c.IssuedAt-notBefore, 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), c.Expires, 10)
	b = append(append(b, `,"jti":"`...), c.ID...)
	b = append(b, `","type":"`+RefreshType+`","cid":"`...)
	b = append(b, c.Credential...)
	b = append(append(b, `","sid":"`...), c.Session...)
	b = strconv.AppendInt(append(b, `","gen":`...), c.Generation, 10)
	return append(b, '}')
}

// decodeRefresh reads exactly what append writes, to the letter: nobody but this package makes refresh tokens, or reads them.
func decodeRefresh(s string) (c refreshClaims, ok bool) {
	r := reader{rest: s, ok: true}
	c.Issuer = r.text(`{"iss":"`)
	c.Subject = r.text(`","sub":"`)
	c.Audience = r.text(`","aud":"`)
	c.IssuedAt = r.number(`","iat":`)
	r.number(`,"nbf":`)
	c.Expires = r.number(`,"exp":`)
	c.ID = r.text(`,"jti":"`)
	r.skip(`","type":"` + RefreshType)
	c.Credential = auth.CredentialID(r.text(`","cid":"`))
	c.Session = auth.SessionID(r.text(`","sid":"`))
	c.Generation = r.number(`","gen":`)
	r.skip("}")
	return c, r.ok && r.rest == "" && string(c.append(nil)) == s
}

// A reader takes what it expects off the front; once something else stands there, nothing is read any more.
type reader struct {
	rest string
	ok   bool
}

func (r *reader) skip(literal string) {
	rest, ok := strings.CutPrefix(r.rest, literal)
	r.rest, r.ok = rest, r.ok && ok
}

// text reads what follows literal up to a quote, and leaves the quote.
func (r *reader) text(literal string) string {
	r.skip(literal)
	end := strings.IndexByte(r.rest, '"')
	if !r.ok || end < 0 {
		r.ok = false
		return ""
	}
	s := r.rest[:end]
	r.rest = r.rest[end:]
	return s
}

// number reads the whole number that follows literal.
func (r *reader) number(literal string) int64 {
	r.skip(literal)
	end := 0
	for end < len(r.rest) && '0' <= r.rest[end] && r.rest[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(r.rest[:end], 10, 64)
	if !r.ok || err != nil {
		r.ok = false
		return 0
	}
	r.rest = r.rest[end:]
	return n
}
