package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse/gatehouse/client"
)

// A call gets a token where it is to, and nowhere else, wherever it is sent on.
func TestTokensGoToTheirOriginsAlone(t *testing.T) {
	var mu sync.Mutex
	arrived := map[string]string{} // host and path: Authorization
	record := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrived[r.Host+r.URL.Path] = r.Header.Get("Authorization")
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}
	})
	h := openHouse(t, "")
	api, evil := httptest.NewServer(record), httptest.NewServer(record)
	secure := httptest.NewTLSServer(record)
	defer api.Close()
	defer evil.Close()
	defer secure.Close()
	c := h.client(h.key(), func(c *client.Config) {
		c.Origins = []string{api.URL + "/", secure.URL}
		h.wire.next = secure.Client().Transport
	})
	bearer := "Bearer " + token(t, c)

	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	local := strings.Replace(api.URL, "127.0.0.1", "localhost", 1)
	for _, one := range []struct {
		url  string
		want map[string]string
	}{
		{api.URL + "/a", map[string]string{host(api) + "/a": bearer}},
		{strings.ToUpper(secure.URL[:5]) + secure.URL[5:] + "/a", map[string]string{host(secure) + "/a": bearer}},
		{evil.URL + "/a", map[string]string{host(evil) + "/a": ""}},
		{local + "/a", map[string]string{strings.TrimPrefix(local, "http://") + "/a": ""}},
		{api.URL + "/b?to=" + evil.URL + "/c", map[string]string{host(api) + "/b": bearer, host(evil) + "/c": ""}},
		{api.URL + "/b?to=" + evil.URL + "/c?to=" + api.URL + "/d", map[string]string{host(api) + "/b": bearer, host(evil) + "/c": "", host(api) + "/d": bearer}},
		{secure.URL + "/b?to=" + api.URL + "/d", map[string]string{host(secure) + "/b": bearer, host(api) + "/d": bearer}},
	} {
		clear(arrived)
		res, err := c.HTTPClient().Get(one.url)
		if err != nil {
			t.Errorf("%s: %v", one.url, err)
			continue
		}
		res.Body.Close()
		for where, want := range one.want {
			if got, ok := arrived[where]; got != want || !ok {
				t.Errorf("%s: at %s arrived %.20q, want %.20q", one.url, where, got, want)
			}
		}
		if len(arrived) != len(one.want) {
			t.Errorf("%s: it arrived at %d places", one.url, len(arrived))
		}
		if res.Request.Header.Get("Authorization") != "" {
			t.Errorf("%s: the answer's request shows the token", one.url)
		}
	}

	// An Authorization of the caller's own is his affair, and the request he hands over is not changed.
	req, _ := http.NewRequest(http.MethodGet, api.URL+"/own", nil)
	req.SetBasicAuth("u", "p")
	res, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := arrived[host(api)+"/own"]; !strings.HasPrefix(got, "Basic ") {
		t.Errorf("arrived %.20q", got)
	}

	// The server itself is an origin only if it is named.
	if got := get(t, c, h.URL+"/api/"); got != http.StatusUnauthorized {
		t.Errorf("a call to an origin that is not named is answered with %d", got)
	}
}

// A secret does not follow a redirect either.
func TestAnExchangeIsNotRedirected(t *testing.T) {
	reached := false
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer evil.Close()
	s := httptest.NewServer(http.RedirectHandler(evil.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	for _, credential := range []client.Credential{
		client.APIKey{Key: client.NewSecret("canary")},
		client.Basic{UserID: "u", Password: client.NewSecret("canary")},
		client.Login{Username: "u", Password: client.NewSecret("canary")},
		client.OAuthClient{ID: "u", Secret: client.NewSecret("canary")},
	} {
		_, err := newClient(t, client.Config{BaseURL: s.URL, Credential: credential}).Token(t.Context())
		if !errors.Is(err, client.ErrBadAnswer) || reached {
			t.Errorf("%T: %v, reached %v", credential, err, reached)
		}
	}
}

func TestACallWithADeadToken(t *testing.T) {
	h := openHouse(t, "")
	who := h.login()
	c, other := h.client(who), h.client(who)
	first := token(t, c)
	token(t, other)
	if err := other.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wire.passed()

	// With a body that can be read again.
	res, err := c.HTTPClient().Post(h.URL+"/api/x", "text/plain", strings.NewReader("order 7"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"got":"order 7"`) {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
	h.wire.wants("a dead token", "POST /api/x", refresh, login, "POST /api/x")
	if token(t, c) == first {
		t.Error("the dead token is kept")
	}

	// With one that cannot.
	if err := c.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, other = h.client(who), h.client(who)
	token(t, c)
	token(t, other)
	if err := other.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wire.passed()
	res, err = c.HTTPClient().Post(h.URL+"/api/x", "text/plain", io.MultiReader(strings.NewReader("order 8")))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if !errors.Is(client.Check(res), client.ErrTokenRevoked) {
		t.Errorf("got %v", client.Check(res))
	}
	h.wire.wants("a body that is gone", "POST /api/x")
	if got := get(t, c, h.URL+"/api/x"); got != http.StatusOK {
		t.Errorf("the next call is answered with %d", got)
	}
	h.wire.wants("the next call", refresh, login, "GET /api/x")
}

// A hundred calls with one dead token bring one new one.
func TestAHundredCallsWithADeadToken(t *testing.T) {
	h := openHouse(t, "")
	who := h.login()
	c := h.client(who)
	token(t, c)
	other := h.client(who)
	token(t, other)
	if err := other.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.wire.passed()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			res, err := c.HTTPClient().Get(h.URL + "/api/x")
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("answered with %d", res.StatusCode)
			}
		})
	}
	wg.Wait()
	if passed := h.wire.passed(); strings.Count(passed, login) != 1 || strings.Count(passed, refresh) != 1 {
		t.Errorf("what passed was %s", passed)
	}
}

// A token that was refused is not handed out again, in this process or from the store, although there is no other.
func TestADeadTokenIsNotHandedOut(t *testing.T) {
	h := openHouse(t, "")
	key := h.NewAPIKey(h.NewAccount("Partner"))
	c := h.client(client.APIKey{Key: client.NewSecret(key.Identifier)})
	token(t, c)
	h.RevokeCredential(key.ID)
	if _, err := c.HTTPClient().Get(h.URL + "/api/x"); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("the call got %v", err)
	}
	for range 2 {
		if _, err := c.Token(t.Context()); !errors.Is(err, client.ErrKeyNotFound) {
			t.Errorf("got %v", err)
		}
		h.Clock.Advance(2 * time.Second)
	}
	h.wire.wants("a revoked key", exchanged, "GET /api/x", exchanged, exchanged)
}

// A call finds out that its token is dead while a renewal is under way that would have gone on with it.
func TestATokenThatDiesDuringItsRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exchanges, calls := make(chan *http.Response), make(chan *http.Response)
		w := newWire(t, nil)
		w.on(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/authentication" {
				return <-exchanges, nil
			}
			return <-calls, nil
		})
		c := newClient(t, client.Config{BaseURL: "https://auth.example", Credential: client.APIKey{Key: client.NewSecret("k")}, Transport: w})
		token := func(name string) *http.Response {
			return says(201, fmt.Sprintf(`{"statusCode":200,"data":{"token":%q,"type":"ACCESS_TOKEN","exp":%d}}`, name, time.Now().Add(time.Hour).UnixMilli()))
		}
		got := make(chan int, 1)
		go func() { got <- get(t, c, "https://auth.example/x") }()
		exchanges <- token("first")
		synctest.Wait() // the call is under way
		time.Sleep(56 * time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // and so is the renewal
		calls <- says(401, "", "WWW-Authenticate", `Bearer realm="x", error="invalid_token", error_description="The access token was revoked"`)
		synctest.Wait()
		exchanges <- says(502, "")
		exchanges <- token("second")
		calls <- says(200, "")
		wg.Wait()
		if status := <-got; status != http.StatusOK {
			t.Errorf("answered with %d", status)
		}
		w.wants("all", exchanged, "GET /x", exchanged, exchanged, "GET /x")
	})
}

// What a 401 is not about must not cost an exchange with every call.
func TestA401ThatNoTokenHelps(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key())
	token(t, c)
	h.wire.passed()
	for range 3 {
		if got := get(t, c, h.URL+"/api/orders"); got != http.StatusUnauthorized {
			t.Errorf("answered with %d", got)
		}
	}
	h.wire.wants("a token of another type", "GET /api/orders", "GET /api/orders", "GET /api/orders")

	h.wire.on(times(1, "/api/x", always(401, "", "WWW-Authenticate", `Basic realm="the API's own"`)))
	get(t, c, h.URL+"/api/x")
	h.wire.wants("the API's own 401", "GET /api/x")

	h.wire.on(times(99, "/api/x", always(401, "", "WWW-Authenticate", `Bearer realm="x", error="invalid_token", error_description="The access token is not valid"`)))
	for range 3 {
		get(t, c, h.URL+"/api/x")
	}
	h.wire.wants("a 401 for ever", "GET /api/x", exchanged, "GET /api/x", "GET /api/x", "GET /api/x")
	h.Clock.Advance(time.Minute)
	get(t, c, h.URL+"/api/x")
	h.wire.wants("a minute later", "GET /api/x", exchanged, "GET /api/x")
	h.Clock.Advance(time.Minute)
	h.wire.on(times(1, "/api/x", always(401, "")))
	if got := get(t, c, h.URL+"/api/x"); got != http.StatusOK {
		t.Errorf("answered with %d", got)
	}
	h.wire.wants("a 401 that does not say why", "GET /api/x", exchanged, "GET /api/x")
}

func TestWhichCallsAreRepeated(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key())
	token(t, c)
	h.wire.passed()
	broken := func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	const once = "call"
	const twice = "call, sleep, call"
	for _, one := range []struct {
		what, method, body string
		header             string // Idempotency-Key
		answer             func(*http.Request) (*http.Response, error)
		want               string
	}{
		{"429", "POST", "x", "", always(429, "", "Retry-After", "3"), twice},
		{"503", "POST", "x", "", always(503, "", "Retry-After", "3"), twice},
		{"503 that names no time", "GET", "", "", always(503, ""), twice},
		{"503 that names no time", "POST", "x", "", always(503, ""), once},
		{"503 that names no time, with a key", "POST", "x", "0123456789abcdef", always(503, ""), twice},
		{"429 that names no time", "POST", "x", "", always(429, ""), once},
		{"502 that names a time", "POST", "x", "", always(502, "", "Retry-After", "3"), once},
		{"503, a stream", "POST", "stream", "", always(503, "", "Retry-After", "3"), once},
		{"503, an hour", "GET", "", "", always(503, "", "Retry-After", "3600"), once},
		{"502", "GET", "", "", always(502, ""), twice},
		{"502", "HEAD", "", "", always(502, ""), twice},
		{"502", "OPTIONS", "", "", always(502, ""), twice},
		{"502", "DELETE", "", "", always(502, ""), twice},
		{"502", "PUT", "x", "", always(502, ""), twice},
		{"502, a stream", "PUT", "stream", "", always(502, ""), once},
		{"502", "POST", "x", "", always(502, ""), once},
		{"502", "PATCH", "x", "", always(502, ""), once},
		{"502, with a key", "POST", "x", "0123456789abcdef", always(502, ""), twice},
		{"504", "GET", "", "", always(504, ""), twice},
		{"504", "POST", "", "", always(504, ""), once},
		{"a broken connection", "GET", "", "", broken, twice},
		{"a broken connection", "POST", "x", "", broken, once},
		{"500", "GET", "", "", always(500, ""), once},
		{"400", "GET", "", "", always(400, ""), once},
		{"403", "GET", "", "", always(403, ""), once},
		{"404", "GET", "", "", always(404, ""), once},
	} {
		h.wire.on(times(1, "/api/x", one.answer))
		var body io.Reader
		switch one.body {
		case "":
		case "stream":
			body = io.MultiReader(strings.NewReader("x"))
		default:
			body = strings.NewReader(one.body)
		}
		req, err := http.NewRequestWithContext(t.Context(), one.method, h.URL+"/api/x", body)
		if err != nil {
			t.Fatal(err)
		}
		if one.header != "" {
			req.Header.Set("Idempotency-Key", one.header)
		}
		res, err := c.HTTPClient().Do(req)
		if err == nil {
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if one.want == twice && one.method != "HEAD" && !strings.Contains(string(text), `"got":"`+one.body+`"`) {
				t.Errorf("%s %s: the API got %s", one.method, one.what, text)
			}
		}
		var passed []string
		for part := range strings.SplitSeq(h.wire.passed(), ", ") {
			switch {
			case strings.HasPrefix(part, "sleep "):
				passed = append(passed, "sleep")
			case part == one.method+" /api/x":
				passed = append(passed, "call")
			default:
				passed = append(passed, part)
			}
		}
		if got := strings.Join(passed, ", "); got != one.want {
			t.Errorf("%s %s: what passed was %s, want %s", one.method, one.what, got, one.want)
		}
	}

	// For ever is four times, and the answer is the last one.
	h.wire.on(times(99, "/api/x", always(502, "down")))
	res, err := c.HTTPClient().Get(h.URL + "/api/x")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if passed := h.wire.passed(); strings.Count(passed, "GET") != 4 || string(text) != "down" {
		t.Errorf("got %s, %s", text, passed)
	}

	// Who leaves is not held.
	ctx, leave := context.WithCancel(t.Context())
	h.wire.on(times(99, "/api/x", func(*http.Request) (*http.Response, error) {
		leave()
		return says(503, "", "Retry-After", "30"), nil
	}))
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+"/api/x", nil)
	res, err = c.HTTPClient().Do(req)
	if err == nil {
		res.Body.Close()
	}
	h.wire.wants("who left", "GET /api/x")

	// Without a token there is no call.
	h.Clock.Advance(25 * time.Hour)
	h.wire.on(times(1, "/authentication", always(400, `{"statusCode":5000,"message":"API Key not found","errors":[]}`)))
	closed := &closing{Reader: strings.NewReader("x")}
	if _, err := c.HTTPClient().Post(h.URL+"/api/x", "text/plain", closed); !errors.Is(err, client.ErrKeyNotFound) || !closed.closed {
		t.Errorf("got %v, closed %v", err, closed.closed)
	}
	h.wire.wants("a dead key", exchanged)
}

// A closing body knows whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }
