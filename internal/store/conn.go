package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"

	"github.com/gatehouse/gatehouse/internal/auth"
)

type (
	in  = []any // what goes into a statement: int64, int, string, []byte, nil
	out = []any // where the columns of a row go: see assign
)

// unhurried is the context of every statement. It has no end: SQLite answers an interrupt by rolling back the whole
// transaction, and statements after that would commit by themselves. It also spares the driver a watching goroutine per
// statement.
var unhurried = context.Background()

// errNoRow is what a statement without a row gives where one was asked for.
var errNoRow = errors.New("no row")

func isNoRow(err error) bool { return errors.Is(err, errNoRow) }

// connector opens connections to the database at path, which must exist.
func connector(path string, more ...string) (driver.Connector, error) {
	return dial(path, append([]string{
		"mode=rw", "_txlock=immediate", "_pragma=busy_timeout(5000)", "_pragma=foreign_keys(1)", "_pragma=journal_mode(wal)",
		"_pragma=synchronous(full)", "_pragma=wal_autocheckpoint(0)", "_pragma=journal_size_limit(67108864)",
		"_pragma=trusted_schema(0)",
	}, more...)...)
}

// dial names the file by a URI, escaped: a path may hold '?', '#' and '%'.
func dial(path string, params ...string) (driver.Connector, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return sqlite.NewConnector("file:" + (&url.URL{Path: abs}).EscapedPath() + "?" + strings.Join(params, "&"))
}

// A conn is one connection with the statements it has compiled. One goroutine at a time may use it.
//
// It speaks to the driver without sql.DB between, which owns no connection of ours for long anyway: measured, a read of one
// row costs less than half. The driver keeps a compiled statement only where it was prepared, so BEGIN and its kin are
// prepared too.
type conn struct {
	driver driver.Conn
	stmts  map[string]stmt
	args   []driver.NamedValue // reused
	row    []driver.Value      // reused
}

type stmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func newConn(from driver.Connector) (*conn, error) {
	c, err := from.Connect(unhurried)
	if err != nil {
		return nil, err
	}
	return &conn{driver: c, stmts: make(map[string]stmt)}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.driver.Close())...)
}

func (c *conn) prepare(query string) (stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	prepared, err := c.driver.Prepare(query)
	if err != nil {
		return nil, err
	}
	s, ok := prepared.(stmt)
	if !ok {
		return nil, fmt.Errorf("the driver's statement is a %T", prepared)
	}
	c.stmts[query] = s
	return s, nil
}

func (c *conn) bind(args in) ([]driver.NamedValue, error) {
	c.args = c.args[:0]
	for i, a := range args {
		switch v := a.(type) {
		case int64, string, []byte, nil:
		case int:
			a = int64(v)
		default:
			return nil, fmt.Errorf("argument %d is a %T", i+1, a)
		}
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args, nil
}

// exec runs a statement without rows and returns how many it changed.
func (c *conn) exec(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	bound, err := c.bind(args)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(unhurried, bound)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// one reads the one row of a statement; without a row it is errNoRow.
func (c *conn) one(query string, args in, to out) error {
	rows, err := c.query(query, args)
	if err != nil {
		return err
	}
	c.row = append(c.row[:0], make([]driver.Value, len(to))...)
	if err = rows.Next(c.row); err == nil {
		err = assign(to, c.row)
	} else if err == io.EOF {
		err = errNoRow
	}
	clear(c.row)
	if e := rows.Close(); err == nil {
		err = e
	}
	return err
}

// all calls each for every row of a statement, with a function that puts its columns where they go.
func (c *conn) all(query string, args in, each func(scan func(...any) error) error) (err error) {
	rows, err := c.query(query, args)
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	row := make([]driver.Value, len(rows.Columns()))
	scan := func(to ...any) error { return assign(to, row) }
	for {
		if err := rows.Next(row); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := each(scan); err != nil {
			return err
		}
	}
}

func (c *conn) query(query string, args in) (driver.Rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	bound, err := c.bind(args)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(unhurried, bound)
}

// A tx is one member of a transaction. After an error of the database it runs nothing more, and what it did is rolled
// back, even if its function hides the error: the transaction may be gone, and a statement would commit by itself.
type tx struct {
	*conn
	failed   error
	appended bool // to the change log
}

func (t *tx) note(err error) error {
	if err != nil && err != errNoRow {
		t.failed = err
	}
	return err
}

func (t *tx) exec(query string, args ...any) (int64, error) {
	if t.failed != nil {
		return 0, t.failed
	}
	n, err := t.conn.exec(query, args...)
	return n, t.note(err)
}

func (t *tx) one(query string, args in, row out) error {
	if t.failed != nil {
		return t.failed
	}
	return t.note(t.conn.one(query, args, row))
}

func (t *tx) all(query string, args in, each func(scan func(...any) error) error) error {
	if t.failed != nil {
		return t.failed
	}
	return t.note(t.conn.all(query, args, each))
}

// read runs fn on one of the readers, each statement for itself. A reader is waited for as long as ctx lets.
func (db *DB) read(ctx context.Context, fn func(*conn) error) error {
	var c *conn
	select {
	case c = <-db.readers:
	default:
		select {
		case c = <-db.readers:
		case <-ctx.Done():
			return auth.ErrOverloaded.From(context.Cause(ctx))
		case <-db.closing:
			return errClosed
		}
	}
	defer func() { db.readers <- c }()
	return unavailable(fn(c))
}

// snapshot runs fn on one of the readers in one transaction: all its statements see the same moment.
func (db *DB) snapshot(ctx context.Context, fn func(*conn) error) error {
	return db.read(ctx, func(c *conn) error {
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
