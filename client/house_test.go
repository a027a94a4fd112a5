package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/client"
	"github.com/gatehouse/gatehouse/gatehousetest"
)

// A house is a real server with an API behind it, and what passed between it and its clients.
type house struct {
	*gatehousetest.Server
	t    *testing.T
	wire *wire
}

// openHouse starts one, with these lines of configuration and these routes before its own. The API answers JSON that says who
// calls.
func openHouse(t *testing.T, yaml string, routes ...string) *house {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"account": r.Header.Get("X-Auth-Account"), "got": string(body)})
	}))
	t.Cleanup(api.Close)
	s := gatehousetest.Start(t, gatehousetest.Config{YAML: yaml + `
routes:
` + strings.Join(routes, "") + `
  - {path: /api/orders, upstream: "` + api.URL + `", accepts: [ORDER_API]}
  - {path: /api/machines, upstream: "` + api.URL + `", accepts: [OAUTH_ACCESS]}
  - {path: /api/machines/admin, upstream: "` + api.URL + `", accepts: [OAUTH_ACCESS], scopes: [admin]}
  - {path: /api/admin, upstream: "` + api.URL + `", accepts: [ACCESS_TOKEN], scopes: [admin]}
  - {path: /api/b2badmin, upstream: "` + api.URL + `", accepts: [B2B_ACCESS], scopes: [admin]}
  - {path: /api/, upstream: "` + api.URL + `", accepts: [ACCESS_TOKEN, B2B_ACCESS]}
`})
	return &house{s, t, newWire(t, nil)}
}

// client returns a client of the house that lives by its clock, and waits by moving it.
func (h *house) client(credential client.Credential, change ...func(*client.Config)) *client.Client {
	h.t.Helper()
	c := client.Config{
		BaseURL: h.URL, Credential: credential, Transport: h.wire, Now: h.Clock.Now,
		Sleep: func(ctx context.Context, d time.Duration) error {
			h.wire.note(fmt.Sprintf("sleep %v", d.Truncate(time.Second)))
			h.Clock.Advance(d)
			return ctx.Err()
		},
	}
	for _, f := range change {
		f(&c)
	}
	return newClient(h.t, c)
}

func (h *house) key() client.APIKey {
	h.t.Helper()
	return client.APIKey{Key: client.NewSecret(h.NewAPIKey(h.NewAccount("Partner")).Identifier)}
}

func (h *house) login() client.Login {
	h.t.Helper()
	c := h.NewLogin(h.NewAccount("Partner"))
	return client.Login{Username: c.Identifier, Password: client.NewSecret(c.Secret)}
}

func newClient(t *testing.T, c client.Config) *client.Client {
	t.Helper()
	cl, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// token asks for a token that must be had.
func token(t *testing.T, c *client.Client) string {
	t.Helper()
	got, err := c.Token(t.Context())
	if err != nil {
		t.Fatalf("no token: %v", err)
	}
	return got.Value.Reveal()
}

// get makes a call that must be answered, and returns the status.
func get(t *testing.T, c *client.Client, url string) int {
	t.Helper()
	res, err := c.HTTPClient().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// alive fails unless the server takes the token.
func (h *house) alive(token string) {
	h.t.Helper()
	if got := h.try(token); got != http.StatusOK {
		h.t.Errorf("the token is answered with %d", got)
	}
}

func (h *house) try(token string) int {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.URL+"/api/", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// A wire carries requests, notes them, and loses or answers those that the test wants it to.
type wire struct {
	t    *testing.T
	next http.RoundTripper

	mu    sync.Mutex
	hook  func(*http.Request) (*http.Response, error)
	noted []string
}

func newWire(t *testing.T, next http.RoundTripper) *wire {
	if next == nil {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		next = transport
	}
	return &wire{t: t, next: next}
}

// errPass has a request go its way.
var errPass = errors.New("pass")

// on has f answer, or errPass.
func (w *wire) on(f func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = f
}

func (w *wire) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noted = append(w.noted, what)
}

// passed returns what was noted since it was last asked: "GET /authentication, sleep 3s".
func (w *wire) passed() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := strings.Join(w.noted, ", ")
	w.noted = nil
	return all
}

// wants fails unless this is what passed.
func (w *wire) wants(what string, want ...string) {
	w.t.Helper()
	if got := w.passed(); got != strings.Join(want, ", ") {
		w.t.Errorf("%s: what passed was\n%s\nwant\n%s", what, got, strings.Join(want, ", "))
	}
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.note(req.Method + " " + req.URL.Path)
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	if hook != nil {
		if res, err := hook(req); !errors.Is(err, errPass) {
			if req.Body != nil {
				req.Body.Close()
			}
			return res, err
		}
	}
	return w.next.RoundTrip(req)
}

// says makes an answer: a status, a body, and headers by name and value.
func says(status int, body string, header ...string) *http.Response {
	res := &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header),
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	res.Header.Set("Content-Type", "application/json; charset=utf-8")
	for i := 0; i < len(header); i += 2 {
		res.Header.Set(header[i], header[i+1])
	}
	return res
}

// once answers the first request to path so, and lets all others pass.
func once(path string, answer func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return times(1, path, answer)
}

func times(n int, path string, answer func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	var mu sync.Mutex
	return func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if req.URL.Path != path || n == 0 {
			return nil, errPass
		}
		n--
		return answer(req)
	}
}

func always(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return says(status, body, header...), nil }
}

// lost lets a request reach the server and loses the answer.
func (w *wire) lost(req *http.Request) (*http.Response, error) {
	res, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return nil, io.ErrUnexpectedEOF
}
