package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A failure is an error as the driver would give it.
type failure int

func (f failure) Error() string { return fmt.Sprintf("injected failure %d", int(f)) }
func (f failure) Code() int     { return int(f) }

// faults stands between the writer and its connection. What it is told to fail is never run.
type faults struct {
	mu    sync.Mutex
	fail  func(query string) error // nil: nothing fails
	asked []string                 // every statement since the last reset
}

func (f *faults) set(fail func(query string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.asked = fail, nil
}

func (f *faults) check(query string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 && strings.HasPrefix(query, "PRAGMA wal_checkpoint") {
		return nil // no run begins so: it is late, of the commit before
	}
	f.asked = append(f.asked, strings.Join(strings.Fields(query), " "))
	if f.fail == nil {
		return nil
	}
	return f.fail(query)
}

func (f *faults) statements() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// kth fails the k-th statement from now on, counting from 0, and no other.
func kth(k int, err error) func(string) error {
	n := -1
	return func(string) error {
		if n++; n == k {
			return err
		}
		return nil
	}
}

// on fails every statement that begins so.
func on(beginning string, err error) func(string) error {
	return func(query string) error {
		if strings.HasPrefix(query, beginning) {
			return err
		}
		return nil
	}
}

// sqliteOf is the engine of an embedded database.
func sqliteOf(db *DB) *lite { return db.engine.(*lite) }

// inject puts faults between the writer and its connection, on the writer's own goroutine.
func inject(t *testing.T, db *DB) *faults {
	t.Helper()
	f := new(faults)
	_, err := update(t.Context(), db, func(tx *tx) (none struct{}, err error) {
		tx.on.(*conn).driver = faultyConn{tx.on.(*conn).driver, f}
		for query, s := range tx.on.(*conn).stmts {
			tx.on.(*conn).stmts[query] = faultyStmt{s, query, f}
		}
		return none, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.settled(t)
	f.set(nil)
	return f
}

// settled waits until the writer is through with the last commit, whose caller it has answered before that, and returns what
// was asked.
func (f *faults) settled(t *testing.T) []string {
	t.Helper()
	for until := time.Now().Add(ample); time.Now().Before(until); time.Sleep(50 * time.Microsecond) {
		if asked := f.statements(); len(asked) > 0 && strings.HasPrefix(asked[len(asked)-1], "PRAGMA wal_checkpoint") {
			return asked
		}
	}
	t.Fatalf("the writer did not look at its log, but ran %q", f.statements())
	return nil
}

type faultyConn struct {
	driver.Conn
	faults *faults
}

func (c faultyConn) Prepare(query string) (driver.Stmt, error) {
	s, err := c.Conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	return faultyStmt{s.(stmt), query, c.faults}, nil
}

type faultyStmt struct {
	stmt
	query  string
	faults *faults
}

func (s faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := s.faults.check(s.query); err != nil {
		return nil, err
	}
	return s.stmt.ExecContext(ctx, args)
}

func (s faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.faults.check(s.query); err != nil {
		return nil, err
	}
	return s.stmt.QueryContext(ctx, args)
}

// migratedFile is an empty database of the newest version, which is made once.
var migratedFile = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-migrated-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "gatehouse.db")
	if err := makeMigrated(Config{Path: path, Create: true}); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func makeMigrated(c Config) error {
	db, err := Open(context.Background(), c)
	if err != nil {
		return err
	}
	_, _, err = db.Migrate(context.Background())
	return errors.Join(err, db.Close())
}

// newDB opens a new, migrated database that has been set up.
func newDB(t testing.TB, path string) *DB {
	t.Helper()
	return newDBAt(t, path, nil)
}

func newDBAt(t testing.TB, path string, now func() time.Time) *DB {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "gatehouse.db")
		content, err := migratedFile()
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return openNew(t, Config{Path: path, Create: true, Now: now})
}

// openNew opens a database, migrated and set up.
func openNew(t testing.TB, c Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = db.Create(t.Context(), Birth{Incarnation: "test", SealCheck: []byte("check"), MasterKey: "master 1"})
	if err != nil && auth.AsError(err).Kind != auth.Conflict {
		t.Fatal(err)
	}
	return db
}

// dump returns every row of every table.
func dump(t testing.TB, db *DB) string {
	t.Helper()
	var b strings.Builder
	err := db.snapshot(context.Background(), func(c querier) error {
		var tables []string
		err := c.all(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`, nil, func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			tables = append(tables, name)
			return err
		})
		if err != nil {
			return err
		}
		for _, table := range tables {
			rows, err := c.(*conn).query(`SELECT * FROM `+table, nil)
			if err != nil {
				return err
			}
			row := make([]driver.Value, len(rows.Columns()))
			for rows.Next(row) == nil {
				fmt.Fprintln(&b, table, row)
			}
			if err := rows.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
