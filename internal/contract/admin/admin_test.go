package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/apitest"
	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/contract/admin"
	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// unknown fills in names that nothing has.
var unknown = strings.NewReplacer(
	"{account}", "999999", "{credential}", "AAAAAAAAAAAA", "{session}", "nobody", "{key}", "none", "{request}", "reqid_00000000000", "{webhook}", "none", "{person}", "p_AAAAAAAAAAAA", "{token}", "ot_AAAAAAAAAAAA")

func TestNobodyComesInWithoutAToken(t *testing.T) {
	w := newWorld(t)
	for _, r := range admin.Routes() {
		path := unknown.Replace(r.Path)
		for _, c := range []struct {
			name, token, code string
			headers           []string
		}{
			{"no token", "", "no_token", nil},
			{"a cookie", "", "no_token", []string{"Cookie: __Host-gatehouse-operator=gko_owner"}},
			{"a wrong token", "gko_somebody", "invalid_token", nil},
			{"a token twice", "gko_owner", "invalid_token", []string{"Authorization: Bearer gko_owner"}},
			{"Basic", "", "invalid_token", []string{"Authorization: Basic Z2tvX293bmVyOg=="}},
			{"another case", "GKO_OWNER", "invalid_token", nil},
		} {
			a := w.ask(c.token, r.Method, path, "", append(c.headers, "Origin: https://evil.example.com")...)
			w.says(a, c.code)
			want := `Bearer realm="gatehouse"`
			if c.code == "invalid_token" {
				want += `, error="invalid_token", error_description="The access token is not valid"`
			}
			if got := a.Header.Get("Www-Authenticate"); a.Status != 401 || got != want || a.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s with %s: %d, %s", r.Method, path, c.name, a.Status, got)
			}
		}
	}
	w.broken = auth.ErrRateLimited.With(auth.Limit{
		Name: "failures_per_address", Quota: 30, Window: 30 * time.Second, Refused: true, RetryAfter: 2 * time.Second, Reset: 2 * time.Second,
	})
	for _, r := range admin.Routes() {
		a := w.ask("gko_owner", r.Method, unknown.Replace(r.Path), "")
		if w.says(a, "rate_limited"); a.Header.Get("Retry-After") != "2" || a.Header.Get("Ratelimit") == "" {
			t.Errorf("%s %s: %v", r.Method, r.Path, a.Header)
		}
	}
	w.broken = auth.ErrOverloaded.From(errors.New("the database stands still"))
	for _, r := range admin.Routes() {
		a := w.ask("gko_owner", r.Method, unknown.Replace(r.Path), "")
		if w.says(a, "unavailable"); a.Header.Get("Retry-After") == "" || strings.Contains(a.Body, "database") {
			t.Errorf("%s %s: %v %s", r.Method, r.Path, a.Header, a.Body)
		}
	}
	w.broken = errors.New("the disk is gone: /var/lib/gatehouse")
	for _, r := range admin.Routes() {
		a := w.ask("gko_owner", r.Method, unknown.Replace(r.Path), "")
		if w.says(a, "internal"); strings.Contains(a.Body, "disk") {
			t.Errorf("%s", a.Body)
		}
	}
}

// The table of permissions is the registry's: for every route, every role and with its scope or without, the API says what
// that says.
func TestEveryRouteAsksThePermissionTable(t *testing.T) {
	w := newWorld(t)
	for _, r := range admin.Routes() {
		for name, actor := range w.tokens {
			if r.Asks == "" {
				t.Errorf("%s %s asks for nothing", r.Method, r.Path)
			}
			may := registry.May(actor, registry.Action(r.Asks), 0, time.Now())
			a := w.ask(name, r.Method, unknown.Replace(r.Path), valid(r))
			switch {
			case may == nil && (a.Status == 401 || a.Status == 403):
				t.Errorf("%s %s as %s: %s", r.Method, r.Path, actor.Name, a.Body)
			case may != nil && auth.AsError(may).Scope != "":
				w.says(a, "insufficient_scope")
				want := `Bearer realm="gatehouse", error="insufficient_scope", scope="` + auth.AsError(may).Scope + `"`
				if got := a.Header.Get("Www-Authenticate"); got != want {
					t.Errorf("%s %s: %s, want %s", r.Method, r.Path, got, want)
				}
			case may != nil:
				if w.says(a, "forbidden"); a.Header.Get("Www-Authenticate") != "" {
					t.Errorf("%s %s: %v", r.Method, r.Path, a.Header)
				}
			}
		}
	}
}

// valid is a body that gets past the parser.
func valid(r admin.Route) string {
	switch r.Path {
	case "/admin/v1/accounts":
		if r.Method == "POST" {
			return `{"name":"n"}`
		}
	case "/admin/v1/accounts/{account}":
		if r.Method == "PATCH" {
			return `{"name":"n"}`
		}
	case "/admin/v1/accounts/{account}/limit":
		return `{"requests":"1/s"}`
	case "/admin/v1/accounts/{account}/allowlist":
		if r.Method == "PUT" {
			return `{"allowlist":[{"cidr":"192.0.2.1"}]}`
		}
	case "/admin/v1/accounts/{account}/allowlist/add", "/admin/v1/accounts/{account}/allowlist/remove":
		return `{"cidrs":["192.0.2.1"]}`
	case "/admin/v1/credentials":
		if r.Method == "POST" {
			return `{"account":999999,"kind":"login"}`
		}
	case "/admin/v1/credentials/find":
		return `{"text":"u_AAAAAAAAAAAA"}`
	case "/admin/v1/credentials/{credential}":
		if r.Method == "PATCH" {
			return `{"name":"n"}`
		}
	case "/admin/v1/operators", "/admin/v1/accounts/{account}/members":
		if r.Method == "POST" {
			return `{"email":"jane@example.com","name":"Jane Doe","role":"viewer"}`
		}
	case "/admin/v1/operators/{person}", "/admin/v1/accounts/{account}/members/{person}":
		if r.Method == "PATCH" {
			return `{"role":"viewer"}`
		}
	case "/admin/v1/operator-tokens":
		if r.Method == "POST" {
			return `{"name":"ci","role":"viewer","scopes":["accounts:read"]}`
		}
	case "/admin/v1/tokens/inspect", "/admin/v1/tokens/revoke":
		return `{"token":"a.b.c"}`
	}
	return ""
}

func TestWhatIsWrongWithARequestIsToldAlikeEverywhere(t *testing.T) {
	w := newWorld(t)
	id := w.account("Acme").ID
	c := w.credential(id, "login").ID
	operator, member := w.person("/operators").ID, w.person(fmt.Sprintf("/accounts/%d/members", id)).ID
	rest := strings.NewReplacer("{account}", fmt.Sprint(id), "{credential}", c, "{session}", "nobody", "{key}", w.key().ID, "{request}", "reqid_00000000000", "{webhook}", "none", "{token}", w.operatorToken().ID)
	known := func(pattern string) string {
		person := member
		if strings.Contains(pattern, "/operators/") {
			person = operator
		}
		return strings.ReplaceAll(rest.Replace(pattern), "{person}", person)
	}
	methods := map[string][]string{"/admin/v1/openapi.yaml": {"GET"}}
	for _, r := range admin.Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	for pattern, all := range methods {
		slices.Sort(all)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"} {
			if slices.Contains(all, method) {
				continue
			}
			a := w.ask("gko_owner", method, known(pattern), "")
			if a.Status != 405 || a.Header.Get("Allow") != strings.Join(all, ", ") {
				t.Errorf("%s %s: %d, Allow %q", method, pattern, a.Status, a.Header.Get("Allow"))
			}
		}
	}
	large := `{"x":"` + strings.Repeat("x", 64<<10) + `"}`
	for _, r := range admin.Routes() {
		path := known(r.Path)
		w.says(w.ask("gko_owner", r.Method, path, large), "too_large")
		w.says(w.ask("gko_owner", r.Method, path+"?colour=red", valid(r)), "invalid")
		if r.Takes {
			w.says(w.ask("gko_owner", r.Method, path+"?dry_run=true", valid(r)), "invalid")
		}
		if !r.Takes {
			continue
		}
		w.says(w.Send(t, r.Method+" "+path+"\nAuthorization: bearer gko_owner\nContent-Type: text/plain\nContent-Length: 2\n\n{}"), "unsupported_media_type")
		for _, body := range []string{
			`{"colour":"red"}`, `{"Name":"n"}`, `{"name":"a","name":"b"}`, `[]`, `null`, `"x"`, `{`, `{} {}`, "{\"\xff\":1}", `{"name":7}`,
			`{"allowlist":[{"cidr":"192.0.2.1","notes":"x"}]}`, `{"allowlist":[{"CIDR":"192.0.2.1"}]}`, `{"scopes":"x"}`, `{"account":1.5}`, `{"expires_at":"tomorrow"}`, `{"old_expires_at":7}`, `{"dry_run":"yes"}`,
		} {
			w.says(w.ask("gko_owner", r.Method, path, body), "invalid")
		}
		if r.Conditional {
			a := w.ask("gko_owner", r.Method, path, valid(r), `If-Match: "AAAAAAAAAAAAAAAAAAAAAA", W/"x"`)
			w.says(a, "precondition_failed")
		}
	}
	for _, path := range []string{"", "/", "/accounts/", "/accounts/x", "/accounts/0", "/accounts/0100001", "/accounts/100001/x", "/credentials/find/x", "/me"} {
		w.problem("not_found", "GET", path, "")
	}
	for _, query := range []string{
		"?x=1", "?limit=0", "?limit=1001", "?limit=-1", "?limit=01", "?limit=a", "?limit=1&limit=2", "?limit=%zz", "?search=%00", "?=", "?live=x",
	} {
		w.problem("invalid", "GET", "/credentials"+query, "")
	}
	for _, path := range []string{
		"/accounts?status=deleted", "/accounts?colour=red", "/credentials?kind=x", "/refusals?address=x", "/refusals?since=1h", "/refusals?limit=1001",
		fmt.Sprintf("/accounts/%d/usage?since=x", id), fmt.Sprintf("/accounts/%d/sessions?all=1", id),
	} {
		w.problem("invalid", "GET", path, "")
	}
}

func TestWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	for _, r := range admin.Routes() {
		lookUp := strings.Contains(r.Path, "{") || r.Path == "/admin/v1/credentials/find" || r.Path == "/admin/v1/tokens/revoke" || r.Path == "/admin/v1/credentials" && r.Method == "POST"
		if lookUp {
			w.says(w.ask("gko_owner", r.Method, unknown.Replace(r.Path), valid(r)), "not_found")
		}
	}
}

// What an answer is, to the letter.
func TestAnAnswerToTheLetter(t *testing.T) {
	w := newWorld(t)
	a := w.must(201, "POST", "/accounts", `{"name":"Böhm & <Söhne>","ref":"C-4711"}`, nil)
	at := a.Body[strings.Index(a.Body, `"created_at":"`)+14:][:20]
	want := `{"id":100001,"name":"Böhm & <Söhne>","ref":"C-4711","status":"active","allowlist":[],"created_at":"` + at + `","confirmed":true}`
	if a.Body != want {
		t.Errorf("got  %s\nwant %s", a.Body, want)
	}
	if diff := cmp.Diff(http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"}, "Etag": a.Header["Etag"], "Location": {"/admin/v1/accounts/100001"},
	}, a.Header); diff != "" {
		t.Error(diff)
	}
	if got := w.must(200, "GET", "/accounts", "", nil).Body; got != `{"items":[`+strings.Replace(want, `,"confirmed":true`, "", 1)+`]}` {
		t.Errorf("the list: %s", got)
	}
	p := w.problem("conflict", "POST", "/accounts", `{"name":"x","ref":"C-4711"}`)
	want = `{"type":"/admin/v1/openapi.yaml#/components/examples/conflict","title":"What is there does not allow this","status":409,` +
		`"detail":"Account 100001 has the reference \"C-4711\" already","instance":"` + p.RequestID + `","code":"conflict"}`
	if p.Body != want {
		t.Errorf("got  %s\nwant %s", p.Body, want)
	}
	if a.Seen.Route != "/admin/v1/accounts" || p.Seen.Route != "/admin/v1/accounts" {
		t.Errorf("observed at %s and %s", a.Seen.Route, p.Seen.Route)
	}
}

func TestAccountsFromBeginningToEnd(t *testing.T) {
	w := newWorld(t)
	a := w.account("Acme")
	other := w.account("Other")
	at := fmt.Sprintf("/accounts/%d", a.ID)
	w.must(200, "PATCH", at, `{"ref":"C-1"}`, &a)
	if a.Ref != "C-1" || a.Name != "Acme" || a.Confirmed == nil || !*a.Confirmed {
		t.Errorf("got %+v", a)
	}
	w.problem("conflict", "PATCH", fmt.Sprintf("/accounts/%d", other.ID), `{"ref":"C-1"}`)
	var list api.Page[api.Account]
	w.must(200, "GET", "/accounts?ref=C-1", "", &list)
	if len(list.Items) != 1 || list.Items[0].ID != a.ID {
		t.Errorf("by reference: %+v", list)
	}
	w.must(200, "GET", "/accounts?ref=nobody", "", &list)
	if len(list.Items) != 0 {
		t.Errorf("by a reference that nobody has: %+v", list)
	}
	for _, step := range []struct{ method, path, body, want string }{
		{"POST", "/suspend", `{"revoke_tokens":true}`, `"status":"suspended"`},
		{"POST", "/resume", ``, `"status":"active"`},
		{"PUT", "/limit", `{"requests":"600/min","burst":7}`, `"requests":"600/min","burst":7`},
		{"PUT", "/limit", `{"requests":"0"}`, `"allowlist":[]`},
		{"POST", "/allowlist/add", `{"cidrs":["192.0.2.0/24","2001:db8::1"],"note":"office","dry_run":true}`, `"dry_run":true`},
		{"GET", "/allowlist", ``, `"allowlist":[]`},
		{"POST", "/allowlist/add", `{"cidrs":["192.0.2.0/24","2001:db8::1"],"note":"office"}`, `{"cidr":"2001:db8::1","note":"office"`},
		{"POST", "/allowlist/remove", `{"cidrs":["192.0.2.0/24"]}`, `"shut_out":0,"confirmed":true`},
		{"GET", "/usage?since=2026-01-01T00:00:00Z", ``, `{"items":[]}`},
		{"GET", "/sessions?all=true", ``, `{"items":[]}`},
	} {
		if got := w.must(200, step.method, at+step.path, step.body, nil); !strings.Contains(got.Body, step.want) {
			t.Errorf("%s %s %s: %s", step.method, step.path, step.body, got.Body)
		}
	}
	w.problem("invalid", "PUT", at+"/limit", `{"requests":"0","burst":1}`)
	w.problem("invalid", "POST", at+"/allowlist/add", `{"cidrs":["192.0.2.1/24"]}`)
	w.problem("conflict", "POST", at+"/allowlist/remove", `{"cidrs":["2001:db8::1"]}`)
	w.must(200, "POST", at+"/allowlist/remove", `{"cidrs":["2001:db8::1"],"allow_everyone":true}`, nil)
	w.must(200, "DELETE", at, "", nil)
	w.problem("not_found", "GET", at, "")
	w.must(200, "GET", "/signing-keys", "", nil)
}

// A list is read, changed by hand, tried and put back; and what it was meanwhile is nobody's loss.
func TestAnAllowlistIsReplacedAsAWhole(t *testing.T) {
	w := newWorld(t)
	account := w.account("Acme").ID
	at := fmt.Sprintf("/accounts/%d/allowlist", account)
	w.login(account) // from 192.0.2.7
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Add(300 * time.Millisecond)
	w.must(200, "POST", at+"/add", `{"cidrs":["192.0.2.0/24"],"note":"office","expires_at":"`+until.Format(time.RFC3339Nano)+`"}`, nil)
	var list, would api.Allowlist
	tag := w.must(200, "GET", at, "", &list).Header.Get("Etag")

	// As it was read it is as it is.
	body := func(entries []api.AllowEntry, more string) string {
		text, err := json.Marshal(entries)
		if err != nil {
			t.Fatal(err)
		}
		return `{"allowlist":` + string(text) + more + `}`
	}
	acts := len(w.trail())
	if a := w.must(200, "PUT", at, body(list.Allowlist, ""), nil, "If-Match: "+tag); a.Header.Get("Etag") != tag || len(w.trail()) != acts {
		t.Errorf("as it was: %s, %q", a.Body, w.trail()[acts:])
	}

	// Who would be shut out, and what would mend it.
	other := []api.AllowEntry{{CIDR: "198.51.100.7", Note: "branch"}, {CIDR: "2001:db8::/32"}}
	a := w.must(200, "PUT", at, body(other, `,"dry_run":true`), &would, "If-Match: "+tag)
	if !would.DryRun || would.ShutOut != 1 || len(would.Suggestions) != 1 || would.Suggestions[0].CIDR != "192.0.2.7" || a.Header.Get("Etag") != "" {
		t.Errorf("the trial: %s", a.Body)
	}
	w.must(200, "GET", at, "", &list)
	if len(list.Allowlist) != 1 || list.ShutOut != 0 || list.Suggestions != nil {
		t.Errorf("after a trial: %+v", list)
	}

	created := list.Allowlist[0].CreatedAt
	a = w.must(200, "PUT", at, body(append(other, list.Allowlist...), ""), &list, "If-Match: "+tag)
	if len(list.Allowlist) != 3 || list.Confirmed == nil || !*list.Confirmed || list.Allowlist[0].CreatedAt != created || a.Header.Get("Etag") == tag {
		t.Errorf("replaced: %s", a.Body)
	}
	w.problem("precondition_failed", "PUT", at, body(other, ""), "If-Match: "+tag)
	w.must(200, "PUT", at, body(other, ""), &list)
	if list.ShutOut != 1 || len(list.Allowlist) != 2 {
		t.Errorf("without the office: %+v", list)
	}
	if trail := w.trail()[acts:]; len(trail) != 2 || !strings.HasPrefix(trail[0], "account.allow-ip ") || !strings.HasPrefix(trail[1], "account.remove-ip ") {
		t.Errorf("the trail has %q", trail)
	}

	for name, wrong := range map[string]string{
		"no list":                `{}`,
		"null":                   `{"allowlist":null}`,
		"an entry twice":         `{"allowlist":[{"cidr":"192.0.2.1"},{"cidr":"192.0.2.1/32"}]}`,
		"bits beyond the mask":   `{"allowlist":[{"cidr":"192.0.2.1/24"}]}`,
		"no address":             `{"allowlist":[{"note":"office"}]}`,
		"an end that has passed": `{"allowlist":[{"cidr":"192.0.2.1","expires_at":"2020-01-01T00:00:00Z"}]}`,
		"too many":               `{"allowlist":[` + strings.Repeat(`{"cidr":"192.0.2.1"},`, 1000) + `{"cidr":"192.0.2.1"}]}`,
		"a note without an end":  `{"allowlist":[{"cidr":"192.0.2.1","note":"` + strings.Repeat("x", 300) + `"}]}`,
	} {
		if w.problem("invalid", "PUT", at, wrong); t.Failed() {
			t.Fatal(name)
		}
	}
	w.problem("conflict", "PUT", at, `{"allowlist":[]}`)
	w.must(200, "PUT", at, `{"allowlist":[],"allow_everyone":true}`, &list)
	if len(list.Allowlist) != 0 {
		t.Errorf("for everyone: %+v", list)
	}
	w.problem("not_found", "PUT", "/accounts/999999/allowlist", `{"allowlist":[]}`)
}

func TestCredentialsFromBeginningToEnd(t *testing.T) {
	w := newWorld(t)
	account := w.account("Acme").ID
	for _, kind := range []string{"api-key", "basic", "login", "oauth"} {
		made := w.credential(account, kind)
		at := "/credentials/" + made.ID
		whole := made.Key + made.UserID + made.Username + made.ClientID
		if secret := made.Password + made.ClientSecret; secret != "" {
			whole += ":" + secret
		}
		var found api.Found
		w.must(200, "POST", "/credentials/find", `{"text":"`+whole+`"}`, &found)
		if !found.Good || found.Credential.ID != made.ID || found.AccountName != "Acme" || found.Secret != 1 {
			t.Errorf("%s: found %+v", kind, found)
		}
		w.problem("conflict", "POST", at+"/finish", "")
		w.problem("conflict", "POST", at+"/undo", "")
		var again api.Issued
		w.must(200, "POST", at+"/rotate", `{"end_sessions":true}`, &again)
		if again.OldExpiresAt.Sub(again.CreatedAt) < 6*24*time.Hour || again.Key == made.Key && again.Password == made.Password && again.ClientSecret == made.ClientSecret {
			t.Errorf("%s: rotated %#v", kind, again)
		}
		w.problem("conflict", "POST", at+"/rotate", "")
		w.must(200, "POST", at+"/undo", "", nil)
		w.must(200, "POST", at+"/rotate", `{"old_expires_at":"2099-01-01T00:00:00Z"}`, nil)
		w.must(200, "POST", at+"/finish", `{}`, nil)
		var c api.Credential
		w.must(200, "PATCH", at, `{"name":"shop","scopes":["b","a"],"expires_at":"2099-01-01T00:00:00Z"}`, &c)
		if c.Name != "shop" || !slices.Equal(c.Scopes, []string{"a", "b"}) || c.ExpiresAt.IsZero() {
			t.Errorf("%s: changed to %+v", kind, c)
		}
		w.must(200, "PATCH", at, `{"expires_at":null}`, &c)
		if kind != "api-key" {
			w.must(200, "GET", "/credentials/"+c.Identifier, "", nil)
		}
		var now api.Credential
		w.must(200, "GET", at, "", &now)
		if !now.ExpiresAt.IsZero() || len(now.Secrets) != 2 || now.Confirmed != nil {
			t.Errorf("%s: is now %+v", kind, now)
		}
		w.must(200, "POST", at+"/revoke", "", &c)
		if c.Status != "revoked" {
			t.Errorf("%s: %+v", kind, c)
		}
		w.problem("conflict", "POST", at+"/rotate", "")
		w.problem("conflict", "PATCH", at, `{"expires_at":null}`)
	}
	w.problem("invalid", "POST", "/credentials", fmt.Sprintf(`{"account":%d,"kind":"login","jwks":{"keys":[]}}`, account))
	w.problem("invalid", "POST", "/credentials", fmt.Sprintf(`{"account":%d,"kind":"password"}`, account))
	var list api.Page[api.Credential]
	w.must(200, "GET", fmt.Sprintf("/credentials?account=%d&limit=3", account), "", &list)
	if len(list.Items) != 3 || list.Next == "" {
		t.Errorf("got %d credentials, next %q", len(list.Items), list.Next)
	}
}

func TestSessionsTokensAndKeys(t *testing.T) {
	w := newWorld(t)
	w.problem("not_found", "POST", "/tokens/revoke", `{"token":"a.b.c"}`)
	w.problem("invalid", "POST", "/tokens/inspect", `{"token":""}`)
	w.problem("invalid", "POST", "/tokens/inspect", `{"token":"a.b.c","address":"somewhere"}`)
	w.problem("invalid", "POST", "/tokens/revoke", `{"token":"a.b.c","address":"192.0.2.1"}`)
	var told api.Inspection
	w.must(200, "POST", "/tokens/inspect", `{"token":"a.b.c","address":"192.0.2.1"}`, &told)
	if told.Good || !told.Unreadable || told.Reason != "signature" {
		t.Errorf("got %+v", told)
	}
	account := w.account("Acme").ID
	token, session := w.mint(account)
	w.must(200, "POST", "/tokens/inspect", `{"token":"`+token+`"}`, &told)
	if !told.Good || told.Session != session || told.AccountName != "Acme" {
		t.Errorf("got %+v", told)
	}
	var ended api.SessionRevoked
	w.must(200, "POST", "/tokens/revoke", `{"token":"`+token+`"}`, &ended)
	if ended.Session != session || ended.Account != account || !*ended.Confirmed {
		t.Errorf("got %+v", ended)
	}
	w.must(200, "POST", "/tokens/inspect", `{"token":"`+token+`"}`, &told)
	if told.Good {
		t.Errorf("it lives on: %+v", told)
	}
	login := w.login(account)
	var sessions api.Page[api.Session]
	w.must(200, "GET", fmt.Sprintf("/accounts/%d/sessions", account), "", &sessions)
	if len(sessions.Items) != 1 || sessions.Items[0].ID != login || sessions.Items[0].Status != "live" {
		t.Errorf("got %+v", sessions)
	}
	w.must(200, "POST", "/sessions/"+login+"/revoke", "", &ended)
	w.must(200, "GET", fmt.Sprintf("/accounts/%d/sessions?all=true", account), "", &sessions)
	if len(sessions.Items) != 1 || sessions.Items[0].Status != "ended" || sessions.Items[0].EndedBecause != "session.revoke" {
		t.Errorf("got %+v", sessions)
	}

	var key api.SigningKey
	w.must(201, "POST", "/signing-keys", "", &key)
	if key.State != "next" {
		t.Errorf("got %+v", key)
	}
	w.must(200, "POST", "/signing-keys/"+key.ID+"/revoke", "", &key)
	if key.State != "revoked" {
		t.Errorf("got %+v", key)
	}
	w.problem("conflict", "POST", "/signing-keys/"+key.ID+"/revoke", "")
}

func TestPeopleAndTheirTokens(t *testing.T) {
	w := newWorld(t)
	account := w.account("Acme").ID
	for _, at := range []string{"/operators", fmt.Sprintf("/accounts/%d/members", account)} {
		var jane, joe api.Invited
		w.must(201, "POST", at, `{"email":"Jane@Example.com","name":"Jane Doe","role":"owner"}`, &jane)
		w.must(201, "POST", at, `{"email":"joe@example.com","name":"Joe","role":"viewer","link_expires_at":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`, &joe)
		if !strings.Contains(jane.Link, "/dashboard/join#") || jane.Email != "jane@example.com" || jane.State != "invited" || fmt.Sprint(jane) != jane.ID {
			t.Errorf("%s: %v %+v", at, jane, jane.Person)
		}
		w.problem("conflict", "POST", at, `{"email":"joe@example.com","name":"Joe","role":"viewer"}`)
		w.problem("invalid", "POST", at, `{"email":"joe","name":"Joe","role":"viewer"}`)
		w.problem("invalid", "POST", at, `{"email":"x@example.com","name":"X","role":"king"}`)
		w.problem("invalid", "POST", at, `{"email":"x@example.com","name":"X","role":"viewer","link_expires_at":"2020-01-01T00:00:00Z"}`)
		if at == "/operators" { // somebody has to look after the rest
			w.join(jane)
			w.problem("conflict", "PATCH", at+"/"+jane.ID, `{"role":"viewer"}`)
			w.problem("conflict", "DELETE", at+"/"+jane.ID, "")
		}
		var p api.Person
		w.must(200, "PATCH", at+"/"+joe.ID, `{"role":"owner"}`, &p)
		if p.Role != "owner" || p.ID != joe.ID {
			t.Errorf("%s: %+v", at, p)
		}
		var again api.Invited
		w.must(200, "POST", at+"/"+joe.ID+"/reset", "", &again)
		if again.Link == joe.Link || again.Link == "" {
			t.Errorf("%s: the new link is %q", at, again.Link)
		}
		var all api.Page[api.Person]
		if w.must(200, "GET", at, "", &all); len(all.Items) != 2 || all.Items[0].ID != jane.ID {
			t.Errorf("%s: %+v", at, all)
		}
		w.must(200, "DELETE", at+"/"+joe.ID, "", &p)
		if p.State != "removed" {
			t.Errorf("%s: %+v", at, p)
		}
		if w.must(200, "GET", at, "", &all); len(all.Items) != 1 {
			t.Errorf("%s: %+v", at, all)
		}
	}
	var made api.OperatorToken
	w.must(201, "POST", "/operator-tokens", `{"name":"ci","role":"viewer","scopes":["accounts:read"]}`, &made)
	if !strings.HasPrefix(made.Token, "gko_") || made.CreatedBy != "token owner" || strings.Contains(fmt.Sprintf("%v %#v", made, made), made.Token) {
		t.Errorf("made %v", made)
	}
	w.problem("invalid", "POST", "/operator-tokens", `{"name":"ci","role":"viewer","scopes":["all"]}`)
	var tokens api.Page[api.OperatorToken]
	if a := w.must(200, "GET", "/operator-tokens", "", &tokens); len(tokens.Items) != 1 || strings.Contains(a.Body, made.Token) {
		t.Errorf("got %s", a.Body)
	}
	w.must(200, "POST", "/operator-tokens/"+made.ID+"/revoke", "", &made)
	if made.Status != "revoked" {
		t.Errorf("got %+v", made.Status)
	}
}

func TestRefusalsAndWhy(t *testing.T) {
	w := newWorld(t)
	if err := w.opened.DB.WriteRefusals(t.Context(), []auth.Refusal{{
		At: time.Now(), RequestIDs: []string{"reqid_123abc45def"}, Count: 2, Method: "GET", Path: "/x", Status: 403,
		Contract: auth.B2B, Reason: auth.ReasonAddressNotAllowed, Subject: auth.Subject{Account: 100001}, Address: webtest.Address,
	}}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"": 1, "?account=100001": 1, "?account=100002": 0, "?address=192.0.2.7&limit=1": 1, "?since=2099-01-01T00:00:00Z": 0} {
		var found api.Page[api.Refusal]
		if w.must(200, "GET", "/refusals"+query, "", &found); len(found.Items) != want {
			t.Errorf("%s: %+v", query, found)
		}
	}
	a := w.must(200, "GET", "/refusals/reqid_123abc45def", "", nil)
	if !strings.Contains(a.Body, `"commands":["gatehouse account allow-ip 100001 192.0.2.7"`) {
		t.Errorf("got %s", a.Body)
	}
}

// repeated is a request that may be asked for again, about the account and the credential, and what it answers the first time.
func (w *world) repeated(r admin.Route, account int64, credential, email string) (path, body string, status int) {
	w.t.Helper()
	path = strings.TrimPrefix(strings.NewReplacer("{credential}", credential, "{account}", fmt.Sprint(account)).Replace(r.Path), "/admin/v1")
	if list, reset, ok := strings.Cut(path, "/{person}"); ok {
		path = list + "/" + w.person(list).ID + reset
	}
	body = strings.NewReplacer("999999", fmt.Sprint(account), "jane@", email+"@").Replace(valid(r))
	if status = 201; strings.HasSuffix(path, "/rotate") || strings.HasSuffix(path, "/reset") || r.Method == "PUT" {
		status = 200
	}
	return path, body, status
}

// One and the same request under one key is done once. A secret is told once.
func TestWhatIsRepeatedUnderAKeyIsDoneOnce(t *testing.T) {
	w := newWorld(t)
	account := w.account("Acme").ID
	c := w.credential(account, "login").ID
	for _, r := range admin.Routes() {
		if !r.Repeats {
			continue
		}
		path, body, status := w.repeated(r, account, c, "jane")
		key := "Idempotency-Key: a-key-for-" + strings.ReplaceAll(path, "/", "-")
		w.problem("invalid", r.Method, path, body, "Idempotency-Key: short")
		w.problem("invalid", r.Method, path, `{"x":1}`, key) // what is refused may be mended under the same key
		var first, again map[string]any
		w.must(status, r.Method, path, body, &first, key)
		a := w.must(200, r.Method, path, body, &again, key)
		if a.Header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %v", path, a.Header)
		}
		secret := false
		for _, name := range []string{"username", "password", "link", "token"} {
			if first[name] == nil {
				continue
			}
			secret = true
			if again[name] != nil || again["replayed"] != true {
				t.Errorf("%s: the secret is told again: %v", path, again)
			}
			delete(first, name)
		}
		if secret {
			delete(again, "replayed")
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		w.problem("idempotency_mismatch", r.Method, path, `{ }`, key)
		// Another's key of the same spelling is another key.
		_, body, _ = w.repeated(r, account, c, "joe")
		if other := w.ask("gko_admin", r.Method, "/admin/v1"+path, body, key); other.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: another got %s", path, other.Body)
		}
		w.offset.Add(int64(25 * time.Hour))
		if strings.HasSuffix(path, "/rotate") {
			w.must(200, "POST", "/credentials/"+c+"/finish", "", nil)
		}
		_, body, _ = w.repeated(r, account, c, "jill")
		w.must(status, r.Method, path, body, nil, key) // a day later nobody remembers
	}
}

// Whatever breaks, at whatever point, the same request under the same key does what was not done, and is told what was.
func TestWhatBrokeUnderAKeyCanBeAskedForAgain(t *testing.T) {
	w := newWorld(t)
	account := w.account("Acme").ID
	unavailable := func() error { return auth.ErrOverloaded.From(errors.New("the disk stands still")) }
	internal := func() error { return errors.New("the disk is gone") }
	crash := func() error { panic("the process ends here") }
	n := 0
	for _, r := range admin.Routes() {
		if !r.Repeats || r.Path == "/admin/v1/signing-keys" { // which are not made by the registry's store
			continue
		}
		for _, c := range []struct {
			name          string
			before, after func() error
			status        int // of the first answer; 0: of a repetition
		}{
			{"before it, for a moment", unavailable, nil, 503},
			{"before it", internal, nil, 500},
			{"before it, in a crash", crash, nil, 500},
			{"its answer, for a moment", nil, unavailable, 0},
			{"its answer", nil, internal, 0},
			{"after it, in a crash", nil, crash, 500},
		} {
			n++
			path, body, status := w.repeated(r, account, w.credential(account, "login").ID, fmt.Sprint("no", n))
			body = strings.Replace(body, "192.0.2.1", fmt.Sprint("192.0.2.", n), 1)
			key := fmt.Sprintf("Idempotency-Key: broken-number-%d-of-many", n)
			acts := len(w.trail())
			w.before, w.after = c.before, c.after
			first := w.ask("gko_owner", r.Method, "/admin/v1"+path, body, key)
			done := c.before == nil
			if replayed := first.Header.Get("Idempotency-Replayed") == "true"; replayed != (c.status == 0) || !replayed && first.Status != c.status {
				t.Errorf("%s, broken %s: %d %s", path, c.name, first.Status, first.Body)
			}
			if got := len(w.trail()) > acts; got != done {
				t.Errorf("%s, broken %s: done: %v, want %v", path, c.name, got, done)
			}
			if done {
				status = 200
			}
			var told map[string]any
			again := w.must(status, r.Method, path, body, &told, key)
			if got := again.Header.Get("Idempotency-Replayed") == "true"; got != done || told["allowlist"] == nil && told["id"] == "" {
				t.Errorf("%s, broken %s: again: replayed: %v, want %v: %s", path, c.name, got, done, again.Body)
			}
			if last := w.must(200, r.Method, path, body, nil, key); last.Header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s, broken %s: a third time: %s", path, c.name, last.Body)
			}
			if want := acts + 1; len(w.trail()) < want || r.Method == "POST" && len(w.trail()) != want {
				t.Errorf("%s, broken %s: %d acts, want %d", path, c.name, len(w.trail()), want)
			}
		}
	}
}

func TestOfManyUnderOneKeyOneIsFirst(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	answers := make([]webtest.Answer, 16)
	for i := range answers {
		wg.Go(func() {
			answers[i] = w.ask("gko_owner", "POST", "/admin/v1/accounts", `{"name":"Acme","ref":"C-1"}`, "Idempotency-Key: sixteen-at-once-1")
		})
	}
	wg.Wait()
	made := 0
	for _, a := range answers {
		switch {
		case a.Status == 201:
			made++
		case a.Status == 200 && a.Header.Get("Idempotency-Replayed") == "true":
		default:
			t.Errorf("got %d %s", a.Status, a.Body)
		}
	}
	var list api.Page[api.Account]
	if w.must(200, "GET", "/accounts", "", &list); made != 1 || len(list.Items) != 1 {
		t.Errorf("%d were first, and there are %d accounts", made, len(list.Items))
	}
}

func TestAListGoesOnWhereItEnded(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.account(fmt.Sprint("Account ", i))
	}
	var seen []int64
	cursors := map[string]bool{}
	path, limit := "/accounts?limit=2", 0
	for next := ""; ; {
		var p api.Page[api.Account]
		at := path
		if next != "" {
			at += "&after=" + next
		}
		w.must(200, "GET", at, "", &p)
		for _, a := range p.Items {
			seen = append(seen, a.ID)
		}
		if limit++; p.Next == "" || limit > 5 {
			break
		}
		next = p.Next
		cursors[next] = true
	}
	if !slices.Equal(seen, []int64{100001, 100002, 100003, 100004, 100005}) || limit != 3 {
		t.Errorf("saw %v in %d parts", seen, limit)
	}
	for cursor := range cursors {
		w.must(200, "GET", "/accounts?limit=1&after="+cursor, "", nil) // how many is no part of the question
		for _, wrong := range []string{
			"/accounts?status=active&after=" + cursor, "/credentials?after=" + cursor, "/refusals?after=" + cursor, "/accounts/100001/sessions?after=" + cursor,
			"/accounts?after=" + cursor[1:], "/accounts?after=" + cursor[:len(cursor)-2], "/accounts?after=" + cursor + "A",
			"/accounts?after=A", "/accounts?after=100002", "/accounts?after=" + strings.Repeat("A", 40), "/accounts?after=%00",
		} {
			w.says(w.ask("gko_owner", "GET", "/admin/v1"+wrong, ""), map[bool]string{false: "invalid_cursor", true: "invalid"}[strings.HasSuffix(wrong, "%00")])
		}
		w.says(w.ask("gko_admin", "GET", "/admin/v1/accounts?after="+cursor, ""), "invalid_cursor")
	}
}

// walk reads a list in parts of two, behind a place, and returns the ids in it.
func (w *world) walk(path, after string) (ids []string, parts int) {
	w.t.Helper()
	path += "?limit=2"
	for next := after; parts < 10; parts++ {
		at := path
		if next != "" {
			at += "&after=" + next
		}
		var p api.Page[struct {
			ID string `json:"id"`
		}]
		w.must(200, "GET", at, "", &p)
		for _, one := range p.Items {
			ids = append(ids, one.ID)
		}
		if p.Next == "" {
			return ids, parts + 1
		}
		next = p.Next
	}
	return ids, parts
}

// People and tokens come in parts like everything else, and nobody twice, though some go while they are told.
func TestPeopleAndTokensComeInParts(t *testing.T) {
	w := newWorld(t)
	members := fmt.Sprintf("/accounts/%d/members", w.account("Acme").ID)
	for _, at := range []string{"/operators", members} {
		var ids []string
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			var in api.Invited
			w.must(201, "POST", at, `{"email":"`+name+`@example.com","name":"`+name+`","role":"viewer"}`, &in)
			ids = append(ids, in.ID)
		}
		if got, parts := w.walk(at, ""); !slices.Equal(got, ids) || parts != 3 {
			t.Errorf("%s: %q in %d parts, want %q", at, got, parts, ids)
		}
		var first api.Page[api.Person]
		w.must(200, "GET", at+"?limit=2", "", &first)
		w.must(200, "DELETE", at+"/"+ids[1], "", nil) // where the first part ended
		if got, _ := w.walk(at, first.Next); !slices.Equal(got, ids[2:]) {
			t.Errorf("%s: behind somebody who went: %q, want %q", at, got, ids[2:])
		}
		w.problem("invalid_cursor", "GET", at+"?after="+first.Next[1:], "")
		w.problem("invalid", "GET", at+"?limit=0", "")
	}
	var operators api.Page[api.Person]
	w.must(200, "GET", "/operators?limit=1", "", &operators)
	w.problem("invalid_cursor", "GET", members+"?limit=1&after="+operators.Next, "")
	var ids []string
	for range 5 { // in one millisecond, or not
		var made api.OperatorToken
		w.must(201, "POST", "/operator-tokens", `{"name":"ci","role":"viewer","scopes":["accounts:read"]}`, &made)
		ids = append(ids, made.ID)
	}
	got, parts := w.walk("/operator-tokens", "")
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) || parts != 3 {
		t.Errorf("tokens: %q in %d parts, want %q", got, parts, ids)
	}
	w.problem("invalid_cursor", "GET", "/operator-tokens?after=AAAA", "")
}

func TestNothingIsChangedThatHasChanged(t *testing.T) {
	w := newWorld(t)
	id := w.account("Acme").ID
	at := fmt.Sprintf("/accounts/%d", id)
	tag := w.must(200, "GET", at, "", nil).Header.Get("Etag")
	second := w.must(200, "PATCH", at, `{"name":"Acme Ltd"}`, nil, "If-Match: "+tag).Header.Get("Etag")
	w.problem("precondition_failed", "PATCH", at, `{"name":"Acme Inc"}`, "If-Match: "+tag)
	w.problem("precondition_failed", "DELETE", at, "", "If-Match: "+tag)
	if got := w.must(200, "GET", at, "", nil).Header.Get("Etag"); got != second || second == tag {
		t.Errorf("tags: %s, %s, %s", tag, second, got)
	}
	w.must(200, "PATCH", at, `{"name":"Acme"}`, nil, `If-Match: "x", `+second)
	w.must(200, "PATCH", at, `{"name":"Acme"}`, nil, `If-Match: *`)

	c := "/credentials/" + w.credential(id, "login").ID
	tag = w.must(200, "GET", c, "", nil).Header.Get("Etag")
	if err := w.opened.DB.WriteUsage(t.Context(), nil, []auth.SecretUse{{
		Credential: auth.CredentialID(strings.TrimPrefix(c, "/credentials/")), Secret: 1, Use: auth.Use{At: time.Now(), Address: webtest.Address, Count: 3},
	}}); err != nil {
		t.Fatal(err)
	}
	if a := w.must(200, "GET", c, "", nil); !strings.Contains(a.Body, `"uses":3`) || a.Header.Get("Etag") != tag {
		t.Errorf("after a use: %s, tag %s, was %s", a.Body, a.Header.Get("Etag"), tag)
	}
	w.must(200, "POST", c+"/rotate", "", nil, "If-Match: "+tag)
	w.problem("precondition_failed", "POST", c+"/rotate", "", "If-Match: "+tag)
	w.problem("precondition_failed", "POST", c+"/rotate", "", "If-Match: "+tag, "Idempotency-Key: one-that-is-refused")
	w.problem("conflict", "POST", c+"/rotate", "", "Idempotency-Key: one-that-is-refused")

	list := at + "/allowlist"
	tag = w.must(200, "GET", list, "", nil).Header.Get("Etag")
	w.must(200, "POST", list+"/add", `{"cidrs":["192.0.2.1"]}`, nil, "If-Match: "+tag)
	w.problem("precondition_failed", "POST", list+"/remove", `{"cidrs":["192.0.2.1"],"allow_everyone":true}`, "If-Match: "+tag)

	w.problem("precondition_failed", "POST", list+"/add", `{"cidrs":["192.0.2.2"],"dry_run":true}`, "If-Match: "+tag)
	w.problem("precondition_failed", "PUT", list, `{"allowlist":[],"allow_everyone":true}`, "If-Match: "+tag)
	w.problem("precondition_failed", "PUT", list, `{"allowlist":[],"dry_run":true}`, "If-Match: "+tag)
}

// What somebody relies on is either so or refused: no condition is passed over that nothing is compared with. A key changes nothing
// where there is nothing that could be done twice.
func TestNoConditionIsPassedOver(t *testing.T) {
	w := newWorld(t)
	id := fmt.Sprint(w.account("Acme").ID)
	acts := len(w.trail())
	for _, r := range admin.Routes() {
		path := strings.NewReplacer("{account}", id).Replace(r.Path)
		path = strings.TrimPrefix(unknown.Replace(path), "/admin/v1")
		for _, condition := range []string{"If-Match: *", `If-Match: "AAAAAAAAAAAAAAAAAAAAAA"`, "If-Match:", "If-None-Match: *"} {
			none := strings.HasPrefix(condition, "If-None-Match")
			if none && r.Method == "GET" || !none && r.Conditional {
				continue
			}
			if a := w.problem("invalid", r.Method, path, valid(r), condition); !strings.Contains(a.Body, "this condition") {
				t.Errorf("%s %s with %s: %s", r.Method, path, condition, a.Body)
			}
		}
	}
	w.problem("invalid", "GET", "/openapi.yaml", "", "If-Match: *")
	w.says(w.ask("gko_viewer", "POST", "/admin/v1/accounts", `{"name":"n"}`, "If-Match: *"), "forbidden") // which comes first
	if got := len(w.trail()) - acts; got != 1 {
		t.Errorf("%d acts came of it, want the refusal", got)
	}
	at, key := "/accounts/"+id, "Idempotency-Key: a-key-that-says-nothing"
	for _, step := range []struct{ path, want string }{
		{"/suspend", `"suspended"`}, {"/suspend", `"suspended"`}, {"/resume", `"active"`}, {"/suspend", `"suspended"`},
	} {
		if a := w.must(200, "POST", at+step.path, "", nil, key); !strings.Contains(a.Body, step.want) || a.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s under a key: %s", step.path, a.Body)
		}
	}
	w.must(200, "GET", at, "", nil, "Idempotency-Key: short", `If-None-Match: "x"`)
}

// Persons, tokens and keys are read one by one, with a tag on which they are changed, and are nowhere but at their own address.
func TestPeopleTokensAndKeysAreReadAndChangedOneByOne(t *testing.T) {
	w := newWorld(t)
	account := w.account("Acme").ID
	members, others := fmt.Sprintf("/accounts/%d/members", account), fmt.Sprintf("/accounts/%d/members", w.account("Other").ID)
	for _, at := range []string{"/operators", members} {
		p := w.person(at)
		one := at + "/" + p.ID
		var read api.Person
		tag := w.must(200, "GET", one, "", &read).Header.Get("Etag")
		if diff := cmp.Diff(p, read); diff != "" || tag == "" {
			t.Errorf("%s: %s, tag %q", one, diff, tag)
		}
		second := w.must(200, "PATCH", one, `{"role":"owner"}`, &p, "If-Match: "+tag).Header.Get("Etag")
		w.problem("precondition_failed", "PATCH", one, `{"role":"viewer"}`, "If-Match: "+tag)
		w.problem("precondition_failed", "POST", one+"/reset", "", "If-Match: "+tag)
		w.problem("precondition_failed", "DELETE", one, "", "If-Match: "+tag)
		if got := w.must(200, "GET", one, "", &read).Header.Get("Etag"); got != second || second == tag || read.Role != "owner" {
			t.Errorf("%s: tags %s, %s, %s: %+v", one, tag, second, got, read)
		}
		var in api.Invited
		w.must(200, "POST", one+"/reset", "", &in, "If-Match: "+second)
		w.join(in) // with a password, which is something else to change
		third := w.must(200, "GET", one, "", &read).Header.Get("Etag")
		if third == second || read.SignedInAt.IsZero() {
			t.Errorf("%s has joined: %+v", one, read)
		}
		w.problem("precondition_failed", "POST", one+"/reset", "", "If-Match: "+second)
		if at == "/operators" {
			w.problem("conflict", "DELETE", one, "", "If-Match: "+third) // the last owner
			w.must(200, "PATCH", one, `{"role":"owner"}`, nil, "If-Match: "+third)
			other := w.person(at)
			w.join(w.reset(at + "/" + other.ID))
			w.must(200, "PATCH", at+"/"+other.ID, `{"role":"owner"}`, nil)
		}
		for _, elsewhere := range []string{"/operators", members, others} {
			if elsewhere != at {
				w.problem("not_found", "GET", elsewhere+"/"+p.ID, "")
				w.problem("not_found", "DELETE", elsewhere+"/"+p.ID, "", "If-Match: "+third)
			}
		}
		a := w.must(200, "DELETE", one, "", &read, "If-Match: "+third)
		if read.State != "removed" || a.Header.Get("Etag") != "" {
			t.Errorf("%s: %s", one, a.Body)
		}
		w.problem("not_found", "GET", one, "")
		w.problem("not_found", "PATCH", one, `{"role":"viewer"}`, "If-Match: "+third)
	}

	token := w.operatorToken()
	at := "/operator-tokens/" + token.ID
	var read api.OperatorToken
	a := w.must(200, "GET", at, "", &read)
	tag := a.Header.Get("Etag")
	if strings.Contains(a.Body, token.Token) || read.Status != "active" || tag == "" {
		t.Errorf("got %s, tag %q", a.Body, tag)
	}
	if err := w.opened.DB.UseOperatorToken(t.Context(), auth.OperatorTokenID(token.ID), time.Now(), webtest.Address); err != nil {
		t.Fatal(err)
	}
	if a := w.must(200, "GET", at, "", nil); !strings.Contains(a.Body, `"last_used_from":"`) || a.Header.Get("Etag") != tag {
		t.Errorf("after a use: %s, tag %s, was %s", a.Body, a.Header.Get("Etag"), tag)
	}
	w.problem("precondition_failed", "POST", at+"/revoke", "", `If-Match: "AAAAAAAAAAAAAAAAAAAAAA"`)
	w.must(200, "POST", at+"/revoke", "", nil, "If-Match: "+tag)
	w.problem("precondition_failed", "POST", at+"/revoke", "", "If-Match: "+tag)
	if w.must(200, "GET", at, "", &read); read.Status != "revoked" {
		t.Errorf("got %+v", read)
	}

	key := w.key()
	at = "/signing-keys/" + key.ID
	tag = w.must(200, "GET", at, "", &key).Header.Get("Etag")
	if key.State != "next" || tag == "" {
		t.Errorf("got %+v, tag %q", key, tag)
	}
	w.offset.Add(int64(48 * time.Hour)) // it signs by now, which whoever read it does not know
	w.problem("precondition_failed", "POST", at+"/revoke", "", "If-Match: "+tag)
	tag = w.must(200, "GET", at, "", &key).Header.Get("Etag")
	if key.State != "signing" {
		t.Errorf("got %+v", key)
	}
	w.must(200, "POST", at+"/revoke", "", &key, "If-Match: "+tag)
	if again := w.must(200, "GET", at, "", nil).Header.Get("Etag"); key.State != "revoked" || again == tag {
		t.Errorf("got %+v, tag %s", key, again)
	}
	w.problem("precondition_failed", "POST", at+"/revoke", "", "If-Match: "+tag)
	w.problem("conflict", "POST", at+"/revoke", "")
}

// Whoever may not list them reads none of them, whether there is one or not.
func TestWhatIsNotListedIsNotRead(t *testing.T) {
	w := newWorld(t)
	members := fmt.Sprintf("/accounts/%d/members", w.account("Acme").ID)
	there := map[string]string{
		"/operators": w.person("/operators").ID, members: w.person(members).ID, "/operator-tokens": w.operatorToken().ID, "/signing-keys": w.key().ID,
	}
	said := regexp.MustCompile(`"instance":"[^"]*"`)
	for list, id := range there {
		for name := range w.tokens {
			may := w.ask(name, "GET", "/admin/v1"+list, "").Status
			if name == "gko_viewer" && may != 200 && list != "/operator-tokens" {
				t.Errorf("%s: a viewer gets %d", list, may)
			}
			a, none := w.ask(name, "GET", "/admin/v1"+list+"/"+id, ""), w.ask(name, "GET", "/admin/v1"+list+"/nobody", "")
			if may == 200 && (a.Status != 200 || none.Status != 404) {
				t.Errorf("%s lists %s, and gets %d and %d", name, list, a.Status, none.Status)
			}
			if may != 200 && (a.Status != may || said.ReplaceAllString(a.Body, "") != said.ReplaceAllString(none.Body, "")) {
				t.Errorf("%s: %s is told %s, and of nobody %s", list, name, a.Body, none.Body)
			}
		}
	}
}

// Of many who have read the same and change it at once, one is right, whatever it is that they change.
func TestOfManyWithTheSameTagOneIsRight(t *testing.T) {
	for name, environ := range map[string]func(*testing.T) []string{
		"SQLite": func(t *testing.T) []string {
			return []string{"GATEHOUSE_DATA_DIR=" + filepath.Join(t.TempDir(), "data")}
		},
		"PostgreSQL": func(t *testing.T) []string {
			return []string{"GATEHOUSE_DATABASE=" + pgtest.Database(t), "GATEHOUSE_MASTER_KEY_FILE=" + masterKey(t), "GATEHOUSE_DATABASE_POOL_STATEMENT_TIMEOUT=30s"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldIn(t, "", environ(t)...)
			account := fmt.Sprintf("/accounts/%d", w.account("Acme").ID)
			list, credential := account+"/allowlist", "/credentials/"+w.credential(100001, "login").ID
			operator, member := "/operators/"+w.person("/operators").ID, account+"/members/"+w.person(account+"/members").ID
			token, key := "/operator-tokens/"+w.operatorToken().ID, "/signing-keys/"+w.key().ID
			for _, c := range []struct {
				read  string
				write func(i int) (method, path, body string)
			}{
				{account, func(i int) (string, string, string) { return "PATCH", account, fmt.Sprintf(`{"name":"Name %d"}`, i) }},
				{list, func(i int) (string, string, string) {
					return "PUT", list, fmt.Sprintf(`{"allowlist":[{"cidr":"192.0.2.%d"}]}`, i)
				}},
				{list, func(i int) (string, string, string) {
					if i%2 == 0 {
						return "POST", list + "/add", fmt.Sprintf(`{"cidrs":["198.51.100.%d"]}`, i)
					}
					return "PUT", list, fmt.Sprintf(`{"allowlist":[{"cidr":"203.0.113.%d"}]}`, i)
				}},
				{credential, func(i int) (string, string, string) {
					return "PATCH", credential, fmt.Sprintf(`{"name":"Name %d"}`, i)
				}},
				{credential, func(int) (string, string, string) { return "POST", credential + "/rotate", "" }},
				{operator, func(i int) (string, string, string) {
					return "PATCH", operator, `{"role":"` + []string{"owner", "admin"}[i%2] + `"}`
				}},
				{member, func(i int) (string, string, string) {
					return "PATCH", member, `{"role":"` + []string{"owner", "developer"}[i%2] + `"}`
				}},
				{token, func(int) (string, string, string) { return "POST", token + "/revoke", "" }},
				{key, func(int) (string, string, string) { return "POST", key + "/revoke", "" }},
			} {
				tag := w.must(200, "GET", c.read, "", nil).Header.Get("Etag")
				statuses := make([]int, 10)
				var wg sync.WaitGroup
				for i := range statuses {
					wg.Go(func() {
						method, path, body := c.write(i)
						statuses[i] = w.ask("gko_owner", method, "/admin/v1"+path, body, "If-Match: "+tag).Status
					})
				}
				wg.Wait()
				slices.Sort(statuses)
				if statuses[0] != 200 || statuses[1] != 412 || statuses[9] != 412 {
					t.Errorf("%s: %v", c.read, statuses)
				}
			}
		})
	}
}

// masterKey is a file with a master key.
func masterKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte(secret.GenerateMasterKey()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whoever did something, from where and with which request stands in the audit trail, and so does who was refused.
func TestWhatIsDoneIsInTheAuditTrail(t *testing.T) {
	w := newWorld(t)
	a := w.must(201, "POST", "/accounts", `{"name":"Acme"}`, nil)
	refused := w.ask("gko_viewer", "POST", "/admin/v1/accounts", `{"name":"Acme"}`)
	trail := w.trail()
	for _, want := range []string{
		"account.create token owner " + a.RequestID + " " + webtest.Address.String(),
		"denied token viewer " + refused.RequestID + " " + webtest.Address.String(),
	} {
		if !slices.Contains(trail, want) {
			t.Errorf("the trail has no %q: %q", want, trail)
		}
	}
	var found api.Page[api.AuditEntry]
	w.must(200, "GET", "/audit?action=account.create&limit=1", "", &found)
	if len(found.Items) != 1 || found.Items[0].RequestID != a.RequestID || found.Items[0].Detail != "Acme" {
		t.Errorf("got %+v", found)
	}
	w.must(200, "GET", "/audit?limit=1", "", &found)
	w.must(200, "GET", "/audit?limit=1&after="+found.Next, "", &found)
	if len(found.Items) != 1 {
		t.Errorf("the second part: %+v", found)
	}
	w.problem("invalid", "GET", "/audit?until=now", "")
	w.problem("invalid_cursor", "GET", "/audit?after=AAAA", "")
}

// The export is what the command writes on the database, to the byte, and what breaks before its first byte is a refusal like others.
func TestTheAuditTrailIsExported(t *testing.T) {
	w := newWorld(t)
	for range 200 { // more than goes out in one piece
		w.account(strings.Repeat("Acme ", 39))
	}
	var want strings.Builder
	if err := w.opened.DB.ExportAudit(t.Context(), backup.NewExporter(&want)); err != nil {
		t.Fatal(err)
	}
	a := w.must(200, "GET", "/audit/export", "", nil)
	if a.Body != want.String() || a.Header.Get("Content-Type") != "application/x-ndjson" || len(a.Body) < 64<<10 {
		t.Errorf("got %d bytes of %s, want %d", len(a.Body), a.Header.Get("Content-Type"), want.Len())
	}
	if r, err := chain.VerifyFile(strings.NewReader(a.Body), chain.Want{}); err != nil || r.Rows != 200 {
		t.Errorf("%+v, %v", r, err)
	}
	w.before = func() error { return auth.ErrOverloaded.From(errors.New("no connection")) }
	w.problem("unavailable", "GET", "/audit/export", "")
	w.problem("invalid", "GET", "/audit/export?account=100001", "")
}

func TestTheDocumentIsServed(t *testing.T) {
	w := newWorld(t)
	a := w.ask("", "GET", "/admin/v1/openapi.yaml", "")
	if a.Status != 200 || a.Header.Get("Content-Type") != "application/yaml" || a.Body != string(api.Admin()) {
		t.Errorf("got %d, %d bytes", a.Status, len(a.Body))
	}
	if again := w.ask("", "GET", "/admin/v1/openapi.yaml", "", "If-None-Match: "+a.Header.Get("Etag")); again.Status != 304 {
		t.Errorf("again: %d", again.Status)
	}
}

// Every route is in the document, with its scope, and the other way round; and so is every sort of failure.
func TestEveryRouteIsInTheDocument(t *testing.T) {
	d, err := apitest.LoadAdmin()
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for path, item := range d.Paths.Map() {
		for method := range item.Operations() {
			left[method+" "+path] = true
		}
	}
	delete(left, "GET /admin/v1/openapi.yaml")
	for _, r := range admin.Routes() {
		name := r.Method + " " + r.Path
		if !left[name] {
			t.Errorf("%s is not in the document", name)
			continue
		}
		delete(left, name)
		o := d.Paths.Value(r.Path).GetOperation(r.Method)
		wrong := registry.May(token("x", auth.RoleOwner), registry.Action(r.Asks), 0, time.Now())
		want := []string{auth.AsError(wrong).Scope}
		if o.Security == nil || len(*o.Security) != 1 || !slices.Equal((*o.Security)[0]["operatorToken"], want) {
			t.Errorf("%s: the document says %v, and it takes %v", name, o.Security, want)
		}
		named := func(in string) bool { return o.Parameters.GetByInAndName("header", in) != nil }
		if named("Idempotency-Key") != r.Repeats || named("If-Match") != r.Conditional {
			t.Errorf("%s: Idempotency-Key %v, If-Match %v", name, r.Repeats, r.Conditional)
		}
	}
	for name := range left {
		t.Errorf("%s is in the document, and nobody answers there", name)
	}
	for code := range d.Components.Examples {
		if !strings.HasSuffix(admin.Type(code), "#/components/examples/"+code) {
			t.Errorf("%s: %s", code, admin.Type(code))
		}
		value, _ := json.Marshal(d.Components.Examples[code].Value.Value)
		var p api.Problem
		if err := json.Unmarshal(value, &p); err != nil || p.Type != admin.Type(code) || p.Title != admin.Title(code) {
			t.Errorf("the example %s: %s (%v)", code, value, err)
		}
	}
}
