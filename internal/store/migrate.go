package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/sqlite/*.sql
var embedded embed.FS

const (
	versionTable = "schema_versions"
	keepBackups  = 3
)

// Version returns the version of the database's schema, 0 for an empty one, and the one that this program wants.
func (db *DB) Version(ctx context.Context) (have, want int64, err error) {
	want, err = wantedVersion(db.migrations)
	if err != nil {
		return 0, 0, err
	}
	err = db.read(ctx, func(c *conn) error {
		var tables int
		err := c.one(`SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '`+versionTable+`'`, nil, out{&tables})
		if err != nil || tables == 0 {
			return err
		}
		return c.one(`SELECT COALESCE(MAX(version_id), 0) FROM `+versionTable, nil, out{&have})
	})
	return have, want, wrap(err, "read the schema's version")
}

// wantedVersion is the highest number among the files, "00001_first.sql".
func wantedVersion(migrations fs.FS) (int64, error) {
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return 0, err
	}
	var want int64
	for _, name := range names {
		v, err := goose.NumericComponent(name)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", name, err)
		}
		want = max(want, v)
	}
	return want, nil
}

func (db *DB) checkVersion(ctx context.Context, pendingIsFine bool) error {
	have, want, err := db.Version(ctx)
	switch {
	case err != nil:
		return err
	case have > want:
		return fmt.Errorf("%w: %s has version %d, this program knows %d; run the newer gatehouse, or restore a backup made before the upgrade",
			ErrNewer, db.path, have, want)
	case have < want && !pendingIsFine:
		return fmt.Errorf("%w: %s has version %d, this program wants %d; run `gatehouse migrate up`", ErrPending, db.path, have, want)
	}
	return nil
}

// Migrate brings the database's schema to the version that this program wants, and returns the version before and after.
// Each migration is a transaction. A database that is not empty is copied first to
// backups/gatehouse-<version>-<time>.db beside it, and the copy examined; the last three of these copies are kept.
// If the copy cannot be made, nothing is migrated.
func (db *DB) Migrate(ctx context.Context) (from, to int64, err error) {
	from, to, err = db.Version(ctx)
	if err != nil || from == to {
		return from, to, err
	}
	if from > 0 {
		if _, err := db.backUp(ctx, from); err != nil {
			return from, from, fmt.Errorf("copy the database before migrating it: %w", err)
		}
	}
	pool := sql.OpenDB(db.from)
	defer pool.Close()
	if err := migrate(ctx, pool, db.migrations); err != nil {
		have, _, _ := db.Version(ctx)
		return from, have, fmt.Errorf("migrate the database %s: %w", db.path, err)
	}
	return from, to, nil
}

func migrate(ctx context.Context, pool *sql.DB, files fs.FS) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, files, goose.WithTableName(versionTable),
		goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// backUp copies the database into the folder backups, examines the copy, removes older ones, and returns its path.
func (db *DB) backUp(ctx context.Context, version int64) (string, error) {
	dir := filepath.Join(filepath.Dir(db.path), "backups")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := fmt.Sprintf("gatehouse-%d-%s.db", version, db.Now().Format("20060102T150405.000Z"))
	path := filepath.Join(dir, name)
	if err := db.CopyTo(ctx, path); err != nil {
		return "", err
	}
	return path, dropOldBackups(dir)
}

// CopyTo writes a copy of the whole database, as it is at one moment, into a new file that only its owner can read, and
// examines it. The server need not stop. If there is an error there is no file.
func (db *DB) CopyTo(ctx context.Context, path string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Made first, empty, for the mode; VACUUM INTO takes an empty file.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	c, err := newConn(db.from) // its own: it takes long
	if err != nil {
		return err
	}
	if _, err := c.exec("VACUUM INTO $1", path); err != nil {
		return errors.Join(err, c.close())
	}
	return errors.Join(c.close(), examine(path), syncFile(path), syncFile(filepath.Dir(path)))
}

// examine checks a copy without touching it: immutable, or SQLite would make files beside it.
func examine(path string) error {
	from, err := dial(path, "mode=ro", "immutable=1")
	if err != nil {
		return err
	}
	c, err := newConn(from)
	if err != nil {
		return err
	}
	defer c.close()
	return integrity(c.all)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// dropOldBackups keeps the youngest, by the time in their names.
func dropOldBackups(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "gatehouse-*-*.db"))
	if err != nil {
		return err
	}
	when := func(path string) string { return path[strings.LastIndexByte(path, '-')+1:] }
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(when(a), when(b)) })
	var errs []error
	for _, path := range paths[:max(0, len(paths)-keepBackups)] {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}
