package web

import (
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A Request is one request as the floor has prepared it.
type Request struct {
	*http.Request
	// Path is the one canonical path, escaped as it is forwarded, and RawQuery what followed the question mark. URL says
	// the same, except after [Request.About]. Both are empty if the path was refused.
	Path, RawQuery string
	Caller         auth.Caller
	// Seen is what is told of the request when it is over. Handlers fill in what they learn; the floor fills in the rest.
	// Its Status is what was answered, unless a handler says that the answer stands for another.
	Seen auth.Observation
	// Refuse is whose words an error is told in. Whoever finds the route sets it, and Seen.Contract with it.
	Refuse Refuse

	floor  *Floor
	writer *writer
	reader *reader // of the answer, as far as browsers keep answers from readers; nil: nothing is said of it
}

// A Handler parses, calls one method, replies. An error that it returns is answered by the request's Refuse; it has
// written nothing then, or else the connection is broken.
type Handler func(w http.ResponseWriter, r *Request) error

// A Refuse writes err in one contract's words: status, headers, envelope.
type Refuse func(w http.ResponseWriter, r *Request, err error)

// About makes r about another call, one that its sender was given and asks us about: its path and query, whose words errors
// are told in, and what is observed are that call's from then on. The embedded request stays what was sent. The error is
// that of [CheckPath] for target.
func (r *Request) About(method, host, target string) error {
	r.Caller.Method, r.Caller.Host, r.Seen.Route = Printable(method), Printable(host), ""
	path, query, err := CheckPath(target)
	if err != nil {
		r.floor.unrouted(r, target)
		return err
	}
	r.floor.routed(r, path, query)
	return nil
}

// Granted notes what was handed out.
func (r *Request) Granted(g *auth.Grant) {
	r.Seen.Subject = auth.Subject{Account: g.Account, Credential: g.Credential, Secret: g.Secret, Session: g.Session}
	r.Seen.Type = g.Type
	r.Seen.Limit = auth.Tighter(r.Seen.Limit, g.Limit)
	r.Seen.Replayed = g.Replayed
}

// Observe notes that the request would have been refused with err and is let through.
func (r *Request) Observe(err error) {
	before := r.Seen.Reason
	r.note(err)
	r.Seen.Observed, r.Seen.Reason = r.Seen.Reason, before
}

// note fills in what err says of the request.
func (r *Request) note(err error) {
	f := failure(err)
	r.Seen.Reason = f.Cause.Reason
	r.Seen.Limit = auth.Tighter(r.Seen.Limit, f.Cause.Limit)
	if f.Cause.About != (auth.Subject{}) {
		r.Seen.Subject = f.Cause.About
	}
	if !f.Cause.IssuedAt.IsZero() {
		r.Seen.IssuedAt = f.Cause.IssuedAt
	}
	if f.Status >= http.StatusInternalServerError && r.Seen.Err == nil {
		r.Seen.Err = err
	}
}

// awaitBody gives the request's body so long to arrive; 0: for ever. net/http sets the deadline anew for each request.
func (r *Request) awaitBody(within time.Duration) {
	if r.writer == nil {
		return
	}
	var deadline time.Time
	if within != 0 {
		deadline = time.Now().Add(within) // the kernel's clock: a deadline of sockets knows no other
	}
	// A writer without deadlines is one of a test.
	_ = http.NewResponseController(r.writer.ResponseWriter).SetReadDeadline(deadline)
}

// maxShown is the most of a text of the caller's that is kept, in bytes.
const maxShown = 256

// Printable returns s as it can stand in a log or on a page: at most 256 bytes, and U+FFFD for whatever is no printable
// character.
func Printable(s string) string {
	plain := len(s) <= maxShown
	for i := 0; plain && i < len(s); i++ {
		plain = ' ' <= s[i] && s[i] <= '~'
	}
	if plain {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if !unicode.IsPrint(c) {
			c = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(c) > maxShown {
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}
