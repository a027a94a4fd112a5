package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// pruneBatch is how many rows go in one transaction: few enough that a login waiting for the same commit does not notice.
const pruneBatch = 500

// PruneBefore says what may go: whatever is older. A zero time keeps everything.
type PruneBefore struct {
	Audit    time.Time
	Refusals time.Time
	Usage    time.Time
	Sessions time.Time // whose refresh and access tokens both expired before
	Changes  time.Time
}

// Prune deletes what is old, in small batches, each a transaction. Revocations of sessions go when they need not be
// remembered any more. An entry of an allowlist never goes by itself: without its last one the account would be open.
func (db *DB) Prune(ctx context.Context, before PruneBefore) error {
	for _, p := range []struct {
		what, query string
		before      time.Time
	}{
		{"audit trail", `DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at < $1 ORDER BY at LIMIT $2)`, before.Audit},
		{"refusals", `DELETE FROM refusals WHERE id IN (SELECT id FROM refusals WHERE at < $1 ORDER BY at LIMIT $2)`, before.Refusals},
		{"usage", `DELETE FROM usage WHERE (account, hour, credential, what) IN
			(SELECT account, hour, credential, what FROM usage WHERE hour < $1 ORDER BY hour LIMIT $2)`, before.Usage},
		{"revoked sessions", `DELETE FROM revoked_sessions WHERE sid IN
			(SELECT sid FROM revoked_sessions WHERE until < $1 ORDER BY until LIMIT $2)`, db.Now()},
		// By number, which is the order of time: what is left has no gaps.
		{"change log", `DELETE FROM changes WHERE at < $1 AND number IN (SELECT number FROM changes ORDER BY number LIMIT $2)`, before.Changes},
	} {
		if p.before.IsZero() {
			continue
		}
		if err := db.prune(ctx, p.query, p.before); err != nil {
			return wrap(err, "prune the "+p.what)
		}
	}
	return wrap(db.pruneSessions(ctx, before.Sessions), "prune the sessions")
}

func (db *DB) prune(ctx context.Context, query string, before time.Time) error {
	for {
		n, err := update(ctx, db, func(t *tx) (int64, error) { return t.exec(query, before.UnixMilli(), pruneBatch) })
		if err != nil || n < pruneBatch {
			return err
		}
	}
}

// pruneSessions walks through the sessions by id: an index on their expiry would cost every refresh more than this walk
// costs once in a while. The walk reads; only what it found is deleted, if it is still as old.
func (db *DB) pruneSessions(ctx context.Context, before time.Time) error {
	if before.IsZero() {
		return nil
	}
	for from, more := "", true; more; {
		var old []string
		err := db.read(ctx, func(c *conn) error {
			seen := 0
			err := c.all(`SELECT id, expires_at < $2 AND access_expires_at < $2 FROM sessions WHERE id > $1 ORDER BY id LIMIT $3`,
				in{from, before.UnixMilli(), 4 * pruneBatch}, func(scan func(...any) error) error {
					var isOld bool
					seen++
					err := scan(&from, &isOld)
					if isOld {
						old = append(old, from)
					}
					return err
				})
			more = seen == 4*pruneBatch
			return err
		})
		if err != nil {
			return err
		}
		for len(old) > 0 {
			batch := old[:min(len(old), pruneBatch)]
			old = old[len(batch):]
			_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
				for _, id := range batch {
					if _, err := t.exec(`DELETE FROM sessions WHERE id = $1 AND expires_at < $2 AND access_expires_at < $2`, id, before.UnixMilli()); err != nil {
						return none, fmt.Errorf("session %s: %w", auth.SessionID(id), err)
					}
				}
				return none, nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
