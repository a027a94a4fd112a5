package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver that the server has
)

// batch is how many rows are committed together at most.
const batch = 256

type session struct {
	id               string
	started, expires int64
}

type insertion struct {
	row  session
	done chan<- error
}

// sessions is a table to which rows are added, each on disk before its insert returns.
type sessions interface {
	insert(row session) error
}

// embedded are sessions in SQLite. One goroutine on one connection takes whatever rows are waiting, and waits for no more.
type embedded struct {
	db      *sql.DB
	conn    *sql.Conn
	add     *sql.Stmt
	waiting chan insertion
	stopped chan struct{}
}

func openEmbedded(ctx context.Context, dir string) (*embedded, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "floor.db")+
		"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	s := &embedded{db: db, waiting: make(chan insertion, batch), stopped: make(chan struct{})}
	if s.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	if _, err := s.conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, account INTEGER NOT NULL,
		credential TEXT NOT NULL, pos INTEGER NOT NULL, generation INTEGER NOT NULL, started_at INTEGER NOT NULL,
		expires_at INTEGER NOT NULL) STRICT`); err != nil {
		return nil, fmt.Errorf("create table: %w", err)
	}
	s.add, err = s.conn.PrepareContext(ctx, `INSERT INTO sessions (id, account, credential, pos, generation, started_at, expires_at)
		VALUES ($1, 100001, '`+credential+`', 1, 0, $2, $3)`)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	go s.commit(context.WithoutCancel(ctx))
	return s, nil
}

// insert returns when row is on disk.
func (s *embedded) insert(row session) error {
	done := make(chan error, 1)
	s.waiting <- insertion{row, done}
	return <-done
}

// Close must come after the last insert.
func (s *embedded) Close() error {
	close(s.waiting)
	<-s.stopped
	return s.db.Close()
}

func (s *embedded) commit(ctx context.Context) {
	defer close(s.stopped)
	group := make([]insertion, 0, batch)
	for first := range s.waiting {
		group = append(group[:0], first)
	gather:
		for len(group) < batch {
			select {
			case next, ok := <-s.waiting:
				if !ok {
					break gather
				}
				group = append(group, next)
			default:
				break gather
			}
		}
		err := s.write(ctx, group)
		for _, g := range group {
			g.done <- err
		}
	}
}

func (s *embedded) write(ctx context.Context, group []insertion) error {
	if _, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, g := range group {
		if _, err := s.add.ExecContext(ctx, g.row.id, g.row.started, g.row.expires); err != nil {
			s.conn.ExecContext(ctx, "ROLLBACK")
			return err
		}
	}
	_, err := s.conn.ExecContext(ctx, "COMMIT")
	return err
}
