package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWebhooks(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), secret+"\n")
	write(t, filepath.Join(dir, "gatehouse.yaml"), `
webhook_notice: 14d
webhooks:
  - url: https://example.com/hooks/?team=7
    secret_file: secret
  - url: http://10.0.0.7:8080/hooks
    secret: `+secret+`
    events: [credential.*, session.reuse_detected]
    allow_internal: true
`)
	c := mustLoad(t, Options{Dir: dir})
	if len(c.Webhooks) != 2 || c.WebhookNotice != 14*24*time.Hour {
		t.Fatalf("got %+v", c.Webhooks)
	}
	for i, w := range c.Webhooks {
		if key := w.Key(); len(key) != 24 || w.AllowInternal != (i == 1) {
			t.Errorf("got %+v with a key of %d bytes", w, len(key))
		}
	}
	if !slices.Equal(c.Webhooks[1].Events, []string{"credential.*", "session.reuse_detected"}) {
		t.Errorf("got %v", c.Webhooks[1].Events)
	}
	if shown := c.Print() + fmt.Sprintf("%v %+v %#v", c.Webhooks, c, c.Webhooks); strings.Contains(shown, secret) {
		t.Errorf("the secret is shown: %s", shown)
	}
	if changed, waiting := mustLoad(t, Options{Dir: t.TempDir()}).Follow(c); slices.Contains(waiting, "webhooks") || !slices.Contains(changed, "webhooks") {
		t.Errorf("%v changed, %v wait", changed, waiting)
	}

	good := "webhooks:\n  - url: https://example.com/hooks\n    secret: " + secret + "\n"
	for _, bad := range []struct{ yaml, want string }{
		{strings.Replace(good, "https:", "http:", 1), `webhooks[0].url: "http://example.com/hooks" would be called in clear text: write https://, or set allow_internal where it lies inside your network`},
		{strings.Replace(good, "https://example.com", "example.com", 1), `webhooks[0].url: "example.com/hooks" does not begin with http:// or https://: write https://api.example.com`},
		{strings.Replace(good, "https://example.com/hooks", "ftp://example.com/", 1), `webhooks[0].url: "ftp://example.com/" does not begin with http:// or https://: write https://api.example.com`},
		{strings.Replace(good, "https://example.com/hooks", "https:///?team=7", 1), `webhooks[0].url: "https:///" has no host: write https://api.example.com`},
		{strings.Replace(good, "https://example.com/hooks", "https://me:hunter2@example.com/", 1), `webhooks[0].url: the URL has credentials in it, which everybody would see: leave them out`},
		{strings.Replace(good, "com/hooks", "com/hooks/../", 1), `webhooks[0].url: "https://example.com/hooks/../" has a path with a dot segment: requests for those are refused`},
		{strings.Replace(good, "com/hooks", "com/hooks#x", 1), `webhooks[0].url: "https://example.com/hooks#x" has a query or a fragment: leave it out`},
		{strings.Replace(good, "secret: "+secret, "events: []", 1), `webhooks[0].secret: is missing: without it nobody can tell your messages from others. Make one: echo "whsec_$(openssl rand -base64 32)"`},
		{strings.Replace(good, secret, "hunter2", 1), `webhooks[0].secret: is not whsec_ and 24 to 64 bytes in base64: echo "whsec_$(openssl rand -base64 32)"`},
		{good + "    events: [Credential]\n", `webhooks[0].events[0]: "Credential" is no event: write credential.revoked, credential.* or leave events out`},
		{good + strings.TrimPrefix(good, "webhooks:\n"), `webhooks[1].url: is that of webhooks[0] too: give one of them all the events`},
		{good + "    secret_file: x\n", `webhooks[0].secret_file: secret is set too: leave out one of them`},
		{good + "    header: x\n", `there is no key webhooks[0].header: did you mean contracts.liquid.header?`},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "gatehouse.yaml"), bad.yaml)
		if _, err := Load(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s\ngot  %v\nwant %s", bad.yaml, err, bad.want)
		}
	}
}
