package gateway

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// A house is a gateway on the floor behind a real socket, with an API behind it that writes down what it gets.
type house struct {
	t    testing.TB
	URL  string
	addr string
	api  *api
	gate *fakeGate

	gateway  *Gateway
	handler  http.Handler // the floor and all that is on it
	stranger atomic.Bool  // whoever asks is no proxy of ours

	seen chan auth.Observation
}

// An api writes down what it gets and answers as it is told.
type api struct {
	*httptest.Server
	mu     sync.Mutex
	got    []arrived
	answer http.HandlerFunc // nil: 200 and "from the API"
}

type arrived struct {
	Method, Target, Host string
	Header               http.Header
	Trailer              http.Header
	Body                 string
}

func newAPI(t testing.TB, answer http.HandlerFunc) *api {
	a := &api{answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one := arrived{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header.Clone()}
		if a.answer == nil {
			body, _ := io.ReadAll(r.Body)
			one.Body, one.Trailer = string(body), r.Trailer
		}
		a.mu.Lock()
		a.got = append(a.got, one)
		a.mu.Unlock()
		if a.answer != nil {
			a.answer(w, r)
			return
		}
		_, _ = io.WriteString(w, "from the API")
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) arrivals() []arrived {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

// only returns the one call that arrived, and forgets it.
func (a *api) only(t testing.TB) arrived {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.got) != 1 {
		t.Fatalf("%d calls arrived, want 1", len(a.got))
	}
	one := a.got[0]
	a.got = nil
	return one
}

// A fakeGate knows one good token and writes down what it let in.
type fakeGate struct {
	mu    sync.Mutex
	let   []auth.Caller
	wants []auth.Want
	shown []auth.Possession
	scope string
	limit auth.Limit
	err   error
	kind  verify.Type // of the good token
	exp   time.Time   // its end; zero: in an hour
	still error       // what becomes of what was let in

	renewals int // how often a new token was asked for
	renewErr error
}

func (g *fakeGate) VerifyBound(_ context.Context, token string, shown auth.Possession, from auth.Caller, want auth.Want) (verify.Principal, auth.Limit, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wants, g.shown = append(g.wants, want), append(g.shown, shown)
	if token != "good" {
		bad := auth.ErrBadToken.Because(auth.ReasonSignature)
		bad.TokenSent = true
		return verify.Principal{}, auth.Limit{}, bad
	}
	if g.err != nil {
		return verify.Principal{}, auth.Limit{}, g.err
	}
	g.let = append(g.let, from)
	return verify.Principal{Scope: g.scope, Claims: &verify.Claims{
		Subject: "100001", Account: 100001, Credential: "cred00000001", Session: "session1", Type: cmp.Or(g.kind, verify.B2BAccess),
		Expires: cmp.Or(max(0, g.exp.Unix()), time.Now().Add(time.Hour).Unix()),
	}}, g.limit, nil
}

func (g *fakeGate) Still(context.Context, verify.Principal, auth.Caller, auth.Want) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.still
}

func (g *fakeGate) Renew(_ context.Context, who verify.Principal) (auth.Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.renewals++
	if g.renewErr != nil {
		return auth.Grant{}, g.renewErr
	}
	return auth.Grant{Token: "new-for-" + who.Credential, Type: who.Type, Expires: renewedUntil}, nil
}

// renewedUntil is when the tokens die that a fakeGate gives.
var renewedUntil = time.Unix(1722920383, 0)

// refuseAs is a contract's way to refuse, reduced to what can be told apart.
func refuseAs(contract string) web.Refuse {
	return func(w http.ResponseWriter, r *web.Request, err error) {
		f := web.Fail(w.Header(), r, err)
		_ = web.Reply(w, f.Status, fmt.Appendf(nil, `{"words":%q,"status":%d,"reason":%q}`, contract, f.Status, f.Cause.Reason))
	}
}

// newHouse opens a house. Routes without an upstream get the api, if there is one.
func newHouse(t testing.TB, api *api, routes []Route, change ...func(*Config)) *house {
	t.Helper()
	return newHouseOn(t, api, routes, func(*web.Config) {}, change...)
}

// newHouseOn opens a house on another floor.
func newHouseOn(t testing.TB, api *api, routes []Route, ground func(*web.Config), change ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, api: api, gate: &fakeGate{}, seen: make(chan auth.Observation, 1000)}
	for i := range routes {
		if routes[i].Upstreams == nil && api != nil {
			routes[i].Upstreams = []*url.URL{parse(t, api.URL)}
		}
	}
	c := Config{
		Routes: newTable(t, routes...), Gate: h.gate, KeyHeader: "X-LIQUID-API-KEY",
		Ref: func(id auth.AccountID) string { return fmt.Sprintf("C-%d", id-100000) },
	}
	for _, change := range change {
		change(&c)
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	on := web.Config{
		Own:       g.Authz(func(peer netip.Addr) bool { return peer.IsLoopback() && !h.stranger.Load() }, h.first),
		Next:      g.Serve,
		Fallbacks: []web.Fallback{{Prefix: "/auth/", Contract: auth.B2B, Refuse: refuseAs("b2b")}, {Contract: auth.Liquid, Refuse: refuseAs("liquid")}},
		Resolve: func(*http.Request) (netip.Addr, netip.Addr, string) {
			return netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("127.0.0.1"), ""
		},
		Observe: func(o *auth.Observation) { h.seen <- *o },
		CORS:    web.CORS{Methods: g.Methods},
	}
	ground(&on)
	floor, err := web.New(on)
	if err != nil {
		t.Fatal(err)
	}
	h.gateway, h.handler = g, floor
	s := httptest.NewUnstartedServer(floor)
	s.Config.ErrorLog = g.silent
	s.Start()
	t.Cleanup(s.Close)
	h.URL, h.addr = s.URL, s.Listener.Addr().String()
	return h
}

// first refuses what says that it came in clear text.
func (h *house) first(r *web.Request) error {
	if r.Header.Get("X-Forwarded-Proto") == "http" {
		return &web.StatusError{Status: http.StatusBadRequest}
	}
	return nil
}

// http2 is the same house by HTTP/2.
func (h *house) http2() *httptest.Server {
	s := httptest.NewUnstartedServer(h.handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	h.t.Cleanup(s.Close)
	return s
}

func parse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// protected is a route for path that wants a token of contract 3.
func protected(path string) Route {
	return Route{Path: path, Accepts: []verify.Type{verify.B2BAccess}, Refuse: refuseAs("b2b"), Contract: auth.B2B}
}

// observed returns the next observation. Exactly one is told of each request.
func (h *house) observed() auth.Observation {
	h.t.Helper()
	select {
	case o := <-h.seen:
		return o
	case <-time.After(time.Minute):
		h.t.Fatal("nothing was observed")
		panic("unreachable")
	}
}

func (h *house) nothingMoreObserved() {
	h.t.Helper()
	select {
	case o := <-h.seen:
		h.t.Errorf("observed once more: %+v", o)
	default:
	}
}

// A reply is an answer, read to its end.
type reply struct {
	*http.Response
	body string
}

// do sends one request with these headers ("Name: value") and reads the answer.
func (h *house) do(method, target, body string, headers ...string) reply {
	h.t.Helper()
	var lines strings.Builder
	for _, line := range headers {
		lines.WriteString(line + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&lines, "Content-Length: %d\r\n", len(body))
	}
	return h.raw(method, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: api.example.com\r\n%sConnection: close\r\n\r\n%s", method, target, lines.String(), body))
}

// raw sends exactly these bytes over a connection of its own and reads the answer.
func (h *house) raw(method, request string) reply {
	h.t.Helper()
	conn := h.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		h.t.Fatal(err)
	}
	return h.read(method, bufio.NewReader(conn))
}

func (h *house) dial() net.Conn {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // so that a test that hangs fails
	return conn
}

func (h *house) read(method string, r *bufio.Reader) reply {
	h.t.Helper()
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		h.t.Fatalf("read the answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatalf("read the answer's body: %v", err)
	}
	return reply{res, string(body)}
}

// refused fails unless the answer is of this status and in these words, has no more than it should, and carries a request id.
func (h *house) refused(r reply, words string, status int, reason auth.Reason) {
	h.t.Helper()
	want := fmt.Sprintf(`{"words":%q,"status":%d,"reason":%q}`, words, status, reason)
	if r.StatusCode != status || r.body != want {
		h.t.Errorf("got %d %s, want %s", r.StatusCode, r.body, want)
	}
	if len(r.Header["X-Request-Id"]) != 1 {
		h.t.Errorf("request ids: %q", r.Header["X-Request-Id"])
	}
}
