package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
	"github.com/gatehouse/gatehouse/verify"
)

// questions are the requests of the proxies, as each makes one of a call: method, host and target, and further lines of the
// client's head. The shapes are those of their documentation and of what they were seen to send.
var questions = map[string]func(method, host, target, lines string) string{
	// nginx with the snippet of docs/forward-auth.md, in the version of HTTP that it speaks unless it is told another.
	"nginx": func(method, host, target, lines string) string {
		return "GET /authz/nginx HTTP/1.0\r\nHost: " + host + "\r\nX-Original-Method: " + method + "\r\nX-Original-URI: " + target +
			"\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nConnection: close\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" + lines + "\r\n"
	},
	// Traefik names its own service as the host.
	"traefik": func(method, host, target, lines string) string {
		return "GET /authz/traefik HTTP/1.1\r\nHost: gatehouse:8000\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" + lines +
			"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: " + host + "\r\nX-Forwarded-Method: " + method +
			"\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Server: edge-1\r\nX-Forwarded-Uri: " + target +
			"\r\nX-Real-Ip: 203.0.113.7\r\nAccept-Encoding: gzip\r\n\r\n"
	},
	"caddy": func(method, host, target, lines string) string {
		return "GET /authz/caddy HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n" + lines +
			"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: " + host + "\r\nX-Forwarded-Method: " + method +
			"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Uri: " + target + "\r\nAccept-Encoding: gzip\r\n\r\n"
	},
	// Envoy's HTTP service sends the call itself, its path behind path_prefix, without a body.
	"envoy": func(method, host, target, lines string) string {
		return method + " /authz/envoy" + target + " HTTP/1.1\r\nhost: " + host + "\r\ncontent-length: 0\r\n" + lines +
			"x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\nx-envoy-internal: true\r\nx-envoy-expected-rq-timeout-ms: 200\r\n\r\n"
	},
}

// ask asks as one of the proxies does. lines are of the client's head.
func (h *house) ask(proxy, method, host, target string, lines ...string) reply {
	h.t.Helper()
	head := ""
	for _, line := range lines {
		head += line + "\r\n"
	}
	sent := http.MethodGet
	if proxy == "envoy" {
		sent = method
	}
	return h.raw(sent, questions[proxy](method, host, target, head))
}

// eachProxy runs a test for each of them.
func eachProxy(t *testing.T, f func(t *testing.T, proxy string)) {
	for _, proxy := range []string{"nginx", "traefik", "caddy", "envoy"} {
		t.Run(proxy, func(t *testing.T) { f(t, proxy) })
	}
}

// told is what an answer says of the caller, by the headers that some route of [askedAbout] sets.
func told(answer reply) map[string]string {
	all := make(map[string]string)
	for _, name := range []string{
		"X-Auth-Account", "X-Auth-Account-Ref", "X-Auth-Credential", "X-Auth-Type", "X-Auth-Scope", "X-Tenant", "X-Rank",
	} {
		values, ok := answer.Header[name]
		if all[name] = strings.Join(values, " and "); !ok || len(values) != 1 {
			all[name] = fmt.Sprintf("%d values", len(values))
		}
	}
	return all
}

var nobody = map[string]string{
	"X-Auth-Account": "", "X-Auth-Account-Ref": "", "X-Auth-Credential": "", "X-Auth-Type": "", "X-Auth-Scope": "", "X-Tenant": "", "X-Rank": "",
}

// askedAbout is a table of every sort of route.
func askedAbout() []Route {
	orders := protected("/api/orders")
	orders.Scopes, orders.Identity = []string{"orders:read"}, map[string]Fact{"X-Tenant": Ref}
	ranked := protected("/api/ranked")
	ranked.Identity = map[string]Fact{"X-Rank": Type}
	get := protected("/api/get")
	get.Methods = []string{"GET"}
	seen := protected("/api/observed")
	seen.ObserveUntil = time.Now().Add(time.Hour)
	admin := at("admin.example.com", protected("/"))
	admin.Refuse, admin.Contract = refuseAs("oauth"), auth.OAuth2
	return []Route{orders, ranked, get, seen, open("/public"), admin}
}

func TestAProxyIsToldWhoCalls(t *testing.T) {
	eachProxy(t, func(t *testing.T, proxy string) {
		h := newHouse(t, nil, askedAbout())
		h.gate.scope, h.gate.limit = "orders:read cart:write", auth.Limit{Name: "calls", Quota: 5, Remaining: 4, Window: time.Minute}
		answer := h.ask(proxy, "POST", "api.example.com", "/api/%6frders/7?q=1", withToken, "X-LIQUID-API-KEY: k")
		if answer.StatusCode != http.StatusOK || answer.body != "" || answer.ContentLength != 0 {
			t.Errorf("got %d, %d bytes: %s", answer.StatusCode, answer.ContentLength, answer.body)
		}
		for name := range answer.Header { // that is all
			if !strings.HasPrefix(name, "X-Auth-") && !slices.Contains([]string{"X-Tenant", "X-Rank", "X-Request-Id", "Date", "Content-Length", "Connection", "Cache-Control", "Ratelimit", "Ratelimit-Policy"}, name) {
				t.Errorf("it has %s: %q", name, answer.Header[name])
			}
		}
		if diff := gocmp.Diff(map[string]string{
			"X-Auth-Account": "100001", "X-Auth-Account-Ref": "C-1", "X-Auth-Credential": "cred00000001", "X-Auth-Type": "B2B_ACCESS",
			"X-Auth-Scope": "orders:read cart:write", "X-Tenant": "C-1", "X-Rank": "",
		}, told(answer)); diff != "" {
			t.Errorf("who calls (-want +got):\n%s", diff)
		}
		if answer.Header.Get("Ratelimit") != `"calls";r=4;t=0` || answer.Header.Get("Ratelimit-Policy") != `"calls";q=5;w=60` || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %v", answer.Header)
		}
		from := h.gate.let[0]
		if from.Method != "POST" || from.Path != "/api/orders/7" || from.Host != "api.example.com" || from.RequestID != answer.Header.Get("X-Request-Id") {
			t.Errorf("judged was %+v", from)
		}
		if diff := gocmp.Diff([]auth.Want{{Types: []verify.Type{verify.B2BAccess}, Scopes: []string{"orders:read"}}}, h.gate.wants); diff != "" {
			t.Errorf("what was asked of the token (-want +got):\n%s", diff)
		}
		o := h.observed()
		if o.Did != auth.DidVerify || o.Route != "/api/orders" || o.Contract != auth.B2B || o.Status != 200 || o.Reason != "" || o.Err != nil ||
			o.Caller.Path != "/api/orders/7" || o.Caller.Method != "POST" || o.Subject.Account != 100001 || o.Type != verify.B2BAccess || o.Upstream != 0 {
			t.Errorf("observed %+v", o)
		}
		h.nothingMoreObserved()
	})
}

// A proxy copies what it is told over what the client sent, so there is a value for every name, and nothing of the client's
// is ever in it.
func TestEveryIdentityHeaderIsInEveryYes(t *testing.T) {
	eachProxy(t, func(t *testing.T, proxy string) {
		h := newHouse(t, nil, askedAbout(), func(c *Config) { c.Ref = nil })
		for _, c := range []struct {
			target, host string
			token        string
			want         map[string]string
		}{
			{"/api/ranked", "any", withToken, map[string]string{
				"X-Auth-Account": "100001", "X-Auth-Account-Ref": "", "X-Auth-Credential": "cred00000001", "X-Auth-Type": "B2B_ACCESS",
				"X-Auth-Scope": "", "X-Tenant": "", "X-Rank": "B2B_ACCESS",
			}},
			{"/public/x", "any", withToken, nobody},
			{"/public/x", "any", "Accept-Language: en", nobody},
			{"/api/observed", "any", "Authorization: Bearer bad", nobody},
		} {
			answer := h.ask(proxy, "GET", c.host, c.target, c.token, "X-Auth-Account: 1", "X_Auth_Account: 2", "X-Tenant: mallory",
				"X-Rank: mallory", "X-Auth-Scope: mallory", "X-Auth-Account-Ref: mallory", "Connection: X-Auth-Account, X-Tenant")
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d %s", c.target, answer.StatusCode, answer.body)
			}
			if diff := gocmp.Diff(c.want, told(answer)); diff != "" {
				t.Errorf("%s: who calls (-want +got):\n%s", c.target, diff)
			}
		}
	})
}

func TestWhatAProxyIsRefused(t *testing.T) {
	limited := auth.ErrRateLimited.With(auth.Limit{Name: "calls", Quota: 5, Window: time.Minute, RetryAfter: 3 * time.Second, Refused: true})
	eachProxy(t, func(t *testing.T, proxy string) {
		h := newHouse(t, nil, askedAbout(), func(c *Config) { c.Reserved = func(path string) bool { return covers("/auth/login", path) } })
		for _, c := range []struct {
			name, method, host, target string
			lines                      []string
			err                        error
			words                      string
			status                     int
			reason                     auth.Reason
			route                      string
			header                     string // that comes with it
		}{
			{"no token", "GET", "a", "/api/orders", nil, nil, "b2b", 401, auth.ReasonNoCredential, "/api/orders", ""},
			{"two tokens", "GET", "a", "/api/orders", []string{withToken, withToken}, nil, "b2b", 401, auth.ReasonMalformed, "/api/orders", ""},
			{"a bad token", "GET", "a", "/api/orders", []string{"Authorization: Bearer bad"}, nil, "b2b", 401, auth.ReasonSignature, "/api/orders", ""},
			{"a token in the query", "GET", "a", "/api/orders?access_token=good", nil, nil, "b2b", 401, auth.ReasonNoCredential, "/api/orders", ""},
			{"type", "GET", "a", "/api/orders", []string{withToken}, auth.ErrBadToken.Because(auth.ReasonTokenWrongType), "b2b", 401, auth.ReasonTokenWrongType, "/api/orders", ""},
			{"scope", "GET", "a", "/api/orders", []string{withToken}, auth.ErrInsufficientScope, "b2b", 403, auth.ReasonInsufficientScope, "/api/orders", ""},
			{"address", "GET", "a", "/api/orders", []string{withToken}, auth.ErrAddressNotAllowed, "b2b", 403, auth.ReasonAddressNotAllowed, "/api/orders", ""},
			{"limit", "GET", "a", "/api/orders", []string{withToken}, limited, "b2b", 429, auth.ReasonRateLimited, "/api/orders", "Retry-After"},
			{"nobody can know", "GET", "a", "/api/orders", []string{withToken}, auth.ErrOverloaded, "b2b", 503, auth.ReasonOverloaded, "/api/orders", "Retry-After"},
			{"not ours to tell", "GET", "a", "/api/orders", []string{withToken}, errors.New("secret"), "b2b", 500, "", "/api/orders", ""},
			{"method", "DELETE", "a", "/api/get", []string{withToken}, nil, "b2b", 405, auth.ReasonMalformed, "/api/get", "Allow"},
			{"another host's route", "GET", "admin.example.com:8443", "/api/orders", nil, nil, "oauth", 401, auth.ReasonNoCredential, "/", ""},
			{"a host without a port", "GET", "ADMIN.example.com.", "/public", nil, nil, "oauth", 401, auth.ReasonNoCredential, "/", ""},
			{"no route", "GET", "a", "/api/ordersx", []string{withToken}, nil, "liquid", 404, auth.ReasonNoRoute, "", ""},
			{"no route of contract 3", "GET", "a", "/auth/x", []string{withToken}, nil, "b2b", 404, auth.ReasonNoRoute, "", ""},
			{"our own address", "POST", "admin.example.com", "/auth/login", []string{withToken}, nil, "b2b", 404, auth.ReasonNoRoute, "", ""},
			{"a parameter", "GET", "admin.example.com", "/api;v=1/orders", []string{withToken}, nil, "oauth", 0, "", "/", ""},
			{"a parameter that hides", "GET", "a", "/public;v=1/x", []string{withToken}, nil, "liquid", 400, auth.ReasonMalformed, "", ""},
			{"no host", "GET", "", "/api/orders", nil, nil, "b2b", 401, auth.ReasonNoCredential, "/api/orders", ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				h.t, h.gate.err = t, c.err
				if c.status == 0 { // it is let in
					if answer := h.ask(proxy, c.method, c.host, c.target, c.lines...); answer.StatusCode != 200 {
						t.Errorf("got %d %s", answer.StatusCode, answer.body)
					}
					h.observed()
					return
				}
				answer := h.ask(proxy, c.method, c.host, c.target, c.lines...)
				body := fmt.Sprintf(`{"words":%q,"status":%d,"reason":%q}`, c.words, c.status, c.reason)
				status, hidden := c.status, ""
				if proxy == "nginx" && status != 401 && status != 403 {
					status, hidden = 403, fmt.Sprint(c.status)
				}
				if answer.StatusCode != status || answer.body != body || answer.Header.Get("X-Auth-Status") != hidden {
					t.Errorf("got %d (%q) %s, want %d (%q) %s", answer.StatusCode, answer.Header.Get("X-Auth-Status"), answer.body, status, hidden, body)
				}
				if c.header != "" && answer.Header.Get(c.header) == "" {
					t.Errorf("there is no %s: %v", c.header, answer.Header)
				}
				for _, name := range []string{"X-Auth-Account", "X-Auth-Type", "X-Tenant"} {
					if values, ok := answer.Header[name]; ok {
						t.Errorf("a refusal has %s: %q", name, values)
					}
				}
				path, _, _ := strings.Cut(c.target, "?")
				o := h.observed()
				if o.Did != auth.DidVerify || o.Route != c.route || string(o.Contract) != c.words || o.Status != c.status || o.Reason != c.reason ||
					o.Caller.Path != path || o.Caller.Method != c.method || o.Caller.Host != c.host {
					t.Errorf("observed %+v", o)
				}
			})
		}
	})
}

// A path is judged in its one spelling, or not at all.
func TestSpellingsThatAProxyAsksAbout(t *testing.T) {
	eachProxy(t, func(t *testing.T, proxy string) {
		h := newHouse(t, nil, []Route{protected("/")})
		for _, s := range webtest.Spellings {
			target, want := s.Target, s.Want
			switch {
			case strings.ContainsAny(target, "\x00\r\n") || proxy == "envoy" && strings.ContainsAny(target, " \t"):
				continue // no head can hold it
			case proxy != "envoy" && strings.Trim(target, " \t") != target: // it is not a value of a header with its spaces
				target = strings.Trim(target, " \t")
				want, _, _ = web.CheckPath(target)
			}
			before := len(h.gate.let)
			answer := h.ask(proxy, "GET", "a", target, withToken)
			if passed := answer.StatusCode == http.StatusOK; passed != (want != "") || passed != (len(h.gate.let) == before+1) {
				t.Errorf("%q: got %d, and %d were let in", target, answer.StatusCode, len(h.gate.let)-before)
			} else if passed && h.gate.let[before].Path != want {
				t.Errorf("%q was judged as %q, want %q", target, h.gate.let[before].Path, want)
			}
		}
	})
}

// Which call it is says the proxy, once and in its own headers, or nobody knows.
func TestWhichCallIsMeant(t *testing.T) {
	h := newHouse(t, nil, []Route{protected("/"), at("admin.example.com", open("/"))})
	for proxy, names := range map[string][3]string{
		"nginx":   {"X-Original-Method", "X-Original-URI", ""},
		"traefik": {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
		"caddy":   {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"},
	} {
		method, target, host := names[0], names[1], names[2]
		good := []string{method + ": GET", target + ": /x"}
		type question struct {
			lines  []string
			status int
		}
		questions := []question{
			{good, 200},
			{[]string{strings.ToLower(method) + ": GET", strings.ToUpper(target) + ": /x"}, 200},
			{nil, 400},
			{good[:1], 400},
			{good[1:], 400},
			{append(good[:2:2], method+": GET"), 400},
			{append(good[:2:2], target+": /x"), 400},
			{append(good[:2:2], target+": /y"), 400},
			{append(good[:2:2], target+":"), 400},
			{[]string{method + ":", target + ": /x"}, 400},
			{[]string{method + ": GET", target + ":"}, 400},
			{[]string{method + ": GET, POST", target + ": /x"}, 400},
			{[]string{method + ": GET POST", target + ": /x"}, 400},
			{[]string{method + ": G\u00c9T", target + ": /x"}, 400},
			{[]string{method + ": CONNECT", target + ": /x"}, 405},
			{[]string{method + ": TRACE", target + ": /x"}, 405},
			{[]string{method + ": GET", target + ": https://a/x"}, 400},
			{[]string{method + ": GET", target + ": x"}, 400},
			// Another proxy's headers, and twins of its own, are not those.
			{[]string{"X-Original-Method: GET", "X-Forwarded-Uri: /x"}, 400},
			{[]string{"X-Forwarded-Method: GET", "X-Original-URI: /x"}, 400},
			{[]string{strings.ReplaceAll(method, "-", "_") + ": GET", strings.ReplaceAll(target, "-", "_") + ": /x"}, 400},
			{append(good[:2:2], strings.ReplaceAll(method, "-", "_")+": TRACE", strings.ReplaceAll(target, "-", "_")+": x"), 200},
			{append(good[:2:2], "X-Original-URL: /y", "X-HTTP-Method-Override: TRACE", "Forwarded: host=admin.example.com"), 200},
		}
		if host != "" {
			questions = append(questions, []question{
				{append(good[:2:2], host+": api.example.com", host+": api.example.com"), 400},
				{append(good[:2:2], host+": api.example.com, admin.example.com"), 400},
				{append(good[:2:2], host+": api.example.com"), 200},
				{append(good[:2:2], host+":"), 200},
			}...)
		}
		let := 0
		for _, q := range questions {
			t.Run(proxy+" "+strings.Join(q.lines, " "), func(t *testing.T) {
				h.t = t
				answer := h.do("GET", "/authz/"+proxy, "", append(q.lines, withToken)...)
				hidden := answer.Header.Get("X-Auth-Status")
				if got := cmp.Or(hidden, fmt.Sprint(answer.StatusCode)); got != fmt.Sprint(q.status) || (hidden != "") != (proxy == "nginx" && q.status != 200) {
					t.Errorf("got %d (%q), want %d", answer.StatusCode, hidden, q.status)
				}
				o := h.observed()
				if q.status == 200 {
					let++
					if o.Caller.Path != "/x" || o.Caller.Method != "GET" {
						t.Errorf("observed %+v", o)
					}
				}
				// What is wrong with the proxy its operator finds in the log.
				if wrong := o.Route == "/authz/"+proxy; o.Status != q.status || wrong != (o.Err != nil) || wrong && (q.status != 400 || o.Caller.Path != o.Route) {
					t.Errorf("observed %+v", o)
				}
			})
		}
		if len(h.gate.let) != let {
			t.Errorf("%s: %d were let in, want %d", proxy, len(h.gate.let), let)
		}
		h.gate.let = nil
	}
}

// Only the method that a proxy asks with is answered. Envoy asks with the call's own.
func TestMethodsOfAProxy(t *testing.T) {
	h := newHouse(t, nil, []Route{protected("/")})
	for _, method := range []string{"HEAD", "POST", "PUT", "OPTIONS", "BREW"} {
		for _, proxy := range []string{"nginx", "traefik", "caddy"} {
			answer := h.do(method, "/authz/"+proxy, "", withToken, "X-Original-Method: GET", "X-Original-URI: /x", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /x")
			if status := answer.StatusCode; status != 405 && (proxy != "nginx" || status != 403 || answer.Header.Get("X-Auth-Status") != "405") || answer.Header.Get("Allow") != "GET" {
				t.Errorf("%s %s: got %d, Allow: %q", method, proxy, status, answer.Header["Allow"])
			}
			h.observed()
		}
		if answer := h.ask("envoy", method, "a", "/x", withToken); answer.StatusCode != 200 {
			t.Errorf("%s envoy: got %d", method, answer.StatusCode)
		}
		if o := h.observed(); o.Caller.Method != method || o.Status != 200 {
			t.Errorf("observed %+v", o)
		}
		for _, proxy := range []string{"nginx", "traefik", "caddy"} {
			if answer := h.ask(proxy, method, "a", "/x", withToken); answer.StatusCode != 200 {
				t.Errorf("%s asked about by %s: got %d", method, proxy, answer.StatusCode)
			}
			if o := h.observed(); o.Caller.Method != method {
				t.Errorf("observed %+v", o)
			}
		}
	}
	if answer := h.ask("envoy", "TRACE", "a", "/x", withToken); answer.StatusCode != 405 {
		t.Errorf("got %d", answer.StatusCode)
	}
	if answer := h.ask("envoy", "GET", "a", "", withToken); answer.StatusCode != 400 { // no path at all
		t.Errorf("got %d", answer.StatusCode)
	}
}

// To others than our proxies the addresses are not there, whatever they ask and however.
func TestAStrangerWhoAsks(t *testing.T) {
	h := newHouse(t, nil, []Route{protected("/"), open("/public")}, func(c *Config) {
		c.Reserved = func(path string) bool { return covers("/authz", path) }
	})
	h.stranger.Store(true)
	asIfUnknown := func(method, target, lines string) {
		t.Helper()
		var answers [2]reply
		for i, path := range []string{target, strings.Replace(target, "/authz/", "/authz/un", 1)} {
			answers[i] = h.raw(method, method+" "+path+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+lines+"\r\n")
			o := h.observed()
			if o.Route != "" || o.Did != auth.DidOther || o.Caller.Method != method || o.Caller.Path != path {
				t.Errorf("%s %s: observed %+v", method, path, o)
			}
			answers[i].Header.Del("X-Request-Id")
			answers[i].Header.Del("Date")
		}
		if answers[0].StatusCode != answers[1].StatusCode || answers[0].body != answers[1].body || gocmp.Diff(answers[0].Header, answers[1].Header) != "" {
			t.Errorf("%s %s: got %d %s %v, and of an unknown address %d %s %v", method, target, answers[0].StatusCode, answers[0].body,
				answers[0].Header, answers[1].StatusCode, answers[1].body, answers[1].Header)
		}
	}
	for _, proxy := range []string{"nginx", "traefik", "caddy", "envoy", "envoy/public", "envoy/x"} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "TRACE"} {
			asIfUnknown(method, "/authz/"+proxy, withToken+"\r\nX-Original-Method: GET\r\nX-Original-URI: /public\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /public\r\n")
		}
		asIfUnknown("GET", "/authz/"+proxy, "X-Forwarded-Proto: https\r\n")
	}
	if len(h.gate.wants) != 0 {
		t.Errorf("the gate was asked %d times", len(h.gate.wants))
	}
}

// What a proxy sends along of a body is not read, and what it asks about in clear text can be refused.
func TestBodiesAndClearText(t *testing.T) {
	h := newHouse(t, nil, []Route{protected("/")})
	answer := h.do("POST", "/authz/envoy/x", strings.Repeat("x", 1000), withToken, "Content-Type: application/json")
	if answer.StatusCode != 200 {
		t.Errorf("got %d", answer.StatusCode)
	}
	answer = h.do("GET", "/authz/nginx", "", withToken, "X-Original-Method: GET", "X-Original-URI: /x", "X-Forwarded-Proto: http")
	if answer.StatusCode != 403 || answer.Header.Get("X-Auth-Status") != "400" {
		t.Errorf("got %d %v", answer.StatusCode, answer.Header)
	}
	h.observed()
	if o := h.observed(); o.Status != 400 || o.Caller.Path != "/x" {
		t.Errorf("observed %+v", o)
	}
}
