package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gatehouse/gatehouse/internal/pgtest"
	"github.com/gatehouse/gatehouse/internal/store"
)

// file is an empty database of the newest version, which is the same for every test of a program.
var file = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "gatehouse-migrated-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "gatehouse.db")
	if err := migrate(store.Config{Path: path, Create: true}); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// server is the same on PostgreSQL.
var server = pgtest.Template{Fill: func(url string) error { return migrate(store.Config{URL: url, Create: true}) }}

func migrate(c store.Config) error {
	db, err := store.Open(context.Background(), c)
	if err != nil {
		return err
	}
	_, _, err = db.Migrate(context.Background())
	return errors.Join(err, db.Close())
}

// Migrated puts an empty database of the newest version at path, whose folder it makes. Whoever opens it finds nothing to
// migrate, which saves a test that is about something else most of its time.
func Migrated(t testing.TB, path string) {
	t.Helper()
	content, err := file()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// MigratedPostgres returns the URL of such a database on PostgreSQL, for the test alone.
func MigratedPostgres(t testing.TB) string {
	t.Helper()
	return server.Database(t)
}
