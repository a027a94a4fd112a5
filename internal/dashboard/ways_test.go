package dashboard_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/ceremony"
	"github.com/gatehouse/gatehouse/internal/dashboard"
	"github.com/gatehouse/gatehouse/internal/passkey"
	"github.com/gatehouse/gatehouse/internal/passkey/passkeytest"
	"github.com/gatehouse/gatehouse/internal/signon"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

type countedOnce map[string]bool

func (c countedOnce) First(_ context.Context, name string, _ time.Time) (bool, error) {
	first := !c[name]
	c[name] = true
	return first, nil
}

// offer makes the rooms of passkeys and of providers for pages at base.
func offer(t testing.TB, base *url.URL, h *house, answers http.RoundTripper) (*passkey.Passkeys, *signon.Signon) {
	t.Helper()
	now := func() time.Time { return h.now }
	c, err := ceremony.New(ceremony.Config{MAC: h.opened.Rings.Challenge, Once: countedOnce{}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := passkey.New(passkey.Config{BaseURL: base.String(), Name: "Gatehouse", Ceremonies: c, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := signon.New(signon.Config{
		BaseURL: base.String(), Path: dashboard.CallbackPath, Ceremonies: c, Now: now, Transport: answers,
		Providers: []signon.Provider{{Name: "company", Title: "Company account", Issuer: issuer, ClientID: "gatehouse", Scopes: []string{"email"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys, providers
}

const (
	here   = "https://api.example.org"
	issuer = "https://accounts.example.com"
)

// A company is a provider that is asked without a network: whoever comes is who its subject says.
type company struct {
	key            *ecdsa.PrivateKey
	now            func() time.Time
	asked          url.Values // what the last one was sent with
	subject, email string
	away           bool
}

func (c *company) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := map[string]any{}
	switch {
	case c.away:
		return nil, fmt.Errorf("connection refused")
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		answer = map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"jwks_uri": issuer + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
		}
	case r.URL.Path == "/keys":
		answer["keys"] = []any{jose.JSONWebKey{Key: c.key.Public(), KeyID: "k"}}
	case r.URL.Path == "/token":
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: c.key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
		if err != nil {
			return nil, err
		}
		claims, _ := json.Marshal(map[string]any{
			"iss": issuer, "sub": c.subject, "aud": "gatehouse", "nonce": c.asked.Get("nonce"), "iat": c.now().Unix(), "exp": c.now().Unix() + 60,
			"auth_time": c.now().Unix(), "email": c.email, "email_verified": true,
		})
		jws, err := signer.Sign(claims)
		if err != nil {
			return nil, err
		}
		compact, _ := jws.CompactSerialize()
		answer = map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": compact}
	}
	b, err := json.Marshal(answer)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(b)), Request: r}, err
}

// A tab is somebody's browser at one dashboard, with a device for passkeys.
type tab struct {
	*house
	of      *webtest.Server
	offers  dashboard.Config
	company *company
	device  *passkeytest.Device
	cookies map[string]string
	body    string // of the page that is open
}

// newTab opens a browser for a dashboard over HTTPS. Whoever is signed in has signed in just now.
func newTab(t *testing.T, side dashboard.Side) *tab {
	t.Helper()
	h := newHouse(t)
	now := func() time.Time { return h.now }
	base, err := url.Parse(here)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{house: h, company: &company{key: key, now: now}, device: &passkeytest.Device{Origin: here}, cookies: map[string]string{}}
	keys, providers := offer(t, base, h, b.company)
	b.offers = dashboard.Config{Base: base, Passkeys: keys, Providers: providers}
	b.of = h.serve(side, b.offers)
	return b
}

// enter gives the browser the session of somebody new.
func (b *tab) enter(role auth.Role, account auth.AccountID) {
	b.t.Helper()
	token := b.signedIn(role, account)
	b.cookies["__Host-gatehouse-operator"], b.cookies["__Host-gatehouse-member"] = token, token
}

// invite is the code of a link for an owner at this dashboard, and whom it is for.
func (b *tab) invite(side dashboard.Side) (code, email string) {
	b.t.Helper()
	var account auth.AccountID
	if side == dashboard.Members {
		account = b.account
	}
	code = b.invited(auth.RoleOwner, account)
	p, err := b.people.Invited(b.t.Context(), code, auth.Caller{Address: webtest.Address})
	if err != nil {
		b.t.Fatal(err)
	}
	return code, p.Email
}

func (b *tab) send(method, path string, form url.Values) webtest.Answer {
	b.t.Helper()
	var cookies []string
	for name, value := range b.cookies {
		cookies = append(cookies, name+"="+value)
	}
	head := ""
	if len(cookies) > 0 {
		head = "\nCookie: " + strings.Join(cookies, "; ")
	}
	if method == "POST" {
		body := form.Encode()
		head += fmt.Sprintf("\nOrigin: %s\nContent-Type: application/x-www-form-urlencoded\nContent-Length: %d\n\n%s", here, len(body), body)
	}
	a := b.of.Send(b.t, method+" "+path+head)
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-gatehouse-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
			b.t.Errorf("%s %s sets %+v", method, path, c)
		}
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	b.body = a.Body
	return a
}

var asksForPasskey = regexp.MustCompile(`data-passkey="(get|create)" data-options="([^"]*)"`)

// asked are the options on the page that is open.
func (b *tab) asked() (kind string, options []byte) {
	b.t.Helper()
	m := asksForPasskey.FindStringSubmatch(b.body)
	if m == nil {
		b.t.Fatalf("no passkey is asked for:\n%s", b.body)
	}
	return m[1], []byte(html.UnescapeString(m[2]))
}

// answer is what the device makes of the page that is open.
func (b *tab) answer() string {
	b.t.Helper()
	kind, options := b.asked()
	if kind == "create" {
		return string(b.device.Create(b.t, options))
	}
	return string(b.device.Get(b.t, options))
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// hidden is what the forms of the page that is open carry along.
func (b *tab) hidden() url.Values {
	all := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(b.body, -1) {
		all.Set(m[1], html.UnescapeString(m[2]))
	}
	return all
}

// leads wants an answer that leads to a page.
func (b *tab) leads(doing string, a webtest.Answer, to string) {
	b.t.Helper()
	if a.Status != http.StatusSeeOther || a.Header.Get("Location") != to {
		b.t.Fatalf("%s: got %d to %q, want to %s\n%s", doing, a.Status, a.Header.Get("Location"), to, a.Body)
	}
}

// says wants a page with a status that says something.
func (b *tab) says(doing string, a webtest.Answer, status int, text string) {
	b.t.Helper()
	if a.Status != status || !strings.Contains(a.Body, text) {
		b.t.Fatalf("%s: got %d, want %d and %q\n%s", doing, a.Status, status, text, a.Body)
	}
}

var cookieOf = map[dashboard.Side]string{dashboard.Operators: "__Host-gatehouse-operator", dashboard.Members: "__Host-gatehouse-member"}

func TestPasskeysFromJoiningToRemoving(t *testing.T) {
	for _, side := range []dashboard.Side{dashboard.Operators, dashboard.Members} {
		b := newTab(t, side)
		code, email := b.invite(side)

		// The link is followed; the page asks the device for a passkey, and nobody for a password.
		b.says("the code", b.send("POST", "/dashboard/join", url.Values{"code": {code}}), 200, email)
		form := b.hidden()
		form.Set("answer", b.answer())
		b.leads("join", b.send("POST", "/dashboard/join", form), "/dashboard/")
		b.says("the page", b.send("GET", "/dashboard/profile", nil), 200, "1 passkey")

		// Signed out, she signs in with it, and is led to where she wanted to go.
		clear(b.cookies)
		b.leads("without a session", b.send("GET", "/dashboard/profile", nil), "/dashboard/sign-in?next=%2Fdashboard%2Fprofile")
		b.says("to sign in", b.send("GET", "/dashboard/sign-in?next=%2Fdashboard%2Fprofile", nil), 200, "Sign in with a passkey")
		form = url.Values{"answer": {b.answer()}, "next": {"/dashboard/profile"}}
		b.leads("sign in", b.send("POST", "/dashboard/sign-in", form), "/dashboard/profile")

		// The same answer again is worth nothing, and the page asks anew.
		session := b.cookies[cookieOf[side]]
		delete(b.cookies, cookieOf[side])
		b.says("once more", b.send("POST", "/dashboard/sign-in", form), 401, "took too long, or was used before")
		b.asked()
		b.cookies[cookieOf[side]] = session

		// Ten minutes later another passkey wants a proof first.
		b.now = b.now.Add(10 * time.Minute)
		b.leads("to add one", b.send("GET", "/dashboard/profile/passkeys/new", nil), "/dashboard/confirm?next=%2Fdashboard%2Fprofile%2Fpasskeys%2Fnew")
		a := b.send("GET", "/dashboard/confirm?next=%2Fdashboard%2Fprofile%2Fpasskeys%2Fnew", nil)
		b.says("to confirm", a, 200, "Confirm with a passkey")
		if strings.Contains(a.Body, `type="password"`) {
			t.Errorf("%v: who has a passkey is asked for a password", side)
		}
		form = b.hidden()
		form.Set("answer", b.answer())
		b.leads("confirm", b.send("POST", "/dashboard/confirm", form), "/dashboard/profile/passkeys/new")
		b.says("to add one", b.send("GET", "/dashboard/profile/passkeys/new", nil), 200, "Your device asks")
		if b.answer() != "" {
			t.Errorf("%v: the same device makes another one", side)
		}
		b.device = &passkeytest.Device{Origin: here, Ed25519: true, Synced: true}
		b.leads("add", b.send("POST", "/dashboard/profile/passkeys/new", url.Values{"answer": {b.answer()}, "name": {"<b>Telephone</b>"}}), "/dashboard/profile")
		b.says("two", b.send("GET", "/dashboard/profile", nil), 200, "&lt;b&gt;Telephone&lt;/b&gt;")

		// She calls it something else; nobody else can, and a name has to be one.
		rename := regexp.MustCompile(`href="(/dashboard/profile/passkeys/[^"]*/rename)">Rename<span class="unseen"> &lt;b`).FindStringSubmatch(b.body)
		if rename == nil {
			t.Fatalf("%v: it cannot be renamed:\n%s", side, b.body)
		}
		b.says("to rename", b.send("GET", rename[1], nil), 200, `value="&lt;b&gt;Telephone&lt;/b&gt;"`)
		b.says("rename", b.send("POST", rename[1], url.Values{"name": {" "}}), http.StatusBadRequest, "Give the passkey a name")
		b.leads("rename", b.send("POST", rename[1], url.Values{"name": {"<i>Laptop</i>"}}), "/dashboard/profile")
		b.says("renamed", b.send("GET", "/dashboard/profile", nil), 200, "&lt;i&gt;Laptop&lt;/i&gt;")
		acts, err := b.opened.DB.Audit(t.Context(), auth.AuditQuery{Action: "person.passkey-rename", Most: 5})
		if err != nil || len(acts) != 1 || !strings.HasSuffix(acts[0].Act.Detail, " <i>Laptop</i>") {
			t.Errorf("%v: in the trail: %v, %v", side, acts, err)
		}
		hers := b.cookies
		b.cookies = map[string]string{}
		b.enter(auth.RoleOwner, map[dashboard.Side]auth.AccountID{dashboard.Members: b.account}[side])
		if a := b.send("POST", rename[1], url.Values{"name": {"Mine"}}); a.Status != http.StatusNotFound {
			t.Errorf("%v: another's was renamed: %d", side, a.Status)
		}
		b.cookies = hers
		b.send("GET", "/dashboard/profile", nil)

		// The form is kept while she proves who she is, and then taken.
		b.now = b.now.Add(10 * time.Minute)
		remove := regexp.MustCompile(`href="(/dashboard/profile/passkeys/[^"]*/remove)"`).FindAllStringSubmatch(b.body, -1)
		if len(remove) != 2 {
			t.Fatalf("%v: %v", side, remove)
		}
		b.says("to remove", b.send("GET", remove[0][1], nil), 200, "Remove it")
		b.says("remove", b.send("POST", remove[0][1], nil), 403, "Confirm with a passkey")
		form = b.hidden()
		form.Set("answer", b.answer())
		b.leads("confirm", b.send("POST", "/dashboard/confirm", form), "/dashboard/profile")
		b.says("one", b.send("GET", "/dashboard/profile", nil), 200, "1 passkey")
		if !strings.Contains(b.body, "&lt;i&gt;Laptop") {
			t.Errorf("%v: the other one is left", side)
		}
		if a := b.send("POST", remove[0][1], nil); a.Status != http.StatusNotFound {
			t.Errorf("%v: to remove it twice: %d", side, a.Status)
		}
		b.says("to remove the last one", b.send("POST", remove[1][1], nil), http.StatusConflict, "last")
	}
}

// Others' wrong guesses, from wherever they come, do not shut out the browser that somebody signs in with.
func TestAKnownBrowserIsNotShutOut(t *testing.T) {
	b := newTab(t, dashboard.Members)
	code, email := b.invite(dashboard.Members)
	b.send("POST", "/dashboard/join", url.Values{"code": {code}})
	form := b.hidden()
	form.Set("answer", b.answer())
	b.leads("join", b.send("POST", "/dashboard/join", form), "/dashboard/")
	const password = "correct horse battery"
	b.leads("a password", b.send("POST", "/dashboard/profile/password", url.Values{"password": {password}}), "/dashboard/profile")
	known := b.cookies["__Host-gatehouse-device-member"]
	clear(b.cookies)
	for i := range 300 {
		_, err := b.people.SignIn(t.Context(), auth.Member, email, "a wrong password", "", auth.Caller{Address: netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})})
		if errors.Is(err, auth.ErrRateLimited) {
			break
		}
	}
	signIn := url.Values{"email": {email}, "password": {password}}
	if a := b.send("POST", "/dashboard/sign-in", signIn); a.Status != http.StatusTooManyRequests {
		t.Errorf("an unknown browser: %d", a.Status)
	}
	b.cookies["__Host-gatehouse-device-member"] = known
	b.leads("the known one", b.send("POST", "/dashboard/sign-in", signIn), "/dashboard/second-factor")
	if got := b.cookies["__Host-gatehouse-device-member"]; got != known {
		t.Error("a password alone makes a browser known")
	}
}

func TestTheFirstOperatorJoinsWithAPasskey(t *testing.T) {
	b := newTab(t, dashboard.Operators)
	code, err := b.people.InviteFirst(t.Context(), time.Hour)
	if err != nil || code == "" {
		t.Fatal(code, err)
	}
	b.send("POST", "/dashboard/join", url.Values{"code": {code}})
	form := b.hidden()
	form.Set("answer", b.answer())
	b.says("of nobody", b.send("POST", "/dashboard/join", form), http.StatusBadRequest, "n e-mail address is written as")
	form = b.hidden()
	form.Set("answer", b.answer())
	form.Set("email", "first@example.com")
	form.Set("name", "Jane")
	b.leads("join", b.send("POST", "/dashboard/join", form), "/dashboard/")
	clear(b.cookies)
	b.send("GET", "/dashboard/sign-in", nil)
	b.leads("sign in", b.send("POST", "/dashboard/sign-in", url.Values{"answer": {b.answer()}}), "/dashboard/")
	b.says("in", b.send("GET", "/dashboard/profile", nil), 200, "first@example.com")
}

// Whoever shows what lets nobody in may do so some thirty times, and is then refused whatever is shown.
func TestPasskeysThatAreTriedTooOften(t *testing.T) {
	b := newTab(t, dashboard.Members)
	b.enter(auth.RoleOwner, b.account)
	b.send("GET", "/dashboard/profile/passkeys/new", nil)
	b.leads("add", b.send("POST", "/dashboard/profile/passkeys/new", url.Values{"answer": {b.answer()}}), "/dashboard/profile")
	clear(b.cookies)
	tried := 0
	for ; b.send("POST", "/dashboard/sign-in", url.Values{"answer": {"{}"}}).Status == http.StatusUnauthorized; tried++ {
		if tried > 100 {
			t.Fatal("a hundred times")
		}
	}
	b.send("GET", "/dashboard/sign-in", nil)
	good := url.Values{"answer": {b.answer()}}
	b.says("the right one", b.send("POST", "/dashboard/sign-in", good), http.StatusTooManyRequests, "Too many requests")
	address := b.elsewhere("sign in", b.send("POST", "/dashboard/sign-in", url.Values{"provider": {"company"}}))
	b.says("by a provider", b.back("by a provider", address), http.StatusTooManyRequests, "Too many requests")
	b.now = b.now.Add(time.Minute)
	b.send("GET", "/dashboard/sign-in", nil)
	b.leads("a minute later", b.send("POST", "/dashboard/sign-in", url.Values{"answer": {b.answer()}}), "/dashboard/")
	if tried < 10 {
		t.Errorf("refused after %d", tried)
	}
}

// maps is a form with another value in one field.
func maps(form url.Values, name, value string) url.Values {
	c := url.Values{}
	for n, v := range form {
		c[n] = v
	}
	c.Set(name, value)
	return c
}

func TestPasskeysThatLetNobodyIn(t *testing.T) {
	b := newTab(t, dashboard.Members)
	b.enter(auth.RoleOwner, b.account)
	b.send("GET", "/dashboard/profile/passkeys/new", nil)
	b.leads("add", b.send("POST", "/dashboard/profile/passkeys/new", url.Values{"answer": {b.answer()}}), "/dashboard/profile")
	session := b.cookies["__Host-gatehouse-member"]
	clear(b.cookies)

	b.send("GET", "/dashboard/sign-in", nil)
	answer := b.answer()
	first := b.cookies["__Host-gatehouse-browser"]
	b.cookies["__Host-gatehouse-browser"] = "of another browser"
	b.says("in another browser", b.send("POST", "/dashboard/sign-in", url.Values{"answer": {answer}}), 401, "was not begun in this browser")
	delete(b.cookies, "__Host-gatehouse-browser")
	b.says("in none", b.send("POST", "/dashboard/sign-in", url.Values{"answer": {answer}}), 401, "was not begun in this browser")
	if strings.Contains(b.body, first) || b.cookies["__Host-gatehouse-member"] != "" {
		t.Error("somebody is in")
	}
	b.cookies["__Host-gatehouse-browser"] = first
	for _, raw := range []string{"{", "[]", `{"id":"AA"}`} {
		b.says(raw, b.send("POST", "/dashboard/sign-in", url.Values{"answer": {raw}}), 401, "This passkey was not accepted")
	}
	// Her passkey is a member's: it opens nothing where operators are, though the host is the same.
	members := b.of
	b.of = b.serve(dashboard.Operators, b.offers)
	b.send("GET", "/dashboard/sign-in", nil)
	b.says("a member's at the operators'", b.send("POST", "/dashboard/sign-in", url.Values{"answer": {b.answer()}}), 401, "This does not let anybody in")
	b.of = members

	// Confirming wants one of one's own.
	b.cookies["__Host-gatehouse-member"] = session
	b.send("GET", "/dashboard/confirm", nil)
	form := b.hidden()
	_, options := b.asked()
	var o struct{ Challenge string }
	if err := json.Unmarshal(options, &o); err != nil {
		t.Fatal(err)
	}
	joe := &passkeytest.Device{Origin: here}
	b.send("GET", "/dashboard/profile/passkeys/new", nil)
	_, create := b.asked()
	joe.Create(t, create)
	form.Set("answer", string(joe.Sign(t, joe.Keys[0], o.Challenge)))
	b.says("with another's", b.send("POST", "/dashboard/confirm", form), 401, "This passkey was not accepted")
}

var refresh = regexp.MustCompile(`^0; url=(.*)$`)

// follow is where a page leads on to.
func (b *tab) follow(doing string, a webtest.Answer) string {
	b.t.Helper()
	m := refresh.FindStringSubmatch(a.Header.Get("Refresh"))
	if a.Status != http.StatusOK || m == nil || !strings.Contains(html.UnescapeString(a.Body), `href="`+m[1]+`"`) {
		b.t.Fatalf("%s: %d, Refresh %q\n%s", doing, a.Status, a.Header.Get("Refresh"), a.Body)
	}
	return m[1]
}

// elsewhere goes to the provider that a page leads to, and returns the address that it sends back to.
func (b *tab) elsewhere(doing string, a webtest.Answer) string {
	b.t.Helper()
	to, err := url.Parse(b.follow(doing, a))
	if err != nil || !strings.HasPrefix(to.String(), issuer+"/authorize?") {
		b.t.Fatalf("%s: led to %s", doing, to)
	}
	b.company.asked = to.Query()
	if got := b.company.asked.Get("redirect_uri"); got != here+"/dashboard/openid/callback/company" {
		b.t.Errorf("%s: sent back to %s", doing, got)
	}
	return "/dashboard/openid/callback/company?" + url.Values{"state": {b.company.asked.Get("state")}, "code": {rand.Text()}}.Encode()
}

// back comes from the provider, as a browser does that sends no strict cookie from another site.
func (b *tab) back(doing, address string) webtest.Answer {
	b.t.Helper()
	kept := b.cookies
	b.cookies = map[string]string{}
	to := b.follow(doing, b.send("GET", address, nil))
	b.cookies = kept
	if !strings.HasPrefix(to, "/dashboard/openid/callback/company?") {
		b.t.Fatalf("%s: led on to %s", doing, to)
	}
	return b.send("GET", to, nil)
}

func TestProvidersFromJoiningToUnlinking(t *testing.T) {
	b := newTab(t, dashboard.Members)
	code, email := b.invite(dashboard.Members)
	b.company.subject, b.company.email = "sub-of-jane", strings.ToUpper(email)

	b.says("the code", b.send("POST", "/dashboard/join", url.Values{"code": {code}}), 200, "Join with Company account")
	form := b.hidden()
	form.Set("provider", "company")
	address := b.elsewhere("join", b.send("POST", "/dashboard/join", form))
	if strings.Contains(b.company.asked.Encode(), code) {
		t.Errorf("the provider was told the code of the link: %s", b.company.asked)
	}
	b.leads("join", b.back("join", address), "/dashboard/")
	if b.cookies["__Host-gatehouse-join"] != "" {
		t.Errorf("joined: %v", b.cookies)
	}

	clear(b.cookies)
	b.says("to sign in", b.send("GET", "/dashboard/sign-in", nil), 200, "Sign in with Company account")
	address = b.elsewhere("sign in", b.send("POST", "/dashboard/sign-in", url.Values{"provider": {"company"}, "next": {"/dashboard/profile"}}))
	b.leads("sign in", b.back("sign in", address), "/dashboard/profile")
	session := b.cookies["__Host-gatehouse-member"]
	delete(b.cookies, "__Host-gatehouse-member")
	b.says("once more", b.back("once more", address), 401, "was used before")
	b.cookies["__Host-gatehouse-member"] = session
	b.says("her page", b.send("GET", "/dashboard/profile", nil), 200, "1 provider")

	b.now = b.now.Add(10 * time.Minute)
	unlink := regexp.MustCompile(`href="(/dashboard/profile/openid/[^"]*/remove)"`).FindStringSubmatch(b.body)
	b.says("to unlink", b.send("POST", unlink[1], nil), 403, "Confirm with Company account")
	form = b.hidden()
	form.Set("provider", "company")
	address = b.elsewhere("confirm", b.send("POST", "/dashboard/confirm", form))
	// The form waits meanwhile: the answer to it is the one to what was asked before.
	b.says("the last way", b.back("confirm", address), http.StatusConflict, "last")
	b.send("GET", "/dashboard/profile/passkeys/new", nil)
	b.leads("another way", b.send("POST", "/dashboard/profile/passkeys/new", url.Values{"answer": {b.answer()}}), "/dashboard/profile")
	b.leads("unlink", b.send("POST", unlink[1], nil), "/dashboard/profile")
	b.send("GET", "/dashboard/profile", nil)
	if strings.Contains(b.body, "provider linked") || strings.Contains(b.body, "1 provider") {
		t.Error("still linked")
	}
	b.says("to link", b.send("GET", "/dashboard/profile/link/company", nil), 200, "Go to Company account")
	address = b.elsewhere("link", b.send("POST", "/dashboard/profile/link/company", nil))
	b.leads("link", b.back("link", address), "/dashboard/profile")
	b.says("linked", b.send("GET", "/dashboard/profile", nil), 200, html.EscapeString(strings.ToUpper(email)))
}

// A form that waits for a proof waits over a provider that gives none, and is then taken once, by whatever proof.
func TestAFormWaitsOverAProviderThatProvesNothing(t *testing.T) {
	b := newTab(t, dashboard.Members)
	code, email := b.invite(dashboard.Members)
	b.company.subject, b.company.email = "sub-of-jane", email
	b.send("POST", "/dashboard/join", url.Values{"code": {code}})
	b.leads("join", b.back("join", b.elsewhere("join", b.send("POST", "/dashboard/join", maps(b.hidden(), "provider", "company")))), "/dashboard/")
	const page = "/dashboard/credentials/new"
	b.says("the form", b.send("GET", page, nil), 200, "Create the credential")
	typed := url.Values{"kind": {"login"}, "name": {"Till of the north"}, "once": {b.hidden().Get("once")}}
	b.now = b.now.Add(10 * time.Minute)
	made := func() []auth.Credential {
		t.Helper()
		all, err := b.opened.Registry.Credentials(t.Context(), machine, auth.CredentialQuery{Account: b.account})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := len(made())
	b.says("too late", b.send("POST", page, typed), 403, "Confirm with Company account")
	confirm := func() string {
		return b.elsewhere("confirm", b.send("POST", "/dashboard/confirm", maps(b.hidden(), "provider", "company")))
	}

	b.company.subject = "sub-of-joe"
	address := confirm()
	if strings.Contains(b.company.asked.Encode(), "Till") {
		t.Errorf("the provider was told what was typed: %s", b.company.asked)
	}
	b.says("another's proof", b.back("another's proof", address), 401, "This does not let anybody in")
	if form := b.hidden(); form.Get("confirm-next") != page || form.Get("confirm-kept") == "" || b.cookies["__Host-gatehouse-form"] != "" {
		t.Errorf("the page that asks again keeps %v", form)
	}
	address = confirm()
	b.says("denied", b.back("denied", strings.Replace(address, "code=", "error=access_denied&was=", 1)), 401, "did not sign you in")
	if len(made()) != before {
		t.Fatal("a credential was made without a proof")
	}
	b.company.subject = "sub-of-jane"
	again := b.hidden()
	address = confirm()
	ours := b.cookies["__Host-gatehouse-form"]
	b.cookies["__Host-gatehouse-form"] = ours[:len(ours)-4] + "AAAA"
	b.leads("a form that somebody changed", b.back("a form that somebody changed", address), page)
	if len(made()) != before {
		t.Fatal("a form was taken that was not sent")
	}

	b.now = b.now.Add(10 * time.Minute)
	address = b.elsewhere("confirm", b.send("POST", "/dashboard/confirm", maps(again, "provider", "company")))
	b.says("proved", b.back("proved", address), 200, "Credential created")
	if all := made(); len(all) != before+1 || all[before].Name != "Till of the north" {
		t.Errorf("there are %v", all)
	}
	b.says("the same address again", b.back("again", address), 401, "")
	if len(made()) != before+1 {
		t.Error("the form was taken twice")
	}

	// What is too long for that is told before anybody goes.
	b.now = b.now.Add(10 * time.Minute)
	typed.Set("scopes", strings.Repeat("orders:read ", 400))
	b.says("a long form", b.send("POST", page, typed), 403, "too long to be kept while you are at a provider")
	address = confirm()
	b.leads("a long form", b.back("a long form", address), page)
}

func TestProvidersThatLetNobodyIn(t *testing.T) {
	b := newTab(t, dashboard.Members)
	b.company.subject, b.company.email = "sub-of-joe", "joe@example.com"
	signIn := url.Values{"provider": {"company"}}
	b.send("GET", "/dashboard/sign-in", nil)
	address := b.elsewhere("sign in", b.send("POST", "/dashboard/sign-in", signIn))
	b.says("a stranger", b.back("a stranger", address), 401, "This does not let anybody in")

	// Somebody else's answer, put before her: she would be signed in as him.
	address = b.elsewhere("sign in", b.send("POST", "/dashboard/sign-in", signIn))
	victim := b.cookies
	b.cookies = map[string]string{"__Host-gatehouse-browser": "hers"}
	b.says("in another browser", b.back("in another browser", address), 401, "was not begun in this browser")
	b.cookies = victim

	code, _ := b.invite(dashboard.Members)
	b.send("POST", "/dashboard/join", url.Values{"code": {code}})
	address = b.elsewhere("join", b.send("POST", "/dashboard/join", maps(b.hidden(), "provider", "company")))
	a := b.back("an invitation for another", address)
	if _, err := b.people.Invited(t.Context(), code, auth.Caller{}); a.Status != http.StatusForbidden || err != nil || b.cookies["__Host-gatehouse-member"] != "" {
		t.Errorf("an invitation for another: %d; the link is spent: %v", a.Status, err)
	}
	b.says("a link that is none", b.send("POST", "/dashboard/join", url.Values{"code": {"none"}, "provider": {"company"}, "looked": {"yes"}}), 401, "This link is not good")
	if a := b.send("POST", "/dashboard/sign-in", url.Values{"provider": {"another"}}); a.Status != http.StatusNotFound {
		t.Errorf("a provider that is none: %d", a.Status)
	}
	// His answer for confirming is no proof that it is she.
	b.enter(auth.RoleOwner, b.account)
	b.send("GET", "/dashboard/confirm", nil)
	address = b.elsewhere("confirm", b.send("POST", "/dashboard/confirm", url.Values{"provider": {"company"}}))
	b.says("another's proof", b.back("another's proof", address), 401, "This does not let anybody in")

	b.company.away = true
	b.now = b.now.Add(2 * time.Hour)
	clear(b.cookies)
	away := newTab(t, dashboard.Operators)
	away.company.away = true
	away.says("away", away.send("POST", "/dashboard/sign-in", signIn), http.StatusServiceUnavailable, "The provider does not answer as it should")
	if a := away.send("POST", "/dashboard/sign-in", url.Values{"provider": {"company"}, "next": {"//evil.example"}}); strings.Contains(a.Body, "evil") {
		t.Errorf("it leads to another site:\n%s", a.Body)
	}
}
