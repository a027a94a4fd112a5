package dashboard_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Usage is drawn, stands beside it as numbers, can be narrowed to one credential, and is a file that no spreadsheet computes.
func TestUsage(t *testing.T) {
	h := newHouse(t)
	name := "=cmd|' /C calc'!A0"
	if _, err := h.opened.Registry.UpdateCredential(t.Context(), machine, h.credential, auth.CredentialUpdate{Name: &name}); err != nil {
		t.Fatal(err)
	}
	row := func(account auth.AccountID, credential auth.CredentialID, ago time.Duration, what string, n int64) auth.UsageRow {
		return auth.UsageRow{Account: account, Credential: credential, Hour: begin.Add(-ago).Truncate(time.Hour), What: what, Count: n}
	}
	if err := h.opened.DB.WriteUsage(t.Context(), []auth.UsageRow{
		row(h.account, h.credential, 0, auth.DidLogin, 3), row(h.account, h.credential, time.Hour, auth.DidVerify, 1234),
		row(h.account, h.credential, 0, "refused:wrong_secret", 5), row(h.account, h.credential, 0, "refused:rate_limited", 7),
		row(h.account, h.credential, 72*time.Hour, auth.DidVerify, 88), row(h.other, h.foreign, 0, auth.DidVerify, 999),
	}, nil); err != nil {
		t.Fatal(err)
	}
	token := h.signedIn(auth.RoleViewer, h.account)
	page := of(h.get(h.members, token, "/dashboard/usage").Body)
	for _, want := range []string{
		`&#34;labels&#34;:[&#34;Tokens handed out&#34;,&#34;Refreshes&#34;,&#34;Calls let in&#34;]`, "1\u202f234", `<th scope="row">wrong secret</th><td data-label="Requests" class="amount">5</td>`,
		`<a href="/dashboard/usage?credential=` + string(h.credential) + `">=cmd|&#39; /C calc&#39;!A0</a>`, `data-label="Over a limit"><strong>7</strong>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is not there:\n%s", want, page)
		}
	}
	if strings.Contains(page, "999") || strings.Contains(page, ">88<") {
		t.Errorf("it shows another account's, or another time's:\n%s", page)
	}
	if week := of(h.get(h.members, token, "/dashboard/usage?span=7d&credential="+string(h.credential)).Body); !strings.Contains(week, ">88<") || !strings.Contains(week, "Of one credential") || !strings.Contains(week, `<option value="7d" selected>`) {
		t.Errorf("of a week:\n%s", week)
	}
	file := h.get(h.members, token, "/dashboard/usage.csv?span=7d")
	if file.Header.Get("Content-Type") != "text/csv; charset=utf-8" || file.Header.Get("Content-Disposition") != `attachment; filename="usage-`+h.account.String()+`-2026-11-22.csv"` {
		t.Errorf("the file comes as %v", file.Header)
	}
	if want := "2026-11-22T09:00:00Z," + string(h.credential) + ",'" + name + ",login,3\r\n"; !strings.Contains(file.Body, want) || strings.Count(file.Body, "\r\n") != 6 {
		t.Errorf("it lacks %q:\n%s", want, file.Body)
	}
	for _, path := range []string{"/dashboard/usage", "/dashboard/usage.csv"} {
		if a := h.get(h.members, token, path+"?credential="+string(h.foreign)); a.Status != http.StatusNotFound {
			t.Errorf("%s of another account's credential: %d", path, a.Status)
		}
	}
}
