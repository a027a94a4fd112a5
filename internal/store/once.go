package store

import (
	"context"
	"time"
)

// UseOnce says whether what has this digest is used for the first time, on any replica, and remembers it for as long as it could
// be presented again. Of two who use it at once one is first.
func (db *DB) UseOnce(ctx context.Context, digest []byte, until time.Time) (first bool, err error) {
	first, err = update(ctx, db, func(t *tx) (bool, error) {
		n, err := t.exec(`INSERT INTO used_once (digest, until) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, digest, until.UnixMilli())
		return n == 1, err
	})
	return first, wrap(err, "remember what was used")
}
