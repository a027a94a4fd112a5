package dashboard_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// From a credential to the first call: with one's own values, never with the secret, and with what has been seen of it.
func TestGetStarted(t *testing.T) {
	h := newHouse(t)
	token := h.signedIn(auth.RoleDeveloper, h.account)
	kinds := of(h.get(h.members, token, "/dashboard/start").Body)
	for _, want := range []string{"/dashboard/credentials/new?kind=api-key", "/dashboard/credentials/new?kind=oauth", "/dashboard/start/" + string(h.credential)} {
		if !strings.Contains(kinds, want) {
			t.Errorf("%s is not offered:\n%s", want, kinds)
		}
	}
	if strings.Contains(kinds, "kind=basic") {
		t.Errorf("a credential is offered that opens nothing here:\n%s", kinds)
	}
	if viewer := of(h.get(h.members, h.signedIn(auth.RoleViewer, h.account), "/dashboard/start").Body); strings.Contains(viewer, "/credentials/new") || !strings.Contains(viewer, "Ask an owner") {
		t.Errorf("a viewer is offered what they may not do:\n%s", viewer)
	}

	made, err := h.opened.Registry.CreateCredential(t.Context(), machine, registry.NewCredential{Account: h.account, Kind: auth.Login, Name: "New"})
	if err != nil {
		t.Fatal(err)
	}
	identifier, secret := made.Reveal()
	id := string(made.Credential.ID)
	page := func() string { t.Helper(); return of(h.get(h.members, token, "/dashboard/start/"+id).Body) }
	first := page()
	for _, want := range []string{"export API_USERNAME=&#39;" + identifier, "export API_PASSWORD=&#39;the secret", "export API_PATH=&#39;/it&#39;\\&#39;&#39;s/&#39;", "&lt;?php", "not seen yet", `hx-trigger="every 3s"`} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is not there:\n%s", want, first)
		}
	}
	if strings.Contains(first, secret) {
		t.Error("the secret is on a page that can be read again")
	}

	at := begin.Add(2 * time.Second)
	if err := h.opened.DB.WriteUsage(t.Context(), nil, []auth.SecretUse{{Credential: made.Credential.ID, Secret: 1, Use: auth.Use{
		At: at, Address: netip.MustParseAddr("192.0.2.7"), UserAgent: "curl/8", Count: 1,
	}}}); err != nil {
		t.Fatal(err)
	}
	if got := page(); !strings.Contains(got, `seen <time datetime="2026-11-22T09:00:02Z">09:00:02 UTC on 22 Nov</time> from <code>192.0.2.7</code>`) || !strings.Contains(got, "every 3s") {
		t.Errorf("after the first exchange:\n%s", got)
	}
	if err := h.opened.DB.WriteUsage(t.Context(), []auth.UsageRow{
		{Account: h.account, Credential: made.Credential.ID, Hour: begin, What: auth.DidVerify, Count: 2},
		{Account: h.account, Credential: h.credential, Hour: begin, What: auth.DidVerify, Count: 40},
	}, nil); err != nil {
		t.Fatal(err)
	}
	got := page()
	if !strings.Contains(got, "2 seen, the last one in the hour that began") || strings.Contains(got, "every 3s") || !strings.Contains(got, "your program is connected") {
		t.Errorf("after the first calls:\n%s", got)
	}
	// What was refused leads to why.
	if got := of(h.get(h.members, token, "/dashboard/start/"+string(h.credential)).Body); !strings.Contains(got, `wrong secret. <a href="/dashboard/refusals/`+refused) {
		t.Errorf("a refusal is not told:\n%s", got)
	}
	if a := h.get(h.members, token, "/dashboard/start/"+string(h.foreign)); a.Status != http.StatusNotFound {
		t.Errorf("with another account's credential: %d", a.Status)
	}
}

// The one page that shows a secret has it in the lines that a shell is told, too.
func TestTheSecretIsFilledInOnce(t *testing.T) {
	h := newHouse(t)
	for _, side := range h.sides() {
		path := "/dashboard/credentials/new"
		if side.at == 0 {
			path = "/dashboard/accounts/" + h.account.String() + "/credentials/new"
		}
		token := h.signedIn(auth.RoleOwner, side.at)
		made := h.post(side.of, token, path, url.Values{"kind": {"oauth"}, "name": {"Till"}})
		_, rest, _ := strings.Cut(made.Body, `id="value-secret"`)
		_, rest, _ = strings.Cut(rest, ">")
		secret, _, _ := strings.Cut(rest, "<")
		if len(secret) != auth.SecretLength || !strings.Contains(of(made.Body), "export CLIENT_SECRET=&#39;"+secret+"&#39;") || made.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, the secret %q stands in:\n%s", side.name, made.Status, secret, of(made.Body))
		}
	}
}
