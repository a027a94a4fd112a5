package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/verify"
)

// A holder is a credential of one kind with a token out, and for a login a session.
type holder struct {
	kind       auth.Kind
	credential auth.Credential
	identifier string
	secret     string
	access     string
	refresh    string
}

// exchange presents the secret again, and says whether it got a token.
func (w *world) exchange(h *holder) bool {
	w.t.Helper()
	switch h.kind {
	case auth.APIKey:
		a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", h.identifier)
		var body struct{ Data struct{ Token string } }
		a.decode(w.t, &body)
		h.access = body.Data.Token
		return a.Code == http.StatusCreated
	case auth.Basic:
		basic := base64.StdEncoding.EncodeToString([]byte(h.identifier + ":" + h.secret))
		a := w.ask("GET", "/order-authentication", "", "Authorization", "Basic "+basic)
		var body struct{ Token string }
		a.decode(w.t, &body)
		h.access = body.Token
		return a.Code == http.StatusOK
	case auth.Login:
		p, code := w.login(h.identifier, h.secret)
		h.access, h.refresh = p.Access, p.Refresh
		return code == http.StatusOK
	case auth.OAuth:
		got, code := w.token(h.identifier, h.secret, "grant_type=client_credentials")
		h.access = got.AccessToken
		return code == http.StatusOK
	}
	return false
}

// holder makes one of a kind.
func (w *world) holder(kind auth.Kind) *holder {
	w.t.Helper()
	h := &holder{kind: kind}
	h.credential, h.identifier, h.secret = w.issue(kind, "orders:read", "orders:write")
	if !w.exchange(h) {
		w.t.Fatalf("%s did not get in", kind)
	}
	return h
}

// holders makes one of each kind.
func (w *world) holders() []*holder {
	w.t.Helper()
	var all []*holder
	for _, kind := range auth.Kinds {
		all = append(all, w.holder(kind))
	}
	return all
}

// alive says whether the token is let in from an address, and what it may do.
func (w *world) alive(token, address string) (verify.Principal, bool) {
	p, _, err := w.Gate().Verify(context.Background(), token, auth.Caller{Address: netip.MustParseAddr(address)}, auth.Want{Types: verify.Types})
	return p, err == nil
}

// What an operator changes, and what then becomes of the tokens that are out, of sessions, and of the credential itself.
func TestWhatAChangeDoesToWhatIsOut(t *testing.T) {
	t.Parallel()
	const home, abroad = "192.0.2.1", "198.51.100.9"
	for _, c := range []struct {
		name    string
		change  func(w *world, h *holder) error
		access  bool // the token out is let in
		refresh bool // the session goes on
		again   bool // the credential gets in again
	}{
		{"nothing", func(*world, *holder) error { return nil }, true, true, true},
		{"account suspended", func(w *world, _ *holder) error {
			_, err := w.Registry().SuspendAccount(w.t.Context(), operator, w.account, false)
			return err
		}, false, false, false},
		{"account suspended and resumed", func(w *world, _ *holder) error {
			if _, err := w.Registry().SuspendAccount(w.t.Context(), operator, w.account, false); err != nil {
				return err
			}
			_, err := w.Registry().ResumeAccount(w.t.Context(), operator, w.account)
			return err
		}, true, true, true},
		{"account suspended, tokens revoked, and resumed", func(w *world, _ *holder) error {
			if _, err := w.Registry().SuspendAccount(w.t.Context(), operator, w.account, true); err != nil {
				return err
			}
			_, err := w.Registry().ResumeAccount(w.t.Context(), operator, w.account)
			return err
		}, false, false, true},
		{"account deleted", func(w *world, _ *holder) error {
			_, err := w.Registry().DeleteAccount(w.t.Context(), operator, w.account)
			return err
		}, false, false, false},
		{"credential revoked", func(w *world, h *holder) error {
			_, err := w.Registry().RevokeCredential(w.t.Context(), operator, h.credential.ID)
			return err
		}, false, false, false},
		{"secret rotated", func(w *world, h *holder) error {
			_, err := w.Registry().RotateCredential(w.t.Context(), operator, h.credential.ID, w.opened.DB.Now().Add(time.Hour), false)
			return err
		}, true, true, true},
		{"secret rotated, the old one ends now", func(w *world, h *holder) error {
			_, err := w.Registry().RotateCredential(w.t.Context(), operator, h.credential.ID, w.opened.DB.Now(), false)
			return err
		}, true, true, false},
		{"secret rotated, sessions ended", func(w *world, h *holder) error {
			_, err := w.Registry().RotateCredential(w.t.Context(), operator, h.credential.ID, w.opened.DB.Now().Add(time.Hour), true)
			return err
		}, false, false, true},
		{"expiry brought forward to now", func(w *world, h *holder) error {
			now := w.opened.DB.Now()
			_, err := w.Registry().UpdateCredential(w.t.Context(), operator, h.credential.ID, auth.CredentialUpdate{ExpiresAt: &now})
			return err
		}, false, false, false},
		{"signing key rotated", func(w *world, _ *holder) error {
			_, err := w.Registry().RotateSigningKey(w.t.Context(), operator)
			return err
		}, true, true, true},
		{"signing key revoked", func(w *world, _ *holder) error {
			for _, key := range w.signingKeys() {
				if key.Ring == auth.SigningRing && key.RevokedAt.IsZero() {
					_, err := w.Registry().RevokeSigningKey(w.t.Context(), operator, key.ID)
					return err
				}
			}
			return errors.New("no signing key")
		}, false, true, true},
		{"restart", func(w *world, _ *holder) error { w.stop(); w.start(unlimited); return nil }, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, kind := range auth.Kinds {
				w := newWorld(t, unlimited)
				h := w.holder(kind)
				old := *h
				if err := c.change(w, h); err != nil {
					t.Fatalf("%s: %v", h.kind, err)
				}
				if _, got := w.alive(old.access, home); got != c.access {
					t.Errorf("%s: the token out is let in: %v, want %v", h.kind, got, c.access)
				}
				if h.kind == auth.Login {
					if _, code := w.refresh(old.refresh, ""); (code == http.StatusOK) != c.refresh {
						t.Errorf("the session's refresh: %d, want it to work: %v", code, c.refresh)
					}
				}
				if got := w.exchange(h); got != c.again {
					t.Errorf("%s: presented again it gets in: %v, want %v", h.kind, got, c.again)
				}
			}
		})
	}
	t.Run("allowlist changed", func(t *testing.T) {
		w := newWorld(t, unlimited)
		holders := w.holders()
		only := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		if _, err := w.Registry().AllowIP(t.Context(), operator, w.account, only, "", time.Time{}); err != nil {
			t.Fatal(err)
		}
		for _, h := range holders {
			if _, in := w.alive(h.access, home); in {
				t.Errorf("%s: let in from an address off the list", h.kind)
			}
			if _, in := w.alive(h.access, abroad); !in {
				t.Errorf("%s: not let in from an address on the list", h.kind)
			}
		}
		login := holders[2]
		if _, code := w.refresh(login.refresh, ""); code != http.StatusForbidden {
			t.Errorf("refresh from an address off the list: %d, want 403", code)
		}
		if _, err := w.Registry().RemoveIP(t.Context(), operator, w.account, only, true); err != nil {
			t.Fatal(err)
		}
		for _, h := range holders {
			if _, in := w.alive(h.access, home); !in {
				t.Errorf("%s: not let in although the list is gone", h.kind)
			}
		}
		if _, code := w.refresh(login.refresh, ""); code != http.StatusOK {
			t.Errorf("the refresh token was spent by a refusal for its address: %d", code)
		}
	})
	t.Run("scopes narrowed and widened", func(t *testing.T) {
		w := newWorld(t, unlimited)
		for _, h := range w.holders() {
			scope := func(s string) {
				if _, err := w.Registry().UpdateCredential(t.Context(), operator, h.credential.ID, auth.CredentialUpdate{Scope: &s}); err != nil {
					t.Fatal(err)
				}
			}
			old := *h
			scope("orders:read gatehouse:introspect")
			if p, in := w.alive(old.access, home); !in || p.Scope != "orders:read" {
				t.Errorf("%s: narrowed, the token may do %q (%v)", h.kind, p.Scope, in)
			}
			if h.kind == auth.Login {
				next, _ := w.refresh(old.refresh, "")
				if p, in := w.alive(next.Access, home); !in || p.Scope != "orders:read" {
					t.Errorf("the next pair may do %q (%v)", p.Scope, in)
				}
			}
			scope("orders:read orders:write more")
			if p, _ := w.alive(old.access, home); p.HasScopes([]string{"more"}) {
				t.Errorf("%s: widened, an old token got more", h.kind)
			}
			w.exchange(h)
			if p, _ := w.alive(h.access, home); p.Scope != "more orders:read orders:write" {
				t.Errorf("%s: a new token may do %q", h.kind, p.Scope)
			}
		}
	})
	t.Run("a credential that expires takes its tokens along", func(t *testing.T) {
		w := newWorld(t, unlimited)
		issued, err := w.Registry().CreateCredential(t.Context(), operator, registry.NewCredential{
			Account: w.account, Kind: auth.APIKey, Expires: w.opened.DB.Now().Add(10 * time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
		h := &holder{kind: auth.APIKey}
		h.identifier, _ = issued.Reveal()
		if !w.exchange(h) {
			t.Fatal("it did not get in while it was good")
		}
		p, _ := w.alive(h.access, home)
		if left := time.Duration(p.Expires-p.IssuedAt) * time.Second; left > 10*time.Minute {
			t.Errorf("the token lives %v, longer than its credential", left)
		}
		w.move(10*time.Minute + verify.Leeway)
		if _, in := w.alive(h.access, home); in || w.exchange(h) {
			t.Error("the expired credential still opens something")
		}
	})
	t.Run("a lowered lifetime leaves what is out", func(t *testing.T) {
		w := newWorld(t, unlimited)
		h := w.holders()[0]
		w.stop()
		w.start(unlimited + "tokens: {access_token: {lifetime: 10m}}\n")
		w.move(23 * time.Hour)
		if _, in := w.alive(h.access, home); !in {
			t.Error("a token of a day died early")
		}
		if _, err := w.Registry().RevokeCredential(t.Context(), operator, h.credential.ID); err != nil {
			t.Fatal(err)
		}
		w.move(30 * time.Minute)
		w.facts.Sweep()
		if _, in := w.alive(h.access, home); in {
			t.Error("the revocation was forgotten before the token's day was over")
		}
	})
}

// A renewed token carries on what the old one was, and whatever kills the old one kills it.
func TestRenewCarriesOnAndDiesWithItsAncestor(t *testing.T) {
	w := newWorld(t, unlimited)
	h := &holder{kind: auth.APIKey}
	h.credential, h.identifier, h.secret = w.issue(auth.APIKey, "a", "b")
	w.exchange(h)
	old, _ := w.alive(h.access, "192.0.2.1")
	w.move(time.Hour)
	grant, err := w.Gate().Renew(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	renewed, in := w.alive(grant.Token, "192.0.2.1")
	if !in {
		t.Fatal("the renewed token is not let in")
	}
	for _, same := range [][2]any{
		{old.Subject, renewed.Subject},
		{old.Credential, renewed.Credential},
		{old.Session, renewed.Session},
		{old.Position, renewed.Position},
		{old.Audience, renewed.Audience},
		{old.AuthTime, renewed.AuthTime},
		{old.Granted, renewed.Granted},
	} {
		if same[0] != same[1] {
			t.Errorf("renewed %v, was %v", same[1], same[0])
		}
	}
	if old.ID == renewed.ID || renewed.Expires <= old.Expires {
		t.Error("the renewed token is not a new one")
	}
	if _, err := w.Registry().RevokeSession(t.Context(), operator, auth.SessionID(old.Session), w.account); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{h.access, grant.Token} {
		if _, in := w.alive(token, "192.0.2.1"); in {
			t.Error("a token of the revoked session is let in")
		}
	}
	if _, err := w.Gate().Renew(t.Context(), renewed); err == nil {
		t.Error("a token of the revoked session was renewed")
	}
	w.exchange(h)
	fresh, _ := w.alive(h.access, "192.0.2.1")
	w.move(30*24*time.Hour - time.Minute)
	if _, err := w.Gate().Renew(t.Context(), fresh); err != nil {
		t.Errorf("just before the end of renewal: %v", err)
	}
	w.move(time.Minute + time.Second)
	if _, err := w.Gate().Renew(t.Context(), fresh); err == nil {
		t.Error("renewed after the end of renewal: the key must be presented again")
	}
}

// The previous refresh token within the leeway is a race, later it is theft; older ones are theft at any time.
func TestWhatARefreshTokenPresentedAgainMeans(t *testing.T) {
	w := newWorld(t, unlimited)
	_, username, password := w.issue(auth.Login)
	p0, _ := w.login(username, password)
	p1, _ := w.refresh(p0.Refresh, "")
	w.move(5 * time.Second)
	if _, code := w.refresh(p0.Refresh, ""); code != http.StatusUnauthorized || !w.works(p1.Access) {
		t.Errorf("the previous one after 5 s: %d, and the session lives: %v", code, w.works(p1.Access))
	}
	p2, code := w.refresh(p1.Refresh, "")
	if code != http.StatusOK {
		t.Fatalf("the current one after a race: %d", code)
	}
	w.move(11 * time.Second)
	if _, code := w.refresh(p1.Refresh, ""); code != http.StatusUnauthorized || w.works(p2.Access) {
		t.Errorf("the previous one after 11 s: %d, and the session lives: %v", code, w.works(p2.Access))
	}
	if _, code := w.refresh(p2.Refresh, ""); code != http.StatusUnauthorized {
		t.Errorf("the honest holder after a theft: %d", code)
	}

	p0, _ = w.login(username, password)
	p1, _ = w.refresh(p0.Refresh, "")
	p2, _ = w.refresh(p1.Refresh, "")
	if _, code := w.refresh(p0.Refresh, ""); code != http.StatusUnauthorized || w.works(p2.Access) {
		t.Errorf("one before the previous one, at once: %d, and the session lives: %v", code, w.works(p2.Access))
	}
	trail, err := w.opened.DB.Audit(t.Context(), auth.AuditQuery{Most: 10})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(trail); !strings.Contains(got, "session.reuse") {
		t.Errorf("the audit trail says nothing of a theft: %s", got)
	}
}
