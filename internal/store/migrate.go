package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var embedded embed.FS

const (
	versionTable = "schema_versions"
	oldestTable  = "oldest_program"
)

// Version returns the version of the database's schema, 0 for an empty one, and the one that this program wants.
func (db *DB) Version(ctx context.Context) (have, want int64, err error) {
	have, err = db.engine.version(ctx)
	return have, db.wanted, wrap(err, "read the schema's version")
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
	case have > want && !db.suits(ctx):
		return fmt.Errorf("%w: %s has version %d, this program knows %d; run the newer gatehouse, or restore a backup made before the upgrade",
			ErrNewer, db.Path(), have, want)
	case have < want && !pendingIsFine:
		return fmt.Errorf("%w: %s has version %d, this program wants %d; run `gatehouse migrate up`", ErrPending, db.Path(), have, want)
	}
	return nil
}

// suits says whether a database that a later program has migrated can be used by this one too: what has only been added to does
// not disturb it.
func (db *DB) suits(ctx context.Context) bool {
	var oldest int64
	err := db.read(ctx, func(q querier) error { return q.one(`SELECT version FROM `+oldestTable, nil, out{&oldest}) })
	return err == nil && oldest <= db.wanted
}

// Migrate brings the database's schema to the version that this program wants, and returns the version before and after.
// Each migration is a transaction. A SQLite database that is not empty is copied first to
// backups/gatehouse-<version>-<time>.db beside it, and the copy examined; the last three of these copies are kept.
// If the copy cannot be made, nothing is migrated.
func (db *DB) Migrate(ctx context.Context) (from, to int64, err error) {
	from, to, err = db.Version(ctx)
	if err != nil || from >= to {
		return from, from, err
	}
	if err := db.engine.migrate(ctx, from); err != nil {
		have, _, _ := db.Version(ctx)
		return from, have, fmt.Errorf("migrate the database %s: %w", db.Path(), err)
	}
	return from, to, nil
}

func migrate(ctx context.Context, dialect goose.Dialect, pool *sql.DB, files fs.FS) error {
	wanted, err := wantedVersion(files)
	if err != nil {
		return err
	}
	return migrateTo(ctx, dialect, pool, files, wanted)
}

func migrateTo(ctx context.Context, dialect goose.Dialect, pool *sql.DB, files fs.FS, version int64) error {
	p, err := goose.NewProvider(dialect, pool, files, goose.WithTableName(versionTable),
		goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.UpTo(ctx, version)
	return err
}
