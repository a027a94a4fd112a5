package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/dashboard"
)

// Whoever reloads the page that shows a secret sends its form again: nothing is made, and the page says so and leads on.
func TestWhatMakesASecretIsTakenOnce(t *testing.T) {
	h := newHouse(t)
	account := "/accounts/" + h.account.String()
	max, credential := string(h.max[h.account]), string(h.credential)
	for _, side := range h.sides() {
		token := h.signedIn(auth.RoleOwner, side.at)
		at := "/dashboard" + account
		if side.at != 0 {
			at = "/dashboard"
		}
		for _, one := range []struct {
			action, path, to string
			form             url.Values
		}{
			{"credential.create", at + "/credentials/new", at + "/credentials", url.Values{"kind": {"login"}, "name": {"Till"}}},
			{"credential.rotate", at + "/credentials/" + credential + "/rotate", at + "/credentials/" + credential, url.Values{"overlap": {"0"}}},
			{"member.invite", at + "/people/new", at + "/people", url.Values{"email": {side.name + "@example.com"}, "name": {"N"}, "role": {"viewer"}}},
			{"member.reset", at + "/people/" + max + "/reset", at + "/people", nil},
			{"operator.invite", "/dashboard/operators/new", "/dashboard/operators", url.Values{"email": {"new@example.com"}, "name": {"N"}, "role": {"viewer"}}},
			{"token.create", "/dashboard/tokens/new", "/dashboard/tokens", url.Values{"name": {"N"}, "role": {"viewer"}, "scope-usage:read": {"yes"}}},
		} {
			if side.at != 0 && (one.action == "operator.invite" || one.action == "token.create") {
				continue
			}
			done := func() int {
				t.Helper()
				acts, err := h.opened.Registry.Audit(t.Context(), machine, auth.AuditQuery{Action: one.action})
				if err != nil {
					t.Fatal(err)
				}
				return len(acts)
			}
			before, form := done(), h.asked(side.of, token, one.path, one.form)
			if form.Get("once") == "" {
				t.Errorf("%s %s: its form can be taken as often as it is sent", side.name, one.path)
				continue
			}
			if a := h.post(side.of, token, one.path, form); a.Status != http.StatusOK || !strings.Contains(a.Body, "This is shown once") {
				t.Errorf("%s %s: %d\n%s", side.name, one.path, a.Status, of(a.Body))
				continue
			}
			again := h.post(side.of, token, one.path, form)
			if again.Status != http.StatusConflict || !strings.Contains(again.Body, "Nothing more was made") || !strings.Contains(again.Body, `class="button" href="`+one.to+`"`) {
				t.Errorf("%s %s, again: %d\n%s", side.name, one.path, again.Status, of(again.Body))
			}
			if got := done() - before; got != 1 {
				t.Errorf("%s %s: %s is %d times in the trail, want once", side.name, one.path, one.action, got)
			}
		}
	}
}

// What a form is taken for stands for one page and one person, and for a day; what was refused has spent nothing.
func TestWhatAFormIsTakenFor(t *testing.T) {
	h := newHouse(t)
	owner, key := h.enrolled(h.account)
	developer := h.signedIn(auth.RoleDeveloper, h.account)
	const path = "/dashboard/credentials/new"
	made := func() int {
		t.Helper()
		all, err := h.opened.Registry.Credentials(t.Context(), machine, auth.CredentialQuery{Account: h.account})
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	begun := made()
	refused := func(what, token string, form url.Values) {
		t.Helper()
		a := h.postFrom(h.members, token, path, form, "http://api.example.org")
		if a.Status != http.StatusBadRequest || !onceField.MatchString(a.Body) || made() != begun {
			t.Errorf("%s: %d %s\n%s", what, a.Status, a.Header.Get("Location"), of(a.Body))
		}
	}
	form := h.asked(h.members, owner, path, url.Values{"kind": {"api-key"}, "name": {"Till"}})
	refused("without", owner, url.Values{"kind": {"api-key"}, "name": {"Till"}})
	refused("another's", developer, form)
	other := h.asked(h.members, owner, "/dashboard/people/new", url.Values{"kind": {"api-key"}, "name": {"Till"}})
	refused("another page's", owner, other)
	form.Set("expires", "yesterday")
	refused("a mistake", owner, form)
	form.Del("expires")
	if a := h.post(h.members, owner, path, form); a.Status != http.StatusOK || made() != begun+1 {
		t.Errorf("after a mistake: %d\n%s", a.Status, of(a.Body))
	}
	begun = made()
	form = h.asked(h.members, owner, path, form)
	for range 3 { // at work all the while
		h.now = h.now.Add(dashboard.FormAge/3 + time.Second)
		h.get(h.members, owner, "/dashboard/")
	}
	proved := h.post(h.members, owner, "/dashboard/confirm", url.Values{"confirm-password": {password}, "confirm-code": {totp(key, h.now)}, "confirm-next": {path}})
	if owner = sessionIn(proved); owner == "" {
		t.Fatalf("proved: %d %v", proved.Status, proved.Header)
	}
	refused("a day old", owner, form)
}
