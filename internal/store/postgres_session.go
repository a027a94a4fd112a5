package store

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A session is a connection in one call of the store. Statements that nobody waits for travel with the next that somebody
// does, and so do BEGIN and COMMIT: each round trip is a millisecond on some networks.
type session struct {
	conn  *pgx.Conn
	ctx   context.Context // the store's own
	begin string          // how a transaction begins; "": each statement for itself
	begun bool            // and not ended
	done  bool            // committed
	told  bool            // a row of many
	queue []queued
	row   []driver.Value // reused

	server *serverClock
}

type queued struct {
	query string
	args  in
}

var errDone = errors.New("the transaction has been committed")

func (s *session) exec(query string, args ...any) (n int64, err error) {
	err = s.run(query, args, func(rows pgx.Rows) error {
		rows.Close()
		n = rows.CommandTag().RowsAffected()
		return s.broke(rows.Err())
	})
	return n, err
}

func (s *session) one(query string, args in, to out) error {
	return s.run(query, args, func(rows pgx.Rows) error {
		defer rows.Close()
		if !rows.Next() {
			if err := rows.Err(); err != nil {
				return s.broke(err)
			}
			return errNoRow
		}
		if err := s.scan(rows, to); err != nil {
			return err
		}
		rows.Close()
		return s.broke(rows.Err())
	})
}

func (s *session) all(query string, args in, each func(scan func(...any) error) error) error {
	return s.run(query, args, func(rows pgx.Rows) error {
		defer rows.Close()
		scan := func(to ...any) error { return s.scan(rows, to) }
		for rows.Next() {
			s.told = true
			if err := each(scan); err != nil {
				return err
			}
		}
		return s.broke(rows.Err())
	})
}

func (s *session) later(query string, args ...any) error {
	if s.done {
		return errDone
	}
	if err := sound(args); err != nil {
		return err
	}
	s.queue = append(s.queue, queued{query, args})
	return nil
}

func (s *session) hold(query string, args ...any) error { return s.later(query, args...) }

// whole runs the change in a transaction of its own, if nothing went before: without a row changed that has done nothing, and
// others may follow.
func (s *session) whole(w whole, args in, _ string, to out) (bool, error) {
	alone := !s.begun && len(s.queue) == 0
	if alone {
		began := s.begin
		s.begin = ""
		defer func() { s.begin = began }()
		s.quiet()
	}
	err := s.one(w.returning, args, to)
	switch {
	case err == errNoRow:
		return false, nil
	case err != nil && alone:
		return false, s.unknown(err)
	case err == nil && alone:
		s.done = true
		err = s.warning()
	}
	return err == nil, err
}

// A position that is drawn on another timeline than the last leaves room for those that were lost with the server before:
// tokens carry them, and none may be used twice.
func (s *session) draw() string {
	return `UPDATE log_head SET head = head + $1 + CASE WHEN timeline IN ('', ` + timelineNow + `) THEN 0 ELSE 999999 END,
		timeline = ` + timelineNow + ` RETURNING head`
}

// run sends a statement, with what waited for it, and has its rows read.
func (s *session) run(query string, args in, read func(pgx.Rows) error) error {
	if s.done {
		return errDone
	}
	if err := sound(args); err != nil {
		return err
	}
	if s.begin == "" || s.begun && len(s.queue) == 0 {
		rows, err := s.conn.Query(s.ctx, query, args...)
		if err != nil {
			return s.broke(err)
		}
		return read(rows)
	}
	b, before := s.batch()
	b.Queue(query, args...)
	results := s.conn.SendBatch(s.ctx, b)
	for range before {
		if _, err := results.Exec(); err != nil {
			results.Close()
			return s.broke(err)
		}
	}
	rows, err := results.Query()
	if err == nil {
		err = read(rows)
	} else {
		err = s.broke(err)
	}
	if e := results.Close(); e != nil && (err == nil || err == errNoRow) {
		err = s.broke(e)
	}
	return err
}

// batch begins with what waits, and the beginning itself.
func (s *session) batch() (*pgx.Batch, int) {
	b := new(pgx.Batch)
	if !s.begun {
		b.Queue(s.begin)
		s.begun = true
	}
	for _, q := range s.queue {
		b.Queue(q.query, q.args...)
	}
	s.queue = nil
	return b, b.Len()
}

// commit commits. An error whose outcome is not known says so: see unknown.
func (s *session) commit() error {
	if s.done || !s.begun && len(s.queue) == 0 {
		return nil
	}
	b, before := s.batch()
	b.Queue("COMMIT")
	s.quiet()
	results := s.conn.SendBatch(s.ctx, b)
	for range before {
		if _, err := results.Exec(); err != nil {
			results.Close()
			return s.unknown(err)
		}
	}
	tag, err := results.Exec()
	if e := results.Close(); err == nil {
		err = e
	}
	if err != nil {
		return s.unknown(err)
	}
	s.begun, s.done = false, true
	if tag.String() != "COMMIT" {
		return fmt.Errorf("COMMIT was answered by %s", tag)
	}
	return s.warning()
}

// rollback ends a transaction that was not committed. If that fails the connection is closed, which ends it too.
func (s *session) rollback() {
	if !s.begun || s.done || s.conn.IsClosed() {
		return
	}
	if _, err := s.conn.Exec(s.ctx, "ROLLBACK"); err != nil && !s.conn.IsClosed() {
		s.conn.PgConn().Conn().Close()
		s.conn.Close(s.ctx)
	}
}

// quiet forgets earlier warnings.
func (s *session) quiet() { delete(s.conn.PgConn().CustomData(), warned) }

// warning is the error of a commit that succeeded with a warning: the server gave up waiting for its standby, and what was
// committed may be lost in a failover.
func (s *session) warning() error {
	if w, ok := s.conn.PgConn().CustomData()[warned].(error); ok {
		return &lost{fmt.Errorf("commit: %w", w), true}
	}
	return nil
}

// scan puts the columns of the current row where they go.
func (s *session) scan(rows pgx.Rows, to out) error {
	s.row = s.row[:0]
	columns := rows.FieldDescriptions()
	for i, raw := range rows.RawValues() {
		v, err := column(columns[i], raw)
		if err != nil {
			return fmt.Errorf("column %s: %w", columns[i].Name, err)
		}
		s.row = append(s.row, v)
	}
	err := assign(to, s.row)
	clear(s.row)
	return err
}

// column is a column as SQLite's driver has it too.
func column(c pgconn.FieldDescription, raw []byte) (any, error) {
	switch {
	case raw == nil:
		return nil, nil
	case c.DataTypeOID == pgtype.TextOID:
		return string(raw), nil
	case c.DataTypeOID == pgtype.Int8OID && c.Format == pgtype.BinaryFormatCode && len(raw) == 8:
		return int64(binary.BigEndian.Uint64(raw)), nil
	case c.DataTypeOID == pgtype.BoolOID && c.Format == pgtype.BinaryFormatCode && len(raw) == 1:
		return raw[0] != 0, nil
	case c.DataTypeOID == pgtype.ByteaOID && c.Format == pgtype.BinaryFormatCode:
		return append([]byte{}, raw...), nil
	}
	return nil, fmt.Errorf("its type, %d, is none of ours", c.DataTypeOID)
}

var errUnsound = auth.ErrInvalid.Saying("Text with a zero byte, or that is not UTF-8, cannot be stored, and nothing is named so")

// sound refuses text that PostgreSQL does not hold. It should have been refused where it was parsed.
func sound(args in) error {
	for _, a := range args {
		if s, ok := a.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			return errUnsound
		}
	}
	return nil
}
