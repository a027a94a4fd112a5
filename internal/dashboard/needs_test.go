package dashboard_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// made makes a credential of the account's, and rotates its secret if an end of the old one is given.
func (h *house) made(name string, expires, oldEnds time.Time) auth.CredentialID {
	h.t.Helper()
	made, err := h.opened.Registry.CreateCredential(h.t.Context(), machine, registry.NewCredential{Account: h.account, Kind: auth.Login, Name: name, Expires: expires})
	if err == nil && !oldEnds.IsZero() {
		_, err = h.opened.Registry.RotateCredential(h.t.Context(), machine, made.Credential.ID, oldEnds, false)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return made.Credential.ID
}

// used has a secret of a credential used now.
func (h *house) used(id auth.CredentialID, secret int) {
	h.t.Helper()
	if err := h.opened.DB.WriteUsage(h.t.Context(), nil, []auth.SecretUse{{Credential: id, Secret: secret, Use: auth.Use{
		At: h.now, Address: netip.MustParseAddr("192.0.2.7"), UserAgent: "<b>curl</b>", Count: 1,
	}}}); err != nil {
		h.t.Fatal(err)
	}
}

// What ends by itself soon is on the start page of both sides, with who still uses it, and a link to what mends it.
func TestWhatEndsSoonIsOnTheStartPage(t *testing.T) {
	h := newHouse(t)
	day := 24 * time.Hour
	calm := []string{"Nothing needs you."}
	starts := func(s *webtest.Server, token string) string {
		t.Helper()
		a := h.get(s, token, "/dashboard/")
		if a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		return of(a.Body)
	}
	owner, viewer, member := h.signedIn(auth.RoleOwner, 0), h.signedIn(auth.RoleViewer, 0), h.signedIn(auth.RoleOwner, h.account)
	shows := func(page string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%q is not on the page:\n%s", w, page)
			}
		}
	}
	shows(starts(h.operators, owner), calm...)

	ends, rested, hurries := h.made("Till", h.now.Add(13*day+time.Hour), time.Time{}), h.made("Office", time.Time{}, h.now.Add(9*day)), h.made("Depot", time.Time{}, h.now.Add(6*day))
	unused := h.made("Unused", time.Time{}, h.now.Add(10*day))
	gone := h.made("Gone", h.now.Add(13*day), h.now.Add(13*day))
	if _, err := h.opened.Registry.RevokeCredential(t.Context(), machine, gone); err != nil {
		t.Fatal(err)
	}
	h.made("Later", h.now.Add(40*day), h.now.Add(40*day))
	h.used(rested, 2)
	h.now = h.now.Add(5 * day)
	h.used(hurries, 1)
	h.now = h.now.Add(2 * time.Hour)
	for _, token := range []*string{&owner, &viewer, &member} { // a day is long for a session
		h.tokens = map[string]string{}
		h.persons++
		*token = ""
	}
	owner, viewer, member = h.signedIn(auth.RoleOwner, 0), h.signedIn(auth.RoleViewer, 0), h.signedIn(auth.RoleOwner, h.account)

	for _, side := range []struct {
		of          *webtest.Server
		token       string
		named, base string
	}{
		{h.operators, owner, " of account " + h.account.String(), "/dashboard/accounts/" + h.account.String() + "/credentials/"},
		{h.members, member, "", "/dashboard/credentials/"},
	} {
		page := starts(side.of, side.token)
		shows(page,
			"<p>Till"+side.named+" expires in 7 d. Whoever uses it is refused from then on.</p><p><a href=\""+side.base+string(ends)+"/edit\">",
			"<p>The old secret of Depot"+side.named+" ends in 22 h and is in use: last 2 h ago from 192.0.2.7 by &lt;b&gt;curl&lt;/b&gt;. Whoever uses it is refused from then on.</p><p><a href=\""+side.base+string(hurries)+"\">",
			"<p>Office"+side.named+" has two secrets. Safe to finish: the old secret was not used for 5 d.</p><p><a href=\""+side.base+string(rested)+"/finish\">",
			"<p>The old secret of Unused"+side.named+" ends in 4 d, and nobody has used the new one yet.</p><p><a href=\""+side.base+string(unused)+"\">",
		)
		if strings.Contains(page, "Later expires") || strings.Contains(page, "Gone") || strings.Index(page, "Depot") > strings.Index(page, "Office") || !strings.Contains(page, `<li class="note warn"><p>The old secret of Depot`) {
			t.Errorf("there is too much, or in another order than it presses:\n%s", page)
		}
	}
	// Who may not mend it is led to where it can be seen.
	if page := starts(h.operators, viewer); strings.Contains(page, "/edit") || strings.Contains(page, "/finish") || !strings.Contains(page, string(ends)) {
		t.Errorf("a viewer sees:\n%s", page)
	}
}

// The start page has room for some, and leads to the rest.
func TestWhatEndsSoonIsBounded(t *testing.T) {
	h := newHouse(t)
	for i := range 12 {
		h.made(fmt.Sprintf("Till %02d", i), h.now.Add(time.Duration(i+1)*24*time.Hour), time.Time{})
	}
	owner, member := h.signedIn(auth.RoleOwner, 0), h.signedIn(auth.RoleOwner, h.account)
	page := of(h.get(h.operators, owner, "/dashboard/").Body)
	if strings.Count(page, " expires in") != 5 || !strings.Contains(page, "Till 04") || !strings.Contains(page, `<a href="/dashboard/ending">`) {
		t.Errorf("operators see:\n%s", page)
	}
	if page := of(h.get(h.operators, owner, "/dashboard/ending").Body); strings.Count(page, " expires in") != 12 {
		t.Errorf("and then:\n%s", page)
	}
	if page := of(h.get(h.members, member, "/dashboard/").Body); strings.Count(page, " expires in") != 10 || !strings.Contains(page, "2 more things") {
		t.Errorf("members see:\n%s", page)
	}
}

// Requests that were refused today are counted, not the rows that stand for them; where there are too many, it says so.
func TestRefusedToday(t *testing.T) {
	h := newHouse(t)
	owner := h.signedIn(auth.RoleOwner, 0)
	var rows []auth.Refusal
	add := func(n int, at time.Time, reason auth.Reason) {
		for range n {
			r := h.refusal(fmt.Sprintf("reqid_%d", len(rows)), h.other, h.foreign, reason)
			r.At, r.RequestIDs = at, nil
			rows = append(rows, r)
		}
	}
	add(10, begin.Add(-10*time.Hour), auth.ReasonExpired) // yesterday
	add(1200, begin, auth.ReasonRevoked)
	h.refuse(rows...)
	page := of(h.get(h.operators, owner, "/dashboard/").Body)
	if !strings.Contains(page, `revoked</th><td data-label="Requests" class="amount">3`+"\u202f"+`600<`) || !strings.Contains(page, `wrong secret</th><td data-label="Requests" class="amount">3<`) || strings.Contains(page, "expired</th>") || strings.Contains(page, "there were more") {
		t.Errorf("1 200 rows, each of three requests:\n%s", page)
	}
	rows = nil
	add(registry.MostRefusals, begin.Add(time.Minute), auth.ReasonExpired)
	h.refuse(rows...)
	if page := of(h.get(h.operators, owner, "/dashboard/").Body); !strings.Contains(page, "there were more: the newest were counted") {
		t.Errorf("more than are counted:\n%s", page)
	}
}
