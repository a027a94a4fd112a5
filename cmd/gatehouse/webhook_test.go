package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A receiver that takes the message is told of in one line, with his status; it is a test message that he got.
func TestWebhookTest(t *testing.T) {
	var kinds []string
	hooks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ Type string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || !strings.HasPrefix(r.Header.Get("webhook-signature"), "v1,") {
			t.Errorf("%v: %v", r.Header, err)
		}
		kinds = append(kinds, m.Type)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer hooks.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "gatehouse.yaml")
	if err := os.WriteFile(file, []byte("webhooks:\n  - url: "+hooks.URL+"/path\n    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n    allow_internal: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"GATEHOUSE_DATA_DIR=" + filepath.Join(dir, "data"), "GATEHOUSE_CONFIG=" + file}
	if got := gatehouse(t, environ, "migrate", "up"); got.status != done {
		t.Fatalf("%+v", got)
	}
	host := strings.TrimPrefix(hooks.URL, "http://")
	got := gatehouse(t, environ, "webhook", "test", host)
	want := "^" + regexp.QuoteMeta(host) + ` took the message evt_\w{26}: it answered 202 after \d+ ms\n$`
	if got.status != done || !regexp.MustCompile(want).MatchString(got.out) || len(kinds) != 1 || kinds[0] != "webhook.test" {
		t.Errorf("%+v, and he heard %q", got, kinds)
	}
}
