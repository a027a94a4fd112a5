package conform

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Contract 3: username and password to a pair that rotates.

const loginPath, refreshPath, logoutPath = "/auth/login", "/auth/refresh", "/auth/logout"

// leeway is how long the previous refresh token is a client's race with itself, as servers have it that nobody told otherwise.
const leeway = 10 * time.Second

func post(target, media, body string, headers ...string) request {
	return request{method: http.MethodPost, target: target, headers: append([]string{"Content-Type: " + media}, headers...), body: body}
}

func asJSON(target string, members any, headers ...string) request {
	text, _ := json.Marshal(members) // strings can be marshaled
	return post(target, "application/json", string(text), headers...)
}

func (l Login) request() request {
	return asJSON(loginPath, map[string]string{"username": l.Username, "password": l.Password})
}

func refreshWith(token string, headers ...string) request {
	return asJSON(refreshPath, map[string]string{"refresh_token": token}, headers...)
}

func bearer(token string) string { return "Authorization: Bearer " + token }

func logoutWith(token string) request {
	return request{method: http.MethodPost, target: logoutPath, headers: []string{bearer(token)}}
}

// A pair is what a login or a refresh gives.
type pair struct{ access, refresh string }

func pairOf(a answer, err error) (pair, error) {
	access, err := got(a, err, "data", "access_token")
	if err != nil {
		return pair{}, err
	}
	refresh, err := got(a, nil, "data", "refresh_token")
	return pair{access, refresh}, err
}

// signIn is a login of its own for a row, so that no other row is disturbed.
func (p *probe) signIn() (pair, error) {
	l, err := p.credentials.login()
	if err != nil {
		return pair{}, err
	}
	return pairOf(p.ask(l.request()))
}

// refreshed spends a refresh token.
func (p *probe) refreshed(token string, headers ...string) (pair, error) {
	return pairOf(p.ask(refreshWith(token, headers...)))
}

// The words of contract 3.
var (
	syntax     = b2bRefuses(http.StatusBadRequest, "SyntaxError", "SYNTAX_ERROR", "Invalid request body")
	validation = func(message string) check {
		return b2bRefuses(http.StatusBadRequest, "ValidationException", "VALIDATION_FAILURE", message)
	}
	mediaType       = b2bRefuses(http.StatusUnsupportedMediaType, "UnsupportedMediaTypeError", "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json")
	noLogin         = all(b2bRefuses(http.StatusUnauthorized, "UnauthorizedError", "UNAUTHORIZED", "Invalid credentials"), challenge(bearerRealm))
	noRefresh       = all(b2bRefuses(http.StatusUnauthorized, "UnauthorizedError", "UNAUTHORIZED", "Invalid refresh token"), challenge(bearerRealm))
	noAccess        = refusal(B2B, http.StatusUnauthorized)
	signedOut       = answers(http.StatusOK, body(object{"success": true, "data": object{"message": "Successfully logged out"}}))
	pairShape       = object{"access_token": isToken, "refresh_token": isToken, "access_expires_at": whenever, "refresh_expires_at": whenever, "client_id": number}
	isPair          = all(answers(http.StatusOK, body(object{"success": true, "data": pairShape})), without("WWW-Authenticate"), pairTimes)
	errRefreshDead  = errors.New("the refresh token that is left does not work")
	errAccessDead   = errors.New("the access token that is left does not work")
	errSessionLives = errors.New("the session lives on")
)

// pairTimes checks a pair's times and account against its tokens.
func pairTimes(a answer) error {
	var problems []error
	for _, which := range []struct{ token, at string }{{"access_token", "access_expires_at"}, {"refresh_token", "refresh_expires_at"}} {
		t, err := open(a.str("data", which.token))
		if err != nil {
			continue // its shape says so
		}
		if want, got := time.Unix(t.int("exp"), 0).UTC().Format(time.RFC3339), a.str("data", which.at); got != want {
			problems = append(problems, fmt.Errorf("data.%s is %q, wanted the token's exp, %s", which.at, got, want))
		}
		if which.token == "access_token" && fmt.Sprint(a.int("data", "client_id")) != t.str("sub") {
			problems = append(problems, fmt.Errorf("data.client_id is not the account's number, the token's sub %q", t.str("sub")))
		}
	}
	return errors.Join(problems...)
}

// does asks and says that what stands in err is so, if the answer is not as it should be.
func (p *probe) does(r request, c check, otherwise error) error {
	if err := p.expect(r, c); err != nil {
		return fmt.Errorf("%w: %w", otherwise, err)
	}
	return nil
}

func (k *Kit) b2b() []row {
	rows := []row{
		k.signInRow("POST /auth/login, good credentials → 200", func(p *probe, l Login) error { return p.expect(l.request(), isPair) }),
		k.signInRow("POST /auth/login, with a charset and unknown members → 200", func(p *probe, l Login) error {
			r := l.request()
			r.headers = []string{`Content-Type: Application/JSON; charset="UTF-8"`}
			r.body = " " + strings.TrimSuffix(r.body, "}") + `,"more":[{}]}` + "\r\n"
			return p.expect(r, isPair)
		}),
		asks("POST /auth/login, unknown user → 401 UNAUTHORIZED", Login{Username: "u_conformanobod", Password: "conform"}.request(), noLogin),
		k.signInRow("POST /auth/login, wrong password → 401 UNAUTHORIZED", func(p *probe, l Login) error {
			l.Password = "conform-is-not-it"
			return p.expect(l.request(), noLogin)
		}),
		k.signInRow("POST /auth/login, user of another environment → 401 UNAUTHORIZED", func(p *probe, l Login) error {
			l.Username = otherEnvironment(l.Username)
			return p.expect(l.request(), noLogin)
		}),
		k.loginGiven("POST /auth/login, user revoked → 401 UNAUTHORIZED", "b2b.revoked", k.config.Credentials.B2B.Revoked, noLogin),
		k.loginGiven("POST /auth/login, address not allowed → 403 FORBIDDEN", "b2b.blocked", k.config.Credentials.B2B.Blocked, refusal(B2B, http.StatusForbidden)),
	}
	rows = append(rows, bodies(loginPath, validation("Username and password are required"), []string{
		`{}`, `[]`, `null`, `"a"`, `7`, `{"username":"u"}`, `{"password":"p"}`, `{"username":"","password":"p"}`, `{"username":"u","password":""}`,
		`{"username":1,"password":"p"}`, `{"username":"u","password":null}`, `{"username":["u"],"password":"p"}`, `{"Username":"u","Password":"p"}`,
		`[{"username":"u","password":"p"}]`,
	})...)
	rows = append(rows, bodies(refreshPath, validation("Refresh token is required"), []string{
		`{}`, `[]`, `null`, `"a"`, `7`, `{"refresh_token":""}`, `{"refresh_token":7}`, `{"refresh_token":null}`, `{"Refresh_token":"x"}`,
		`{"refresh_token":{"refresh_token":"x"}}`,
	})...)
	for _, path := range []string{loginPath, refreshPath, logoutPath} {
		rows = append(rows, methods(B2B, path, http.MethodPost)...)
	}
	rows = append(rows, k.rotation()...)
	rows = append(rows, k.logout()...)
	return append(
		rows,
		token("B2B_ACCESS", 60*60, func(p *probe) (string, error) { s, err := p.signIn(); return s.access, err }),
		row{name: "the refresh token: type, audience, its life of 7 days", run: func(p *probe) error {
			s, err := p.signIn()
			if err != nil {
				return err
			}
			t, err := open(s.refresh)
			if err != nil {
				return err
			}
			access, err := open(s.access)
			if err != nil {
				return err
			}
			return fits("the refresh token", object{"type": "B2B_REFRESH", "aud": access.str("iss") + "/auth/refresh", "life": 7 * 24 * 60 * 60}, map[string]any{
				"type": t.claims["type"], "aud": t.claims["aud"], "life": json.Number(fmt.Sprint(t.int("exp") - t.int("iat"))),
			})
		}},
		limited(B2B, Login{Username: "u_conformanobod", Password: "conform"}.request(), http.StatusUnauthorized,
			b2bRefuses(http.StatusTooManyRequests, "TooManyRequestsError", "TOO_MANY_REQUESTS", "Too many login attempts. Please try again later.")),
	)
}

func (k *Kit) signInRow(name string, run func(p *probe, l Login) error) row {
	return row{name: name, run: func(p *probe) error {
		l, err := p.credentials.login()
		if err != nil {
			return err
		}
		return run(p, l)
	}}
}

func (k *Kit) loginGiven(name, member string, l *Login, c check) row {
	if l == nil {
		l = new(Login)
	}
	return given(name, member, l.Username != "", l.request(), c)
}

// bodies are the rows of what can be wrong with a body; invalid are those that can be read and do not say what they must.
func bodies(path string, refused check, invalid []string) []row {
	at := "POST " + path + ", body "
	tooLarge := refusal(B2B, http.StatusRequestEntityTooLarge)
	var rows []row
	for _, c := range []struct{ name, body string }{
		{"empty", ""},
		{"blank", " "},
		{"not JSON", "username=a&password=b"},
		{"cut off", "{"},
		{"with a trailing comma", `{"a":1,}`},
		{"with a member twice", `{"a":1,"a":2}`},
		{"with a member twice further down", `{"a":{"b":1,"b":2}}`},
		{"with a byte order mark", "\ufeff{}"},
		{"two values", "{} {}"},
		{"and something behind it", "{}x"},
		{"not UTF-8", "{\"a\":\"\xff\"}"},
		{"with half a surrogate pair", `{"a":"\ud800"}`},
		{"33 levels deep", strings.Repeat("[", 33) + strings.Repeat("]", 33)},
	} {
		rows = append(rows, asks(at+c.name+" → 400 SYNTAX_ERROR", post(path, "application/json", c.body), syntax))
	}
	for _, body := range invalid {
		rows = append(rows, asks(at+body+" → 400 VALIDATION_FAILURE", post(path, "application/json", body), refused))
	}
	rows = append(
		rows,
		asks(at+"32 levels deep → 400 VALIDATION_FAILURE", post(path, "application/json", strings.Repeat("[", 32)+strings.Repeat("]", 32)), refused),
		asks(at+"of 64 KiB → 400 VALIDATION_FAILURE", post(path, "application/json", "{}"+strings.Repeat(" ", 64<<10-2)), refused),
		asks(at+"over 64 KiB → 413", post(path, "application/json", "{}"+strings.Repeat(" ", 64<<10-1)), tooLarge),
		asks(at+"over 64 KiB and of another type → 413", post(path, "text/plain", strings.Repeat("x", 64<<10+1)), tooLarge),
	)
	for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/problem+json", "application/json; charset=utf-16"} {
		rows = append(rows, asks(at+"of type "+media+" → 415", post(path, media, "{}"), mediaType))
	}
	return append(
		rows,
		asks(at+"without a type → 415", request{method: http.MethodPost, target: path, body: "{}"}, mediaType),
		asks(at+"with two types → 415", post(path, "application/json", "{}", "Content-Type: application/json"), mediaType),
	)
}

// A login is a row that begins with a login of its own.
func login(name string, run func(p *probe, s pair) error) row {
	return row{name: name, run: func(p *probe) error {
		s, err := p.signIn()
		if err != nil {
			return err
		}
		return run(p, s)
	}}
}

const (
	anIdempotencyKey = "Idempotency-Key: conform-0123456789abcdef"
	another          = "Idempotency-Key: conform-fedcba9876543210"
)

// rotation are the rows about refresh tokens.
func (k *Kit) rotation() []row {
	rows := []row{
		login("POST /auth/refresh → 200, a completely new pair of the same session", func(p *probe, s pair) error {
			a, err := p.ask(refreshWith(s.refresh))
			if err != nil {
				return err
			}
			if err := isPair(a); err != nil {
				return err
			}
			if a.str("data", "access_token") == s.access || a.str("data", "refresh_token") == s.refresh {
				return errors.New("a token of the pair is the old one")
			}
			before, err := open(s.access)
			if err != nil {
				return err
			}
			after, err := open(a.str("data", "access_token"))
			if err != nil {
				return err
			}
			return same(before, after, "iss", "sub", "aud", "cid", "sid", "auth_time", "type")
		}),
		login("a refresh token works once: the previous one, at once → 401, and the session lives on", func(p *probe, s pair) error {
			next, err := p.refreshed(s.refresh)
			if err != nil {
				return err
			}
			return errors.Join(
				p.expect(refreshWith(s.refresh), noRefresh),
				p.does(refreshWith(next.refresh), isPair, errRefreshDead),
			)
		}),
		login("after a refresh the old access token lives on", func(p *probe, s pair) error {
			if _, err := p.refreshed(s.refresh); err != nil {
				return err
			}
			return p.does(logoutWith(s.access), signedOut, errAccessDead)
		}),
		login("a refresh token older than the previous one → 401, and the session is over", func(p *probe, s pair) error {
			second, err := p.refreshed(s.refresh)
			if err != nil {
				return err
			}
			third, err := p.refreshed(second.refresh)
			if err != nil {
				return err
			}
			return errors.Join(
				p.expect(refreshWith(s.refresh), noRefresh),
				p.does(refreshWith(third.refresh), noRefresh, errSessionLives),
				p.does(logoutWith(third.access), all(noAccess, because("The access token was revoked")), errSessionLives),
			)
		}),
		{name: "the previous refresh token, after the leeway → 401, and the session is over", after: waits, run: func(p *probe) error {
			s, err := p.signIn()
			if err != nil {
				return err
			}
			next, err := p.refreshed(s.refresh)
			if err != nil {
				return err
			}
			if err := p.wait(leeway + 2*time.Second); err != nil {
				return err
			}
			return errors.Join(
				p.expect(refreshWith(s.refresh), noRefresh),
				p.does(refreshWith(next.refresh), noRefresh, errSessionLives),
				p.does(logoutWith(next.access), all(noAccess, because("The access token was revoked")), errSessionLives),
			)
		}},
		{name: "a repeat with the same Idempotency-Key, after the leeway → 401", after: waits, run: func(p *probe) error {
			s, err := p.signIn()
			if err != nil {
				return err
			}
			if _, err := p.refreshed(s.refresh, anIdempotencyKey); err != nil {
				return err
			}
			if err := p.wait(leeway + 2*time.Second); err != nil {
				return err
			}
			return p.expect(refreshWith(s.refresh, anIdempotencyKey), noRefresh)
		}},
		login("a repeat with the same Idempotency-Key → 200, the same bytes", func(p *probe, s pair) error {
			first, err := p.ask(refreshWith(s.refresh, anIdempotencyKey))
			if err != nil {
				return err
			}
			second, err := p.ask(refreshWith(s.refresh, anIdempotencyKey))
			if err != nil {
				return err
			}
			if err := errors.Join(isPair(first), isPair(second)); err != nil {
				return err
			}
			if first.body != second.body {
				return errors.New("the two bodies differ")
			}
			return p.does(refreshWith(second.str("data", "refresh_token")), isPair, errRefreshDead)
		}),
		login("a repeat with another Idempotency-Key → 401", func(p *probe, s pair) error {
			if _, err := p.refreshed(s.refresh, anIdempotencyKey); err != nil {
				return err
			}
			return p.expect(refreshWith(s.refresh, another), noRefresh)
		}),
		asks("POST /auth/refresh, no token → 401 UNAUTHORIZED", refreshWith("abc"), noRefresh),
		login("POST /auth/refresh, an access token → 401 UNAUTHORIZED", func(p *probe, s pair) error {
			return p.expect(refreshWith(s.access), noRefresh)
		}),
		login("POST /auth/refresh, a token with another signature → 401 UNAUTHORIZED", func(p *probe, s pair) error {
			return p.expect(refreshWith(resigned(s.refresh)), noRefresh)
		}),
		login("50 refreshes of one token at once → exactly one 200, the rest 401", func(p *probe, s pair) error {
			return p.race(s, nil, 1)
		}),
		login("20 refreshes of one token at once with one Idempotency-Key → 200, all the same bytes", func(p *probe, s pair) error {
			for try := 1; ; try++ {
				err := p.race(s, []string{anIdempotencyKey}, 20)
				if !errors.As(err, new(skip)) || try == mostTries {
					return err
				}
				if err := p.wait(5 * time.Second); err != nil { // limits fill up again
					return err
				}
				if s, err = p.signIn(); err != nil {
					return err
				}
			}
		}),
	}
	badKey := validation("Invalid Idempotency-Key")
	for _, c := range []struct {
		name  string
		lines []string
	}{
		{"empty", []string{"Idempotency-Key:"}},
		{"of 15 characters", []string{"Idempotency-Key: " + strings.Repeat("a", 15)}},
		{"of 129 characters", []string{"Idempotency-Key: " + strings.Repeat("a", 129)}},
		{"with a space", []string{"Idempotency-Key: 0123456789 abcdef"}},
		{"twice", []string{anIdempotencyKey, anIdempotencyKey}},
	} {
		rows = append(rows, asks("POST /auth/refresh, Idempotency-Key "+c.name+" → 400 VALIDATION_FAILURE", refreshWith("x.y.z", c.lines...), badKey))
	}
	return rows
}

// race sends one refresh many times at once: 50 without a key, of which one may succeed; with a key as many as are to succeed.
func (p *probe) race(s pair, headers []string, wanted int) error {
	n := wanted
	if len(headers) == 0 {
		n = 50
	}
	r := refreshWith(s.refresh, headers...)
	var wg sync.WaitGroup
	got := make([]answer, n)
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			got[i], errs[i] = p.kit.wire.exchange(p.ctx, r.method, r.text(p.kit.wire.host), p.kit.config.Timeout)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	granted, limited := 0, 0
	var problems []error
	bodies := map[string]bool{}
	for _, a := range got {
		switch a.status {
		case http.StatusOK:
			granted++
			bodies[a.body] = true
		case http.StatusTooManyRequests:
			limited++
		default:
			problems = append(problems, noRefresh(a))
		}
	}
	p.note(fmt.Sprintf("%d times at once:\r\n%s", n, r.text(p.kit.wire.host)), fmt.Sprintf("%d times 200, %d times 429, %d others", granted, limited, n-granted-limited))
	if limited > 0 && len(headers) > 0 {
		return skip("the server's limits let too few of them through")
	}
	if granted != wanted {
		problems = append(problems, fmt.Errorf("%d were 200, wanted %d", granted, wanted))
	}
	if len(bodies) > 1 && len(headers) > 0 {
		problems = append(problems, fmt.Errorf("the answers are of %d kinds, wanted the same bytes", len(bodies)))
	}
	return errors.Join(problems...)
}

// same compares claims of two tokens.
func same(before, after jws, claims ...string) error {
	var problems []error
	for _, claim := range claims {
		if was, is := fmt.Sprint(before.claims[claim]), fmt.Sprint(after.claims[claim]); was != is {
			problems = append(problems, fmt.Errorf("the new token's %s is %s, wanted the old one's, %s", claim, is, was))
		}
	}
	return errors.Join(problems...)
}

// resigned is a token whose signature is another's: each letter of it but the last is another one.
func resigned(token string) string {
	i := strings.LastIndexByte(token, '.') + 1
	b := []byte(token)
	for j := i; j < len(b)-1; j++ {
		if b[j] = 'A'; token[j] == 'A' {
			b[j] = 'B'
		}
	}
	return string(b)
}

// logout are the rows about it.
func (k *Kit) logout() []row {
	at := "POST /auth/logout, "
	none := all(noAccess, challenge(bearerRealm))
	invalid := all(noAccess, because("The access token is not valid"))
	bare := request{method: http.MethodPost, target: logoutPath}
	wrongType := func(of string) row {
		return row{name: at + "a token of " + of + " → 401 UNAUTHORIZED", run: func(p *probe) error {
			token, err := p.shared(of)
			if err != nil {
				return err
			}
			return p.expect(logoutWith(token), all(noAccess, because("The access token is of another type")))
		}}
	}
	return []row{
		login("POST /auth/logout → 200, and every token of the client is dead", func(p *probe, s pair) error {
			other, err := p.signIn()
			if err != nil {
				return err
			}
			if err := p.expect(logoutWith(s.access), signedOut); err != nil {
				return err
			}
			revoked := all(noAccess, because("The access token was revoked"))
			return errors.Join(
				p.does(logoutWith(s.access), revoked, errors.New("the access token lives on")),
				p.does(logoutWith(other.access), revoked, errors.New("the access token of another session lives on")),
				p.does(refreshWith(s.refresh), noRefresh, errSessionLives),
				p.does(refreshWith(other.refresh), noRefresh, errors.New("another session lives on")),
			)
		}),
		login("a login after a logout lives", func(p *probe, s pair) error {
			if _, err := p.ask(logoutWith(s.access)); err != nil {
				return err
			}
			next, err := p.signIn()
			if err != nil {
				return err
			}
			if err := p.does(refreshWith(next.refresh), isPair, errRefreshDead); err != nil {
				return err
			}
			return p.does(logoutWith(next.access), signedOut, errAccessDead)
		}),
		login(at+"the scheme in other letters → 200", func(p *probe, s pair) error {
			return p.expect(bare.with("Authorization: bEARER "+s.access), signedOut)
		}),
		asks(at+"no token → 401 UNAUTHORIZED", bare, none),
		asks(at+"header empty → 401 UNAUTHORIZED", bare.with("Authorization:"), none),
		asks(at+"another scheme → 401 UNAUTHORIZED", bare.with("Authorization: Basic dTpw"), none),
		asks(at+"token malformed → 401 UNAUTHORIZED", bare.with(bearer("abc")), invalid),
		login(at+"token with another signature → 401 UNAUTHORIZED", func(p *probe, s pair) error { return p.expect(logoutWith(resigned(s.access)), invalid) }),
		login(at+"token twice → 401 UNAUTHORIZED", func(p *probe, s pair) error {
			return p.expect(bare.with(bearer(s.access), bearer(s.access)), invalid)
		}),
		login(at+"a refresh token → 401 UNAUTHORIZED", func(p *probe, s pair) error { return p.expect(logoutWith(s.refresh), noAccess) }),
		wrongType(Liquid), wrongType(Orders), wrongType(OAuth),
	}
}
