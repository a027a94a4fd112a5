package admin

import (
	"errors"
	"net/http"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/web"
)

// A fault is a failure of this API's own.
type fault struct{ code, detail string }

func (f *fault) Error() string { return f.detail }

func failing(status int, code, detail string) error {
	return &web.StatusError{Status: status, Err: &fault{code, detail}}
}

// What only this API knows to be wrong.
var (
	errChanged   = failing(http.StatusPreconditionFailed, "precondition_failed", "It has changed since: read it again, and give its present ETag as If-Match")
	errOtherBody = failing(http.StatusUnprocessableEntity, "idempotency_mismatch", "This Idempotency-Key was used for another request: draw a new one for each")
	errAnew      = failing(http.StatusBadRequest, "invalid", "Each such request is done: leave Idempotency-Key out")
	errKey       = failing(http.StatusBadRequest, "invalid", "An Idempotency-Key is given once, and is 16 to 128 visible characters of ASCII")
	errCondition = failing(http.StatusBadRequest, "invalid", "Nothing would be compared with this condition. If-Match is taken by changes to what has an ETag, and If-None-Match by no change: leave it out")
	errCursor    = failing(http.StatusBadRequest, "invalid_cursor", "This cursor leads nowhere: it is not one that this list gave you for this question. Begin at the list's beginning")
)

// titles are what each code is called.
var titles = map[string]string{
	"invalid":                "The request cannot be meant",
	"invalid_cursor":         "The cursor is not one of this list",
	"no_token":               "An operator token is needed",
	"invalid_token":          "The operator token is not valid",
	"forbidden":              "The token's role does not allow this",
	"insufficient_scope":     "The token's scopes do not allow this",
	"not_found":              "There is no such thing",
	"method_not_allowed":     "The address does not know this method",
	"conflict":               "What is there does not allow this",
	"precondition_failed":    "It has changed",
	"too_large":              "The body is too large",
	"unsupported_media_type": "The body is not JSON",
	"idempotency_mismatch":   "The Idempotency-Key belongs to another request",
	"rate_limited":           "Too many failures",
	"internal":               "The server failed",
	"unavailable":            "The server cannot do this now",
}

// Type is the reference (RFC 3986, section 4.2) that names a sort of failure, and leads to an example of it in the document.
func Type(code string) string { return Path + "/openapi.yaml#/components/examples/" + code }

// Refuse is the [web.Refuse] of the API: problem details (RFC 9457).
func (c *Contract) Refuse(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	code, detail := c.say(f, err)
	if f.Status == http.StatusUnauthorized {
		c.bearer.Challenge(w.Header(), f.Cause)
	}
	if code == "insufficient_scope" {
		w.Header()["Www-Authenticate"] = []string{web.ScopeChallenge(c.Realm, f.Cause.Scope)}
	}
	body, _ := encode(api.Problem{ // which cannot fail: it is text
		Type: Type(code), Title: titles[code], Status: f.Status, Detail: detail, Instance: r.Caller.RequestID, Code: code,
	})
	reply(w, f.Status, "application/problem+json", body)
}

// say is the API's table of failures.
func (c *Contract) say(f web.Failure, err error) (code, detail string) {
	var own *fault
	if errors.As(err, &own) {
		return own.code, own.detail
	}
	detail = f.Cause.Msg
	switch f.Status {
	case http.StatusUnauthorized:
		if !f.Cause.TokenSent {
			return "no_token", detail
		}
		return "invalid_token", "The operator token is not one of this server's, or has expired or was revoked"
	case http.StatusForbidden:
		if f.Cause.Scope != "" {
			return "insufficient_scope", detail
		}
		return "forbidden", detail
	case http.StatusNotFound:
		return "not_found", detail
	case http.StatusMethodNotAllowed:
		return "method_not_allowed", "Allow says which methods the address knows"
	case http.StatusConflict:
		return "conflict", detail
	case http.StatusRequestEntityTooLarge:
		return "too_large", "A body is at most 64 KiB"
	case http.StatusUnsupportedMediaType:
		return "unsupported_media_type", "Content-Type must be application/json"
	case http.StatusTooManyRequests:
		return "rate_limited", detail
	case http.StatusServiceUnavailable:
		return "unavailable", detail
	}
	if f.Status < http.StatusInternalServerError {
		return "invalid", detail
	}
	return "internal", "It is not the request's fault; the server's log says more, under this request's id"
}
