package admin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/webhook"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hooked is a world with two webhooks: one that hears, and answers with the status, and one inside the network, which nobody allowed.
func hooked(t *testing.T) (w *world, heard chan http.Header, bodies chan string, status *atomic.Int64) {
	t.Helper()
	heard, bodies, status = make(chan http.Header, 10), make(chan string, 10), new(atomic.Int64)
	status.Store(http.StatusNoContent)
	hooks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/path-that-protects" {
			t.Errorf("%s: %v", r.URL, err)
		}
		heard <- r.Header
		bodies <- string(body)
		w.WriteHeader(int(status.Load()))
		if status.Load() != http.StatusNoContent {
			_, _ = w.Write([]byte("hunter2"))
		}
	}))
	t.Cleanup(hooks.Close)
	return newWorldIn(t, `
webhooks:
  - url: `+hooks.URL+`/path-that-protects
    secret: `+hookSecret+`
    events: [account.*]
    allow_internal: true
  - url: https://127.0.0.1:9/path-that-protects
    secret: `+hookSecret+`
`, "GATEHOUSE_DATA_DIR="+filepath.Join(t.TempDir(), "data")), heard, bodies, status
}

func TestAWebhookIsTried(t *testing.T) {
	w, heard, bodies, status := hooked(t)
	var all api.Page[api.Webhook]
	a := w.must(200, "GET", "/webhooks", "", &all)
	if len(all.Items) != 2 || !slices.Equal(all.Items[0].Events, []string{"account.*"}) || !all.Items[0].AllowInternal || all.Items[1].Host != "127.0.0.1:9" ||
		strings.Contains(a.Body, "protects") || strings.Contains(a.Body, "whsec") {
		t.Fatalf("got %s", a.Body)
	}
	at := "/webhooks/" + all.Items[0].ID + "/test"
	var came api.WebhookTest
	a = w.must(200, "POST", at, "", &came)
	if !came.Delivered || came.Status != 204 || came.Error != "" || came.Host != all.Items[0].Host || came.Webhook != all.Items[0].ID {
		t.Errorf("got %s", a.Body)
	}
	h, body := <-heard, <-bodies
	key := config.Webhook{Secret: config.NewSecret(hookSecret)}.Key()
	if h.Get("webhook-id") != came.Message || h.Get("webhook-signature") != webhook.Sign(key, came.Message, h.Get("webhook-timestamp"), []byte(body)) {
		t.Errorf("it came with %v", h)
	}
	var m struct {
		Type string
		Data struct {
			Actor     string
			RequestID string `json:"request_id"`
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil || m.Type != "webhook.test" || m.Data.Actor != "token owner" || m.Data.RequestID != a.RequestID {
		t.Errorf("it was %s, %v", body, err)
	}
	if want := "webhook.test token owner " + a.RequestID + " 192.0.2.7"; !slices.Contains(w.trail(), want) {
		t.Errorf("the trail has no %q: %q", want, w.trail())
	}

	status.Store(http.StatusUnauthorized)
	a = w.must(200, "POST", at, "{}", &came)
	if came.Delivered || came.Status != 401 || came.Error != "it answered 401" || strings.Contains(a.Body, "hunter2") {
		t.Errorf("got %s", a.Body)
	}
	came = api.WebhookTest{}
	a = w.must(200, "POST", "/webhooks/"+all.Items[1].ID+"/test", "", &came)
	if came.Delivered || came.Status != 0 || !strings.Contains(came.Error, "it lies inside the network") || strings.Contains(a.Body, "protects") {
		t.Errorf("got %s", a.Body)
	}

	sent := len(heard)
	w.problem("invalid", "POST", at, "", "Idempotency-Key: a-key-for-one-message")
	w.problem("invalid", "POST", at, `{"body":"mine"}`)
	w.problem("not_found", "POST", "/webhooks/"+all.Items[0].ID+"0/test", "")
	w.says(w.ask("gko_viewer", "POST", "/admin/v1"+at, ""), "forbidden")
	if a := w.ask("gko_viewer", "GET", "/admin/v1/webhooks", ""); a.Status != 200 {
		t.Errorf("a viewer gets %s", a.Body)
	}
	if len(heard) != sent {
		t.Error("what was refused was sent")
	}
}

// What is not in the audit trail is not sent.
func TestAWebhookIsNotTriedUnseen(t *testing.T) {
	w, heard, _, _ := hooked(t)
	var all api.Page[api.Webhook]
	w.must(200, "GET", "/webhooks", "", &all)
	w.noteFails.Store(true)
	w.problem("unavailable", "POST", "/webhooks/"+all.Items[0].ID+"/test", "")
	if len(heard) > 0 {
		t.Error("it was sent")
	}
}
