package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/gatehousetest"
)

// clientPackage is the package @gatehouse/client. Its own tests run here, against the shipped program.
const clientPackage = "../clients/typescript"

const clientConfig = wideLimits + `
routes:
  - {path: /api/v1/, upstream: "%API%", accepts: [ACCESS_TOKEN, ORDER_API, B2B_ACCESS, OAUTH_ACCESS]}
`

// In the words of each contract, what a route can go wrong with.
const clientRoutes = `
  - {path: /%WORDS%/things,  errors: %WORDS%, upstream: "%API%",  accepts: [ACCESS_TOKEN, B2B_ACCESS]}
  - {path: /%WORDS%/scoped,  errors: %WORDS%, upstream: "%API%",  accepts: [ACCESS_TOKEN], scopes: ["moon:read"]}
  - {path: /%WORDS%/limited, errors: %WORDS%, upstream: "%API%",  accepts: [ACCESS_TOKEN], limits: {rate: 1/h, burst: 1}}
  - {path: /%WORDS%/brisk,   errors: %WORDS%, upstream: "%API%",  accepts: [ACCESS_TOKEN], limits: {rate: 1/s, burst: 1}}
  - {path: /%WORDS%/away,    errors: %WORDS%, upstream: "%AWAY%", accepts: [ACCESS_TOKEN]}
  - {path: /%WORDS%/slow,    errors: %WORDS%, upstream: "%SLOW%", accepts: [ACCESS_TOKEN], timeouts: {header: 100ms}}
`

// A clientUser is how server.test.ts knows a user and a password.
type clientUser struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

func TestTypeScriptClient(t *testing.T) {
	needNode(t)
	npmCI(t, clientPackage)
	npm(t, nil, "run", "build")
	t.Run("Package", testClientPackage)
	t.Run("Node", testClientInNode)
	t.Run("Browser", testClientInBrowser)
}

// The package's own tests, with a real server.
func testClientInNode(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(echoCaller))
	t.Cleanup(api.Close)
	away := httptest.NewServer(nil)
	away.Close()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	yaml := clientConfig
	for _, words := range []string{"liquid", "b2b", "oauth"} {
		yaml += strings.ReplaceAll(clientRoutes, "%WORDS%", words)
	}
	s := startServer(t, strings.NewReplacer("%API%", api.URL, "%AWAY%", away.URL, "%SLOW%", slow.URL).Replace(yaml))
	strict := startServer(t, "limits: {failures_per_address: {rate: 1/h, burst: 1}}\n")

	key := func(account string) string { return s.newCredential(t, account, "api-key").Key }
	user := func(account, kind string, more ...string) clientUser {
		c := s.newCredential(t, account, kind, more...)
		return clientUser{c.UserID + c.Username + c.ClientID, c.Password + c.ClientSecret}
	}
	account, elsewhere, suspended := s.newAccount(t, "Customer"), s.newAccount(t, "Elsewhere"), s.newAccount(t, "Suspended")
	revoked := s.newCredential(t, account, "api-key")
	settings := map[string]any{
		"url": s.watched(t), "key": key(account), "basic": user(account, "basic"), "login": user(account, "login"),
		"oauth":     user(account, "oauth", "--scope", "products:read"),
		"revoked":   revoked.Key,
		"suspended": map[string]any{"key": key(suspended), "login": user(suspended, "login")},
		"elsewhere": map[string]any{
			"key": key(elsewhere), "basic": user(elsewhere, "basic"), "login": user(elsewhere, "login"), "oauth": user(elsewhere, "oauth"),
		},
		"strict": strict.watched(t),
		"moved":  startMoved(t, api.URL),
	}
	for _, act := range [][]string{
		{"credential", "revoke", revoked.ID},
		{"account", "suspend", suspended},
		{"account", "allow-ip", elsewhere, "192.0.2.1"},
	} {
		if err := s.run(nil, append(act, "--json")...); err != nil {
			t.Fatal(err)
		}
	}
	said := npm(t, settings, "test")
	if !strings.Contains(said, "the programs of the README") || strings.Contains(said, "# SKIP") {
		t.Errorf("the tests did not meet the server:\n%s", said)
	}
	size := regexp.MustCompile(`\d+ bytes minified`).FindString(said)
	if size == "" {
		t.Errorf("nobody measured the package:\n%s", said)
	}
	t.Log("the package is", size)
}

// echoCaller is an API that says who called, and with what body.
func echoCaller(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"type": r.Header.Get("X-Auth-Type"), "body": string(body)})
}

// startMoved starts a server whose clock the package's tests can move, over an address of its own: they POST there what is to
// happen.
func startMoved(t *testing.T, api string) map[string]string {
	t.Helper()
	s := gatehousetest.Start(t, gatehousetest.Config{YAML: "routes: [{path: /api/, upstream: " + api + ", accepts: [ACCESS_TOKEN]}]\n"})
	key := s.NewAPIKey(s.NewAccount("Customer"))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /day", func(http.ResponseWriter, *http.Request) { s.Clock.Advance(25 * time.Hour) })
	mux.HandleFunc("POST /revoke", func(http.ResponseWriter, *http.Request) { s.RevokeCredential(key.ID) })
	control := httptest.NewServer(mux)
	t.Cleanup(control.Close)
	return map[string]string{"url": s.URL, "key": key.Identifier, "control": control.URL}
}

// npm runs one of the package's scripts, and returns what it said. The settings hold secrets: the child alone has them in its
// environment.
func npm(t *testing.T, settings map[string]any, args ...string) string {
	t.Helper()
	cmd := exec.Command("npm", args...)
	cmd.Dir = clientPackage
	if settings != nil {
		text, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), "GATEHOUSE_CLIENT_TEST="+string(text))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("npm %s in %s: %v\n%s", strings.Join(args, " "), clientPackage, err, out)
	}
	return string(out)
}

// What is published is what was built, and what says what it is.
func testClientPackage(t *testing.T) {
	cmd := exec.Command("npm", "pack", "--dry-run", "--json", "--ignore-scripts", "--loglevel=silent")
	cmd.Dir = clientPackage
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var packed []struct {
		Name, Version string
		Files         []struct{ Path string }
	}
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var others []string
	for _, f := range packed[0].Files {
		if !strings.HasPrefix(f.Path, "dist/") {
			others = append(others, f.Path)
		}
	}
	slices.Sort(others)
	if diff := cmp.Diff([]string{"LICENSE", "README.md", "package.json"}, others); diff != "" || len(packed[0].Files) < 10 {
		t.Errorf("what would be published beside dist, of %d files (-want +got):\n%s", len(packed[0].Files), diff)
	}
	ours, err1 := os.ReadFile("../LICENSE")
	theirs, err2 := os.ReadFile(clientPackage + "/LICENSE")
	if err1 != nil || err2 != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("the package's licence is not that of the repository: %v, %v", err1, err2)
	}
}

// The same modules in a page of another origin, with what Chromium has.
func testClientInBrowser(t *testing.T) {
	page := httptest.NewServer(http.FileServer(http.Dir(clientPackage)))
	t.Cleanup(page.Close)
	origin := strings.Replace(page.URL, "127.0.0.1", "localhost", 1) // the other name that the browser knows

	api := httptest.NewServer(http.HandlerFunc(echoCaller))
	t.Cleanup(api.Close)
	s := startServer(t, `
cors: {allowed_origins: ["`+origin+`"]}
routes: [{path: /api/, upstream: "`+api.URL+`", accepts: [ACCESS_TOKEN, B2B_ACCESS]}]
`)
	account := s.newAccount(t, "Customer")
	key, user := s.newCredential(t, account, "api-key"), s.newCredential(t, account, "login")
	b := startBrowser(t, s.Listen, "").open(origin + "/test/page.html")

	for _, act := range []struct {
		what []any
		want map[string]any
	}{
		{
			[]any{"renewInBand", s.URL, key.Key},
			map[string]any{"type": "ACCESS_TOKEN", "body": `{"n":1,"refresh":true}`, "renewed": true, "exchanges": 1.0},
		},
		{
			[]any{"session", s.URL, user.Username, user.Password},
			map[string]any{"type": "B2B_ACCESS", "refreshed": true, "after": "token_revoked", "then": "logged_out", "stored": 0.0},
		},
		{
			[]any{"refused", s.URL},
			map[string]any{"name": "GatehouseError", "reason": "key_not_found", "found": true},
		},
	} {
		var got map[string]any
		b.do(&got, act.what...)
		if diff := cmp.Diff(act.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", act.what[0], diff)
		}
	}
}
