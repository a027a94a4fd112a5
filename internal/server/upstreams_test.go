package server

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An API says its name, and counts how often it is asked whether it is well.
type asked struct {
	*httptest.Server
	times atomic.Int64
	ill   atomic.Bool
}

func newAsked(t *testing.T) *asked {
	t.Helper()
	a := &asked{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			a.times.Add(1)
			if a.ill.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		_, _ = io.WriteString(w, r.Host)
	}))
	t.Cleanup(a.Close)
	return a
}

func (w *world) scrape() string {
	w.t.Helper()
	res, err := http.Get("http://" + w.AdminAddr() + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		w.t.Fatal(res.Status, err)
	}
	return string(text)
}

func wait(t *testing.T, what string, until func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !until(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// Upstreams are asked whether they are well by the configuration in force, and by no other, and metrics say how they stand.
func TestUpstreamsAreWatched(t *testing.T) {
	t.Parallel()
	first, second := newAsked(t), newAsked(t)
	routes := func(apis ...*asked) string {
		var urls []string
		for _, a := range apis {
			urls = append(urls, "'"+a.URL+"'")
		}
		list := strings.Join(urls, ", ")
		return "routes:\n- {path: /api, public: true, upstream: [" + list + "], health: {path: /healthz, interval: 1s}}\n" +
			"- {path: /api, methods: [POST], public: true, upstream: [" + list + "]}\n"
	}
	w := newWorld(t, routes(first))
	wait(t, "the first is not asked", func() bool { return first.times.Load() > 0 })
	w.configure(routes(second, first))
	first.ill.Store(true)
	w.mustReload()
	wait(t, "the second is not asked", func() bool { return second.times.Load() > 0 })
	healthy := func(a *asked, value int) string {
		return fmt.Sprintf("\ngatehouse_upstream_healthy{route=\"/api\",upstream=%q} %d\n", a.URL, value)
	}
	wait(t, "the first stays well", func() bool { return strings.Contains(w.scrape(), healthy(first, 0)) })
	got := w.scrape()
	for _, want := range []string{healthy(second, 1), "\ngatehouse_upstream_retries_total{route=\"/api\"} 0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for range 4 {
		if got := w.ask("GET", "/api/x", "").Body.String(); "http://"+got != second.URL {
			t.Errorf("%s got the call", got)
		}
	}
	w.configure("routes: []\n")
	w.mustReload()
	if got := w.scrape(); strings.Contains(got, "gatehouse_upstream_healthy") {
		t.Error("it is told of upstreams that are no more")
	}
	w.stop()
	if !strings.Contains(w.log.String(), "an upstream is not well") {
		t.Errorf("the log says nothing:\n%s", w.log)
	}
}

// A route knows its API by a certificate of its own choice, shows it a secret of its own, and nobody else sees that.
func TestARouteWithTLSAndASecret(t *testing.T) {
	var got atomic.Value
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Clone())
		w.Header().Set("X-Powered-By", "magic")
	}))
	defer api.Close()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}))
	yaml := "log: {level: debug}\nroutes:\n- path: /api\n  public: true\n  upstream: " + api.URL + "\n" +
		"  upstream_tls: {ca_file: '" + ca + "', server_name: example.com}\n" +
		"  request_headers: {set: {Authorization: Bearer hunter2}, remove: [Cookie]}\n  response_headers: {remove: [X-Powered-By]}\n"
	w := newWorld(t, yaml)
	a := w.ask("GET", "/api/x", "", "Authorization", "Bearer mine", "Cookie", "a=1")
	if a.Code != http.StatusOK || a.Header().Get("X-Powered-By") != "" {
		t.Errorf("got %d %v", a.Code, a.Header())
	}
	if h, _ := got.Load().(http.Header); h.Get("Authorization") != "Bearer hunter2" || h.Get("Cookie") != "" {
		t.Errorf("the API got %v", h)
	}
	w.configure(strings.ReplaceAll(yaml, "upstream_tls:", "timeouts: {connect: 1s}\n  upstream_tls:"))
	w.mustReload()
	api.Close()
	if a := w.ask("GET", "/api/x", ""); a.Code != http.StatusBadGateway {
		t.Errorf("got %d", a.Code)
	}
	metrics := w.scrape()
	w.stop()
	for name, text := range map[string]string{"log": w.log.String(), "metrics": metrics} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("it is in the %s:\n%s", name, text)
		}
	}
}
