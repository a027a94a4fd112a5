package server

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What a client may have is what its credential has, and never what is for operators to give.
func TestTheScopesOfAClient(t *testing.T) {
	w := newWorld(t, unlimited)
	_, id, secret := w.issue(auth.OAuth, "orders:read", "orders:write", "gatehouse:introspect")
	for form, want := range map[string]string{
		"":                                        "orders:read orders:write",
		"&scope=":                                 "orders:read orders:write",
		"&scope=orders%3Awrite":                   "orders:write",
		"&scope=orders:write+orders:read":         "orders:read orders:write",
		"&scope=orders:read+orders:read":          "orders:read",
		"&scope=orders:delete":                    "invalid_scope",
		"&scope=orders:read+orders:delete":        "invalid_scope",
		"&scope=gatehouse:introspect":             "invalid_scope",
		"&scope=orders:read+gatehouse:introspect": "invalid_scope",
		"&scope=Orders:read":                      "invalid_scope",
		"&scope=+":                                "invalid_scope",
	} {
		a := w.form("/oauth/token", id, secret, "grant_type=client_credentials"+form)
		var got struct {
			AccessToken string `json:"access_token"`
			Scope       string
			Error       string
		}
		a.decode(t, &got)
		if want == "invalid_scope" {
			if a.Code != http.StatusBadRequest || got.Error != want {
				t.Errorf("%s: %d %s", form, a.Code, a.Body)
			}
			continue
		}
		p, alive := w.alive(got.AccessToken, "192.0.2.1")
		if a.Code != http.StatusOK || got.Scope != want || !alive || p.Scope != want || p.Type != "OAUTH_ACCESS" {
			t.Errorf("%s: %d %s, the token says %q", form, a.Code, a.Body, p.Scope)
		}
	}
	_, id, secret = w.issue(auth.OAuth, "gatehouse:revoke")
	got, _ := w.token(id, secret, "grant_type=client_credentials")
	if p, alive := w.alive(got.AccessToken, "192.0.2.1"); !alive || got.Scope != "" || p.Scope != "" {
		t.Errorf("a client with nothing for tokens got %+v", got)
	}
}

func TestADisabledContractHasNoAddresses(t *testing.T) {
	w := newWorld(t, "contracts: {oauth: {enabled: false}}")
	_, id, secret := w.issue(auth.OAuth)
	for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke"} {
		if a := w.form(path, id, secret, "grant_type=client_credentials"); a.Code != http.StatusNotFound || a.Body.String() != `{"error":"invalid_request","error_description":"Not found"}` {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}
	if a := w.ask("GET", "/.well-known/oauth-authorization-server", ""); a.Code != http.StatusNotFound {
		t.Errorf("the metadata: %d", a.Code)
	}
	if a := w.ask("GET", "/.well-known/jwks.json", ""); a.Code != http.StatusOK {
		t.Errorf("the key set: %d", a.Code)
	}
}

// A client is an OAuth client with its secret.
type client struct{ id, secret string }

func (w *world) client(scopes ...string) client {
	w.t.Helper()
	_, id, secret := w.issue(auth.OAuth, scopes...)
	return client{id, secret}
}

// inAnotherAccount does something for a new account.
func (w *world) inAnotherAccount(do func()) {
	w.t.Helper()
	mine := w.account
	defer func() { w.account = mine }()
	other, err := w.Registry().CreateAccount(w.t.Context(), operator, "Other", "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.account = other.ID
	do()
}

func (w *world) refreshAs(c client, token string, more ...string) (tokenAnswer, int) {
	w.t.Helper()
	return w.token(c.id, c.secret, "grant_type=refresh_token&refresh_token="+token+strings.Join(more, ""))
}

// inspection is what a client is told of a token.
type inspection struct {
	Active        bool
	Iss, Sub, Aud string
	Iat, Nbf, Exp int64
	Scope, Jti    string
	TokenType     string `json:"token_type"`
}

func (w *world) introspect(c client, token string) inspection {
	w.t.Helper()
	a := w.form("/oauth/introspect", c.id, c.secret, "token="+token)
	var got inspection
	a.decode(w.t, &got)
	if dead := a.Body.String() == `{"active":false}`; a.Code != http.StatusOK || got.Active == dead {
		w.t.Fatalf("introspect: %d %s", a.Code, a.Body)
	}
	return got
}

func (w *world) revokeAs(c client, token string) {
	w.t.Helper()
	if a := w.form("/oauth/revoke", c.id, c.secret, "token="+token); a.Code != http.StatusOK || a.Body.Len() > 0 {
		w.t.Fatalf("revoke: %d %s", a.Code, a.Body)
	}
}

// One session, two ways to refresh it, and the same rules.
func TestARefreshThroughOAuth(t *testing.T) {
	w := newWorld(t, unlimited)
	mine := w.client()
	var stranger client
	w.inAnotherAccount(func() { stranger = w.client(auth.ScopeIntrospect, auth.ScopeRevoke) })
	_, username, password := w.issue(auth.Login, "a", "b")
	login, _ := w.login(username, password)

	if _, code := w.refreshAs(stranger, login.Refresh); code != http.StatusBadRequest {
		t.Errorf("another account's client: %d", code)
	}
	first, code := w.refreshAs(mine, login.Refresh) // so that had spent nothing
	p, alive := w.alive(first.AccessToken, "192.0.2.1")
	if code != http.StatusOK || !alive || p.Type != b2bAccess || p.Scope != "a b" || first.Scope != "a b" {
		t.Fatalf("the account's own client: %d %+v", code, first)
	}
	second, code := w.refresh(first.RefreshToken, "")
	if code != http.StatusOK || !w.works(second.Access) || !w.works(login.Access) {
		t.Fatalf("and then through contract 3: %d", code)
	}

	// Narrowed is the one access token, and nothing after it.
	if _, code := w.refreshAs(mine, second.Refresh, "&scope=a+c"); code != http.StatusBadRequest {
		t.Errorf("a scope that the session does not have: %d", code)
	}
	third, code := w.refreshAs(mine, second.Refresh, "&scope=b")
	if p, alive := w.alive(third.AccessToken, "192.0.2.1"); code != http.StatusOK || third.Scope != "b" || !alive || p.Scope != "b" {
		t.Fatalf("a narrower token: %d %+v", code, third)
	}
	if third, code = w.refreshAs(mine, third.RefreshToken); code != http.StatusOK || third.Scope != "a b" {
		t.Fatalf("the one after a narrower token: %d %+v", code, third)
	}

	// The same key gives the same answer, for the same request.
	key := []string{"Idempotency-Key", "0123456789abcdef"}
	ask := func(more string) answer {
		return w.form("/oauth/token", mine.id, mine.secret, "grant_type=refresh_token&refresh_token="+third.RefreshToken+more, key...)
	}
	was := ask("&scope=a")
	if again := ask("&scope=a"); was.Code != http.StatusOK || seen(again) != seen(was) {
		t.Errorf("repeated: %s, then %s", seen(was), seen(again))
	}
	if other := ask(""); other.Code != http.StatusBadRequest {
		t.Errorf("another request under the same key: %d", other.Code)
	}
	var fourth tokenAnswer
	was.decode(t, &fourth)
	if !w.introspect(mine, fourth.RefreshToken).Active {
		t.Error("racing with oneself ended the session")
	}

	// Whoever has an old one ends it, whichever way it is presented.
	w.move(time.Minute)
	if _, code := w.refreshAs(mine, first.RefreshToken); code != http.StatusBadRequest {
		t.Errorf("an old one: %d", code)
	}
	if _, code := w.refresh(fourth.RefreshToken, ""); code != http.StatusUnauthorized || w.works(login.Access) {
		t.Errorf("the session lives after theft: %d", code)
	}
}

func TestOfAHundredRefreshesThroughBothContractsExactlyOneWins(t *testing.T) {
	w := newWorld(t, unlimited)
	mine := w.client()
	_, username, password := w.issue(auth.Login)
	login, _ := w.login(username, password)
	token := login.Refresh
	for round := range rounds(t, 20) {
		var won []string
		for _, next := range together(100, func(i int) string {
			if i%2 == 0 {
				p, _ := w.refresh(token, "")
				return p.Refresh
			}
			got, _ := w.refreshAs(mine, token)
			return got.RefreshToken
		}) {
			if next != "" {
				won = append(won, next)
			}
		}
		if len(won) != 1 {
			t.Fatalf("round %d: %d of a hundred won", round, len(won))
		}
		token = won[0]
	}
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t, "public_url: https://auth.example.com\n"+unlimited)
	mine := w.client()
	var stranger, trusted client
	w.inAnotherAccount(func() { stranger, trusted = w.client(), w.client(auth.ScopeIntrospect) })
	for _, kind := range auth.Kinds {
		h := w.holder(kind)
		for _, c := range []client{mine, trusted} {
			got := w.introspect(c, h.access)
			if !got.Active || got.Iss != "https://auth.example.com" || got.Aud != got.Iss || got.Sub != w.account.String() || got.Jti == "" ||
				got.Scope != "orders:read orders:write" || got.Nbf != got.Iat-30 || got.Exp <= got.Iat || got.TokenType != "Bearer" {
				t.Errorf("%s: %+v", kind, got)
			}
		}
		if w.introspect(stranger, h.access).Active {
			t.Errorf("%s: another account's client is told", kind)
		}
		if h.refresh == "" {
			continue
		}
		got := w.introspect(mine, h.refresh)
		if !got.Active || got.Iss != "https://auth.example.com" || got.Aud != got.Iss+"/auth/refresh" || got.TokenType != "N_A" || got.Jti == "" ||
			got.Sub != w.account.String() || got.Scope != "orders:read orders:write" || got.Nbf != got.Iat-30 || got.Exp-got.Iat != 7*24*3600 {
			t.Errorf("a refresh token: %+v", got)
		}
		if !w.introspect(trusted, h.refresh).Active || w.introspect(stranger, h.refresh).Active {
			t.Error("a refresh token is told to the wrong ones")
		}
		next, code := w.refresh(h.refresh, "")
		if code != http.StatusOK {
			t.Fatalf("to look at a refresh token spent it: %d", code)
		}
		if w.introspect(mine, h.refresh).Active || !w.introspect(mine, next.Refresh).Active {
			t.Error("a refresh token that was spent is alive, or the next is not")
		}
	}
	for _, token := range []string{"x", "a.b.c", strings.Repeat("x", 5000)} {
		if w.introspect(mine, token).Active {
			t.Errorf("%.20s is a token", token)
		}
	}
}

// What dies is dead for whoever asks, from the moment on at which it is dead everywhere.
func TestIntrospectionKnowsWhatEnded(t *testing.T) {
	for _, kind := range auth.Kinds {
		w := newWorld(t, unlimited)
		var trusted client // its own account is not what changes
		w.inAnotherAccount(func() { trusted = w.client(auth.ScopeIntrospect) })
		for name, end := range map[string]func(h *holder) error{
			"the credential revoked": func(h *holder) error {
				_, err := w.Registry().RevokeCredential(t.Context(), operator, h.credential.ID)
				return err
			},
			"the session revoked": func(h *holder) error {
				p, ok := w.alive(h.access, "192.0.2.1")
				if !ok {
					return errors.New("dead already")
				}
				_, err := w.Registry().RevokeSession(t.Context(), operator, auth.SessionID(p.Session), w.account)
				return err
			},
			"the account suspended": func(*holder) error {
				_, err := w.Registry().SuspendAccount(t.Context(), operator, w.account, false)
				return err
			},
		} {
			h := w.holder(kind)
			tokens := []string{h.access}
			if h.refresh != "" {
				tokens = append(tokens, h.refresh)
			}
			for _, token := range tokens {
				if !w.introspect(trusted, token).Active {
					t.Fatalf("%s: dead before %s", kind, name)
				}
			}
			if err := end(h); err != nil {
				t.Fatal(err)
			}
			for _, token := range tokens {
				if w.introspect(trusted, token).Active {
					t.Errorf("%s: alive after %s", kind, name)
				}
			}
			if _, err := w.Registry().ResumeAccount(t.Context(), operator, w.account); err != nil {
				t.Fatal(err)
			}
		}
		h := w.holder(kind)
		scope := "orders:read"
		if _, err := w.Registry().UpdateCredential(t.Context(), operator, h.credential.ID, auth.CredentialUpdate{Scope: &scope}); err != nil {
			t.Fatal(err)
		}
		if got := w.introspect(trusted, h.access); got.Scope != scope {
			t.Errorf("%s: after its credential was narrowed it has %q", kind, got.Scope)
		}
		w.move(24*time.Hour + time.Minute)
		if w.introspect(trusted, h.access).Active {
			t.Errorf("%s: alive when its time is over", kind)
		}
		if h.refresh != "" {
			w.move(7 * 24 * time.Hour)
			if w.introspect(trusted, h.refresh).Active {
				t.Error("a refresh token is alive when its time is over")
			}
		}
	}
}

func TestRevocationThroughOAuth(t *testing.T) {
	w := newWorld(t, unlimited)
	mine := w.client()
	var stranger, trusted client
	w.inAnotherAccount(func() { stranger, trusted = w.client(auth.ScopeIntrospect), w.client(auth.ScopeRevoke) })
	for name, c := range map[string]client{"the account's own": mine, "one who may": trusted} {
		for _, kind := range auth.Kinds {
			h, bystander := w.holder(kind), w.holder(kind)
			w.revokeAs(stranger, h.access)
			if _, alive := w.alive(h.access, "192.0.2.1"); !alive {
				t.Fatalf("%s: another account's client ended it", kind)
			}
			w.revokeAs(c, h.access)
			if _, alive := w.alive(h.access, "192.0.2.1"); alive {
				t.Errorf("%s, %s: it lives", name, kind)
			}
			trail, err := w.opened.DB.Audit(t.Context(), auth.AuditQuery{Most: 1})
			if err != nil || len(trail) != 1 {
				t.Fatal(err)
			}
			if by := "credential " + strings.TrimPrefix(c.id, "u_"); trail[0].Act.Actor != by || trail[0].Act.Action != "session.revoke" || trail[0].About.Account != w.account {
				t.Errorf("%s, %s: the audit trail says %+v", name, kind, trail[0])
			}
			if _, alive := w.alive(bystander.access, "192.0.2.1"); !alive {
				t.Errorf("%s, %s: another session ended too", name, kind)
			}
			if h.refresh != "" {
				if _, code := w.refresh(h.refresh, ""); code != http.StatusUnauthorized {
					t.Errorf("%s: its session goes on: %d", name, code)
				}
			}
			if !w.exchange(h) {
				t.Errorf("%s, %s: the credential ended too", name, kind)
			}
		}

		// By a refresh token, the one that was spent as well.
		h := w.holder(auth.Login)
		next, _ := w.refresh(h.refresh, "")
		w.revokeAs(stranger, h.refresh)
		w.revokeAs(c, h.refresh)
		if w.works(h.access) || w.works(next.Access) || w.introspect(mine, next.Refresh).Active {
			t.Errorf("%s: a revoked refresh token leaves something alive", name)
		}

		// An access token that has expired names a session that has not.
		h = w.holder(auth.Login)
		w.move(2 * time.Hour)
		next, _ = w.refresh(h.refresh, "")
		w.revokeAs(c, h.access)
		if w.works(next.Access) {
			t.Errorf("%s: what came of an expired token's session lives", name)
		}
	}
	for _, token := range []string{"x", "a.b.c", strings.Repeat("x", 5000)} {
		w.revokeAs(mine, token)
	}
}

// A new token of contract 1 is of the session that was revoked, however late it was asked for.
func TestARevokedTokenIsNotRenewed(t *testing.T) {
	w := newWorld(t, unlimited)
	mine := w.client()
	h := w.holder(auth.APIKey)
	p, alive := w.alive(h.access, "192.0.2.1")
	if !alive {
		t.Fatal("dead")
	}
	w.revokeAs(mine, h.access)
	if grant, err := w.Gate().Renew(t.Context(), p); !errors.Is(err, auth.ErrBadToken) {
		t.Errorf("renewed: %+v, %v", grant, err)
	}
}

// Who asks pays: whose token it is neither pays nor is hurried.
func TestIntrospectionChargesTheClientAlone(t *testing.T) {
	w := newWorld(t, "limits: {exchange_per_credential: {rate: 1/h, burst: 3}, requests_per_account: {rate: 1/h, burst: 1}}")
	h := w.holder(auth.Login)
	var trusted client
	w.inAnotherAccount(func() { trusted = w.client(auth.ScopeIntrospect) })
	for range 3 {
		w.introspect(trusted, h.access)
	}
	if a := w.form("/oauth/introspect", trusted.id, trusted.secret, "token="+h.access); a.Code != http.StatusTooManyRequests || a.Header().Get("Retry-After") == "" {
		t.Errorf("the fourth: %d %s", a.Code, a.Body)
	}
	if !w.works(h.access) {
		t.Error("the account has paid for what was asked about it")
	}
}

// From an address off the client's list nothing is told, and nothing spent.
func TestAClientOffItsList(t *testing.T) {
	w := newWorld(t, unlimited)
	mine := w.client()
	h := w.holder(auth.Login)
	list := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	if _, err := w.Registry().AllowIP(t.Context(), operator, w.account, list, "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	for path, form := range map[string]string{
		"/oauth/token": "grant_type=refresh_token&refresh_token=" + h.refresh, "/oauth/introspect": "token=" + h.access, "/oauth/revoke": "token=" + h.access,
	} {
		if a := w.form(path, mine.id, mine.secret, form); a.Code != http.StatusForbidden || !strings.Contains(a.Body.String(), `"access_denied"`) {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}
	if _, err := w.Registry().RemoveIP(t.Context(), operator, w.account, list, true); err != nil {
		t.Fatal(err)
	}
	if got, code := w.refreshAs(mine, h.refresh); code != http.StatusOK || !w.works(got.AccessToken) || !w.works(h.access) {
		t.Errorf("afterwards: %d", code)
	}
}
