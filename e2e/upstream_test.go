package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// An upstream is an API behind the gateway. It keeps what reaches it.
type upstream struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

// A call is a request as the upstream got it.
type call struct {
	Method, Path, Query string
	Header              http.Header
	Body                string
	Target              string // as it stood in the request line
}

// newUpstream answers every request with what answer says, as JSON.
func newUpstream(t *testing.T, answer func(call) string) *upstream {
	t.Helper()
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("upstream: %v", err)
		}
		c := call{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone(), string(body), r.RequestURI}
		u.mu.Lock()
		u.calls = append(u.calls, c)
		u.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answer(c))
	}))
	t.Cleanup(u.Close)
	return u
}

// take returns the calls since it was last asked.
func (u *upstream) take() []call {
	u.mu.Lock()
	defer u.mu.Unlock()
	calls := u.calls
	u.calls = nil
	return calls
}
