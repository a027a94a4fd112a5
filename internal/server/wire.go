package server

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/contract/b2b"
	"github.com/gatehouse/gatehouse/internal/contract/liquid"
	"github.com/gatehouse/gatehouse/internal/contract/oauth"
	"github.com/gatehouse/gatehouse/internal/dashboard"
	"github.com/gatehouse/gatehouse/internal/gateway"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/manual"
	"github.com/gatehouse/gatehouse/internal/upstream"
	"github.com/gatehouse/gatehouse/internal/web"
)

// keySetMaxAge is how long others may keep the key set, where keys are published long enough ahead.
const keySetMaxAge = 5 * time.Minute

// buildWeb makes what the public listener serves: our own addresses, the contracts, the routes.
func (s *Server) buildWeb(u *setup) (*web.Floor, error) {
	c := u.config
	own, words, err := s.buildContracts(u)
	if err != nil {
		return nil, err
	}
	own = append(own, s.health("/healthz", s.alive), s.health("/readyz", s.readiness))
	if c.Docs.Enabled {
		pages, err := manual.New(manualOf(c))
		if err != nil {
			return nil, err
		}
		own = append(append(own, pages.Addresses()...), openAPI(c.PublicURL, c.Contracts.Liquid.Header))
	}
	members, err := s.dashboardOf(c, dashboard.Members)
	if err != nil {
		return nil, err
	}
	own = append(own, members...)
	next, err := s.buildGateway(u, words)
	if err != nil {
		return nil, err
	}
	var first func(*web.Request) error
	if c.RequireHTTPS {
		first = func(r *web.Request) error { return inClearText(u.proxies, r) }
		for i, a := range own {
			if a.Refuse != nil { // an address of a contract, or of a dashboard: the others take and give no credential
				for method, handler := range a.Methods {
					a.Methods[method] = encrypted(u.proxies, handler)
				}
				own[i].Any = encrypted(u.proxies, a.Any)
			}
		}
		next = encrypted(u.proxies, next)
	}
	if u.gateway != nil {
		own = append(own, u.gateway.Authz(u.proxies.Trusts, first)...)
	}
	return web.New(web.Config{
		Own: own, Next: next, Attempt: u.gate.Attempt, Look: u.gate.Look, Observe: s.observe, Now: s.opened.DB.Now,
		CORS:    newCORS(u),
		Resolve: func(r *http.Request) (address, peer netip.Addr, forwarded string) { return s.resolve(u.proxies, r) },
		Fallbacks: []web.Fallback{
			{Prefix: "/oauth/", Contract: auth.OAuth2, Refuse: words[auth.OAuth2]},
			{Prefix: "/auth/", Contract: auth.B2B, Refuse: words[auth.B2B]},
			{Prefix: "", Contract: auth.Liquid, Refuse: words[auth.Liquid]},
		},
	})
}

// buildContracts makes the addresses of the contracts that are spoken, and the words of all, which routes may speak in too.
func (s *Server) buildContracts(u *setup) (own []web.Address, words map[auth.Contract]web.Refuse, err error) {
	c := u.config
	liquidContract, err := liquid.New(liquid.Config{
		Gate: u.gate, Environment: c.Environment, KeyPrefix: c.KeyPrefix, Header: c.Contracts.Liquid.Header, Realm: c.Realm,
		Languages: c.Contracts.Liquid.Languages, Version: c.Contracts.Liquid.APIVersion, Now: s.opened.DB.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	b2bContract, err := b2b.New(b2b.Config{Gate: u.gate, Environment: c.Environment, Realm: c.Realm})
	if err != nil {
		return nil, nil, err
	}
	oauthContract, err := oauth.New(oauth.Config{
		Gate: u.gate, Environment: c.Environment, Realm: c.Realm, Issuer: c.Issuer, PublicURL: c.PublicURL,
		Pairs: c.Contracts.B2B.Enabled, Now: s.opened.DB.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	own = append(own, oauth.KeySet(s.opened.Rings.JWKS, min(keySetMaxAge, c.SigningKeys.PublishAhead)))
	if c.Contracts.Liquid.Enabled {
		own = append(own, liquidContract.Keys()...)
	}
	if c.Contracts.Orders.Enabled {
		own = append(own, liquidContract.Orders()...)
	}
	if c.Contracts.B2B.Enabled {
		own = append(own, b2bContract.Addresses()...)
	}
	if c.Contracts.OAuth.Enabled {
		own = append(own, oauthContract.Addresses()...)
	}
	for i := range own {
		own[i].CrossOrigin = true
	}
	if c.Contracts.OAuth.Enabled { // no page has the secret that this asks for
		own = append(own, oauthContract.Scoped(s.feed.Address(), auth.ScopeRevocations))
	}
	return own, map[auth.Contract]web.Refuse{
		auth.Liquid: liquidContract.Refuse, auth.Orders: liquidContract.Refuse,
		auth.B2B: b2bContract.Refuse, auth.OAuth2: oauthContract.Refuse,
	}, nil
}

// manualOf is what the pages for customers say of this server.
func manualOf(c *config.Config) manual.Config {
	m := manual.Config{
		Title: c.Docs.Title, Support: c.Docs.Support, PublicURL: c.PublicURL, Issuer: c.Issuer, Header: c.Contracts.Liquid.Header, KeyPrefix: c.KeyPrefix,
		OpenAPI: openAPIPath, Spoken: c.Contracts.Enabled, Origins: len(c.CORS.AllowedOrigins) > 0,
		AccessLifetime: c.Tokens.AccessToken.Lifetime, Renewal: c.Tokens.AccessToken.MaxRenewal, OrderLifetime: c.Tokens.OrderAPI.Lifetime,
		LoginLifetime: c.Tokens.B2B.AccessLifetime, RefreshLifetime: c.Tokens.B2B.RefreshLifetime, ReuseLeeway: c.Tokens.B2B.ReuseLeeway,
		OAuthLifetime: c.Tokens.OAuth.Lifetime,
	}
	for _, e := range c.Docs.Choices() {
		m.Environments = append(m.Environments, manual.Environment(e))
	}
	return m
}

// newCORS says which pages may call, and what they may send: what any contract or the gateway reads, what the published SDK
// adds to it, and what is configured.
func newCORS(u *setup) web.CORS {
	c := u.config
	made := web.CORS{Origins: c.CORS.AllowedOrigins, Headers: slices.Concat([]string{
		"Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id", c.Contracts.Liquid.Header,
		"X-LIQUID-API-OBF", "X-LIQUID-API-SDK", "X-LIQUID-SDK-VERSION",
	}, c.CORS.AllowedHeaders)}
	if u.gateway != nil {
		made.Methods = u.gateway.Methods
	}
	return made
}

// buildGateway makes the routes; nil without any.
func (s *Server) buildGateway(u *setup, words map[auth.Contract]web.Refuse) (web.Handler, error) {
	c := u.config
	if len(c.Routes) == 0 {
		return nil, nil
	}
	table, err := newTable(c, words)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(c.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	u.gateway, err = gateway.New(gateway.Config{
		Routes: table, Gate: u.gate, Ref: s.facts.Ref, KeyHeader: c.Contracts.Liquid.Header, PublicURL: base,
		Reserved: func(path string) bool { return config.OwnPath(path) != "" }, Renewed: s.renewed, Upgraded: &s.upgraded,
		MinBodyRate: int64(c.MinBodyRate), Log: s.log, Now: s.opened.DB.Now,
	})
	if err != nil {
		return nil, err
	}
	u.parts = append(u.parts, part{"upstreams", u.gateway.Run})
	return u.gateway.Serve, nil
}

// renewed counts what became of a token asked for in band. The call itself went on, so that it could not be given is said
// nowhere else.
func (s *Server) renewed(outcome string, err error) {
	s.metrics.Renewed(outcome)
	if outcome == gateway.RenewalUnavailable {
		s.log.Warn("a call asked for a new token, and whether it may have one could not be known", "error", err)
	}
}

// newTable is the table of all routes, as the gateway takes it.
func newTable(c *config.Config, words map[auth.Contract]web.Refuse) (*gateway.Table, error) {
	var routes []gateway.Route
	authorities := make(map[string]*x509.CertPool) // by their text: routes with the same can share connections
	for i, r := range c.Routes {
		route, err := newRoute(r, words)
		if err != nil {
			return nil, fmt.Errorf("routes[%d] %s: %w", i, r.Path, err)
		}
		if ca := r.UpstreamTLS.CA; ca != "" {
			if authorities[ca] == nil {
				authorities[ca] = x509.NewCertPool()
				authorities[ca].AppendCertsFromPEM([]byte(ca)) // the configuration has found some in it
			}
			route.TLS.Roots = authorities[ca]
		}
		routes = append(routes, route)
	}
	return gateway.NewTable(routes)
}

// newRoute is a configured route as the gateway takes it.
func newRoute(r config.Route, words map[auth.Contract]web.Refuse) (gateway.Route, error) {
	route := gateway.Route{
		Path: r.Path, Host: r.Host, Methods: r.Methods, Accepts: r.Accepts, Scopes: r.Scopes, Bound: r.DPoP, Public: r.Public,
		Timeouts:     upstream.Timeouts{Connect: r.Timeouts.Connect, Answer: r.Timeouts.Header},
		Breaking:     upstream.Breaking{Failures: r.Breaker.Failures, OpenFor: r.Breaker.OpenFor},
		Health:       upstream.Health{Path: r.Health.Path, Interval: r.Health.Interval, Timeout: r.Health.Timeout},
		TLS:          upstream.TLS{ServerName: r.UpstreamTLS.ServerName},
		Request:      gateway.Edits{Set: make(map[string]string, len(r.RequestHeaders.Set)), Remove: r.RequestHeaders.Remove},
		Response:     gateway.Edits(r.ResponseHeaders),
		OwnCORS:      r.CORS == config.CORSUpstream,
		ObserveUntil: r.ObserveUntil, Contract: r.Errors, Identity: make(map[string]gateway.Fact, len(r.Headers)),
	}
	if route.Contract == "" && len(r.Accepts) > 0 {
		route.Contract = auth.ContractOf(r.Accepts[0])
	}
	if route.Contract != "" {
		route.Refuse = words[route.Contract]
	}
	for name, fact := range r.Headers {
		route.Identity[name] = gateway.Fact(fact)
	}
	for name, value := range r.RequestHeaders.Set {
		route.Request.Set[name] = value.Reveal()
	}
	if r.StripPrefix {
		route.StripPrefix = r.Path
	}
	if rate := r.Limits.AsRate(); !rate.None() {
		route.Limits = []auth.RouteLimit{{Name: "route " + r.Path, Rate: rate}}
	}
	for _, one := range r.Upstream {
		u, err := url.Parse(one)
		if err != nil {
			return gateway.Route{}, err
		}
		route.Upstreams = append(route.Upstreams, u)
	}
	return route, nil
}

// resolve finds where a request comes from.
func (s *Server) resolve(proxies limit.Proxies, r *http.Request) (address, peer netip.Addr, forwarded string) {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		peer = ap.Addr().Unmap()
	}
	values := r.Header["X-Forwarded-For"]
	address, untrusted := proxies.Resolve(peer, values)
	if len(values) > 0 {
		forwarded = values[len(values)-1]
	}
	if untrusted {
		s.forwardedUntrusted(peer)
	}
	return address, peer, forwarded
}

// forwardedUntrusted counts a forwarding header of a peer that is not believed, and says once a minute what would mend it.
func (s *Server) forwardedUntrusted(peer netip.Addr) {
	s.metrics.ForwardedUntrusted()
	seen := s.untrusted.seen.Add(1)
	now, told := time.Now().Unix(), s.untrusted.told.Load()
	if now-told < 60 || !s.untrusted.told.CompareAndSwap(told, now) {
		return
	}
	s.untrusted.seen.Add(-seen)
	s.log.Warn("requests come with X-Forwarded-For from a peer that is not trusted, so its own address counts: if it is your proxy, name it in trusted_proxies",
		"peer", peer.String(), "requests", seen)
}

// observe tells everybody of a request that is over.
func (s *Server) observe(o *auth.Observation) {
	s.access.Note(o)
	s.metrics.Note(o)
	s.usage.Note(o)
	s.refusals.Note(o)
}

// health is an address that says "ok", or with 503 what is wrong.
func (s *Server) health(path string, wrong func() error) web.Address {
	return web.Address{Path: path, Methods: map[string]web.Handler{http.MethodGet: func(w http.ResponseWriter, _ *web.Request) error {
		return replyHealth(w, wrong())
	}}}
}

func replyHealth(w http.ResponseWriter, wrong error) error {
	w.Header()["Cache-Control"] = []string{"no-store"}
	if wrong == nil {
		return web.Reply(w, http.StatusOK, []byte(`{"status":"ok"}`))
	}
	body, err := json.Marshal(map[string]string{"status": "unavailable", "error": wrong.Error()})
	if err != nil {
		return err
	}
	w.Header()["Retry-After"] = []string{"1"}
	return web.Reply(w, http.StatusServiceUnavailable, body)
}

// adminHandler serves operators, under the setup that is in force when they come.
func (s *Server) adminHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.current.Load().admin.ServeHTTP(w, r) })
}

// buildAdmin makes what the listener for operators serves.
func (s *Server) buildAdmin(u *setup) (*web.Floor, error) {
	own := []web.Address{s.health("/healthz", s.alive), s.health("/readyz", s.readiness)}
	scrape := s.metrics.Handler()
	own = append(own, web.Address{Path: "/metrics", Methods: map[string]web.Handler{http.MethodGet: func(w http.ResponseWriter, r *web.Request) error {
		scrape.ServeHTTP(w, r.Request)
		return nil
	}}})
	for _, a := range own { // whoever looks after machines may ask so
		a.Methods[http.MethodHead] = a.Methods[http.MethodGet]
	}
	pages, err := s.dashboardOf(u.config, dashboard.Operators)
	if err != nil {
		return nil, err
	}
	api, err := s.adminAPI(u.config)
	if err != nil {
		return nil, err
	}
	own = append(append(own, pages...), api...)
	return web.New(web.Config{
		Own: own, Observe: s.observeAdmin, Now: s.opened.DB.Now,
		Resolve:   func(r *http.Request) (address, peer netip.Addr, forwarded string) { return s.resolve(u.proxies, r) },
		Fallbacks: []web.Fallback{{Refuse: refusePlainly}},
	})
}

// observeAdmin tells of a request of an operator's that is over. What machines ask all the time it leaves out.
func (s *Server) observeAdmin(o *auth.Observation) {
	switch o.Route {
	case "/metrics", "/healthz", "/readyz":
	default:
		s.access.Note(o)
		s.metrics.Note(o)
	}
}

// refusePlainly tells an error in one line.
func refusePlainly(w http.ResponseWriter, r *web.Request, err error) {
	failed := web.Fail(w.Header(), r, err)
	w.Header()["Cache-Control"] = []string{"no-store"}
	http.Error(w, http.StatusText(failed.Status), failed.Status)
}
