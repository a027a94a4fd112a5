package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/registry"
	gatehouse "github.com/gatehouse/gatehouse/internal/server"
)

// A member and an operator sign in with Chromium, a passkey on a device of its own and oidc-provider: they join by a one-time link, sign
// out and in, and confirm that it is they. Nothing of the pages is stopped by their policy, and the audit trail tells it all.
func TestSignInInBrowser(t *testing.T) {
	in := install(t, "")
	port, admin := in.Listen[strings.LastIndexByte(in.Listen, ':'):], in.Admin[strings.LastIndexByte(in.Admin, ':'):]
	members, operators := "http://localhost"+port+"/dashboard", "http://localhost"+admin+"/dashboard"
	secret := rand.Text()
	p := startProvider(t,
		map[string]any{"client_id": "members", "client_secret": secret, "redirect_uris": []string{members + "/openid/callback/company"}},
		map[string]any{"client_id": "operators", "client_secret": secret, "redirect_uris": []string{operators + "/openid/callback/company"}},
	)
	in.configure(t, "public_url: http://localhost"+port+"\ndashboard:\n  openid:\n")
	for _, side := range []string{"members", "operators"} {
		in.configure(t, fmt.Sprintf("    - {name: company, title: Example Inc., issuer: %q, client_id: %s, client_secret: %s, for: %[2]s}\n", p.issuer, side, secret))
	}
	s := in.start(t)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("the server stopped with %v; it said:\n%s", err, s.Said.Tail())
		}
		if strings.Contains(s.Said.Tail(), secret) {
			t.Error("the log has the client's secret")
		}
	})
	account := s.newAccount(t, "Acme Ltd")
	var id auth.AccountID
	if err := json.Unmarshal([]byte(account), &id); err != nil {
		t.Fatal(err)
	}
	b := startBrowser(t, in.Listen, "")
	w := watch(b)

	for _, side := range []struct {
		at      string
		account auth.AccountID
		as      string
	}{{members, id, "jane"}, {operators, 0, "olga"}} {
		email := side.as + "@example.com"
		putAway := b.device()

		// By a passkey: joining, out, in, and a proof.
		b.open(s.invite(t, side.at, side.account, email))
		b.press("Go on")
		b.shows("Join with a passkey")
		b.picture("join-" + side.as)
		b.press("Join with a passkey")
		b.arrives(side.at + "/")
		b.open(side.at + "/profile")
		b.shows("1 passkey")
		if side.account != 0 { // where one types the address, the device offers its passkey, and its owner takes it at once
			b.press("Sign out")
			b.arrives(side.at + "/")
			b.onlyByButtons()
			b.open(side.at + "/profile")
		}
		b.press("Sign out")
		b.arrives(side.at + "/sign-in")
		b.open(side.at + "/profile") // leads there again, and from there back
		b.shows("Sign in with a passkey")
		b.picture("sign-in-" + side.as)
		b.press("Sign in with a passkey")
		b.arrives(side.at + "/profile")
		b.open(side.at + "/confirm?next=/dashboard/profile")
		b.shows("Confirm with a passkey")
		b.picture("confirm-" + side.as)
		b.press("Confirm with a passkey")
		b.arrives(side.at + "/profile")

		// By the provider: linked, out, in.
		b.press("Link Example Inc.")
		b.press("Go to Example Inc.")
		b.atProvider(p, side.as)
		b.arrives(side.at + "/profile")
		b.shows("1 provider")
		b.picture("profile-" + side.as)
		b.press("Sign out")
		b.arrives(side.at + "/sign-in")
		b.press("Sign in with Example Inc.")
		b.arrives(side.at + "/")
		b.open(side.at + "/confirm?next=/dashboard/profile")
		b.press("Confirm with Example Inc.")
		b.atProvider(p, side.as) // who asks anew
		b.arrives(side.at + "/profile")
		b.press("Sign out")
		b.arrives(side.at + "/sign-in")

		// By the provider from the link on; and a link for somebody else.
		b.open(s.invite(t, side.at, side.account, "other-"+email))
		b.press("Go on")
		b.press("Join with Example Inc.")
		b.shows("another e-mail address")
		b.forget()
		b.open(s.invite(t, side.at, side.account, "second-"+email))
		b.press("Go on")
		b.press("Join with Example Inc.")
		b.atProvider(p, "second-"+side.as)
		b.arrives(side.at + "/")
		b.forget()
		putAway() // a host is a host: on the next port it would offer this person's
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	others := []string{"the server responded with a status of 4", p.issuer, "fonts.googleapis.com"} // the refusal above; what the provider's own pages do
	for _, complaint := range w.wrong {
		if !slices.ContainsFunc(others, func(part string) bool { return strings.Contains(complaint, part) }) {
			t.Error(complaint)
		}
	}
	var trail []struct{ Actor, Action, Detail string }
	if err := s.run(&trail, "audit", "list", "--json"); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, a := range trail {
		if strings.Contains(a.Actor, " jane@example.com") {
			told = append(told, a.Action)
		}
	}
	slices.Sort(told)
	want := slices.Concat([]string{"person.confirm", "person.confirm", "person.join", "person.openid-add"}, slices.Repeat([]string{"person.sign-in"}, 3), slices.Repeat([]string{"person.sign-out"}, 4))
	if !slices.Equal(told, want) {
		t.Errorf("the audit trail tells of jane: %v, want %v", told, want)
	}
}

// open opens what is installed, as commands do.
func (in *installation) open(t *testing.T) *gatehouse.Opened {
	t.Helper()
	return in.openAt(t, nil)
}

// openAt opens it with another clock; nil: the machine's.
func (in *installation) openAt(t *testing.T, now func() time.Time) *gatehouse.Opened {
	t.Helper()
	c, err := config.Load(config.Options{Path: in.config(), Dir: in.dir})
	if err != nil {
		t.Fatal(err)
	}
	op, err := gatehouse.Open(t.Context(), c, gatehouse.OpenOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// invite makes a one-time link for somebody new at a dashboard.
func (in *installation) invite(t *testing.T, at string, account auth.AccountID, email string) string {
	t.Helper()
	op := in.open(t)
	defer op.Close()
	made, err := op.Registry.InvitePerson(t.Context(), auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}, account,
		registry.NewPerson{Email: email, Name: "Somebody", Role: auth.RoleOwner}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return made.Link(strings.TrimSuffix(at, "/dashboard"))
}

// device gives the browser a device with passkeys, which its owner always unlocks, until it is put away.
func (b *browser) device() (putAway func()) {
	b.t.Helper()
	var made webauthn.AddVirtualAuthenticatorResult
	b.steps(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		var err error
		made, err = cdp.Call(ctx, t, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}})
		return err
	}))
	return func() {
		b.t.Helper()
		b.steps(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams(made))
			return err
		}))
	}
}

// onlyByButtons has pages believe that this browser offers no passkeys where one types.
func (b *browser) onlyByButtons() {
	b.t.Helper()
	b.steps(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: `PublicKeyCredential.isConditionalMediationAvailable = async () => false`,
		})
		return err
	}))
}

// press presses what can be seen and says this, as soon as it is there.
func (b *browser) press(text string) {
	b.t.Helper()
	b.eventually("no "+text, func() bool {
		var pressed bool
		b.reads(&pressed, fmt.Sprintf(`(() => {
			const e = [...document.querySelectorAll('a, button')].find(e => e.textContent.trim() === %q && e.checkVisibility() && !e.disabled);
			if (!e || document.readyState !== 'complete') return false;
			e.click();
			return true;
		})()`, text))
		return pressed
	})
}

// arrives waits until the browser is at a page.
func (b *browser) arrives(url string) {
	b.t.Helper()
	b.eventually("not at "+url, func() bool {
		var at string
		b.reads(&at, `document.readyState === 'complete' ? location.origin + location.pathname : ''`)
		return at == url
	})
}

// shows waits until the page says something.
func (b *browser) shows(text string) {
	b.t.Helper()
	b.eventually("no "+text, func() bool {
		var there bool
		b.reads(&there, fmt.Sprintf(`document.body !== null && document.body.innerText.includes(%q)`, text))
		return there
	})
}

// eventually waits for something that a page does by itself.
func (b *browser) eventually(otherwise string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			var shown string
			b.reads(&shown, `location.href + '\n' + document.body.innerText`)
			b.t.Fatalf("%s:\n%s", otherwise, shown)
		}
	}
}

// atProvider signs in at the provider.
func (b *browser) atProvider(p *provider, as string) {
	b.t.Helper()
	b.eventually("not at the provider", func() bool {
		var done bool
		b.reads(&done, fmt.Sprintf(`(() => {
			const login = document.querySelector('input[name=login]');
			if (location.origin !== %q || !login || document.readyState !== 'complete') return false;
			login.value = %q;
			document.querySelector('input[name=password]').value = 'any';
			setTimeout(() => login.form.submit()); // the answer goes before the page does
			return true;
		})()`, p.issuer, as))
		return done
	})
}

// forget signs the browser out everywhere.
func (b *browser) forget() {
	b.t.Helper()
	b.steps(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}))
}
