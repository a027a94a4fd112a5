package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

// A Staging is where a backup becomes a database, before it takes the place of another: an SQLite file that nobody else opens.
// Until then nothing of it counts, so nothing of it is made sure of, and whatever goes wrong, it is thrown away.
type Staging struct {
	path       string
	migrations fs.FS
	wanted     int64 // the version of the schema
	from       driver.Connector
	conn       *conn
	clock      *Clock
	inserts    map[string]string // by table
}

// stagingName is what the files of stagings are called. A process that was killed leaves one behind.
const stagingName = "restoring-*.db"

// NewStaging makes an empty database with the schema of a version, in a folder where no other is made at the same time. A
// version that this program does not know is [ErrNewer].
func NewStaging(ctx context.Context, dir string, version int64, now func() time.Time) (*Staging, error) {
	if err := dropStagings(dir); err != nil {
		return nil, err
	}
	return newStaging(ctx, dir, version, NewClock(now))
}

func newStaging(ctx context.Context, dir string, version int64, clock *Clock) (*Staging, error) {
	migrations, err := fs.Sub(embedded, "migrations/sqlite")
	if err != nil {
		return nil, err
	}
	wanted, err := wantedVersion(migrations)
	if err != nil {
		return nil, err
	}
	if version > wanted {
		return nil, fmt.Errorf("%w: the backup has schema version %d, this program knows %d; restore it with the gatehouse that wrote it, or a later one",
			ErrNewer, version, wanted)
	}
	f, err := os.CreateTemp(dir, stagingName) // with mode 0600
	if err != nil {
		return nil, fmt.Errorf("make a database to restore into: %w", err)
	}
	s := &Staging{path: f.Name(), clock: clock, migrations: migrations, wanted: wanted, inserts: make(map[string]string)}
	if err = f.Close(); err == nil {
		err = s.open(ctx, version)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a database to restore into: %w", err), s.Discard())
	}
	return s, nil
}

func dropStagings(dir string) error {
	left, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for what an interrupted restore left: %w", err)
	}
	for _, f := range left {
		if ok, _ := filepath.Match(stagingName+"*", f.Name()); !ok { // the pattern is a good one
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return fmt.Errorf("remove what an interrupted restore left: %w", err)
		}
	}
	return nil
}

func (s *Staging) open(ctx context.Context, version int64) error {
	var err error
	s.from, err = dial(s.path, "mode=rw", "_txlock=immediate", "_pragma=journal_mode(memory)", "_pragma=synchronous(off)",
		"_pragma=foreign_keys(0)", "_pragma=cache_size(-65536)", "_pragma=temp_store(memory)")
	if err != nil {
		return err
	}
	if err := s.migrateTo(ctx, version); err != nil {
		return err
	}
	if s.conn, err = newConn(s.from); err != nil {
		return err
	}
	return s.begin()
}

func (s *Staging) migrateTo(ctx context.Context, version int64) error {
	pool := sql.OpenDB(s.from)
	defer pool.Close()
	return migrateTo(ctx, goose.DialectSQLite3, pool, s.migrations, version)
}

func (s *Staging) begin() error {
	_, err := s.conn.exec("BEGIN IMMEDIATE")
	return err
}

func (s *Staging) commit() error {
	_, err := s.conn.exec("COMMIT")
	return err
}

// Load adds a row as [backup.Reader.Next] returns it.
func (s *Staging) Load(t *backup.Table, row []any) error {
	insert, err := s.insertFor(t)
	if err != nil {
		return err
	}
	if _, err := s.conn.exec(insert, row...); err != nil {
		return fmt.Errorf("load a row of %s: %w", t.Name, err)
	}
	return nil
}

// insertFor is the statement for a row of t, whose columns the schema must have.
func (s *Staging) insertFor(t *backup.Table) (string, error) {
	if insert, ok := s.inserts[t.Name]; ok {
		return insert, nil
	}
	there := make(map[string]bool)
	err := s.conn.all("SELECT name FROM pragma_table_info($1)", in{t.Name}, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		there[name] = true
		return err
	})
	if err != nil {
		return "", err
	}
	names, places := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		if !there[c.Name] {
			return "", fmt.Errorf("load a row of %s: the schema has no column %s of that name", t.Name, c.Name)
		}
		names[i], places[i] = c.Name, "$"+strconv.Itoa(i+1)
	}
	insert := "INSERT INTO " + t.Name + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
	s.inserts[t.Name] = insert
	return insert, nil
}

// shut ends the loading: the file can be opened by others.
func (s *Staging) shut() error {
	err := s.commit()
	if e := s.conn.close(); err == nil {
		err = e
	}
	s.conn = nil
	return err
}

// Migrate brings what was loaded to the schema of this program. Everything is loaded by then.
func (s *Staging) Migrate(ctx context.Context) error {
	err := s.shut()
	if err == nil {
		err = s.migrateTo(ctx, s.wanted)
	}
	if err == nil {
		s.conn, err = newConn(s.from)
	}
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		return fmt.Errorf("migrate what was loaded: %w", err)
	}
	return nil
}

// A Census is what a database holds that lives.
type Census struct {
	Accounts    int64 // neither deleted nor suspended
	Credentials int64 // of those, that open something
}

// Census counts.
func (s *Staging) Census() (c Census, err error) {
	err = s.conn.one(`SELECT (SELECT count(*) FROM accounts WHERE suspended_at IS NULL),
		(SELECT count(*) FROM credentials c JOIN accounts a ON a.id = c.account
			WHERE a.suspended_at IS NULL AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > $1))`,
		in{s.clock.Now().UnixMilli()}, out{&c.Accounts, &c.Credentials})
	return c, wrap(err, "count what lives")
}

// skippedAccounts is how many numbers of accounts a restore leaves out: more than can have been given since the backup, for none
// may be used twice.
const skippedAccounts = 10_000

// BeginAnew makes another database of what was loaded: with the incarnation, the master key and the keys of b, what is
// sealed resealed, no session, and the act in the audit trail. What was signed before is then worth nothing.
func (s *Staging) BeginAnew(b Birth, reseal func(auth.Sealed) ([]byte, error), act auth.Act) error {
	t := &tx{on: s.conn}
	err := s.related()
	if err == nil {
		err = t.beginAnew(b, reseal)
	}
	if err == nil {
		err = t.audit(act, auth.Subject{}, s.clock.Now())
	}
	return wrap(err, "begin anew")
}

func (t *tx) beginAnew(b Birth, reseal func(auth.Sealed) ([]byte, error)) error {
	for name := range leftTables() {
		if aboutSchema(name) {
			continue
		}
		if _, err := t.exec(`DELETE FROM ` + name); err != nil {
			return err
		}
	}
	n, err := t.exec(`UPDATE meta SET incarnation = $1, seal_check = $2, master_key = $3, next_account = next_account + $4`,
		b.Incarnation, b.SealCheck, b.MasterKey, skippedAccounts)
	if err != nil {
		return err
	}
	if n != 1 {
		return errors.New("the backup does not say what its database was")
	}
	if _, err := t.exec(`DELETE FROM keys WHERE ring <> $1`, string(auth.PepperRing)); err != nil {
		return err
	}
	if _, err := t.resealAll("", b.MasterKey, reseal); err != nil {
		return err
	}
	for _, k := range b.Keys {
		if err := t.insertKey(k); err != nil {
			return err
		}
	}
	return nil
}

// related examines whether the rows that were loaded belong together.
func (s *Staging) related() error {
	var lost []error
	err := s.conn.all(`SELECT DISTINCT "table" FROM pragma_foreign_key_check UNION SELECT 'keys' FROM credentials
			WHERE secret_pepper NOT IN (SELECT id FROM keys) OR old_pepper NOT IN (SELECT id FROM keys)
		UNION SELECT 'keys' FROM recovery_codes WHERE pepper NOT IN (SELECT id FROM keys)
		UNION SELECT 'keys' FROM operator_tokens WHERE pepper NOT IN (SELECT id FROM keys)`, nil,
		func(scan func(...any) error) error {
			var name string
			err := scan(&name)
			lost = append(lost, fmt.Errorf("rows refer to rows of %s that are not there", name))
			return err
		})
	return errors.Join(err, errors.Join(lost...))
}

// finish writes everything to the disk, as a database that can be served. Nothing can be done with it any more.
func (s *Staging) finish() error {
	err := s.commit()
	var mode string
	if err == nil {
		err = s.conn.one("PRAGMA journal_mode = wal", nil, out{&mode})
	}
	if e := s.conn.close(); err == nil {
		err = e
	}
	s.conn = nil
	if err == nil && mode != "wal" {
		err = fmt.Errorf("its journal mode is %s", mode)
	}
	if err == nil {
		err = syncFile(s.path)
	}
	return err
}

// Discard throws away what was not put in the place of another.
func (s *Staging) Discard() error {
	var err error
	if s.conn != nil {
		err = s.conn.close()
		s.conn = nil
	}
	for _, end := range []string{"", "-wal", "-shm", "-journal"} {
		if e := os.Remove(s.path + end); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// ErrOpenElsewhere says that another program has the database open.
var ErrOpenElsewhere = errors.New("another program has the database open")

// TakePlace puts the database where there is none, or in the place of one that is then kept at aside. Whoever calls it holds the
// data directory. Killed in between, it leaves a database that opens with [ErrInterrupted]. On an error everything is
// as it was.
func (s *Staging) TakePlace(path, aside string) (err error) {
	if err := s.finish(); err != nil {
		return fmt.Errorf("end the restore: %w", err)
	}
	if _, err = os.Stat(path); err == nil {
		err = settle(path)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = swap(s.path, path, aside)
	}
	return wrap(err, "put the database in its place")
}

// settle brings what the write-ahead log of a database holds into its file, and makes sure that nobody has it open: a log that
// belongs to another file, under the same name, would destroy it. One that is damaged stays as it is.
func settle(path string) error {
	from, err := dial(path, "mode=rw", "_pragma=busy_timeout(2000)")
	if err != nil {
		return err
	}
	c, err := newConn(from)
	if err == nil {
		var mode string
		err = c.one("PRAGMA journal_mode = delete", nil, out{&mode}) // which only the last one who has it open can do
		if e := c.close(); err == nil {
			err = e
		}
	}
	if k := code(err) & 0xff; k == codeBusy || k == codeLocked {
		return ErrOpenElsewhere
	}
	return nil
}

// swap moves old, with what lies beside it, to aside, and fresh to old.
func swap(fresh, old, aside string) (err error) {
	mark, dir := interruptedMark(old), filepath.Dir(old)
	f, err := os.OpenFile(mark, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) // an interrupted restore ends here
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, aside)
	if err = errors.Join(err, f.Sync(), f.Close(), syncFile(dir)); err != nil {
		return err
	}
	var moved []string
	for _, end := range []string{"-wal", "-shm", ""} {
		err = os.Rename(old+end, aside+end)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
			continue
		}
		if err != nil {
			break
		}
		moved = append(moved, end)
	}
	if err == nil {
		err = os.Rename(fresh, old)
	}
	if err != nil {
		for _, end := range moved {
			err = errors.Join(err, os.Rename(aside+end, old+end))
		}
	}
	return errors.Join(err, syncFile(dir), os.Remove(mark), syncFile(dir))
}

// ErrInterrupted says that a restore was killed while it put one database in the place of another.
var ErrInterrupted = errors.New("a restore was interrupted")

func interruptedMark(path string) string { return path + ".restore-interrupted" }

// checkInterrupted is [ErrInterrupted] if the database at path is none to be opened.
func checkInterrupted(path string) error {
	aside, err := os.ReadFile(interruptedMark(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return fmt.Errorf("%w while it put a database in the place of %s; the one before lies at %s: run the same `gatehouse restore` again",
		ErrInterrupted, path, strings.TrimSpace(string(aside)))
}

// Version is that of the schema it has in the end.
func (s *Staging) Version() int64 { return s.wanted }
