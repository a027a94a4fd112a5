package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

// A table that is made, or given a column, has to be thought of in backups.
func TestEveryTableIsCopiedOrLeft(t *testing.T) {
	db := newDB(t, "")
	left := leftTables()
	copied := make(map[string][]backup.Column)
	for _, c := range copiedTables() {
		copied[c.Name] = c.Columns
	}
	types := map[string]backup.Type{"INTEGER": backup.Int, "TEXT": backup.Text, "BLOB": backup.Bytes}
	there := make(map[string]bool)
	err := db.read(t.Context(), func(q querier) error {
		return q.all(`SELECT m.name, c.name, c.type FROM sqlite_master m JOIN pragma_table_info(m.name) c
			WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' ORDER BY m.name, c.cid`, nil, func(scan func(...any) error) error {
			var table, column, kind string
			if err := scan(&table, &column, &kind); err != nil {
				return err
			}
			there[table] = true
			columns, isCopied := copied[table]
			if _, isLeft := left[table]; isCopied == isLeft {
				t.Errorf("table %s is either copied into a backup or left out of it: say so in export.go", table)
			}
			if _, isLeft := leftColumns()[table+"."+column]; isCopied && !isLeft && !slices.Contains(columns, backup.Column{Name: column, Type: types[kind]}) {
				t.Errorf("column %s %s of table %s is not copied into a backup", column, kind, table)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for table := range copied {
		if !there[table] {
			t.Errorf("there is no table %s to copy", table)
		}
	}
	for table := range left {
		if !there[table] {
			t.Errorf("there is no table %s to leave out", table)
		}
	}
}

// An exported is what went into a backup.
type exported struct {
	backup.Header
	rows map[string][][]any
}

func export(t *testing.T, db *DB) exported {
	t.Helper()
	e := exported{rows: make(map[string][][]any)}
	var of []string
	err := db.Export(t.Context(), func(h backup.Header) error {
		e.Header = h
		for _, table := range h.Tables {
			of = append(of, slices.Repeat([]string{table.Name}, int(table.Rows))...)
		}
		return nil
	}, func(row []any) error {
		e.rows[of[0]] = append(e.rows[of[0]], slices.Clone(row))
		of = of[1:]
		return nil
	})
	if err != nil || len(of) != 0 {
		t.Fatalf("export: %v, %d rows are missing", err, len(of))
	}
	return e
}

func stage(t *testing.T, dir string, e exported) *Staging {
	t.Helper()
	s, err := NewStaging(t.Context(), dir, e.Schema, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
	})
	for _, table := range e.Tables {
		for _, row := range e.rows[table.Name] {
			if err := s.Load(&table, row); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

var rebirth = Birth{
	Incarnation: "another", SealCheck: []byte("other check"), MasterKey: "mk_other",
	Keys: []auth.KeyRow{{ID: "fresh", Ring: auth.SigningRing, Algorithm: "EdDSA", Sealed: []byte("s"), MasterKey: "mk_other"}},
}

func reseal(auth.Sealed) ([]byte, error) { return []byte("sealed anew"), nil }

// lived is a database in which something has happened to each table.
func lived(t *testing.T) *DB {
	t.Helper()
	ctx := t.Context()
	db := newDB(t, "")
	for _, k := range []auth.KeyRow{{ID: "p", Ring: auth.PepperRing}, {ID: "s", Ring: auth.SigningRing}, {ID: "r", Ring: auth.RefreshRing}} {
		k.Algorithm, k.Sealed, k.MasterKey = "HS256", []byte("sealed"), "mk_1"
		if err := db.AddKey(ctx, k, "", auth.Act{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		a, err := db.CreateAccount(ctx, "Acme \"ü\" & <b>", fmt.Sprintf("ref-%d", i), auth.Act{Action: "account.create"})
		if err != nil {
			t.Fatal(err)
		}
		c := auth.Credential{
			ID: auth.CredentialID(fmt.Sprintf("c%d", i)), Account: a.ID, Kind: auth.Login, Scope: "orders:read",
			Secrets: []auth.Secret{{Number: 1, Digest: []byte{0, 0xff}, Pepper: "p", CreatedAt: time.Now()}},
		}
		if err := db.CreateCredential(ctx, c, auth.Act{Action: "credential.create"}); err != nil {
			t.Fatal(err)
		}
		login := auth.NewSession{ID: auth.SessionID(fmt.Sprintf("s%d", i)), Credential: c.ID, SecretDigest: []byte{0, 0xff}, Expires: db.Now().Add(time.Hour), AccessExpires: db.Now().Add(time.Hour)}
		if _, err := db.StartSession(ctx, login); err != nil {
			t.Fatal(err)
		}
		if err := db.WriteUsage(ctx, []auth.UsageRow{{Account: a.ID, Hour: time.UnixMilli(0), Credential: c.ID, What: "exchange", Count: 3}},
			[]auth.SecretUse{{Credential: c.ID, Secret: 1, Use: auth.Use{At: db.Now(), UserAgent: "curl", Count: 3}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.RevokeSession(ctx, "s1", auth.FirstAccount+1, db.Now().Add(time.Hour), "test", auth.Act{}); err != nil {
		t.Fatal(err)
	}
	inhabited(t, db)
	return db
}

// inhabited gives a database an operator with every way to sign in, one who was invited, and a token.
func inhabited(t *testing.T, db *DB) {
	t.Helper()
	ctx, now := t.Context(), db.Now()
	meta, err := db.Meta(ctx)
	if err != nil {
		t.Fatal(err)
	}
	session := func(id auth.DashboardSessionID) auth.DashboardSession {
		return auth.DashboardSession{ID: id, Digest: []byte(id), Person: "p_jane", Stage: auth.StageFull, CreatedAt: now, IdleEnds: now.Add(time.Hour), EndsAt: now.Add(time.Hour)}
	}
	link := auth.Invitation{Person: "p_jane", Digest: []byte("link"), ExpiresAt: now.Add(time.Hour)}
	joe := auth.Invitation{Person: "p_joe", Digest: []byte("joe's"), ExpiresAt: now.Add(time.Hour)}
	for _, err := range []error{
		db.InvitePerson(ctx, auth.Person{ID: "p_jane", Email: "jane@example.com", Role: auth.RoleOwner}, link, auth.Act{}),
		db.InvitePerson(ctx, auth.Person{ID: "p_joe", Email: "joe@example.com", Role: auth.RoleViewer}, joe, auth.Act{}),
		second(db.Join(ctx, link.Digest, auth.Joining{Password: "hash"}, session("ds_1"), auth.Act{})),
		db.EnrollTOTP(ctx, []byte("ds_1"), session("ds_2"), auth.Enrolment{
			TOTP: auth.Sealed{Text: []byte("sealed"), MasterKey: meta.MasterKey}, Step: 7, Codes: []auth.RecoveryCode{{Digest: []byte("code"), Pepper: "p"}},
		}, auth.Act{}),
		db.AddPasskey(ctx, "p_jane", auth.Passkey{ID: []byte("key"), PublicKey: []byte("public")}, auth.Act{}),
		db.AddOpenID(ctx, "p_jane", auth.OpenID{Issuer: "i", Subject: "s"}, auth.Act{}),
		db.CreateOperatorToken(ctx, auth.OperatorToken{ID: "ot_1", Name: "ci", Digest: []byte("d"), Pepper: "p", CreatedAt: now}, auth.Act{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRestored(t *testing.T) {
	before := export(t, lived(t))
	for table, rows := range before.rows {
		if len(rows) == 0 && table != "allowlist" {
			t.Errorf("the test has no row of %s", table)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "gatehouse.db")
	s := stage(t, dir, before)
	if c, err := s.Census(); err != nil || c != (Census{Accounts: 2, Credentials: 2}) {
		t.Errorf("it counts %+v, %v", c, err)
	}
	if err := s.BeginAnew(rebirth, reseal, auth.Act{Actor: "test", Action: "database.restore"}); err != nil {
		t.Fatal(err)
	}
	if err := s.TakePlace(path, filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	db := reopen(t, path)
	after := export(t, db)
	for _, table := range []string{
		"accounts", "credentials", "usage", "secret_uses", "log_head", "recovery_codes", "passkeys", "openids", "operator_tokens",
	} {
		if !reflect.DeepEqual(before.rows[table], after.rows[table]) {
			t.Errorf("%s: before %v, after %v", table, before.rows[table], after.rows[table])
		}
	}
	if n := len(before.rows["audit"]); len(after.rows["audit"]) != n+1 || !reflect.DeepEqual(after.rows["audit"][:n], before.rows["audit"]) {
		t.Errorf("audit: before %v, after %v", before.rows["audit"], after.rows["audit"])
	}
	if after.Incarnation != "another" || after.MasterKey != "mk_other" || after.Position != before.Position {
		t.Errorf("before %+v, after %+v", before.Header, after.Header)
	}
	keys, err := db.Keys(t.Context())
	if err != nil || len(keys) != 2 || keys[0].ID != "p" || string(keys[0].Sealed) != "sealed anew" || keys[1].ID != "fresh" {
		t.Errorf("the keys are %+v, %v", keys, err)
	}
	p, proofs, err := db.SigningIn(t.Context(), auth.Operator, "jane@example.com")
	if err != nil || !p.MaySignIn() || proofs.Password != "hash" || proofs.TOTPStep != 7 || proofs.TOTP.MasterKey != "mk_other" || string(proofs.TOTP.Text) != "sealed anew" {
		t.Errorf("the operator is %+v, %+v, %v", p, proofs, err)
	}
	if _, _, err := db.DashboardSession(t.Context(), []byte("ds_2")); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("her session: %v", err)
	}
	if _, _, err := db.Invited(t.Context(), []byte("joe's")); !errors.Is(err, auth.ErrBadLink) {
		t.Errorf("a link of before: %v", err)
	}
	sessions, err := db.Sessions(t.Context(), auth.SessionQuery{Account: auth.FirstAccount})
	if err != nil || len(sessions) != 0 {
		t.Errorf("there are sessions: %v, %v", sessions, err)
	}
	a, err := db.CreateAccount(t.Context(), "Next", "", auth.Act{})
	if want := auth.FirstAccount + 2 + skippedAccounts; err != nil || a.ID != want {
		t.Errorf("the next account is %d, %v; want %d", a.ID, err, want)
	}
	if entries, _ := os.ReadDir(dir); slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "restoring") || e.Name() == "aside" }) {
		t.Errorf("there lies %v", entries)
	}
}

func reopen(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Check(context.Background()); err != nil {
			t.Error(err)
		}
		db.Close()
	})
	return db
}

func TestRowsThatDoNotBelongTogether(t *testing.T) {
	for name, spoil := range map[string]func(e exported){
		"a credential of no account": func(e exported) { e.rows["accounts"] = e.rows["accounts"][:1] },
		"a digest without its key":   func(e exported) { e.rows["keys"] = nil },
		"no word of what it was":     func(e exported) { e.rows["meta"] = nil },
	} {
		e := export(t, lived(t))
		spoil(e)
		if err := stage(t, t.TempDir(), e).BeginAnew(rebirth, reseal, auth.Act{}); err == nil {
			t.Errorf("%s is taken for a database", name)
		}
	}
	e := export(t, lived(t))
	s := stage(t, t.TempDir(), e)
	for _, table := range []backup.Table{
		{Name: "strangers", Columns: []backup.Column{{Name: "id", Type: backup.Int}}},
		{Name: "accounts", Columns: []backup.Column{{Name: "strange", Type: backup.Int}}},
	} {
		if err := s.Load(&table, []any{int64(1)}); err == nil {
			t.Errorf("a row of %+v was loaded", table)
		}
	}
}

func TestANewerBackup(t *testing.T) {
	if _, err := NewStaging(t.Context(), t.TempDir(), 1<<20, nil); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v", err)
	}
}

// One database takes the place of another that was in use until a moment ago, and of one that is damaged.
func TestTakePlace(t *testing.T) {
	e := export(t, lived(t))
	dir := t.TempDir()
	path := filepath.Join(dir, "gatehouse.db")
	take := func(aside string) error {
		t.Helper()
		s := stage(t, dir, e)
		if err := s.BeginAnew(rebirth, reseal, auth.Act{}); err != nil {
			t.Fatal(err)
		}
		return s.TakePlace(path, filepath.Join(dir, aside))
	}
	old := newDB(t, path)
	if _, err := old.CreateAccount(t.Context(), "Of before", "", auth.Act{}); err != nil {
		t.Fatal(err)
	}
	if err := take("first"); !errors.Is(err, ErrOpenElsewhere) {
		t.Errorf("while somebody has it open: %v", err)
	}
	if accounts, err := old.Accounts(t.Context(), auth.AccountQuery{}); err != nil || len(accounts) != 1 {
		t.Errorf("then it holds %v, %v", accounts, err)
	}
	old.Close()
	if err := take("first"); err != nil {
		t.Fatal(err)
	}
	if accounts, err := reopen(t, filepath.Join(dir, "first")).Accounts(t.Context(), auth.AccountQuery{}); err != nil || len(accounts) != 1 || accounts[0].Name != "Of before" {
		t.Errorf("what was kept aside holds %v, %v", accounts, err)
	}
	fresh, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if accounts, err := fresh.Accounts(t.Context(), auth.AccountQuery{}); err != nil || len(accounts) != 2 {
		t.Errorf("in its place there are %v, %v", accounts, err)
	}
	fresh.Close()
	if err := os.WriteFile(path, []byte("SQLite format 3\x00, and nothing that makes sense behind it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"-wal", []byte("of another file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := take("second"); err != nil {
		t.Fatal(err)
	}
	if accounts, err := reopen(t, path).Accounts(t.Context(), auth.AccountQuery{}); err != nil || len(accounts) != 2 {
		t.Errorf("in the place of a damaged one there are %v, %v", accounts, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "second")); err != nil || !strings.HasPrefix(string(text), "SQLite format 3\x00, and nothing") {
		t.Errorf("the damaged one became %q, %v", text, err)
	}
}

// Killed between the two moves, a restore leaves nothing that could be taken for a database, and can be begun again.
func TestInterrupted(t *testing.T) {
	e := export(t, lived(t))
	dir := t.TempDir()
	path := filepath.Join(dir, "gatehouse.db")
	newDB(t, path).Close()
	if err := os.Rename(path, filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(interruptedMark(path), []byte(filepath.Join(dir, "aside")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "restoring-1.db"), []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, create := range []bool{false, true} {
		_, err := Open(t.Context(), Config{Path: path, Create: create})
		if !errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), filepath.Join(dir, "aside")) {
			t.Errorf("opened with create %v: %v", create, err)
		}
	}
	s := stage(t, dir, e)
	if err := s.BeginAnew(rebirth, reseal, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	if err := s.TakePlace(path, filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	reopen(t, path)
	if _, err := os.Stat(filepath.Join(dir, "restoring-1.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the first restore left is there still: %v", err)
	}
}

// What was taken away since is taken away in what is restored; what was given since is not given.
func TestStricter(t *testing.T) {
	ctx := t.Context()
	db := newDB(t, "")
	if err := db.AddKey(ctx, auth.KeyRow{ID: "p", Ring: auth.PepperRing, Algorithm: "HS256", Sealed: []byte("s"), MasterKey: "mk"}, "", auth.Act{}); err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	account := func(name string) auth.AccountID {
		t.Helper()
		a, err := db.CreateAccount(ctx, name, name, auth.Act{})
		must(a, err)
		return a.ID
	}
	of := account("credentials")
	credential := func(name string) auth.CredentialID {
		t.Helper()
		id := auth.CredentialID(name)
		must(nil, db.CreateCredential(ctx, auth.Credential{
			ID: id, Account: of, Kind: auth.APIKey, Name: name, Scope: "a b c",
			Secrets: []auth.Secret{{Number: 1, Digest: []byte("first"), Pepper: "p", CreatedAt: db.Now()}},
		}, auth.Act{}))
		return id
	}
	prefix := func(s string) auth.AllowEntry { return auth.AllowEntry{Prefix: netip.MustParsePrefix(s)} }
	allow := func(id auth.AccountID, prefixes ...string) {
		t.Helper()
		var entries []auth.AllowEntry
		for _, p := range prefixes {
			entries = append(entries, prefix(p))
		}
		must(db.AllowIP(ctx, id, entries, auth.Act{}))
	}
	suspended, resumed, deleted := account("suspended"), account("resumed"), account("deleted")
	limited, loosened := account("limited"), account("loosened")
	closed, changed, opened := account("closed"), account("changed"), account("opened")
	revoked, narrowed, widened := credential("revoked"), credential("narrowed"), credential("widened")
	expiring, rotated, finished, undone := credential("expiring"), credential("rotated"), credential("finished"), credential("undone")
	untouched := credential("untouched")
	hour, day := db.Now().Add(time.Hour), db.Now().Add(24*time.Hour)
	must(db.SuspendAccount(ctx, resumed, false, auth.Act{}))
	must(db.LimitAccount(ctx, loosened, auth.Rate{Count: 10, Per: time.Second}, auth.Act{}))
	allow(changed, "192.0.2.0/24", "198.51.100.0/24")
	allow(opened, "192.0.2.0/24")
	rotate := func(id auth.CredentialID) {
		t.Helper()
		_, _, err := db.RotateSecret(ctx, id, []byte("second"), "p", day, false, auth.Act{})
		must(nil, err)
	}
	rotate(finished)
	rotate(undone)
	e := export(t, db)

	must(db.SuspendAccount(ctx, suspended, false, auth.Act{}))
	must(db.ResumeAccount(ctx, resumed, auth.Act{}))
	must(db.DeleteAccount(ctx, deleted, auth.Act{}))
	must(db.LimitAccount(ctx, limited, auth.Rate{Count: 5, Per: time.Minute, Burst: 2}, auth.Act{}))
	must(db.LimitAccount(ctx, loosened, auth.Rate{Count: 100, Per: time.Second}, auth.Act{}))
	allow(closed, "203.0.113.0/24")
	allow(changed, "203.0.113.0/24")
	must(db.RemoveIP(ctx, changed, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, false, auth.Act{}))
	must(db.RemoveIP(ctx, opened, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, true, auth.Act{}))
	must(db.RevokeCredential(ctx, revoked, auth.Act{}))
	fewer, more := "a c", "a b c d"
	must(db.UpdateCredential(ctx, narrowed, auth.CredentialUpdate{Scope: &fewer}, auth.Act{}))
	must(db.UpdateCredential(ctx, widened, auth.CredentialUpdate{Scope: &more}, auth.Act{}))
	must(db.UpdateCredential(ctx, expiring, auth.CredentialUpdate{ExpiresAt: &hour}, auth.Act{}))
	rotate(rotated)
	must(db.FinishRotation(ctx, finished, auth.Act{}))
	must(db.UndoRotation(ctx, undone, auth.Act{}))
	account("since")
	credential("since")

	dir := t.TempDir()
	s := stage(t, dir, e)
	taken, err := s.Stricter(ctx, db)
	want := Taken{Deleted: 1, Suspended: 1, Limited: 1, Allowlists: 2, Revoked: 1, Narrowed: 2, Rotated: 3, AccountsGone: 1, CredentialsGone: 1}
	if err != nil || taken != want {
		t.Fatalf("got %+v, %v; want %+v", taken, err, want)
	}
	must(nil, s.BeginAnew(rebirth, reseal, auth.Act{}))
	path := filepath.Join(dir, "gatehouse.db")
	must(nil, s.TakePlace(path, filepath.Join(dir, "aside")))
	now := reopen(t, path)
	is := func(id auth.AccountID) auth.Account {
		t.Helper()
		a, err := now.Account(ctx, id)
		must(a, err)
		return a
	}
	if !is(suspended).Suspended() || !is(resumed).Suspended() {
		t.Error("an account that is suspended in either is not")
	}
	if a, err := now.Account(ctx, deleted); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("a deleted account is back: %+v", a)
	}
	if a := is(limited); a.Requests.Count != 5 || a.Requests.Burst != 2 {
		t.Errorf("its limit is %v", a.Requests)
	}
	if a := is(loosened); a.Requests.Count != 10 {
		t.Errorf("a limit that was loosened since is %v", a.Requests)
	}
	for id, want := range map[auth.AccountID]string{closed: "[203.0.113.0/24]", changed: "[198.51.100.0/24 203.0.113.0/24]", opened: "[192.0.2.0/24]"} {
		var got []string
		for _, entry := range is(id).Allowlist {
			got = append(got, entry.Prefix.String())
		}
		slices.Sort(got)
		if fmt.Sprint(got) != want {
			t.Errorf("account %d lets in %v, want %s", id, got, want)
		}
	}
	holds := func(id auth.CredentialID) auth.Credential {
		t.Helper()
		c, err := now.Credential(ctx, id)
		must(c, err)
		return c
	}
	there := func(id auth.CredentialID) auth.Credential {
		t.Helper()
		c, err := db.Credential(ctx, id)
		must(c, err)
		return c
	}
	if holds(revoked).RevokedAt.IsZero() {
		t.Error("a revoked credential lives")
	}
	if got := holds(narrowed).Scope; got != fewer {
		t.Errorf("the narrowed one has the scopes %q", got)
	}
	if got := holds(widened).Scope; got != "a b c" {
		t.Errorf("the one that was widened since has the scopes %q", got)
	}
	if got := holds(expiring).ExpiresAt; !got.Equal(milli(hour)) {
		t.Errorf("it expires at %v", got)
	}
	for _, id := range []auth.CredentialID{rotated, finished, undone, untouched} {
		if got, want := holds(id).Secrets, there(id).Secrets; !reflect.DeepEqual(got, want) {
			t.Errorf("the secrets of %s are %+v, want %+v", id, got, want)
		}
	}
	next, err := now.CreateAccount(ctx, "Next", "", auth.Act{})
	if must(next, err); next.ID <= opened+skippedAccounts {
		t.Errorf("the next account is %d", next.ID)
	}
	if got, want := len(export(t, now).rows["audit"]), len(export(t, db).rows["audit"])+2; got != want {
		t.Errorf("the audit trail has %d entries, want %d", got, want)
	}
}

func TestStricterThanAStranger(t *testing.T) {
	e := export(t, lived(t))
	stranger := newDB(t, "")
	if err := stranger.AddKey(t.Context(), auth.KeyRow{ID: "theirs", Ring: auth.PepperRing, Algorithm: "HS256", Sealed: []byte("s"), MasterKey: "mk"}, "", auth.Act{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stage(t, t.TempDir(), e).Stricter(t.Context(), stranger); !errors.Is(err, ErrOther) {
		t.Errorf("held against another database: %v", err)
	}
	of := lived(t)
	earlier := filepath.Join(t.TempDir(), "earlier.db")
	if err := of.engine.(*lite).copyTo(t.Context(), earlier); err != nil {
		t.Fatal(err)
	}
	if _, err := of.CreateAccount(t.Context(), "Later", "", auth.Act{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stage(t, t.TempDir(), export(t, of)).Stricter(t.Context(), reopen(t, earlier)); !errors.Is(err, ErrOther) {
		t.Errorf("held against what was before it: %v", err)
	}
}
