package gateway

import (
	"net/http"
	"slices"
	"testing"

	"github.com/gatehouse/gatehouse/verify"
)

// What a route sets and removes, in what the API gets and in what it answers.
func TestHeadersThatARouteEdits(t *testing.T) {
	r := protected("/")
	r.Request = Edits{
		Set:    map[string]string{"authorization": "Basic c2VjcmV0", "X-Api-Version": "2", "User-Agent": "gatehouse", "Accept-Encoding": "gzip"},
		Remove: []string{"cookie", "X-Debug", "Traceparent"},
	}
	r.Response = Edits{Set: map[string]string{"server": "gatehouse", "Cache-Control": "private"}, Remove: []string{"X-Powered-By", "Content-Type"}}
	h := newHouse(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"X-Powered-By", "Cache-Control", "Server", "X-Other", "X-Request-Id"} {
			w.Header()[name] = []string{"theirs", "twice"}
		}
		_, _ = w.Write([]byte("<html>"))
	}), []Route{r})
	answer := h.do("GET", "/", "", withToken, "Cookie: a=1", "x_debug: 1", "X.Debug: 1", "X-API_VERSION: 9", "X-Api-Version: 8", "X-Other: 1", "User-Agent: curl", "X-Auth-Account: 9")
	got := h.api.only(t).Header
	for name, want := range map[string][]string{
		"Authorization": {"Basic c2VjcmV0"}, "X-Api-Version": {"2"}, "User-Agent": {"gatehouse"}, "Accept-Encoding": {"gzip"}, "X-Other": {"1"},
		"Cookie": nil, "X_debug": nil, "X.debug": nil, "X-Api_version": nil, "X-Auth-Account": {"100001"}, "X-Auth-Type": {"B2B_ACCESS"},
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s arrived as %q, want %q", name, got[name], want)
		}
	}
	for name, want := range map[string][]string{
		"X-Powered-By": nil, "Content-Type": nil, "Cache-Control": {"private"}, "Server": {"gatehouse"}, "X-Other": {"theirs", "twice"},
	} {
		if !slices.Equal(answer.Header[name], want) {
			t.Errorf("%s was answered as %q, want %q", name, answer.Header[name], want)
		}
	}
	if id := answer.Header["X-Request-Id"]; len(id) != 1 || id[0] == "theirs" {
		t.Errorf("X-Request-Id: %q", id)
	}
	refused := h.do("GET", "/", "") // without a token: our own words stay as they are
	if got := refused.Header.Get("Server"); got != "" || refused.StatusCode != http.StatusUnauthorized {
		t.Errorf("our own refusal: %d, Server %q", refused.StatusCode, got)
	}
}

// A new token is not to be kept by whoever stands between, whatever the route says of other answers.
func TestEditsDoNotTouchWhatATokenNeeds(t *testing.T) {
	r := protected("/api/")
	r.Accepts = []verify.Type{verify.AccessToken}
	r.Response = Edits{Set: map[string]string{"Cache-Control": "public, max-age=60", "Etag": `"1"`}}
	h := newHouse(t, newAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}), []Route{r})
	h.gate.kind = verify.AccessToken
	answer := h.do("POST", "/api/x", ask, withToken, "Content-Type: application/json")
	if answer.body != "{"+member+"}" || answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("Etag") != "" {
		t.Errorf("got %s with %v", answer.body, answer.Header)
	}
}

func TestEditsThatAreRefused(t *testing.T) {
	set := func(name string) Edits { return Edits{Set: map[string]string{name: "x"}} }
	for name, r := range map[string]Route{
		"identity":            {Request: set("x-auth-account")},
		"identity, by twin":   {Request: set("X_Auth_Account")},
		"where it came from":  {Request: set("X-Forwarded-For")},
		"removed":             {Request: Edits{Remove: []string{"X-Auth-Scope"}}},
		"the request id":      {Request: set("X-Request-Id")},
		"the host":            {Request: set("Host")},
		"the length":          {Request: set("Content-Length")},
		"hop by hop":          {Request: set("Connection")},
		"a proxy's":           {Request: set("Proxy-Authorization")},
		"an upgrade":          {Request: set("Upgrade")},
		"a handshake":         {Request: set("Sec-WebSocket-Key")},
		"no name":             {Request: set("")},
		"a name with a space": {Request: set("X Y")},
		"twice":               {Request: Edits{Set: map[string]string{"X-A": "1", "x-a": "2"}}},
		"set and removed":     {Request: Edits{Set: map[string]string{"X-A": "1"}, Remove: []string{"X-A"}}},
		"the route's own":     {Request: set("X-Tenant"), Identity: map[string]Fact{"x-tenant": Account}},
		"answers: the id":     {Response: set("X-Request-Id")},
		"answers: limits":     {Response: set("RateLimit-Policy")},
		"answers: renewal":    {Response: set("X-Auth-Refresh")},
		"answers: the length": {Response: set("Content-Length")},
		"answers: chunks":     {Response: Edits{Remove: []string{"Transfer-Encoding"}}},
		"answers: origins":    {Response: set("Access-Control-Allow-Origin")},
	} {
		good := protected("/")
		good.Request, good.Response, good.Identity = r.Request, r.Response, r.Identity
		if _, err := NewTable([]Route{good}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
