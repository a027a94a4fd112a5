package auth

import (
	"errors"
	"strings"
	"time"
)

// An ErrorKind is what a caller can do about an error. The zero kind is Internal, so what nobody classified is never shown.
type ErrorKind int

// The kinds of errors.
const (
	Internal        ErrorKind = iota // nothing: it is our fault
	Invalid                          // mend the request
	Unauthenticated                  // present a good credential or token
	Forbidden                        // ask for permission
	NotFound
	Conflict
	Limited     // come back later: too many requests
	Unavailable // come back later: a check or a write could not be made
)

// A Reason says why somebody was refused, for the operator: in logs, metrics, the audit, explain and the docs. The list is
// fixed.
type Reason string

// The reasons.
const (
	ReasonNone              Reason = ""
	ReasonNoCredential      Reason = "no_credential"
	ReasonMalformed         Reason = "malformed"
	ReasonChecksum          Reason = "checksum"
	ReasonUnknown           Reason = "unknown"
	ReasonWrongSecret       Reason = "wrong_secret"
	ReasonWrongEnvironment  Reason = "wrong_environment"
	ReasonExpired           Reason = "expired"
	ReasonRevoked           Reason = "revoked"
	ReasonAccountSuspended  Reason = "account_suspended"
	ReasonAddressNotAllowed Reason = "address_not_allowed"
	ReasonRateLimited       Reason = "rate_limited"
	ReasonTokenExpired      Reason = "token_expired"
	ReasonTokenNotYetValid  Reason = "token_not_yet_valid"
	ReasonTokenRevoked      Reason = "token_revoked"
	ReasonTokenWrongType    Reason = "token_wrong_type"
	ReasonTokenForeign      Reason = "token_foreign"
	ReasonSignature         Reason = "signature"
	ReasonInsufficientScope Reason = "insufficient_scope"
	ReasonRefreshRaced      Reason = "refresh_raced"
	ReasonRefreshReused     Reason = "refresh_reused"
	ReasonNoRoute           Reason = "no_route"
	ReasonOverloaded        Reason = "overloaded"
	ReasonUpstream          Reason = "upstream"
)

// Reasons lists every reason, in the order of the docs.
var Reasons = []Reason{
	ReasonNoCredential, ReasonMalformed, ReasonChecksum, ReasonUnknown, ReasonWrongSecret, ReasonWrongEnvironment,
	ReasonExpired, ReasonRevoked, ReasonAccountSuspended, ReasonAddressNotAllowed, ReasonRateLimited, ReasonTokenExpired,
	ReasonTokenNotYetValid, ReasonTokenRevoked, ReasonTokenWrongType, ReasonTokenForeign, ReasonSignature,
	ReasonInsufficientScope, ReasonRefreshRaced, ReasonRefreshReused, ReasonNoRoute, ReasonOverloaded, ReasonUpstream,
}

// An Error is a refusal or a failure. Kind is for the caller, Reason and Err are for the operator, Msg is what the caller
// may read where a contract has no words of its own.
type Error struct {
	Kind       ErrorKind
	Reason     Reason
	Msg        string
	Err        error
	About      Subject       // as far as it is known
	Limit      Limit         // what the limiter found
	RetryAfter time.Duration // for Limited and Unavailable; 0: the contract's own choice
	// TokenSent says that a bearer token was sent and is what is wrong, and ClockOffset what it shows of the caller's
	// clock: RFC 6750, section 3.1, and explain.
	TokenSent bool
	// Proof says that the token came with a DPoP proof, or should have: RFC 9449, section 7.1.
	Proof    bool
	IssuedAt time.Time
	// Scope is what a token of the admin API would need and does not have: RFC 6750, section 3.1.
	Scope string
	// Position is that of the change which came of the refusal, as when a reused refresh token ends its session; 0: none.
	Position Position

	is *Error // the sentinel this came from
}

// Sentinels. Compare with [errors.Is]; give a reason with [Error.Because].
var (
	// ErrBadCredential is every failure of a credential as presented: what is wrong is told by the reason, and to nobody
	// but the operator.
	ErrBadCredential = &Error{Kind: Unauthenticated, Msg: "Invalid credentials"}
	// ErrBadToken is every failure of an access token.
	ErrBadToken = &Error{Kind: Unauthenticated, Msg: "The access token is not valid"}
	// ErrBadProof is a DPoP proof that shows nothing.
	ErrBadProof = &Error{Kind: Unauthenticated, Msg: "The DPoP proof is not valid", TokenSent: true, Proof: true}
	// ErrBadRefresh is a refresh token that is none of ours, or of a session that is unknown or expired.
	ErrBadRefresh = &Error{Kind: Unauthenticated, Reason: ReasonMalformed, Msg: "Invalid refresh token"}
	// ErrSpent is the previous refresh token within the leeway: the client raced with itself.
	ErrSpent = &Error{Kind: Unauthenticated, Reason: ReasonRefreshRaced, Msg: "Invalid refresh token"}
	// ErrReused is an older refresh token: somebody kept a copy.
	ErrReused = &Error{Kind: Unauthenticated, Reason: ReasonRefreshReused, Msg: "Invalid refresh token"}
	// ErrEnded is a refresh token of a session that has ended.
	ErrEnded = &Error{Kind: Unauthenticated, Reason: ReasonRevoked, Msg: "Invalid refresh token"}
	// ErrAddressNotAllowed is a good credential or token from an address that its account does not allow.
	ErrAddressNotAllowed = &Error{Kind: Forbidden, Reason: ReasonAddressNotAllowed, Msg: "IP address not authorized"}
	// ErrBadScope is a request for a scope that whoever asks does not have.
	ErrBadScope = &Error{Kind: Invalid, Reason: ReasonInsufficientScope, Msg: "The client does not have this scope"}
	// ErrInsufficientScope is a good token without a scope that is asked for.
	ErrInsufficientScope = &Error{Kind: Forbidden, Reason: ReasonInsufficientScope, Msg: "Insufficient scope"}
	// ErrRateLimited is one request too many.
	ErrRateLimited = &Error{Kind: Limited, Reason: ReasonRateLimited, Msg: "Too many requests"}
	// ErrOverloaded is a check or a write that could not be made now.
	ErrOverloaded = &Error{Kind: Unavailable, Reason: ReasonOverloaded, Msg: "Service temporarily unavailable"}
	// ErrInvalid is a request that cannot be meant.
	ErrInvalid = &Error{Kind: Invalid, Reason: ReasonMalformed, Msg: "Invalid request"}
	// ErrNotFound is the name of something that does not exist.
	ErrNotFound = &Error{Kind: NotFound, Reason: ReasonUnknown, Msg: "Not found"}
	// ErrStepUp is something that wants a fresh proof of who asks: whoever gives it may do it.
	ErrStepUp = &Error{Kind: Forbidden, Msg: "Confirm that it is you first"}
	// ErrConflict is a change that what is there does not allow.
	ErrConflict = &Error{Kind: Conflict, Msg: "Conflict"}
	// ErrChanged is a change of what is not any more as its changer believes.
	ErrChanged = &Error{Kind: Conflict, Msg: "It has changed since"}
	// ErrDone is an act under an Idempotency-Key under which one was done already: see [Once].
	ErrDone = &Error{Kind: Conflict, Msg: "It was done already"}
)

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Msg)
	if e.Reason != "" {
		b.WriteString(" (")
		b.WriteString(string(e.Reason))
		b.WriteString(")")
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Is says whether target is the sentinel that e came from.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && (e == t || e.is != nil && e.is == t)
}

func (e *Error) copy() *Error {
	c := *e
	if c.is == nil {
		c.is = e
	}
	return &c
}

// Because returns a copy of e with a reason for the operator.
func (e *Error) Because(r Reason) *Error {
	c := e.copy()
	c.Reason = r
	return c
}

// Of returns a copy of e that says what it is about.
func (e *Error) Of(s Subject) *Error {
	c := e.copy()
	c.About = s
	return c
}

// With returns a copy of e that says what the limiter found, where that is tighter than what e says already.
func (e *Error) With(l Limit) *Error {
	c := e.copy()
	c.Limit = Tighter(c.Limit, l)
	return c
}

// From returns a copy of e that wraps err for the log.
func (e *Error) From(err error) *Error {
	c := e.copy()
	c.Err = err
	return c
}

// Saying returns a copy of e with another message for the caller.
func (e *Error) Saying(msg string) *Error {
	c := e.copy()
	c.Msg = msg
	return c
}

// AsError returns the *Error in err's chain. What is none is Internal.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Msg: "Internal server error", Err: err}
}
