package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	if err := db.read(ctx, func(c *conn) error {
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
	if err := old.read(ctx, func(c *conn) error { return c.one(`SELECT a FROM t`, nil, out{&a}) }); err != nil || a != 7 {
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
		path, err := db.backUp(t.Context(), int64(10-i)) // by time, not by version
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
	if err := db.CopyTo(t.Context(), made[4]); !errors.Is(err, fs.ErrExist) {
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

// TestWakes: a commit by a command that runs beside the server is noticed, a login is not.
func TestWakes(t *testing.T) {
	db := newDB(t, "")
	wakes := db.Wakes()
	beside, err := Open(t.Context(), Config{Path: db.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	next := func(what string) {
		t.Helper()
		select {
		case <-wakes:
		case <-time.After(10 * time.Second):
			t.Errorf("%s woke nobody", what)
		}
	}
	next("the beginning")
	a, err := beside.CreateAccount(t.Context(), "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, before, _, err := db.Changes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := beside.RevokeContract(t.Context(), a.ID, auth.B2B, auth.Act{}); err != nil {
			t.Fatal(err)
		}
		next("a command")
		if _, head, _, err := db.Changes(t.Context(), before); err != nil || head != before+1 {
			t.Errorf("after the wake: got head %d and %v, want %d", head, err, before+1)
		}
	}
}

// TestCommandUnderLoad: a command gets its turn while a server writes without a pause, and waits for one that holds on.
func TestCommandUnderLoad(t *testing.T) {
	server := newDB(t, "")
	a, err := server.CreateAccount(t.Context(), "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for range 32 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := server.RevokeContract(t.Context(), a.ID, auth.B2B, auth.Act{}); err != nil {
					t.Errorf("the server: %v", err)
				}
			}
		})
	}
	command, err := Open(t.Context(), Config{Path: server.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer command.Close()
	for range 20 {
		if _, err := command.RevokeContract(t.Context(), a.ID, auth.Orders, auth.Act{}); err != nil {
			t.Errorf("the command: %v", err)
		}
	}
	stop()
	load.Wait()

	release := hold(t, command)
	done := make(chan error)
	go func() {
		_, err := server.CreateAccount(t.Context(), "Beta", "", auth.Act{})
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("two wrote at once: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("once the other was done: %v", err)
	}
}

// TestManyChanges: whoever is far behind gets the log in pieces, each of one moment.
func TestManyChanges(t *testing.T) {
	db := newDB(t, "")
	const many = 2*mostChanges + 5
	if _, err := update(t.Context(), db, func(t *tx) (none struct{}, err error) {
		for range many {
			if _, err := t.append(auth.Change{Of: auth.ChangedKeys, At: db.Now()}); err != nil {
				return none, err
			}
		}
		return none, nil
	}); err != nil {
		t.Fatal(err)
	}
	<-db.wake.c
	var at auth.Position
	for _, want := range []auth.Position{mostChanges, 2 * mostChanges, many} {
		_, head, changes, err := db.Changes(t.Context(), at)
		if err != nil || head != want || len(changes) != int(want-at) || changes[0].Number != at+1 {
			t.Fatalf("after %d: got head %d, %d changes and %v, want head %d", at, head, len(changes), err, want)
		}
		at = head
		select {
		case <-db.wake.c:
			if at == many {
				t.Error("woken once more at the end")
			}
		default:
			if at != many {
				t.Error("not woken for the rest")
			}
		}
	}
}

// TestReadersWait: with every reader busy a read waits, as long as its caller does.
func TestReadersWait(t *testing.T) {
	db := newDB(t, "")
	var taken []*conn
	for range readers {
		taken = append(taken, <-db.readers)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Holder(ctx, auth.Login, "x"); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("got %v, want 503", err)
	}
	for _, c := range taken {
		db.readers <- c
	}
	if _, err := db.Holder(t.Context(), auth.Login, "x"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("got %v, want that there is none", err)
	}
	// A snapshot whose function failed, or panicked, leaves a reader as good as new.
	for range 2 * readers {
		func() {
			defer func() { recover() }()
			db.snapshot(t.Context(), func(*conn) error { panic("oh") })
		}()
	}
	if _, err := db.Accounts(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestKilled kills a process that writes, at a random moment, and looks for everything it had acknowledged.
func TestKilled(t *testing.T) {
	if path := os.Getenv("GATEHOUSE_TEST_KILLED"); path != "" {
		writeUntilKilled(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	db := newDB(t, path)
	a, err := db.CreateAccount(t.Context(), "Acme", "", auth.Act{})
	if err != nil {
		t.Fatal(err)
	}
	c := auth.Credential{ID: "c1", Account: a.ID, Kind: auth.Login, Secrets: []auth.Secret{{Number: 1, Digest: []byte("d"), CreatedAt: time.Now()}}}
	if err := db.CreateCredential(t.Context(), c, auth.Act{}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	for round := range 4 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "GATEHOUSE_TEST_KILLED="+path, "GATEHOUSE_TEST_ROUND="+strconv.Itoa(round))
		pipe, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		generations := make(map[string]int64)
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			if id, generation, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(id, "session") {
				g, err := strconv.ParseInt(generation, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				generations[id] = max(generations[id], g)
			}
			if n == 100+round*37 {
				child.Process.Kill() // its own child: SIGKILL, in the middle of whatever it does
			}
		}
		child.Wait()
		if len(generations) == 0 {
			t.Fatal("the child acknowledged nothing")
		}
		after, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := after.Check(t.Context()); err != nil {
			t.Error(err)
		}
		for id, acknowledged := range generations {
			s, err := after.Session(t.Context(), auth.SessionID(id))
			if err != nil || s.Generation < acknowledged || s.Generation > acknowledged+1 || !s.EndedAt.IsZero() {
				t.Errorf("round %d: %s was acknowledged at generation %d; got %+v and %v", round, id, acknowledged, s, err)
			}
		}
		after.Close()
	}
}

// writeUntilKilled logs in and refreshes, and prints each generation once it has been acknowledged.
func writeUntilKilled(t *testing.T, path string) {
	db, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			id := auth.SessionID(fmt.Sprintf("session-%s-%d", os.Getenv("GATEHOUSE_TEST_ROUND"), worker))
			until := db.Now().Add(time.Hour)
			if _, err := db.StartSession(t.Context(), auth.NewSession{ID: id, Credential: "c1", SecretDigest: []byte("d"), Expires: until, AccessExpires: until}); err != nil {
				t.Error(err)
				return
			}
			for generation := int64(0); ; generation++ {
				fmt.Printf("%s %d\n", id, generation)
				if _, _, err := db.RotateSession(t.Context(), id, auth.Spend{Generation: generation, Until: until, AccessUntil: until}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
