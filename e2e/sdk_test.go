package e2e

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/gatehousetest"
)

// The published SDK, @liquidcommerce/cloud-sdk 1.18.0, unchanged, in Node. What its source says, which is what a server has
// to live with:
//
//   - Its environment "loc" is http://0.0.0.0:8000/api; every other one is a host of its maker, and the option baseUrl is
//     not read. On Linux a connection to 0.0.0.0 reaches the loopback, so a server that listens on 127.0.0.1:8000 is found;
//     the Host header says 0.0.0.0:8000. Orders have no host of their own.
//   - Every path is /api and a name, one slash, no trailing one.
//   - GET /api/authentication has X-LIQUID-API-KEY, X-LIQUID-API-OBF: true and Content-Type: application/json, without a
//     body. It reads data.token and data.exp, and compares the latter with Date.now(): milliseconds. Any 2xx will do.
//   - Calls have the key, X-LIQUID-API-OBF, X-LIQUID-API-SDK: true, X-LIQUID-SDK-VERSION and Authorization: Bearer. Nothing
//     is obfuscated but payment sessions, by the API itself.
//   - GET /api/order-authentication has Authorization: Basic and no header of the SDK's own. It reads data.token and data.exp, and computes
//     Date.now() + 1000 * data.exp: here, and only here, exp must be the seconds that are left.
//   - Calls to GET /api/orders/… have Authorization: Bearer and the two SDK headers, and no API key.
//   - It asks for a token when it has none or when the exp it knows has passed, and at no other time. A 401 goes to the
//     caller. So it never sends a token that is past its exp, and a token refused earlier is never replaced.
//   - cart.get(id, true) and cart.update({refresh: true}) post {"id": …, "refresh": true} to /api/cart/update, which is the
//     request for a new token in band. The answer's auth is in the SDK's types; it hands it to its caller and uses it itself
//     for nothing.

const sdkConfig = `
tokens:
  order_api: {lifetime: 3s}
routes:
  - path: /api/orders
    upstream: %UPSTREAM%
    accepts: [ORDER_API]
  - path: /api/
    upstream: %UPSTREAM%
    accepts: [ACCESS_TOKEN]
`

func TestPublishedSDK(t *testing.T) {
	const listen = "127.0.0.1:8000" // what the SDK's environment loc reaches
	waitFree(t, listen)
	up := newUpstream(t, func(c call) string {
		return `{"statusCode":200,"message":"OK","data":{"path":"` + c.Path + `"}}`
	})
	server := gatehousetest.Start(t, gatehousetest.Config{Listen: listen, YAML: strings.ReplaceAll(sdkConfig, "%UPSTREAM%", up.URL)})
	number := server.NewAccount("Partner")
	account := strconv.FormatInt(number, 10)
	key := server.NewAPIKey(number).Identifier
	ordersUser := server.NewBasic(number)
	sdk := startSDK(t)

	// A key that nobody has is told as such.
	if got, want := sdk.refused("init", key[:len(key)-1]+"!"), "Authentication failed during initialization"; got != want {
		t.Errorf("init with a wrong key: got %q, want %q", got, want)
	}

	// The right one opens the API.
	var auth struct {
		Token string
		Type  string
		Exp   int64
	}
	sdk.do(&auth, "init", key)
	if left := time.Until(time.UnixMilli(auth.Exp)); auth.Type != "ACCESS_TOKEN" || left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("auth: got type %q and %v left, want ACCESS_TOKEN and a day", auth.Type, left)
	}
	sdk.do(nil, "products")
	sdk.do(nil, "autocomplete", "gin")
	calls := up.take()
	if diff := cmp.Diff([]string{"GET /api/catalog/products?pageSize=2", "POST /api/catalog/autocomplete?"}, targets(calls)); diff != "" {
		t.Errorf("what reached the API (-want +got):\n%s", diff)
	}
	for _, c := range calls {
		want := map[string]string{
			"X-Auth-Account":       account,
			"X-Auth-Type":          "ACCESS_TOKEN",
			"X-Liquid-Sdk-Version": "1.18.0",
			"X-Liquid-Api-Sdk":     "true",
			"X-Liquid-Api-Obf":     "true",
			"X-Liquid-Api-Key":     "", // the key is for us alone,
			"Authorization":        "", // and so is the token
		}
		if diff := cmp.Diff(want, only(c.Header, want)); diff != "" {
			t.Errorf("%s %s: headers (-want +got):\n%s", c.Method, c.Path, diff)
		}
	}

	// What its cart posts is for the API: it arrives as it was sent.
	var cart struct {
		Data struct{ Path string }
		Auth struct {
			Token, Type string
			Exp         int64
		}
	}
	sdk.do(&cart, "cart", "cart-1")
	if got, want := cart.Data.Path, "/api/cart/update"; got != want {
		t.Errorf("cart: got %s, want %s", got, want)
	}
	if got, want := up.take()[0].Body, `{"id":"cart-1","refresh":true}`; got != want {
		t.Errorf("cart: the API got %s, want %s", got, want)
	}

	// And it is how a new token is asked for, which the answer brings along.
	if got := cart.Auth; got.Type != "ACCESS_TOKEN" || got.Exp%1000 != 0 || strings.Count(got.Token, ".") != 2 {
		t.Errorf("cart: the answer's auth is %+v", got)
	}

	// Orders have credentials and tokens of their own.
	if got, want := sdk.refused("orders", ordersUser.Identifier, "wrong"), "Order Authentication failed during initialization"; got != want {
		t.Errorf("orders with a wrong password: got %q, want %q", got, want)
	}
	sdk.do(nil, "orders", ordersUser.Identifier, ordersUser.Secret)
	var order struct{ Data struct{ Path string } }
	sdk.do(&order, "order", "1001")
	if got, want := order.Data.Path, "/api/orders/1001"; got != want {
		t.Errorf("order: got %s, want %s", got, want)
	}
	first := heldOrderToken(sdk)
	if left := first.Expires - first.Now; left <= 0 || left > 3000 {
		t.Errorf("the SDK thinks that its order token has %d ms left, want the 3 s of its lifetime at most", left)
	}
	if got := bearer(t, server.URL+"/api/catalog/products", first.Token); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("an order token for the catalog: got %s, want 401", got.Status)
	}
	if got := bearer(t, server.URL+"/api/orders/1001", first.Token); got.StatusCode != http.StatusOK {
		t.Errorf("the first order token, while it lives: got %s, want 200", got.Status)
	}

	// Time passes: the token's life and the leeway that clocks are given.
	const pass = 3*time.Second + 30*time.Second + time.Second
	server.Clock.Advance(pass)
	sdk.do(nil, "advance", pass.Milliseconds())
	got := bearer(t, server.URL+"/api/orders/1001", first.Token)
	if want := `error="invalid_token", error_description="The access token expired"`; got.StatusCode != http.StatusUnauthorized ||
		!strings.HasSuffix(got.Header.Get("WWW-Authenticate"), want) {
		t.Errorf("the first order token, later: got %s, %q, want 401, …%s", got.Status, got.Header.Get("WWW-Authenticate"), want)
	}
	up.take()
	sdk.do(&order, "order", "1002")
	if got, want := order.Data.Path, "/api/orders/1002"; got != want {
		t.Errorf("order: got %s, want %s", got, want)
	}
	calls = up.take()
	if diff := cmp.Diff([]string{"GET /api/orders/1002?"}, targets(calls)); diff != "" {
		t.Fatalf("what reached the API (-want +got):\n%s", diff)
	}
	want := map[string]string{"X-Auth-Account": account, "X-Auth-Credential": ordersUser.ID, "X-Auth-Type": "ORDER_API", "Authorization": ""}
	if diff := cmp.Diff(want, only(calls[0].Header, want)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	second := heldOrderToken(sdk)
	if second.Token == first.Token {
		t.Error("the SDK fetched the second order with its first token, want a new one")
	}
}

// waitFree returns when nobody listens on address. The tests of another package may, for a moment.
func waitFree(t *testing.T, address string) {
	t.Helper()
	late := time.After(time.Minute)
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return
		}
		select {
		case <-late:
			t.Fatalf("the SDK knows one local address, %s, and something else has it: %v; stop that and try again", address, err)
		case <-again.C:
		}
	}
}

// bearer calls url with a token.
func bearer(t *testing.T, url, token string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res
}

// targets are the methods and addresses of calls.
func targets(calls []call) []string {
	var all []string
	for _, c := range calls {
		all = append(all, c.Method+" "+c.Path+"?"+c.Query)
	}
	return all
}

// only takes the headers that want names.
func only(h http.Header, want map[string]string) map[string]string {
	got := make(map[string]string)
	for name := range want {
		got[name] = strings.Join(h.Values(name), ", ")
	}
	return got
}

// sdkPackage returns the folder of the package as it was published, and gets it first if need be.
func sdkPackage(t *testing.T) string {
	t.Helper()
	needNode(t)
	npmCI(t, "sdk")
	dir := filepath.Join("sdk", "node_modules", "@liquidcommerce", "cloud-sdk")
	version, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil || !strings.Contains(string(version), `"version": "1.18.0"`) {
		t.Fatalf("e2e/sdk/node_modules does not hold the SDK 1.18.0 (%v); remove it and try again", err)
	}
	return dir
}

func startSDK(t *testing.T) *nodeProgram {
	t.Helper()
	sdkPackage(t)
	return startNode(t, "sdk")
}

type orderToken struct {
	Token        string
	Expires, Now int64 // Unix milliseconds
}

func heldOrderToken(s *nodeProgram) orderToken {
	s.t.Helper()
	var held orderToken
	s.do(&held, "orderToken")
	return held
}
