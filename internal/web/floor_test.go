package web_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// says is a way to refuse that names itself, the status and the reason.
func says(name string) web.Refuse {
	return func(w http.ResponseWriter, r *web.Request, err error) {
		f := web.Fail(w.Header(), r, err)
		_ = web.Reply(w, f.Status, fmt.Appendf(nil, `"%s %d %s"`, name, f.Status, f.Cause.Reason))
	}
}

var fallbacks = []web.Fallback{
	{Prefix: "/oauth/", Contract: auth.OAuth2, Refuse: says("oauth")},
	{Prefix: "/auth/", Contract: auth.B2B, Refuse: says("b2b")},
	{Contract: auth.Liquid, Refuse: says("liquid")},
}

func ok(w http.ResponseWriter, r *web.Request) error {
	return web.Reply(w, http.StatusOK, web.AppendJSON(nil, r.Path+"?"+r.RawQuery+" "+r.URL.String()))
}

func get(h web.Handler) map[string]web.Handler { return map[string]web.Handler{"GET": h} }

func TestOwnAddressesComeBeforeRoutes(t *testing.T) {
	s := webtest.Serve(t, web.Config{
		Own: []web.Address{
			{Path: "/own", Methods: map[string]web.Handler{"GET": ok, "POST": ok}, Contract: auth.Orders, Refuse: says("own"), Did: auth.DidExchange},
			{Path: "/auth/plain", Methods: get(ok)},
		},
		Next: func(w http.ResponseWriter, r *web.Request) error {
			r.Seen.Route = "/"
			_, _ = io.WriteString(w, "route "+r.URL.EscapedPath())
			return nil
		},
		Fallbacks: fallbacks,
	})
	for _, c := range []struct {
		request  string
		status   int
		body     string
		contract auth.Contract
		route    string
		did      string
	}{
		{"GET /own", 200, `"/own? /own"`, auth.Orders, "/own", auth.DidExchange},
		{"POST /%6fwn?a=%2f", 200, `"/own?a=%2f /own?a=%2f"`, auth.Orders, "/own", auth.DidExchange},
		{"HEAD /own", 405, "", auth.Orders, "/own", auth.DidExchange},
		{"DELETE /own", 405, `"own 405 malformed"`, auth.Orders, "/own", auth.DidExchange},
		{"GET /own/", 200, "route /own/", auth.Liquid, "/", auth.DidOther},
		{"GET /Own", 200, "route /Own", auth.Liquid, "/", auth.DidOther},
		{"GET /own/more", 200, "route /own/more", auth.Liquid, "/", auth.DidOther},
		{"GET /caf%c3%a9%3Bx", 200, "route /caf%C3%A9%3Bx", auth.Liquid, "/", auth.DidOther},
		{"GET /auth/plain", 200, `"/auth/plain? /auth/plain"`, auth.B2B, "/auth/plain", auth.DidOther},
		{"PUT /auth/plain", 405, `"b2b 405 malformed"`, auth.B2B, "/auth/plain", auth.DidOther},
		{"GET /own/../own", 400, `"liquid 400 malformed"`, auth.Liquid, "", auth.DidOther},
		{"GET /auth/%2e%2e/own", 400, `"b2b 400 malformed"`, auth.B2B, "", auth.DidOther},
		{"GET /oauth//token", 400, `"oauth 400 malformed"`, auth.OAuth2, "", auth.DidOther},
		{"OPTIONS *", 400, `"liquid 400 malformed"`, auth.Liquid, "", auth.DidOther},
		{"GET http://api.example.org/own", 400, `"liquid 400 malformed"`, auth.Liquid, "", auth.DidOther},
		{"CONNECT example.org:443", 400, `"liquid 400 malformed"`, auth.Liquid, "", auth.DidOther},
	} {
		a := s.Send(t, c.request)
		if a.Status != c.status || a.Body != c.body {
			t.Errorf("%s: %d %s, want %d %s", c.request, a.Status, a.Body, c.status, c.body)
		}
		if a.Seen.Contract != c.contract || a.Seen.Route != c.route || a.Seen.Did != c.did {
			t.Errorf("%s: observed %q %q %q", c.request, a.Seen.Contract, a.Seen.Route, a.Seen.Did)
		}
	}
	if a := s.Send(t, "DELETE /own"); a.Header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow: %q", a.Header["Allow"])
	}
}

// An address can be all that lies under a path, and answer every method.
func TestAnAddressThatIsAPrefix(t *testing.T) {
	s := webtest.Serve(t, web.Config{
		Own: []web.Address{
			{Path: "/own", Prefix: true, Any: ok, Methods: map[string]web.Handler{"DELETE": func(http.ResponseWriter, *web.Request) error { return auth.ErrOverloaded }}},
			{Path: "/own/longer", Prefix: true, Methods: get(ok), Refuse: says("longer")},
			{Path: "/own/exact", Methods: get(ok)},
		},
		Next:      func(http.ResponseWriter, *web.Request) error { return &web.StatusError{Status: 404} },
		Fallbacks: fallbacks,
	})
	for _, c := range []struct {
		request string
		status  int
		body    string
		route   string
	}{
		{"GET /own", 200, `"/own? /own"`, "/own"},
		{"HEAD /own/", 200, "", "/own"},
		{"BREW /%6fwn/a%2fb/c", 400, `"liquid 400 malformed"`, ""},
		{"BREW /%6fwn/%61/c/?x", 200, `"/own/a/c/?x /own/a/c/?x"`, "/own"},
		{"POST /own;x/a", 404, `"liquid 404 no_route"`, ""},
		{"POST /own/auth/login", 200, `"/own/auth/login? /own/auth/login"`, "/own"},
		{"DELETE /own/a", 503, `"liquid 503 overloaded"`, "/own"},
		{"GET /own/longer", 200, `"/own/longer? /own/longer"`, "/own/longer"},
		{"GET /own/longer/x", 200, `"/own/longer/x? /own/longer/x"`, "/own/longer"},
		{"POST /own/longer/x", 405, `"longer 405 malformed"`, "/own/longer"},
		{"POST /own/longerx", 200, `"/own/longerx? /own/longerx"`, "/own"},
		{"POST /own/exact", 405, `"liquid 405 malformed"`, "/own/exact"},
		{"POST /own/exact/x", 200, `"/own/exact/x? /own/exact/x"`, "/own"},
		{"GET /ownx", 404, `"liquid 404 no_route"`, ""},
		{"GET /", 404, `"liquid 404 no_route"`, ""},
	} {
		a := s.Send(t, c.request)
		if a.Status != c.status || a.Body != c.body || a.Seen.Route != c.route {
			t.Errorf("%s: %d %s at %q, want %d %s at %q", c.request, a.Status, a.Body, a.Seen.Route, c.status, c.body, c.route)
		}
	}
}

// Whom an address is not there for sees what he would see where there is none.
func TestAnAddressThatIsNotForEverybody(t *testing.T) {
	mine := func(r *web.Request) bool { return r.Header.Get("Mine") != "" }
	s := webtest.Serve(t, web.Config{
		Own: []web.Address{
			{Path: "/own", Prefix: true, From: mine, Methods: get(ok), Refuse: says("own"), Contract: auth.B2B, Limited: true, Did: auth.DidVerify},
		},
		Attempt:   func(*auth.Caller) error { t.Error("it was an attempt"); return nil },
		CORS:      web.CORS{Origins: []string{"https://a"}, Methods: func(*web.Request) (route, methods string) { return }},
		Next:      func(http.ResponseWriter, *web.Request) error { return &web.StatusError{Status: 404} },
		Fallbacks: fallbacks,
	})
	for _, request := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
		known, unknown := s.Send(t, request+" /own\nOrigin: https://a"), s.Send(t, request+" /owl\nOrigin: https://a")
		if known.Status != 404 || known.Body != unknown.Body || !maps.EqualFunc(known.Header, unknown.Header, slices.Equal) || known.Seen.Route != "" || known.Seen.Did != auth.DidOther || known.Seen.Contract != auth.Liquid {
			t.Errorf("%s: got %d %s %v, observed %+v", request, known.Status, known.Body, known.Header, known.Seen)
		}
	}
}

// A request about another call is told of as that call, and refused in the words that belong there.
func TestARequestAboutAnotherCall(t *testing.T) {
	s := webtest.Serve(t, web.Config{
		Own: []web.Address{{Path: "/ask", Refuse: says("ask"), Did: auth.DidVerify, Methods: get(func(_ http.ResponseWriter, r *web.Request) error {
			err := r.About(r.Header.Get("Method"), r.Header.Get("About"), r.Header.Get("Target"))
			if r.Method != "GET" || r.URL.Path != "/ask" || r.Host != "api.example.org" {
				t.Errorf("what was sent is now %s %s %s", r.Method, r.Host, r.URL)
			}
			if want := r.Header.Get("Want"); r.Path != want || err != nil && r.RawQuery != "" || err == nil && r.RawQuery != "q=1" {
				t.Errorf("got %q and %q, want %q", r.Path, r.RawQuery, want)
			}
			return cmp.Or(err, error(auth.ErrInsufficientScope))
		})}},
		Fallbacks: fallbacks,
	})
	for _, c := range []struct {
		target, path string // path as it is asked about, "" if it is refused
		seen, body   string
		contract     auth.Contract
	}{
		{"/%61pi/x?q=1", "/api/x", "/api/x", `"liquid 403 insufficient_scope"`, auth.Liquid},
		{"/auth/x?q=1", "/auth/x", "/auth/x", `"b2b 403 insufficient_scope"`, auth.B2B},
		{"/auth/../x?q=1", "", "/auth/../x", `"b2b 400 malformed"`, auth.B2B},
		{"http://a/oauth/", "", "http://a/oauth/", `"liquid 400 malformed"`, auth.Liquid},
		{"", "", "", `"liquid 400 malformed"`, auth.Liquid},
	} {
		a := s.Send(t, "GET /ask?own=1\nMethod: POST\nAbout: other.example.org\nTarget: "+c.target+"\nWant: "+c.path)
		from := a.Seen.Caller
		if a.Body != c.body || from.Method != "POST" || from.Host != "other.example.org" || from.Path != c.seen ||
			a.Seen.Contract != c.contract || a.Seen.Route != "" || a.Seen.Did != auth.DidVerify {
			t.Errorf("%s: got %s, observed %+v", c.target, a.Body, a.Seen)
		}
	}
}

// An answer can stand for another status, which is the one that is told of.
func TestAnAnswerThatStandsForAnotherStatus(t *testing.T) {
	var seen auth.Observation
	f, err := web.New(web.Config{
		Next: func(w http.ResponseWriter, r *web.Request) error {
			r.Seen.Status = http.StatusTooManyRequests
			w.WriteHeader(http.StatusForbidden)
			return nil
		},
		Resolve: func(*http.Request) (a, b netip.Addr, c string) { return }, Fallbacks: fallbacks,
		Observe: func(o *auth.Observation) { seen = *o },
	})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	f.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if rec.Code != http.StatusForbidden || seen.Status != http.StatusTooManyRequests {
		t.Errorf("answered %d, observed %d", rec.Code, seen.Status)
	}
}

// Where no route matches, the path alone says whose words the answer is in.
func TestFallbacks(t *testing.T) {
	s := webtest.Serve(t, web.Config{Fallbacks: fallbacks})
	for path, want := range map[string]string{
		"/oauth/token": "oauth", "/oauth/": "oauth", "/oauth": "liquid", "/auth/login": "b2b", "/auth/": "b2b", "/auth": "liquid",
		"/authentication": "liquid", "/": "liquid", "/x/auth/": "liquid", "/%61uth/x": "b2b", "/AUTH/x": "liquid",
	} {
		if a := s.Send(t, "GET "+path); a.Status != 404 || a.Body != `"`+want+` 404 no_route"` {
			t.Errorf("%s: %d %s, want %s", path, a.Status, a.Body, want)
		}
	}
}

// A route brings its own words.
func TestARouteSaysWhoRefuses(t *testing.T) {
	s := webtest.Serve(t, web.Config{Fallbacks: fallbacks, Next: func(_ http.ResponseWriter, r *web.Request) error {
		r.Refuse, r.Seen.Contract = says("route"), auth.B2B
		if r.Path == "/panic" {
			panic("canary")
		}
		return auth.ErrInsufficientScope
	}})
	if a := s.Send(t, "GET /x"); a.Body != `"route 403 insufficient_scope"` || a.Seen.Contract != auth.B2B {
		t.Errorf("got %s, %q", a.Body, a.Seen.Contract)
	}
	if a := s.Send(t, "GET /panic"); a.Body != `"route 500 "` {
		t.Errorf("got %s", a.Body)
	}
}

func TestTheCaller(t *testing.T) {
	address, peer := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.0.0.1")
	long := strings.Repeat("x", 300)
	s := webtest.Serve(t, web.Config{
		Fallbacks: fallbacks,
		Resolve: func(r *http.Request) (netip.Addr, netip.Addr, string) {
			return address, peer, r.Header.Get("X-Forwarded-For")
		},
	})
	a := s.Send(t, "PATCH /"+long+"?secret\nUser-Agent: curl\u202e é 🔑\xff\nX-Forwarded-For: "+long+", 203.0.113.9")
	want := auth.Caller{
		Address: address, Peer: peer, Forwarded: long[:256], UserAgent: "curl\ufffd é 🔑\ufffd", RequestID: a.RequestID,
		Method: "PATCH", Host: "api.example.org", Path: "/" + long[:255],
	}
	if a.Seen.Caller != want {
		t.Errorf("got %+v\nwant %+v", a.Seen.Caller, want)
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "curl/8.5": "curl/8.5", "a\nb": "a\ufffdb", "\x1b[31m": "\ufffd[31m", "é🔑": "é🔑", "\xff": "\ufffd", "\u2028": "\ufffd", "\u202e": "\ufffd",
		"\x7f": "\ufffd", strings.Repeat("a", 256): strings.Repeat("a", 256), strings.Repeat("a", 257): strings.Repeat("a", 256),
		strings.Repeat("a", 255) + "é": strings.Repeat("a", 255),
	} {
		if got := web.Printable(s); got != want {
			t.Errorf("Printable(%q) = %q, want %q", s, got, want)
		}
	}
}

// The head of an answer, and even a part of its body, went out before it failed: nobody may take it for a whole one.
func TestAnAnswerThatFailsHalfWay(t *testing.T) {
	half := func(w http.ResponseWriter, _ *web.Request) error {
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		return errors.New("canary")
	}
	paths := map[string]web.Handler{
		"/error": half,
		"/panic": func(w http.ResponseWriter, r *web.Request) error { _ = half(w, r); panic("canary") },
		"/abort": func(w http.ResponseWriter, r *web.Request) error { _ = half(w, r); panic(http.ErrAbortHandler) },
	}
	for path, h := range paths {
		seen := make(chan auth.Observation, 1)
		s := webtest.Serve(t, web.Config{
			Own: []web.Address{{Path: path, Methods: get(h)}}, Fallbacks: fallbacks, Observe: func(o *auth.Observation) { seen <- *o },
		})
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		if err == nil || string(body) != "half" {
			t.Errorf("%s: read %q, %v", path, body, err)
		}
		_ = conn.Close()
		o := <-seen
		if o.Status != 200 || o.Bytes != 4 || path != "/abort" && (o.Err == nil || !strings.Contains(o.Err.Error(), "canary")) {
			t.Errorf("%s: observed %d, %d bytes, %v", path, o.Status, o.Bytes, o.Err)
		}
	}
}

func TestAnAbortBeforeTheHead(t *testing.T) {
	seen := make(chan auth.Observation, 1)
	s := webtest.Serve(t, web.Config{
		Fallbacks: fallbacks, Observe: func(o *auth.Observation) { seen <- *o },
		Next: func(http.ResponseWriter, *web.Request) error { panic(http.ErrAbortHandler) },
	})
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if all, _ := io.ReadAll(conn); len(all) != 0 {
		t.Errorf("got %q", all)
	}
	if o := <-seen; o.Status != 0 {
		t.Errorf("observed %d", o.Status)
	}
}

// Words that panic themselves must not take the server with them.
func TestARefusalThatPanics(t *testing.T) {
	s := webtest.Serve(t, web.Config{Fallbacks: []web.Fallback{{Refuse: func(http.ResponseWriter, *web.Request, error) { panic("canary") }}}})
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if all, _ := io.ReadAll(conn); len(all) != 0 {
		t.Errorf("got %q", all)
	}
}

func TestAnObservation(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	clock := at
	limit := auth.Limit{Name: "a", Quota: 10, Remaining: 1}
	about := auth.Subject{Account: 100001}
	s := webtest.Serve(t, web.Config{
		Own: []web.Address{{Path: "/own", Limited: true, Methods: get(func(http.ResponseWriter, *web.Request) error {
			clock = clock.Add(3 * time.Second)
			e := auth.ErrBadToken.Because(auth.ReasonTokenExpired).Of(about).With(auth.Limit{Name: "b", Quota: 10, Remaining: 5})
			e.IssuedAt = at.Add(-time.Hour)
			return fmt.Errorf("verify: %w", e)
		})}},
		Attempt:   func(from *auth.Caller) error { from.Limit = limit; return nil },
		Fallbacks: fallbacks, Now: func() time.Time { return clock },
	})
	o := s.Send(t, "GET /own").Seen
	if !o.At.Equal(at) || o.Duration != 3*time.Second || o.Reason != auth.ReasonTokenExpired || o.Subject != about || o.Limit != limit ||
		!o.IssuedAt.Equal(at.Add(-time.Hour)) || o.Bytes != int64(len(`"liquid 401 token_expired"`)) || o.Err != nil {
		t.Errorf("observed %+v", o)
	}
}

// Tokens are dated by the floor's clock, and so is the answer that brings them.
func TestDateIsOfTheFloorsClock(t *testing.T) {
	clock := time.Date(2026, 11, 22, 9, 0, 0, 5e8, time.UTC)
	f, err := web.New(web.Config{
		Own: []web.Address{{Path: "/own", Methods: get(func(w http.ResponseWriter, r *web.Request) error {
			if r.RawQuery != "" {
				w.Header().Set("Date", "Mon, 01 Jan 2001 00:00:00 GMT") // an API's
			}
			return web.Reply(w, 200, []byte("{}"))
		})}},
		Fallbacks: fallbacks, Now: func() time.Time { return clock },
		Resolve: func(*http.Request) (a, b netip.Addr, c string) { return },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		target, want string
	}{
		{"/own", "Sun, 22 Nov 2026 09:00:00 GMT"},
		{"/nowhere", "Sun, 22 Nov 2026 09:00:01 GMT"},
		{"/own?api", "Mon, 01 Jan 2001 00:00:00 GMT"},
	} {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest("GET", c.target, nil))
		if got := w.Header()["Date"]; len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: Date %q, want %q", c.target, got, c.want)
		}
		clock = clock.Add(time.Second)
	}
}

// A body that does not come in time is refused; the time is of the socket, so this one only shows that there is a limit and
// that it ends with the body.
func TestABodyThatNeverComes(t *testing.T) {
	deadlines := make(chan bool, 2)
	f, err := web.New(web.Config{
		Own: []web.Address{{Path: "/own", Methods: map[string]web.Handler{"POST": func(w http.ResponseWriter, r *web.Request) error {
			if err := web.Discard(r); err != nil {
				return err
			}
			return web.Reply(w, 200, []byte("{}"))
		}}}},
		Fallbacks: fallbacks, Resolve: func(*http.Request) (a, b netip.Addr, c string) { return },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &timed{header: make(http.Header), deadlines: deadlines}
	r, _ := http.NewRequest("POST", "/own", strings.NewReader("x"))
	r.RequestURI = "/own"
	f.ServeHTTP(w, r)
	close(deadlines)
	var got []bool
	for set := range deadlines {
		got = append(got, set)
	}
	if len(got) != 2 || !got[0] || got[1] || w.status != 200 {
		t.Errorf("deadlines %v, status %d", got, w.status)
	}
}

// What net/http cannot read gets an answer like any other.
func TestARequestThatIsNone(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var seen []auth.Observation
	f, err := web.New(web.Config{
		Fallbacks: fallbacks, Now: func() time.Time { return at }, Observe: func(o *auth.Observation) { seen = append(seen, *o) },
		Resolve: func(r *http.Request) (a, b netip.Addr, c string) {
			peer := netip.MustParseAddrPort(r.RemoteAddr).Addr()
			return peer, peer, ""
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("both Content-Length and Transfer-Encoding")
	for _, c := range []struct{ method, target, contract string }{
		{"POST", "/auth/login", "b2b"}, {"GET", "/%zz?a", "liquid"}, {"", "", "liquid"}, {"HEAD", "/oauth/token", "oauth"},
	} {
		raw := f.Unparsed("192.0.2.7:1234", c.method, c.target, why)
		got, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), &http.Request{Method: c.method})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		want := `"` + c.contract + ` 400 malformed"`
		if c.method == "HEAD" {
			want = ""
		}
		if err != nil || got.StatusCode != 400 || string(body) != want || !got.Close || got.Header.Get("Date") != "Sun, 22 Nov 2026 09:00:00 GMT" {
			t.Errorf("%q: %s", c.target, raw)
		}
		o := seen[len(seen)-1]
		if o.Caller.RequestID != got.Header.Get("X-Request-Id") || o.Status != 400 || o.Caller.Address != webtest.Address || o.Caller.Method != c.method {
			t.Errorf("%q: observed %+v", c.target, o)
		}
	}
	if len(seen) != 4 {
		t.Errorf("observed %d times", len(seen))
	}
}

// timed is a writer that tells of read deadlines.
type timed struct {
	header    http.Header
	status    int
	deadlines chan bool
}

func (w *timed) Header() http.Header                { return w.header }
func (w *timed) Write(p []byte) (int, error)        { return len(p), nil }
func (w *timed) WriteHeader(status int)             { w.status = status }
func (w *timed) SetReadDeadline(at time.Time) error { w.deadlines <- !at.IsZero(); return nil }

func TestAFloorThatMakesNoSense(t *testing.T) {
	resolve := func(*http.Request) (a, b netip.Addr, c string) { return }
	good := web.Address{Path: "/a", Methods: get(ok)}
	for name, c := range map[string]web.Config{
		"no resolve":           {Fallbacks: fallbacks},
		"no fallbacks":         {Resolve: resolve},
		"no last fallback":     {Resolve: resolve, Fallbacks: fallbacks[:2]},
		"fallback, no words":   {Resolve: resolve, Fallbacks: []web.Fallback{{}}},
		"twice":                {Resolve: resolve, Fallbacks: fallbacks, Own: []web.Address{good, good}},
		"no methods":           {Resolve: resolve, Fallbacks: fallbacks, Own: []web.Address{{Path: "/a"}}},
		"a prefix and a slash": {Resolve: resolve, Fallbacks: fallbacks, Own: []web.Address{{Path: "/a/", Prefix: true, Methods: get(ok)}}},
		"no handler":           {Resolve: resolve, Fallbacks: fallbacks, Own: []web.Address{{Path: "/a", Methods: get(nil)}}},
		"path not canonical":   {Resolve: resolve, Fallbacks: fallbacks, Own: []web.Address{{Path: "/%61", Methods: get(ok)}}},
		"path with a query":    {Resolve: resolve, Fallbacks: fallbacks, Own: []web.Address{{Path: "/a?b", Methods: get(ok)}}},
		"path that is no path": {Resolve: resolve, Fallbacks: fallbacks, Own: []web.Address{{Path: "a", Methods: get(ok)}}},
	} {
		if _, err := web.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	seen := make(map[string]bool)
	var letters [256]int
	for range 20000 {
		id := web.NewRequestID()
		if len(id) != 17 || !strings.HasPrefix(id, "reqid_") || strings.Trim(id[6:], "0123456789abcdefghijklmnopqrstuvwxyz") != "" || seen[id] {
			t.Fatalf("got %q", id)
		}
		seen[id] = true
		for _, c := range []byte(id[6:]) {
			letters[c]++
		}
	}
	// 220,000 letters, 6,111 of each: one that is 600 off (7.8 standard deviations) is not by chance.
	for _, c := range []byte("0123456789abcdefghijklmnopqrstuvwxyz") {
		if n := letters[c]; n < 5511 || n > 6711 {
			t.Errorf("%c: %d times", c, n)
		}
	}
}
