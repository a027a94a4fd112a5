package remote

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gatehouse/gatehouse/verify"
)

// Want is what a handler asks of a token.
type Want struct {
	Types  []verify.Type // of one of them; with none every token is of another type
	Scopes []string      // with all of them
}

// Handler lets to next only calls with a good bearer token (RFC 6750) of what is wanted, and lets it know whose it is:
// [FromContext]. Others are answered 401 or 403 with WWW-Authenticate, or 503 when what was revoked is not known for long
// enough to say. Exactly one Authorization header counts, and nothing in the URL or the body.
//
// A token that is bound to a key (the claim cnf) is no bearer token, and is refused.
func (v *Verifier) Handler(want Want, next http.Handler) http.Handler {
	realm := `Bearer realm="` + quoted(v.config.Realm) + `"`
	scopes := quoted(strings.Join(want.Scopes, " "))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, sent := bearer(r.Header.Values("Authorization"))
		if token == "" {
			challenge := realm
			if sent {
				challenge += invalid("The access token is not valid")
			}
			refuse(w, http.StatusUnauthorized, challenge)
			return
		}
		who, err := v.Verify(token, want.Types)
		switch {
		case errors.Is(err, verify.ErrUnknown):
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, "")
		case err != nil:
			refuse(w, http.StatusUnauthorized, realm+invalid(describe(err)))
		case !who.HasScopes(want.Scopes):
			refuse(w, http.StatusForbidden, realm+`, error="insufficient_scope", error_description="Insufficient scope", scope="`+scopes+`"`)
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principal{}, who)))
		}
	})
}

type principal struct{}

// FromContext returns whose call it is, within what [Verifier.Handler] let in.
func FromContext(ctx context.Context) (verify.Principal, bool) {
	who, ok := ctx.Value(principal{}).(verify.Principal)
	return who, ok
}

// bearer returns the token of an Authorization header, "" if there is none or it is given in a way that is not ours, and
// whether one was sent at all. It reads as the gateway does.
func bearer(values []string) (token string, sent bool) {
	if len(values) != 1 {
		return "", len(values) > 1
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimLeft(token, " "), true
}

func invalid(description string) string {
	return `, error="invalid_token", error_description="` + description + `"`
}

// describe says of a token what its bearer may know, in the words of the gateway.
func describe(err error) string {
	switch {
	case errors.Is(err, verify.ErrExpired):
		return "The access token expired"
	case errors.Is(err, verify.ErrRevoked):
		return "The access token was revoked"
	case errors.Is(err, verify.ErrWrongType):
		return "The access token is of another type"
	}
	return "The access token is not valid"
}

var bodies = map[int]string{
	http.StatusUnauthorized:       `{"error":"invalid_token","error_description":"The access token is missing or not valid"}`,
	http.StatusForbidden:          `{"error":"insufficient_scope","error_description":"Insufficient scope"}`,
	http.StatusServiceUnavailable: `{"error":"temporarily_unavailable","error_description":"Service temporarily unavailable"}`,
}

func refuse(w http.ResponseWriter, status int, challenge string) {
	h := w.Header()
	if challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(bodies[status]))
}

// quoted is s as it can stand in quotes (RFC 9110, section 5.6.4).
func quoted(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c < ' ' || c > '~':
			b.WriteByte('?')
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
