package liquid_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/contract/liquid"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
	"github.com/gatehouse/gatehouse/verify"
)

// The time of every answer, in the middle of a second.
var now = time.UnixMilli(1731590739955)

const token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMDAwMDEifQ.c2lnbmF0dXJl"

// gate is a core that answers what it is told to.
type gate struct {
	grant     auth.Grant
	err       error // of Exchange
	failed    error // of Failed; nil: what it is given
	presented []auth.Presented
	failures  []error
}

func (g *gate) Exchange(_ context.Context, p auth.Presented, from auth.Caller) (auth.Grant, error) {
	g.presented = append(g.presented, p)
	if from.Address != webtest.Address || from.RequestID == "" {
		return auth.Grant{}, fmt.Errorf("the caller is %v", from)
	}
	return g.grant, g.err
}

func (g *gate) Failed(_ auth.Caller, err error) error {
	g.failures = append(g.failures, err)
	if g.failed != nil {
		return g.failed
	}
	return err
}

// attempts is what the limit of attempts finds, and exhausted what it says when it is used up.
var (
	attempts  = auth.Limit{Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second, Remaining: 99, Reset: 100 * time.Millisecond}
	exhausted = auth.Limit{
		Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second, Reset: 9900 * time.Millisecond,
		Refused: true, RetryAfter: 1001 * time.Millisecond,
	}
)

type setup struct {
	gate    *gate
	attempt func(*auth.Caller) error
	next    web.Handler
	config  liquid.Config
}

func serve(t *testing.T, s setup) *webtest.Server {
	t.Helper()
	c := s.config
	c.Gate, c.Environment, c.KeyPrefix, c.Realm = s.gate, auth.Live, "gk", "gatehouse"
	c.Now = func() time.Time { return now }
	contract, err := liquid.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return webtest.Serve(t, web.Config{
		Own: append(contract.Keys(), contract.Orders()...), Next: s.next, Attempt: s.attempt,
		Fallbacks: []web.Fallback{{Contract: auth.Liquid, Refuse: contract.Refuse}},
	})
}

func key(t *testing.T) string {
	t.Helper()
	return auth.FormatKey("gk", auth.Live, "aB3dE5gH7jK9", "0123456789ABCDEFGHIJKLMNOPQRSTUV")
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// envelope is a failure as it must stand there, byte for byte.
func envelope(code int, message, requestID, path string) string {
	return fmt.Sprintf(`{"statusCode":%d,"message":"%s","metadata":{"languages":["en"],"timestamp":1731590739955,"timezone":"UTC",`+
		`"requestId":"%s","path":"%s","version":"1.7.0"},"errors":[]}`, code, message, requestID, path)
}

func TestAnAPIKeyBecomesAToken(t *testing.T) {
	for _, path := range []string{"/authentication", "/api/authentication"} {
		g := &gate{grant: auth.Grant{
			Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 1, Session: "s1", Type: verify.AccessToken, Token: token,
			Expires: time.Unix(1731677139, 0), Limit: attempts,
		}}
		s := serve(t, setup{gate: g})
		for _, request := range []string{
			"GET " + path + "\nX-LIQUID-API-KEY: " + key(t),
			"GET " + path + "\nX-LIQUID-API-KEY: " + key(t) + "\nContent-Type: application/json\nAuthorization: Bearer x",
			"GET " + path + "?a=b\nx-liquid-api-key:   " + key(t) + "  ",
		} {
			a := s.Send(t, request)
			want := `{"statusCode":200,"message":"OK","metadata":{"languages":["en"],"timestamp":1731590739955,"timezone":"UTC","requestId":"` +
				a.RequestID + `","path":"/api/authentication","version":"1.7.0"},"data":{"token":"` + token +
				`","type":"ACCESS_TOKEN","exp":1731677139000}}`
			headers := webtest.JSON("RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`)
			a.Is(t, request, 201, want, headers)
			if a.Seen.Did != auth.DidExchange || a.Seen.Contract != auth.Liquid || a.Seen.Route != path || a.Seen.Reason != "" ||
				a.Seen.Subject != (auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 1, Session: "s1"}) ||
				a.Seen.Type != verify.AccessToken || a.Seen.Limit != attempts {
				t.Errorf("%s: observed %+v", request, a.Seen)
			}
		}
		for _, p := range g.presented {
			if p.Kind != auth.APIKey || p.ID != "aB3dE5gH7jK9" || p.Reveal() != "0123456789ABCDEFGHIJKLMNOPQRSTUV" {
				t.Errorf("presented %v", p)
			}
		}
	}
}

func TestTheEnvelopeIsAsConfigured(t *testing.T) {
	g := &gate{grant: auth.Grant{Type: verify.AccessToken, Token: token, Expires: time.Unix(1731677139, 0)}}
	s := serve(t, setup{gate: g, config: liquid.Config{Header: "x-acme-key", Version: `2 "b"`, Languages: []string{"es", "en"}}})
	a := s.Send(t, "GET /authentication\nX-Acme-Key: "+key(t))
	if !strings.Contains(a.Body, `"metadata":{"languages":["es","en"],`) || !strings.HasSuffix(a.Body[:strings.Index(a.Body, `,"data"`)], `"version":"2 \"b\""}`) {
		t.Errorf("got %s", a.Body)
	}
	if a := s.Send(t, "GET /authentication\nX-LIQUID-API-KEY: "+key(t)); a.Status != 400 {
		t.Errorf("the header that is not configured: %d, want 400", a.Status)
	}
}

// What we write by hand is what the wire type says.
func TestTheEnvelopeIsItsWireType(t *testing.T) {
	g := &gate{grant: auth.Grant{Type: verify.AccessToken, Token: token, Expires: time.Unix(1731677139, 0)}}
	s := serve(t, setup{gate: g})
	for _, request := range []string{
		"GET /authentication\nX-LIQUID-API-KEY: " + key(t), "GET /authentication", "GET /nowhere",
		"GET /api/order-authentication\nAuthorization: " + basic("u_aB3dE5gH7jK9", "pw"), "GET /order-authentication",
	} {
		if strings.Contains(request, "Basic") {
			g.grant.Type = verify.OrderAPI
		}
		a := s.Send(t, request)
		var answer api.LiquidAnswer
		if err := json.Unmarshal([]byte(a.Body), &answer); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != a.Body {
			t.Errorf("%s: got\n%s\nand its type is\n%s", request, a.Body, again)
		}
		if answer.Metadata.RequestID != a.RequestID {
			t.Errorf("%s: metadata.requestId %q, X-Request-Id %q", request, answer.Metadata.RequestID, a.RequestID)
		}
	}
}

// Whatever is wrong with a key: one answer, to the byte, apart from the request's id.
func TestAKeyThatIsNoGood(t *testing.T) {
	type wrong struct {
		name    string
		headers string
		err     error // of the gate; nil: it is not asked
		reason  auth.Reason
	}
	good := key(t)
	cases := []wrong{
		{"none", "", nil, auth.ReasonNoCredential},
		{"empty", "\nX-LIQUID-API-KEY:", nil, auth.ReasonNoCredential},
		{"blank", "\nX-LIQUID-API-KEY:   ", nil, auth.ReasonNoCredential},
		{"twice", "\nX-LIQUID-API-KEY: " + good + "\nX-LIQUID-API-KEY: " + good, nil, auth.ReasonMalformed},
		{"twice, one empty", "\nX-LIQUID-API-KEY: " + good + "\nX-LIQUID-API-KEY:", nil, auth.ReasonMalformed},
		{"two in one", "\nX-LIQUID-API-KEY: " + good + ", " + good, nil, auth.ReasonMalformed},
		{"underscores", "\nX_LIQUID_API_KEY: " + good, nil, auth.ReasonNoCredential},
		{"in Authorization", "\nAuthorization: Bearer " + good, nil, auth.ReasonNoCredential},
		{"malformed", "\nX-LIQUID-API-KEY: abc", nil, auth.ReasonMalformed},
		{"cut", "\nX-LIQUID-API-KEY: " + good[:len(good)-1], nil, auth.ReasonMalformed},
		{"checksum", "\nX-LIQUID-API-KEY: " + good[:len(good)-1] + "!", nil, auth.ReasonChecksum},
		{"another prefix", "\nX-LIQUID-API-KEY: " + auth.FormatKey("ak", auth.Live, "aB3dE5gH7jK9", strings.Repeat("a", 32)), nil, auth.ReasonMalformed},
		{"another environment", "\nX-LIQUID-API-KEY: " + auth.FormatKey("gk", auth.Test, "aB3dE5gH7jK9", strings.Repeat("a", 32)), nil, auth.ReasonWrongEnvironment},
		{"long", "\nX-LIQUID-API-KEY: " + strings.Repeat("a", 8000), nil, auth.ReasonMalformed},
	}
	for _, reason := range []auth.Reason{
		auth.ReasonUnknown, auth.ReasonWrongSecret, auth.ReasonRevoked, auth.ReasonExpired, auth.ReasonAccountSuspended,
	} {
		about := auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9"}
		cases = append(cases, wrong{string(reason), "\nX-LIQUID-API-KEY: " + good, auth.ErrBadCredential.Because(reason).Of(about), reason})
	}
	for _, path := range []string{"/authentication", "/api/authentication"} {
		for _, c := range cases {
			g := &gate{err: c.err}
			s := serve(t, setup{gate: g})
			a := s.Send(t, "GET "+path+c.headers)
			want := envelope(5000, "API Key not found", a.RequestID, "/api/authentication")
			a.Is(t, c.name, 400, want, webtest.JSON())
			if a.Seen.Reason != c.reason || a.Seen.Err != nil {
				t.Errorf("%s: observed %q, %v", c.name, a.Seen.Reason, a.Seen.Err)
			}
			if asked := len(g.presented) > 0; asked != (c.err != nil) || len(g.failures) > 0 == asked {
				t.Errorf("%s: the gate was asked: %v, and told of a failure: %v", c.name, asked, len(g.failures) > 0)
			}
		}
	}
}

// at are the four addresses, each with what is sent there and what the answer says its path is.
func at(t *testing.T) map[string]struct{ header, path string } {
	return map[string]struct{ header, path string }{
		"/authentication":           {"\nX-LIQUID-API-KEY: " + key(t), "/api/authentication"},
		"/api/authentication":       {"\nX-LIQUID-API-KEY: " + key(t), "/api/authentication"},
		"/order-authentication":     {"\nAuthorization: " + basic("u_aB3dE5gH7jK9", "secret"), "/api/order-authentication"},
		"/api/order-authentication": {"\nAuthorization: " + basic("u_aB3dE5gH7jK9", "secret"), "/api/order-authentication"},
	}
}

// The rows that both contracts have in common.
func TestRefusalsOfTheExchanges(t *testing.T) {
	credential := auth.Limit{
		Name: "exchange_per_credential", Quota: 100, Window: 10 * time.Second, Reset: 9900 * time.Millisecond,
		Refused: true, RetryAfter: 100 * time.Millisecond,
	}
	for _, c := range []struct {
		name    string
		err     error
		status  int
		message string
		headers http.Header
	}{
		{"address", auth.ErrAddressNotAllowed, 403, "IP address not authorized", webtest.JSON()},
		{
			"too many by credential", auth.ErrRateLimited.With(credential), 429, "Too Many Requests",
			webtest.JSON("Retry-After", "1", "RateLimit-Policy", `"exchange_per_credential";q=100;w=10`, "RateLimit", `"exchange_per_credential";r=0;t=10`),
		},
		{"not classified", errors.New("SELECT failed: password=x"), 500, "Internal Server Error", webtest.JSON()},
		{"a check that cannot be made", auth.ErrOverloaded, 503, "Service Unavailable", webtest.JSON("Retry-After", "1")},
		{"likewise, with a time", &auth.Error{Kind: auth.Unavailable, RetryAfter: 4100 * time.Millisecond}, 503, "Service Unavailable", webtest.JSON("Retry-After", "5")},
	} {
		for path, sent := range at(t) {
			s := serve(t, setup{gate: &gate{err: c.err}})
			a := s.Send(t, "GET "+path+sent.header)
			want := envelope(c.status, c.message, a.RequestID, sent.path)
			a.Is(t, c.name+" at "+path, c.status, want, c.headers)
		}
	}
}

func TestTheLimitOfAttemptsComesFirst(t *testing.T) {
	for path, sent := range at(t) {
		g := &gate{}
		s := serve(t, setup{gate: g, attempt: func(from *auth.Caller) error {
			from.Limit = exhausted
			return auth.ErrRateLimited.With(exhausted)
		}})
		headers := webtest.JSON("Retry-After", "2", "RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=0;t=10`)
		for _, header := range []string{sent.header, ""} {
			a := s.Send(t, "GET "+path+header)
			want := envelope(429, "Too Many Requests", a.RequestID, sent.path)
			a.Is(t, path, 429, want, headers)
			if a.Seen.Reason != auth.ReasonRateLimited || a.Seen.Limit != exhausted {
				t.Errorf("%s: observed %+v", path, a.Seen)
			}
		}
		if a := s.Send(t, "POST "+path); a.Status != 405 {
			t.Errorf("%s: the method comes before the limit: %d, want 405", path, a.Status)
		}
		if len(g.presented)+len(g.failures) > 0 {
			t.Errorf("%s: the gate was asked all the same", path)
		}
	}
}

// Where the limit of failures is used up, a bad credential is 429 too.
func TestTheLimitOfFailures(t *testing.T) {
	failures := auth.Limit{Name: "failures_per_address", Quota: 30, Window: 30 * time.Second, Reset: 30 * time.Second, Refused: true, RetryAfter: time.Second}
	for path, sent := range at(t) {
		s := serve(t, setup{
			gate:    &gate{failed: auth.ErrRateLimited.With(failures)},
			attempt: func(from *auth.Caller) error { from.Limit = attempts; return nil },
		})
		a := s.Send(t, "GET "+path)
		headers := webtest.JSON("Retry-After", "1", "RateLimit-Policy", `"failures_per_address";q=30;w=30`, "RateLimit", `"failures_per_address";r=0;t=30`)
		want := envelope(429, "Too Many Requests", a.RequestID, sent.path)
		a.Is(t, path, 429, want, headers)
	}
}

// Success and refusal carry what the limiter found, a refusal also where the gate said nothing of it.
func TestEveryAnswerSaysWhatTheLimitFound(t *testing.T) {
	g := &gate{err: auth.ErrAddressNotAllowed}
	s := serve(t, setup{gate: g, attempt: func(from *auth.Caller) error { from.Limit = attempts; return nil }})
	for path, sent := range at(t) {
		for _, header := range []string{sent.header, ""} {
			a := s.Send(t, "GET "+path+header)
			if a.Header.Get("RateLimit-Policy") != `"exchange_per_address";q=100;w=10` || a.Header.Get("RateLimit") != `"exchange_per_address";r=99;t=1` {
				t.Errorf("%s: %d with %v", path, a.Status, a.Header)
			}
		}
	}
}

func TestOnlyGET(t *testing.T) {
	s := serve(t, setup{gate: &gate{}})
	for path, sent := range at(t) {
		for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "FOO"} {
			a := s.Send(t, method+" "+path+sent.header)
			want := envelope(405, "Method Not Allowed", a.RequestID, sent.path)
			if method == "HEAD" {
				want = ""
			}
			a.Is(t, method+" "+path, 405, want, webtest.JSON("Allow", "GET"))
		}
	}
}

func TestTwoLeggedBasic(t *testing.T) {
	g := &gate{grant: auth.Grant{
		Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 1, Session: "s1", Type: verify.OrderAPI, Token: token,
		Expires: now.Add(10 * time.Minute).Truncate(time.Second), Limit: attempts,
	}}
	s := serve(t, setup{gate: g})
	headers := webtest.JSON("RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`)
	for _, authorization := range []string{
		basic("u_aB3dE5gH7jK9", "se:cret"), strings.Replace(basic("u_aB3dE5gH7jK9", "se:cret"), "Basic", "bAsIc", 1),
	} {
		a := s.Send(t, "GET /order-authentication\nAuthorization: "+authorization)
		want := `{"token":"` + token + `","type":"ORDER_API","exp":1731591339000}`
		a.Is(t, authorization, 200, want, headers)
		if a.Seen.Did != auth.DidExchange || a.Seen.Contract != auth.Orders || a.Seen.Type != verify.OrderAPI || a.Seen.Subject.Session != "s1" {
			t.Errorf("observed %+v", a.Seen)
		}

		a = s.Send(t, "GET /api/order-authentication\nAuthorization: "+authorization)
		want = `{"statusCode":200,"message":"OK","metadata":{"languages":["en"],"timestamp":1731590739955,"timezone":"UTC","requestId":"` +
			a.RequestID + `","path":"/api/order-authentication","version":"1.7.0"},"data":{"token":"` + token + `","type":"ORDER_API","exp":600}}`
		a.Is(t, authorization, 200, want, headers)
	}
	for _, p := range g.presented {
		if p.Kind != auth.Basic || p.ID != "aB3dE5gH7jK9" || p.Identifier != "u_aB3dE5gH7jK9" || p.Reveal() != "se:cret" {
			t.Errorf("presented %v", p)
		}
	}
}

// A token that ends with its credential has less left, and never less than nothing.
func TestWhatAnOrderTokenHasLeft(t *testing.T) {
	for left, want := range map[time.Duration]string{45 * time.Millisecond: "1", 2045 * time.Millisecond: "3", -time.Minute: "0"} {
		s := serve(t, setup{gate: &gate{grant: auth.Grant{Type: verify.OrderAPI, Token: token, Expires: now.Add(left)}}})
		a := s.Send(t, "GET /api/order-authentication\nAuthorization: "+basic("u_aB3dE5gH7jK9", "secret"))
		if !strings.HasSuffix(a.Body, `,"exp":`+want+`}}`) {
			t.Errorf("%v left: got %s, want exp %s", left, a.Body, want)
		}
	}
}

func TestCredentialsThatAreNoGood(t *testing.T) {
	good := basic("u_aB3dE5gH7jK9", "secret")
	type wrong struct {
		name    string
		headers string
		err     error
		reason  auth.Reason
	}
	cases := []wrong{
		{"none", "", nil, auth.ReasonNoCredential},
		{"empty", "\nAuthorization:", nil, auth.ReasonNoCredential},
		{"twice", "\nAuthorization: " + good + "\nAuthorization: " + good, nil, auth.ReasonMalformed},
		{"another scheme", "\nAuthorization: Bearer abc", nil, auth.ReasonMalformed},
		{"no scheme", "\nAuthorization: " + strings.TrimPrefix(good, "Basic "), nil, auth.ReasonMalformed},
		{"the scheme alone", "\nAuthorization: Basic", nil, auth.ReasonMalformed},
		{"no base64", "\nAuthorization: Basic !!!!", nil, auth.ReasonMalformed},
		{"no padding", "\nAuthorization: " + strings.TrimRight(basic("u_aB3dE5gH7jK9", "secre"), "="), nil, auth.ReasonMalformed},
		{"no colon", "\nAuthorization: Basic dXNlcg==", nil, auth.ReasonMalformed},
		{"no user", "\nAuthorization: " + basic("", "secret"), nil, auth.ReasonNoCredential},
		{"no password", "\nAuthorization: " + basic("u_aB3dE5gH7jK9", ""), nil, auth.ReasonNoCredential},
		{"NUL", "\nAuthorization: " + basic("u_aB3dE5gH7jK9", "sec\x00ret"), nil, auth.ReasonMalformed},
		{"not UTF-8", "\nAuthorization: " + basic("u_aB3dE5gH7jK9", "sec\xffret"), nil, auth.ReasonMalformed},
		{"another environment", "\nAuthorization: " + basic("test_u_aB3dE5gH7jK9", "secret"), nil, auth.ReasonWrongEnvironment},
		{"the key alone", "\nX-LIQUID-API-KEY: " + key(t), nil, auth.ReasonNoCredential},
	}
	for _, reason := range []auth.Reason{
		auth.ReasonUnknown, auth.ReasonWrongSecret, auth.ReasonRevoked, auth.ReasonExpired, auth.ReasonAccountSuspended,
	} {
		cases = append(cases, wrong{string(reason), "\nAuthorization: " + good, auth.ErrBadCredential.Because(reason), reason})
	}
	for _, path := range []string{"/order-authentication", "/api/order-authentication"} {
		for _, c := range cases {
			g := &gate{err: c.err}
			a := serve(t, setup{gate: g}).Send(t, "GET "+path+c.headers)
			want := envelope(401, "Invalid credentials", a.RequestID, "/api/order-authentication")
			a.Is(t, c.name, 401, want, webtest.JSON("WWW-Authenticate", `Basic realm="gatehouse", charset="UTF-8"`))
			if a.Seen.Reason != c.reason {
				t.Errorf("%s: observed %q, want %q", c.name, a.Seen.Reason, c.reason)
			}
			if asked := len(g.presented) > 0; asked != (c.err != nil) || len(g.failures) > 0 == asked {
				t.Errorf("%s: the gate was asked: %v, and told of a failure: %v", c.name, asked, len(g.failures) > 0)
			}
		}
	}
}

// Protected calls, and whatever is found nowhere.
func TestRefusalsElsewhere(t *testing.T) {
	sent := func(reason auth.Reason) error {
		e := auth.ErrBadToken.Because(reason)
		e.TokenSent = true
		return e
	}
	const realm = `Bearer realm="gatehouse"`
	because := func(s string) string { return realm + `, error="invalid_token", error_description="` + s + `"` }
	route := auth.Limit{Name: "requests_per_account", Quota: 10, Window: time.Minute, Reset: time.Minute, Refused: true, RetryAfter: 6 * time.Second}
	for _, c := range []struct {
		name    string
		err     error
		status  int
		message string
		headers http.Header
		reason  auth.Reason
	}{
		{"no token", auth.ErrBadToken.Because(auth.ReasonNoCredential), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", realm), auth.ReasonNoCredential},
		{"malformed", sent(auth.ReasonMalformed), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token is not valid")), auth.ReasonMalformed},
		{"signature", sent(auth.ReasonSignature), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token is not valid")), auth.ReasonSignature},
		{"issuer", sent(auth.ReasonTokenForeign), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token is not valid")), auth.ReasonTokenForeign},
		{"not yet", sent(auth.ReasonTokenNotYetValid), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token is not valid")), auth.ReasonTokenNotYetValid},
		{"expired", sent(auth.ReasonTokenExpired), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token expired")), auth.ReasonTokenExpired},
		{"revoked", sent(auth.ReasonTokenRevoked), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token was revoked")), auth.ReasonTokenRevoked},
		{"credential revoked", sent(auth.ReasonRevoked), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token was revoked")), auth.ReasonRevoked},
		{"credential expired", sent(auth.ReasonExpired), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token was revoked")), auth.ReasonExpired},
		{"suspended", sent(auth.ReasonAccountSuspended), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token was revoked")), auth.ReasonAccountSuspended},
		{"another type", sent(auth.ReasonTokenWrongType), 401, "Unauthorized", webtest.JSON("WWW-Authenticate", because("The access token is of another type")), auth.ReasonTokenWrongType},
		{"address", auth.ErrAddressNotAllowed, 403, "IP address not authorized", webtest.JSON(), auth.ReasonAddressNotAllowed},
		{"scope", auth.ErrInsufficientScope, 403, "Insufficient scope", webtest.JSON(), auth.ReasonInsufficientScope},
		{
			"too many", auth.ErrRateLimited.With(route), 429, "Too Many Requests",
			webtest.JSON("Retry-After", "6", "RateLimit-Policy", `"requests_per_account";q=10;w=60`, "RateLimit", `"requests_per_account";r=0;t=60`), auth.ReasonRateLimited,
		},
		{"400", &web.StatusError{Status: 400}, 400, "Bad Request", webtest.JSON(), auth.ReasonMalformed},
		{"404", &web.StatusError{Status: 404}, 404, "Not Found", webtest.JSON(), auth.ReasonNoRoute},
		{"405", &web.StatusError{Status: 405, Allow: "GET, POST"}, 405, "Method Not Allowed", webtest.JSON("Allow", "GET, POST"), auth.ReasonMalformed},
		{"413", &web.StatusError{Status: 413}, 413, "Payload Too Large", webtest.JSON(), auth.ReasonMalformed},
		{"500", errors.New("a secret"), 500, "Internal Server Error", webtest.JSON(), ""},
		{"502", &web.StatusError{Status: 502, Err: errors.New("refused")}, 502, "Bad Gateway", webtest.JSON(), auth.ReasonUpstream},
		{"503", auth.ErrOverloaded, 503, "Service Unavailable", webtest.JSON("Retry-After", "1"), auth.ReasonOverloaded},
		{"504", &web.StatusError{Status: 504}, 504, "Gateway Timeout", webtest.JSON(), auth.ReasonUpstream},
	} {
		s := serve(t, setup{gate: &gate{}, next: func(http.ResponseWriter, *web.Request) error { return c.err }})
		a := s.Send(t, "GET /api/v1/products?key=secret")
		want := envelope(c.status, c.message, a.RequestID, "/api/v1/products")
		a.Is(t, c.name, c.status, want, c.headers)
		if a.Seen.Reason != c.reason || a.Seen.Contract != auth.Liquid || (a.Seen.Err != nil) != (c.status >= 500) {
			t.Errorf("%s: observed %+v", c.name, a.Seen)
		}
	}
}

func TestAPathThatIsRefused(t *testing.T) {
	s := serve(t, setup{gate: &gate{}})
	for target, path := range map[string]string{
		"/api/../authentication":              "/api/../authentication",
		"//authentication":                    "//authentication",
		"/%2e%2e/authentication?x":            "/%2e%2e/authentication",
		`/a\b"c`:                              `/a\\b\"c`,
		"http://h/authentication":             "http://h/authentication",
		"/" + strings.Repeat("a", 300) + "//": "/" + strings.Repeat("a", 255),
	} {
		a := s.Send(t, "GET "+target)
		want := envelope(400, "Bad Request", a.RequestID, path)
		a.Is(t, target, 400, want, webtest.JSON())
	}
	for _, path := range []string{"/authentication/", "/Authentication", "/api/authentication/x", "/"} {
		a := s.Send(t, "GET "+path)
		if want := envelope(404, "Not Found", a.RequestID, path); a.Status != 404 || a.Body != want {
			t.Errorf("%s: %d %s\nwant 404 %s", path, a.Status, a.Body, want)
		}
	}
	if a := s.Send(t, "GET /%61uthentication"); a.Status != 400 || !strings.Contains(a.Body, `"statusCode":5000`) {
		t.Errorf("the same address in another spelling: %d %s", a.Status, a.Body)
	}
}

func TestAPanicIsA500(t *testing.T) {
	g := &gate{}
	s := serve(t, setup{gate: g, next: func(http.ResponseWriter, *web.Request) error { panic("canary") }})
	a := s.Send(t, "GET /x")
	if want := envelope(500, "Internal Server Error", a.RequestID, "/x"); a.Status != 500 || a.Body != want {
		t.Errorf("%d %s\nwant 500 %s", a.Status, a.Body, want)
	}
	if a.Seen.Err == nil || !strings.Contains(a.Seen.Err.Error(), "canary") || !strings.Contains(a.Seen.Err.Error(), "liquid_test.go") {
		t.Errorf("observed %v", a.Seen.Err)
	}
}

func TestAnExchangeAllocatesLittle(t *testing.T) {
	g := &gate{grant: auth.Grant{Type: verify.AccessToken, Token: strings.Repeat("x", 560), Expires: now, Limit: attempts}}
	c, err := liquid.New(liquid.Config{Gate: g, Environment: auth.Live, KeyPrefix: "gk", Realm: "r", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	get := c.Keys()[0].Methods["GET"]
	request := &http.Request{Header: http.Header{"X-Liquid-Api-Key": {key(t)}}}
	w := discard{make(http.Header)}
	n := testing.AllocsPerRun(100, func() {
		g.presented = g.presented[:0]
		if err := get(w, &web.Request{Request: request, Caller: auth.Caller{Address: webtest.Address, RequestID: "reqid_abcdefghijk"}}); err != nil {
			t.Fatal(err)
		}
	})
	if n > 10 {
		t.Errorf("%v allocations", n)
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
