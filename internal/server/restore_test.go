package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/store"
	"github.com/gatehouse/gatehouse/verify"
)

// backUp writes a backup of the running server.
func (w *world) backUp() (path string) {
	w.t.Helper()
	path = filepath.Join(w.t.TempDir(), "now.backup")
	if _, err := w.Opened().BackUpTo(w.t.Context(), path, "test", nil); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// restore stops the server and puts a backup back.
func (w *world) restore(path string, o Restore) (Restored, error) {
	w.t.Helper()
	w.stop()
	return restoreInto(w.t, w.config(), path, o)
}

func restoreInto(t testing.TB, c *config.Config, path string, o Restore) (Restored, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o.From, o.Actor = f, operator
	return RestoreDatabase(t.Context(), c, o)
}

// steady is an address that leads to the server, whichever port it has after a new start.
func (w *world) steady() string {
	var to atomic.Pointer[url.URL]
	find := func() *url.URL {
		u, err := url.Parse(w.url())
		if err != nil {
			w.t.Error(err)
		}
		return u
	}
	to.Store(find())
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to.Load())
		r.Out.Host = r.In.Host
	}})
	w.t.Cleanup(front.Close)
	moved := w.moved
	w.moved = func() { moved(); to.Store(find()) }
	return front.URL
}

// Whatever a token is, and whether it is from before the backup or after it: once the backup is put back nothing from before
// is accepted, by the server or by a verifier elsewhere that ran all the while; what is got afterwards is.
func TestNothingOfBeforeLivesAfterARestore(t *testing.T) {
	w := newWorld(t, unlimited)
	elsewhere, _ := w.elsewhere(w.steady())
	_, username, password := w.issue(auth.Login)
	_, key, _ := w.issue(auth.APIKey)
	leaked, leakedKey, _ := w.issue(auth.APIKey)
	tokens, _ := w.exchanged()
	early, _ := w.login(username, password)
	out, _ := w.login(username, password)
	tokens = append(tokens, early.Access, out.Access)
	path := w.backUp()

	late, _ := w.login(username, password)
	more, _ := w.exchanged()
	tokens = append(append(tokens, more...), late.Access)
	if status := w.logout(out.Access); status != http.StatusOK {
		t.Fatalf("the logout is answered %d", status)
	}
	if _, err := w.Registry().RevokeCredential(t.Context(), operator, leaked.ID); err != nil {
		t.Fatal(err)
	}
	other, err := w.Registry().CreateAccount(t.Context(), operator, "Made since", "")
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Want{Types: verify.Types}
	refused := func() bool {
		for _, token := range tokens {
			if _, err := elsewhere.Verify(token, verify.Types); err == nil {
				return false
			}
		}
		return true
	}
	if _, err := elsewhere.Verify(tokens[0], verify.Types); err != nil {
		t.Fatalf("before, the verifier elsewhere says of a good token: %v", err)
	}
	var before struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(w.Opened().Rings.JWKS(), &before); err != nil {
		t.Fatal(err)
	}
	incarnation := w.Opened().Meta.Incarnation

	restored, err := w.restore(path, Restore{Replace: true, AcceptRevived: true})
	if err != nil {
		t.Fatal(err)
	}
	w.start(unlimited)
	if w.Opened().Meta.Incarnation == incarnation || w.Opened().Meta.Incarnation != restored.Incarnation {
		t.Errorf("the incarnation was %s and is %s", incarnation, w.Opened().Meta.Incarnation)
	}
	for _, k := range before.Keys {
		if strings.Contains(string(w.Opened().Rings.JWKS()), k.Kid) {
			t.Errorf("key %s of before is still published", k.Kid)
		}
	}
	for i, token := range tokens {
		if _, _, err := w.Gate().Verify(t.Context(), token, auth.Caller{}, want); err == nil {
			t.Errorf("token %d of before is accepted", i)
		}
	}
	for i, token := range []string{early.Refresh, out.Refresh, late.Refresh} {
		if _, status := w.refresh(token, ""); status != http.StatusUnauthorized {
			t.Errorf("refresh token %d of before is answered %d", i, status)
		}
	}
	soon(t, "the verifier elsewhere goes on accepting tokens of before", refused)

	fresh, status := w.login(username, password)
	if status != http.StatusOK {
		t.Fatalf("a login afterwards is answered %d", status)
	}
	if _, _, err := w.Gate().Verify(t.Context(), fresh.Access, auth.Caller{}, want); err != nil {
		t.Errorf("a token of afterwards: %v", err)
	}
	soon(t, "the verifier elsewhere refuses a token of afterwards", func() bool {
		_, err := elsewhere.Verify(fresh.Access, verify.Types)
		return err == nil
	})
	for _, k := range []string{key, leakedKey} { // the second was revoked since, which was accepted
		if a := w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", k); a.Code != http.StatusCreated {
			t.Errorf("a key of the backup is answered %d", a.Code)
		}
	}
	next, err := w.Registry().CreateAccount(t.Context(), operator, "Next", "")
	if err != nil || next.ID <= other.ID {
		t.Errorf("the next account is %d, %v; the last one was %d", next.ID, err, other.ID)
	}
}

func TestARestoreIsRefused(t *testing.T) {
	w := newWorld(t, unlimited)
	w.issue(auth.APIKey)
	path := w.backUp()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := w.config()
	if _, err := restoreInto(t, c, path, Restore{Replace: true, AcceptRevived: true}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("while a server runs: %v", err)
	}
	w.stop()
	state := func() string {
		db, err := store.Open(t.Context(), store.Config{Path: DatabasePath(w.dir)})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		m, err := db.Meta(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return m.Incarnation
	}
	before := state()
	if _, err := restoreInto(t, c, path, Restore{AcceptRevived: true}); !errors.Is(err, ErrInTheWay) {
		t.Errorf("over a database that nobody spoke of: %v", err)
	}
	if _, err := restoreInto(t, c, path, Restore{Replace: true}); !errors.Is(err, ErrRevived) {
		t.Errorf("without a word about what was revoked: %v", err)
	}
	if _, err := RestoreDatabase(t.Context(), c, Restore{From: strings.NewReader(string(text[:len(text)-100])), Replace: true, AcceptRevived: true, Actor: operator}); err == nil {
		t.Error("a file that was cut is restored")
	}
	if _, err := RestoreDatabase(t.Context(), c, Restore{From: strings.NewReader(string(text)), Replace: true, AcceptRevived: true}); err == nil {
		t.Error("somebody who is no operator restores")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := RestoreDatabase(ctx, c, Restore{From: f, Replace: true, AcceptRevived: true, Actor: operator}); err == nil {
		t.Error("a restore that was called off goes on")
	}
	other, err := os.ReadFile(MasterKeyPath(newWorld(t, "").dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(MasterKeyPath(w.dir), other, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restoreInto(t, c, path, Restore{Replace: true, AcceptRevived: true}); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("with another master key: %v", err)
	}
	if after := state(); after != before {
		t.Errorf("the database was %s and is %s", before, after)
	}
	left, err := filepath.Glob(filepath.Join(w.dir, "restoring-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("there lies %v, %v", left, err)
	}
}

// A backup is made while logins and refreshes go on, and holds one moment.
func TestABackupOfARunningServer(t *testing.T) {
	w := newWorld(t, unlimited)
	soon(t, "the first act has not made the server add one of its own", func() bool {
		made, err := w.Registry().Audit(t.Context(), operator, auth.AuditQuery{Action: "audit-key.create"})
		return err == nil && len(made) == 1
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := w.Registry().CreateAccount(context.WithoutCancel(ctx), operator, "Busy", ""); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	var paths []string
	for range 5 {
		paths = append(paths, w.backUp())
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.stop()
	began := time.Now()
	for _, path := range paths {
		c := *w.config()
		r, err := restoreInto(t, &c, path, Restore{Replace: true, AcceptRevived: true, Now: func() time.Time { began = began.Add(time.Second); return began }})
		if err != nil {
			t.Fatal(err)
		}
		// Each account is made in one transaction with its entry in the audit trail; the key has one too.
		if accounts, acts := r.Header.RowsOf("accounts"), r.Header.RowsOf("audit"); accounts+1 != acts {
			t.Errorf("%d accounts and %d acts are not of one moment", accounts, acts)
		}
	}
}
