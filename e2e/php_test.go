package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/beside"
)

// A step is what client.php says of one request.
type step struct {
	Step   string
	Status int // 0: no answer
	Body   string
}

// php runs client.php and returns its steps.
func php(t *testing.T, args ...string) []step {
	t.Helper()
	cmd := exec.Command(beside.Need(t, "php", "php-cli"), append([]string{"php/client.php"}, args...)...)
	cmd.Env = append(os.Environ(), "no_proxy=*")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("php: %v\n%s%s", err, out, said.String())
	}
	var steps []step
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("php: %v\n%s", err, out)
		}
		steps = append(steps, s)
	}
	return steps
}

// outcomes are the names of the steps with their statuses.
func outcomes(steps []step) []string {
	var all []string
	for _, s := range steps {
		all = append(all, s.Step+": "+http.StatusText(s.Status))
	}
	return all
}

func find(t *testing.T, steps []step, name string) step {
	t.Helper()
	for _, s := range steps {
		if s.Step == name {
			return s
		}
	}
	t.Fatalf("no step %q", name)
	return step{}
}

const b2bRoute = `
routes:
  - path: /api/v1/
    upstream: %UPSTREAM%
    accepts: [B2B_ACCESS]
`

// startB2B starts a server with an API behind it and one user.
func startB2B(t *testing.T) (*server, credential) {
	t.Helper()
	up := newUpstream(t, func(call) string { return `{"products":[]}` })
	s := startServer(t, strings.ReplaceAll(b2bRoute, "%UPSTREAM%", up.URL))
	return s, s.newCredential(t, s.newAccount(t, "PHP shop"), "login")
}

func TestPHPLogsInCallsRefreshesAndLogsOut(t *testing.T) {
	s, user := startB2B(t)
	got := php(t, "session", s.watched(t), user.Username, user.Password)
	want := []string{
		"login: OK",
		"call: OK",
		"refresh: OK",
		"call with the new token: OK",
		"call with the old token: OK", // it lives until it expires
		"logout: OK",
		"call after logout: Unauthorized",
		"call with the old token after logout: Unauthorized",
		"refresh after logout: Unauthorized",
	}
	if diff := cmp.Diff(want, outcomes(got)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got, want := find(t, got, "logout").Body, `{"success":true,"data":{"message":"Successfully logged out"}}`; got != want {
		t.Errorf("logout: got %s, want %s", got, want)
	}
}

// Without a key the server cannot know the honest client from a thief who comes second. Within the leeway it assumes the
// client and spares the session, but the pair that was lost stays lost: the user logs in again.
func TestPHPLosesARefreshAnswerAndRepeatsWithoutAKey(t *testing.T) {
	s, user := startB2B(t)
	via := newCutter(t, s.URL)
	got := php(t, "lost", s.URL, user.Username, user.Password, via.URL)
	want := []string{
		"login: OK",
		"lost refresh: ",
		"repeated refresh: Unauthorized",
		"call with the old token: OK", // the session lives on
		"login again: OK",
		"call with the new token: OK",
		"next refresh: OK",
	}
	if diff := cmp.Diff(want, outcomes(got)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got, want := find(t, got, "repeated refresh").Body,
		`{"error":{"name":"UnauthorizedError","code":"UNAUTHORIZED","message":"Invalid refresh token"}}`; got != want {
		t.Errorf("repeated refresh: got %s, want %s", got, want)
	}
}

func TestPHPLosesARefreshAnswerAndRepeatsUnderItsKey(t *testing.T) {
	s, user := startB2B(t)
	via := newCutter(t, s.URL)
	got := php(t, "lost-keyed", s.URL, user.Username, user.Password, via.URL)
	want := []string{
		"login: OK",
		"lost refresh: ",
		"repeated refresh: OK",
		"call with the old token: OK",
		"call with the new token: OK",
		"next refresh: OK",
	}
	if diff := cmp.Diff(want, outcomes(got)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	lost := via.lost()
	if len(lost) != 1 {
		t.Fatalf("got %d answers cut off, want 1", len(lost))
	}
	if got := find(t, got, "repeated refresh").Body; got != lost[0] {
		t.Errorf("repeated refresh: got %s, want the bytes that were lost, %s", got, lost[0])
	}
}

// A cutter stands before a server. It passes each request on, keeps the answer to itself and hangs up.
type cutter struct {
	*httptest.Server
	mu  sync.Mutex
	cut []string
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	c := new(cutter)
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.Path, r.Body)
		if err != nil {
			t.Errorf("cutter: %v", err)
			panic(http.ErrAbortHandler)
		}
		req.Header = r.Header.Clone()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("cutter: %v", err)
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("cutter: got %v, %v: %s", res.StatusCode, err, body)
		}
		c.mu.Lock()
		c.cut = append(c.cut, string(body))
		c.mu.Unlock()
		panic(http.ErrAbortHandler) // net/http hangs up without a byte
	}))
	t.Cleanup(c.Close)
	return c
}

// lost are the bodies that the client never saw.
func (c *cutter) lost() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}
