package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse/gatehouse/internal/apitest"
)

// own are the addresses of the servers under test, host:port. What others answer no document of ours speaks of.
var own sync.Map

// A held transport holds what the servers under test answer to the OpenAPI document. It stands in the place of
// [http.DefaultTransport], and so sees what tests ask, and what programs in other languages ask through a proxy. It changes
// nothing: what it found is told when all tests are over.
type held struct {
	next     http.RoundTripper
	document *apitest.Document
	seen     atomic.Int64 // answers at documented addresses

	mu    sync.Mutex
	wrong []string
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := h.next.RoundTrip(r)
	if _, ours := own.Load(r.URL.Host); err != nil || !ours || h.document.Paths.Value(r.URL.Path) == nil {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	h.seen.Add(1)
	for _, wrong := range h.document.Wrong(apitest.Answer{
		Method: r.Method, Target: r.URL.RequestURI(), Status: res.StatusCode, Header: res.Header, Body: body,
	}) {
		h.mu.Lock()
		h.wrong = append(h.wrong, fmt.Sprintf("OpenAPI: %s %s answered %d: %v", r.Method, r.URL.Path, res.StatusCode, wrong))
		h.mu.Unlock()
	}
	return res, nil
}

// report tells what was found, and is 1 if that was anything.
func (h *held) report() (status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range h.wrong {
		fmt.Fprintln(os.Stderr, line)
		status = 1
	}
	if testing.Verbose() {
		fmt.Fprintln(os.Stderr, h.seen.Load(), "answers were held to the OpenAPI document")
	}
	return status
}

// watched is another address of the server, for programs of their own: what it answers them is held to the document too.
func (in *installation) watched(t *testing.T) string {
	t.Helper()
	to, err := url.Parse("http://" + in.Listen)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

func TestAnswersAreHeldToTheDocument(t *testing.T) {
	document, err := apitest.Load()
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	t.Cleanup(other.Close)
	h := &held{next: &http.Transport{DisableKeepAlives: true}, document: document}
	ask := func(url string) {
		t.Helper()
		res, err := (&http.Client{Transport: h}).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || len(body) == 0 {
			t.Errorf("the body is gone: %q, %v", body, err)
		}
	}
	ask(s.URL + "/authentication")
	ask(other.URL + "/authentication") // no server of ours
	if len(h.wrong) != 0 || h.seen.Load() != 1 {
		t.Errorf("of %d answers it says %q", h.seen.Load(), h.wrong)
	}
	own.Store(other.Listener.Addr().String(), true)
	t.Cleanup(func() { own.Delete(other.Listener.Addr().String()) })
	ask(other.URL + "/authentication")
	ask(other.URL + "/api/")
	if len(h.wrong) != 1 || h.seen.Load() != 2 {
		t.Errorf("of %d answers it says %q", h.seen.Load(), h.wrong)
	}
}
