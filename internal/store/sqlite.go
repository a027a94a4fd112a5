package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// oldestSQLite is the first version without the bug of 3.7.0 to 3.51.2 that could corrupt a database whose write-ahead log
// is reset under readers.
const oldestSQLite = 3051003

// readers is how many connections read.
const readers = 4

// wakeEvery is how often the database is asked whether somebody else wrote to it.
const wakeEvery = 200 * time.Millisecond

// keepBackups is how many copies from before a migration are kept.
const keepBackups = 3

// A lite keeps the rows in one SQLite file. One connection writes, see [writer]; a few read.
type lite struct {
	path       string
	migrations fs.FS
	now        func() time.Time
	from       driver.Connector // of connections that write
	writer     *writer
	readers    chan *conn
	opened     int // how many readers there are
	closing    <-chan struct{}
}

// openLite opens the file of c, for which it looks before anything is made. kick is called after a commit that appended to the
// change log.
func openLite(c Config, migrations fs.FS, now func() time.Time, kick func(), closing <-chan struct{}) (*lite, error) {
	if err := checkInterrupted(c.Path); err != nil {
		return nil, err
	}
	if c.Create {
		if err := create(c.Path); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(c.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: `gatehouse serve` makes one; if it lies elsewhere, set data_dir", ErrNoDatabase, c.Path)
	} else if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	l := &lite{path: c.Path, migrations: migrations, now: now, readers: make(chan *conn, readers), closing: closing}
	if err := l.connect(kick); err != nil {
		l.close()
		return nil, fmt.Errorf("open the database %s: %w", c.Path, err)
	}
	return l, nil
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

func (l *lite) connect(kick func()) error {
	var err error
	if l.from, err = connector(l.path, "_pragma=cache_size(-8000)"); err != nil {
		return err
	}
	if l.writer, err = newWriter(l.from, kick); err != nil {
		return err
	}
	reading, err := connector(l.path, "_pragma=cache_size(-4000)", "_pragma=query_only(1)")
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
		l.readers <- c
		l.opened++
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

// close commits what waits and ends the reads. If the database is broken the connections are left to the end of the process:
// the last one that closes would write once more.
func (l *lite) close() error {
	var err error
	if l.writer != nil {
		err = l.writer.close()
	}
	for range l.opened { // a read that is running is waited for
		if c := <-l.readers; l.broken() == nil {
			err = errors.Join(err, c.close())
		}
	}
	return err
}

func (l *lite) update(ctx context.Context, fn func(*tx) error) error { return l.writer.do(ctx, fn) }

func (l *lite) read(ctx context.Context, fn func(querier) error) error {
	return l.reader(ctx, func(c *conn) error { return fn(c) })
}

// reader runs fn on one of the readers.
func (l *lite) reader(ctx context.Context, fn func(*conn) error) error {
	var c *conn
	select {
	case c = <-l.readers:
	default:
		select {
		case c = <-l.readers:
		case <-ctx.Done():
			return auth.ErrOverloaded.From(context.Cause(ctx))
		case <-l.closing:
			return errClosed
		}
	}
	defer func() { l.readers <- c }()
	return unavailable(fn(c))
}

func (l *lite) export(fn func(querier) error) error {
	from, err := connector(l.path, "_pragma=query_only(1)")
	if err != nil {
		return err
	}
	c, err := newConn(from)
	if err != nil {
		return unavailable(err)
	}
	if _, err = c.exec("BEGIN"); err == nil {
		err = fn(c)
		c.exec("ROLLBACK") // there is nothing to commit
	}
	return unavailable(errors.Join(err, c.close()))
}

func (l *lite) snapshot(ctx context.Context, fn func(querier) error) error {
	return l.reader(ctx, func(c *conn) error {
		_, err := c.exec("BEGIN")
		if code(err) == codeError { // one is open still: its end failed
			c.exec("ROLLBACK")
			_, err = c.exec("BEGIN")
		}
		if err != nil {
			return fmt.Errorf("begin to read: %w", err)
		}
		defer c.exec("ROLLBACK") // there is nothing to commit
		return fn(c)
	})
}

func (l *lite) name() string               { return l.path }
func (l *lite) product() string            { return "SQLite" }
func (l *lite) clockOffset() time.Duration { return 0 }
func (l *lite) waiting() int64             { return int64(len(l.writer.queue)) }

func (l *lite) promise(context.Context) (is, but string, err error) {
	return "what was acknowledged is on this machine's disk (one file, fsynced); the disk is the only copy, so make backups", "", nil
}

func (l *lite) broken() error {
	if err := l.writer.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *lite) check(ctx context.Context) error {
	return l.reader(ctx, func(c *conn) error { return integrity(c.all) })
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

func (l *lite) version(ctx context.Context) (have int64, err error) {
	err = l.read(ctx, func(q querier) error {
		var tables int
		err := q.one(`SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '`+versionTable+`'`, nil, out{&tables})
		if err != nil || tables == 0 {
			return err
		}
		return q.one(`SELECT COALESCE(MAX(version_id), 0) FROM `+versionTable, nil, out{&have})
	})
	return have, err
}

func (l *lite) migrate(ctx context.Context, from int64) error {
	if from > 0 {
		if _, err := l.backUp(ctx, from); err != nil {
			return fmt.Errorf("copy the database before migrating it: %w", err)
		}
	}
	pool := sql.OpenDB(l.from)
	defer pool.Close()
	return migrate(ctx, goose.DialectSQLite3, pool, l.migrations)
}

// backUp copies the database into the folder backups, examines the copy, removes older ones, and returns its path.
func (l *lite) backUp(ctx context.Context, version int64) (string, error) {
	dir := filepath.Join(filepath.Dir(l.path), "backups")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := fmt.Sprintf("gatehouse-%d-%s.db", version, l.now().Format("20060102T150405.000Z"))
	path := filepath.Join(dir, name)
	if err := l.copyTo(ctx, path); err != nil {
		return "", err
	}
	return path, dropOldBackups(dir)
}

// copyTo writes a copy of the whole database, as it is at one moment, into a new file that only its owner can read, and
// examines it. The server need not stop. If there is an error there is no file.
func (l *lite) copyTo(ctx context.Context, path string) (err error) {
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
	c, err := newConn(l.from) // its own: it takes long
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

// watch asks on one kept connection for data_version, which costs a look at shared memory and changes when any other
// connection has committed. Then, because most commits are logins, it looks whether the log has grown.
func (l *lite) watch(kick func()) {
	tick := time.NewTicker(wakeEvery)
	defer tick.Stop()
	c, err := newConn(l.from)
	if err == nil {
		defer c.close()
	}
	var version, head int64
	for {
		select {
		case <-l.closing:
			return
		case <-tick.C:
		}
		if err != nil { // no connection: the follower has to look for itself
			kick()
			continue
		}
		var v, h int64
		if err := c.one("PRAGMA data_version", nil, out{&v}); err == nil && v == version {
			continue
		}
		// The first time there is nothing to compare with, and the follower may have looked before.
		if err := c.one("SELECT head FROM log_head", nil, out{&h}); err != nil || version == 0 || h != head {
			kick()
		}
		version, head = v, h
	}
}
