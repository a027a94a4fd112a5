package config

import (
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

func TestRoutes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), `
routes:
  - path: /api/v1/
    upstream: [http://127.0.0.1:9100, "http://127.0.0.1:9101/"]
    accepts: [B2B_ACCESS, OAUTH_ACCESS]
  - path: /api/orders
    host: shop.example.com
    methods: [GET, POST]
    upstream: https://orders.internal:8443/v2
    accepts: [ORDER_API]
    scopes: [orders:read, "orders:write"]
    limits: {rate: 100/s, burst: 5}
    timeouts: {header: 2m}
    health: {path: /healthz, timeout: 500ms}
    breaker: {failures: 0}
    strip_prefix: true
    headers:
      X-Customer: ref
      X-Client: account
  - path: /api/orders
    host: shop.example.com
    methods: [DELETE]
    accepts: [ACCESS_TOKEN]
    errors: oauth
  - {path: /, public: true, upstream: "http://[::1]:9100/", errors: liquid}
`)
	got := mustLoad(t, Options{Dir: dir}).Routes
	usual := Timeouts{Connect: 5 * time.Second, Header: 30 * time.Second}
	want := []Route{
		{Path: "/api/v1/", Upstream: URLs{"http://127.0.0.1:9100", "http://127.0.0.1:9101/"}, Accepts: []verify.Type{verify.B2BAccess, verify.OAuthAccess}, Errors: auth.B2B, Timeouts: usual},
		{
			Path: "/api/orders", Host: "shop.example.com", Methods: []string{"GET", "POST"}, Upstream: URLs{"https://orders.internal:8443/v2"},
			Accepts: []verify.Type{verify.OrderAPI}, Errors: auth.Liquid, Scopes: []string{"orders:read", "orders:write"},
			Limits:   Limit{Rate: auth.Rate{Count: 100, Per: time.Second}, Burst: 5},
			Timeouts: Timeouts{Connect: 5 * time.Second, Header: 2 * time.Minute}, StripPrefix: true,
			Headers: map[string]Fact{"X-Customer": FactRef, "X-Client": FactAccount},
		},
		{
			Path: "/api/orders", Host: "shop.example.com", Methods: []string{"DELETE"}, Accepts: []verify.Type{verify.AccessToken},
			Errors: auth.OAuth2, Timeouts: usual,
		},
		{Path: "/", Public: true, Upstream: URLs{"http://[::1]:9100/"}, Errors: auth.Liquid, Timeouts: usual},
	}
	for i := range want {
		want[i].Health, want[i].Breaker = defaultRoute().Health, defaultRoute().Breaker
	}
	want[1].Health.Path, want[1].Health.Timeout, want[1].Breaker.Failures = "/healthz", 500*time.Millisecond, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What a route says of headers and of TLS, as the gateway gets it. Values that are set for the API do not show.
func TestRoutesThatEditHeaders(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	cert := httptest.NewTLSServer(nil)
	defer cert.Close()
	pemText := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate().Raw}))
	write(t, ca, pemText)
	write(t, filepath.Join(dir, "gatehouse.yaml"), `
routes:
  - path: /a
    public: true
    upstream: https://10.0.0.1
    upstream_tls: {ca_file: ca.pem, server_name: api.internal}
    request_headers:
      set: {Authorization: "Basic hunter2", X-Api-Version: 2}
      remove: [Cookie]
    response_headers:
      set: {Server: gatehouse}
      remove: [X-Powered-By]
`)
	c := mustLoad(t, Options{Dir: dir})
	got := c.Routes[0]
	if diff := cmp.Diff(UpstreamTLS{CAFile: ca, ServerName: "api.internal", CA: pemText}, got.UpstreamTLS); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(RequestHeaders{
		Set: map[string]Secret{"Authorization": NewSecret("Basic hunter2"), "X-Api-Version": NewSecret("2")}, Remove: []string{"Cookie"},
	}, got.RequestHeaders); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(ResponseHeaders{Set: map[string]string{"Server": "gatehouse"}, Remove: []string{"X-Powered-By"}}, got.ResponseHeaders); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	shown := c.Print() + fmt.Sprintf("%v %+v %#v", c, c.Routes, got)
	if strings.Contains(shown, "hunter2") || !strings.Contains(shown, `set: {Authorization: "***", X-Api-Version: "***"}`) {
		t.Errorf("printed as\n%s", shown)
	}

	// What is in the file counts, as if it were written in its place.
	again := mustLoad(t, Options{Dir: dir})
	if changed, _ := again.Follow(c); len(changed) > 0 {
		t.Errorf("read again, %v changed", changed)
	}
	write(t, ca, pemText+pemText)
	if changed, _ := mustLoad(t, Options{Dir: dir}).Follow(c); !slices.Equal(changed, []string{"routes"}) {
		t.Errorf("with other certificates, %v changed", changed)
	}
	for text, want := range map[string]string{
		"":     "gatehouse.yaml:6: routes[0].upstream_tls.ca_file: cannot read the certificates: stat " + ca + ": no such file or directory",
		"none": "gatehouse.yaml:6: routes[0].upstream_tls.ca_file: " + ca + " holds no certificate: write it as PEM, between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
	} {
		_ = os.Remove(ca)
		if text != "" {
			write(t, ca, text)
		}
		if _, err := load(Options{Dir: dir}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	other := mustLoad(t, Options{Dir: t.TempDir()})
	other.Routes = []Route{got}
	for _, change := range []func(*Route){
		func(r *Route) {},
		func(r *Route) { r.RequestHeaders.Set = map[string]Secret{"Authorization": NewSecret("Basic hunter3")} },
		func(r *Route) { r.RequestHeaders.Remove = nil },
		func(r *Route) { r.Health.Path = "/x" },
		func(r *Route) { r.Upstream = append(URLs{"http://b"}, r.Upstream...) },
	} {
		next := *other
		next.Routes = slices.Clone(other.Routes)
		change(&next.Routes[0])
		wantSame := fmt.Sprint(next.Routes) == fmt.Sprint(other.Routes) && next.Routes[0].RequestHeaders.Set["Authorization"].Equal(NewSecret("Basic hunter2"))
		if changed, _ := next.Follow(other); len(changed) == 0 != wantSame {
			t.Errorf("changed: %v, want %v", changed, !wantSame)
		}
	}
}

// What an operator reads when a file is wrong: where, which key, what to do; and all of it at once.
func TestWhatAFileGetsWrong(t *testing.T) {
	route := func(rest string) string {
		return "routes:\n- path: /api\n  accepts: [B2B_ACCESS]\n  upstream: http://a\n  " + rest + "\n"
	}
	for _, c := range []struct{ text, want string }{
		// The file as a whole.
		{"listen", "gatehouse.yaml:1: not a configuration: write lines such as listen: 127.0.0.1:8000"},
		{"# c\n- listen\n", "gatehouse.yaml:2: not a configuration: write lines such as listen: 127.0.0.1:8000"},
		{"realm: a\n---\nrealm: b\n", "gatehouse.yaml:2: a second YAML document, or a directive: a configuration is one document, so take out the line with --- or %"},
		{"realm: a\n---\n", "gatehouse.yaml:2: a second YAML document, or a directive: a configuration is one document, so take out the line with --- or %"},
		{"%YAML 1.2\n---\nrealm: a\n", "gatehouse.yaml:2: a second YAML document, or a directive: a configuration is one document, so take out the line with --- or %"},
		{"realm: a\n\nlog: [\n", "gatehouse.yaml:3: not YAML: sequence end token ']' not found"},
		{"realm: a\n\tlog: x\n", "gatehouse.yaml:2: not YAML: found character '\t' that cannot start any token"},
		{"realm: a\nlog: \xff\n", "gatehouse.yaml:2: not text: the file must be valid UTF-8 without control characters"},
		{"realm: a\nlog: \x00\n", "gatehouse.yaml:2: not text: the file must be valid UTF-8 without control characters"},

		// Keys.
		{"lisen: x\n", "gatehouse.yaml:1: there is no key lisen: did you mean listen?"},
		{"\r\n# c\r\nlisen: x\r\n", "gatehouse.yaml:3: there is no key lisen: did you mean listen?"},
		{"access_lifetime: 1h\n", "gatehouse.yaml:1: there is no key access_lifetime: did you mean tokens.b2b.access_lifetime?"},
		{"log:\n  colour: x\n", "gatehouse.yaml:2: there is no key log.colour: known are level, format"},
		{"Listen: x\n", "gatehouse.yaml:1: there is no key Listen: did you mean listen?"},
		{"<<: {}\n", "gatehouse.yaml:1: there is no key <<: known are " + strings.Join(topLevel(), ", ")},
		{"realm: a\nlog: {}\nrealm: b\n", "gatehouse.yaml:3: realm is set in line 1 already: leave out one of them"},
		{"log:\n  level: info\n  \"level\": warn\n", "gatehouse.yaml:3: log.level is set in line 2 already: leave out one of them"},

		// Shapes.
		{"realm:\n", "gatehouse.yaml:1: realm: has no value: write one, or leave the line out"},
		{"realm: ~\n", "gatehouse.yaml:1: realm: has no value: write one, or leave the line out"},
		{"log:\n", "gatehouse.yaml:1: log: has no value: write one, or leave the line out"},
		{"realm: [a]\n", "gatehouse.yaml:1: realm: takes one value, on the same line"},
		{"realm: |\n  a\n", "gatehouse.yaml:1: realm: takes one value, on the same line"},
		{"log: info\n", "gatehouse.yaml:1: log: holds keys of its own: write them below it, indented"},
		{"trusted_proxies: private\n", "gatehouse.yaml:1: trusted_proxies: takes a list: write [one, another]"},
		{"trusted_proxies:\n- private\n- [private]\n", "gatehouse.yaml:3: trusted_proxies[1]: takes one value, on the same line"},
		{"realm: &a x\n", "gatehouse.yaml:1: realm: anchors, aliases and tags are not read here: write the value itself"},
		{"realm: !!str x\n", "gatehouse.yaml:1: realm: anchors, aliases and tags are not read here: write the value itself"},
		{"routes:\n- /api\n", "gatehouse.yaml:2: routes[0]: holds keys of its own: write them below it, indented"},

		// Values.
		{"shutdown_grace: 10\n", `gatehouse.yaml:1: shutdown_grace: "10" has no unit: write 90s, 15m, 24h or 30d`},
		{"shutdown_grace: 1.5h\n", `gatehouse.yaml:1: shutdown_grace: "1.5h" is not a duration: write 90s, 15m, 24h or 30d`},
		{"shutdown_grace: 1h\n", `gatehouse.yaml:1: shutdown_grace: 1h is out of bounds: write 0 to 10m`},
		{"limits: {failures_per_address: {rate: 60/minute}}\n", `gatehouse.yaml:1: limits.failures_per_address.rate: "60/minute": a rate is a whole number above zero and a unit, as 10/s, 600/min, 100/h or 5000/d; 0 for none`},
		{"limits:\n  failures_per_address:\n    burst: -1\n", `gatehouse.yaml:3: limits.failures_per_address.burst: -1 is out of bounds: write 0 to 1000000000`},
		{"limits: {requests_per_account: {rate: 1/d, burst: 1000}}\n", `gatehouse.yaml:1: limits.requests_per_account.burst: 1000 at 1/d take 3 years to come back: write a smaller burst`},
		{"cache: {credentials: 0}\n", "gatehouse.yaml:1: cache.credentials: 0 is out of bounds: write 1 to 10000000"},
		{"cache: {tokens: 0x10}\n", `gatehouse.yaml:1: cache.tokens: "0x10" is not a whole number such as 20`},
		{"contracts: {b2b: {enabled: yes}}\n", `gatehouse.yaml:1: contracts.b2b.enabled: "yes" is neither true nor false`},
		{"listen: 8000\n", `gatehouse.yaml:1: listen: "8000" is not an address: write 127.0.0.1:8000, [::1]:8000 or :8000`},
		{"listen: 127.0.0.1:http\n", `gatehouse.yaml:1: listen: "127.0.0.1:http" has no port from 0 to 65535: write 127.0.0.1:8000`},
		{"listen: http://127.0.0.1:8000\n", `gatehouse.yaml:1: listen: "http://127.0.0.1:8000" is not an address: write 127.0.0.1:8000, [::1]:8000 or :8000`},
		{"admin_listen: 127.0.0.1:8000\n", `gatehouse.yaml:1: admin_listen: "127.0.0.1:8000" is listen too: take another port, and keep it away from the internet`},
		{"public_url: auth.example.com\n", `gatehouse.yaml:1: public_url: "auth.example.com" does not begin with http:// or https://: write https://api.example.com`},
		{"public_url: https://a.example.com/auth\n", `gatehouse.yaml:1: public_url: "https://a.example.com/auth" has a path: write https://a.example.com`},
		{"public_url: https://a.example.com/\n", `gatehouse.yaml:1: public_url: "https://a.example.com/" has a path: write https://a.example.com`},
		{"public_url: https://a.example.com?x\n", `gatehouse.yaml:1: public_url: "https://a.example.com?x" has a query or a fragment: leave it out`},
		{"public_url: https://u@a.example.com\n", `gatehouse.yaml:1: public_url: the URL has credentials in it, which everybody would see: leave them out`},
		{"public_url: 'https://a\"b'\n", `gatehouse.yaml:1: public_url: "https://a\"b" is not a URL: write https://api.example.com`},
		{"public_url: 'https://:80'\n", `gatehouse.yaml:1: public_url: "https://:80" has no host: write https://api.example.com`},
		{"public_url: 'https://a:'\n", `gatehouse.yaml:1: public_url: "https://a:" has no port from 1 to 65535`},
		{"issuer: 'a\"b'\naudience: 'a b'\n", "gatehouse.yaml:1: issuer: \"a\\\"b\" must be printable ASCII without spaces, \" and \\\n" +
			"gatehouse.yaml:2: audience: \"a b\" must be printable ASCII without spaces, \" and \\"},
		{"realm: 'a\"b'\n", `gatehouse.yaml:1: realm: "a\"b" must be printable ASCII without " and \, and not empty`},
		{"environment: staging\n", `gatehouse.yaml:1: environment: "staging" is unknown: write live or test`},
		{"key_prefix: GK\n", `gatehouse.yaml:1: key_prefix: "GK" must be 1 to 16 lower-case letters and digits, as gk`},
		{"key_prefix: a_b\n", `gatehouse.yaml:1: key_prefix: "a_b" must be 1 to 16 lower-case letters and digits, as gk`},
		{"key_prefix: abcdefghijklmnopq\n", `gatehouse.yaml:1: key_prefix: "abcdefghijklmnopq" must be 1 to 16 lower-case letters and digits, as gk`},
		{"data_dir: ''\n", `gatehouse.yaml:1: data_dir: is empty: name a folder, as ./gatehouse-data`},
		{"contracts: {liquid: {header: authorization}}\n", `gatehouse.yaml:1: contracts.liquid.header: "authorization" has a meaning of its own: take a name that nobody else uses, as X-LIQUID-API-KEY`},
		{"contracts: {liquid: {header: X_Auth_Account}}\n", `gatehouse.yaml:1: contracts.liquid.header: "X_Auth_Account" has a meaning of its own: take a name that nobody else uses, as X-LIQUID-API-KEY`},
		{"contracts: {liquid: {header: 'X Key'}}\n", `gatehouse.yaml:1: contracts.liquid.header: "X Key" is not the name of a header: write X-LIQUID-API-KEY`},
		{"contracts: {liquid: {languages: [en_US]}}\n", `gatehouse.yaml:1: contracts.liquid.languages[0]: "en_US" is not a language tag: write en or pt-BR`},
		{"tokens: {algorithm: none}\n", `gatehouse.yaml:1: tokens.algorithm: "none" is unknown: write EdDSA, ES256, RS256 or HS256`},
		{"tokens: {b2b: {reuse_leeway: 61s}}\n", `gatehouse.yaml:1: tokens.b2b.reuse_leeway: 61s is out of bounds: write 0 to 60s`},
		{"tokens: {b2b: {access_lifetime: 0}}\n", `gatehouse.yaml:1: tokens.b2b.access_lifetime: 0 is out of bounds: write 1s to 8784h`},
		{"tokens: {b2b: {access_lifetime: 1500ms}}\n", `gatehouse.yaml:1: tokens.b2b.access_lifetime: 1500ms is not a whole number of seconds, and the time in a token is: write 1s`},
		{"tokens: {b2b: {access_lifetime: 30d}}\n", `gatehouse.yaml:1: tokens.b2b.refresh_lifetime: 168h is shorter than access_lifetime, 720h: a pair could not be refreshed when it must be`},
		{"tokens: {b2b: {on_reuse: panic}}\n", `gatehouse.yaml:1: tokens.b2b.on_reuse: "panic" is unknown: write revoke_session or refuse`},
		{"signing_keys: {rotate_every: 24h}\n", `gatehouse.yaml:1: signing_keys.publish_ahead: 24h is not shorter than rotate_every, 24h`},
		{"trusted_proxies: [10.0.0.0/8, 10.1.2.3/8]\n", `gatehouse.yaml:1: trusted_proxies[1]: "10.1.2.3/8" has bits beyond its mask: write 10.0.0.0/8; or write private for all private ranges`},

		// Routes.
		{route("path: /x"), "gatehouse.yaml:5: routes[0].path is set in line 2 already: leave out one of them"},
		{"routes:\n- {path: /api, upstream: http://a}\n", "gatehouse.yaml:2: routes[0].accepts: is empty, so no token would open the route: name its types, as [B2B_ACCESS], or write public: true"},
		{"routes:\n- {accepts: [B2B_ACCESS]}\n", `gatehouse.yaml:2: routes[0].path: "" has no slash at its beginning: write /api/v1`},
		{"routes:\n- {path: /a, accepts: [B2B_REFRESH]}\n", `gatehouse.yaml:2: routes[0].accepts[0]: "B2B_REFRESH" is unknown: write ACCESS_TOKEN, ORDER_API, B2B_ACCESS or OAUTH_ACCESS`},
		{"routes:\n- {path: /a, accepts: [ORDER_API, ORDER_API]}\n", `gatehouse.yaml:2: routes[0].accepts[1]: ORDER_API is there twice`},
		{"routes:\n- {path: /a, accepts: B2B_ACCESS}\n", "gatehouse.yaml:2: routes[0].accepts: takes a list: write [one, another]"},
		{route("public: true"), "gatehouse.yaml:3: routes[0].accepts: is of no use on a public route, where nobody shows a token: leave it out, or take public: true away"},
		{"routes:\n- path: /a\n  public: true\n  scopes: [x]\n", "gatehouse.yaml:4: routes[0].scopes: is of no use on a public route, where nobody shows a token: leave it out, or take public: true away"},
		{route("scopes: ['a b']"), `gatehouse.yaml:5: routes[0].scopes[0]: "a b" is not a scope: printable ASCII without spaces, " and \`},
		{route("scopes: ['gatehouse:revoke']"), `gatehouse.yaml:5: routes[0].scopes[0]: "gatehouse:revoke" is in no token: scopes that begin with gatehouse: are for our own addresses`},
		{"routes:\n- {path: /a, upstream: 'http://a', public: true, dpop: true}\n", "gatehouse.yaml:2: routes[0].dpop: is of no use on a public route, where nobody shows a token: leave it out, or take public: true away"},
		{"routes:\n- {path: /a, upstream: 'http://a', accepts: [ACCESS_TOKEN, ORDER_API], dpop: true}\n", "gatehouse.yaml:2: routes[0].dpop: no token of the types in accepts is ever bound to a key: name OAUTH_ACCESS or B2B_ACCESS there, or leave dpop out"},
		{route("headers: {DPoP: account}"), `gatehouse.yaml:5: routes[0].headers.DPoP: "DPoP" has a meaning of its own: take a name that nobody else uses, as X-Customer`},
		{route("errors: orders"), `gatehouse.yaml:5: routes[0].errors: "orders" is unknown: write liquid, b2b or oauth`},
		{route("methods: [get]"), `gatehouse.yaml:5: routes[0].methods[0]: "get" is not a method: write GET or POST, in capitals`},
		{route("methods: [CONNECT]"), "gatehouse.yaml:5: routes[0].methods[0]: CONNECT is never let through"},
		{route("host: API.example.com:80"), `gatehouse.yaml:5: routes[0].host: "API.example.com:80" is not a host name in lower case without a port: write api.example.com`},
		{route("timeouts: {header: 48h}"), "gatehouse.yaml:5: routes[0].timeouts.header: 48h is out of bounds: write 0 to 24h"},
		{route("headers: {X-Auth-Account: ref}"), `gatehouse.yaml:5: routes[0].headers.X-Auth-Account: "X-Auth-Account" has a meaning of its own: take a name that nobody else uses, as X-Customer`},
		{route("headers: {X_Customer: ref}"), `gatehouse.yaml:5: routes[0].headers.X_Customer: "X_Customer" is not the name of a header: write X-Customer, without underscores`},
		{route("headers: {X-A: ref, x-a: type}"), `gatehouse.yaml:5: routes[0].headers.x-a: X-A is the same header`},
		{route("headers: {X-Liquid-Api-Key: ref}"), `gatehouse.yaml:5: routes[0].headers.X-Liquid-Api-Key: contracts.liquid.header is the same header`},
		{route("headers: {X-A: secret}"), `gatehouse.yaml:5: routes[0].headers.X-A: "secret" is unknown: write account, ref, credential, type or scope`},
		{route("headers: [X-A]"), "gatehouse.yaml:5: routes[0].headers: takes names and values: write {X-Customer: ref}"},
		{route("limits: {rate: often}"), `gatehouse.yaml:5: routes[0].limits.rate: "often": a rate is a whole number above zero and a unit, as 10/s, 600/min, 100/h or 5000/d; 0 for none`},
		{"routes:\n- {path: /a, accepts: [ORDER_API], strip_prefix: true}\n", "gatehouse.yaml:2: routes[0].strip_prefix: is of no use without an upstream"},
		{"routes:\n- {path: /a, accepts: [ORDER_API], upstream: 'ftp://a'}\n", `gatehouse.yaml:2: routes[0].upstream: "ftp://a" does not begin with http:// or https://: write https://api.example.com`},
		{"routes:\n- {path: /a, accepts: [ORDER_API], upstream: 'http://a/b/../c'}\n", `gatehouse.yaml:2: routes[0].upstream: "http://a/b/../c" has a path with a dot segment: requests for those are refused`},
		{"routes:\n- {path: /a, accepts: [ORDER_API], upstream: 'http://a?b=c'}\n", `gatehouse.yaml:2: routes[0].upstream: "http://a?b=c" has a query or a fragment: leave it out`},
		{"routes:\n- {path: /a, accepts: [ORDER_API], upstream: 'http://u:p@a'}\n", `gatehouse.yaml:2: routes[0].upstream: the URL has credentials in it, which everybody would see: leave them out`},
		{"routes:\n- {path: /a, public: true}\n- {path: /b, public: true}\n- {path: /a/, accepts: [ORDER_API]}\n", "gatehouse.yaml:4: routes[2]: can never match: routes[0] at gatehouse.yaml:2 has the same path, host and no methods"},
		{"routes:\n- {path: /a, public: true, methods: [GET, POST]}\n- {path: /a, public: true, methods: [PUT, POST]}\n", "gatehouse.yaml:3: routes[1]: can never match: routes[0] at gatehouse.yaml:2 has the same path, host and method POST"},

		// Connections.
		{"proxy_protocol: true\nrequire_https: true\n", "gatehouse.yaml:1: proxy_protocol: nobody may send its header: name the proxy in trusted_proxies\n" +
			"gatehouse.yaml:2: require_https: every request would be refused: set tls.cert_file and tls.key_file, or tls.acme.hosts, or name the proxy with TLS in trusted_proxies"},
		{"tls: {client_ca_file: ca.pem}\n", "gatehouse.yaml:1: tls.client_ca_file: certificates are shown over TLS, and there is none: set tls.cert_file and tls.key_file"},
		{"admin_tls: {client_certificates: optional}\n", "gatehouse.yaml:1: admin_tls.client_certificates: nobody is asked for one: set admin_tls.client_ca_file"},
		{"admin_tls: {client_certificates: maybe}\n", "gatehouse.yaml:1: admin_tls.client_certificates: \"maybe\" is unknown: write require or optional"},
		{"admin_tls: {key_file: a.pem}\n", "gatehouse.yaml:1: admin_tls: set both, cert_file and key_file"},
		{"tls: {cert_file: a.pem}\n", "gatehouse.yaml:1: tls: set both, cert_file and key_file"},
		{"max_connections: 1000001\n", "gatehouse.yaml:1: max_connections: 1000001 is out of bounds: write 0 to 1000000"},
		{"max_connections_per_address: -1\n", "gatehouse.yaml:1: max_connections_per_address: -1 is out of bounds: write 0 to 1000000"},

		// What is not there yet.
		{"database: postgres://db/\n", "gatehouse.yaml:1: database: names no database: write postgres://user:password@host:5432/name"},
		{"database_pool:\n  max_connections: 1\n", "gatehouse.yaml:2: database_pool.max_connections: is 1, and can be 2 to 1000; all servers together must stay below PostgreSQL's max_connections"},
		{"database_pool:\n  statement_timeout: 1h\n", "gatehouse.yaml:2: database_pool.statement_timeout: is 1h, and can be 100ms to 1m"},
		{"redis: http://r/\n", "gatehouse.yaml:1: redis: is not a URL of Redis: write redis://host:6379, or rediss:// for TLS"},
		{"tls: {acme: {hosts: [a.example.com]}}\n", "default: public_url: \"http://127.0.0.1:8000\" is not how customers reach a server with certificates: write https://a.example.com"},
		{"public_url: https://a.example.com\ntls: {acme: {hosts: [a.example.com, '*.example.com']}}\n", "gatehouse.yaml:2: tls.acme.hosts[1]: \"*.example.com\" is no name of a host: write it in small letters, as auth.example.com, without a port or a pattern"},
		{"public_url: https://a.example.com\ntls: {acme: {hosts: [localhost]}}\n", "gatehouse.yaml:2: tls.acme.hosts[0]: \"localhost\" is no name of a host: write it in small letters, as auth.example.com, without a port or a pattern"},
		{"public_url: https://a.example.com\ntls: {acme: {hosts: [a.example.com, a.example.com]}}\n", "gatehouse.yaml:2: tls.acme.hosts[1]: \"a.example.com\" is there twice"},
		{"public_url: https://a.example.com\ntls: {acme: {hosts: [a.example.com], directory: 'http://acme'}}\n", "gatehouse.yaml:2: tls.acme.directory: \"http://acme\" is no https:// URL"},
		{"public_url: https://a.example.com\ntls: {cert_file: a, key_file: b, acme: {hosts: [a.example.com]}}\n", "gatehouse.yaml:2: tls.acme: certificates come from files already: leave out tls.cert_file and tls.key_file, or tls.acme"},
		{"tls: {acme: {email: a@example.com}}\n", "gatehouse.yaml:1: tls.acme.hosts: names nobody that there should be a certificate for: write the host of public_url"},
		{"dashboard: {admin_url: 'admin.example.com'}\n", `gatehouse.yaml:1: dashboard.admin_url: "admin.example.com" does not begin with http:// or https://: write https://api.example.com`},
		{"dashboard: {session_idle: 30s}\n", `gatehouse.yaml:1: dashboard.session_idle: 30s is out of bounds: write 60s to 720h`},
		{"dashboard: {session_lifetime: {members: 9000h}}\n", `gatehouse.yaml:1: dashboard.session_lifetime.members: 9000h is out of bounds: write 10m to 8784h`},
		{"dashboard: {session_lifetime: {operators: 9m}}\n", `gatehouse.yaml:1: dashboard.session_lifetime.operators: 9m is out of bounds: write 10m to 8784h`},
		{"dashboard: {admin_url: 'https://admin.example.com/dashboard/'}\n", `gatehouse.yaml:1: dashboard.admin_url: "https://admin.example.com/dashboard/" has a path: write https://admin.example.com`},
		{"docs: {environments: [production]}\n", "gatehouse.yaml:1: docs.environments[0]: is not a name and a URL: write Production=https://api.example.com"},
		{"docs: {environments: ['A=https://a', 'A=https://b']}\n", `gatehouse.yaml:1: docs.environments[1]: "A" is there twice`},
		{"docs: {environments: ['A=ftp://a']}\n", `gatehouse.yaml:1: docs.environments[0]: "ftp://a" does not begin with http:// or https://: write https://api.example.com`},

		// Several upstreams.
		{"routes:\n- path: /a\n  public: true\n  upstream:\n  - http://a\n  - http://b?c\n  - http://a/\n", "gatehouse.yaml:6: routes[0].upstream[1]: \"http://b?c\" has a query or a fragment: leave it out\n" +
			"gatehouse.yaml:7: routes[0].upstream[2]: http://a/ is there twice"},
		{"routes:\n- {path: /a, public: true, upstream: [http://a, '']}\n", `gatehouse.yaml:2: routes[0].upstream[1]: "" does not begin with http:// or https://: write https://api.example.com`},
		{"routes:\n- {path: /a, public: true, upstream: {url: http://a}}\n", "gatehouse.yaml:2: routes[0].upstream: takes a list: write [one, another]"},
		{"routes:\n- {path: /a, public: true, upstream: ''}\n", ""},
		{"routes:\n- {path: /a, public: true, upstream: []}\n", ""},

		{route("health: {path: healthz, interval: 0, timeout: 2m}"), "gatehouse.yaml:5: routes[0].health.interval: 0 is out of bounds: write 1s to 1h\n" +
			"gatehouse.yaml:5: routes[0].health.path: \"healthz\" has no slash at its beginning: write /api/v1\n" +
			"gatehouse.yaml:5: routes[0].health.timeout: 2m is out of bounds: write 10ms to 60s"},
		{route("breaker: {failures: -1, open_for: 0}"), "gatehouse.yaml:5: routes[0].breaker.failures: -1 is out of bounds: write 0 to 1000\n" +
			"gatehouse.yaml:5: routes[0].breaker.open_for: 0 is out of bounds: write 100ms to 1h"},
		{"routes:\n- {path: /a, public: true, health: {path: /healthz}}\n", "gatehouse.yaml:2: routes[0].health: is of no use without an upstream"},

		// Headers on the way.
		{
			route("request_headers: {set: {Host: a, X-Auth-Account: b, x_customer: c, X-Empty: '', X-Spaced: ' d'}, remove: [Content-Length, X-Real-IP, X-Spaced]}"),
			`gatehouse.yaml:5: routes[0].request_headers.remove[0]: Content-Length belongs to the connection or to the message, and is made anew for each: leave it out
gatehouse.yaml:5: routes[0].request_headers.remove[1]: X-Real-IP is ours to set: an API takes it for what was found out about the call. Take another name
gatehouse.yaml:5: routes[0].request_headers.remove[2]: X-Spaced is there twice: leave out one of them
gatehouse.yaml:5: routes[0].request_headers.set.Host: Host belongs to the connection or to the message, and is made anew for each: leave it out
gatehouse.yaml:5: routes[0].request_headers.set.X-Auth-Account: X-Auth-Account is ours to set: an API takes it for what was found out about the call. Take another name
gatehouse.yaml:5: routes[0].request_headers.set.X-Empty: is empty: write a value, or name the header in remove
gatehouse.yaml:5: routes[0].request_headers.set.X-Spaced: has a value that no header can have: leave out spaces at its ends, and control characters
gatehouse.yaml:5: routes[0].request_headers.set.x_customer: "x_customer" is not the name of a header: write X-Customer, without underscores`,
		},
		{
			route("headers: {X-Customer: ref}\n  request_headers: {set: {x-customer: a}}"),
			"gatehouse.yaml:6: routes[0].request_headers.set.x-customer: x-customer is an identity header of this route: leave it out here or there",
		},
		{
			route("response_headers: {set: {Access-Control-Allow-Origin: '*', RateLimit: a}, remove: [X-Auth-Refresh, Transfer-Encoding]}"),
			`gatehouse.yaml:5: routes[0].response_headers.remove[0]: X-Auth-Refresh is ours to say: leave it out
gatehouse.yaml:5: routes[0].response_headers.remove[1]: Transfer-Encoding belongs to the connection or to the message, and is made anew for each: leave it out
gatehouse.yaml:5: routes[0].response_headers.set.Access-Control-Allow-Origin: Access-Control-Allow-Origin is for browsers of other origins: see cors, and cors: upstream of this route
gatehouse.yaml:5: routes[0].response_headers.set.RateLimit: RateLimit is ours to say: leave it out`,
		},
		{
			"routes:\n- {path: /a, public: true, request_headers: {remove: [Cookie]}, response_headers: {set: {Server: a}}}\n",
			"gatehouse.yaml:2: routes[0].request_headers: is of no use without an upstream\ngatehouse.yaml:2: routes[0].response_headers: is of no use without an upstream",
		},

		// TLS with upstreams.
		{route("upstream_tls: {server_name: 'https://a'}"), "gatehouse.yaml:5: routes[0].upstream_tls: is of no use without an upstream with https://\n" +
			`gatehouse.yaml:5: routes[0].upstream_tls.server_name: "https://a" is not a name in lower case without a port, nor an address: write api.internal`},

		// All at once, in the order of the file.
		{"shutdown_grace: soon\nlisen: x\nlog:\n  level: loud\nroutes:\n- path: /auth/login\n  public: maybe\n", `gatehouse.yaml:1: shutdown_grace: "soon" is not a duration: write 90s, 15m, 24h or 30d
gatehouse.yaml:2: there is no key lisen: did you mean listen?
gatehouse.yaml:4: log.level: "loud" is unknown: write debug, info, warn or error
gatehouse.yaml:6: routes[0].accepts: is empty, so no token would open the route: name its types, as [B2B_ACCESS], or write public: true
gatehouse.yaml:6: routes[0].path: "/auth/login" is ours: /auth/login answers there, and a route would never be asked
gatehouse.yaml:7: routes[0].public: "maybe" is neither true nor false`},
	} {
		var got []string
		for _, p := range problems(t, c.text) {
			got = append(got, p.Error())
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", c.text, diff)
		}
	}
}

func topLevel() []string {
	var names []string
	for _, key := range Keys() {
		name, _, _ := strings.Cut(key, ".")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return names
}

func TestOurOwnPathsAreNoRoutes(t *testing.T) {
	for path, ours := range map[string]bool{
		"/authentication": true, "/authentication/": true, "/authentication/x": true, "/api/authentication": true,
		"/order-authentication": true, "/api/order-authentication/x": true, "/auth/login": true, "/auth/refresh": true, "/auth/logout": true,
		"/oauth/token": true, "/oauth/introspect": true, "/oauth/revoke": true, "/.well-known": true, "/.well-known/x": true, "/docs": true,
		"/docs/x": true, "/dashboard/": true, "/healthz": true, "/readyz": true, "/authz/nginx": true, "/openapi.yaml": true,

		"/": false, "/api": false, "/api/": false, "/auth": false, "/oauth/": false, "/authentications": false, "/auth/other": false,
		"/docs2": false, "/api/docs": false, "/healthz.html": false, "/x/authentication": false,
	} {
		ps := problems(t, fmt.Sprintf("routes: [{path: %s, public: true}]\n", path))
		if got := len(ps) > 0; got != ours {
			t.Errorf("%s: got %v, want ours: %v", path, ps, ours)
		}
	}
}

func TestPathsOfRoutesHaveOneSpelling(t *testing.T) {
	for path, good := range map[string]bool{
		"/": true, "/a": true, "/a/": true, "/a/b.c/d-e_f~g": true, "/a/.b": true, "/a..b": true, "/a:b@c;d,e": true,
		"": false, "a": false, "//": false, "/a//b": false, "/./a": false, "/a/..": false, "/a/../b": false, "/a%2fb": false, "/%61": false,
		"/a?b": false, "/a#b": false, `/a\b`: false, "/a b": false, "/é": false, `/a"b`: false,
	} {
		if err := checkPath(path); (err == nil) != good {
			t.Errorf("%q: got %v, want good: %v", path, err, good)
		}
	}
}

// Every key, left out of the example in turn, changes nothing; misspelled in turn, it is an error that names its line.
func TestEveryKeyLeftOutAndMisspelled(t *testing.T) {
	lines := strings.SplitAfter(Example(), "\n")
	tried := 0
	for i, line := range lines {
		name, rest, ok := strings.Cut(strings.TrimLeft(line, " "), ":")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		tried++
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		with := func(line string) string {
			changed := append([]string(nil), lines...)
			changed[i] = line
			return strings.Join(changed, "")
		}
		ps := problems(t, with(indent+name+"x:"+rest))
		want := fmt.Sprintf("gatehouse.yaml:%d", i+1)
		if len(ps) != 1 || ps[0].Where != want || !strings.Contains(ps[0].Error(), name+"x") || !strings.Contains(ps[0].Error(), "did you mean "+name) {
			t.Errorf("%q misspelled: got %v, want one problem at %s", name, ps, want)
		}
		if strings.TrimSpace(rest) == "" {
			continue // a section
		}
		for _, wrong := range []string{"{nonsense: 1}", "!!int 5", "", "null"} {
			ps := problems(t, with(indent+name+": "+wrong+"\n"))
			if len(ps) == 0 || ps[0].Where != want {
				t.Errorf("%s: %s: got %v, want a problem at %s", name, wrong, ps, want)
			}
		}
	}
	if want := len(Keys()); tried < want {
		t.Errorf("tried %d lines, want one for each of %d keys at least", tried, want)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), Example())
	whole := mustLoad(t, Options{Dir: dir})
	section := func(key string) string { return key[:max(strings.LastIndexByte(key, '.'), 0)] }
	isAlone := func(key string) bool {
		return section(key) != "" && !slices.ContainsFunc(Keys(), func(other string) bool {
			return other != key && strings.HasPrefix(other, section(key)+".")
		})
	}
	for _, key := range Keys() {
		line := whole.origins[key].line
		ps := problems(t, strings.Join(append(append([]string(nil), lines[:line-1]...), lines[line:]...), ""))
		if alone := isAlone(key); len(ps) > 0 && !alone {
			t.Errorf("%s left out: %v", key, ps)
		} else if alone && (len(ps) != 1 || ps[0].Key != section(key)) { // its section has no value then
			t.Errorf("%s, alone in its section, left out: %v", key, ps)
		}
	}
}

// What Print writes is read back as the same.
func TestPrintIsReadBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom(nil, unicode.PrintRanges...)).Filter(func(s string) bool { return s != "" })
		c := mustLoad(t, Options{Dir: t.TempDir()})
		c.Realm = text.Draw(rt, "realm")
		c.Issuer = text.Draw(rt, "issuer")
		c.Contracts.Liquid.APIVersion = text.Draw(rt, "version")
		c.Docs.Environments = rapid.SliceOfN(text, 0, 3).Draw(rt, "environments")
		c.Tokens.B2B.MaxSessionAge = time.Duration(rapid.Int64Range(0, 1e12).Draw(rt, "age")) * time.Millisecond
		c.Cache.Tokens = rapid.IntRange(0, 1000).Draw(rt, "tokens")
		c.Routes = nil
		for i := range rapid.IntRange(0, 2).Draw(rt, "routes") {
			r := defaultRoute()
			r.Path, r.Public = fmt.Sprint("/a", i), rapid.Bool().Draw(rt, "public")
			r.Host = text.Draw(rt, "host")
			r.Upstream = rapid.SliceOfN(text, 1, 3).Draw(rt, "upstream")
			for name := range rapid.MapOfN(text, rapid.Just(true), 0, 2).Draw(rt, "set") {
				r.RequestHeaders.Set = map[string]Secret{name: NewSecret("***")}
			}
			r.ResponseHeaders.Set = rapid.MapOfN(text, text, 1, 2).Draw(rt, "response")
			r.ResponseHeaders.Remove = rapid.SliceOfN(text, 1, 2).Draw(rt, "remove")
			r.Headers = rapid.MapOfN(text, rapid.Just(FactRef), 0, 3).Draw(rt, "headers")
			if len(r.Headers) == 0 {
				r.Headers = nil
			}
			c.Routes = append(c.Routes, r)
		}
		// Decoding alone: most of these texts are no good values.
		again := &loader{c: Default(), wrong: map[string]bool{}}
		again.c.origins = map[string]origin{}
		if !again.decode("printed", []byte(c.Print())) || len(again.problems) > 0 {
			rt.Fatalf("%v\n%s", again.problems, c.Print())
		}
		if got, want := again.c.Print(), c.Print(); got != want {
			rt.Fatal(cmp.Diff(want, got))
		}
		again.c.origins, again.c.File, again.c.MasterKey = c.origins, c.File, c.MasterKey
		if len(c.Docs.Environments) == 0 {
			c.Docs.Environments = nil
		}
		if diff := cmp.Diff(c, again.c, but("origins", "dir")); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add("")
	f.Add(Example())
	f.Add("routes:\n- path: /api\n  accepts: [B2B_ACCESS]\n  headers: {X-A: ref}\n")
	f.Add("a: &x [*x]\n<<: *x\n? {a: b}\n: |\n  c\n")
	f.Add("log: {level: \"\\u00e9\\x41\", format: 'it''s'}\n...\n---\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "gatehouse.yaml")
		write(t, path, text)
		c, err := load(Options{Path: path, Dir: dir})
		if err != nil {
			for _, p := range all(t, err) {
				if !strings.HasPrefix(p.Error(), path) && p.Where != "default" {
					t.Fatalf("%q: a problem that names no place: %v", text, p)
				}
			}
			return
		}
		printed := c.Print()
		write(t, path, printed)
		again, err := load(Options{Path: path, Dir: dir})
		if err != nil {
			t.Fatalf("%q: printed as\n%s\n%v", text, printed, err)
		}
		if again.Print() != printed {
			t.Fatalf("%q: printed as\n%s\nand then as\n%s", text, printed, again.Print())
		}
	})
}
