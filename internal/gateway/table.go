package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/internal/web"
)

// A Table finds the one route that a call belongs to. It does not change once it is made.
type Table struct {
	routes  []*route
	anyHost paths            // the routes without a host
	hosts   map[string]paths // the others, by host as hosts are compared
}

// paths are the routes of one host, by their path.
type paths struct {
	// lengths of the paths there are, the longest first, so that a look-up tries no more than there are lengths, however
	// long the path of a call is.
	lengths []int
	byPath  map[string]*place
}

// A place is one host and path. Its routes differ in their methods.
type place struct {
	first    *route // in whose words a method is refused
	byMethod map[string]*route
	rest     *route // the route for every other method; nil: there is none
	// notAllowed refuses the methods that are left.
	notAllowed *web.StatusError
}

// everyMethod is what Allow says where every method is let through that ever is, before others that a route names; an API may
// know others still.
const everyMethod = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// NewTable returns the table of these routes. Two routes that the same call would belong to, one to which none could, and
// one that says contradictory things are errors; they name the route by its place in the list, from 0, and its path.
func NewTable(routes []Route) (*Table, error) {
	t := &Table{anyHost: newPaths(), hosts: make(map[string]paths)}
	var errs []error
	for i, r := range routes {
		compiled, err := newRoute(r)
		if err == nil {
			err = t.add(compiled)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("routes[%d] (%s): %w", i, r.Path, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	tell(t.routes)
	t.anyHost.finish()
	for host, p := range t.hosts {
		p.finish()
		t.hosts[host] = p
	}
	return t, nil
}

func newPaths() paths { return paths{byPath: make(map[string]*place)} }

func (t *Table) add(r *route) error {
	at := t.anyHost
	if r.host != "" {
		if _, ok := t.hosts[r.host]; !ok {
			t.hosts[r.host] = newPaths()
		}
		at = t.hosts[r.host]
	}
	p := at.byPath[r.path]
	if p == nil {
		p = &place{first: r, byMethod: make(map[string]*route)}
		at.byPath[r.path] = p
	}
	if len(r.Methods) == 0 {
		if p.rest != nil {
			return errors.New("can never match: another route has the same host and path, and every method")
		}
		p.rest = r
	}
	for _, m := range r.Methods {
		if p.byMethod[m] != nil {
			return fmt.Errorf("can never match with method %s: another route has the same host, path and method", m)
		}
		p.byMethod[m] = r
	}
	t.routes = append(t.routes, r)
	return nil
}

func (p *paths) finish() {
	for path, place := range p.byPath {
		if !slices.Contains(p.lengths, len(path)) {
			p.lengths = append(p.lengths, len(path))
		}
		var methods []string
		if place.rest != nil {
			methods = strings.Split(everyMethod, ", ")
		}
		for _, m := range slices.Sorted(maps.Keys(place.byMethod)) {
			if !slices.Contains(methods, m) {
				methods = append(methods, m)
			}
		}
		place.notAllowed = &web.StatusError{Status: http.StatusMethodNotAllowed, Allow: strings.Join(methods, ", ")}
	}
	slices.SortFunc(p.lengths, func(a, b int) int { return b - a })
}

// Match returns the route that a call belongs to: of those for its host and path, one that names the host before one that
// does not, then the one with the longest path; of several with that same host and path, the one that names the method
// before the one for every method. path is as [web.CheckPath] spells it.
//
// Otherwise the error is a [*web.StatusError]: 404 if no route is for the host and path; 405 if the most specific one is
// not for the method, and then the route is returned too, for the refusal is in its words. A less specific route is not
// asked: what guards a path for some methods must not leave the others to whatever lies behind it. 400 is for a path that
// belongs to another route once parameters of its segments ("/admin;v=1/users") are left out, as many an API leaves them
// out.
func (t *Table) Match(host, path, method string) (*Route, error) {
	r, err := t.match(host, path, method)
	if r == nil {
		return nil, err
	}
	return &r.Route, err
}

func (t *Table) match(host, path, method string) (*route, error) {
	p, err := t.judged(host, path)
	switch {
	case err != nil:
		return nil, err
	case !forwardable(method):
		return p.first, p.notAllowed
	case p.byMethod[method] != nil:
		return p.byMethod[method], nil
	case p.rest != nil:
		return p.rest, nil
	}
	return p.first, p.notAllowed
}

// judged returns the place for a host and path, or why there is none.
func (t *Table) judged(host, path string) (*place, error) {
	p := t.place(host, path)
	switch {
	case hasParams(path) && t.place(host, withoutParams(path)) != p:
		return nil, &web.StatusError{Status: http.StatusBadRequest, Err: errParams}
	case p == nil:
		return nil, &web.StatusError{Status: http.StatusNotFound}
	}
	return p, nil
}

// methods returns the path of the routes for a host and path, and the methods that they take, as Allow has them. asked is
// among them if it is only let through because every method is. Both are "" if there is no route.
func (t *Table) methods(host, path, asked string) (route, methods string) {
	p, err := t.judged(host, path)
	if err != nil {
		return "", ""
	}
	methods = p.notAllowed.Allow
	if p.rest != nil && checkMethod(asked) == nil && !slices.Contains(strings.Split(methods, ", "), asked) {
		methods += ", " + asked
	}
	return p.first.Path, methods
}

var errParams = errors.New("the path belongs to another route with its parameters than without")

// place returns the most specific place for a host and path, nil if there is none.
func (t *Table) place(host, path string) *place {
	if len(t.hosts) > 0 {
		if at, ok := t.hosts[foldHost(host)]; ok {
			if p := at.find(path); p != nil {
				return p
			}
		}
	}
	return t.anyHost.find(path)
}

// find returns the place with the longest path that covers path.
func (p *paths) find(path string) *place {
	for _, n := range p.lengths {
		if n > len(path) || n < len(path) && path[n] != '/' {
			continue
		}
		if place := p.byPath[path[:n]]; place != nil {
			return place
		}
	}
	return nil
}

// covers says whether path is prefix, which has no trailing slash, or lies under it by whole segments.
func covers(prefix, path string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// hasParams says whether a segment of path has parameters, or what a careless reader would take for some.
func hasParams(path string) bool {
	return strings.IndexByte(path, ';') >= 0 || strings.Contains(path, escapedSemicolon)
}

const escapedSemicolon = "%3B"

// withoutParams returns path without the parameters of its segments.
func withoutParams(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, ";")
		segments[i], _, _ = strings.Cut(s, escapedSemicolon)
	}
	return strings.Join(segments, "/")
}

// foldHost returns the value of a Host header as hosts are compared: in lower case, without port, brackets and one
// trailing dot.
func foldHost(host string) string {
	if rest, ok := strings.CutPrefix(host, "["); ok { // an IPv6 address (RFC 3986, section 3.2.2)
		if address, port, ok := strings.Cut(rest, "]"); ok && isPort(port) {
			return strings.ToLower(address)
		}
		return strings.ToLower(host)
	}
	if i := strings.IndexByte(host, ':'); i >= 0 && isPort(host[i:]) {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, ".")) // no copy if it is in lower case already
}

// isPort says whether s is nothing, or a colon and digits or nothing.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s[0] == ':'
}
