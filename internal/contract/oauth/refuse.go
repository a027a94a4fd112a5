package oauth

import (
	"errors"
	"net/http"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

// What is wrong with a form that could be read.
var (
	errMethods        = request("The client is to be authenticated in one way, and once")
	errAssertionType  = request("The client_assertion_type is not supported")
	errIdempotencyKey = request("Invalid Idempotency-Key")
	errGrantType      = invalid("This grant type is not supported")
)

// errRequest is the RFC's invalid_request: whoever gets it has built the request wrongly.
var errRequest = invalid("")

func request(description string) *auth.Error { return errRequest.Saying(description) }
func missing(parameter string) *auth.Error {
	return request("The parameter " + parameter + " is missing")
}

func invalid(description string) *auth.Error {
	return &auth.Error{Kind: auth.Invalid, Reason: auth.ReasonMalformed, Msg: description}
}

// words are what the contract says for one failure: two constants of JSON that need no escapes.
type words struct{ code, description string }

func (s words) body() []byte {
	return []byte(`{"error":"` + s.code + `","error_description":"` + s.description + `"}`)
}

var badProof = words{"invalid_dpop_proof", auth.ErrBadProof.Msg}

// Refuse is the [web.Refuse] of protected calls, and of whatever is not found under /oauth/.
func (c *Contract) Refuse(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	if f.Cause.Kind == auth.Unauthenticated {
		c.bearer.Challenge(w.Header(), f.Cause)
	}
	_ = web.Reply(w, f.Status, say(f).body())
}

// refuseClient is the [web.Refuse] of the addresses that clients call.
func (c *Contract) refuseClient(w http.ResponseWriter, r *web.Request, err error) {
	f := web.Fail(w.Header(), r, err)
	said := say(f)
	switch {
	case errors.Is(err, auth.ErrBadCredential):
		w.Header()["Www-Authenticate"] = c.basic
		said = words{"invalid_client", "Client authentication failed"}
	case errors.Is(err, auth.ErrBadProof):
		f.Status, said = http.StatusBadRequest, badProof
	case f.Cause.Kind == auth.Unauthenticated: // the other secret that a client can send: its refresh token
		f.Status, said = http.StatusBadRequest, words{"invalid_grant", "The refresh token is not valid"}
	case errors.Is(err, errRequest):
		said.description = f.Cause.Msg
	case errors.Is(err, web.ErrSyntax):
		said.description = "The body is not a form, or names a parameter twice"
	case errors.Is(err, errGrantType):
		said = words{"unsupported_grant_type", f.Cause.Msg}
	case errors.Is(err, auth.ErrBadScope):
		said = words{"invalid_scope", f.Cause.Msg}
	case f.Status == http.StatusUnsupportedMediaType:
		said.description = "Content-Type must be application/x-www-form-urlencoded"
	}
	_ = web.Reply(w, f.Status, said.body())
}

// say is the contract's table of failures, as far as all its addresses and routes share it.
func say(f web.Failure) words {
	switch f.Status {
	case http.StatusUnauthorized:
		if errors.Is(f.Cause, auth.ErrBadProof) {
			return badProof
		}
		return words{"invalid_token", "The access token is missing or not valid"}
	case http.StatusForbidden:
		if f.Cause.Reason == auth.ReasonInsufficientScope {
			return words{"insufficient_scope", "Insufficient scope"}
		}
		return words{"access_denied", "IP address not authorized"}
	case http.StatusTooManyRequests:
		return words{"temporarily_unavailable", "Too many requests"}
	case http.StatusServiceUnavailable:
		return words{"temporarily_unavailable", "Service temporarily unavailable"}
	case http.StatusNotFound:
		return words{"invalid_request", "Not found"}
	case http.StatusMethodNotAllowed:
		return words{"invalid_request", "Method not allowed"}
	case http.StatusRequestEntityTooLarge:
		return words{"invalid_request", "Request body too large"}
	case http.StatusUnsupportedMediaType:
		return words{"invalid_request", "Unsupported media type"}
	case http.StatusBadGateway:
		return words{"server_error", "Bad gateway"}
	case http.StatusGatewayTimeout:
		return words{"server_error", "Gateway timeout"}
	}
	if f.Status < http.StatusInternalServerError {
		return words{"invalid_request", "Bad request"}
	}
	return words{"server_error", "Internal server error"}
}
