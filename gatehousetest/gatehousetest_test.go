package gatehousetest_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/gatehousetest"
)

// A customer talks to a server over a real socket, and knows of it what customers know.
type customer struct {
	t      *testing.T
	server *gatehousetest.Server
}

// An answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// a member of the answer's JSON, by its path: "data.access_token".
func (a answer) member(t *testing.T, path string) string {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(a.Body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, a.Body)
	}
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	t.Fatalf("no %s in %d %s", path, a.Status, a.Body)
	return ""
}

func (c customer) send(method, path, body string, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

func (c customer) exchange(key gatehousetest.Credential) answer {
	c.t.Helper()
	return c.send(http.MethodGet, "/authentication", "", "X-LIQUID-API-KEY", key.Identifier)
}

func (c customer) login(who gatehousetest.Credential) answer {
	c.t.Helper()
	body, err := json.Marshal(map[string]string{"username": who.Identifier, "password": who.Secret})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.send(http.MethodPost, "/auth/login", string(body))
}

func (c customer) refresh(token string) answer {
	c.t.Helper()
	return c.send(http.MethodPost, "/auth/refresh", `{"refresh_token":"`+token+`"}`)
}

// call uses a token on the API behind the gateway.
func (c customer) call(token string) answer {
	c.t.Helper()
	return c.send(http.MethodGet, "/api/v1/products", "", "Authorization", "Bearer "+token)
}

// wants says what an answer should have been.
func (c customer) wants(what string, got answer, want int) {
	c.t.Helper()
	if got.Status != want {
		c.t.Errorf("%s: got %d %s, want %d", what, got.Status, got.Body, want)
	}
}

// newCustomer starts a server with an API behind it that says who is calling.
func newCustomer(t *testing.T, config gatehousetest.Config) customer {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Auth-Account")+" "+r.Header.Get("X-Auth-Scope"))
	}))
	t.Cleanup(api.Close)
	config.YAML += `
routes:
  - path: /api/v1/
    upstream: ` + api.URL + `
    accepts: [ACCESS_TOKEN, ORDER_API, B2B_ACCESS]
`
	return customer{t, gatehousetest.Start(t, config)}
}

func TestAnAPIKeyOpensTheAPIForADay(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{})
	account := c.server.NewAccount("First customer")
	if account != 100001 {
		t.Errorf("the first account is %d", account)
	}
	key := c.server.NewAPIKey(account, "products:read")
	bought := c.exchange(key)
	c.wants("an exchange", bought, http.StatusCreated)
	token := bought.member(t, "data.token")

	got := c.call(token)
	c.wants("a call", got, http.StatusOK)
	if want := "100001 products:read"; got.Body != want {
		t.Errorf("the API was told %q, want %q", got.Body, want)
	}
	c.server.Clock.Advance(23 * time.Hour)
	c.wants("within the day", c.call(token), http.StatusOK)
	c.server.Clock.Advance(2 * time.Hour)
	late := c.call(token)
	c.wants("after the day", late, http.StatusUnauthorized)
	if got, want := late.Header.Get("WWW-Authenticate"), `Bearer realm="gatehouse", error="invalid_token", error_description="The access token expired"`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	c.wants("the key again", c.exchange(key), http.StatusCreated)
}

func TestUserIDAndPasswordBuyTenMinutes(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{})
	basic := c.server.NewBasic(c.server.NewAccount("First customer"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.server.URL+"/order-authentication", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(basic.Identifier, basic.Secret)
	bought := c.send(http.MethodGet, "/order-authentication", "", "Authorization", req.Header.Get("Authorization"))
	c.wants("an exchange", bought, http.StatusOK)
	token := bought.member(t, "token")
	c.wants("a call", c.call(token), http.StatusOK)
	c.server.Clock.Advance(11 * time.Minute)
	c.wants("after ten minutes", c.call(token), http.StatusUnauthorized)
}

func TestALoginIsRefreshedAndEnds(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{})
	account := c.server.NewAccount("First customer")
	who := c.server.NewLogin(account)
	pair := c.login(who)
	c.wants("a login", pair, http.StatusOK)
	if got, want := pair.member(t, "data.client_id"), strconv.FormatInt(account, 10); got != want {
		t.Errorf("client_id is %s, want %s", got, want)
	}
	access, refresh := pair.member(t, "data.access_token"), pair.member(t, "data.refresh_token")

	c.server.Clock.Advance(59 * time.Minute)
	c.wants("within the hour", c.call(access), http.StatusOK)
	next := c.refresh(refresh)
	c.wants("a refresh", next, http.StatusOK)
	c.wants("the old one, at once", c.refresh(refresh), http.StatusUnauthorized)
	c.wants("the new one, all the same", c.call(next.member(t, "data.access_token")), http.StatusOK)

	c.server.Clock.Advance(time.Minute)
	c.wants("the old one, later: theft", c.refresh(refresh), http.StatusUnauthorized)
	c.wants("the new one is dead with its session", c.call(next.member(t, "data.access_token")), http.StatusUnauthorized)
	c.wants("and cannot be refreshed", c.refresh(next.member(t, "data.refresh_token")), http.StatusUnauthorized)

	again := c.login(who).member(t, "data.access_token")
	c.wants("logout", c.send(http.MethodPost, "/auth/logout", "", "Authorization", "Bearer "+again), http.StatusOK)
	c.wants("after the logout", c.call(again), http.StatusUnauthorized)
}

func TestARefreshTokenLivesForAWeek(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{})
	who := c.server.NewLogin(c.server.NewAccount("First customer"))
	pair := c.login(who)
	c.server.Clock.Advance(6 * 24 * time.Hour)
	pair = c.refresh(pair.member(t, "data.refresh_token"))
	c.wants("on the sixth day", pair, http.StatusOK)
	c.server.Clock.Advance(8 * 24 * time.Hour)
	c.wants("eight days after that", c.refresh(pair.member(t, "data.refresh_token")), http.StatusUnauthorized)
}

func TestARevocationActsOnTokensOut(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{})
	account := c.server.NewAccount("First customer")
	leaked, kept := c.server.NewAPIKey(account), c.server.NewAPIKey(account)
	token, other := c.exchange(leaked).member(t, "data.token"), c.exchange(kept).member(t, "data.token")

	c.server.RevokeCredential(leaked.ID)
	c.wants("its token", c.call(token), http.StatusUnauthorized)
	c.wants("the token of another key", c.call(other), http.StatusOK)

	refused := c.exchange(leaked)
	c.wants("the key", refused, http.StatusBadRequest)
	elsewhere := gatehousetest.Start(t, gatehousetest.Config{})
	unknown := c.exchange(elsewhere.NewAPIKey(elsewhere.NewAccount("Somebody else's customer")))
	if diff := cmp.Diff(told(t, unknown), told(t, refused)); diff != "" {
		t.Errorf("a revoked key can be told from one that never was (-never +revoked):\n%s", diff)
	}
}

// told is what an answer tells apart from what is different in every answer.
func told(t *testing.T, a answer) any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		t.Fatalf("%v in %s", err, a.Body)
	}
	metadata, _ := body["metadata"].(map[string]any)
	delete(metadata, "requestId")
	delete(metadata, "timestamp")
	return map[string]any{"status": a.Status, "body": body, "headers": slices.Sorted(maps.Keys(a.Header))}
}

func TestASuspensionCanBeTakenBack(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{})
	account := c.server.NewAccount("First customer")
	key, who := c.server.NewAPIKey(account), c.server.NewLogin(account)
	token, pair := c.exchange(key).member(t, "data.token"), c.login(who)

	c.server.SuspendAccount(account)
	c.wants("a token", c.call(token), http.StatusUnauthorized)
	c.wants("a key", c.exchange(key), http.StatusBadRequest)
	c.wants("a login", c.login(who), http.StatusUnauthorized)
	c.wants("a refresh", c.refresh(pair.member(t, "data.refresh_token")), http.StatusUnauthorized)

	c.server.ResumeAccount(account)
	c.wants("a token, resumed", c.call(token), http.StatusOK)
	c.wants("a key, resumed", c.exchange(key), http.StatusCreated)
	c.wants("a refresh, resumed", c.refresh(pair.member(t, "data.refresh_token")), http.StatusOK)
}

func TestAnAllowlistShutsOutTokensThatAreOut(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{YAML: "trusted_proxies: [127.0.0.1]\n"})
	account := c.server.NewAccount("First customer")
	key := c.server.NewAPIKey(account)
	from := func(address string) answer {
		t.Helper()
		return c.send(http.MethodGet, "/authentication", "", "X-LIQUID-API-KEY", key.Identifier, "X-Forwarded-For", address)
	}
	token := from("203.0.113.7").member(t, "data.token")
	c.wants("from anywhere", c.call(token), http.StatusOK)

	c.server.AllowIP(account, "203.0.113.0/24", "2001:db8::/32")
	c.wants("from the list", from("203.0.113.7"), http.StatusCreated)
	c.wants("from the list, by IPv6", from("2001:db8::7"), http.StatusCreated)
	c.wants("from elsewhere", from("198.51.100.7"), http.StatusForbidden)
	c.wants("a token that was out, from elsewhere", c.call(token), http.StatusForbidden)

	c.server.AllowIP(account, "127.0.0.1")
	c.wants("the same token, allowed again", c.call(token), http.StatusOK)
}

func TestAServerGoesOnWhereAnotherStopped(t *testing.T) {
	dir, clock := t.TempDir(), new(gatehousetest.Clock)
	first := newCustomer(t, gatehousetest.Config{Dir: dir, Clock: clock})
	key := first.server.NewAPIKey(first.server.NewAccount("First customer"))
	token := first.exchange(key).member(t, "data.token")
	first.server.Stop()
	if !strings.Contains(first.server.Log(), `"msg":"stopping"`) {
		t.Errorf("the log does not say that it stopped:\n%s", first.server.Log())
	}

	c := newCustomer(t, gatehousetest.Config{Dir: dir, Clock: clock})
	c.wants("a token from before", c.call(token), http.StatusOK)
	c.wants("a key from before", c.exchange(key), http.StatusCreated)
	c.server.Stop() // so that the log is whole
	if strings.Contains(c.server.Log(), key.Identifier) || strings.Contains(c.server.Log(), token) {
		t.Error("the key or the token is in the log")
	}
}

func TestOperatorsHaveAnAddressOfTheirOwn(t *testing.T) {
	c := newCustomer(t, gatehousetest.Config{})
	for _, path := range []string{"/readyz", "/metrics"} {
		res, err := http.Get(c.server.AdminURL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s for operators: %d", path, res.StatusCode)
		}
	}
	c.wants("metrics for customers", c.send(http.MethodGet, "/metrics", ""), http.StatusNotFound)
}
