package server

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// own is what differs between any two answers.
var own = regexp.MustCompile(`reqid_[a-z0-9]{11}|"timestamp":\d+`)

// seen is all that a caller sees of an answer, without its own request ID and time.
func seen(a answer) string {
	var lines []string
	for name, values := range a.Header() {
		if name != "Date" {
			lines = append(lines, name+": "+strings.Join(values, ", "))
		}
	}
	sort.Strings(lines)
	return own.ReplaceAllString(fmt.Sprintf("%d\n%s\n\n%s", a.Code, strings.Join(lines, "\n"), a.Body), "…")
}

// A dead credential of each sort must look like one that never was, in every contract.
func TestNoCallerCanTellWhatIsWrongWithACredential(t *testing.T) {
	w := newWorld(t, unlimited)
	present := map[auth.Kind]func(identifier, secret string) answer{
		auth.APIKey: func(key, _ string) answer { return w.ask("GET", "/api/authentication", "", "X-LIQUID-API-KEY", key) },
		auth.Basic: func(user, password string) answer {
			return w.ask("GET", "/order-authentication", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
		},
		auth.Login: func(user, password string) answer {
			return w.ask("POST", "/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, user, password))
		},
		auth.OAuth: func(id, secret string) answer {
			return w.form("/oauth/token", id, secret, "grant_type=client_credentials")
		},
	}
	want := map[auth.Kind]int{auth.APIKey: http.StatusBadRequest, auth.Basic: http.StatusUnauthorized, auth.Login: http.StatusUnauthorized, auth.OAuth: http.StatusUnauthorized}
	for _, kind := range auth.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			unknown, wrong := "u_AAAAAAAAAAAA", "00000000000000000000000000000000"
			if kind == auth.APIKey {
				unknown = auth.FormatKey("gk", auth.Live, "AAAAAAAAAAAA", wrong)
			}
			template := seen(present[kind](unknown, wrong))
			if !strings.HasPrefix(template, fmt.Sprint(want[kind])) {
				t.Fatalf("an unknown one: %s", template)
			}
			for name, kill := range map[string]func(c auth.Credential) error{
				"revoked": func(c auth.Credential) error {
					_, err := w.Registry().RevokeCredential(t.Context(), operator, c.ID)
					return err
				},
				"expired": func(c auth.Credential) error {
					now := w.opened.DB.Now()
					_, err := w.Registry().UpdateCredential(t.Context(), operator, c.ID, auth.CredentialUpdate{ExpiresAt: &now})
					return err
				},
				"rotated, its old secret at an end": func(c auth.Credential) error {
					_, err := w.Registry().RotateCredential(t.Context(), operator, c.ID, w.opened.DB.Now(), false)
					return err
				},
				"its account suspended": func(c auth.Credential) error {
					_, err := w.Registry().SuspendAccount(t.Context(), operator, c.Account, true)
					return err
				},
				"its account deleted": func(c auth.Credential) error {
					_, err := w.Registry().DeleteAccount(t.Context(), operator, c.Account)
					return err
				},
			} {
				a, err := w.Registry().CreateAccount(t.Context(), operator, name, "")
				if err != nil {
					t.Fatal(err)
				}
				issued, err := w.Registry().CreateCredential(t.Context(), operator, registry.NewCredential{Account: a.ID, Kind: kind})
				if err != nil {
					t.Fatal(err)
				}
				identifier, secret := issued.Reveal()
				if got := present[kind](identifier, secret); got.Code >= 300 {
					t.Fatalf("%s, before: %d %s", name, got.Code, got.Body)
				}
				if err := kill(issued.Credential); err != nil {
					t.Fatal(err)
				}
				if got := seen(present[kind](identifier, secret)); got != template {
					t.Errorf("%s:\n%s\n\nan unknown one:\n%s", name, got, template)
				}
			}
			// Of another kind: a credential opens its own contract and no other.
			for _, other := range auth.Kinds {
				if other == kind {
					continue
				}
				c, _, secret := w.issue(other)
				identifier := auth.FormatUser(auth.Live, c.ID)
				if other == auth.APIKey {
					secret = wrong
				}
				if kind == auth.APIKey {
					identifier = auth.FormatKey("gk", auth.Live, c.ID, secret)
				}
				if got := seen(present[kind](identifier, secret)); got != template {
					t.Errorf("one of kind %s:\n%s", other, got)
				}
			}
		})
	}
}

// One tenant's tokens say nothing of another: what one account does ends nothing of the other's.
func TestAccountsDoNotMeet(t *testing.T) {
	w := newWorld(t, unlimited)
	_, userA, passwordA := w.issue(auth.Login)
	a, _ := w.login(userA, passwordA)
	second, err := w.Registry().CreateAccount(t.Context(), operator, "Other", "")
	if err != nil {
		t.Fatal(err)
	}
	w.account = second.ID
	_, userB, passwordB := w.issue(auth.Login)
	b, _ := w.login(userB, passwordB)
	if code := w.logout(a.Access); code != http.StatusOK {
		t.Fatal(code)
	}
	if !w.works(b.Access) {
		t.Error("a logout of one account ended a token of another")
	}
	if _, code := w.refresh(b.Refresh, ""); code != http.StatusOK {
		t.Errorf("a logout of one account ended a session of another: %d", code)
	}
	if _, code := w.login(userA, passwordB); code != http.StatusUnauthorized {
		t.Errorf("one account's name with the other's password: %d", code)
	}
}

// The limits' headers stand on every answer of an address that has limits, whatever it is.
func TestEveryAnswerOfALimitedAddressTellsTheLimit(t *testing.T) {
	w := newWorld(t, "limits: {exchange_per_address: {rate: 60/min, burst: 50}}")
	_, key, _ := w.issue(auth.APIKey)
	for name, a := range map[string]answer{
		"a grant":     w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key),
		"a wrong key": w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", "x"),
		"no body":     w.ask("POST", "/auth/login", ""),
		"no method":   w.ask("DELETE", "/auth/login", ""),
		"a bad token": w.ask("POST", "/auth/logout", "", "Authorization", "Bearer x"),
	} {
		if a.Header().Get("RateLimit") == "" || a.Header().Get("RateLimit-Policy") == "" {
			t.Errorf("%s: %d without RateLimit: %v", name, a.Code, a.Header())
		}
	}
	for range 60 {
		w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key)
	}
	a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key)
	if a.Code != http.StatusTooManyRequests || a.Header().Get("Retry-After") == "" || a.Header().Get("RateLimit") == "" {
		t.Errorf("one too many: %d %v", a.Code, a.Header())
	}
	w.move(2 * time.Second)
	if a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key); a.Code != http.StatusCreated {
		t.Errorf("after Retry-After: %d", a.Code)
	}
}
