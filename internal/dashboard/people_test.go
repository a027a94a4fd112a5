package dashboard_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
)

var oneTimeLink = regexp.MustCompile(`id="value-link"[^>]*>([^<]*)<`)

// An owner invites somebody by a link that is shown once, gives them another role, a new link, and removes them; the last owner
// stays one.
func TestPeopleOfAnAccount(t *testing.T) {
	h := newHouse(t)
	owner := h.signedIn(auth.RoleOwner, h.account)
	invite := url.Values{"email": {"Mara@Example.com "}, "name": {"<b>Mara</b>"}, "role": {"developer"}}
	a := h.post(h.members, owner, "/dashboard/people/new", invite)
	link := oneTimeLink.FindStringSubmatch(a.Body)
	if a.Status != http.StatusOK || link == nil || !strings.HasPrefix(link[1], "http://api.example.org/dashboard/join#") || strings.Contains(a.Body, "<b>Mara") {
		t.Fatalf("%d:\n%s", a.Status, of(a.Body))
	}
	if twice := h.post(h.members, owner, "/dashboard/people/new", invite); twice.Status != http.StatusConflict || !strings.Contains(of(twice.Body), `value="Mara@Example.com "`) {
		t.Errorf("the same address twice: %d\n%s", twice.Status, of(twice.Body))
	}
	list := func() string { return of(h.get(h.members, owner, "/dashboard/people").Body) }
	row := regexp.MustCompile(`(?s)<tr>\s*<th scope="row">&lt;b&gt;Mara&lt;/b&gt;</th>.*?</tr>`)
	mara := row.FindString(list())
	id := regexp.MustCompile(`/people/(p_[A-Za-z0-9]+)/role`).FindStringSubmatch(mara)
	if id == nil || !strings.Contains(mara, "mara@example.com") || !strings.Contains(mara, ">developer<") || !strings.Contains(mara, "invited") || strings.Contains(list(), link[1]) {
		t.Fatalf("she is listed as\n%s\nin\n%s", mara, list())
	}
	at := "/dashboard/people/" + id[1]
	if a := h.post(h.members, owner, at+"/role", url.Values{"role": {"viewer"}}); a.Status != http.StatusSeeOther || !strings.Contains(row.FindString(list()), ">viewer<") {
		t.Errorf("another role: %d\n%s", a.Status, list())
	}
	if a := h.post(h.members, owner, at+"/role", url.Values{"role": {"admin"}}); a.Status != http.StatusBadRequest {
		t.Errorf("an operator's role: %d", a.Status)
	}
	if again := oneTimeLink.FindStringSubmatch(h.post(h.members, owner, at+"/reset", nil).Body); again == nil || again[1] == link[1] {
		t.Errorf("another link: %v", again)
	}
	for role, status := range map[auth.Role]int{auth.RoleDeveloper: http.StatusForbidden, auth.RoleViewer: http.StatusForbidden} {
		token := h.signedIn(role, h.account)
		for _, form := range []string{"/role", "/reset", "/remove"} {
			if a := h.post(h.members, token, at+form, url.Values{"role": {"owner"}}); a.Status != status {
				t.Errorf("a %s, %s: %d", role, form, a.Status)
			}
		}
	}
	if a := h.post(h.members, owner, at+"/remove", nil); a.Status != http.StatusSeeOther || strings.Contains(list(), "mara@example.com") {
		t.Errorf("removed: %d\n%s", a.Status, list())
	}
	self := regexp.MustCompile(`\(you\)(?s:.*?)/people/(p_[A-Za-z0-9]+)/role`).FindStringSubmatch(list())
	if self == nil {
		t.Fatalf("who am I?\n%s", list())
	}
	for path, form := range map[string]url.Values{"/role": {"role": {"viewer"}}, "/remove": nil} {
		if a := h.post(h.members, owner, "/dashboard/people/"+self[1]+path, form); a.Status != http.StatusConflict {
			t.Errorf("the last owner, %s: %d\n%s", path, a.Status, of(a.Body))
		}
	}
}
