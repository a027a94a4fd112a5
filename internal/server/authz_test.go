package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	proxyPeer = "10.0.0.5:40000"
	customer  = "203.0.113.7"
)

// questions ask, as each of the proxies does, about a call of the customer; lines are names and values of his headers.
var questions = map[string]func(w *world, peer, method, target string, lines ...string) answer{
	"nginx": func(w *world, peer, method, target string, lines ...string) answer {
		return w.askFrom(peer, "GET", "/authz/nginx", "", append(lines, "X-Original-Method", method, "X-Original-URI", target, "X-Forwarded-For", customer)...)
	},
	"traefik": func(w *world, peer, method, target string, lines ...string) answer {
		return w.askFrom(peer, "GET", "/authz/traefik", "", append(lines, "X-Forwarded-Method", method, "X-Forwarded-Uri", target, "X-Forwarded-For", customer)...)
	},
	"caddy": func(w *world, peer, method, target string, lines ...string) answer {
		return w.askFrom(peer, "GET", "/authz/caddy", "", append(lines, "X-Forwarded-Method", method, "X-Forwarded-Uri", target, "X-Forwarded-For", customer)...)
	},
	"envoy": func(w *world, peer, method, target string, lines ...string) answer {
		return w.askFrom(peer, method, "/authz/envoy"+target, "", append(lines, "X-Forwarded-For", customer)...)
	},
}

// Another proxy gets the gateway's own verdict: by token, type, scope, address and limit, in the route's own words, and
// what it asked about is found again as the call that it was.
func TestForwardAuth(t *testing.T) {
	for proxy, question := range questions {
		t.Run(proxy, func(t *testing.T) {
			w := newWorld(t, `
trusted_proxies: [10.0.0.0/8]
limits: {requests_per_account: {rate: 1/h, burst: 4}}
routes:
  - {path: /api, accepts: [B2B_ACCESS], headers: {X-Customer: account}}
  - {path: /api/reports, accepts: [B2B_ACCESS], scopes: [reports]}
  - {path: /api/orders, accepts: [ORDER_API], errors: liquid}
  - {path: /status, public: true}
`)
			_, username, password := w.issue(auth.Login)
			p, _ := w.login(username, password)
			good := []string{"Authorization", "Bearer " + p.Access}
			expect := func(name string, a answer, status int, body string) {
				t.Helper()
				hidden := ""
				if proxy == "nginx" && status != 200 && status != 401 && status != 403 {
					status, hidden = 403, fmt.Sprint(status)
				}
				if a.Code != status || a.Header().Get("X-Auth-Status") != hidden || !strings.Contains(a.Body.String(), body) || status == 200 && a.Body.Len() != 0 {
					t.Errorf("%s: got %d (%q) %s, want %d (%q) %s", name, a.Code, a.Header().Get("X-Auth-Status"), a.Body, status, hidden, body)
				}
			}

			a := question(w, proxyPeer, "POST", "/api/x", good...)
			expect("good", a, 200, "")
			for name, want := range map[string]string{
				"X-Auth-Account": w.account.String(), "X-Customer": w.account.String(), "X-Auth-Type": "B2B_ACCESS", "X-Auth-Scope": "", "X-Auth-Account-Ref": "",
			} {
				if values := a.Header()[name]; len(values) != 1 || values[0] != want {
					t.Errorf("%s: got %q, want %q", name, values, want)
				}
			}
			if !strings.Contains(a.Header().Get("RateLimit"), `"requests_per_account";r=3;`) {
				t.Errorf("the limit: %v", a.Header())
			}
			expect("public", question(w, proxyPeer, "GET", "/status"), 200, "")
			expect("no token", question(w, proxyPeer, "GET", "/api/x"), 401, `"Authentication required"`)
			expect("bad token", question(w, proxyPeer, "GET", "/api/x", "Authorization", "Bearer "+p.Access+"x"), 401, `"Authentication required"`)
			wrong := question(w, proxyPeer, "GET", "/api/orders/7", good...)
			expect("wrong type", wrong, 401, `"message":"Unauthorized"`)
			if got := wrong.Header().Get("WWW-Authenticate"); !strings.Contains(got, "The access token is of another type") {
				t.Errorf("the challenge: %s", got)
			}
			expect("wrong scope", question(w, proxyPeer, "GET", "/api/reports", good...), 403, `"Insufficient scope"`)
			expect("our own address", question(w, proxyPeer, "GET", "/auth/login", good...), 404, `"Not found"`)
			expect("a path in two ways", question(w, proxyPeer, "GET", "/status/../api/x", good...), 400, "")
			for range 3 {
				expect("within the limit", question(w, proxyPeer, "GET", "/api/x", good...), 200, "")
			}
			over := question(w, proxyPeer, "PATCH", "/api/x", good...)
			expect("over the limit", over, 429, `"TOO_MANY_REQUESTS"`)
			if over.Header().Get("Retry-After") == "" || over.Header().Get("RateLimit") == "" {
				t.Errorf("over the limit: %v", over.Header())
			}
			refusal, known := w.refusals.Find(over.Header().Get("X-Request-Id"))
			if !known || refusal.Status != 429 || refusal.Reason != auth.ReasonRateLimited || refusal.Method != "PATCH" || refusal.Path != "/api/x" ||
				refusal.Route != "/api" || refusal.Contract != auth.B2B || refusal.Subject.Account != w.account || refusal.Address.String() != customer {
				t.Errorf("explain knows %+v, %v", refusal, known)
			}
			if _, err := w.Registry().AllowIP(t.Context(), operator, w.account, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, "", time.Time{}); err != nil {
				t.Fatal(err)
			}
			expect("off the allowlist", question(w, proxyPeer, "GET", "/api/x", good...), 403, `"IP address not authorized"`)

			for _, peer := range []string{"192.0.2.1:1", "203.0.113.7:1", "[2001:db8::1]:1"} {
				if a := question(w, peer, "GET", "/status", good...); a.Code != http.StatusNotFound || !strings.Contains(a.Body.String(), `"message":"Not Found"`) {
					t.Errorf("a stranger at %s: got %d %s", peer, a.Code, a.Body)
				}
			}
		})
	}
}

func TestForwardAuthIsNotEverywhere(t *testing.T) {
	for name, yaml := range map[string]string{
		"no routes":  "trusted_proxies: [10.0.0.0/8]\n",
		"no proxies": "routes: [{path: /status, public: true}]\n",
	} {
		w := newWorld(t, yaml)
		for proxy, question := range questions {
			if a := question(w, proxyPeer, "GET", "/status"); a.Code != http.StatusNotFound {
				t.Errorf("%s, %s: got %d", name, proxy, a.Code)
			}
		}
	}
}

// The gateway itself lets nothing through to a route that has no API.
func TestForwardAuthOnly(t *testing.T) {
	w := newWorld(t, "trusted_proxies: [10.0.0.0/8]\nroutes: [{path: /status, public: true}]\n")
	if a := w.ask("GET", "/status", ""); a.Code != http.StatusNotFound {
		t.Errorf("got %d", a.Code)
	}
}

func TestForwardAuthRequiresHTTPS(t *testing.T) {
	w := newWorld(t, "require_https: true\ntrusted_proxies: [10.0.0.0/8]\nroutes: [{path: /status, public: true}]\n")
	for proxy, question := range questions {
		for proto, want := range map[string]int{"https": 200, "http": 400, "": 400} {
			a := question(w, proxyPeer, "GET", "/status", "X-Forwarded-Proto", proto)
			if proxy == "nginx" && want == 400 {
				if a.Code != 403 || a.Header().Get("X-Auth-Status") != "400" {
					t.Errorf("%s by %q: got %d (%q)", proxy, proto, a.Code, a.Header().Get("X-Auth-Status"))
				}
			} else if a.Code != want {
				t.Errorf("%s by %q: got %d, want %d", proxy, proto, a.Code, want)
			}
		}
	}
}

// A proxy that does not say which call it means is a mistake of its operator, whom explain tells.
func TestAProxyThatIsSetUpWrong(t *testing.T) {
	w := newWorld(t, "trusted_proxies: [10.0.0.0/8]\nroutes: [{path: /status, public: true}]\n")
	a := w.askFrom(proxyPeer, "GET", "/authz/nginx", "", "X-Original-Method", "GET", "X-Forwarded-Uri", "/status")
	refusal, known := w.refusals.Find(a.Header().Get("X-Request-Id"))
	if !known || refusal.Route != "/authz/nginx" || refusal.Status != 400 || !strings.Contains(refusal.Detail, "X-Original-Uri has 0 values") {
		t.Errorf("explain knows %+v, %v", refusal, known)
	}
}

// Behind a route for everything there may stand an API, and what was meant for us is not for it: not where a contract is
// switched off, and not where our pages are.
func TestOurAddressesAreNoRoutes(t *testing.T) {
	w := newWorld(t, "contracts: {b2b: {enabled: false}, oauth: {enabled: false}}\nroutes: [{path: /, public: true, upstream: '"+api(t, "the API")+"'}]\n")
	for _, path := range []string{"/auth/login", "/auth/login/x", "/dashboard/nothing", "/oauth/token", "/authz", "/authz/other", "/healthz/x"} {
		if a := w.ask("POST", path, `{"username":"u","password":"p"}`); a.Code != http.StatusNotFound {
			t.Errorf("%s: got %d %s", path, a.Code, a.Body)
		}
	}
	if a := w.ask("POST", "/auth/loginx", ""); a.Body.String() != "the API" {
		t.Errorf("got %d %s", a.Code, a.Body)
	}
}
