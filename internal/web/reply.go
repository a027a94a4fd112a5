package web

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Values of headers that never change. Their capacity is their length, so that whoever appends to one gets a copy.
var (
	jsonType = []string{"application/json; charset=utf-8"}
	noSniff  = []string{"nosniff"}
	noStore  = []string{"no-store"}
)

// netBuffer is how much of a body net/http keeps back; a body that fits in it gets its Content-Length from there.
const netBuffer = 2048

// Reply answers with a body of JSON. It is not to be stored, unless Cache-Control says otherwise already: nearly all that we
// say is a token, or an error about one. What went wrong while writing is the caller's to notice, not ours.
func Reply(w http.ResponseWriter, status int, body []byte) error {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["X-Content-Type-Options"] = noSniff
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = noStore
	}
	if len(body) > netBuffer {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// WriteLimit sets RateLimit-Policy and RateLimit (the draft of IETF's httpapi group: structured fields, RFC 9651) from what
// the limiter found; nothing if there is no limit.
func WriteLimit(h http.Header, l auth.Limit) {
	if l.Name == "" {
		return
	}
	var buf [192]byte
	b := appendQuoted(buf[:0], l.Name)
	name := len(b)
	b = strconv.AppendInt(append(b, ";q="...), max(0, l.Quota), 10)
	b = strconv.AppendInt(append(b, ";w="...), seconds(l.Window), 10)
	policy := len(b)
	b = append(b, b[:name]...)
	b = strconv.AppendInt(append(b, ";r="...), max(0, l.Remaining), 10)
	b = strconv.AppendInt(append(b, ";t="...), seconds(l.Reset), 10)
	both := string(b)
	values := []string{both[:policy], both[policy:]}
	h["Ratelimit-Policy"] = values[:1:1]
	h["Ratelimit"] = values[1:]
}

// writeRetryAfter sets Retry-After, in whole seconds (RFC 9110, section 10.2.3), at least one: 0 would have them come back at
// once.
func writeRetryAfter(h http.Header, after time.Duration) {
	h["Retry-After"] = []string{strconv.FormatInt(max(1, seconds(after)), 10)}
}

// seconds rounds up.
func seconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

// appendQuoted appends s in quotes, as a quoted-string (RFC 9110, section 5.6.4) and a string of structured fields both
// have it. What neither can hold becomes a question mark.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			b = append(b, '?')
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// A Bearer writes the challenges of RFC 6750, section 3, and, where a token is to come with a proof, of RFC 9449, section 7.1.
type Bearer struct{ bearer, dpop challenges }

// challenges are the values of WWW-Authenticate for one scheme, by what is wrong.
type challenges struct {
	none, expired, revoked, otherType, invalid, badProof []string
}

// NewBearer returns the challenges of one realm.
func NewBearer(realm string) *Bearer {
	return &Bearer{
		bearer: newChallenges("Bearer", realm, ""),
		dpop:   newChallenges("DPoP", realm, `, algs="`+strings.Join(auth.SigningAlgorithms, " ")+`"`),
	}
}

func newChallenges(scheme, realm, more string) challenges {
	bare := string(appendQuoted([]byte(scheme+" realm="), realm))
	because := func(code, description string) []string {
		return []string{bare + `, error="` + code + `", error_description="` + description + `"` + more}
	}
	return challenges{
		none:      []string{bare + more},
		expired:   because("invalid_token", "The access token expired"),
		revoked:   because("invalid_token", "The access token was revoked"),
		otherType: because("invalid_token", "The access token is of another type"),
		invalid:   because("invalid_token", "The access token is not valid"),
		badProof:  because("invalid_dpop_proof", auth.ErrBadProof.Msg),
	}
}

// Challenge sets WWW-Authenticate. It says what is wrong with the token if one was sent, and nothing if none was.
func (b *Bearer) Challenge(h http.Header, e *auth.Error) {
	said := &b.bearer
	if e.Proof {
		said = &b.dpop
	}
	value := said.invalid
	switch {
	case !e.TokenSent:
		value = said.none
	case errors.Is(e, auth.ErrBadProof):
		value = said.badProof
	case e.Reason == auth.ReasonTokenExpired:
		value = said.expired
	case e.Reason == auth.ReasonTokenWrongType:
		value = said.otherType
	case e.Reason == auth.ReasonTokenRevoked, e.Reason == auth.ReasonRevoked, e.Reason == auth.ReasonExpired,
		e.Reason == auth.ReasonAccountSuspended:
		value = said.revoked
	}
	h["Www-Authenticate"] = value
}

// ChallengeNone sets WWW-Authenticate where no access token is asked for, whatever was sent.
func (b *Bearer) ChallengeNone(h http.Header) { h["Www-Authenticate"] = b.bearer.none }

// ScopeChallenge returns the value of WWW-Authenticate for a bearer token that lacks a scope (RFC 6750, section 3.1).
func ScopeChallenge(realm, scope string) string {
	b := appendQuoted([]byte("Bearer realm="), realm)
	return string(appendQuoted(append(b, `, error="insufficient_scope", scope=`...), scope))
}

// BasicChallenge returns the value of WWW-Authenticate for the scheme Basic (RFC 7617, section 2.1).
func BasicChallenge(realm string) string {
	return string(appendQuoted([]byte("Basic realm="), realm)) + `, charset="UTF-8"`
}
