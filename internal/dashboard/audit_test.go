package dashboard_test

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// Operators read who did what; the people of an account read it of theirs, and of operators no more than that it was one.
func TestAuditTrail(t *testing.T) {
	h := newHouse(t)
	jane := auth.Actor{Name: "operator p_jane jane@corp.example", Role: auth.RoleAdmin, Machine: true, Address: netip.MustParseAddr("10.1.1.1")}
	owner := auth.Actor{Name: "member p_mara mara@acme.example", Role: auth.RoleOwner, Account: h.account, Machine: true, Address: netip.MustParseAddr("192.0.2.77")}
	for _, actor := range []auth.Actor{jane, owner} {
		if _, err := h.opened.Registry.CreateCredential(t.Context(), actor, registry.NewCredential{Account: h.account, Kind: auth.Basic, Name: "By " + actor.Name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.opened.Registry.Credential(t.Context(), owner, string(h.foreign)); err == nil {
		t.Fatal("a member read another account's credential")
	}
	mine := of(h.get(h.members, h.signedIn(auth.RoleViewer, h.account), "/dashboard/audit").Body)
	for _, want := range []string{"member p_mara mara@acme.example", "<code>192.0.2.77</code>", "whoever runs this server", "credential.create", "denied", "another account"} {
		if !strings.Contains(mine, want) {
			t.Errorf("a member does not read %q:\n%s", want, mine)
		}
	}
	for _, kept := range []string{"<td data-label=\"Who\">operator", "10.1.1.1", string(h.foreign), h.other.String()} {
		if strings.Contains(mine, kept) {
			t.Errorf("a member reads %q:\n%s", kept, mine)
		}
	}
	all := of(h.get(h.operators, h.signedIn(auth.RoleViewer, 0), "/dashboard/audit").Body)
	for _, want := range []string{"operator p_jane jane@corp.example", "<code>10.1.1.1</code>", "member p_mara", "/dashboard/accounts/" + h.other.String()} {
		if !strings.Contains(all, want) {
			t.Errorf("an operator does not read %q:\n%s", want, all)
		}
	}
	rows := func(query string) (int, int) {
		a := h.get(h.members, h.signedIn(auth.RoleViewer, h.account), "/dashboard/audit?"+query)
		return len(regexp.MustCompile(`<th scope="row">`).FindAllString(a.Body, -1)), a.Status
	}
	if n, status := rows("action=denied"); n != 1 || status != http.StatusOK {
		t.Errorf("what was denied: %d rows with %d", n, status)
	}
	for query, want := range map[string][2]int{
		"credential=" + string(h.credential): {1, 200}, "credential=" + string(h.foreign): {0, 400},
		"until=2026-11-22T08:00": {0, 200}, "from=soon": {0, 400}, "after=x": {0, 400},
	} {
		if n, status := rows(query); n != want[0] || status != want[1] {
			t.Errorf("%s: %d rows with %d, want %v", query, n, status, want)
		}
	}
	if a := h.get(h.operators, h.signedIn(auth.RoleViewer, 0), "/dashboard/accounts/"+h.other.String()+"/audit"); a.Status != http.StatusOK || strings.Contains(of(a.Body), "p_mara") {
		t.Errorf("of the other account: %d\n%s", a.Status, of(a.Body))
	}
}
