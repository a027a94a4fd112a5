package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// What an operator does reaches the webhook, from the audit trail through the queue; and the configuration names no event that there
// is not.
func TestWebhook(t *testing.T) {
	type told struct {
		Type string
		Data struct{ Account int64 }
	}
	heard := make(chan told, 100)
	hooks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m told
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
			t.Errorf("%v: %v", r.Header, err)
		}
		heard <- m
	}))
	defer hooks.Close()
	w := newWorld(t, `
webhooks:
  - url: `+hooks.URL+`
    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
    events: [account.*]
    allow_internal: true
`)
	r := w.Registry()
	a, err := r.CreateAccount(t.Context(), operator, "Told", "")
	if err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(500 * time.Millisecond) // what was done before the server began to look is not told
	defer again.Stop()
	deadline := time.After(time.Minute)
	for suspended := false; !suspended; {
		select {
		case m := <-heard:
			suspended = m.Type == "account.suspended" && auth.AccountID(m.Data.Account) == a.ID
		case <-again.C:
			if _, err := r.SuspendAccount(t.Context(), operator, a.ID, false); err != nil {
				t.Fatal(err)
			}
			if _, err := r.ResumeAccount(t.Context(), operator, a.ID); err != nil {
				t.Fatal(err)
			}
		case <-deadline:
			t.Fatal("nobody was told")
		}
	}
	w.configure(`
webhooks:
  - url: ` + hooks.URL + `
    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
    events: [acount.suspended]
    allow_internal: true
`)
	if err := w.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `webhooks[0].events: there is no event "acount.suspended"`) {
		t.Errorf("an event that there is not: %v", err)
	}
}
