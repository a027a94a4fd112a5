package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/gatehouse/gatehouse/client"
	"github.com/gatehouse/gatehouse/gatehousetest"
)

// One client for the program; calls go through it.
func Example() {
	c, err := client.New(client.Config{
		BaseURL:    base, // "https://auth.example.com"
		Credential: client.APIKey{Key: client.NewSecret(os.Getenv("API_KEY"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	api := c.HTTPClient()
	api.Timeout = 30 * time.Second

	res, err := api.Get(base + "/api/v1/products")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	if err := client.Check(res); err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(os.Stdout, res.Body)
	// Output: {"products":["gin"]}
}

// A session that outlives the process, shared by all processes that name the file.
func ExampleFileStore() {
	dir, err := os.MkdirTemp("", "client") // for the example
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	c, err := client.New(client.Config{
		BaseURL:    base,
		Credential: client.Login{Username: "u_aB3dE5gH7jK9", Password: client.NewSecret(os.Getenv("API_PASSWORD"))},
		Store:      client.NewFileStore(filepath.Join(dir, "tokens.json")),
	})
	if err != nil {
		log.Fatal(err)
	}
	token, err := c.Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Type, token.Value)

	// At the end of the day, for every machine of this account:
	if err := c.Logout(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: B2B_ACCESS [secret]
}

// For what takes an oauth2.TokenSource.
func ExampleClient_TokenSource() {
	c, err := client.New(client.Config{
		BaseURL: base,
		Credential: client.OAuthClient{
			ID: "u_aB3dE5gH7jK9", Secret: client.NewSecret(os.Getenv("CLIENT_SECRET")), Scopes: []string{"orders:read"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	var source oauth2.TokenSource = c.TokenSource(context.Background())
	token, err := source.Token()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Type(), token.Valid())
	// Output: Bearer true
}

// What went wrong, and what to do about it.
func ExampleError() {
	c, err := client.New(client.Config{
		BaseURL:    base,
		Credential: client.Basic{UserID: "u_aB3dE5gH7jK9", Password: client.NewSecret("an old one")},
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.HTTPClient().Get(base + "/api/v1/orders")
	var answer *client.Error
	if errors.As(err, &answer) {
		fmt.Println("request", answer.RequestID)
	}
	switch {
	case errors.Is(err, client.ErrInvalidCredentials), errors.Is(err, client.ErrKeyNotFound):
		fmt.Println("ask for a new secret")
	case errors.Is(err, client.ErrAddressNotAllowed):
		fmt.Println("have this machine's address put on the list")
	case errors.Is(err, client.ErrTooManyRequests), errors.Is(err, client.ErrUnavailable):
		fmt.Println("not now")
	case err != nil:
		fmt.Println("neither a matter of secrets nor of waiting:", err)
	}
	// Output:
	// request reqid_123abc45def
	// ask for a new secret
}

func ExampleAddRefresh() {
	body, ok := client.AddRefresh([]byte(`{"id": "cart-1"}`))
	fmt.Println(string(body), ok)
	// Output: {"id": "cart-1","refresh":true} true
}

// Your program in a test, on a real server, a day later.
func TestExampleOnARealServer(t *testing.T) {
	products := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "products for account", r.Header.Get("X-Auth-Account"))
	}))
	defer products.Close()

	s := gatehousetest.Start(t, gatehousetest.Config{YAML: `
routes:
  - path: /api/v1/
    upstream: ` + products.URL + `
    accepts: [ACCESS_TOKEN]
`})
	key := s.NewAPIKey(s.NewAccount("First customer"))
	c, err := client.New(client.Config{
		BaseURL:    s.URL,
		Credential: client.APIKey{Key: client.NewSecret(key.Identifier)},
		Now:        s.Clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		res, err := c.HTTPClient().Get(s.URL + "/api/v1/products")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if err := client.Check(res); err != nil {
			t.Error(err)
		}
		s.Clock.Advance(25 * time.Hour)
	}
}

// The rest is a server for the examples, which answers as the contracts have it.

var base string

func serveExamples() *httptest.Server {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Request-Id", "reqid_123abc45def")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	expires := time.Now().Add(time.Hour)
	stamp := expires.UTC().Format(time.RFC3339)
	const token = "e30.e30.c2ln"
	mux := http.NewServeMux()
	mux.Handle("GET /authentication", answer(201, fmt.Sprintf(
		`{"statusCode":200,"message":"OK","data":{"token":%q,"type":"ACCESS_TOKEN","exp":%d}}`, token, expires.UnixMilli())))
	mux.Handle("GET /order-authentication", answer(401, `{"statusCode":401,"message":"Invalid credentials","errors":[]}`))
	mux.Handle("POST /auth/login", answer(200, `{"success":true,"data":{"access_token":"`+token+`","refresh_token":"r.r.r","access_expires_at":"`+
		stamp+`","refresh_expires_at":"`+stamp+`","client_id":100001}}`))
	mux.Handle("POST /auth/logout", answer(200, `{"success":true,"data":{"message":"Successfully logged out"}}`))
	mux.Handle("POST /oauth/token", answer(200, `{"access_token":"`+token+`","token_type":"Bearer","expires_in":3600,"scope":"orders:read"}`))
	mux.Handle("GET /api/v1/products", answer(200, `{"products":["gin"]}`))
	return httptest.NewServer(mux)
}
