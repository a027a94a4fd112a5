package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	// migrating is the advisory lock of whoever migrates: "gatehous".
	migrating = 0x67617465686f7573
	// migrateLock is how long a statement of a migration waits for a table. Whoever wants the table meanwhile waits behind it,
	// so it is short, and tried again.
	migrateLock, migrateTries = "1s", 10
)

func (p *postgres) version(ctx context.Context) (have int64, err error) {
	err = p.read(ctx, func(q querier) error {
		var there bool
		err := q.one(`SELECT to_regclass('`+versionTable+`') IS NOT NULL`, nil, out{&there})
		if err != nil || !there {
			return err
		}
		return q.one(`SELECT COALESCE(MAX(version_id), 0) FROM `+versionTable, nil, out{&have})
	})
	return have, err
}

// migrate waits for others that migrate, and then does what they left to do. Its statements may take their time.
func (p *postgres) migrate(ctx context.Context, _ int64) error {
	config := p.unhurried()
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer c.Close(context.Background()) // and with it the lock
	if _, err := c.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(migrating)); err != nil {
		return fmt.Errorf("wait for others who migrate: %w", err)
	}
	config = config.Copy()
	config.RuntimeParams["lock_timeout"] = migrateLock
	pool := stdlib.OpenDB(*config)
	defer pool.Close()
	for n := 1; ; n++ {
		err := migrate(ctx, goose.DialectPostgres, pool, p.migrations)
		var said *pgconn.PgError
		if n == migrateTries || !errors.As(err, &said) || said.Code != codeLockNotAvailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(n) * 100 * time.Millisecond):
		}
	}
}
