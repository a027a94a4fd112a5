package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
)

// What an [Error] is about, by errors.Is.
var (
	// ErrKeyNotFound: the API key is unknown, malformed, of the other environment, revoked or expired, or its account is
	// suspended (contract 1).
	ErrKeyNotFound = errors.New("API key not found")
	// ErrInvalidCredentials: user ID, username, client id or the secret is wrong, dead, or its account suspended.
	ErrInvalidCredentials = errors.New("invalid credentials")
	// ErrInvalidRefreshToken: a refresh token is expired, revoked or used already. A [Client] logs in again by itself.
	ErrInvalidRefreshToken = errors.New("invalid refresh token")
	// ErrUnauthorized: a call had no good token. One of the next four says why, if the server did.
	ErrUnauthorized   = errors.New("no good token")
	ErrTokenExpired   = errors.New("the access token expired")
	ErrTokenRevoked   = errors.New("the access token was revoked")
	ErrTokenWrongType = errors.New("the access token is of another type than the address takes")
	ErrTokenInvalid   = errors.New("the access token is not valid")
	// ErrAddressNotAllowed: this machine's address is not on the account's list.
	ErrAddressNotAllowed = errors.New("address not allowed")
	// ErrInsufficientScope: the token lacks a scope that the route asks for.
	ErrInsufficientScope = errors.New("insufficient scope")
	// ErrInvalidScope: a scope was asked for that the client does not have (contract 4).
	ErrInvalidScope = errors.New("invalid scope")
	// ErrBadRequest: 400 for another reason; Code and Message say which.
	ErrBadRequest           = errors.New("bad request")
	ErrNotFound             = errors.New("not found")
	ErrMethodNotAllowed     = errors.New("method not allowed")
	ErrPayloadTooLarge      = errors.New("payload too large")
	ErrUnsupportedMediaType = errors.New("unsupported media type")
	// ErrTooManyRequests: wait for RetryAfter.
	ErrTooManyRequests = errors.New("too many requests")
	ErrInternal        = errors.New("internal server error")
	ErrBadGateway      = errors.New("bad gateway")
	// ErrUnavailable: a check could not be made; wait for RetryAfter.
	ErrUnavailable    = errors.New("service unavailable")
	ErrGatewayTimeout = errors.New("gateway timeout")
	// ErrLoggedOut: this [Client] was logged out, and gets no more tokens.
	ErrLoggedOut = errors.New("logged out")
	// ErrBadAnswer: what answered does not speak the contract. Is BaseURL right?
	ErrBadAnswer = errors.New("the answer is not as the contract has it")
)

// A Contract is one of the ways to speak to the server.
type Contract int

// The contracts. In an [Error] 0 is none of them: the answer is in nobody's words, such as an API's own.
const (
	Liquid Contract = 1 + iota // API keys
	Orders                     // user ID and password, in the words of Liquid
	B2B                        // username and password
	OAuth                      // OAuth 2
)

// An Error is an answer that is no success. It matches this package's Err values by errors.Is, and its text has the request
// id, by which whoever runs the server finds out more.
type Error struct {
	Contract   Contract // in whose words it is; calls that are answered as Orders does are Liquid
	Status     int      // of HTTP
	Code       string   // Liquid, Orders: statusCode, "5000"; B2B: code, "UNAUTHORIZED"; OAuth: error, "invalid_client"
	Message    string   // the server's, for people; "" if it might repeat a secret
	Reason     string   // of a 401: error_description of its challenge, "The access token expired"
	RequestID  string
	RetryAfter time.Duration // 0: the server said none
	about      []error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(e.Status))
	switch {
	case e.Message != "":
		b.WriteString(" " + e.Message)
	case e.Code != "" && e.Code != strconv.Itoa(e.Status):
		b.WriteString(" " + e.Code)
	default:
		b.WriteString(" " + http.StatusText(e.Status))
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, " (again in %v)", e.RetryAfter)
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// Is implements errors.Is for this package's Err values.
func (e *Error) Is(target error) bool { return slices.Contains(e.about, target) }

// Check returns nil if res is no error (its status is below 400), else an [*Error] that says what it is. Of the body it
// looks at 64 KiB at most, and puts them back.
func Check(res *http.Response) error {
	if res.StatusCode < http.StatusBadRequest {
		return nil
	}
	var head []byte
	if res.Body != nil {
		head, _ = io.ReadAll(io.LimitReader(res.Body, 64<<10))
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	}
	return newError(0, res.StatusCode, res.Header, head, time.Now(), nil)
}

// newError reads an answer that is no success. asked is the contract it was asked in, 0 for a call. now is for one without a
// Date.
func newError(asked Contract, status int, h http.Header, body []byte, now time.Time, secrets []string) *Error {
	e := &Error{Status: status, RetryAfter: retryAfter(h, now)}
	e.Contract, e.Code, e.Message = words(body)
	if e.Contract == Liquid && asked == Orders {
		e.Contract = Orders
	}
	e.RequestID = told(h.Get("X-Request-Id"), secrets)
	e.Code, e.Message = told(e.Code, secrets), told(e.Message, secrets)
	if status == http.StatusUnauthorized {
		e.Reason = told(challenge(h, "error_description"), secrets)
	}
	e.about = e.classify()
	return e
}

// words finds out in whose words a body is.
func words(body []byte) (of Contract, code, message string) {
	var b struct {
		api.LiquidAnswer
		Failure     json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	if json.Unmarshal(body, &b) != nil {
		return 0, "", ""
	}
	var failure api.B2BFailure
	switch {
	case b.StatusCode != 0 && b.Errors != nil:
		return Liquid, strconv.Itoa(b.StatusCode), b.Message
	case json.Unmarshal(b.Failure, &failure) == nil && failure.Code != "":
		return B2B, failure.Code, failure.Message
	case json.Unmarshal(b.Failure, &code) == nil && code != "":
		return OAuth, code, b.Description
	}
	return 0, "", ""
}

// longestWord is longer than any word of ours, and shorter than any secret.
const longestWord = 24

// told returns s, or "" if it should not be told on: it is no plain text, is long, or could be a secret that came back.
func told(s string, secrets []string) string {
	if len(s) > 200 {
		return ""
	}
	word := 0
	for _, c := range s {
		if word++; c == ' ' {
			word = 0
		}
		if c < ' ' || c > '~' || word > longestWord {
			return ""
		}
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(s, secret) {
			return ""
		}
	}
	return s
}

// challenge returns a parameter of the Bearer challenge of a 401 (RFC 6750, section 3). Ours have no escapes in them.
func challenge(h http.Header, name string) string {
	for _, value := range h.Values("WWW-Authenticate") {
		scheme, rest, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		for part := range strings.SplitSeq(rest, ",") {
			key, quoted, _ := strings.Cut(strings.TrimSpace(part), "=")
			if strings.EqualFold(key, name) {
				return strings.Trim(quoted, `"`)
			}
		}
	}
	return ""
}

const wrongType = "The access token is of another type"

// reasons are what a challenge may say of a token.
var reasons = map[string]error{
	"The access token expired":      ErrTokenExpired,
	"The access token was revoked":  ErrTokenRevoked,
	wrongType:                       ErrTokenWrongType,
	"The access token is not valid": ErrTokenInvalid,
}

// classify is the tables of the contracts, as what a caller can do about each row.
func (e *Error) classify() []error {
	switch e.Status {
	case http.StatusBadRequest:
		switch e.Code {
		case "5000":
			return []error{ErrKeyNotFound}
		case "invalid_scope":
			return []error{ErrInvalidScope}
		case "invalid_grant":
			return []error{ErrInvalidRefreshToken}
		}
		return []error{ErrBadRequest}
	case http.StatusUnauthorized:
		switch {
		case e.Message == "Invalid credentials" || e.Code == "invalid_client":
			return []error{ErrInvalidCredentials}
		case e.Message == "Invalid refresh token":
			return []error{ErrInvalidRefreshToken}
		}
		if why := reasons[e.Reason]; why != nil {
			return []error{ErrUnauthorized, why}
		}
		return []error{ErrUnauthorized}
	case http.StatusForbidden:
		switch {
		case e.Message == "IP address not authorized" || e.Code == "access_denied":
			return []error{ErrAddressNotAllowed}
		case e.Message == "Insufficient scope" || e.Code == "insufficient_scope":
			return []error{ErrInsufficientScope}
		}
		return nil
	}
	if one := statuses[e.Status]; one != nil {
		return []error{one}
	}
	return nil
}

// statuses are the rows that are the same in every contract.
var statuses = map[int]error{
	http.StatusNotFound:              ErrNotFound,
	http.StatusMethodNotAllowed:      ErrMethodNotAllowed,
	http.StatusRequestEntityTooLarge: ErrPayloadTooLarge,
	http.StatusUnsupportedMediaType:  ErrUnsupportedMediaType,
	http.StatusTooManyRequests:       ErrTooManyRequests,
	http.StatusInternalServerError:   ErrInternal,
	http.StatusBadGateway:            ErrBadGateway,
	http.StatusServiceUnavailable:    ErrUnavailable,
	http.StatusGatewayTimeout:        ErrGatewayTimeout,
}

// retryAfterOf is the Retry-After of the answer that err is about, 0 if there was none.
func retryAfterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3), seconds or a date, which is seen from the answer's own Date, or
// without one from now. It is never negative, and 0 if there is none that can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.Trim(h.Get("Retry-After"), " \t")
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		const most = 1 << 31 // as RFC 9111, section 1.2.2, has it for such seconds
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > most {
			n = most
		}
		return time.Duration(n) * time.Second
	}
	until, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(0, until.Sub(now))
}
