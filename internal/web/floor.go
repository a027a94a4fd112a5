// Package web is the HTTP floor that every answer stands on: the request ID, the path check, our own addresses before the
// routes, one place where an error becomes an answer, one where a panic does, and one observation of every request. It
// knows no contract: whose words an error is told in is handed to it.
//
// The invariant: what lies above sees a request only with its one canonical path, and every request that net/http accepts
// gets exactly one answer, with a request ID, and is observed exactly once.
package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// BodyTime is how long the body of a request to one of our own addresses may take to arrive.
const BodyTime = 10 * time.Second

// An Address is one of our own, served before any route.
type Address struct {
	Path string // canonical
	// Prefix: the address is every path under Path as well, by whole segments, unless that is an address of its own.
	Prefix  bool
	Methods map[string]Handler // by exact method: HEAD is not GET
	Any     Handler            // for the methods that Methods does not name; nil: they are refused
	// From says whose requests the address is there for. To others nothing tells it from one that is unknown. nil:
	// everybody's.
	From func(*Request) bool
	// Contract and Refuse say whose words errors are told in. Without Refuse it is as where no route matches.
	Contract auth.Contract
	Refuse   Refuse
	// Limited addresses are attempts: each call is charged to the caller's address before anything else is looked at.
	Limited bool
	Did     string // one of auth's Did constants; "" stands for DidOther
	// CrossOrigin addresses may be called by pages of the origins that CORS names.
	CrossOrigin bool
}

// A Fallback says in whose words errors are told under a prefix where no address and no route has words of its own.
type Fallback struct {
	Prefix   string
	Contract auth.Contract
	Refuse   Refuse
}

// Config is what a [Floor] is made of.
type Config struct {
	Own []Address
	// Next serves what is none of our own addresses: the routes. nil: everything else is 404.
	Next Handler
	// Fallbacks are tried in order. The last one must have the prefix "", so that every path has one.
	Fallbacks []Fallback
	// Resolve finds the caller's address and the peer's, and X-Forwarded-For as it came.
	Resolve func(*http.Request) (address, peer netip.Addr, forwarded string)
	// Attempt charges the caller's address for one attempt and writes into the caller what the limiter found. nil: there is
	// no such limit.
	Attempt func(*auth.Caller) error
	// Look finds the same limit without charging it, for what is refused before it is an attempt: another method. nil: there
	// is no such limit.
	Look func(*auth.Caller)
	// CORS is for the routes and for those of our own addresses that are CrossOrigin. Zero: no page of another origin may
	// call.
	CORS CORS
	// Observe is told of every request once, when it is over. It must not keep the observation. nil: nobody listens.
	Observe func(*auth.Observation)
	Now     func() time.Time // nil means time.Now
}

// A Floor serves HTTP.
type Floor struct {
	own       map[string]*own
	prefixes  []*own // those of them that are prefixes, the longest first
	next      Handler
	fallbacks []Fallback
	resolve   func(*http.Request) (netip.Addr, netip.Addr, string)
	attempt   func(*auth.Caller) error
	look      func(*auth.Caller)
	cors      *cors
	observe   func(*auth.Observation)
	now       func() time.Time
	dated     atomic.Pointer[dated]
}

// A dated is the value of Date for one second.
type dated struct {
	second int64
	value  []string
}

type own struct {
	Address
	notAllowed *StatusError
}

// New returns a Floor. An address twice, one that is not canonical or answers no method, or a path that nobody has words for
// is an error.
func New(c Config) (*Floor, error) {
	f := &Floor{
		own: make(map[string]*own, len(c.Own)), next: c.Next, fallbacks: c.Fallbacks, resolve: c.Resolve,
		attempt: c.Attempt, look: c.Look, cors: newCORS(c.CORS), observe: c.Observe, now: c.Now,
	}
	if f.now == nil {
		f.now = time.Now
	}
	if f.resolve == nil {
		return nil, errors.New("web: nobody says where callers are")
	}
	if len(c.Fallbacks) == 0 || c.Fallbacks[len(c.Fallbacks)-1].Prefix != "" {
		return nil, errors.New(`web: the last fallback must be that of the prefix ""`)
	}
	for _, fallback := range c.Fallbacks {
		if fallback.Refuse == nil {
			return nil, fmt.Errorf("web: the fallback of %q has no words", fallback.Prefix)
		}
	}
	for _, a := range c.Own {
		if canonical, query, err := CheckPath(a.Path); err != nil || canonical != a.Path || query != "" {
			return nil, fmt.Errorf("web: %q is not a canonical path", a.Path)
		}
		if f.own[a.Path] != nil {
			return nil, fmt.Errorf("web: the address %s stands there twice", a.Path)
		}
		if a.Prefix && strings.HasSuffix(a.Path, "/") {
			return nil, fmt.Errorf("web: the address %s is a prefix, and those have no slash at their end", a.Path)
		}
		if len(a.Methods) == 0 && a.Any == nil {
			return nil, fmt.Errorf("web: the address %s has no method", a.Path)
		}
		var methods []string
		for method, handler := range a.Methods {
			if handler == nil {
				return nil, fmt.Errorf("web: %s %s has no handler", method, a.Path)
			}
			methods = append(methods, method)
		}
		slices.Sort(methods)
		f.own[a.Path] = &own{a, &StatusError{Status: http.StatusMethodNotAllowed, Allow: strings.Join(methods, ", ")}}
		if a.Prefix {
			f.prefixes = append(f.prefixes, f.own[a.Path])
		}
	}
	slices.SortFunc(f.prefixes, func(a, b *own) int { return len(b.Path) - len(a.Path) })
	return f, nil
}

// address returns the one of our own addresses that path is, nil if it is none.
func (f *Floor) address(path string) *own {
	if a := f.own[path]; a != nil {
		return a
	}
	for _, a := range f.prefixes {
		if rest, ok := strings.CutPrefix(path, a.Path); ok && rest[0] == '/' {
			return a
		}
	}
	return nil
}

// ServeHTTP serves one request.
func (f *Floor) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	one := &request{}
	one.w.ResponseWriter = w
	defer f.finish(one)
	f.begin(one, w, hr)
	if err := f.serve(&one.w, &one.r); err != nil {
		f.refuse(&one.w, &one.r, err)
	}
}

// A request is all that the floor keeps of one, in one piece.
type request struct {
	r  Request
	w  writer
	id [1]string
}

// Own returns our own addresses, by their paths.
func (f *Floor) Own() []Address {
	var all []Address
	for _, path := range slices.Sorted(maps.Keys(f.own)) {
		all = append(all, f.own[path].Address)
	}
	return all
}

// begin fills in what is known before anything is looked at.
func (f *Floor) begin(one *request, w http.ResponseWriter, hr *http.Request) {
	r := &one.r
	r.Request, r.floor, r.writer = hr, f, &one.w
	one.w.date = f.date
	r.Seen.At, r.Seen.Did = f.now(), auth.DidOther
	one.id[0] = NewRequestID()
	w.Header()["X-Request-Id"] = one.id[:]
	r.Caller = auth.Caller{
		RequestID: one.id[0], Method: Printable(hr.Method), Host: Printable(hr.Host), UserAgent: Printable(hr.UserAgent()),
	}
	var forwarded string
	r.Caller.Address, r.Caller.Peer, forwarded = f.resolve(hr)
	r.Caller.Forwarded = Printable(forwarded)
}

// date is the value of Date now. Nobody writes to it: its capacity is its length.
func (f *Floor) date() []string {
	now := f.now()
	d := f.dated.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), []string{now.UTC().Format(http.TimeFormat)}}
		f.dated.Store(d)
	}
	return d.value
}

// unrouted fills in what can be said of a target that is no good.
func (f *Floor) unrouted(r *Request, target string) {
	raw, _, _ := strings.Cut(target, "?")
	r.Path, r.RawQuery, r.Caller.Path = "", "", Printable(raw)
	f.words(r, raw)
}

// routed fills in what a target says that is good.
func (f *Floor) routed(r *Request, path, query string) {
	r.Path, r.RawQuery, r.Caller.Path = path, query, Printable(path)
	f.words(r, path)
}

func (f *Floor) serve(w *writer, r *Request) error {
	path, query, err := CheckPath(r.RequestURI)
	if err != nil {
		f.unrouted(r, r.RequestURI)
		return err
	}
	if r.URL == nil || r.URL.Path != path || r.URL.RawPath != "" {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			f.unrouted(r, r.RequestURI)
			return &StatusError{Status: http.StatusBadRequest, Err: errPath}
		}
		u.RawQuery = query
		r.URL = u
	}
	f.routed(r, path, query)

	a := f.address(path)
	if a != nil && a.From != nil && !a.From(r) {
		a = nil
	}
	if a != nil {
		r.Seen.Route = a.Path
		if a.Refuse != nil {
			r.Refuse, r.Seen.Contract = a.Refuse, a.Contract
		}
	}
	if f.cors.crossOrigin(w, r, a) {
		return nil
	}
	if a == nil {
		if f.next == nil {
			return &StatusError{Status: http.StatusNotFound}
		}
		return f.next(w, r)
	}
	if a.Did != "" {
		r.Seen.Did = a.Did
	}
	handler := a.Methods[r.Method]
	if handler == nil {
		handler = a.Any
	}
	if handler == nil {
		if a.Limited && f.look != nil {
			f.look(&r.Caller)
		}
		return a.notAllowed
	}
	if r.ContentLength != 0 {
		r.awaitBody(BodyTime)
	}
	if a.Limited && f.attempt != nil {
		if err := f.attempt(&r.Caller); err != nil {
			return err
		}
	}
	return handler(w, r)
}

// words sets whose words errors are told in at path, until an address or a route says otherwise.
func (f *Floor) words(r *Request, path string) {
	for i := range f.fallbacks {
		if strings.HasPrefix(path, f.fallbacks[i].Prefix) {
			r.Refuse, r.Seen.Contract = f.fallbacks[i].Refuse, f.fallbacks[i].Contract
			return
		}
	}
}

// refuse answers err, if that is still possible.
func (f *Floor) refuse(w *writer, r *Request, err error) {
	r.note(err)
	if w.status != 0 {
		// The head is out. What follows it must not pass for a whole answer.
		panic(http.ErrAbortHandler)
	}
	if r.ContentLength != 0 && !errors.Is(err, os.ErrDeadlineExceeded) { // it may have been given up already
		r.awaitBody(BodyTime) // net/http reads what is left of a body before it answers
	}
	if r.Refuse == nil {
		f.words(r, r.Path)
	}
	r.WriteCORS(w.Header()) // again, for an API may have had other words
	r.Refuse(w, r, err)
}

// finish turns a panic into an answer, or, where that is too late, into a broken connection, and tells of the request.
func (f *Floor) finish(one *request) {
	r, w := &one.r, &one.w
	abort := false
	if p := recover(); p != nil {
		abort = f.panicked(r, w, p)
	}
	if f.observe != nil {
		o := &r.Seen
		o.Caller = r.Caller
		o.Limit = auth.Tighter(r.Caller.Limit, o.Limit)
		o.Duration = f.now().Sub(o.At)
		o.Bytes = w.bytes
		if o.Status == 0 {
			o.Status = w.status
		}
		if o.Status == 0 && !abort {
			o.Status = http.StatusOK // what net/http answers for a handler that wrote nothing
		}
		f.observe(o)
	}
	if abort {
		panic(http.ErrAbortHandler)
	}
}

// panicked answers a panic with 500 and says whether the connection must be broken instead.
func (f *Floor) panicked(r *Request, w *writer, p any) (abort bool) {
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so too
		return true
	}
	err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	r.Seen.Err = err
	if w.status != 0 {
		return true
	}
	defer func() {
		if again := recover(); again != nil {
			abort = true
		}
	}()
	for _, ofBody := range []string{"Content-Length", "Content-Encoding", "Etag", "Trailer"} { // which is not sent now
		delete(w.Header(), ofBody)
	}
	f.refuse(w, r, err)
	return false
}
