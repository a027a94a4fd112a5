package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

const (
	page      = "Origin: https://app.example.com"
	preflight = "Access-Control-Request-Method: GET"
)

// pagesMayCall lets the scripts of one page call.
func pagesMayCall(c *web.Config) {
	c.CORS.Origins, c.CORS.Headers = []string{"https://app.example.com"}, []string{"Authorization", "X-Key"}
}

// fromUs is what answers say that this page may read.
func fromUs() http.Header {
	return http.Header{
		"Access-Control-Allow-Origin":   {"https://app.example.com"},
		"Access-Control-Expose-Headers": {"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Auth-Refresh"},
		"Vary":                          {"Origin"},
	}
}

func corsOf(h http.Header) http.Header {
	of := make(http.Header)
	for name, values := range h {
		if name == "Vary" || strings.HasPrefix(name, "Access-Control-") {
			of[name] = values
		}
	}
	return of
}

// wide is an API that lets everybody read, with everything that a browser would take from it.
func wide(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/own/broken" || r.URL.Path == "/broken" {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Allow-Private-Network", "true")
	h.Set("Access-Control-Expose-Headers", "*")
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Vary", "Accept")
	if r.URL.Path == "/missing" {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = io.WriteString(w, "from the API")
}

var fromTheAPI = http.Header{
	"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Allow-Private-Network": {"true"},
	"Access-Control-Expose-Headers": {"*"}, "Access-Control-Max-Age": {"86400"}, "Vary": {"Accept"},
}

// Who may read what an API says is for the configuration to say, not for the API, unless its route leaves it to it.
func TestOneVoiceToBrowsers(t *testing.T) {
	own := open("/own")
	own.OwnCORS = true
	routes := []Route{open("/"), protected("/closed"), own}
	h := newHouseOn(t, newAPI(t, wide), routes, pagesMayCall)

	both := fromUs()
	both["Vary"] = []string{"Origin", "Accept"}
	unlisted := http.Header{"Vary": {"Origin", "Accept"}}
	for _, c := range []struct {
		target, origin string
		status         int
		want           http.Header
	}{
		{"/", page, 200, both},
		{"/missing", page, 404, both},
		{"/", "Origin: https://evil.example", 200, unlisted},
		{"/", "X-No: origin", 200, unlisted},
		{"/broken", page, 502, fromUs()},
		{"/closed", page, 401, fromUs()},
		{"/closed", "Origin: https://evil.example", 401, http.Header{"Vary": {"Origin"}}},
		{"/own", page, 200, fromTheAPI},
		{"/own", "Origin: https://evil.example", 200, fromTheAPI},
		{"/own", "X-No: origin", 200, fromTheAPI},
		{"/own/broken", page, 502, fromUs()}, // which the gateway says itself
	} {
		answer := h.do("GET", c.target, "", c.origin)
		if diff := cmp.Diff(c.want, corsOf(answer.Header)); diff != "" || answer.StatusCode != c.status {
			t.Errorf("%s, %s: %d, want %d (-want +got):\n%s", c.target, c.origin, answer.StatusCode, c.status, diff)
		}
		if len(answer.Header["X-Request-Id"]) != 1 {
			t.Errorf("%s: request ids %q", c.target, answer.Header["X-Request-Id"])
		}
	}

	// With no page that may call, an API has no voice either, and nobody else has one.
	h = newHouse(t, newAPI(t, wide), routes)
	for target, want := range map[string]http.Header{"/": {"Vary": {"Accept"}}, "/own": fromTheAPI} {
		if diff := cmp.Diff(want, corsOf(h.do("GET", target, "", page).Header)); diff != "" {
			t.Errorf("%s, without CORS: (-want +got)\n%s", target, diff)
		}
	}
}

// ReverseProxy empties the head after early hints, and what we say in it comes again.
func TestEarlyHintsLeaveTheVoice(t *testing.T) {
	h := newHouseOn(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
	}), []Route{open("/")}, pagesMayCall)
	conn := h.dial()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", page)
	r := bufio.NewReader(conn)
	h.read("GET", r)
	if diff := cmp.Diff(fromUs(), corsOf(h.read("GET", r).Header)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A preflight carries no token, so it is answered before anybody looks for one, and no API hears of it.
func TestPreflightsOfRoutes(t *testing.T) {
	some, more, own, elsewhere := protected("/some"), protected("/some/"), protected("/own"), protected("/")
	some.Methods, more.Methods = []string{"POST", "GET"}, []string{"PURGE"}
	own.OwnCORS = true
	elsewhere.Host = "other.example.com"
	h := newHouseOn(t, newAPI(t, nil), []Route{some, more, own, elsewhere, protected("/all")}, pagesMayCall,
		func(c *Config) { c.Reserved = func(path string) bool { return path == "/all/ours" } })

	const every = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	for _, c := range []struct{ target, asked, methods, route string }{
		{"/some/7", "GET", "GET, POST, PURGE", "/some"},
		{"/some/7", "DELETE", "GET, POST, PURGE", "/some"},
		{"/own", "GET", every, "/own"},
		{"/all/of/it", "GET", every, "/all"},
		{"/all", "QUERY", every + ", QUERY", "/all"}, // every method is let through,
		{"/all", "TRACE", every, "/all"},             // but these,
		{"/all", "CONNECT", every, "/all"},
		{"/all", "get, x", every, "/all"}, // and what is none
		{"/all", "", every, "/all"},
	} {
		answer := h.do("OPTIONS", c.target, "", page, "Access-Control-Request-Method: "+c.asked)
		want := http.Header{
			"Access-Control-Allow-Origin": {"https://app.example.com"}, "Access-Control-Allow-Methods": {c.methods},
			"Access-Control-Allow-Headers": {"Authorization, X-Key"}, "Access-Control-Max-Age": {"600"}, "Vary": {"Origin"},
		}
		if diff := cmp.Diff(want, corsOf(answer.Header)); diff != "" || answer.StatusCode != 204 || answer.body != "" {
			t.Errorf("%s: %d %q (-want +got)\n%s", c.target, answer.StatusCode, answer.body, diff)
		}
		if o := h.observed(); o.Status != 204 || o.Route != c.route || o.Did != auth.DidOther {
			t.Errorf("%s: observed %+v", c.target, o)
		}
	}
	if n := len(h.gate.wants) + len(h.api.arrivals()); n != 0 {
		t.Errorf("the gate or the API heard of %d preflights", n)
	}

	// Where no route is, or by another name, or for another page, it is a request like any.
	for request, status := range map[string]int{"/elsewhere": 404, "/all/ours": 404, "/some;v=1/7": 400} {
		if answer := h.do("OPTIONS", request, "", page, preflight); answer.StatusCode != status {
			t.Errorf("%s: %d, want %d", request, answer.StatusCode, status)
		}
	}
	h.refused(h.do("OPTIONS", "/all", "", "Origin: https://evil.example", preflight), "b2b", 401, auth.ReasonNoCredential)
	h.refused(h.do("OPTIONS", "/some", "", "Origin: https://evil.example", preflight), "b2b", 405, auth.ReasonMalformed)
}

// An API that answers preflights itself gets a route for them, and is asked where we do not answer.
func TestAnAPIAnswersItsOwnPreflights(t *testing.T) {
	closed, public := protected("/api"), open("/api")
	public.Methods, public.OwnCORS, closed.OwnCORS = []string{"OPTIONS"}, true, true
	h := newHouseOn(t, newAPI(t, wide), []Route{closed, public}, pagesMayCall)
	for origin, status := range map[string]int{"Origin: https://elsewhere.example": 200, page: 204} {
		if answer := h.do("OPTIONS", "/api/7", "", origin, preflight); answer.StatusCode != status {
			t.Errorf("%s: %d, want %d", origin, answer.StatusCode, status)
		}
	}
	if answer := h.do("GET", "/api/7", "", "Origin: https://elsewhere.example"); answer.StatusCode != 401 {
		t.Errorf("a call without a token: %d", answer.StatusCode)
	}
}

// Who sends no Origin pays nothing for those who do.
func TestNoOriginCostsNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector has pools forget what they hold")
	}
	cost := func(ground func(*web.Config)) float64 {
		h := newHouseOn(t, newAPI(t, nil), []Route{open("/")}, func(c *web.Config) { ground(c); c.Observe = nil }, func(c *Config) { c.Transport = instant{} })
		w, r := &discard{h: make(http.Header)}, httptest.NewRequest("GET", "/", nil)
		return testing.AllocsPerRun(200, func() {
			clear(w.h)
			h.handler.ServeHTTP(w, r)
		})
	}
	if without, with := cost(func(*web.Config) {}), cost(pagesMayCall); with > without {
		t.Errorf("%v allocations with CORS, %v without", with, without)
	}
}
