package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Pour puts what was staged into a PostgreSQL database, all in one transaction. One that holds something already is
// [auth.ErrConflict] unless replace. Servers that follow it, if there are any, meet another incarnation; until then they see what was
// there. each is called after each row.
func (s *Staging) Pour(ctx context.Context, db *DB, replace bool, each func()) error {
	p, ok := db.engine.(*postgres)
	if !ok {
		return fmt.Errorf("pour a backup into %s: it is an embedded one", db.Path())
	}
	return wrap(p.take(ctx, s, replace, each), "write what is restored to "+p.name())
}

func (p *postgres) take(ctx context.Context, s *Staging, replace bool, each func()) error {
	c, err := pgx.ConnectConfig(ctx, p.unhurried())
	if err != nil {
		return auth.ErrOverloaded.From(fmt.Errorf("connect: %w", err))
	}
	defer c.Close(context.Background())
	// What it did is rolled back with the connection, unless it is committed.
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	copied := copiedTables()
	var tables []string
	for _, t := range copied {
		tables = append(tables, t.Name)
	}
	for name := range leftTables() {
		// Whoever runs enters himself again and again, and the version is that of the tables.
		if !aboutSchema(name) && name != "replicas" {
			tables = append(tables, name)
		}
	}
	slices.Reverse(tables) // who refers before who is referred to
	// Readers go on seeing what was there. Emptied by TRUNCATE, the tables would look empty to a reader who began before.
	if _, err := tx.Exec(ctx, `LOCK TABLE `+strings.Join(tables, ", ")+` IN EXCLUSIVE MODE`); err != nil {
		return err
	}
	var there int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM meta`).Scan(&there); err != nil {
		return err
	}
	if there > 0 && !replace {
		return auth.ErrConflict.Saying("The database has been set up already")
	}
	for _, name := range tables {
		if _, err := tx.Exec(ctx, `DELETE FROM `+name); err != nil {
			return err
		}
	}
	for _, t := range copied {
		t.where = "" // what was staged is all needed
		if err := copyTable(ctx, tx, s, t, each); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	for table, column := range map[string]string{"audit": "number", "keys": "seq", "audit_keys": "seq"} {
		if _, err := tx.Exec(ctx, `SELECT setval(pg_get_serial_sequence('`+table+`', '`+column+`'), (SELECT COALESCE(MAX(`+column+`), 0) + 1 FROM `+table+`), false)`); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `SELECT pg_notify('`+channel+`', '')`); err != nil {
		return err
	}
	return tx.Commit(context.WithoutCancel(ctx))
}

// errStopped ends the reading of rows that nobody takes any more.
var errStopped = errors.New("nobody takes the rows")

// copyTable copies the rows of one table, by COPY.
func copyTable(ctx context.Context, tx pgx.Tx, s *Staging, t copied, each func()) error {
	var failed error
	next, stop := iter.Pull(func(yield func([]any) bool) {
		failed = exportTable(ctx, s.conn, t, func(row []any) error {
			if !yield(row) {
				return errStopped
			}
			return nil
		})
	})
	defer stop()
	var names []string
	for _, c := range t.Columns {
		names = append(names, c.Name)
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{t.Name}, names, pgx.CopyFromFunc(func() ([]any, error) {
		row, ok := next()
		if !ok {
			return nil, failed
		}
		if each != nil {
			each()
		}
		return row, nil
	}))
	return err
}
