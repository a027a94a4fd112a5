package config

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func loadText(t *testing.T, text string) *Config {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "gatehouse.yaml"), text)
	c := mustLoad(t, Options{Dir: dir})
	c.DataDir = "data" // not of this test's folder
	return c
}

func TestFollow(t *testing.T) {
	running := loadText(t, "listen: 127.0.0.1:1\nrealm: a\nroutes: [{path: /a, public: true, upstream: 'http://a'}]\n")
	next := loadText(t, "listen: 127.0.0.1:2\nrealm: b\ntokens: {algorithm: ES256, oauth: {lifetime: 2h}}\nroutes: [{path: /b, public: true, upstream: 'http://a'}]\n")
	changed, waiting := next.Follow(running)
	if diff := cmp.Diff([]string{"realm", "tokens.oauth.lifetime", "routes"}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"listen", "tokens.algorithm"}, waiting); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
	if next.Listen != running.Listen || next.Tokens.Algorithm != running.Tokens.Algorithm || next.Realm != "b" || next.Routes[0].Path != "/b" {
		t.Errorf("got %s %s %s %s", next.Listen, next.Tokens.Algorithm, next.Realm, next.Routes[0].Path)
	}
	if changed, waiting := loadText(t, "realm: a\nlisten: 127.0.0.1:1\nroutes:\n- path: /a\n  public: true\n  upstream: http://a\n").Follow(running); len(changed)+len(waiting) > 0 {
		t.Errorf("the same, written otherwise, changes %v %v", changed, waiting)
	}
}

// Whoever makes a key says whether it can change while the server runs: those that cannot are in the list, under a name that
// there is.
func TestFixedKeysExist(t *testing.T) {
	for _, f := range fixed {
		found := false
		for _, key := range Keys() {
			found = found || key == f || len(key) > len(f) && key[:len(f)+1] == f+"."
		}
		if !found {
			t.Errorf("there is no key %s", f)
		}
	}
}

func TestParseUntil(t *testing.T) {
	for s, want := range map[string]time.Time{
		"": {}, "2027-01-31": time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC),
		"2027-01-31T18:00:00Z":      time.Date(2027, 1, 31, 18, 0, 0, 0, time.UTC),
		"2027-01-31T18:00:00+02:00": time.Date(2027, 1, 31, 16, 0, 0, 0, time.UTC),
	} {
		if got, err := parseUntil(s); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"tomorrow", "2027-02-30", "31.1.2027", "2027-01-31 18:00"} {
		if got, err := parseUntil(s); err == nil {
			t.Errorf("%s: got %v", s, got)
		}
	}
}
