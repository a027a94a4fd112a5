package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Both dashboards in Chromium, as people come to them the first time: by a one-time link, a password and an authenticator, to a
// first account and a first credential that works. Then every page, on a desk and on a telephone, by day and by night: axe-core
// finds nothing, nothing is wider than the window, comes from elsewhere, or is stopped by the pages' policy.
func TestDashboardsInBrowser(t *testing.T) {
	needNode(t)
	npmCI(t, "dashboard")
	axe, err := os.ReadFile("dashboard/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "contracts: {liquid: {enabled: true}}\n")
	b := startBrowser(t, s.Listen, "")
	w := watch(b)
	v := &dashboardVisit{browser: b, axe: string(axe)}

	v.join(s, "operators", "operator", "create", "--email", "jane@example.com", "--name", "Jane Doe", "--role", "owner")
	admin := "http://" + strings.Replace(s.installation.Admin, "127.0.0.1", "localhost", 1)
	account, key := v.firstCredential()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/authentication", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-LIQUID-API-KEY", key)
	if res, err := http.DefaultClient.Do(request); err != nil || res.StatusCode != http.StatusCreated {
		t.Errorf("the key that was shown buys no token: %v %v", res, err)
	}
	v.everyPage("operators", admin)
	v.everyState("operators", admin, account)
	v.revokeInDialog(admin, account)
	v.signsOut("operators")

	v.join(s, "members", "member", "invite", "--account", account, "--email", "jo@example.org", "--name", "Jo", "--role", "owner")
	v.everyPage("members", s.URL)
	v.everyState("members", s.URL, account)
	v.signsOut("members")
	t.Logf("axe looked %d times", v.looked)
	w.refusals = true
	w.quietly(admin, s.URL)
}

// A dashboardVisit is somebody at a dashboard.
type dashboardVisit struct {
	*browser
	axe    string
	looked int
}

// join follows a one-time link that a command prints, to the start page.
func (v *dashboardVisit) join(s *server, whose string, command ...string) {
	v.t.Helper()
	var invited struct{ Link string }
	if err := s.run(&invited, append(command, "--json")...); err != nil {
		v.t.Fatal(err)
	}
	link := invited.Link
	if whose == "members" { // public_url is not where this server listens
		_, code, _ := strings.Cut(link, "#")
		link = s.URL + "/dashboard/join#" + code
	}
	v.open(link)
	v.looksAlright(whose + "-join")
	v.steps(chromedp.Click(chromedp.CSS("main form button")))
	v.at("/dashboard/join")
	v.steps(chromedp.WaitVisible(chromedp.CSS("#f-password")), chromedp.SendKeys(chromedp.CSS("#f-password"), "four words that rhyme"))
	v.looksAlright(whose + "-join-password")
	v.steps(chromedp.Click(chromedp.CSS("form:has(#f-password) button:not([type=button])")))
	v.at("/dashboard/second-factor")
	v.looksAlright(whose + "-second-factor")
	var secret string
	v.reads(&secret, `[...document.querySelectorAll('main code')].map(c => c.textContent).find(c => /^[A-Z2-7 ]{20,}$/.test(c))`)
	v.steps(chromedp.SendKeys(chromedp.CSS("#f-code"), oneTimePassword(v.t, secret)), chromedp.Click(chromedp.CSS("main form button")))
	v.steps(chromedp.WaitVisible(chromedp.CSS(".codes")))
	v.looksAlright(whose + "-recovery-codes")
	v.steps(chromedp.Click(chromedp.CSS("main a.button")))
	v.at("/dashboard/")
}

// firstCredential makes an account and an API key by clicking, and returns the account's number and the key.
func (v *dashboardVisit) firstCredential() (account, key string) {
	v.t.Helper()
	v.steps(chromedp.Click(chromedp.CSS("main a.button")))
	v.at("/dashboard/accounts/new")
	v.steps(chromedp.SendKeys(chromedp.CSS("#f-name"), "Acme"), chromedp.Click(chromedp.CSS("main form button")))
	v.steps(chromedp.WaitVisible(chromedp.CSS(".said")))
	v.reads(&account, `location.pathname.split('/').pop()`)
	v.steps(chromedp.Click(chromedp.CSS(".tabs a[href$='/credentials']")), chromedp.WaitVisible(chromedp.CSS("main a.button")),
		chromedp.Click(chromedp.CSS("main a.button")), chromedp.WaitVisible(chromedp.CSS("#f-name")),
		chromedp.SendKeys(chromedp.CSS("#f-name"), "Shop"), chromedp.Click(chromedp.CSS("main form button")),
		chromedp.WaitVisible(chromedp.CSS("[data-copy]")))
	v.looksAlright("operators-issued")
	v.reads(&key, `document.querySelector('.secret-value code').textContent`)
	// Reloaded, it sends its form again, which makes no second one.
	v.steps(chromedp.Reload())
	v.shows("Nothing more was made")
	v.looksAlright("operators-made-already")
	v.press("Go on")
	v.shows("1 credential")
	var text string
	if v.reads(&text, `document.querySelector('main').innerText`); strings.Contains(text, key) {
		v.t.Error("the key is shown again")
	}
	v.press("Shop")
	v.steps(chromedp.WaitVisible(chromedp.CSS(".facts")))
	return account, key
}

// revokeInDialog revokes the account's credential: htmx asks on top of the page, and the form in there is one like any other.
func (v *dashboardVisit) revokeInDialog(admin, account string) {
	v.t.Helper()
	v.looksLike("light", 1280)
	v.open(admin + "/dashboard/accounts/" + account + "/credentials")
	v.steps(chromedp.Click(chromedp.CSS("tbody th a")), chromedp.WaitVisible(chromedp.CSS("a.danger")), chromedp.Click(chromedp.CSS("a.danger")),
		chromedp.WaitVisible(chromedp.CSS("dialog[open] form button.danger")))
	v.looksAlright("operators-dialog")
	v.steps(chromedp.Click(chromedp.CSS("dialog[open] form button.danger")), chromedp.WaitVisible(chromedp.CSS(".said")))
	var said string
	if v.reads(&said, `document.querySelector('.said').textContent`); !strings.Contains(said, "was revoked") {
		v.t.Errorf("revoked: it says %q", said)
	}
}

// at waits for a page, by its path.
func (v *dashboardVisit) at(path string) {
	v.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var here string
		if v.reads(&here, "document.readyState === 'complete' ? location.pathname : ''"); here == path {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("it is at %s, not at %s", here, path)
		}
	}
}

// varies is what tells pages of one kind apart: ids and numbers in their addresses.
var varies = regexp.MustCompile(`[0-9]{6}|p_[A-Za-z0-9]+|[A-Za-z0-9_-]{12,}`)

// everyPage goes to every page that links lead to, one of each kind.
func (v *dashboardVisit) everyPage(whose, server string) {
	v.t.Helper()
	v.looksLike("light", 1280)
	found := []string{server + "/dashboard/"}
	known := map[string]bool{"/": true}
	for i := 0; i < len(found); i++ {
		v.open(found[i])
		var links []string
		v.reads(&links, `[...document.querySelectorAll('a[href^="/dashboard/"]')].map(a => a.getAttribute('href'))`)
		for _, link := range links {
			path, query, _ := strings.Cut(link, "?")
			kind := varies.ReplaceAllString(strings.TrimPrefix(path, "/dashboard"), "…")
			if !known[kind] && query == "" && !strings.Contains(path, ".csv") && !strings.Contains(path, "#") {
				known[kind] = true
				found = append(found, server+path)
			}
		}
		v.looksAlright(whose + nameOf(found[i]))
	}
	if len(found) < 12 {
		v.t.Errorf("%s have %d pages: %v", whose, len(found), found)
	}
}

// everyState goes to pages as no link shows them: what is not there, what was refused, what was not found, what has much to say.
func (v *dashboardVisit) everyState(whose, server, account string) {
	v.t.Helper()
	at := server + "/dashboard"
	if whose == "operators" {
		at += "/accounts/" + account
	}
	for name, address := range map[string]string{
		"nowhere": server + "/dashboard/nothing", "refusal-unknown": at + "/refusals/reqid_00000000000", "nothing-found": at + "/credentials?q=nothing&live=yes",
		"search-refused": at + "/refusals?address=nowhere", "confirm": server + "/dashboard/confirm?next=/dashboard/profile", "usage-30-days": at + "/usage?span=720h",
		"new-basic": at + "/credentials/new?kind=basic",
	} {
		v.open(address)
		v.looksAlright(whose + "-" + name)
	}
	v.open(at + "/people/new")
	v.steps(chromedp.SendKeys(chromedp.CSS("#f-email"), whose+"@example.net"), chromedp.SendKeys(chromedp.CSS("#f-name"), strings.Repeat("A long name ", 9)))
	v.press("Make the link")
	v.shows("This is shown once")
	v.looksAlright(whose + "-invited")
	v.press("I have it: go on")
	v.shows("A long name")
	v.looksAlright(whose + "-people-two")
	v.open(at + "/people/new")
	v.steps(chromedp.SendKeys(chromedp.CSS("#f-email"), whose+"@example.net"), chromedp.SendKeys(chromedp.CSS("#f-name"), "Again"))
	v.press("Make the link")
	v.shows("This could not be done")
	v.looksAlright(whose + "-problems")
}

// signsOut leaves by the button, and looks at the page where one comes in again.
func (v *dashboardVisit) signsOut(whose string) {
	v.t.Helper()
	v.press("Sign out")
	v.at("/dashboard/sign-in")
	v.looksAlright(whose + "-sign-in")
}

func nameOf(page string) string {
	_, path, _ := strings.Cut(page, "/dashboard")
	return strings.TrimRight(strings.ReplaceAll(varies.ReplaceAllString(path, "id"), "/", "-"), "-")
}

// looksAlright wants axe to find nothing on the page as it is, in both schemes, and wide and narrow. What it has is the same in all
// four looks; what depends on how it looks is asked in each.
func (v *dashboardVisit) looksAlright(name string) {
	v.t.Helper()
	if _, err := chromedp.Run(v.ctx, chromedp.Evaluate[int](v.axe+`; 1`)); err != nil {
		v.t.Fatal(err)
	}
	for i, look := range []struct {
		scheme string
		width  int64
	}{{"light", 360}, {"dark", 360}, {"dark", 1280}, {"light", 1280}} {
		v.looksLike(look.scheme, look.width)
		full := fmt.Sprintf("%s-%s-%d", name, look.scheme, look.width)
		v.fits(full)
		options := `{resultTypes: ['violations']}`
		if i > 0 {
			options = `{resultTypes: ['violations'], runOnly: ['color-contrast', 'link-in-text-block', 'scrollable-region-focusable', 'target-size']}`
		}
		text, err := chromedp.Run(v.ctx, chromedp.Evaluate[string](`axe.run(`+options+`).then(r => JSON.stringify(r.violations.map(v =>
			v.id + ': ' + v.help + ': ' + v.nodes.map(n => n.html.slice(0, 160)).join(' | '))))`, chromedp.EvalAwaitPromise))
		if err != nil {
			v.t.Fatal(err)
		}
		var wrong []string
		if err := json.Unmarshal([]byte(text), &wrong); err != nil {
			v.t.Fatal(err)
		}
		for _, one := range wrong {
			v.t.Errorf("%s: %s", full, one)
		}
		v.looked++
		v.picture(full)
	}
}

// oneTimePassword is what an authenticator shows that knows the secret.
func oneTimePassword(t *testing.T, secret string) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(secret, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	step := time.Now().Unix() / 30
	for shift := 56; shift >= 0; shift -= 8 {
		mac.Write([]byte{byte(step >> shift)})
	}
	sum, code := mac.Sum(nil), 0
	for _, b := range sum[sum[19]&15:][:4] {
		code = code<<8 | int(b)
	}
	return fmt.Sprintf("%06d", code&0x7fffffff%1_000_000)
}

// quietly wants that all it asked for was of these servers, and that it had nothing to complain of.
func (w *watcher) quietly(servers ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, url := range w.asked {
		if !slices.ContainsFunc(servers, func(s string) bool { return strings.HasPrefix(url, s+"/") }) && !strings.HasPrefix(url, "data:") {
			w.t.Errorf("a page asked for %s", url)
		}
	}
	if len(w.asked) == 0 {
		w.t.Error("nobody heard what was asked for")
	}
	slices.Sort(w.wrong)
	for _, complaint := range slices.Compact(w.wrong) {
		if !w.refusals || !strings.Contains(complaint, "the server responded with a status of 4") {
			w.t.Error(complaint)
		}
	}
}
