package gateway

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/upstream"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// A Route says which calls go to which API, and what a token must be to go along.
type Route struct {
	// Path is a prefix by whole segments: "/api/orders" and "/api/orders/" both stand for /api/orders and
	// /api/orders/7, and neither for /api/orders-old.
	Path string
	// Host is the one host name that the route is for, without a port; "": any.
	Host string
	// Methods are the methods that the route is for, exactly spelled: HEAD is not GET. None: every method but CONNECT
	// and TRACE.
	Methods []string

	// Upstreams are where the API is, each a server that can take every call: scheme, host, and perhaps a path to put
	// before every path. None: nothing is forwarded, the answer is 404.
	Upstreams []*url.URL
	// StripPrefix is taken off the front of the path before it is forwarded. Path must lie within it.
	StripPrefix string
	Timeouts    upstream.Timeouts // Connect 0: 5 s
	TLS         upstream.TLS
	Breaking    upstream.Breaking
	Health      upstream.Health
	// Request and Response are done to the headers of what the API gets, before ours are set, and of what it answers.
	Request, Response Edits

	// Accepts are the types of tokens that open the route; at least one, unless it is Public.
	Accepts []verify.Type
	Scopes  []string          // all of which the token must have
	Bound   bool              // the token must be bound to a key (DPoP)
	Limits  []auth.RouteLimit // by account
	// Public routes look at no token. They have no Accepts, Scopes, Limits or Identity, which would promise a check that
	// nobody makes.
	Public bool
	// ObserveUntil is when the route begins to refuse. Before it, what would be refused for its token is let through as
	// nobody's. Zero: it always has.
	ObserveUntil time.Time
	// Identity names further headers that tell the API who is calling, beside X-Auth-Account and its kin.
	Identity map[string]Fact

	// OwnCORS leaves it to the API what its answers tell browsers of who may read them. Otherwise that is ours to say.
	OwnCORS bool

	// Refuse tells errors in the words of the route's contract; nil: they are told as where no route matches.
	Refuse   web.Refuse
	Contract auth.Contract // whose words these are, for the observation
}

// A Fact is what the gateway can tell an API about the caller.
type Fact string

// The facts.
const (
	Account    Fact = "account"    // the account's number
	Ref        Fact = "ref"        // the operator's own reference of the account
	Credential Fact = "credential" // the id of the credential that the token came from
	Type       Fact = "type"       // of the token
	Scope      Fact = "scope"      // what the token may do now, space-separated
)

// A route is a Route that was found to be sound, with everything worked out that does not depend on the call.
type route struct {
	Route
	path     string            // Path as [web.CheckPath] spells it, without its trailing slash: "" for "/"
	host     string            // as hosts are compared
	strip    string            // StripPrefix, likewise
	servers  []upstream.Server // Upstreams, their paths likewise
	want     auth.Want
	identity []identityHeader
	request  edits
	response edits
	told     []identityHeader // what a proxy that asks about a call is told
}

type identityHeader struct {
	name string // canonical, so that it can be written into a header map as it is
	fact Fact
}

// newRoute checks all of r that can be checked without the other routes.
func newRoute(r Route) (*route, error) {
	path, err := prefix(r.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", r.Path, err)
	}
	compiled := &route{Route: r, path: path, host: foldHost(r.Host)}
	if err := checkHost(r.Host, compiled.host); err != nil {
		return nil, fmt.Errorf("host %q: %w", r.Host, err)
	}
	for i, m := range r.Methods {
		if err := checkMethod(m); err != nil {
			return nil, fmt.Errorf("method %q: %w", m, err)
		}
		if slices.Contains(r.Methods[:i], m) {
			return nil, fmt.Errorf("method %q: named twice", m)
		}
	}
	if compiled.strip, err = stripPrefix(r.StripPrefix, path); err != nil {
		return nil, fmt.Errorf("strip_prefix %q: %w", r.StripPrefix, err)
	}
	for _, u := range r.Upstreams {
		server, err := parseServer(u)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		if slices.Contains(compiled.servers, server) {
			return nil, fmt.Errorf("upstream: %s is there twice", server)
		}
		compiled.servers = append(compiled.servers, server)
	}
	if r.Timeouts.Connect < 0 || r.Timeouts.Answer < 0 {
		return nil, errors.New("timeouts: below zero")
	}
	if r.Timeouts.Connect == 0 {
		compiled.Timeouts.Connect = 5 * time.Second
	}
	if err := r.checkAccess(); err != nil {
		return nil, err
	}
	if compiled.identity, err = identityHeaders(r.Identity); err != nil {
		return nil, err
	}
	if compiled.request, err = newEdits(r.Request, inRequests, r.Identity); err != nil {
		return nil, fmt.Errorf("request headers: %w", err)
	}
	if compiled.response, err = newEdits(r.Response, inAnswers, nil); err != nil {
		return nil, fmt.Errorf("response headers: %w", err)
	}
	compiled.want = auth.Want{Bound: r.Bound, Types: slices.Clone(r.Accepts), Scopes: slices.Clone(r.Scopes), Limits: slices.Clone(r.Limits)}
	return compiled, nil
}

func (r *Route) checkAccess() error {
	if r.Public {
		if len(r.Accepts)+len(r.Scopes)+len(r.Limits)+len(r.Identity) > 0 || !r.ObserveUntil.IsZero() || r.Bound {
			return errors.New("a public route looks at no token: it can have no accepts, scopes, limits, identity, observe_until or dpop")
		}
		return nil
	}
	if len(r.Accepts) == 0 {
		return errors.New("accepts: name the types of tokens that open the route, or say public: true")
	}
	for _, t := range r.Accepts {
		if !slices.Contains(verify.Types, t) {
			return fmt.Errorf("accepts: no token is of type %q", t)
		}
	}
	for _, s := range r.Scopes {
		// Such scopes are put into no token: the route could never be opened.
		if s == "" || strings.ContainsAny(s, " \t") || strings.HasPrefix(s, "gatehouse:") {
			return fmt.Errorf("scopes: no token has the scope %q", s)
		}
	}
	return nil
}

// prefix returns p in the one spelling that requests' paths are brought to, without a trailing slash.
func prefix(p string) (string, error) {
	if !strings.HasPrefix(p, "/") {
		return "", errors.New("a path begins with a slash")
	}
	if strings.ContainsAny(p, "?#") {
		return "", errors.New("routes are told apart by path alone, without query and fragment")
	}
	canonical, _, err := web.CheckPath(p)
	if err != nil {
		return "", fmt.Errorf("no request can have this path: %w", err)
	}
	if hasParams(canonical) {
		return "", errors.New("routes are told apart by path alone, without parameters (;)")
	}
	return strings.TrimSuffix(canonical, "/"), nil
}

// checkHost refuses hosts that no request's host, folded, can be equal to.
func checkHost(host, folded string) error {
	if host == "" {
		return nil
	}
	bare := strings.ToLower(strings.TrimSuffix(host, "."))
	if inner, ok := strings.CutPrefix(bare, "["); ok {
		bare = strings.TrimSuffix(inner, "]")
	}
	switch {
	case bare != folded:
		return errors.New("hosts are compared without their port: leave it out")
	case folded == "" || strings.HasSuffix(folded, "."):
		return errors.New("no host is called so")
	}
	for i := range len(folded) {
		c := folded[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != ':' {
			return errors.New("a host is one name or address, in ASCII; there are no patterns")
		}
	}
	return nil
}

func checkMethod(m string) error {
	if m == "" {
		return errors.New("is empty")
	}
	for i := range len(m) {
		if c := m[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return errors.New("methods are compared letter by letter and written in capitals")
		}
	}
	if !forwardable(m) {
		return errors.New("is never forwarded")
	}
	return nil
}

// forwardable says whether a method can go to an API at all. CONNECT would make the connection a tunnel that nobody
// judges, and the answer to TRACE shows the caller the headers that we set.
func forwardable(method string) bool { return method != "CONNECT" && method != "TRACE" }

func stripPrefix(s, path string) (string, error) {
	if s == "" {
		return "", nil
	}
	stripped, err := prefix(s)
	if err != nil {
		return "", err
	}
	if !covers(stripped, path) {
		return "", errors.New("the route's path does not lie within it")
	}
	return stripped, nil
}

func parseServer(u *url.URL) (upstream.Server, error) {
	server := upstream.Server{Scheme: u.Scheme, Host: u.Host}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return server, errors.New("is written http://host:port or https://host:port")
	case u.User != nil:
		return server, errors.New("takes no user and password: they would be in the open in every place that names it")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return server, errors.New("has no query and no fragment")
	case u.Path == "":
		return server, nil
	}
	var err error
	if server.Path, err = prefix(u.EscapedPath()); err != nil {
		return server, fmt.Errorf("path %q: %w", u.EscapedPath(), err)
	}
	return server, nil
}
