package b2b_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/contract/b2b"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
	"github.com/gatehouse/gatehouse/verify"
)

// gate is a core that answers what it is told to.
type gate struct {
	grant     auth.Grant
	err       error // of every act
	failed    error // of Failed; nil: what it is given
	presented []auth.Presented
	refreshed []string // token and idempotency key
	loggedOut []string
	failures  []error
}

func (g *gate) Exchange(_ context.Context, p auth.Presented, from auth.Caller) (auth.Grant, error) {
	g.presented = append(g.presented, p)
	if from.Address != webtest.Address || from.RequestID == "" {
		return auth.Grant{}, fmt.Errorf("the caller is %v", from)
	}
	return g.grant, g.err
}

func (g *gate) Refresh(_ context.Context, token, key string, _ auth.Caller) (auth.Grant, error) {
	g.refreshed = append(g.refreshed, token, key)
	return g.grant, g.err
}

func (g *gate) Logout(_ context.Context, token string, _ auth.Caller) (verify.Principal, error) {
	g.loggedOut = append(g.loggedOut, token)
	return verify.Principal{Claims: &verify.Claims{Account: 100001, Credential: "c", Session: "s", Type: verify.B2BAccess}}, g.err
}

func (g *gate) Failed(_ auth.Caller, err error) error {
	g.failures = append(g.failures, err)
	if g.failed != nil {
		return g.failed
	}
	return err
}

func (g *gate) asked() bool { return len(g.presented)+len(g.refreshed)+len(g.loggedOut) > 0 }

type setup struct {
	gate    *gate
	attempt func(*auth.Caller) error
	next    web.Handler
}

func serve(t *testing.T, s setup) *webtest.Server {
	t.Helper()
	c, err := b2b.New(b2b.Config{Gate: s.gate, Environment: auth.Live, Realm: "gatehouse"})
	if err != nil {
		t.Fatal(err)
	}
	return webtest.Serve(t, web.Config{
		Own: c.Addresses(), Next: s.next, Attempt: s.attempt,
		Fallbacks: []web.Fallback{{Prefix: "", Contract: auth.B2B, Refuse: c.Refuse}},
	})
}

// post is a request with a body of JSON.
func post(path, body string, headers ...string) string {
	return webtest.Post("application/json", path, body, headers...)
}

func chunked(path, body string) string {
	return fmt.Sprintf("POST %s\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n%x\r\n%s\r\n0\r\n\r\n", path, len(body), body)
}

func failure(name, code, message string) string {
	return fmt.Sprintf(`{"error":{"name":"%s","code":"%s","message":"%s"}}`, name, code, message)
}

const (
	loginBody   = `{"username":"u_aB3dE5gH7jK9","password":"secret"}`
	refreshBody = `{"refresh_token":"r.r.r"}`
	bearer      = "Authorization: Bearer a.b.c"
	realm       = `Bearer realm="gatehouse"`
)

var attempts = auth.Limit{Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second, Remaining: 99, Reset: 100 * time.Millisecond}

func newGrant() auth.Grant {
	return auth.Grant{
		Account: 123456, Credential: "aB3dE5gH7jK9", Secret: 2, Session: "s1", Type: verify.B2BAccess,
		Token: "a.b.c", Expires: time.Date(2024, 1, 15, 11, 30, 0, 0, time.FixedZone("CET", 3600)),
		Refresh: "r.r.r", RefreshExpires: time.Date(2024, 1, 22, 9, 30, 0, 0, time.UTC), Limit: attempts,
	}
}

const pair = `{"success":true,"data":{"access_token":"a.b.c","refresh_token":"r.r.r",` +
	`"access_expires_at":"2024-01-15T10:30:00Z","refresh_expires_at":"2024-01-22T09:30:00Z","client_id":123456}}`

func TestLogin(t *testing.T) {
	g := &gate{grant: newGrant()}
	s := serve(t, setup{gate: g})
	headers := webtest.JSON("RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`)
	for _, request := range []string{
		post("/auth/login", loginBody),
		chunked("/auth/login", loginBody),
		post("/auth/login", " {\"password\":\"secret\",\"more\":[1,{}],\r\n\"username\":\"u_aB3dE5gH7jK\\u0039\"}\n"),
		webtest.Post("application/json; charset=utf-8", "/auth/login", loginBody),
		webtest.Post("Application/JSON;Charset=\"UTF-8\"", "/auth/login", loginBody),
	} {
		a := s.Send(t, request)
		a.Is(t, request, 200, pair, headers)
		if a.Seen.Did != auth.DidLogin || a.Seen.Contract != auth.B2B || a.Seen.Route != "/auth/login" ||
			a.Seen.Subject != (auth.Subject{Account: 123456, Credential: "aB3dE5gH7jK9", Secret: 2, Session: "s1"}) {
			t.Errorf("observed %+v", a.Seen)
		}
	}
	for _, p := range g.presented {
		if p.Kind != auth.Login || p.ID != "aB3dE5gH7jK9" || p.Identifier != "u_aB3dE5gH7jK9" || p.Reveal() != "secret" {
			t.Errorf("presented %v", p)
		}
	}
	var answer api.PairAnswer
	if err := json.Unmarshal([]byte(pair), &answer); err != nil || answer.Data.ClientID != 123456 {
		t.Errorf("the wire type: %+v, %v", answer, err)
	}
}

func TestRefresh(t *testing.T) {
	grant := newGrant()
	grant.Replayed = true
	g := &gate{grant: grant}
	s := serve(t, setup{gate: g})
	const key = "Idempotency-Key: 0123456789abcdef"
	for _, request := range []string{
		post("/auth/refresh", refreshBody),
		post("/auth/refresh", refreshBody, key, bearer),
		chunked("/auth/refresh", refreshBody),
	} {
		a := s.Send(t, request)
		a.Is(t, request, 200, pair, webtest.JSON("RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`))
		if a.Seen.Did != auth.DidRefresh || !a.Seen.Replayed || a.Seen.Subject.Session != "s1" {
			t.Errorf("observed %+v", a.Seen)
		}
	}
	want := []string{"r.r.r", "", "r.r.r", "0123456789abcdef", "r.r.r", ""}
	if diff := cmp.Diff(want, g.refreshed); diff != "" {
		t.Errorf("the gate got (-want +got)\n%s", diff)
	}
}

func TestLogout(t *testing.T) {
	g := &gate{}
	s := serve(t, setup{gate: g, attempt: func(from *auth.Caller) error { from.Limit = attempts; return nil }})
	for _, request := range []string{
		"POST /auth/logout\n" + bearer,
		"POST /auth/logout\nAuthorization: bEARER a.b.c\nContent-Length: 0",
		post("/auth/logout", `{"not":"read"`, bearer),
		webtest.Post("text/plain", "/auth/logout", strings.Repeat("x", 64<<10), bearer),
	} {
		a := s.Send(t, request)
		want := `{"success":true,"data":{"message":"Successfully logged out"}}`
		a.Is(t, fmt.Sprintf("%.80s", request), 200, want, webtest.JSON("RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`))
		if a.Seen.Did != auth.DidLogout || a.Seen.Subject != (auth.Subject{Account: 100001, Credential: "c", Session: "s"}) || a.Seen.Type != verify.B2BAccess {
			t.Errorf("observed %+v", a.Seen)
		}
	}
	if want := []string{"a.b.c", "a.b.c", "a.b.c", "a.b.c"}; cmp.Diff(want, g.loggedOut) != "" {
		t.Errorf("the gate got %q", g.loggedOut)
	}
}

// A row of the contract's table: what is sent, what the gate says, and what comes back.
type row struct {
	name    string
	request string
	err     error
	asked   bool // the gate is asked
	status  int
	body    string
	headers http.Header
}

func (row row) check(t *testing.T, s setup) webtest.Answer {
	t.Helper()
	a := serve(t, s).Send(t, row.request)
	a.Is(t, row.name, row.status, row.body, row.headers)
	return a
}

var (
	syntax       = failure("SyntaxError", "SYNTAX_ERROR", "Invalid request body")
	required     = failure("ValidationException", "VALIDATION_FAILURE", "Username and password are required")
	noToken      = failure("ValidationException", "VALIDATION_FAILURE", "Refresh token is required")
	badKey       = failure("ValidationException", "VALIDATION_FAILURE", "Invalid Idempotency-Key")
	credentials  = failure("UnauthorizedError", "UNAUTHORIZED", "Invalid credentials")
	refreshToken = failure("UnauthorizedError", "UNAUTHORIZED", "Invalid refresh token")
	required401  = failure("UnauthorizedError", "UNAUTHORIZED", "Authentication required")
	address      = failure("ForbiddenError", "FORBIDDEN", "IP address not authorized")
	tooLarge     = failure("PayloadTooLargeError", "PAYLOAD_TOO_LARGE", "Request body too large")
	mediaType    = failure("UnsupportedMediaTypeError", "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json")
	loginsTooMay = failure("TooManyRequestsError", "TOO_MANY_REQUESTS", "Too many login attempts. Please try again later.")
	tooMany      = failure("TooManyRequestsError", "TOO_MANY_REQUESTS", "Too many requests. Please try again later.")
	internal     = failure("InternalServerError", "INTERNAL_SERVER_ERROR", "Internal server error")
	unavailable  = failure("ServiceUnavailableError", "SERVICE_UNAVAILABLE", "Service temporarily unavailable")
	badRequest   = failure("BadRequestError", "BAD_REQUEST", "Bad request")
)

// Bodies that cannot be read, or do not say what they must.
func TestBodies(t *testing.T) {
	const badChunks = "bad chunks" // where a request ends nobody knows then
	for _, path := range []string{"/auth/login", "/auth/refresh"} {
		missing := required
		if path == "/auth/refresh" {
			missing = noToken
		}
		var rows []row
		for _, body := range []string{
			"", " ", "{", "x", `{"a":1,}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, "\ufeff{}", "{} {}", "{}x", "{\"a\":\"\xff\"}", `{"a":"\ud800"}`,
			`{"username":"a","username":"a"}`, strings.Repeat("[", 33) + strings.Repeat("]", 33), "username=a&password=b", `{'a':1}`, `{"a":01}`,
			`{"refresh_token":"a","refresh_tok\u0065n":"b"}`, "{}\x00",
		} {
			rows = append(rows, row{fmt.Sprintf("%.40q", body), post(path, body), nil, false, 400, syntax, webtest.JSON()})
		}
		for _, body := range []string{
			"{}", "[]", "null", `"a"`, "7", "true", `{"username":"u"}`, `{"password":"p"}`, `{"username":"","password":"p"}`,
			`{"username":"u","password":""}`, `{"username":1,"password":"p"}`, `{"username":"u","password":null}`, `{"username":["u"],"password":"p"}`,
			`{"Username":"u","Password":"p"}`, `{"USERNAME":"u","password":"p"}`, `{"data":{"username":"u","password":"p"}}`,
			`[{"username":"u","password":"p"}]`, `{"refresh_token":""}`, `{"refresh_token":7}`, `{"refresh_token":null}`, `{"Refresh_token":"x"}`,
			`{"refresh_token":{"refresh_token":"x"}}`, strings.Repeat("[", 32) + strings.Repeat("]", 32),
		} {
			rows = append(rows, row{fmt.Sprintf("%.60q", body), post(path, body), nil, false, 400, missing, webtest.JSON()})
		}
		for _, media := range []string{
			"text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/problem+json", "json", "*/*",
			"application/json; charset=utf-16", "application/json, text/plain", "application/json;;;=", "",
		} {
			rows = append(rows, row{media, webtest.Post(media, path, loginBody), nil, false, 415, mediaType, webtest.JSON()})
		}
		good := fmt.Sprintf(`{"username":"u","password":"p","refresh_token":"x","more":"%s"}`, strings.Repeat("x", 64<<10))
		rows = append(
			rows,
			row{"no Content-Type", fmt.Sprintf("POST %s\nContent-Length: 2\n\n{}", path), nil, false, 415, mediaType, webtest.JSON()},
			row{"neither body nor type", "POST " + path, nil, false, 415, mediaType, webtest.JSON()},
			row{"Content-Type twice", post(path, "{}", "Content-Type: application/json"), nil, false, 415, mediaType, webtest.JSON()},
			row{"encoded", post(path, loginBody, "Content-Encoding: gzip"), nil, false, 415, mediaType, webtest.JSON()},
			row{"encoded as it is", post(path, loginBody, "Content-Encoding: identity"), nil, false, 415, mediaType, webtest.JSON()},
			row{"too large", post(path, good), nil, false, 413, tooLarge, webtest.JSON()},
			row{"too large in chunks", chunked(path, good), nil, false, 413, tooLarge, webtest.JSON()},
			row{"one byte too large", post(path, "{}"+strings.Repeat(" ", 64<<10-1)), nil, false, 413, tooLarge, webtest.JSON()},
			row{"as large as can be", post(path, "{}"+strings.Repeat(" ", 64<<10-2)), nil, false, 400, missing, webtest.JSON()},
			row{"size before type", webtest.Post("text/plain", path, good), nil, false, 413, tooLarge, webtest.JSON()},
			row{"size before type, in chunks", strings.Replace(chunked(path, good), "application/json", "text/plain", 1), nil, false, 413, tooLarge, webtest.JSON()},
			row{"type before JSON", webtest.Post("text/plain", path, "{"), nil, false, 415, mediaType, webtest.JSON()},
			row{
				badChunks, "POST " + path + "\nContent-Type: application/json\nTransfer-Encoding: chunked\n\nzz\r\n", nil, false, 400, badRequest,
				webtest.JSON(),
			},
		)
		for _, r := range rows {
			g := &gate{}
			a := r.check(t, setup{gate: g})
			if g.asked() || len(g.failures) > 0 {
				t.Errorf("%s: the gate was asked", r.name)
			}
			if a.Seen.Reason != auth.ReasonMalformed {
				t.Errorf("%s: observed %q", r.name, a.Seen.Reason)
			}
			if r.name == badChunks && !a.Closed {
				t.Errorf("%s: the connection lives on", r.name)
			}
		}
	}
}

func TestAnIdempotencyKeyThatIsNoGood(t *testing.T) {
	const header = "Idempotency-Key: "
	for _, headers := range [][]string{
		{header},
		{header + strings.Repeat("a", 15)},
		{header + strings.Repeat("a", 129)},
		{header + "0123456789 abcdef"},
		{header + "0123456789abcdé"},
		{header + "0123456789\tabcdef"},
		{header + "0123456789abcdef", header + "0123456789abcdef"},
		{header + "0123456789abcdef", header},
	} {
		g := &gate{}
		row{fmt.Sprintf("%.60q", headers), post("/auth/refresh", refreshBody, headers...), nil, false, 400, badKey, webtest.JSON()}.check(t, setup{gate: g})
		if g.asked() {
			t.Errorf("%q: the gate was asked", headers)
		}
		row{"the field comes first", post("/auth/refresh", "{}", headers...), nil, false, 400, noToken, webtest.JSON()}.check(t, setup{gate: g})
	}
	for _, key := range []string{strings.Repeat("!", 16), strings.Repeat("~", 128)} {
		g := &gate{grant: newGrant()}
		if a := serve(t, setup{gate: g}).Send(t, post("/auth/refresh", refreshBody, header+key)); a.Status != 200 || g.refreshed[1] != key {
			t.Errorf("%s: %d", key, a.Status)
		}
	}
}

func TestRefusals(t *testing.T) {
	none := webtest.JSON("WWW-Authenticate", realm)
	because := func(s string) http.Header {
		return webtest.JSON("WWW-Authenticate", realm+`, error="invalid_token", error_description="`+s+`"`)
	}
	sent := func(reason auth.Reason) error {
		e := auth.ErrBadToken.Because(reason)
		e.TokenSent = true
		return e
	}
	limit := auth.Limit{Name: "exchange_per_credential", Quota: 100, Window: 10 * time.Second, Reset: 10 * time.Second, Refused: true, RetryAfter: 3 * time.Second}
	limited := auth.ErrRateLimited.With(limit)
	found := webtest.JSON("Retry-After", "3", "RateLimit-Policy", `"exchange_per_credential";q=100;w=10`, "RateLimit", `"exchange_per_credential";r=0;t=10`)
	later := webtest.JSON("Retry-After", "1")

	login := post("/auth/login", loginBody)
	refresh := post("/auth/refresh", refreshBody)
	logout := "POST /auth/logout\n" + bearer
	rows := []row{
		{"login: unknown", login, auth.ErrBadCredential.Because(auth.ReasonUnknown), true, 401, credentials, none},
		{"login: wrong password", login, auth.ErrBadCredential.Because(auth.ReasonWrongSecret), true, 401, credentials, none},
		{"login: revoked", login, auth.ErrBadCredential.Because(auth.ReasonRevoked), true, 401, credentials, none},
		{"login: expired", login, auth.ErrBadCredential.Because(auth.ReasonExpired), true, 401, credentials, none},
		{"login: suspended", login, auth.ErrBadCredential.Because(auth.ReasonAccountSuspended), true, 401, credentials, none},
		{"login: another environment", post("/auth/login", `{"username":"test_u_aB3dE5gH7jK9","password":"p"}`), nil, false, 401, credentials, none},
		{"login: NUL", post("/auth/login", `{"username":"u","password":"p\u0000"}`), nil, false, 401, credentials, none},
		{"login: long", post("/auth/login", `{"username":"u","password":"`+strings.Repeat("p", 1025)+`"}`), nil, false, 401, credentials, none},
		{"login: address", login, auth.ErrAddressNotAllowed, true, 403, address, webtest.JSON()},
		{"login: too many", login, limited, true, 429, loginsTooMay, found},
		{"login: not classified", login, errors.New("no"), true, 500, internal, webtest.JSON()},
		{"login: cannot be checked", login, auth.ErrOverloaded, true, 503, unavailable, later},

		{"refresh: none of ours", refresh, auth.ErrBadRefresh, true, 401, refreshToken, none},
		{"refresh: an access token", refresh, auth.ErrBadRefresh.Because(auth.ReasonTokenWrongType), true, 401, refreshToken, none},
		{"refresh: expired", refresh, auth.ErrBadRefresh.Because(auth.ReasonTokenExpired), true, 401, refreshToken, none},
		{"refresh: spent", refresh, auth.ErrSpent, true, 401, refreshToken, none},
		{"refresh: reused", refresh, auth.ErrReused, true, 401, refreshToken, none},
		{"refresh: ended", refresh, auth.ErrEnded, true, 401, refreshToken, none},
		{"refresh: whatever was sent", post("/auth/refresh", refreshBody, bearer), sent(auth.ReasonTokenExpired), true, 401, refreshToken, none},
		{"refresh: address", refresh, auth.ErrAddressNotAllowed, true, 403, address, webtest.JSON()},
		{"refresh: too many", refresh, limited, true, 429, tooMany, found},
		{"refresh: not classified", refresh, errors.New("no"), true, 500, internal, webtest.JSON()},
		{"refresh: cannot be checked", refresh, auth.ErrOverloaded, true, 503, unavailable, later},

		{"logout: no token", "POST /auth/logout", nil, false, 401, required401, none},
		{"logout: empty", "POST /auth/logout\nAuthorization:", nil, false, 401, required401, none},
		{"logout: another scheme", "POST /auth/logout\nAuthorization: Basic dTpw", nil, false, 401, required401, none},
		{"logout: no token after the scheme", "POST /auth/logout\nAuthorization: Bearer", nil, false, 401, required401, because("The access token is not valid")},
		{"logout: twice", logout + "\n" + bearer, nil, false, 401, required401, because("The access token is not valid")},
		{"logout: malformed", logout, sent(auth.ReasonMalformed), true, 401, required401, because("The access token is not valid")},
		{"logout: expired", logout, sent(auth.ReasonTokenExpired), true, 401, required401, because("The access token expired")},
		{"logout: revoked", logout, sent(auth.ReasonTokenRevoked), true, 401, required401, because("The access token was revoked")},
		{"logout: suspended", logout, sent(auth.ReasonAccountSuspended), true, 401, required401, because("The access token was revoked")},
		{"logout: another type", logout, sent(auth.ReasonTokenWrongType), true, 401, required401, because("The access token is of another type")},
		{"logout: address", logout, auth.ErrAddressNotAllowed, true, 403, address, webtest.JSON()},
		{"logout: too many", logout, limited, true, 429, tooMany, found},
		{"logout: too large", webtest.Post("text/plain", "/auth/logout", strings.Repeat("x", 64<<10+1), bearer), nil, false, 413, tooLarge, webtest.JSON()},
		{"logout: too large in chunks", chunked("/auth/logout", strings.Repeat("x", 64<<10+1)), nil, false, 413, tooLarge, webtest.JSON()},
		{"logout: not classified", logout, errors.New("no"), true, 500, internal, webtest.JSON()},
		{"logout: not committed", logout, auth.ErrOverloaded, true, 503, unavailable, later},
	}
	for _, r := range rows {
		g := &gate{err: r.err}
		a := r.check(t, setup{gate: g})
		if g.asked() != r.asked || r.asked && len(g.failures) > 0 || r.status == 401 && !r.asked && len(g.failures) != 1 {
			t.Errorf("%s: the gate was asked: %v; failures %v", r.name, g.asked(), g.failures)
		}
		if (a.Seen.Err != nil) != (r.status >= 500) {
			t.Errorf("%s: observed %v", r.name, a.Seen.Err)
		}
	}
}

// Limits of attempts by address come before body, media type and all else, but after the method.
func TestTheLimitOfAttemptsComesFirst(t *testing.T) {
	exhausted := auth.Limit{
		Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second, Reset: 10 * time.Second, Refused: true, RetryAfter: 100 * time.Millisecond,
	}
	attempt := func(from *auth.Caller) error {
		from.Limit = exhausted
		return auth.ErrRateLimited.With(exhausted)
	}
	found := webtest.JSON("Retry-After", "1", "RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=0;t=10`)
	for path, message := range map[string]string{"/auth/login": loginsTooMay, "/auth/refresh": tooMany, "/auth/logout": tooMany} {
		for _, request := range []string{
			"POST " + path, post(path, "{"), webtest.Post("text/plain", path, "x"), post(path, strings.Repeat("x", 64<<10+1)), post(path, loginBody, bearer),
		} {
			g := &gate{}
			a := row{fmt.Sprintf("%.60q", request), request, nil, false, 429, message, found}.check(t, setup{gate: g, attempt: attempt})
			if g.asked() || len(g.failures) > 0 || a.Seen.Reason != auth.ReasonRateLimited {
				t.Errorf("%s: the gate was asked, or observed %q", path, a.Seen.Reason)
			}
		}
		row{path, "GET " + path, nil, false, 405, failure("MethodNotAllowedError", "METHOD_NOT_ALLOWED", "Method not allowed"), webtest.JSON("Allow", "POST")}.
			check(t, setup{gate: &gate{}, attempt: attempt})
	}
}

// Where the limit of failures is used up, what was refused for its spelling is 429 too.
func TestTheLimitOfFailures(t *testing.T) {
	g := &gate{failed: auth.ErrRateLimited}
	s := setup{gate: g, attempt: func(from *auth.Caller) error { from.Limit = attempts; return nil }}
	found := webtest.JSON("Retry-After", "1", "RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`)
	row{"login", post("/auth/login", `{"username":"u","password":"p\u0000"}`), nil, false, 429, loginsTooMay, found}.check(t, s)
	row{"logout", "POST /auth/logout", nil, false, 429, tooMany, found}.check(t, s)
}

func TestOnlyPOST(t *testing.T) {
	s := serve(t, setup{gate: &gate{}})
	want := failure("MethodNotAllowedError", "METHOD_NOT_ALLOWED", "Method not allowed")
	for _, path := range []string{"/auth/login", "/auth/refresh", "/auth/logout"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post"} {
			a := s.Send(t, method+" "+path)
			body := want
			if method == "HEAD" {
				body = ""
			}
			a.Is(t, method+" "+path, 405, body, webtest.JSON("Allow", "POST"))
		}
	}
}

// Protected calls, and whatever is not found under /auth/.
func TestRefusalsElsewhere(t *testing.T) {
	expired := auth.ErrBadToken.Because(auth.ReasonTokenExpired)
	expired.TokenSent = true
	for _, c := range []struct {
		err     error
		status  int
		body    string
		headers http.Header
	}{
		{auth.ErrBadToken.Because(auth.ReasonNoCredential), 401, required401, webtest.JSON("WWW-Authenticate", realm)},
		{expired, 401, required401, webtest.JSON("WWW-Authenticate", realm+`, error="invalid_token", error_description="The access token expired"`)},
		{auth.ErrAddressNotAllowed, 403, address, webtest.JSON()},
		{auth.ErrInsufficientScope, 403, failure("ForbiddenError", "FORBIDDEN", "Insufficient scope"), webtest.JSON()},
		{auth.ErrRateLimited, 429, tooMany, webtest.JSON("Retry-After", "1")},
		{&web.StatusError{Status: 400}, 400, badRequest, webtest.JSON()},
		{&web.StatusError{Status: 404}, 404, failure("NotFoundError", "NOT_FOUND", "Not found"), webtest.JSON()},
		{&web.StatusError{Status: 405, Allow: "GET"}, 405, failure("MethodNotAllowedError", "METHOD_NOT_ALLOWED", "Method not allowed"), webtest.JSON("Allow", "GET")},
		{&web.StatusError{Status: 413}, 413, tooLarge, webtest.JSON()},
		{errors.New("no"), 500, internal, webtest.JSON()},
		{&web.StatusError{Status: 502}, 502, failure("BadGatewayError", "BAD_GATEWAY", "Bad gateway"), webtest.JSON()},
		{auth.ErrOverloaded, 503, unavailable, webtest.JSON("Retry-After", "1")},
		{&web.StatusError{Status: 504}, 504, failure("GatewayTimeoutError", "GATEWAY_TIMEOUT", "Gateway timeout"), webtest.JSON()},
	} {
		s := setup{gate: &gate{}, next: func(http.ResponseWriter, *web.Request) error { return c.err }}
		row{c.err.Error(), "GET /auth/elsewhere", nil, false, c.status, c.body, c.headers}.check(t, s)
	}
	row{"a path", "GET /auth/../login", nil, false, 400, badRequest, webtest.JSON()}.check(t, setup{gate: &gate{}})
	row{
		"a panic", "GET /x", nil, false, 500, internal, webtest.JSON(),
	}.check(t, setup{gate: &gate{}, next: func(http.ResponseWriter, *web.Request) error { panic("canary") }})
}
