package demo

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
)

func TestTheSampleAPI(t *testing.T) {
	api := httptest.NewServer(API())
	defer api.Close()
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/v1/products", "", 200, `"name": "Envelopes, 500"`},
		{"GET", "/api/v1/products/3", "", 200, `"name": "Ink, blue-black"`},
		{"GET", "/api/v1/products/4", "", 404, `"error"`},
		{"GET", "/api/v1/categories", "", 200, `"name": "Paper"`},
		{"GET", "/api/orders/7", "", 200, `"account": "100001"`},
		{"GET", "/api/orders/nothing", "", 404, `"error"`},
		{"POST", "/api/cart/update", `{"id":"cart-1"}`, 200, `"X-Auth-Account": "100001"`},
		{"POST", "/api/cart/update", `[]`, 400, `"error"`},
		{"GET", "/api/whoami", "", 200, `"X-Auth-Account": "100001"`},
		{"GET", "/", "", 404, `"error"`},
	} {
		req, err := http.NewRequest(c.method, api.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Auth-Account", "100001")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || !strings.Contains(string(body), c.want) {
			t.Errorf("%s %s: got %d %s (%v), want %d with %s", c.method, c.path, res.StatusCode, body, err, c.status, c.want)
		}
	}
}

func TestATakenAddressIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = open(t.Context(), l.Addr().String())
	if !errors.As(err, new(taken)) || !strings.Contains(err.Error(), "--listen 127.0.0.1:0") {
		t.Errorf("got %v", err)
	}
}

func TestURLsAreThisMachines(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8000": "http://127.0.0.1:8000", "0.0.0.0:8000": "http://127.0.0.1:8000", "[::]:8000": "http://127.0.0.1:8000",
		":8000": "http://127.0.0.1:8000", "[::1]:8000": "http://[::1]:8000", "192.0.2.1:80": "http://192.0.2.1:80",
	} {
		if got := url(listen); got != want {
			t.Errorf("%s: got %s, want %s", listen, got, want)
		}
	}
}

// A path of whatever letters goes into the configuration and into the lines, and comes out of a shell as it was.
func TestWordsForAShell(t *testing.T) {
	sh := beside.Need(t, "sh", "dash")
	for _, word := range []string{"/usr/bin/gatehouse", "", "two words", "it's", `a\b"c$HOME`, "*", "-n", "ä"} {
		out, err := exec.Command(sh, "-c", "printf '%s' "+quoted(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q came out as %q (%v)", word, out, err)
		}
	}
}

func TestTheConfigurationIsOneThatServeReads(t *testing.T) {
	dir := t.TempDir()
	c, err := configure(dir, addresses{public: "[::]:8000", admin: "127.0.0.1:9000", api: "127.0.0.1:9100"}, Config{Origins: []string{"http://localhost:3000", "https://app.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != filepath.Join(dir, "data") || c.PublicURL != "http://127.0.0.1:8000" || len(c.Routes) != 4 || c.ShutdownGrace != 2*time.Second {
		t.Errorf("got %s", c.Print())
	}
	if c.Routes[1].Errors != auth.Liquid {
		t.Errorf("the words of orders are %s", c.Routes[1].Errors)
	}
	if got := c.CORS.AllowedOrigins; len(got) != 2 || got[0] != "http://localhost:3000" {
		t.Errorf("pages of %q may call", got)
	}
	if _, err := configure(t.TempDir(), addresses{public: "127.0.0.1:8000", admin: "127.0.0.1:9000", api: "127.0.0.1:9100"}, Config{Origins: []string{`"*`}}); err == nil {
		t.Error("an origin that is none is taken")
	}
}

func TestAKeptFolderMustBeNew(t *testing.T) {
	dir := t.TempDir()
	if got, discard, err := folder(dir); err != nil || got != dir || discard() != nil {
		t.Errorf("an empty one: got %s, %v", got, err)
	}
	if _, err := configure(dir, addresses{"127.0.0.1:8000", "127.0.0.1:9000", "127.0.0.1:9100"}, Config{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := folder(dir); err == nil || !strings.Contains(err.Error(), "gatehouse serve --config") {
		t.Errorf("got %v", err)
	}
}
