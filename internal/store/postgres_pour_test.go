package store

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// emptyPostgres opens a new, migrated database.
func emptyPostgres(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{URL: migratedServer.Database(t), Pool: Pool{StatementTimeout: ample}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// A database goes from one kind to the other, and back, and stays what it was.
func TestPour(t *testing.T) {
	ctx := t.Context()
	of := lived(t)
	if err := of.WriteUsage(ctx, nil, []auth.SecretUse{{Credential: "c0", Secret: 1, Use: auth.Use{At: of.Now().Add(time.Second), UserAgent: "curl\x00\xff", Count: 1}}}); err != nil {
		t.Fatal(err)
	}
	before := export(t, of)
	s := stage(t, t.TempDir(), before)
	if err := s.BeginAnew(rebirth, reseal, auth.Act{Action: "database.restore"}); err != nil {
		t.Fatal(err)
	}
	db := emptyPostgres(t)
	rows := 0
	if err := s.Pour(ctx, db, false, func() { rows++ }); err != nil {
		t.Fatal(err)
	}
	poured := export(t, db)
	if int64(rows) != poured.Rows()+1 { // the key that signs is in no backup
		t.Errorf("%d rows were poured, and %d are there", rows, poured.Rows())
	}
	if poured.Engine != "PostgreSQL" || poured.Incarnation != "another" || poured.Position != before.Position {
		t.Errorf("the header is %+v", poured.Header)
	}
	for _, table := range []string{"accounts", "credentials", "usage", "secret_uses", "recovery_codes", "passkeys", "openids", "operator_tokens"} {
		if !reflect.DeepEqual(before.rows[table], poured.rows[table]) {
			t.Errorf("%s: before %v, after %v", table, before.rows[table], poured.rows[table])
		}
	}
	if keys, err := db.Keys(ctx); err != nil || len(keys) != 2 || keys[1].ID != "fresh" {
		t.Errorf("the keys are %+v, %v", keys, err)
	}
	// It can be worked with: what is numbered goes on behind what is there.
	a, err := db.CreateAccount(ctx, "Next", "", auth.Act{Action: "account.create"})
	if want := auth.FirstAccount + 2 + skippedAccounts; err != nil || a.ID != want {
		t.Errorf("the next account is %d, %v; want %d", a.ID, err, want)
	}
	if err := db.AddKey(ctx, auth.KeyRow{ID: "k", Ring: auth.SigningRing, Algorithm: "EdDSA", Sealed: []byte("s"), MasterKey: "mk"}, "fresh", auth.Act{}); err != nil {
		t.Error(err)
	}
	if err := s.Pour(ctx, db, false, nil); !errors.Is(err, auth.ErrConflict) {
		t.Errorf("into a database that holds something: %v", err)
	}

	// And back: with what was made since, held against the one that is there.
	after := export(t, db)
	dir := t.TempDir()
	back := stage(t, dir, after)
	if _, err := db.SuspendAccount(ctx, a.ID, false, auth.Act{Action: "account.suspend"}); err != nil {
		t.Fatal(err)
	}
	taken, err := back.Stricter(ctx, db)
	if err != nil || taken != (Taken{Suspended: 1}) {
		t.Errorf("%+v was taken away since, %v", taken, err)
	}
	if err := back.BeginAnew(rebirth, reseal, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "gatehouse.db")
	if err := back.TakePlace(path, filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	embedded := export(t, reopen(t, path))
	for _, table := range []string{"credentials", "usage", "secret_uses", "allowlist"} {
		if !reflect.DeepEqual(after.rows[table], embedded.rows[table]) {
			t.Errorf("%s: before %v, after %v", table, after.rows[table], embedded.rows[table])
		}
	}
	if err := stageAnew(t, after).Pour(ctx, db, true, nil); err != nil {
		t.Fatal(err)
	}
	if a, err := db.Account(ctx, a.ID); err != nil || a.Suspended() {
		t.Errorf("what was there is there still: %+v, %v", a, err)
	}
}

func stageAnew(t *testing.T, e exported) *Staging {
	t.Helper()
	s := stage(t, t.TempDir(), e)
	again := rebirth
	again.Incarnation = "a third"
	if err := s.BeginAnew(again, reseal, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	return s
}
