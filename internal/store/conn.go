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
)

// unhurried is the context of every statement. It has no end: SQLite answers an interrupt by rolling back the whole
// transaction, and statements after that would commit by themselves. It also spares the driver a watching goroutine per
// statement.
var unhurried = context.Background()

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

func (c *conn) later(query string, args ...any) error {
	_, err := c.exec(query, args...)
	return err
}

// hold has nothing to do: one writes at a time.
func (c *conn) hold(string, ...any) error { return nil }

// whole reads the row by a second statement: RETURNING would build a table of one row first, which costs twice as much.
func (c *conn) whole(w whole, args in, id string, to out) (bool, error) {
	n, err := c.exec(w.change, args...)
	if err != nil || n == 0 {
		return false, err
	}
	return true, c.one(w.read, in{id}, to)
}

// clock has nothing to do: the file's time is this machine's.
func (c *conn) clock() error { return nil }

func (c *conn) draw() string { return `UPDATE log_head SET head = head + $1 RETURNING head` }
