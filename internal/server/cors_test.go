package server

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	page     = "https://app.example.com"
	stranger = "https://elsewhere.example"
)

// corsOf returns what an answer tells browsers of who may read it.
func corsOf(h http.Header) http.Header {
	of := make(http.Header)
	for name, values := range h {
		if name == "Vary" || strings.HasPrefix(name, "Access-Control-") {
			of[name] = values
		}
	}
	return of
}

// A page calls the whole server over TLS, as browsers do, whichever version of HTTP they agree on.
func TestCrossOrigin(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/breaks" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Vary", "Accept")
		w.WriteHeader(http.StatusTeapot)
	}))
	defer api.Close()
	w := newWorld(t, newCertificate(t, time.Now().Add(time.Hour))+`
cors:
  allowed_origins: [`+page+`, "http://localhost:3000"]
  allowed_headers: [X-Customer]
contracts: {liquid: {header: X-Key}}
limits: {exchange_per_address: {rate: 4/h, burst: 4}}
routes:
- {path: /api/, upstream: '`+api.URL+`', accepts: [ACCESS_TOKEN]}
- {path: /api/some, methods: [POST, GET], upstream: '`+api.URL+`', accepts: [B2B_ACCESS]}
- {path: /own, public: true, upstream: '`+api.URL+`', cors: upstream}
- {path: /hosted, host: api.example.com, public: true, upstream: '`+api.URL+`'}
`)
	_, key, _ := w.issue(auth.APIKey)

	ours := http.Header{
		"Access-Control-Allow-Origin":   {page},
		"Access-Control-Expose-Headers": {"X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Auth-Refresh"},
		"Vary":                          {"Origin"},
	}
	for _, version := range []int{1, 2} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: version == 2}}
		defer client.CloseIdleConnections()
		ask := func(method, path string, headers ...string) *http.Response {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, "https://"+w.Addr()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			res.Body = io.NopCloser(bytes.NewReader(body))
			if err != nil || res.ProtoMajor != version || len(res.Header["X-Request-Id"]) != 1 || res.Header.Get("Date") == "" {
				t.Errorf("%s %s: %s, %v, %v", method, path, res.Proto, res.Header, err)
			}
			if res.StatusCode == http.StatusNoContent && (len(body) > 0 || res.Header["Ratelimit"] != nil) {
				t.Errorf("%s %s: a preflight got %q, %v", method, path, body, res.Header)
			}
			return res
		}

		// Everywhere it may call, it is told so without a token and without being charged.
		const every = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
		for path, methods := range map[string]string{
			"/authentication": "GET", "/api/authentication": "GET", "/order-authentication": "GET", "/api/order-authentication": "GET",
			"/auth/login": "POST", "/auth/refresh": "POST", "/auth/logout": "POST", "/oauth/token": "POST", "/.well-known/jwks.json": "GET",
			"/api/7": every, "/api/some/7": "GET, POST", "/own": every,
		} {
			res := ask("OPTIONS", path, "Origin", page, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
			want := http.Header{
				"Access-Control-Allow-Origin": {page}, "Access-Control-Allow-Methods": {methods}, "Access-Control-Max-Age": {"600"}, "Vary": {"Origin"},
				"Access-Control-Allow-Headers": {"Authorization, Content-Type, Idempotency-Key, X-Request-Id, X-Key, X-LIQUID-API-OBF, X-LIQUID-API-SDK, X-LIQUID-SDK-VERSION, X-Customer"},
			}
			if diff := cmp.Diff(want, corsOf(res.Header)); diff != "" || res.StatusCode != 204 {
				t.Errorf("HTTP/%d, preflight of %s: %d (-want +got)\n%s", version, path, res.StatusCode, diff)
			}
		}
		// Where it may not, and for those who may not, a preflight is a request like any.
		for path, status := range map[string]int{"/healthz": 405, "/readyz": 405, "/elsewhere": 404, "/hosted": 404} {
			res := ask("OPTIONS", path, "Origin", page, "Access-Control-Request-Method", "GET")
			if res.StatusCode != status || res.Header["Access-Control-Allow-Origin"] != nil {
				t.Errorf("HTTP/%d, preflight of %s: %d, %v", version, path, res.StatusCode, res.Header)
			}
		}
		for path, status := range map[string]int{"/authentication": 405, "/auth/login": 405, "/.well-known/jwks.json": 405, "/api/7": 401, "/api/some": 405} {
			res := ask("OPTIONS", path, "Origin", stranger, "Access-Control-Request-Method", "GET")
			if diff := cmp.Diff(http.Header{"Vary": {"Origin"}}, corsOf(res.Header)); diff != "" || res.StatusCode != status {
				t.Errorf("HTTP/%d, a stranger's preflight of %s: %d, want %d (-want +got)\n%s", version, path, res.StatusCode, status, diff)
			}
		}

		// It can read every answer, an API's and ours, whatever became of the call.
		withTheirs := ours.Clone()
		withTheirs["Vary"] = []string{"Origin", "Accept"}
		theirs := http.Header{"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"}, "Vary": {"Accept"}}
		token := ""
		for _, c := range []struct {
			method, path string
			status       int
			want         http.Header
		}{
			{"GET", "/authentication", 201, ours},
			{"GET", "/authentication", 400, ours},
			{"GET", "/authentication", 429, ours},
			{"DELETE", "/auth/login", 405, ours},
			{"GET", "/.well-known/jwks.json", 200, ours},
			{"GET", "/api/7", 418, withTheirs},
			{"GET", "/api/breaks", 502, ours},
			{"GET", "/api/some", 401, ours},
			{"DELETE", "/api/some", 405, ours},
			{"GET", "/own", 418, theirs},
			{"GET", "/healthz", 200, http.Header{}},
			{"GET", "/elsewhere", 404, http.Header{"Vary": {"Origin"}}},
		} {
			headers := []string{"Origin", page}
			switch {
			case c.status == 201:
				headers = append(headers, "X-Key", key)
			case c.status == 429:
				for ask(c.method, c.path).StatusCode != 429 {
				}
			case c.status != 400:
				headers = append(headers, "Authorization", "Bearer "+token)
			}
			res := ask(c.method, c.path, headers...)
			if c.status == 201 {
				var body struct{ Data struct{ Token string } }
				if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
					t.Fatal(err)
				}
				token = body.Data.Token
			}
			if diff := cmp.Diff(c.want, corsOf(res.Header)); diff != "" || res.StatusCode != c.status {
				t.Errorf("HTTP/%d: %s %s: %d, want %d (-want +got)\n%s", version, c.method, c.path, res.StatusCode, c.status, diff)
			}
		}
		// A stranger is served as ever: it is his browser that keeps the answer from him.
		if res := ask("GET", "/api/7", "Origin", stranger, "Authorization", "Bearer "+token); res.StatusCode != 418 || res.Header["Access-Control-Allow-Origin"] != nil {
			t.Errorf("HTTP/%d: a stranger's call: %d %v", version, res.StatusCode, res.Header)
		}
		w.move(2 * time.Hour) // the limit is full again
	}
	for _, path := range []string{"/metrics", "/healthz"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.AdminAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", page)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 200 || res.Header["Access-Control-Allow-Origin"] != nil {
			t.Errorf("%s for operators: %d %v", path, res.StatusCode, res.Header)
		}
	}
}

// A preflight is before every other check, that of clear text too: it carries nothing that could be seen. The call is judged.
func TestPreflightsAndRequireHTTPS(t *testing.T) {
	w := newWorld(t, "require_https: true\ntrusted_proxies: [10.0.0.0/8]\ncors: {allowed_origins: ['"+page+"']}\n"+
		"routes:\n- {path: /open, public: true, upstream: 'http://127.0.0.1:1'}\n")
	for _, path := range []string{"/authentication", "/open"} {
		if a := w.ask("OPTIONS", path, "", "Origin", page, "Access-Control-Request-Method", "GET"); a.Code != 204 {
			t.Errorf("preflight of %s: %d", path, a.Code)
		}
		if a := w.ask("GET", path, "", "Origin", page); a.Code != 400 || a.Header().Get("Access-Control-Allow-Origin") != page {
			t.Errorf("%s: %d %v", path, a.Code, a.Header())
		}
	}
}

// Without a restart, another page may call, and the former one no longer.
func TestReloadOfOrigins(t *testing.T) {
	w := newWorld(t, "cors: {allowed_origins: ['"+page+"']}\n")
	may := func(origin string) bool {
		a := w.ask("OPTIONS", "/authentication", "", "Origin", origin, "Access-Control-Request-Method", "GET")
		return a.Code == 204 && a.Header().Get("Access-Control-Allow-Origin") == origin
	}
	if !may(page) || may(stranger) {
		t.Error("at first")
	}
	w.configure("cors: {allowed_origins: ['" + stranger + "']}\n")
	w.mustReload()
	if may(page) || !may(stranger) {
		t.Error("after a reload")
	}
	w.configure("")
	w.mustReload()
	if may(stranger) || len(corsOf(w.ask("GET", "/authentication", "", "Origin", stranger).Header())) > 0 {
		t.Error("without origins")
	}
}
