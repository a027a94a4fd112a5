package server

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// deafen lets the server know that what it knows is two minutes old, however lately it read it; or no more.
func (w *world) deafen(deaf bool) {
	if !deaf {
		w.deaf.Store(0)
		return
	}
	w.deaf.Store(int64(2 * time.Minute))
}

// A server that may have missed a revocation decides nothing, by whatever door one comes, and says 503 and when to come again.
// What no revocation is about goes on.
func TestWhoMayHaveMissedARevocationDecidesNothing(t *testing.T) {
	var w *world
	api := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/slow" {
			w.deafen(true) // while the API answers
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"ok":true}`))
	}))
	t.Cleanup(api.Close)
	sockets := newEchoAPI(t)
	w = newWorld(t, unlimited+`
trusted_proxies: [10.0.0.0/8]
`+sockets.routes()+`
- {path: /api, accepts: [ACCESS_TOKEN, B2B_ACCESS], upstream: '`+api.URL+`'}
- {path: /open, public: true, upstream: '`+api.URL+`'}
`)
	_, key, _ := w.issue(auth.APIKey, "orders:read")
	_, user, orders := w.issue(auth.Basic)
	_, username, password := w.issue(auth.Login)
	p, _ := w.login(username, password)
	client := w.client(auth.ScopeRevocations)
	signing := w.signingClient(generate(t, jose.EdDSA))
	exchanged := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key)
	var body struct{ Data struct{ Token string } }
	exchanged.decode(t, &body)
	access := body.Data.Token
	bearer := []string{"Authorization", "Bearer " + access}
	socket := w.socket(access)

	doors := map[string]func() answer{
		"a call through a route": func() answer { return w.ask("GET", "/api/x", "", bearer...) },
		"an API key":             func() answer { return w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key) },
		"user ID and password": func() answer {
			r := httptest.NewRequest("GET", "/order-authentication", nil)
			r.SetBasicAuth(user, orders)
			r.RemoteAddr = from
			return w.serve(r)
		},
		"a login": func() answer {
			return w.ask("POST", "/auth/login", `{"username":"`+username+`","password":"`+password+`"}`)
		},
		"a refresh": func() answer { return w.ask("POST", "/auth/refresh", `{"refresh_token":"`+p.Refresh+`"}`) },
		"a logout":  func() answer { return w.ask("POST", "/auth/logout", "", "Authorization", "Bearer "+p.Access) },
		"an OAuth client": func() answer {
			return w.form("/oauth/token", client.id, client.secret, "grant_type=client_credentials")
		},
		"a client that signs": func() answer {
			return signing.present("/oauth/token", "grant_type=client_credentials", signing.assertion(map[string]any{"aud": w.config().Issuer}))
		},
		"a client's refresh": func() answer {
			return w.form("/oauth/token", client.id, client.secret, "grant_type=refresh_token&refresh_token="+p.Refresh)
		},
		"introspection": func() answer { return w.form("/oauth/introspect", client.id, client.secret, "token="+p.Access) },
		"a revocation":  func() answer { return w.form("/oauth/revoke", client.id, client.secret, "token="+p.Access) },
		"the revocation feed": func() answer {
			r := httptest.NewRequest("GET", "/.well-known/gatehouse-revocations", nil)
			r.SetBasicAuth(client.id, client.secret)
			r.RemoteAddr = from
			return w.serve(r)
		},
		"readiness": func() answer { return w.ask("GET", "/readyz", "") },
	}
	for proxy, question := range questions {
		doors["forward-auth of "+proxy] = func() answer { return question(w, proxyPeer, "GET", "/api/x", bearer...) }
	}

	w.deafen(true)
	for name, door := range doors {
		a := door()
		want := http.StatusServiceUnavailable
		if hidden := a.Header().Get("X-Auth-Status"); strings.HasSuffix(name, "nginx") && hidden == "503" {
			want = http.StatusForbidden // it knows no other
		}
		if a.Code != want || a.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d, Retry-After %q: %s", name, a.Code, a.Header().Get("Retry-After"), a.Body)
		}
	}
	w.ends(socket, "a WebSocket")
	for name, a := range map[string]answer{
		"the key set":    w.ask("GET", "/.well-known/jwks.json", ""),
		"liveness":       w.ask("GET", "/healthz", ""),
		"a public route": w.ask("GET", "/open/x", ""),
	} {
		if a.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	lag, found := strings.CutPrefix(regexp.MustCompile(`(?m)^gatehouse_log_lag_seconds .*$`).FindString(w.metricsText()), "gatehouse_log_lag_seconds ")
	if seconds, err := strconv.ParseFloat(lag, 64); !found || err != nil || seconds < 120 {
		t.Errorf("the metric says %q, want 120 at least", lag)
	}

	w.deafen(false)
	for until := time.Now().Add(time.Minute); w.follower.Fresh() != nil && time.Now().Before(until); time.Sleep(time.Millisecond) {
	}
	delete(doors, "a logout")
	delete(doors, "a revocation")
	delete(doors, "a refresh")
	for name, door := range doors {
		if a := door(); a.Code/100 != 2 {
			t.Errorf("%s, when it hears again: %d %s", name, a.Code, a.Body)
		}
	}

	// A new token in band is decided on when the answer has come.
	ask := func(path string) answer { return w.ask("POST", path, `{"refresh":true}`, bearer...) }
	if a := ask("/api/x"); !strings.Contains(a.Body.String(), `"auth":{`) {
		t.Fatalf("no new token in band: %s", a.Body)
	}
	if a := ask("/api/slow"); a.Code != http.StatusOK || a.Body.String() != `{"ok":true}` {
		t.Errorf("a new token in band for a server that has become deaf: %d %s", a.Code, a.Body)
	}
}

// Which assertions counted outlives a server.
func TestAnAssertionCountsOnceAfterARestartToo(t *testing.T) {
	w := newWorld(t, unlimited)
	c := w.signingClient(generate(t, jose.EdDSA))
	assertion := c.assertion(map[string]any{"aud": w.config().Issuer})
	if a := c.present("/oauth/token", "grant_type=client_credentials", assertion); a.Code != http.StatusOK {
		t.Fatalf("the first time: %d %s", a.Code, a.Body)
	}
	w.stop()
	w.start(unlimited)
	if a := c.present("/oauth/introspect", "token=x", assertion); a.Code != http.StatusUnauthorized {
		t.Errorf("again after a restart, elsewhere: %d %s", a.Code, a.Body)
	}
	if a := c.present("/oauth/token", "grant_type=client_credentials", c.assertion(map[string]any{"aud": w.config().Issuer})); a.Code != http.StatusOK {
		t.Errorf("the next one: %d %s", a.Code, a.Body)
	}
}
