package dashboard_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/dashboard"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// markup is what somebody could call a thing to have a script of theirs run.
func markup() []string {
	scripts := []string{"alert(1)", "fetch`//evil.test`", "top.x=1"}
	shapes := []string{
		"<script>%s</script>", "<img src=x onerror=%s>", "<svg onload=%s>", "\"><script>%s</script>", "'><script>%s</script>", "\" onmouseover=%s x=\"", "' onfocus=%s autofocus x='",
		"</title><script>%s</script>", "</textarea><script>%s</script>", "</style><script>%s</script>", "<!--><script>%s</script>", "--><script>%s</script>", "javascript:%s", "JaVaScRiPt:%s",
		"data:text/html,<script>%s</script>", "<iframe srcdoc=\"<script>%s</script>\">", "<a href=javascript:%s>x</a>", "<form action=javascript:%s><input type=submit>", "<math><mtext><script>%s</script>",
		"<body onload=%s>", "<details open ontoggle=%s>", "<video><source onerror=%s>", "<object data=javascript:%s>", "<embed src=javascript:%s>", "<base href=javascript:%s//>", "<link rel=stylesheet href=javascript:%s>",
		"<meta http-equiv=refresh content=0;url=javascript:%s>", "<style>@import'javascript:%s'</style>", "<x style=x:expression(%s)>", "&lt;script&gt;%s&lt;/script&gt;", "&#60;script&#62;%s&#60;/script&#62;",
		"\\u003cscript\\u003e%s", "{{%s}}", "${%s}", "%%3Cscript%%3E%s%%3C/script%%3E", "<scr<script>ipt>%s</scr</script>ipt>", "<<script>%s//<</script>", "<script/src=//evil.test>%s", "<svg/onload=%s>", "<img/src/onerror=%s>",
		"`><script>%s</script>", "<script\u2028>%s</script>", "\ufeff<script>%s</script>", "<ſcript>%s</ſcript>", "<plaintext>%s", "<noscript><p title=\"</noscript><img src=x onerror=%s>\">", "<template><script>%s</script></template>",
		"<select><template><img src onerror=%s></template></select>", "<table><td background=javascript:%s>", "<button hx-get=javascript:%s hx-trigger=load>", "<div hx-on:load=%s>", "<a data-copy=x onclick=%s>", "<input autofocus onfocus=%s>",
		"<marquee onstart=%s>", "<audio src onerror=%s>", "<keygen autofocus onfocus=%s>", "<isindex action=javascript:%s>", "x\" data-chart='{\"labels\":[%s]}' y=\"", "'-%s-'", "\"-%s-\"", "</script><script>%s</script>", "<script>//%s",
		"<dialog open onclose=%s>", "<slot onslotchange=%s>", "<use href=data:image/svg+xml,%s>", "<animate onbegin=%s>", "<set attributeName=onload to=%s>", "<image href=x onerror=%s>",
	}
	var all []string
	for _, shape := range shapes {
		for _, script := range scripts {
			all = append(all, fmt.Sprintf(shape, script))
		}
	}
	return all
}

// shape is a page without its text: the elements, and the attributes that they have.
func shape(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			return all
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			line := token.Data
			for _, a := range token.Attr {
				line += " " + a.Key
				if to := strings.ToLower(strings.TrimSpace(a.Val)); (a.Key == "href" || a.Key == "src" || a.Key == "action" || strings.HasPrefix(a.Key, "hx-get")) && !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "#") {
					t.Errorf("<%s %s=%q> leads away", token.Data, a.Key, a.Val)
				}
			}
			all = append(all, line)
		}
	}
}

// Whatever things are called, the pages that show them have the same elements with the same attributes as when they are called
// something plain: what was typed is text everywhere.
func TestWhatIsTypedIsText(t *testing.T) {
	h := newHouse(t)
	all := markup()
	if len(all) < 200 {
		t.Fatalf("only %d", len(all))
	}
	payloads := []string{all[0]} // as many in one name as it can hold
	for _, next := range all[1:] {
		if last := &payloads[len(payloads)-1]; len(*last)+len(next) < 190 {
			*last += " " + next
		} else {
			payloads = append(payloads, next)
		}
	}
	token := h.signedIn(auth.RoleOwner, 0)
	pages := func() (all []string) {
		for _, path := range []string{
			"/dashboard/accounts", "/dashboard/accounts/{account}", "/dashboard/accounts/{account}/edit", "/dashboard/accounts/{account}/delete",
			"/dashboard/accounts/{account}/credentials", "/dashboard/accounts/{account}/credentials/{credential}", "/dashboard/accounts/{account}/credentials/{credential}/edit",
			"/dashboard/accounts/{account}/credentials/{credential}/revoke",
		} {
			a := h.get(h.operators, token, h.filled(path))
			if a.Status != http.StatusOK {
				t.Fatalf("%s: %d", path, a.Status)
			}
			all = append(all, strings.Join(shape(t, a.Body), "\n"))
		}
		return all
	}
	call := func(name string) {
		ref := regexp.MustCompile(`[^!-~]`).ReplaceAllString(name, "")
		ref = ref[:min(len(ref), 128)]
		if _, err := h.opened.Registry.RenameAccount(t.Context(), machine, h.account, name, &ref); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if _, err := h.opened.Registry.UpdateCredential(t.Context(), machine, h.credential, auth.CredentialUpdate{Name: &name}); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
	}
	// What is typed comes back in the form that was refused, and what is searched for in the search.
	typed := func(text string) string {
		refused := h.post(h.operators, token, "/dashboard/accounts/new", url.Values{"name": {text + strings.Repeat("x", 200)}, "ref": {text}})
		search := h.get(h.operators, token, "/dashboard/accounts?q="+url.QueryEscape("nobody "+text))
		if refused.Status != http.StatusBadRequest || search.Status != http.StatusOK {
			t.Fatalf("%q: %d and %d", text, refused.Status, search.Status)
		}
		return strings.Join(append(shape(t, refused.Body), shape(t, search.Body)...), "\n")
	}
	call("plain")
	want, wantTyped := pages(), typed("plain")
	for _, payload := range payloads {
		if diff := cmp.Diff(wantTyped, typed(payload)); diff != "" {
			t.Errorf("%q is more than text where it was typed (-want +got):\n%s", payload, diff)
		}
	}
	for _, payload := range payloads {
		call(payload)
		if diff := cmp.Diff(want, pages()); diff != "" {
			t.Errorf("%q is more than text on a page (-want +got):\n%s", payload, diff)
		}
	}
}

// Cookies are as strict as the way that people come allows.
func TestCookies(t *testing.T) {
	h := newHouse(t)
	for at, want := range map[string]struct {
		name   string
		secure bool
	}{
		"https://admin.example.org":      {"__Host-gatehouse-operator", true},
		"http://localhost:9000":          {"__Host-gatehouse-operator", true},
		"http://127.0.0.1:9000":          {"__Host-gatehouse-operator", true},
		"http://admin.example.org":       {"gatehouse-operator", false},
		"http://localhost.evil.test":     {"gatehouse-operator", false},
		"http://192.0.2.1:9000":          {"gatehouse-operator", false},
		"https://localhost":              {"__Host-gatehouse-operator", true},
		"http://[::1]:9000":              {"__Host-gatehouse-operator", true},
		"http://gatehouse.localhost:900": {"__Host-gatehouse-operator", true},
	} {
		base, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		s := h.serve(dashboard.Operators, dashboard.Config{Base: base})
		sent := ""
		for _, line := range h.get(s, "", "/dashboard/join").Header["Set-Cookie"] { // what a browser that keeps everything sends back
			sent += "; " + strings.SplitN(line, ";", 2)[0]
		}
		// Somebody has put a session of theirs into this browser: whoever signs in gets another.
		fixed := h.signedIn(auth.RoleViewer, 0)
		body := url.Values{"code": {h.invited(auth.RoleOwner, 0)}, "looked": {"yes"}, "password": {password}}.Encode()
		a := s.Send(t, fmt.Sprintf("POST /dashboard/join\nCookie: %s=%s%s\nOrigin: %s\nContent-Type: application/x-www-form-urlencoded\nContent-Length: %d\n\n%s", want.name, fixed, sent, at, len(body), body))
		var got *http.Cookie
		for _, line := range a.Header["Set-Cookie"] {
			if c, err := http.ParseSetCookie(line); err == nil && strings.HasSuffix(c.Name, "gatehouse-operator") {
				got = c
			}
		}
		if got == nil || got.Name != want.name || got.Secure != want.secure || !got.HttpOnly || got.SameSite != http.SameSiteStrictMode || got.Path != "/" || got.Domain != "" || got.Value == fixed || got.Value == "" {
			t.Errorf("%s: %d %+v", at, a.Status, got)
		}
	}
}

// changing is what differs from one run to the next: ids, and the hashes of files.
var changing = regexp.MustCompile(`reqid_[a-z0-9]{11}|-[0-9a-f]{12}\.|p_[A-Za-z0-9]{12}|name="once" value="[^"]+`)

// The main pages, as they are sent.
func TestGoldenPages(t *testing.T) {
	h := newHouse(t)
	if _, err := h.opened.Registry.RotateCredential(t.Context(), machine, h.credential, begin.AddDate(0, 0, 7), false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.opened.Registry.CreateCredential(t.Context(), machine, registry.NewCredential{Account: h.other, Kind: auth.OAuth, Scopes: []string{"orders:read"}}); err != nil {
		t.Fatal(err)
	}
	token := h.signedIn(auth.RoleOwner, 0)
	for name, path := range map[string]string{
		"sign-in": "/dashboard/sign-in", "accounts": "/dashboard/accounts", "account": "/dashboard/accounts/{account}", "account-new": "/dashboard/accounts/new",
		"credential": "/dashboard/accounts/{account}/credentials/{credential}", "rotate": "/dashboard/accounts/{account}/credentials/{credential}/rotate", "nothing": "/dashboard/nothing",
	} {
		who := token
		if name == "sign-in" {
			who = ""
		}
		page := h.get(h.operators, who, h.filled(path)).Body
		page = strings.ReplaceAll(changing.ReplaceAllString(page, "…"), string(h.credential), "CREDENTIAL")
		golden(t, name+".html", page)
	}
}
