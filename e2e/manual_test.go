package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// snippets are those of the pages for customers, in the languages that each must have.
var snippets = map[string][]string{
	"access-token": {"curl go ts php python"},
	"orders":       {"curl go ts php python"},
	"login":        {"curl go ts php python"},
	"oauth":        {"curl go ts php python", "curl"},
	"refresh":      {"curl go ts php python", "curl go ts php python"},
	"revoke":       {"curl go ts php python", "curl go ts php python"},
}

// A customer reads the pages of a server and runs what stands on them. Between him and the server is something that sees his
// requests, and can lose an answer.
type customer struct {
	*server
	t       *testing.T
	front   *httptest.Server
	api     *upstream
	account string
	env     map[string]string // what he was given, by the names that the pages have for it
	wrong   map[string]string // the same, and nothing of it is right
	pages   map[string][]map[string]string
	dir     string // with a program for every Go snippet, and a node_modules

	mu    sync.Mutex
	asked []asked
	// before is called with every request, one after the other, ahead of the server: what becomes of its answer.
	before func(*http.Request) fate
}

// A fate is what becomes of an answer on its way to the customer.
type fate int

const (
	whole fate = iota
	lost       // nothing of it arrives
	cut        // its head does, and half of its body
)

// asked is a request that the customer sent.
type asked struct {
	What, Key, Token string // method and path; Idempotency-Key; what stands behind Bearer
}

var fenced = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```\n")

// Every snippet of every page is run as it stands there: with what a customer was given it calls the API as him, and with
// anything else it ends with what the server said.
func TestSnippets(t *testing.T) {
	needNode(t)
	beside.Need(t, "php", "php-cli")
	beside.Need(t, "python3", "python3")
	beside.Need(t, "curl", "curl")
	npmCI(t, clientPackage)
	npm(t, nil, "run", "build")
	c := newCustomer(t)
	c.read()
	c.build()

	for page, says := range map[string]string{
		"access-token": "API Key not found", "orders": "Invalid credentials", "login": "Invalid credentials", "oauth": "invalid_client",
	} {
		for language := range c.pages[page][0] {
			t.Run(page+"/"+language, func(t *testing.T) { c.in(t).exchange(page, language, says) })
		}
	}
	t.Run("oauth/is it good", func(t *testing.T) { c.in(t).introspect() })
	for language := range c.pages["refresh"][0] {
		t.Run("refresh/"+language, func(t *testing.T) { c.in(t).refresh(language) })
	}
	for _, language := range []string{"curl", "php", "python"} {
		t.Run("refresh/within a call/"+language, func(t *testing.T) { c.in(t).refreshWithinCall(language) })
	}
	// Each asks when its token has so long to live, and makes an exchange soon after that.
	for language, left := range map[string]time.Duration{"go": 8 * time.Minute, "ts": 4 * time.Minute} {
		t.Run("refresh/within a call/"+language, func(t *testing.T) { c.in(t).refreshNearTheEnd(language, left) })
	}
	for language := range c.pages["revoke"][0] {
		t.Run("revoke/"+language, func(t *testing.T) { c.in(t).logout(language) })
	}
	for language := range c.pages["revoke"][1] {
		t.Run("revoke/one token/"+language, func(t *testing.T) { c.in(t).revokeOne(language) })
	}
}

func newCustomer(t *testing.T) *customer {
	t.Helper()
	c := &customer{t: t, dir: t.TempDir()}
	c.api = newUpstream(t, func(call) string { return `{"things":["a thing"]}` })
	c.front = httptest.NewServer(http.HandlerFunc(c.pass))
	t.Cleanup(c.front.Close)
	c.server = startServer(t, wideLimits+`
public_url: `+c.front.URL+`
routes:
  - {path: /api/v1/, upstream: "`+c.api.URL+`", accepts: [ACCESS_TOKEN, ORDER_API, B2B_ACCESS, OAUTH_ACCESS]}
`)
	c.account = c.newAccount(t, "Customer")
	key, basic := c.newCredential(t, c.account, "api-key"), c.newCredential(t, c.account, "basic")
	login, client := c.newCredential(t, c.account, "login"), c.newCredential(t, c.account, "oauth", "--scope", "things:read")
	c.env = map[string]string{
		"API_KEY": key.Key, "API_USER_ID": basic.UserID, "API_USERNAME": login.Username,
		"CLIENT_ID": client.ClientID, "CLIENT_SECRET": client.ClientSecret, "API_PATH": "/api/v1/things",
		"orders": basic.Password, "login": login.Password,
	}
	c.wrong = map[string]string{
		"API_KEY": "gk_live_nobody", "API_USER_ID": basic.UserID, "API_USERNAME": login.Username,
		"CLIENT_ID": client.ClientID, "CLIENT_SECRET": "nothing", "API_PATH": "/api/v1/things",
		"orders": "nothing", "login": "nothing",
	}
	return c
}

// in is the customer as t knows him, with a clean sheet.
func (c *customer) in(t *testing.T) *customer {
	c.api.take()
	c.requests()
	c.meanwhile(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
	return c
}

// pass hands a request to the server, and its answer back.
func (c *customer) pass(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, asked{r.Method + " " + r.URL.Path, r.Header.Get("Idempotency-Key"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")})
	becomes := whole
	if c.before != nil {
		becomes = c.before(r)
	}
	c.mu.Unlock()
	to, err := url.Parse(c.URL)
	if err != nil {
		panic(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }}
	if becomes == whole {
		proxy.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	proxy.ServeHTTP(answer, r)
	if becomes == cut {
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes()[:answer.Body.Len()/2]) //nolint:errcheck // it is cut anyway
		http.NewResponseController(w).Flush()              //nolint:errcheck // likewise
	}
	panic(http.ErrAbortHandler)
}

// meanwhile has something done before every request, from now on.
func (c *customer) meanwhile(do func(*http.Request) fate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = do
}

// requests are those since it was last asked.
func (c *customer) requests() []asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.asked
	c.asked = nil
	return all
}

// get fetches something of the server's.
func (c *customer) get(path string) string {
	c.t.Helper()
	res, err := http.Get(c.URL + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("GET %s: %s %v", path, res.Status, err)
	}
	return string(body)
}

// read takes the snippets from all pages. Those that stand one after the other are one in several languages.
func (c *customer) read() {
	c.t.Helper()
	c.pages = make(map[string][]map[string]string)
	got := make(map[string][]string)
	for _, link := range regexp.MustCompile(`\((\S+/docs/(\S+))\.md\)`).FindAllStringSubmatch(c.get("/docs/llms.txt"), -1) {
		if !strings.HasPrefix(link[1], c.front.URL) {
			c.t.Errorf("llms.txt leads to %s", link[1])
		}
		name, text := link[2], c.get("/docs/"+link[2]+".md")
		end := -1
		for _, at := range fenced.FindAllStringSubmatchIndex(text, -1) {
			language, code := text[at[2]:at[3]], text[at[4]:at[5]]
			if !slices.Contains([]string{"curl", "go", "ts", "php", "python"}, language) {
				continue
			}
			if end < 0 || strings.TrimSpace(text[end:at[0]]) != "" {
				c.pages[name], got[name] = append(c.pages[name], map[string]string{}), append(got[name], "")
			}
			last := len(got[name]) - 1
			c.pages[name][last][language] = code
			got[name][last] = strings.TrimSpace(got[name][last] + " " + language)
			end = at[1]
		}
	}
	if diff := cmp.Diff(snippets, got); diff != "" {
		c.t.Fatalf("the snippets of the pages, in their languages (-want +got):\n%s", diff)
	}
}

// build makes a program of every Go snippet, against this repository, and checks every TypeScript one, against its package.
func (c *customer) build() {
	c.t.Helper()
	repository, err := filepath.Abs("..")
	if err != nil {
		c.t.Fatal(err)
	}
	c.each(func(page string, i int, language, code string) {
		switch name := fmt.Sprint(page, i); language {
		case "go":
			c.write(filepath.Join(name, "main.go"), code)
		case "ts":
			c.write(name+".mts", code)
			c.write(name+".mjs", code) // what is plain enough is JavaScript too
		default:
			c.write(name+"."+language, code)
		}
	})
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		c.t.Fatal(err)
	}
	sum, err := os.ReadFile("../go.sum")
	if err != nil {
		c.t.Fatal(err)
	}
	required := strings.Replace(string(mod), "module github.com/gatehouse/gatehouse\n", "module snippets\n", 1)
	required = regexp.MustCompile(`(?ms)^(tool|ignore) (\(.*?^\)|\S+)\n`).ReplaceAllString(required, "")
	c.write("go.mod", required+"\nrequire github.com/gatehouse/gatehouse v0.0.0\n\nreplace github.com/gatehouse/gatehouse => "+repository+"\n")
	c.write("go.sum", string(sum))
	c.run(nil, "go", "build", "-mod=mod", "-o", "bin/", "./...")
	c.run(nil, "go", "build", "-mod=mod", "-overlay", c.lateGo(repository), "-o", "late/", "./...")
	c.write("late.mjs", lateNode)

	modules := filepath.Join(c.dir, "node_modules", "@gatehouse")
	if err := os.MkdirAll(modules, 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(repository, "clients", "typescript"), filepath.Join(modules, "client")); err != nil {
		c.t.Fatal(err)
	}
	installed := filepath.Join(repository, "clients", "typescript", "node_modules")
	programs, err := filepath.Glob(filepath.Join(c.dir, "*.mts"))
	if err != nil || len(programs) == 0 {
		c.t.Fatal("there are no TypeScript snippets", err)
	}
	c.run(nil, filepath.Join(installed, ".bin", "tsc"), append([]string{
		"--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--types", "node", "--typeRoots", filepath.Join(installed, "@types"),
	}, programs...)...)
}

func (c *customer) each(do func(page string, i int, language, code string)) {
	for page, all := range c.pages {
		for i, s := range all {
			for language, code := range s {
				do(page, i, language, code)
			}
		}
	}
}

func (c *customer) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// An outcome is how a program ended.
type outcome struct {
	Out, Err string
	Status   int
}

// try runs a program in the customer's folder.
func (c *customer) try(env map[string]string, name string, args ...string) outcome {
	c.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "no_proxy=*")
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return outcome{out.String(), said.String(), cmd.ProcessState.ExitCode()}
}

// run runs one that must go well, and say nothing but its output.
func (c *customer) run(env map[string]string, name string, args ...string) string {
	c.t.Helper()
	got := c.try(env, name, args...)
	if got.Status != 0 || got.Err != "" {
		c.t.Fatalf("%s %s: status %d\n%s%s", name, strings.Join(args, " "), got.Status, got.Out, got.Err)
	}
	return got.Out
}

// program is the command that runs a snippet.
func (c *customer) program(page string, i int, language string) (name string, args []string) {
	at := fmt.Sprint(page, i)
	switch language {
	case "curl":
		return "sh", []string{at + ".curl"}
	case "go":
		return filepath.Join(c.dir, "bin", at), nil
	case "ts":
		return "node", []string{at + ".mjs"}
	case "php":
		return "php", []string{"-d", "error_reporting=-1", "-d", "display_errors=stderr", at + ".php"}
	default:
		return "python3", []string{"-W", "error", at + ".python"}
	}
}

// given is what the customer has for a page: two pages have passwords.
func given(all map[string]string, page string) map[string]string {
	env := make(map[string]string)
	for name, value := range all {
		if name == strings.ToUpper(name) {
			env[name] = value
		}
	}
	env["API_PASSWORD"] = all["login"]
	if page == "orders" {
		env["API_PASSWORD"] = all["orders"]
	}
	return env
}

// goes runs a snippet that must go well.
func (c *customer) goes(page string, i int, language string, more ...string) string {
	c.t.Helper()
	env := given(c.env, page)
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	name, args := c.program(page, i, language)
	return c.run(env, name, args...)
}

// called wants the API to have been called once, as this customer, with a token of a type.
func (c *customer) called(tokenType, method string) call {
	c.t.Helper()
	calls := c.api.take()
	if len(calls) != 1 {
		c.t.Fatalf("the API was called %d times: %v", len(calls), targets(calls))
	}
	got := calls[0]
	want := []string{method, "/api/v1/things", c.account, tokenType, "", ""}
	h := got.Header
	if diff := cmp.Diff(want, []string{got.Method, got.Path, h.Get("X-Auth-Account"), h.Get("X-Auth-Type"), h.Get("Authorization"), h.Get("X-Liquid-Api-Key")}); diff != "" {
		c.t.Errorf("the call that reached the API (-want +got):\n%s", diff)
	}
	return got
}

var someToken = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// opens says whether a token opens the API.
func (c *customer) opens(token string) bool {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, c.URL+"/api/v1/things", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// post sends something to the server as another program of the customer's, and reads the answer.
func (c *customer) post(path, contentType, authorization, body string, answer any) int {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode
}

// login is a session of another program of the customer's.
func (c *customer) login() (access, refresh string) {
	c.t.Helper()
	var pair struct {
		Data struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
	}
	body := fmt.Sprintf(`{"username":%q,"password":%q}`, c.env["API_USERNAME"], c.env["login"])
	if status := c.post("/auth/login", "application/json", "", body, &pair); status != http.StatusOK {
		c.t.Fatalf("login: %d", status)
	}
	return pair.Data.Access, pair.Data.Refresh
}

var typeOf = map[string]string{"access-token": "ACCESS_TOKEN", "orders": "ORDER_API", "login": "B2B_ACCESS", "oauth": "OAUTH_ACCESS"}

// exchange runs the snippet that makes a token of a credential. That of curl prints it; the others call with it.
func (c *customer) exchange(page, language, says string) {
	out := c.goes(page, 0, language)
	if language == "curl" {
		if !c.opens(someToken.FindString(out)) {
			c.t.Errorf("it printed no token that opens the API: %s", out)
		}
	} else if !strings.Contains(out, `{"things":["a thing"]}`) {
		c.t.Errorf("it did not print the API's answer: %s", out)
	}
	c.called(typeOf[page], http.MethodGet)

	name, args := c.program(page, 0, language)
	got := c.try(given(c.wrong, page), name, args...)
	all := got.Out + got.Err
	if !strings.Contains(all, says) {
		c.t.Errorf("refused, it does not say %q: %s", says, all)
	}
	// What curl prints is the answer's body, and what x/oauth2 says is that too: in two contracts it does not have the id.
	if silent := language == "curl" || page == "oauth" && language == "go"; (page == "access-token" || page == "orders" || !silent) && !strings.Contains(all, "reqid_") {
		c.t.Errorf("refused, it does not say the request's id: %s", all)
	}
	if (got.Status == 0) != (language == "curl") { // which has the answer itself
		c.t.Errorf("refused, it ended with %d: %s", got.Status, all)
	}
	if calls := c.api.take(); len(calls) != 0 {
		c.t.Errorf("refused, it called %v", targets(calls))
	}
}

// refresh runs the snippet that refreshes: as it is, without the first answer, and with a refresh token that somebody else
// has spent.
func (c *customer) refresh(language string) {
	if language == "curl" {
		_, spent := c.login()
		out := c.goes("refresh", 0, "curl", "REFRESH_TOKEN", spent)
		if !c.opens(someToken.FindString(out)) {
			c.t.Errorf("no pair: %s", out)
		}
		if all := c.requests(); len(all) != 1 || len(all[0].Key) != 32 {
			c.t.Errorf("it sent %v", all)
		}
		return
	}
	const login, refresh, things = "POST /auth/login", "POST /auth/refresh", "GET /api/v1/things"
	run := func(want ...string) []asked {
		c.t.Helper()
		if out := c.goes("refresh", 0, language); !strings.Contains(out, `{"things":["a thing"]}`) {
			c.t.Errorf("it did not print the API's answer: %s", out)
		}
		c.called("B2B_ACCESS", http.MethodGet)
		return c.sent(want...)
	}
	if language == "go" || language == "ts" { // which refresh when it is time: in a run that comes later than the first
		run = c.laterRuns(language, login, things)
	} else {
		first := run
		run = func(want ...string) []asked { return first(append([]string{login}, want...)...)[1:] }
	}
	run(refresh, things)

	for _, becomes := range []fate{lost, cut} {
		met := false
		c.meanwhile(func(r *http.Request) fate {
			if met || r.URL.Path != "/auth/refresh" {
				return whole
			}
			met = true
			return becomes
		})
		if all := run(refresh, refresh, things); all[0].Key != all[1].Key {
			c.t.Errorf("the answer was lost, and it came again with another key: %v", all)
		}
	}

	c.meanwhile(func(r *http.Request) fate {
		if r.URL.Path == "/auth/refresh" {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				c.t.Error(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			var pair any
			if status := c.post("/auth/refresh", "application/json", "", string(body), &pair); status != http.StatusOK {
				c.t.Errorf("somebody else refreshed and got %d", status)
			}
		}
		return whole
	})
	run(refresh, login, things)
}

// sent wants the customer to have sent these requests since the last time, and every refresh with a key.
func (c *customer) sent(want ...string) []asked {
	c.t.Helper()
	all := c.requests()
	var got []string
	for _, a := range all {
		got = append(got, a.What)
		if a.What == "POST /auth/refresh" && len(a.Key) < 16 {
			c.t.Errorf("a refresh with the Idempotency-Key %q", a.Key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Fatalf("what it sent (-want +got):\n%s", diff)
	}
	return all
}

// laterRuns returns what runs the snippet that keeps its pair in a file, shortly before the pair's access token ends, after a
// first run that sent these requests.
func (c *customer) laterRuns(language string, first ...string) func(want ...string) []asked {
	clock := filepath.Join(c.t.TempDir(), "ahead")
	env := given(c.env, "refresh")
	env["CLOCK_AHEAD"] = clock
	name, args := filepath.Join(c.dir, "late", "refresh0"), []string(nil)
	if language == "ts" {
		name, args = "node", []string{"--import", "./late.mjs", "refresh0.mjs"}
	}
	once := func(ahead time.Duration, want ...string) []asked {
		c.t.Helper()
		if err := os.WriteFile(clock, fmt.Append(nil, ahead.Milliseconds()), 0o600); err != nil {
			c.t.Fatal(err)
		}
		if out := c.run(env, name, args...); !strings.Contains(out, `200 {"things":["a thing"]}`) {
			c.t.Errorf("it did not print the API's answer: %s", out)
		}
		c.called("B2B_ACCESS", http.MethodGet)
		return c.sent(want...)
	}
	return func(want ...string) []asked {
		c.t.Helper()
		if err := os.Remove(filepath.Join(c.dir, "tokens.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.t.Fatal(err)
		}
		once(0, first...)
		return once(58*time.Minute, want...)
	}
}

// refreshWithinCall runs the snippet whose call asks for the next token.
func (c *customer) refreshWithinCall(language string) {
	token := someToken.FindString(c.goes("access-token", 0, "curl"))
	c.api.take()
	out := c.goes("refresh", 1, language, "TOKEN", token)
	if !strings.Contains(strings.ReplaceAll(out, ": ", ":"), `"things":["a thing"]`) {
		c.t.Errorf("it did not print the API's answer: %s", out)
	}
	c.called("ACCESS_TOKEN", http.MethodPost)
	if next := someToken.FindString(out); next == token || !c.opens(next) {
		c.t.Errorf("it got no other token: %s", out)
	}
}

// refreshNearTheEnd runs the snippet whose client asks by itself. While its first call is under way, time goes on to the last
// minutes of its token: the second call asks, and the third has the token that came with the answer.
func (c *customer) refreshNearTheEnd(language string, left time.Duration) {
	clock := filepath.Join(c.t.TempDir(), "ahead")
	calls := 0
	c.meanwhile(func(r *http.Request) fate {
		if r.URL.Path != "/api/v1/things" {
			return whole
		}
		if calls++; calls == 1 {
			ahead := 24*time.Hour - left
			if err := os.WriteFile(clock, fmt.Append(nil, ahead.Milliseconds()), 0o600); err != nil {
				c.t.Error(err)
			}
			for now := time.Now().Unix(); time.Now().Unix() == now; { // tokens end at whole seconds: the next one is to end later
				time.Sleep(10 * time.Millisecond)
			}
		}
		return whole
	})
	env := given(c.env, "refresh")
	env["CLOCK_AHEAD"] = clock
	name, args := filepath.Join(c.dir, "late", "refresh1"), []string(nil)
	if language == "ts" {
		name, args = "node", []string{"--import", "./late.mjs", "refresh1.mjs"}
	}
	out := c.run(env, name, args...)
	if strings.Count(out, `200 {"things":["a thing"]`) != 3 {
		c.t.Errorf("it did not print three answers of the API: %s", out)
	}
	var got, tokens, bodies []string
	for _, call := range c.api.take() {
		var order map[string]any
		if err := json.Unmarshal([]byte(call.Body), &order); err != nil {
			c.t.Error(err)
		}
		bodies = append(bodies, fmt.Sprint(order["product"], order["refresh"]))
	}
	if diff := cmp.Diff([]string{"2 <nil>", "5 true", "7 <nil>"}, bodies); diff != "" {
		c.t.Errorf("what the API was sent (-want +got):\n%s", diff)
	}
	for _, a := range c.requests() {
		got, tokens = append(got, a.What), append(tokens, a.Token)
	}
	if diff := cmp.Diff([]string{"GET /authentication", "POST /api/v1/things", "POST /api/v1/things", "POST /api/v1/things"}, got); diff != "" {
		c.t.Fatalf("what it sent (-want +got):\n%s", diff)
	}
	next := someToken.FindString(out)
	if tokens[1] != tokens[2] || tokens[3] == tokens[2] || tokens[3] != next || !c.opens(next) {
		c.t.Error("the third call has not the token that the second one brought")
	}
}

// lateNode, imported first, has a program live later than it is, by as many milliseconds as a file says.
const lateNode = `import { readFileSync } from 'node:fs';
const now = Date.now;
Date.now = () => {
  try {
    return now() + Number(readFileSync(process.env.CLOCK_AHEAD, 'utf8'));
  } catch {
    return now();
  }
};
`

// lateGo writes what has programs with our client live so: an overlay for the compiler, in which the client's time is another
// one. The programs are as they stand on the page.
func (c *customer) lateGo(repository string) (overlay string) {
	c.t.Helper()
	at := filepath.Join(repository, "client", "client.go")
	source, err := os.ReadFile(at)
	if err != nil {
		c.t.Fatal(err)
	}
	const theirs = "cl.now = time.Now\n"
	if strings.Count(string(source), theirs) != 1 {
		c.t.Fatal("the client takes its time from elsewhere")
	}
	c.write("late/client.go.txt", strings.Replace(string(source), theirs, "cl.now = late\n", 1))
	c.write("late/late.go.txt", `package client

import (
	"os"
	"strconv"
	"time"
)

func late() time.Time {
	said, _ := os.ReadFile(os.Getenv("CLOCK_AHEAD"))
	ahead, _ := strconv.Atoi(string(said))
	return time.Now().Add(time.Duration(ahead) * time.Millisecond)
}
`)
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{
		at: filepath.Join(c.dir, "late", "client.go.txt"),
		filepath.Join(repository, "client", "late.go"): filepath.Join(c.dir, "late", "late.go.txt"),
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.write("late/overlay.json", string(replaced))
	return filepath.Join(c.dir, "late", "overlay.json")
}

// logout runs the snippet that ends all sessions: another one is among them.
func (c *customer) logout(language string) {
	other, _ := c.login()
	c.requests()
	out := c.goes("revoke", 0, language, "TOKEN", other)
	if language == "go" || language == "ts" { // which have a session of their own to end
		c.called("B2B_ACCESS", http.MethodGet)
	} else if !strings.Contains(out, "Successfully logged out") {
		c.t.Errorf("it printed %s", out)
	}
	all := c.requests()
	if last := all[len(all)-1].What; last != "POST /auth/logout" {
		c.t.Errorf("it sent %v", all)
	}
	if c.opens(other) {
		c.t.Error("another session lives on")
	}
}

// bought is a token that the customer's OAuth client got otherwise.
func (c *customer) bought() string {
	c.t.Helper()
	var got struct {
		Token string `json:"access_token"`
	}
	pair := base64.StdEncoding.EncodeToString([]byte(c.env["CLIENT_ID"] + ":" + c.env["CLIENT_SECRET"]))
	if status := c.post("/oauth/token", "application/x-www-form-urlencoded", "Basic "+pair, "grant_type=client_credentials", &got); status != http.StatusOK {
		c.t.Fatalf("token: %d", status)
	}
	return got.Token
}

// introspect runs the snippet that asks whether a token is good, of one that is and of one that is none.
func (c *customer) introspect() {
	if out := c.goes("oauth", 1, "curl", "TOKEN", c.bought()); !strings.HasPrefix(out, `{"active":true,`) || !strings.Contains(out, `"sub":"`+c.account+`"`) {
		c.t.Errorf("a good one: %s", out)
	}
	if out := c.goes("oauth", 1, "curl", "TOKEN", "nothing"); out != `{"active":false}` {
		c.t.Errorf("none: %s", out)
	}
}

// revokeOne runs the snippet that ends one token: another one lives on.
func (c *customer) revokeOne(language string) {
	tokens := [...]string{c.bought(), c.bought()}
	c.goes("revoke", 1, language, "TOKEN", tokens[0])
	if c.opens(tokens[0]) || !c.opens(tokens[1]) {
		c.t.Error("it ended another token than that one")
	}
}
