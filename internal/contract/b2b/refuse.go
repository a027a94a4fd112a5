package b2b

import (
	"errors"
	"net/http"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// What is wrong with a body or a header that could be read.
var (
	errNoLogin        = invalid("Username and password are required")
	errNoRefreshToken = invalid("Refresh token is required")
	errIdempotencyKey = invalid("Invalid Idempotency-Key")
)

func invalid(message string) *auth.Error {
	return &auth.Error{Kind: auth.Invalid, Reason: auth.ReasonMalformed, Msg: message}
}

// words are what the contract says for one failure: three constants of JSON that need no escapes.
type words struct{ name, code, message string }

func (s words) body() []byte {
	return []byte(`{"error":{"name":"` + s.name + `","code":"` + s.code + `","message":"` + s.message + `"}}`)
}

func unauthorized(message string) words {
	return words{"UnauthorizedError", "UNAUTHORIZED", message}
}

func tooMany(message string) words {
	return words{"TooManyRequestsError", "TOO_MANY_REQUESTS", message}
}

// Refuse is the [web.Refuse] of protected calls, of logout, and of whatever is not found under /auth/.
func (c *Contract) Refuse(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	if f.Cause.Kind == auth.Unauthenticated {
		c.bearer.Challenge(w.Header(), f.Cause)
	}
	_ = web.Reply(w, f.Status, say(f, err).body())
}

// refuseLogin is the [web.Refuse] of login.
func (c *Contract) refuseLogin(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	said := say(f, err)
	switch f.Cause.Kind {
	case auth.Unauthenticated:
		c.bearer.ChallengeNone(w.Header()) // every 401 has one (RFC 9110, section 15.5.2)
		said = unauthorized("Invalid credentials")
	case auth.Limited:
		said = tooMany("Too many login attempts. Please try again later.")
	}
	_ = web.Reply(w, f.Status, said.body())
}

// refuseRefresh is the [web.Refuse] of refresh.
func (c *Contract) refuseRefresh(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	said := say(f, err)
	if f.Cause.Kind == auth.Unauthenticated {
		c.bearer.ChallengeNone(w.Header()) // the token was no bearer token
		said = unauthorized("Invalid refresh token")
	}
	_ = web.Reply(w, f.Status, said.body())
}

// say is the contract's table of failures, as far as all its addresses and routes share it.
func say(f web.Failure, err error) words {
	switch f.Status {
	case http.StatusBadRequest:
		switch {
		case errors.Is(err, web.ErrSyntax):
			return words{"SyntaxError", "SYNTAX_ERROR", "Invalid request body"}
		case errors.Is(err, errNoLogin), errors.Is(err, errNoRefreshToken), errors.Is(err, errIdempotencyKey):
			return words{"ValidationException", "VALIDATION_FAILURE", f.Cause.Msg}
		}
	case http.StatusUnauthorized:
		return unauthorized("Authentication required")
	case http.StatusForbidden:
		if f.Cause.Reason == auth.ReasonInsufficientScope {
			return words{"ForbiddenError", "FORBIDDEN", "Insufficient scope"}
		}
		return words{"ForbiddenError", "FORBIDDEN", "IP address not authorized"}
	case http.StatusNotFound:
		return words{"NotFoundError", "NOT_FOUND", "Not found"}
	case http.StatusMethodNotAllowed:
		return words{"MethodNotAllowedError", "METHOD_NOT_ALLOWED", "Method not allowed"}
	case http.StatusRequestEntityTooLarge:
		return words{"PayloadTooLargeError", "PAYLOAD_TOO_LARGE", "Request body too large"}
	case http.StatusUnsupportedMediaType:
		return words{"UnsupportedMediaTypeError", "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json"}
	case http.StatusTooManyRequests:
		return tooMany("Too many requests. Please try again later.")
	case http.StatusBadGateway:
		return words{"BadGatewayError", "BAD_GATEWAY", "Bad gateway"}
	case http.StatusServiceUnavailable:
		return words{"ServiceUnavailableError", "SERVICE_UNAVAILABLE", "Service temporarily unavailable"}
	case http.StatusGatewayTimeout:
		return words{"GatewayTimeoutError", "GATEWAY_TIMEOUT", "Gateway timeout"}
	}
	if f.Status < http.StatusInternalServerError {
		return words{"BadRequestError", "BAD_REQUEST", "Bad request"}
	}
	return words{"InternalServerError", "INTERNAL_SERVER_ERROR", "Internal server error"}
}
