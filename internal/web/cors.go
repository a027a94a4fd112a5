package web

import (
	"net/http"
	"slices"
	"strings"
)

// CORS says which pages' scripts may call and read the answers (Fetch, section 3.2). Only browsers ask for it: it opens what
// they keep closed, and keeps nobody out.
type CORS struct {
	// Origins are those of the pages, exactly as browsers send them. None: no page may.
	Origins []string
	// Headers are those that a script may send. What browsers add by themselves to prove who somebody is, cookies for
	// instance, never may come along.
	Headers []string
	// Methods returns the path of the routes for a request's host and path, and the methods that they take, as
	// Access-Control-Allow-Methods has them; both "" if there is none. nil: there are no routes.
	Methods func(*Request) (route, methods string)
}

// Values of headers that never change, as those in reply.go.
var (
	varyOrigin = []string{"Origin"}
	maxAge     = []string{"600"}
	exposed    = []string{"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Auth-Refresh"}
)

// A cors is a CORS ready for use; nil: there are no origins.
type cors struct {
	readers map[string]*reader // by origin
	nobody  *reader
	headers []string
	methods func(*Request) (route, methods string)
}

// A reader is the origin that may read an answer, as Access-Control-Allow-Origin has it; empty: none may.
type reader struct{ origin []string }

func newCORS(c CORS) *cors {
	if len(c.Origins) == 0 {
		return nil
	}
	made := &cors{readers: make(map[string]*reader, len(c.Origins)), nobody: &reader{}, methods: c.Methods}
	for _, origin := range c.Origins {
		made.readers[origin] = &reader{[]string{origin}}
	}
	var names []string
	for _, name := range c.Headers {
		if !slices.ContainsFunc(names, func(known string) bool { return strings.EqualFold(known, name) }) {
			names = append(names, name)
		}
	}
	made.headers = []string{strings.Join(names, ", ")}
	return made
}

// crossOrigin writes into the head of the answer to come who may read it, and answers r itself, and says so, if it is a
// preflight from one who may. r is for the address a, or for the routes if that is nil.
func (c *cors) crossOrigin(w *writer, r *Request, a *own) (answered bool) {
	if c == nil || a == nil && c.methods == nil || a != nil && !a.CrossOrigin {
		return false
	}
	r.reader = c.nobody
	if from := c.reader(r); from != nil {
		route, methods := r.Seen.Route, ""
		if a != nil {
			methods = a.notAllowed.Allow
		} else {
			route, methods = c.methods(r)
		}
		switch {
		case methods == "": // nothing is there
		case r.Method == http.MethodOptions && len(r.Header["Access-Control-Request-Method"]) == 1:
			r.Seen.Route = route
			c.preflight(w, r, from, methods)
			return true
		default:
			r.reader = from
		}
	}
	r.WriteCORS(w.Header())
	return false
}

// reader is who may read the answer to r: the one origin that it names, nil if that is none of ours.
func (c *cors) reader(r *Request) *reader {
	origins := r.Header["Origin"]
	if len(origins) != 1 {
		return nil
	}
	return c.readers[origins[0]]
}

// preflight answers a browser that asks before it lets a script send something.
func (c *cors) preflight(w *writer, r *Request, from *reader, methods string) {
	if r.ContentLength != 0 {
		r.awaitBody(BodyTime) // as when an error is answered
	}
	h := w.Header()
	h["Vary"] = varyOrigin
	h["Access-Control-Allow-Origin"] = from.origin
	h["Access-Control-Allow-Methods"] = []string{methods}
	h["Access-Control-Allow-Headers"] = c.headers
	h["Access-Control-Max-Age"] = maxAge
	w.WriteHeader(http.StatusNoContent)
}

// WriteCORS writes into h who may read the answer to r: what the floor has written already, for whoever lost it since.
func (r *Request) WriteCORS(h http.Header) {
	if r.reader == nil {
		return
	}
	h["Vary"] = varyOrigin
	if len(r.reader.origin) > 0 {
		h["Access-Control-Allow-Origin"] = r.reader.origin
		h["Access-Control-Expose-Headers"] = exposed
	}
}

// DropCORS removes from h whatever it tells browsers of who may read.
func DropCORS(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
}
