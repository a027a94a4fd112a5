package web

import (
	"errors"
	"net/http"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A StatusError is a refusal of HTTP's own, which no kind of [auth.Error] stands for: 400 (path or framing), 404, 405, 413,
// 415, 502, 504.
type StatusError struct {
	Status int
	Allow  string // of a 405: the methods there are
	Err    error  // for the log
}

func (e *StatusError) Error() string {
	s := http.StatusText(e.Status)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *StatusError) Unwrap() error { return e.Err }

// cause says in the core's words what HTTP's status says.
func (e *StatusError) cause() *auth.Error {
	c := &auth.Error{Kind: auth.Invalid, Reason: auth.ReasonMalformed, Msg: http.StatusText(e.Status), Err: e.Err}
	switch e.Status {
	case http.StatusNotFound:
		c.Kind, c.Reason = auth.NotFound, auth.ReasonNoRoute
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		c.Kind, c.Reason = auth.Internal, auth.ReasonUpstream
	case http.StatusServiceUnavailable:
		c.Kind, c.Reason = auth.Unavailable, auth.ReasonOverloaded
	case http.StatusInternalServerError:
		c.Kind, c.Reason = auth.Internal, auth.ReasonNone
	}
	return c
}

// ErrSyntax is a body that is empty, no JSON, or JSON that we do not take.
var ErrSyntax = &auth.Error{Kind: auth.Invalid, Reason: auth.ReasonMalformed, Msg: "Invalid request body"}

// A Failure is an error as every contract sees it: what it is to the core, and the status that it has in all contracts that
// have no other of their own.
type Failure struct {
	Status int
	Allow  string
	Cause  *auth.Error // never nil
}

var statuses = [...]int{
	auth.Internal:        http.StatusInternalServerError,
	auth.Invalid:         http.StatusBadRequest,
	auth.Unauthenticated: http.StatusUnauthorized,
	auth.Forbidden:       http.StatusForbidden,
	auth.NotFound:        http.StatusNotFound,
	auth.Conflict:        http.StatusConflict,
	auth.Limited:         http.StatusTooManyRequests,
	auth.Unavailable:     http.StatusServiceUnavailable,
}

func failure(err error) Failure {
	var s *StatusError
	if errors.As(err, &s) {
		return Failure{Status: s.Status, Allow: s.Allow, Cause: s.cause()}
	}
	e := auth.AsError(err)
	f := Failure{Status: http.StatusInternalServerError, Cause: e}
	if e.Kind >= 0 && int(e.Kind) < len(statuses) {
		f.Status = statuses[e.Kind]
	}
	return f
}

// Fail reads err and sets the headers that are the same in all contracts: RateLimit and RateLimit-Policy, Retry-After,
// Allow. The contract's Refuse adds its own, and its envelope.
func Fail(h http.Header, r *Request, err error) Failure {
	f := failure(err)
	limit := auth.Tighter(r.Caller.Limit, f.Cause.Limit)
	WriteLimit(h, limit)
	switch f.Status {
	case http.StatusTooManyRequests:
		writeRetryAfter(h, max(f.Cause.RetryAfter, limit.RetryAfter))
	case http.StatusServiceUnavailable:
		writeRetryAfter(h, f.Cause.RetryAfter)
	case http.StatusMethodNotAllowed:
		h["Allow"] = []string{f.Allow}
	}
	return f
}
