package dashboard_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// payloads are what somebody writes who wants a page to run it: in text, in attributes quoted either way or not at all, in
// addresses, in a script, in the template language and in a style.
var payloads = []string{
	`<script>alert(1)</script>`, `"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `<svg/onload=alert(1)>`,
	`" onmouseover="alert(1)`, `' onfocus='alert(1)' autofocus '`, `x onclick=alert(1) y`, `javascript:alert(1)`, `</title><script>alert(1)</script>`,
	`</textarea><script>alert(1)</script>`, `--><script>alert(1)</script>`, `]]><script>alert(1)</script>`, `{{.Actor}}<b>`, `<iframe srcdoc="<script>alert(1)</script>">`,
	`<a href="javascript:alert(1)">x</a>`, `"><div hx-get="/dashboard/profile" hx-trigger="load">`, `<meta http-equiv=refresh content="0;url=//evil.example">`,
	`<math><mtext></mtext><script>alert(1)</script>`, `</code><style>*{display:none}</style>`, "<img src=x onerror=`alert(1)`>",
}

var toScript = regexp.MustCompile(`(?i)(href|src|action|hx-get|hx-post)=["']?\s*javascript:`)

// Whatever stands in a name, a note, a reference, a user agent, a path: on no page is it more than text.
func TestWhatOthersWroteIsText(t *testing.T) {
	h := newHouse(t)
	for n, payload := range payloads {
		at := begin.Add(-time.Duration(n+2) * time.Second)
		ref := strings.ReplaceAll(payload, " ", "/")
		if _, err := h.opened.Registry.RenameAccount(t.Context(), machine, h.account, payload, &ref); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		c := auth.CredentialUpdate{Name: &payload}
		if _, err := h.opened.Registry.UpdateCredential(t.Context(), machine, h.credential, c); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		prefix := netip.MustParsePrefix(fmt.Sprintf("203.0.113.%d/32", n))
		if _, err := h.opened.Registry.AllowIP(t.Context(), machine, h.account, []netip.Prefix{prefix}, payload, time.Time{}); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		person := registry.NewPerson{Email: fmt.Sprintf("x%d@example.com", n), Name: payload, Role: auth.RoleViewer}
		for _, of := range []auth.AccountID{0, h.account} {
			if _, err := h.opened.Registry.InvitePerson(t.Context(), machine, of, person, 0); err != nil {
				t.Fatalf("%s: %v", payload, err)
			}
		}
		refusal := h.refusal(fmt.Sprintf("reqid_x%d", n), h.account, h.credential, auth.ReasonUpstream)
		refusal.At, refusal.Method, refusal.Path, refusal.Host, refusal.UserAgent, refusal.Detail = at, payload, "/"+payload, payload, payload, payload
		h.refuse(refusal)
		if err := h.opened.DB.WriteUsage(t.Context(), nil, []auth.SecretUse{{Credential: h.credential, Secret: 1, Use: auth.Use{
			At: at.Add(time.Minute), Address: netip.MustParseAddr("192.0.2.7"), UserAgent: payload, Count: 1,
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, side := range h.sides() {
		token := h.signedIn(auth.RoleOwner, side.at)
		met := map[string]bool{}
		look := func(path string) {
			a := h.get(side.of, token, path)
			if a.Status == http.StatusInternalServerError {
				t.Errorf("%s %s: %d", side.name, path, a.Status)
			}
			for _, payload := range payloads {
				if strings.Contains(payload, "<") || strings.Contains(payload, `"`) {
					if strings.Contains(a.Body, payload) {
						t.Errorf("%s %s has %s as it was written", side.name, path, payload)
					}
				}
				if strings.Contains(a.Body, strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(payload)) {
					met[payload] = true
				}
			}
			if toScript.MatchString(a.Body) {
				t.Errorf("%s %s leads to a script", side.name, path)
			}
		}
		for _, line := range h.pages[side.of].Lines() {
			if line.Method == "GET" {
				look(h.filled(line.Path))
			}
		}
		for n, payload := range payloads {
			base := "/dashboard/refusals"
			look(fmt.Sprintf("%s/reqid_x%d", base, n))
			for _, field := range []string{"request", "credential", "address", "from"} {
				look(base + "?" + url.Values{field: {payload}}.Encode())
			}
			look("/dashboard/audit?" + url.Values{"action": {payload}}.Encode())
		}
		if len(met) != len(payloads) {
			t.Errorf("%s: of %d payloads only %d are shown anywhere", side.name, len(payloads), len(met))
		}
	}
}
