package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What browsers send as Origin is what is compared, so nothing else is taken.
func TestOrigins(t *testing.T) {
	for _, s := range []string{
		"https://app.example.com", "http://localhost:3000", "https://app.example.com:8443", "http://127.0.0.1:5173", "http://[::1]:3000",
		"https://xn--bcher-kva.example", "https://a_b.example.com", "http://example.com:443", "capacitor://localhost",
		"chrome-extension://abcdefghijklmnop",
	} {
		if err := checkOrigin(s); err != nil {
			t.Errorf("%s %v", s, err)
		}
	}
	const none = "is not an origin: write https://app.example.com"
	for s, want := range map[string]string{
		"*":                          "is a pattern: name each origin, as https://app.example.com",
		"https://*.example.com":      "is a pattern: name each origin, as https://app.example.com",
		"null":                       "is what files and sandboxed frames send, whoever made them: name an origin, as https://app.example.com",
		"app.example.com":            "has no scheme: write https://app.example.com, or http://",
		"localhost:3000":             "has no scheme: write https://localhost:3000, or http://",
		"//app.example.com":          none,
		"https://app.example.com/":   "is not how browsers spell it: write https://app.example.com",
		"https://a.example/x?y#z":    "is not how browsers spell it: write https://a.example",
		"https://a.example?":         "is not how browsers spell it: write https://a.example",
		"https://u:p@a.example":      "is not how browsers spell it: write https://a.example",
		"HTTPS://App.Example.com":    "is not how browsers spell it: write https://app.example.com",
		"https://a.example:443":      "is not how browsers spell it: write https://a.example",
		"http://a.example:80":        "is not how browsers spell it: write http://a.example",
		"https://a.example:08443":    "is not how browsers spell it: write https://a.example:8443",
		"https://a.example:":         "is not how browsers spell it: write https://a.example",
		"http://[0:0::1]:3000":       "is not how browsers spell it: write http://[::1]:3000",
		"https://a.example:0":        "has no port from 1 to 65535",
		"https://a.example:99999":    "has no port from 1 to 65535",
		"https://bücher.example":     "has letters that browsers send in another form: write the host's name as DNS has it, with xn--",
		"https://a.example, https:":  none,
		"https://a b":                none,
		"https://a%41":               none,
		"https://":                   none,
		"https:///x":                 none,
		"":                           none,
		"file:///home":               none,
		"https://a.example https://": none,
	} {
		if err := checkOrigin(s); err == nil || err.Error() != want {
			t.Errorf("%q %v, want %s", s, err, want)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://App.example.com:443/x", "http://[::1]:80", "app://a_b.:1", "https://a%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		spelled, err := browsersSpelling(s)
		if err != nil {
			return
		}
		if err := checkOrigin(spelled); err != nil {
			t.Errorf("%q: %q %v", s, spelled, err)
		}
	})
}

func TestCORS(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), `
cors:
  allowed_origins: [https://app.example.com, http://localhost:3000]
  allowed_headers: [X-Customer, If-None-Match, Cache-Control]
routes:
- {path: /a, public: true, upstream: 'http://a', cors: upstream}
`)
	c := mustLoad(t, Options{Dir: dir})
	want := CORS{AllowedOrigins: []string{"https://app.example.com", "http://localhost:3000"}, AllowedHeaders: []string{"X-Customer", "If-None-Match", "Cache-Control"}}
	if diff := cmp.Diff(want, c.CORS); diff != "" || c.Routes[0].CORS != "upstream" {
		t.Errorf("route %q, cors (-want +got):\n%s", c.Routes[0].CORS, diff)
	}

	const origins = "allowed_origins: ['https://a.example'], "
	route := func(rest string) string { return "routes:\n- {path: /api, accepts: [B2B_ACCESS], " + rest + "}\n" }
	for _, c := range []struct{ text, want string }{
		{"cors: {allowed_origins: ['https://A.example/', 'https://a.example', 'https://a.example']}\n", "" +
			`gatehouse.yaml:1: cors.allowed_origins[0]: "https://A.example/" is not how browsers spell it: write https://a.example` + "\n" +
			"gatehouse.yaml:1: cors.allowed_origins[2]: https://a.example is there twice"},
		{"cors: {allowed_headers: [X-Customer]}\n", "gatehouse.yaml:1: cors.allowed_headers: is of no use without cors.allowed_origins"},
		{"cors: {" + origins + "allowed_headers: ['*']}\n", "gatehouse.yaml:1: cors.allowed_headers[0]: * is every header: name those that your API reads, as X-Customer"},
		{"cors: {" + origins + "allowed_headers: ['X Customer']}\n", `gatehouse.yaml:1: cors.allowed_headers[0]: "X Customer" is not the name of a header: write X-Customer`},
		{"cors: {" + origins + "allowed_headers: [cookie]}\n", "gatehouse.yaml:1: cors.allowed_headers[0]: cookie is never sent across origins here, for answers do not allow credentials: leave it out"},
		{"cors: {" + origins + "allowed_headers: [X_Auth_Account]}\n", "gatehouse.yaml:1: cors.allowed_headers[0]: X_Auth_Account says who is calling, which is for the gateway to say: leave it out"},
		{"cors: {" + origins + "allowed_headers: [X-TENANT]}\n" + route("upstream: 'http://a', headers: {X-Tenant: account}"), "gatehouse.yaml:1: cors.allowed_headers[0]: X-TENANT says who is calling, which is for the gateway to say: leave it out"},
		{"cors: {" + origins + "allowed_headers: [X-Forwarded-For, Origin]}\n", "" +
			"gatehouse.yaml:1: cors.allowed_headers[0]: X-Forwarded-For is not for a page to send: leave it out\n" +
			"gatehouse.yaml:1: cors.allowed_headers[1]: Origin is not for a page to send: leave it out"},
		{"cors: {" + origins + "allowed_headers: [X-A, x-a]}\n", "gatehouse.yaml:1: cors.allowed_headers[1]: x-a is there twice"},
		{route("upstream: 'http://a', cors: both"), `gatehouse.yaml:2: routes[0].cors: "both" is unknown: write upstream, or leave it out`},
		{route("cors: upstream"), "gatehouse.yaml:2: routes[0].cors: is of no use without an upstream"},
	} {
		var got []string
		for _, p := range problems(t, c.text) {
			got = append(got, p.Error())
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.text, diff)
		}
	}
}
