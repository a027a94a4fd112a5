// Package gateway stands in front of the APIs: it finds the route that a call belongs to, has its token judged, and
// forwards it with the caller's identity in headers that only it can set. A call that asks for a new token in its body gets
// it in the answer's. A call that becomes a WebSocket lasts for as long as it would be let in anew. Another proxy may ask for
// the verdict alone, and forward the call itself. Whether a token is good, and whether there is to be a new one, it leaves to
// gate, the path check and the framing to web, and the words of a refusal to whoever gives it a route: it knows no contract.
//
// The invariant: what reaches an API is exactly what was judged (one host and path, one method, one token, or a public
// route), no credential is passed on, and every header that tells the API who is calling has one value, ours, or none. Bodies
// stream: none is held, and none is changed but for the one member that carries a new token.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/upstream"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// A Gate judges tokens. Its errors are of type [*auth.Error].
type Gate interface {
	// VerifyBound judges a token that came with a proof of this, the zero Possession: without.
	VerifyBound(ctx context.Context, token string, shown auth.Possession, from auth.Caller, want auth.Want) (verify.Principal, auth.Limit, error)
	// Still says whether who was let in would be let in now; nil: yes. It charges nothing and answers from memory.
	Still(ctx context.Context, who verify.Principal, from auth.Caller, want auth.Want) error
	// Renew gives the holder of a verified ACCESS_TOKEN a new one.
	Renew(ctx context.Context, who verify.Principal) (auth.Grant, error)
}

// Config says what a [Gateway] needs.
type Config struct {
	Routes *Table
	Gate   Gate
	// Reserved says that a path is one of our own addresses or lies under one: it belongs to no route, however short the
	// route's path is. nil: there is none.
	Reserved func(path string) bool
	// Ref returns the operator's own reference of an account, "" if it has none. It is asked on every call and answers
	// from memory. nil: there are none.
	Ref func(auth.AccountID) string
	// Renewed is told what the gate said to each call that asked for a new token in its body: Renewed and nil, or
	// RenewalRefused or RenewalUnavailable and why. nil: nobody listens.
	Renewed func(outcome string, err error)
	// Upgraded keeps the connections that become WebSockets, for whoever stops the server. nil: nobody can.
	Upgraded *Upgraded
	// KeyHeader is the header that API keys come in, which is not passed on; "": there is none.
	KeyHeader string
	// PublicURL is where clients believe the server to be. An API is told its scheme, unless TLS ended with us, and DPoP proofs
	// are for it; nil: http, and no proof is understood.
	PublicURL *url.URL
	// Transport carries the calls; [Route.Timeouts] and [Route.TLS] are then its own affair. nil: one made for it.
	Transport http.RoundTripper
	// MinBodyRate is how many bytes a second of a request's body must come on average, while they are waited for and once
	// that has been ten seconds. 0: any number.
	MinBodyRate int64
	Log         *slog.Logger     // where it is told how servers fare; nil: nowhere
	Now         func() time.Time // nil: time.Now
}

// A Gateway forwards calls. It is safe for concurrent use.
type Gateway struct {
	proofs   *proof.Proofs // nil: none are understood
	routes   *Table
	gate     Gate
	reserved func(path string) bool
	ref      func(auth.AccountID) string
	renewed  func(outcome string, err error)
	upgraded *Upgraded
	scheme   string
	servers  *upstream.Set
	onward   map[*route]*onward // of routes that go somewhere
	pace     pace
	now      func() time.Time
	buffers  buffers
	silent   *log.Logger
}

// An onward is what calls through a route have in common on their way to its API.
type onward struct {
	pool  *upstream.Pool
	strip *stripSet // what a client sends that goes no further
}

// New returns a Gateway. Without routes or a gate it is an error.
func New(c Config) (*Gateway, error) {
	if c.Routes == nil || c.Gate == nil {
		return nil, errors.New("gateway: routes and a gate are both needed")
	}
	if len(c.KeyHeader) > longestName {
		return nil, fmt.Errorf("gateway: the header of API keys has a name of more than %d bytes", longestName)
	}
	g := &Gateway{
		routes: c.Routes, gate: c.Gate, reserved: c.Reserved, ref: c.Ref, renewed: c.Renewed, upgraded: c.Upgraded, now: c.Now, scheme: "http",
		servers: upstream.New(upstream.Config{Transport: c.Transport, Log: c.Log, Now: c.Now}),
		onward:  make(map[*route]*onward),
		pace:    pace{c.MinBodyRate, usualGrace},
		// ReverseProxy would log what the observation of the call says already.
		silent: log.New(io.Discard, "", 0),
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.reserved == nil {
		g.reserved = func(string) bool { return false }
	}
	if g.ref == nil {
		g.ref = func(auth.AccountID) string { return "" }
	}
	if g.upgraded == nil {
		g.upgraded = new(Upgraded)
	}
	if g.renewed == nil {
		g.renewed = func(string, error) {}
	}
	if c.PublicURL != nil {
		var err error
		if g.proofs, err = proof.NewProofs(proof.ProofsConfig{PublicURL: c.PublicURL.String(), Now: c.Now}); err != nil {
			return nil, err
		}
	}
	if c.PublicURL != nil && strings.EqualFold(c.PublicURL.Scheme, "https") {
		g.scheme = "https"
	}
	// Whatever one route tells of callers is removed on all: behind a route that does not tell it there may stand the same API.
	remove := []string{c.KeyHeader}
	for _, r := range c.Routes.routes {
		if r.Bound && g.proofs == nil {
			return nil, fmt.Errorf("gateway: route %s asks for DPoP, and without a public URL no proof is understood", r.Path)
		}
		for _, i := range r.identity {
			remove = append(remove, i.name)
		}
	}
	strip := newStripSet(remove...)
	for _, r := range c.Routes.routes {
		if len(r.servers) == 0 {
			continue
		}
		to := &onward{strip: strip, pool: g.servers.Add(upstream.Options{
			Route: r.Path, Servers: r.servers, Timeouts: r.Timeouts, TLS: r.TLS, Breaking: r.Breaking, Health: r.Health,
		})}
		if len(r.request.remove) > 0 {
			to.strip = newStripSet(slices.Concat(remove, r.request.remove)...)
		}
		g.onward[r] = to
	}
	return g, nil
}

// Serve is the [web.Handler] of whatever is none of our own addresses: it forwards the call, or returns why not. If the
// API breaks off, or the client has gone, it panics with [http.ErrAbortHandler], as handlers of net/http do to have the
// connection cut.
func (g *Gateway) Serve(w http.ResponseWriter, r *web.Request) error {
	route, err := g.find(r, r.Host, r.Method)
	if route == nil {
		return err
	}
	c := &call{g: g, w: w, r: r, route: route}
	if err := c.admit(err); err != nil {
		return err
	}
	return c.forward()
}

// Methods returns the path of the routes that r's host and path belong to, and the methods that they take, as
// Access-Control-Allow-Methods has them; both "" if there is none.
func (g *Gateway) Methods(r *web.Request) (route, methods string) {
	if g.reserved(r.Path) {
		return "", ""
	}
	return g.routes.methods(r.Host, r.Path, r.Header.Get("Access-Control-Request-Method"))
}

// find returns the route of a call to r.Path, as [Table.Match] does, and notes it in r.
func (g *Gateway) find(r *web.Request, host, method string) (*route, error) {
	if g.reserved(r.Path) {
		return nil, &web.StatusError{Status: http.StatusNotFound}
	}
	route, err := g.routes.match(host, r.Path, method)
	if route == nil {
		return nil, err
	}
	r.Seen.Did, r.Seen.Route = auth.DidVerify, route.Path
	if route.Refuse != nil {
		r.Refuse, r.Seen.Contract = route.Refuse, route.Contract
	}
	return route, err
}

// Run watches over the APIs until ctx ends. Calls go through without it too, by what was known last.
func (g *Gateway) Run(ctx context.Context) error { return g.servers.Run(ctx) }

// Standings say how the servers of each route stand.
func (g *Gateway) Standings() []upstream.Standing { return g.servers.Standings() }

// Close closes the connections to APIs that wait for a next call, if they are our own. Calls under way go on, and so do
// WebSockets.
func (g *Gateway) Close() { g.servers.Close() }

// buffers are what answers are copied through.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buf []byte) { b.pool.Put((*[bufferSize]byte)(buf)) }
