package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// An operator in Chromium, with a server that nobody has looked after yet: in under ten clicks from the one-time link to a key
// that calls the API. Then the key is rotated while its holder changes over, and a call that was refused is found by its
// request's id, explained, and mended by the button on its page.
func TestOperatorInBrowser(t *testing.T) {
	up := newUpstream(t, func(call) string { return `{"things":[]}` })
	s := startServer(t, wideLimits+`
contracts: {liquid: {enabled: true}}
routes:
  - {path: /api/v1/, upstream: "`+up.URL+`", accepts: [ACCESS_TOKEN]}
`)
	b := startBrowser(t, s.Listen, "")
	w := watch(b)
	j := &journey{browser: b}
	main := func() (text string) { b.reads(&text, `document.querySelector('main').innerText`); return text }
	said := func(text string) {
		t.Helper()
		b.eventually("it does not say "+text, func() bool {
			var said string
			b.reads(&said, `document.querySelector('.said')?.textContent ?? ''`)
			return strings.Contains(said, text)
		})
	}

	// From the link to the first key.
	b.device()
	var invited struct{ Link string }
	if err := s.run(&invited, "operator", "create", "--email", "jane@example.com", "--name", "Jane Doe", "--role", "owner", "--json"); err != nil {
		t.Fatal(err)
	}
	home, _, _ := strings.Cut(invited.Link, "/join#")
	b.open(invited.Link)
	j.click("Go on")
	j.click("Join with a passkey")
	b.arrives(home + "/")
	j.click("Create the first account")
	b.arrives(home + "/accounts/new")
	b.steps(chromedp.SendKeys(chromedp.CSS("#f-name"), "Acme"))
	j.click("Create the account")
	said("was created")
	var account string
	b.reads(&account, `location.pathname.split('/').pop()`)
	j.click("Credentials")
	j.click("New credential")
	b.arrives(home + "/accounts/" + account + "/credentials/new")
	b.steps(chromedp.SendKeys(chromedp.CSS("#f-name"), "Shop"))
	j.click("Create the credential")
	key := j.takesKey()
	if j.clicks >= 10 {
		t.Errorf("from the link to the first key: %d clicks, want under 10", j.clicks)
	}
	t.Logf("from the link to the first key: %d clicks", j.clicks)
	token := s.exchange(t, key)
	if status, _ := s.things(t, token); status != http.StatusOK || len(up.take()) != 1 {
		t.Fatalf("the first call: %d", status)
	}

	// A new key beside the old one: both are good, and the page tells who still comes with which.
	j.click("I have it: go on")
	var page string
	b.shows("How each was used last")
	b.reads(&page, `location.href`)
	j.click("Rotate the secret")
	j.click("Make a new secret")
	young := j.takesKey()
	if young == key {
		t.Fatal("the new key is the old one")
	}
	for _, one := range []string{key, young} {
		if s.exchange(t, one) == "" {
			t.Error("while both are live, one buys no token")
		}
	}
	b.eventually("the page does not say that both were used", func() bool {
		b.open(page)
		var used []string
		b.reads(&used, `[...document.querySelectorAll('tbody tr')].filter(r => r.cells[3].innerText !== 'never').map(r => r.cells[0].innerText)`)
		return slices.Equal(used, []string{"2, the new one", "1, the old one"})
	})
	if text := main(); !strings.Contains(text, "Two secrets are live") || !strings.Contains(text, "Wait: the old secret was used 0 min ago") {
		t.Errorf("with an old secret that was used just now, it says:\n%s", text)
	}
	j.click("Finish: end the old secret")
	b.eventually("no warning", func() bool {
		var asked string
		b.reads(&asked, `document.querySelector('dialog[open]')?.innerText ?? ''`)
		return strings.Contains(asked, "Wait: the old secret was used")
	})
	j.click("End the old secret")
	said("The old secret has ended.")
	if got := s.exchange(t, key); got != "" {
		t.Error("the old key buys a token after it has ended")
	}
	if token = s.exchange(t, young); token == "" {
		t.Fatal("the new key buys no token")
	}

	// One whose old key nobody has used for days may be finished.
	page = home + "/accounts/" + account + "/credentials/" + s.restedRotation(t, account)
	b.open(page)
	if text := main(); !strings.Contains(text, "Safe to finish: the old secret was not used for 6 d.") {
		t.Errorf("with an old secret that has rested, it says:\n%s", text)
	}
	j.click("Finish: end the old secret")
	b.eventually("the question does not say that it is safe", func() bool {
		var asked string
		b.reads(&asked, `document.querySelector('dialog[open]')?.innerText ?? ''`)
		return strings.Contains(asked, "Safe to finish")
	})
	j.click("End the old secret")
	said("The old secret has ended.")
	b.byKeyboard(s.installation, home, account)

	// A call from an address that is not listed: found, explained, mended.
	if err := s.run(nil, "account", "allow-ip", account, "198.51.100.0/24", "--note", "Office"); err != nil {
		t.Fatal(err)
	}
	status, request := s.things(t, token)
	if status < 400 || len(up.take()) != 0 {
		t.Fatalf("from elsewhere: %d", status)
	}
	b.open(home + "/refusals")
	b.steps(chromedp.SendKeys(chromedp.CSS("#f-request"), request))
	j.click("Search")
	b.arrives(home + "/refusals/" + request)
	if text := main(); !strings.Contains(text, "Reason: address not allowed") || !strings.Contains(text, "127.0.0.1") || !strings.Contains(text, "GET /api/v1/things") {
		t.Errorf("the refusal is explained so:\n%s", text)
	}
	j.click("Add 127.0.0.1 to the allowlist")
	b.arrives(home + "/accounts/" + account + "/allowlist")
	j.click("Save")
	said("The allowlist was saved")
	b.eventually("the call is still refused", func() bool { status, _ = s.things(t, token); return status == http.StatusOK })
	if listed := main(); !strings.Contains(listed, "127.0.0.1") || !strings.Contains(listed, "Office") {
		t.Errorf("the list is now:\n%s", listed)
	}
	w.quietly(strings.TrimSuffix(home, "/dashboard"))
}

// restedRotation makes a credential whose old secret was used last six days ago, and the new one since.
func (in *installation) restedRotation(t *testing.T, account string) string {
	t.Helper()
	now := time.Now()
	at := now.AddDate(0, 0, -8)
	op := in.openAt(t, func() time.Time { return at })
	defer op.Close()
	as := auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}
	a, err := op.Registry.Account(t.Context(), as, account)
	if err != nil {
		t.Fatal(err)
	}
	made, err := op.Registry.CreateCredential(t.Context(), as, registry.NewCredential{Account: a.ID, Kind: auth.APIKey, Name: "Nightly"})
	if err != nil {
		t.Fatal(err)
	}
	at = now.AddDate(0, 0, -7)
	if _, err := op.Registry.RotateCredential(t.Context(), as, made.Credential.ID, now.AddDate(0, 0, 7), false); err != nil {
		t.Fatal(err)
	}
	var uses []auth.SecretUse
	for secret, last := range map[int]time.Time{1: now.AddDate(0, 0, -6).Add(-time.Hour), 2: now.Add(-time.Hour)} {
		uses = append(uses, auth.SecretUse{Credential: made.Credential.ID, Secret: secret, Use: auth.Use{At: last, Address: netip.MustParseAddr("203.0.113.7"), UserAgent: "nightly/1", Count: 1}})
	}
	if err := op.DB.WriteUsage(t.Context(), nil, uses); err != nil {
		t.Fatal(err)
	}
	return string(made.Credential.ID)
}

// byKeyboard makes a credential without a mouse: what has the focus can be seen, and where a part of a page is put in the place of
// another, the focus stays near.
func (b *browser) byKeyboard(in *installation, home, account string) {
	b.t.Helper()
	op := in.open(b.t)
	for n := range 51 { // one more than a page of the list
		if _, err := op.Registry.CreateAccount(b.t.Context(), auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}, fmt.Sprintf("Customer %02d", n), ""); err != nil {
			b.t.Fatal(err)
		}
	}
	op.Close()
	key := func(keys string) { b.t.Helper(); b.steps(chromedp.KeyEvent(keys)) }
	tab := func() (says string) {
		b.t.Helper()
		key(kb.Tab)
		var focused struct {
			Says string
			Seen bool
		}
		b.reads(&focused, `(() => {
			const e = document.activeElement, box = e.getBoundingClientRect();
			return {
				says: (e.labels?.[0] ?? e).textContent.trim().replace(/\s+/g, ' '),
				seen: e === document.body || getComputedStyle(e).outlineStyle !== 'none' && box.width > 0 && box.right > 0 && box.left < innerWidth,
			};
		})()`)
		if !focused.Seen {
			b.t.Errorf("%q has the focus, which nobody sees", focused.Says)
		}
		return focused.Says
	}
	tabTo := func(text string) {
		b.t.Helper()
		var passed []string
		for range 100 {
			says := tab()
			if says == text {
				return
			}
			passed = append(passed, says)
		}
		b.t.Fatalf("the key Tab does not lead to %q, but to %q", text, passed)
	}
	focusIn := func(where string) {
		b.t.Helper()
		b.eventually("the focus is not in "+where, func() bool {
			var in bool
			b.reads(&in, fmt.Sprintf(`document.activeElement.closest(%q) !== null`, where))
			return in
		})
	}

	// Past the navigation, into the search, whose list changes as one types, and on in the list.
	b.open(home + "/accounts")
	if says := tab(); says != "Skip to the content" {
		b.t.Errorf("the first Tab leads to %q", says)
	}
	key(kb.Enter)
	focusIn("#main")
	tabTo("Search")
	key("Customer 07")
	b.shows("1 account")
	focusIn("#f-q")
	b.open(home + "/accounts")
	tabTo("Next page")
	key(kb.Enter)
	b.shows("First page")
	focusIn("#list")
	if says := tab(); !strings.HasPrefix(says, "Customer ") && says != "Acme" {
		b.t.Errorf("after the list went on, Tab leads to %q", says)
	}

	// To a credential, its secret, and a question that is not answered.
	b.open(home + "/accounts/" + account)
	for _, text := range []string{"Credentials", "New credential"} {
		tabTo(text)
		key(kb.Enter)
		b.shows(text)
	}
	b.arrives(home + "/accounts/" + account + "/credentials/new")
	tabTo("Name (optional)")
	key("By keyboard")
	tabTo("Create the credential")
	key(kb.Enter)
	b.shows("This is shown once")
	tabTo("I have it: go on")
	key(kb.Enter)
	b.shows("How each was used last")
	tabTo("Revoke")
	key(kb.Enter)
	focusIn("dialog[open]")
	var focused string
	if b.reads(&focused, `document.activeElement.textContent`); focused != "Cancel" {
		b.t.Errorf("asked whether to revoke, Enter says %q", focused)
	}
	key(kb.Enter)
	b.eventually("the question goes on, or the focus is lost", func() bool {
		var back bool
		b.reads(&back, `document.querySelector('dialog[open]') === null && document.activeElement.textContent.trim() === 'Revoke'`)
		return back
	})
}

// A journey is somebody who clicks, and how often.
type journey struct {
	*browser
	clicks int
}

// click presses what says this, and counts it.
func (j *journey) click(text string) {
	j.t.Helper()
	j.press(text)
	j.clicks++
}

// takesKey copies the API key that is shown once.
func (j *journey) takesKey() (key string) {
	j.t.Helper()
	j.click("Copy the API key")
	j.reads(&key, `document.querySelector('#value-identifier').textContent`)
	return key
}

// exchange buys a token for an API key; "" if it is refused.
func (in *installation) exchange(t *testing.T, key string) (token string) {
	t.Helper()
	var answer struct {
		Data struct{ Token string }
	}
	status, _ := in.get(t, "/authentication", map[string]string{"X-LIQUID-API-KEY": key}, &answer)
	if (status == http.StatusCreated) != (answer.Data.Token != "") {
		t.Fatalf("an exchange was answered with %d", status)
	}
	return answer.Data.Token
}

// things calls the API.
func (in *installation) things(t *testing.T, token string) (status int, request string) {
	t.Helper()
	return in.get(t, "/api/v1/things", map[string]string{"Authorization": "Bearer " + token}, nil)
}

// get asks for a path. What is answered goes into answer, unless that is nil.
func (in *installation) get(t *testing.T, path string, header map[string]string, answer any) (status int, request string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer != nil {
		if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
			t.Fatal(fmt.Errorf("%s: %d: %w", path, res.StatusCode, err))
		}
	}
	return res.StatusCode, res.Header.Get("X-Request-Id")
}
