// Package store keeps everything that must survive: accounts, credentials, sessions, keys, the change log, the audit
// trail, usage and refusals, in one SQLite file. A method is one transaction, named for its intent. What may be done is
// decided by gate and registry; only the guards that two requests could race through are here, as conditions of the SQL.
//
// The invariant: what a method answered without an error is on the disk and survives a crash of the machine, and of
// whatever it did not answer so, either all or nothing is there. No statement ever runs under a caller's context.
package store

import (
	"context"
	"io/fs"
	"sync"
	"time"
)

// Config says which database to open.
type Config struct {
	// Path is the file. Beside it SQLite keeps two more, with "-wal" and "-shm" added, and Migrate the folder backups.
	Path string
	// Create makes an empty database, and its folder, if there is none. It implies Pending.
	Create bool
	// Pending opens a database whose migrations are pending, for [DB.Version] and [DB.Migrate]; without it that is
	// [ErrPending].
	Pending bool
	// Now is the time; nil means the process's clock. Either way it never runs backwards here, see [Clock].
	Now func() time.Time
}

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	engine engine
	wanted int64 // the version of the schema
	clock  *Clock
	wake   wake

	closing chan struct{}
	closed  sync.Once
}

// Open opens the database. It migrates nothing, see [DB.Migrate].
//
// Without a file and without Create it is [ErrNoDatabase], with migrations pending and without Pending [ErrPending], and
// with a database that a later version has migrated [ErrNewer].
func Open(ctx context.Context, c Config) (*DB, error) {
	migrations, err := fs.Sub(embedded, "migrations/sqlite")
	if err != nil {
		return nil, err
	}
	return open(ctx, c, migrations)
}

func open(ctx context.Context, c Config, migrations fs.FS) (*DB, error) {
	wanted, err := wantedVersion(migrations)
	if err != nil {
		return nil, err
	}
	db := &DB{wanted: wanted, clock: NewClock(c.Now), closing: make(chan struct{})}
	db.wake.c = make(chan struct{}, 1)
	if db.engine, err = openLite(c, migrations, db.Now, db.wake.kick, db.closing); err != nil {
		return nil, err
	}
	if err := db.checkVersion(ctx, c.Create || c.Pending); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Close commits what waits, ends the reads and closes the database. Afterwards every method fails. If it is [DB.Broken] the
// connections are left to the end of the process: the last one that closes would write once more.
func (db *DB) Close() error {
	var err error
	db.closed.Do(func() {
		close(db.closing)
		db.wake.wait()
		err = db.engine.close()
	})
	return err
}

// Now is the store's time.
func (db *DB) Now() time.Time { return db.clock.Now() }

// Path is the database's file.
func (db *DB) Path() string { return db.engine.name() }

// Broken returns why nothing can be written any more, nil while all is well: the disk failed to take what it was given
// (fsync). What it then holds is unknown, so nothing is acknowledged until the process is started anew. Reads go on.
func (db *DB) Broken() error { return db.engine.broken() }

// Check lets the database examine itself, every page and index (PRAGMA integrity_check). It takes time.
func (db *DB) Check(ctx context.Context) error { return db.engine.check(ctx) }
