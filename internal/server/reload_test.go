package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// api is an API that says its name.
func api(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return s.URL
}

func publicRoute(upstream string) string {
	return "routes: [{path: /api, public: true, upstream: '" + upstream + "'}]\n"
}

func (w *world) mustReload() {
	w.t.Helper()
	if err := w.Reload(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	w := newWorld(t, publicRoute(api(t, "old")))
	_, key, _ := w.issue(auth.APIKey)
	if got := w.ask("GET", "/api/x", "").Body.String(); got != "old" {
		t.Fatalf("got %q", got)
	}
	w.configure(publicRoute(api(t, "new")) + "limits: {exchange_per_address: {rate: 7/min, burst: 3}}\ntokens: {access_token: {lifetime: 48h}}\ncontracts: {b2b: {enabled: false}}\n")
	w.mustReload()
	if got := w.ask("GET", "/api/x", "").Body.String(); got != "new" {
		t.Errorf("the route: got %q", got)
	}
	if a := w.ask("POST", "/auth/login", "{}"); a.Code != http.StatusNotFound {
		t.Errorf("the contract switched off: got %d", a.Code)
	}
	a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key)
	var body struct{ Data struct{ Exp int64 } }
	a.decode(t, &body)
	if left := time.Until(time.UnixMilli(body.Data.Exp)); left < 47*time.Hour || left > 49*time.Hour {
		t.Errorf("the lifetime: %v", left)
	}
	if longest := w.Opened().Rings.Longest(); longest != 48*time.Hour {
		t.Errorf("keys and revocations are kept for %v", longest)
	}
	if got := a.Header().Get("RateLimit-Policy"); !strings.Contains(got, `"exchange_per_address";q=3`) {
		t.Errorf("the limit: %s", got)
	}
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	w := newWorld(t, publicRoute(api(t, "old")))
	for _, bad := range []struct{ yaml, reason string }{
		{"routes:\n- path: /api\n  upstrem: 'http://127.0.0.1:1'\n  public: true\n", w.file + ":3: there is no key routes[0].upstrem: did you mean upstream?"},
		{"limits:\n  requests_per_account: {rate: fast}\n", w.file + ":2: limits.requests_per_account.rate"},
		{"routes: [", w.file + ":1: not YAML"},
	} {
		w.configure(bad.yaml)
		err := w.Reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), bad.reason) {
			t.Errorf("%s: got %v, want %s", bad.yaml, err, bad.reason)
		}
		if got := w.ask("GET", "/api/x", "").Body.String(); got != "old" {
			t.Errorf("%s: now the route is %q", bad.yaml, got)
		}
		if text := w.metricsText(); !strings.Contains(text, "\ngatehouse_config_last_reload_successful 0\n") {
			t.Errorf("%s: no metric says so", bad.yaml)
		}
	}
	if err := os.Remove(w.file); err != nil {
		t.Fatal(err)
	}
	if err := w.Reload(t.Context()); err == nil {
		t.Error("a configuration that is not there is taken for an empty one")
	}
	w.configure(publicRoute(api(t, "new")))
	w.mustReload()
	if got := w.ask("GET", "/api/x", "").Body.String(); got != "new" {
		t.Errorf("after a good one: %q", got)
	}
	if text := w.metricsText(); !strings.Contains(text, "\ngatehouse_config_last_reload_successful 1\n") {
		t.Error("no metric says that all is well again")
	}
	w.stop()
	if text := w.log.String(); !strings.Contains(text, "the former one stays in force") || !strings.Contains(text, "did you mean upstream?") {
		t.Errorf("the log does not say what was wrong: %s", text)
	}
}

func (w *world) metricsText() string {
	rec := httptest.NewRecorder()
	w.adminHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}

func TestWhatWaitsForARestart(t *testing.T) {
	w := newWorld(t, "public_url: https://a.example\n")
	w.configure("public_url: https://b.example\ncache: {credentials: 5}\ndashboard: {session_idle: 1h}\nrealm: other\n")
	w.mustReload()
	a := w.ask("GET", "/order-authentication", "")
	if got := a.Header().Get("WWW-Authenticate"); !strings.Contains(got, `realm="other"`) {
		t.Errorf("what can change has not: %s", got)
	}
	if c := w.config(); c.PublicURL != "https://a.example" || c.Issuer != "https://a.example" || c.Cache.Credentials != 100_000 {
		t.Errorf("what cannot change has: %s %s %d", c.PublicURL, c.Issuer, c.Cache.Credentials)
	}
	w.stop()
	if text := w.log.String(); !strings.Contains(text, "wait for a restart") || !strings.Contains(text, "cache.credentials") || !strings.Contains(text, "dashboard.session_idle") || !strings.Contains(text, "public_url") {
		t.Errorf("the log names none: %s", text)
	}
}

// A file that is changed by hand, by a rename, or by turning a symbolic link as Kubernetes does, is read by itself.
func TestTheConfigurationIsWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, publicRoute(api(t, "first")))
	seen := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			got := w.ask("GET", "/api/x", "").Body.String()
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
	seen("first")
	w.configure(publicRoute(api(t, "written")))
	seen("written")
	beside := filepath.Join(filepath.Dir(w.file), "beside")
	if err := os.WriteFile(beside, []byte(publicRoute(api(t, "renamed"))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, w.file); err != nil {
		t.Fatal(err)
	}
	seen("renamed")
}

func TestASettledFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	w := watched{path: file}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	step := func(what string, want bool) {
		t.Helper()
		if got := w.settled(); got != want {
			t.Errorf("%s: got %v", what, got)
		}
	}
	write("a")
	step("first look", false)
	step("second look", true)
	step("loaded already", false)
	write("ab")
	step("just written", false)
	write("abc")
	step("still written", false)
	step("written", true)
	step("loaded", false)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	step("just gone", false)
	step("gone", true)
	step("known to be gone", false)
}

// A request that began under one configuration ends under it.
func TestReloadLetsRequestsEnd(t *testing.T) {
	arrived, leave := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-leave
		_, _ = io.WriteString(w, "slow")
	}))
	defer slow.Close()
	w := newWorld(t, publicRoute(slow.URL))
	got := make(chan string)
	go func() { got <- w.ask("GET", "/api/x", "").Body.String() }()
	<-arrived
	w.configure("realm: nobody has a route now\n")
	w.mustReload()
	if a := w.ask("GET", "/api/x", ""); a.Code != http.StatusNotFound {
		t.Errorf("the route is still there: %d", a.Code)
	}
	close(leave)
	if body := <-got; body != "slow" {
		t.Errorf("the request under way: %q", body)
	}
}

// A route that is only observed lets everybody through, as nobody, and says whom it would have refused; after its day it
// refuses them.
func TestAnObservedRoute(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "account=%s authorization=%s", r.Header.Get("X-Auth-Account"), r.Header.Get("Authorization"))
	}))
	defer upstream.Close()
	until := time.Now().Add(48 * time.Hour).UTC().Format(time.DateOnly)
	w := newWorld(t, "routes: [{path: /api, accepts: [B2B_ACCESS], observe_until: "+until+", upstream: '"+upstream.URL+"'}]\n")
	_, username, password := w.issue(auth.Login)
	p, _ := w.login(username, password)

	forged := w.ask("GET", "/api/x", "", "X-Auth-Account", "100001")
	if forged.Code != 200 || forged.Body.String() != "account= authorization=" {
		t.Errorf("nobody's call: %d %s", forged.Code, forged.Body)
	}
	bad := w.ask("GET", "/api/x", "", "Authorization", "Bearer "+p.Access+"x")
	if bad.Code != 200 || bad.Body.String() != "account= authorization=" {
		t.Errorf("a bad token: %d %s", bad.Code, bad.Body)
	}
	good := w.ask("GET", "/api/x", "", "Authorization", "Bearer "+p.Access)
	if want := "account=" + w.account.String() + " authorization="; good.Body.String() != want {
		t.Errorf("a good token: got %s, want %s", good.Body, want)
	}
	text := w.metricsText()
	for _, line := range []string{
		`gatehouse_observed_total{contract="b2b",reason="no_credential"} 1`, `gatehouse_refusals_total{contract="b2b",reason="no_credential"} 0`,
		`gatehouse_verifications_total{outcome="ok"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
	refusal, known := w.refusals.Find(forged.Header().Get("X-Request-Id"))
	if !known || refusal.Reason != auth.ReasonNoCredential || refusal.Status != 200 || !strings.Contains(refusal.Detail, "observe_until") {
		t.Errorf("explain knows %+v, %v", refusal, known)
	}
	w.move(72 * time.Hour)
	if a := w.ask("GET", "/api/x", ""); a.Code != http.StatusUnauthorized {
		t.Errorf("after its day: %d %s", a.Code, a.Body)
	}
	w.stop()
	if !strings.Contains(w.log.String(), `"observed":"no_credential"`) {
		t.Error("the log does not say what would have been refused")
	}
}
