package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/store/storetest"
)

// shared is the configuration of servers that share a database, but for the master key. Their statements get a time that no test
// is about, for the machine may have much else to do.
func shared(url string) string {
	return unlimited + "database: " + url + "\ndatabase_pool: {statement_timeout: 1m}\n"
}

// withKey adds a master key to a configuration.
func withKey(t *testing.T, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte(secret.GenerateMasterKey()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return yaml + "master_key_file: " + path + "\n"
}

func loaded(t *testing.T, yaml, dir string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gatehouse.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{Path: file, Flags: map[string]string{"data_dir": dir}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// With PostgreSQL a server never makes a master key: each would make its own.
func TestNoMasterKeyIsMadeForPostgres(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	url := pgtest.Database(t)
	_, err := Open(t.Context(), loaded(t, shared(url), dir), OpenOptions{Create: true, Serving: true})
	if err == nil || !strings.Contains(err.Error(), "gatehouse master-key generate") {
		t.Errorf("got %v, want the command that prints one", err)
	}
	have, _, err := Schema(t.Context(), loaded(t, shared(url), dir))
	if err != nil || have != 0 {
		t.Errorf("the database got version %d, %v", have, err)
	}
	yaml := withKey(t, shared(url))
	op, err := Open(t.Context(), loaded(t, yaml, dir), OpenOptions{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	wanted := op.Meta.MasterKey
	if err := op.Close(); err != nil {
		t.Error(err)
	}
	for _, create := range []bool{false, true} {
		_, err = Open(t.Context(), loaded(t, shared(url), dir), OpenOptions{Create: create})
		if err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("got %v, want the key's id, %s", err, wanted)
		}
	}
	if _, err := Open(t.Context(), loaded(t, withKey(t, shared(url)), dir), OpenOptions{}); err == nil || !strings.Contains(err.Error(), wanted) {
		t.Errorf("with another key: got %v, want the id of the right one", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a data directory was made: %v", err)
	}
}

// Of servers that start at once on an empty database one sets it up, and all go on with its keys.
func TestServersStartAtOnce(t *testing.T) {
	yaml := withKey(t, shared(pgtest.Database(t)))
	var mu sync.Mutex
	var all []*Opened
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			op, err := Open(context.Background(), loaded(t, yaml, t.TempDir()), OpenOptions{Create: true, Serving: true})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, op)
		})
	}
	wg.Wait()
	born := 0
	for _, op := range all {
		if op.Born {
			born++
		}
		if op.Meta.Incarnation != all[0].Meta.Incarnation || fmt.Sprint(op.Rings.Rows()) != fmt.Sprint(all[0].Rings.Rows()) {
			t.Error("two servers have different keys")
		}
		if err := op.Close(); err != nil {
			t.Error(err)
		}
	}
	if born != 1 {
		t.Errorf("%d made the database", born)
	}
}

// What one server does holds at another when it has been answered; a command beside them waits for both.
func TestServersShareADatabase(t *testing.T) {
	yaml := withKey(t, shared(storetest.MigratedPostgres(t)))
	one, two := newWorld(t, yaml), newWorld(t, yaml)
	_, username, password := one.issue(auth.Login)
	first, code := one.login(username, password)
	if code != http.StatusOK || !one.works(first.Access) || !two.works(first.Access) {
		t.Fatalf("logged in with %d, and it does not work everywhere", code)
	}
	second, code := two.refresh(first.Refresh, "one-key-for-both-servers")
	again, code2 := one.refresh(first.Refresh, "one-key-for-both-servers")
	if code != http.StatusOK || code2 != http.StatusOK || second != again {
		t.Errorf("refreshed at two servers under one key: got %d and %d, equal %v", code, code2, second == again)
	}
	if code := two.logout(second.Access); code != http.StatusOK {
		t.Errorf("logout: got %d", code)
	}
	for _, w := range []*world{one, two} {
		if w.works(first.Access) || w.works(second.Access) {
			t.Error("a token of before the logout works")
		}
	}
	third, code := one.login(username, password)
	if code != http.StatusOK || !one.works(third.Access) || !two.works(third.Access) {
		t.Errorf("a login afterwards: got %d, or it does not work everywhere", code)
	}

	c := loaded(t, yaml, t.TempDir())
	command, err := Open(t.Context(), c, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer command.Close()
	done, err := command.Registry.SuspendAccount(t.Context(), operator, one.account, false)
	if err != nil || !done.Confirmed {
		t.Errorf("suspend: got %+v and %v", done, err)
	}
	if one.works(third.Access) || two.works(third.Access) {
		t.Error("a suspended account's token works")
	}
	if said := one.log.String(); !strings.Contains(said, "fsync is off in PostgreSQL") || strings.Contains(said, c.Database.Reveal()) {
		t.Errorf("the log does not say how safe the database is, or says its password:\n%s", said)
	}
}

// Text that PostgreSQL does not hold never comes as far: it is refused where it is parsed, or told in other signs.
func TestTextThatPostgresDoesNotHold(t *testing.T) {
	w := newWorld(t, withKey(t, shared(storetest.MigratedPostgres(t))))
	ctx := t.Context()
	_, username, password := w.issue(auth.Login)
	for _, odd := range []string{"\xff\xfe", "a\x00b", "\xc3", strings.Repeat("é", 5000)} {
		a := w.ask("POST", "/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, username, password), "User-Agent", odd)
		if a.Code != http.StatusOK {
			t.Errorf("a login by user agent %.10q: got %d", odd, a.Code)
		}
		for _, body := range []string{
			fmt.Sprintf(`{"username":"%s","password":"x"}`, odd), fmt.Sprintf(`{"username":"%s","password":"%s"}`, username, odd),
			`{"username":"u_\u0000","password":"x"}`, fmt.Sprintf(`{"refresh_token":"%s"}`, odd),
		} {
			for _, path := range []string{"/auth/login", "/auth/refresh"} {
				if a := w.ask("POST", path, body, "User-Agent", odd, "Idempotency-Key", odd, "X-Forwarded-For", odd); a.Code >= 500 || a.Code < 400 {
					t.Errorf("%s with %.40q: got %d", path, body, a.Code)
				}
			}
		}
		for _, header := range [][2]string{{"X-LIQUID-API-KEY", odd}, {"Authorization", "Basic " + odd}, {"Authorization", "Bearer " + odd}} {
			for _, path := range []string{"/authentication", "/api/orders/authentication", "/auth/logout"} {
				if a := w.ask("POST", path, "", header[0], header[1], "User-Agent", odd); a.Code >= 500 {
					t.Errorf("%s with %.20q: got %d", path, header, a.Code)
				}
			}
		}
		if utf8.ValidString(odd) && !strings.Contains(odd, "\x00") {
			continue
		}
		// What operators write is theirs to mend.
		for what, do := range map[string]func() error{
			"a name":      func() error { _, err := w.Registry().CreateAccount(ctx, operator, odd, ""); return err },
			"a reference": func() error { _, err := w.Registry().CreateAccount(ctx, operator, "Acme", odd); return err },
			"a credential": func() error {
				_, err := w.Registry().CreateCredential(ctx, operator, registry.NewCredential{Account: w.account, Kind: auth.Login, Name: odd})
				return err
			},
			"a scope": func() error {
				_, err := w.Registry().CreateCredential(ctx, operator, registry.NewCredential{Account: w.account, Kind: auth.Login, Scopes: []string{odd}})
				return err
			},
			"a note": func() error {
				_, err := w.Registry().AllowIP(ctx, operator, w.account, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, odd, time.Time{})
				return err
			},
			"an account to find": func() error { _, err := w.Registry().Account(ctx, operator, "ref:"+odd); return err },
		} {
			if err := do(); err == nil || auth.AsError(err).Kind == auth.Internal || auth.AsError(err).Kind == auth.Unavailable {
				t.Errorf("%s %q: got %v", what, odd, err)
			}
		}
	}
	w.stop() // which writes the refusals and the usage
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("the log has %s", line)
		}
	}
}
