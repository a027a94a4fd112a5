package server

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/verify"
)

// onPostgres is a configuration with an empty PostgreSQL database of the test's own.
func onPostgres(t *testing.T, master string) (yaml string, c *config.Config) {
	t.Helper()
	dir := t.TempDir()
	key, file := filepath.Join(dir, "key"), filepath.Join(dir, "gatehouse.yaml")
	yaml = shared(pgtest.Database(t)) + "master_key_file: " + key + "\nbackup: {dir: " + filepath.Join(dir, "backups") + "}\n"
	for path, text := range map[string]string{key: master, file: yaml} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(config.Options{Path: file, Flags: map[string]string{"data_dir": filepath.Join(dir, "data")}})
	if err != nil {
		t.Fatal(err)
	}
	return yaml, c
}

// The way from the embedded database to PostgreSQL, and the way back: credentials go on, tokens do not.
func TestFromOneDatabaseToTheOther(t *testing.T) {
	w := newWorld(t, unlimited)
	kept, key, _ := w.issue(auth.APIKey)
	revoked, dead, _ := w.issue(auth.APIKey)
	exchange := func(w *world) string {
		var body struct{ Data struct{ Token string } }
		w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key).decode(t, &body)
		return body.Data.Token
	}
	lives := func(w *world, token string) bool {
		_, _, err := w.Gate().Verify(t.Context(), token, auth.Caller{}, auth.Want{Types: verify.Types})
		return err == nil
	}
	token := exchange(w)
	path := w.backUp()
	if _, err := w.Registry().RevokeCredential(t.Context(), operator, revoked.ID); err != nil {
		t.Fatal(err)
	}
	w.stop()
	master, err := os.ReadFile(MasterKeyPath(w.dir))
	if err != nil {
		t.Fatal(err)
	}
	yaml, c := onPostgres(t, string(master))
	_, stranger := onPostgres(t, secret.GenerateMasterKey())
	if _, err := restoreInto(t, stranger, path, Restore{AcceptRevived: true}); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("with another master key: %v", err)
	}
	restored, err := restoreInto(t, c, path, Restore{Old: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	if restored.Taken.Revoked != 1 || restored.Aside != "" {
		t.Errorf("it says %+v", restored)
	}
	there := &world{t: t, offset: new(atomic.Int64), dir: filepath.Join(t.TempDir(), "data"), moved: func() {}}
	there.start(yaml)
	opens := func(w *world, key string) int {
		return w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key).Code
	}
	if got, gone := opens(there, key), opens(there, dead); got != http.StatusCreated || gone != http.StatusBadRequest {
		t.Errorf("in PostgreSQL the key is answered %d, the revoked one %d", got, gone)
	}
	if lives(there, token) {
		t.Error("a token of before is accepted")
	}

	// Whoever runs is named, and has to be stopped or accepted.
	late := exchange(there)
	back := there.backUp()
	if _, err := restoreInto(t, c, back, Restore{Replace: true, Old: Current}); !errors.Is(err, ErrServersRun) || !strings.Contains(err.Error(), there.replica) {
		t.Errorf("under a server that runs: %v", err)
	}
	if _, err := restoreInto(t, c, back, Restore{UnderServers: true, Old: Current}); !errors.Is(err, ErrInTheWay) {
		t.Errorf("over a database that nobody spoke of: %v", err)
	}
	if _, err := restoreInto(t, c, back, Restore{UnderServers: true, Replace: true, Old: "postgres://me:secret@localhost/gatehouse"}); err == nil || strings.Contains(err.Error(), "secret@") {
		t.Errorf("with a password for all to see: %v", err)
	}
	replaced, err := restoreInto(t, c, back, Restore{UnderServers: true, Replace: true, Old: Current})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "the server that runs does not notice that it is another database", func() bool { return !lives(there, late) })
	soon(t, "the server that runs goes on with keys of before", func() bool { return lives(there, exchange(there)) })
	there.stop()
	_, third := onPostgres(t, string(master))
	if _, err := restoreInto(t, third, replaced.Aside, Restore{AcceptRevived: true}); err != nil {
		t.Errorf("what was kept aside is no backup: %v", err)
	}

	// And back into a file.
	if _, err := restoreInto(t, w.config(), back, Restore{Replace: true, AcceptRevived: true}); err != nil {
		t.Fatal(err)
	}
	w.start(unlimited)
	if got, gone := opens(w, key), opens(w, dead); got != http.StatusCreated || gone != http.StatusBadRequest {
		t.Errorf("back in the file the key is answered %d, the revoked one %d", got, gone)
	}
	if found, err := w.Registry().Credential(t.Context(), operator, string(kept.ID)); err != nil || found.Account != w.account {
		t.Errorf("the credential is %+v, %v", found, err)
	}
}
