package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A member in Chromium: invited, in by password and authenticator, from a first credential to a call that shows in usage, a
// refusal that is explained, an allowlist that is tried, and a revocation that acts on the token in use.
func TestMemberInBrowser(t *testing.T) {
	up := newUpstream(t, func(call) string { return `{"things":[]}` })
	s := startServer(t, wideLimits+`
routes:
  - {path: /api/v1/, upstream: "`+up.URL+`", accepts: [B2B_ACCESS]}
`)
	account := s.newAccount(t, "Acme")
	b := startBrowser(t, s.Listen, "")
	w := watch(b)
	var invited struct{ Link string }
	if err := s.run(&invited, "member", "invite", "--account", account, "--email", "mara@example.com", "--name", "Mara", "--role", "owner", "--json"); err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(invited.Link, "#")
	b.open(s.URL + "/dashboard/join#" + code)
	submit := func() { t.Helper(); b.steps(chromedp.Click(chromedp.CSS("main form button:not([type=button])"))) }
	submit()
	b.steps(chromedp.WaitVisible(chromedp.CSS("#f-password")), chromedp.SendKeys(chromedp.CSS("#f-password"), "four words that rhyme"))
	submit()
	b.steps(chromedp.WaitVisible(chromedp.CSS("#f-code")))
	var secret string
	b.reads(&secret, `[...document.querySelectorAll('main code')].map(c => c.textContent).find(c => /^[A-Z2-7 ]{20,}$/.test(c))`)
	b.steps(chromedp.SendKeys(chromedp.CSS("#f-code"), oneTimePassword(t, secret)))
	submit()
	b.steps(chromedp.WaitVisible(chromedp.CSS(".codes")))

	// A credential, whose secret is shown once, in the lines that a shell is told too.
	b.open(s.URL + "/dashboard/credentials/new?kind=login")
	b.steps(chromedp.Click(chromedp.CSS("input[value=login]")), chromedp.SendKeys(chromedp.CSS("#f-name"), "Shop"))
	submit()
	b.steps(chromedp.WaitVisible(chromedp.CSS("#value-secret")))
	var username, password, lines, id string
	b.reads(&username, `document.querySelector('#value-identifier').textContent`)
	b.reads(&password, `document.querySelector('#value-secret').textContent`)
	b.reads(&lines, `document.querySelector('#start-values').textContent`)
	b.reads(&id, `document.querySelector('main a.button').pathname.split('/').pop()`)
	if !strings.Contains(lines, "API_USERNAME='"+username+"'") || !strings.Contains(lines, "API_PASSWORD='"+password+"'") || !strings.Contains(lines, "API_PATH='/api/v1/'") {
		t.Errorf("a shell is told:\n%s", lines)
	}
	login := func(password string) (token, request string, status int) {
		t.Helper()
		res, err := http.Post(s.URL+"/auth/login", "application/json", strings.NewReader(fmt.Sprintf(`{"username":%q,"password":%q}`, username, password)))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct {
			Data struct {
				AccessToken string `json:"access_token"`
			}
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(body, &answer)
		if res.StatusCode == http.StatusOK && answer.Data.AccessToken == "" {
			t.Fatalf("a login was answered with %s", body)
		}
		return answer.Data.AccessToken, res.Header.Get("X-Request-Id"), res.StatusCode
	}
	call := func(token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/v1/things", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	token, _, status := login(password)
	if status != http.StatusOK || call(token) != http.StatusOK {
		t.Fatalf("with what was shown: %d", status)
	}
	began := time.Now()
	main := func() (text string) { b.reads(&text, `document.querySelector('main').innerText`); return text }
	b.eventually("the call is not in usage", func() bool {
		b.open(s.URL + "/dashboard/usage")
		return strings.Contains(main(), "Calls let in") && strings.Contains(main(), "Shop")
	})
	t.Logf("the call was seen in usage %v later", time.Since(began).Round(time.Millisecond))
	b.open(s.URL + "/dashboard/start/" + id)
	if text := main(); !strings.Contains(text, "A token was handed out: seen") || !strings.Contains(text, "127.0.0.1") {
		t.Errorf("get started says:\n%s", text)
	}

	// A refusal says why, and leads to what mends it.
	_, request, status := login(strings.Repeat("x", len(password)))
	if status != http.StatusUnauthorized {
		t.Errorf("with another password: %d", status)
	}
	b.open(s.URL + "/dashboard/refusals/" + request)
	var mends string
	b.reads(&mends, `document.querySelector('main a.button').pathname`)
	if text := main(); !strings.Contains(text, "wrong secret") || mends != "/dashboard/credentials/"+id+"/rotate" {
		t.Errorf("it leads to %s:\n%s", mends, text)
	}

	// A list is tried before it holds.
	b.open(s.URL + "/dashboard/allowlist")
	b.steps(chromedp.SendKeys(chromedp.CSS("#f-entries"), "198.51.100.0/24"), chromedp.Click(chromedp.CSS("button[value=try]")), chromedp.WaitVisible(chromedp.CSS("#trial")))
	if text := main(); !strings.Contains(text, "Your own address, 127.0.0.1, would be shut out") {
		t.Errorf("the trial says:\n%s", text)
	}
	if got := call(token); got != http.StatusOK {
		t.Errorf("after a trial: %d", got)
	}

	// Revoking acts on the token in use.
	b.open(s.URL + "/dashboard/credentials/" + id + "/revoke")
	b.steps(chromedp.Click(chromedp.CSS("main form button.danger")), chromedp.WaitVisible(chromedp.CSS(".said")))
	if got := call(token); got != http.StatusUnauthorized {
		t.Errorf("after the credential was revoked: %d", got)
	}
	w.quietly(s.URL)
}
