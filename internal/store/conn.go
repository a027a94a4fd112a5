package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/gatehouse/gatehouse/internal/auth"
)

type (
	in  = []any // what goes into a statement
	out = []any // where one row goes
)

// unhurried is the context of every statement. It has no end: SQLite answers an interrupt by rolling back the whole
// transaction, and statements after that would commit by themselves. It also spares the driver a watching goroutine per
// statement.
var unhurried = context.Background()

// A conn is one connection with the statements it has compiled. The driver keeps a compiled statement only where it was
// prepared, so BEGIN and its kin are prepared too. One goroutine at a time may use it.
type conn struct {
	sql   *sql.Conn
	stmts map[string]*sql.Stmt
}

func newConn(pool *sql.DB) (*conn, error) {
	c, err := pool.Conn(unhurried)
	if err != nil {
		return nil, err
	}
	return &conn{sql: c, stmts: make(map[string]*sql.Stmt)}, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		s.Close()
	}
	return c.sql.Close()
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.sql.PrepareContext(unhurried, query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// exec runs a statement without rows and returns how many it changed.
func (c *conn) exec(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(unhurried, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// one reads the one row of a statement; without a row it is [sql.ErrNoRows].
func (c *conn) one(query string, args in, row out) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(unhurried, args...).Scan(row...)
}

// all calls each for every row of a statement.
func (c *conn) all(query string, args in, each func(scan func(...any) error) error) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(unhurried, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// A tx is one member of a transaction. After an error of the database it runs nothing more, and what it did is rolled
// back, even if its function hides the error: the transaction may be gone, and a statement would commit by itself.
type tx struct {
	*conn
	failed   error
	appended bool // to the change log
}

func (t *tx) note(err error) error {
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
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
