// Package store keeps everything that must survive: accounts, credentials, sessions, keys, the change log, the audit
// trail, usage and refusals, in one SQLite file. A method is one transaction, named for its intent. What may be done is
// decided by gate and registry; only the guards that two requests could race through are here, as conditions of the SQL.
//
// The invariant: what a method answered without an error is on the disk and survives a crash of the machine, and of
// whatever it did not answer so, either all or nothing is there. No statement ever runs under a caller's context.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver
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
	path    string
	clock   *Clock
	pool    *sql.DB // of the readers
	readers chan *conn
	opened  int // how many readers there are
	writing *sql.DB
	writer  *writer
	wake    wake
	closing chan struct{}
	closed  sync.Once
}

// Open opens the database. It migrates nothing, see [DB.Migrate].
//
// Without a file and without Create it is [ErrNoDatabase], with migrations pending and without Pending [ErrPending], and
// with a database that a later version has migrated [ErrNewer].
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Create {
		if err := create(c.Path); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(c.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: `gatehouse serve` makes one; if it lies elsewhere, set data_dir", ErrNoDatabase, c.Path)
	} else if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db := &DB{path: c.Path, clock: NewClock(c.Now), readers: make(chan *conn, readers), closing: make(chan struct{})}
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
	if db.writing, err = open(db.path); err != nil {
		return err
	}
	if err := checkLibrary(db.writing); err != nil {
		return err
	}
	if db.writer, err = newWriter(db.writing, db.wake.kick); err != nil {
		return err
	}
	if db.pool, err = open(db.path, "_pragma=query_only(1)"); err != nil {
		return err
	}
	for range readers {
		c, err := newConn(db.pool)
		if err != nil {
			return err
		}
		db.readers <- c
		db.opened++
	}
	return nil
}

// open opens a pool of connections to the database at path, which must exist. The busy timeout is for commands that write
// beside a server.
func open(path string, more ...string) (*sql.DB, error) {
	return dial(path, append([]string{
		"mode=rw", "_txlock=immediate", "_pragma=busy_timeout(5000)", "_pragma=foreign_keys(1)", "_pragma=journal_mode(wal)",
		"_pragma=synchronous(full)", "_pragma=wal_autocheckpoint(0)", "_pragma=journal_size_limit(67108864)",
		"_pragma=trusted_schema(0)", "_pragma=cache_size(-16000)",
	}, more...)...)
}

// dial names the file by a URI, escaped: a path may hold '?', '#' and '%'.
func dial(path string, params ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: abs}).EscapedPath()+"?"+strings.Join(params, "&"))
}

// checkLibrary makes sure of what the store's promises rest on.
func checkLibrary(pool *sql.DB) error {
	var version string
	var major, minor, patch, sync int
	var journal string
	if err := pool.QueryRowContext(unhurried, "SELECT sqlite_version()").Scan(&version); err != nil {
		return err
	}
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return fmt.Errorf("the version of SQLite, %q: %w", version, err)
	}
	if major*1_000_000+minor*1_000+patch < oldestSQLite {
		return fmt.Errorf("SQLite is %s; before 3.51.3 it can corrupt a database", version)
	}
	c, err := pool.Conn(unhurried)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.QueryRowContext(unhurried, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if err := c.QueryRowContext(unhurried, "PRAGMA synchronous").Scan(&sync); err != nil {
		return err
	}
	if journal != "wal" || sync != 2 {
		return fmt.Errorf("journal mode is %s and synchronous %d, but wal and 2 (full) are needed: does the file system lack shared memory?", journal, sync)
	}
	return nil
}

// Close commits what waits, ends the reads and closes the database. Afterwards every method fails.
func (db *DB) Close() error {
	var err error
	db.closed.Do(func() {
		close(db.closing)
		db.wake.wait()
		if db.writer != nil {
			err = errors.Join(err, db.writer.close())
		}
		if db.pool != nil {
			for range db.opened { // a read that is running is waited for
				c := <-db.readers
				err = errors.Join(err, c.close())
			}
			err = errors.Join(err, db.pool.Close())
		}
		if db.writing != nil {
			err = errors.Join(err, db.writing.Close())
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
