// Package oauth speaks contract 4, OAuth 2, as far as it goes yet: the key set that others verify our tokens with, and the
// words for what goes wrong under /oauth/ and at routes that ask for them. It only translates; which keys there are is for
// token to say.
//
// The invariant: an error has a code of the RFCs, and a description that is printable ASCII without quote and backslash
// (RFC 6749, section 5.2).
package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// KeySetPath is where the key set is (RFC 7517).
const KeySetPath = "/.well-known/jwks.json"

// A Contract speaks contract 4.
type Contract struct{ bearer *web.Bearer }

// New returns a Contract that names this realm in its challenges.
func New(realm string) *Contract { return &Contract{bearer: web.NewBearer(realm)} }

// KeySet is the address of the key set. body is the JSON of the keys there are now, and maxAge how long others may keep it:
// no longer than a key is published before it is used. Errors there are told as where no route matches.
func KeySet(body func() []byte, maxAge time.Duration) web.Address {
	cacheControl := []string{"public, max-age=" + strconv.FormatInt(max(0, int64(maxAge/time.Second)), 10)}
	get := func(w http.ResponseWriter, r *web.Request) error {
		keys := body()
		sum := sha256.Sum256(keys)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
		h := w.Header()
		h["Cache-Control"] = cacheControl
		h["Etag"] = []string{tag}
		if matches(r.Header["If-None-Match"], tag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		return web.Reply(w, http.StatusOK, keys)
	}
	return web.Address{Path: KeySetPath, Methods: map[string]web.Handler{http.MethodGet: get}}
}

// matches says whether one of the values of If-None-Match names tag (RFC 9110, section 13.1.2: weak comparison).
func matches(values []string, tag string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			one = strings.TrimSpace(one)
			if one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// Refuse is the [web.Refuse] of protected calls, and of whatever is not found under /oauth/.
func (c *Contract) Refuse(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	if f.Cause.Kind == auth.Unauthenticated {
		c.bearer.Challenge(w.Header(), f.Cause)
	}
	code, description := say(f)
	_ = web.Reply(w, f.Status, []byte(`{"error":"`+code+`","error_description":"`+description+`"}`))
}

func say(f web.Failure) (code, description string) {
	switch f.Status {
	case http.StatusUnauthorized:
		return "invalid_token", "The access token is missing or not valid"
	case http.StatusForbidden:
		if f.Cause.Reason == auth.ReasonInsufficientScope {
			return "insufficient_scope", "Insufficient scope"
		}
		return "access_denied", "IP address not authorized"
	case http.StatusTooManyRequests:
		return "temporarily_unavailable", "Too many requests"
	case http.StatusServiceUnavailable:
		return "temporarily_unavailable", "Service temporarily unavailable"
	case http.StatusNotFound:
		return "invalid_request", "Not found"
	case http.StatusMethodNotAllowed:
		return "invalid_request", "Method not allowed"
	case http.StatusRequestEntityTooLarge:
		return "invalid_request", "Request body too large"
	case http.StatusUnsupportedMediaType:
		return "invalid_request", "Unsupported media type"
	case http.StatusBadGateway:
		return "server_error", "Bad gateway"
	case http.StatusGatewayTimeout:
		return "server_error", "Gateway timeout"
	}
	if f.Status < http.StatusInternalServerError {
		return "invalid_request", "Bad request"
	}
	return "server_error", "Internal server error"
}
