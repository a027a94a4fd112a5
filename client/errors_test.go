package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/client"
)

// all are the values that an error can match.
var all = map[string]error{
	"KeyNotFound": client.ErrKeyNotFound, "InvalidCredentials": client.ErrInvalidCredentials, "InvalidRefreshToken": client.ErrInvalidRefreshToken,
	"Unauthorized": client.ErrUnauthorized, "TokenExpired": client.ErrTokenExpired, "TokenRevoked": client.ErrTokenRevoked,
	"TokenWrongType": client.ErrTokenWrongType, "TokenInvalid": client.ErrTokenInvalid, "AddressNotAllowed": client.ErrAddressNotAllowed,
	"InsufficientScope": client.ErrInsufficientScope, "InvalidScope": client.ErrInvalidScope, "BadRequest": client.ErrBadRequest,
	"NotFound": client.ErrNotFound, "MethodNotAllowed": client.ErrMethodNotAllowed, "PayloadTooLarge": client.ErrPayloadTooLarge,
	"UnsupportedMediaType": client.ErrUnsupportedMediaType, "TooManyRequests": client.ErrTooManyRequests, "Internal": client.ErrInternal,
	"BadGateway": client.ErrBadGateway, "Unavailable": client.ErrUnavailable, "GatewayTimeout": client.ErrGatewayTimeout, "BadAnswer": client.ErrBadAnswer,
}

// checkError fails unless err is a *client.Error with these values, has the request id in its text, and matches the named
// values and no others.
func checkError(t *testing.T, what string, err error, want client.Error, names ...string) {
	t.Helper()
	var got *client.Error
	if !errors.As(err, &got) {
		t.Errorf("%s: got %v, want an *Error", what, err)
		return
	}
	if want.Contract == client.OAuth && want.Message == "" { // descriptions are not part of contract 4
		want.Message = got.Message
	}
	if got.Contract != want.Contract || got.Status != want.Status || got.Code != want.Code || got.Message != want.Message || got.Reason != want.Reason {
		t.Errorf("%s: got %+v, want %+v", what, got, &want)
	}
	if got.RequestID == "" || !strings.Contains(err.Error(), "(request "+got.RequestID+")") {
		t.Errorf("%s: no request id in %v", what, err)
	}
	if limited := got.Status == 429 || got.Status == 503; limited != (got.RetryAfter > 0) {
		t.Errorf("%s: Retry-After %v", what, got.RetryAfter)
	}
	for name, value := range all {
		wanted := false
		for _, n := range names {
			wanted = wanted || n == name
		}
		if errors.Is(err, value) != wanted {
			t.Errorf("%s: errors.Is Err%s is %v: %v", what, name, !wanted, err)
		}
	}
}

// ask makes a call and returns what Check says of it, and that the body can still be read.
func ask(t *testing.T, method, url, body string, header ...string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	err = client.Check(res)
	if text, _ := io.ReadAll(res.Body); len(text) == 0 {
		t.Errorf("%s %s: the body is gone", method, url)
	}
	return err
}

const (
	jsonType    = "application/json"
	contentType = "Content-Type"
)

func TestErrorsOfARealServer(t *testing.T) {
	const away = "http://127.0.0.1:1"
	h := openHouse(t, "")
	account := h.NewAccount("Partner")
	key, basic, login := h.NewAPIKey(account), h.NewBasic(account), h.NewLogin(account)
	once := func(c *client.Config) { c.Attempts = 1 }
	fails := func(c client.Credential) error {
		t.Helper()
		_, err := h.client(c, once).Token(t.Context())
		return err
	}

	// Contract 1.
	wrong := client.APIKey{Key: client.NewSecret(key.Identifier + "x")}
	checkError(t, "a key", fails(wrong), client.Error{Contract: client.Liquid, Status: 400, Code: "5000", Message: "API Key not found"}, "KeyNotFound")
	bearer := "Bearer " + token(t, h.client(client.APIKey{Key: client.NewSecret(key.Identifier)}))
	unauthorized := client.Error{Contract: client.Liquid, Status: 401, Code: "401", Message: "Unauthorized"}
	checkError(t, "no token", ask(t, "GET", h.URL+"/api/", ""), unauthorized, "Unauthorized")
	unauthorized.Reason = "The access token is not valid"
	checkError(t, "a broken token", ask(t, "GET", h.URL+"/api/", "", "Authorization", bearer+"x"), unauthorized, "Unauthorized", "TokenInvalid")
	unauthorized.Reason = "The access token is of another type"
	checkError(t, "another's token", ask(t, "GET", h.URL+"/api/orders", "", "Authorization", bearer), unauthorized, "Unauthorized", "TokenWrongType")
	checkError(t, "a scope", ask(t, "GET", h.URL+"/api/admin", "", "Authorization", bearer),
		client.Error{Contract: client.Liquid, Status: 403, Code: "403", Message: "Insufficient scope"}, "InsufficientScope")
	checkError(t, "no route", ask(t, "GET", h.URL+"/nowhere", ""), client.Error{Contract: client.Liquid, Status: 404, Code: "404", Message: "Not Found"}, "NotFound")
	checkError(t, "a method", ask(t, "POST", h.URL+"/authentication", ""),
		client.Error{Contract: client.Liquid, Status: 405, Code: "405", Message: "Method Not Allowed"}, "MethodNotAllowed")
	checkError(t, "a path", ask(t, "GET", h.URL+"/api//x", ""), client.Error{Contract: client.Liquid, Status: 400, Code: "400", Message: "Bad Request"}, "BadRequest")

	// Contract 2.
	checkError(t, "a password", fails(client.Basic{UserID: basic.Identifier, Password: client.NewSecret("canary")}),
		client.Error{Contract: client.Orders, Status: 401, Code: "401", Message: "Invalid credentials"}, "InvalidCredentials")

	// Contract 3.
	b2b := func(status int, code, message string) client.Error {
		return client.Error{Contract: client.B2B, Status: status, Code: code, Message: message}
	}
	checkError(t, "a login", fails(client.Login{Username: login.Identifier, Password: client.NewSecret("canary")}),
		b2b(401, "UNAUTHORIZED", "Invalid credentials"), "InvalidCredentials")
	good := client.Login{Username: login.Identifier, Password: client.NewSecret(login.Secret)}
	bearer3 := "Bearer " + token(t, h.client(good))
	for _, c := range []struct {
		path, body, kind string
		want             client.Error
		name             string
	}{
		{"/auth/login", "{", jsonType, b2b(400, "SYNTAX_ERROR", "Invalid request body"), "BadRequest"},
		{"/auth/login", "{}", jsonType, b2b(400, "VALIDATION_FAILURE", "Username and password are required"), "BadRequest"},
		{"/auth/refresh", "{}", jsonType, b2b(400, "VALIDATION_FAILURE", "Refresh token is required"), "BadRequest"},
		{"/auth/refresh", `{"refresh_token":"x"}`, jsonType, b2b(401, "UNAUTHORIZED", "Invalid refresh token"), "InvalidRefreshToken"},
		{"/auth/login", `"` + strings.Repeat("x", 65<<10) + `"`, jsonType, b2b(413, "PAYLOAD_TOO_LARGE", "Request body too large"), "PayloadTooLarge"},
		{"/auth/login", "{}", "text/plain", b2b(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json"), "UnsupportedMediaType"},
		{"/auth/nowhere", "{}", jsonType, b2b(404, "NOT_FOUND", "Not found"), "NotFound"},
	} {
		checkError(t, c.path+" "+c.want.Message, ask(t, "POST", h.URL+c.path, c.body, contentType, c.kind), c.want, c.name)
	}
	checkError(t, "an Idempotency-Key", ask(t, "POST", h.URL+"/auth/refresh", `{"refresh_token":"x"}`, contentType, jsonType, "Idempotency-Key", "short"),
		b2b(400, "VALIDATION_FAILURE", "Invalid Idempotency-Key"), "BadRequest")
	checkError(t, "a method of contract 3", ask(t, "GET", h.URL+"/auth/login", ""), b2b(405, "METHOD_NOT_ALLOWED", "Method not allowed"), "MethodNotAllowed")
	checkError(t, "a logout", ask(t, "POST", h.URL+"/auth/logout", ""), b2b(401, "UNAUTHORIZED", "Authentication required"), "Unauthorized")
	checkError(t, "a path of contract 3", ask(t, "GET", h.URL+"/auth//x", ""), b2b(400, "BAD_REQUEST", "Bad request"), "BadRequest")
	checkError(t, "a scope in contract 3", ask(t, "GET", h.URL+"/api/b2badmin", "", "Authorization", bearer3),
		b2b(403, "FORBIDDEN", "Insufficient scope"), "InsufficientScope")

	// Contract 4.
	o4 := func(status int, code string) client.Error {
		return client.Error{Contract: client.OAuth, Status: status, Code: code}
	}
	machine := h.NewOAuthClient(account, "orders:read")
	good4 := client.OAuthClient{ID: machine.Identifier, Secret: client.NewSecret(machine.Secret)}
	bearer4 := "Bearer " + token(t, h.client(good4))
	checkError(t, "a client's secret", fails(client.OAuthClient{ID: machine.Identifier, Secret: client.NewSecret("canary")}),
		o4(401, "invalid_client"), "InvalidCredentials")
	checkError(t, "a client's scope", fails(client.OAuthClient{ID: good4.ID, Secret: good4.Secret, Scopes: []string{"admin"}}),
		o4(400, "invalid_scope"), "InvalidScope")
	checkError(t, "no grant", ask(t, "POST", h.URL+"/oauth/token", "", contentType, "application/x-www-form-urlencoded"),
		o4(400, "invalid_request"), "BadRequest")
	checkError(t, "another grant", ask(t, "POST", h.URL+"/oauth/token", "grant_type=password", contentType, "application/x-www-form-urlencoded"),
		o4(400, "unsupported_grant_type"), "BadRequest")
	checkError(t, "no form", ask(t, "POST", h.URL+"/oauth/token", "{}", contentType, jsonType), o4(415, "invalid_request"), "UnsupportedMediaType")
	checkError(t, "an address of contract 4", ask(t, "GET", h.URL+"/oauth/nowhere", ""), o4(404, "invalid_request"), "NotFound")
	checkError(t, "a method of contract 4", ask(t, "GET", h.URL+"/oauth/token", ""), o4(405, "invalid_request"), "MethodNotAllowed")
	checkError(t, "no token in contract 4", ask(t, "GET", h.URL+"/api/machines", ""),
		o4(401, "invalid_token"), "Unauthorized")
	checkError(t, "a scope in contract 4", ask(t, "GET", h.URL+"/api/machines/admin", "", "Authorization", bearer4),
		o4(403, "insufficient_scope"), "InsufficientScope")

	// What happens to tokens that are out.
	h.AllowIP(account, "192.0.2.0/24")
	forbidden := client.Error{Contract: client.Liquid, Status: 403, Code: "403", Message: "IP address not authorized"}
	checkError(t, "a key, from elsewhere", fails(client.APIKey{Key: client.NewSecret(key.Identifier)}), forbidden, "AddressNotAllowed")
	checkError(t, "a call, from elsewhere", ask(t, "GET", h.URL+"/api/", "", "Authorization", bearer), forbidden, "AddressNotAllowed")
	forbidden.Contract = client.Orders
	checkError(t, "a password, from elsewhere", fails(client.Basic{UserID: basic.Identifier, Password: client.NewSecret(basic.Secret)}), forbidden, "AddressNotAllowed")
	checkError(t, "a login, from elsewhere", fails(good), b2b(403, "FORBIDDEN", "IP address not authorized"), "AddressNotAllowed")
	checkError(t, "a client, from elsewhere", fails(good4), o4(403, "access_denied"), "AddressNotAllowed")
	h.RevokeCredential(key.ID)
	unauthorized.Reason = "The access token was revoked"
	checkError(t, "a revoked token", ask(t, "GET", h.URL+"/api/", "", "Authorization", bearer), unauthorized, "Unauthorized", "TokenRevoked")
	h.Clock.Advance(25 * time.Hour)
	unauthorized.Reason = "The access token expired"
	checkError(t, "an old token", ask(t, "GET", h.URL+"/api/", "", "Authorization", bearer), unauthorized, "Unauthorized", "TokenExpired")

	// Limits, and an API that is not there.
	tight := openHouse(t, "limits: {exchange_per_address: {rate: 1/min, burst: 1}}\n", `
  - {path: /away, upstream: "`+away+`", public: true, errors: liquid}
  - {path: /b2baway, upstream: "`+away+`", public: true, errors: b2b}
  - {path: /oauthaway, upstream: "`+away+`", public: true, errors: oauth}
`)
	account = tight.NewAccount("Partner")
	limited := func(c client.Credential) error {
		t.Helper()
		for range 2 {
			if _, err := tight.client(c, once).Token(t.Context()); err != nil {
				return err
			}
		}
		return nil
	}
	key, basic, login = tight.NewAPIKey(account), tight.NewBasic(account), tight.NewLogin(account)
	many := client.Error{Contract: client.Liquid, Status: 429, Code: "429", Message: "Too Many Requests"}
	checkError(t, "too many keys", limited(client.APIKey{Key: client.NewSecret(key.Identifier)}), many, "TooManyRequests")
	many.Contract = client.Orders
	checkError(t, "too many passwords", limited(client.Basic{UserID: basic.Identifier, Password: client.NewSecret(basic.Secret)}), many, "TooManyRequests")
	checkError(t, "too many logins", limited(client.Login{Username: login.Identifier, Password: client.NewSecret(login.Secret)}),
		b2b(429, "TOO_MANY_REQUESTS", "Too many login attempts. Please try again later."), "TooManyRequests")
	machine = tight.NewOAuthClient(account)
	checkError(t, "too many clients", limited(client.OAuthClient{ID: machine.Identifier, Secret: client.NewSecret(machine.Secret)}),
		o4(429, "temporarily_unavailable"), "TooManyRequests")
	checkError(t, "too many logouts", ask(t, "POST", tight.URL+"/auth/logout", ""),
		b2b(429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later."), "TooManyRequests")
	checkError(t, "no API", ask(t, "GET", tight.URL+"/away", ""), client.Error{Contract: client.Liquid, Status: 502, Code: "502", Message: "Bad Gateway"}, "BadGateway")
	checkError(t, "no API, b2b", ask(t, "GET", tight.URL+"/b2baway", ""), b2b(502, "BAD_GATEWAY", "Bad gateway"), "BadGateway")
	checkError(t, "no API, oauth", ask(t, "GET", tight.URL+"/oauthaway", ""),
		o4(502, "server_error"), "BadGateway")
}

// The rows that a server can hardly be brought to say.
func TestErrorsByTheirWords(t *testing.T) {
	const id = "reqid_123abc45def"
	liquid := func(code, message string) string {
		return `{"statusCode":` + code + `,"message":"` + message + `","metadata":{"languages":["en"],"timestamp":1,"timezone":"UTC","requestId":"` + id + `","path":"/x","version":"1.7.0"},"errors":[]}`
	}
	b2b := func(name, code, message string) string {
		return `{"error":{"name":"` + name + `","code":"` + code + `","message":"` + message + `"}}`
	}
	oauth := func(code string) string { return `{"error":"` + code + `","error_description":"As it is"}` }
	of := func(contract client.Contract, status int, code, message string) client.Error {
		return client.Error{Contract: contract, Status: status, Code: code, Message: message}
	}
	for _, c := range []struct {
		body string
		want client.Error
		name string
	}{
		{liquid("413", "Payload Too Large"), of(client.Liquid, 413, "413", "Payload Too Large"), "PayloadTooLarge"},
		{liquid("500", "Internal Server Error"), of(client.Liquid, 500, "500", "Internal Server Error"), "Internal"},
		{liquid("503", "Service Unavailable"), of(client.Liquid, 503, "503", "Service Unavailable"), "Unavailable"},
		{liquid("504", "Gateway Timeout"), of(client.Liquid, 504, "504", "Gateway Timeout"), "GatewayTimeout"},
		{b2b("InternalServerError", "INTERNAL_SERVER_ERROR", "Internal server error"), of(client.B2B, 500, "INTERNAL_SERVER_ERROR", "Internal server error"), "Internal"},
		{b2b("ServiceUnavailableError", "SERVICE_UNAVAILABLE", "Service temporarily unavailable"), of(client.B2B, 503, "SERVICE_UNAVAILABLE", "Service temporarily unavailable"), "Unavailable"},
		{b2b("GatewayTimeoutError", "GATEWAY_TIMEOUT", "Gateway timeout"), of(client.B2B, 504, "GATEWAY_TIMEOUT", "Gateway timeout"), "GatewayTimeout"},
		{oauth("invalid_client"), of(client.OAuth, 401, "invalid_client", "As it is"), "InvalidCredentials"},
		{oauth("invalid_token"), of(client.OAuth, 401, "invalid_token", "As it is"), "Unauthorized"},
		{oauth("invalid_scope"), of(client.OAuth, 400, "invalid_scope", "As it is"), "InvalidScope"},
		{oauth("invalid_grant"), of(client.OAuth, 400, "invalid_grant", "As it is"), "InvalidRefreshToken"},
		{oauth("invalid_request"), of(client.OAuth, 400, "invalid_request", "As it is"), "BadRequest"},
		{oauth("invalid_request"), of(client.OAuth, 404, "invalid_request", "As it is"), "NotFound"},
		{oauth("unsupported_grant_type"), of(client.OAuth, 400, "unsupported_grant_type", "As it is"), "BadRequest"},
		{oauth("access_denied"), of(client.OAuth, 403, "access_denied", "As it is"), "AddressNotAllowed"},
		{oauth("insufficient_scope"), of(client.OAuth, 403, "insufficient_scope", "As it is"), "InsufficientScope"},
		{oauth("temporarily_unavailable"), of(client.OAuth, 429, "temporarily_unavailable", "As it is"), "TooManyRequests"},
		{oauth("temporarily_unavailable"), of(client.OAuth, 503, "temporarily_unavailable", "As it is"), "Unavailable"},
		{oauth("server_error"), of(client.OAuth, 500, "server_error", "As it is"), "Internal"},
		{"<h1>Bad Gateway</h1>", of(0, 502, "", ""), "BadGateway"},
		{`{"error":7}`, of(0, 404, "", ""), "NotFound"},
		{`{"statusCode":400,"message":"x","errors":["the API's own"]}`, of(client.Liquid, 400, "400", "x"), "BadRequest"},
	} {
		header := []string{"X-Request-Id", id}
		if c.want.Status == 429 || c.want.Status == 503 {
			header = append(header, "Retry-After", "3600")
		}
		checkError(t, c.body, client.Check(says(c.want.Status, c.body, header...)), c.want, c.name)

		// As the answer to an exchange it says the same.
		credential := client.Credential(client.APIKey{Key: client.NewSecret("canary")})
		w := newWire(t, nil)
		w.on(always(c.want.Status, c.body, header...))
		_, err := newClient(t, client.Config{
			BaseURL: "https://auth.example", Credential: credential, Transport: w,
			Sleep: func(context.Context, time.Duration) error { return nil },
		}).Token(t.Context())
		checkError(t, c.body, err, c.want, c.name)
	}
	if err := client.Check(says(302, "")); err != nil {
		t.Error(err)
	}
	if got := client.Check(says(418, "")).Error(); got != "418 I'm a teapot" {
		t.Error(got)
	}
	got := client.Check(says(429, liquid("429", "Too Many Requests"), "Retry-After", "Sun, 22 Nov 2026 09:00:07 GMT", "Date", "Sun, 22 Nov 2026 09:00:00 GMT")).Error()
	if got != "429 Too Many Requests (again in 7s)" {
		t.Error(got)
	}
}

// A server that sends back what it was sent, and one that sends anything at all, bring no secret into an error.
func TestNoSecretInAnError(t *testing.T) {
	const secret = "short-canary"
	for _, credential := range []client.Credential{
		client.APIKey{Key: client.NewSecret(secret)},
		client.Basic{UserID: "u", Password: client.NewSecret(secret)},
		client.Login{Username: "u", Password: client.NewSecret(secret)},
		client.OAuthClient{ID: "u", Secret: client.NewSecret(secret)},
	} {
		for _, place := range []string{"message", "code", "id", "challenge", "connection"} {
			w := newWire(t, nil)
			w.on(func(req *http.Request) (*http.Response, error) {
				sent := secret
				for _, name := range []string{"X-Liquid-Api-Key", "Authorization"} {
					if value := req.Header.Get(name); value != "" {
						sent = value
					}
				}
				switch place {
				case "message":
					return says(401, `{"statusCode":401,"message":"no `+sent+`","errors":[]}`), nil
				case "code":
					return says(401, `{"error":"`+sent+`"}`), nil
				case "id":
					return says(401, "", "X-Request-Id", sent), nil
				case "challenge":
					return says(401, "", "WWW-Authenticate", `Bearer realm="x", error_description="`+sent+`"`), nil
				}
				return nil, errors.New("connection refused")
			})
			_, err := newClient(t, client.Config{
				BaseURL: "https://auth.example", Credential: credential, Transport: w, Attempts: 1,
			}).Token(t.Context())
			if err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "Y2FuYXJ5") || strings.Contains(err.Error(), "Basic") {
				t.Errorf("%T, %s: %v", credential, place, err)
			}
		}
	}
	token := strings.Repeat("eyJhbGciOiJFZERTQSJ9.", 3)
	for _, err := range []error{
		client.Check(says(401, `{"statusCode":401,"message":"`+token+`","errors":[]}`)),
		client.Check(says(401, `{"statusCode":401,"message":"line\nline","errors":[]}`, "X-Request-Id", "a\x1b[31m")),
	} {
		if err.Error() != "401 Unauthorized" {
			t.Error(err)
		}
	}
}
