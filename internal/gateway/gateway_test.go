package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

const withToken = "Authorization: Bearer good"

func TestACallGoesThrough(t *testing.T) {
	r := protected("/api/v1/")
	r.Scopes = []string{"orders:read"}
	r.Identity = map[string]Fact{"x-tenant": Account, "X-Client-Ref": Ref, "X-Made-By": Credential, "X-Kind": Type, "X-May": Scope}
	h := newHouse(t, newAPI(t, nil), []Route{r})
	h.gate.scope = "orders:read cart:write"

	answer := h.do("POST", "/api/v1/orders?b=%zz;x&a=1", `{"n":1}`, withToken,
		"Content-Type: application/json", "Cookie: own=1", "Accept-Encoding: br", "X-LIQUID-API-KEY: gk_live_x", "Traceparent: 00-1")
	if answer.StatusCode != http.StatusOK || answer.body != "from the API" {
		t.Errorf("got %d %q", answer.StatusCode, answer.body)
	}
	got := h.api.only(t)
	want := arrived{
		Method: "POST", Target: "/api/v1/orders?b=%zz;x&a=1", Host: strings.TrimPrefix(h.api.URL, "http://"), Body: `{"n":1}`,
		Header: http.Header{
			"Accept-Encoding": {"br"}, "Content-Length": {"7"}, "Content-Type": {"application/json"}, "Cookie": {"own=1"},
			"Traceparent":    {"00-1"},
			"X-Auth-Account": {"100001"}, "X-Auth-Account-Ref": {"C-1"}, "X-Auth-Credential": {"cred00000001"},
			"X-Auth-Type": {"B2B_ACCESS"}, "X-Auth-Scope": {"orders:read cart:write"},
			"X-Tenant": {"100001"}, "X-Client-Ref": {"C-1"}, "X-Made-By": {"cred00000001"}, "X-Kind": {"B2B_ACCESS"},
			"X-May":           {"orders:read cart:write"},
			"X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Host": {"api.example.com"}, "X-Forwarded-Proto": {"http"},
			"X-Request-Id": answer.Header["X-Request-Id"],
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what arrived (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]auth.Want{{Types: r.Accepts, Scopes: r.Scopes}}, h.gate.wants); diff != "" {
		t.Errorf("what was asked of the token (-want +got):\n%s", diff)
	}

	o := h.observed()
	if o.Upstream <= 0 || o.Upstream > o.Duration {
		t.Errorf("the API took %s of %s", o.Upstream, o.Duration)
	}
	if o.Did != auth.DidVerify || o.Route != "/api/v1/" || o.Contract != auth.B2B || o.Status != 200 || o.Reason != "" || o.Err != nil ||
		o.Type != verify.B2BAccess || o.Subject != (auth.Subject{Account: 100001, Credential: "cred00000001", Session: "session1"}) {
		t.Errorf("observed %+v", o)
	}
	h.nothingMoreObserved()
}

// What there is nothing to say of is not said, rather than said with an empty value.
func TestNoEmptyHeaders(t *testing.T) {
	for name, ref := range map[string]func(auth.AccountID) string{
		"nobody knows refs": nil,
		"no ref":            func(auth.AccountID) string { return "" },
		"a ref of lines":    func(auth.AccountID) string { return "C\r\nX-Auth-Account: 1" },
	} {
		r := protected("/")
		r.Identity = map[string]Fact{"X-May": Scope, "X-Client-Ref": Ref}
		h := newHouse(t, newAPI(t, nil), []Route{r}, func(c *Config) { c.Ref = ref })
		if answer := h.do("GET", "/", "", withToken); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d", name, answer.StatusCode)
		}
		got := h.api.only(t).Header
		for _, header := range []string{"X-Auth-Account-Ref", "X-Auth-Scope", "X-May", "X-Client-Ref"} {
			if values, ok := got[header]; ok {
				t.Errorf("%s: %s: %q", name, header, values)
			}
		}
		if got.Get("X-Auth-Account") != "100001" {
			t.Errorf("%s: X-Auth-Account: %q", name, got["X-Auth-Account"])
		}
	}
}

func TestForwardedProtoFollowsThePublicURL(t *testing.T) {
	h := newHouse(t, newAPI(t, nil), []Route{open("/")}, func(c *Config) { c.PublicURL = &url.URL{Scheme: "HTTPS", Host: "a"} })
	h.do("GET", "/", "", "X-Forwarded-Proto: gopher")
	if got := h.api.only(t).Header["X-Forwarded-Proto"]; !slices.Equal(got, []string{"https"}) {
		t.Errorf("got %q", got)
	}
}

func TestRefusals(t *testing.T) {
	wrongScope := auth.ErrInsufficientScope.Of(auth.Subject{Account: 100001}).With(auth.Limit{Name: "calls", Quota: 5, Remaining: 4})
	here := newAPI(t, nil)
	nowhere := protected("/authz-only")
	oauth := protected("/api/oauth/")
	oauth.Refuse, oauth.Contract = refuseAs("oauth"), auth.OAuth2
	get := protected("/api/get")
	get.Methods = []string{"GET", "POST"}
	for _, r := range []*Route{&oauth, &get} {
		r.Upstreams = []*url.URL{parse(t, here.URL)}
	}
	everywhere := protected("/api/")
	everywhere.Upstreams = []*url.URL{parse(t, here.URL)}
	public := open("/public")
	public.Upstreams = []*url.URL{parse(t, here.URL)}
	h := newHouse(t, nil, []Route{nowhere, oauth, get, everywhere, public})
	h.api = here

	for _, c := range []struct {
		name, method, target string
		headers              []string
		err                  error
		words                string
		status               int
		reason               auth.Reason
		route                string
	}{
		{"no token", "GET", "/api/x", nil, nil, "b2b", 401, auth.ReasonNoCredential, "/api/"},
		{"an empty one", "GET", "/api/x", []string{"Authorization:"}, nil, "b2b", 401, auth.ReasonNoCredential, "/api/"},
		{"Basic", "GET", "/api/x", []string{"Authorization: Basic Z29vZDpnb29k"}, nil, "b2b", 401, auth.ReasonNoCredential, "/api/"},
		{"two tokens", "GET", "/api/x", []string{withToken, withToken}, nil, "b2b", 401, auth.ReasonMalformed, "/api/"},
		{"two in one", "GET", "/api/x", []string{withToken + ", Bearer good"}, nil, "b2b", 401, auth.ReasonSignature, "/api/"},
		{"a token in the query", "GET", "/api/x?access_token=good", nil, nil, "b2b", 401, auth.ReasonNoCredential, "/api/"},
		{"a twin of the header", "GET", "/api/x", []string{"X-Authorization: Bearer good"}, nil, "b2b", 401, auth.ReasonNoCredential, "/api/"},
		{"a key alone", "GET", "/api/x", []string{"X-LIQUID-API-KEY: good"}, nil, "b2b", 401, auth.ReasonNoCredential, "/api/"},
		{"a bad token", "GET", "/api/x", []string{"Authorization: Bearer bad"}, nil, "b2b", 401, auth.ReasonSignature, "/api/"},
		{"a bad token and a good key", "GET", "/api/x", []string{"Authorization: Bearer bad", "X-LIQUID-API-KEY: good"}, nil, "b2b", 401, auth.ReasonSignature, "/api/"},
		{"another route's words", "GET", "/api/oauth/x", nil, nil, "oauth", 401, auth.ReasonNoCredential, "/api/oauth/"},
		{"scope", "GET", "/api/x", []string{withToken}, wrongScope, "b2b", 403, auth.ReasonInsufficientScope, "/api/"},
		{"nobody can know", "GET", "/api/x", []string{withToken}, auth.ErrOverloaded, "b2b", 503, auth.ReasonOverloaded, "/api/"},
		{"not ours to tell", "GET", "/api/x", []string{withToken}, errors.New("secret"), "b2b", 500, "", "/api/"},
		{"method", "DELETE", "/api/get/1", []string{withToken}, nil, "b2b", 405, auth.ReasonMalformed, "/api/get"},
		{"HEAD is not GET", "HEAD", "/api/get/1", []string{withToken}, nil, "b2b", 405, auth.ReasonMalformed, "/api/get"},
		{"TRACE", "TRACE", "/api/x", []string{withToken}, nil, "b2b", 405, auth.ReasonMalformed, "/api/"},
		{"TRACE in public", "TRACE", "/public/x", nil, nil, "liquid", 405, auth.ReasonMalformed, "/public"},
		{"CONNECT", "CONNECT", "/api/x", []string{withToken}, nil, "b2b", 405, auth.ReasonMalformed, "/api/"},
		{"CONNECT to a host", "CONNECT", "api.example.com:80", []string{withToken}, nil, "liquid", 400, auth.ReasonMalformed, ""},
		{"an absolute target", "GET", "http://other/api/x", []string{withToken}, nil, "liquid", 400, auth.ReasonMalformed, ""},
		{"upgrade", "GET", "/api/x", []string{withToken, "Upgrade: websocket"}, nil, "b2b", 400, auth.ReasonMalformed, "/api/"},
		{"h2c", "GET", "/public/x", []string{"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"}, nil, "liquid", 400, auth.ReasonMalformed, "/public"},
		{"a parameter", "GET", "/api/oauth;v=1/x", []string{withToken}, nil, "liquid", 400, auth.ReasonMalformed, ""},
		{"no route", "GET", "/apix", []string{withToken}, nil, "liquid", 404, auth.ReasonNoRoute, ""},
		{"no route of contract 3", "GET", "/auth/x", nil, nil, "b2b", 404, auth.ReasonNoRoute, ""},
		{"no upstream", "GET", "/authz-only", []string{withToken}, nil, "b2b", 404, auth.ReasonNoRoute, "/authz-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t, h.gate.err = t, c.err
			answer := h.do(c.method, c.target, "", c.headers...)
			if c.method == "HEAD" {
				answer.body = fmt.Sprintf(`{"words":%q,"status":%d,"reason":%q}`, c.words, c.status, c.reason)
			}
			h.refused(answer, c.words, c.status, c.reason)
			wantAllow := ""
			switch {
			case c.status == 405 && c.route == "/api/get":
				wantAllow = "GET, POST"
			case c.status == 405:
				wantAllow = everyMethod
			}
			if got := answer.Header.Get("Allow"); got != wantAllow {
				t.Errorf("Allow: got %q, want %q", got, wantAllow)
			}
			o := h.observed()
			did := auth.DidVerify
			if c.route == "" {
				did = auth.DidOther
			}
			if o.Did != did || o.Route != c.route || string(o.Contract) != c.words || o.Status != c.status || o.Reason != c.reason || o.Upstream != 0 {
				t.Errorf("observed %+v", o)
			}
			if c.err == wrongScope && (o.Subject.Account != 100001 || o.Limit.Name != "calls" || answer.Header.Get("Ratelimit") == "") { //nolint:errorlint // the very one
				t.Errorf("what the gate said is lost: %+v, %v", o, answer.Header)
			}
		})
	}
	if n := len(h.api.arrivals()); n != 0 {
		t.Errorf("%d refused calls arrived", n)
	}
}

// What is ours is ours where nothing answers, too: an API behind "/" gets no login that was meant for us.
func TestOurOwnAddressesBelongToNoRoute(t *testing.T) {
	h := newHouse(t, newAPI(t, nil), []Route{open("/")}, func(c *Config) {
		c.Reserved = func(path string) bool { return covers("/auth/login", path) }
	})
	for _, target := range []string{"/auth/login", "/auth/login/x", "/%61uth/login"} {
		h.refused(h.do("POST", target, `{"password":"x"}`), "b2b", 404, auth.ReasonNoRoute)
		if o := h.observed(); o.Route != "" || o.Did != auth.DidOther {
			t.Errorf("%s: observed %+v", target, o)
		}
	}
	if n := len(h.api.arrivals()); n != 0 {
		t.Errorf("%d arrived", n)
	}
	if answer := h.do("POST", "/auth/loginx", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("got %d", answer.StatusCode)
	}
}

// The published SDK sends its key on every call.
func TestTheTokenAloneDecides(t *testing.T) {
	h := newHouse(t, newAPI(t, nil), []Route{protected("/api/")})
	for _, authorization := range []string{"Bearer good", "bearer good", "BEARER  good"} {
		answer := h.do("GET", "/api/x", "", "Authorization: "+authorization, "X-LIQUID-API-KEY: revoked", "x-liquid-api-key: another", "X_Liquid_Api_Key: third")
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d", authorization, answer.StatusCode)
		}
		for name, values := range h.api.only(t).Header {
			if strings.Contains(strings.ToLower(name), "key") || strings.EqualFold(name, "authorization") {
				t.Errorf("%s arrived: %q", name, values)
			}
		}
	}
}

// A public route looks at no token, and still nobody can pretend to be somebody.
func TestPublic(t *testing.T) {
	named := protected("/named")
	named.Identity = map[string]Fact{"X-Tenant": Account}
	h := newHouse(t, newAPI(t, nil), []Route{open("/public"), named})
	for _, token := range []string{"good", "bad"} {
		answer := h.do("GET", "/public/x", "", "Authorization: Bearer "+token, "Proxy-Authorization: Basic eDp4", "X-LIQUID-API-KEY: k",
			"X-Auth-Account: 1", "X_Auth_Type: ACCESS_TOKEN", "X-Tenant: 1", "x_tenant: 2", "X-Request-Id: mine")
		if answer.StatusCode != http.StatusOK {
			t.Errorf("got %d", answer.StatusCode)
		}
		want := http.Header{
			"X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Host": {"api.example.com"}, "X-Forwarded-Proto": {"http"},
			"X-Request-Id": answer.Header["X-Request-Id"],
		}
		if diff := cmp.Diff(want, h.api.only(t).Header); diff != "" {
			t.Errorf("what arrived (-want +got):\n%s", diff)
		}
	}
	if len(h.gate.wants) != 0 {
		t.Errorf("the gate was asked %d times", len(h.gate.wants))
	}
	if o := h.observed(); o.Route != "/public" || o.Subject != (auth.Subject{}) || o.Reason != "" {
		t.Errorf("observed %+v", o)
	}
}

func TestWhereCallsGo(t *testing.T) {
	for _, c := range []struct{ path, strip, base, target, want string }{
		{"/", "", "", "/", "/"},
		{"/", "", "", "/a/b/", "/a/b/"},
		{"/", "", "", "/a?", "/a?"},
		{"/", "", "", "/a?b=%zz;c=d&e", "/a?b=%zz;c=d&e"},
		{"/", "", "", "/%7Ea/%41%2d%e4%bd%a0!$&'()*+,=:@", "/~a/A-%E4%BD%A0!$&'()*+,=:@"},
		{"/", "", "", "/a;b=c/d", "/a;b=c/d"},
		{"/", "", "", "/a%3bb", "/a%3Bb"},
		{"/", "", "", "/a%20b%22", "/a%20b%22"},
		{"/api/", "/api", "", "/api", "/"},
		{"/api/", "/api/", "", "/api/", "/"},
		{"/api/orders", "/api", "", "/api/orders", "/orders"},
		{"/api/orders", "/api", "", "/api/orders/7%20?a", "/orders/7%20?a"},
		{"/caf%c3%a9/x", "/caf%C3%A9", "", "/caf%c3%a9/x/y", "/x/y"},
		{"/api", "", "/v2", "/api/x", "/v2/api/x"},
		{"/api", "/api", "/v2/", "/api", "/v2/"},
		{"/api", "/api", "/v%202/a", "/api/%20x", "/v%202/a/%20x"},
		{"/", "", "/", "/x", "/x"},
	} {
		api := newAPI(t, nil)
		r := open(c.path)
		r.StripPrefix, r.Upstreams = c.strip, []*url.URL{parse(t, api.URL+c.base)}
		h := newHouse(t, api, []Route{r})
		h.do("GET", c.target, "")
		if got := api.only(t).Target; got != c.want {
			t.Errorf("%+v: %s arrived", c, got)
		}
	}
}

// What is judged and what arrives is one path, however it was spelled.
func TestSpellingsOfAPath(t *testing.T) {
	strict, lax := protected("/api/admin"), open("/api/")
	h := newHouse(t, newAPI(t, nil), []Route{strict, lax})

	var targets []string
	for _, slash := range []string{"/", "//", "/./", "/../", "%2f", "%2F", "%5c", `\`, "/%2e/", "/%2e%2e/", "/.%2e/", "/x/../", ";/", "/;/", "/..;/", "/%2e;x/", "/%00/", "/\x01/", "%09/", "/%25/", "%252f", "%c0%af", "/~/"} {
		for _, admin := range []string{"admin", "%61dmin", "ADMIN", "adm%69n", "admin;x", "admin%3Bx", "admin.", "admin%20", "admin%00", "admin#", "admin?x"} {
			targets = append(targets, "/api"+slash+admin, "/api"+slash+admin+"/users")
		}
	}
	if len(targets) < 200 {
		t.Fatalf("only %d spellings", len(targets))
	}
	for _, target := range targets {
		for _, token := range []string{"good", "bad"} {
			letIn := len(h.gate.let)
			answer := h.raw("GET", "GET "+target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer "+token+"\r\n\r\n")
			passed := answer.StatusCode == http.StatusOK
			if n := len(h.api.arrivals()); passed && n != 1 || !passed && n != 0 {
				t.Fatalf("%q: answered %d and %d arrived", target, answer.StatusCode, n)
			}
			if !passed {
				continue
			}
			path, _, _ := strings.Cut(h.api.only(t).Target, "?")
			if segments := segments(path); segments[1] == "admin" && (token != "good" || len(h.gate.let) != letIn+1) {
				t.Errorf("%q arrived as %q and nobody judged it", target, path)
			} else if segments[1] == "admin" && h.gate.let[letIn].Path != path {
				t.Errorf("%q was judged as %q and arrived as %q", target, h.gate.let[letIn].Path, path)
			}
			if canonical, _, err := web.CheckPath(path); err != nil || canonical != path {
				t.Errorf("%q arrived as %q, which is not the one spelling", target, path)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no gate": {Routes: newTable(t)}, "no routes": {Gate: &fakeGate{}},
		"a key header that would slip through": {Routes: newTable(t), Gate: &fakeGate{}, KeyHeader: strings.Repeat("x", 65)},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: it is a gateway", name)
		}
	}
}
