package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gatehouse/gatehouse/e2e/program"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/certtest"
	"github.com/google/go-cmp/cmp"
)

// sdkHost is the host of the SDK's environment "stage". It is one of its maker, and so is every other in a browser: the one
// of "loc" is 0.0.0.0, which browsers refuse to call. The browser under test looks up no names, and is told that this one is
// the server under test; nothing leaves the machine.
const sdkHost = "staging.api.liquidcommerce.cloud"

// The published SDK's build for browsers, unchanged, in a page of another origin, in Chromium.
func TestBrowser(t *testing.T) {
	library := filepath.Join(sdkPackage(t), "umd", "liquidcommerce-cloud-sdk.min.js")
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files := map[string]string{"/": filepath.Join("sdk", "page.html"), "/acts.mjs": filepath.Join("sdk", "acts.mjs"), "/sdk.js": library}
		if files[r.URL.Path] == "" {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, files[r.URL.Path])
	}))
	defer pages.Close()
	_, port, err := net.SplitHostPort(pages.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// One server, two names for it: two origins.
	listed, unlisted := "http://localhost:"+port, "http://127.0.0.1:"+port

	up := newUpstream(t, func(c call) string {
		return `{"statusCode":200,"message":"OK","data":{"path":"` + c.Path + `"}}`
	})
	tls, fingerprint := newCertificate(t, sdkHost)
	server := startServer(t, tls+`
public_url: https://`+sdkHost+`
cors: {allowed_origins: ["`+listed+`"]}
routes:
  - {path: /api/orders, upstream: "`+up.URL+`", accepts: [ORDER_API]}
  - {path: /api/catalog/autocomplete, upstream: "`+up.URL+`", accepts: [ACCESS_TOKEN], limits: {rate: 1/h, burst: 1}}
  - {path: /api/, upstream: "`+up.URL+`", accepts: [ACCESS_TOKEN]}
`)
	account := server.newAccount(t, "Partner")
	key := server.newCredential(t, account, "api-key")
	ordersUser := server.newCredential(t, account, "basic")
	b := startBrowser(t, server.Listen, fingerprint)

	// The page that may call exchanges its key and calls, each time after a preflight: the SDK's headers want one.
	page := b.open(listed)
	var first struct {
		Token, Type string
		Exp         int64
	}
	page.do(&first, "init", key.Key)
	if left := time.Until(time.UnixMilli(first.Exp)); first.Type != "ACCESS_TOKEN" || left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("auth: got type %q and %v left, want ACCESS_TOKEN and a day", first.Type, left)
	}
	page.do(nil, "products")
	page.do(nil, "autocomplete", "gin")
	page.do(nil, "orders", ordersUser.UserID, ordersUser.Password)
	page.do(nil, "order", "1001")
	calls := up.take()
	want := []string{"GET /api/catalog/products?pageSize=2", "POST /api/catalog/autocomplete?", "GET /api/orders/1001?"}
	if diff := cmp.Diff(want, targets(calls)); diff != "" {
		t.Errorf("what reached the API (-want +got):\n%s", diff)
	}
	for _, c := range calls {
		if got := c.Header; got.Get("X-Auth-Account") != account || got.Get("Origin") != listed || got.Get("X-Liquid-Api-Key")+got.Get("Authorization") != "" {
			t.Errorf("%s %s: headers %v", c.Method, c.Path, got)
		}
	}

	// It asks for a new token in band, and calls with it.
	var cart struct{ Auth struct{ Token, Type string } }
	page.do(&cart, "cart", "cart-1")
	if cart.Auth.Type != "ACCESS_TOKEN" || cart.Auth.Token == first.Token || strings.Count(cart.Auth.Token, ".") != 2 {
		t.Errorf("cart: the answer's auth is %+v", cart.Auth)
	}
	var got answer
	page.do(&got, "call", "GET", "/api/catalog/products", bearerOf(cart.Auth.Token))
	if got.Status != http.StatusOK {
		t.Errorf("with the new token: %+v", got)
	}
	if got.Headers["x-request-id"] == "" || got.Headers["date"] != "" { // of the head it reads what it may, and no more
		t.Errorf("a script reads of an answer's head: %v", got.Headers)
	}

	// Whatever it is refused, it learns the request's id, by which the operator finds the reason.
	limited := page.refused("autocomplete", "rum")
	server.explains(t, limited, http.StatusTooManyRequests, "rate_limited")
	page.do(&got, "call", "POST", "/api/catalog/autocomplete", bearerOf(first.Token), "{}")
	server.explains(t, got.asRefusal(), http.StatusTooManyRequests, "rate_limited")
	for _, name := range []string{"retry-after", "ratelimit", "ratelimit-policy"} {
		if got.Headers[name] == "" {
			t.Errorf("429: a script cannot read %s: %v", name, got.Headers)
		}
	}
	if err := server.run(nil, "credential", "revoke", key.ID); err != nil {
		t.Fatal(err)
	}
	server.explains(t, page.refused("products"), http.StatusUnauthorized, "token_revoked")
	page.do(&got, "call", "GET", "/api/catalog/products", bearerOf(first.Token))
	server.explains(t, got.asRefusal(), http.StatusUnauthorized, "token_revoked")
	if challenge := got.Headers["www-authenticate"]; !strings.HasSuffix(challenge, `error_description="The access token was revoked"`) {
		t.Errorf("401: a script reads the challenge %q", challenge)
	}
	if unauthorized := page.refused("init", "gk_live_nobody"); unauthorized.Message != "Authentication failed during initialization" {
		t.Errorf("another key: got %+v", unauthorized)
	}

	// The same page from elsewhere can do none of it, with credentials that are good.
	other := server.newCredential(t, account, "api-key")
	page.do(&got, "call", "GET", "/api/authentication", map[string]string{"X-LIQUID-API-KEY": other.Key})
	token, _ := got.Body["data"].(map[string]any)["token"].(string)
	acts := map[string][]any{
		"exchange a key":                   {"init", other.Key},
		"fetch orders":                     {"orders", ordersUser.UserID, ordersUser.Password},
		"exchange a key without the SDK":   {"call", "GET", "/api/authentication", map[string]string{"X-LIQUID-API-KEY": other.Key}},
		"call with a token":                {"call", "GET", "/api/catalog/products", bearerOf(token)},
		"ask for a token in band":          {"call", "POST", "/api/cart/update", bearerOf(token), `{"refresh":true}`},
		"read an answer without preflight": {"call", "GET", "/.well-known/jwks.json", map[string]string{}},
		"read a 401 without preflight":     {"call", "GET", "/api/catalog/products", map[string]string{}},
	}
	page = b.open(listed)
	for name, act := range acts {
		if _, refused := page.act(act...); refused != nil {
			t.Errorf("%s, from a page that may: %+v", name, *refused)
		}
	}
	up.take()
	page = b.open(unlisted)
	for name, act := range acts {
		refused := page.refused(act...)
		if want := (refusal{Name: "TypeError", Message: "Failed to fetch"}); act[0] == "call" && refused != want {
			t.Errorf("%s: it learned %+v", name, refused)
		} else if act[0] != "call" && (refused.Name != "Error" || !strings.HasSuffix(refused.Message, "uthentication failed during initialization")) {
			t.Errorf("%s: it learned %+v", name, refused)
		}
	}
	if calls := up.take(); len(calls) != 0 {
		t.Errorf("the API heard of %v", targets(calls))
	}
}

func bearerOf(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json"}
}

// explains wants the operator to find, by the request's id that a page was told, why it was refused.
func (s *server) explains(t *testing.T, got refusal, status int, reason string) {
	t.Helper()
	var told struct {
		Reason string
	}
	if got.Status != status {
		t.Errorf("got %+v, want status %d", got, status)
	} else if err := s.run(&told, "explain", got.Metadata.RequestID, "--json"); err != nil || told.Reason != reason {
		t.Errorf("the operator reads %q (%v) of %+v, want %s", told.Reason, err, got, reason)
	}
}

// An answer is what a script reads of one.
type answer struct {
	Status  int
	Headers map[string]string
	Body    map[string]any
}

func (a answer) asRefusal() refusal {
	r := refusal{Status: a.Status}
	r.Metadata.RequestID = a.Headers["x-request-id"]
	return r
}

// A refusal is what the SDK throws, or fetch: what the server said, if that could be read.
type refusal struct {
	Name, Message string
	Status        int
	Metadata      struct{ RequestID string }
}

// newCertificate makes a certificate for host. It returns the lines of a configuration for it, and the fingerprint of its
// key, by which a browser can be told to believe it.
func newCertificate(t *testing.T, host string) (yaml, fingerprint string) {
	t.Helper()
	dir := t.TempDir()
	c := certtest.New(t, x509.Certificate{DNSNames: []string{host}}, nil)
	c.Write(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return fmt.Sprintf("tls: {cert_file: %s/cert.pem, key_file: %[1]s/key.pem}", dir), base64.StdEncoding.EncodeToString(sum[:])
}

// A browser is a Chromium without a window, which knows two names and nobody else.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// startBrowser starts one for which sdkHost is at address, with the certificate of this fingerprint.
func startBrowser(t *testing.T, address, fingerprint string) *browser {
	t.Helper()
	path := beside.Need(t, "chromium", "chromium")
	ctx, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.NoFirstRun, chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("ignore-certificate-errors-spki-list", fingerprint),
		chromedp.Flag("host-resolver-rules", "MAP "+sdkHost+":443 "+address+", MAP localhost 127.0.0.1, EXCLUDE 127.0.0.1, MAP * ~NOTFOUND"),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		closeTab()
		stop()
	})
	b := &browser{t, ctx}
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[int]("1")); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return b
}

// open opens a page.
func (b *browser) open(url string) *browser {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("open %s: %v", url, err)
	}
	return b
}

// act has the page do something, and returns what came of it.
func (b *browser) act(what ...any) (ok json.RawMessage, refused *refusal) {
	b.t.Helper()
	args, err := json.Marshal(what)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	said, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte]("act(..."+string(args)+")", chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v: %v", what[0], err)
	}
	var came struct {
		OK    json.RawMessage
		Error *refusal
	}
	if err := json.Unmarshal(said, &came); err != nil {
		b.t.Fatalf("%v: %v: %s", what[0], err, said)
	}
	return came.OK, came.Error
}

// do has the page do something that must go well.
func (b *browser) do(answer any, what ...any) {
	b.t.Helper()
	ok, refused := b.act(what...)
	if refused != nil {
		b.t.Fatalf("%v: %+v", what[0], *refused)
	}
	if err := program.Decode(ok, answer); err != nil {
		b.t.Fatalf("%v: %v: %s", what[0], err, ok)
	}
}

// refused has it do something that must not, and returns what it was told.
func (b *browser) refused(what ...any) refusal {
	b.t.Helper()
	ok, refused := b.act(what...)
	if refused == nil {
		b.t.Errorf("%v: got %s, want a refusal", what, ok)
		return refusal{}
	}
	return *refused
}
