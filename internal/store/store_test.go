package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestOpen(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "odd ?name#50%.db")
	_, err := Open(ctx, Config{Path: path})
	if !errors.Is(err, ErrNoDatabase) || !strings.Contains(err.Error(), path) {
		t.Errorf("without a file: got %v, want ErrNoDatabase with its path", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking for a database made its folder: %v", err)
	}

	db := newDB(t, path)
	for name, want := range map[string]os.FileMode{dir: 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v and %v, want mode %v", name, info.Mode().Perm(), err, want)
		}
	}
	if err := db.Check(ctx); err != nil {
		t.Error(err)
	}
	for pragma, want := range map[string]int{"synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 0} {
		if _, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
			var got int
			if err := t.one("PRAGMA "+pragma, nil, out{&got}); err != nil || got != want {
				return none, fmt.Errorf("the writer's %s is %d, want %d: %w", pragma, got, want, err)
			}
			return none, nil
		}); err != nil {
			t.Error(err)
		}
	}
	if err := db.read(ctx, func(c querier) error {
		_, err := c.exec(`DELETE FROM meta`)
		return err
	}); err == nil {
		t.Error("a reader could write")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}

	again, err := Open(ctx, Config{Path: path}) // what is there needs no Create
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if m, err := again.Meta(ctx); err != nil || m.Incarnation != "test" {
		t.Errorf("got %+v, %v", m, err)
	}

	notOurs := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(notOurs, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Config{Path: notOurs}); err == nil || !strings.Contains(err.Error(), notOurs) {
		t.Errorf("a file that is no database: got %v", err)
	}
}

// TestMigrate runs a database through three releases.
func TestMigrate(t *testing.T) {
	ctx := t.Context()
	file := func(sql string) *fstest.MapFile { return &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)} }
	first := fstest.MapFS{"00001_first.sql": file(`CREATE TABLE log_head (head INTEGER); CREATE TABLE t (a INTEGER) STRICT;`)}
	second := fstest.MapFS{"00001_first.sql": first["00001_first.sql"], "00002_more.sql": file(`ALTER TABLE t ADD COLUMN b TEXT;`)}
	bad := fstest.MapFS{"00001_first.sql": first["00001_first.sql"], "00002_more.sql": file(`ALTER TABLE t ADD COLUMN b TEXT; SELECT nonsense;`)}
	path := filepath.Join(t.TempDir(), "gatehouse.db")

	versions := func(db *DB, have, want int64) {
		t.Helper()
		h, w, err := db.Version(ctx)
		if err != nil || h != have || w != want {
			t.Errorf("got version %d of %d and %v, want %d of %d", h, w, err, have, want)
		}
	}
	db, err := open(ctx, Config{Path: path, Create: true}, first)
	if err != nil {
		t.Fatal(err)
	}
	versions(db, 0, 1)
	if from, to, err := db.Migrate(ctx); err != nil || from != 0 || to != 1 {
		t.Errorf("got %d to %d and %v, want 0 to 1", from, to, err)
	}
	if from, to, err := db.Migrate(ctx); err != nil || from != 1 || to != 1 {
		t.Errorf("again: got %d to %d and %v, want nothing done", from, to, err)
	}
	versions(db, 1, 1)
	if _, err := update(ctx, db, func(t *tx) (int64, error) { return t.exec(`INSERT INTO t (a) VALUES (7)`) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	backups := filepath.Join(filepath.Dir(path), "backups")
	if _, err := os.Stat(backups); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty database was copied: %v", err)
	}

	// The next release.
	if _, err := open(ctx, Config{Path: path}, second); !errors.Is(err, ErrPending) || !strings.Contains(err.Error(), "gatehouse migrate up") {
		t.Errorf("got %v, want ErrPending that says what to do", err)
	}
	// One that fails changes nothing.
	db, err = open(ctx, Config{Path: path, Pending: true}, bad)
	if err != nil {
		t.Fatal(err)
	}
	if from, to, err := db.Migrate(ctx); err == nil || from != 1 || to != 1 {
		t.Errorf("a migration that fails: got %d to %d and %v", from, to, err)
	}
	versions(db, 1, 2)
	db.Close()
	db, err = open(ctx, Config{Path: path, Pending: true}, second)
	if err != nil {
		t.Fatal(err)
	}
	if from, to, err := db.Migrate(ctx); err != nil || from != 1 || to != 2 {
		t.Errorf("got %d to %d and %v, want 1 to 2", from, to, err)
	}
	versions(db, 2, 2)
	db.Close()

	// The copies are databases of the version before, that nobody else can read.
	copies, err := filepath.Glob(filepath.Join(backups, "gatehouse-1-*.db"))
	if err != nil || len(copies) != 2 {
		t.Fatalf("got copies %v and %v, want 2", copies, err)
	}
	for _, name := range copies {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v and %v, want mode 0600", name, info.Mode(), err)
		}
	}
	old, err := open(ctx, Config{Path: copies[1]}, first)
	if err != nil {
		t.Fatal(err)
	}
	var a int
	if err := old.read(ctx, func(c querier) error { return c.one(`SELECT a FROM t`, nil, out{&a}) }); err != nil || a != 7 {
		t.Errorf("in the copy: got %d and %v, want 7", a, err)
	}
	old.Close()

	// The release before does not touch what it does not know.
	_, err = open(ctx, Config{Path: path, Create: true}, first)
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 2") || !strings.Contains(err.Error(), "knows 1") {
		t.Errorf("got %v, want ErrNewer that names both versions", err)
	}
}

func TestBackups(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	db, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "gatehouse.db"), Create: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var made []string
	for i := range 5 {
		now = now.Add(time.Minute)
		path, err := sqliteOf(db).backUp(t.Context(), int64(10-i)) // by time, not by version
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, path)
	}
	for i, path := range made {
		_, err := os.Stat(path)
		if kept := err == nil; kept != (i >= 2) {
			t.Errorf("copy %d of 5: kept %v", i+1, kept)
		}
	}
	if err := sqliteOf(db).copyTo(t.Context(), made[4]); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a copy over one that is there: got %v", err)
	}
	if _, err := os.Stat(made[4]); err != nil {
		t.Errorf("and that one should be left alone: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(made[4]))
	if err != nil || len(entries) != 3 {
		t.Errorf("got %v and %v, want three copies and nothing beside them", entries, err)
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if Locked(dir) {
		t.Error("a folder that is not there is locked")
	}
	unlock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !Locked(dir) {
		t.Error("a server is there, and nobody sees it")
	}
	if _, err := LockDir(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second server: got %v, want ErrLocked with the folder", err)
	}
	unlock()
	if Locked(dir) {
		t.Error("the server is gone, and still seen")
	}
	// Commands that ask must not keep a server from starting.
	asked := make(chan struct{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for once := sync.OnceFunc(func() { close(asked) }); ; once() {
			select {
			case <-stop:
				return
			default:
				Locked(dir)
			}
		}
	})
	<-asked
	unlock, err = LockDir(dir)
	if err != nil {
		t.Errorf("while others ask: %v", err)
	} else {
		unlock()
	}
	close(stop)
	wg.Wait()
}

func TestClock(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for _, story := range []struct {
		name  string
		reads []time.Duration // of the wall clock
		want  []time.Duration
	}{
		{"forward", []time.Duration{0, 1, 1, 3}, []time.Duration{0, 1, 1, 3}},
		{"set forward", []time.Duration{0, time.Hour, time.Hour + 1}, []time.Duration{0, time.Hour, time.Hour + 1}},
		{
			"set back: it goes on at the rate of the clock, until that has come up",
			[]time.Duration{100, 40, 50, 70, 90, 120, 170, 171},
			[]time.Duration{100, 100, 110, 130, 150, 180, 230, 231},
		},
		{"set back and forward again", []time.Duration{100, 40, 45, 200}, []time.Duration{100, 100, 105, 200}},
	} {
		i := -1
		c := NewClock(func() time.Time { i++; return at.Add(story.reads[i]) })
		for j, want := range story.want {
			if got := c.Now().Sub(at); got != want {
				t.Errorf("%s: reading %d got %d, want %d", story.name, j, got, want)
			}
		}
	}
	// The process's clock: with the wall clock set back by an hour, time passes all the same.
	back := time.Duration(0)
	c := NewClock(func() time.Time {
		now := time.Now()
		return now.Add(-back).Round(0).Add(0) // without its monotonic reading, as after a restart
	})
	first := c.Now()
	back = time.Hour
	if got := c.Now(); got.Before(first) {
		t.Errorf("the clock ran backwards, from %v to %v", first, got)
	}
	var wg sync.WaitGroup
	real := NewClock(nil)
	for range 4 {
		wg.Go(func() {
			last := real.Now()
			for range 1000 {
				now := real.Now()
				if now.Before(last) {
					t.Errorf("the clock ran backwards, from %v to %v", last, now)
				}
				last = now
			}
		})
	}
	wg.Wait()
	if real.Now().Location() != time.UTC {
		t.Error("the time is not in UTC")
	}
}

// TestReadersWait: with every reader busy a read waits, as long as its caller does.
func TestReadersWait(t *testing.T) {
	db := newDB(t, "")
	var taken []*conn
	for range readers {
		taken = append(taken, <-sqliteOf(db).readers)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Holder(ctx, auth.Login, "x"); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("got %v, want 503", err)
	}
	for _, c := range taken {
		sqliteOf(db).readers <- c
	}
	if _, err := db.Holder(t.Context(), auth.Login, "x"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("got %v, want that there is none", err)
	}
	// A snapshot whose function failed, or panicked, leaves a reader as good as new.
	for range 2 * readers {
		func() {
			defer func() { recover() }()
			db.snapshot(t.Context(), func(querier) error { panic("oh") })
		}()
	}
	if _, err := db.Accounts(t.Context(), auth.AccountQuery{}); err != nil {
		t.Error(err)
	}
}
