package web_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// crossOrigin is a floor with addresses that pages may call and one that they may not, and routes under /api.
func crossOrigin() web.Config {
	fails := func(http.ResponseWriter, *web.Request) error { return auth.ErrInsufficientScope }
	return web.Config{
		Own: []web.Address{
			{
				Path: "/exchange", Contract: auth.Orders, Refuse: says("own"), Limited: true, Did: auth.DidExchange, CrossOrigin: true,
				Methods: map[string]web.Handler{"GET": ok, "POST": fails, "PUT": func(http.ResponseWriter, *web.Request) error { panic("canary") }},
			},
			{Path: "/plain", Methods: get(ok)},
		},
		Next: func(w http.ResponseWriter, r *web.Request) error {
			if !strings.HasPrefix(r.Path, "/api/") {
				return &web.StatusError{Status: http.StatusNotFound}
			}
			r.Seen.Route, r.Seen.Did = "/api", auth.DidVerify
			if r.Path == "/api/bad" {
				return &web.StatusError{Status: http.StatusBadGateway, Err: errors.New("canary")}
			}
			w.Header().Add("Vary", "Accept")
			return ok(w, r)
		},
		Fallbacks: fallbacks,
		CORS: web.CORS{
			Origins: []string{"https://app.example.com", "http://localhost:3000"},
			Headers: []string{"Authorization", "X-Key", "authorization", "x-key", "X-Customer"},
			Methods: func(r *web.Request) (route, methods string) {
				if strings.HasPrefix(r.Path, "/api/") {
					return "/api", "GET, PURGE"
				}
				return "", ""
			},
		},
	}
}

const (
	page   = "\nOrigin: https://app.example.com"
	asking = page + "\nAccess-Control-Request-Method: GET"
)

func TestAPreflight(t *testing.T) {
	c := crossOrigin()
	c.Attempt = func(*auth.Caller) error { t.Error("a preflight was charged"); return nil }
	c.Look = func(*auth.Caller) { t.Error("the limit was looked at") }
	s := webtest.Serve(t, c)
	for _, at := range []struct {
		path, route, methods string
		contract             auth.Contract
	}{
		{"/exchange", "/exchange", "GET, POST, PUT", auth.Orders},
		{"/%65xchange?x=y", "/exchange", "GET, POST, PUT", auth.Orders},
		{"/api/7", "/api", "GET, PURGE", auth.Liquid},
		{"/api/bad", "/api", "GET, PURGE", auth.Liquid},
	} {
		for _, origin := range []string{"https://app.example.com", "http://localhost:3000"} {
			// Whatever method and headers it asks for, the answer says what there is.
			a := s.Send(t, "OPTIONS "+at.path+"\nOrigin: "+origin+
				"\nAccess-Control-Request-Method: DELETE\nAccess-Control-Request-Headers: x-secret\nAccess-Control-Request-Private-Network: true\nCookie: a=b")
			want := http.Header{
				"Access-Control-Allow-Origin": {origin}, "Access-Control-Allow-Methods": {at.methods},
				"Access-Control-Allow-Headers": {"Authorization, X-Key, X-Customer"}, "Access-Control-Max-Age": {"600"}, "Vary": {"Origin"},
			}
			if diff := cmp.Diff(want, a.Header); diff != "" || a.Status != 204 || a.Body != "" {
				t.Errorf("%s: %d %q (-want +got):\n%s", at.path, a.Status, a.Body, diff)
			}
			if o := a.Seen; o.Route != at.route || o.Contract != at.contract || o.Did != auth.DidOther || o.Reason != auth.ReasonNone {
				t.Errorf("%s: observed %+v", at.path, o)
			}
		}
	}
}

// A body is not asked for and not waited for; the next request on the connection is read after it.
func TestAPreflightWithABody(t *testing.T) {
	s := webtest.Serve(t, crossOrigin())
	if a := s.Send(t, "OPTIONS /exchange"+asking+"\nContent-Length: 2\n\nhi"); a.Status != 204 {
		t.Errorf("got %d", a.Status)
	}
}

// What is not quite a preflight from one of ours takes its normal way.
func TestNoPreflight(t *testing.T) {
	s := webtest.Serve(t, crossOrigin())
	varies := http.Header{"Vary": {"Origin"}}
	readable := http.Header{
		"Vary": {"Origin"}, "Access-Control-Allow-Origin": {"https://app.example.com"},
		"Access-Control-Expose-Headers": {"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Auth-Refresh"},
	}
	for _, c := range []struct {
		request string
		status  int
		want    http.Header
	}{
		// Nobody, or somebody else, asks.
		{"OPTIONS /exchange", 405, varies},
		{"OPTIONS /exchange\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: https://evil.example\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: null\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin:\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: http://app.example.com\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: https://app.example.com:443\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: https://app.example.com/\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: https://APP.example.com\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: https://app.example.com.evil.example\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: https://app.example.com http://localhost:3000\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange\nOrigin: https://app.example.com, http://localhost:3000\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /exchange" + page + asking, 405, varies},
		{"OPTIONS /exchange" + page + "\nOrigin: https://evil.example\nAccess-Control-Request-Method: GET", 405, varies},
		{"OPTIONS /api/7\nOrigin: https://evil.example\nAccess-Control-Request-Method: GET", 200, http.Header{"Vary": {"Origin", "Accept"}}},
		// It asks for nothing, or for two things, or not by OPTIONS.
		{"OPTIONS /exchange" + page, 405, readable},
		{"OPTIONS /exchange" + asking + "\nAccess-Control-Request-Method: GET", 405, readable},
		{"DELETE /exchange" + asking, 405, readable},
		{"GET /exchange" + asking, 200, readable},
		// There is nothing, or nothing for pages.
		{"OPTIONS /elsewhere" + asking, 404, varies},
		{"OPTIONS /plain" + asking, 405, http.Header{}},
		// The path comes first.
		{"OPTIONS /x/../exchange" + asking, 400, http.Header{}},
		{"OPTIONS *" + asking, 400, http.Header{}},
	} {
		a := s.Send(t, c.request)
		if diff := cmp.Diff(c.want, corsOf(a.Header)); diff != "" || a.Status != c.status {
			t.Errorf("%s: %d, want %d (-want +got):\n%s", c.request, a.Status, c.status, diff)
		}
	}
}

// corsOf returns what an answer says of who may read it.
func corsOf(h http.Header) http.Header {
	of := make(http.Header)
	for name, values := range h {
		if name == "Vary" || strings.HasPrefix(name, "Access-Control-") {
			of[name] = values
		}
	}
	return of
}

// Every answer can be read by the pages that may call, errors too, and by no other.
func TestWhoMayRead(t *testing.T) {
	c := crossOrigin()
	limited := false
	c.Attempt = func(*auth.Caller) error {
		if limited {
			return &auth.Error{Kind: auth.Limited, Reason: auth.ReasonRateLimited}
		}
		return nil
	}
	s := webtest.Serve(t, c)
	const all = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Auth-Refresh"
	for _, c := range []struct {
		request string
		status  int
		vary    []string
	}{
		{"GET /exchange", 200, []string{"Origin"}},
		{"POST /exchange", 403, []string{"Origin"}},
		{"PUT /exchange", 500, []string{"Origin"}},
		{"DELETE /exchange", 405, []string{"Origin"}},
		{"GET /exchange 429", 429, []string{"Origin"}},
		{"GET /api/7", 200, []string{"Origin", "Accept"}},
		{"GET /api/bad", 502, []string{"Origin"}},
	} {
		request, is429 := strings.CutSuffix(c.request, " 429")
		limited = is429
		for origin, may := range map[string]bool{"https://app.example.com": true, "http://localhost:3000": true, "https://evil.example": false, "null": false, "": false} {
			want := http.Header{"Vary": c.vary}
			if may {
				want["Access-Control-Allow-Origin"], want["Access-Control-Expose-Headers"] = []string{origin}, []string{all}
			}
			ask := request
			if origin != "" {
				ask += "\nOrigin: " + origin
			}
			a := s.Send(t, ask)
			if diff := cmp.Diff(want, corsOf(a.Header)); diff != "" || a.Status != c.status {
				t.Errorf("%s: %d, want %d (-want +got):\n%s", ask, a.Status, c.status, diff)
			}
		}
	}
	limited = false
	for _, ask := range []string{"GET /plain", "GET /plain" + page, "DELETE /plain" + page} {
		if a := s.Send(t, ask); len(corsOf(a.Header)) != 0 {
			t.Errorf("%s: %v", ask, a.Header)
		}
	}
	// Where nothing is, nothing can be read.
	if a := s.Send(t, "GET /elsewhere"+page); a.Status != 404 || a.Header["Access-Control-Allow-Origin"] != nil {
		t.Errorf("elsewhere: %d %v", a.Status, a.Header)
	}
}

func TestWithoutOriginsNothingIsSaid(t *testing.T) {
	c := crossOrigin()
	c.CORS.Origins = nil
	c.CORS.Methods = func(*web.Request) (string, string) { t.Error("asked for methods"); return "/api", "GET" }
	s := webtest.Serve(t, c)
	for request, status := range map[string]int{
		"OPTIONS /exchange" + asking: 405, "GET /exchange" + page: 200, "POST /exchange" + page: 403, "GET /api/bad" + page: 502, "GET /elsewhere" + page: 404,
	} {
		if a := s.Send(t, request); a.Status != status || len(corsOf(a.Header)) != 0 {
			t.Errorf("%s: %d, want %d; %v", request, a.Status, status, a.Header)
		}
	}
}

// Over HTTP/2 it is the same, letter by letter.
func TestHTTP2SaysTheSame(t *testing.T) {
	c := crossOrigin()
	c.Resolve = func(*http.Request) (a, b netip.Addr, s string) { return }
	floor, err := web.New(c)
	if err != nil {
		t.Fatal(err)
	}
	server := web.NewServer(floor, log.New(io.Discard, "", 0))
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	ask := func(http2 bool, request string) (int, http.Header) {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!http2)
		transport.Protocols.SetUnencryptedHTTP2(http2)
		defer transport.CloseIdleConnections()
		line, headers, _ := strings.Cut(request, "\n")
		method, path, _ := strings.Cut(line, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for header := range strings.SplitSeq(headers, "\n") {
			name, value, _ := strings.Cut(header, ": ")
			r.Header.Add(name, value)
		}
		res, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.ProtoMajor == 2 != http2 {
			t.Fatalf("%s: %s", request, res.Proto)
		}
		if res.Header.Get("X-Request-Id") == "" || res.Header.Get("Date") == "" {
			t.Errorf("%s: %v", request, res.Header)
		}
		return res.StatusCode, corsOf(res.Header)
	}
	for _, request := range []string{
		"OPTIONS /exchange" + asking, "OPTIONS /api/7" + asking, "OPTIONS /exchange" + page + asking, "OPTIONS /plain" + asking,
		"OPTIONS /exchange\nOrigin: https://evil.example\nAccess-Control-Request-Method: GET",
		"GET /exchange" + page, "POST /exchange" + page, "PUT /exchange" + page, "GET /api/7" + page, "GET /api/bad" + page, "GET /elsewhere" + page,
	} {
		status, head := ask(false, request)
		status2, head2 := ask(true, request)
		if diff := cmp.Diff(head, head2); diff != "" || status != status2 {
			t.Errorf("%s: HTTP/1.1 %d, HTTP/2 %d (-1 +2):\n%s", request, status, status2, diff)
		}
	}
}

// Who sends no Origin pays nothing for those who do.
func TestNoOriginCostsNothing(t *testing.T) {
	cost := func(origins ...string) float64 {
		c := crossOrigin()
		c.CORS.Origins = origins
		c.Resolve = func(*http.Request) (a, b netip.Addr, s string) { return }
		floor, err := web.New(c)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/exchange", nil)
		return testing.AllocsPerRun(100, func() {
			clear(w.Header())
			w.Body.Reset()
			floor.ServeHTTP(w, r)
		})
	}
	if without, with := cost(), cost("https://app.example.com"); with > without {
		t.Errorf("%v allocations with CORS, %v without", with, without)
	}
}
