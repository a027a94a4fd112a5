package gateway

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// member is what a fakeGate's token looks like in an answer.
const member = `"auth":{"token":"new-for-cred00000001","type":"ACCESS_TOKEN","exp":1722920383000}`

// renewing opens a house with one route, for tokens of contract 1.
func renewing(t testing.TB, answer http.HandlerFunc, change ...func(*Config)) *house {
	t.Helper()
	route := protected("/api/")
	route.Accepts, route.Contract = []verify.Type{verify.AccessToken, verify.B2BAccess}, auth.Liquid
	h := newHouse(t, newAPI(t, answer), []Route{route}, change...)
	h.gate.kind = verify.AccessToken
	return h
}

// eachProtocol runs a test with a client that speaks HTTP/1.1 and one that speaks HTTP/2.
func (h *house) eachProtocol(t *testing.T, test func(t *testing.T, send func(*http.Request) *http.Response)) {
	s := h.http2()
	over2 := s.Client().Transport.(*http.Transport).Clone()
	over1 := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32}
	over2.DisableCompression = true
	t.Cleanup(func() { over1.CloseIdleConnections(); over2.CloseIdleConnections() })
	for _, p := range []struct {
		name, base string
		transport  *http.Transport
		major      int
	}{{"HTTP1", h.URL, over1, 1}, {"HTTP2", s.URL, over2, 2}} {
		t.Run(p.name, func(t *testing.T) {
			h.t = t
			test(t, func(r *http.Request) *http.Response {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // so that a test that hangs fails
				t.Cleanup(cancel)
				r = r.Clone(ctx)
				var err error
				if r.URL, err = r.URL.Parse(p.base + r.URL.RequestURI()); err != nil {
					t.Fatal(err)
				}
				r.Host, r.RequestURI = "", ""
				res, err := p.transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = res.Body.Close() })
				if res.ProtoMajor != p.major {
					t.Fatalf("the answer is HTTP/%d", res.ProtoMajor)
				}
				return res
			})
		})
	}
}

// call is a request with a good token and a body of JSON.
func newCall(method string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, "/api/x", body)
	r.Header = http.Header{"Authorization": {"Bearer good"}, "Content-Type": {"application/json"}, "Accept-Encoding": {"br"}}
	return r
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the answer's body: %v", err)
	}
	return string(body)
}

const ask = `{"id":7,"refresh":true}`

func TestANewTokenInBand(t *testing.T) {
	h := renewing(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, value := range wholeBody {
			w.Header().Set(name, value)
		}
		w.Header().Set("Content-Type", "Application/JSON; charset=utf-8")
		w.Header().Set("X-Auth-Refresh", "theirs")
		w.Header().Set("X-Own", "1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "{\"big\": 9007199254740993,\n \"big\": 1} \n")
	})
	h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
		res := send(newCall("POST", strings.NewReader(ask)))
		want := "{\"big\": 9007199254740993,\n \"big\": 1," + member + "} \n"
		if got := text(t, res); got != want || res.StatusCode != http.StatusCreated {
			t.Errorf("got %d %s, want %s", res.StatusCode, got, want)
		}
		for name := range res.Header {
			if _, gone := wholeBody[name]; (gone || name == headerRenewal) && name != "Cache-Control" {
				t.Errorf("the answer has %s: %q", name, res.Header[name])
			}
		}
		if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Own") != "1" {
			t.Errorf("the answer has %v", res.Header)
		}
		if n := res.ContentLength; n >= 0 && n != int64(len(want)) {
			t.Errorf("the answer says that it has %d bytes", n)
		}
		o := h.observed()
		if o.Did != auth.DidVerify || o.Status != http.StatusCreated || o.Reason != "" || o.Err != nil || o.Bytes != int64(len(want)) {
			t.Errorf("observed %+v", o)
		}
	})
	if n := h.gate.renewals; n != 2 {
		t.Errorf("the gate was asked %d times, want once a call", n)
	}
}

// wholeBody are headers that an answer loses when it may get a member, as an API sends them.
var wholeBody = map[string]string{
	"Etag": `"1"`, "Content-Md5": "x", "Digest": "sha-256=x", "Content-Digest": "sha-256=:x:", "Repr-Digest": "sha-256=:x:",
	"Accept-Ranges": "bytes", "Cache-Control": "public, max-age=60",
}

// What asks and what cannot. Whoever cannot ask finds the call untouched, both ways.
func TestCallsThatAsk(t *testing.T) {
	h := renewing(t, nil)
	h.api.answer = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("X-Encoding", strings.Join(r.Header["Accept-Encoding"], "|"))
		_, _ = fmt.Fprintf(w, `{"got":%q}`, body)
	}
	for _, c := range []struct {
		name    string
		body    string
		headers []string // name and value, ""  takes it away
		kind    verify.Type
		may     bool
		asks    bool
	}{
		{name: "asks", body: ask, may: true, asks: true},
		{name: "a parameter", body: ask, headers: []string{"Content-Type", "application/json ; charset=utf-8"}, may: true, asks: true},
		{name: "a kind of JSON", body: ask, headers: []string{"Content-Type", "application/vnd.liquid.v1+JSON"}, may: true, asks: true},
		{name: "false", body: `{"refresh":false}`, may: true},
		{name: "not JSON after all", body: `refresh=true`, may: true},
		{name: "another type of token", body: ask, kind: verify.B2BAccess},
		{name: "text", body: ask, headers: []string{"Content-Type", "text/json"}},
		{name: "a form", body: "refresh=true", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{name: "lines", body: ask, headers: []string{"Content-Type", "application/jsonl"}},
		{name: "nothing but a suffix", body: ask, headers: []string{"Content-Type", "application/+json"}},
		{name: "two in one", body: ask, headers: []string{"Content-Type", "application/x, text/x+json"}},
		{name: "no type", body: ask, headers: []string{"Content-Type", ""}},
		{name: "two types", body: ask, headers: []string{"Content-Type", "application/json", "Content-Type", "application/json"}},
		{name: "encoded", body: ask, headers: []string{"Content-Encoding", "gzip"}},
		{name: "no body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.gate.kind = c.kind
			if c.kind == "" {
				h.gate.kind = verify.AccessToken
			}
			h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
				for _, streamed := range []bool{false, true} {
					r := newCall("PUT", strings.NewReader(c.body))
					if c.body == "" {
						r.Body = http.NoBody
					}
					if streamed && c.body != "" { // of unknown length, and in pieces
						r.ContentLength = -1
						r.Body = io.NopCloser(&slow{[]byte(c.body)})
					}
					if len(c.headers) > 0 {
						r.Header.Del(c.headers[0])
					}
					for i := 0; i < len(c.headers) && c.headers[i+1] != ""; i += 2 {
						r.Header.Add(c.headers[i], c.headers[i+1])
					}
					res := send(r)
					want := fmt.Sprintf(`{"got":%q}`, c.body)
					if c.asks {
						want = strings.TrimSuffix(want, "}") + "," + member + "}"
					}
					if got := text(t, res); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
					encoding := "br"
					if c.may {
						encoding = "identity"
					}
					if got := res.Header.Get("X-Encoding"); got != encoding {
						t.Errorf("the API got Accept-Encoding %q, want %q", got, encoding)
					}
					if touched := res.Header.Get("Etag") == ""; touched != c.asks {
						t.Errorf("touched is %v: %v", touched, res.Header)
					}
				}
			})
		})
	}
}

// slow is read two bytes at a time.
type slow struct{ rest []byte }

func (s *slow) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(2, len(p))], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Every kind of answer to a call that asks.
func TestAnswersThatCarryIt(t *testing.T) {
	object := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header()["Content-Type"] = []string{contentType}
			if contentType == "" {
				w.Header()["Content-Type"] = nil
			}
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	plain := func(body string) http.HandlerFunc { return object(200, "application/json", body) }
	pieces := func(between func(w http.ResponseWriter), parts ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			for _, part := range parts {
				_, _ = io.WriteString(w, part)
				between(w)
			}
		}
	}
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	var zipped strings.Builder
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"a":1}`)
	_ = z.Close()

	const refusal, untouched, searched = "X-Auth-Refresh: unavailable", `Etag: "1"`, "Cache-Control: no-store"
	for _, c := range []struct {
		name   string
		method string // POST
		api    http.HandlerFunc
		want   string
		header string
	}{
		{"an object", "", plain(`{"a":1}`), `{"a":1,` + member + `}`, searched},
		{"an empty one", "", plain(`{}`), `{` + member + `}`, searched},
		{"an empty one with space", "", plain(" { \n} "), " { \n" + member + "} ", searched},
		{"nested ones", "", plain(`{"a":{"auth":{"b":[{}]}},"c":"}"}`), `{"a":{"auth":{"b":[{}]}},"c":"}",` + member + `}`, searched},
		{"another's case", "", plain(`{"Auth":1}`), `{"Auth":1,` + member + `}`, searched},
		{"an error", "", object(422, "application/problem+json; charset=utf-8", `{"a":1}`), `{"a":1,` + member + `}`, searched},
		{"a failure", "", object(500, "application/json", `{"a":1}`), `{"a":1,` + member + `}`, searched},
		{"a redirection", "", object(302, "application/json", `{"a":1}`), `{"a":1,` + member + `}`, searched},
		{"to GET", "GET", plain(`{"a":1}`), `{"a":1,` + member + `}`, searched},
		{"in pieces", "", pieces(flush, "{\"a\"", ":[1,2", "]", "}", " ", "\n"), "{\"a\":[1,2]," + member + "} \n", searched},
		{"all white space that fits", "", plain(`{"a":1}` + strings.Repeat(" ", mostHeld)), `{"a":1,` + member + `}` + strings.Repeat(" ", mostHeld), searched},
		{"deep", "", plain(`{"a":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`), `{"a":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `,` + member + `}`, searched},
		{"large", "", plain(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`), `{"a":"` + strings.Repeat("x", 1<<20) + `",` + member + `}`, searched},

		{"its own", "", plain(`{"auth":1}`), `{"auth":1}`, searched},
		{"its own, escaped", "", plain(`{"a":1,"\u0061ut\u0068":null}`), `{"a":1,"\u0061ut\u0068":null}`, searched},
		{"an array", "", plain(`[{"a":1}]`), `[{"a":1}]`, searched},
		{"a string", "", plain(`"}"`), `"}"`, searched},
		{"nothing", "", plain(``), ``, searched},
		{"two objects", "", plain(`{"a":1}{"b":2}`), `{"a":1}{"b":2}`, searched},
		{"two objects, in pieces", "", pieces(flush, `{"a":1}`, "\n", `{"b":2}`, "\n"), "{\"a\":1}\n{\"b\":2}\n", searched},
		{"cut off", "", plain(`{"a":1`), `{"a":1`, searched},
		{"broken", "", plain(`{"a":1,}`), `{"a":1,}`, searched},
		{"in another encoding", "", plain("{\"a\":\"\xe9\"}"), "{\"a\":\"\xe9\"}", searched},
		{"with a mark", "", plain("\xef\xbb\xbf{}"), "\xef\xbb\xbf{}", searched},
		{"too much white space", "", plain(`{}` + strings.Repeat(" ", mostHeld+1)), `{}` + strings.Repeat(" ", mostHeld+1), searched},
		{"far too much", "", plain(`{}` + strings.Repeat("\n", 200_000)), `{}` + strings.Repeat("\n", 200_000), searched},
		{"too deep", "", plain(`{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`), `{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`, searched},

		{"HEAD", "HEAD", plain(`{"a":1}`), ``, refusal + "\n" + untouched},
		{"no content", "", object(204, "application/json", ""), ``, refusal + "\n" + untouched},
		{"reset content", "", object(205, "application/json", ""), ``, refusal + "\n" + untouched},
		{"a part", "", object(206, "application/json", `{"a":1}`), `{"a":1}`, refusal + "\n" + untouched},
		{"not modified", "", object(304, "application/json", ``), ``, refusal + "\n" + untouched},
		{"a page", "", object(200, "text/html", `{"a":1}`), `{"a":1}`, refusal + "\n" + untouched},
		{"of no type", "", object(200, "", `{"a":1}`), `{"a":1}`, refusal + "\n" + untouched},
		{"events", "", object(200, "text/event-stream", "data: {}\n\n"), "data: {}\n\n", refusal + "\n" + untouched},
		{"lines", "", object(200, "application/x-ndjson", "{}\n"), "{}\n", refusal + "\n" + untouched},
		{"zipped all the same", "", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			plain(zipped.String())(w, r)
		}, zipped.String(), refusal + "\n" + untouched + "\nContent-Encoding: gzip"},
		{"after a hint", "", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			plain(`{"a":1}`)(w, r)
		}, `{"a":1,` + member + `}`, searched},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := renewing(t, c.api)
			h.eachProtocol(t, func(t *testing.T, send func(*http.Request) *http.Response) {
				method := c.method
				if method == "" {
					method = "POST"
				}
				res := send(newCall(method, strings.NewReader(ask)))
				if got := text(t, res); got != c.want {
					t.Errorf("got %.300q, want %.300q", got, c.want)
				}
				for line := range strings.Lines(c.header) {
					name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
					if got := res.Header.Get(name); got != value {
						t.Errorf("%s is %q, want %q", name, got, value)
					}
				}
				if strings.Contains(c.header, refusal) != (res.Header.Get(headerRenewal) != "") {
					t.Errorf("X-Auth-Refresh: %q", res.Header[headerRenewal])
				}
				if n := res.Header.Get("Content-Length"); n != "" && method != "HEAD" && n != fmt.Sprint(len(c.want)) {
					t.Errorf("Content-Length: %s", n)
				}
			})
		})
	}
}
