package gateway

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// What became of a token that was asked for in band. The last two are also the values of X-Auth-Refresh.
const (
	Renewed            = "ok"
	RenewalRefused     = "refused"     // the credential is dead, or the time of renewal over
	RenewalUnavailable = "unavailable" // it could not be decided, or the answer could not carry it
)

const (
	headerRenewal = "X-Auth-Refresh"

	// The member that asks and the member that is given.
	asking = "refresh"
	given  = "auth"
)

// mostHeld is how much white space after the object is kept back, in bytes.
const mostHeld = 4 << 10

// decidedFor is how long a decision stands that was made with the head of the answer. After that it is made anew, with the
// facts of the answer's end.
const decidedFor = time.Second

// A renewal is what may become of one call whose body may ask for a new token. It watches the request's body on its way to
// the API and the answer's on its way back, and holds neither.
type renewal struct {
	c *call

	// The request's body, seen by whoever sends it to the API, in a goroutine of its own.
	request scanner
	left    int64        // of the body; below zero: nobody knows
	asked   atomic.Int32 // notYetKnown, until asks or doesNotAsk; the one word between the two goroutines

	// The answer's body, seen by whoever reads it.
	io.ReadCloser
	res     *http.Response
	answer  scanner
	held    []byte // the object's brace and what follows it
	passing bool   // nothing is looked at or held back any more
	pending []byte // what is given to the reader before anything else
	err     error  // and then this

	decided time.Time // when grant was given; zero: not yet
	grant   auth.Grant
}

const (
	notYetKnown = iota
	asks
	doesNotAsk
)

// watch has the call's body watched, if by its token and its headers it may ask for a new token.
func (c *call) watch() {
	h := c.r.Header
	if c.who.Claims == nil || c.who.Type != verify.AccessToken || c.r.ContentLength == 0 || !plainJSON(h) {
		return
	}
	c.renewal = &renewal{
		c: c, left: c.r.ContentLength,
		request: scanner{name: asking, most: 1}, answer: scanner{name: given},
	}
}

// plainJSON says whether a body with these headers is JSON as it stands.
func plainJSON(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) != 1 || len(h["Content-Encoding"]) != 0 {
		return false
	}
	mediaType, _, _ := strings.Cut(types[0], ";")
	mediaType = strings.Trim(mediaType, " \t")
	const application, suffix = "application/", "+json"
	if len(mediaType) < len(application) || !strings.EqualFold(mediaType[:len(application)], application) {
		return false
	}
	subtype := mediaType[len(application):]
	if strings.EqualFold(subtype, "json") {
		return true
	}
	bare := len(subtype) - len(suffix)
	return bare > 0 && strings.EqualFold(subtype[bare:], suffix) && !strings.ContainsAny(subtype, " \t,\"()/:<=>?@[\\]{}")
}

// sent sees a piece of the request's body go to the API, and what the reading of it said. The body's last byte is not sent
// before it is known whether it asks, if its length was said ahead.
func (a *renewal) sent(p []byte, err error) {
	if a.asked.Load() != notYetKnown {
		return
	}
	a.request.scan(p)
	if a.left >= 0 {
		a.left -= int64(len(p))
	}
	switch {
	case a.request.hopeless(), err != nil && err != io.EOF: //nolint:errorlint // io.EOF is never wrapped by a Reader
		a.asked.Store(doesNotAsk)
	case err == nil && a.left != 0:
	case a.request.complete():
		a.asked.Store(asks)
	default:
		a.asked.Store(doesNotAsk)
	}
}

// ofWholeBody are headers that would be wrong of an answer with a member more.
var ofWholeBody = []string{
	"Content-Length", "Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges",
}

// headCame makes ready the answer, whose head is about to go out, for what it may have to carry.
func (a *renewal) headCame(res *http.Response) {
	asked := a.asked.Load()
	if asked == doesNotAsk {
		return
	}
	delete(res.Header, headerRenewal) // ours to say
	if !canCarry(a.c.r.Method, res) {
		if asked == asks {
			res.Header[headerRenewal] = []string{RenewalUnavailable}
		}
		return
	}
	if asked == asks {
		if outcome, err := a.decide(); err != nil {
			a.c.g.renewed(outcome, err)
			res.Header[headerRenewal] = []string{outcome}
			return
		}
	}
	for _, name := range ofWholeBody {
		delete(res.Header, name)
		delete(res.Trailer, name)
	}
	res.Header["Cache-Control"] = []string{"no-store"}
	a.res, a.ReadCloser, res.Body = res, res.Body, a
}

// canCarry says whether an answer, by its head, can have a member more.
func canCarry(method string, res *http.Response) bool {
	switch s := res.StatusCode; s {
	case http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent, http.StatusNotModified:
		return false
	default:
		return s >= http.StatusOK && method != http.MethodHead && plainJSON(res.Header)
	}
}

// decide asks for the new token, unless that was done a moment ago.
func (a *renewal) decide() (outcome string, err error) {
	now := a.c.g.now()
	if !a.decided.IsZero() && now.Sub(a.decided) < decidedFor {
		return Renewed, nil
	}
	grant, err := a.c.g.gate.Renew(a.c.r.Context(), a.c.who)
	if err != nil {
		if auth.AsError(err).Kind == auth.Unauthenticated {
			return RenewalRefused, err
		}
		return RenewalUnavailable, err
	}
	a.grant, a.decided = grant, now
	return Renewed, nil
}

// Read is the answer's body. What is held back of it is the brace that closes the object and the white space after it, until
// the API has said that nothing more comes.
func (a *renewal) Read(p []byte) (int, error) {
	for {
		if len(a.pending) > 0 {
			return a.give(p, 0), nil
		}
		if a.err != nil {
			return 0, a.err
		}
		n, err := a.ReadCloser.Read(p)
		n = a.hold(p[:n])
		switch {
		case err == nil:
		case err == io.EOF: //nolint:errorlint // as above, and what wraps it is no end
			a.err = io.EOF
			a.end()
		default:
			// It broke off. The reader is not to take what it has for a whole object.
			a.held, a.pending, a.err = nil, nil, err
			return n, err
		}
		if n = a.give(p, n); n > 0 || len(p) == 0 {
			return n, nil
		}
	}
}

// hold looks at a piece of the answer and returns how much of it may go on.
func (a *renewal) hold(p []byte) int {
	if a.passing {
		return len(p)
	}
	open := a.answer.scan(p)
	a.held = append(a.held, p[open:]...)
	if a.answer.hopeless() || len(a.held) > 1+mostHeld {
		a.passing, a.pending, a.held = true, a.held, nil
	}
	return open
}

// give adds what is pending to the n bytes that are in p already.
func (a *renewal) give(p []byte, n int) int {
	m := copy(p[n:], a.pending)
	a.pending = a.pending[m:]
	return n + m
}

// end sees the end of the answer. If a new token was asked for, and the answer is an object that has no such member, it gets
// one.
func (a *renewal) end() {
	for _, name := range ofWholeBody {
		delete(a.res.Trailer, name)
	}
	if a.passing {
		return
	}
	a.pending, a.held = a.held, nil
	if !a.answer.complete() || a.asked.Load() != asks {
		return
	}
	outcome, err := a.decide()
	a.c.g.renewed(outcome, err)
	if err == nil {
		a.pending = append(a.member(), a.pending...)
	}
}

// member is what the answer gets: the new token as the last member of the object.
func (a *renewal) member() []byte {
	b := make([]byte, 0, len(a.grant.Token)+128)
	if a.answer.members {
		b = append(b, ',')
	}
	b = append(b, `"auth":{"token":"`...)
	b = append(b, a.grant.Token...) // base64url and dots
	b = append(b, `","type":"`...)
	b = append(b, a.grant.Type...)
	b = append(b, `","exp":`...)
	b = strconv.AppendInt(b, a.grant.Expires.UnixMilli(), 10)
	return append(b, '}')
}
