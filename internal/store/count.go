package store

import (
	"context"
	"time"
)

// CountExpiring returns how many credentials that are not revoked expire after one moment and not after another.
func (db *DB) CountExpiring(ctx context.Context, after, until time.Time) (n int64, err error) {
	err = db.read(ctx, func(q querier) error {
		return q.one(`SELECT count(*) FROM credentials WHERE expires_at > $1 AND expires_at <= $2 AND revoked_at IS NULL`,
			in{after.UnixMilli(), until.UnixMilli()}, out{&n})
	})
	return n, wrap(err, "count the credentials that expire")
}

// Waiting is how many updates wait for a commit now.
func (db *DB) Waiting() int64 { return db.engine.waiting() }
