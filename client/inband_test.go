package client_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/client"
)

func inBand(c *client.Config) { c.RefreshInBand = true }

// post makes a call with a JSON body and returns what the API got, and the whole answer.
func post(t *testing.T, c *client.Client, url, body string, header ...string) (got, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var all bytes.Buffer
	var said struct{ Got string }
	if err := json.NewDecoder(io.TeeReader(res.Body, &all)).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return said.Got, all.String() // not read to its end: programs do not
}

// A client that asks in its calls does not present its key for thirty days.
func TestCallsAskForTheNextToken(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key(), inBand)
	const plain, asking = `{"id": "cart-1" }`, `{"id": "cart-1" ,"refresh":true}`
	if got, _ := post(t, c, h.URL+"/api/cart", plain); got != plain {
		t.Errorf("with a fresh token the API got %s", got)
	}
	last := token(t, c)
	h.wire.wants("the first call", exchanged, "POST /api/cart")
	renewed := 0
	for range 29 {
		h.Clock.Advance(24*time.Hour - 9*time.Minute)
		got, answer := post(t, c, h.URL+"/api/cart", plain)
		next := token(t, c)
		if got != asking || next == last || !strings.Contains(answer, next) {
			t.Fatalf("near its end the API got %s; a new token: %v", got, next != last)
		}
		h.alive(next)
		if got, _ := post(t, c, h.URL+"/api/cart", plain); got != plain {
			t.Errorf("with the new token the API got %s", got)
		}
		h.wire.wants("near its end", "POST /api/cart", "POST /api/cart")
		last = next
		renewed++
	}

	// After thirty days the server refuses, and the next call presents the key.
	for range 3 {
		h.Clock.Advance(24*time.Hour - 9*time.Minute)
		post(t, c, h.URL+"/api/cart", plain)
	}
	if got := h.wire.passed(); strings.Count(got, exchanged) != 1 {
		t.Errorf("what passed was %s", got)
	}
	t.Logf("%d renewals in band", renewed)
}

// Bodies that cannot ask, and calls that need not, are as they were; the key is exchanged when it is time.
func TestCallsThatDoNotAsk(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key(), inBand)
	token(t, c)
	h.Clock.Advance(24*time.Hour - 9*time.Minute)
	for _, one := range []struct {
		body   string
		header []string
	}{
		{`[{"id":1}]`, nil},
		{`{"id":1,"refresh":false}`, nil},
		{`{"id":1,"\u0072efresh":"no"}`, nil},
		{`{"id":1`, nil},
		{`{"id":1}x`, nil},
		{"{\"id\":\"\xff\"}", nil},
		{`{"id":1}`, []string{"Content-Type", "text/plain"}},
		{`{"id":1}`, []string{"Content-Digest", "sha-256=:x:"}},
		{`{"id":1}`, []string{"Content-Encoding", "identity"}},
		{``, nil},
	} {
		got, _ := post(t, c, h.URL+"/api/cart", one.body, one.header...)
		if want := strings.ToValidUTF8(one.body, "\ufffd"); got != want { // JSON cannot say otherwise
			t.Errorf("%q: the API got %q", one.body, got)
		}
	}
	if passed := h.wire.passed(); strings.Count(passed, exchanged) != 1 {
		t.Errorf("what passed was %s", passed)
	}
	get(t, c, h.URL+"/api/cart")
	h.wire.wants("a GET", "GET /api/cart")
	h.Clock.Advance(4 * time.Minute)
	get(t, c, h.URL+"/api/cart")
	h.wire.wants("a GET, when it is due", exchanged, "GET /api/cart")

	// A body that asks by itself gets its token taken over too.
	h.Clock.Advance(24*time.Hour - 9*time.Minute)
	before := token(t, c)
	const own = `{"refresh":true,"id":1}`
	if got, _ := post(t, c, h.URL+"/api/cart", own); got != own || token(t, c) == before {
		t.Errorf("it asks by itself: the API got %s", got)
	}

	// Off, and tokens of other contracts.
	who := h.login()
	for _, c := range []*client.Client{h.client(h.key()), h.client(who, inBand)} {
		token(t, c)
		h.Clock.Advance(24*time.Hour - 9*time.Minute)
		if got, _ := post(t, c, h.URL+"/api/cart", `{}`); got != `{}` {
			t.Errorf("the API got %s", got)
		}
	}
}

// What is called auth in an answer is taken over only if the gateway can have put it there.
func TestWhatIsNotTakenOver(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	jwt := func(kind, sub, sid string, exp time.Time) string {
		claims := fmt.Sprintf(`{"iss":"i","sub":%q,"cid":"c","sid":%q,"type":%q,"exp":%d}`, sub, sid, kind, exp.Unix())
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	auth := func(token, kind string, exp int64) string {
		return fmt.Sprintf(`{"x":1,"auth":{"token":%q,"type":%q,"exp":%d}}`, token, kind, exp)
	}
	expires := now.Add(24 * time.Hour)
	first, later := jwt("ACCESS_TOKEN", "1", "s", expires), expires.Add(23*time.Hour)
	good := jwt("ACCESS_TOKEN", "1", "s", later)
	for _, one := range []struct {
		what, body string
		taken      bool
	}{
		{"a good one", auth(good, "ACCESS_TOKEN", later.UnixMilli()), true},
		{"a good one, with space", "\n" + auth(good, "ACCESS_TOKEN", later.UnixMilli()) + " \n", true},
		{"another account's", auth(jwt("ACCESS_TOKEN", "2", "s", later), "ACCESS_TOKEN", later.UnixMilli()), false},
		{"another session's", auth(jwt("ACCESS_TOKEN", "1", "t", later), "ACCESS_TOKEN", later.UnixMilli()), false},
		{"another type", auth(jwt("ORDER_API", "1", "s", later), "ORDER_API", later.UnixMilli()), false},
		{"another type than it says", auth(jwt("ORDER_API", "1", "s", later), "ACCESS_TOKEN", later.UnixMilli()), false},
		{"another expiry than it says", auth(good, "ACCESS_TOKEN", later.UnixMilli()+1000), false},
		{"seconds", auth(good, "ACCESS_TOKEN", later.Unix()), false},
		{"half a second", auth(good, "ACCESS_TOKEN", later.UnixMilli()+500), false},
		{"no longer life", auth(jwt("ACCESS_TOKEN", "1", "s", expires), "ACCESS_TOKEN", expires.UnixMilli()), false},
		{"no token", auth("nonsense", "ACCESS_TOKEN", later.UnixMilli()), false},
		{"a line end", auth(good+"\n", "ACCESS_TOKEN", later.UnixMilli()), false},
		{"deeper", `{"data":` + auth(good, "ACCESS_TOKEN", later.UnixMilli()) + `}`, false},
		{"in a list", `[` + auth(good, "ACCESS_TOKEN", later.UnixMilli()) + `]`, false},
		{"another name", strings.Replace(auth(good, "ACCESS_TOKEN", later.UnixMilli()), "auth", "Auth", 1), false},
		{"broken off", strings.TrimSuffix(auth(good, "ACCESS_TOKEN", later.UnixMilli()), "}"), false},
		{"endless", `{"x":"` + strings.Repeat("x", 1<<20) + `",` + auth(good, "ACCESS_TOKEN", later.UnixMilli())[7:], false},
		{"nothing", `{"auth":null}`, false},
	} {
		w := newWire(t, nil)
		w.on(func(req *http.Request) (*http.Response, error) {
			date := now.Format(http.TimeFormat)
			if req.URL.Path == "/authentication" {
				return says(201, `{"statusCode":200,"data":`+auth(first, "ACCESS_TOKEN", expires.UnixMilli())[len(`{"x":1,"auth":`):], "Date", date), nil
			}
			return says(200, one.body, "Date", date), nil
		})
		clock := now
		c := newClient(t, client.Config{
			BaseURL: "https://auth.example", Credential: client.APIKey{Key: client.NewSecret("k")}, Transport: w, RefreshInBand: true,
			Now: func() time.Time { return clock },
		})
		token(t, c)
		clock = expires.Add(-8 * time.Minute)
		res, err := c.HTTPClient().Post("https://auth.example/x", "application/json", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(got) != one.body {
			t.Errorf("%s: the body is not as it was", one.what)
		}
		want := first
		if one.taken {
			want = good
		}
		if token(t, c) != want {
			t.Errorf("%s: taken over is not %v", one.what, one.taken)
		}
	}
}

func TestAddRefresh(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                       `{"refresh":true}`,
		" { }\n":                   " { \"refresh\":true}\n",
		`{"a":{"refresh":true}}`:   `{"a":{"refresh":true},"refresh":true}`,
		`{"Refresh":true}`:         `{"Refresh":true,"refresh":true}`,
		`{"a":"}"}`:                `{"a":"}","refresh":true}`,
		`{"a":1e400,"a":"\ud800"}`: `{"a":1e400,"a":"\ud800","refresh":true}`,
		`{"refresh":true}`:         "",
		`{"ref\u0072esh":null}`:    "",
		`[]`:                       "",
		`null`:                     "",
		``:                         "",
		`{`:                        "",
		`{}{}`:                     "",
		"\ufeff{}":                 "",
		"{\"a\":\"\xff\"}":         "",
	} {
		got, ok := client.AddRefresh([]byte(body))
		if ok != (want != "") || ok && string(got) != want || !ok && string(got) != body {
			t.Errorf("%s became %s, %v", body, got, ok)
		}
	}
}

// FuzzAddRefresh: what comes out is what went in, with one member more, and that member is one the gateway sees.
func FuzzAddRefresh(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,{"b":"}"}]} `, `{"refresh":1}`, `{"ref\u0072esh":true}`, `[]`, ``, "{\"\xff\":1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		got, ok := client.AddRefresh(body)
		if string(body) != before {
			t.Fatal("it writes to what it was given")
		}
		if !ok {
			if string(got) != before {
				t.Fatal("it says no and changes it")
			}
			return
		}
		i := bytes.LastIndex(got, []byte(`"refresh":true`))
		if i < 0 {
			t.Fatalf("%q became %q", before, got)
		}
		rest := string(got[i+len(`"refresh":true`):])
		head, comma := strings.CutSuffix(string(got[:i]), ",")
		if head+rest != before || strings.TrimLeft(rest, " \t\r\n") == "" || rest[0] != '}' || strings.TrimLeft(rest[1:], " \t\r\n") != "" {
			t.Fatalf("%q became %q", before, got)
		}
		var was, is map[string]any
		if json.Unmarshal([]byte(before), &was) != nil || json.Unmarshal(got, &is) != nil {
			// A number too large for Go: the gateway does not value them.
			if !json.Valid(got) || !json.Valid([]byte(before)) {
				t.Fatalf("%q became %q", before, got)
			}
			return
		}
		if len(is) != len(was)+1 || is["refresh"] != true || comma != (len(was) > 0) {
			t.Fatalf("%q became %q", before, got)
		}
		if _, again := client.AddRefresh(got); again {
			t.Fatalf("%q takes a second one", got)
		}
	})
}
