package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// Forward-auth: another proxy has a call, and asks us what we would do with it. It gets the verdict of the gateway, by the
// same path rule and the same routes, and forwards the call itself.

// A dialect is how a kind of proxy asks.
type dialect struct {
	path string // of our own address for it
	// method and target are the headers that say what the call is. It sets them itself: a client that could would have one
	// call judged and another one forwarded. "": what is asked is the call itself, with our path before its own.
	method, target string
	host           string // the header that may say the call's host; "", or not there: Host
	// narrow: it understands 401 and 403, and takes any other refusal for a failure of ours.
	narrow bool
}

const forwardedMethod, forwardedURI = "X-Forwarded-Method", "X-Forwarded-Uri"

var dialects = []dialect{
	{path: "/authz/nginx", method: "X-Original-Method", target: "X-Original-Uri", narrow: true},
	{path: "/authz/traefik", method: forwardedMethod, target: forwardedURI, host: headerForwardedHost},
	{path: "/authz/caddy", method: forwardedMethod, target: forwardedURI, host: headerForwardedHost},
	{path: "/authz/envoy"},
}

// headerStatus tells a proxy that understands few refusals which one it is.
const headerStatus = "X-Auth-Status"

var noStore = []string{"no-store"}

// A desk answers the proxies of one dialect.
type desk struct {
	dialect
	g     *Gateway
	first func(*web.Request) error
}

// Authz returns the addresses where other proxies ask what may be done with a call. They answer peers that trusts knows, and
// are not there for others. first is asked before a route is looked for, as whoever calls [Gateway.Serve] does, and may
// refuse; nil: nothing comes first.
func (g *Gateway) Authz(trusts func(netip.Addr) bool, first func(*web.Request) error) []web.Address {
	if first == nil {
		first = func(*web.Request) error { return nil }
	}
	from := func(r *web.Request) bool { return trusts(r.Caller.Peer) }
	var all []web.Address
	for _, d := range dialects {
		answers := &desk{d, g, first}
		all = append(all, web.Address{Path: d.path, Prefix: d.method == "", From: from, Any: answers.serve, Did: auth.DidVerify})
	}
	return all
}

// serve answers 200 if the call may pass, with everything that there is to say of its caller.
func (d *desk) serve(w http.ResponseWriter, r *web.Request) error {
	route, who, err := d.judge(r)
	if err != nil {
		if d.narrow {
			r.Refuse = narrowed(r.Refuse)
		}
		return err
	}
	h := w.Header()
	values := make([]string, len(route.told))
	for i, t := range route.told {
		values[i] = d.g.fact(who, t.fact)
		h[t.name] = values[i : i+1 : i+1]
	}
	h["Cache-Control"] = noStore
	web.WriteLimit(h, r.Seen.Limit)
	w.WriteHeader(http.StatusOK)
	return nil
}

// judge returns the route and the caller of the call that r is about, or why the call may not pass.
func (d *desk) judge(r *web.Request) (*route, verify.Principal, error) {
	nobody := verify.Principal{}
	method, host, target, err := d.asked(r)
	if err != nil {
		return nil, nobody, err
	}
	if err := r.About(method, host, target); err != nil {
		return nil, nobody, err
	}
	if err := d.first(r); err != nil {
		return nil, nobody, err
	}
	route, err := d.g.find(r, host, method)
	if err != nil {
		return nil, nobody, err
	}
	who, err := d.g.judge(r, route)
	return route, who, err
}

// asked reads which call it is. What is wrong there is wrong with the proxy's configuration, and its operator is told.
func (d *desk) asked(r *web.Request) (method, host, target string, err error) {
	if d.method == "" {
		return r.Method, r.Host, r.Path[len(d.path):], nil
	}
	if r.Method != http.MethodGet {
		return "", "", "", &web.StatusError{Status: http.StatusMethodNotAllowed, Allow: http.MethodGet}
	}
	host = r.Host
	method, err = only(r.Header, d.method)
	if err == nil && !isToken(method) { // a list of two, for instance, which no route names and one for every method takes
		err = fmt.Errorf("%s is no method", d.method)
	}
	if err == nil {
		target, err = only(r.Header, d.target)
	}
	if err == nil && d.host != "" && len(r.Header[d.host]) > 0 {
		if host, err = only(r.Header, d.host); strings.Contains(host, ",") {
			err = fmt.Errorf("%s is a list", d.host)
		}
	}
	if err != nil {
		r.Seen.Err = err
		return "", "", "", &web.StatusError{Status: http.StatusBadRequest, Err: err}
	}
	return method, host, target, nil
}

// only returns the one value that a header has.
func only(h http.Header, name string) (string, error) {
	values := h[name]
	if len(values) != 1 {
		return "", fmt.Errorf("%s has %d values, and must have one, set by the proxy", name, len(values))
	}
	return values[0], nil
}

// isToken says whether s can be a method (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; fold[c] == '-' && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// narrowed refuses as refuse does, to a proxy that understands 401 and 403: any other refusal is a 403 that says what it is
// meant to be, and is told of as that.
func narrowed(refuse web.Refuse) web.Refuse {
	return func(w http.ResponseWriter, r *web.Request, err error) { refuse(&narrow{w, r}, r, err) }
}

type narrow struct {
	http.ResponseWriter
	r *web.Request
}

func (n *narrow) WriteHeader(status int) {
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		n.Header()[headerStatus] = []string{strconv.Itoa(status)}
		n.r.Seen.Status = status
		status = http.StatusForbidden
	}
	n.ResponseWriter.WriteHeader(status)
}

// tell works out, for each of the routes, the headers that tell a proxy about a caller: all that any of them sets, for what
// the proxy gets it puts in the place of what the client sent. Those that the route itself does not set are empty.
func tell(routes []*route) {
	names := make(map[string]bool)
	for _, r := range routes {
		for _, i := range r.identity {
			names[i.name] = true
		}
	}
	for _, r := range routes {
		r.told = slices.Concat(onEveryRoute, r.identity)
		for name := range names {
			if !slices.ContainsFunc(r.identity, func(i identityHeader) bool { return i.name == name }) {
				r.told = append(r.told, identityHeader{name: name})
			}
		}
	}
}
