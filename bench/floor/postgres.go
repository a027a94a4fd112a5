package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// pool is how many connections there are at most: as many as the server has by default.
const pool = 20

// remote are sessions in PostgreSQL. Each row is a transaction of its own, by one statement, on whatever connection is free.
type remote struct {
	pool *pgxpool.Pool
}

func openRemote(ctx context.Context, url string) (*remote, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = pool
	s := new(remote)
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	if _, err := s.pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS floor_sessions (id TEXT COLLATE "C" PRIMARY KEY, account BIGINT NOT NULL,
		credential TEXT COLLATE "C" NOT NULL, pos BIGINT NOT NULL, generation BIGINT NOT NULL, started_at BIGINT NOT NULL,
		expires_at BIGINT NOT NULL)`); err != nil {
		return nil, fmt.Errorf("create table: %w", err)
	}
	return s, nil
}

// insert returns when row is on the server's disk.
func (s *remote) insert(row session) error {
	_, err := s.pool.Exec(context.Background(), `INSERT INTO floor_sessions (id, account, credential, pos, generation, started_at, expires_at)
		VALUES ($1, 100001, '`+credential+`', 1, 0, $2, $3)`, row.id, row.started, row.expires)
	return err
}

// Close must come after the last insert.
func (s *remote) Close() error {
	s.pool.Close()
	return nil
}
