package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// guarded are routes of every sort, for forward-auth alone.
const guarded = wideLimits + `
trusted_proxies: [127.0.0.1]
require_https: true
routes:
  - {path: /api/v1/, accepts: [ACCESS_TOKEN]}
  - {path: /api/v1/limited, accepts: [ACCESS_TOKEN], limits: {rate: 1/h, burst: 2}}
  - {path: /api/v1/read, accepts: [ACCESS_TOKEN], methods: [GET]}
  - {path: /api/orders, accepts: [ORDER_API]}
  - {path: /admin, accepts: [ACCESS_TOKEN], scopes: [admin]}
  - {path: /public, public: true}
`

// The configurations that docs/forward-auth.md shows are run in the real programs, with an API behind them that writes down
// what it gets: that is exactly what was authorised, with an identity that nobody else can set.
func TestForwardAuth(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, gatehouse, api string) edge{"nginx": startNginx, "caddy": startCaddy} {
		t.Run(name, func(t *testing.T) {
			api := newUpstream(t, func(call) string { return `{"ok":true}` })
			s := startServer(t, guarded)
			account := s.newAccount(t, "Customer")
			c := &guardedAPI{
				edge: start(t, s.Listen, strings.TrimPrefix(api.URL, "http://")), name: name, server: s, api: api, account: account,
				key: s.newCredential(t, account, "api-key"),
			}
			c.token = c.exchange(t, "/authentication", "X-LIQUID-API-KEY", c.key.Key)
			basic := s.newCredential(t, account, "basic")
			req, _ := http.NewRequest(http.MethodGet, "/", nil)
			req.SetBasicAuth(basic.UserID, basic.Password)
			c.order = c.exchange(t, "/order-authentication", "Authorization", req.Header.Get("Authorization"))

			t.Run("who calls", c.whoCalls)
			t.Run("refusals", c.refusals)
			t.Run("forged headers", c.forgedHeaders)
			t.Run("forged questions", c.forgedQuestions)
			t.Run("paths", c.paths)
			t.Run("allowlist", c.allowlist)
			t.Run("closed", c.closed) // the last one: it ends the server
			c.nothingElse(t)
		})
	}
}

// A guardedAPI is an API behind another proxy that asks the server.
type guardedAPI struct {
	edge
	name         string
	server       *server
	api          *upstream
	account      string
	key          credential
	token, order string   // ACCESS_TOKEN, ORDER_API
	arrived      []string // method and path of all calls that were taken from the api
}

// exchange buys a token, as if through a proxy with TLS.
func (c *guardedAPI) exchange(t *testing.T, path, header, value string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, c.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, value)
	req.Header.Set("X-Forwarded-Proto", "https")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var bought struct {
		Token string
		Data  struct{ Token string }
	}
	if err := json.NewDecoder(res.Body).Decode(&bought); err != nil || bought.Token+bought.Data.Token == "" {
		t.Fatalf("%s: %d, %v", path, res.StatusCode, err)
	}
	return bought.Token + bought.Data.Token
}

// take returns the calls that arrived.
func (c *guardedAPI) take() []call {
	calls := c.api.take()
	for _, one := range calls {
		target, _, _ := web.CheckPath(one.Target)
		c.arrived = append(c.arrived, one.Method+" "+target)
	}
	return calls
}

// passes sends a request that is let in, and returns how it arrived.
func (c *guardedAPI) passes(t *testing.T, method, target, body string, lines ...string) (got reply, arrived call) {
	t.Helper()
	got = c.send(t, method, target, body, lines...)
	calls := c.take()
	if got.StatusCode != http.StatusOK || len(calls) != 1 {
		t.Fatalf("%s %s %q: got %d %s, and %d arrived", method, target, lines, got.StatusCode, got.body, len(calls))
	}
	return got, calls[0]
}

// refused sends a request that is not let in.
func (c *guardedAPI) refused(t *testing.T, want int, method, target string, lines ...string) reply {
	t.Helper()
	got := c.send(t, method, target, "", lines...)
	if calls := c.take(); got.StatusCode != want || len(calls) != 0 {
		t.Errorf("%s %s %q: got %d %s, want %d, and %d arrived", method, target, lines, got.StatusCode, got.body, want, len(calls))
	}
	return got
}

func withToken(token string) string { return "Authorization: Bearer " + token }

// identity is what the API is told of the customer; "" may be a header without a value, or none.
func (c *guardedAPI) identity() map[string]string {
	return map[string]string{
		"X-Auth-Account": c.account, "X-Auth-Account-Ref": "", "X-Auth-Credential": c.key.ID, "X-Auth-Type": "ACCESS_TOKEN", "X-Auth-Scope": "",
	}
}

var anonymous = map[string]string{
	"X-Auth-Account": "", "X-Auth-Account-Ref": "", "X-Auth-Credential": "", "X-Auth-Type": "", "X-Auth-Scope": "",
}

// checkIdentity fails unless the API sees these headers, each once and by one name only, and nothing else that it could take
// for one.
func checkIdentity(t *testing.T, h http.Header, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for name := range want {
		got[name] = ""
	}
	for name, values := range h {
		asCGI := strings.ReplaceAll(strings.ToUpper(name), "-", "_")
		for ours := range want {
			if asCGI == strings.ReplaceAll(strings.ToUpper(ours), "-", "_") {
				if name != ours {
					ours = name
				}
				if got[ours] = strings.Join(values, " and "); len(values) > 1 {
					got[ours] = fmt.Sprintf("%d values: %s", len(values), got[ours])
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who calls (-want +got):\n%s", diff)
	}
	for _, name := range []string{"Authorization", "X-Liquid-Api-Key", "X-Http-Method-Override", "X-Original-Uri", "X-Original-Url", "Forwarded"} {
		if values, ok := h[name]; ok && strings.Join(values, "") != "" {
			t.Errorf("%s reached the API: %q", name, values)
		}
	}
}

func (c *guardedAPI) whoCalls(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
		body := ""
		if method == "POST" {
			body = `{"n":1}`
		}
		got, arrived := c.passes(t, method, "/api/v1/x?a=%2F..%2f&b", body, withToken(c.token), "X-LIQUID-API-KEY: "+c.key.Key, "Cookie: own=1", "Content-Type: application/json")
		checkIdentity(t, arrived.Header, c.identity())
		if arrived.Method != method || arrived.Target != "/api/v1/x?a=%2F..%2f&b" || arrived.Body != body || arrived.Header.Get("Cookie") != "own=1" {
			t.Errorf("%s: arrived as %+v", method, arrived)
		}
		if id := got.Header["X-Request-Id"]; len(id) != 1 || !slices.Equal(id, arrived.Header["X-Request-Id"]) {
			t.Errorf("%s: request ids %q and %q", method, id, arrived.Header["X-Request-Id"])
		}
	}
	_, arrived := c.passes(t, "GET", "/public/x", "")
	checkIdentity(t, arrived.Header, anonymous)
	_, arrived = c.passes(t, "POST", "/public/x", "", "Transfer-Encoding: chunked", "Expect: 100-continue\r\n\r\n5\r\nhello\r\n0")
	if arrived.Body != "hello" {
		t.Errorf("a body in chunks arrived as %q", arrived.Body)
	}
}

func (c *guardedAPI) refusals(t *testing.T) {
	good := withToken(c.token)
	bodies := func(got reply, message string) {
		t.Helper()
		if c.name != "nginx" && !strings.Contains(got.body, message) { // whose bodies are its own
			t.Errorf("got %s, want %s", got.body, message)
		}
	}
	none := c.refused(t, 401, "GET", "/api/v1/x")
	bodies(none, `"message":"Unauthorized"`)
	if challenge := none.Header["Www-Authenticate"]; len(challenge) != 1 || challenge[0] != `Bearer realm="gatehouse"` {
		t.Errorf("no token: %q", challenge)
	}
	for token, description := range map[string]string{c.token + "x": "The access token is not valid", c.order: "The access token is of another type"} {
		got := c.refused(t, 401, "GET", "/api/v1/x", withToken(token))
		if challenge := got.Header["Www-Authenticate"]; len(challenge) != 1 || !strings.Contains(challenge[0], description) {
			t.Errorf("%s: %q", description, challenge)
		}
	}
	c.refused(t, 401, "GET", "/api/orders", good)
	c.refused(t, 401, "GET", "/api/v1/x", "X-LIQUID-API-KEY: "+c.key.Key)
	bodies(c.refused(t, 403, "GET", "/admin", good), `"message":"Insufficient scope"`)
	bodies(c.refused(t, 404, "GET", "/nowhere", good), `"message":"Not Found"`)
	for _, ours := range []string{"/auth/login", "/authentication", "/authz/nginx", "/authz/caddy", "/authz/envoy/public", "/_gatehouse", "/dashboard/"} {
		c.refused(t, 404, "GET", ours, good, "X-Original-Method: GET", "X-Original-URI: /public", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /public")
	}
	if got := c.refused(t, 405, "HEAD", "/api/v1/read", good); got.Header.Get("Allow") != "GET" {
		t.Errorf("405 with Allow: %q", got.Header["Allow"])
	}
	bodies(c.refused(t, 400, "GET", "/public/../admin", good), `"message":"Bad Request"`)
	for range 2 {
		got, _ := c.passes(t, "GET", "/api/v1/limited", "", good)
		if limit := got.Header.Get("RateLimit"); c.name == "nginx" && !strings.HasPrefix(limit, `"route /api/v1/limited";r=`) {
			t.Errorf("RateLimit: %q", limit)
		}
	}
	over := c.refused(t, 429, "GET", "/api/v1/limited", good)
	bodies(over, `"message":"Too Many Requests"`)
	if after := over.Header["Retry-After"]; len(after) != 1 || after[0] == "" || over.Header.Get("RateLimit") == "" {
		t.Errorf("429 with %v", over.Header)
	}
	var why struct{ Request, Answer, Reason, Address string }
	if err := c.server.run(&why, "explain", over.Header.Get("X-Request-Id"), "--json"); err != nil {
		t.Fatal(err)
	}
	if why.Reason != "rate_limited" || !strings.HasPrefix(why.Answer, "429 ") || why.Request != "GET /api/v1/limited at api.example.com" || why.Address != customerAddress {
		t.Errorf("explain says %+v", why)
	}
}

// Whatever a client says of himself, in whatever spelling and with whatever tricks, the API sees ours.
func (c *guardedAPI) forgedHeaders(t *testing.T) {
	for name := range c.identity() {
		under := strings.ReplaceAll(name, "-", "_")
		for _, lines := range [][]string{
			{name + ": mallory"},
			{name + ": mallory", name + ": eve"},
			{strings.ToLower(name) + ": mallory"},
			{strings.ToUpper(name) + ": mallory"},
			{under + ": mallory"},
			{strings.ToLower(under) + ": mallory", under + ": eve"},
			{strings.Replace(name, "-", "_", 1) + ": mallory"},
			{strings.Replace(under, "_", "-", 1) + ": mallory"},
			{"Connection: " + name},
			{"Connection: keep-alive, " + strings.ToLower(name), name + ": mallory"},
			{"Connection: close, " + name + ", " + under, under + ": mallory"},
			{"Proxy-Connection: " + name, "Keep-Alive: " + name},
			{"TE: trailers", "Trailer: " + name},
		} {
			_, arrived := c.passes(t, "GET", "/api/v1/x", "", append(lines, withToken(c.token))...)
			checkIdentity(t, arrived.Header, c.identity())
			_, arrived = c.passes(t, "GET", "/public/x", "", lines...)
			checkIdentity(t, arrived.Header, anonymous)
		}
	}
	for _, line := range []string{
		"Connection: X-Auth-Account, X-Auth-Account-Ref, X-Auth-Credential, X-Auth-Type, X-Auth-Scope, X-Request-Id",
		"X-HTTP-Method-Override: DELETE", "x_http_method_override: DELETE", "X-Original-URL: /admin", "X-Original-URI: /admin",
		"X-Request-Id: mallory", "Forwarded: for=198.51.100.1;host=internal",
	} {
		got, arrived := c.passes(t, "GET", "/api/v1/x", "", line, withToken(c.token))
		checkIdentity(t, arrived.Header, c.identity())
		if id := arrived.Header["X-Request-Id"]; len(id) != 1 || id[0] != got.Header.Get("X-Request-Id") || id[0] == "mallory" {
			t.Errorf("%s: request ids %q and %q", line, id, got.Header["X-Request-Id"])
		}
	}
	// Two tokens are none. Some proxies refuse them by themselves.
	if got := c.send(t, "GET", "/api/v1/x", "", withToken(c.token), withToken(c.token)); got.StatusCode != 401 && got.StatusCode != 400 || len(c.take()) != 0 {
		t.Errorf("two tokens: got %d", got.StatusCode)
	}
}

// A client cannot have another call judged than the one that is forwarded.
func (c *guardedAPI) forgedQuestions(t *testing.T) {
	for _, lines := range [][]string{
		{"X-Original-URI: /public/x", "X-Original-Method: GET"},
		{"X-Original-URI: /public/x", "X-Original-URI: /public/x"},
		{"X-Forwarded-Uri: /public/x", "X-Forwarded-Method: GET", "X-Forwarded-Host: api.example.com"},
		{"X_Forwarded_Uri: /public/x", "X_Original_URI: /public/x", "X_Original_Method: GET"},
		{"Connection: X-Forwarded-Uri, X-Original-URI, X-Forwarded-Method", "X-Forwarded-Uri: /public/x"},
		{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "X-Real-IP: 127.0.0.1"},
		{"X-Auth-Status: 200"},
		{"Content-Length: 0"},
		{"Upgrade: websocket", "Connection: Upgrade"},
	} {
		c.refused(t, 401, "GET", "/api/v1/x", lines...)
		c.refused(t, 401, "DELETE", "/api/v1/x?/public/x", lines...)
	}
}

// What arrives is what was judged, however it is spelled: nothing of /admin, for which this customer lacks the scope.
func (c *guardedAPI) paths(t *testing.T) {
	var targets []string
	for _, s := range webtest.Spellings {
		targets = append(targets, s.Target, "/public"+s.Target, "/api/v1"+s.Target)
	}
	for _, dots := range []string{"/../", "/%2e%2e/", "/.%2E/", "/..;/", "/..%2f", "/..%5c", "/..\\", "//../", "/./../", "/x/../../", "/%252e%252e/", "/%c0%ae%c0%ae/", "/..%00/", "/..%3b/", "/;x/../"} {
		targets = append(targets, "/public"+dots+"admin", "/public"+dots+"admin/users?x=/public", "/public"+dots+"%61dmin")
	}
	targets = append(targets, "//admin", "/%61dmin", "/Admin/../admin", "/admin;x", "/admin%2fx", "/public/..", "http://api.example.com/admin", "http://internal/public/../admin", "/admin?/public/", "/admin#/public", "/public#/../admin", "/public?/../admin")
	passed := 0
	for _, target := range targets {
		if strings.ContainsAny(target, "\r\n") {
			continue // that would be another line
		}
		got := c.trySend(t, "GET", target, withToken(c.token))
		calls := c.take()
		if fromAPI := got.StatusCode == http.StatusOK && got.body == `{"ok":true}`; len(calls) > 1 || fromAPI != (len(calls) == 1) {
			t.Errorf("%q: got %d %s, and %d arrived", target, got.StatusCode, got.body, len(calls))
		}
		for _, one := range calls {
			passed++
			if _, _, err := web.CheckPath(one.Target); err != nil {
				t.Errorf("%q arrived as %q: %v", target, one.Target, err)
			}
			if resolved := path.Clean(one.Path); !strings.HasPrefix(resolved, "/public") && !strings.HasPrefix(resolved, "/api/v1") {
				t.Errorf("%q arrived as %q, which is %s", target, one.Target, resolved)
			}
		}
	}
	if passed < 100 {
		t.Errorf("only %d of %d targets passed", passed, len(targets))
	}
}

func (c *guardedAPI) allowlist(t *testing.T) {
	if err := c.server.run(nil, "account", "allow-ip", c.account, "198.51.100.0/24"); err != nil {
		t.Fatal(err)
	}
	for _, lines := range [][]string{nil, {"X-Forwarded-For: 198.51.100.1"}, {"X-Real-IP: 198.51.100.1", "Forwarded: for=198.51.100.1", "True-Client-IP: 198.51.100.1"}} {
		c.refused(t, 403, "GET", "/api/v1/x", append(lines, withToken(c.token))...)
	}
	if err := c.server.run(nil, "account", "allow-ip", c.account, customerAddress); err != nil {
		t.Fatal(err)
	}
	c.passes(t, "GET", "/api/v1/x", "", withToken(c.token))
}

// While nobody can be asked, nothing gets through.
func (c *guardedAPI) closed(t *testing.T) {
	if err := c.server.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/api/v1/x", "/public/x", "/admin", "/"} {
		if got := c.send(t, "GET", target, "", withToken(c.token)); got.StatusCode < 500 || len(c.take()) != 0 {
			t.Errorf("%s: got %d", target, got.StatusCode)
		}
	}
}

// nothingElse compares all that arrived with all that was authorised, call by call.
func (c *guardedAPI) nothingElse(t *testing.T) {
	var authorised []string
	for line := range strings.Lines(c.server.Said.String()) {
		var l struct {
			Msg, Method, Path, Did string
			Status                 int
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "request" && l.Did == "verify" && l.Status == http.StatusOK {
			authorised = append(authorised, l.Method+" "+l.Path)
		}
	}
	slices.Sort(authorised)
	slices.Sort(c.arrived)
	if diff := cmp.Diff(authorised, c.arrived); diff != "" {
		t.Errorf("what arrived (-authorised +arrived):\n%s", diff)
	}
	t.Logf("%d calls were authorised, and arrived", len(authorised))
}

// An edge is where customers reach the API: TLS for api.example.com at an address of this machine.
type edge struct{ addr string }

// customerAddress is where the customer is: not where the proxy is.
const customerAddress = "127.0.0.2"

func (e edge) dial() (net.Conn, error) {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(customerAddress)}, Timeout: time.Minute}
	conn, err := tls.DialWithDialer(d, "tcp", e.addr, &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(time.Minute))
}

// A reply is an answer, read to its end.
type reply struct {
	*http.Response
	body string
}

// answers says whether it speaks TLS.
func (e edge) answers() error {
	conn, err := e.dial()
	if err != nil {
		return err
	}
	return conn.Close()
}

// send sends one request with these lines in its head, as they are, and reads the answer.
func (e edge) send(t *testing.T, method, target, body string, lines ...string) reply {
	t.Helper()
	got, err := e.exchangeRaw(method, target, body, lines...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return got
}

// trySend is send for what may be no request at all: no answer is one of status 0.
func (e edge) trySend(t *testing.T, method, target string, lines ...string) reply {
	t.Helper()
	got, err := e.exchangeRaw(method, target, "", lines...)
	if err != nil {
		return reply{Response: &http.Response{}}
	}
	return got
}

func (e edge) exchangeRaw(method, target, body string, lines ...string) (reply, error) {
	conn, err := e.dial()
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	if body != "" {
		lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	// Lines of the test come last: one may bring a body with it.
	head := append([]string{method + " " + target + " HTTP/1.1", "Host: api.example.com"}, lines...)
	if _, err := io.WriteString(conn, strings.Join(head, "\r\n")+"\r\n\r\n"+body); err != nil {
		return reply{}, err
	}
	r := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return reply{}, err
		}
		if res.StatusCode == http.StatusContinue {
			continue
		}
		all, err := io.ReadAll(res.Body)
		return reply{res, string(all)}, err
	}
}

// shown is the one block of a page in a language, with what stands there replaced by what is here, in pairs.
func shown(t *testing.T, page, language string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "\n```"+language+"\n")
	block, _, closed := strings.Cut(block, "\n```\n")
	if !found || !closed || strings.Contains(string(text), "\n```"+language+"\n"+block+"\n```"+language+"\n") {
		t.Fatalf("%s has no block of %s", page, language)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(block, replace[i]) {
			t.Fatalf("%s: the block of %s has no %s", page, language, replace[i])
		}
		block = strings.ReplaceAll(block, replace[i], replace[i+1])
	}
	return block + "\n"
}

const forwardAuthPage = "../docs/forward-auth.md"

func startNginx(t *testing.T, gatehouse, api string) edge {
	dir, addr := t.TempDir(), beside.FreeAddress(t)
	writeCertificate(t, dir, 1)
	server := shown(t, forwardAuthPage, "nginx", "127.0.0.1:8000", gatehouse, "127.0.0.1:9100", api, "listen 443 ssl", "listen "+addr+" ssl",
		"/etc/ssl/api.example.com.pem", filepath.Join(dir, "cert.pem"), "/etc/ssl/api.example.com.key", filepath.Join(dir, "key.pem"))
	config := "daemon off;\nmaster_process off;\npid " + dir + "/pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n"
	for _, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += temp + "_temp_path " + dir + "/" + temp + ";\n"
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config+server+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	program.Other(t, dir, edge{addr}.answers, "nginx", "-p", dir, "-e", "stderr", "-c", file)
	return edge{addr}
}

func startCaddy(t *testing.T, gatehouse, api string) edge {
	dir, addr := t.TempDir(), beside.FreeAddress(t)
	_, port, _ := net.SplitHostPort(addr)
	site := shown(t, forwardAuthPage, "caddyfile", "127.0.0.1:8000", gatehouse, "127.0.0.1:9100", api, "api.example.com {", "https://api.example.com:"+port+" {")
	global := "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\tlocal_certs\n\tskip_install_trust\n\tauto_https disable_redirects\n\tservers {\n\t\tprotocols h1 h2\n\t}\n}\n"
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(global+site), 0o600); err != nil {
		t.Fatal(err)
	}
	program.Other(t, dir, edge{addr}.answers, "caddy", "run", "--adapter", "caddyfile", "--config", file)
	return edge{addr}
}

// The configurations of the two that are not in Debian can at least be read, and forget no header.
func TestForwardAuthConfigurationsAreWhole(t *testing.T) {
	text, err := os.ReadFile(forwardAuthPage)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "\n```yml\n")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks", len(blocks)-1)
	}
	for i, want := range [][]string{
		{"/authz/traefik", "(?i)^x[-_]auth[-_]", "X-Request-Id", "Authorization", "X-LIQUID-API-KEY"},
		{"/authz/envoy", "x-auth-", "x-request-id", "x-forwarded-for", "authorization", "x-liquid-api-key"},
	} {
		block, _, _ := strings.Cut(blocks[i+1], "\n```\n")
		var parsed map[string]any
		if err := yaml.UnmarshalWithOptions([]byte(block), &parsed, yaml.Strict()); err != nil {
			t.Errorf("block %d: %v", i, err)
		}
		for _, word := range want {
			if !strings.Contains(block, word) {
				t.Errorf("block %d lacks %s", i, word)
			}
		}
	}
}
