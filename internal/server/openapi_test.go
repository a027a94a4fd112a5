package server

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/apitest"
	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestMain(m *testing.M) {
	framing := "it is refused before there is an address: internal/listen"
	os.Exit(apitest.Main(m, map[string]string{
		"GET /.well-known/jwks.json 400 400 Bad Request":                  framing,
		"GET /.well-known/oauth-authorization-server 400 400 Bad Request": framing,
		"GET /openapi.yaml 400 400 Bad Request":                           framing,
		"GET /healthz 400 400 Bad Request":                                framing,
		"GET /readyz 400 400 Bad Request":                                 framing,
		"GET /healthz 503":                                                "a server that fails so answers nothing any more in a test",

		"GET /.well-known/gatehouse-revocations 429 temporarily_unavailable Too many requests": "as at every address that knows a client: internal/contract/oauth",
		"GET /.well-known/gatehouse-revocations 500 server_error Internal server error":        "nothing fails so: as everywhere else",
	}, "Published", "Revocations", "Health"))
}

func TestTheOpenAPIDocument(t *testing.T) {
	w := newWorld(t, "public_url: https://login.example.com\nkey_prefix: shop\ncontracts: {liquid: {header: X-Shop-Key}}\n")
	a := w.ask("GET", "/openapi.yaml", "")
	if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), "\nservers:\n  - url: \"https://login.example.com\"\n") ||
		!strings.Contains(a.Body.String(), "      name: \"X-Shop-Key\"\n") {
		t.Errorf("got %d %.3000s", a.Code, a.Body)
	}
	for page, says := range map[string]string{"environments": "`shop_live_…`", "access-token": "`X-Shop-Key`"} {
		if a := w.ask("GET", "/docs/"+page+".md", ""); !strings.Contains(a.Body.String(), says) {
			t.Errorf("%s does not say %s", page, says)
		}
	}
	if again := w.ask("GET", "/openapi.yaml", "", "If-None-Match", a.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("asked again: %d", again.Code)
	}
	if a := w.ask("POST", "/openapi.yaml", ""); a.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.Code)
	}
	off := newWorld(t, "docs: {enabled: false}\n")
	if a := off.ask("GET", "/openapi.yaml", ""); a.Code != http.StatusNotFound {
		t.Errorf("switched off: %d", a.Code)
	}
}

// What everybody may read, with every status it can have.
func TestWhatIsPublishedIsAsDocumented(t *testing.T) {
	w := newWorld(t, "")
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/healthz", "/readyz"} {
		a := w.ask("GET", path, "")
		if a.Code != http.StatusOK {
			t.Errorf("%s: %d", path, a.Code)
		}
		if tag := a.Header().Get("ETag"); tag != "" {
			if again := w.ask("GET", path, "", "If-None-Match", tag); again.Code != http.StatusNotModified {
				t.Errorf("%s, asked again: %d", path, again.Code)
			}
		}
		if a := w.ask("HEAD", path, ""); a.Code != http.StatusMethodNotAllowed {
			t.Errorf("HEAD %s: %d", path, a.Code)
		}
		if a := w.ask("PUT", path, ""); a.Code != http.StatusMethodNotAllowed {
			t.Errorf("PUT %s: %d", path, a.Code)
		}
	}
	w.stop()
	if a := w.ask("GET", "/readyz", ""); a.Code != http.StatusServiceUnavailable {
		t.Errorf("stopped: /readyz is %d", a.Code)
	}
}

func TestTheFeedIsAsDocumented(t *testing.T) {
	const path = "/.well-known/gatehouse-revocations"
	w := newWorld(t, unlimited)
	id, secret := w.reader()
	_, otherID, otherSecret := w.issue(auth.OAuth)
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	good := basic(id, secret)
	for _, c := range []struct {
		method, query  string
		authorizations []string
		status         int
	}{
		{"GET", "", []string{good}, 200},
		{"GET", "?wait=x", []string{good}, 400},
		{"GET", "", []string{good, good}, 400},
		{"GET", "", nil, 401},
		{"GET", "", []string{basic(otherID, otherSecret)}, 403},
		{"POST", "", []string{good}, 405},
	} {
		var headers []string
		for _, authorization := range c.authorizations {
			headers = append(headers, "Authorization", authorization)
		}
		if a := w.ask(c.method, path+c.query, "", headers...); a.Code != c.status {
			t.Errorf("%s %s with %d credentials: %d, want %d", c.method, c.query, len(c.authorizations), a.Code, c.status)
		}
	}
	_, id, secret = w.issue(auth.OAuth, "gatehouse:revocations")
	if _, err := w.Registry().AllowIP(t.Context(), operator, w.account, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if a := w.ask("GET", path, "", "Authorization", basic(id, secret)); a.Code != http.StatusForbidden {
		t.Errorf("from elsewhere: %d", a.Code)
	}
}

// A contract that is not spoken is not found, in the words of its neighbours.
func TestWhatIsNotSpokenIsAsDocumented(t *testing.T) {
	w := newWorld(t, "contracts: {liquid: {enabled: false}, orders: {enabled: false}, b2b: {enabled: false}, oauth: {enabled: false}}\n")
	for path, methods := range documented(t) {
		published := path == "/openapi.yaml" || path == "/.well-known/jwks.json" || strings.HasSuffix(path, "z")
		if a := w.ask(methods[0], path, ""); (a.Code == http.StatusNotFound) == published {
			t.Errorf("%s %s: %d", methods[0], path, a.Code)
		}
	}
}

// In clear text, where that is not allowed, the contracts give nothing.
func TestClearTextIsRefusedAsDocumented(t *testing.T) {
	w := newWorld(t, "require_https: true\ntrusted_proxies: [10.0.0.1]\n")
	for path, methods := range documented(t) {
		ofContract := (!strings.HasPrefix(path, "/.well-known/") || strings.HasSuffix(path, "-revocations")) && path != "/openapi.yaml" && !strings.HasSuffix(path, "z")
		if a := w.ask(methods[0], path, ""); (a.Code == http.StatusBadRequest) != ofContract || ofContract && !strings.Contains(strings.ToLower(a.Body.String()), "bad request") {
			t.Errorf("%s %s: %d %s", methods[0], path, a.Code, a.Body)
		}
	}
}

// Every address is in the document with its methods, and the other way round.
func TestEveryAddressIsInTheDocument(t *testing.T) {
	w := newWorld(t, "public_url: https://auth.example.com\nissuer: https://auth.example.com/eu\nroutes: [{path: /api/, public: true, upstream: \"http://127.0.0.1:9\"}]\n")
	left := documented(t)
	for _, a := range w.current.Load().floor.Own() {
		switch {
		case a.Path == "/docs" || strings.HasPrefix(a.Path, "/docs/") || strings.HasPrefix(a.Path, "/dashboard"): // pages for people
			continue
		case a.Path == "/authz" || strings.HasPrefix(a.Path, "/authz/"): // not for customers: the document says so
			continue
		case a.Path == "/.well-known/oauth-authorization-server/eu": // the document says it of all issuers with a path
			continue
		}
		var methods []string
		for method := range a.Methods {
			methods = append(methods, method)
		}
		slices.Sort(methods)
		if got := left[a.Path]; !slices.Equal(got, methods) || a.Any != nil {
			t.Errorf("%s answers to %v, and the document has %v", a.Path, methods, got)
		}
		delete(left, a.Path)
	}
	for path := range left {
		t.Errorf("%s is in the document, and nobody answers there", path)
	}
}

// documented are the paths of the document, with their methods.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	d, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for path, item := range d.Paths.Map() {
		for method := range item.Operations() {
			all[path] = append(all[path], method)
		}
		slices.Sort(all[path])
	}
	return all
}
