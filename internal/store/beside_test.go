package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// releases returns the migrations of this program and those of two made-up later ones: one that adds, and one that takes away what
// the first of them does not use any more.
func releases(t *testing.T, dialect string) (adds, takes fs.FS) {
	t.Helper()
	files, err := filepath.Glob("migrations/" + dialect + "/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	ours := make(fstest.MapFS)
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ours[filepath.Base(path)] = &fstest.MapFile{Data: data}
	}
	number := map[string]string{"sqlite": "INTEGER", "postgres": "BIGINT"}[dialect]
	next := map[string]string{
		"00900_adds.sql": `ALTER TABLE accounts ADD COLUMN tier TEXT NOT NULL DEFAULT 'standard';
			ALTER TABLE sessions ADD COLUMN device ` + number + `;
			ALTER TABLE credentials ADD COLUMN color TEXT;
			ALTER TABLE meta ADD COLUMN motto TEXT;
			ALTER TABLE log_head ADD COLUMN since ` + number + `;
			ALTER TABLE audit ADD COLUMN signed ` + number + `;
			CREATE TABLE devices (id ` + number + ` NOT NULL PRIMARY KEY, name TEXT NOT NULL);
			CREATE INDEX sessions_started ON sessions (started_at);`,
		"00901_takes.sql": `UPDATE oldest_program SET version = 900;
			ALTER TABLE replicas DROP COLUMN listens;`,
	}
	of := func(names ...string) fs.FS {
		all := make(fstest.MapFS)
		for name, file := range ours {
			all[name] = file
		}
		for _, name := range names {
			all[name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + next[name])}
		}
		return all
	}
	return of("00900_adds.sql"), of("00900_adds.sql", "00901_takes.sql")
}

// The next version migrates a database while this one serves from it: nobody notices, and this one can be started again beside it.
// Once a later one takes something away, this one is refused, and that one before it is not.
func TestBesideTheNextVersion(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		db := newDB(t, "")
		besideTheNext(t, db, "sqlite", Config{Path: db.Path()})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		url := migratedServer.Database(t)
		besideTheNext(t, newPostgres(t, url), "postgres", Config{URL: url})
	})
}

func besideTheNext(t *testing.T, db *DB, dialect string, c Config) {
	ctx := t.Context()
	adds, takes := releases(t, dialect)
	a, err := db.CreateAccount(ctx, "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	credential := auth.Credential{ID: "c1", Account: a.ID, Kind: auth.Login, Secrets: []auth.Secret{{Number: 1, Digest: []byte("d"), Pepper: "p", CreatedAt: time.Now()}}}
	if err := db.CreateCredential(ctx, credential, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	var rounds atomic.Int64
	serve := func(db *DB, id auth.SessionID) error {
		until := db.Now().Add(time.Hour)
		_, err := db.StartSession(ctx, auth.NewSession{ID: id, Credential: "c1", SecretDigest: []byte("d"), Expires: until, AccessExpires: until})
		if err == nil {
			_, _, err = db.RotateSession(ctx, id, auth.Spend{Until: until, AccessUntil: until})
		}
		if err == nil {
			_, err = db.RevokeContract(ctx, a.ID, auth.B2B, auth.Act{})
		}
		if err == nil {
			_, err = db.Exceptions(ctx, time.Time{})
		}
		if err == nil {
			_, err = db.Account(ctx, a.ID)
		}
		if err == nil {
			err = db.Register(ctx, auth.Replica{ID: string(id), Started: db.Now()})
		}
		rounds.Add(1)
		return err
	}
	// What another's logout ended is no failure.
	bad := func(err error) bool {
		return err != nil && !errors.Is(err, auth.ErrEnded) && !errors.Is(err, auth.ErrBadRefresh)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	for worker := range 4 {
		load.Go(func() {
			for n := 0; running.Err() == nil; n++ {
				id := auth.SessionID(string(rune('a'+worker)) + time.Now().Format("150405.000000000"))
				if err := serve(db, id); bad(err) {
					t.Errorf("while the next version is beside: %v", err)
					return
				}
			}
		})
	}
	more := func() {
		for enough := rounds.Load() + 20; rounds.Load() < enough && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	more()
	c.Pool.StatementTimeout = ample
	pending := c
	pending.Pending = true
	next, err := open(ctx, pending, adds)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, to, err := next.Migrate(ctx); err != nil || to != 900 {
		t.Fatalf("got version %d and %v", to, err)
	}
	if err := serve(next, "next"); bad(err) {
		t.Errorf("the next version: %v", err)
	}
	more()
	again, err := Open(ctx, c) // this version is started again
	if err != nil {
		t.Fatalf("this version does not start beside the next: %v", err)
	}
	if from, to, err := again.Migrate(ctx); err != nil || from != 900 || to != 900 {
		t.Errorf("it migrated from %d to %d, %v; there is nothing for it to do", from, to, err)
	}
	if err := serve(again, "again"); bad(err) {
		t.Errorf("this version, started again: %v", err)
	}
	again.Close()
	more()
	stop()
	load.Wait()

	later, err := open(ctx, pending, takes)
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	if _, _, err := later.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, c); !errors.Is(err, ErrNewer) {
		t.Errorf("this version, with what it uses taken away: got %v, want ErrNewer", err)
	}
	before, err := open(ctx, c, adds)
	if err != nil {
		t.Fatalf("the version before, which did not use it: %v", err)
	}
	if err := before.Close(); err != nil {
		t.Error(err)
	}
}
