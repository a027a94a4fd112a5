package server

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// What an inspection says, the server does: whether a token is let in, and for which reason it is not. It is asked before the
// server is, for a refresh spends the token.
func TestAnInspectionSaysWhatTheServerDoes(t *testing.T) {
	const home, abroad = "192.0.2.1", "198.51.100.9"
	for _, c := range []struct {
		name string
		do   func(w *world, h *holder) error
	}{
		{"nothing", func(*world, *holder) error { return nil }},
		{"account suspended", func(w *world, _ *holder) error {
			_, err := w.Registry().SuspendAccount(w.t.Context(), operator, w.account, false)
			return err
		}},
		{"tokens revoked", func(w *world, _ *holder) error {
			if _, err := w.Registry().SuspendAccount(w.t.Context(), operator, w.account, true); err != nil {
				return err
			}
			_, err := w.Registry().ResumeAccount(w.t.Context(), operator, w.account)
			return err
		}},
		{"account deleted", func(w *world, _ *holder) error {
			_, err := w.Registry().DeleteAccount(w.t.Context(), operator, w.account)
			return err
		}},
		{"credential revoked", func(w *world, h *holder) error {
			_, err := w.Registry().RevokeCredential(w.t.Context(), operator, h.credential.ID)
			return err
		}},
		{"credential expired", func(w *world, h *holder) error {
			soon := w.opened.DB.Now().Add(time.Second)
			_, err := w.Registry().UpdateCredential(w.t.Context(), operator, h.credential.ID, auth.CredentialUpdate{ExpiresAt: &soon})
			w.move(2 * time.Second)
			return err
		}},
		{"sessions ended", func(w *world, h *holder) error {
			_, err := w.Registry().RotateCredential(w.t.Context(), operator, h.credential.ID, w.opened.DB.Now().Add(time.Hour), true)
			return err
		}},
		{"session revoked", func(w *world, h *holder) error {
			found, err := w.opened.Inspect(w.t.Context(), h.access, netip.Addr{})
			if err != nil {
				return err
			}
			_, err = w.Registry().RevokeSession(w.t.Context(), operator, found.Subject.Session, w.account)
			return err
		}},
		{"address taken off", func(w *world, _ *holder) error {
			_, err := w.Registry().AllowIP(w.t.Context(), operator, w.account, []netip.Prefix{netip.MustParsePrefix(abroad + "/32")}, "", time.Time{})
			return err
		}},
		{"ten minutes later", func(w *world, _ *holder) error { w.move(10*time.Minute + verify.Leeway); return nil }},
		{"a day later", func(w *world, _ *holder) error { w.move(24*time.Hour + verify.Leeway); return nil }},
		{"a week later", func(w *world, _ *holder) error { w.move(7 * 24 * time.Hour); return nil }},
		{"refreshed a moment ago", func(w *world, h *holder) error { w.refresh(h.refresh, ""); return nil }},
		{"refreshed a while ago", func(w *world, h *holder) error {
			w.refresh(h.refresh, "")
			w.move(11 * time.Second)
			return nil
		}},
		{"signing keys revoked", func(w *world, _ *holder) error {
			for _, k := range w.signingKeys() {
				if _, err := w.Registry().RevokeSigningKey(w.t.Context(), operator, k.ID); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, unlimited)
			holders := w.holders()
			for _, h := range holders {
				if err := c.do(w, h); err != nil && auth.AsError(err).Kind != auth.Conflict && auth.AsError(err).Kind != auth.NotFound {
					t.Fatal(err)
				}
			}
			for _, h := range holders {
				for _, address := range []string{home, abroad} {
					caller := auth.Caller{Address: netip.MustParseAddr(address)}
					found, err := w.opened.Inspect(t.Context(), h.access, caller.Address)
					if err != nil {
						t.Fatal(err)
					}
					_, _, refused := w.Gate().Verify(context.Background(), h.access, caller, auth.Want{Types: verify.Types})
					compare(t, h.kind, address, found, refused)
				}
				if h.refresh == "" {
					continue
				}
				found, err := w.opened.Inspect(t.Context(), h.refresh, netip.MustParseAddr(home))
				if err != nil {
					t.Fatal(err)
				}
				_, refused := w.Gate().Refresh(context.Background(), h.refresh, "", auth.Caller{Address: netip.MustParseAddr(home)})
				compare(t, "refresh", home, found, refused)
			}
		})
	}
}

// compare wants an inspection and the server to say the same.
func compare(t *testing.T, what auth.Kind, address string, found Inspection, refused error) {
	t.Helper()
	want := auth.ReasonNone
	if refused != nil {
		want = auth.AsError(refused).Reason
	}
	if found.Good != (refused == nil) || found.Reason != want {
		t.Errorf("%s from %s: the inspection says good %v, %q; the server %q\n%v", what, address, found.Good, found.Reason, want, found.Checks)
	}
	failed := false
	for _, check := range found.Checks {
		failed = failed || check.Outcome == Failed
	}
	if failed == found.Good {
		t.Errorf("%s from %s: good %v, and the checks are %v", what, address, found.Good, found.Checks)
	}
}

func TestInspectingWhatIsNoTokenOfOurs(t *testing.T) {
	w := newWorld(t, unlimited)
	other := newWorld(t, "public_url: https://other.example\n"+unlimited)
	mine, theirs := w.holders(), other.holders()
	login := mine[auth.B2B.Index()]
	for name, c := range map[string]struct {
		token string
		want  auth.Reason
	}{
		"nothing":               {"", auth.ReasonMalformed},
		"dots":                  {"..", auth.ReasonMalformed},
		"not base64":            {"a.b!.c", auth.ReasonMalformed},
		"too long":              {strings.Repeat("a", verify.MaxLength+1) + ".b.c", auth.ReasonMalformed},
		"cut off":               {login.access[:len(login.access)-10], auth.ReasonSignature},
		"another deployment's":  {theirs[0].access, auth.ReasonSignature},
		"its refresh token":     {theirs[auth.B2B.Index()].refresh, auth.ReasonSignature},
		"a refresh token, bent": {login.refresh[:len(login.refresh)-2] + "AA", auth.ReasonSignature},
	} {
		found, err := w.opened.Inspect(t.Context(), c.token, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		if found.Good || found.Authentic || found.Reason != c.want || found.Subject != (auth.Subject{}) {
			t.Errorf("%s: got %+v, want %s", name, found, c.want)
		}
	}

	// After the issuer was changed the tokens out are foreign, unless it is named among those accepted.
	for yaml, want := range map[string]auth.Reason{
		"public_url: https://new.example\n":                                          auth.ReasonTokenForeign,
		"public_url: https://new.example\naccept_issuers: [http://127.0.0.1:8000]\n": auth.ReasonNone,
	} {
		w.stop()
		w.start(yaml + unlimited)
		for _, token := range []string{login.access, login.refresh} {
			if found, err := w.opened.Inspect(t.Context(), token, netip.Addr{}); err != nil || found.Reason != want || !found.Authentic {
				t.Errorf("%q: got %+v, %v, want %q", yaml, found, err, want)
			}
		}
	}
}

func FuzzInspect(f *testing.F) {
	w := newWorld(f, unlimited)
	for _, h := range w.holders() {
		f.Add(h.access)
		f.Add(h.refresh)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := w.opened.Inspect(t.Context(), token, netip.Addr{}); err != nil {
			t.Error(err)
		}
	})
}
