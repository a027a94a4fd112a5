package gatehousetest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/gatehousetest"
)

// A customer who asks in his calls never presents his key again, for thirty days.
func TestACallAsksForANewToken(t *testing.T) {
	const stock = "{ \"total\": 9007199254740993,\n  \"items\": [ ] }\n"
	var got string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"1"`)
		_, _ = io.WriteString(w, stock)
	}))
	t.Cleanup(api.Close)
	c := customer{t, gatehousetest.Start(t, gatehousetest.Config{YAML: `
routes:
  - path: /api/v1/
    upstream: ` + api.URL + `
    accepts: [ACCESS_TOKEN, B2B_ACCESS]
`})}
	account := c.server.NewAccount("First customer")
	key := c.server.NewAPIKey(account)
	const asks = `{"id":"cart-1", "refresh" : true}`
	update := func(token, body string) answer {
		t.Helper()
		a := c.send(http.MethodPost, "/api/v1/cart/update", body, "Authorization", "Bearer "+token)
		c.wants("a call", a, http.StatusOK)
		if got != body {
			t.Errorf("the API got %q, want %q", got, body)
		}
		return a
	}

	bought := c.exchange(key)
	first := bought.member(t, "data.token")
	if a := update(first, `{"id":"cart-1"}`); a.Body != stock || a.Header.Get("Etag") == "" {
		t.Errorf("who does not ask: got %q with %v", a.Body, a.Header)
	}

	// The new one comes within the answer, and nothing else of it is another.
	c.server.Clock.Advance(20 * time.Hour)
	a := update(first, asks)
	token, until := a.member(t, "auth.token"), a.member(t, "auth.exp")
	want := fmt.Sprintf("{ \"total\": 9007199254740993,\n  \"items\": [ ] ,\"auth\":{\"token\":%q,\"type\":\"ACCESS_TOKEN\",\"exp\":%s}}\n", token, until)
	if a.Body != want || a.Header.Get("Etag") != "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %q with %v, want %q", a.Body, a.Header, want)
	}
	c.wants("the old one goes on", c.call(first), http.StatusOK)
	c.server.Clock.Advance(20 * time.Hour)
	c.wants("to its end", c.call(first), http.StatusUnauthorized)

	given := 1
	for range 34 { // to the last hours of the thirty days
		token = update(token, asks).member(t, "auth.token")
		given++
		c.server.Clock.Advance(20 * time.Hour)
	}
	c.server.Clock.Advance(2 * time.Hour)
	if a := update(token, asks); a.Body != stock || a.Header.Get("X-Auth-Refresh") != "refused" {
		t.Errorf("after thirty days: got %q with %v", a.Body, a.Header)
	}
	c.wants("the key again", c.exchange(key), http.StatusCreated)

	// A token of another contract has another way to be refreshed.
	login := c.login(c.server.NewLogin(account))
	if a := update(login.member(t, "data.access_token"), asks); a.Body != stock || a.Header.Get("X-Auth-Refresh") != "" {
		t.Errorf("with a token of a login: got %q with %v", a.Body, a.Header)
	}

	res, err := http.Get(c.server.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf(`gatehouse_renewals_total{outcome="ok"} %d`, given),
		`gatehouse_renewals_total{outcome="refused"} 1`, `gatehouse_renewals_total{outcome="unavailable"} 0`,
	} {
		if !strings.Contains(string(metrics), want+"\n") {
			t.Errorf("the metrics do not have %s", want)
		}
	}
}
