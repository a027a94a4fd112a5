// Package store keeps everything that must survive: accounts, credentials, sessions, people, keys, the change log, the
// audit trail, usage, refusals, and what webhooks have still to tell, in one SQLite file or in a PostgreSQL database. A method is one transaction, named for its intent.
// What may be done is decided by gate and registry; only the guards that two requests could race through are here, as conditions
// of the SQL.
//
// The invariant: what a method answered without an error is committed, and survives a crash of the machine as far as the database
// was set to see to that, and of whatever it did not answer so, either all or nothing is there. No statement ever runs under a caller's context.
package store

import (
	"cmp"
	"context"
	"io/fs"
	"sync"
	"time"
)

// Config says which database to open.
type Config struct {
	// Path is the file. Beside it SQLite keeps two more, with "-wal" and "-shm" added, and Migrate the folder backups.
	Path string
	// URL is that of a PostgreSQL database (postgres://user:password@host/name), which is used instead of a file if it is set.
	// Several hosts may stand in it: the one that takes writes is used. It holds a password and is never repeated.
	URL string
	// Pool is for PostgreSQL.
	Pool Pool
	// Create makes an empty database, and its folder, if there is none. It implies Pending.
	Create bool
	// Pending opens a database whose migrations are pending, for [DB.Version] and [DB.Migrate]; without it that is
	// [ErrPending].
	Pending bool
	// Now is the time; nil means the process's clock, or with PostgreSQL that of its server. It never runs backwards here, see
	// [Clock].
	Now func() time.Time
}

// A Pool says how many connections there are to PostgreSQL, and how long a statement on one may take. Zero means 20, and 2 s.
type Pool struct {
	MaxConnections   int
	StatementTimeout time.Duration
}

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	engine engine
	wanted int64 // the version of the schema
	now    func() time.Time
	wake   wake
	rooms  rooms

	closing chan struct{}
	closed  sync.Once
}

// Open opens the database. It migrates nothing, see [DB.Migrate].
//
// Without a file and without Create it is [ErrNoDatabase], with migrations pending and without Pending [ErrPending], and
// with a database that a later version has migrated to what this one cannot use [ErrNewer]. PostgreSQL's databases are made by hand: an empty one is
// without its migrations.
func Open(ctx context.Context, c Config) (*DB, error) {
	dialect := "migrations/sqlite"
	if c.URL != "" {
		dialect = "migrations/postgres"
	}
	migrations, err := fs.Sub(embedded, dialect)
	if err != nil {
		return nil, err
	}
	return open(ctx, c, migrations)
}

func open(ctx context.Context, c Config, migrations fs.FS) (*DB, error) {
	c.Pool.MaxConnections = cmp.Or(c.Pool.MaxConnections, 20)
	c.Pool.StatementTimeout = cmp.Or(c.Pool.StatementTimeout, 2*time.Second)
	wanted, err := wantedVersion(migrations)
	if err != nil {
		return nil, err
	}
	db := &DB{wanted: wanted, closing: make(chan struct{})}
	db.wake.c = make(chan struct{}, 1)
	if err := db.open(ctx, c, migrations); err != nil {
		return nil, err
	}
	if err := db.checkVersion(ctx, c.Create || c.Pending); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, c Config, migrations fs.FS) (err error) {
	db.now = NewClock(c.Now).Now
	if c.URL == "" {
		db.engine, err = openLite(c, migrations, db.now, db.wake.kick, db.closing)
		return err
	}
	clock := new(serverClock)
	if c.Now == nil {
		db.now = clock.Now
	}
	db.engine, err = openPostgres(ctx, c, migrations, clock, db.wake.kick, db.closing)
	return err
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
func (db *DB) Now() time.Time { return db.now() }

// Path says which database this is: its file, or its URL without user and password.
func (db *DB) Path() string { return db.engine.name() }

// Broken returns why nothing can be written any more, nil while all is well: the disk failed to take what it was given
// (fsync). What it then holds is unknown, so nothing is acknowledged until the process is started anew. Reads go on.
func (db *DB) Broken() error { return db.engine.broken() }

// Check lets the database examine itself, every page and index (PRAGMA integrity_check). It takes time.
func (db *DB) Check(ctx context.Context) error { return db.engine.check(ctx) }

// ClockOffset is how far the database's clock is ahead of this machine's, as measured last; 0 where they are one.
func (db *DB) ClockOffset() time.Duration { return db.engine.clockOffset() }

// Durability says in one sentence where what was acknowledged is, and in another, if it is less than anybody should rely on, why.
func (db *DB) Durability(ctx context.Context) (is, but string, err error) {
	is, but, err = db.engine.promise(ctx)
	return is, but, wrap(err, "ask how safe the database is")
}
