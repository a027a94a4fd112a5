package adminclient_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/adminclient"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// Who was invited or reset by a request whose answer broke off is told so, and how there is a link all the same: the second answer,
// under the same key, has none.
func TestALinkThatGotLost(t *testing.T) {
	keys := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if keys[key]++; key == "" || keys[key] == 1 {
			panic(http.ErrAbortHandler)
		}
		account := ""
		if strings.Contains(r.URL.Path, "/accounts/") {
			account = `"account":100001,`
		}
		_, _ = w.Write([]byte(`{` + account + `"id":"p_1","email":"jane@example.com","link_expires_at":"2026-11-23T09:00:00Z","replayed":true}`))
	}))
	defer s.Close()
	c, err := adminclient.New(adminclient.Config{URL: s.URL, Token: "gko_1"})
	if err != nil {
		t.Fatal(err)
	}
	for account, want := range map[auth.AccountID]string{0: "gatehouse operator reset p_1", 100001: "gatehouse member reset --account 100001 p_1"} {
		for what, do := range map[string]func() (api.Invited, error){
			"invite": func() (api.Invited, error) { return c.InvitePerson(t.Context(), account, api.NewPerson{}) },
			"reset":  func() (api.Invited, error) { return c.ResetPerson(t.Context(), account, "p_1", api.NewLink{}) },
		} {
			if _, err := do(); !errors.Is(err, auth.ErrConflict) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of account %d: %v", what, account, err)
			}
		}
	}
	if len(keys) != 4 {
		t.Errorf("%d keys for 4 acts", len(keys))
	}
}
