package dashboard_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/dashboard"
)

// of is what a page shows in its main part, without what each page has.
func of(body string) string {
	_, rest, _ := strings.Cut(body, "<main")
	main, _, _ := strings.Cut(rest, "</main>")
	return main
}

// buttons are where those of a page lead to.
func buttons(body string) []string {
	var to []string
	for _, b := range regexp.MustCompile(`<a class="button[^"]*" href="([^"]*)"`).FindAllStringSubmatch(of(body), -1) {
		to = append(to, strings.ReplaceAll(b[1], "&amp;", "&"))
	}
	return to
}

// An operator reads all that is known of a refusal; of the same one, the people of its account read what is theirs to know.
func TestWhoIsToldWhatOfARefusal(t *testing.T) {
	h := newHouse(t)
	operator, owner := h.signedIn(auth.RoleViewer, 0), h.signedIn(auth.RoleOwner, h.account)
	told := of(h.get(h.operators, operator, "/dashboard/refusals/"+refused).Body)
	for _, known := range []string{"10.20.30.40", "10.99.99.99", "sql: nobody home", "route /auth/", "in the words of contract 3 (b2b)", "gatehouse credential rotate", "/dashboard/accounts/" + h.account.String()} {
		if !strings.Contains(told, known) {
			t.Errorf("the operator is not told %q:\n%s", known, told)
		}
	}
	mine := of(h.get(h.members, owner, "/dashboard/refusals/"+refused).Body)
	for _, kept := range []string{"10.20.30.40", "10.99.99.99", "sql:", "route", "contract 3", "gatehouse ", "failures_per_identifier"} {
		if strings.Contains(mine, kept) {
			t.Errorf("a member is told %q:\n%s", kept, mine)
		}
	}
	for _, known := range []string{refused, "POST /auth/login", "401 Unauthorized", "wrong secret", "198.51.100.7", "curl/8", string(h.credential), "its secret 1", "2 equal requests", "22 Nov 2026, 08:59:00 UTC"} {
		if !strings.Contains(mine, known) {
			t.Errorf("a member is not told %q:\n%s", known, mine)
		}
	}
	golden(t, "refusal-member.html", strings.ReplaceAll(mine, string(h.credential), "CREDENTIAL"))
	golden(t, "refusal-operator.html", strings.ReplaceAll(told, string(h.credential), "CREDENTIAL"))
}

// What mends a refusal depends on its reason, on how things are by now, and on what whoever looks may do.
func TestTheButtonThatMends(t *testing.T) {
	h := newHouse(t)
	limited := h.refusal("reqid_limited", h.account, h.credential, auth.ReasonRateLimited)
	limited.Limit = "requests_per_account"
	stranger := h.refusal("reqid_stranger", 0, "", auth.ReasonUnknown)
	rows := []auth.Refusal{limited, stranger}
	for _, reason := range auth.Reasons {
		rows = append(rows, h.refusal("reqid_"+string(reason), h.account, h.credential, reason))
	}
	h.refuse(rows...)
	look := func(role auth.Role, account auth.AccountID, request string) []string {
		side := h.members
		if account == 0 {
			side = h.operators
		}
		a := h.get(side, h.signedIn(role, account), "/dashboard/refusals/"+request)
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d", request, a.Status)
		}
		return buttons(a.Body)
	}
	c := "/dashboard/credentials/" + string(h.credential)
	ours := "/dashboard/accounts/" + h.account.String()
	for _, one := range []struct {
		role    auth.Role
		account auth.AccountID
		request string
		want    []string
	}{
		{auth.RoleOwner, h.account, "reqid_address_not_allowed", []string{"/dashboard/allowlist?add=198.51.100.7", c + "/revoke", c}},
		{auth.RoleViewer, h.account, "reqid_address_not_allowed", []string{c}},
		{auth.RoleAdmin, 0, "reqid_address_not_allowed", []string{ours + "/allowlist?add=198.51.100.7", ours + "/credentials/" + string(h.credential) + "/revoke", ours + "/credentials/" + string(h.credential)}},
		{auth.RoleDeveloper, h.account, "reqid_wrong_secret", []string{c + "/rotate", c}},
		{auth.RoleDeveloper, h.account, "reqid_no_credential", []string{"/dashboard/credentials/new?kind=login", c}},
		{auth.RoleDeveloper, h.account, "reqid_insufficient_scope", []string{c + "/edit", c}},
		{auth.RoleOwner, h.account, "reqid_account_suspended", []string{c}},
		{auth.RoleOwner, h.account, "reqid_limited", []string{c}},
		{auth.RoleOwner, h.account, "reqid_upstream", []string{c}},
		{auth.RoleViewer, 0, "reqid_stranger", nil},
	} {
		if got := look(one.role, one.account, one.request); !slices.Equal(got, one.want) {
			t.Errorf("%s of %d is led from %s to %v, want %v", one.role, one.account, one.request, got, one.want)
		}
	}
	for request, path := range map[string]string{"reqid_account_suspended": "/resume", "reqid_limited": "/limit"} {
		if got := look(auth.RoleAdmin, 0, request); len(got) == 0 || got[0] != ours+path {
			t.Errorf("an operator is led from %s to %v", request, got)
		} else if a := h.get(h.operators, h.signedIn(auth.RoleAdmin, 0), got[0]); a.Status != http.StatusOK {
			t.Errorf("%s: %d", got[0], a.Status)
		}
	}
	// While two secrets are live there is no third: one of them goes first. A dead credential needs another.
	if _, err := h.opened.Registry.RotateCredential(t.Context(), machine, h.credential, begin.Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	if got := look(auth.RoleOwner, h.account, "reqid_wrong_secret"); !slices.Equal(got, []string{c + "/finish", c + "/undo", c}) {
		t.Errorf("within a rotation one is led to %v", got)
	}
	if _, err := h.opened.Registry.RevokeCredential(t.Context(), machine, h.credential); err != nil {
		t.Fatal(err)
	}
	if got := look(auth.RoleOwner, h.account, "reqid_revoked"); !slices.Equal(got, []string{"/dashboard/credentials/new?kind=login", c}) {
		t.Errorf("from a revoked credential one is led to %v", got)
	}
}

// One finds a refusal by what one has of it; members find those of their account, and no trace of others.
func TestRefusalsAreFound(t *testing.T) {
	h := newHouse(t)
	foreign := h.refusal("reqid_foreign", h.other, h.foreign, auth.ReasonExpired)
	foreign.Address = netip.MustParseAddr("2001:db8::7")
	late := h.refusal("reqid_late", h.account, "", auth.ReasonTokenExpired)
	late.At = begin.Add(time.Hour)
	h.refuse(foreign, late)
	owner, operator := h.signedIn(auth.RoleOwner, h.account), h.signedIn(auth.RoleViewer, 0)
	ids := regexp.MustCompile(`/refusals/(reqid_[a-z0-9]+)"`)
	search := func(operators bool, query string) (string, int) {
		side, token := h.members, owner
		if operators {
			side, token = h.operators, operator
		}
		a := h.get(side, token, "/dashboard/refusals?"+query)
		var found []string
		for _, id := range ids.FindAllStringSubmatch(of(a.Body), -1) {
			found = append(found, id[1])
		}
		return strings.Join(found, " "), a.Status
	}
	for _, one := range []struct {
		operators bool
		query     string
		want      string
		status    int
	}{
		{true, "", "reqid_late " + refused + " reqid_foreign", 200},
		{true, "account=" + h.other.String(), "reqid_foreign", 200},
		{true, "account=nobody", "", 400},
		{true, "address=2001:DB8:0::7", "reqid_foreign", 200},
		{true, "address=::ffff:198.51.100.7", "reqid_late " + refused, 200},
		{true, "address=localhost", "", 400},
		{true, "credential=" + string(h.foreign), "reqid_foreign", 200},
		{true, "from=2026-11-22T09:30", "reqid_late", 200},
		{true, "until=2026-11-22T08:59", refused + " reqid_foreign", 200},
		{true, "until=2026-11-22T08:58", "", 200},
		{true, "from=yesterday", "", 400},
		{false, "", "reqid_late " + refused, 200},
		{false, "account=" + h.other.String(), "reqid_late " + refused, 200},
		{false, "address=2001:db8::7", "", 200},
		{false, "credential=" + string(h.credential), refused, 200},
		{false, "credential=" + string(h.foreign), "", 400},
		{false, "credential=nobody000000", "", 400},
	} {
		if got, status := search(one.operators, one.query); got != one.want || status != one.status {
			t.Errorf("operators %v, %s: %d, got %q, want %q", one.operators, one.query, status, got, one.want)
		}
	}
	if a := h.get(h.members, owner, "/dashboard/refusals?request=%20"+refused+"%20"); a.Status != http.StatusSeeOther || a.Header.Get("Location") != "/dashboard/refusals/"+refused {
		t.Errorf("by its id: %d %s", a.Status, a.Header.Get("Location"))
	}
	for path, status := range map[string]int{"reqid_foreign": 404, "reqid_none": 404, "reqid_late": 200} {
		if a := h.get(h.members, owner, "/dashboard/refusals/"+path); a.Status != status || status == 404 && strings.Contains(of(a.Body), "expired") {
			t.Errorf("a member asks for %s: %d", path, a.Status)
		}
	}
	if a := h.get(h.operators, operator, fmt.Sprintf("/dashboard/accounts/%d/refusals/reqid_foreign", h.account)); a.Status != http.StatusNotFound {
		t.Errorf("below another account: %d", a.Status)
	}
	if a := h.get(h.operators, operator, "/dashboard/refusals?request=../x%2F%3Fy"); !strings.HasPrefix(a.Header.Get("Location"), dashboard.Root+"/refusals/") || strings.Contains(a.Header.Get("Location"), "/refusals/../") {
		t.Errorf("nonsense leads to %q", a.Header.Get("Location"))
	}
}

// A long list is read page by page, and none is left out or shown twice.
func TestRefusalsPageByPage(t *testing.T) {
	h := newHouse(t)
	var rows []auth.Refusal
	for n := range 120 {
		r := h.refusal(fmt.Sprintf("reqid_%03d", n), h.account, h.credential, auth.ReasonExpired)
		r.At = begin.Add(-time.Duration(n/7) * time.Second) // some at the same moment
		rows = append(rows, r)
	}
	h.refuse(rows...)
	token, at := h.signedIn(auth.RoleViewer, h.account), "/dashboard/refusals?"+url.Values{"credential": {string(h.credential)}}.Encode()
	next := regexp.MustCompile(`<a href="([^"]*)"[^>]*>Next page`)
	seen := map[string]bool{}
	pages := 0
	for ; at != ""; pages++ {
		a := h.get(h.members, token, at)
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d", at, a.Status)
		}
		for _, id := range regexp.MustCompile(`/refusals/(reqid_[a-z0-9]+)"`).FindAllStringSubmatch(a.Body, -1) {
			if seen[id[1]] {
				t.Errorf("%s is shown twice", id[1])
			}
			seen[id[1]] = true
		}
		at = ""
		if to := next.FindStringSubmatch(a.Body); to != nil {
			at = strings.ReplaceAll(to[1], "&amp;", "&")
		}
	}
	if len(seen) != 121 || pages != 3 {
		t.Errorf("%d rows on %d pages, want 121 on 3", len(seen), pages)
	}
}
