package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/server"
)

// sandbox runs one in dir and returns its address.
func sandbox(t *testing.T, dir string) (base string, stop func()) {
	t.Helper()
	out := new(beside.Said)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{Listen: "127.0.0.1:0", Dir: dir, Fixed: true, Program: "gatehouse", Out: out})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the sandbox ended with %v", err)
		}
	})
	t.Cleanup(stop)
	at := regexp.MustCompile(`customers +(http://\S+)`)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if found := at.FindStringSubmatch(out.String()); found != nil {
			return found[1], stop
		}
	}
	t.Fatal("the sandbox is not up")
	return "", nil
}

// present shows a credential at its contract's address.
func (f Fixed) present(t *testing.T, base string) *http.Response {
	t.Helper()
	method, path, body := http.MethodGet, "/authentication", ""
	switch f.Kind {
	case auth.Basic:
		path = "/order-authentication"
	case auth.Login:
		method, path, body = http.MethodPost, "/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, f.Identifier, f.Secret)
	case auth.OAuth:
		method, path, body = http.MethodPost, "/oauth/token", "grant_type=client_credentials"
	}
	r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch f.Kind {
	case auth.APIKey:
		r.Header.Set("X-LIQUID-API-KEY", f.Identifier)
	case auth.Login:
		r.Header.Set("Content-Type", "application/json")
	case auth.OAuth:
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(f.Identifier, f.Secret)
	case auth.Basic:
		r.SetBasicAuth(f.Identifier, f.Secret)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

func TestTheSandbox(t *testing.T) {
	dir := t.TempDir()
	base, stop := sandbox(t, dir)
	for _, f := range FixedCredentials() {
		good := map[auth.Kind]int{auth.APIKey: 201}[f.Kind]
		if good == 0 {
			good = 200
		}
		dead := map[auth.Kind]int{auth.APIKey: 400}[f.Kind]
		if dead == 0 {
			dead = 401
		}
		want := map[string]int{"good": good, "expires": good, "limited": 429, "address": 403, "revoked": dead, "unavailable": 503}[f.Case]
		res := f.present(t, base)
		if res.StatusCode != want {
			t.Errorf("%s of kind %s: got %d, want %d", f.Case, f.Kind, res.StatusCode, want)
		}
		if retry := res.Header.Get("Retry-After"); (retry != "") != (want == 429 || want == 503) {
			t.Errorf("%s of kind %s: Retry-After %q", f.Case, f.Kind, retry)
		}
	}
	// Whatever was tried before, and however often: a test is told what its own credential deserves.
	for _, f := range FixedCredentials() {
		if f.Case != "revoked" || f.Kind != auth.Login {
			continue
		}
		for i := range 60 { // more than any other server lets one address or one name try
			if res := f.present(t, base); res.StatusCode != http.StatusUnauthorized || res.Header.Get("RateLimit") == "" {
				t.Fatalf("tried %d times: %d, RateLimit %q", i+1, res.StatusCode, res.Header.Get("RateLimit"))
			}
		}
	}
	stop()
	c, err := config.Load(config.Options{Path: dir + "/" + configFile})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.New(t.Context(), c, server.Options{}); err == nil || !strings.Contains(err.Error(), "gatehouse demo --fixed") {
		t.Errorf("a server takes what a sandbox left: %v", err)
	}
}

// What a demo has put into its configuration nobody else takes while it gets ready: demos are started side by side.
func TestADemoHoldsItsAddresses(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Config{Listen: "127.0.0.1:0", Dir: dir, Program: "gatehouse", Out: io.Discard})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	}()
	// The file may be there in part, or empty, which is a configuration too: that of somebody who leaves everything as it is.
	c := new(config.Config)
	for deadline := time.Now().Add(time.Minute); c == nil || c.Listen == "" || c.Listen == DefaultListen || c.AdminListen == defaultAdmin; {
		c, _ = config.Load(config.Options{Path: filepath.Join(dir, configFile)})
		if time.Now().After(deadline) {
			t.Fatal("it has no configuration")
		}
	}
	for _, address := range []string{c.Listen, c.AdminListen} {
		if _, err := open(t.Context(), address); !errors.As(err, new(taken)) {
			t.Errorf("%s can be taken: %v", address, err)
		}
	}
}

// The manual lists what there is, letter by letter.
func TestTheManualOfTheSandbox(t *testing.T) {
	page, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(fixedTable()) {
		f := strings.Fields(line)
		row := "| `" + f[0] + "` | " + f[1] + " | `" + strings.Join(f[2:], "` | `") + "` |"
		if f[1] == string(auth.APIKey) {
			row = "| `" + f[0] + "` | " + f[1] + " | `" + f[2] + "` | |"
		}
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/sandbox.md lacks the row\n%s", row)
		}
	}
}
