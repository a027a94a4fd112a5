package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// ownPaths are our own addresses on `listen`, by whole segments. Those of a disabled contract are ours too: they are 404.
var ownPaths = []string{
	"/authentication", "/api/authentication", "/order-authentication", "/api/order-authentication",
	"/auth/login", "/auth/refresh", "/auth/logout", "/oauth/token", "/oauth/introspect", "/oauth/revoke",
	"/.well-known", "/docs", "/openapi.yaml", "/dashboard", "/healthz", "/readyz", "/authz",
}

// OwnPath returns which of our own addresses a path is, or lies under; "" if it is free for a route.
func OwnPath(path string) string {
	for _, own := range ownPaths {
		if rest, ok := strings.CutPrefix(path, own); ok && (rest == "" || rest[0] == '/') {
			return own
		}
	}
	return ""
}

func routeKey(i int) string { return fmt.Sprintf("routes[%d]", i) }

// complete fills in whose words a route's errors are in. Contracts 1 and 2 share theirs.
func (r *Route) complete() {
	if r.Errors == "" && len(r.Accepts) > 0 {
		r.Errors = auth.ContractOf(r.Accepts[0])
		if r.Errors == auth.Orders {
			r.Errors = auth.Liquid
		}
	}
}

func (l *loader) checkRoutes() {
	for i, r := range l.c.Routes {
		if l.wrong[routeKey(i)] { // not a route at all
			continue
		}
		l.checkRoute(routeKey(i), r)
		for j, other := range l.c.Routes[:i] {
			if why := hides(other, r); why != "" {
				l.problem(routeKey(i), "can never match: %s at %s has the same path, host and %s", routeKey(j), l.c.origin(routeKey(j)), why)
				break
			}
		}
	}
}

// hides says what two routes have in common so that one of them can never match, "" if both can. One with methods is more
// specific than one without.
func hides(a, b Route) string {
	if strings.TrimRight(a.Path, "/") != strings.TrimRight(b.Path, "/") || a.Host != b.Host || (len(a.Methods) == 0) != (len(b.Methods) == 0) {
		return ""
	}
	if len(a.Methods) == 0 {
		return "no methods"
	}
	for _, m := range b.Methods {
		if slices.Contains(a.Methods, m) {
			return "method " + m
		}
	}
	return ""
}

func (l *loader) checkRoute(key string, r Route) {
	if err := checkPath(r.Path); err != nil {
		l.problem(key+".path", "%s has %w", quote(r.Path), err)
	} else if own := OwnPath(r.Path); own != "" {
		l.problem(key+".path", "%s is ours: %s answers there, and a route would never be asked", quote(r.Path), own)
	}
	if r.Host != "" && !hostname(r.Host) {
		l.problem(key+".host", "%s is not a host name in lower case without a port: write api.example.com", quote(r.Host))
	}
	for i, m := range r.Methods {
		at := fmt.Sprintf("%s.methods[%d]", key, i)
		switch {
		case m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "":
			l.problem(at, "%s is not a method: write GET or POST, in capitals", quote(m))
		case m == "CONNECT" || m == "TRACE":
			l.problem(at, "%s is never let through", m)
		case slices.Contains(r.Methods[:i], m):
			l.problem(at, "%s is there twice", m)
		}
	}
	l.checkUpstream(key+".upstream", r.Upstream)
	l.checkUpstreamTLS(key+".upstream_tls", r)
	l.checkHealth(key, r)
	l.checkAccess(key, r)
	l.checkLimit(key+".limits", r.Limits)
	l.between(key+".timeouts.connect", r.Timeouts.Connect, 10*time.Millisecond, 10*time.Minute)
	l.between(key+".timeouts.header", r.Timeouts.Header, 0, day)
	if r.StripPrefix && len(r.Upstream) == 0 {
		l.problem(key+".strip_prefix", "is of no use without an upstream")
	}
	switch {
	case r.CORS != "" && r.CORS != CORSUpstream:
		l.problem(key+".cors", "%s is unknown: write %s, or leave it out", quote(r.CORS), CORSUpstream)
	case r.CORS != "" && len(r.Upstream) == 0:
		l.problem(key+".cors", "is of no use without an upstream")
	}
	l.checkHeaders(key, r)
	l.checkEdits(key, r)
}

// checkUpstream looks at where the API is.
func (l *loader) checkUpstream(key string, urls URLs) {
	for i, u := range urls {
		at := key
		if len(urls) > 1 {
			at = fmt.Sprintf("%s[%d]", key, i)
		}
		if err := checkURL(u, true); err != nil {
			l.problem(at, "%s %w", shownURL(u), err)
		} else if slices.ContainsFunc(urls[:i], func(other string) bool { return strings.TrimRight(other, "/") == strings.TrimRight(u, "/") }) {
			l.problem(at, "%s is there twice", u)
		}
	}
}

// checkUpstreamTLS looks at how upstreams are known.
func (l *loader) checkUpstreamTLS(key string, r Route) {
	t := r.UpstreamTLS
	if t.ServerName != "" && !hostname(t.ServerName) && net.ParseIP(t.ServerName) == nil {
		l.problem(key+".server_name", "%s is not a name in lower case without a port, nor an address: write api.internal", quote(t.ServerName))
	}
	encrypted := func(u string) bool { return strings.HasPrefix(u, "https://") }
	if (t.CAFile != "" || t.ServerName != "") && !slices.ContainsFunc(r.Upstream, encrypted) {
		l.problem(key, "is of no use without an upstream with https://")
	}
}

// checkHealth looks at how it is found out whether the API is well.
func (l *loader) checkHealth(key string, r Route) {
	if r.Health.Path != "" {
		if err := checkPath(r.Health.Path); err != nil {
			l.problem(key+".health.path", "%s has %w", quote(r.Health.Path), err)
		} else if len(r.Upstream) == 0 {
			l.problem(key+".health", "is of no use without an upstream")
		}
	}
	l.between(key+".health.interval", r.Health.Interval, time.Second, time.Hour)
	l.between(key+".health.timeout", r.Health.Timeout, 10*time.Millisecond, time.Minute)
	l.count(key+".breaker.failures", int64(r.Breaker.Failures), 0, 1000)
	l.between(key+".breaker.open_for", r.Breaker.OpenFor, 100*time.Millisecond, time.Hour)
}

// checkAccess looks at who may come in: nobody by mistake.
func (l *loader) checkAccess(key string, r Route) {
	if !r.Public && len(r.Accepts) == 0 {
		l.problem(key+".accepts", "is empty, so no token would open the route: name its types, as [B2B_ACCESS], or write public: true")
	}
	for i, t := range r.Accepts {
		at := fmt.Sprintf("%s.accepts[%d]", key, i)
		if !slices.Contains(verify.Types, t) {
			oneOf(l, at, t, verify.Types...)
		} else if slices.Contains(r.Accepts[:i], t) {
			l.problem(at, "%s is there twice", t)
		}
	}
	for i, s := range r.Scopes {
		at := fmt.Sprintf("%s.scopes[%d]", key, i)
		switch {
		case s == "" || !printable(s, false):
			l.problem(at, `%s is not a scope: printable ASCII without spaces, " and \`, quote(s))
		case strings.HasPrefix(s, "gatehouse:"):
			l.problem(at, "%s is in no token: scopes that begin with gatehouse: are for our own addresses", quote(s))
		case slices.Contains(r.Scopes[:i], s):
			l.problem(at, "%s is there twice", s)
		}
	}
	if r.Public {
		for _, c := range []struct {
			name string
			set  bool
		}{
			{"accepts", len(r.Accepts) > 0},
			{"scopes", len(r.Scopes) > 0},
			{"dpop", r.DPoP},
			{"limits", !r.Limits.Rate.None()},
			{"headers", len(r.Headers) > 0},
			{"observe_until", !r.ObserveUntil.IsZero()},
		} {
			if c.set {
				l.problem(key+"."+c.name, "is of no use on a public route, where nobody shows a token: leave it out, or take public: true away")
			}
		}
	}
	if r.DPoP && len(r.Accepts) > 0 && !slices.Contains(r.Accepts, verify.OAuthAccess) && !slices.Contains(r.Accepts, verify.B2BAccess) {
		l.problem(key+".dpop", "no token of the types in accepts is ever bound to a key: name OAUTH_ACCESS or B2B_ACCESS there, or leave dpop out")
	}
	if r.Errors != "" {
		oneOf(l, key+".errors", r.Errors, auth.Liquid, auth.B2B, auth.OAuth2)
	}
}

func (l *loader) checkHeaders(key string, r Route) {
	seen := map[string]string{plainHeader(l.c.Contracts.Liquid.Header): "contracts.liquid.header"}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		at := key + ".headers." + name
		switch other := seen[plainHeader(name)]; {
		case !isToken(name) || strings.Contains(name, "_"):
			l.problem(at, "%s is not the name of a header: write X-Customer, without underscores", quote(name))
		case takenHeader(name):
			l.problem(at, "%s has a meaning of its own: take a name that nobody else uses, as X-Customer", quote(name))
		case other != "":
			l.problem(at, "%s is the same header", other)
		}
		seen[plainHeader(name)] = name
		oneOf(l, at, r.Headers[name], FactAccount, FactRef, FactCredential, FactType, FactScope)
	}
}

// checkEdits looks at the headers that are set and removed on the way.
func (l *loader) checkEdits(key string, r Route) {
	identity := map[string]bool{}
	for name := range r.Headers {
		identity[plainHeader(name)] = true
	}
	request := func(name string) string {
		switch plain := plainHeader(name); {
		case identity[plain]:
			return "is an identity header of this route: leave it out here or there"
		case headerOf(plain, aboutTheCall):
			return "is ours to set: an API takes it for what was found out about the call. Take another name"
		case headerOf(plain, aboutTheMessage):
			return "belongs to the connection or to the message, and is made anew for each: leave it out"
		}
		return ""
	}
	response := func(name string) string {
		switch plain := plainHeader(name); {
		case strings.HasPrefix(plain, "access-control-"):
			return "is for browsers of other origins: see cors, and cors: upstream of this route"
		case headerOf(plain, ofOurAnswers):
			return "is ours to say: leave it out"
		case headerOf(plain, aboutTheMessage):
			return "belongs to the connection or to the message, and is made anew for each: leave it out"
		}
		return ""
	}
	values := make(map[string]string, len(r.RequestHeaders.Set))
	for name, value := range r.RequestHeaders.Set {
		values[name] = value.Reveal()
	}
	l.checkEdit(key+".request_headers", values, r.RequestHeaders.Remove, request)
	l.checkEdit(key+".response_headers", r.ResponseHeaders.Set, r.ResponseHeaders.Remove, response)
	if len(r.Upstream) == 0 {
		for name, n := range map[string]int{
			"request_headers":  len(r.RequestHeaders.Set) + len(r.RequestHeaders.Remove),
			"response_headers": len(r.ResponseHeaders.Set) + len(r.ResponseHeaders.Remove),
		} {
			if n > 0 {
				l.problem(key+"."+name, "is of no use without an upstream")
			}
		}
	}
}

// checkEdit looks at what is set and removed; taken says what is wrong with a name. It shows no value: that may be a secret.
func (l *loader) checkEdit(key string, set map[string]string, remove []string, taken func(name string) string) {
	seen := map[string]bool{}
	check := func(at, name string) {
		switch wrong := taken(name); {
		case !isToken(name) || strings.Contains(name, "_") || len(name) > mostHeader:
			l.problem(at, "%s is not the name of a header: write X-Customer, without underscores", quote(name))
		case wrong != "":
			l.problem(at, "%s %s", name, wrong)
		case seen[plainHeader(name)]:
			l.problem(at, "%s is there twice: leave out one of them", name)
		}
		seen[plainHeader(name)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		at := key + ".set." + name
		check(at, name)
		switch value := set[name]; {
		case value == "":
			l.problem(at, "is empty: write a value, or name the header in remove")
		case strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			l.problem(at, "has a value that no header can have: leave out spaces at its ends, and control characters")
		}
	}
	for i, name := range remove {
		check(fmt.Sprintf("%s.remove[%d]", key, i), name)
	}
}

// mostHeader is how long the name of a header may be that the gateway knows, in bytes.
const mostHeader = 64

// A headerSet is some headers, in lower case and with dashes.
type headerSet struct{ prefixes, names []string }

func headerOf(plain string, set headerSet) bool {
	return slices.Contains(set.names, plain) || slices.ContainsFunc(set.prefixes, func(p string) bool { return strings.HasPrefix(plain, p) })
}

var (
	// aboutTheCall is what an API believes because only the gateway says it.
	aboutTheCall = headerSet{
		[]string{"x-auth-", "x-forwarded-", "x-original-"},
		[]string{
			"x-request-id", "forwarded", "x-forwarded", "x-real-ip", "true-client-ip", "x-client-ip", "client-ip", "x-cluster-client-ip",
			"cf-connecting-ip", "fastly-client-ip", "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override",
		},
	}
	// aboutTheMessage is what says how a message is read, and what ends with each connection (RFC 9110, section 7.6.1).
	aboutTheMessage = headerSet{
		[]string{"proxy-", "sec-websocket-"},
		[]string{
			"connection", "content-encoding", "content-length", "content-range", "expect", "host", "http2-settings", "keep-alive", "te",
			"trailer", "transfer-encoding", "upgrade",
		},
	}
	// ofOurAnswers is what only the gateway says in answers.
	ofOurAnswers = headerSet{[]string{"ratelimit", "x-auth-"}, []string{"date", "x-request-id"}}
)

// checkPath wants the one spelling of a path that requests are compared with.
func checkPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("no slash at its beginning: write /api/v1")
	case strings.Contains(path, "//"):
		return errors.New("two slashes one after the other: requests for those are refused")
	case strings.ContainsAny(path, "?#"):
		return errors.New("a query or a fragment: routes are chosen by path alone")
	case strings.Contains(path, "%"):
		return errors.New("an escape: write the letter itself")
	case !printable(path, false):
		return errors.New(`a letter that no path here can have: printable ASCII without spaces, " and \`)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return errors.New("a dot segment: requests for those are refused")
		}
	}
	return nil
}

// hostname says whether s can stand in a request as its host: that of a network of one's own may have one label, or be an address.
func hostname(s string) bool {
	return len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" &&
		!strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..")
}
