// Package store keeps everything that must survive: accounts, credentials, sessions, keys, the change log, the audit
// trail, usage and refusals, in one SQLite file. A method is one transaction, named for its intent. What may be done is
// decided by gate and registry; only the guards that two requests could race through are here, as conditions of the SQL.
//
// The invariant: what a method answered without an error is on the disk and survives a crash of the machine, and of
// whatever it did not answer so, either all or nothing is there. No statement ever runs under a caller's context.
package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// oldestSQLite is the first version without the bug of 3.7.0 to 3.51.2 that could corrupt a database whose write-ahead log
// is reset under readers.
const oldestSQLite = 3051003

// readers is how many connections read.
const readers = 4

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
	path       string
	migrations fs.FS
	clock      *Clock
	from       driver.Connector // of connections that write
	writer     *writer
	readers    chan *conn
	opened     int // how many readers there are
	wake       wake
	closing    chan struct{}
	closed     sync.Once
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
	if c.Create {
		if err := create(c.Path); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(c.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: `gatehouse serve` makes one; if it lies elsewhere, set data_dir", ErrNoDatabase, c.Path)
	} else if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db := &DB{
		path: c.Path, migrations: migrations, clock: NewClock(c.Now),
		readers: make(chan *conn, readers), closing: make(chan struct{}),
	}
	db.wake.c = make(chan struct{}, 1)
	if err := db.connect(); err != nil {
		db.Close()
		return nil, fmt.Errorf("open the database %s: %w", c.Path, err)
	}
	if err := db.checkVersion(ctx, c.Create || c.Pending); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// create makes an empty file that nobody else can read, if there is none. SQLite gives the files beside it the same mode.
// The file is closed before SQLite opens it: closing a descriptor later would drop SQLite's locks on it (POSIX, fcntl).
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	return f.Close()
}

func (db *DB) connect() error {
	var err error
	if db.from, err = connector(db.path, "_pragma=cache_size(-8000)"); err != nil {
		return err
	}
	if db.writer, err = newWriter(db.from, db.wake.kick); err != nil {
		return err
	}
	reading, err := connector(db.path, "_pragma=cache_size(-4000)", "_pragma=query_only(1)")
	if err != nil {
		return err
	}
	for range readers {
		c, err := newConn(reading)
		if err != nil {
			return err
		}
		if err := checkLibrary(c); err != nil {
			return errors.Join(err, c.close())
		}
		db.readers <- c
		db.opened++
	}
	return nil
}

// checkLibrary makes sure of what the store's promises rest on.
func checkLibrary(c *conn) error {
	var version, journal string
	var major, minor, patch, sync int
	if err := c.one("SELECT sqlite_version()", nil, out{&version}); err != nil {
		return err
	}
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return fmt.Errorf("the version of SQLite, %q: %w", version, err)
	}
	if major*1_000_000+minor*1_000+patch < oldestSQLite {
		return fmt.Errorf("SQLite is %s; before 3.51.3 it can corrupt a database", version)
	}
	if err := c.one("PRAGMA journal_mode", nil, out{&journal}); err != nil {
		return err
	}
	if err := c.one("PRAGMA synchronous", nil, out{&sync}); err != nil {
		return err
	}
	if journal != "wal" || sync != 2 {
		return fmt.Errorf("journal mode is %s and synchronous %d, but wal and 2 (full) are needed: does the file system lack shared memory?", journal, sync)
	}
	return nil
}

// Close commits what waits, ends the reads and closes the database. Afterwards every method fails. If it is [DB.Broken] the
// connections are left to the end of the process: the last one that closes would write once more.
func (db *DB) Close() error {
	var err error
	db.closed.Do(func() {
		close(db.closing)
		db.wake.wait()
		if db.writer != nil {
			err = errors.Join(err, db.writer.close())
		}
		for range db.opened { // a read that is running is waited for
			if c := <-db.readers; db.Broken() == nil {
				err = errors.Join(err, c.close())
			}
		}
	})
	return err
}

// Now is the store's time.
func (db *DB) Now() time.Time { return db.clock.Now() }

// Path is the database's file.
func (db *DB) Path() string { return db.path }

// Broken returns why nothing can be written any more, nil while all is well: the disk failed to take what it was given
// (fsync). What it then holds is unknown, so nothing is acknowledged until the process is started anew. Reads go on.
func (db *DB) Broken() error {
	if err := db.writer.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Check lets the database examine itself, every page and index (PRAGMA integrity_check). It takes time.
func (db *DB) Check(ctx context.Context) error {
	return db.read(ctx, func(c *conn) error { return integrity(c.all) })
}

func integrity(all func(string, in, func(func(...any) error) error) error) error {
	var found []error
	err := all("PRAGMA integrity_check(20)", nil, func(scan func(...any) error) error {
		var line string
		if err := scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			found = append(found, errors.New(line))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("check the database: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("the database is damaged: %w", errors.Join(found...))
	}
	return nil
}
